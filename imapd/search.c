/* SPDX-License-Identifier: ISC */
/*
 * Search criteria from arguments to a tree; RFC 3501 6.4.4 and 9 (search-key),
 * RFC 5032 (OLDER, YOUNGER), RFC 8514 (SAVED...), RFC 8474 (ids).  Asking messages is cmd_search.c's business.
 *
 * Recursion follows OR, NOT and parentheses and is bounded by SEARCH_DEPTH;
 * a longer chain is refused.
 */
#include "search.h"
#include "flags.h"
#include "base/arena.h"
#include "base/buf.h"
#include "mail/charset.h"
#include "mail/date.h"
#include "mail/encode.h"

enum { DAY = 24 * 60 * 60 };

struct compiler {
	struct arena *arena;
	const struct search_world *world;
	struct str charset;
	const struct arg *at; /* the next argument */
	size_t depth;
	const char *why;
};

struct key_row;
typedef bool (*key_fn)(
	struct compiler *c, const struct key_row *row, struct search_key *key);

struct key_row {
	struct str word;
	enum search_op op;
	key_fn parse; /* its arguments; NULL: none */
	bool negated;
	unsigned flag;
	const char *field;
	bool rev1; /* IMAP4rev2 does not know it */
};

static bool
refuse(struct compiler *c, const char *why)
{
	if (c->why == NULL)
		c->why = why;
	return false;
}

static const struct arg *
take(struct compiler *c)
{
	const struct arg *arg = c->at;
	if (arg != NULL)
		c->at = arg->next;
	return arg;
}

/* ------------------------------------------------------- arguments of keys */

static struct str
fold(struct compiler *c, struct str text)
{
	struct buf *utf8 = buf_new(c->arena), *folded = buf_new(c->arena);
	charset_to_utf8(c->arena, c->charset, text, utf8);
	charset_fold(folded, buf_str(utf8));
	return buf_str(folded);
}

static bool
parse_text(
	struct compiler *c, const struct key_row *row, struct search_key *key)
{
	struct str text;
	if (!arg_astring(take(c), &text))
		return refuse(c, "Search text expected");
	key->text = fold(c, text);
	key->field = str_from(row->field);
	return true;
}

static bool
parse_header(
	struct compiler *c, const struct key_row *row, struct search_key *key)
{
	struct str field;
	if (!arg_astring(take(c), &field))
		return refuse(c, "Field name expected");
	if (!parse_text(c, row, key))
		return false;
	key->field = str_lower(c->arena, field);
	return true;
}

static bool
parse_keyword(
	struct compiler *c, const struct key_row *row, struct search_key *key)
{
	(void)row;
	if (!arg_atom(take(c), &key->text))
		return refuse(c, "Keyword expected");
	key->flag = flags_bit(key->text);
	if (key->flag != 0)
		key->op = SEARCH_FLAG;
	return true;
}

static bool
parse_number(struct compiler *c, uint32_t *n)
{
	return arg_number(take(c), n) || refuse(c, "Number expected");
}

/* RFC 9051 9, number64, has 63 bits. */
static bool
parse_long(struct compiler *c, int64_t *n, const char *why)
{
	struct str text;
	uint64_t value = 0;
	bool ok = arg_atom(take(c), &text) &&
		  str_number(text, INT64_MAX, &value);
	*n = (int64_t)value;
	return ok || refuse(c, why);
}

static bool
parse_larger(
	struct compiler *c, const struct key_row *row, struct search_key *key)
{
	(void)row;
	if (!parse_long(c, &key->low, "Number expected"))
		return false;
	key->low += key->low < INT64_MAX;
	return true;
}

static bool
parse_smaller(
	struct compiler *c, const struct key_row *row, struct search_key *key)
{
	(void)row;
	return parse_long(c, &key->high, "Number expected");
}

static bool
parse_day(struct compiler *c, int64_t *day)
{
	struct str text;
	if (!arg_astring(take(c), &text) || !date_parse_day(text, day))
		return refuse(c, "Date expected");
	return true;
}

