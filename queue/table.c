/* SPDX-License-Identifier: ISC */
/*
 * The database.  Rows are what doc/queue.md says; a row whose fields are not
 * what they should be is refused by who reads it, the schema checks nothing
 * that would make SQLite refuse to open.
 */
#include "queue.h"
#include "base/arena.h"
#include "base/log.h"
#include "sys/frames.h"

#include <stdlib.h>

enum { SCHEMA = 1 };

/* Content has a table of its own: whoever walks over messages need not step
 * over what they say. */
static const char schema[] =
	"CREATE TABLE IF NOT EXISTS message ("
	" id INTEGER PRIMARY KEY, sender TEXT NOT NULL, arrival INTEGER,"
	" size INTEGER, origin TEXT, session TEXT, client TEXT, user TEXT,"
	" ret TEXT, envid TEXT, body_type TEXT, utf8 INTEGER,"
	" requiretls INTEGER, crashes INTEGER DEFAULT 0, body TEXT,"
	" message_id TEXT, trace TEXT);"
	"CREATE INDEX IF NOT EXISTS message_body ON message (body)"
	" WHERE body <> '';"
	"CREATE TABLE IF NOT EXISTS content ("
	" message INTEGER PRIMARY KEY, octets BLOB);"
	"CREATE TABLE IF NOT EXISTS recipient ("
	" message INTEGER, number INTEGER, state INTEGER, next INTEGER,"
	" address TEXT NOT NULL, orcpt TEXT, notify TEXT, agent TEXT,"
	" user TEXT, home TEXT, ids TEXT, destination TEXT,"
	" attempts INTEGER, parked INTEGER, attempted INTEGER,"
	" notified INTEGER, reply TEXT, remote TEXT,"
	" PRIMARY KEY (message, number)) WITHOUT ROWID;"
	"CREATE INDEX IF NOT EXISTS recipient_due ON recipient"
	" (state, next, message, number);"
	"CREATE INDEX IF NOT EXISTS recipient_way ON recipient"
	" (destination, next, message, number)"
	" WHERE agent = 'remote' AND state = 1;"
	"CREATE TABLE IF NOT EXISTS destination ("
	" name TEXT PRIMARY KEY, most REAL, ceiling REAL,"
	" ceiling_until INTEGER, ceiling_hold INTEGER, failures INTEGER,"
	" parked_until INTEGER, horizon INTEGER, reply TEXT,"
	" changed INTEGER) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS token ("
	" token TEXT PRIMARY KEY, id INTEGER, at INTEGER) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS history ("
	" message INTEGER, number INTEGER, finished INTEGER, outcome TEXT,"
	" sender TEXT, size INTEGER, arrival INTEGER, origin TEXT,"
	" client TEXT, user TEXT, address TEXT, orcpt TEXT, agent TEXT,"
	" mailbox TEXT, destination TEXT, attempts INTEGER, reply TEXT,"
	" remote TEXT, session TEXT, message_id TEXT, trace TEXT,"
	" started INTEGER, took INTEGER, detail TEXT,"
	" PRIMARY KEY (message, number)) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS attempt ("
	" message INTEGER, number INTEGER, started INTEGER, took INTEGER,"
	" reply TEXT, remote TEXT, detail TEXT,"
	" PRIMARY KEY (message, number, started)) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS probe (at INTEGER);"
	"PRAGMA user_version = 1;";

/* What rows.c reads, whatever it comes from. */
#define SHOWN_OF_MESSAGE " m.sender, m.size, m.arrival, m.origin, m.client," \
	" m.user, m.session, m.message_id, m.trace"

/* What take_row in load.c reads. */
#define ROW "SELECT next, message, number, state, address, orcpt, notify," \
	" agent, user, home, ids, destination, attempts, parked, attempted," \
	" notified, remote FROM recipient"

/* An id of a clock that was ahead: such ids go on until that time has come. */
#define FROM_AHEAD "message > (strftime('%s') + 86400) * 1000000"
#define GONE " WHERE NOT EXISTS (SELECT 1 FROM message WHERE" \
	" id = old.message) LIMIT ?2)"

