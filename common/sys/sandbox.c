/* SPDX-License-Identifier: ISC */
/*
 * Landlock has no wrapper in the C library; its three calls are made by
 * number.  The seccomp list names what no program of ours ever needs and a
 * taken-over one would: other processes, kernel interfaces, new programs,
 * and, by profile, sockets.
 */
#include "sys/sandbox.h"
#include "base/log.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <iconv.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ----------------------------------------------------------------- ids */

static void
verify_ids(unsigned uid, unsigned gid)
{
	uid_t u[3];
	gid_t g[3];
	if (getresuid(&u[0], &u[1], &u[2]) != 0 ||
		getresgid(&g[0], &g[1], &g[2]) != 0)
		fatal("getresuid", NULL);
	for (int i = 0; i < 3; i++)
		if (u[i] != uid || g[i] != gid)
			fatal("privileges", "the drop did not take");
	if (uid != 0 && (setuid(0) == 0 || seteuid(0) == 0))
		fatal("privileges", "root came back after the drop");
	errno = 0;
}

void
sandbox_become(unsigned uid, unsigned gid, const char *root)
{
	if (root != NULL && (chroot(root) != 0 || chdir("/") != 0))
		fatal("chroot", root);
	if (setgroups(0, NULL) != 0 || setresgid(gid, gid, gid) != 0 ||
		setresuid(uid, uid, uid) != 0)
		fatal("privileges", "cannot give them up");
	verify_ids(uid, gid);
}

/* ------------------------------------------------------------ Landlock */

enum {
	TREE_RIGHTS = LANDLOCK_ACCESS_FS_READ_FILE |
		LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_WRITE_FILE |
		LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_DIR |
		LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_REMOVE_FILE |
		LANDLOCK_ACCESS_FS_REMOVE_DIR,
	ALL_V1 = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1,
};

/* Newer than some headers: rights by their bits. */
enum { FS_REFER = 1 << 13, FS_TRUNCATE = 1 << 14 };

static int
landlock_abi(void)
{
	return (int)syscall(SYS_landlock_create_ruleset, NULL, 0,
		LANDLOCK_CREATE_RULESET_VERSION);
}

static void
allow_tree(int ruleset, const char *path, uint64_t rights)
{
	struct landlock_path_beneath_attr rule = {.allowed_access = rights};
	rule.parent_fd = open(path, O_PATH | O_CLOEXEC | O_DIRECTORY);
	if (rule.parent_fd < 0)
		fatal("directory", path);
	if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH,
		&rule, 0) != 0)
		fatal("landlock_add_rule", path);
	close(rule.parent_fd);
}

/* Who works on mail meets every charset there is, and the C library keeps the
 * rarer ones in files that it loads when they are asked for, beside itself. */
static void
allow_charsets(int ruleset)
{
	enum { DIRECTORY_MOST = 4096 };
	char path[DIRECTORY_MOST];
	Dl_info library;
	if (dladdr((const void *)(uintptr_t)iconv_open, &library) == 0 ||
		strrchr(library.dli_fname, '/') == NULL)
		return;
	int dir = (int)(strrchr(library.dli_fname, '/') - library.dli_fname);
	int n = snprintf(path, sizeof path, "%.*s/gconv", dir,
		library.dli_fname);
	if (n < DIRECTORY_MOST && access(path, F_OK) == 0)
		allow_tree(ruleset, path, LANDLOCK_ACCESS_FS_READ_FILE |
			LANDLOCK_ACCESS_FS_READ_DIR);
}

static void
landlock_enter(const char *const *trees)
{
	int abi = landlock_abi();
	struct landlock_ruleset_attr attr = {.handled_access_fs = ALL_V1};
	uint64_t rights = TREE_RIGHTS;
	/* the first lets nobody move a file to another directory */
	if (abi < 1 || (abi < 2 && trees != NULL)) {
		log_debug(LOG_NO_ID, "no-landlock");
		errno = 0;
		return;
	}
	if (abi >= 2) {
		attr.handled_access_fs |= FS_REFER;
		rights |= FS_REFER;
	}
	if (abi >= 3) {
		attr.handled_access_fs |= FS_TRUNCATE;
		rights |= FS_TRUNCATE;
	}
	int ruleset = (int)syscall(
		SYS_landlock_create_ruleset, &attr, sizeof attr, 0);
	if (ruleset < 0)
		fatal("landlock_create_ruleset", NULL);
	if (trees != NULL)
		allow_charsets(ruleset);
	for (; trees != NULL && *trees != NULL; trees++)
		allow_tree(ruleset, *trees, rights);
	if (syscall(SYS_landlock_restrict_self, ruleset, 0) != 0)
		fatal("landlock_restrict_self", NULL);
	close(ruleset);
}

