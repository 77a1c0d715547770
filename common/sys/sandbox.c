/* SPDX-License-Identifier: ISC */
/*
 * Ids, capabilities, root directory, network, limits, Landlock.  The list of
 * system calls is in syscalls.c.
 *
 * Landlock and capabilities have no wrappers in the C library; their calls are
 * made by number.
 */
#include "sys/sandbox.h"
#include "base/log.h"
#include "sys/syscalls.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <iconv.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <pwd.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* --------------------------------------------------------- capabilities */

/* Two words of 32, of which ours are in the first. */
struct capabilities {
	struct __user_cap_data_struct w[2];
};

static void
set_capabilities(const struct capabilities *c)
{
	struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
	if (syscall(SYS_capset, &h, c->w) != 0)
		fatal("capset", NULL);
}

static struct capabilities
get_capabilities(void)
{
	struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct capabilities c = {{{0, 0, 0}}};
	if (syscall(SYS_capget, &h, c.w) != 0)
		fatal("capget", NULL);
	return c;
}

static void
keep_capabilities(unsigned caps)
{
	const struct capabilities c = {{{caps, caps, caps}}};
	set_capabilities(&c);
}

/* Only what is in the bounding set can be added to the inheritable one, and
 * only from there do capabilities get across exec. */
static void
make_inheritable(unsigned caps)
{
	struct capabilities c = get_capabilities();
	c.w[0].inheritable = caps;
	c.w[1].inheritable = 0;
	set_capabilities(&c);
}

static unsigned
all_capabilities(void)
{
	struct capabilities c = get_capabilities();
	const struct __user_cap_data_struct *d = c.w;
	return d[0].effective | d[0].permitted | d[0].inheritable |
		d[1].effective | d[1].permitted | d[1].inheritable;
}

/* What is not in the bounding set no executed file can give. */
static void
empty_bounding_set(void)
{
	for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) != 0)
			fatal("privileges", "the bounding set stays");
	errno = 0;
}

/* ------------------------------------------------------------------ ids */

static void
verify_ids(unsigned uid, unsigned gid, unsigned caps)
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
	if (all_capabilities() != caps)
		fatal("privileges", "capabilities are left after the drop");
	errno = 0;
}

/* What the system says of this account counts, not what was asked for. */
static void
take_groups(unsigned uid, unsigned *gid)
{
	const struct passwd *pw = getpwuid(uid);
	if (pw == NULL || pw->pw_gid == 0)
		fatal("privileges", "the user is nobody the system knows");
	*gid = pw->pw_gid;
	if (initgroups(pw->pw_name, pw->pw_gid) != 0)
		fatal("privileges", "cannot take the groups");
	errno = 0;
}

void
sandbox_become(unsigned uid, unsigned gid, bool may_chroot, bool groups)
{
	unsigned caps = may_chroot ? 1u << CAP_SYS_CHROOT : 0;
	if (setgroups(0, NULL) != 0)
		fatal("privileges", "cannot give up the groups");
	if (groups)
		take_groups(uid, &gid);
	make_inheritable(caps);
	empty_bounding_set();
	if (prctl(PR_SET_KEEPCAPS, may_chroot, 0, 0, 0) != 0 ||
		setresgid(gid, gid, gid) != 0 || setresuid(uid, uid, uid) != 0)
		fatal("privileges", "cannot give them up");
	keep_capabilities(caps);
	if (may_chroot && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE,
		CAP_SYS_CHROOT, 0, 0) != 0)
		fatal("privileges", "no ambient capabilities");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		fatal("prctl", "no new privileges");
	verify_ids(uid, gid, caps);
}

void
sandbox_chroot(const char *directory)
{
	if (chdir(directory) != 0 || chroot(".") != 0 || chdir("/") != 0)
		fatal("chroot", directory);
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0)
		fatal("privileges", "ambient capabilities stay");
	keep_capabilities(0);
	if (chroot(".") == 0 || all_capabilities() != 0)
		fatal("privileges", "a capability is left after chroot");
	errno = 0;
}

