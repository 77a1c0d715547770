/* SPDX-License-Identifier: ISC */
/*
 * SEARCH, RFC 3501 6.4.4, with RETURN (RFC 4731) and MODSEQ (RFC 7162 3.1.5):
 * the tree of search.h asked for one row of the index after another.  What
 * the tree demands of every message narrows the scan; files are opened for
 * texts the index does not have, and only for messages that pass the rest.
 */
#include "commands.h"
#include "fetch.h"
#include "search.h"
#include "view.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "mail/charset.h"
#include "mail/date.h"
#include "mail/facts.h"
#include "mail/header.h"
#include "mail/text.h"
#include "mail/word.h"

enum { DAY = 24 * 60 * 60 };

enum search_return {
	RETURN_MIN = 1 << 0,
	RETURN_MAX = 1 << 1,
	RETURN_ALL = 1 << 2,
	RETURN_COUNT = 1 << 3,
};

struct searching {
	struct imap_session *s;
	struct search_key *key;
	struct mailbox_scan scan;
	bool extended;
	unsigned returns;
	bool opens; /* some test asks for more than the row */
	bool bare;  /* the scan has done it all */
	/* Of the message in hand: */
	struct arena *arena;
	struct message_row row;
	/* What came of it: */
	struct uid_set found;
	uint64_t modseq; /* the highest of those found; 0: not asked for */
	bool wants_modseq;
	struct status status;
};

typedef bool (*test_fn)(struct searching *q, const struct search_key *key);

static bool is_match(struct searching *q, const struct search_key *key);

/* --------------------------------------------------------- from the row */

static bool
in_range(const struct search_key *key, int64_t n)
{
	return n >= key->low && n < key->high;
}

static bool
test_all(struct searching *q, const struct search_key *key)
{
	(void)q;
	(void)key;
	return true;
}

static bool
test_set(struct searching *q, const struct search_key *key)
{
	return uid_set_has(&key->set, q->row.uid);
}

static bool
test_flag(struct searching *q, const struct search_key *key)
{
	return (q->row.flags & key->flag) != 0;
}

static bool
test_recent(struct searching *q, const struct search_key *key)
{
	(void)key;
	return mailbox_is_recent(q->s->mailbox, q->row.uid);
}

static bool
test_modseq(struct searching *q, const struct search_key *key)
{
	return q->row.modseq >= (uint64_t)key->low;
}

static bool
test_keyword(struct searching *q, const struct search_key *key)
{
	struct str words = q->row.keywords, word;
	while (str_word(&words, &word))
		if (str_eq_nocase(word, key->text))
			return true;
	return false;
}

static bool
test_size(struct searching *q, const struct search_key *key)
{
	return in_range(key, (int64_t)q->row.size);
}

static bool
test_arrived(struct searching *q, const struct search_key *key)
{
	return in_range(key, q->row.date + q->row.zone * 60);
}

static bool
test_age(struct searching *q, const struct search_key *key)
{
	return in_range(key, q->row.date);
}

static bool
test_saved(struct searching *q, const struct search_key *key)
{
	return in_range(key, q->row.saved);
}

static bool
test_email(struct searching *q, const struct search_key *key)
{
	return message_email(&q->row) == (uint64_t)key->low;
}

static bool
test_thread(struct searching *q, const struct search_key *key)
{
	return q->row.thread == (uint64_t)key->low;
}

static bool
test_and(struct searching *q, const struct search_key *key)
{
	for (key = key->first; key != NULL; key = key->next)
		if (!is_match(q, key))
			return false;
	return true;
}

static bool
test_or(struct searching *q, const struct search_key *key)
{
	for (key = key->first; key != NULL; key = key->next)
		if (is_match(q, key))
			return true;
	return false;
}

/* ----------------------------------------------------------- sent dates */

/* "(\"Mon, 1 Jan 2024 23:30:00 -0500\" ...": the date as it was written. */
static bool
find_sent(struct searching *q, struct date *out)
{
	struct message_row row;
	if (!mailbox_row(q->s->mailbox, q->arena, q->row.uid, WANT_ENVELOPE,
		    &row) ||
		!str_starts(row.envelope, STR("(\"")))
		return false;
	struct str text = str_skip(row.envelope, 2);
	return date_parse(str_head(text, str_find(text, '"')), out);
}

