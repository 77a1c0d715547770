/* SPDX-License-Identifier: ISC */
/*
 * `surat backup DIR` and `surat restore DIR`: configuration, queue and mail,
 * while the suite runs.  The queue comes first: what is delivered meanwhile is
 * then in both, and a delivery that is done again is recognised by its file
 * name.  The other order would lose what left the queue in between.
 *
 *	DIR/config		surat.conf, users, aliases, certificate, key
 *	DIR/queue		the queue's database, large bodies
 *	DIR/mail		of virtual users
 *	DIR/homes/USER/Maildir	of those who have a home of their own
 */
#include "base/arena.h"
#include "base/buf.h"
#include "copy.h"
#include "ctl.h"
#include "mail/header.h"
#include "store/folders.h"
#include "store/maildir.h"
#include "sys/sandbox.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sqlite3.h>

enum { SNAPSHOTS_MOST = 5, BUSY_MS = 10000 };

struct backup {
	struct ctl *ctl;
	struct arena *arena;
	const struct conf *conf;
	int dir, base; /* the backup; an older one, or -1 */
	const char *path; /* of dir */
	struct copy copy;
};

/* ------------------------------------------------------------ directories */

static int
open_dir(int at, const char *name, bool make)
{
	if (make && mkdirat(at, name, 0700) != 0 && errno != EEXIST)
		ctl_fail(EX_CANTCREAT, "%s: %s", name, strerror(errno));
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 && (make || errno != ENOENT))
		ctl_fail(EX_NOINPUT, "%s: %s", name, strerror(errno));
	return fd;
}

static const char *
text(struct backup *b, const char *fmt, struct str s)
{
	return str_cstr(b->arena, str_printf(b->arena, fmt, STR_ARG(s)));
}

static void
close_all(const int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

/* Whole trees by path; one that is not there is nothing to copy. */
static void
save_tree(struct backup *b, const char *path, const char *as)
{
	int fds[3] = {open_dir(AT_FDCWD, path, false), -1, -1};
	if (fds[0] < 0)
		return;
	fds[1] = open_dir(b->dir, as, true);
	fds[2] = b->base < 0 ? -1 : open_dir(b->base, as, false);
	copy_tree(&b->copy, fds[0], fds[1], fds[2]);
	close_all(fds, 3);
}

/* ------------------------------------------------------------------ queue */

static bool
run_sql(sqlite3 *db, char *sql)
{
	bool ok = sql != NULL && sqlite3_exec(db, sql, NULL, NULL, NULL) ==
		SQLITE_OK;
	sqlite3_free(sql);
	return ok;
}

/* One moment of the database, whatever is being written. */
static void
snapshot(const char *from, const char *to)
{
	sqlite3 *db;
	unlink(to);
	if (sqlite3_open_v2(from, &db, SQLITE_OPEN_READONLY, NULL) !=
		SQLITE_OK)
		ctl_fail(EX_NOINPUT, "%s: %s", from, sqlite3_errmsg(db));
	sqlite3_busy_timeout(db, BUSY_MS);
	if (!run_sql(db, sqlite3_mprintf("VACUUM INTO %Q", to)))
		ctl_fail(EX_IOERR, "%s: %s", from, sqlite3_errmsg(db));
	sqlite3_close(db);
}

/* Is every large body here that the snapshot speaks of? */
static bool
is_whole(const char *path, int dir)
{
	sqlite3 *db;
	sqlite3_stmt *s = NULL;
	bool whole = sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL) ==
		SQLITE_OK && sqlite3_prepare_v2(db, "SELECT body FROM message "
		"WHERE body <> ''", -1, &s, NULL) == SQLITE_OK;
	while (whole && sqlite3_step(s) == SQLITE_ROW)
		whole = faccessat(dir, (const char *)sqlite3_column_text(s, 0),
			F_OK, 0) == 0;
	sqlite3_finalize(s);
	sqlite3_close(db);
	return whole;
}

