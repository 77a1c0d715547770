/* SPDX-License-Identifier: ISC */
/*
 * `surat run`: a whole suite in one directory, on loopback ports, for trying
 * it out, for tests and for measuring.  Everything it needs is made below
 * DIR, then suratd takes over.  Started as root it gives up root first and
 * for good, so that nothing here can harm the machine.
 */
#include "ctl.h"
#include "base/arena.h"
#include "base/buf.h"
#include "sys/net.h"
#include "sys/sandbox.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEFAULT_OFFSET = 10000, PORTS_MOST = 65535, CHEAP = 1 };

struct run {
	struct ctl *ctl;
	const char *dir;
	int64_t offset;
	struct str_list domains, users;
	const char *table; /* --users */
	const char *smarthost;
	bool plaintext;
	const char *base; /* --config */
	const char *as;
	struct str_list sets;
	struct buf *settings; /* "section.option=value" LF */
	size_t setting_count;
};

static void
take_options(struct run *r)
{
	const struct option_row rows[] = {
		{"--dir", OPTION_TEXT, &r->dir, "DIR",
			"everything lies there"},
		{"--port-offset", OPTION_NUMBER, &r->offset, "N",
			"added to the standard ports; 10000"},
		{"--domain", OPTION_LIST, &r->domains, "DOMAIN",
			"mail for it is ours; more than once: for each"},
		{"--user", OPTION_LIST, &r->users, "NAME[@DOMAIN]:PASSWORD",
			"a user; more than once: each"},
		{"--users", OPTION_TEXT, &r->table, "FILE",
			"a table of users, used as it is"},
		{"--smarthost", OPTION_TEXT, &r->smarthost, "HOST:PORT",
			"where mail to others goes"},
		{"--plaintext-auth", OPTION_FLAG, &r->plaintext, NULL,
			"logins without TLS, from loopback only"},
		{"--config", OPTION_TEXT, &r->base, "FILE",
			"further options; those here come after"},
		{"--as", OPTION_TEXT, &r->as, "USER",
			"who runs it when root starts it"},
		{"--set", OPTION_LIST, &r->sets, "SECTION.OPTION=VALUE",
			"one option of surat.conf(5)"},
	};
	static struct str usual[] = {STR_INIT("example.test")};
	r->offset = DEFAULT_OFFSET;
	ctl_options(r->ctl, rows, sizeof rows / sizeof *rows);
	if (r->dir == NULL)
		ctl_fail(EX_USAGE, "run needs --dir DIR; see --help");
	if (r->offset > PORTS_MOST - 995)
		ctl_fail(EX_USAGE, "--port-offset is too large");
	if (r->domains.n == 0 && r->base == NULL)
		r->domains = (struct str_list){usual, 1};
}

/* ------------------------------------------------------------ privileges */

static bool
is_empty(const char *dir)
{
	DIR *d = opendir(dir);
	size_t entries = 0;
	if (d == NULL)
		return false;
	while (readdir(d) != NULL)
		entries++;
	closedir(d);
	return entries <= 2;
}

static const struct passwd *
find_user(const char *name)
{
	const struct passwd *pw = getpwnam(name);
	if (pw == NULL || pw->pw_uid == 0)
		ctl_fail(EX_NOUSER, "%s %s", name,
			pw == NULL ? "is no user of this system" :
				     "is root, which run gives up");
	return pw;
}

/* --as USER, else the owner of DIR, else nobody; a directory of root's is
 * taken over when there is nothing in it. */
static void
give_up_root(const struct run *r)
{
	struct stat st;
	unsigned uid, gid;
	if (geteuid() != 0)
		return;
	if (stat(r->dir, &st) != 0)
		ctl_fail(EX_CANTCREAT, "%s: %s", r->dir, strerror(errno));
	if (r->as != NULL || st.st_uid == 0) {
		const struct passwd *pw =
			find_user(r->as != NULL ? r->as : "nobody");
		uid = pw->pw_uid;
		gid = pw->pw_gid;
	} else {
		uid = st.st_uid;
		gid = st.st_gid == 0 ? st.st_uid : st.st_gid;
	}
	if (st.st_uid == 0 && !is_empty(r->dir))
		ctl_fail(EX_NOPERM, "%s is root's and not empty: chown it to "
			"the user that shall run the suite", r->dir);
	if (st.st_uid == 0 && chown(r->dir, uid, gid) != 0)
		ctl_fail(EX_NOPERM, "%s: %s", r->dir, strerror(errno));
	sandbox_become(uid, gid, false, false);
}

