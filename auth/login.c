/* SPDX-License-Identifier: ISC */
/*
 * Logins.  A dialogue belongs to the peer's connection and lives in an arena
 * of its own; while a hasher or a delay timer is at work the peer may go away,
 * so the dialogue is what they hold, not the peer.
 *
 * An unknown user costs the same hash, gets the same answer after the same
 * pause and the same log line as a wrong password.  The pause begins when the
 * question comes, so that what it took to answer does not show in it.
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
	const struct user *user; /* may log in, if the secret is right */
	struct user copy; /* tables may be read again meanwhile */
	void (*found)(struct dialogue *d); /* goes on when user is known */
	struct str hashes; /* of the user, still to be compared */
	size_t compared; /* by hashers, stand-ins too */
	bool own; /* the one with a hasher is the user's */
	bool by_pam; /* it is with PAM's, who knows when it has changed */
	int64_t asked; /* clock_ms of the last step */
	struct str salt; /* asked about */
	struct str app; /* label of the app password it was */
	bool proved; /* SCRAM: the last message is on its way */
	bool busy; /* something will call back */
	int64_t began; /* clock_us of the first step */
};

/* ----------------------------------------------------------- life cycle */

static void
end(struct dialogue *d)
{
	if (d->peer != NULL)
		caller_of(d->peer)->dialogue = NULL;
	if (d->client >= 0)
		close(d->client);
	if (d->sasl.password.n > 0)
		OPENSSL_cleanse((char *)(uintptr_t)d->sasl.password.p,
			d->sasl.password.n);
	arena_free(d->arena);
}

void
login_forget(struct dialogue *d)
{
	d->peer = NULL;
	if (!d->busy)
		end(d);
}

bool
login_is_busy(const struct peer *p)
{
	const struct caller *c = p->data;
	return c != NULL && c->dialogue != NULL;
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
count(struct dialogue *d, enum login_result result)
{
	figures_login(d->auth, d->step.service, result, d->began);
}

static struct str
block_of(struct dialogue *d)
{
	return limits_block(d->auth, d->arena, d->step.client);
}

static void
refuse(struct dialogue *d)
{
	/* The shape of this line is a promise: fail2ban reads it. */
	log_warn(d->step.session, "login-failed",
		LOG_STR("user", d->sasl.user), LOG_STR("client", d->step.client),
		LOG_STR("service", d->step.service),
		LOG_STR("method", sasl_name(d->sasl.mechanism)));
	count(d, LOGIN_FAILED);
	int64_t wait = limits_login_failed(d->auth, block_of(d),
		str_lower(d->arena, d->sasl.user));
	d->busy = true;
	loop_timer(d->auth->loop, d->asked + wait, pause_over, d);
}

/* Too many have failed: whether this one is right is not looked at. */
static bool
is_banned(struct dialogue *d)
{
	struct str name = str_lower(d->arena, d->sasl.user);
	if (limits_may_login(d->auth, block_of(d), name))
		return false;
	log_warn(d->step.session, "login-banned",
		LOG_STR("user", d->sasl.user),
		LOG_STR("client", d->step.client),
		LOG_STR("service", d->step.service));
	count(d, LOGIN_BANNED);
	refuse_now(d, status_reply(STATUS(STATUS_LATER, 7, 0,
		"Too many failed logins; try again later"), 454));
	return true;
}

/* -------------------------------------------------------------- success */

static void
send_success(struct dialogue *d, bool handed)
{
	struct message m = MESSAGE(auth_result);
	count(d, LOGIN_WORKED);
	m.auth_result.status = status_reply(
		STATUS(STATUS_FINE, 7, 0, "Welcome"), 235);
	m.auth_result.user = d->copy.name;
	m.auth_result.handed = handed;
	m.auth_result.senders =
		senders_of(d->auth, d->arena, &d->copy);
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
	count(d, LOGIN_LATER);
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
	m.session_start.limits =
		users_limits(d->arena, d->auth->conf, &d->copy);
	m.session_start.client = d->step.client;
	m.session_start.tls = d->step.tls;
	m.session_start.back = d->step.back;
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
		LOG_NUM("tls", d->step.tls), LOG_STR("app", d->app));
	limits_login_worked(d->auth, block_of(d),
		str_lower(d->arena, d->sasl.user));
	if (d->client >= 0)
		hand_over(d);
	else
		send_success(d, false);
}

/* ------------------------------------------------------------- password */

static void
overloaded(struct dialogue *d)
{
	count(d, LOGIN_LATER);
	refuse_now(d, STATUS(STATUS_LATER, 7, 0,
		"Too many logins at once; try again later"));
}