static bool
parse_before(
	struct compiler *c, const struct key_row *row, struct search_key *key)
{
	(void)row;
	return parse_day(c, &key->high);
}

static bool
parse_since(
	struct compiler *c, const struct key_row *row, struct search_key *key)
{
	(void)row;
	return parse_day(c, &key->low);
}

static bool
parse_on(struct compiler *c, const struct key_row *row, struct search_key *key)
{
	if (!parse_since(c, row, key))
		return false;
	key->high = key->low + DAY;
	return true;
}

static bool
parse_older(
	struct compiler *c, const struct key_row *row, struct search_key *key)
{
	uint32_t n;
	(void)row;
	if (!parse_number(c, &n))
		return false;
	key->high = c->world->now - n + 1;
	return true;
}

static bool
parse_younger(
	struct compiler *c, const struct key_row *row, struct search_key *key)
{
	uint32_t n;
	(void)row;
	if (!parse_number(c, &n))
		return false;
	key->low = c->world->now - n;
	return true;
}

/* An id as FETCH shows it; another names nothing (RFC 8474 6). */
static bool
parse_id(struct compiler *c, const struct key_row *row, struct search_key *key)
{
	char letter = row->op == SEARCH_EMAIL ? 'M' : 'T';
	struct buf *octets = buf_new(c->arena);
	struct str text;
	if (!arg_astring(take(c), &text) || text.n == 0)
		return refuse(c, "Object id expected");
	key->low = -1;
	if (text.n != 17 || text.p[0] != letter ||
		!hex_decode(octets, str_skip(text, 1)))
		return true;
	uint64_t id = 0;
	for (size_t i = 0; i < octets->n; i++)
		id = id << 8 | (unsigned char)octets->p[i];
	key->low = (int64_t)(id & INT64_MAX);
	return true;
}

static bool
parse_uid(struct compiler *c, const struct key_row *row, struct search_key *key)
{
	struct str text;
	(void)row;
	if (arg_is(c->at, "$")) {
		take(c);
		key->set = c->world->saved;
		return true;
	}
	if (!arg_atom(take(c), &text) ||
		!seqset_parse(c->arena, text, &key->set))
		return refuse(c, "UID set expected");
	seqset_resolve(&key->set, c->world->last_uid);
	return true;
}

/* MODSEQ ["entry" type] n: the entry is read and means all flags, which share
 * one number here (RFC 7162 3.1.5). */
static bool
parse_modseq(
	struct compiler *c, const struct key_row *row, struct search_key *key)
{
	(void)row;
	if (c->at != NULL && c->at->kind == ARG_QUOTED) {
		take(c);
		take(c);
	}
	return parse_long(c, &key->low, "Modification sequence expected");
}

static struct search_key *
new_key(struct compiler *c, enum search_op op)
{
	struct search_key *key = arena_one(c->arena, struct search_key);
	key->op = op;
	key->low = INT64_MIN;
	key->high = INT64_MAX;
	return key;
}

/* NEW is RECENT and UNSEEN. */
static bool
parse_new(struct compiler *c, const struct key_row *row, struct search_key *key)
{
	(void)row;
	key->first = new_key(c, SEARCH_RECENT);
	key->first->next = new_key(c, SEARCH_FLAG);
	key->first->next->flag = FLAG_SEEN;
	key->first->next->negated = true;
	return true;
}

static struct search_key *parse_key(struct compiler *c);

static bool
parse_not(struct compiler *c, const struct key_row *row, struct search_key *key)
{
	(void)row;
	key->first = parse_key(c);
	return key->first != NULL;
}

static bool
parse_or(struct compiler *c, const struct key_row *row, struct search_key *key)
{
	if (!parse_not(c, row, key))
		return false;
	key->first->next = parse_key(c);
	return key->first->next != NULL;
}

/* ---------------------------------------------------------------- the keys */

