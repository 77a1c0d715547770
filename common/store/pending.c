/* SPDX-License-Identifier: ISC */
/*
 * Several messages into a folder at once, all or none: what they will be
 * called is noted before there is any of them.
 */
#include "store/index.h"

/* UIDs that others may take meanwhile. */
enum { SLACK = 4096 };

struct pending
pending_note(struct store *s, const struct folder_row *f, uint64_t n,
	struct str prefix)
{
	struct pending p = {f->uidnext, UINT32_MAX, prefix};
	if (n + SLACK < UINT32_MAX - f->uidnext)
		p.last = f->uidnext + (uint32_t)n + SLACK;
	index_run(s, Q_PENDING_ADD, "iiit", f->id, I(p.first), I(p.last),
		prefix);
	return p;
}

bool
pending_take(struct store *s, const struct folder_row *f, struct pending p,
	uint64_t n)
{
	/* a look at the folder may have taken the note for an old one */
	sqlite3_stmt *st = index_query(s, Q_PENDING_IS, "iit", f->id,
		I(p.first), p.prefix);
	bool there = index_row(s, st);
	if (there)
		index_end(st);
	if (!there || f->uidnext + n - 1 > p.last)
		return false;
	index_run(s, Q_PENDING_DROP, "iit", f->id, I(p.first), p.prefix);
	return true;
}
