/* SPDX-License-Identifier: ISC */
/*
 * The users table, edited a line at a time: what people wrote there by hand,
 * comments and order included, stays as it is.  Format (surat.conf(5)):
 *
 *	name:{SCHEME}secret:uid:gid:gecos:home:shell:options
 */
#include "ctl.h"
#include "base/arena.h"
#include "base/buf.h"
#include "mail/encode.h"
#include "mail/sasl.h"

#include <crypt.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/random.h>
#include <termios.h>
#include <unistd.h>

enum { COST = 5, NAME_MOST = 255, PASSWORD_MOST = 511, SALT = 16,
	ITERATIONS = 10000 };

/* What a server keeps of a password for SCRAM (RFC 5803), as auth reads it. */
static struct str
scram_secret(struct arena *a, struct str password)
{
	struct buf *out = buf_new(a);
	char salt[SALT];
	if (getrandom(salt, sizeof salt, 0) != sizeof salt)
		ctl_fail(EX_OSERR, "getrandom: %s", strerror(errno));
	struct sasl_secret s = sasl_make_secret(a, SASL_SCRAM_SHA_256,
		password, str_of(salt, sizeof salt), ITERATIONS);
	buf_printf(out, "{SCRAM-SHA-256}%d,", ITERATIONS);
	base64_encode(out, s.salt);
	buf_addc(out, ',');
	base64_encode(out, s.stored_key);
	buf_addc(out, ',');
	base64_encode(out, s.server_key);
	return buf_str(out);
}

static struct str
crypt_secret(struct arena *a, struct str password, unsigned cost)
{
	struct crypt_data *data = arena_one(a, struct crypt_data);
	const char *salt = crypt_gensalt_ra("$y$", cost, NULL, 0);
	const char *hash = salt == NULL ? NULL :
		crypt_r(str_cstr(a, password), salt, data);
	if (hash == NULL || *hash == '*')
		ctl_fail(EX_OSERR, "crypt: %s", strerror(errno));
	return str_printf(a, "{CRYPT}%s", hash);
}

struct str
user_line(struct arena *a, struct str name, struct str password,
	struct str home, unsigned cost)
{
	struct str secret = cost == USER_SCRAM ? scram_secret(a, password)
		: crypt_secret(a, password, cost);
	return str_printf(a, "%.*s:%.*s::::%.*s::\n", STR_ARG(name),
		STR_ARG(secret), STR_ARG(home));
}

/* What becomes a directory's name must not lead elsewhere. */
bool
user_name_ok(struct str name)
{
	size_t ats = 0;
	if (name.n == 0 || name.n > NAME_MOST || name.p[0] == '.' ||
		name.p[0] == '#' || name.p[0] == '@' || name.p[0] == '-' ||
		name.p[name.n - 1] == '@' ||
		str_search(name, STR("..")) < name.n ||
		str_search(name, STR("@.")) < name.n)
		return false;
	for (size_t i = 0; i < name.n; i++) {
		unsigned char c = (unsigned char)name.p[i];
		ats += c == '@';
		if (c <= ' ' || c == 0x7f || c == ':' || c == '/')
			return false;
	}
	return ats <= 1;
}

/* -------------------------------------------------------------- the file */

struct table {
	struct ctl *ctl;
	const char *path;
	struct str text;
	struct buf *out;
	bool found;
};

/* Two who edit at once would lose one's change; the lock goes with us. */
static struct table
open_table(struct ctl *c, bool to_change)
{
	const struct conf *conf = ctl_conf(c);
	struct table t = {.ctl = c, .text = STR(""),
		.path = str_cstr(c->arena, conf->general.users),
		.out = buf_new(c->arena)};
	const char *dir = dirname(str_cstr(c->arena, conf->general.users));
	if (to_change) {
		int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0 || flock(fd, LOCK_EX) != 0)
			ctl_fail(EX_NOPERM, "%s: %s", dir, strerror(errno));
	}
	if (!file_read(c->arena, t.path, &t.text) &&
		!(to_change && errno == ENOENT))
		ctl_fail(EX_NOINPUT, "%s: %s", t.path, strerror(errno));
	return t;
}

static bool
is_users(struct str line, struct str name)
{
	struct str first;
	return str_cut(&line, ':', &first) && line.p != NULL &&
		str_eq_nocase(str_trim(first), name);
}