static const struct key_row rows[] = {
	{STR_INIT("ALL"), SEARCH_ALL},
	{STR_INIT("ANSWERED"), SEARCH_FLAG, .flag = FLAG_ANSWERED},
	{STR_INIT("DELETED"), SEARCH_FLAG, .flag = FLAG_DELETED},
	{STR_INIT("DRAFT"), SEARCH_FLAG, .flag = FLAG_DRAFT},
	{STR_INIT("FLAGGED"), SEARCH_FLAG, .flag = FLAG_FLAGGED},
	{STR_INIT("SEEN"), SEARCH_FLAG, .flag = FLAG_SEEN},
	{STR_INIT("UNANSWERED"), SEARCH_FLAG, NULL, true, FLAG_ANSWERED},
	{STR_INIT("UNDELETED"), SEARCH_FLAG, NULL, true, FLAG_DELETED},
	{STR_INIT("UNDRAFT"), SEARCH_FLAG, NULL, true, FLAG_DRAFT},
	{STR_INIT("UNFLAGGED"), SEARCH_FLAG, NULL, true, FLAG_FLAGGED},
	{STR_INIT("UNSEEN"), SEARCH_FLAG, NULL, true, FLAG_SEEN},
	{STR_INIT("KEYWORD"), SEARCH_KEYWORD, parse_keyword},
	{STR_INIT("UNKEYWORD"), SEARCH_KEYWORD, parse_keyword, true},
	{STR_INIT("LARGER"), SEARCH_SIZE, parse_larger},
	{STR_INIT("SMALLER"), SEARCH_SIZE, parse_smaller},
	{STR_INIT("BEFORE"), SEARCH_ARRIVED, parse_before},
	{STR_INIT("ON"), SEARCH_ARRIVED, parse_on},
	{STR_INIT("SINCE"), SEARCH_ARRIVED, parse_since},
	{STR_INIT("OLDER"), SEARCH_AGE, parse_older},
	{STR_INIT("YOUNGER"), SEARCH_AGE, parse_younger},
	{STR_INIT("SAVEDBEFORE"), SEARCH_SAVED, parse_before},
	{STR_INIT("SAVEDON"), SEARCH_SAVED, parse_on},
	{STR_INIT("SAVEDSINCE"), SEARCH_SAVED, parse_since},
	{STR_INIT("SAVEDATESUPPORTED"), SEARCH_ALL},
	{STR_INIT("EMAILID"), SEARCH_EMAIL, parse_id},
	{STR_INIT("THREADID"), SEARCH_THREAD, parse_id},
	{STR_INIT("SENTBEFORE"), SEARCH_SENT, parse_before},
	{STR_INIT("SENTON"), SEARCH_SENT, parse_on},
	{STR_INIT("SENTSINCE"), SEARCH_SENT, parse_since},
	{STR_INIT("BCC"), SEARCH_HEADER, parse_text, .field = "bcc"},
	{STR_INIT("CC"), SEARCH_HEADER, parse_text, .field = "cc"},
	{STR_INIT("FROM"), SEARCH_HEADER, parse_text, .field = "from"},
	{STR_INIT("SUBJECT"), SEARCH_HEADER, parse_text, .field = "subject"},
	{STR_INIT("TO"), SEARCH_HEADER, parse_text, .field = "to"},
	{STR_INIT("HEADER"), SEARCH_HEADER, parse_header},
	{STR_INIT("BODY"), SEARCH_BODY, parse_text},
	{STR_INIT("TEXT"), SEARCH_TEXT, parse_text},
	{STR_INIT("UID"), SEARCH_UID, parse_uid},
	{STR_INIT("NOT"), SEARCH_AND, parse_not, true},
	{STR_INIT("OR"), SEARCH_OR, parse_or},
	{STR_INIT("RECENT"), SEARCH_RECENT, .rev1 = true},
	{STR_INIT("OLD"), SEARCH_RECENT, .negated = true, .rev1 = true},
	{STR_INIT("NEW"), SEARCH_AND, parse_new, .rev1 = true},
	{STR_INIT("MODSEQ"), SEARCH_MODSEQ, parse_modseq},
};

