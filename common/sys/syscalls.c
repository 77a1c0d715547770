/* SPDX-License-Identifier: ISC */
/*
 * What a confined program may ask of the kernel, right by right: a list of
 * what is allowed; whatever is not on it fails with EPERM.  Nobody gets other
 * processes, new programs, executable memory, ids, mounts, kernel interfaces
 * (io_uring, bpf, keys, perf, modules) or any socket family but its own.
 *
 * Some calls are allowed with certain arguments only: an argument is compared
 * under a mask.  Libraries differ in which call they use for a thing; so the
 * kin of a call that is needed stand beside it.
 */
#include "sys/syscalls.h"
#include "base/log.h"
#include "sys/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* Newer than some headers. */
enum { SET_VMA = 0x53564d41 };

struct plain {
	unsigned right;
	int call;
};

#define CALL(right, name) {SANDBOX_##right, SCMP_SYS(name)}

static const struct plain plain[] = {
	/* streams, sockets that are there already */
	CALL(PURE, read), CALL(PURE, readv), CALL(PURE, write),
	CALL(PURE, writev), CALL(PURE, recvfrom), CALL(PURE, recvmsg),
	CALL(PURE, recvmmsg), CALL(PURE, sendto), CALL(PURE, sendmsg),
	CALL(PURE, sendmmsg), CALL(PURE, accept), CALL(PURE, accept4),
	CALL(PURE, shutdown), CALL(PURE, getsockname),
	CALL(PURE, getpeername), CALL(PURE, getsockopt),
	CALL(PURE, setsockopt), CALL(PURE, close), CALL(PURE, close_range),
	CALL(PURE, dup), CALL(PURE, pipe2), CALL(PURE, memfd_create),
	CALL(PURE, eventfd2),
	/* waiting */
	CALL(PURE, poll), CALL(PURE, ppoll), CALL(PURE, select),
	CALL(PURE, pselect6), CALL(PURE, epoll_create1),
	CALL(PURE, epoll_ctl), CALL(PURE, epoll_wait),
	CALL(PURE, epoll_pwait), CALL(PURE, epoll_pwait2),
	CALL(PURE, timerfd_create), CALL(PURE, timerfd_settime),
	CALL(PURE, signalfd4),
	CALL(PURE, restart_syscall), CALL(PURE, nanosleep),
	CALL(PURE, clock_nanosleep), CALL(PURE, futex),
	CALL(PURE, set_robust_list), CALL(PURE, rseq),
	CALL(PURE, sched_yield), CALL(PURE, sched_getaffinity),
	/* memory; see also masked */
	CALL(PURE, brk), CALL(PURE, munmap), CALL(PURE, mremap),
	CALL(PURE, madvise),
	/* the process itself */
	CALL(PURE, getpid), CALL(PURE, gettid), CALL(PURE, getppid),
	CALL(PURE, getuid), CALL(PURE, geteuid), CALL(PURE, getgid),
	CALL(PURE, getegid), CALL(PURE, getresuid), CALL(PURE, getresgid),
	CALL(PURE, getgroups), CALL(PURE, getrlimit), CALL(PURE, getrusage),
	CALL(PURE, times), CALL(PURE, rt_sigaction),
	CALL(PURE, rt_sigprocmask), CALL(PURE, rt_sigreturn),
	CALL(PURE, rt_sigtimedwait), CALL(PURE, sigaltstack),
	CALL(PURE, exit), CALL(PURE, exit_group), CALL(PURE, uname),
	CALL(PURE, sysinfo), CALL(PURE, getcpu),
	/* clock, randomness */
	CALL(PURE, clock_gettime), CALL(PURE, clock_getres),
	CALL(PURE, gettimeofday), CALL(PURE, time), CALL(PURE, getrandom),
	/* of a file that is open: size and place; names see READ */
	CALL(PURE, fstat), CALL(PURE, lseek),

	CALL(DATA, pread64), CALL(DATA, preadv), CALL(DATA, preadv2),
	CALL(DATA, pwrite64), CALL(DATA, pwritev), CALL(DATA, pwritev2),
	CALL(DATA, fsync), CALL(DATA, fdatasync),
	CALL(DATA, sync_file_range), CALL(DATA, ftruncate),
	CALL(DATA, fallocate), CALL(DATA, fadvise64), CALL(DATA, sendfile),
	CALL(DATA, copy_file_range), CALL(DATA, flock), CALL(DATA, fstatfs),
	CALL(DATA, msync),

	CALL(READ, stat), CALL(READ, lstat), CALL(READ, newfstatat),
	CALL(READ, statx), CALL(READ, access), CALL(READ, faccessat),
	CALL(READ, faccessat2), CALL(READ, readlink), CALL(READ, readlinkat),
	CALL(READ, getdents64), CALL(READ, getcwd), CALL(READ, chdir),
	CALL(READ, fchdir), CALL(READ, statfs), CALL(READ, inotify_init1),
	CALL(READ, inotify_add_watch), CALL(READ, inotify_rm_watch),

	CALL(WRITE, open), CALL(WRITE, openat), CALL(WRITE, creat),
	CALL(WRITE, mkdir), CALL(WRITE, mkdirat), CALL(WRITE, rmdir),
	CALL(WRITE, unlink), CALL(WRITE, unlinkat), CALL(WRITE, rename),
	CALL(WRITE, renameat), CALL(WRITE, renameat2), CALL(WRITE, link),
	CALL(WRITE, linkat), CALL(WRITE, truncate), CALL(WRITE, utimensat),
	CALL(WRITE, fchown), CALL(WRITE, umask), CALL(WRITE, syncfs),
	CALL(WRITE, bind),

	CALL(UNIX, connect),
	CALL(INET, connect), CALL(INET, bind),
};

