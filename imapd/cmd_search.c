/* SPDX-License-Identifier: ISC */
/*
 * SEARCH, RFC 3501 6.4.4, with RETURN (RFC 4731, 5182, 9394) and MODSEQ (RFC
 * 7162 3.1.5).
 */
#include "commands.h"
#include "find.h"
#include "result.h"

struct searching {
	struct imap_session *s;
	struct result result;
};

static void
take(void *ctx, const struct message_row *row)
{
	struct searching *q = ctx;
	result_add(q->s->transaction, &q->result, row->uid, row->modseq);
}

struct imap_reply
imap_search(struct imap_session *s, const struct arg *args)
{
	struct searching q = {.s = s};
	struct search_key *key;
	struct imap_reply why;
	if (!result_parse(&args, &q.result.options))
		return REPLY_BAD("Unknown RETURN option");
	/* RFC 9051 6.4.4: there is no SEARCH response any more */
	if ((s->enabled & IMAP_REV2) && !q.result.options.extended)
		q.result.options = (struct result_options){
			.extended = true, .items = RESULT_ALL};
	if (!find_compile(s, STR(""), args, &key, &why))
		return result_refuse(s, &q.result, why);
	q.result.tells_modseq = search_has(key, SEARCH_MODSEQ);
	struct status st = find_messages(s, key,
		q.result.tells_modseq ? 0 : WANT_UID, take, &q);
	if (!status_is_fine(st))
		return result_refuse(s, &q.result, reply_status(st));
	result_put(s, "SEARCH", &q.result);
	return REPLY_OK("Searched");
}
