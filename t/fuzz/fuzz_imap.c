/* SPDX-License-Identifier: ISC */
/*
 * Fuzz entry of the IMAP parser: the input is what a client sends, command
 * after command.  Checks what the header of imapd/parse promises of the tree,
 * and gives the tree to everything that makes values of it: sets, sections,
 * flags, search keys, patterns.
 */
#include "imapd/flags.h"
#include "imapd/match.h"
#include "imapd/parse.h"
#include "imapd/result.h"
#include "imapd/resync.h"
#include "imapd/search.h"
#include "imapd/section.h"
#include "imapd/seqset.h"
#include "imapd/sort.h"
#include "imapd/thread.h"
#include "imapd/url.h"
#include "base/arena.h"
#include "base/buf.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static bool
input_line(void *ctx, struct str *line)
{
	struct str *rest = ctx;
	size_t end = str_find(*rest, '\n');
	if (end == rest->n)
		return false;
	*line = str_head(*rest, end);
	if (str_ends(*line, STR("\r")))
		line->n--;
	*rest = str_skip(*rest, end + 1);
	return true;
}

static bool
input_literal(void *ctx, const struct literal *l, char *to)
{
	struct str *rest = ctx;
	if (l->size > rest->n)
		return false;
	memcpy(to, rest->p, l->size);
	*rest = str_skip(*rest, l->size);
	return true;
}

static bool
input_skip(void *ctx, uint64_t n)
{
	struct str *rest = ctx;
	if (n > rest->n)
		return false;
	*rest = str_skip(*rest, n);
	return true;
}

static void
check_set(struct arena *a, struct str text)
{
	struct uid_set set;
	struct buf *out = buf_new(a);
	if (!seqset_parse(a, text, &set))
		return;
	seqset_resolve(&set, 1000);
	for (size_t i = 1; i < set.n; i++)
		assert(set.v[i - 1].last + 1 < set.v[i].first);
	seqset_limit(&set, 500);
	assert(seqset_last(&set) <= 500);
	seqset_print(&set, out);
}

/* What is printed names the same section again. */
static void
check_section(struct arena *a, const struct arg *arg)
{
	struct section s;
	const char *why;
	if (!section_parse(a, &arg, &s, &why))
		return;
	struct buf *out = buf_new(a);
	assert(s.depth <= SECTION_DEPTH && s.kind <= SECTION_MIME);
	section_print(&s, out);
	assert(str_starts(buf_str(out), STR("BODY[")) ||
		str_starts(buf_str(out), STR("BINARY")));
	assert(s.form == SECTION_BODY || s.kind == SECTION_ALL);
}

/* A URL names one message and nothing a name cannot have. */
static void
check_url(struct arena *a, struct str text)
{
	struct url u;
	if (!url_parse(a, text, &u))
		return;
	assert(u.uid > 0 && u.section.depth <= SECTION_DEPTH);
	assert(!u.section.partial || u.section.most > 0);
	for (size_t i = 0; i < u.mailbox.n; i++)
		assert((unsigned char)u.mailbox.p[i] >= 0x20);
}

static void
check_flags(struct arena *a, const struct arg *arg)
{
	struct flags f;
	const char *why = NULL;
	if (!flags_parse(a, arg, true, &f, &why))
		assert(why != NULL);
	else
		assert(f.keywords.n <= FLAGS_KEYWORDS_MOST);
}

static size_t
count_keys(const struct search_key *key)
{
	size_t n = 0;
	for (; key != NULL; key = key->next)
		n += 1 + count_keys(key->first);
	return n;
}

static void
check_search(struct arena *a, const struct arg *args)
{
	static const struct search_world world = {
		.last_seq = 10, .last_uid = 1000, .now = 1700000000};
	struct search_key *key = NULL;
	const char *why = NULL;
	if (search_compile(a, args, &world, &key, &why))
		assert(count_keys(key) > 0);
	else
		assert(why != NULL);
}

static uint32_t
every_second(const void *ctx, uint32_t seq)
{
	assert(seq >= 1 && seq <= *(const uint32_t *)ctx);
	return seq * 2;
}

static void
check_resync(struct arena *a, const struct arg *list)
{
	static const uint32_t count = 1000;
	struct resync r;
	if (!resync_parse(a, list, &r))
		return;
	uint32_t best = resync_match(&r, count, every_second, &count);
	assert(best % 2 == 0 && best <= 2 * count);
	assert(best == 0 || uid_set_has(&r.match_uids, best));
}

/* Options of SEARCH and SORT, and what they take of an order that is not
 * ascending and has as many messages as there are octets. */