static const char *const texts[STATEMENTS] = {
	[INSERT_MESSAGE] = "INSERT INTO message (id, sender, arrival, size,"
		" origin, session, client, user, ret, envid, body_type, utf8,"
		" requiretls, body, message_id, trace) VALUES (?1, ?2, ?3,"
		" ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15,"
		" ?16)",
	[INSERT_CONTENT] = "INSERT INTO content VALUES (?1, ?2)",
	[INSERT_RCPT] = "INSERT OR REPLACE INTO recipient (message, number,"
		" state, next, address, orcpt, notify, agent, user, home, ids,"
		" destination, attempts, parked, attempted, notified, reply,"
		" remote) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10,"
		" ?11, ?12, 0, 0, 0, 0, ?13, '')",
	[INSERT_TOKEN] = "INSERT OR IGNORE INTO token VALUES (?1, ?2, ?3)",
	[FIND_TOKEN] = "SELECT id FROM token WHERE token = ?1",
	[PRUNE_TOKENS] = "DELETE FROM token WHERE at < ?1",
	[ROUTE_RCPT] = "UPDATE recipient SET state = 1, address = ?3,"
		" agent = ?4, user = ?5, home = ?6, ids = ?7, destination = ?8,"
		" orcpt = ?9 WHERE message = ?1 AND number = ?2",
	[DEFER_RCPT] = "UPDATE recipient SET state = ?3, next = ?4,"
		" attempts = ?5, parked = ?6, attempted = ?7, notified = ?8,"
		" reply = ?9, remote = ?10 WHERE message = ?1 AND number = ?2",
	[SET_STATE] = "UPDATE recipient SET state = ?3, next = ?4,"
		" parked = 0, reply = CASE ?5 WHEN '' THEN reply ELSE ?5 END"
		" WHERE message = ?1 AND number = ?2",
	[INSERT_HISTORY] = "INSERT OR REPLACE INTO history SELECT r.message,"
		" r.number, ?3, ?4, m.sender, m.size, m.arrival, m.origin,"
		" m.client, m.user, ifnull(?10, r.address),"
		" ifnull(?11, r.orcpt), ifnull(?12, r.agent),"
		" ifnull(?13, r.user), ifnull(?14, r.destination),"
		" r.attempts + (?7 > 0),"
		" CASE ?5 WHEN '' THEN r.reply ELSE ?5 END, ?6, m.session,"
		" m.message_id, m.trace, ?7, ?8, ?9"
		" FROM recipient r JOIN message m ON m.id = r.message"
		" WHERE r.message = ?1 AND r.number = ?2",
	[INSERT_ATTEMPT] = "INSERT OR REPLACE INTO attempt VALUES"
		" (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
	[REDIRECT_RCPT] = "UPDATE recipient SET state = 0, next = ?3,"
		" address = ?4, orcpt = ?5, number = ?6, agent = '',"
		" user = '', home = '', ids = '', destination = '',"
		" attempts = 0, parked = 0, reply = '', remote = ''"
		" WHERE message = ?1 AND number = ?2",
	[REDIRECT_ATTEMPTS] = "UPDATE attempt SET number = ?3"
		" WHERE message = ?1 AND number = ?2",
	[DELETE_RCPT] = "DELETE FROM recipient WHERE message = ?1"
		" AND number = ?2",
	/* Not RETURNING: that makes a table for what it returns. */
	[SELECT_DONE] = "SELECT body FROM message WHERE id = ?1 AND NOT EXISTS"
		" (SELECT 1 FROM recipient WHERE message = ?1)",
	[DELETE_MESSAGE] = "DELETE FROM message WHERE id = ?1",
	[DELETE_CONTENT] = "DELETE FROM content WHERE message = ?1",
	[SET_CRASHES] = "UPDATE message SET crashes = ?2 WHERE id = ?1",
	[SAVE_DESTINATION] = "INSERT OR REPLACE INTO destination VALUES"
		" (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
	[PRUNE_ATTEMPTS] = "DELETE FROM attempt WHERE message IN"
		" (SELECT message FROM (SELECT DISTINCT message FROM attempt"
		" WHERE message < ?1 * 1000000 UNION ALL"
		" SELECT DISTINCT message FROM attempt WHERE " FROM_AHEAD
		" AND started < ?1 * 1000000) AS old" GONE,
	[UNDO_FUTURE] = "UPDATE recipient SET next = ?1"
		" WHERE state = ?3 AND next > ?2",
	[PRUNE_DESTINATIONS] = "DELETE FROM destination WHERE changed < ?1",
	[PRUNE_HISTORY] = "DELETE FROM history WHERE finished < ?1 AND"
		" message IN"
		" (SELECT message FROM (SELECT DISTINCT message FROM history"
		" WHERE message < ?1 * 1000000 AND finished < ?1 UNION ALL"
		" SELECT DISTINCT message FROM history WHERE " FROM_AHEAD
		" AND finished < ?1) AS old" GONE,
	[SELECT_DUE] = ROW " WHERE state = ?1 AND next <= ?2"
		" AND (next, message, number) > (?3, ?4, ?5)"
		" ORDER BY next, message, number LIMIT ?6",
	[SELECT_LANE] = ROW " INDEXED BY recipient_way"
		" WHERE agent = 'remote' AND state = 1 AND destination = ?1"
		" AND next <= ?7 AND (next <= ?2 OR parked > 0)"
		" AND (next, message, number) > (?3, ?4, ?5)"
		" ORDER BY next, message, number LIMIT ?6",
	[SELECT_NEXT_DUE] = "SELECT min(next) FROM recipient"
		" WHERE state = ?1 AND next > ?2",
	[SELECT_ODD] = "SELECT message, number FROM recipient WHERE state < 0"
		" UNION ALL SELECT message, number FROM recipient"
		" WHERE state > 2 UNION ALL SELECT message, number"
		" FROM recipient WHERE state IS NULL LIMIT 1000",
	[SELECT_MESSAGE] = "SELECT sender, arrival, size, origin, session,"
		" client, user, ret, envid, body_type, utf8, requiretls,"
		" crashes, body FROM message WHERE id = ?1",
	[SELECT_CONTENT] = "SELECT octets FROM content WHERE message = ?1",
	[SELECT_ROUTED] = "SELECT user, address, agent, destination"
		" FROM recipient"
		" WHERE message = ?1 AND agent <> '' UNION ALL"
		" SELECT mailbox, address, agent, destination"
		" FROM history WHERE message = ?1"
		" AND agent <> '' AND outcome <> 'duplicate'",
	[SELECT_LAST_NUMBER] = "SELECT max(n) FROM (SELECT"
		" max(number & 1048575) AS n FROM recipient"
		" WHERE message = ?1 UNION ALL SELECT max(number & 1048575)"
		" FROM history WHERE message = ?1)",
	[SELECT_DESTINATION] = "SELECT most, ceiling, ceiling_until,"
		" ceiling_hold, failures, parked_until, horizon, reply"
		" FROM destination WHERE name = ?1",
	[SELECT_HIGHEST] = "SELECT max((SELECT ifnull(max(id), 0) FROM"
		" message), (SELECT ifnull(max(message), 0) FROM history))",
	[SELECT_BODY] = "SELECT 1 FROM message WHERE body = ?1"
		" AND body <> ''",
	[SELECT_ROW] = ROW " WHERE message = ?1 AND number = ?2",
	[SELECT_ROWS] = "SELECT r.message, r.number, r.state, r.address,"
		" r.orcpt, r.agent, r.destination, r.attempts, r.attempted,"
		" r.next, r.reply, r.remote, 0, '', 0, 0, '',"
		SHOWN_OF_MESSAGE " FROM recipient r LEFT JOIN message m"
		" ON m.id = r.message WHERE (r.message, r.number) > (?1, ?2)"
		" ORDER BY r.message, r.number LIMIT ?3",
	/* The same, with no more than filters need. */
	[SELECT_KEYS] = "SELECT r.message, r.number, r.state, r.address,"
		" r.orcpt, '', '', 0, 0, 0, r.reply, '', 0, '', 0, 0, '',"
		" m.sender, m.size, m.arrival, '', '', '', '', m.message_id,"
		" '' FROM recipient r LEFT JOIN message m ON m.id = r.message"
		" WHERE (r.message, r.number) > (?1, ?2)"
		" ORDER BY r.message, r.number LIMIT ?3",
	[SELECT_SHOWN] = "SELECT r.message, r.number, r.state, r.address,"
		" r.orcpt, r.agent, r.destination, r.attempts, r.attempted,"
		" r.next, r.reply, r.remote, 0, '', 0, 0, '',"
		SHOWN_OF_MESSAGE " FROM recipient r LEFT JOIN message m"
		" ON m.id = r.message WHERE r.message = ?1"
		" AND r.number = ?2",
	[SELECT_HISTORY] = "SELECT m.message, m.number, -1, m.address,"
		" m.orcpt, m.agent, m.destination, m.attempts, m.finished, 0,"
		" m.reply, m.remote, m.finished, m.outcome, m.started,"
		" m.took, m.detail," SHOWN_OF_MESSAGE " FROM history m"
		" WHERE (m.message, m.number) < (?1, ?2)"
		" ORDER BY m.message DESC, m.number DESC LIMIT ?3",
	[SELECT_ATTEMPTS] = "SELECT message, number, -1, '', '', '', '', 0,"
		" 0, 0, reply, remote, started / 1000000, 'attempt', started,"
		" took, detail, '', 0, 0, '', '', '', '', '', ''"
		" FROM attempt WHERE message = ?1 ORDER BY started LIMIT ?3",
	[PROBE] = "INSERT OR REPLACE INTO probe (rowid, at) VALUES (1, ?1)",
};

