/* SPDX-License-Identifier: ISC */
/*
 * Fuzz entry of IMAP sessions: the input is what a client sends that has
 * logged in, to a new account with a few messages.  What comes back is one
 * well-formed response after another, tagged ones with the client's own tags;
 * and whatever was done, the index says afterwards what the Maildir has.
 */
#include "base/arena.h"
#include "base/log.h"
#include "imapd/imapd.h"
#include "scratch.h"
#include "store/check.h"
#include "store/mailbox.h"
#include "store/quota.h"
#include "store/store.h"

#include <assert.h>
#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const char *const texts[] = {
	"Date: 1 Jan 2026 10:00:00 +0000\nFrom: A <a@b.test>\nTo: c@d.test\n"
	"Subject: =?utf-8?q?caf=C3=A9?=\nMessage-ID: <1@b.test>\n\nhello\n",
	"From: e@f.test\nSubject: Re: two\nReferences: <1@b.test>\n"
	"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=x\n\n"
	"--x\nContent-Type: text/plain; charset=iso-8859-1\n"
	"Content-Transfer-Encoding: quoted-printable\n\nna=EFve\n"
	"--x\nContent-Type: message/rfc822\n\nSubject: inner\n\ntext\n"
	"--x\nContent-Type: image/png; name=\"a b\"\n"
	"Content-Transfer-Encoding: base64\n\niVBORw0KGgo=\n--x--\n",
	"Subject: no body\r\n", "", NULL};

static struct conf conf = {.imap = {.timeout = 1800, .max_message = 65536}};
static struct program program = {.name = "imapd", .conf = &conf,
	.hostname = STR_INIT("imap.example.test")};

/* --------------------------------------------------------------- answers */

static struct str
take(struct str *in, size_t n)
{
	struct str head = str_head(*in, n);
	assert(head.n == n);
	*in = str_skip(*in, n);
	return head;
}

/* To the quote that ends it; a quoted string is of one line. */
static void
skip_quoted(struct str *in)
{
	for (;;) {
		char c = *take(in, 1).p;
		assert(c != '\r' && c != '\n' && c != '\0');
		if (c == '"')
			return;
		if (c == '\\')
			assert(str_has(STR("\\\""), *take(in, 1).p));
	}
}

/* "{n}" and n octets, where that is what it is. */
static void
skip_literal(struct str *in)
{
	struct str size = str_head(*in, str_find(*in, '}'));
	uint64_t n;
	if (size.n == 0 || !str_number(size, UINT32_MAX, &n) ||
		!str_starts(str_skip(*in, size.n), STR("}\r\n")))
		return;
	take(in, size.n + 3);
	take(in, (size_t)n);
}

/* What is for programs: strings are whole, brackets are closed. */
static void
check_data(struct str *in)
{
	int depth = 0;
	for (;;) {
		char c = *take(in, 1).p;
		depth += (c == '(') - (c == ')');
		assert(depth >= 0 && c != '\n' && c != '\0');
		if (c == '"')
			skip_quoted(in);
		if (c == '{')
			skip_literal(in);
		if (c == '\r')
			break;
	}
	assert(*take(in, 1).p == '\n' && depth == 0);
}

/* What is for people ends with its line. */
static void
check_text(struct str *in)
{
	struct str line = str_head(*in, str_find(*in, '\r'));
	assert(str_find(line, '\n') == line.n);
	take(in, line.n);
	assert(str_eq(take(in, 2), STR("\r\n")));
}

static bool
is_condition(struct str rest)
{
	static const struct str words[] = {STR_INIT("OK "), STR_INIT("NO "),
		STR_INIT("BAD "), STR_INIT("BYE ")};
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (str_starts(rest, words[i]))
			return true;
	return false;
}

static void
check_answers(struct str in, struct str out)
{
	while (out.n > 0) {
		struct str tag = take(&out, str_find(out, ' '));
		assert(str_eq(take(&out, 1), STR(" ")));
		bool own = str_eq(tag, STR("*")), more = str_eq(tag, STR("+"));
		assert(own || more || (tag.n > 0 && is_condition(out) &&
			str_search(in, tag) < in.n));
		if (more || is_condition(out))
			check_text(&out);
		else
			check_data(&out);
	}
}

/* --------------------------------------------------------------- session */

static void
on_found(void *ctx, struct str folder, struct str what)
{
	(void)ctx;
	fprintf(stderr, "%.*s: %.*s\n", STR_ARG(folder), STR_ARG(what));
}

static void
check_store(struct arena *a, struct store *store)
{
	struct check c = {.deep = true, .found = on_found};
	assert(status_is_fine(store_check(store, a, &c)));
	assert(c.problems == 0);
}

/* An account somebody has seen: files nobody has are no row's. */
static struct store *
open_store(struct arena *a)
{
	struct store *store;
	struct mailbox *m;
	assert(status_is_fine(store_open(a, scratch_home(texts), &store)));
	quota_configure(store, &conf);
	assert(status_is_fine(mailbox_open(store, a, STR("INBOX"), true, &m)));
	mailbox_close(m);
	return store;
}

/* Compressed answers are not looked at. */
static bool
is_readable(struct arena *a, struct str in)
{
	return str_search(str_lower(a, in), STR("compress")) == in.n;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static int in_fd = -1, out_fd = -1;
	struct str in = str_of(data, n);
	struct arena *a = arena_new("fuzz");
	log_level(LOG_EMERG);
	program.arena = a;
	int from = scratch_file(&in_fd, in);
	int to = scratch_file(&out_fd, STR(""));
	struct imap_session *s = session_new(&program, from, to);
	struct store *store = open_store(a);
	s->store = store;
	s->user = STR("fuzz");
	s->home = store_home(store);
	s->state = IMAP_AUTH;
	session_run(s);
	session_free(s);
	if (is_readable(a, in))
		check_answers(in, scratch_text(a, out_fd));
	check_store(a, store);
	store_close(store);
	scratch_remove();
	arena_free(a);
	return 0;
}
