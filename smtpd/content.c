/* SPDX-License-Identifier: ISC */
/*
 * A message on its way in, by DATA or BDAT.  Content gathers in memory up to
 * 128 KiB; a message that stays below goes to the queue whole in one exchange.
 * A larger one moves on into a body file the queue opened, which is synced
 * here, so that many clients sync at once.
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

enum { SLOW_AFTER_MS = 30 * 1000, USUAL_SIZE = 8 * 1024, TRACE_SIZE = 512 };

struct incoming {
	struct session *s;
	struct arena *arena;
	struct smtp_data reader;
	bool binary; /* octets, not lines */
	struct buf *content; /* not yet written */
	uint64_t taken; /* octets of the message so far */
	size_t trace; /* octets of our line before the message */
	bool prepared; /* repairs are in */
	int file; /* body file, or -1 */
	struct str body; /* its name */
	struct status status; /* the first thing that went wrong */
	int64_t started;
};

void
content_refuse(struct incoming *in, struct status st)
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
		.reverse = s->reverse,
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

/* What the client sent, without our line before it. */
static struct str
sent(const struct incoming *in)
{
	return str_skip(buf_str(in->content), in->trace);
}

/* With another header than it came with. */
static struct status
repair(struct incoming *in, struct str header, struct str body)
{
	struct session *s = in->s;
	struct buf *out = buf_new(in->arena);
	struct status st = status_fine();
	buf_room(out, in->content->n + TRACE_SIZE);
	buf_add(out, str_head(buf_str(in->content), in->trace));
	if (s->submission) {
		st = submission_repair(s, in->arena, header, out);
	} else {
		buf_add(out, header);
		buf_adds(out, "\r\n");
	}
	buf_add(out, body);
	in->content = out;
	return st;
}

/* Once, when the whole header is in memory. */
static void
prepare(struct incoming *in)
{
	struct session *s = in->s;
	struct str have = sent(in);
	size_t n = header_length(have);
	struct str header = str_head(have, n), body = str_skip(have, n);
	in->prepared = true;
	struct status st = check_header(s, header, body);
	if (status_is_fine(st) && (s->submission ||
		(is_unended(header, body) &&
			str_eq(s->conf->smtp.bad_header, STR("insert")))))
		st = repair(in, header, body);
	if (!status_is_fine(st))
		content_refuse(in, st);
}

/* ---------------------------------------------------------------- file */

/* One that an earlier transaction left behind, emptied. */
static bool
reuse_body(struct incoming *in)
{
	struct spare *spare = &in->s->links->spare;
	int fd = spare->fd;
	if (fd < 0 || spare->generation != link_generation(in->s->queue))
		return false;
	spare->fd = -1;
	if (ftruncate(fd, 0) != 0 || lseek(fd, 0, SEEK_SET) != 0) {
		close(fd);
		return false;
	}
	in->file = fd;
	in->body = str_copy(in->arena, str_from(spare->name));
	return true;
}

/* The queue gives each of us a few body files only: one that came to nothing
 * serves the next message. */
static void
keep_body(void *ctx)
{
	struct incoming *in = ctx;
	struct spare *spare = &in->s->links->spare;
	if (in->file < 0)
		return;
	if (spare->fd >= 0)
		close(spare->fd);
	*spare = (struct spare){.fd = in->file,
		.generation = link_generation(in->s->queue)};
	struct str name = str_head(in->body, sizeof spare->name - 1);
	memcpy(spare->name, name.p, name.n);
	in->file = -1;
}