struct status
table_failure(struct arena *a, struct table *t, const char *action)
{
	int code = t->db == NULL ? SQLITE_NOMEM : sqlite3_errcode(t->db);
	struct str text = str_printf(a, "%s: %s", action,
		t->db == NULL ? "out of memory" : sqlite3_errmsg(t->db));
	return status_later(3, code == SQLITE_FULL ? 1 : 0, text);
}

bool
table_is_damage(int result)
{
	int code = result & 0xff;
	return code == SQLITE_CORRUPT || code == SQLITE_NOTADB ||
		code == SQLITE_FORMAT;
}

static bool
is_known_version(struct table *t)
{
	sqlite3_stmt *s;
	int version = -1;
	if (sqlite3_prepare_v2(t->db, "PRAGMA user_version", -1, &s, NULL) !=
		SQLITE_OK)
		return false;
	if (sqlite3_step(s) == SQLITE_ROW)
		version = sqlite3_column_int(s, 0);
	sqlite3_finalize(s);
	return version == 0 || version == SCHEMA;
}

static bool
prepare(struct table *t, const char *path)
{
	/* FULL: the commit is on disk when it returns, which is what a 250
	 * promises.  The WAL is folded back in small steps so that no commit
	 * pays for a thousand others. */
	static const char setup[] = "PRAGMA busy_timeout = 10000;"
		"PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
		"PRAGMA wal_autocheckpoint = 2000;"
		"PRAGMA journal_size_limit = 67108864;"
		"PRAGMA cache_size = -8192; PRAGMA temp_store = MEMORY;"
		"PRAGMA cell_size_check = ON;"
		"PRAGMA secure_delete = OFF;"
		"PRAGMA trusted_schema = OFF;";
	/* One thread per connection: SQLite need not lock it. */
	if (sqlite3_open_v2(path, &t->db, SQLITE_OPEN_READWRITE |
		SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, frames_vfs()) !=
			SQLITE_OK ||
		sqlite3_exec(t->db, setup, NULL, NULL, NULL) != SQLITE_OK)
		return false;
	if (!is_known_version(t) && !table_is_damage(sqlite3_errcode(t->db)))
		fatal("queue database", "it is of a newer version of surat");
	if (sqlite3_exec(t->db, schema, NULL, NULL, NULL) != SQLITE_OK)
		return false;
	for (int i = 0; i < STATEMENTS; i++)
		if (sqlite3_prepare_v3(t->db, texts[i], -1,
			SQLITE_PREPARE_PERSISTENT, &t->statements[i],
			NULL) != SQLITE_OK)
			return false;
	return true;
}

