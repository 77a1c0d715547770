/* SPDX-License-Identifier: ISC */
/*
 * Fuzz entry of DATA in both directions.  The reader ends where CRLF . CRLF
 * first stands, and nowhere else; what goes out through the writer comes in
 * through the reader as it was, and cannot end early.  The first two octets
 * say in which pieces.
 */
#include "base/arena.h"
#include "mail/smtp.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Feeds in pieces; the octets used. */
static size_t
read_wire(struct smtp_data *d, struct str wire, size_t piece, struct buf *out)
{
	size_t used = 0;
	while (used < wire.n && !d->done) {
		struct str in = str_head(str_skip(wire, used), piece);
		size_t took = smtp_data_feed(d, in, out);
		assert(took == in.n || d->done);
		used += took;
	}
	assert(d->octets == out->n);
	return used;
}

/* Where the end of data is, or SIZE_MAX. */
static size_t
end_of(struct arena *a, struct str wire)
{
	struct str whole = str_printf(a, "\r\n");
	struct buf *b = buf_new(a);
	buf_add(b, whole);
	buf_add(b, wire);
	size_t at = str_search(buf_str(b), STR("\r\n.\r\n"));
	return at == b->n ? SIZE_MAX : at + 5 - whole.n;
}

static bool
has_bare(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		bool lf_follows = i + 1 < s.n && s.p[i + 1] == '\n';
		if (s.p[i] == '\r' && lf_follows)
			i++;
		else if (s.p[i] == '\r' || s.p[i] == '\n')
			return true;
	}
	return false;
}

/* Every line end a CRLF, the last line ended. */
static struct str
normal(struct arena *a, struct str s)
{
	struct buf *b = buf_new(a);
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] != '\r' && s.p[i] != '\n') {
			buf_addc(b, s.p[i]);
			continue;
		}
		buf_adds(b, "\r\n");
		if (s.p[i] == '\r' && i + 1 < s.n && s.p[i + 1] == '\n')
			i++;
	}
	if (b->n > 0 && b->p[b->n - 1] != '\n')
		buf_adds(b, "\r\n");
	return buf_str(b);
}

static void
check_reader(struct arena *a, struct str wire, size_t piece,
	enum smtp_bare policy)
{
	struct smtp_data whole, pieces;
	struct buf *once = buf_new(a), *cut = buf_new(a);
	smtp_data_start(&whole, policy);
	smtp_data_start(&pieces, policy);
	size_t used = read_wire(&whole, wire, SIZE_MAX, once);
	assert(read_wire(&pieces, wire, piece, cut) == used);
	assert(whole.done == pieces.done && whole.bare == pieces.bare);
	assert(str_eq(buf_str(once), buf_str(cut)));
	size_t end = end_of(a, wire);
	assert(whole.done == (end != SIZE_MAX));
	if (!whole.done)
		return;
	assert(used == end);
	if (policy == SMTP_NORMALISE_BARE)
		assert(!has_bare(buf_str(once)));
	else
		assert(whole.bare == has_bare(buf_str(once)));
}

static void
check_writer(struct arena *a, struct str content, size_t piece,
	enum smtp_bare policy)
{
	struct smtp_stuff w;
	struct smtp_data d;
	struct buf *wire = buf_new(a), *out = buf_new(a);
	smtp_stuff_start(&w);
	for (struct str rest = content; rest.n > 0;
		rest = str_skip(rest, piece))
		smtp_stuff_feed(&w, str_head(rest, piece), wire);
	smtp_stuff_end(&w, wire);
	assert(!has_bare(buf_str(wire)));
	smtp_data_start(&d, policy);
	assert(read_wire(&d, buf_str(wire), SIZE_MAX, out) == wire->n);
	assert(d.done && !d.bare);
	assert(str_eq(buf_str(out), normal(a, content)));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct arena *a = arena_new("fuzz");
	struct str in = str_skip(str_of(data, n), 2);
	size_t first = n > 0 ? data[0] % 61 + 1 : 1;
	size_t second = n > 1 ? data[1] % 61 + 1 : 1;
	for (int policy = SMTP_REFUSE_BARE; policy <= SMTP_NORMALISE_BARE;
		policy++) {
		check_reader(a, in, first, (enum smtp_bare)policy);
		check_writer(a, in, second, (enum smtp_bare)policy);
	}
	arena_free(a);
	return 0;
}
