/* SPDX-License-Identifier: ISC */
/* Limits against sums of folder rows. */
#include "store/quota.h"
#include "store/index.h"
#include "sys/conf.h"

void
quota_set(struct store *s, const struct quota *q)
{
	s->quota = *q;
	if (s->quota.warn == 0)
		s->quota.warn = QUOTA_WARN_PERCENT;
}

void
quota_configure(struct store *s, const struct conf *c)
{
	quota_set(s, &(struct quota){.octets = (uint64_t)c->general.quota,
		.messages = (uint64_t)c->general.quota_messages});
}

static bool
has_limits(const struct store *s)
{
	return s->quota.octets != 0 || s->quota.messages != 0;
}

static struct status
refusal(const struct store *s)
{
	static const struct str text = STR_INIT("the mailbox is full");
	return s->quota.later ? status_later(2, 2, text)
		: status_never(2, 2, text);
}

static bool
fits(uint64_t used, uint64_t more, uint64_t limit)
{
	return limit == 0 || (more <= limit && used <= limit - more);
}

/* Within a transaction. */
static void
sum(struct store *s, uint64_t *messages, uint64_t *octets)
{
	sqlite3_stmt *st = index_query(s, Q_USAGE, "");
	*messages = *octets = 0;
	if (!index_row(s, st))
		return;
	*messages = (uint64_t)index_int(st, 0);
	*octets = (uint64_t)index_int(st, 1);
	index_end(st);
}

static struct status
look(struct store *s, struct arena *a, uint64_t *messages, uint64_t *octets)
{
	struct status st = index_begin_read(s, a);
	if (!status_is_fine(st))
		return st;
	sum(s, messages, octets);
	return index_commit(s, a);
}

/* What others did to any folder.  One that cannot be read counts as before. */
static struct status
refresh(struct store *s, struct arena *a)
{
	struct folder_row *v, f;
	size_t n;
	struct status st = sync_folders(s, a);
	if (status_is_fine(st))
		st = index_begin_read(s, a);
	if (!status_is_fine(st))
		return st;
	v = folder_rows(s, a, &n);
	st = index_commit(s, a);
	for (size_t i = 0; i < n && status_is_fine(st); i++)
		sync_folder(s, a, v[i].id, &f);
	return st;
}

static bool
is_reached(uint64_t used, uint64_t limit, unsigned percent)
{
	return limit != 0 && used >= limit / 100 * percent +
			(limit % 100 * percent + 99) / 100;
}

static enum quota_level
level_of(const struct quota_usage *u)
{
	const struct quota *q = &u->limits;
	if (is_reached(u->octets, q->octets, 100) ||
		is_reached(u->messages, q->messages, 100))
		return QUOTA_FULL;
	if (is_reached(u->octets, q->octets, q->warn) ||
		is_reached(u->messages, q->messages, q->warn))
		return QUOTA_WARN;
	return QUOTA_FINE;
}

struct status
quota_usage(struct store *s, struct arena *a, struct quota_usage *out)
{
	*out = (struct quota_usage){.limits = s->quota};
	struct status st = refresh(s, a);
	if (status_is_fine(st))
		st = look(s, a, &out->messages, &out->octets);
	out->level = level_of(out);
	return st;
}

/* What was freed by others is looked for before it is refused. */
struct status
quota_room(struct store *s, struct arena *a, uint64_t messages, uint64_t octets)
{
	uint64_t have_messages, have_octets;
	struct status st = status_fine();
	for (int turn = 0; turn < 2 && has_limits(s); turn++) {
		if (turn > 0)
			st = refresh(s, a);
		if (status_is_fine(st))
			st = look(s, a, &have_messages, &have_octets);
		if (!status_is_fine(st))
			return st;
		if (fits(have_messages, messages, s->quota.messages) &&
			fits(have_octets, octets, s->quota.octets))
			return st;
		st = refusal(s);
	}
	return st;
}

void
quota_begin(struct store *s)
{
	if (has_limits(s))
		sum(s, &s->used.messages, &s->used.octets);
}

struct status
quota_take(struct store *s, uint64_t octets)
{
	if (!has_limits(s))
		return status_fine();
	if (!fits(s->used.messages, 1, s->quota.messages) ||
		!fits(s->used.octets, octets, s->quota.octets))
		return refusal(s);
	s->used.messages++;
	s->used.octets += octets;
	return status_fine();
}
