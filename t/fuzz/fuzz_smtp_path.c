/* SPDX-License-Identifier: ISC */
/* Fuzz entry of SMTP command lines: what is taken for an address is one again
 * in its normal form, and goes into a command of our own unharmed. */
#include "base/arena.h"
#include "mail/command.h"
#include "mail/smtp.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void
check_clean(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		assert((unsigned char)s.p[i] >= 0x20 && s.p[i] != 0x7f);
}

static void
check_address(struct arena *a, const struct address *x, bool utf8)
{
	struct smtp_path again;
	struct str text = address_text(a, x);
	check_clean(text);
	check_clean(x->domain);
	assert(utf8 || !x->utf8);
	struct str args = str_printf(a, "TO:<%.*s> X=1", STR_ARG(text));
	/* The normal form may be the longer one: quotes. */
	if (text.n > ADDRESS_MOST)
		return;
	assert(status_is_fine(
		smtp_parse_path(a, args, STR("TO:"), utf8, &again)));
	assert(str_eq(again.address.local, x->local));
	assert(str_eq(again.address.domain, x->domain));
	assert(again.param_count == 1);
}

static void
check(struct arena *a, struct str args, struct str keyword, bool utf8)
{
	struct smtp_path p;
	if (!status_is_fine(smtp_parse_path(a, args, keyword, utf8, &p)))
		return;
	check_address(a, &p.address, utf8);
	assert(p.param_count <= SMTP_PARAMS_MOST);
	for (size_t i = 0; i < p.param_count; i++) {
		assert(p.params[i].key.n > 0);
		check_clean(p.params[i].key);
		check_clean(p.params[i].value);
		assert(!str_has(p.params[i].value, ' '));
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct arena *a = arena_new("fuzz");
	struct str args, line = str_of(data, n < SMTP_COMMAND_MOST
		? n : SMTP_COMMAND_MOST);
	struct str verb = command_verb(line, &args);
	assert(!str_has(verb, ' ') && verb.n + args.n <= line.n);
	for (int utf8 = 0; utf8 < 2; utf8++) {
		check(a, args, STR("FROM:"), utf8);
		check(a, args, STR("TO:"), utf8);
	}
	arena_free(a);
	return 0;
}
