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

/* One option, its value, and what it is for. */
static void
show_option(const struct option_row *o)
{
	char left[64];
	snprintf(left, sizeof left, "%s%s%s", o->name,
		o->value != NULL ? " " : "", o->value != NULL ? o->value : "");
	if (o->help != NULL)
		printf("  %-24s  %s\n", left, o->help);
}

static const struct option_row *
row_named(const struct option_row *rows, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(rows[i].name, name) == 0)
			return &rows[i];
	return NULL;
}

static void __attribute__((noreturn))
show_options(const struct ctl *c, const struct option_row *rows, size_t n)
{
	const struct subcommand *row = c->row;
	printf("usage: %.*s%s%s\n\n", STR_ARG(c->called),
		row->operands[0] != '\0' ? " " : "", row->operands);
	printf("%s\n\n", row->help);
	for (size_t i = 0; i < n; i++)
		if (row_named(rows, i, rows[i].name) == NULL)
			show_option(&rows[i]);
	puts("\nsurat(8) tells more.");
	exit(EX_OK);
}

void
ctl_options(struct ctl *c, const struct option_row *rows, size_t n)
{
	bool help = false;
	const struct option_row common[] = {
		{"--config", OPTION_TEXT, &c->config, "FILE",
			"instead of " CONF_FILE},
		{"--set", OPTION_LIST, &c->overrides, "SECTION.OPTION=VALUE",
			"one option of surat.conf(5)"},
		{"--json", OPTION_FLAG, &c->json, NULL,
			"for programs: one object a line"},
		{"--help", OPTION_FLAG, &help},
	};
	enum { COMMON = sizeof common / sizeof *common };
	struct option_row *all = arena_array(c->arena, n + COMMON, sizeof *all);
	if (n > 0)
		memcpy(all, rows, n * sizeof *all);
	memcpy(all + n, common, sizeof common);
	c->argc = options_take(c->arena, c->argc, c->argv, all, n + COMMON,
		"--help");
	if (help)
		show_options(c, all, n + COMMON);
	/* One that is passed over would not have been written for nothing. */
	if (c->row != NULL && c->argc > c->row->most)
		ctl_fail(EX_USAGE, "%s %s: \"%s\" is too much; see --help",
			c->row->name, c->row->most == 0 ? "has no operands" :
			c->row->most == 1 ? "has one operand" :
			"has two operands", c->argv[c->row->most]);
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
		c->called = str_printf(c->arena, "%s %s", prefix, name.p);
		c->row = &rows[i];
		return rows[i].fn(c);
	}
	bool asked = str_eq(name, STR("--help")) || str_eq(name, STR("help"));
	if (name.n > 0 && !asked)
		ctl_fail(EX_USAGE, "there is no \"%s\"; `%s --help` lists what "
			"there is", name.p, prefix);
	show_help(asked ? stdout : stderr, prefix, rows, n);
	return asked ? EX_OK : EX_USAGE;
}
