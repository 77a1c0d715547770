/* SPDX-License-Identifier: ISC */
/*
 * What the server offers, by state: CAPABILITY (RFC 3501 6.1.1), ENABLE (RFC
 * 5161), ID (RFC 2971).  Only what works stands in the table.
 */
#include "commands.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/log.h"
#include "sys/net.h"

static bool
offers_tls(const struct imap_session *s)
{
	return guest_may_start_tls(&s->guest);
}

static bool
refuses_passwords(const struct imap_session *s)
{
	return !login_is_allowed(s);
}

/* The lesser one for who cannot have LITERAL+; nobody needs both. */
static bool
takes_small_literals(const struct imap_session *s)
{
	return capability_is_hidden(s, STR("LITERAL+"));
}

static bool
is_not_compressed(const struct imap_session *s)
{
	return !s->compressed;
}

static bool
may_come_back(const struct imap_session *s)
{
	return s->guest.back;
}

static struct str_list
append_limit(struct imap_session *s)
{
	struct str *number = arena_one(s->transaction, struct str);
	*number = str_printf(s->transaction, "%lld",
		(long long)s->conf->imap.max_message);
	return (struct str_list){number, 1};
}

static struct str_list
mechanisms(struct imap_session *s)
{
	return guest_mechanisms(&s->guest);
}

/* A capability is offered in these states when its condition, if it has one,
 * holds.  enables: what ENABLE switches on.  values: the name comes once with
 * each of them. */
static const struct capability {
	const char *name;
	unsigned states;
	bool (*condition)(const struct imap_session *s);
	unsigned enables;
	struct str_list (*values)(struct imap_session *s);
} capabilities[] = {
	{"IMAP4rev1", IMAP_ANY},
	{"IMAP4rev2", IMAP_ANY, NULL, IMAP_REV2},
	{"LITERAL+", IMAP_ANY},
	{"LITERAL-", IMAP_ANY, takes_small_literals},
	{"ID", IMAP_ANY},
	{"ENABLE", IMAP_ANY},
	{"IDLE", IMAP_ANY},
	{"INPROGRESS", IMAP_USER},
	{"NAMESPACE", IMAP_ANY},
	{"CHILDREN", IMAP_USER},
	{"UNSELECT", IMAP_USER},
	{"UIDPLUS", IMAP_USER},
	{"MOVE", IMAP_USER},
	{"MULTIAPPEND", IMAP_USER},
	{"BINARY", IMAP_USER},
	{"CATENATE", IMAP_USER},
	{"COMPRESS=DEFLATE", IMAP_USER, is_not_compressed},
	{"OBJECTID", IMAP_USER},
	{"PREVIEW", IMAP_USER},
	{"QUOTA", IMAP_USER},
	{"QUOTA=RES-STORAGE", IMAP_USER},
	{"QUOTA=RES-MESSAGE", IMAP_USER},
	{"SAVEDATE", IMAP_USER},
	{"REPLACE", IMAP_USER},
	{"UTF8=ACCEPT", IMAP_USER, NULL, IMAP_UTF8},
	{"APPENDLIMIT=", IMAP_ANY, .values = append_limit},
	{"CONDSTORE", IMAP_USER, NULL, IMAP_CONDSTORE},
	{"UIDONLY", IMAP_USER, NULL, IMAP_UIDONLY},
	{"QRESYNC", IMAP_USER, NULL, IMAP_QRESYNC | IMAP_CONDSTORE},
	{"ESEARCH", IMAP_USER},
	{"SEARCHRES", IMAP_USER},
	{"PARTIAL", IMAP_USER},
	{"SORT", IMAP_USER},
	{"SORT=DISPLAY", IMAP_USER},
	{"ESORT", IMAP_USER},
	{"THREAD=ORDEREDSUBJECT", IMAP_USER},
	{"THREAD=REFERENCES", IMAP_USER},
	{"THREAD=REFS", IMAP_USER},
	{"I18NLEVEL=1", IMAP_USER},
	{"WITHIN", IMAP_USER},
	{"LIST-EXTENDED", IMAP_USER},
	{"LIST-STATUS", IMAP_USER},
	{"SPECIAL-USE", IMAP_USER},
	{"CREATE-SPECIAL-USE", IMAP_USER},
	{"STATUS=SIZE", IMAP_USER},
	{"UNAUTHENTICATE", IMAP_USER, may_come_back},
	{"SASL-IR", IMAP_GREETED},
	{"STARTTLS", IMAP_GREETED, offers_tls},
	{"LOGINDISABLED", IMAP_GREETED, refuses_passwords},
	{"AUTH=", IMAP_GREETED, login_is_allowed, .values = mechanisms},
};

