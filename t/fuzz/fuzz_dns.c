/* SPDX-License-Identifier: ISC */
/* Fuzz entry of DNS record data: the first octet picks the type.  Whatever is
 * understood has no NUL and no blank it should not have. */
#include "base/arena.h"
#include "resolve/record.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const char *const types[] = {
		"A", "AAAA", "MX", "TXT", "TLSA", "PTR", "CNAME"};
	struct arena *a = arena_new("fuzz");
	struct str in = str_of(data, n), out;
	size_t which = n > 0 ? data[0] % (sizeof types / sizeof *types) : 0;
	int type = record_type(str_from(types[which]));
	if (record_text(a, type, str_skip(in, 1), &out)) {
		assert(!str_has(out, '\0'));
		if (which != 3)
			assert(out.n > 0 && !str_has(out, '\n'));
		if (which == 5 && out.n > 1 && !str_has(out, '\\'))
			assert(record_is_name(out));
	}
	record_is_name(in);
	arena_free(a);
	return 0;
}
