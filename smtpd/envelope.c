/* SPDX-License-Identifier: ISC */
/* MAIL and RCPT: addresses and parameters (RFC 5321 4.1.1, 1870, 6152, 6531,
 * 3461). */
#include "smtpd.h"
#include "base/arena.h"
#include "base/log.h"
#include "mail/encode.h"
#include "sys/net.h"

typedef struct status (*param_fn)(struct session *s, struct str value,
	struct recipient *r);

struct param_row {
	struct str key;
	param_fn fn;
};

static struct status
bad_value(void)
{
	return STATUS(STATUS_NEVER, 5, 4, "That value cannot be");
}

static bool
is_xtext(struct session *s, struct str value)
{
	return xtext_decode(buf_new(s->command_arena), value);
}

/* ----------------------------------------------------------------- MAIL */

static struct status
mail_size(struct session *s, struct str value, struct recipient *r)
{
	(void)r;
	if (!str_number(value, INT64_MAX, &s->t.declared))
		return bad_value();
	if (s->t.declared > (uint64_t)s->conf->smtp.max_size)
		return STATUS(STATUS_NEVER, 3, 4, "That message is too large");
	return status_fine();
}

static struct status
mail_body(struct session *s, struct str value, struct recipient *r)
{
	(void)r;
	if (!str_eq_nocase(value, STR("7BIT")) &&
		!str_eq_nocase(value, STR("8BITMIME")) &&
		!str_eq_nocase(value, STR("BINARYMIME")))
		return bad_value();
	s->t.body_type = str_copy(s->transaction_arena, value);
	return status_fine();
}

static struct status
mail_utf8(struct session *s, struct str value, struct recipient *r)
{
	(void)r;
	if (value.n > 0)
		return bad_value();
	s->t.utf8 = true;
	return status_fine();
}

static struct status
mail_ret(struct session *s, struct str value, struct recipient *r)
{
	(void)r;
	if (!str_eq_nocase(value, STR("FULL")) &&
		!str_eq_nocase(value, STR("HDRS")))
		return bad_value();
	s->t.ret = str_copy(s->transaction_arena, value);
	return status_fine();
}

static struct status
mail_envid(struct session *s, struct str value, struct recipient *r)
{
	(void)r;
	if (value.n == 0 || value.n > 100 || !is_xtext(s, value))
		return bad_value();
	s->t.envid = str_copy(s->transaction_arena, value);
	return status_fine();
}

/* RFC 4954 5: who vouches for it; of no use to us, but legal. */
static struct status
mail_auth(struct session *s, struct str value, struct recipient *r)
{
	(void)s, (void)r;
	return value.n > 0 && is_xtext(s, value) ? status_fine()
						   : bad_value();
}

/* RFC 8689: the message goes on under verified TLS or not at all. */
static struct status
mail_requiretls(struct session *s, struct str value, struct recipient *r)
{
	(void)r;
	if (value.n > 0)
		return bad_value();
	if (!s->tls)
		return status_reply(STATUS(STATUS_NEVER, 7, 10,
			"Start TLS before you require it"), 530);
	s->t.requiretls = true;
	return status_fine();
}

static const struct param_row mail_params[] = {
	{STR_INIT("SIZE"), mail_size}, {STR_INIT("BODY"), mail_body},
	{STR_INIT("SMTPUTF8"), mail_utf8}, {STR_INIT("RET"), mail_ret},
	{STR_INIT("ENVID"), mail_envid}, {STR_INIT("AUTH"), mail_auth},
	{STR_INIT("REQUIRETLS"), mail_requiretls},
};

/* ----------------------------------------------------------------- RCPT */

static struct status
rcpt_notify(struct session *s, struct str value, struct recipient *r)
{
	struct str rest = value, word;
	bool never = false;
	size_t words = 0;
	while (str_cut(&rest, ',', &word)) {
		words++;
		if (str_eq_nocase(word, STR("NEVER")))
			never = true;
		else if (!str_eq_nocase(word, STR("SUCCESS")) &&
			!str_eq_nocase(word, STR("FAILURE")) &&
			!str_eq_nocase(word, STR("DELAY")))
			return bad_value();
	}
	if (words == 0 || (never && words > 1))
		return bad_value();
	char *upper = arena_copy(s->command_arena, value.p, value.n);
	for (size_t i = 0; i < value.n; i++)
		if (upper[i] >= 'a' && upper[i] <= 'z')
			upper[i] -= 'a' - 'A';
	r->notify = str_of(upper, value.n);
	return status_fine();
}

/* "rfc822;xtext" (RFC 3461 4.2), or "utf-8;" with what RFC 6533 3 allows where
 * SMTPUTF8 is spoken. */
static struct status
rcpt_orcpt(struct session *s, struct str value, struct recipient *r)
{
	struct str address = value, type;
	bool utf8 = str_starts_nocase(value, STR("utf-8;"));
	if (value.n > 500 || !str_cut(&address, ';', &type) || type.n == 0 ||
		address.n == 0)
		return bad_value();
	for (size_t i = 0; i < type.n; i++)
		if (!str_has(STR("abcdefghijklmnopqrstuvwxyz0123456789-"),
			char_lower(type.p[i])))
			return bad_value();
	if (utf8 && s->t.utf8 ? !address_is_utf8(address)
			      : !is_xtext(s, address))
		return bad_value();
	r->orcpt = value;
	return status_fine();
}

static const struct param_row rcpt_params[] = {
	{STR_INIT("NOTIFY"), rcpt_notify}, {STR_INIT("ORCPT"), rcpt_orcpt},
};

/* ------------------------------------------------------------ parameters */

