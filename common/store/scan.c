/* SPDX-License-Identifier: ISC */
/*
 * Rows streamed from the index.  Which columns a row needs follows from what
 * is wanted; the statement for each combination is made from one table and
 * kept.  A scan lets go of its snapshot now and then, so that a slow client
 * keeps no checkpoint waiting, and whenever somebody writes.
 */
#include "store/index.h"

#include <assert.h>

enum { SNAPSHOT_ROWS = 2000 };

enum column_kind {
	COLUMN_UID,
	COLUMN_UNSIGNED,
	COLUMN_INT,
	COLUMN_NUMBER,
	COLUMN_BOOL,
	COLUMN_TEXT,
};

struct column {
	const char *sql;
	unsigned want; /* 0: always */
	enum column_kind kind;
	size_t offset;
};

#define COLUMN(sql, want, kind, member) \
	{sql, want, COLUMN_##kind, offsetof(struct message_row, member)}

static const struct column columns[] = {
	COLUMN("m.key", 0, UID, uid),
	COLUMN("m.flags", 0, UNSIGNED, flags),
	COLUMN("m.modseq", 0, NUMBER, modseq),
	COLUMN("m.keywords", 0, TEXT, keywords),
	COLUMN("m.date", WANT_DATES, NUMBER, date),
	COLUMN("m.zone", WANT_DATES, INT, zone),
	COLUMN("m.sent", WANT_SENT, NUMBER, sent),
	COLUMN("m.saved", WANT_DATES, NUMBER, saved),
	COLUMN("m.size", WANT_SIZES, NUMBER, size),
	COLUMN("m.file_size", WANT_SIZES, NUMBER, file_size),
	COLUMN("m.name", WANT_FILE, TEXT, name),
	COLUMN("m.info", WANT_FILE, TEXT, info),
	COLUMN("m.place>=2", WANT_FILE, BOOL, in_new),
	COLUMN("m.thread", WANT_THREAD, NUMBER, thread),
	COLUMN("h.sort_from", WANT_SORT_FROM, TEXT, sort_from),
	COLUMN("h.sort_to", WANT_SORT_TO, TEXT, sort_to),
	COLUMN("h.sort_cc", WANT_SORT_CC, TEXT, sort_cc),
	COLUMN("h.sort_subject", WANT_SORT_SUBJECT | WANT_THREADING, TEXT,
		sort_subject),
	COLUMN("h.display_from", WANT_DISPLAY, TEXT, display_from),
	COLUMN("h.display_to", WANT_DISPLAY, TEXT, display_to),
	COLUMN("h.from_text", WANT_HEADERS, TEXT, from),
	COLUMN("h.to_text", WANT_HEADERS, TEXT, to),
	COLUMN("h.cc_text", WANT_HEADERS, TEXT, cc),
	COLUMN("h.bcc_text", WANT_HEADERS, TEXT, bcc),
	COLUMN("h.subject", WANT_HEADERS | WANT_THREADING, TEXT, subject),
	COLUMN("h.message_id", WANT_HEADERS | WANT_THREADING, TEXT,
		message_id),
	COLUMN("h.refs", WANT_HEADERS | WANT_THREADING, TEXT, references),
	COLUMN("c.envelope", WANT_ENVELOPE, TEXT, envelope),
	COLUMN("c.body", WANT_BODY, TEXT, body),
	COLUMN("c.structure", WANT_STRUCTURE, TEXT, structure),
	COLUMN("c.preview", WANT_PREVIEW, TEXT, preview),
	COLUMN("c.fields", WANT_FIELDS, TEXT, fields),
};

enum {
	COLUMNS = sizeof(columns) / sizeof(columns[0]),
	IN_HEADER = WANT_SORT_CC | WANT_SORT_FROM | WANT_SORT_SUBJECT |
		WANT_SORT_TO | WANT_DISPLAY | WANT_THREADING | WANT_HEADERS,
	IN_CONTENT = WANT_ENVELOPE | WANT_BODY | WANT_STRUCTURE |
		WANT_PREVIEW | WANT_FIELDS,
	/* what a bare row has not */
	IN_MESSAGE = IN_HEADER | IN_CONTENT | WANT_SENT | WANT_THREAD,
};

static bool
is_wanted(const struct column *c, unsigned want)
{
	if (c->want == 0 && (want & WANT_UID))
		return c->kind == COLUMN_UID;
	return c->want == 0 || (c->want & want) != 0;
}

/* Within want: rows without \Seen alone, which have an index of their own; and
 * what else is asked of them. */
enum { ONLY_UNSEEN = 1 << 30, UNCONDITIONAL = 1 << 29 };

/* Nothing of the table message, which need not be read then; but there are
 * texts whose message is gone. */
static bool
is_of_headers(unsigned want)
{
	enum { ALONE = WANT_UID | UNCONDITIONAL };
	return (want & ALONE) == ALONE && (want & IN_HEADER) &&
		!(want & ~(unsigned)(IN_HEADER | ALONE));
}

static void
add_columns(struct buf *b, struct scan_statement *scan, const char *key)
{
	static_assert(COLUMNS <= sizeof scan->columns, "columns");
	for (size_t i = 0; i < COLUMNS; i++) {
		if (!is_wanted(&columns[i], scan->want))
			continue;
		buf_adds(b, scan->n > 0 ? "," : "SELECT ");
		buf_adds(b, columns[i].kind == COLUMN_UID ? key
							  : columns[i].sql);
		scan->columns[scan->n++] = (unsigned char)i;
	}
}

static void
prepare(struct store *s, struct scan_statement *scan)
{
	struct arena *a = arena_new("sql");
	struct buf *b = buf_new(a);
	bool unseen = (scan->want & ONLY_UNSEEN) != 0;
	bool alone = is_of_headers(scan->want);
	const char *key = alone ? "h.key" : "m.key";
	add_columns(b, scan, key);
	buf_adds(b, alone ? " FROM header h" : " FROM message m");
	if (unseen)
		buf_adds(b, " INDEXED BY message_unseen");
	if ((scan->want & IN_HEADER) && !alone)
		buf_adds(b, " CROSS JOIN header h ON h.key=m.key");
	if (scan->want & IN_CONTENT)
		buf_adds(b, " CROSS JOIN content c ON c.key=m.key");
	buf_printf(b, " WHERE %s BETWEEN ?1 AND ?2", key);
	if (scan->want & (WANT_SENT | WANT_THREAD))
		buf_adds(b, " AND m.thread<>-1");
	if (!(scan->want & UNCONDITIONAL))
		buf_adds(b, " AND m.flags&?3=?4 AND m.modseq>?5");
	if (unseen)
		buf_adds(b, " AND m.flags&1=0");
	buf_printf(b, " ORDER BY %s", key);
	int rc = sqlite3_prepare_v3(s->ix.db, b->p, (int)b->n,
		SQLITE_PREPARE_PERSISTENT, &scan->st, NULL);
	if (rc != SQLITE_OK && s->ix.fault == SQLITE_OK)
		s->ix.fault = rc;
	arena_free(a);
}

struct scan_statement *
scan_statement(struct store *s, unsigned want)
{
	if (s->ix.db == NULL || s->ix.fault != SQLITE_OK)
		return NULL;
	for (size_t i = 0; i < SCANS_KEPT; i++)
		if (s->ix.scans[i].st != NULL && s->ix.scans[i].want == want)
			return &s->ix.scans[i];
	struct scan_statement *slot =
		&s->ix.scans[s->ix.scan_next++ % SCANS_KEPT];
	if (slot == s->ix.scanning)
		s->ix.scanning = NULL;
	sqlite3_finalize(slot->st);
	*slot = (struct scan_statement){.want = want};
	prepare(s, slot);
	return slot->st == NULL ? NULL : slot;
}

static void
take_column(sqlite3_stmt *st, int i, const struct column *c, void *row)
{
	char *at = (char *)row + c->offset;
	switch (c->kind) {
	case COLUMN_UID:
		*(uint32_t *)(void *)at = index_uid(index_int(st, i));
		break;
	case COLUMN_UNSIGNED:
		*(unsigned *)(void *)at = (unsigned)index_int(st, i);
		break;
	case COLUMN_INT:
		*(int *)(void *)at = (int)index_int(st, i);
		break;
	case COLUMN_NUMBER: {
		int64_t n = index_int(st, i);
		memcpy(at, &n, sizeof n);
		break;
	}
	case COLUMN_BOOL:
		*(bool *)(void *)at = index_int(st, i) != 0;
		break;
	case COLUMN_TEXT:
		*(struct str *)(void *)at = index_text(st, i);
		break;
	}
}

void
scan_row(const struct scan_statement *scan, struct message_row *row)
{
	*row = (struct message_row){0};
	for (size_t i = 0; i < scan->n; i++)
		take_column(scan->st, (int)i, &columns[scan->columns[i]], row);
}

static void
bind(sqlite3_stmt *st, int64_t from, int64_t to,
	const struct mailbox_scan *c)
{
	sqlite3_reset(st);
	sqlite3_bind_int64(st, 1, from);
	sqlite3_bind_int64(st, 2, to);
	sqlite3_bind_int64(st, 3, c->mask);
	sqlite3_bind_int64(st, 4, c->value);
	sqlite3_bind_int64(st, 5, (int64_t)c->since);
}

/* The index is worth its while when it has all that is wanted, or leaves out
 * most. */
static unsigned
want_of(const struct mailbox *m, const struct mailbox_scan *c)
{
	unsigned want = c->want, mask = c->mask;
	bool unseen = (mask & FLAG_SEEN) && !(c->value & FLAG_SEEN);
	bool few = m->row.unseen < m->row.messages / 4;
	if (unseen && (few || want == WANT_UID)) {
		want |= ONLY_UNSEEN;
		mask &= ~(unsigned)FLAG_SEEN;
	}
	return want | (mask == 0 && c->since == 0 ? UNCONDITIONAL : 0);
}

static bool
wants_whole(unsigned want)
{
	return (want & IN_MESSAGE) != 0;
}

/* Before rows are read that may be bare; those that cannot be completed are
 * passed over. */
static bool
complete(struct mailbox *m, struct mailbox_scan *c, uint32_t from)
{
	if (c->generation != m->generation)
		c->complete = 0;
	c->generation = m->generation;
	if (!wants_whole(c->want) || c->complete >= from)
		return true;
	m->unread = 0;
	struct status st = describe_some(m, &c->uids, from, &c->complete);
	if (c->unread == 0)
		c->unread = m->unread;
	if (!status_is_fine(st) && m->store->ix.fault == SQLITE_OK)
		m->store->ix.fault = SQLITE_BUSY;
	return status_is_fine(st);
}

static uint32_t
range_end(const struct mailbox *m, const struct mailbox_scan *c)
{
	uint32_t last = c->uids.v[c->range].last, most = mailbox_last_uid(m);
	return last < most ? last : most;
}

static uint32_t
stretch_end(const struct mailbox *m, const struct mailbox_scan *c)
{
	uint32_t last = range_end(m, c);
	return wants_whole(c->want) && c->complete < last ? c->complete : last;
}

/* The statement at the place where the scan is, or NULL at the end. */
static struct scan_statement *
resume(struct mailbox *m, struct mailbox_scan *c)
{
	struct store *s = m->store;
	if (c->range >= c->uids.n)
		return NULL;
	if (c->statement != NULL && s->ix.scanning == c->statement &&
		s->ix.scanning->want == want_of(m, c))
		return c->statement;
	uint32_t first = c->uids.v[c->range].first;
	uint32_t from = c->next > first ? c->next : first;
	struct scan_statement *st = complete(m, c, from)
		? scan_statement(s, want_of(m, c)) : NULL;
	if (st == NULL)
		return NULL;
	bind(st->st, index_key(m->row.id, from),
		index_key(m->row.id, stretch_end(m, c)), c);
	c->statement = s->ix.scanning = st;
	return st;
}

static bool
is_in_view(const struct mailbox *m, const struct message_row *row)
{
	bool there;
	uids_below(&m->uids, row->uid, &there);
	return there;
}

bool
scan_next(struct mailbox *m, struct mailbox_scan *c, struct message_row *row)
{
	struct store *s = m->store;
	struct scan_statement *st;
	bool first = c->rows == 0 && c->statement == NULL && c->range == 0;
	if ((first || m->generation != s->ix.generation) &&
		!mailbox_ready(m)) {
		c->failed = s->ix.fault;
		return false;
	}
	if (c->rows % SNAPSHOT_ROWS == SNAPSHOT_ROWS - 1 &&
		s->ix.scanning == c->statement)
		s->ix.scanning = NULL;
	while ((st = resume(m, c)) != NULL) {
		if (index_row(s, st->st)) {
			scan_row(st, row);
			c->next = row->uid + 1;
			c->rows++;
			if (!is_of_headers(st->want) || is_in_view(m, row))
				return true;
			continue;
		}
		s->ix.scanning = NULL;
		c->statement = NULL;
		if (s->ix.fault != SQLITE_OK)
			break;
		if (stretch_end(m, c) < range_end(m, c))
			c->next = c->complete + 1;
		else
			c->range++;
	}
	c->failed = s->ix.fault;
	return false;
}

bool
mailbox_next(struct mailbox *m, struct mailbox_scan *c,
	struct message_row *row)
{
	return c->reads ? ahead_next(m, c, row) : scan_next(m, c, row);
}

struct status
mailbox_scan_end(struct mailbox *m, struct mailbox_scan *c)
{
	struct store *s = m->store;
	if (c->reads)
		ahead_end(m);
	if (c->statement != NULL && s->ix.scanning == c->statement) {
		sqlite3_reset(s->ix.scanning->st);
		s->ix.scanning = NULL;
	}
	c->statement = NULL;
	if (c->failed != SQLITE_OK)
		s->ix.fault = c->failed;
	return c->failed == SQLITE_OK ? status_fine()
		: index_status(s, m->arena);
}

void
message_keep(struct arena *a, unsigned want, struct message_row *row)
{
	for (size_t i = 0; i < COLUMNS; i++) {
		if (columns[i].kind != COLUMN_TEXT ||
			!is_wanted(&columns[i], want))
			continue;
		struct str *t = (struct str *)(void *)((char *)row +
			columns[i].offset);
		if (t->p != NULL)
			*t = str_copy(a, *t);
	}
}

bool
scan_one(struct store *s, struct arena *a, int64_t key, unsigned want,
	struct message_row *row)
{
	static const struct mailbox_scan any = {0};
	struct scan_statement *st = scan_statement(s, want | UNCONDITIONAL);
	if (st == NULL)
		return false;
	if (st == s->ix.scanning)
		s->ix.scanning = NULL;
	bind(st->st, key, key, &any);
	if (!index_row(s, st->st))
		return false;
	scan_row(st, row);
	message_keep(a, want, row);
	sqlite3_reset(st->st);
	return true;
}

bool
mailbox_row(struct mailbox *m, struct arena *a, uint32_t uid, unsigned want,
	struct message_row *row)
{
	struct uid_range one = {uid, uid};
	uint32_t upto;
	return mailbox_ready(m) && (!wants_whole(want) ||
		status_is_fine(describe_some(m, &(struct uid_set){&one, 1},
			uid, &upto))) &&
		scan_one(m->store, a, index_key(m->row.id, uid), want, row);
}
