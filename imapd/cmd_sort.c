/* SPDX-License-Identifier: ISC */
/*
 * SORT and THREAD, RFC 5256, with display keys (RFC 5957) and RETURN options
 * (RFC 5267 3).  Keys come from the index; no file is opened for them.
 */
#include "commands.h"
#include "find.h"
#include "result.h"
#include "sort.h"
#include "thread.h"
#include "view.h"
#include "base/arena.h"
#include "base/buf.h"
#include "mail/facts.h"

/* Of one command's keys: some hundred octets a message. */
enum { MEMORY = 2 * 1000 * 1000 * 1000 };

static struct arena *
new_arena(const char *name)
{
	struct arena *a = arena_new(name);
	arena_limit(a, MEMORY);
	return a;
}

/* The charset stands before the criteria, always. */
static bool
take_charset(const struct arg **args, struct str *charset)
{
	if (!arg_astring(*args, charset) || charset->n == 0)
		return false;
	*args = (*args)->next;
	return true;
}

/* ------------------------------------------------------------------ SORT */

struct sort_command {
	struct sort_order order;
	struct sorting sorting;
	struct result result;
	struct search_key *key;
};

static bool
take_sort(struct imap_session *s, struct sort_command *q,
	const struct arg *args, struct imap_reply *why)
{
	struct str charset;
	*why = REPLY_BAD("Unknown RETURN option");
	if (!result_parse(&args, &q->result.options))
		return false;
	*why = REPLY_BAD("Sort keys expected");
	if (!sort_parse(args, &q->order))
		return false;
	args = args->next;
	*why = REPLY_BAD("Charset expected");
	return take_charset(&args, &charset) &&
	       find_compile(s, charset, args, &q->key, why);
}

static void
add_to_sort(void *ctx, const struct message_row *row)
{
	sort_add(ctx, row);
}

struct imap_reply
imap_sort(struct imap_session *s, const struct arg *args)
{
	struct sort_command q = {0};
	struct imap_reply why;
	if (!take_sort(s, &q, args, &why))
		return result_refuse(s, &q.result, why);
	q.result.tells_modseq = search_has(q.key, SEARCH_MODSEQ);
	struct arena *a = new_arena("sort");
	sort_begin(&q.sorting, a, &q.order, mailbox_count(s->mailbox));
	unsigned want = q.order.want | (q.result.tells_modseq ? 0 : WANT_UID);
	struct status st =
		find_messages(s, q.key, want, add_to_sort, &q.sorting);
	const struct sort_entry *e = sort_run(&q.sorting);
	for (size_t i = 0; i < q.sorting.n; i++, e++)
		result_add(s->transaction, &q.result, e->uid,
			q.result.tells_modseq ? sort_modseq(&q.sorting, e)
					      : 0);
	arena_free(a);
	if (!status_is_fine(st))
		return result_refuse(s, &q.result, reply_status(st));
	result_put(s, "SORT", &q.result);
	return REPLY_OK("Sorted");
}

/* ---------------------------------------------------------------- THREAD */

struct thread_command {
	struct imap_session *s;
	struct arena *arena;
	struct thread_message *v;
	size_t n, room;
};

static void
add_to_thread(void *ctx, const struct message_row *row)
{
	struct thread_command *q = ctx;
	if (q->n == q->room) {
		struct thread_message *old = q->v;
		q->room = q->room * 2 + 64;
		q->v = arena_array(q->arena, q->room, sizeof *q->v);
		if (q->n > 0)
			memcpy(q->v, old, q->n * sizeof *old);
	}
	bool is_reply;
	struct arena_mark mark = arena_mark(q->arena);
	facts_base_subject(q->arena, row->subject, &is_reply);
	arena_rewind(q->arena, mark);
	q->v[q->n++] = (struct thread_message){
		.uid = row->uid,
		.sent = row->sent,
		.arrived = row->date,
		.id = str_copy(q->arena, row->message_id),
		.references = str_copy(q->arena, row->references),
		.subject = str_copy(q->arena, row->sort_subject),
		.is_reply = is_reply,
	};
}

static void
put_node(struct imap_session *s, const struct thread_node *node)
{
	struct buf *out = conn_out(s->conn);
	if (node->uid == 0)
		return;
	buf_addn(out, s->uid ? node->uid : mailbox_seq(s->mailbox, node->uid));
	if (node->first != THREAD_NONE)
		buf_addc(out, ' ');
	conn_pace(s->conn);
}

/* Closes what ends with this node; the next one to be sent, or none. */
static uint32_t
climb(struct imap_session *s, const struct thread_node *v, uint32_t at,
	uint32_t top)
{
	struct buf *out = conn_out(s->conn);
	while (at != top) {
		uint32_t parent = v[at].parent;
		if (v[at].next != THREAD_NONE) {
			buf_adds(out, ")(");
			return v[at].next;
		}
		if (v[parent].first != at)
			buf_addc(out, ')');
		at = parent;
	}
	return THREAD_NONE;
}

/* "(1 2 (3)(4 5))": an only child stands behind its parent, several in
 * parentheses each (RFC 5256 4, thread-list). */
static void
put_thread(struct imap_session *s, const struct thread_node *v, uint32_t top)
{
	struct buf *out = conn_out(s->conn);
	buf_addc(out, '(');
	for (uint32_t at = top; at != THREAD_NONE;) {
		uint32_t first = v[at].first;
		put_node(s, &v[at]);
		if (first == THREAD_NONE) {
			at = climb(s, v, at, top);
			continue;
		}
		if (v[first].next != THREAD_NONE)
			buf_addc(out, '(');
		at = first;
	}
	buf_addc(out, ')');
}

static void
put_forest(struct imap_session *s, const struct thread_forest *forest)
{
	struct buf *out = conn_out(s->conn);
	uint32_t at = forest->first;
	buf_adds(out, "* THREAD");
	if (at != THREAD_NONE)
		buf_addc(out, ' ');
	for (; at != THREAD_NONE; at = forest->v[at].next)
		put_thread(s, forest->v, at);
	buf_adds(out, "\r\n");
	conn_pace(s->conn);
}

static bool
take_algorithm(const struct arg **args, enum thread_algorithm *how)
{
	static const char *const names[] = {
		[THREAD_ORDEREDSUBJECT] = "ORDEREDSUBJECT",
		[THREAD_REFERENCES] = "REFERENCES",
		[THREAD_REFS] = "REFS",
	};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		if (!arg_is(*args, names[i]))
			continue;
		*how = (enum thread_algorithm)i;
		*args = (*args)->next;
		return true;
	}
	return false;
}

struct imap_reply
imap_thread(struct imap_session *s, const struct arg *args)
{
	struct thread_command q = {.s = s};
	enum thread_algorithm how;
	struct search_key *key;
	struct imap_reply why = REPLY_BAD("Charset expected");
	struct str charset;
	if (!take_algorithm(&args, &how))
		return REPLY_BAD("Unknown threading algorithm");
	if (!take_charset(&args, &charset) ||
		!find_compile(s, charset, args, &key, &why))
		return why;
	q.arena = new_arena("thread");
	struct status st = find_messages(
		s, key, WANT_UID | WANT_DATES | WANT_SENT | WANT_THREADING,
		add_to_thread, &q);
	if (status_is_fine(st)) {
		struct thread_forest forest =
			thread_run(q.arena, how, q.v, q.n);
		put_forest(s, &forest);
	}
	arena_free(q.arena);
	return status_is_fine(st) ? REPLY_OK("Threaded") : reply_status(st);
}
