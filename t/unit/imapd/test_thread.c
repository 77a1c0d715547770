/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "imapd_suites.h"
#include "imapd/thread.h"
#include "base/arena.h"
#include "base/buf.h"

static void
print(const struct thread_node *v, uint32_t at, struct buf *out)
{
	for (; at != THREAD_NONE; at = v[at].next) {
		uint32_t in = at;
		buf_addc(out, '(');
		if (v[in].uid != 0)
			buf_printf(out, "%u", v[in].uid);
		while (v[in].first != THREAD_NONE &&
			v[v[in].first].next == THREAD_NONE) {
			in = v[in].first;
			buf_printf(out, " %u", v[in].uid);
		}
		if (v[in].first != THREAD_NONE && v[in].uid != 0)
			buf_addc(out, ' ');
		print(v, v[in].first, out);
		buf_addc(out, ')');
	}
}

/* "id refs|subject|sent|arrived;...": a subject with a + before it is one of a
 * reply; `-` is no id. */
static size_t
read_messages(struct str text, struct thread_message *v)
{
	struct str one, part;
	uint64_t n;
	size_t count = 0;
	while (text.n > 0 && str_cut(&text, ';', &one)) {
		struct thread_message *m = &v[count++];
		*m = (struct thread_message){.uid = (uint32_t)count};
		str_cut(&one, '|', &part);
		str_cut(&part, ' ', &m->id);
		if (str_eq(m->id, STR("-")))
			m->id = STR("");
		m->references = part;
		str_cut(&one, '|', &m->subject);
		m->is_reply = str_starts(m->subject, STR("+"));
		m->subject = str_skip(m->subject, m->is_reply);
		str_cut(&one, '|', &part);
		ck_assert(str_number(part, 1000, &n));
		m->sent = (int64_t)n;
		m->arrived = str_number(one, 1000, &n) ? (int64_t)n : m->sent;
	}
	return count;
}

static const struct {
	enum thread_algorithm how;
	const char *messages, *forest;
} rows[] = {
	{THREAD_REFERENCES, "a|x|1", "(1)"},
	/* a reply, and one to that; in any order */
	{THREAD_REFERENCES, "a|x|1;b a|+x|2;c a b|+x|3", "(1 2 3)"},
	{THREAD_REFERENCES, "c a b|+x|3;b a|+x|2;a|x|1", "(3 2 1)"},
	{THREAD_REFERENCES, "a|x|1;b a|+x|3;c a|+x|2", "(1 (3)(2))"},
	{THREAD_REFERENCES, "a|x|1;b a|+x|2;c b|+x|3;d b|+x|4;e a|+x|5",
		"(1 (2 (3)(4))(5))"},
	/* parents that are not there: one child takes its place, several
	 * have nothing above them */
	{THREAD_REFERENCES, "b a|x|1", "(1)"},
	{THREAD_REFERENCES, "b a|x|1;c a|y|2", "((1)(2))"},
	{THREAD_REFERENCES, "a|x|1;d a b c|y|2", "(1 2)"},
	{THREAD_REFERENCES, "c a b|x|1;d a b|y|2;e a|z|3", "((1)(2)(3))"},
	/* ids that are missing or there twice */
	{THREAD_REFERENCES, "-|x|1;-|y|2", "(1)(2)"},
	{THREAD_REFERENCES, "a|x|1;a|y|2;b a|z|3", "(1 3)(2)"},
	/* circles, and whoever refers to itself */
	{THREAD_REFERENCES, "a a|x|1", "(1)"},
	{THREAD_REFERENCES, "a b|x|1;b a|y|2", "(2 1)"},
	{THREAD_REFERENCES, "a c|x|1;b a|y|2;c b|z|3", "(3 1 2)"},
	{THREAD_REFERENCES, "a b a b|x|1;b a|y|2;c b|z|3", "(2 (1)(3))"},
	/* what a message says of itself holds, whatever others said */
	{THREAD_REFERENCES, "a|p|1;b|q|2;c a b|r|3", "(1 2 3)"},
	{THREAD_REFERENCES, "c a b|r|3;a|p|1;b|q|2", "(2)(3 1)"},
	/* subjects join what references do not */
	{THREAD_REFERENCES, "a|x|1;b|+x|2", "(1 2)"},
	{THREAD_REFERENCES, "b|+x|1;a|x|2", "(2 1)"},
	{THREAD_REFERENCES, "a|x|1;b|x|2", "((1)(2))"},
	{THREAD_REFERENCES, "a|x|1;b|x|2;c|x|3", "((1)(2)(3))"},
	{THREAD_REFERENCES, "a|+x|1;b|+x|2", "((1)(2))"},
	{THREAD_REFERENCES, "a||1;b||2", "(1)(2)"},
	{THREAD_REFERENCES, "b a|x|1;c a|x|2;d|x|3", "((1)(2)(3))"},
	{THREAD_REFERENCES, "b a|x|1;c a|x|2;e d|x|3;f d|x|4",
		"((1)(2)(3)(4))"},
	{THREAD_REFERENCES, "a|x|1;b|+x|2;c b|+x|3", "(1 2 3)"},
	/* top level by the date of the first */
	{THREAD_REFERENCES, "a|x|5;b|y|3;c b|y|9", "(2 3)(1)"},
	/* of one date in the order of the mailbox, also with nothing above */
	{THREAD_REFERENCES, "a|x|1;b|x|1;c|y|1", "((1)(2))(3)"},
	{THREAD_REFERENCES, "a|w|1;b|x|1;c|x|1;d|y|1", "(1)((2)(3))(4)"},
	{THREAD_REFS, "b a|x|1;c a|y|1;d|z|1", "((1)(2))(3)"},
	/* REFS: no subjects, arrival, the thread with the newest last */
	{THREAD_REFS, "a|x|1;b|+x|2", "(1)(2)"},
	{THREAD_REFS, "a|x|1|5;b|y|2|3;c b|y|3|9;d|z|4|6", "(1)(4)(2 3)"},
	{THREAD_REFS, "a|x|1|9;b a|x|2|4;c a|x|3|2;d|y|1|8",
		"(4)(1 (3)(2))"},
	{THREAD_REFS, "b a|x|1;c a|y|2", "((1)(2))"},
	{THREAD_ORDEREDSUBJECT, "a|x|1;b|+x|2;c a|y|3", "(1 2)(3)"},
	{THREAD_ORDEREDSUBJECT, "a|x|4;b|y|2;c|x|1;d|x|3;e|y|9",
		"(3 (4)(1))(2 5)"},
	{THREAD_ORDEREDSUBJECT, "", ""},
	{THREAD_REFERENCES, "", ""},
	{THREAD_REFS, "", ""},
};