struct masked {
	unsigned right;
	int call;
	unsigned argument;
	scmp_datum_t mask, value;
};

enum {
	CHANGES = O_ACCMODE | O_CREAT | O_TRUNC,
	FOREIGN_BITS = S_ISUID | S_ISGID,
};

#define ALL (~(scmp_datum_t)0)
#define WHEN(right, name, argument, mask, value) \
	{SANDBOX_##right, SCMP_SYS(name), argument, mask, value}

static const struct masked masked[] = {
	WHEN(PURE, mmap, 2, PROT_EXEC, 0),
	WHEN(PURE, mprotect, 2, PROT_EXEC, 0),
	WHEN(PURE, socketpair, 0, ALL, AF_UNIX),
	/* fstat of some C libraries */
	WHEN(PURE, newfstatat, 3, AT_EMPTY_PATH, AT_EMPTY_PATH),
	WHEN(PURE, prlimit64, 2, ALL, 0),
	WHEN(PURE, prctl, 0, ALL, PR_SET_NAME),
	WHEN(PURE, prctl, 0, ALL, SET_VMA),
	WHEN(PURE, ioctl, 1, ALL, FIONREAD),
	WHEN(PURE, ioctl, 1, ALL, FIONBIO),
	WHEN(PURE, ioctl, 1, ALL, TCGETS),
	WHEN(PURE, fcntl, 1, ALL, F_DUPFD),
	WHEN(PURE, fcntl, 1, ALL, F_DUPFD_CLOEXEC),
	WHEN(PURE, fcntl, 1, ALL, F_GETFD),
	WHEN(PURE, fcntl, 1, ALL, F_SETFD),
	WHEN(PURE, fcntl, 1, ALL, F_GETFL),
	WHEN(PURE, fcntl, 1, ALL, F_SETFL),
	WHEN(PURE, fcntl, 1, ALL, F_ADD_SEALS),
	WHEN(PURE, fcntl, 1, ALL, F_GET_SEALS),
	WHEN(DATA, fcntl, 1, ALL, F_GETLK),
	WHEN(DATA, fcntl, 1, ALL, F_SETLK),
	WHEN(DATA, fcntl, 1, ALL, F_SETLKW),
	WHEN(DATA, fcntl, 1, ALL, F_OFD_GETLK),
	WHEN(DATA, fcntl, 1, ALL, F_OFD_SETLK),
	WHEN(DATA, fcntl, 1, ALL, F_OFD_SETLKW),
	WHEN(DATA, fcntl, 1, ALL, F_SETLEASE),
	WHEN(DATA, fcntl, 1, ALL, F_GETLEASE),
	WHEN(READ, fcntl, 1, ALL, F_NOTIFY),
	WHEN(READ, open, 1, CHANGES, O_RDONLY),
	WHEN(READ, openat, 2, CHANGES, O_RDONLY),
	WHEN(WRITE, chmod, 1, FOREIGN_BITS, 0),
	WHEN(WRITE, fchmod, 1, FOREIGN_BITS, 0),
	WHEN(WRITE, fchmodat, 2, FOREIGN_BITS, 0),
	/* an ordinary file, without opening it */
	WHEN(WRITE, mknodat, 2, S_IFMT, S_IFREG),
	WHEN(UNIX, socket, 0, ALL, AF_UNIX),
	WHEN(INET, socket, 0, ALL, AF_INET),
	WHEN(INET, socket, 0, ALL, AF_INET6),
	WHEN(THREADS, clone, 0, CLONE_THREAD, CLONE_THREAD),
};

static void
check(int result, const char *what)
{
	if (result != 0)
		fatal(what, strerror(-result));
}

/* Numbers below zero: this architecture has no such call. */
static void
allow_plain(scmp_filter_ctx f, const struct plain *p)
{
	if (p->call >= 0)
		check(seccomp_rule_add(f, SCMP_ACT_ALLOW, p->call, 0),
			"seccomp_rule_add");
}

static void
allow_masked(scmp_filter_ctx f, const struct masked *m)
{
	struct scmp_arg_cmp cmp = {.arg = m->argument,
		.op = SCMP_CMP_MASKED_EQ, .datum_a = m->mask,
		.datum_b = m->value};
	if (m->mask == ALL) {
		cmp.op = SCMP_CMP_EQ;
		cmp.datum_a = m->value;
		cmp.datum_b = 0;
	}
	if (m->call >= 0)
		check(seccomp_rule_add_array(f, SCMP_ACT_ALLOW, m->call, 1,
			&cmp), "seccomp_rule_add");
}

/* A call that is allowed whatever its arguments takes no narrower rule. */
static bool
is_plain(int call, unsigned rights)
{
	for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
		if (plain[i].call == call && (plain[i].right & rights))
			return true;
	return false;
}

static void
allow_all(scmp_filter_ctx f, unsigned rights)
{
	for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
		if (plain[i].right & rights)
			allow_plain(f, &plain[i]);
	for (size_t i = 0; i < sizeof masked / sizeof *masked; i++)
		if ((masked[i].right & rights) &&
			!is_plain(masked[i].call, rights))
			allow_masked(f, &masked[i]);
}

/* abort() is a signal to oneself; any other receiver is refused. */
static void
allow_abort(scmp_filter_ctx f)
{
	check(seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
		SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid())),
		"seccomp_rule_add");
}

