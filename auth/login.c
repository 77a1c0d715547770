/* SPDX-License-Identifier: ISC */
/*
 * Logins.  A dialogue belongs to the peer's connection and lives in an arena
 * of its own; while a hasher or a delay timer is at work the peer may go away,
 * so the dialogue is what they hold, not the peer.
 *
 * An unknown user costs the same hash, gets the same answer after the same
 * pause and the same log line as a wrong password.
 */
#include "auth.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "mail/encode.h"
#include "mail/sasl.h"
#include "sys/net.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

struct dialogue {
	struct auth *auth;
	struct peer *peer; /* NULL: gone */
	struct arena *arena;
	struct sasl_server sasl;
	struct msg_auth_step step; /* of the last step, in the arena */
	int client; /* to be handed over, or -1 */
	const struct user *user;
	struct user copy; /* tables may be read again meanwhile */
	bool busy; /* something will call back */
};

/* ----------------------------------------------------------- life cycle */

static void
end(struct dialogue *d)
{
	if (d->peer != NULL)
		d->peer->data = NULL;
	if (d->client >= 0)
		close(d->client);
	if (d->sasl.password.n > 0)
		OPENSSL_cleanse((char *)(uintptr_t)d->sasl.password.p,
			d->sasl.password.n);
	arena_free(d->arena);
}

void
login_closed(struct peer *p)
{
	struct dialogue *d = p->data;
	if (d == NULL)
		return;
	d->peer = NULL;
	p->data = NULL;
	if (!d->busy)
		end(d);
}

static void
send_result(struct dialogue *d, struct message *m)
{
	if (d->peer != NULL)
		peer_send(d->peer, m);
}

static void
refuse_now(struct dialogue *d, struct status s)
{
	struct message m = MESSAGE(auth_result);
	m.auth_result.status = s;
	send_result(d, &m);
	end(d);
}

static void
pause_over(void *ctx)
{
	struct dialogue *d = ctx;
	refuse_now(d, STATUS(STATUS_NEVER, 7, 8,
		"Wrong user name or password"));
}

static void
refuse(struct dialogue *d)
{
	/* The shape of this line is a promise: fail2ban reads it. */
	log_warn(d->step.session, "login-failed",
		LOG_STR("user", d->sasl.user), LOG_STR("client", d->step.client),
		LOG_STR("service", d->step.service),
		LOG_STR("method", sasl_name(d->sasl.mechanism)));
	d->busy = true;
	loop_timer(d->auth->loop,
		clock_in(d->auth->conf->auth.failure_delay * 1000), pause_over,
		d);
}

/* -------------------------------------------------------------- success */

static void
send_success(struct dialogue *d, bool handed)
{
	struct message m = MESSAGE(auth_result);
	m.auth_result.status = status_reply(
		STATUS(STATUS_FINE, 7, 0, "Welcome"), 235);
	m.auth_result.user = d->copy.name;
	m.auth_result.handed = handed;
	m.auth_result.senders =
		lookup_senders(d->auth, d->arena, &d->copy);
	send_result(d, &m);
	end(d);
}

static void
handed_over(void *ctx, struct arena *a, struct message *m)
{
	struct dialogue *d = ctx;
	(void)a;
	if (m != NULL && m->kind == MSG_done &&
		status_is_fine(m->done.status)) {
		send_success(d, true);
		return;
	}
	struct str why = m != NULL && m->kind == MSG_done
		? m->done.status.text : STR("master is away");
	log_error(d->step.session, "no-session", LOG_STR("why", why));
	refuse_now(d, STATUS(STATUS_LATER, 3, 0,
		"Sessions cannot be started now; try again later"));
}

static void
hand_over(struct dialogue *d)
{
	struct message m = MESSAGE(session_start);
	m.session_start.session = d->step.session;
	m.session_start.service = d->step.service;
	m.session_start.user = d->copy.name;
	m.session_start.ids = d->copy.ids;
	m.session_start.home = d->copy.home;
	m.session_start.client = d->step.client;
	m.session_start.tls = d->step.tls;
	m.session_start.tag = d->step.tag;
	m.session_start.pending = d->step.pending;
	m.fd = d->client;
	d->busy = true;
	asker_ask(d->auth->master, &m, handed_over, d);
}

static void
accept_login(struct dialogue *d)
{
	log_info(d->step.session, "login", LOG_STR("user", d->copy.name),
		LOG_STR("client", d->step.client),
		LOG_STR("service", d->step.service),
		LOG_STR("method", sasl_name(d->sasl.mechanism)),
		LOG_NUM("tls", d->step.tls));
	if (d->client >= 0)
		hand_over(d);
	else
		send_success(d, false);
}

/* ------------------------------------------------------------- password */

static void
hashed(void *ctx, bool right)
{
	struct dialogue *d = ctx;
	d->busy = false;
	if (right && d->user != NULL) {
		cache_add(d->auth, d->arena, &d->copy, d->sasl.password);
		accept_login(d);
	} else {
		refuse(d);
	}
}

