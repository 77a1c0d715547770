/* SPDX-License-Identifier: ISC */
/*
 * The programs smtpd asks, as functions of the question: ask/link.h without
 * processes.  The domain example.test has alice, bob and postmaster, the
 * password of each is "secret"; mail for relay.test is relayed.  Addresses that
 * make trouble: later@ (auth), full@ and refused@ as senders (the queue).
 */
#include "model.h"
#include "ask/link.h"
#include "base/arena.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct link {
	char none; /* all of them know everything */
};

struct world world;
static char login_user[64];

void
world_begin(struct arena *a, bool known, int *body)
{
	world = (struct world){.arena = a, .known = known,
		.body = body};
	world.last = &world.first;
	login_user[0] = '\0';
}

/* ------------------------------------------------------------ envelopes */

void
envelope_rcpt(struct buf *out, struct str address, struct str orcpt,
	struct str notify)
{
	buf_printf(out, " to=%.*s", STR_ARG(address));
	if (orcpt.n > 0)
		buf_printf(out, " orcpt=%.*s", STR_ARG(orcpt));
	if (notify.n > 0)
		buf_printf(out, " notify=%.*s", STR_ARG(notify));
}

void
envelope_write(struct buf *out, const struct envelope *e)
{
	buf_printf(out, "%.*s from=%.*s user=%.*s ret=%.*s envid=%.*s "
		"body=%.*s hold=%.*s utf8=%d requiretls=%d",
		STR_ARG(e->origin), STR_ARG(e->sender), STR_ARG(e->user),
		STR_ARG(e->ret), STR_ARG(e->envid), STR_ARG(e->body),
		STR_ARG(e->hold), e->utf8, e->requiretls);
}

/* ----------------------------------------------------------------- auth */

static struct str mechanisms[] = {STR_INIT("PLAIN"), STR_INIT("LOGIN")};

static void
on_client(struct link *l, const struct message *q, struct message *r)
{
	(void)l, (void)q;
	r->client_result.status = status_fine();
	r->client_result.busy = 1;
	r->client_result.known = world.known;
	r->client_result.mechanisms = (struct str_list){mechanisms, 2};
}

static bool
is_user(struct str name)
{
	return str_eq_nocase(name, STR("alice")) ||
		str_eq_nocase(name, STR("bob")) ||
		str_eq_nocase(name, STR("postmaster"));
}

static struct status
judge(const struct msg_rcpt_lookup *q, struct msg_rcpt_result *r)
{
	size_t at = str_find_last(q->address, '@');
	struct str local = str_head(q->address, at);
	struct str domain = str_skip(q->address, at + 1);
	bool ours = domain.n == 0 || str_eq_nocase(domain, STR("example.test"));
	r->ours = ours;
	if (str_eq_nocase(domain, STR("relay.test")))
		return status_fine();
	if (!ours)
		return q->user.n > 0 || str_eq(q->client, STR("127.0.0.1"))
			? status_fine()
			: STATUS(STATUS_NEVER, 7, 1, "Relaying is not allowed");
	if (str_eq(local, STR("later")))
		return STATUS(STATUS_LATER, 3, 0, "Not now");
	if (str_eq(local, STR("hold")))
		r->hold = STR("because");
	else if (str_eq(local, STR("elsewhere")))
		r->address = STR("bob@example.test");
	else if (!is_user(local))
		return STATUS(STATUS_NEVER, 1, 1, "No such user");
	return status_fine();
}

static void
on_rcpt_lookup(struct link *l, const struct message *q, struct message *r)
{
	(void)l;
	r->rcpt_result.status = judge(&q->rcpt_lookup, &r->rcpt_result);
}

