/* SPDX-License-Identifier: ISC */
/*
 * `surat metrics`: figures of the running suite in the OpenMetrics text
 * format: what master knows of its children, what queue and auth count of
 * their own work, and the rows of the queue by state.  With --http as the
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

enum { REQUEST_MOST = 8192, REQUEST_MS = 2000, ROWS_MOST = 64,
	FIGURES_MOST = 512 };

struct metrics {
	struct ctl *ctl;
	const struct conf *conf;
	struct buf *out;
	struct msg_service_row rows[ROWS_MOST]; /* programs */
	size_t count;
	struct msg_figure_row figures[FIGURES_MOST]; /* their own words */
	size_t figure_count;
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

/* Who serves a protocol: before a login, and after it. */
static const struct protocol {
	const char *name, *before, *after;
} protocols[] = {
	{"smtp", "smtpd", NULL},
	{"imap", "imapd", "imap-session"},
	{"pop3", "pop3d", "pop3-session"},
};

enum { PROTOCOLS = sizeof protocols / sizeof *protocols };

/* NULL: this master never started one (systemd may have). */
static const struct msg_service_row *
program_row(const struct metrics *m, const char *name)
{
	for (size_t i = 0; i < m->count; i++)
		if (name != NULL && m->rows[i].since > 0 &&
			str_eq(m->rows[i].name, str_from(name)))
			return &m->rows[i];
	return NULL;
}

static void
put_sessions(struct metrics *m)
{
	const struct msg_service_row *before[PROTOCOLS], *after[PROTOCOLS];
	family(m, "sessions", "gauge", "Clients that are served now.");
	for (size_t i = 0; i < PROTOCOLS; i++) {
		before[i] = program_row(m, protocols[i].before);
		after[i] = program_row(m, protocols[i].after);
		if (before[i] != NULL || after[i] != NULL)
			buf_printf(m->out, "surat_sessions{protocol=\"%s\"} "
				"%lld\n", protocols[i].name, (long long)(
				(before[i] != NULL ? before[i]->busy : 0) +
				(after[i] != NULL ? after[i]->busy : 0)));
	}
	family(m, "sessions_begun", "counter", "Clients that came.");
	for (size_t i = 0; i < PROTOCOLS; i++) {
		const struct msg_service_row *r =
			before[i] != NULL ? before[i] : after[i];
		if (r != NULL)
			buf_printf(m->out, "surat_sessions_begun_total"
				"{protocol=\"%s\"} %lld\n",
				protocols[i].name, (long long)r->served);
	}
}

/* ------------------------------------------------------------------ queue */

struct waiting {
	int64_t oldest, in[7];
};

static const char *const states[] = {"new", "due", "active", "deferred",
	"held", "delivered", "leaving"};

enum { STATES = sizeof states / sizeof *states };

static bool
note_count(void *ctx, const struct message *message)
{
	struct waiting *w = ctx;
	const struct msg_queue_count *c = &message->queue_count;
	for (size_t i = 0; i < STATES; i++)
		if (str_eq(c->key, str_from(states[i])))
			w->in[i] += c->count;
	if (c->oldest > 0 && (w->oldest == 0 || c->oldest < w->oldest))
		w->oldest = c->oldest;
	return true;
}

static void
put_queue(struct metrics *m)
{
	struct waiting w = {.oldest = 0};
	struct msg_queue_list ask = {.group = STR("state")};
	queue_pages(m->ctl, &ask, note_count, &w);
	family(m, "queue_recipients", "gauge",
		"Recipients in the queue, by state.");
	for (size_t i = 0; i < STATES; i++)
		buf_printf(m->out, "surat_queue_recipients{state=\"%s\"} "
			"%lld\n", states[i], (long long)w.in[i]);
	gauge(m, "queue_oldest_seconds", "Age of the oldest that waits.",
		w.oldest == 0 ? 0 : clock_wall() - w.oldest);
}

/* ---------------------------------------------------------------- figures */