static struct status
apply(struct session *s, const struct smtp_path *p,
	const struct param_row *rows, size_t count, struct recipient *r)
{
	if (p->param_count > 0 && !s->esmtp)
		return STATUS(STATUS_NEVER, 5, 4, "Parameters need EHLO");
	for (size_t i = 0; i < p->param_count; i++) {
		const struct param_row *row = NULL;
		for (size_t k = 0; k < count; k++)
			if (str_eq_nocase(p->params[i].key, rows[k].key))
				row = &rows[k];
		if (row == NULL)
			return status_reply(STATUS(STATUS_NEVER, 5, 4,
				"No such parameter"), 555);
		struct status st = row->fn(s, p->params[i].value, r);
		if (!status_is_fine(st))
			return st;
	}
	return status_fine();
}

#define APPLY(s, p, rows, r) \
	apply((s), (p), (rows), sizeof(rows) / sizeof *(rows), (r))

/* SMTPUTF8 decides how the path before it is read: look ahead for it. */
static bool
says_utf8(struct str args)
{
	struct str word;
	while (str_word(&args, &word))
		if (str_eq_nocase(word, STR("SMTPUTF8")))
			return true;
	return false;
}

static struct status
refuse(struct session *s, const char *event, struct str address,
	struct status st)
{
	log_info(s->id, event, LOG_STR("address", address),
		LOG_STR("from", s->t.sender), LOG_STR("client", s->ip),
		LOG_STR("why", st.text));
	return st;
}

/* Before the client sends for nothing (RFC 1870 6.1).  A small message costs
 * no more than the question. */
static struct status
check_space(struct session *s)
{
	struct message m = MESSAGE(body_open), answer;
	if (s->t.declared <= SMTP_INLINE_MOST)
		return status_fine();
	m.body_open.size = (int64_t)s->t.declared;
	m.body_open.probe = 1;
	struct status st = link_call_again(s->queue, s->transaction_arena, &m,
		MSG_opened, &answer);
	return status_is_fine(st) ? answer.opened.status : st;
}

struct status
smtp_mail(struct session *s, struct str args)
{
	struct smtp_path p;
	session_reset(s);
	if (++s->transactions > SMTP_TRANSACTIONS) {
		session_close(s, status_reply(STATUS(STATUS_LATER, 7, 0,
			"Enough for one session; connect again"), 421));
		return status_fine();
	}
	struct arena *a = s->transaction_arena;
	struct status st = smtp_parse_path(a, args, STR("FROM:"),
		s->esmtp && says_utf8(args), &p);
	if (status_is_fine(st))
		st = APPLY(s, &p, mail_params, NULL);
	if (status_is_fine(st))
		st = policy_sender(s, &p.address);
	if (status_is_fine(st))
		st = check_space(s);
	if (!status_is_fine(st))
		return refuse(s, "mail-refused", args, st);
	s->t.sender = address_text(a, &p.address);
	s->idle_commands = 0;
	return STATUS(STATUS_FINE, 1, 0, "Sender taken");
}

static bool
is_known(const struct session *s, struct str address)
{
	for (const struct recipient *r = s->t.first; r != NULL; r = r->next)
		if (str_eq(r->address, address))
			return true;
	return false;
}

static struct status
fine_rcpt(void)
{
	return STATUS(STATUS_FINE, 1, 5, "Recipient taken");
}

/* Until here everything was the command's: one that is refused leaves nothing
 * behind. */
static void
keep(struct session *s, const struct recipient *r)
{
	struct arena *a = s->transaction_arena;
	struct recipient *kept = arena_one(a, struct recipient);
	*kept = (struct recipient){.address = str_copy(a, r->address),
		.orcpt = str_copy(a, r->orcpt),
		.notify = str_copy(a, r->notify)};
	*s->t.last = kept;
	s->t.last = &kept->next;
	s->t.count++;
}

static struct status
too_many(struct session *s)
{
	struct status st = STATUS(STATUS_LATER, 5, 3,
		"Too many recipients; send to the others separately");
	if (++s->t.refused > SMTP_OVERSHOOT)
		session_close(s, status_reply(st, 421));
	return st;
}

/* The address the client has reached us at is a name of ours (RFC 1123
 * 5.2.17). */
static void
name_literal(const struct session *s, struct address *a)
{
	struct str ip;
	struct net_address named;
	if (address_literal(a->domain, &ip) && net_parse_ip(ip, 0, &named) &&
		str_eq(net_ip(s->command_arena, &named),
			net_ip(s->command_arena, &s->client->local)))
		a->domain = s->program->hostname;
}

struct status
smtp_rcpt(struct session *s, struct str args)
{
	struct recipient r = {.next = NULL};
	struct smtp_path p;
	if (s->t.count >= (size_t)s->conf->smtp.max_recipients)
		return too_many(s);
	struct status st = smtp_parse_path(
		s->command_arena, args, STR("TO:"), s->t.utf8, &p);
	if (status_is_fine(st) && address_is_null(&p.address))
		st = status_reply(STATUS(STATUS_NEVER, 1, 3,
			"Nobody has that address"), 501);
	if (status_is_fine(st))
		st = APPLY(s, &p, rcpt_params, &r);
	if (status_is_fine(st))
		name_literal(s, &p.address);
	r.address = address_text(s->command_arena, &p.address);
	if (status_is_fine(st))
		st = policy_rcpt(s, &r);
	if (!status_is_fine(st))
		return refuse(s, "rcpt-refused", args, st);
	/* Twice the same is once; LMTP owes a reply for each (RFC 2033). */
	if (s->lmtp || s->t.count >= 100 || !is_known(s, r.address))
		keep(s, &r);
	return fine_rcpt();
}