/* Nobody logs in as somebody else: d->user stays NULL for who may not. */
static void
take_user(struct dialogue *d, const struct user *u)
{
	if (u == NULL || !users_may_login(u, d->step.service,
		d->step.client) || (d->sasl.authzid.n > 0 &&
		!str_eq(d->sasl.authzid, d->sasl.user)))
		return;
	d->copy = *u;
	d->copy.name = str_copy(d->arena, u->name);
	d->copy.ids = str_copy(d->arena, u->ids);
	d->copy.home = str_copy(d->arena, u->home);
	d->copy.secret = str_copy(d->arena, u->secret);
	d->user = &d->copy;
}

/* Whether there is such a user is not known, so nobody has failed. */
static void
cannot_find(struct dialogue *d)
{
	log_warn(d->step.session, "login-later",
		LOG_STR("user", d->sasl.user), LOG_STR("client", d->step.client),
		LOG_STR("service", d->step.service));
	count(d, LOGIN_LATER);
	refuse_now(d, status_reply(STATUS(STATUS_LATER, 4, 3,
		"Users cannot be looked up now; try again later"), 454));
}

static void
on_found(void *ctx, const struct message *m)
{
	struct dialogue *d = ctx;
	const struct msg_login_found *f = &m->login_found;
	struct user *u = users_find(d->auth->users, f->name);
	d->busy = false;
	if (f->rest.n > 0) {
		u = arena_one(d->arena, struct user);
		struct str line = str_printf(d->arena, "%.*s:%.*s",
			STR_ARG(f->name), STR_ARG(f->rest));
		if (users_parse_line(d->arena, line,
			d->auth->conf->general.mail, u) != NULL)
			u = NULL;
	}
	if (d->peer == NULL) {
		end(d);
	} else if (!status_is_fine(f->status) || (f->name.n > 0 && u == NULL)) {
		cannot_find(d);
	} else {
		take_user(d, u);
		d->found(d);
	}
}

/* Finds who wants in, and goes on with found. */
static void
find_user(struct dialogue *d, void (*found)(struct dialogue *d))
{
	struct lookup l = {.auth = d->auth, .arena = d->arena};
	const struct user *u = users_find(d->auth->users, d->sasl.user);
	d->found = found;
	d->busy = u == NULL && finders_ask_login(
		d->auth->finders, d->sasl.user, on_found, d);
	if (d->busy)
		return;
	if (u == NULL)
		u = lookup_login(&l, d->sasl.user);
	if (l.later) {
		cannot_find(d);
		return;
	}
	take_user(d, u);
	found(d);
}

static void hashed(void *ctx, struct str answer);

static bool
may_count(const struct auth *x, struct str hash)
{
	if (password_is_pam(hash))
		return x->pam != NULL;
	return x->conf->auth.weak_hashes || !password_is_weak(hash);
}

/* The user's next hash, or one that stands in for it: who is not there, or has
 * fewer than others, takes as long to refuse. */
static void
compare_next(struct dialogue *d)
{
	struct auth *x = d->auth;
	struct str hash;
	d->own = password_hash(d->arena, &d->hashes, &hash) &&
		may_count(x, hash);
	if (!d->own)
		hash = password_stand_in(x, d->sasl.user);
	d->by_pam = password_is_pam(hash);
	if (d->by_pam)
		hash = pam_question(
			x, d->arena, d->copy.name, d->step.client);
	d->compared++;
	d->busy = true;
	if (hashers_ask(d->by_pam ? x->pam : x->hashers, hash,
		    d->sasl.password, hashed, d))
		return;
	d->busy = false;
	overloaded(d);
}

static void
hashed(void *ctx, struct str answer)
{
	struct dialogue *d = ctx;
	d->busy = false;
	if (str_eq(answer, STR("1")) && d->own) {
		if (!d->by_pam)
			cache_add(d->auth, d->arena, &d->copy,
				d->sasl.password);
		accept_login(d);
	} else if (d->hashes.n > 0 ||
		d->compared < d->auth->users->most_hashes) {
		compare_next(d);
	} else {
		refuse(d);
	}
}

static void
compare_password(struct dialogue *d)
{
	struct str secrets = d->copy.secret, password = d->sasl.password;
	if (d->user != NULL && (password_is_plain(secrets, password) ||
		password_is_app(d->arena, secrets, password, &d->app) ||
		cache_has(d->auth, d->arena, &d->copy, password))) {
		accept_login(d);
		return;
	}
	d->hashes = d->user != NULL ? secrets : STR("");
	compare_next(d);
}

