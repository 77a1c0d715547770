/* SPDX-License-Identifier: ISC */
/*
 * Delivery reports (RFC 3464).  The report enters the queue in the very
 * transaction that takes the failed recipients off it, so a crash leaves both
 * or neither.  None for the null sender (RFC 5321 6.1) but to postmaster when
 * it was a report of ours that failed; none for NOTIFY=NEVER.
 */
#include "queue.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "mail/dsn.h"
#include "mail/header.h"

#include <unistd.h>

enum { ORIGINAL_MOST = 40 * 1024, HEADER_MOST = 32 * 1024 };

static bool
is_wanted(const struct failure *f)
{
	struct str notify = f->rcpt->notify;
	struct str keyword = f->delay ? STR("DELAY") : STR("FAILURE");
	return notify.n == 0 || str_search(notify, keyword) < notify.n;
}

static bool
is_ascii(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] >= 0x80)
			return false;
	return true;
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

static size_t
collect(struct arena *a, struct queue *q, struct msg *m,
	struct dsn_recipient *out, bool *utf8)
{
	size_t n = 0;
	(void)a;
	list_each(&m->failures, at, save) {
		struct failure *f = list_entry(at, struct failure, link);
		if (!is_wanted(f))
			continue;
		out[n++] = (struct dsn_recipient){.address = f->rcpt->address,
			.original = f->rcpt->orcpt, .status = f->status,
			.action = f->delay ? DSN_DELAYED : DSN_FAILED,
			.remote = f->remote,
			.will_retry_until = f->delay
				? m->arrival + q->conf->queue.max_age : 0};
		*utf8 = *utf8 || !is_ascii(f->rcpt->address);
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
write_report(struct queue *q, struct arena *a, struct msg *m, struct str to,
	struct dsn *d)
{
	struct buf *out = buf_new(a);
	int64_t id = queue_next_id(q);
	struct new_rcpt rcpt = {.address = to};
	struct str original = d->original;
	d->boundary = str_printf(a, "=_surat_%s", m->qid);
	d->message_id = str_printf(a, "report.%s.%lld@%.*s", m->qid,
		(long long)d->now, STR_ARG(d->host));
	d->headers_only = d->headers_only || m->body.n > 0 ||
		original.n > ORIGINAL_MOST;
	dsn_write(a, out, d);
	struct new_message n = {.id = id, .session = str_from(m->qid),
		.origin = m->sender.n > 0 ? STR("report") : STR("double"),
		.client = STR("unix"), .body_type = STR("8BITMIME"),
		.utf8 = d->utf8, .arrival = d->now, .rcpts = &rcpt,
		.count = 1};
	n.content = str_head(buf_str(out), INLINE_MOST);
	n.size = (int64_t)n.content.n;
	n.token = str_printf(a, "report/%s/%lld", m->qid, (long long)id);
	batch_add_message(q, &n, stored, NULL);
}

/* Who hears of it; empty: nobody. */
static struct str
reader_of(struct queue *q, struct arena *a, const struct msg *m)
{
	if (m->sender.n > 0)
		return m->sender;
	if (!str_eq(m->origin, STR("report")))
		return STR("");
	(void)a;
	return q->conf->general.postmaster;
}

static void
finish_all(struct queue *q, struct msg *m)
{
	list_each(&m->failures, at, save) {
		struct failure *f = list_entry(at, struct failure, link);
		struct arena *a = arena_new("reply");
		list_remove(at);
		if (!f->delay)
			outcome_finished(q, f->rcpt, "failed",
				status_format(a, f->status), f->remote);
		arena_free(a);
	}
}

void
report_failures(struct queue *q, struct msg *m)
{
	struct arena *a = arena_new("report");
	struct str to = reader_of(q, a, m);
	size_t most = 0;
	for (struct list *at = m->failures.next; at != &m->failures;
		at = at->next)
		most++;
	struct dsn_recipient *rcpts = arena_array(a, most, sizeof *rcpts);
	struct dsn d = {.host = q->program->hostname,
		.id = str_from(m->qid), .to = to, .envid = m->envid,
		.arrival = m->arrival, .now = clock_wall(),
		.utf8 = m->utf8, .recipients = rcpts,
		.headers_only = str_eq_nocase(m->ret, STR("HDRS"))};
	d.count = collect(a, q, m, rcpts, &d.utf8);
	if (d.count > 0 && to.n > 0) {
		d.original = read_original(q, a, m);
		write_report(q, a, m, to, &d);
	} else if (d.count > 0) {
		log_warn(str_from(m->qid), "report-dropped",
			LOG_CSTR("why", "the sender is null"));
	}
	finish_all(q, m);
	arena_free(a);
}
