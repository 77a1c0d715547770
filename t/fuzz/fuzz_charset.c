/* SPDX-License-Identifier: ISC */
/* Fuzz entry of charsets: the first line names one, the second octet after it
 * says how the rest is cut.  Whatever the cut, the text is the same. */
#include "base/arena.h"
#include "base/buf.h"
#include "mail/charset.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void
check_stream(struct arena *a, struct str charset, struct str text, size_t step)
{
	struct buf *whole = buf_new(a), *pieces = buf_new(a);
	struct charset_stream *s = charset_open(a, charset);
	charset_to_utf8(a, charset, text, whole);
	assert(charset_is_utf8(buf_str(whole)));
	for (size_t at = 0; at < text.n; at += step)
		charset_feed(s, str_head(str_skip(text, at), step), pieces);
	charset_end(s, pieces);
	assert(charset_is_utf8(buf_str(pieces)));
	/* Where text is only guessed at, pieces may be guessed differently. */
	if (str_eq_nocase(charset, STR("koi8-r")) ||
		str_eq_nocase(charset, STR("utf-8")))
		assert(str_eq(buf_str(whole), buf_str(pieces)));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct arena *a = arena_new("fuzz");
	struct str text = str_of(data, n), charset;
	struct buf *folded = buf_new(a);
	if (str_cut(&text, '\n', &charset) && text.n > 0) {
		size_t step = 1 + (unsigned char)text.p[0] % 8;
		check_stream(a, charset, str_skip(text, 1), step);
	}
	charset_fold(folded, str_of(data, n));
	struct str nfc = charset_nfc(a, str_of(data, n));
	if (charset_is_utf8(str_of(data, n)))
		assert(charset_is_utf8(buf_str(folded)) &&
			charset_is_utf8(nfc) &&
			charset_is_utf8(charset_head(nfc, n / 2)));
	arena_free(a);
	return 0;
}
