/* SPDX-License-Identifier: ISC */
/* Fuzz entry of what a server says it can do (the reply to EHLO): the same
 * whatever its case, and nothing from the first line. */
#include "base/arena.h"
#include "deliver/remote.h"
#include "mail/sasl.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct arena *a = arena_new("fuzz");
	struct str text = str_of(data, n);
	struct capability c, lower, first;
	capability_parse(text, &c);
	capability_parse(str_lower(a, text), &lower);
	assert(c.pipelining == lower.pipelining && c.size == lower.size &&
		c.starttls == lower.starttls &&
		c.size_most == lower.size_most &&
		c.rcpt_most == lower.rcpt_most &&
		c.mail_most == lower.mail_most &&
		c.mechanisms == lower.mechanisms);
	assert(c.esmtp && (c.mechanisms & 1u << SASL_NONE) == 0);
	capability_parse(str_head(text, str_find(text, '\n')), &first);
	assert(!first.pipelining && !first.starttls && !first.size &&
		first.mechanisms == 0);
	arena_free(a);
	return 0;
}
