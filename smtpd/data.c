/* SPDX-License-Identifier: ISC */
/*
 * DATA.  Content gathers in memory up to 64 KiB; a message that stays below
 * goes to the queue whole in one exchange.  A larger one moves on into a body
 * file the queue opened, which is synced here, so that many clients sync at
 * once.  Whatever goes wrong, the input is read to its end: the client's next
 * line is a command again.
 *
 * The header is in memory in either case (a header larger than that is
 * refused), so trace line, repairs and loop check happen before anything is
 * written.
 */
#include "smtpd.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "mail/date.h"
#include "mail/header.h"
#include "mail/trace.h"

#include <errno.h>
#include <unistd.h>

enum { SLOW_AFTER_MS = 30 * 1000, BLOCK_MS = 3 * 60 * 1000 };

struct incoming {
	struct session *s;
	struct arena *arena;
	struct smtp_data reader;
	struct buf *content; /* not yet written */
	uint64_t taken; /* octets of the message so far */
	bool prepared; /* trace and repairs are in */
	int file; /* body file, or -1 */
	struct str body; /* its name */
	struct status status; /* the first thing that went wrong */
	int64_t started;
};

static void
give_up(struct incoming *in, struct status st)
{
	if (status_is_fine(in->status))
		in->status = st;
	buf_clear(in->content);
}

/* -------------------------------------------------------------- header */

static void
add_trace(struct incoming *in, struct buf *out)
{
	struct session *s = in->s;
	const struct recipient *only = s->t.count == 1 ? s->t.first : NULL;
	struct trace t = {.helo = s->helo, .client = s->ip,
		.host = s->program->hostname, .id = s->id,
		.recipient = only == NULL ? STR("") : only->address,
		.date = date_format(in->arena,
			(struct date){clock_wall(), 0}),
		.lmtp = s->lmtp, .esmtp = s->esmtp, .tls = s->tls,
		.authenticated = s->user.n > 0, .utf8 = s->t.utf8,
		.tls_version = s->tls_version,
		.hide_client = s->user.n > 0};
	trace_received(out, &t);
}

static bool
is_too_much(struct str header)
{
	struct header_field f;
	size_t fields = 0;
	while (header_next(&header, &f))
		if (++fields > SMTP_FIELDS_MOST)
			return true;
	return false;
}

/* Does text follow the last field without an empty line?  Readers differ on
 * what that is. */
static bool
is_unended(struct str header, struct str body)
{
	return body.n > 0 && !str_eq(header, STR("\r\n")) &&
		!str_ends(header, STR("\n\r\n"));
}

static struct status
check_header(const struct session *s, struct str header, struct str body)
{
	if (trace_hops(header) >= (size_t)s->conf->smtp.max_hops)
		return STATUS(STATUS_NEVER, 4, 6,
			"Too many hops: this message is in a loop");
	if (header.n > SMTP_HEADER_MOST || is_too_much(header))
		return STATUS(STATUS_NEVER, 3, 4, "The header is too large");
	if (is_unended(header, body) &&
		str_eq(s->conf->smtp.bad_header, STR("refuse")))
		return status_reply(STATUS(STATUS_NEVER, 6, 0,
			"No empty line between header and text"), 550);
	return status_fine();
}

/* Once, when the whole header is in memory: what the message begins with. */
static void
prepare(struct incoming *in)
{
	struct session *s = in->s;
	struct str have = buf_str(in->content);
	if (have.p == NULL)
		have = STR("");
	size_t n = header_length(have);
	struct str header = str_head(have, n), body = str_skip(have, n);
	struct buf *out = buf_new(in->arena);
	in->prepared = true;
	struct status st = check_header(s, header, body);
	if (!status_is_fine(st)) {
		give_up(in, st);
		return;
	}
	add_trace(in, out);
	if (s->submission)
		submission_repair(s, in->arena, header, out);
	else
		buf_add(out, header);
	if (!s->submission && is_unended(header, body) &&
		str_eq(s->conf->smtp.bad_header, STR("insert")))
		buf_adds(out, "\r\n");
	buf_add(out, body);
	in->content = out;
}

