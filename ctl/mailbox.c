/* SPDX-License-Identifier: ISC */
/*
 * `surat mailbox`: one account's folders shown, checked, and their index made
 * anew, while the suite runs or not.  The account is named by its user, whom
 * auth knows, or by the directory its Maildir lies in; root becomes its owner
 * before anything in it is touched.
 */
#include "ctl.h"
#include "base/arena.h"
#include "base/buf.h"
#include "store/check.h"
#include "store/folders.h"
#include "store/mailbox.h"
#include "store/quota.h"
#include "store/store.h"
#include "sys/sandbox.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct account {
	struct ctl *ctl;
	struct arena *arena;
	struct store *store;
	const char *folder; /* --folder */
	bool progress; /* on a terminal */
	bool line; /* of progress is shown */
};

/* ----------------------------------------------------------- the account */

/* The home of a user whose mail is kept here. */
struct str
user_home(struct ctl *c, struct str user)
{
	struct message ask = MESSAGE(route), m;
	ask.route.address = user;
	ctl_answer(c->arena, ctl_ask(c, "surat", "auth", &ask), &m);
	if (m.kind != MSG_route_result)
		ctl_fail(EX_PROTOCOL, "an unexpected answer");
	const struct msg_route_result *r = &m.route_result;
	for (size_t i = 0; i < r->home.n; i++)
		if (r->home.v[i].n > 0 && r->user.n > i &&
			(r->home.n == 1 || str_eq_nocase(r->user.v[i], user)))
			return r->home.v[i];
	ctl_fail(EX_NOUSER, "%.*s has no mailbox here", STR_ARG(user));
}

static struct str
find_home(struct ctl *c)
{
	const char *home = getenv("HOME");
	if (c->argc == 1 && strchr(c->argv[0], '/') == NULL)
		return user_home(c, str_from(c->argv[0]));
	if (c->argc == 1)
		home = c->argv[0];
	char *full = home == NULL ? NULL : realpath(home, NULL);
	if (full == NULL)
		ctl_fail(EX_NOINPUT, "%s: %s", home == NULL ? "HOME" : home,
			strerror(errno));
	struct str copy = str_copy(c->arena, str_from(full));
	free(full);
	return copy;
}

/* Who asks once would rather wait than ask again. */
static void
open_account(struct account *x)
{
	enum { PATIENCE_MS = 60000 };
	struct stat st;
	struct ctl *c = x->ctl;
	struct str home = find_home(c);
	const char *maildir = str_cstr(c->arena,
		str_printf(c->arena, "%.*s/Maildir", STR_ARG(home)));
	if (stat(maildir, &st) != 0)
		ctl_fail(EX_NOINPUT, "%s: %s%s", maildir, strerror(errno),
			c->argc == 0 ? "; whose account? see --help" : "");
	if (geteuid() == 0 && st.st_uid != 0)
		sandbox_become(st.st_uid, st.st_gid, false, false);
	umask(077);
	x->arena = arena_new("mailbox");
	arena_limit(x->arena, (size_t)1 << 30);
	x->progress = isatty(STDERR_FILENO) && !c->json;
	struct status s = store_open(x->arena, home, &x->store);
	if (!status_is_fine(s))
		exit(ctl_status(s));
	store_patience(x->store, PATIENCE_MS);
}

static int
close_account(struct account *x, struct status st)
{
	int status = ctl_status(st);
	store_close(x->store);
	arena_free(x->arena);
	return status;
}

/* --------------------------------------------------------------- showing */

static struct str
size_text(struct arena *a, uint64_t octets)
{
	static const char units[] = "KMGTPE";
	double n = (double)octets / 1024;
	size_t i = 0;
	if (octets < 10000)
		return str_printf(a, "%llu", (unsigned long long)octets);
	for (; n >= 1000 && units[i + 1] != '\0'; i++)
		n /= 1024;
	return str_printf(a, "%.1f%c", n, units[i]);
}