static void
check_password(struct dialogue *d)
{
	struct auth *x = d->auth;
	struct str hash = password_decoy(), password = d->sasl.password;
	enum verdict v = VERDICT_HASH;
	const struct user *u = lookup_login(x, d->sasl.user);
	/* Nobody logs in as somebody else. */
	bool may = u != NULL && !u->disabled && (d->sasl.authzid.n == 0 ||
		str_eq(d->sasl.authzid, d->sasl.user));
	if (may) {
		d->copy = *u;
		d->copy.name = str_copy(d->arena, u->name);
		d->copy.ids = str_copy(d->arena, u->ids);
		d->copy.home = str_copy(d->arena, u->home);
		d->copy.secret = str_copy(d->arena, u->secret);
		d->user = &d->copy;
		v = password_check(d->arena, d->copy.secret, password, &hash);
	}
	if (v == VERDICT_RIGHT ||
		(may && cache_has(x, d->arena, &d->copy, password))) {
		accept_login(d);
	} else if (v == VERDICT_WRONG) {
		refuse(d);
	} else {
		d->busy = true;
		if (hashers_ask(x->hashers, hash, password, hashed, d))
			return;
		d->busy = false;
		refuse_now(d, STATUS(STATUS_LATER, 7, 0,
			"Too many logins at once; try again later"));
	}
}

/* ------------------------------------------------------------- dialogue */

static struct dialogue *
begin(struct auth *x, struct peer *p, enum sasl_mechanism m,
	struct str binding)
{
	unsigned char noise[18];
	struct arena *a = arena_new("login");
	struct dialogue *d = arena_one(a, struct dialogue);
	struct buf *nonce = buf_new(a);
	if (getrandom(noise, sizeof noise, 0) != sizeof noise)
		fatal("getrandom", NULL);
	base64_encode(nonce, str_of(noise, sizeof noise));
	*d = (struct dialogue){
		.auth = x, .peer = p, .arena = a, .client = -1};
	sasl_server_start(&d->sasl, a, m, buf_str(nonce), binding);
	p->data = d;
	return d;
}

static void
keep_step(struct dialogue *d, const struct msg_auth_step *m)
{
	d->step = (struct msg_auth_step){
		.session = str_copy(d->arena, m->session),
		.service = str_copy(d->arena, m->service),
		.client = str_copy(d->arena, m->client), .tls = m->tls,
		.tag = str_copy(d->arena, m->tag),
		.pending = str_copy(d->arena, m->pending)};
}

/* A password in the clear only under TLS, or on loopback where that is
 * allowed; who asked us may have been taken over. */
static bool
may_be_plain(const struct auth *x, const struct msg_auth_step *m)
{
	struct net_address n;
	bool loopback = net_parse_ip(m->client, 0, &n) && net_is_loopback(&n);
	return m->tls != 0 || (loopback && x->conf->smtp.plaintext_auth);
}

static void
step(struct dialogue *d, struct str response)
{
	struct message m = MESSAGE(auth_result);
	switch (sasl_server_step(&d->sasl, response)) {
	case SASL_CHALLENGE:
		m.auth_result.status = status_fine();
		m.auth_result.more = 1;
		m.auth_result.challenge = d->sasl.challenge;
		send_result(d, &m);
		break;
	case SASL_PASSWORD:
		check_password(d);
		break;
	case SASL_SECRET:
	case SASL_DONE:
	case SASL_REFUSED:
		refuse(d);
		break;
	case SASL_MALFORMED:
		refuse_now(d, status_reply(STATUS(STATUS_NEVER, 5, 2,
			"That is not a response of this mechanism"), 501));
		break;
	}
}

void
login_step(struct peer *p, struct arena *a, struct message *m)
{
	struct auth *x = p->peers->ctx;
	const struct msg_auth_step *s = &m->auth_step;
	struct dialogue *d = p->data;
	struct str response = s->response;
	(void)a;
	tables_refresh(x);
	if (d != NULL && d->busy) {
		peer_close(p);
		return;
	}
	if (s->mechanism.n > 0) {
		enum sasl_mechanism mech = sasl_mechanism(s->mechanism);
		if (d != NULL)
			end(d);
		d = begin(x, p, mech, s->binding);
		if (!sasl_is_plaintext(mech)) {
			refuse_now(d, status_reply(STATUS(STATUS_NEVER, 5, 4,
				"That mechanism is not offered"), 504));
			return;
		}
		/* An empty first response is none. */
		if (response.n == 0)
			response = (struct str){NULL, 0};
	}
	if (d == NULL) {
		peer_close(p);
		return;
	}
	keep_step(d, s);
	if (d->client >= 0)
		close(d->client);
	d->client = message_take_fd(m);
	if (!may_be_plain(x, s)) {
		refuse_now(d, status_reply(STATUS(STATUS_NEVER, 7, 11,
			"Encryption is needed for that"), 538));
		return;
	}
	step(d, response);
}