/* Statements that cannot be prepared speak of a schema that is not ours. */
struct status
table_open(struct arena *a, const char *path, struct table *t)
{
	*t = (struct table){0};
	if (prepare(t, path))
		return status_fine();
	int code = sqlite3_errcode(t->db);
	struct status s = table_failure(a, t, path);
	table_close(t);
	t->damaged = table_is_damage(code) || (code & 0xff) == SQLITE_ERROR;
	return s;
}

void
table_close(struct table *t)
{
	for (int i = 0; i < STATEMENTS; i++)
		sqlite3_finalize(t->statements[i]);
	sqlite3_close(t->db);
	*t = (struct table){0};
}

sqlite3_stmt *
table_get(struct table *t, enum statement s)
{
	sqlite3_reset(t->statements[s]);
	sqlite3_clear_bindings(t->statements[s]);
	return t->statements[s];
}

/* Texts stay the caller's until the statement has run. */
void
table_bind_text(sqlite3_stmt *s, int at, struct str text)
{
	sqlite3_bind_text64(s, at, text.p == NULL ? "" : text.p, text.n,
		SQLITE_STATIC, SQLITE_UTF8);
}

void
table_bind_blob(sqlite3_stmt *s, int at, struct str octets)
{
	sqlite3_bind_blob64(s, at, octets.p == NULL ? "" : octets.p, octets.n,
		SQLITE_STATIC);
}

struct str
table_text(struct arena *a, sqlite3_stmt *s, int column)
{
	const void *p = sqlite3_column_blob(s, column);
	int n = sqlite3_column_bytes(s, column);
	return p == NULL || n <= 0 ? STR("") : str_copy(a, str_of(p, (size_t)n));
}

bool
table_step(struct table *t, sqlite3_stmt *s)
{
	int r = sqlite3_step(s);
	if (r != SQLITE_ROW && r != SQLITE_DONE)
		t->damaged = t->damaged || table_is_damage(r);
	return r == SQLITE_ROW;
}

bool
table_run(sqlite3_stmt *s)
{
	int r;
	do
		r = sqlite3_step(s);
	while (r == SQLITE_ROW);
	sqlite3_reset(s);
	return r == SQLITE_DONE;
}
