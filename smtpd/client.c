/* SPDX-License-Identifier: ISC */
/*
 * The client before its first command: may it come in (auth counts for all
 * smtpd processes), does it wait for our greeting, and how much patience is
 * there for it.  When nearly every worker serves somebody, silence and errors
 * are borne for a moment only, also by workers that were waiting already: they
 * ask from time to time.
 */
#include "smtpd.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "sys/serve.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

enum {
	STRESS_ERRORS = 1,
	BLOCKED_TIMEOUT = 30 * 1000,
	CROWD_TIMEOUT = 3 * 1000,
};

static struct status
ask(struct session *s, const char *verb, struct msg_client_result *out)
{
	struct message m = MESSAGE(client), answer;
	m.client.verb = str_from(verb);
	m.client.session = s->id;
	m.client.service = s->client->service;
	m.client.ip = s->ip;
	struct status st = link_call_again(s->auth, s->transaction_arena, &m,
		MSG_client_result, &answer);
	if (!status_is_fine(st))
		return status_reply(st, 421);
	*out = answer.client_result;
	s->busy = out->busy;
	s->waiting = (int64_t)serve_line(s->program);
	return out->status;
}

struct status
client_enter(struct session *s)
{
	struct msg_client_result r;
	struct status st = ask(s, "enter", &r);
	if (!status_is_fine(st))
		return st;
	struct str *v = arena_array(s->arena, r.mechanisms.n, sizeof *v);
	for (size_t i = 0; i < r.mechanisms.n; i++)
		v[i] = str_copy(s->arena, r.mechanisms.v[i]);
	s->mechanisms = (struct str_list){v, r.mechanisms.n};
	s->known = r.known != 0;
	return st;
}

void
client_leave(struct session *s)
{
	struct message m = MESSAGE(client);
	m.client.verb = STR("leave");
	m.client.session = s->id;
	m.client.ip = s->ip;
	m.client.messages = s->transactions;
	m.client.errors = s->errors;
	m.client.passed = s->passed;
	link_tell(s->auth, &m);
}

/* -------------------------------------------------------------- stopping */

static int stop_pipe[2] = {-1, -1};

static volatile sig_atomic_t stopping;

/* The pipe is for who waits. */
static void
on_term(int signal)
{
	(void)signal;
	stopping = 1;
	if (write(stop_pipe[1], "", 1) < 0)
		return;
}

void
client_heed_stop(bool heed)
{
	struct sigaction act = {.sa_handler = heed ? on_term : SIG_DFL};
	if (stop_pipe[0] < 0 && pipe2(stop_pipe, O_CLOEXEC | O_NONBLOCK) != 0)
		fatal("pipe", NULL);
	sigaction(SIGTERM, &act, NULL);
}

/* Told to stop, a client that says something finishes its transaction, and
 * pipelined input behind it is not even looked at.  One that is silent is
 * answered 421 wherever it is: nothing of it was taken over. */
static bool
is_over(const struct session *s, enum conn_wait waited)
{
	bool busy = (s->state & (SMTP_MAIL | SMTP_RCPT | SMTP_CHUNKS)) != 0;
	return waited == WAIT_OTHER || (stopping && !busy);
}

/* -------------------------------------------------------------- patience */

static bool
is_stressed(const struct session *s)
{
	return s->busy >= CLIENT_STRESS_PERCENT && s->user.n == 0 && !s->trusted &&
		!s->lmtp;
}

/* As many wait as are served. */
static bool
is_crowded(const struct session *s)
{
	return is_stressed(s) && s->waiting > s->conf->smtp.max_processes;
}

int
client_errors_most(const struct session *s)
{
	return is_stressed(s) ? STRESS_ERRORS : (int)s->conf->smtp.max_errors;
}

int64_t
client_patience(const struct session *s)
{
	int64_t usual = s->conf->smtp.timeout * 1000;
	int64_t most = usual;
	if (is_stressed(s))
		most = is_crowded(s) ? CROWD_TIMEOUT : CLIENT_STRESS_MS;
	else if (s->state == SMTP_BLOCKED)
		most = BLOCKED_TIMEOUT;
	return most < usual ? most : usual;
}

/* Who brings nothing keeps others from bringing mail.  Its network is not let
 * in for a while: it would stand in the line again at once. */
static void
too_slow(struct session *s)
{
	struct message m = MESSAGE(client);
	if (!is_crowded(s) || s->transactions > 0)
		return;
	log_info(s->id, "too-slow", LOG_STR("client", s->ip));
	m.client.verb = STR("slow");
	m.client.session = s->id;
	m.client.ip = s->ip;
	link_tell(s->auth, &m);
}

/* auth away: as busy as before. */
static int64_t
patience_now(void *ctx, bool look)
{
	struct session *s = ctx;
	struct msg_client_result r;
	if (look)
		ask(s, "poll", &r);
	return client_patience(s);
}

bool
client_wait(struct session *s, size_t most)
{
	enum conn_wait w = conn_wait_patiently(
		s->conn, most, stop_pipe[0], patience_now, s);
	if (w == WAIT_DEADLINE)
		too_slow(s);
	return !is_over(s, w);
}

/* -------------------------------------------------------------- greeting */

/* A client that cannot wait for a greeting does not read answers either: it
 * only sends (RFC 5321 4.3.1). */
static bool
talks_first(struct session *s)
{
	int64_t wait = is_stressed(s) ? 0 : s->conf->smtp.greet_wait * 1000;
	if (s->known || s->trusted || s->client->tls || s->submission ||
		s->lmtp)
		return false;
	if (conn_wait(s->conn, -1, clock_in(wait)) == WAIT_INPUT)
		return true;
	s->passed = true;
	return false;
}

void
client_greet(struct session *s)
{
	struct str text = str_printf(s->arena, "%.*s %s surat",
		STR_ARG(s->program->hostname), s->lmtp ? "LMTP" : "ESMTP");
	if (talks_first(s)) {
		log_warn(s->id, "talks-first", LOG_STR("client", s->ip));
		client_block(s, STATUS(STATUS_NEVER, 7, 1,
			"You talk before you are greeted"));
		return;
	}
	session_reply(s, (struct status){STATUS_FINE, 0, 0, 220, text});
}

void
client_block(struct session *s, struct status why)
{
	session_reply(s, status_reply(why, 554));
	s->state = SMTP_BLOCKED;
}
