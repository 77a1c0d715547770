/* SPDX-License-Identifier: ISC */
/*
 * Preloaded into a program under test: counts the calls by which it changes
 * anything outside itself, and at the one that was chosen ends the process or
 * fails the call, before it takes effect.
 *
 * FAULT_FILE is a shared page of slots, one for each kind of program, and
 * FAULT_AS the number of this one's; the test writes `left`, and reads how far
 * it came (t/lib/queuehouse.py has the same layout).
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

enum class {
	WRITES = 1, /* write, pwrite, writev, ftruncate, fallocate */
	SYNCS = 2, /* fsync, fdatasync, syncfs */
	NAMES = 4, /* open to create, rename, link, mkdir */
	SENDS = 8, /* send, sendmsg */
	OPENS = 16, /* every open, accept, socket: descriptors */
	MEMORY = 32, /* malloc and its like, mmap */
	READS = 64, /* read, pread, recv, recvmsg */
	REMOVES = 128, /* unlink */
};

/* Not an error: half of it is written. */
enum { SHORT = -1 };

struct slot {
	volatile int32_t left; /* calls until it happens; 0: never */
	volatile int32_t classes; /* which calls count */
	volatile int32_t error; /* 0: SIGKILL, SHORT, else errno */
	volatile int32_t sticky; /* and every call after it too */
	volatile int32_t counted; /* all that counted */
	volatile int32_t happened;
	volatile int32_t free_blocks; /* statvfs says so; 0: the truth */
	volatile int32_t pad;
};

static struct slot none, *me = &none;

__attribute__((constructor)) static void
begin(void)
{
	const char *file = getenv("FAULT_FILE"), *as = getenv("FAULT_AS");
	if (file == NULL || as == NULL)
		return;
	int fd = open(file, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return;
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p != MAP_FAILED)
		me = (struct slot *)p + atoi(as);
	close(fd);
}

/* True when this call is to fail; errno is set. */
static int
strikes(int class)
{
	if ((me->classes & class) == 0)
		return 0;
	__atomic_add_fetch(&me->counted, 1, __ATOMIC_SEQ_CST);
	if (me->sticky && me->happened) {
		errno = me->error;
		return 1;
	}
	if (me->left <= 0 ||
		__atomic_sub_fetch(&me->left, 1, __ATOMIC_SEQ_CST) != 0)
		return 0;
	me->happened = 1;
	if (me->error == 0)
		raise(SIGKILL); /* to itself, the one signal it may send */
	errno = me->error;
	return 1;
}

#define REAL(name) \
	static __typeof__(name) *real; \
	if (real == NULL) \
		real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

#define WRAP(class, type, name, params, args) \
	type name params \
	{ \
		REAL(name); \
		if (strikes(class)) \
			return -1; \
		return real args; \
	}

/* A disk error is a disk's: pipes and eventfds have none. */
static int
is_file(int fd)
{
	struct stat st;
	return me->error == 0 || me->error == EINTR ||
		(fstat(fd, &st) == 0 && S_ISREG(st.st_mode));
}

/* How much of n goes out; 0: none, and errno is set. */
static size_t
part(int class, size_t n)
{
	if (!strikes(class))
		return n;
	return me->error == SHORT ? (n + 1) / 2 : 0;
}

#define WRAP_PART(class, name, params, args) \
	ssize_t name params \
	{ \
		REAL(name); \
		if (n > 0 && is_file(fd) && (n = part(class, n)) == 0) \
			return -1; \
		return real args; \
	}

WRAP_PART(WRITES, write, (int fd, const void *p, size_t n), (fd, p, n))
WRAP_PART(WRITES, pwrite, (int fd, const void *p, size_t n, off_t at),
	(fd, p, n, at))
WRAP_PART(WRITES, pwrite64, (int fd, const void *p, size_t n, off64_t at),
	(fd, p, n, at))

/* Short: its first piece. */
ssize_t
writev(int fd, const struct iovec *v, int n)
{
	REAL(writev);
	if (!strikes(WRITES))
		return real(fd, v, n);
	return me->error == SHORT ? write(fd, v->iov_base, v->iov_len) : -1;
}

