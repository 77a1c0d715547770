/* SPDX-License-Identifier: ISC */
/*
 * Tables that are no files of ours: SQLite databases, and servers that speak
 * Postfix's socketmap protocol (netstrings: "MAP KEY" there, "OK VALUE",
 * "NOTFOUND", "TEMP", "TIMEOUT" or "PERM" back).
 */
#include "table.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "sys/net.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sqlite3.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	BUSY_MS = 200, /* a database somebody writes to */
	DOWN_MS = 5000, /* a server that failed is left alone for so long */
	ANSWER_MOST = 100000, /* as the protocol has it */
	ROWS_MOST = 1000,
};

/* --------------------------------------------------------------- SQLite */

struct database {
	sqlite3 *db;
	sqlite3_stmt *query;
};

static void
close_database(void *ctx)
{
	struct database *d = ctx;
	sqlite3_finalize(d->query);
	sqlite3_close(d->db);
}

static void
say_broken(const struct table *t, const char *why)
{
	log_error(LOG_NO_ID, "table-broken", LOG_STR("where", t->ref.whole),
		LOG_CSTR("why", why));
}

static void *
sqlite_open(struct table *t)
{
	struct database *d = arena_one(t->arena, struct database);
	struct arena *a = arena_new("query");
	const char *query = str_cstr(a, t->ref.query);
	bool ok = sqlite3_open_v2(t->file.path, &d->db, SQLITE_OPEN_READONLY |
		SQLITE_OPEN_NOMUTEX, NULL) == SQLITE_OK &&
		sqlite3_busy_timeout(d->db, BUSY_MS) == SQLITE_OK &&
		sqlite3_prepare_v3(d->db, query, -1, SQLITE_PREPARE_PERSISTENT,
			&d->query, NULL) == SQLITE_OK;
	arena_free(a);
	if (ok && sqlite3_stmt_readonly(d->query) != 0) {
		arena_hook(t->arena, close_database, d);
		return d;
	}
	say_broken(t, ok ? "the query would change something"
			 : sqlite3_errmsg(d->db));
	close_database(d);
	return NULL;
}

/* All rows, joined as a list of targets is written; the first column. */
static enum table_result
sqlite_find(struct table *t, struct arena *a, struct str key,
	struct table_value *out)
{
	struct database *d = t->content;
	struct buf *all = buf_new(a);
	int r, rows = 0;
	sqlite3_reset(d->query);
	sqlite3_bind_text(d->query, 1, key.p, (int)key.n, SQLITE_TRANSIENT);
	while ((r = sqlite3_step(d->query)) == SQLITE_ROW &&
		rows < ROWS_MOST) {
		const void *p = sqlite3_column_text(d->query, 0);
		if (p == NULL)
			continue;
		if (rows++ > 0)
			buf_adds(all, ", ");
		buf_add(all, str_of(p, (size_t)sqlite3_column_bytes(
			d->query, 0)));
	}
	sqlite3_reset(d->query);
	if (r != SQLITE_DONE && r != SQLITE_ROW) {
		say_broken(t, sqlite3_errmsg(d->db));
		return TABLE_LATER;
	}
	if (rows == 0)
		return TABLE_NONE;
	out->text = all->n == 0 ? STR("") : buf_str(all);
	return TABLE_FOUND;
}

const struct table_kind table_sqlite = {
	.type = TABLE_SQLITE, .open = sqlite_open, .find = sqlite_find};

/* ------------------------------------------------------------ socketmap */

struct server {
	int fd; /* or -1 */
	int64_t down_until;
};

static void *
socketmap_open(struct table *t)
{
	struct server *s = arena_one(t->arena, struct server);
	s->fd = -1;
	return s;
}

static void
hang_up(struct server *s)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}

