/* SPDX-License-Identifier: ISC */
/*
 * Delivery reports (RFC 3464).  The report enters the queue in the very
 * transaction that takes the failed recipients off it, so a crash leaves both
 * or neither.  None for the null sender (RFC 5321 6.1) but to postmaster when
 * it was a report of ours that failed; none for NOTIFY=NEVER; what programs
 * and lists hear is for queue.report_automatic to say.
 */
#include "queue.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "mail/dsn.h"
#include "mail/header.h"

#include <unistd.h>

enum {
	ORIGINAL_MOST = 40 * 1024,
	HEADER_MOST = 32 * 1024,
	PATIENCE_MS = 60 * 1000,
};

static bool
is_wanted(const struct failure *f)
{
	struct str notify = f->rcpt->notify;
	struct str keyword = f->delay ? STR("DELAY") : STR("FAILURE");
	return notify.n == 0 || str_search(notify, keyword) < notify.n;
}

/* The message, or its beginning where it lies in a file. */
static struct str
read_original(struct queue *q, struct arena *a, struct msg *m)
{
	struct str content;
	int fd;
	struct status s = msg_content(q, a, m, &content, &fd);
	if (!status_is_fine(s))
		return STR("");
	if (fd < 0)
		return content;
	char *head = arena_alloc(a, HEADER_MOST);
	ssize_t n = pread(fd, head, HEADER_MOST, 0);
	close(fd);
	return str_of(head, n < 0 ? 0 : (size_t)n);
}

/* Lists, and what programs send by themselves (RFC 3834, 2919). */
static bool
is_from_robot(struct str message)
{
	static const struct {
		struct str name, but;
	} marks[] = {{STR_INIT("Auto-Submitted"), STR_INIT("no")},
		{STR_INIT("List-Id"), STR_INIT("")},
		{STR_INIT("Precedence"), STR_INIT("first-class")}};
	struct str header = str_head(message, header_length(message)), value;
	for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
		if (header_find(header, marks[i].name, &value) &&
			!str_eq_nocase(str_trim(value), marks[i].but))
			return true;
	return false;
}

/* A notice that something is late is for a person who waits for it.  A failure
 * that was asked for by NOTIFY is always told. */
static bool
is_withheld(const struct queue *q, const struct failure *f)
{
	if (f->delay || (f->rcpt->notify.n == 0 &&
		!q->conf->queue.report_automatic)) {
		log_info(str_from(f->rcpt->msg->qid), "report-withheld",
			LOG_STR("rcpt", f->rcpt->address),
			LOG_CSTR("why", "automatic"));
		return true;
	}
	return false;
}

static size_t
collect(const struct queue *q, struct msg *m, struct dsn *d,
	struct dsn_recipient *out)
{
	bool robot = is_from_robot(d->original);
	size_t n = 0;
	list_each(&m->failures, at, save) {
		struct failure *f = list_entry(at, struct failure, link);
		if (!is_wanted(f) || (robot && is_withheld(q, f)))
			continue;
		out[n++] = (struct dsn_recipient){.address = f->rcpt->address,
			.original = f->rcpt->orcpt,
			.status = f->result.status,
			.action = f->delay ? DSN_DELAYED : DSN_FAILED,
			.remote = f->result.remote,
			.will_retry_until = f->delay
				? m->arrival + q->conf->queue.max_age : 0};
		d->utf8 = d->utf8 || !str_is_ascii(f->rcpt->address);
	}
	return n;
}

static void
stored(struct queue *q, void *ctx, struct status s,
	const struct new_message *m, bool before)
{
	char qid[QID_LENGTH + 1];
	(void)ctx;
	if (!status_is_fine(s) || before)
		return;
	qid_format(m->id, qid);
	log_info(str_from(qid), "queued", LOG_STR("origin", m->origin),
		LOG_STR("for", m->session),
		LOG_STR("rcpt", m->rcpts[0].address), LOG_NUM("size", m->size));
	load_fresh(q, m);
}

