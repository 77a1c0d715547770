/* SPDX-License-Identifier: ISC */
/*
 * The operator's questions.  Whatever is asked, a page looks at a bounded
 * number of rows, in the order of the table, and says where the next one
 * begins; filters are applied here, row by row.  So a question over a million
 * recipients is a few hundred short ones, with the mail going on between them.
 *
 * What only memory knows (who is with an agent just now) is laid over rows.
 */
#include "queue.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
	LOOKED_AT_MOST = 5000, /* rows of a page */
	TOLD_MOST = 1000, /* of these */
};

/* Columns of SELECT_ROWS, SELECT_HISTORY and SELECT_ATTEMPTS. */
enum {
	COL_MESSAGE, COL_NUMBER, COL_STATE, COL_ADDRESS, COL_ORCPT, COL_AGENT,
	COL_DESTINATION, COL_ATTEMPTS, COL_LAST, COL_NEXT, COL_REPLY,
	COL_REMOTE, COL_FINISHED, COL_OUTCOME, COL_STARTED, COL_TOOK,
	COL_DETAIL, COL_SENDER, COL_SIZE, COL_ARRIVAL, COL_ORIGIN, COL_CLIENT,
	COL_USER, COL_SESSION, COL_MESSAGE_ID, COL_TRACE
};

/* -------------------------------------------------------------- filters */

int64_t
rows_older(int64_t age)
{
	return age > 0 ? clock_wall() - age : 0;
}

int64_t
rows_id(struct str qid)
{
	int64_t id;
	if (qid.n == 0)
		return 0;
	return qid_parse(qid, &id) && id > 0 ? id : -1;
}

static struct str
view(sqlite3_stmt *s, int column)
{
	const void *p = sqlite3_column_blob(s, column);
	return str_of(p, p == NULL ? 0
				   : (size_t)sqlite3_column_bytes(s, column));
}

/* "*" is any run of octets; letters as they come or not. */
static bool
matches(struct str pattern, struct str text)
{
	struct str piece;
	bool first = true;
	if (!str_has(pattern, '*'))
		return str_eq_nocase(pattern, text);
	while (str_cut(&pattern, '*', &piece)) {
		bool last = pattern.p == NULL;
		size_t at = 0;
		while (!str_starts_nocase(str_skip(text, at), piece))
			if (first || ++at > text.n)
				return false;
		if (last && piece.n > 0) {
			at = text.n - piece.n;
			return piece.n <= text.n &&
				str_starts_nocase(str_skip(text, at), piece);
		}
		text = str_skip(text, at + piece.n);
		first = false;
	}
	return true;
}

static bool
is_in_domain(struct str address, struct str domain)
{
	size_t at = str_find_last(address, '@');
	return at < address.n && matches(domain, str_skip(address, at + 1));
}

/* An original recipient is "rfc822;alice@example.org", and may have been
 * encoded; who looks for it has it as people write it. */
static bool
is_about(struct str about, sqlite3_stmt *s)
{
	struct str orcpt = view(s, COL_ORCPT);
	size_t at = str_find(orcpt, ';');
	return matches(about, view(s, COL_SENDER)) ||
		matches(about, view(s, COL_ADDRESS)) ||
		matches(about, str_skip(orcpt, at + 1)) ||
		str_eq(about, view(s, COL_MESSAGE_ID));
}

static bool
fits_row(const struct filter *f, sqlite3_stmt *s)
{
	struct str reply = view(s, COL_REPLY);
	return (f->sender.n == 0 || matches(f->sender, view(s, COL_SENDER))) &&
		(f->rcpt.n == 0 || matches(f->rcpt, view(s, COL_ADDRESS))) &&
		(f->domain.n == 0 ||
			is_in_domain(view(s, COL_ADDRESS), f->domain)) &&
		(f->about.n == 0 || is_about(f->about, s)) &&
		(f->reply.n == 0 || str_search(reply, f->reply) < reply.n) &&
		(f->before == 0 ||
			sqlite3_column_int64(s, COL_ARRIVAL) <= f->before) &&
		sqlite3_column_int64(s, COL_SIZE) >= f->larger;
}

/* ---------------------------------------------------------------- a row */

static const struct rcpt *
in_memory(struct queue *q, sqlite3_stmt *s)
{
	struct msg *m = msg_find(q, sqlite3_column_int64(s, COL_MESSAGE));
	return m == NULL ? NULL
		: rcpt_find(m, sqlite3_column_int64(s, COL_NUMBER));
}