WRAP(WRITES, int, ftruncate, (int fd, off_t n), (fd, n))
WRAP(WRITES, int, ftruncate64, (int fd, off64_t n), (fd, n))
WRAP(SYNCS, int, fsync, (int fd), (fd))
WRAP(SYNCS, int, fdatasync, (int fd), (fd))
WRAP(SYNCS, int, syncfs, (int fd), (fd))
WRAP(NAMES, int, rename, (const char *a, const char *b), (a, b))
WRAP(NAMES, int, renameat, (int d, const char *a, int e, const char *b),
	(d, a, e, b))
WRAP(NAMES, int, renameat2,
	(int d, const char *a, int e, const char *b, unsigned f),
	(d, a, e, b, f))
WRAP(NAMES, int, link, (const char *a, const char *b), (a, b))
WRAP(NAMES, int, linkat,
	(int d, const char *a, int e, const char *b, int f), (d, a, e, b, f))
WRAP(REMOVES, int, unlink, (const char *a), (a))
WRAP(REMOVES, int, unlinkat, (int d, const char *a, int f), (d, a, f))
WRAP(NAMES, int, mkdir, (const char *a, mode_t m), (a, m))
WRAP(NAMES, int, mkdirat, (int d, const char *a, mode_t m), (d, a, m))
/* Of a packet there is no part. */
static int
is_stream(int fd)
{
	int type = 0;
	socklen_t size = sizeof type;
	return me->error != SHORT ||
		(getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 &&
			type == SOCK_STREAM);
}

ssize_t
send(int fd, const void *p, size_t n, int flags)
{
	REAL(send);
	if (n > 0 && is_stream(fd) && (n = part(SENDS, n)) == 0)
		return -1;
	return real(fd, p, n, flags);
}

WRAP(SENDS, ssize_t, sendmsg, (int fd, const struct msghdr *m, int f),
	(fd, m, f))
WRAP(OPENS, int, accept4,
	(int fd, struct sockaddr *a, socklen_t *n, int f), (fd, a, n, f))
WRAP(OPENS, int, memfd_create, (const char *a, unsigned f), (a, f))
WRAP(READS, ssize_t, read, (int fd, void *p, size_t n), (fd, p, n))
WRAP(READS, ssize_t, pread, (int fd, void *p, size_t n, off_t at),
	(fd, p, n, at))
WRAP(READS, ssize_t, pread64, (int fd, void *p, size_t n, off64_t at),
	(fd, p, n, at))
WRAP(READS, ssize_t, recv, (int fd, void *p, size_t n, int f), (fd, p, n, f))
WRAP(READS, ssize_t, recvmsg, (int fd, struct msghdr *m, int f), (fd, m, f))

/* Under a sanitizer memory is the sanitizer's. */
#define WRAP_MEMORY(type, name, params, args) \
	extern __typeof__(name) __libc_##name; \
	type name params \
	{ \
		return strikes(MEMORY) ? NULL : __libc_##name args; \
	}
#ifndef NO_MEMORY
WRAP_MEMORY(void *, malloc, (size_t n), (n))
WRAP_MEMORY(void *, calloc, (size_t n, size_t each), (n, each))
WRAP_MEMORY(void *, realloc, (void *p, size_t n), (p, n))
#endif

#define WRAP_OPEN(name, params, before, args) \
	int name params \
	{ \
		mode_t mode = 0; \
		REAL(name); \
		if ((flags & O_CREAT) != 0) { \
			va_list ap; \
			va_start(ap, flags); \
			mode = va_arg(ap, mode_t); \
			va_end(ap); \
		} \
		if (strikes(OPENS) || \
			((flags & (O_CREAT | O_TRUNC)) != 0 && \
				strikes(NAMES))) \
			return -1; \
		return real args; \
	}

WRAP_OPEN(open, (const char *path, int flags, ...), flags,
	(path, flags, mode))
WRAP_OPEN(open64, (const char *path, int flags, ...), flags,
	(path, flags, mode))
WRAP_OPEN(openat, (int d, const char *path, int flags, ...), flags,
	(d, path, flags, mode))
WRAP_OPEN(openat64, (int d, const char *path, int flags, ...), flags,
	(d, path, flags, mode))

#define WRAP_STATVFS(name, type) \
	int name(int fd, struct type *v) \
	{ \
		REAL(name); \
		int r = real(fd, v); \
		if (r == 0 && me->free_blocks > 0) { \
			v->f_bavail = (fsblkcnt_t)me->free_blocks; \
			v->f_frsize = 1; \
		} \
		return r; \
	}
WRAP_STATVFS(fstatvfs, statvfs)
WRAP_STATVFS(fstatvfs64, statvfs64)
