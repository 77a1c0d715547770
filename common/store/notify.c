/* SPDX-License-Identifier: ISC */
/*
 * News between the processes that have a store open: one datagram socket each
 * under surat/notify/, one byte a commit, nobody waits.
 */
#include "store/notify.h"
#include "store/index.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
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

bool
notify_drain(struct store *s)
{
	char octets[64];
	bool any = false;
	while (s->notify_fd >= 0 &&
		recv(s->notify_fd, octets, sizeof octets, 0) >= 0)
		any = true;
	return any;
}

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

void
notify_send(struct store *s)
{
	int fd = openat(s->notify_dir, ".",
		O_RDONLY | O_DIRECTORY | O_CLOEXEC), from = -1;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	while (d != NULL && (e = readdir(d)) != NULL) {
		if (e->d_name[0] == '.' || strcmp(e->d_name, s->notify_name) == 0)
			continue;
		if (from < 0)
			from = socket_new();
		if (from >= 0)
			tell(s, from, e->d_name);
	}
	if (d != NULL)
		closedir(d);
	if (from >= 0)
		close(from);
}
