/* SPDX-License-Identifier: ISC */
/* Fuzz entry of header fields: taken together they are the header, and mime
 * finds its end at the same octet. */
#include "base/arena.h"
#include "mail/header.h"
#include "mail/mime.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct arena *a = arena_new("fuzz");
	struct str message = str_of(data, n), rest = header_begin(message);
	struct str fields = rest;
	struct header_field field;
	size_t total = 0;
	while (header_next(&rest, &field)) {
		assert(field.whole.p == fields.p + total);
		total += field.whole.n;
		assert(field.name.n > 0 && !str_has(field.name, ' '));
		struct str line = header_unfold(a, field.value);
		assert(!str_has(line, '\r') && !str_has(line, '\n'));
		struct str_list ids = header_message_ids(a, field.value);
		for (size_t i = 0; i < ids.n; i++)
			assert(ids.v[i].n > 0 && !str_has(ids.v[i], '>'));
	}
	assert(header_length(fields) == fields.n - rest.n);
	assert(mime_parse(a, message)->body.offset == n - rest.n);
	arena_free(a);
	return 0;
}