/* ---------------------------------------------------------------- file */

static void
open_body(struct incoming *in)
{
	struct message m = MESSAGE(body_open), answer;
	m.body_open.size = (int64_t)in->s->t.declared;
	struct status st = link_call(
		in->s->queue, in->arena, &m, MSG_opened, &answer);
	if (status_is_fine(st))
		st = answer.opened.status;
	if (!status_is_fine(st)) {
		give_up(in, st);
		return;
	}
	in->file = message_take_fd(&answer);
	in->body = answer.opened.name;
	if (in->file < 0)
		give_up(in, status_later(3, 0, STR("no body file")));
}

static void
write_out(struct incoming *in)
{
	struct str s = buf_str(in->content);
	while (s.n > 0) {
		ssize_t n = write(in->file, s.p, s.n);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			give_up(in, status_errno(in->arena, "body", errno));
			return;
		}
		s = str_skip(s, (size_t)n);
	}
	buf_clear(in->content);
}

/* Enough for a file; the header must be whole by now. */
static void
spill(struct incoming *in)
{
	if (!in->prepared) {
		struct str have = buf_str(in->content);
		bool whole = header_length(have) < have.n;
		if (!whole && have.n < SMTP_HEADER_MOST)
			return;
		if (!whole) {
			give_up(in, STATUS(STATUS_NEVER, 3, 4,
				"The header is too large"));
			return;
		}
		prepare(in);
	}
	if (status_is_fine(in->status) && in->file < 0)
		open_body(in);
	if (status_is_fine(in->status))
		write_out(in);
}

/* ------------------------------------------------------------- reading */

/* A client that drips is cut off; one that is merely far away is not. */
static bool
is_too_slow(const struct incoming *in)
{
	int64_t ms = clock_ms() - in->started;
	return ms > SLOW_AFTER_MS && (int64_t)in->taken <
		(ms - SLOW_AFTER_MS) / 1000 *
			in->s->conf->limit.data_rate;
}

static void
take_some(struct incoming *in, struct str input)
{
	size_t before = in->content->n;
	size_t used = smtp_data_feed(&in->reader, input, in->content);
	conn_consume(in->s->conn, used);
	in->taken += in->content->n - before;
	if (!status_is_fine(in->status)) {
		buf_clear(in->content);
		return;
	}
	if (in->taken > (uint64_t)in->s->conf->smtp.max_size)
		give_up(in, STATUS(STATUS_NEVER, 3, 4,
			"That message is too large"));
	else if (in->content->n > SMTP_INLINE_MOST / 2 +
		SMTP_INLINE_MOST / 4 || in->file >= 0)
		spill(in);
}

/* False when the connection is lost: there is nobody to answer. */
static bool
read_all(struct incoming *in)
{
	struct session *s = in->s;
	struct str input;
	int64_t patience = client_patience(s);
	if (patience > BLOCK_MS)
		patience = BLOCK_MS;
	while (!in->reader.done) {
		conn_deadline(s->conn, clock_in(patience));
		if (!conn_peek(s->conn, &input))
			return false;
		take_some(in, input);
		if (is_too_slow(in)) {
			session_close(s, status_reply(STATUS(STATUS_LATER, 4,
				2, "Too slow; try again later"), 421));
			return false;
		}
	}
	if (in->reader.bare &&
		str_eq(s->conf->smtp.bare_newline, STR("refuse"))) {
		log_warn(s->id, "bare-newline", LOG_STR("client", s->ip));
		give_up(in, status_reply(STATUS(STATUS_NEVER, 6, 0,
			"The message has a CR or LF that is not CRLF"), 550));
	}
	return true;
}

/* ---------------------------------------------------------- submitting */

static struct str_list
column(struct arena *a, size_t n)
{
	return (struct str_list){arena_array(a, n, sizeof(struct str)), n};
}