static bool
is_near(int64_t edge, int64_t when)
{
	return edge != INT64_MIN && edge != INT64_MAX && when > edge - DAY &&
	       when < edge + DAY;
}

/* The row has the moment, not the zone: that matters near an edge alone. */
static bool
test_sent(struct searching *q, const struct search_key *key)
{
	struct date d = {.seconds = q->row.sent};
	if (is_near(key->low, d.seconds) || is_near(key->high, d.seconds))
		find_sent(q, &d);
	return in_range(key, d.seconds + d.zone * 60);
}

/* ---------------------------------------------------------------- texts */

static bool
has(struct str text, struct str part)
{
	return part.n == 0 || str_search(text, part) < text.n;
}

/* A message that went away does not match; anything else is a failure. */
static struct body *
open_body(struct searching *q)
{
	struct body *b;
	struct status st = body_open(q->s, &q->row, &b);
	if (status_is_fine(st))
		return b;
	if (st.class != STATUS_NEVER)
		q->status = st;
	return NULL;
}

static bool
is_in_header(
	struct searching *q, const struct search_key *key, struct str header)
{
	struct header_field field;
	while (header_next(&header, &field)) {
		if (!str_eq_nocase(field.name, key->field))
			continue;
		struct buf *text = buf_new(q->arena);
		struct buf *folded = buf_new(q->arena);
		word_decode(q->arena, text, field.value);
		charset_fold(folded, buf_str(text));
		if (has(buf_str(folded), key->text))
			return true;
	}
	return false;
}

static bool
is_in_file(struct searching *q, const struct search_key *key)
{
	if (q->row.fields.p != NULL && facts_keeps(key->field))
		return is_in_header(q, key, q->row.fields);
	struct body *b = open_body(q);
	return b != NULL && is_in_header(q, key, b->file.raw);
}

/* The id stands in the row without its brackets; the text may have them. */
static bool
is_id(struct searching *q, struct str text)
{
	struct buf *id = buf_new(q->arena), *folded = buf_new(q->arena);
	buf_addc(id, '<');
	buf_add(id, q->row.message_id);
	buf_addc(id, '>');
	charset_fold(folded, buf_str(id));
	return has(buf_str(folded), text);
}

#define COLUMN(field) {STR_INIT(#field), offsetof(struct message_row, field)}

static const struct {
	struct str field;
	size_t offset;
} columns[] = {
	COLUMN(from),
	COLUMN(to),
	COLUMN(cc),
	COLUMN(bcc),
	COLUMN(subject),
};

/* The row's text of that field, if it has one; an empty one may mean that
 * there is no such field. */
static struct str
find_column(const struct searching *q, struct str field)
{
	for (size_t i = 0; i < sizeof columns / sizeof *columns; i++)
		if (str_eq(columns[i].field, field))
			return *(const struct str *)(const void *)((
				const char *)&q->row + columns[i].offset);
	return STR("");
}

static bool
is_column(struct str field)
{
	for (size_t i = 0; i < sizeof columns / sizeof *columns; i++)
		if (str_eq(columns[i].field, field))
			return true;
	return false;
}

static bool
test_header(struct searching *q, const struct search_key *key)
{
	struct str column = find_column(q, key->field);
	if (column.n > 0)
		return has(column, key->text);
	if (is_column(key->field) && key->text.n > 0)
		return false;
	if (str_eq(key->field, STR("message-id")) && q->row.message_id.n > 0)
		return is_id(q, key->text);
	return is_in_file(q, key);
}

static bool
test_body(struct searching *q, const struct search_key *key)
{
	struct body *b = open_body(q);
	return b != NULL && text_search(q->arena, b->file.raw, body_tree(b),
				    key->text, key->op == SEARCH_TEXT);
}

/* ------------------------------------------------------------------ rows */

static const struct {
	test_fn test;
	unsigned want;
	bool opens;
} tests[] = {
	[SEARCH_ALL] = {test_all},
	[SEARCH_SEQ] = {test_set}, /* made UIDs before */
	[SEARCH_UID] = {test_set},
	[SEARCH_FLAG] = {test_flag},
	[SEARCH_RECENT] = {test_recent},
	[SEARCH_MODSEQ] = {test_modseq},
	[SEARCH_KEYWORD] = {test_keyword},
	[SEARCH_SIZE] = {test_size, WANT_SIZES},
	[SEARCH_ARRIVED] = {test_arrived, WANT_DATES},
	[SEARCH_AGE] = {test_age, WANT_DATES},
	[SEARCH_SAVED] = {test_saved, WANT_DATES},
	[SEARCH_EMAIL] = {test_email, WANT_FILE},
	[SEARCH_THREAD] = {test_thread, WANT_SORT},
	[SEARCH_AND] = {test_and},
	[SEARCH_OR] = {test_or},
	[SEARCH_SENT] = {test_sent, WANT_DATES, true},
	[SEARCH_HEADER] = {test_header, WANT_HEADERS},
	[SEARCH_BODY] = {test_body, WANT_FILE, true},
	[SEARCH_TEXT] = {test_body, WANT_FILE, true},
};