static void
write_report(struct queue *q, struct arena *a, struct msg *m, struct dsn *d)
{
	struct buf *out = buf_new(a);
	int64_t id = queue_next_id(q);
	struct new_rcpt rcpt = {.address = d->to};
	d->boundary = str_printf(a, "=_surat_%s", m->qid);
	d->message_id = str_printf(a, "report.%s.%lld@%.*s", m->qid,
		(long long)id, STR_ARG(d->host));
	d->headers_only = d->headers_only || m->body.n > 0 ||
		d->original.n > ORIGINAL_MOST;
	dsn_write(a, out, d);
	struct new_message n = {.id = id, .session = str_from(m->qid),
		.origin = m->sender.n > 0 ? STR("report") : STR("double"),
		.client = STR("unix"), .body_type = STR("8BITMIME"),
		.utf8 = d->utf8, .requiretls = m->requiretls,
		.arrival = d->now, .rcpts = &rcpt,
		.count = 1, .content = buf_str(out)};
	n.size = (int64_t)n.content.n;
	batch_add_message(q, &n, stored, NULL, true);
}

static struct dsn
report_on(struct queue *q, const struct msg *m, struct str to)
{
	language_refresh(q);
	return (struct dsn){.host = q->program->hostname,
		.id = str_from(m->qid), .to = to, .envid = m->envid,
		.arrival = m->arrival, .now = clock_wall(), .utf8 = m->utf8,
		.languages = q->words,
		.language_count = q->conf->queue.report_languages.n,
		/* RFC 8689 5: what had to be kept from others still has. */
		.headers_only = m->requiretls ||
			str_eq_nocase(m->ret, STR("HDRS"))};
}

/* Who hears of it; empty: nobody. */
static struct str
reader_of(const struct queue *q, const struct msg *m)
{
	if (m->sender.n > 0)
		return m->sender;
	if (!str_eq(m->origin, STR("report")))
		return STR("");
	return q->conf->general.postmaster;
}

static const char *
outcome_of(struct status s)
{
	return s.subject == 4 && s.detail == 7 ? "expired" : "failed";
}

static void
finish_all(struct queue *q, struct msg *m)
{
	list_each(&m->failures, at, save) {
		struct failure *f = list_entry(at, struct failure, link);
		list_remove(at);
		if (!f->delay)
			outcome_finished(q, f->rcpt,
				outcome_of(f->result.status), &f->result);
	}
	m->failed = 0;
}

void
report_failures(struct queue *q, struct msg *m)
{
	struct arena *a = arena_new("report");
	struct str to = reader_of(q, m);
	struct dsn_recipient *rcpts = arena_array(a, m->failed, sizeof *rcpts);
	struct dsn d = report_on(q, m, to);
	d.recipients = rcpts;
	d.original = read_original(q, a, m);
	d.count = collect(q, m, &d, rcpts);
	if (d.count > 0 && to.n > 0) {
		write_report(q, a, m, &d);
	} else if (d.count > 0) {
		log_warn(str_from(m->qid), "report-dropped",
			LOG_CSTR("why", "the sender is null"));
	}
	finish_all(q, m);
	arena_free(a);
}

/* Where the next hop reports itself (RFC 3461 5.2.2), nothing is left to say
 * here. */
void
report_success(struct queue *q, struct rcpt *r, const struct result *x)
{
	struct msg *m = r->msg;
	struct str wish = STR("SUCCESS");
	if (str_search(r->notify, wish) == r->notify.n || m->sender.n == 0 ||
		str_search(x->detail, STR("dsn=1")) < x->detail.n)
		return;
	struct arena *a = arena_new("report");
	struct dsn_recipient rcpt = {.address = r->address,
		.original = r->orcpt, .status = x->status,
		.remote = x->remote,
		.action = outcome_is_final(r) ? DSN_DELIVERED : DSN_RELAYED};
	struct dsn d = report_on(q, m, m->sender);
	d.recipients = &rcpt;
	d.count = 1;
	d.utf8 = d.utf8 || !str_is_ascii(r->address);
	d.headers_only = true;
	d.original = read_original(q, a, m);
	write_report(q, a, m, &d);
	arena_free(a);
}

void
report_sweep(struct queue *q)
{
	size_t cursor = 0;
	struct str key;
	void *value;
	while (map_next(q->messages, &cursor, &key, &value)) {
		struct msg *m = value;
		if (batch_is_full(q))
			return;
		if (m->failed > 0 && clock_ms() - m->failed_since > PATIENCE_MS)
			report_failures(q, m);
	}
}