static void
fill(struct incoming *in, struct msg_submit *m)
{
	struct session *s = in->s;
	const struct transaction *t = &s->t;
	size_t i = 0;
	m->token = str_printf(
		in->arena, "%.*s/%u", STR_ARG(s->id), s->transactions);
	m->session = s->id;
	m->origin = s->lmtp ? STR("lmtp")
		: s->submission ? STR("submission") : STR("smtp");
	m->client = s->ip;
	m->user = s->user;
	m->sender = t->sender;
	m->rcpt = column(in->arena, t->count);
	m->orcpt = column(in->arena, t->count);
	m->notify = column(in->arena, t->count);
	for (const struct recipient *r = t->first; r != NULL;
		r = r->next, i++) {
		m->rcpt.v[i] = r->address;
		m->orcpt.v[i] = r->orcpt;
		m->notify.v[i] = r->notify;
	}
	m->ret = t->ret;
	m->envid = t->envid;
	m->body_type = t->body_type;
	m->utf8 = t->utf8;
	m->size = (int64_t)in->taken;
}

/* Synced here, closed before it is named: then nobody can change it. */
static struct status
finish_body(struct incoming *in)
{
	write_out(in);
	bool synced = fsync(in->file) == 0;
	int err = errno;
	if (close(in->file) != 0 || !synced) {
		err = synced ? errno : err;
		in->file = -1;
		return status_errno(in->arena, "body", err);
	}
	in->file = -1;
	return in->status;
}

static struct status
submit(struct incoming *in)
{
	struct message m = MESSAGE(submit), answer;
	if (!in->prepared)
		prepare(in);
	/* Trace and repairs may have pushed it over the edge. */
	if (status_is_fine(in->status) && in->file < 0 &&
		in->content->n > SMTP_INLINE_MOST)
		spill(in);
	struct status st = in->status;
	if (status_is_fine(st) && in->file >= 0)
		st = finish_body(in);
	if (!status_is_fine(st))
		return st;
	fill(in, &m.submit);
	if (in->body.n > 0)
		m.submit.body = in->body;
	else
		m.submit.content = buf_str(in->content);
	/* The token makes asking again harmless: what we say to the client is
	 * what the queue has done, even if it was restarted in between. */
	st = link_call_again(
		in->s->queue, in->arena, &m, MSG_submitted, &answer);
	if (!status_is_fine(st))
		return st;
	if (!status_is_fine(answer.submitted.status))
		return answer.submitted.status;
	log_info(in->s->id, "accepted", LOG_STR("queue", answer.submitted.id),
		LOG_STR("from", in->s->t.sender),
		LOG_NUM("rcpts", in->s->t.count), LOG_NUM("size", in->taken));
	return (struct status){STATUS_FINE, 0, 0, 250, str_printf(in->arena,
		"Queued as %.*s", STR_ARG(answer.submitted.id))};
}

struct status
smtp_data(struct session *s, struct str args)
{
	struct arena *a = s->transaction_arena;
	struct incoming in = {.s = s, .arena = a, .file = -1,
		.content = buf_new(a), .status = status_fine(),
		.started = clock_ms()};
	if (args.n > 0)
		return STATUS(STATUS_NEVER, 5, 4, "DATA stands alone");
	smtp_data_start(&in.reader,
		str_eq(s->conf->smtp.bare_newline, STR("normalise"))
			? SMTP_NORMALISE_BARE : SMTP_REFUSE_BARE);
	session_reply(s, status_reply(STATUS(STATUS_FINE, 0, 0,
		"Send the message, end with a dot alone"), 354));
	struct status st = STATUS(STATUS_LATER, 4, 2, "Connection lost");
	if (read_all(&in))
		st = submit(&in);
	else
		s->state = SMTP_CLOSED;
	if (in.file >= 0)
		close(in.file);
	if (!status_is_fine(st) && s->state != SMTP_CLOSED)
		log_info(s->id, "data-refused", LOG_STR("from", s->t.sender),
			LOG_STR("why", st.text));
	/* RFC 2033 4.2: one reply for each recipient, in order. */
	for (size_t i = 1; s->lmtp && i < s->t.count &&
		s->state != SMTP_CLOSED; i++)
		session_reply(s, st);
	return st;
}