static void
on_sender(struct link *l, const struct message *q, struct message *r)
{
	struct str address = q->sender.addresses.v[0], local;
	(void)l;
	str_cut(&address, '@', &local);
	local = str_head(local, str_find(local, '+'));
	bool own = q->sender.user.n == 0 || str_eq(local, q->sender.user);
	r->sender_result.status = own ? status_fine()
		: STATUS(STATUS_NEVER, 7, 1, "Not an address of yours");
	r->sender_result.addresses = q->sender.addresses;
}

static struct str senders[] = {{NULL, 0}};

static struct status
check(struct message *r, struct str user, struct str password)
{
	if (str_eq(user, STR("slow")))
		return STATUS(STATUS_LATER, 3, 0, "Not now");
	if (!is_user(user) || !str_eq(password, STR("secret")))
		return STATUS(STATUS_NEVER, 7, 8, "Wrong");
	r->auth_result.user = str_copy(world.arena, user);
	senders[0] = str_printf(world.arena, "%.*s@example.test", STR_ARG(user));
	r->auth_result.senders = (struct str_list){senders, 1};
	return status_fine();
}

static struct status
plain(struct message *r, struct str data)
{
	struct str part[3];
	size_t n = 0;
	r->auth_result.more = data.n == 0;
	if (data.n == 0)
		return status_fine();
	while (n < 3 && str_cut(&data, '\0', &part[n]))
		n++;
	return n < 3 ? status_reply(STATUS(STATUS_NEVER, 5, 2, "Malformed"), 501)
		     : check(r, part[1], part[2]);
}

static struct status
login(struct message *r, bool first, struct str data)
{
	r->auth_result.more = (first && data.n == 0) || login_user[0] == '\0';
	r->auth_result.challenge = STR("Username:");
	if (first && data.n == 0)
		return status_fine();
	if (login_user[0] != '\0')
		return check(r, str_from(login_user), data);
	snprintf(login_user, sizeof login_user, "%.*s", STR_ARG(data));
	r->auth_result.challenge = STR("Password:");
	return status_fine();
}

static void
on_auth_step(struct link *l, const struct message *q, struct message *r)
{
	struct str word = q->auth_step.mechanism, data = q->auth_step.response;
	static bool by_login;
	(void)l;
	if (word.n > 0) {
		by_login = str_eq_nocase(word, STR("LOGIN"));
		login_user[0] = '\0';
	}
	if (word.n > 0 && !by_login && !str_eq_nocase(word, STR("PLAIN")))
		r->auth_result.status = status_reply(
			STATUS(STATUS_NEVER, 5, 4, "Not offered"), 504);
	else if (by_login)
		r->auth_result.status = login(r, word.n > 0, data);
	else
		r->auth_result.status = plain(r, data);
}

/* -------------------------------------------------------- queue, tls, dns */

static void
on_body_open(struct link *l, const struct message *q, struct message *r)
{
	(void)l;
	r->opened.status = status_fine();
	if (q->body_open.probe)
		return;
	if (*world.body > 0)
		close(*world.body);
	*world.body = memfd_create("body", MFD_CLOEXEC);
	r->fd = dup(*world.body);
	r->opened.name = STR("body");
}

static struct str
content_of(const struct msg_submit *m)
{
	if (m->body.n == 0)
		return str_copy(world.arena, m->content);
	off_t n = lseek(*world.body, 0, SEEK_END);
	char *p = arena_alloc(world.arena, (size_t)n + 1);
	if (pread(*world.body, p, (size_t)n, 0) != n)
		abort();
	return str_of(p, (size_t)n);
}