/* What programs tell of themselves, in the order it is shown. */
static const struct {
	const char *name, *kind, *help;
} figures[] = {
	{"deliveries", "counter", "Attempts to deliver, by agent and result."},
	{"delivery_seconds", "histogram", "From the acceptance of a message "
		"until a recipient had it."},
	{"accept_seconds", "histogram", "From the end of a message until it "
		"was on the disk and its client could be told."},
	{"logins", "counter", "Logins by protocol and result."},
	{"login_seconds", "histogram", "From the first step of a login until "
		"it had worked."},
	{"smtp_clients", "counter", "Clients of smtpd by protocol, and "
		"whether limits let them in."},
};

static void
ask_figures(struct metrics *m, const char *asked)
{
	struct message ask = MESSAGE(service), answer;
	ask.service.verb = STR("figures");
	if (!is_up(m, asked))
		return;
	int fd = ctl_ask(m->ctl, "surat", asked, &ask);
	for (;;) {
		ctl_answer(m->ctl->arena, fd, &answer);
		if (answer.kind != MSG_figure_row ||
			m->figure_count == FIGURES_MOST)
			break;
		m->figures[m->figure_count++] = answer.figure_row;
	}
	close(fd);
}

/* "agent=local result=failed" as {agent="local",result="failed"}, and one
 * more. */
static struct str
labels(struct arena *a, struct str words, const char *more, struct str value)
{
	struct buf *b = buf_new(a);
	struct str word, name;
	while (words.n > 0 && str_cut(&words, ' ', &word)) {
		str_cut(&word, '=', &name);
		buf_printf(b, "%s%.*s=\"%.*s\"", b->n == 0 ? "{" : ",",
			STR_ARG(name), STR_ARG(word));
	}
	if (more != NULL)
		buf_printf(b, "%s%s=\"%.*s\"", b->n == 0 ? "{" : ",", more,
			STR_ARG(value));
	if (b->n > 0)
		buf_adds(b, "}");
	return buf_str(b);
}

static void
put_histogram(struct metrics *m, const struct msg_figure_row *f)
{
	struct arena *a = m->ctl->arena;
	struct str own = labels(a, f->labels, NULL, STR(""));
	for (size_t i = 0; i <= f->buckets.n; i++) {
		bool last = i == f->buckets.n;
		struct str n = last ? STR("") : f->buckets.v[i], le;
		str_cut(&n, ' ', &le);
		if (last) {
			le = STR("+Inf");
			n = str_printf(a, "%lld", (long long)f->value);
		}
		struct str all = labels(a, f->labels, "le", le);
		buf_printf(m->out, "surat_%.*s_bucket%.*s %.*s\n",
			STR_ARG(f->name), STR_ARG(all), STR_ARG(n));
	}
	buf_printf(m->out, "surat_%.*s_count%.*s %lld\n"
		"surat_%.*s_sum%.*s %.6f\n", STR_ARG(f->name), STR_ARG(own),
		(long long)f->value, STR_ARG(f->name), STR_ARG(own),
		(double)f->sum / 1e6);
}

static void
put_figures(struct metrics *m)
{
	struct arena *a = m->ctl->arena;
	for (size_t i = 0; i < sizeof figures / sizeof *figures; i++) {
		bool told = false;
		for (size_t k = 0; k < m->figure_count; k++) {
			const struct msg_figure_row *f = &m->figures[k];
			if (!str_eq(f->name, str_from(figures[i].name)))
				continue;
			if (!told)
				family(m, figures[i].name, figures[i].kind,
					figures[i].help);
			told = true;
			if (f->buckets.n > 0) {
				put_histogram(m, f);
				continue;
			}
			struct str own = labels(a, f->labels, NULL, STR(""));
			buf_printf(m->out, "surat_%s_total%.*s %lld\n",
				figures[i].name, STR_ARG(own),
				(long long)f->value);
		}
	}
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
	const struct option_row rows[] = {{"--http", OPTION_FLAG, &http,
		NULL, "as the answer to one request on standard input"}};
	ctl_options(c, rows, 1);
	m.conf = ctl_conf(c);
	if (http)
		skip_request();
	bool up = is_up(&m, "master");
	gauge(&m, "up", "1 when the suite runs.", up);
	if (up) {
		ask_master(&m);
		put_programs(&m);
		put_sessions(&m);
	}
	if (is_up(&m, "queue"))
		put_queue(&m);
	ask_figures(&m, "queue");
	ask_figures(&m, "auth");
	put_figures(&m);
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