static void
json_numbers(struct json_row *j, const struct folder *f)
{
	const struct {
		const char *name;
		uint64_t value;
	} rows[] = {{"messages", f->messages}, {"unseen", f->unseen},
		{"deleted", f->deleted}, {"recent", f->recent},
		{"size", f->size}, {"file_size", f->file_size},
		{"uidvalidity", f->uidvalidity}, {"uidnext", f->uidnext},
		{"highestmodseq", f->highestmodseq},
		{"subscribed", f->subscribed}};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		json_number(j, rows[i].name, (int64_t)rows[i].value);
}

static void
show_json(const struct folder *f, const struct str_list *keywords)
{
	struct arena *a = arena_new("json");
	struct json_row *j = json_begin();
	json_text(j, "folder", f->name);
	json_text(j, "mailbox_id", f->mailbox_id);
	json_text(j, "special", f->special);
	json_numbers(j, f);
	if (keywords != NULL)
		json_text(j, "keywords", str_join(a, *keywords, STR(" ")));
	json_end(j);
	arena_free(a);
}

static void
show_line(struct arena *a, const struct folder *f)
{
	printf("%8u %8u %9.*s  %.*s%s%.*s%s\n", f->messages, f->unseen,
		STR_ARG(size_text(a, f->file_size)), STR_ARG(f->name),
		f->special.n > 0 ? "  " : "", STR_ARG(f->special),
		f->subscribed ? "" : "  (not subscribed)");
}

static void
show_block(struct arena *a, const struct folder *f,
	const struct str_list *keywords)
{
	printf("%.*s\n", STR_ARG(f->name));
	printf("  messages    %u, %u unseen, %u deleted, %u recent\n",
		f->messages, f->unseen, f->deleted, f->recent);
	printf("  size        %.*s in files, %.*s on the wire\n",
		STR_ARG(size_text(a, f->file_size)),
		STR_ARG(size_text(a, f->size)));
	printf("  uids        validity %u, next %u\n", f->uidvalidity,
		f->uidnext);
	printf("  modseq      %llu\n", (unsigned long long)f->highestmodseq);
	printf("  id          %.*s\n", STR_ARG(f->mailbox_id));
	if (f->special.n > 0)
		printf("  special     %.*s\n", STR_ARG(f->special));
	if (keywords->n > 0)
		printf("  keywords    %.*s\n",
			STR_ARG(str_join(a, *keywords, STR(" "))));
}

static bool
is_meant(const struct account *x, const struct folder *f)
{
	struct str name;
	return f->id != 0 && (x->folder == NULL ||
		(folders_name(x->arena, str_from(x->folder), &name) &&
			str_eq(name, f->name)));
}

/* Fresh, and with its keywords when *keywords is wanted. */
static struct status
look(struct account *x, struct folder *f, struct str_list *keywords)
{
	struct mailbox *m;
	bool subscribed = f->subscribed;
	struct status st = folders_status(x->store, x->arena, f->name, f);
	f->subscribed = subscribed;
	if (!status_is_fine(st) || keywords == NULL)
		return st;
	st = mailbox_open(x->store, x->arena, f->name, true, &m);
	if (!status_is_fine(st))
		return st;
	st = mailbox_keywords(m, x->arena, keywords);
	mailbox_close(m);
	return st;
}

static struct status
show_all(struct account *x, bool whole, unsigned *shown)
{
	struct folder_list l;
	struct str_list words = {0};
	struct status st = folders_list(x->store, x->arena, &l);
	for (size_t i = 0; i < l.n && status_is_fine(st); i++) {
		struct folder *f = &l.v[i];
		if (!is_meant(x, f))
			continue;
		st = look(x, f, whole ? &words : NULL);
		if (!status_is_fine(st))
			break;
		++*shown;
		if (x->ctl->json)
			show_json(f, whole ? &words : NULL);
		else if (whole)
			show_block(x->arena, f, &words);
		else
			show_line(x->arena, f);
	}
	return st;
}