/* Copies the table, with new (or nothing) in the place of name's line. */
static void
replace(struct table *t, struct str name, struct str new)
{
	struct str rest = t->text, line;
	while (rest.n > 0 && str_cut(&rest, '\n', &line)) {
		if (!is_users(line, name)) {
			buf_add(t->out, line);
			buf_addc(t->out, '\n');
			continue;
		}
		t->found = true;
		buf_add(t->out, new);
	}
}

/* auth reads the table under its own ids. */
static void
give_to_auth(const char *path)
{
	const struct group *g = getgrnam("_suratauth");
	if (geteuid() == 0 && g != NULL && chown(path, 0, g->gr_gid) != 0)
		ctl_fail(EX_NOPERM, "%s: %s", path, strerror(errno));
}

static int
save(const struct table *t)
{
	bool fresh = access(t->path, F_OK) != 0;
	if (!file_replace(t->ctl->arena, t->path, buf_str(t->out), 0640))
		ctl_fail(EX_CANTCREAT, "%s: %s", t->path, strerror(errno));
	if (fresh)
		give_to_auth(t->path);
	return EX_OK;
}

/* ------------------------------------------------------------ passwords */

static void
echo(bool on)
{
	struct termios t;
	if (tcgetattr(STDIN_FILENO, &t) != 0)
		return;
	t.c_lflag = on ? t.c_lflag | ECHO : t.c_lflag & ~(tcflag_t)ECHO;
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &t);
}

static struct str
ask_once(struct arena *a, const char *prompt)
{
	char line[PASSWORD_MOST + 2];
	bool tty = isatty(STDIN_FILENO);
	if (tty) {
		fputs(prompt, stderr);
		echo(false);
	}
	char *got = fgets(line, sizeof line, stdin);
	if (tty) {
		echo(true);
		fputc('\n', stderr);
	}
	if (got == NULL)
		ctl_fail(EX_NOINPUT, "no password on standard input");
	struct str s = str_from(line);
	if (!str_ends(s, STR("\n")) && s.n > PASSWORD_MOST)
		ctl_fail(EX_DATAERR, "the password is too long");
	if (str_ends(s, STR("\n")))
		s.n--;
	s = str_copy(a, s);
	explicit_bzero(line, sizeof line);
	return s;
}

static struct str
ask_password(struct arena *a)
{
	struct str p = ask_once(a, "Password: ");
	if (p.n == 0)
		ctl_fail(EX_DATAERR, "an empty password");
	if (isatty(STDIN_FILENO) &&
		!str_eq(p, ask_once(a, "Once more: ")))
		ctl_fail(EX_DATAERR, "these were two different passwords");
	return p;
}

/* ----------------------------------------------------------- subcommands */

static struct str
operand(struct ctl *c)
{
	if (c->argc != 1)
		ctl_fail(EX_USAGE, "one user name is needed");
	struct str name = str_from(c->argv[0]);
	if (!user_name_ok(name))
		ctl_fail(EX_USAGE, "\"%s\" cannot be a user name", c->argv[0]);
	return name;
}

void
user_put(struct ctl *c, struct str name, struct str password)
{
	struct table t = open_table(c, true);
	replace(&t, name, STR(""));
	buf_add(t.out, user_line(c->arena, name, password, STR(""), COST));
	save(&t);
}

static int
user_add(struct ctl *c)
{
	const char *home = "";
	bool scram = false;
	const struct option_row rows[] = {{"--home", OPTION_TEXT, &home, "DIR",
			"where the mail lies"},
		{"--scram", OPTION_FLAG, &scram, NULL,
			"a secret for SCRAM-SHA-256; no hash"}};
	ctl_options(c, rows, sizeof rows / sizeof *rows);
	struct str name = operand(c);
	if (*home != '\0' && (*home != '/' || strchr(home, ':') != NULL))
		ctl_fail(EX_USAGE, "--home needs an absolute path without ':'");
	struct table t = open_table(c, true);
	replace(&t, name, STR(""));
	if (t.found)
		ctl_fail(EX_CANTCREAT, "%s is there already", c->argv[0]);
	buf_add(t.out, user_line(c->arena, name, ask_password(c->arena),
		str_from(home), scram ? USER_SCRAM : COST));
	return save(&t);
}

/* The second field of the user's line, and what stands behind it. */
static struct str
find_secrets(struct ctl *c, const struct table *t, struct str name,
	struct str *rest)
{
	struct str old = t->text, line = STR(""), field;
	while (old.n > 0 && str_cut(&old, '\n', &line) &&
		!is_users(line, name))
		line = STR("");
	if (!is_users(line, name))
		ctl_fail(EX_NOUSER, "there is no user %s", c->argv[0]);
	str_cut(&line, ':', &field);
	str_cut(&line, ':', &field);
	*rest = line;
	return field;
}

