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
		.messages = (uint64_t)c->general.quota_messages,
		.warn = (unsigned)c->general.quota_warn,
		.later = c->general.quota_defer});
}

/* ----------------------------------------------------------------- noted */

/* Rows of the index's table meta; the first is there when any is. */
static const char *const names[] = {"quota_octets", "quota_messages",
	"quota_warn", "quota_later"};
enum { NAMES = sizeof names / sizeof *names };

/* Within a transaction. */
static void
load_noted(struct store *s)
{
	int64_t v[NAMES] = {0};
	s->noted.any = false;
	sqlite3_stmt *st = index_query(s, Q_META_QUOTA, "");
	while (index_row(s, st))
		for (size_t i = 0; i < NAMES; i++)
			if (str_eq(index_text(st, 0), str_from(names[i]))) {
				v[i] = index_int(st, 1);
				s->noted.any = true;
			}
	s->noted.quota = (struct quota){(uint64_t)v[0], (uint64_t)v[1],
		(unsigned)v[2], v[3] != 0};
	s->noted.known = s->ix.fault == SQLITE_OK;
}

static struct status
look_noted(struct store *s, struct arena *a)
{
	struct status st = index_begin_read(s, a);
	if (!status_is_fine(st))
		return st;
	load_noted(s);
	return index_commit(s, a);
}

static const struct quota *
limits(const struct store *s)
{
	return s->noted.any ? &s->noted.quota : &s->quota;
}

static bool
has_limits(const struct store *s)
{
	return limits(s)->octets != 0 || limits(s)->messages != 0;
}

bool
quota_parse(struct str text, struct quota *out)
{
	static const uint64_t most[NAMES] = {INT64_MAX, INT64_MAX, 100, 1};
	uint64_t v[NAMES];
	struct str word;
	size_t n = 0;
	while (str_word(&text, &word))
		if (n == NAMES || !str_number(word, most[n], &v[n]))
			return false;
		else
			n++;
	if (n != NAMES)
		return false;
	*out = (struct quota){v[0], v[1], (unsigned)v[2], v[3] != 0};
	if (out->warn == 0)
		out->warn = QUOTA_WARN_PERCENT;
	return true;
}

static bool
is_noted(const struct store *s, const struct quota *q)
{
	const struct quota *was = limits(s);
	bool none = q->octets == 0 && q->messages == 0;
	return (none && !has_limits(s)) ||
		(s->noted.any && was->octets == q->octets &&
			was->messages == q->messages &&
			was->warn == q->warn && was->later == q->later);
}

struct status
quota_note(struct store *s, struct arena *a, const struct quota *q)
{
	struct status st = look_noted(s, a);
	if (!status_is_fine(st) || is_noted(s, q))
		return st;
	int64_t v[NAMES] = {(int64_t)q->octets, (int64_t)q->messages,
		q->warn, q->later};
	st = index_begin(s, a);
	for (size_t i = 0; i < NAMES && status_is_fine(st); i++)
		index_set_meta(s, names[i], v[i]);
	if (status_is_fine(st))
		st = index_commit(s, a);
	if (status_is_fine(st))
		st = look_noted(s, a);
	return st;
}

/* ------------------------------------------------------------------ room */

static struct status
refusal(const struct store *s)
{
	static const struct str text = STR_INIT("the mailbox is full");
	return limits(s)->later ? status_later(2, 2, text)
		: status_never(2, 2, text);
}

static bool
fits(uint64_t used, uint64_t more, uint64_t limit)
{
	return limit == 0 || (more <= limit && used <= limit - more);
}

/* For what quota_room is asked. */
static bool
has_room(const struct store *s, uint64_t used_messages, uint64_t messages,
	uint64_t used_octets, uint64_t octets)
{
	const struct quota *most = limits(s);
	if (messages > 0 && !fits(used_messages, messages, most->messages))
		return false;
	return messages + octets == 0 ||
		fits(used_octets, octets, most->octets);
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
	load_noted(s);
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
	*out = (struct quota_usage){0};
	struct status st = refresh(s, a);
	if (status_is_fine(st))
		st = look(s, a, &out->messages, &out->octets);
	out->limits = *limits(s);
	out->level = level_of(out);
	return st;
}

enum quota_level
quota_level(struct store *s, struct arena *a)
{
	struct quota_usage u = {0};
	if (!has_limits(s) ||
		!status_is_fine(look(s, a, &u.messages, &u.octets)))
		return QUOTA_FINE;
	u.limits = *limits(s);
	return level_of(&u);
}

/* What was freed by others is looked for before it is refused. */
struct status
quota_room(struct store *s, struct arena *a, uint64_t messages, uint64_t octets)
{
	uint64_t have_messages, have_octets;
	struct status st = s->noted.known ? status_fine() : look_noted(s, a);
	for (int turn = 0; turn < 2 && has_limits(s); turn++) {
		if (turn > 0)
			st = refresh(s, a);
		if (status_is_fine(st))
			st = look(s, a, &have_messages, &have_octets);
		if (!status_is_fine(st))
			return st;
		if (has_room(s, have_messages, messages, have_octets, octets))
			return st;
		st = refusal(s);
	}
	return st;
}

void
quota_begin(struct store *s)
{
	load_noted(s);
	if (has_limits(s))
		sum(s, &s->used.messages, &s->used.octets);
}

struct status
quota_take(struct store *s, uint64_t messages, uint64_t octets)
{
	if (!has_limits(s))
		return status_fine();
	if (!has_room(s, s->used.messages, messages, s->used.octets, octets))
		return refusal(s);
	s->used.messages += messages;
	s->used.octets += octets;
	return status_fine();
}