/* Bodies before and after: one that comes or goes meanwhile is had. */
static void
save_queue(struct backup *b)
{
	const char *from = text(b, "%.*s/queue", b->conf->general.state);
	const char *db = text(b, "%.*s/queue/queue.db",
		b->conf->general.state);
	const char *to = str_cstr(b->arena, str_printf(b->arena,
		"%s/queue/queue.db", b->path));
	bool whole = false;
	if (access(db, F_OK) != 0)
		return;
	b->copy.skip = "queue.db";
	for (int i = 0; i < SNAPSHOTS_MOST && !whole; i++) {
		save_tree(b, from, "queue");
		snapshot(db, to);
		save_tree(b, from, "queue");
		int dir = open_dir(b->dir, "queue", false);
		whole = is_whole(to, dir);
		close(dir);
	}
	b->copy.skip = NULL;
	if (!whole)
		ctl_fail(EX_TEMPFAIL, "the queue changes too fast");
}

/* ---------------------------------------------------------- configuration */

static void
make_path(const struct backup *b, struct str path)
{
	for (size_t i = 1; i <= path.n; i++) {
		if (i < path.n && path.p[i] != '/')
			continue;
		const char *dir = str_cstr(b->arena, str_head(path, i));
		if (mkdir(dir, 0755) != 0 && errno != EEXIST)
			ctl_fail(EX_CANTCREAT, "%s: %s", dir, strerror(errno));
	}
}

struct config_file {
	const char *name;
	struct str path;
	unsigned mode;
};

enum { CONFIG_FILES = 5 };

static void
config_files(const struct backup *b, struct config_file rows[CONFIG_FILES])
{
	const struct conf *c = b->conf;
	const struct config_file all[CONFIG_FILES] = {
		{"surat.conf", str_from(b->ctl->config), 0644},
		{"users", c->general.users, 0640},
		{"aliases", c->general.aliases, 0644},
		{"certificate.pem", c->tls.certificate, 0644},
		{"key.pem", c->tls.key, 0600},
	};
	memcpy(rows, all, sizeof all);
}

static void
move_config(struct backup *b, bool back)
{
	struct config_file rows[CONFIG_FILES];
	config_files(b, rows);
	for (size_t i = 0; i < CONFIG_FILES; i++) {
		const char *there = str_cstr(b->arena, rows[i].path);
		const char *here = str_cstr(b->arena, str_printf(b->arena,
			"%s/config/%s", b->path, rows[i].name));
		struct str content;
		const char *to = back ? there : here;
		if (rows[i].path.n == 0 || (back && access(to, F_OK) == 0) ||
			!file_read(b->arena, back ? here : there, &content))
			continue;
		if (back)
			make_path(b, str_head(rows[i].path,
				str_find_last(rows[i].path, '/')));
		if (!file_replace(b->arena, to, content, rows[i].mode))
			ctl_fail(EX_CANTCREAT, "%s: %s", to, strerror(errno));
	}
}

/* ------------------------------------------------------------------ people */

/* Those of the table of users whose home is their own. */
static void
each_home(struct backup *b, const char *table, void (*fn)(struct backup *b,
	struct str name, struct str home))
{
	enum { HOME = 5 };
	struct str rest, line, field, name;
	if (!file_read(b->arena, table, &rest))
		ctl_fail(EX_NOINPUT, "%s: %s", table, strerror(errno));
	while (rest.n > 0 && str_cut(&rest, '\n', &line)) {
		if (str_starts(line, STR("#")) || !str_cut(&line, ':', &name))
			continue;
		for (int i = 1; i <= HOME; i++)
			str_cut(&line, ':', &field);
		if (str_starts(field, STR("/")) && user_name_ok(name))
			fn(b, name, field);
	}
}

