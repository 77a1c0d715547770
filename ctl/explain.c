/* SPDX-License-Identifier: ISC */
/*
 * `surat explain`: what would happen to mail for an address, or to a recipient
 * that a client names, and which line of which table or which rule decides it.
 * auth answers as it answers queue and smtpd, and says why besides.
 */
#include "ctl.h"
#include "base/arena.h"
#include "base/buf.h"
#include "sys/net.h"

#include <stdio.h>
#include <unistd.h>

struct explain {
	const char *client, *helo, *reverse, *from, *to, *login;
	int64_t listed;
	bool tls, unknown;
};

static struct str
text_of(const char *s)
{
	return s == NULL ? STR("") : str_from(s);
}

static void
show_reasons(struct ctl *c, const struct str_list *why)
{
	for (size_t i = 0; i < why->n; i++) {
		if (!c->json) {
			printf("%.*s\n", STR_ARG(text_safe(
				c->arena, why->v[i])));
			continue;
		}
		struct json_row *j = json_begin();
		json_text(j, "why", why->v[i]);
		json_end(j);
	}
}

static int
show_status(struct ctl *c, struct status s, const char *fine)
{
	struct str code = status_enhanced(c->arena, s);
	bool taken = status_is_fine(s);
	struct str text = taken ? str_from(fine) : s.text;
	if (c->json) {
		struct json_row *j = json_begin();
		json_number(j, "reply", status_reply_code(s));
		json_text(j, "status", code);
		json_text(j, "text", text);
		json_end(j);
	} else {
		printf("=> %d %.*s %.*s\n", status_reply_code(s),
			STR_ARG(code), STR_ARG(text));
	}
	return taken ? EX_OK : EX_NOTHING;
}

static void
show_final(struct ctl *c, const struct msg_route_result *r, size_t i)
{
	bool local = str_eq(r->agent.v[i], STR("local"));
	if (c->json) {
		struct json_row *j = json_begin();
		json_text(j, "agent", r->agent.v[i]);
		json_text(j, "address", r->address.v[i]);
		json_text(j, "user", r->user.v[i]);
		json_text(j, "home", r->home.v[i]);
		json_end(j);
	} else if (local) {
		printf("=> local: %.*s, user %.*s, in %.*s\n",
			STR_ARG(r->address.v[i]), STR_ARG(r->user.v[i]),
			STR_ARG(r->home.v[i]));
	} else {
		printf("=> %.*s: %.*s\n", STR_ARG(r->agent.v[i]),
			STR_ARG(r->address.v[i]));
	}
}

/* Where does mail for this address go? */
static int
explain_address(struct ctl *c, struct str address)
{
	struct message ask = MESSAGE(route), m;
	ask.route.address = address;
	ask.route.explain = 1;
	ctl_answer(c->arena, ctl_ask(c, "surat", "auth", &ask), &m);
	if (m.kind != MSG_route_result)
		return EX_PROTOCOL;
	const struct msg_route_result *r = &m.route_result;
	show_reasons(c, &r->why);
	for (size_t i = 0; i < r->agent.n && r->address.n == r->agent.n &&
		r->user.n == r->agent.n && r->home.n == r->agent.n; i++)
		show_final(c, r, i);
	return status_is_fine(r->status) ? EX_OK
					 : show_status(c, r->status, "");
}

/* May mail be taken for it from this client? */
static int
explain_client(struct ctl *c, const struct explain *x)
{
	struct message ask = MESSAGE(rcpt_lookup), m;
	struct net_address at;
	if (!net_parse_ip(str_from(x->client), 0, &at))
		ctl_fail(EX_USAGE, "--client needs an IP address, not \"%s\"",
			x->client);
	ask.rcpt_lookup.address = str_from(x->to);
	ask.rcpt_lookup.sender = text_of(x->from);
	if (str_eq(ask.rcpt_lookup.sender, STR("<>")))
		ask.rcpt_lookup.sender = STR("");
	ask.rcpt_lookup.user = text_of(x->login);
	ask.rcpt_lookup.client = str_from(x->client);
	ask.rcpt_lookup.helo = text_of(x->helo);
	ask.rcpt_lookup.reverse = text_of(x->reverse);
	ask.rcpt_lookup.tls = x->tls;
	ask.rcpt_lookup.listed = x->listed;
	ask.rcpt_lookup.listed_by = STR("a DNS list");
	if (x->unknown)
		ask.rcpt_lookup.sender_domain = STR("unknown");
	ask.rcpt_lookup.explain = 1;
	ctl_answer(c->arena, ctl_ask(c, "surat", "auth", &ask), &m);
	if (m.kind != MSG_rcpt_result)
		return EX_PROTOCOL;
	const struct msg_rcpt_result *r = &m.rcpt_result;
	show_reasons(c, &r->why);
	int status = show_status(c, r->status, "Recipient taken");
	if (status != EX_OK || c->json)
		return status;
	if (r->hold.n > 0)
		printf("   held: %.*s\n", STR_ARG(r->hold));
	if (r->address.n > 0)
		printf("   goes to %.*s instead\n", STR_ARG(r->address));
	return status;
}

int
ctl_explain(struct ctl *c)
{
	struct explain x = {.client = NULL};
	const struct option_row rows[] = {
		{"--client", OPTION_TEXT, &x.client, "IP",
			"the client that connects"},
		{"--helo", OPTION_TEXT, &x.helo, "NAME",
			"what it calls itself"},
		{"--reverse", OPTION_TEXT, &x.reverse, "NAME",
			"its name in the DNS"},
		{"--from", OPTION_TEXT, &x.from, "ADDRESS",
			"the sender"},
		{"--to", OPTION_TEXT, &x.to, "ADDRESS",
			"the recipient"},
		{"--login", OPTION_TEXT, &x.login, "USER",
			"who logged in"},
		{"--listed", OPTION_SIGNED, &x.listed, "N",
			"its score in DNS lists"},
		{"--tls", OPTION_FLAG, &x.tls, NULL,
			"it uses TLS"},
		{"--unknown-sender", OPTION_FLAG, &x.unknown, NULL,
			"the sender's domain does not exist"},
	};
	ctl_options(c, rows, sizeof rows / sizeof *rows);
	if (c->argc == 1 && x.client == NULL && x.to == NULL)
		return explain_address(c, str_from(c->argv[0]));
	if (c->argc > 0 || x.client == NULL || x.to == NULL)
		ctl_fail(EX_USAGE, "explain ADDRESS, or explain --client IP "
			"--to ADDRESS; see surat(8)");
	return explain_client(c, &x);
}