enum { CAPABILITIES = sizeof capabilities / sizeof *capabilities };

static bool
is_for(struct str network, struct str client)
{
	struct net_address address;
	return str_eq(network, STR("*")) ||
	       (net_parse_ip(client, 0, &address) &&
		       net_within(&address, network));
}

bool
capability_is_hidden(const struct imap_session *s, struct str name)
{
	const struct str_list *hide = &s->conf->imap.hide;
	for (size_t i = 0; i < hide->n; i++) {
		struct str names = hide->v[i], word;
		str_word(&names, &word);
		if (!is_for(word, s->guest.client))
			continue;
		while (str_word(&names, &word))
			if (str_eq_nocase(word, name))
				return true;
	}
	return false;
}

static void
put_name(struct imap_session *s, struct str name, struct buf *out)
{
	if (capability_is_hidden(s, name))
		return;
	if (out->n > 0)
		buf_addc(out, ' ');
	buf_add(out, name);
}

static void
put_capability(
	struct imap_session *s, const struct capability *c, struct buf *out)
{
	struct str_list values = {0};
	if (c->values == NULL)
		put_name(s, str_from(c->name), out);
	else
		values = c->values(s);
	for (size_t i = 0; i < values.n; i++)
		put_name(s, str_printf(s->transaction, "%s%.*s", c->name,
			STR_ARG(values.v[i])), out);
}

struct str
capability_text(struct imap_session *s)
{
	struct buf *out = buf_new(s->transaction);
	for (size_t i = 0; i < CAPABILITIES; i++) {
		const struct capability *c = &capabilities[i];
		if (!(c->states & s->state) ||
			(c->condition != NULL && !c->condition(s)))
			continue;
		put_capability(s, c, out);
	}
	return buf_str(out);
}

struct imap_reply
imap_capability(struct imap_session *s, const struct arg *args)
{
	(void)args;
	struct str text = capability_text(s);
	reply_untagged(s->conn, "CAPABILITY %.*s", STR_ARG(text));
	return REPLY_OK("That is all");
}

static const struct capability *
find_enableable(const struct imap_session *s, const struct arg *arg)
{
	for (size_t i = 0; i < CAPABILITIES; i++)
		if (capabilities[i].enables != 0 &&
			arg_is(arg, capabilities[i].name) &&
			!capability_is_hidden(s, arg->text))
			return &capabilities[i];
	return NULL;
}

/* Unknown names are no error (RFC 5161 3.1). */
struct imap_reply
imap_enable(struct imap_session *s, const struct arg *args)
{
	struct buf *out = buf_new(s->transaction);
	unsigned before = s->enabled;
	if (args == NULL)
		return REPLY_BAD("ENABLE capability ...");
	for (; args != NULL; args = args->next) {
		const struct capability *c = find_enableable(s, args);
		if (c == NULL || (before & c->enables) == c->enables)
			continue;
		s->enabled |= c->enables;
		buf_printf(out, " %s", c->name);
	}
	reply_untagged(s->conn, "ENABLED%.*s", STR_ARG(buf_str(out)));
	return REPLY_OK("Enabled");
}

/* The pairs a client tells of itself, for the log; false when they are not
 * pairs of strings. */
static bool
describe_client(const struct arg *pairs, struct buf *out)
{
	struct str field, value;
	for (; pairs != NULL; pairs = pairs->next->next) {
		if (pairs->next == NULL || !arg_astring(pairs, &field) ||
			!arg_nstring(pairs->next, &value))
			return false;
		buf_printf(out, "%s%.*s=%.*s", out->n > 0 ? " " : "",
			STR_ARG(field), STR_ARG(value));
	}
	return true;
}

struct imap_reply
imap_id(struct imap_session *s, const struct arg *args)
{
	struct buf *out = buf_new(s->transaction);
	const struct arg *pairs = NULL;
	if (args == NULL || args->next != NULL ||
		!(arg_is(args, "NIL") || arg_list(args, &pairs)) ||
		!describe_client(pairs, out))
		return REPLY_BAD("ID NIL or (field value ...)");
	log_info(s->id, "client", LOG_STR("is", buf_str(out)));
	reply_untagged(s->conn, "ID (\"name\" \"surat\")");
	return REPLY_OK("Pleased to meet you");
}