/* -------------------------------------------------------------- contents */

static const char *
path(const struct run *r, const char *name)
{
	struct arena *a = r->ctl->arena;
	return str_cstr(a, str_printf(a, "%s/%s", r->dir, name));
}

static void
make_directory(const char *dir, mode_t mode)
{
	if (mkdir(dir, mode) != 0 && errno != EEXIST)
		ctl_fail(EX_CANTCREAT, "%s: %s", dir, strerror(errno));
}

static void
write_file(const struct run *r, const char *name, struct str text, unsigned mode)
{
	if (!file_replace(r->ctl->arena, path(r, name), text, mode))
		ctl_fail(EX_CANTCREAT, "%s: %s", path(r, name),
			strerror(errno));
}

/* NAME[@DOMAIN]:PASSWORD */
static void
add_user(const struct run *r, struct buf *table, struct str text)
{
	struct arena *a = r->ctl->arena;
	struct str password = text, name, local, domain = STR("");
	if (!str_cut(&password, ':', &name) || password.n == 0 ||
		!user_name_ok(name))
		ctl_fail(EX_USAGE, "--user %.*s is not NAME[@DOMAIN]:PASSWORD",
			STR_ARG(text));
	size_t at = str_find_last(name, '@');
	local = str_head(name, at);
	domain = str_skip(name, at + 1);
	struct str home = str_printf(a, "%s/mail%s%.*s/%.*s", r->dir,
		domain.n > 0 ? "/" : "", STR_ARG(domain), STR_ARG(local));
	buf_add(table, user_line(a, name, password, home, CHEAP));
}

/* A second start without users keeps those of the first. */
static void
write_users(const struct run *r)
{
	struct arena *a = r->ctl->arena;
	struct buf *table = buf_new(a);
	struct str given = STR("");
	if (r->table != NULL && !file_read(a, r->table, &given))
		ctl_fail(EX_NOINPUT, "%s: %s", r->table, strerror(errno));
	buf_add(table, given);
	if (given.n > 0 && !str_ends(given, STR("\n")))
		buf_addc(table, '\n');
	for (size_t i = 0; i < r->users.n; i++)
		add_user(r, table, r->users.v[i]);
	if (table->n > 0 || access(path(r, "users"), F_OK) != 0)
		write_file(r, "users", buf_str(table), 0600);
	if (access(path(r, "aliases"), F_OK) != 0)
		write_file(r, "aliases", STR(""), 0644);
}

static void
make_contents(struct run *r)
{
	static const char *const dirs[] = {"mail", "state", "run", "tls"};
	struct str names[2] = {STR("mail.example.test"), STR("example.test")};
	if (r->domains.n > 0) {
		names[1] = r->domains.v[0];
		names[0] = str_printf(r->ctl->arena, "mail.%.*s",
			STR_ARG(names[1]));
	}
	for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++)
		make_directory(path(r, dirs[i]), 0700);
	write_users(r);
	certificate_make(r->ctl, path(r, "tls/cert.pem"),
		path(r, "tls/key.pem"), (struct str_list){names, 2});
}

/* --------------------------------------------------------- configuration */

static void
set(struct run *r, const char *option, struct str value)
{
	buf_printf(r->settings, "%s=%.*s\n", option, STR_ARG(value));
	r->setting_count++;
}

