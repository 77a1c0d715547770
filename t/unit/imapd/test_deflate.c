/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "imapd_suites.h"
#include "imapd/deflate.h"
#include "base/arena.h"
#include "base/buf.h"

#include <stdlib.h>

/* Everything that is to be had, piece by piece; no piece is large. */
static bool
decode_all(const struct conn_filter *f, struct str in, struct buf *out)
{
	size_t before = out->n;
	bool ok = f->decode(f->ctx, in, out);
	while (ok && f->more(f->ctx)) {
		ck_assert_uint_le(out->n - before, 2 * DEFLATE_PIECE);
		before = out->n;
		ok = f->decode(f->ctx, STR(""), out);
	}
	return ok;
}

START_TEST(round_trip_octet_by_octet)
{
	struct arena *a = arena_new("test");
	struct conn_filter us = deflate_filter(a), them = deflate_filter(a);
	struct buf *coded = buf_new(a), *back = buf_new(a), *all = buf_new(a);
	for (int i = 0; i < 200; i++) {
		struct str line = str_printf(a, "a%d FETCH %d BODY[]\r\n", i, i);
		buf_add(all, line);
		ck_assert(us.encode(us.ctx, line, coded));
		/* each flush can be read to its end */
		for (size_t k = 0; k < coded->n; k++)
			ck_assert(decode_all(&them, str_of(coded->p + k, 1),
				back));
		ck_assert(str_eq(buf_str(back), buf_str(all)));
		buf_clear(coded);
	}
	arena_free(a);
}
END_TEST

START_TEST(a_bomb_comes_in_pieces)
{
	enum { SIZE = 64 * 1024 * 1024 };
	struct arena *a = arena_new("test");
	struct conn_filter us = deflate_filter(a), them = deflate_filter(a);
	struct buf *coded = buf_new(a), *out = buf_new(a);
	char *zeros = calloc(1, SIZE);
	size_t total = 0;
	ck_assert_ptr_nonnull(zeros);
	ck_assert(us.encode(us.ctx, str_of(zeros, SIZE), coded));
	ck_assert_uint_lt(coded->n, SIZE / 500);
	ck_assert(them.decode(them.ctx, buf_str(coded), out));
	while (them.more(them.ctx)) {
		ck_assert_uint_le(out->n, 2 * DEFLATE_PIECE);
		total += out->n;
		buf_clear(out);
		ck_assert(them.decode(them.ctx, STR(""), out));
	}
	ck_assert_uint_eq(total + out->n, SIZE);
	free(zeros);
	arena_free(a);
}
END_TEST

START_TEST(what_is_no_deflate_is_refused)
{
	static const struct str rows[] = {
		STR_INIT("a1 NOOP\r\n"),
		STR_INIT("\xff\xff\xff\xff"),
		/* an empty stream that ends, and something behind it */
		STR_INIT("\x03\x00more"),
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct arena *a = arena_new("test");
		struct conn_filter f = deflate_filter(a);
		ck_assert_msg(!decode_all(&f, rows[i], buf_new(a)), "%zu", i);
		arena_free(a);
	}
}
END_TEST

Suite *
suite_deflate(void)
{
	return SUITE("deflate", round_trip_octet_by_octet,
		a_bomb_comes_in_pieces, what_is_no_deflate_is_refused);
}