START_TEST(forests)
{
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct arena *a = arena_new("test");
		struct thread_message v[20];
		size_t n = read_messages(str_from(rows[i].messages), v);
		struct thread_forest f = thread_run(a, rows[i].how, v, n);
		struct buf *out = buf_new(a);
		print(f.v, f.first, out);
		ck_assert_msg(str_eq(buf_str(out), str_from(rows[i].forest)),
			"%s: %.*s", rows[i].messages, STR_ARG(buf_str(out)));
		arena_free(a);
	}
}
END_TEST

static size_t
count_nodes(const struct thread_forest *f, size_t n)
{
	size_t seen = 0;
	uint32_t at = f->first;
	while (at != THREAD_NONE) {
		ck_assert_uint_lt(at, 4 * n + 1);
		seen += f->v[at].uid != 0;
		ck_assert_uint_le(seen, n);
		if (f->v[at].first != THREAD_NONE) {
			at = f->v[at].first;
			continue;
		}
		while (at != THREAD_NONE && f->v[at].next == THREAD_NONE)
			at = f->v[at].parent;
		if (at != THREAD_NONE)
			at = f->v[at].next;
	}
	return seen;
}

/* Every message is in the forest once, whatever refers to what: chains as long
 * as the mailbox, from either end, and ids drawn from a few. */
START_TEST(nothing_is_lost)
{
	enum { N = 20000 };
	struct arena *a = arena_new("test");
	arena_limit(a, (size_t)1 << 30);
	struct thread_message *v = arena_array(a, N, sizeof *v);
	for (int kind = 0; kind < 4; kind++) {
		unsigned seed = 1;
		for (uint32_t i = 0; i < N; i++) {
			seed = seed * 1103515245 + 12345;
			unsigned x = seed >> 8;
			uint32_t id[] = {i, N - i, x % 5000, x % N};
			uint32_t ref[] = {i - 1, N - i + 1, x / 7 % 5000,
				(x * 31) % N};
			v[i] = (struct thread_message){.uid = i + 1,
				.sent = x % 1000,
				.id = str_printf(a, "%u@x", id[kind]),
				.references = str_printf(a, "%u@y %u@x",
					ref[kind], ref[kind]),
				.subject = STR("x")};
		}
		struct thread_forest f =
			thread_run(a, THREAD_REFERENCES, v, N);
		ck_assert_uint_eq(count_nodes(&f, N), N);
		f = thread_run(a, THREAD_REFS, v, N);
		ck_assert_uint_eq(count_nodes(&f, N), N);
	}
	arena_free(a);
}
END_TEST

Suite *
suite_thread(void)
{
	Suite *s = suite_create("thread");
	TCase *t = tcase_create("thread");
	tcase_set_timeout(t, 60);
	tcase_add_test(t, forests);
	tcase_add_test(t, nothing_is_lost);
	suite_add_tcase(s, t);
	return s;
}