/* Keys by cost, which is the order of their operations. */
struct sorted {
	struct search_key *first[SEARCH_TEXT + 1], *last[SEARCH_TEXT + 1];
};

static void
insert(struct sorted *by_op, struct search_key *key)
{
	if (by_op->last[key->op] == NULL)
		by_op->first[key->op] = key;
	else
		by_op->last[key->op]->next = key;
	by_op->last[key->op] = key;
}

static struct search_key *
join(const struct sorted *by_op)
{
	struct search_key *list = NULL;
	for (size_t op = SEARCH_TEXT + 1; op-- > 0;) {
		if (by_op->first[op] == NULL)
			continue;
		by_op->last[op]->next = list;
		list = by_op->first[op];
	}
	return list;
}

static struct search_key *
parse_all(struct compiler *c, const struct arg *first)
{
	const struct arg *outer = c->at;
	struct search_key *all = new_key(c, SEARCH_AND);
	struct sorted by_op = {0};
	c->at = first;
	if (first == NULL)
		refuse(c, "Search key expected");
	while (c->at != NULL && c->why == NULL) {
		struct search_key *key = parse_key(c);
		if (key != NULL)
			insert(&by_op, key);
	}
	all->first = join(&by_op);
	c->at = outer;
	return c->why == NULL ? all : NULL;
}

/* A set stands for itself.  A number beyond the mailbox is an error in
 * sequences, as everywhere (RFC 3501 9, seq-number). */
static struct search_key *
parse_set(struct compiler *c, struct str text)
{
	struct search_key *key = new_key(c, SEARCH_SEQ);
	if (str_eq(text, STR("$"))) {
		key->op = SEARCH_UID;
		key->set = c->world->saved;
		return key;
	}
	if (!seqset_parse(c->arena, text, &key->set)) {
		refuse(c, "Unknown search key");
		return NULL;
	}
	seqset_resolve(&key->set, c->world->last_seq);
	if (seqset_last(&key->set) > c->world->last_seq) {
		refuse(c, "No such message");
		return NULL;
	}
	return key;
}

static struct search_key *
parse_word(struct compiler *c, struct str word)
{
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		if (!str_eq_nocase(word, rows[i].word) ||
			(rows[i].rev1 && c->world->rev2))
			continue;
		struct search_key *key = new_key(c, rows[i].op);
		key->negated = rows[i].negated;
		key->flag = rows[i].flag;
		if (rows[i].parse != NULL && !rows[i].parse(c, &rows[i], key))
			return NULL;
		return key;
	}
	return parse_set(c, word);
}

static struct search_key *
parse_key(struct compiler *c)
{
	struct search_key *key = NULL;
	const struct arg *arg = take(c), *first;
	struct str word;
	if (++c->depth > SEARCH_DEPTH)
		refuse(c, "Search is nested too deeply");
	else if (arg_list(arg, &first))
		key = parse_all(c, first);
	else if (arg_atom(arg, &word))
		key = parse_word(c, word);
	else
		refuse(c, "Search key expected");
	c->depth--;
	return key;
}

static bool
take_charset(struct compiler *c)
{
	bool stands = c->world->charset.n == 0 && arg_is(c->at, "CHARSET");
	if (c->world->charset.n > 0)
		c->charset = c->world->charset;
	if (stands) {
		take(c);
		if (!arg_astring(take(c), &c->charset))
			return refuse(c, "Charset expected");
	}
	return charset_is_known(c->arena, c->charset) ||
	       refuse(c, "BADCHARSET");
}

bool
search_compile(struct arena *a, const struct arg *args,
	const struct search_world *w, struct search_key **key, const char **why)
{
	struct compiler c = {
		.arena = a, .world = w, .at = args, .charset = STR("UTF-8")};
	*key = take_charset(&c) ? parse_all(&c, c.at) : NULL;
	*why = c.why;
	return *key != NULL;
}

bool
search_has(const struct search_key *key, enum search_op op)
{
	for (; key != NULL; key = key->next)
		if (key->op == op || search_has(key->first, op))
			return true;
	return false;
}