/* Only the second field changes. */
static int
set_secrets(struct table *t, struct str name, struct str secrets,
	struct str rest)
{
	replace(t, name, str_printf(t->ctl->arena, "%.*s:%.*s%s%.*s\n",
		STR_ARG(name), STR_ARG(secrets), rest.p == NULL ? "" : ":",
		STR_ARG(rest)));
	return save(t);
}

/* Takes one of several secrets, a blank and a scheme between them. */
static bool
next_secret(struct str *secrets, struct str *one)
{
	if (secrets->n == 0)
		return false;
	*one = str_head(*secrets, str_search(*secrets, STR(" {")));
	*secrets = str_trim(str_skip(*secrets, one->n));
	return true;
}

/* An app password's label; false for any other secret. */
static bool
app_label(struct str secret, struct str *label)
{
	if (!str_starts(secret, STR("{APP}")))
		return false;
	secret = str_skip(secret, 5);
	return str_cut(&secret, ',', label);
}

/* The secrets that are app passwords (or are not), but for the label's. */
static struct str
pick_secrets(struct ctl *c, struct str secrets, bool apps, struct str except)
{
	struct buf *out = buf_new(c->arena);
	struct str one, label;
	while (next_secret(&secrets, &one)) {
		bool is_app = app_label(one, &label);
		if (is_app != apps || (is_app && str_eq(label, except)))
			continue;
		buf_printf(out, "%s%.*s", out->n > 0 ? " " : "", STR_ARG(one));
	}
	return out->n > 0 ? buf_str(out) : STR("");
}

/* App passwords stay: they were made so that this one can be changed. */
static int
user_passwd(struct ctl *c)
{
	bool scram = false;
	const struct option_row rows[] = {{"--scram", OPTION_FLAG, &scram, NULL,
			"a secret for SCRAM-SHA-256; no hash"}};
	ctl_options(c, rows, 1);
	struct str name = operand(c), line, hash, rest;
	struct table t = open_table(c, true);
	struct str apps = pick_secrets(c,
		find_secrets(c, &t, name, &rest), true, STR(""));
	line = user_line(c->arena, name, ask_password(c->arena), STR(""),
		scram ? USER_SCRAM : COST);
	str_cut(&line, ':', &hash);
	str_cut(&line, ':', &hash);
	return set_secrets(&t, name, str_printf(c->arena, "%.*s%s%.*s",
		STR_ARG(hash), apps.n > 0 ? " " : "", STR_ARG(apps)), rest);
}

/* -------------------------------------------------------- app passwords */

/* Twenty letters of 32, in fives: a hundred bits, so a plain digest is all
 * that has to be kept of them. */
static struct str
make_app_password(struct arena *a)
{
	enum { LETTERS = 20, GROUP = 5 };
	unsigned char noise[LETTERS];
	struct buf *out = buf_new(a);
	if (getrandom(noise, sizeof noise, 0) != sizeof noise)
		ctl_fail(EX_OSERR, "getrandom: %s", strerror(errno));
	for (size_t i = 0; i < LETTERS; i++) {
		if (i > 0 && i % GROUP == 0)
			buf_addc(out, '-');
		buf_addc(out, "abcdefghijkmnpqrstuvwxyz23456789"[
			noise[i] % 32]);
	}
	return buf_str(out);
}

static struct str
app_secret(struct arena *a, struct str label, struct str password)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned n = 0;
	struct buf *text = buf_new(a), *out = buf_new(a);
	for (size_t i = 0; i < password.n; i++)
		if (password.p[i] != '-')
			buf_addc(text, password.p[i]);
	if (EVP_Digest(text->p, text->n, digest, &n, EVP_sha256(), NULL) != 1)
		ctl_fail(EX_OSERR, "no SHA-256");
	buf_printf(out, "{APP}%.*s,", STR_ARG(label));
	base64_encode(out, str_of(digest, n));
	return buf_str(out);
}

static int
list_apps(struct ctl *c, struct str secrets)
{
	struct str one, label;
	while (next_secret(&secrets, &one)) {
		if (!app_label(one, &label))
			continue;
		if (c->json) {
			struct json_row *j = json_begin();
			json_text(j, "name", label);
			json_end(j);
		} else {
			printf("%.*s\n", STR_ARG(label));
		}
	}
	return EX_OK;
}

