/* SPDX-License-Identifier: ISC */
/*
 * Earlier deliveries of the same jobs, by the unique parts of their names.
 * There is no index of names, which every delivery would have to pay for:
 * rows are read from the latest back to the time of the oldest job, in every
 * folder, as one may have been moved since.
 */
#include "base/map.h"
#include "store/index.h"

/* The clock may have been set; that many older rows do not end the search. */
enum { SLACK_S = 3600, OLDER_MOST = 100 };

/* Names begin with the time; what does not is as old as anything. */
static int64_t
time_of(struct str name)
{
	struct str digits;
	uint64_t n;
	str_cut(&name, '.', &digits);
	return str_number(digits, INT64_MAX / 2, &n) ? (int64_t)n : 0;
}

static void
search_folder(struct store *s, struct arena *a, int64_t folder, int64_t since,
	struct map *wanted)
{
	unsigned older = 0;
	sqlite3_stmt *st = index_query(s, Q_MESSAGE_LATEST, "ii",
		index_key(folder, 0), index_key(folder, UINT32_MAX));
	while (older < OLDER_MOST && index_row(s, st)) {
		struct str name = index_text(st, 1);
		struct earlier *e = map_get(wanted, maildir_parse(name).unique);
		older = index_int(st, 4) < since ? older + 1 : 0;
		if (e == NULL)
			continue;
		*e = (struct earlier){
			.key = index_int(st, 0),
			.name = str_copy(a, name),
			.info = str_copy(a, index_text(st, 2)),
			.in_new = place_in_new((enum place)index_int(st, 3)),
		};
	}
	if (st != NULL)
		index_end(st);
}

static bool
is_past(struct store *s, struct str unique)
{
	sqlite3_stmt *st = index_query(s, Q_PAST_HAS, "t", unique);
	bool is = index_row(s, st);
	if (is)
		index_end(st);
	return is;
}

void
earlier_find(struct store *s, struct arena *a, const struct str *names,
	struct earlier *out, size_t n)
{
	struct map *wanted = map_new(a);
	int64_t since = INT64_MAX;
	size_t folders;
	for (size_t i = 0; i < n; i++) {
		out[i] = (struct earlier){0};
		map_set(wanted, names[i], &out[i]);
		if (time_of(names[i]) < since)
			since = time_of(names[i]);
	}
	struct folder_row *v = folder_rows(s, a, &folders);
	for (size_t i = 0; i < folders; i++)
		search_folder(s, a, v[i].id, since - SLACK_S, wanted);
	for (size_t i = 0; i < n; i++)
		out[i].past = out[i].key == 0 && is_past(s, names[i]);
}