static void
on_submit(struct link *l, const struct message *q, struct message *r)
{
	const struct msg_submit *m = &q->submit;
	struct str sender = m->sender, who;
	struct envelope e = {m->sender, m->ret, m->envid, m->body_type, m->user,
		m->hold, m->origin, m->utf8 != 0, m->requiretls != 0};
	(void)l;
	str_cut(&sender, '@', &who);
	if (str_eq(who, STR("full")))
		r->submitted.status = STATUS(STATUS_LATER, 3, 1, "No space");
	else if (str_eq(who, STR("refused")))
		r->submitted.status = STATUS(STATUS_NEVER, 3, 4, "Not that");
	else
		r->submitted.status = status_fine();
	if (!status_is_fine(r->submitted.status))
		return;
	struct buf *b = buf_new(world.arena);
	envelope_write(b, &e);
	for (size_t i = 0; i < m->rcpt.n; i++)
		envelope_rcpt(b, m->rcpt.v[i], m->orcpt.v[i], m->notify.v[i]);
	struct taken *t = arena_one(world.arena, struct taken);
	*t = (struct taken){buf_str(b), content_of(m), NULL};
	*world.last = t;
	world.last = &t->next;
	r->submitted.id = STR("Q");
}

static void
on_queue_change(struct link *l, const struct message *q, struct message *r)
{
	(void)l, (void)q;
	r->done.status = status_fine();
	r->done.count = 3;
}

static void
on_tls_start(struct link *l, const struct message *q, struct message *r)
{
	(void)l, (void)q;
	r->tls_ready.status = world.tls_fails
		? STATUS(STATUS_LATER, 7, 5, "No handshake") : status_fine();
	if (world.tls_fails)
		return;
	r->fd = dup(*world.streams++);
	r->tls_ready.version = STR("TLSv1.3");
	r->tls_ready.cipher = STR("NONE");
	r->tls_ready.binding = STR("binding");
}

static void
on_dns_ask(struct link *l, const struct message *q, struct message *r)
{
	(void)l, (void)q;
	r->dns_answer.rcode = STR("nxdomain");
}

/* ---------------------------------------------------------------- links */

static const struct {
	enum message_kind kind, answer;
	void (*fn)(struct link *l, const struct message *q, struct message *r);
} rows[] = {
	{MSG_client, MSG_client_result, on_client},
	{MSG_rcpt_lookup, MSG_rcpt_result, on_rcpt_lookup},
	{MSG_sender, MSG_sender_result, on_sender},
	{MSG_auth_step, MSG_auth_result, on_auth_step},
	{MSG_body_open, MSG_opened, on_body_open},
	{MSG_submit, MSG_submitted, on_submit},
	{MSG_queue_change, MSG_done, on_queue_change},
	{MSG_tls_start, MSG_tls_ready, on_tls_start},
	{MSG_dns_ask, MSG_dns_answer, on_dns_ask},
};

struct status
link_call(struct link *l, struct arena *a, const struct message *q,
	enum message_kind expect, struct message *r)
{
	(void)a;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (rows[i].kind == q->kind && rows[i].answer == expect) {
			memset(r, 0, sizeof *r);
			r->kind = expect;
			r->fd = -1;
			rows[i].fn(l, q, r);
			return status_fine();
		}
	abort();
}

struct status
link_call_again(struct link *l, struct arena *a, const struct message *q,
	enum message_kind expect, struct message *r)
{
	return link_call(l, a, q, expect, r);
}

struct status
link_call_all(struct link *l, struct arena *a, const struct message *q,
	size_t n, struct message *r)
{
	for (size_t i = 0; i < n; i++)
		link_call(l, a, &q[i], MSG_dns_answer, &r[i]);
	return status_fine();
}

struct link *
link_new(struct arena *a, struct str directory, const char *asked)
{
	(void)directory, (void)asked;
	return arena_one(a, struct link);
}

unsigned
link_generation(const struct link *l)
{
	(void)l;
	return 1;
}

void
link_tell(struct link *l, const struct message *m)
{
	(void)l, (void)m;
}

struct status
link_next(struct link *l, struct arena *a, struct message *answer)
{
	(void)l, (void)a, (void)answer;
	abort();
}

void
link_patience(struct link *l, int64_t ms)
{
	(void)l, (void)ms;
}

void
link_close(struct link *l)
{
	(void)l;
	login_user[0] = '\0';
}