static void
check_password(struct dialogue *d)
{
	if (!is_banned(d))
		find_user(d, compare_password);
}

/* ---------------------------------------------------------------- SCRAM */

static void
send_challenge(struct dialogue *d)
{
	struct message m = MESSAGE(auth_result);
	m.auth_result.status = status_fine();
	m.auth_result.more = 1;
	m.auth_result.challenge = d->sasl.challenge;
	send_result(d, &m);
}

static void
derived(void *ctx, struct str answer)
{
	struct dialogue *d = ctx;
	struct sasl_secret secret, stored;
	struct str password;
	enum sasl_mechanism m = d->sasl.mechanism;
	d->busy = false;
	if (d->peer == NULL) {
		end(d);
		return;
	}
	enum scram_find found = d->user == NULL ? SCRAM_NONE :
		scram_find(d->arena, d->copy.secret, m, &stored, &password);
	if (found == SCRAM_STORED)
		secret = stored;
	else if (found == SCRAM_NONE ||
		!scram_answer(d->arena, answer, d->salt, &secret))
		secret = scram_decoy(
			d->arena, d->salt, d->auth->users->iterations);
	sasl_server_secret(&d->sasl, &secret);
	send_challenge(d);
}

/*
 * A secret from the table, one derived from a password there, or one that
 * nobody can prove to know.  Where some users' have to be derived everybody
 * waits for a hasher, so that time does not tell who exists.
 */
static void
derive_secret(struct dialogue *d)
{
	struct auth *x = d->auth;
	struct sasl_secret stored;
	struct str password = STR("nobody's");
	d->salt = scram_salt(x, d->arena, str_lower(d->arena, d->sasl.user));
	if (!x->users->any_plain) {
		derived(d, STR(""));
		return;
	}
	if (d->user != NULL)
		scram_find(d->arena, d->copy.secret, d->sasl.mechanism,
			&stored, &password);
	d->busy = true;
	if (hashers_ask(x->hashers, scram_question(d->arena,
		d->sasl.mechanism, d->salt), password, derived, d))
		return;
	d->busy = false;
	overloaded(d);
}

static void
give_secret(struct dialogue *d)
{
	if (!is_banned(d))
		find_user(d, derive_secret);
}

/* The proof is right; the server's own goes out, its answer is empty. */
static void
scram_done(struct dialogue *d)
{
	if (d->user == NULL) {
		refuse(d);
		return;
	}
	d->proved = true;
	send_challenge(d);
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
		.auth = x, .peer = p, .arena = a, .client = -1,
		.began = clock_us()};
	sasl_server_start(&d->sasl, a, m, buf_str(nonce), binding);
	caller_of(p)->dialogue = d;
	return d;
}

static void
keep_step(struct dialogue *d, const struct msg_auth_step *m)
{
	d->step = (struct msg_auth_step){
		.session = str_copy(d->arena, m->session),
		.service = str_copy(d->arena, m->service),
		.client = str_copy(d->arena, m->client), .tls = m->tls,
		.back = m->back,
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
	if (d->proved && response.n == 0) {
		accept_login(d);
		return;
	}
	switch (sasl_server_step(&d->sasl, response)) {
	case SASL_CHALLENGE:
		send_challenge(d);
		break;
	case SASL_PASSWORD:
		check_password(d);
		break;
	case SASL_SECRET:
		give_secret(d);
		break;
	case SASL_DONE:
		scram_done(d);
		break;
	case SASL_REFUSED:
		refuse(d);
		break;
	case SASL_MALFORMED:
		refuse_now(d, status_reply(STATUS(STATUS_NEVER, 5, 2,
			"That is not a response of this mechanism"), 501));
		break;
	}
}

/* -PLUS needs a channel that can be bound to; PLAIN is always spoken. */
static bool
is_offered(struct auth *x, struct arena *a, enum sasl_mechanism m,
	const struct msg_auth_step *s)
{
	bool plus = sasl_binds(m);
	struct str_list offer = scram_offer(x, a);
	struct str name = sasl_name(m);
	if (plus)
		name = str_head(name, name.n - sizeof "-PLUS" + 1);
	for (size_t i = 0; i < offer.n; i++)
		if (str_eq(offer.v[i], name))
			return !plus || s->binding.n > 0;
	return false;
}

void
login_step(struct peer *p, struct arena *a, struct message *m)
{
	struct auth *x = p->peers->ctx;
	const struct msg_auth_step *s = &m->auth_step;
	struct dialogue *d = caller_of(p)->dialogue;
	struct str response = s->response;
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
		if (!is_offered(x, a, mech, s)) {
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
	d->asked = clock_ms();
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
