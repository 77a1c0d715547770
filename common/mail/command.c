/* SPDX-License-Identifier: ISC */
/* Finding rows; tables are a dozen rows long, so a walk is as good as any. */
#include "mail/command.h"

const void *
command_find(const void *rows, size_t count, size_t size, struct str verb)
{
	for (size_t i = 0; i < count; i++) {
		const struct command *c =
			(const void *)((const char *)rows + i * size);
		if (str_eq_nocase(c->verb, verb))
			return c;
	}
	return NULL;
}

struct str
command_verb(struct str line, struct str *rest)
{
	size_t n = 0;
	while (n < line.n && line.p[n] != ' ' && line.p[n] != '\t')
		n++;
	*rest = str_trim(str_skip(line, n));
	return str_head(line, n);
}

unsigned
command_next(const struct command *c, unsigned state,
	enum command_outcome outcome)
{
	unsigned next[] = {
		[COMMAND_DONE] = c->done,
		[COMMAND_MORE] = c->more,
		[COMMAND_FAILED] = c->failed,
	};
	return next[outcome] == 0 ? state : next[outcome];
}
