/* SPDX-License-Identifier: ISC */
/* Command lines: options from rows, subcommands from tables, their help. */
#include "ctl.h"
#include "base/arena.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

void
ctl_fail(int status, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	fprintf(stderr, "%s: ", program_invocation_short_name);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	exit(status);
}

void
ctl_options(struct ctl *c, const struct option_row *rows, size_t n)
{
	const struct option_row common[] = {
		{"--config", OPTION_TEXT, &c->config},
		{"--set", OPTION_LIST, &c->overrides},
		{"--json", OPTION_FLAG, &c->json},
	};
	enum { COMMON = sizeof common / sizeof *common };
	struct option_row *all = arena_array(c->arena, n + COMMON, sizeof *all);
	if (n > 0)
		memcpy(all, rows, n * sizeof *all);
	memcpy(all + n, common, sizeof common);
	c->argc = options_take(c->arena, c->argc, c->argv, all, n + COMMON,
		"surat(8)");
}

static void
show_help(FILE *to, const char *prefix, const struct subcommand *rows,
	size_t n)
{
	fprintf(to, "usage: %s SUBCOMMAND [--config FILE] [--json] ...\n\n",
		prefix);
	for (size_t i = 0; i < n; i++)
		fprintf(to, "  %s %s\n        %s\n", rows[i].name,
			rows[i].operands, rows[i].help);
}

int
ctl_dispatch(struct ctl *c, const char *prefix, const struct subcommand *rows,
	size_t n)
{
	struct str name = str_from(c->argc > 0 ? c->argv[0] : "");
	for (size_t i = 0; i < n; i++) {
		if (!str_eq(name, str_from(rows[i].name)))
			continue;
		c->argc--;
		c->argv++;
		return rows[i].fn(c);
	}
	bool asked = str_eq(name, STR("--help")) || str_eq(name, STR("help"));
	if (name.n > 0 && !asked)
		fprintf(stderr, "%s: there is no \"%s\"\n", prefix, name.p);
	show_help(asked ? stdout : stderr, prefix, rows, n);
	return asked ? EX_OK : EX_USAGE;
}
