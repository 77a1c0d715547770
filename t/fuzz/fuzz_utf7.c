/* SPDX-License-Identifier: ISC */
/* Fuzz entry of mailbox names: a name has exactly one spelling. */
#include "base/arena.h"
#include "base/buf.h"
#include "mail/charset.h"
#include "mail/utf7.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct arena *a = arena_new("fuzz");
	struct str name = str_of(data, n);
	struct buf *there = buf_new(a), *back = buf_new(a);
	if (utf7_to_utf8(there, name)) {
		assert(charset_is_utf8(buf_str(there)));
		assert(utf7_from_utf8(back, buf_str(there)));
		assert(str_eq(buf_str(back), name));
	}
	buf_clear(there);
	buf_clear(back);
	if (!str_has(name, 0) && utf7_from_utf8(there, name)) {
		assert(utf7_to_utf8(back, buf_str(there)));
		assert(str_eq(buf_str(back), name));
	}
	arena_free(a);
	return 0;
}