/* A file's octets as code, never what the program wrote into memory. */
static void
allow_code(scmp_filter_ctx f)
{
	check(seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 2,
		SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_WRITE, 0),
		SCMP_A3(SCMP_CMP_MASKED_EQ, MAP_ANONYMOUS, 0)),
		"seccomp_rule_add");
}

/* Where there is an audit and it cannot be reached, PAM lets nobody in; where
 * the kernel was built without, it goes on. */
static void
hide_audit(scmp_filter_ctx f)
{
	check(seccomp_rule_add(f, SCMP_ACT_ERRNO(EAFNOSUPPORT),
		SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_EQ, AF_NETLINK)),
		"seccomp_rule_add");
}

/* clone3 hides its flags in memory: it does not exist, and the C library
 * falls back to clone. */
static void
hide_clone3(scmp_filter_ctx f)
{
	check(seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3),
		0), "seccomp_rule_add");
}

/* A sanitizer looks at the process's own files when it reports. */
static unsigned
widened(unsigned rights)
{
#if defined(__SANITIZE_ADDRESS__)
	return rights | SANDBOX_READ;
#else
	return rights;
#endif
}

void
syscalls_enter(unsigned rights)
{
	const char *mode = getenv("SURAT_SECCOMP");
	bool kill = mode != NULL && strcmp(mode, "kill") == 0;
	scmp_filter_ctx f = seccomp_init(
		kill ? SCMP_ACT_KILL_PROCESS : SCMP_ACT_ERRNO(EPERM));
	if (f == NULL)
		fatal("seccomp_init", NULL);
	check(seccomp_attr_set(f, SCMP_FLTATR_ACT_BADARCH,
		SCMP_ACT_KILL_PROCESS), "seccomp_attr_set");
	/* A tree of comparisons instead of a list. */
	check(seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2),
		"seccomp_attr_set");
	allow_all(f, widened(rights));
	allow_abort(f);
	if (rights & SANDBOX_CODE)
		allow_code(f);
	if (rights & SANDBOX_PAM)
		hide_audit(f);
	hide_clone3(f);
	check(seccomp_load(f), "seccomp_load");
	seccomp_release(f);
}
