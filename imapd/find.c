/* SPDX-License-Identifier: ISC */
/*
 * The tree of search.h asked for one row of the index after another.  What the
 * tree demands of every message narrows the scan; files are opened for texts
 * the index does not have, and only for messages that pass the rest.
 */
#include "find.h"
#include "fetch.h"
#include "progress.h"
#include "search.h"
#include "view.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "mail/charset.h"
#include "mail/date.h"
#include "mail/facts.h"
#include "mail/header.h"
#include "mail/text.h"
#include "mail/word.h"

enum { DAY = 24 * 60 * 60, STEP = 256 };

struct finding {
	struct imap_session *s;
	struct search_key *key;
	struct mailbox_scan scan;
	find_fn found;
	void *ctx;
	bool opens; /* some test asks for more than the row */
	bool bare;  /* the scan has done it all */
	/* Of the message in hand: */
	struct arena *arena;
	struct message_row row;
	struct status status;
	int64_t look; /* when to ask whether somebody still waits */
};

typedef bool (*test_fn)(struct finding *q, const struct search_key *key);

static bool is_match(struct finding *q, const struct search_key *key);

/* --------------------------------------------------------- from the row */

static bool
in_range(const struct search_key *key, int64_t n)
{
	return n >= key->low && n < key->high;
}

static bool
test_all(struct finding *q, const struct search_key *key)
{
	(void)q;
	(void)key;
	return true;
}

static bool
test_set(struct finding *q, const struct search_key *key)
{
	return uid_set_has(&key->set, q->row.uid);
}

static bool
test_flag(struct finding *q, const struct search_key *key)
{
	return (q->row.flags & key->flag) != 0;
}

static bool
test_recent(struct finding *q, const struct search_key *key)
{
	(void)key;
	return mailbox_is_recent(q->s->mailbox, q->row.uid);
}

static bool
test_modseq(struct finding *q, const struct search_key *key)
{
	return q->row.modseq >= (uint64_t)key->low;
}

static bool
test_keyword(struct finding *q, const struct search_key *key)
{
	struct str words = q->row.keywords, word;
	while (str_word(&words, &word))
		if (str_eq_nocase(word, key->text))
			return true;
	return false;
}

static bool
test_size(struct finding *q, const struct search_key *key)
{
	return in_range(key, (int64_t)q->row.size);
}

static bool
test_arrived(struct finding *q, const struct search_key *key)
{
	return in_range(key, q->row.date + q->row.zone * 60);
}

static bool
test_age(struct finding *q, const struct search_key *key)
{
	return in_range(key, q->row.date);
}

static bool
test_saved(struct finding *q, const struct search_key *key)
{
	return in_range(key, q->row.saved);
}

static bool
test_email(struct finding *q, const struct search_key *key)
{
	return message_email(&q->row) == (uint64_t)key->low;
}

static bool
test_thread(struct finding *q, const struct search_key *key)
{
	return q->row.thread == (uint64_t)key->low;
}

static bool
test_and(struct finding *q, const struct search_key *key)
{
	for (key = key->first; key != NULL; key = key->next)
		if (!is_match(q, key))
			return false;
	return true;
}

static bool
test_or(struct finding *q, const struct search_key *key)
{
	for (key = key->first; key != NULL; key = key->next)
		if (is_match(q, key))
			return true;
	return false;
}

/* ----------------------------------------------------------- sent dates */

/* "(\"Mon, 1 Jan 2024 23:30:00 -0500\" ...": the date as it was written. */
static bool
find_sent(struct finding *q, struct date *out)
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
test_sent(struct finding *q, const struct search_key *key)
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
open_body(struct finding *q)
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
	struct finding *q, const struct search_key *key, struct str header)
{
	struct header_field field;
	header = header_begin(header);
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
is_in_file(struct finding *q, const struct search_key *key)
{
	if (q->row.fields.p != NULL && facts_keeps(key->field))
		return is_in_header(q, key, q->row.fields);
	struct body *b = open_body(q);
	return b != NULL && is_in_header(q, key, b->file.raw);
}

/* The id stands in the row without its brackets; the text may have them. */
static bool
is_id(struct finding *q, struct str text)
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
find_column(const struct finding *q, struct str field)
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
test_header(struct finding *q, const struct search_key *key)
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
test_body(struct finding *q, const struct search_key *key)
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
	[SEARCH_THREAD] = {test_thread, WANT_THREAD},
	[SEARCH_AND] = {test_and},
	[SEARCH_OR] = {test_or},
	[SEARCH_SENT] = {test_sent, WANT_SENT, true},
	[SEARCH_HEADER] = {test_header, WANT_HEADERS},
	[SEARCH_BODY] = {test_body, WANT_FILE, true},
	[SEARCH_TEXT] = {test_body, WANT_FILE, true},
};

static bool
is_match(struct finding *q, const struct search_key *key)
{
	return tests[key->op].test(q, key) != key->negated;
}