static bool
connect_server(const struct table *t, struct server *s, int64_t deadline)
{
	struct net_address to = {.n = 0};
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	if (s->fd >= 0)
		return true;
	if (t->ref.path.n == 0) {
		net_parse_ip(t->ref.host, t->ref.port, &to);
	} else if (t->ref.path.n < sizeof sun.sun_path) {
		memcpy(sun.sun_path, t->ref.path.p, t->ref.path.n);
		memcpy(&to.sa, &sun, sizeof sun);
		to.n = sizeof sun;
	}
	s->fd = net_connect(&to, NULL, deadline);
	return s->fd >= 0;
}

static bool
wait_for(int fd, short events, int64_t deadline)
{
	struct pollfd p = {.fd = fd, .events = events};
	int n;
	do
		n = poll(&p, 1, clock_left(deadline));
	while (n < 0 && errno == EINTR);
	return n > 0;
}

static bool
put(int fd, struct str s, int64_t deadline)
{
	while (s.n > 0) {
		ssize_t n = send(fd, s.p, s.n, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n > 0)
			s = str_skip(s, (size_t)n);
		else if (n < 0 && errno != EAGAIN && errno != EINTR)
			return false;
		else if (!wait_for(fd, POLLOUT, deadline))
			return false;
	}
	return true;
}

/* A netstring; false for anything else, or when it does not come in time. */
static bool
get(struct arena *a, int fd, int64_t deadline, struct str *out)
{
	struct buf *in = buf_new(a);
	size_t colon = 0;
	uint64_t size = 0;
	for (;;) {
		struct str have = buf_str(in);
		colon = in->n > 0 ? str_find(have, ':') : 0;
		bool known = in->n > 0 && colon < in->n;
		if (known && (!str_number(str_head(have, colon), ANSWER_MOST,
			&size) || in->n > colon + size + 2))
			return false;
		if (known && in->n == colon + size + 2)
			break;
		if (!known && in->n > 8)
			return false;
		if (!wait_for(fd, POLLIN, deadline))
			return false;
		ssize_t n = recv(fd, buf_room(in, 4096), 4096, MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
			return false;
		buf_grew(in, n > 0 ? (size_t)n : 0);
	}
	*out = str_head(str_skip(buf_str(in), colon + 1), size);
	return in->p[in->n - 1] == ',';
}

/* A server may have closed a connection it found idle: twice. */
static bool
ask(struct table *t, struct arena *a, struct str key, struct str *answer)
{
	struct server *s = t->content;
	int64_t deadline = clock_in(t->timeout);
	struct str question = str_printf(a, "%zu:%.*s %.*s,",
		t->ref.map.n + 1 + key.n, STR_ARG(t->ref.map), STR_ARG(key));
	for (int tries = 0; tries < 2; tries++) {
		bool fresh = s->fd < 0;
		if (connect_server(t, s, deadline) &&
			put(s->fd, question, deadline) &&
			get(a, s->fd, deadline, answer))
			return true;
		hang_up(s);
		if (fresh || clock_left(deadline) == 0)
			break;
	}
	return false;
}

static enum table_result
socketmap_find(struct table *t, struct arena *a, struct str key,
	struct table_value *out)
{
	struct server *s = t->content;
	struct str answer, word;
	if (s->down_until > clock_ms())
		return TABLE_LATER;
	if (!ask(t, a, key, &answer)) {
		say_broken(t, "the server does not answer");
		s->down_until = clock_in(DOWN_MS);
		return TABLE_LATER;
	}
	str_cut(&answer, ' ', &word);
	if (str_eq(word, STR("OK"))) {
		out->text = answer.p == NULL ? STR("") : answer;
		return TABLE_FOUND;
	}
	if (str_eq(word, STR("NOTFOUND")))
		return TABLE_NONE;
	log_warn(LOG_NO_ID, "table-later", LOG_STR("table", t->ref.whole),
		LOG_STR("said", word), LOG_STR("why", answer));
	return TABLE_LATER;
}

const struct table_kind table_socketmap = {
	.type = TABLE_SOCKETMAP, .open = socketmap_open,
	.find = socketmap_find};