static bool
is_match(struct searching *q, const struct search_key *key)
{
	return tests[key->op].test(q, key) != key->negated;
}

/* Numbers become UIDs, and what has to be read is found out. */
static void
prepare_key(struct searching *q, struct search_key *key)
{
	struct search_key *inner;
	q->scan.want |= tests[key->op].want;
	q->opens |= tests[key->op].opens;
	q->wants_modseq |= key->op == SEARCH_MODSEQ;
	if (key->op == SEARCH_SEQ)
		key->set = mailbox_uids(
			q->s->mailbox, q->s->transaction, &key->set);
	if (key->op == SEARCH_HEADER &&
		(!is_column(key->field) || key->text.n == 0)) {
		q->scan.want |= WANT_FILE;
		if (facts_keeps(key->field))
			q->scan.want |= WANT_FIELDS;
		q->opens = true;
	}
	for (inner = key->first; inner != NULL; inner = inner->next)
		prepare_key(q, inner);
}

/* Takes one of the keys that every message must match into the scan. */
static bool
take_into_scan(
	struct mailbox_scan *c, const struct search_key *key, bool *has_set)
{
	bool set = key->op == SEARCH_SEQ || key->op == SEARCH_UID;
	if (key->op == SEARCH_FLAG && !(c->mask & key->flag)) {
		c->mask |= key->flag;
		c->value |= key->negated ? 0 : key->flag;
		return true;
	}
	if (set && !key->negated && !*has_set) {
		*has_set = true;
		c->uids = key->set;
		return true;
	}
	if (key->op == SEARCH_MODSEQ && !key->negated && key->low > 0)
		c->since = (uint64_t)key->low - 1;
	return key->op == SEARCH_ALL && !key->negated;
}

/* One set, any flags, a modseq; when there is nothing else, the UIDs that the
 * scan finds are the answer. */
static void
narrow(struct searching *q)
{
	static struct uid_range all = {1, UINT32_MAX};
	struct mailbox_scan *c = &q->scan;
	bool has_set = false;
	q->bare = !q->wants_modseq;
	for (const struct search_key *key = q->key->first; key != NULL;
		key = key->next)
		q->bare &= take_into_scan(c, key, &has_set);
	if (!has_set)
		c->uids = (struct uid_set){&all, 1};
	if (q->bare)
		c->want = WANT_UID;
}

static struct status
search(struct searching *q)
{
	struct mailbox *m = q->s->mailbox;
	struct arena_mark mark = arena_mark(q->arena);
	while (status_is_fine(q->status) &&
		mailbox_next(m, &q->scan, &q->row)) {
		/* another question to the index would void the texts */
		if (q->opens)
			message_keep(q->arena, q->scan.want, &q->row);
		if (q->bare || is_match(q, q->key)) {
			uid_set_add(q->s->transaction, &q->found, q->row.uid);
			if (q->row.modseq > q->modseq)
				q->modseq = q->row.modseq;
		}
		arena_rewind(q->arena, mark);
	}
	struct status st = mailbox_scan_end(m, &q->scan);
	return status_is_fine(q->status) ? st : q->status;
}

/* --------------------------------------------------------------- replies */

static void
put_modseq(struct searching *q, bool extended)
{
	struct buf *out = conn_out(q->s->conn);
	if (!q->wants_modseq || q->found.n == 0)
		return;
	q->s->enabled |= IMAP_CONDSTORE;
	buf_adds(out, extended ? " MODSEQ " : " (MODSEQ ");
	buf_addn(out, q->modseq);
	buf_adds(out, extended ? "" : ")");
}

static void
put_numbers(struct searching *q, const struct uid_set *set)
{
	struct seqset_cursor at = {0};
	uint32_t n;
	while (seqset_next(set, &at, &n)) {
		buf_addc(conn_out(q->s->conn), ' ');
		buf_addn(conn_out(q->s->conn), n);
		conn_pace(q->s->conn);
	}
}