static struct str
state_of(const struct rcpt *r, sqlite3_stmt *s)
{
	static const char *const where[RCPT_WHERES] = {
		[RCPT_ACTIVE] = "active", [RCPT_DELIVERED] = "delivered",
		[RCPT_FAILED] = "leaving", [RCPT_LEAVING] = "leaving"};
	if (r != NULL && where[r->where] != NULL)
		return str_from(where[r->where]);
	int64_t state = sqlite3_column_int64(s, COL_STATE);
	if (r != NULL && r->unwritten)
		state = ROW_DUE;
	if (state == ROW_HELD)
		return STR("held");
	if (state != ROW_NEW && state != ROW_DUE)
		return STR("unknown");
	if (sqlite3_column_int64(s, COL_NEXT) > clock_wall() ||
		sqlite3_column_int64(s, COL_ATTEMPTS) > 0)
		return STR("deferred");
	return state == ROW_NEW ? STR("new") : STR("due");
}

static int64_t
fill_row(struct queue *q, struct arena *a, sqlite3_stmt *s,
	struct msg_queue_row *r)
{
	char qid[QID_LENGTH + 1];
	int64_t id = sqlite3_column_int64(s, COL_MESSAGE);
	const struct {
		int column;
		struct str *text;
	} texts[] = {{COL_ADDRESS, &r->rcpt}, {COL_ORCPT, &r->orcpt},
		{COL_AGENT, &r->agent}, {COL_DESTINATION, &r->destination},
		{COL_REPLY, &r->reply}, {COL_REMOTE, &r->remote},
		{COL_DETAIL, &r->detail}, {COL_SENDER, &r->sender},
		{COL_ORIGIN, &r->origin}, {COL_CLIENT, &r->client},
		{COL_USER, &r->user}, {COL_SESSION, &r->session},
		{COL_MESSAGE_ID, &r->message_id}, {COL_TRACE, &r->trace}};
	const struct {
		int column;
		int64_t *number;
	} numbers[] = {{COL_NUMBER, &r->number}, {COL_ATTEMPTS, &r->attempts},
		{COL_LAST, &r->last}, {COL_NEXT, &r->next},
		{COL_FINISHED, &r->finished}, {COL_STARTED, &r->started},
		{COL_TOOK, &r->took}, {COL_SIZE, &r->size},
		{COL_ARRIVAL, &r->arrival}};
	qid_format(id, qid);
	r->accepted = id;
	r->id = str_copy(a, str_from(qid));
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		*texts[i].text = view(s, texts[i].column);
	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
		*numbers[i].number = sqlite3_column_int64(s, numbers[i].column);
	if (r->finished > 0) {
		r->state = view(s, COL_OUTCOME);
		return id;
	}
	const struct rcpt *now = in_memory(q, s);
	r->state = state_of(now, s);
	if (now != NULL && now->unwritten) {
		r->rcpt = now->address;
		r->orcpt = now->orcpt;
		r->agent = now->agent;
		r->destination = now->destination;
	}
	return id;
}

/* ---------------------------------------------------------------- a page */

/* Numbers of the last row looked at. */
struct place {
	int64_t message, number;
};

static bool
parse_place(struct str text, enum rows_of of, int64_t id, struct place *p)
{
	struct str first;
	uint64_t m, n;
	bool down = of == ROWS_HISTORY;
	if (text.n == 0) {
		/* Just before the first row there can be. */
		*p = id != 0 ? (struct place){id, down ? INT64_MAX : -1}
			     : (struct place){down ? INT64_MAX : INT64_MIN, 0};
		return true;
	}
	if (!str_cut(&text, '/', &first) ||
		!str_number(first, INT64_MAX, &m) ||
		!str_number(text, INT64_MAX, &n))
		return false;
	*p = (struct place){(int64_t)m, (int64_t)n};
	return true;
}

static sqlite3_stmt *
select_from(struct queue *q, enum rows_of of, bool keys, struct place p)
{
	static const enum statement of_what[] = {
		[ROWS_LIVE] = SELECT_ROWS, [ROWS_HISTORY] = SELECT_HISTORY,
		[ROWS_ATTEMPTS] = SELECT_ATTEMPTS};
	sqlite3_stmt *s = table_get(
		q->reader, keys ? SELECT_KEYS : of_what[of]);
	sqlite3_bind_int64(s, 1, p.message);
	sqlite3_bind_int64(s, 2, p.number);
	sqlite3_bind_int(s, 3, LOOKED_AT_MOST);
	return s;
}

/* Where few rows will fit, the rest is read of those alone. */
static bool
is_picky(const struct filter *f)
{
	return f->sender.n + f->rcpt.n + f->domain.n + f->reply.n +
		f->about.n > 0;
}

static sqlite3_stmt *
whole_row(struct queue *q, struct place p)
{
	sqlite3_stmt *s = table_get(q->reader, SELECT_SHOWN);
	sqlite3_bind_int64(s, 1, p.message);
	sqlite3_bind_int64(s, 2, p.number);
	return table_step(q->reader, s) ? s : NULL;
}

