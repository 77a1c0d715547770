/* SPDX-License-Identifier: ISC */
/* Search programs as what they were compiled to. */
#include "suites.h"
#include "imapd_suites.h"
#include "imapd/search.h"
#include "base/arena.h"
#include "base/buf.h"

static const char *const ops[] = {
	[SEARCH_ALL] = "all",
	[SEARCH_SEQ] = "seq",
	[SEARCH_UID] = "uid",
	[SEARCH_FLAG] = "flag",
	[SEARCH_RECENT] = "recent",
	[SEARCH_MODSEQ] = "modseq",
	[SEARCH_KEYWORD] = "keyword",
	[SEARCH_SIZE] = "size",
	[SEARCH_ARRIVED] = "arrived",
	[SEARCH_AGE] = "age",
	[SEARCH_AND] = "and",
	[SEARCH_OR] = "or",
	[SEARCH_SENT] = "sent",
	[SEARCH_HEADER] = "header",
	[SEARCH_BODY] = "body",
	[SEARCH_TEXT] = "text",
};

static void
print_bound(struct buf *out, const char *name, int64_t n)
{
	if (n != INT64_MIN && n != INT64_MAX)
		buf_printf(out, " %s%lld", name, (long long)n);
}

static void
print(const struct search_key *key, struct buf *out)
{
	buf_printf(out, "%s%s", key->negated ? "!" : "", ops[key->op]);
	if (key->flag != 0)
		buf_printf(out, " %x", key->flag);
	print_bound(out, ">=", key->low);
	print_bound(out, "<", key->high);
	if (key->field.n > 0)
		buf_printf(out, " %.*s", STR_ARG(key->field));
	if (key->text.p != NULL)
		buf_printf(out, " '%.*s'", STR_ARG(key->text));
	if (key->set.n > 0) {
		buf_addc(out, ' ');
		seqset_print(&key->set, out);
	}
	if (key->first == NULL)
		return;
	buf_addc(out, '(');
	for (const struct search_key *k = key->first; k; k = k->next) {
		print(k, out);
		buf_adds(out, k->next == NULL ? ")" : ", ");
	}
}

struct row {
	const char *text;
	const char *program; /* NULL: refused, */
	const char *why;     /* for this reason */
};

/* Ten messages, the last UID is 1000, now is 100000. */
static const struct row rows[] = {
	{"ALL", "and(all)"},
	{"seen unseen", "and(flag 1, !flag 1)"},
	{"UNKEYWORD $Junk KEYWORD $forwarded",
		"and(flag 20 '$forwarded', !keyword '$Junk')"},
	{"2:4,9", "and(seq 2:4,9)"},
	{"*", "and(seq 10)"},
	{"UID 5,2000,*", "and(uid 5,1000,2000)"},
	{"$", "and(uid 7:8)"},
	{"UID $ NOT $", "and(uid 7:8, !and(uid 7:8))"},
	{"UID \"$\"", NULL, "UID set expected"},
	{"NEW", "and(and(recent, !flag 1))"},
	{"OLD", "and(!recent)"},
	{"NOT NOT SEEN", "and(!and(!and(flag 1)))"},
	{"OR SEEN (DRAFT FLAGGED)",
		"and(or(flag 1, and(flag 10, flag 4)))"},
	{"ON 1-Jan-1970", "and(arrived >=0 <86400)"},
	{"SINCE 2-Jan-1970 SENTBEFORE \"3-Jan-1970\"",
		"and(arrived >=86400, sent <172800)"},
	{"OLDER 100", "and(age <99901)"},
	{"YOUNGER 100", "and(age >=99900)"},
	{"LARGER 10", "and(size >=11)"},
	{"SMALLER 10", "and(size <10)"},
	{"MODSEQ 7", "and(modseq >=7)"},
	{"MODSEQ \"/flags/x\" all 7", "and(modseq >=7)"},
	{"SUBJECT \"Two  Words\"", "and(header subject 'TWO WORDS')"},
	{"HEADER X-Mailer Foo", "and(header x-mailer 'FOO')"},
	{"CHARSET utf-8 BCC x", "and(header bcc 'X')"},
	/* the cheapest first, whatever the client said first */
	{"BODY a FROM b SEEN 3 TEXT c",
		"and(seq 3, flag 1, header from 'B', body 'A', text 'C')"},
	{"", NULL, "Search key expected"},
	{"()", NULL, "Search key expected"},
	{"CHARSET utf-8", NULL, "Search key expected"},
	{"11", NULL, "No such message"},
	{"0", NULL, "Unknown search key"},
	{"COLOUR", NULL, "Unknown search key"},
	{"\"SEEN\"", NULL, "Search key expected"},
	{"OR SEEN", NULL, "Search key expected"},
	{"NOT", NULL, "Search key expected"},
	{"FROM", NULL, "Search text expected"},
	{"HEADER x", NULL, "Search text expected"},
	{"HEADER (x) y", NULL, "Field name expected"},
	{"ON 30-Feb-2020", NULL, "Date expected"},
	{"LARGER -1", NULL, "Number expected"},
	{"OLDER x", NULL, "Number expected"},
	{"UID", NULL, "UID set expected"},
	{"MODSEQ x", NULL, "Modification sequence expected"},
	{"KEYWORD \"x\"", NULL, "Keyword expected"},
	{"CHARSET x-none SUBJECT x", NULL, "BADCHARSET"},
};

static bool
compile(struct arena *a, const char *text, struct search_key **key,
	const char **why)
{
	static const struct parse_limits limits = {
		.args = 1000, .depth = 300, .octets = 50, .swallow = 1000};
	static struct uid_range saved = {7, 8};
	static const struct search_world world = {.last_seq = 10,
		.last_uid = 1000, .now = 100000, .saved = {&saved, 1}};
	struct script script = {0};
	struct parse_source source = script_source(&script);
	struct parse p;
	struct arg *args;
	parse_begin(&p, a, &source, &limits, str_from(text));
	ck_assert_msg(parse_args(&p, &args), "%s", text);
	return search_compile(a, args, &world, key, why);
}

START_TEST(programs)
{
	struct arena *a = arena_new("test");
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct search_key *key;
		const char *why;
		bool ok = compile(a, rows[i].text, &key, &why);
		ck_assert_msg(ok == (rows[i].program != NULL), "%s: %s",
			rows[i].text, ok ? "taken" : why);
		if (!ok) {
			ck_assert_str_eq(why, rows[i].why);
			continue;
		}
		struct buf *out = buf_new(a);
		print(key, out);
		ck_assert_str_eq(str_cstr(a, buf_str(out)), rows[i].program);
	}
	arena_free(a);
}
END_TEST

START_TEST(depth_is_bounded)
{
	struct arena *a = arena_new("test");
	struct buf *text = buf_new(a);
	struct search_key *key;
	const char *why;
	for (int i = 0; i < SEARCH_DEPTH; i++)
		buf_adds(text, "NOT ");
	buf_adds(text, "SEEN");
	ck_assert(!compile(a, str_cstr(a, buf_str(text)), &key, &why));
	ck_assert_str_eq(why, "Search is nested too deeply");
	ck_assert(compile(
		a, str_cstr(a, str_skip(buf_str(text), 4)), &key, &why));
	arena_free(a);
}
END_TEST

Suite *
suite_search(void)
{
	return SUITE("search", programs, depth_is_bounded);
}
