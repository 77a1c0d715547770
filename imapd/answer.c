/* SPDX-License-Identifier: ISC */
/* The responses SEARCH, SORT and ESEARCH; RFC 3501 7.2.5, RFC 4731, RFC 5256 4.
 */
#include "result.h"
#include "seqset.h"
#include "view.h"
#include "base/buf.h"

static void
put_modseq(struct imap_session *s, const struct result *r)
{
	struct buf *out = conn_out(s->conn);
	if (!r->tells_modseq || r->order.n == 0)
		return;
	buf_adds(out, r->options.extended ? " MODSEQ " : " (MODSEQ ");
	buf_addn(out, result_modseq(r));
	buf_adds(out, r->options.extended ? "" : ")");
}

static void
put_number(struct imap_session *s, const char *name, uint64_t n)
{
	buf_printf(conn_out(s->conn), " %s %llu", name, (unsigned long long)n);
}

static void
put_numbers(struct imap_session *s, const char *name, const struct uid_set *set)
{
	struct buf *out = conn_out(s->conn);
	struct seqset_cursor at = {0};
	uint32_t n;
	buf_adds(out, "* ");
	buf_adds(out, name);
	while (seqset_next(set, &at, &n)) {
		buf_addc(out, ' ');
		buf_addn(out, n);
		conn_pace(s->conn);
	}
}

static struct uid_set
in_clients_numbers(struct imap_session *s, const struct uid_set *uids)
{
	return s->uid ? *uids : view_seqs(s, uids);
}

static void
put_partial(struct imap_session *s, const struct result *r)
{
	struct buf *out = conn_out(s->conn);
	struct uid_set part = partial_pick(
		s->transaction, &r->order, &r->options.partial);
	part = in_clients_numbers(s, &part);
	buf_printf(out, " PARTIAL (%.*s ", STR_ARG(r->options.partial.text));
	if (part.n == 0)
		buf_adds(out, "NIL");
	view_put_set(s, &part);
	buf_addc(out, ')');
}

/* RFC 4731 3.1: of nothing only the count is told. */
static void
put_items(struct imap_session *s, const struct result *r,
	const struct uid_set *set)
{
	unsigned items = r->options.items;
	struct buf *out = conn_out(s->conn);
	buf_adds(out, "* ESEARCH (TAG ");
	reply_string(out, s->tag);
	buf_adds(out, s->uid ? ") UID" : ")");
	if (set->n > 0 && (items & RESULT_MIN))
		put_number(s, "MIN", set->v[0].first);
	if (set->n > 0 && (items & RESULT_MAX))
		put_number(s, "MAX", set->v[set->n - 1].last);
	if (items & RESULT_COUNT)
		put_number(s, "COUNT", uid_set_count(set));
	if (set->n > 0 && (items & RESULT_ALL)) {
		buf_adds(out, " ALL ");
		view_put_set(s, set);
	}
	if (items & RESULT_PARTIAL)
		put_partial(s, r);
}

void
result_put(struct imap_session *s, const char *name, const struct result *r)
{
	struct uid_set saved, set = in_clients_numbers(s, &r->order);
	if (r->options.items & RESULT_SAVE) {
		saved = result_saved(s->transaction, r);
		view_save(s, &saved);
	}
	/* asking for modseqs switches them on (RFC 7162 3.1) */
	if (r->tells_modseq)
		s->enabled |= IMAP_CONDSTORE;
	if (r->options.items == RESULT_SAVE)
		return;
	if (r->options.extended)
		put_items(s, r, &set);
	else
		put_numbers(s, name, &set);
	put_modseq(s, r);
	buf_adds(conn_out(s->conn), "\r\n");
	conn_pace(s->conn);
}

struct imap_reply
result_refuse(struct imap_session *s, const struct result *r,
	struct imap_reply why)
{
	if (why.result == IMAP_NO && (r->options.items & RESULT_SAVE))
		view_save(s, &(struct uid_set){0});
	return why;
}
