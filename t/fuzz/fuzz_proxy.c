/* SPDX-License-Identifier: ISC */
/* PROXY headers: whatever comes is read whole or refused. */
#include "base/arena.h"
#include "sys/proxy.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new("fuzz");
	struct net_address peer = {.n = 0}, local = {.n = 0};
	if (proxy_parse(str_of(data, size), &peer, &local) == PROXY_CLIENT) {
		struct str ip = net_ip(a, &peer);
		assert(ip.n > 0 && !str_eq(ip, STR("pipe")));
		assert(peer.sa.ss_family == local.sa.ss_family);
		assert((size_t)proxy_length(data) + PROXY_HEADER == size);
	}
	arena_free(a);
	return 0;
}
