/* SPDX-License-Identifier: ISC */
/* Fuzz entry of address lists in headers: groups open and close, everybody
 * else has somebody to name. */
#include "base/arena.h"
#include "mail/header.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct arena *a = arena_new("fuzz");
	struct header_addresses list =
		header_parse_addresses(a, str_of(data, n));
	assert(list.n <= HEADER_ADDRESSES_MOST);
	for (size_t i = 0; i < list.n; i++) {
		const struct header_address *x = &list.v[i];
		if (x->mailbox.p == NULL)
			assert(x->name.p == NULL && x->host.p == NULL);
		assert(!str_has(x->name, '\n') && !str_has(x->host, '\n'));
	}
	arena_free(a);
	return 0;
}
