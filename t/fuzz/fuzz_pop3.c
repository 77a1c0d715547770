/* SPDX-License-Identifier: ISC */
/*
 * Fuzz entry of POP3: the input is what a client sends to a session that has
 * a mailbox of a few messages, up to QUIT.  The answers are one well-formed
 * response after another, and nothing is deleted.  The input is also a
 * message: what RETR would make of it, taken apart again, is its wire form.
 */
#include "base/arena.h"
#include "base/log.h"
#include "pop3d/maildrop.h"
#include "pop3d/pop3d.h"
#include "pop3d/stuff.h"
#include "scratch.h"
#include "store/store.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct conf conf = {.pop3 = {.timeout = 600, .mark_seen = false}};
static struct program program = {.name = "pop3d", .conf = &conf};
static struct maildrop *drop;

/* --------------------------------------------------------------- mailbox */

static void
make_mailbox(void)
{
	static const char *const texts[] = {
		"Subject: one\n\nhello\n.\n..\n.end\n",
		"Subject: no body\n", "Subject: crlf\r\n\r\na\r\nb\r\n", "",
		NULL};
	struct status why;
	program.arena = arena_new("fuzz");
	struct store *store;
	why = store_open(program.arena, scratch_home(texts), &store);
	assert(status_is_fine(why));
	assert(maildrop_open(program.arena, store, &conf.pop3, &drop, &why) ==
		DROP_FINE);
}

/* --------------------------------------------------------------- session */

/* What comes before the first QUIT, however it is written. */
static struct str
before_quit(struct str in)
{
	struct str rest = in, line;
	while (str_cut(&rest, '\n', &line))
		if (str_starts_nocase(line, STR("QUIT")))
			return str_head(in, (size_t)(line.p - in.p));
	return in;
}

/* Is the text after the first line of a response the rest of it? */
static bool
is_multi(struct str line)
{
	static const char *const first[] = {"+OK", "+OK # messages, # octets",
		"+OK # octets", "+OK This is what works here:",
		"+OK Languages spoken here:"};
	struct arena *a = arena_new("line");
	struct buf *plain = buf_new(a);
	bool multi = false;
	for (size_t i = 0; i < line.n; i++) {
		bool digit = line.p[i] >= '0' && line.p[i] <= '9';
		if (!digit)
			buf_addc(plain, line.p[i]);
		else if (plain->n == 0 || plain->p[plain->n - 1] != '#')
			buf_addc(plain, '#');
	}
	for (size_t i = 0; i < sizeof first / sizeof *first; i++)
		multi = multi || str_eq(buf_str(plain), str_from(first[i]));
	arena_free(a);
	return multi;
}

/* Every line ends in CRLF; every response begins as one does.  RSET says the
 * same as LIST in one line, so that a list may be empty of lines and dot. */
static void
check_answers(struct str out)
{
	struct str line;
	bool inside = false;
	assert(out.n == 0 || str_ends(out, STR("\r\n")));
	while (out.n > 0 && str_cut(&out, '\n', &line)) {
		assert(str_ends(line, STR("\r")));
		line.n--;
		bool begins = str_starts(line, STR("+OK")) ||
			str_starts(line, STR("-ERR"));
		assert(inside || begins);
		if (inside && !begins)
			inside = !str_eq(line, STR("."));
		else
			inside = is_multi(line);
	}
}

static bool
is_english(struct str in)
{
	struct str line;
	while (str_cut(&in, '\n', &line))
		if (str_starts_nocase(line, STR("LANG ")))
			return false;
	return true;
}

static void
run_session(struct str in)
{
	static int in_fd = -1, out_fd = -1;
	struct arena *a = arena_new("answers");
	uint32_t count = maildrop_count(drop);
	int from = scratch_file(&in_fd, in);
	int to = scratch_file(&out_fd, STR(""));
	struct pop3_session *s = session_new(&program, from, to);
	s->state = POP3_TRANSACTION;
	s->language = language_find(STR("en"));
	s->drop = drop;
	session_run(s);
	session_free(s);
	maildrop_reset(drop);
	assert(maildrop_count(drop) == count);
	if (is_english(in))
		check_answers(scratch_text(a, out_fd));
	arena_free(a);
}

/* --------------------------------------------------------------- message */

static struct str
unstuff(struct arena *a, struct str wire)
{
	struct buf *b = buf_new(a);
	assert(str_ends(wire, STR(".\r\n")));
	wire.n -= 3;
	assert(wire.n == 0 || str_ends(wire, STR("\r\n")));
	struct str at = wire;
	while (at.n > 0) {
		size_t end = str_search(at, STR("\r\n")) + 2;
		struct str line = str_head(at, end);
		assert(!str_eq(line, STR(".\r\n")));
		buf_add(b, str_starts(line, STR(".")) ? str_skip(line, 1)
						      : line);
		at = str_skip(at, end);
	}
	return buf_str(b);
}

static struct str
wire_form(struct arena *a, struct str disk)
{
	struct message_wire w = {.raw = disk};
	size_t size = message_wire_size(disk);
	char *p = arena_alloc(a, size + 1);
	assert(message_wire_fill(&w, p, size + 1) == size);
	return str_of(p, size);
}

static struct str
stuffed(struct arena *a, struct stuff *w, struct str disk, size_t piece)
{
	struct buf *out = buf_new(a);
	for (; disk.n > 0; disk = str_skip(disk, piece))
		stuff_feed(w, str_head(disk, piece), out);
	stuff_end(w, out);
	return buf_str(out);
}

static void
check_message(struct arena *a, struct str disk)
{
	struct stuff w;
	size_t piece = disk.n % 7 + 1;
	uint64_t lines = disk.n % 5;
	struct str want = wire_form(a, disk);
	stuff_start(&w);
	struct str once = stuffed(a, &w, disk, disk.n + 1);
	stuff_start(&w);
	assert(str_eq(stuffed(a, &w, disk, piece), once));
	struct str got = unstuff(a, once);
	assert(str_starts(got, want));
	assert(got.n == want.n || (got.n == want.n + 2 &&
		!str_ends(want, STR("\r\n"))));
	stuff_top(&w, lines);
	struct str top = stuffed(a, &w, disk, disk.n + 1);
	stuff_top(&w, lines);
	assert(str_eq(stuffed(a, &w, disk, piece), top));
	struct str head = unstuff(a, top);
	assert(str_starts(got, head) || str_starts(head, got));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct str in = str_of(data, n);
	struct arena *a = arena_new("fuzz");
	if (drop == NULL) {
		log_level(LOG_EMERG);
		make_mailbox();
	}
	check_message(a, in);
	run_session(before_quit(in));
	arena_free(a);
	return 0;
}
