/* SPDX-License-Identifier: ISC */
/*
 * The parameter QRESYNC of SELECT, RFC 7162 3.2.5 and 7 (select-param).  What
 * is matched is ranges, not numbers: a client may name four billion of them.
 */
#include "resync.h"

static bool
parse_match(struct arena *a, const struct arg *list, struct resync *r)
{
	struct str seqs, uids;
	const struct arg *first;
	return arg_list(list, &first) && arg_count(first) == 2 &&
	       arg_atom(first, &seqs) && arg_atom(first->next, &uids) &&
	       seqset_parse_known(a, seqs, &r->match_seqs) &&
	       seqset_parse_known(a, uids, &r->match_uids) &&
	       uid_set_count(&r->match_seqs) == uid_set_count(&r->match_uids);
}

bool
resync_parse(struct arena *a, const struct arg *list, struct resync *r)
{
	const struct arg *at;
	struct str text;
	*r = (struct resync){.wanted = true, .all = true};
	if (!arg_list(list, &at) || arg_count(at) < 2 ||
		!arg_number(at, &r->uidvalidity) || r->uidvalidity == 0 ||
		!arg_atom(at->next, &text) ||
		!str_number(text, INT64_MAX, &r->modseq) || r->modseq == 0)
		return false;
	at = at->next->next;
	if (arg_atom(at, &text)) {
		r->all = false;
		if (!seqset_parse_known(a, text, &r->known))
			return false;
		at = at->next;
	}
	if (at != NULL && !parse_match(a, at, r))
		return false;
	return at == NULL || at->next == NULL;
}

/* Both ascend by one or more a step, so the difference never shrinks: the
 * highest pair at which the mailbox is not ahead is the one to look at. */
static uint32_t
match_stretch(uint32_t seq, struct uid_range uids,
	uint32_t (*uid_of)(const void *ctx, uint32_t seq), const void *ctx)
{
	uint32_t low = 0, high = uids.last - uids.first;
	while (low < high) {
		uint32_t middle = high - (high - low) / 2;
		if (uid_of(ctx, seq + middle) > uids.first + middle)
			high = middle - 1;
		else
			low = middle;
	}
	return uid_of(ctx, seq + low) == uids.first + low ? uids.first + low
							  : 0;
}

uint32_t
resync_match(const struct resync *r, uint32_t count,
	uint32_t (*uid_of)(const void *ctx, uint32_t seq), const void *ctx)
{
	size_t i = 0, k = 0;
	uint32_t best = 0, seq = 0, uid = 0;
	while (i < r->match_seqs.n && k < r->match_uids.n) {
		struct uid_range s = r->match_seqs.v[i], u = r->match_uids.v[k];
		if (seq < s.first)
			seq = s.first;
		if (uid < u.first)
			uid = u.first;
		if (seq > count)
			break;
		uint32_t more = s.last - seq < u.last - uid ? s.last - seq
							    : u.last - uid;
		uint32_t upto = more < count - seq ? more : count - seq;
		uint32_t found = match_stretch(seq,
			(struct uid_range){uid, uid + upto}, uid_of, ctx);
		best = found > best ? found : best;
		seq += more;
		uid += more;
		i += seq++ == s.last;
		k += uid++ == u.last;
	}
	return best;
}
