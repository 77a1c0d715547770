/* SPDX-License-Identifier: ISC */
/*
 * SMTP's grammar.  The first octet chooses what the rest is: arguments of MAIL
 * or RCPT, a message as DATA or BDAT.  A message must come out the same
 * however it is cut, and nothing but CRLF . CRLF may end it.
 */
#include "base/arena.h"
#include "mail/smtp.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_path(struct arena *a, struct str s, bool utf8)
{
	struct smtp_path p;
	struct status st = smtp_parse_path(a, s, STR("FROM:"), utf8, &p);
	assert(p.param_count <= SMTP_PARAMS_MOST);
	if (!status_is_fine(st))
		return;
	struct str text = address_text(a, &p.address);
	struct address again;
	assert(text.n == 0 || p.address.domain.n == 0 ||
		address_parse(a, text, utf8, &again));
}

static size_t
feed(struct smtp_data *d, struct str in, size_t step, struct buf *out)
{
	size_t used = 0;
	while (used < in.n && !d->done) {
		struct str piece = str_head(str_skip(in, used), step);
		size_t n = smtp_data_feed(d, piece, out);
		assert(n == piece.n || d->done);
		used += n;
	}
	return used;
}

static void
check_lines(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\n')
			assert(i > 0 && s.p[i - 1] == '\r');
		if (s.p[i] == '\r')
			assert(i + 1 < s.n && s.p[i + 1] == '\n');
	}
}

static void
check_data(struct arena *a, struct str s, enum smtp_bare policy, bool dots)
{
	struct smtp_data one, two;
	struct buf *whole = buf_new(a), *pieces = buf_new(a);
	smtp_data_start(&one, policy);
	smtp_data_start(&two, policy);
	one.dots = two.dots = dots;
	size_t used = feed(&one, s, s.n, whole);
	assert(feed(&two, s, 1, pieces) == used);
	assert(dots || !one.done);
	if (one.done) {
		struct str end = str_head(s, used);
		assert(used == 3 ? str_eq(end, STR(".\r\n"))
				 : str_ends(end, STR("\r\n.\r\n")));
	} else if (!dots) {
		smtp_data_end(&one, whole);
		smtp_data_end(&two, pieces);
	}
	assert(one.done == two.done && one.bare == two.bare);
	assert(str_eq(buf_str(whole), buf_str(pieces)) || whole->n == 0);
	bool ended = one.done || !dots;
	if (ended && (policy == SMTP_NORMALISE_BARE || !one.bare))
		check_lines(buf_str(whole));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new("fuzz");
	struct str s = str_of(data, size);
	unsigned kind = size > 0 ? data[0] % 6 : 0;
	s = str_skip(s, 1);
	if (kind < 2)
		check_path(a, s, kind == 1);
	else
		check_data(a, s, kind % 2 == 0 ? SMTP_REFUSE_BARE
					       : SMTP_NORMALISE_BARE, kind < 4);
	arena_free(a);
	return 0;
}
