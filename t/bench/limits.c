/* SPDX-License-Identifier: ISC */
/*
 * limits: what this machine and file system could do at most, as far as a mail
 * server meets them.  Nothing here is a server's figure; a server's figure is
 * read against these.
 *
 *	limits DIR SECONDS [GROUP]...	groups: sync, batch, files, tcp
 *
 * One line per figure: name, how many at once, operations per second, CPU
 * microseconds of the caller each.  Loopback and DIR only; each test ends
 * after SECONDS or a fixed count.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { OCTETS = 4096, FILES = 20000, BOXES = 10, THREADS_MOST = 200,
	PATH = 512 };

static const char *root;
static double seconds;
static char octets[OCTETS];
static int test_number;

static void
die(const char *what)
{
	fprintf(stderr, "limits: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double
now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double
cpu(void)
{
	struct rusage r;
	getrusage(RUSAGE_SELF, &r);
	return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
		(double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

struct watch {
	double at, cpu;
};

static struct watch
begin(void)
{
	sync();
	return (struct watch){now(), cpu()};
}

static void
show(const char *name, int at_once, long n, struct watch w)
{
	double took = now() - w.at, used = cpu() - w.cpu;
	printf("%-34s %4d  %10.0f/s  %8.1f us CPU\n", name, at_once,
		(double)n / took, n > 0 ? used * 1e6 / (double)n : 0);
	fflush(stdout);
}

/* A fresh set of mailboxes for each test; the old ones stay until the end,
 * since deleting and creating together is slow on some file systems. */
static void
make_boxes(void)
{
	static const char *const subs[] = {"", "/tmp", "/new"};
	char path[PATH];
	test_number++;
	for (int box = 0; box < BOXES; box++)
		for (size_t i = 0; i < sizeof subs / sizeof *subs; i++) {
			snprintf(path, sizeof path, "%s/%d.%d%s", root,
				test_number, box, subs[i]);
			if (mkdir(path, 0700) != 0)
				die(path);
		}
}

static void
name_file(char path[PATH], const char *sub, int box, long n)
{
	snprintf(path, PATH, "%s/%d.%d/%s/1700000000.%ld.mail.example.test",
		root, test_number, box, sub, n);
}

static int
create(const char *path)
{
	int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, octets, OCTETS) != OCTETS)
		die(path);
	return fd;
}

static void
into_new(int box, long n)
{
	char from[PATH], to[PATH];
	name_file(from, "tmp", box, n);
	name_file(to, "new", box, n);
	if (rename(from, to) != 0)
		die(to);
}

/* ----------------------------------------------------------------- sync */

enum how { APPEND, MAILDIR, MAILDIR_DIRECTORY };

struct worker {
	int id;
	enum how how;
	pthread_t thread;
};

static atomic_long done;
static atomic_bool stop;

static void
sync_directory(int box)
{
	char path[PATH];
	snprintf(path, sizeof path, "%s/%d.%d/new", root, test_number, box);
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) != 0)
		die(path);
	close(fd);
}

static void
one_durable_file(const struct worker *w, long n)
{
	char path[PATH];
	int box = w->id % BOXES;
	name_file(path, "tmp", box, n);
	int fd = create(path);
	if (fsync(fd) != 0)
		die("fsync");
	close(fd);
	into_new(box, n);
	if (w->how == MAILDIR_DIRECTORY)
		sync_directory(box);
}

static void *
sync_work(void *ctx)
{
	const struct worker *w = ctx;
	char path[PATH];
	name_file(path, "tmp", w->id % BOXES, -1 - w->id);
	int log = w->how == APPEND ? create(path) : -1;
	for (long n = 0; !stop; n++, done++) {
		if (w->how != APPEND)
			one_durable_file(w, n * THREADS_MOST + w->id);
		else if (write(log, octets, OCTETS) != OCTETS ||
			fdatasync(log) != 0)
			die("append");
	}
	if (log >= 0)
		close(log);
	return NULL;
}

static void
sync_test(const char *name, enum how how, int threads)
{
	static struct worker w[THREADS_MOST];
	make_boxes();
	done = 0;
	stop = false;
	struct watch at = begin();
	for (int i = 0; i < threads; i++) {
		w[i] = (struct worker){.id = i, .how = how};
		if (pthread_create(&w[i].thread, NULL, sync_work, &w[i]) != 0)
			die("pthread_create");
	}
	while (now() - at.at < seconds)
		usleep(10000);
	stop = true;
	for (int i = 0; i < threads; i++)
		pthread_join(w[i].thread, NULL);
	show(name, threads, done, at);
}

static void
syncs(void)
{
	static const int threads[] = {1, 10, 50, THREADS_MOST};
	for (size_t i = 0; i < sizeof threads / sizeof *threads; i++) {
		sync_test("append and fdatasync", APPEND, threads[i]);
		sync_test("Maildir file, fsync", MAILDIR, threads[i]);
		sync_test("Maildir file, fsync, directory",
			MAILDIR_DIRECTORY, threads[i]);
	}
}

/* ---------------------------------------------------------------- batch */

/* One log, many records a sync: what a group commit can reach. */
static void
log_batches(int batch)
{
	char path[PATH];
	long n = 0;
	make_boxes();
	name_file(path, "tmp", 0, -1);
	int fd = create(path);
	struct watch at = begin();
	for (; now() - at.at < seconds; n += batch) {
		for (int i = 0; i < batch; i++)
			if (write(fd, octets, OCTETS) != OCTETS)
				die("append");
		if (fdatasync(fd) != 0)
			die("fdatasync");
	}
	show("log records, one sync a batch", batch, n, at);
	close(fd);
}

