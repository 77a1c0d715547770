/* SPDX-License-Identifier: ISC */
/* Figures of a program.  How: ask/figures.h. */
#include "ask/figures.h"
#include "ask/messages.h"
#include "ask/peers.h"
#include "base/arena.h"

/* In microseconds, with their text in seconds. */
static const struct {
	int64_t us;
	const char *text;
} bounds[HISTOGRAM_BOUNDS] = {
	{1000, "0.001"}, {5000, "0.005"}, {10 * 1000, "0.01"},
	{50 * 1000, "0.05"}, {100 * 1000, "0.1"}, {500 * 1000, "0.5"},
	{1000000, "1.0"}, {5 * 1000000, "5.0"}, {30 * 1000000, "30.0"},
	{300 * 1000000LL, "300.0"}, {3600 * 1000000LL, "3600.0"},
	{21600 * 1000000LL, "21600.0"}, {86400 * 1000000LL, "86400.0"},
	{432000 * 1000000LL, "432000.0"},
};

void
histogram_note(struct histogram *h, int64_t us)
{
	if (us < 0)
		us = 0;
	h->count++;
	h->sum += us;
	for (size_t i = 0; i < HISTOGRAM_BOUNDS; i++)
		if (us <= bounds[i].us) {
			h->in[i]++;
			return;
		}
}

void
figure_tell(struct peer *p, struct str name, struct str labels, int64_t value)
{
	struct message m = MESSAGE(figure_row);
	m.figure_row.name = name;
	m.figure_row.labels = labels;
	m.figure_row.value = value;
	peer_send(p, &m);
}

void
figure_tell_histogram(struct peer *p, struct arena *a, struct str name,
	struct str labels, const struct histogram *h)
{
	struct message m = MESSAGE(figure_row);
	struct str *v = arena_array(a, HISTOGRAM_BOUNDS, sizeof *v);
	int64_t below = 0;
	for (size_t i = 0; i < HISTOGRAM_BOUNDS; i++) {
		below += h->in[i];
		v[i] = str_printf(a, "%s %lld", bounds[i].text,
			(long long)below);
	}
	m.figure_row.name = name;
	m.figure_row.labels = labels;
	m.figure_row.value = h->count;
	m.figure_row.sum = h->sum;
	m.figure_row.buckets = (struct str_list){v, HISTOGRAM_BOUNDS};
	peer_send(p, &m);
}

bool
figures_wanted(const struct message *m)
{
	return str_eq(m->service.verb, STR("figures"));
}

void
figures_end(struct peer *p, const struct message *m)
{
	struct message done = MESSAGE(done);
	done.done.status = figures_wanted(m) ? status_fine() :
		STATUS(STATUS_NEVER, 5, 4, "There is no such verb");
	peer_send(p, &done);
}
