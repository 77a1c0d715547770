/* SPDX-License-Identifier: ISC */
/*
 * `surat metrics`: figures of the running suite in the OpenMetrics text
 * format, from what master and queue are asked anyway.  With --http as the
 * answer to one request on standard input and output, whatever it asks for:
 * surat-metrics.socket or inetd listen, and no process of ours waits.
 */
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "ctl.h"
#include "sys/ipc.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include <openssl/pem.h>
#include <openssl/x509.h>

enum { REQUEST_MOST = 8192, REQUEST_MS = 2000, ROWS_MOST = 64 };

struct metrics {
	struct ctl *ctl;
	const struct conf *conf;
	struct buf *out;
	struct msg_service_row rows[ROWS_MOST];
	size_t count;
	int64_t waiting, oldest;
};

static bool
is_up(const struct metrics *m, const char *asked)
{
	struct arena *a = m->ctl->arena;
	int fd = ipc_connect(str_cstr(a, str_printf(a, "%.*s/surat/%s",
		STR_ARG(m->conf->general.runtime), asked)));
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static void
family(struct metrics *m, const char *name, const char *kind,
	const char *help)
{
	buf_printf(m->out, "# TYPE surat_%s %s\n# HELP surat_%s %s\n", name,
		kind, name, help);
}

static void
gauge(struct metrics *m, const char *name, const char *help, int64_t value)
{
	family(m, name, "gauge", help);
	buf_printf(m->out, "surat_%s %lld\n", name, (long long)value);
}

/* --------------------------------------------------------------- programs */

static void
ask_master(struct metrics *m)
{
	struct message ask = MESSAGE(service), answer;
	ask.service.verb = STR("list");
	int fd = ctl_ask(m->ctl, "surat", "master", &ask);
	for (;;) {
		ctl_answer(m->ctl->arena, fd, &answer);
		if (answer.kind != MSG_service_row || m->count == ROWS_MOST)
			break;
		m->rows[m->count++] = answer.service_row;
	}
	close(fd);
}

static const struct {
	const char *name, *kind, *suffix, *help;
	size_t where;
} columns[] = {
#define COLUMN(member, name, kind, suffix, help) \
	{name, kind, suffix, help, offsetof(struct msg_service_row, member)}
	COLUMN(busy, "busy_processes", "gauge", "",
		"Processes that serve somebody now, sessions included."),
	COLUMN(served, "clients", "counter", "_total",
		"Clients served; of sessions: logins."),
	COLUMN(restarts, "restarts", "counter", "_total",
		"Processes started again after an end they should not have."),
};

static void
put_programs(struct metrics *m)
{
	for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) {
		family(m, columns[i].name, columns[i].kind, columns[i].help);
		for (size_t k = 0; k < m->count; k++) {
			const void *row = &m->rows[k];
			const int64_t *value = (const void *)((const char *)row +
				columns[i].where);
			buf_printf(m->out, "surat_%s%s{program=\"%.*s\"} "
				"%lld\n", columns[i].name, columns[i].suffix,
				STR_ARG(m->rows[k].name), (long long)*value);
		}
	}
	family(m, "failing", "gauge", "1 for a program that does not come up.");
	for (size_t k = 0; k < m->count; k++)
		buf_printf(m->out, "surat_failing{program=\"%.*s\"} %d\n",
			STR_ARG(m->rows[k].name),
			str_eq(m->rows[k].state, STR("failing")));
}

/* ------------------------------------------------------------------ queue */

static bool
note_count(void *ctx, const struct message *message)
{
	struct metrics *m = ctx;
	const struct msg_queue_count *c = &message->queue_count;
	m->waiting += c->count;
	if (c->oldest > 0 && (m->oldest == 0 || c->oldest < m->oldest))
		m->oldest = c->oldest;
	return true;
}

static void
put_queue(struct metrics *m)
{
	struct msg_queue_list ask = {.group = STR("domain")};
	queue_pages(m->ctl, &ask, note_count, m);
	gauge(m, "queue_recipients", "Recipients that wait in the queue.",
		m->waiting);
	gauge(m, "queue_oldest_seconds", "Age of the oldest that waits.",
		m->oldest == 0 ? 0 : clock_wall() - m->oldest);
}

/* What became of the recipients of messages of the last hour, and how long
 * their last attempts took together.  History is read from the newest message
 * on. */