struct status
rows_read(struct queue *q, struct arena *a, enum rows_of of,
	const struct filter *f, struct str *at, int64_t limit, row_fn fn,
	void *ctx)
{
	struct place p;
	int looked = 0;
	int64_t told = 0;
	bool over = false;
	if (limit <= 0)
		limit = TOLD_MOST;
	bool sound = f->id >= 0 && parse_place(*at, of, f->id, &p);
	*at = STR("");
	if (!sound)
		return STATUS(STATUS_NEVER, 5, 4, "That is no queue id");
	bool keys = of == ROWS_LIVE && is_picky(f);
	sqlite3_stmt *s = select_from(q, of, keys, p);
	while (!over && told < limit && table_step(q->reader, s)) {
		struct arena_mark mark = arena_mark(a);
		struct msg_queue_row r = {.size = 0};
		p.message = sqlite3_column_int64(s, COL_MESSAGE);
		p.number = sqlite3_column_int64(s, COL_NUMBER);
		looked++;
		over = f->id != 0 && p.message != f->id;
		if (over || !fits_row(f, s))
			continue;
		sqlite3_stmt *row = keys ? whole_row(q, p) : s;
		int64_t id = row == NULL ? 0 : fill_row(q, a, row, &r);
		if (row == NULL)
			continue;
		if (f->state.n == 0 || str_eq(f->state, r.state)) {
			fn(ctx, &r, id);
			told++;
		}
		arena_rewind(a, mark);
	}
	sqlite3_reset(s);
	sqlite3_reset(q->reader->statements[SELECT_SHOWN]);
	if (!over && of != ROWS_ATTEMPTS &&
		(looked == LOOKED_AT_MOST || told == limit))
		*at = str_printf(a, "%lld/%lld", (long long)p.message,
			(long long)p.number);
	return status_fine();
}

/* -------------------------------------------------------------- content */

static int
memory_file(struct str content)
{
	int fd = memfd_create("content", MFD_CLOEXEC);
	if (fd < 0)
		return -1;
	while (content.n > 0) {
		ssize_t n = write(fd, content.p, content.n);
		if (n <= 0) {
			close(fd);
			return -1;
		}
		content = str_skip(content, (size_t)n);
	}
	lseek(fd, 0, SEEK_SET);
	return fd;
}

static void
send_content(struct queue *q, struct peer *p, struct arena *a, struct str qid)
{
	struct message answer = MESSAGE(opened);
	struct str content;
	int64_t id = rows_id(qid);
	struct msg *m = id > 0 ? load_message(q, id) : NULL;
	if (m == NULL) {
		answer.opened.status = STATUS(STATUS_NEVER, 5, 4,
			"There is no such message in the queue");
		peer_send(p, &answer);
		return;
	}
	struct status s = msg_content(q, a, m, &content, &answer.fd);
	if (status_is_fine(s) && answer.fd < 0)
		answer.fd = memory_file(content);
	if (status_is_fine(s) && answer.fd < 0)
		s = STATUS(STATUS_LATER, 3, 0, "no memory file");
	answer.opened.status = s;
	peer_send(p, &answer);
	message_drop(&answer);
	msg_release(q, m);
}

/* --------------------------------------------------------------- groups */

enum { AGES = 6 };

struct group {
	struct str key;
	int64_t count, oldest, next, ages[AGES];
};

struct grouping {
	struct arena *arena;
	struct map *by_key;
	bool by_state; /* or by domain */
	int64_t now;
};

static size_t
age_class(int64_t age)
{
	static const int64_t younger[AGES - 1] = {
		300, 3600, 6 * 3600, 86400, 5 * 86400};
	size_t i = 0;
	while (i < AGES - 1 && age >= younger[i])
		i++;
	return i;
}

static void
count_row(void *ctx, const struct msg_queue_row *r, int64_t id)
{
	struct grouping *x = ctx;
	struct str key = x->by_state ? r->state :
		str_skip(r->rcpt, str_find_last(r->rcpt, '@') + 1);
	struct group *g = map_get(x->by_key, key);
	(void)id;
	if (g == NULL) {
		/* The page's own memory is rewound row by row. */
		g = calloc(1, sizeof *g);
		if (g == NULL)
			fatal("out of memory", 0);
		g->oldest = r->arrival;
		g->next = INT64_MAX;
		map_set(x->by_key, key, g);
	}
	g->count++;
	g->ages[age_class(x->now - r->arrival)]++;
	if (r->arrival < g->oldest)
		g->oldest = r->arrival;
	if (r->next < g->next)
		g->next = r->next;
}