static void
file_batches(int batch)
{
	char path[PATH];
	long n = 0;
	make_boxes();
	int fs = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct watch at = begin();
	for (; now() - at.at < seconds; n += batch) {
		for (long i = n; i < n + batch; i++) {
			name_file(path, "tmp", (int)(i % BOXES), i);
			close(create(path));
			into_new((int)(i % BOXES), i);
		}
		if (syncfs(fs) != 0)
			die("syncfs");
	}
	show("Maildir files, one syncfs a batch", batch, n, at);
	close(fs);
}

static void
batches(void)
{
	static const int sizes[] = {10, 50, 200, 1000};
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		log_batches(sizes[i]);
		file_batches(sizes[i]);
	}
}

/* ---------------------------------------------------------------- files */

static void
create_one(long i)
{
	char path[PATH];
	name_file(path, "tmp", 0, i);
	close(create(path));
	into_new(0, i);
}

static void
stat_one(long i)
{
	char path[PATH];
	struct stat st;
	name_file(path, "new", 0, i);
	if (stat(path, &st) != 0)
		die(path);
}

static void
read_one(long i)
{
	char path[PATH], to[OCTETS];
	name_file(path, "new", 0, i);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, to, OCTETS) != OCTETS)
		die(path);
	close(fd);
}

static void
link_one(long i)
{
	char from[PATH], to[PATH];
	name_file(from, "new", 0, i);
	name_file(to, "new", 1, i);
	if (link(from, to) != 0)
		die(to);
}

static void
rename_one(long i)
{
	char from[PATH], to[PATH + 4];
	name_file(from, "new", 0, i);
	snprintf(to, sizeof to, "%s:2,S", from);
	if (rename(from, to) != 0)
		die(to);
}

static void
unlink_one(long i)
{
	char path[PATH];
	name_file(path, "new", 1, i);
	if (unlink(path) != 0)
		die(path);
}

static void
files(void)
{
	static const struct {
		const char *name;
		void (*fn)(long i);
	} rows[] = {{"create in tmp, rename to new", create_one},
		{"stat", stat_one}, {"open, read, close", read_one},
		{"hard link (a COPY)", link_one},
		{"rename (a flag)", rename_one},
		{"unlink, a link stays", unlink_one}};
	make_boxes();
	for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
		struct watch at = begin();
		for (long i = 0; i < FILES; i++)
			rows[r].fn(i);
		show(rows[r].name, 1, FILES, at);
	}
}

/* ------------------------------------------------------------------ tcp */

static int
listen_here(struct sockaddr_in *at)
{
	socklen_t n = sizeof *at;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	*at = (struct sockaddr_in){.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	if (bind(fd, (struct sockaddr *)at, n) != 0 || listen(fd, 512) != 0 ||
		getsockname(fd, (struct sockaddr *)at, &n) != 0)
		die("listen");
	return fd;
}

static int
dial(const struct sockaddr_in *to)
{
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connect(fd, (const struct sockaddr *)to, sizeof *to) != 0)
		die("connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	return fd;
}

static void
echo(const struct sockaddr_in *to)
{
	char c;
	int fd = dial(to);
	while (read(fd, &c, 1) == 1)
		if (write(fd, &c, 1) != 1)
			break;
	_exit(0);
}

/* Between processes, since that is what a session is. */
static void
round_trips(int at_once)
{
	struct sockaddr_in at;
	int listening = listen_here(&at), fd[THREADS_MOST];
	char c = 'x';
	long n = 0;
	for (int i = 0; i < at_once; i++) {
		if (fork() == 0)
			echo(&at);
		fd[i] = accept(listening, NULL, NULL);
	}
	struct watch w = begin();
	for (; now() - w.at < seconds; n += at_once) {
		for (int i = 0; i < at_once; i++)
			if (write(fd[i], &c, 1) != 1)
				die("write");
		for (int i = 0; i < at_once; i++)
			if (read(fd[i], &c, 1) != 1)
				die("read");
	}
	show("TCP round trips", at_once, n, w);
	for (int i = 0; i < at_once; i++)
		close(fd[i]);
	close(listening);
	while (wait(NULL) > 0)
		;
}

static void
connections(void)
{
	struct sockaddr_in at;
	int listening = listen_here(&at);
	long n = 0;
	struct watch w = begin();
	for (; now() - w.at < seconds; n++) {
		int out = dial(&at), in = accept(listening, NULL, NULL);
		close(in);
		close(out);
	}
	show("TCP connect, accept, close", 1, n, w);
	close(listening);
}

static void
tcp(void)
{
	static const int at_once[] = {1, 10, 50};
	for (size_t i = 0; i < sizeof at_once / sizeof *at_once; i++)
		round_trips(at_once[i]);
	connections();
}

static const struct {
	const char *name;
	void (*fn)(void);
} groups[] = {{"sync", syncs}, {"batch", batches}, {"files", files},
	{"tcp", tcp}};

static bool
is_wanted(int argc, char **argv, const char *name)
{
	for (int i = 3; i < argc; i++)
		if (strcmp(argv[i], name) == 0)
			return true;
	return argc <= 3;
}

int
main(int argc, char **argv)
{
	if (argc < 3 || (seconds = atof(argv[2])) <= 0) {
		fputs("usage: limits DIR SECONDS [sync|batch|files|tcp]...\n",
			stderr);
		return 64;
	}
	root = argv[1];
	memset(octets, 'x', sizeof octets);
	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
		if (is_wanted(argc, argv, groups[i].name))
			groups[i].fn();
	return 0;
}