/* -------------------------------------------------------------- network */

int
sandbox_empty_network(void)
{
	int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	int empty = -1;
	if (own >= 0 && unshare(CLONE_NEWNET) == 0) {
		empty = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
		if (setns(own, CLONE_NEWNET) != 0)
			fatal("setns", "no way back to the network");
	} else {
		log_info(LOG_NO_ID, "no-empty-network",
			LOG_CSTR("consequence", "seccomp alone keeps "
				"programs from the network"));
	}
	if (own >= 0)
		close(own);
	errno = 0;
	return empty;
}

void
sandbox_leave_network(int empty)
{
	if (empty >= 0 && setns(empty, CLONE_NEWNET) != 0)
		fatal("setns", "the empty network");
}

/* --------------------------------------------------------------- limits */

enum { MEGABYTES_USUAL = 1024 };

static void
limit(int resource, rlim_t most)
{
	struct rlimit l;
	if (getrlimit(resource, &l) != 0)
		fatal("getrlimit", NULL);
	if (most < l.rlim_max)
		l.rlim_max = most;
	if (l.rlim_cur > l.rlim_max)
		l.rlim_cur = l.rlim_max;
	if (setrlimit(resource, &l) != 0)
		fatal("setrlimit", NULL);
}

/* A sanitizer reserves terabytes of address space as its shadow. */
static void
limit_memory(unsigned megabytes)
{
#if defined(__SANITIZE_ADDRESS__)
	(void)megabytes;
#else
	limit(RLIMIT_DATA, (rlim_t)megabytes << 20);
#endif
}

static void
limits_enter(const struct sandbox *s)
{
	limit(RLIMIT_CORE, 0);
	if (s->files > 0)
		limit(RLIMIT_NOFILE, s->files);
	if ((s->rights & SANDBOX_THREADS) == 0)
		limit(RLIMIT_NPROC, 0);
	limit_memory(s->megabytes > 0 ? s->megabytes : MEGABYTES_USUAL);
}

/* ------------------------------------------------------------- Landlock */

/* Everything up to ABI 6, by our own names: headers are older than kernels. */
enum {
	FS_WRITE_FILE = 1 << 1,
	FS_READ_FILE = 1 << 2,
	FS_READ_DIR = 1 << 3,
	FS_REMOVE_DIR = 1 << 4,
	FS_REMOVE_FILE = 1 << 5,
	FS_MAKE_DIR = 1 << 7,
	FS_MAKE_REG = 1 << 8,
	FS_MAKE_SOCK = 1 << 9,
	FS_ALL_V1 = (1 << 13) - 1,
	FS_REFER = 1 << 13,
	FS_TRUNCATE = 1 << 14,
	FS_IOCTL_DEV = 1 << 15,
	NET_BIND_TCP = 1 << 0,
	NET_CONNECT_TCP = 1 << 1,
	SCOPE_ABSTRACT = 1 << 0,
	SCOPE_SIGNAL = 1 << 1,
	RULE_NET_PORT = 2,
	FS_READ = FS_READ_FILE | FS_READ_DIR,
	FS_CHANGE = FS_READ | FS_WRITE_FILE | FS_MAKE_REG | FS_MAKE_DIR |
		FS_MAKE_SOCK | FS_REMOVE_FILE | FS_REMOVE_DIR | FS_REFER |
		FS_TRUNCATE,
	FS_OF_A_FILE = FS_READ_FILE | FS_WRITE_FILE | FS_TRUNCATE,
};

struct ruleset_attr {
	uint64_t fs, net, scoped;
};

struct port_attr {
	uint64_t allowed, port;
};

struct ruleset {
	int fd;
	struct ruleset_attr handled;
};

