/* SPDX-License-Identifier: ISC */
/*
 * News between the processes that have a store open: one datagram socket each
 * under surat/notify/, one byte a commit, nobody waits.  And what the kernel
 * says of the files of one folder.
 */
#include "store/notify.h"
#include "base/clock.h"
#include "store/index.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* The path of a socket, which is short (108 octets): through the directory's
 * descriptor when it would not fit. */
static bool
address_of(struct store *s, const char *name, struct sockaddr_un *sa)
{
	*sa = (struct sockaddr_un){.sun_family = AF_UNIX};
	int n = snprintf(sa->sun_path, sizeof sa->sun_path,
		"%.*s/surat/notify/%s", STR_ARG(s->path), name);
	if (n < (int)sizeof sa->sun_path)
		return true;
	n = snprintf(sa->sun_path, sizeof sa->sun_path,
		"/proc/self/fd/%d/%s", s->notify_dir, name);
	return n < (int)sizeof sa->sun_path;
}

/* ------------------------------------------------------------ listening */

static int
socket_new(void)
{
	return socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

struct status
notify_listen(struct store *s, struct arena *a, int *fd)
{
	struct sockaddr_un sa;
	*fd = s->notify_fd;
	if (*fd >= 0)
		return status_fine();
	snprintf(s->notify_name, sizeof s->notify_name, "%d.%08x",
		(int)getpid(), (unsigned)control_random(s));
	*fd = socket_new();
	if (*fd >= 0 && address_of(s, s->notify_name, &sa) &&
		bind(*fd, (struct sockaddr *)&sa, sizeof sa) == 0) {
		s->notify_fd = *fd;
		return status_fine();
	}
	int err = errno;
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	s->notify_name[0] = '\0';
	return status_errno(a, "notify", err);
}

/* ---------------------------------------------------------------- watch */

static void
close_watch(struct store *s)
{
	int *fds[] = {&s->watch_fd, &s->both_fd, &s->watched[0],
		&s->watched[1]};
	for (size_t i = 0; i < sizeof fds / sizeof *fds; i++) {
		if (*fds[i] >= 0)
			close(*fds[i]);
		*fds[i] = -1;
	}
}

static const char *const subs[] = {"new", "cur"};

/* The signal is blocked and pending at most once, however many files there
 * were; it ends with the descriptors of the directories. */
static bool
watch_by_signal(struct mailbox *m, struct arena *a)
{
	struct store *s = m->store;
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGIO);
	sigprocmask(SIG_BLOCK, &set, NULL);
	s->watch_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	for (int i = 0; i < 2; i++) {
		s->watched[i] = openat(s->dir, folder_path(a, m->row.dir,
			subs[i]), O_RDONLY | O_DIRECTORY | O_CLOEXEC |
			O_NOFOLLOW);
		if (s->watch_fd < 0 || s->watched[i] < 0 ||
			fcntl(s->watched[i], F_NOTIFY, DN_CREATE | DN_DELETE |
				DN_RENAME | DN_MULTISHOT) != 0)
			return false;
	}
	return true;
}

static bool
watch_by_inotify(struct mailbox *m, struct arena *a)
{
	struct store *s = m->store;
	s->watch_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	for (int i = 0; i < 2; i++) {
		struct str path = str_printf(a, "%.*s/%s", STR_ARG(s->path),
			folder_path(a, m->row.dir, subs[i]));
		if (s->watch_fd < 0 ||
			inotify_add_watch(s->watch_fd, str_cstr(a, path),
				IN_CREATE | IN_DELETE | IN_MOVE | IN_ONLYDIR) < 0)
			return false;
	}
	return true;
}

static bool
also_poll(struct store *s, int fd)
{
	struct epoll_event e = {.events = EPOLLIN};
	return epoll_ctl(s->both_fd, EPOLL_CTL_ADD, fd, &e) == 0;
}

static bool
watch(struct mailbox *m, struct arena *a)
{
	if (watch_by_signal(m, a))
		return true;
	close_watch(m->store);
	return watch_by_inotify(m, a);
}

