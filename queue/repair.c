/* SPDX-License-Identifier: ISC */
/*
 * A damaged database.  Whoever meets damage leaves a mark and ends the queue;
 * at its next start everything that can be read is copied, row by row, into a
 * new database, and the damaged files are kept beside it under another name.
 * A table that cannot be read to its end is read from its other end too, and
 * messages are looked up one by one for the recipients that are left.  Indexes
 * are made anew, so damage to one of them costs nothing.
 *
 * The mark goes last: a crash in between begins again, or finishes.
 */
#include "queue.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum { NAMED_MOST = 20 };

static const char mark[] = "queue.db.repair";

/* By what each is read from both ends. */
static const struct {
	const char *table, *order;
} salvaged[] = {
	{"message", "id"},
	{"content", "message"},
	{"recipient", "message %s, number"},
	{"destination", "name"},
	{"token", "token"},
	{"history", "message %s, number"},
	{"attempt", "message %s, number %s, started"},
};

static int
directory(struct queue *q)
{
	int fd = open(str_cstr(q->arena, q->directory),
		O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		fatal("queue directory", NULL);
	return fd;
}

void
repair_later(struct queue *q)
{
	int dir = directory(q);
	int fd = openat(dir, mark, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || fsync(fd) != 0 || fsync(dir) != 0)
		fatal("queue database", "it is damaged, and no mark can be "
			"left for its repair");
	errno = 0;
	fatal("queue database", "it is damaged and will be repaired at the "
		"next start");
}

/* ----------------------------------------------------------------- copying */

static sqlite3_stmt *
prepare(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *s;
	return sqlite3_prepare_v2(db, sql, -1, &s, NULL) == SQLITE_OK ? s
								      : NULL;
}

/* Copies what comes; false when it did not come to its end. */
static bool
copy_rows(sqlite3_stmt *from, sqlite3_stmt *to, int64_t *count)
{
	int columns = sqlite3_column_count(from);
	int r = SQLITE_ERROR;
	while (sqlite3_bind_parameter_count(to) == columns &&
		(r = sqlite3_step(from)) == SQLITE_ROW) {
		for (int i = 0; i < columns; i++)
			sqlite3_bind_value(to, i + 1,
				sqlite3_column_value(from, i));
		if (sqlite3_step(to) == SQLITE_DONE)
			*count += sqlite3_changes(sqlite3_db_handle(to));
		sqlite3_reset(to);
	}
	sqlite3_finalize(from);
	return r == SQLITE_DONE;
}

static sqlite3_stmt *
insert_into(struct arena *a, sqlite3 *to, const char *table)
{
	sqlite3_stmt *s = prepare(to, str_cstr(a,
		str_printf(a, "SELECT * FROM %s LIMIT 0", table)));
	struct str marks = STR("?");
	int columns = s == NULL ? 0 : sqlite3_column_count(s);
	sqlite3_finalize(s);
	for (int i = 1; i < columns; i++)
		marks = str_printf(a, "%.*s, ?", STR_ARG(marks));
	return prepare(to, str_cstr(a, str_printf(a,
		"INSERT OR IGNORE INTO %s VALUES (%.*s)", table,
		STR_ARG(marks))));
}

static sqlite3_stmt *
select_all(struct arena *a, sqlite3 *from, size_t i, const char *way)
{
	/* NOT INDEXED: an index may be what is damaged. */
	struct str order = str_printf(a, salvaged[i].order, way, way);
	return prepare(from, str_cstr(a, str_printf(a,
		"SELECT * FROM %s NOT INDEXED ORDER BY %.*s %s",
		salvaged[i].table, STR_ARG(order), way)));
}

/* True when the table was read whole. */
static bool
salvage(sqlite3 *from, sqlite3 *to, size_t i, int64_t *count)
{
	struct arena *a = arena_new("salvage");
	sqlite3_stmt *in = insert_into(a, to, salvaged[i].table);
	sqlite3_stmt *out = select_all(a, from, i, "ASC");
	bool whole = in != NULL && out != NULL && copy_rows(out, in, count);
	if (!whole && in != NULL &&
		(out = select_all(a, from, i, "DESC")) != NULL)
		copy_rows(out, in, count);
	sqlite3_finalize(in);
	arena_free(a);
	return whole;
}

/* Rows between two places that cannot be passed are reached by their keys. */
static void
salvage_by_key(sqlite3 *from, sqlite3 *to, const char *table, const char *key)
{
	struct arena *a = arena_new("salvage");
	sqlite3_stmt *ids = prepare(to, str_cstr(a, str_printf(a,
		"SELECT DISTINCT message FROM recipient WHERE message NOT IN"
		" (SELECT %s FROM %s)", key, table)));
	sqlite3_stmt *in = insert_into(a, to, table);
	int64_t count = 0;
	while (in != NULL && ids != NULL && sqlite3_step(ids) == SQLITE_ROW) {
		sqlite3_stmt *one = prepare(from, str_cstr(a, str_printf(a,
			"SELECT * FROM %s WHERE %s = %lld", table, key,
			(long long)sqlite3_column_int64(ids, 0))));
		if (one != NULL)
			copy_rows(one, in, &count);
	}
	sqlite3_finalize(ids);
	sqlite3_finalize(in);
	arena_free(a);
}

/* --------------------------------------------------------- what is missing */

static int64_t
name_lost(sqlite3 *db, const char *event, const char *sql)
{
	sqlite3_stmt *s = prepare(db, sql);
	int64_t n = 0;
	for (; s != NULL && sqlite3_step(s) == SQLITE_ROW; n++) {
		char qid[QID_LENGTH + 1];
		qid_format(sqlite3_column_int64(s, 0), qid);
		if (n < NAMED_MOST)
			log_error(str_from(qid), event, LOG_CSTR("address",
				(const char *)sqlite3_column_text(s, 1)));
	}
	sqlite3_finalize(s);
	return n;
}

/* A recipient without its message cannot be delivered, nor a message without
 * recipients; both stay in the damaged file alone. */
static int64_t
drop_incomplete(sqlite3 *db)
{
	int64_t n = name_lost(db, "recipient-lost",
		"SELECT message, address FROM recipient WHERE message"
		" NOT IN (SELECT id FROM message)");
	n += name_lost(db, "message-lost",
		"SELECT id, sender FROM message WHERE id"
		" NOT IN (SELECT message FROM recipient)");
	sqlite3_exec(db, "DELETE FROM recipient WHERE message NOT IN"
		" (SELECT id FROM message); DELETE FROM message WHERE id"
		" NOT IN (SELECT message FROM recipient); DELETE FROM content"
		" WHERE message NOT IN (SELECT id FROM message)",
		NULL, NULL, NULL);
	return n;
}

/* ------------------------------------------------------------- the files */

static bool
exists(int dir, const char *name)
{
	return faccessat(dir, name, F_OK, 0) == 0;
}

static void
remove_new(int dir)
{
	unlinkat(dir, "queue.db.new", 0);
	unlinkat(dir, "queue.db.new-wal", 0);
	unlinkat(dir, "queue.db.new-shm", 0);
}

static void
move(int dir, const char *from, const char *to)
{
	if (renameat(dir, from, dir, to) != 0 && errno != ENOENT)
		fatal("queue database", "the damaged file cannot be set aside");
	errno = 0;
}

/* The damaged one away, the new one in its place. */
static void
exchange(struct queue *q, int dir)
{
	static const char *const tails[] = {"", "-wal", "-shm"};
	struct arena *a = arena_new("repair");
	const char *aside = str_cstr(a, str_printf(a, "queue.db.damaged.%lld",
		(long long)clock_wall()));
	for (int i = 0; i < 3; i++)
		move(dir, str_cstr(a, str_printf(a, "queue.db%s", tails[i])),
			str_cstr(a, str_printf(a, "%s%s", aside, tails[i])));
	if (fsync(dir) != 0)
		fatal("queue directory", NULL);
	move(dir, "queue.db.new", "queue.db");
	log_error(LOG_NO_ID, "database-repaired", LOG_STR("damaged",
		str_printf(a, "%.*s/%s", STR_ARG(q->directory), aside)),
		LOG_CSTR("see", "queue(8), DAMAGE"));
	arena_free(a);
}

static void
copy_all(struct queue *q, struct arena *a, int dir)
{
	struct table to;
	sqlite3 *from = NULL;
	remove_new(dir);
	struct status s = table_open(a, str_cstr(a, str_printf(a,
		"%.*s/queue.db.new", STR_ARG(q->directory))), &to);
	if (!status_is_fine(s))
		fatal("queue database", str_cstr(a, s.text));
	sqlite3_open(str_cstr(a, str_printf(a, "%.*s/queue.db",
		STR_ARG(q->directory))), &from);
	sqlite3_exec(to.db, "BEGIN", NULL, NULL, NULL);
	for (size_t i = 0; i < sizeof salvaged / sizeof *salvaged; i++) {
		int64_t count = 0;
		bool whole = salvage(from, to.db, i, &count);
		log_error(LOG_NO_ID, whole ? "table-copied" : "table-damaged",
			LOG_CSTR("table", salvaged[i].table),
			LOG_NUM("rows", count));
	}
	salvage_by_key(from, to.db, "message", "id");
	salvage_by_key(from, to.db, "content", "message");
	int64_t lost = drop_incomplete(to.db);
	sqlite3_close(from);
	if (lost > 0)
		log_error(LOG_NO_ID, "rows-lost", LOG_NUM("count", lost));
	if (sqlite3_exec(to.db, "COMMIT; PRAGMA wal_checkpoint(TRUNCATE)",
		NULL, NULL, NULL) != SQLITE_OK)
		fatal("queue database", "the repaired one cannot be written");
	table_close(&to);
}

void
repair_now(struct queue *q)
{
	struct arena *a = arena_new("repair");
	int dir = directory(q);
	arena_limit(a, (size_t)1 << 30);
	log_error(LOG_NO_ID, "database-damaged",
		LOG_STR("file", str_printf(a, "%.*s/queue.db",
			STR_ARG(q->directory))));
	/* Copied whole before, and then a crash: only the names are left. */
	if (exists(dir, "queue.db") || !exists(dir, "queue.db.new"))
		copy_all(q, a, dir);
	exchange(q, dir);
	if (fsync(dir) != 0)
		fatal("queue directory", NULL);
	unlinkat(dir, mark, 0);
	close(dir);
	arena_free(a);
}

bool
repair_is_due(struct queue *q)
{
	int dir = directory(q);
	bool due = exists(dir, mark);
	close(dir);
	errno = 0;
	return due;
}