static void
save_home(struct backup *b, struct str name, struct str home)
{
	const char *maildir = text(b, "%.*s/Maildir", home);
	const char *as = text(b, "homes/%.*s", name);
	if (access(maildir, F_OK) != 0)
		return;
	close(open_dir(b->dir, "homes", true));
	close(open_dir(b->dir, as, true));
	save_tree(b, maildir, text(b, "homes/%.*s/Maildir", name));
}

/* --------------------------------------------------------------- commands */

static void
report(const struct backup *b, const char *what)
{
	if (!b->ctl->json) {
		printf("%s: %lld files, %lld MB\n", what,
			(long long)b->copy.files,
			(long long)(b->copy.octets >> 20));
		return;
	}
	struct json_row *j = json_begin();
	json_text(j, "result", str_from(what));
	json_number(j, "files", b->copy.files);
	json_number(j, "octets", b->copy.octets);
	json_end(j);
}

int
ctl_backup(struct ctl *c)
{
	struct backup b = {.ctl = c, .arena = c->arena, .base = -1};
	const char *base = NULL;
	const struct option_row rows[] = {{"--base", OPTION_TEXT, &base,
		"OLDER", "share what is the same with this backup"}};
	ctl_options(c, rows, 1);
	if (c->argc != 1)
		ctl_fail(EX_USAGE, "backup needs a new directory");
	b.conf = ctl_conf(c);
	b.path = c->argv[0];
	umask(077);
	if (mkdir(b.path, 0700) != 0)
		ctl_fail(EX_CANTCREAT, "%s: %s", b.path, strerror(errno));
	b.dir = open_dir(AT_FDCWD, b.path, false);
	if (base != NULL)
		b.base = open_dir(AT_FDCWD, base, false);
	if (base != NULL && b.base < 0)
		ctl_fail(EX_NOINPUT, "%s: %s", base, strerror(errno));
	close(open_dir(b.dir, "config", true));
	move_config(&b, false);
	save_queue(&b);
	save_tree(&b, str_cstr(c->arena, b.conf->general.mail), "mail");
	each_home(&b, str_cstr(c->arena, b.conf->general.users), save_home);
	if (syncfs(b.dir) != 0)
		ctl_fail(EX_IOERR, "%s: %s", b.path, strerror(errno));
	report(&b, "saved");
	return EX_OK;
}

/* ---------------------------------------------------------------- restore */

/* Ids are this machine's, which may have other numbers. */
static void
own_as(struct backup *b, const char *user)
{
	const struct passwd *pw = getpwnam(user);
	b->copy.owned = pw != NULL && geteuid() == 0;
	b->copy.uid = pw != NULL ? pw->pw_uid : 0;
	b->copy.gid = pw != NULL ? pw->pw_gid : 0;
}

static void
load_tree(struct backup *b, const char *from, struct str to)
{
	int fds[2] = {open_dir(b->dir, from, false), -1};
	struct stat st;
	if (fds[0] < 0)
		return;
	bool fresh = stat(str_cstr(b->arena, to), &st) != 0;
	make_path(b, to);
	fds[1] = open_dir(AT_FDCWD, str_cstr(b->arena, to), false);
	if (fresh && fchmod(fds[1], 0700) == 0 && b->copy.owned &&
		fchown(fds[1], b->copy.uid, b->copy.gid) != 0)
		ctl_fail(EX_NOPERM, "chown: %s", strerror(errno));
	copy_tree(&b->copy, fds[0], fds[1], -1);
	close_all(fds, 2);
}

static void
load_home(struct backup *b, struct str name, struct str home)
{
	struct stat st;
	if (stat(str_cstr(b->arena, home), &st) != 0) {
		fprintf(stderr, "%.*s: no home %.*s: left out\n",
			STR_ARG(name), STR_ARG(home));
		return;
	}
	b->copy.owned = geteuid() == 0;
	b->copy.uid = st.st_uid;
	b->copy.gid = st.st_gid;
	load_tree(b, text(b, "homes/%.*s/Maildir", name),
		str_printf(b->arena, "%.*s/Maildir", STR_ARG(home)));
}