static struct str
take_label(struct ctl *c)
{
	struct str label = str_from(c->argv[1]);
	bool fine = label.n > 0 && label.n <= 64;
	for (size_t i = 0; i < label.n; i++)
		fine = fine && (label.p[i] > ' ' && label.p[i] < 0x7f) &&
			!str_has(STR(",:{}"), label.p[i]);
	if (!fine)
		ctl_fail(EX_USAGE, "\"%s\" cannot be the name of a password",
			c->argv[1]);
	return label;
}

static void
show_password(const struct ctl *c, struct str label, struct str password)
{
	if (!c->json) {
		printf("%.*s\n", STR_ARG(password));
		return;
	}
	struct json_row *j = json_begin();
	json_text(j, "name", label);
	json_text(j, "password", password);
	json_end(j);
}

/* Made anew under a name that is there, the old one is void. */
static int
user_apppass(struct ctl *c)
{
	bool revoke = false;
	const struct option_row rows[] = {{"--revoke", OPTION_FLAG, &revoke,
		NULL, "it is void from now on"}};
	struct str rest, fresh = STR("");
	ctl_options(c, rows, 1);
	if (c->argc < 1 || (revoke && c->argc < 2))
		ctl_fail(EX_USAGE, "a user, and the name of the password");
	struct str name = str_from(c->argv[0]);
	struct table t = open_table(c, c->argc == 2);
	struct str secrets = find_secrets(c, &t, name, &rest);
	if (c->argc == 1)
		return list_apps(c, secrets);
	struct str label = take_label(c);
	struct str apps = pick_secrets(c, secrets, true, label);
	struct str others = pick_secrets(c, secrets, false, STR(""));
	struct str all = pick_secrets(c, secrets, true, STR(""));
	if (revoke && apps.n == all.n)
		ctl_fail(EX_NOUSER, "there is no password %s", c->argv[1]);
	struct str password = make_app_password(c->arena);
	if (!revoke)
		fresh = app_secret(c->arena, label, password);
	int code = set_secrets(&t, name, str_trim(str_printf(c->arena,
		"%.*s %.*s%s%.*s", STR_ARG(others), STR_ARG(apps),
		apps.n > 0 ? " " : "", STR_ARG(fresh))), rest);
	if (!revoke)
		show_password(c, label, password);
	return code;
}

static int
user_delete(struct ctl *c)
{
	ctl_options(c, NULL, 0);
	struct str name = operand(c);
	struct table t = open_table(c, true);
	replace(&t, name, STR(""));
	if (!t.found)
		ctl_fail(EX_NOUSER, "there is no user %s", c->argv[0]);
	return save(&t);
}

static void
show_user(const struct ctl *c, struct str line)
{
	static const char *const fields[] = {"name", "secret", "uid", "gid",
		"gecos", "home", "shell"};
	enum { NAME, SECRET, UID, GID, GECOS, HOME, FIELDS = 7 };
	struct str v[FIELDS] = {0};
	for (size_t i = 0; i < FIELDS && str_cut(&line, ':', &v[i]); i++)
		continue;
	/* Of the secret only how it is kept. */
	v[SECRET] = str_head(v[SECRET], str_find(v[SECRET], '}') + 1);
	if (!c->json) {
		printf("%-30.*s %-12.*s %.*s\n", STR_ARG(v[NAME]),
			STR_ARG(v[SECRET]), STR_ARG(v[HOME]));
		return;
	}
	struct json_row *j = json_begin();
	for (size_t i = 0; i < FIELDS; i++)
		if (i != SECRET)
			json_text(j, fields[i], v[i]);
	json_end(j);
}

static int
user_list(struct ctl *c)
{
	ctl_options(c, NULL, 0);
	struct table t = open_table(c, false);
	struct str rest = t.text, line;
	while (rest.n > 0 && str_cut(&rest, '\n', &line)) {
		line = str_trim(line);
		if (line.n > 0 && line.p[0] != '#')
			show_user(c, line);
	}
	return EX_OK;
}

int
ctl_user(struct ctl *c)
{
	static const struct subcommand rows[] = {
		{"add", "NAME[@DOMAIN] [--home DIR]",
			"Adds a user; the password comes from standard input.",
			user_add, 1},
		{"passwd", "NAME", "Sets a new password.", user_passwd, 1},
		{"apppass", "NAME [LABEL [--revoke]]",
			"Makes, revokes or lists passwords for one program.",
			user_apppass, 2},
		{"list", "[--json]", "Shows the users.", user_list},
		{"delete", "NAME", "Deletes a user; the mail stays.",
			user_delete, 1},
	};
	return ctl_dispatch(c, "surat user", rows,
		sizeof rows / sizeof *rows);
}