static void
send_groups(struct peer *p, struct arena *a, struct grouping *x)
{
	size_t cursor = 0;
	struct str key;
	void *value;
	while (map_next(x->by_key, &cursor, &key, &value)) {
		struct group *g = value;
		struct message m = MESSAGE(queue_count);
		m.queue_count = (struct msg_queue_count){.key = key,
			.count = g->count, .oldest = g->oldest,
			.next = g->next};
		m.queue_count.ages = (struct str_list){
			arena_array(a, AGES, sizeof(struct str)), AGES};
		for (size_t i = 0; i < AGES; i++)
			m.queue_count.ages.v[i] = str_printf(
				a, "%lld", (long long)g->ages[i]);
		peer_send(p, &m);
		free(g);
	}
}

static struct msg_queue_count
count_of_lane(const struct lane *l, int64_t now)
{
	return (struct msg_queue_count){.key = l->key,
		.count = (int64_t)l->waiting,
		.next = l->parked_until > now ? l->parked_until : 0,
		.active = (int64_t)l->active,
		.limit = l->local ? 1 : l->failures > 0 ? 1
							: (int64_t)l->limit,
		.failures = l->failures,
		.reply = l->failures > 0 ? l->reply.text : STR("")};
}

/* What memory knows: the whole, then lane by lane. */
static int64_t
send_lanes(struct queue *q, struct peer *p, struct str domain)
{
	struct message m = MESSAGE(queue_count);
	int64_t n = 0;
	m.queue_count.count = (int64_t)queue_waiting(q);
	m.queue_count.active = (int64_t)q->in[RCPT_ACTIVE];
	m.queue_count.limit = WINDOW;
	peer_send(p, &m);
	list_each(&q->lane_list, at, save) {
		struct lane *l = list_entry(at, struct lane, of_queue);
		struct str name = str_skip(l->key, str_find(l->key, ' ') + 1);
		if (n >= TOLD_MOST)
			break;
		if ((l->waiting == 0 && l->active == 0 && !l->more &&
			l->failures == 0) ||
			(domain.n > 0 && !str_eq_nocase(name, domain)))
			continue;
		m.queue_count = count_of_lane(l, clock_wall());
		peer_send(p, &m);
		n++;
	}
	return n;
}

/* ----------------------------------------------------------------- list */

struct listing {
	struct peer *peer;
	int64_t count;
};

static void
tell_row(void *ctx, const struct msg_queue_row *r, int64_t id)
{
	struct listing *x = ctx;
	struct message m = MESSAGE(queue_row);
	(void)id;
	m.queue_row = *r;
	peer_send(x->peer, &m);
	x->count++;
}

static void
send_done(struct peer *p, struct status s, int64_t count, struct str next)
{
	struct message m = MESSAGE(done);
	m.done.status = s;
	m.done.count = count;
	m.done.next = next;
	peer_send(p, &m);
}

static struct filter
filter_of(const struct msg_queue_list *l)
{
	return (struct filter){rows_id(l->id), l->sender, l->rcpt, l->domain,
		l->state, l->reply, l->about, rows_older(l->older),
		l->larger};
}

static void
list_groups(struct queue *q, struct peer *p, struct arena *a,
	const struct msg_queue_list *l)
{
	struct arena *own = arena_new("groups");
	struct grouping x = {own, map_new(own),
		str_eq(l->group, STR("state")), clock_wall()};
	struct filter f = filter_of(l);
	struct str at = l->after;
	struct status s = rows_read(
		q, a, ROWS_LIVE, &f, &at, LOOKED_AT_MOST, count_row, &x);
	send_groups(p, own, &x);
	send_done(p, s, (int64_t)map_count(x.by_key), at);
	arena_free(own);
}

void
rows_list(struct peer *p, struct arena *a, struct message *m)
{
	struct queue *q = p->peers->ctx;
	const struct msg_queue_list *l = &m->queue_list;
	enum rows_of of = l->attempts != 0 ? ROWS_ATTEMPTS
		: l->history != 0	   ? ROWS_HISTORY
					   : ROWS_LIVE;
	struct filter f = filter_of(l);
	struct listing x = {.peer = p};
	struct str at = l->after;
	if (l->content != 0) {
		send_content(q, p, a, l->id);
	} else if (str_eq(l->group, STR("lanes"))) {
		int64_t n = send_lanes(q, p, l->domain);
		send_done(p, status_fine(), n, STR(""));
	} else if (l->group.n > 0) {
		list_groups(q, p, a, l);
	} else {
		int64_t most = l->limit < TOLD_MOST ? l->limit : TOLD_MOST;
		struct status s = rows_read(
			q, a, of, &f, &at, most, tell_row, &x);
		send_done(p, s, x.count, at);
	}
}