static void
put_set(struct searching *q, const struct uid_set *set)
{
	char before = ' ';
	for (size_t i = 0; i < set->n; i++) {
		buf_addc(conn_out(q->s->conn), before);
		seqset_print(&(struct uid_set){&set->v[i], 1},
			conn_out(q->s->conn));
		conn_pace(q->s->conn);
		before = ',';
	}
}

static void
put_number(struct searching *q, const char *name, uint64_t n)
{
	buf_printf(conn_out(q->s->conn), " %s %llu", name,
		(unsigned long long)n);
}

/* RFC 4731 3.1: of nothing only the count is told. */
static void
put_extended(struct searching *q, const struct uid_set *set)
{
	struct buf *out = conn_out(q->s->conn);
	buf_adds(out, "* ESEARCH (TAG ");
	reply_string(out, q->s->tag);
	buf_adds(out, q->s->uid ? ") UID" : ")");
	if (set->n > 0 && (q->returns & RETURN_MIN))
		put_number(q, "MIN", set->v[0].first);
	if (set->n > 0 && (q->returns & RETURN_MAX))
		put_number(q, "MAX", set->v[set->n - 1].last);
	if (q->returns & RETURN_COUNT)
		put_number(q, "COUNT", uid_set_count(set));
	if (set->n > 0 && (q->returns & RETURN_ALL)) {
		buf_adds(out, " ALL");
		put_set(q, set);
	}
	put_modseq(q, true);
	buf_adds(out, "\r\n");
}

static void
put_result(struct searching *q)
{
	struct buf *out = conn_out(q->s->conn);
	struct uid_set set =
		q->s->uid ? q->found : view_seqs(q->s, &q->found);
	if (q->extended) {
		put_extended(q, &set);
	} else {
		buf_adds(out, "* SEARCH");
		put_numbers(q, &set);
		put_modseq(q, false);
		buf_adds(out, "\r\n");
	}
	conn_pace(q->s->conn);
}

/* --------------------------------------------------------------- command */

static bool
take_return(struct searching *q, const struct arg **args)
{
	static const struct {
		const char *name;
		unsigned bit;
	} options[] = {{"MIN", RETURN_MIN}, {"MAX", RETURN_MAX},
		{"ALL", RETURN_ALL}, {"COUNT", RETURN_COUNT}};
	enum { OPTIONS = sizeof options / sizeof *options };
	const struct arg *word;
	if (!arg_is(*args, "RETURN"))
		return true;
	if (!arg_list((*args)->next, &word))
		return false;
	*args = (*args)->next->next;
	q->extended = true;
	q->returns = word == NULL ? RETURN_ALL : 0;
	for (; word != NULL; word = word->next) {
		size_t i = 0;
		while (i < OPTIONS && !arg_is(word, options[i].name))
			i++;
		if (i == OPTIONS)
			return false;
		q->returns |= options[i].bit;
	}
	return true;
}

static struct imap_reply
refused(const char *why)
{
	if (strcmp(why, "BADCHARSET") == 0)
		return REPLY_NO("BADCHARSET (UTF-8 US-ASCII)",
			"The charset is not known");
	return (struct imap_reply){IMAP_BAD, STR(""), str_from(why)};
}

struct imap_reply
imap_search(struct imap_session *s, const struct arg *args)
{
	struct searching q = {.s = s, .status = status_fine()};
	struct search_world world = {.last_seq = mailbox_count(s->mailbox),
		.last_uid = mailbox_last_uid(s->mailbox),
		.now = clock_wall()};
	const char *why;
	if (!take_return(&q, &args))
		return REPLY_BAD("Unknown RETURN option");
	if ((s->enabled & IMAP_UTF8) && arg_is(args, "CHARSET"))
		return REPLY_BAD("UTF-8 it is"); /* RFC 6855 3 */
	if (!search_compile(s->transaction, args, &world, &q.key, &why))
		return refused(why);
	prepare_key(&q, q.key);
	narrow(&q);
	q.arena = arena_new("search");
	struct status st = search(&q);
	st.text = str_copy(s->transaction, st.text);
	arena_free(q.arena);
	if (!status_is_fine(st))
		return reply_status(st);
	put_result(&q);
	return REPLY_OK("Searched");
}