/* Two who write one queue would be its end. */
static void
check_stopped(struct backup *b)
{
	const char *lock = text(b, "%.*s/suratd.lock",
		b->conf->general.runtime);
	const char *db = text(b, "%.*s/queue/queue.db",
		b->conf->general.state);
	struct flock reading = {.l_type = F_RDLCK};
	int fd = open(lock, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && fcntl(fd, F_SETLK, &reading) != 0)
		ctl_fail(EX_TEMPFAIL, "the suite runs: stop it first, or "
			"restore single users");
	if (fd >= 0)
		close(fd);
	if (access(db, F_OK) == 0)
		ctl_fail(EX_CANTCREAT, "%s is there: move it away first", db);
}

/* Below here everything is done as whose mail it is. */
static void
become_owner(const char *home)
{
	struct stat st;
	if (stat(home, &st) != 0)
		ctl_fail(EX_NOINPUT, "%s: %s", home, strerror(errno));
	if (geteuid() == 0 && st.st_uid != 0)
		sandbox_become(st.st_uid, st.st_gid, false, false);
}

/* What is put back of an account: all, one folder, one message of it. */
struct part {
	struct str user;
	const char *folder, *message_id;
	int64_t uid; /* 0: any */
};

enum { HEAD_MOST = 1 << 20 };

static bool
is_one(const struct part *p)
{
	return p->uid != 0 || p->message_id != NULL;
}

static bool
has_message_id(int dir, const char *name, struct str id)
{
	struct arena *a = arena_new("head");
	char *head = arena_alloc(a, HEAD_MOST);
	int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK |
		O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, head, HEAD_MOST);
	struct str text = str_of(head, n > 0 ? (size_t)n : 0), value;
	bool same = false;
	if (header_find(str_head(text, header_length(text)),
		STR("Message-ID"), &value)) {
		struct str_list ids = header_message_ids(a, value);
		same = ids.n > 0 && str_eq(ids.v[0], id);
	}
	if (fd >= 0)
		close(fd);
	arena_free(a);
	return same;
}

static bool
is_wanted(void *ctx, int dir, const char *name)
{
	const struct part *p = ctx;
	struct str id = str_from(p->message_id == NULL ? "" : p->message_id);
	if (str_starts(id, STR("<")) && id.p[id.n - 1] == '>')
		id = str_head(str_skip(id, 1), id.n - 2);
	if (p->uid != 0 && maildir_parse(str_from(name)).uid != p->uid)
		return false;
	return id.n == 0 || has_message_id(dir, name, id);
}

/* Before a folder is made for it that may be gone for good. */
static bool
holds_wanted(int folder, struct part *p)
{
	static const char *const names[] = {"new", "cur"};
	bool found = false;
	for (size_t i = 0; i < 2; i++) {
		int fd = open_dir(folder, names[i], false);
		int own = fd < 0 ? -1 : dup(fd);
		DIR *d = own < 0 ? NULL : fdopendir(own);
		struct dirent *e;
		while (d != NULL && !found && (e = readdir(d)) != NULL)
			found = e->d_name[0] != '.' &&
				is_wanted(p, fd, e->d_name);
		if (d != NULL)
			closedir(d);
		close_all(&fd, 1);
	}
	return found;
}

/* Its directory in the Maildir, with the slash before it. */
static struct str
part_directory(struct arena *a, const struct part *p)
{
	struct str name, dir;
	if (p->folder == NULL || strcasecmp(p->folder, "INBOX") == 0)
		return STR("");
	if (!folders_name(a, str_from(p->folder), &name) ||
		!maildir_dir(a, name, &dir))
		ctl_fail(EX_USAGE, "%s cannot be a folder", p->folder);
	return str_printf(a, "/%.*s", STR_ARG(dir));
}

