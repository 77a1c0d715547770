/* SPDX-License-Identifier: ISC */
/*
 * APPEND, RFC 3501 6.3.11, of several messages at once (RFC 3502), and REPLACE
 * (RFC 8508), with APPENDUID (RFC 4315).  How a message comes in is
 * appending.c's.
 */
#include "appending.h"
#include "commands.h"
#include "view.h"
#include "base/arena.h"

static bool
append_all(struct appending *p, struct imap_session *s)
{
	if (!appending_begin(p, s))
		return false;
	do {
		if (!appending_message(p))
			return false;
	} while (!parse_is_end(&s->parse));
	return appending_commit(p);
}

static struct imap_reply
outcome(struct appending *p, bool done)
{
	catenate_close(p);
	if (!done && p->append != NULL)
		append_abort(p->append);
	if (!done)
		return p->why;
	return (struct imap_reply){
		IMAP_OK, appending_code(p), STR("Appended")};
}

struct imap_reply
imap_append(struct imap_session *s, const struct arg *args)
{
	struct appending p;
	(void)args;
	return outcome(&p, append_all(&p, s));
}

/* -------------------------------------------------------------- replace */

/* One message, by number or UID, that is there. */
static bool
take_victim(struct appending *p, struct imap_session *s, uint32_t *uid)
{
	struct uid_set uids;
	struct arg *arg;
	uint32_t number;
	*p = (struct appending){.s = s};
	if (!parse_arg(&s->parse, &arg))
		return appending_refuse_words(p, s->parse.error);
	if (!(arg_number(arg, &number) || arg_is(arg, "*")))
		return appending_refuse_words(p, "Message number expected");
	if (!view_take_set(s, arg, &uids, &p->why))
		return false;
	uids = mailbox_known(s->mailbox, s->transaction, &uids);
	if (uids.n == 0)
		return appending_refuse(
			p, REPLY_NO("NONEXISTENT", "No such message"));
	*uid = uids.v[0].first;
	return true;
}

/* Where an account is full, drafts can still be saved. */
static void
make_room(struct appending *p, uint32_t uid)
{
	struct message_row row;
	if (!mailbox_row(p->s->mailbox, p->s->transaction, uid, WANT_SIZES,
		    &row))
		return;
	p->leaving = 1;
	p->freed = row.size;
}

static bool
replace(struct appending *p, struct imap_session *s)
{
	uint32_t uid = 0;
	if (!take_victim(p, s, &uid) || !appending_begin(p, s))
		return false;
	make_room(p, uid);
	if (!appending_message(p))
		return false;
	if (!parse_is_end(&s->parse))
		return appending_refuse_words(p, "One message expected");
	append_replaces(p->append, s->mailbox, uid);
	return appending_commit(p);
}

/* APPENDUID comes before the EXPUNGE, which is news (RFC 8508 3.3). */
struct imap_reply
imap_replace(struct imap_session *s, const struct arg *args)
{
	struct appending p;
	(void)args;
	struct imap_reply r = outcome(&p, replace(&p, s));
	if (r.result != IMAP_OK)
		return r;
	reply_line(s->conn, STR(""), r);
	s->unsettled = true;
	return REPLY_OK("Replaced");
}