static void
open_body(struct incoming *in)
{
	struct message m = MESSAGE(body_open), answer;
	m.body_open.size = (int64_t)in->s->t.declared;
	if (reuse_body(in))
		return;
	struct status st = link_call(
		in->s->queue, in->arena, &m, MSG_opened, &answer);
	if (status_is_fine(st))
		st = answer.opened.status;
	if (!status_is_fine(st)) {
		content_refuse(in, st);
		return;
	}
	in->file = message_take_fd(&answer);
	in->body = answer.opened.name;
	if (in->file < 0)
		content_refuse(in, status_later(3, 0, STR("no body file")));
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
			content_refuse(in, status_errno(in->arena, "body", errno));
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
		struct str have = sent(in);
		bool whole = header_length(have) < have.n;
		if (!whole && have.n < SMTP_HEADER_MOST)
			return;
		if (!whole) {
			content_refuse(in, STATUS(STATUS_NEVER, 3, 4,
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

/* ------------------------------------------------------------- feeding */

struct incoming *
content_begin(struct session *s, bool dots)
{
	struct arena *a = s->transaction_arena;
	struct incoming *in = arena_one(a, struct incoming);
	*in = (struct incoming){.s = s, .arena = a, .file = -1,
		.content = buf_new(a), .status = status_fine(),
		.started = clock_ms(),
		.binary = str_eq_nocase(s->t.body_type, STR("BINARYMIME"))};
	smtp_data_start(&in->reader,
		str_eq(s->conf->smtp.bare_newline, STR("normalise"))
			? SMTP_NORMALISE_BARE : SMTP_REFUSE_BARE);
	in->reader.dots = dots;
	/* Most are small; they are not to grow step by step, nor to be copied
	 * behind our line when they are here. */
	buf_room(in->content, USUAL_SIZE);
	add_trace(in, in->content);
	in->trace = in->content->n;
	arena_hook(a, keep_body, in);
	return in;
}

bool
content_is_done(const struct incoming *in)
{
	return in->reader.done;
}

struct status
content_status(const struct incoming *in)
{
	return in->status;
}

/* A client that drips is cut off; one that is merely far away is not. */
bool
content_is_too_slow(const struct incoming *in)
{
	int64_t ms = clock_ms() - in->started;
	return ms > SLOW_AFTER_MS && (int64_t)in->taken <
		(ms - SLOW_AFTER_MS) / 1000 *
			in->s->conf->limit.data_rate;
}

static void
grew(struct incoming *in, size_t by)
{
	in->taken += by;
	if (!status_is_fine(in->status)) {
		buf_clear(in->content);
		return;
	}
	if (in->taken > (uint64_t)in->s->conf->smtp.max_size)
		content_refuse(in, STATUS(STATUS_NEVER, 3, 4,
			"That message is too large"));
	else if (in->content->n > SMTP_INLINE_MOST / 8 * 7 || in->file >= 0)
		spill(in);
}

size_t
content_feed(struct incoming *in, struct str input)
{
	size_t before = in->content->n, used = input.n;
	if (in->binary)
		buf_add(in->content, input);
	else
		used = smtp_data_feed(&in->reader, input, in->content);
	grew(in, in->content->n - before);
	return used;
}

/* A text ends with its last line, and every line in CRLF. */
static void
finish_text(struct incoming *in)
{
	size_t before = in->content->n;
	if (in->binary)
		return;
	smtp_data_end(&in->reader, in->content);
	grew(in, in->content->n - before);
	if (in->reader.bare &&
		str_eq(in->s->conf->smtp.bare_newline, STR("refuse"))) {
		log_warn(in->s->id, "bare-newline",
			LOG_STR("client", in->s->ip));
		content_refuse(in, status_reply(STATUS(STATUS_NEVER, 6, 0,
			"The message has a CR or LF that is not CRLF"), 550));
	}
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
	/* The time first: what the queue notes it in grows at its end alone,
	 * and a commit writes one page of it, not one for each session. */
	m->token = str_concat(in->arena,
		str_decimal(in->arena, (uint64_t)clock_wall_us()), STR("/"),
		s->id, STR("/"), str_decimal(in->arena, s->transactions));
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
	m->requiretls = t->requiretls;
	m->hold = t->hold;
	m->size = (int64_t)in->taken;
	m->trace = str_concat(in->arena, STR("began="),
		str_decimal(in->arena, (uint64_t)s->began), STR(" helo="),
		s->helo, STR(" tls="), s->tls ? s->tls_version : STR("no"));
}

/* Synced here, closed before it is named: then nobody can change it.  One that
 * cannot be synced is no good for another message either: the queue takes it
 * away when we leave. */
static struct status
finish_body(struct incoming *in)
{
	write_out(in);
	if (!status_is_fine(in->status))
		return in->status;
	bool synced = fsync(in->file) == 0;
	int err = errno;
	bool closed = close(in->file) == 0;
	in->file = -1;
	if (synced && closed)
		return status_fine();
	link_close(in->s->queue);
	return status_errno(in->arena, "body", synced ? errno : err);
}

static struct status
submit(struct incoming *in)
{
	struct message m = MESSAGE(submit), answer;
	finish_text(in);
	if (!in->prepared && status_is_fine(in->status))
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
	return (struct status){STATUS_FINE, 0, 0, 250, str_concat(in->arena,
		STR("Queued as "), answer.submitted.id)};
}

struct status
content_submit(struct incoming *in)
{
	struct session *s = in->s;
	struct status st = submit(in);
	if (!status_is_fine(st))
		log_info(s->id, "data-refused", LOG_STR("from", s->t.sender),
			LOG_STR("why", st.text));
	/* RFC 2033 4.2: one reply for each recipient, in order; the loop
	 * writes the last. */
	for (size_t i = 1; s->lmtp && i < s->t.count; i++)
		session_reply(s, st);
	return st;
}