/* Numbers become UIDs, and what has to be read is found out. */
static void
prepare_key(struct finding *q, struct search_key *key)
{
	struct search_key *inner;
	q->scan.want |= tests[key->op].want;
	q->opens |= tests[key->op].opens;
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

static bool
reads_each(const struct search_key *key)
{
	return key->op == SEARCH_BODY || key->op == SEARCH_TEXT;
}

/* One set, any flags, a modseq; when there is nothing else, the UIDs that the
 * scan finds are the answer.  When all that is left are texts, every file is
 * read. */
static void
narrow(struct finding *q)
{
	static struct uid_range all = {1, UINT32_MAX};
	struct mailbox_scan *c = &q->scan;
	bool has_set = false, reads = true;
	q->bare = true;
	for (const struct search_key *key = q->key->first; key != NULL;
		key = key->next) {
		bool taken = take_into_scan(c, key, &has_set);
		q->bare &= taken;
		reads &= taken || reads_each(key);
	}
	c->reads = reads && !q->bare;
	if (!has_set)
		c->uids = (struct uid_set){&all, 1};
}

/* Who has hung up waits for no answer, and who is to end has no time for it.
 */
static bool
goes_on(struct finding *q, uint64_t done)
{
	enum { LOOK_MS = 100 };
	if ((done % STEP != 0 && !q->opens) || clock_ms() < q->look)
		return true;
	q->look = clock_in(LOOK_MS);
	if (conn_check(q->s->conn))
		return true;
	q->status = status_later(3, 2, STR("Interrupted"));
	return false;
}

/* A message that nobody can read shall not keep all others from being found
 * (RFC 3501 7.1.2). */
static void
warn_unread(struct imap_session *s, uint32_t uid)
{
	struct status st = body_unread(s, uid);
	if (status_is_fine(st))
		return;
	log_warn(s->id, "unreadable", LOG_STR("why", st.text));
	reply_line(s->conn, STR(""), reply_status(st));
}

static struct status
scan_rows(struct finding *q)
{
	struct mailbox *m = q->s->mailbox;
	struct arena_mark mark = arena_mark(q->arena);
	uint64_t done = 0, some = uid_set_count(&q->scan.uids),
		 all = mailbox_count(m);
	while (status_is_fine(q->status) && goes_on(q, done) &&
		mailbox_next(m, &q->scan, &q->row)) {
		/* another question to the index would void the texts */
		if (q->opens)
			message_keep(q->arena, q->scan.want, &q->row);
		if (q->bare || is_match(q, q->key))
			q->found(q->ctx, &q->row);
		arena_rewind(q->arena, mark);
		if (++done % STEP == 0)
			progress_tell(q->s, done, some < all ? some : all);
	}
	struct status st = mailbox_scan_end(m, &q->scan);
	if (status_is_fine(st) && q->scan.unread != 0)
		warn_unread(q->s, q->scan.unread);
	return status_is_fine(q->status) ? st : q->status;
}

struct status
find_messages(struct imap_session *s, struct search_key *key, unsigned want,
	find_fn found, void *ctx)
{
	struct finding q = {.s = s,
		.key = key,
		.found = found,
		.ctx = ctx,
		.status = status_fine()};
	prepare_key(&q, key);
	narrow(&q);
	if (q.bare)
		q.scan.want = want;
	else
		q.scan.want |= want & ~(unsigned)WANT_UID;
	q.arena = arena_new("search");
	struct status st = scan_rows(&q);
	st.text = str_copy(s->transaction, st.text);
	arena_free(q.arena);
	return st;
}

bool
find_compile(struct imap_session *s, struct str charset,
	const struct arg *args, struct search_key **key,
	struct imap_reply *why)
{
	bool only_uids = (s->enabled & IMAP_UIDONLY) != 0;
	/* where numbers are refused, which messages there are is no matter */
	struct search_world world = {
		.last_seq = only_uids ? UINT32_MAX : mailbox_count(s->mailbox),
		.last_uid = mailbox_last_uid(s->mailbox),
		.now = clock_wall(),
		.rev2 = (s->enabled & IMAP_REV2) != 0,
		.saved = view_saved(s),
		.charset = charset};
	const char *words;
	*why = REPLY_BAD("UTF-8 it is"); /* RFC 6855 3 */
	if ((s->enabled & IMAP_UTF8) && charset.n == 0 &&
		arg_is(args, "CHARSET"))
		return false;
	if (search_compile(s->transaction, args, &world, key, &words)) {
		s->numbers = search_has(*key, SEARCH_SEQ);
		*why = REPLY_UIDREQUIRED;
		return !s->numbers || !only_uids;
	}
	*why = (struct imap_reply){IMAP_BAD, STR(""), str_from(words)};
	if (strcmp(words, "BADCHARSET") == 0)
		*why = REPLY_NO("BADCHARSET (UTF-8 US-ASCII)",
			"The charset is not known");
	return false;
}