static bool
open_watch(struct mailbox *m, struct arena *a)
{
	struct store *s = m->store;
	if (!watch(m, a))
		return false;
	s->both_fd = epoll_create1(EPOLL_CLOEXEC);
	return s->both_fd >= 0 && also_poll(s, s->watch_fd) &&
		also_poll(s, s->notify_fd);
}

/* The directory of the old one may be gone: another is bound and takes the
 * number that the session polls. */
void
notify_again(struct store *s)
{
	struct sockaddr_un sa;
	if (s->notify_fd < 0)
		return;
	int fd = socket_new();
	unlinkat(s->notify_dir, s->notify_name, 0);
	if (fd >= 0 && address_of(s, s->notify_name, &sa) &&
		bind(fd, (struct sockaddr *)&sa, sizeof sa) == 0 &&
		dup3(fd, s->notify_fd, O_CLOEXEC) >= 0 && s->both_fd >= 0)
		also_poll(s, s->notify_fd);
	if (fd >= 0)
		close(fd);
}

struct status
notify_watch(struct mailbox *m, struct arena *a, int *fd, bool *watched)
{
	struct store *s = m->store;
	struct status st = notify_listen(s, a, fd);
	*watched = false;
	close_watch(s);
	if (!status_is_fine(st))
		return st;
	*watched = open_watch(m, a);
	if (*watched)
		*fd = s->both_fd;
	else
		close_watch(s);
	return st;
}

enum notify_heard
notify_drain(struct store *s)
{
	char octets[4096];
	enum notify_heard heard = NOTIFY_NOTHING;
	while (s->notify_fd >= 0 &&
		recv(s->notify_fd, octets, sizeof octets, 0) >= 0)
		heard |= NOTIFY_TOLD;
	/* what is left of it is heard of again */
	if (s->watch_fd >= 0 && read(s->watch_fd, octets, sizeof octets) > 0)
		heard |= NOTIFY_TOUCHED;
	return heard;
}

bool
notify_turn(struct store *s)
{
	return s->watched[0] < 0 ||
		flock(s->watched[0], LOCK_EX | LOCK_NB) == 0 ||
		errno != EWOULDBLOCK;
}

void
notify_pass(struct store *s)
{
	if (s->watched[0] >= 0)
		flock(s->watched[0], LOCK_UN);
}

void
notify_end(struct store *s)
{
	close_watch(s);
	if (s->notify_fd < 0)
		return;
	unlinkat(s->notify_dir, s->notify_name, 0);
	close(s->notify_fd);
	s->notify_fd = -1;
	s->notify_name[0] = '\0';
}

/* -------------------------------------------------------------- sending */

/* A full queue is news enough; a socket without a holder is litter. */
static void
tell(struct store *s, int from, const char *name)
{
	struct sockaddr_un sa;
	if (!address_of(s, name, &sa))
		return;
	if (sendto(from, "+", 1, MSG_NOSIGNAL, (struct sockaddr *)&sa,
		    sizeof sa) < 0 && errno == ECONNREFUSED)
		unlinkat(s->notify_dir, name, 0);
}

/* Everybody there; false when there is nobody. */
static bool
tell_all(struct store *s)
{
	int fd = openat(s->notify_dir, ".",
		O_RDONLY | O_DIRECTORY | O_CLOEXEC), from = -1;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	bool any = d == NULL;
	while (d != NULL && (e = readdir(d)) != NULL) {
		if (e->d_name[0] == '.' || strcmp(e->d_name, s->notify_name) == 0)
			continue;
		any = true;
		if (from < 0)
			from = socket_new();
		if (from >= 0)
			tell(s, from, e->d_name);
	}
	if (d != NULL)
		closedir(d);
	if (from >= 0)
		close(from);
	return any;
}

/* Who was alone at a time of the directory that no tick can share any more is
 * alone as long as it has that time. */
void
notify_send(struct store *s)
{
	struct stat st;
	int64_t at = 0, now = clock_wall_us() * 1000;
	if (fstat(s->notify_dir, &st) == 0)
		at = (int64_t)st.st_mtim.tv_sec * 1000000000 +
			st.st_mtim.tv_nsec;
	if (at != 0 && at == s->alone_at)
		return;
	bool any = tell_all(s);
	s->alone_at = any || now - at < TICK_NS ? 0 : at;
}