static int
show(struct ctl *c, bool whole)
{
	struct account x = {.ctl = c};
	const struct option_row rows[] = {
		{"--folder", OPTION_TEXT, &x.folder, "NAME",
			"this one only"}};
	unsigned shown = 0;
	ctl_options(c, rows, sizeof rows / sizeof *rows);
	open_account(&x);
	if (!whole && !c->json)
		printf("messages   unseen      size  folder\n");
	struct status st = show_all(&x, whole, &shown);
	struct quota_usage u;
	if (status_is_fine(st) && !c->json && x.folder == NULL) {
		st = quota_usage(x.store, x.arena, &u);
		printf("%s%llu messages, %.*s\n", whole ? "" : "\n",
			(unsigned long long)u.messages,
			STR_ARG(size_text(x.arena, u.octets)));
	}
	int status = close_account(&x, st);
	return status == EX_OK && shown == 0 ? EX_NOTHING : status;
}

static int
mailbox_list(struct ctl *c)
{
	return show(c, false);
}

static int
mailbox_stat(struct ctl *c)
{
	return show(c, true);
}

/* -------------------------------------------------------------- mending */

static void
end_line(struct account *x)
{
	if (x->line)
		fprintf(stderr, "\r\033[K");
	x->line = false;
}

static void
progress(void *ctx, struct str folder, uint64_t done, uint64_t total)
{
	struct account *x = ctx;
	if (!x->progress || total == 0)
		return;
	fprintf(stderr, "\r\033[K%.*s: %llu of %llu", STR_ARG(folder),
		(unsigned long long)done, (unsigned long long)total);
	x->line = true;
}

static void
found(void *ctx, struct str folder, struct str what)
{
	struct account *x = ctx;
	end_line(x);
	if (x->ctl->json) {
		struct json_row *j = json_begin();
		json_text(j, "folder", folder);
		json_text(j, "problem", what);
		json_end(j);
		return;
	}
	printf("%.*s%s%.*s\n", STR_ARG(folder), folder.n > 0 ? ": " : "",
		STR_ARG(what));
}

static void
summary(struct account *x, const struct check *c, const char *done)
{
	end_line(x);
	if (x->ctl->json) {
		struct json_row *j = json_begin();
		json_text(j, "result", str_from(done));
		json_number(j, "folders", c->folders);
		json_number(j, "messages", (int64_t)c->messages);
		json_number(j, "problems", c->problems);
		json_end(j);
		return;
	}
	printf("%u folders, %llu messages: %s\n", c->folders,
		(unsigned long long)c->messages, done);
}

static int
mailbox_check(struct ctl *c)
{
	struct account x = {.ctl = c};
	bool dry = false;
	struct check k = {.found = found, .progress = progress, .ctx = &x};
	const struct option_row rows[] = {
		{"--dry-run", OPTION_FLAG, &dry, NULL,
			"says it, and changes nothing"},
		{"--deep", OPTION_FLAG, &k.deep, NULL,
			"reads every message"}};
	ctl_options(c, rows, sizeof rows / sizeof *rows);
	k.repair = !dry;
	open_account(&x);
	struct status st = store_check(x.store, x.arena, &k);
	if (status_is_fine(st))
		summary(&x, &k, k.problems == 0 ? "nothing wrong" :
			dry ? "not repaired" : "repaired");
	int status = close_account(&x, st);
	return status == EX_OK && k.problems > 0 && dry ? EX_DATAERR : status;
}

static int
mailbox_rebuild(struct ctl *c)
{
	struct account x = {.ctl = c};
	struct check k = {.found = found, .progress = progress, .ctx = &x};
	ctl_options(c, NULL, 0);
	open_account(&x);
	struct status st = store_rebuild(x.store, x.arena, &k);
	if (status_is_fine(st))
		summary(&x, &k, "the index was made anew");
	return close_account(&x, st);
}

int
ctl_mailbox(struct ctl *c)
{
	static const struct subcommand rows[] = {
		{"list", "[--folder NAME] [USER|DIR]",
			"Lists the folders of an account.", mailbox_list, 1},
		{"stat", "[--folder NAME] [USER|DIR]",
			"Shows everything that is known of its folders.",
			mailbox_stat, 1},
		{"check", "[--dry-run] [--deep] [USER|DIR]",
			"Compares index and Maildir, and mends what differs.",
			mailbox_check, 1},
		{"rebuild", "[USER|DIR]",
			"Makes the index anew from the Maildir.",
			mailbox_rebuild, 1},
	};
	return ctl_dispatch(c, "surat mailbox", rows,
		sizeof rows / sizeof *rows);
}