static void
allow_path(const struct ruleset *r, const char *path, uint64_t rights)
{
	struct landlock_path_beneath_attr rule = {
		.allowed_access = rights & r->handled.fs};
	struct stat st;
	rule.parent_fd = open(path, O_PATH | O_CLOEXEC);
	if (rule.parent_fd < 0)
		return;
	if (fstat(rule.parent_fd, &st) == 0 && !S_ISDIR(st.st_mode))
		rule.allowed_access &= FS_OF_A_FILE;
	if (syscall(SYS_landlock_add_rule, r->fd,
		LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0)
		fatal("landlock_add_rule", path);
	close(rule.parent_fd);
}

static void
allow_port(const struct ruleset *r, uint16_t port, uint64_t rights)
{
	struct port_attr rule = {rights & r->handled.net, port};
	if (rule.allowed != 0 &&
		syscall(SYS_landlock_add_rule, r->fd, RULE_NET_PORT, &rule,
			0) != 0)
		fatal("landlock_add_rule", "port");
}

/* What this kernel can refuse, all of it. */
static void
handle(struct ruleset_attr *h, int abi, const struct sandbox *s)
{
	bool any_port = (s->rights & SANDBOX_INET) && s->ports == NULL;
	h->fs = FS_ALL_V1 | (abi >= 2 ? FS_REFER : 0) |
		(abi >= 3 ? FS_TRUNCATE : 0) | (abi >= 5 ? FS_IOCTL_DEV : 0);
	if (abi >= 4)
		h->net = any_port ? 0 : NET_BIND_TCP | NET_CONNECT_TCP;
	if (abi >= 6)
		h->scoped = SCOPE_ABSTRACT | SCOPE_SIGNAL;
}

/* Who works on mail meets every charset there is, and the C library keeps the
 * rarer ones in files that it loads when they are asked for, beside itself. */
static void
allow_charsets(const struct ruleset *r)
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
		allow_path(r, path, FS_READ);
}

static void
allow_all(const struct ruleset *r, const struct sandbox *s)
{
	const char *const *p;
	if (s->rights & SANDBOX_CODE)
		allow_charsets(r);
	for (p = s->trees; p != NULL && *p != NULL; p++)
		allow_path(r, *p, FS_CHANGE);
	for (p = s->readable; p != NULL && *p != NULL; p++)
		allow_path(r, *p, FS_READ);
	for (p = s->lockable; p != NULL && *p != NULL; p++)
		allow_path(r, *p, FS_MAKE_REG | FS_REMOVE_FILE);
	for (const uint16_t *n = s->ports; n != NULL && *n != 0; n++)
		allow_port(r, *n, NET_CONNECT_TCP);
	/* Any port of the kernel's choice: a source address. */
	if (s->ports != NULL)
		allow_port(r, 0, NET_BIND_TCP);
}

static void
landlock_enter(const struct sandbox *s)
{
	struct ruleset r = {.fd = -1};
	int abi = (int)syscall(SYS_landlock_create_ruleset, NULL, 0,
		LANDLOCK_CREATE_RULESET_VERSION);
	/* the first lets nobody move a file to another directory */
	if (abi < 1 || (abi < 2 && s->trees != NULL)) {
		log_debug(LOG_NO_ID, "no-landlock");
		return;
	}
	handle(&r.handled, abi, s);
	r.fd = (int)syscall(SYS_landlock_create_ruleset, &r.handled,
		sizeof r.handled, 0);
	if (r.fd < 0)
		fatal("landlock_create_ruleset", NULL);
	allow_all(&r, s);
	if (syscall(SYS_landlock_restrict_self, r.fd, 0) != 0)
		fatal("landlock_restrict_self", NULL);
	close(r.fd);
}

/* ---------------------------------------------------------------- enter */

void
sandbox_enter(const struct sandbox *s)
{
	if (s->rights == SANDBOX_NONE)
		return;
	limits_enter(s);
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 ||
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		fatal("prctl", NULL);
	landlock_enter(s);
	syscalls_enter(s->rights);
	errno = 0;
}
