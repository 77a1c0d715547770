/* SPDX-License-Identifier: ISC */
/*
 * GETQUOTA, GETQUOTAROOT, SETQUOTA; RFC 9208.  All mailboxes of an account
 * have one root, which has a quota when there are limits; the administrator
 * sets them, no client.
 */
#include "commands.h"
#include "view.h"
#include "base/buf.h"
#include "store/quota.h"

static const struct str root = STR_INIT("account");

/* Rounded up: who has a little has not nothing. */
static uint64_t
storage(uint64_t octets)
{
	return octets / 1024 + (octets % 1024 != 0);
}

static void
put_resource(struct buf *out, const char *name, uint64_t used, uint64_t limit)
{
	if (limit > 0)
		buf_printf(out, "%s%s %llu %llu",
			out->p[out->n - 1] == '(' ? "" : " ", name,
			(unsigned long long)used, (unsigned long long)limit);
}

static void
put_quota(struct imap_session *s, const struct quota_usage *u)
{
	struct buf *out = conn_out(s->conn);
	buf_adds(out, "* QUOTA ");
	reply_astring(out, root);
	buf_adds(out, " (");
	put_resource(out, "STORAGE", storage(u->octets),
		u->limits.octets / 1024);
	put_resource(out, "MESSAGE", u->messages, u->limits.messages);
	buf_adds(out, ")\r\n");
}

static bool
has_limits(const struct quota_usage *u)
{
	return u->limits.octets > 0 || u->limits.messages > 0;
}

struct imap_reply
imap_getquota(struct imap_session *s, const struct arg *args)
{
	struct str name;
	struct quota_usage u;
	if (arg_count(args) != 1 || !arg_astring(args, &name))
		return REPLY_BAD("GETQUOTA root");
	struct status st = quota_usage(s->store, s->transaction, &u);
	if (!status_is_fine(st))
		return reply_status(st);
	if (!has_limits(&u) || !str_eq(name, root))
		return REPLY_NO("NONEXISTENT", "No such quota root");
	put_quota(s, &u);
	return REPLY_OK("That is all");
}

struct imap_reply
imap_getquotaroot(struct imap_session *s, const struct arg *args)
{
	struct buf *out = conn_out(s->conn);
	struct str name;
	struct folder f;
	struct quota_usage u;
	if (arg_count(args) != 1 || args->kind == ARG_LIST)
		return REPLY_BAD("GETQUOTAROOT mailbox");
	if (!view_take_name(s, args, &name))
		return REPLY_NO("CANNOT", "No such mailbox name");
	struct status st =
		folders_status(s->store, s->transaction, name, &f);
	if (status_is_fine(st))
		st = quota_usage(s->store, s->transaction, &u);
	if (!status_is_fine(st))
		return reply_status(st);
	buf_adds(out, "* QUOTAROOT ");
	view_put_name(s, out, name);
	if (has_limits(&u)) {
		buf_addc(out, ' ');
		reply_astring(out, root);
	}
	buf_adds(out, "\r\n");
	if (has_limits(&u))
		put_quota(s, &u);
	return REPLY_OK("That is all");
}

void
quota_warn(struct imap_session *s)
{
	if (quota_level(s->store, s->transaction) != QUOTA_FINE)
		reply_untagged(s->conn,
			"NO [OVERQUOTA] The account is nearly full");
}

struct imap_reply
imap_setquota(struct imap_session *s, const struct arg *args)
{
	const struct arg *list;
	struct str name;
	(void)s;
	if (arg_count(args) != 2 || !arg_astring(args, &name) ||
		!arg_list(args->next, &list))
		return REPLY_BAD("SETQUOTA root (resource limit ...)");
	return REPLY_NO("NOPERM", "The administrator sets them");
}