static void
check_result(struct arena *a, const struct arg *args, size_t size)
{
	const unsigned all = RESULT_MIN | RESULT_MAX | RESULT_ALL |
		RESULT_COUNT | RESULT_PARTIAL | RESULT_SAVE;
	struct result r = {.tells_modseq = true};
	const struct arg *rest = args;
	if (!result_parse(&rest, &r.options))
		return;
	assert(r.options.extended == (rest != args));
	assert((r.options.items & ~all) == 0);
	assert(r.options.extended || r.options.items == 0);
	uint32_t n = (uint32_t)(size % 1000);
	for (uint32_t i = 0; i < n; i++)
		result_add(a, &r, i % 2 == 0 ? n + i : n - i, i + 1);
	assert(uid_set_count(&r.order) == n);
	assert(result_modseq(&r) <= n && (result_modseq(&r) > 0 || n == 0));
	struct uid_set saved = result_saved(a, &r);
	assert(uid_set_count(&saved) <= n);
	if (!(r.options.items & RESULT_PARTIAL))
		return;
	struct partial *p = &r.options.partial;
	assert(p->first >= 1 && p->first <= p->last);
	struct uid_set part = partial_pick(a, &r.order, p);
	assert(uid_set_count(&part) <= n &&
		uid_set_count(&part) <= (uint64_t)p->last - p->first + 1);
}

static void
check_sort(struct arena *a, const struct arg *list)
{
	struct sort_order o;
	struct message_row row = {.uid = 1, .sort_subject = list->text};
	struct sorting q;
	if (!sort_parse(list, &o))
		return;
	assert(o.n > 0 && o.n <= SORT_KEYS && o.want != 0);
	sort_begin(&q, a, &o, 2);
	sort_add(&q, &row);
	sort_add(&q, &row);
	sort_run(&q);
}

static size_t
count_messages(const struct thread_node *v, uint32_t at)
{
	size_t n = 0;
	for (; at != THREAD_NONE; at = v[at].next)
		n += (v[at].uid != 0) + count_messages(v, v[at].first);
	return n;
}

/* Words as messages, each with its neighbours as references: all are in the
 * forest, whatever circles that makes. */
static void
check_threads(struct arena *a, const struct arg *args)
{
	enum { MOST = 50 };
	struct thread_message v[MOST] = {0};
	size_t n = 0;
	struct str before = STR("");
	for (; args != NULL && n < MOST; args = args->next) {
		struct thread_message *m = &v[n++];
		m->uid = (uint32_t)n;
		m->id = args->text;
		m->subject = str_head(args->text, 1);
		m->references = str_printf(a, "%.*s %.*s", STR_ARG(before),
			STR_ARG(args->next == NULL ? STR("")
						   : args->next->text));
		before = args->text;
	}
	for (int how = THREAD_ORDEREDSUBJECT; how <= THREAD_REFS; how++) {
		struct thread_forest f = thread_run(
			a, (enum thread_algorithm)how, v, n);
		assert(count_messages(f.v, f.first) == n);
	}
}

/* A name always matches itself, and everything matches a star. */
static void
check_pattern(struct str text)
{
	text = str_head(text, 100);
	assert(match_name(STR("*"), text));
	assert(match_name(text, text));
	match_name(text, STR("INBOX/a/b"));
}

static size_t
check_tree(struct arena *a, const struct arg *arg, size_t depth)
{
	size_t count = 0;
	assert(depth <= 21);
	for (; arg != NULL; arg = arg->next) {
		count += 1 + check_tree(a, arg->first, depth + 1);
		assert(arg->kind == ARG_LIST || arg->first == NULL);
		assert(arg->kind == ARG_LITERAL8 || !str_has(arg->text, 0));
		if (arg->kind == ARG_ATOM)
			check_set(a, arg->text);
		check_section(a, arg);
		check_pattern(arg->text);
		check_url(a, arg->text);
	}
	return count;
}

static void
check_values(struct arena *a, const struct arg *args)
{
	const struct arg *first;
	check_result(a, args, arg_count(args) * 37);
	check_search(a, args);
	check_flags(a, args);
	check_threads(a, args);
	for (; args != NULL; args = args->next)
		if (arg_list(args, &first)) {
			check_flags(a, first);
			check_resync(a, args);
			check_sort(a, args);
		}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const struct parse_limits limits = {
		.args = 1000, .depth = 20, .octets = 4096, .swallow = 65536};
	struct str rest = str_of(data, n), line;
	struct parse_source source = {
		input_line, input_literal, input_skip, &rest};
	struct arena *a = arena_new("fuzz");
	while (input_line(&rest, &line)) {
		struct arena_mark mark = arena_mark(a);
		struct parse p;
		struct arg *args;
		parse_begin(&p, a, &source, &limits, line);
		bool fine = parse_args(&p, &args);
		assert(fine == (p.error == NULL));
		if (fine) {
			assert(check_tree(a, args, 0) == p.args);
			check_values(a, args);
		} else if (!parse_drain(&p))
			break;
		arena_rewind(a, mark);
	}
	arena_free(a);
	return 0;
}