/* Beside what is there by now. */
static int
restore_user(struct backup *b, struct part *p)
{
	struct arena *a = b->arena;
	struct str user = p->user;
	struct str home = user_home(b->ctl, user);
	struct str root = b->conf->general.mail;
	struct str below = str_starts(home, root) ?
		str_printf(a, "mail%.*s", STR_ARG(str_skip(home, root.n))) :
		str_printf(a, "homes/%.*s", STR_ARG(user));
	struct str part = part_directory(a, p);
	const char *from = str_cstr(a, str_printf(a, "%.*s/Maildir%.*s",
		STR_ARG(below), STR_ARG(part)));
	struct str to = str_printf(a, "%.*s/Maildir%.*s", STR_ARG(home),
		STR_ARG(part));
	int fds[2] = {open_dir(b->dir, from, false), -1};
	if (fds[0] < 0)
		ctl_fail(EX_NOINPUT, "%s: is not in this backup", from);
	if (is_one(p) && !holds_wanted(fds[0], p))
		ctl_fail(EX_NOINPUT, "%s: no such message in this backup",
			from);
	become_owner(str_cstr(a, home));
	make_path(b, to);
	fds[1] = open_dir(AT_FDCWD, str_cstr(a, to), false);
	/* INBOX holds all other folders, whose names begin with a dot. */
	if (p->folder != NULL)
		b->copy.skip = ".";
	if (is_one(p)) {
		b->copy.wants = is_wanted;
		b->copy.ctx = p;
	}
	copy_tree(&b->copy, fds[0], fds[1], -1);
	close_all(fds, 2);
	bool there = is_one(p) && b->copy.messages == 0;
	if (there && !b->ctl->json)
		puts("it is in the folder");
	else
		report(b, there ? "there" : "restored");
	return there ? EX_NOTHING : EX_OK;
}

int
ctl_restore(struct ctl *c)
{
	struct backup b = {.ctl = c, .arena = c->arena, .base = -1};
	const char *user = NULL;
	struct part p = {.folder = NULL};
	const struct option_row rows[] = {
		{"--user", OPTION_TEXT, &user, "NAME", "this one's mail only"},
		{"--folder", OPTION_TEXT, &p.folder, "NAME",
			"of it this folder only"},
		{"--uid", OPTION_NUMBER, &p.uid, "N",
			"of it the message that had this UID"},
		{"--message-id", OPTION_TEXT, &p.message_id, "ID",
			"of it the messages with this Message-ID"}};
	ctl_options(c, rows, sizeof rows / sizeof *rows);
	if (c->argc != 1 || (p.folder != NULL && user == NULL) ||
		(is_one(&p) && p.folder == NULL))
		ctl_fail(EX_USAGE, "restore needs a directory of surat backup; "
			"--uid and --message-id need --folder, and that "
			"--user");
	b.path = c->argv[0];
	b.dir = open_dir(AT_FDCWD, b.path, false);
	if (b.dir < 0)
		ctl_fail(EX_NOINPUT, "%s: %s", b.path, strerror(errno));
	umask(077);
	if (user == NULL && access(c->config, F_OK) != 0)
		ctl_fail(EX_CONFIG, "%s: put %s/config/surat.conf there first",
			c->config, b.path);
	b.conf = ctl_conf(c);
	if (user != NULL) {
		p.user = str_from(user);
		return restore_user(&b, &p);
	}
	check_stopped(&b);
	move_config(&b, true);
	own_as(&b, "_suratq");
	load_tree(&b, "queue", str_printf(c->arena, "%.*s/queue",
		STR_ARG(b.conf->general.state)));
	own_as(&b, "_suratmail");
	load_tree(&b, "mail", b.conf->general.mail);
	each_home(&b, str_cstr(c->arena, b.conf->general.users), load_home);
	report(&b, "restored");
	return EX_OK;
}