/* Containers often have no IPv6. */
static bool
has_ipv6(void)
{
	struct net_address at;
	int fd = net_parse_ip(STR("::1"), 0, &at) ? net_listen(&at) : -1;
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static void
set_ports(struct run *r)
{
	static const struct {
		const char *option;
		int port;
	} rows[] = {{"listen.smtp", 25}, {"listen.lmtp", 24},
		{"listen.submission", 587}, {"listen.submissions", 465},
		{"listen.imap", 143}, {"listen.imaps", 993},
		{"listen.pop3", 110}, {"listen.pop3s", 995}};
	bool ipv6 = has_ipv6();
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		int port = rows[i].port + (int)r->offset;
		set(r, rows[i].option, str_printf(r->ctl->arena,
			ipv6 ? "127.0.0.1:%d, [::1]:%d" : "127.0.0.1:%d",
			port, port));
	}
}

static void
set_everything(struct run *r)
{
	static const struct {
		const char *option, *name;
	} paths[] = {{"general.users", "users"}, {"general.aliases", "aliases"},
		{"general.state", "state"}, {"general.runtime", "run"},
		{"general.mail", "mail"}, {"tls.certificate", "tls/cert.pem"},
		{"tls.key", "tls/key.pem"}};
	struct arena *a = r->ctl->arena;
	for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
		set(r, paths[i].option, str_from(path(r, paths[i].name)));
	set_ports(r);
	set(r, "log.target", STR("stderr"));
	if (r->domains.n > 0) {
		set(r, "general.hostname", str_printf(a, "mail.%.*s",
			STR_ARG(r->domains.v[0])));
		set(r, "general.domains", str_join(a, r->domains, STR(", ")));
	}
	if (r->smarthost != NULL)
		set(r, "remote.smarthost", str_from(r->smarthost));
	if (r->plaintext)
		set(r, "smtp.plaintext_auth", STR("yes"));
}

/* The base, then our settings, then --set: the later wins. */
static struct str_list
all_settings(const struct run *r)
{
	struct arena *a = r->ctl->arena;
	struct str_list list = {arena_array(a, r->setting_count + r->sets.n,
		sizeof *list.v), 0};
	struct str rest = buf_str(r->settings), line;
	while (list.n < r->setting_count && str_cut(&rest, '\n', &line))
		list.v[list.n++] = line;
	for (size_t i = 0; i < r->sets.n; i++)
		list.v[list.n++] = r->sets.v[i];
	return list;
}

static void
write_conf(const struct run *r)
{
	struct arena *a = r->ctl->arena;
	const char *from = r->base != NULL ? r->base : "/dev/null";
	struct buf *errors = buf_new(a), *text = buf_new(a);
	int fd = open(from, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		ctl_fail(EX_NOINPUT, "%s: %s", from, strerror(errno));
	const struct conf *conf = conf_read(a, fd,
		r->base != NULL ? r->base : "surat run", all_settings(r),
		errors);
	close(fd);
	if (conf == NULL) {
		fprintf(stderr, "%.*s", STR_ARG(buf_str(errors)));
		exit(EX_CONFIG);
	}
	conf_write(conf, text);
	write_file(r, "surat.conf", buf_str(text), 0600);
}

static void
start(const struct run *r)
{
	struct arena *a = r->ctl->arena;
	struct str dir = ctl_directory(a);
	const char *suratd = str_cstr(a,
		str_printf(a, "%.*s/suratd", STR_ARG(dir)));
	if (chdir(r->dir) != 0)
		ctl_fail(EX_NOPERM, "%s: %s", r->dir, strerror(errno));
	execl(suratd, "suratd", "--config", path(r, "surat.conf"),
		"--announce", (char *)NULL);
	ctl_fail(EX_UNAVAILABLE, "%s: %s", suratd, strerror(errno));
}

int
ctl_run(struct ctl *c)
{
	struct run r = {.ctl = c, .settings = buf_new(c->arena)};
	umask(022);
	take_options(&r);
	make_directory(r.dir, 0755);
	give_up_root(&r);
	r.dir = realpath(r.dir, NULL);
	if (r.dir == NULL)
		ctl_fail(EX_CANTCREAT, "DIR: %s", strerror(errno));
	make_contents(&r);
	set_everything(&r);
	write_conf(&r);
	start(&r);
	return EX_UNAVAILABLE;
}