struct outcome {
	struct str name;
	int64_t count, took;
};

enum { OUTCOMES = 6, HOUR = 3600 };

struct outcomes {
	struct outcome v[OUTCOMES];
	int64_t since;
};

static bool
note_outcome(void *ctx, const struct message *message)
{
	struct outcomes *o = ctx;
	const struct msg_queue_row *r = &message->queue_row;
	if (r->arrival < o->since)
		return false;
	for (size_t i = 0; i < OUTCOMES; i++)
		if (str_eq(o->v[i].name, r->state)) {
			o->v[i].count++;
			o->v[i].took += r->took;
		}
	return true;
}

static void
put_outcomes(struct metrics *m)
{
	struct outcomes o = {{{STR_INIT("delivered"), 0, 0},
		{STR_INIT("relayed"), 0, 0}, {STR_INIT("failed"), 0, 0},
		{STR_INIT("expired"), 0, 0}, {STR_INIT("duplicate"), 0, 0},
		{STR_INIT("deleted"), 0, 0}}, clock_wall() - HOUR};
	struct msg_queue_list ask = {.history = 1};
	queue_pages(m->ctl, &ask, note_outcome, &o);
	family(m, "recipients_last_hour", "gauge",
		"Recipients of messages of the last hour that are finished, by "
		"what became of them.");
	for (size_t i = 0; i < OUTCOMES; i++)
		buf_printf(m->out, "surat_recipients_last_hour{outcome="
			"\"%.*s\"} %lld\n", STR_ARG(o.v[i].name),
			(long long)o.v[i].count);
	family(m, "attempt_seconds_last_hour", "gauge",
		"Time their last attempts took together.");
	for (size_t i = 0; i < OUTCOMES; i++)
		buf_printf(m->out, "surat_attempt_seconds_last_hour{outcome="
			"\"%.*s\"} %.6f\n", STR_ARG(o.v[i].name),
			(double)o.v[i].took / 1e6);
}

/* ------------------------------------------------------------------- rest */

static void
put_certificate(struct metrics *m)
{
	FILE *f = fopen(str_cstr(m->ctl->arena, m->conf->tls.certificate),
		"re");
	X509 *x = f == NULL ? NULL : PEM_read_X509(f, NULL, NULL, NULL);
	struct tm tm;
	if (x != NULL && ASN1_TIME_to_tm(X509_get0_notAfter(x), &tm) == 1)
		gauge(m, "certificate_end_seconds", "When the certificate "
			"ends, seconds since 1970.", timegm(&tm));
	X509_free(x);
	if (f != NULL)
		fclose(f);
}

/* Nothing of it matters, but who is not listened to hears no answer. */
static void
skip_request(void)
{
	char request[REQUEST_MOST];
	size_t n = 0;
	struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
	int64_t deadline = clock_in(REQUEST_MS);
	while (n < sizeof request &&
		poll(&p, 1, (int)clock_left(deadline)) > 0) {
		ssize_t got = read(STDIN_FILENO, request + n,
			sizeof request - n);
		if (got <= 0)
			return;
		n += (size_t)got;
		if (str_search(str_of(request, n), STR("\r\n\r\n")) < n)
			return;
	}
}

int
ctl_metrics(struct ctl *c)
{
	struct metrics m = {.ctl = c, .out = buf_new(c->arena)};
	bool http = false;
	const struct option_row rows[] = {{"--http", OPTION_FLAG, &http}};
	ctl_options(c, rows, 1);
	m.conf = ctl_conf(c);
	if (http)
		skip_request();
	bool up = is_up(&m, "master");
	gauge(&m, "up", "1 when the suite runs.", up);
	if (up) {
		ask_master(&m);
		put_programs(&m);
	}
	if (is_up(&m, "queue")) {
		put_queue(&m);
		put_outcomes(&m);
	}
	put_certificate(&m);
	buf_adds(m.out, "# EOF\n");
	if (http)
		printf("HTTP/1.1 200 OK\r\nContent-Type: application/"
			"openmetrics-text; version=1.0.0; charset=utf-8\r\n"
			"Content-Length: %zu\r\nConnection: close\r\n\r\n",
			m.out->n);
	printf("%.*s", STR_ARG(buf_str(m.out)));
	return fflush(stdout) == 0 ? EX_OK : EX_IOERR;
}