/* ------------------------------------------------------------- seccomp */

static const int never[] = {
	SCMP_SYS(ptrace), SCMP_SYS(process_vm_readv),
	SCMP_SYS(process_vm_writev), SCMP_SYS(io_uring_setup),
	SCMP_SYS(io_uring_enter), SCMP_SYS(io_uring_register), SCMP_SYS(bpf),
	SCMP_SYS(userfaultfd), SCMP_SYS(keyctl), SCMP_SYS(add_key),
	SCMP_SYS(request_key), SCMP_SYS(perf_event_open), SCMP_SYS(unshare),
	SCMP_SYS(setns), SCMP_SYS(mount), SCMP_SYS(umount2),
	SCMP_SYS(pivot_root), SCMP_SYS(chroot), SCMP_SYS(open_by_handle_at),
	SCMP_SYS(name_to_handle_at), SCMP_SYS(init_module),
	SCMP_SYS(finit_module), SCMP_SYS(delete_module), SCMP_SYS(kexec_load),
	SCMP_SYS(reboot), SCMP_SYS(swapon), SCMP_SYS(swapoff),
	SCMP_SYS(settimeofday), SCMP_SYS(clock_settime), SCMP_SYS(acct),
	SCMP_SYS(quotactl), SCMP_SYS(personality), SCMP_SYS(mknod),
	SCMP_SYS(mknodat), SCMP_SYS(execve), SCMP_SYS(execveat),
	SCMP_SYS(fork), SCMP_SYS(vfork), SCMP_SYS(setuid), SCMP_SYS(setgid),
	SCMP_SYS(setresuid), SCMP_SYS(setresgid), SCMP_SYS(setreuid),
	SCMP_SYS(setregid), SCMP_SYS(setgroups),
};

static void
deny(scmp_filter_ctx f, int call)
{
	if (call >= 0 &&
		seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), call, 0) != 0)
		fatal("seccomp_rule_add", NULL);
}

/* Sockets by profile: none, Unix only, or Unix and internet. */
static void
deny_sockets(scmp_filter_ctx f, enum sandbox_profile profile)
{
	int highest = profile == SANDBOX_NETWORK ? AF_INET6 : AF_UNIX;
	if (profile < SANDBOX_ASKER && profile != SANDBOX_TREE) {
		deny(f, SCMP_SYS(socket));
		deny(f, SCMP_SYS(connect));
		return;
	}
	if (seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(socket), 1,
		SCMP_A0(SCMP_CMP_GT, (scmp_datum_t)highest)) != 0)
		fatal("seccomp_rule_add", NULL);
}

/* Threads, not processes; clone3 hides its flags in memory, so it does not
 * exist and the C library falls back to clone. */
static void
deny_processes(scmp_filter_ctx f)
{
	if (seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3),
		0) != 0 ||
		seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
			SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0)) != 0)
		fatal("seccomp_rule_add", NULL);
}

static void
seccomp_enter(enum sandbox_profile profile)
{
	scmp_filter_ctx f = seccomp_init(SCMP_ACT_ALLOW);
	if (f == NULL)
		fatal("seccomp_init", NULL);
	for (size_t i = 0; i < sizeof never / sizeof *never; i++)
		deny(f, never[i]);
	deny_sockets(f, profile);
	deny_processes(f);
	if (seccomp_load(f) != 0)
		fatal("seccomp_load", NULL);
	seccomp_release(f);
}

void
sandbox_enter(enum sandbox_profile profile, const char *const *trees)
{
	struct rlimit no_core = {0, 0};
	if (profile == SANDBOX_NONE)
		return;
	setrlimit(RLIMIT_CORE, &no_core);
	if (prctl(PR_SET_DUMPABLE, 0) != 0 ||
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		fatal("prctl", NULL);
	landlock_enter(trees);
	seccomp_enter(profile);
	errno = 0;
}
