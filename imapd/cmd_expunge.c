/* SPDX-License-Identifier: ISC */
/*
 * EXPUNGE, RFC 3501 6.4.3, and UID EXPUNGE, RFC 4315 2.1.  The EXPUNGE lines
 * are news; they are sent before the reply is made, which says how far they
 * went (RFC 7162 3.2.7).
 */
#include "commands.h"
#include "view.h"

struct imap_reply
imap_expunge(struct imap_session *s, const struct arg *args)
{
	struct uid_range all = {1, UINT32_MAX};
	struct uid_set uids = {&all, 1};
	struct imap_reply why;
	if (arg_count(args) != s->uid)
		return s->uid ? REPLY_BAD("Set of UIDs expected")
			      : REPLY_BAD("No arguments expected");
	if (s->uid && !view_take_set(s, args, &uids, &why))
		return why;
	struct status st =
		mailbox_expunge(s->mailbox, s->transaction, &uids, false);
	s->unsettled = true;
	if (!status_is_fine(st))
		return reply_status(st);
	view_news(s, true);
	return (struct imap_reply){
		IMAP_OK, view_modseq_code(s), STR("Expunged")};
}
