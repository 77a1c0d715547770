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

static void
store_option(struct ctl *c, const struct option_row *row, const char *value)
{
	struct str_list *list = row->where;
	uint64_t n;
	switch (row->kind) {
	case OPTION_FLAG:
		*(bool *)row->where = true;
		break;
	case OPTION_TEXT:
		*(const char **)row->where = value;
		break;
	case OPTION_NUMBER:
		if (!str_number(str_from(value), INT64_MAX, &n))
			ctl_fail(EX_USAGE, "%s needs a number, not \"%s\"",
				row->name, value);
		*(int64_t *)row->where = (int64_t)n;
		break;
	case OPTION_LIST:
		if (list->v == NULL)
			list->v = arena_array(c->arena, (size_t)c->argc + 1,
				sizeof *list->v);
		list->v[list->n++] = str_from(value);
		break;
	}
}

static const struct option_row *
find_option(const struct option_row *rows, size_t n, struct str name)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq(name, str_from(rows[i].name)))
			return &rows[i];
	return NULL;
}

/* "--name value" or "--name=value". */
static const char *
take_value(struct ctl *c, const struct option_row *row, int *i)
{
	const char *equals = strchr(c->argv[*i], '=');
	if (row->kind == OPTION_FLAG) {
		if (equals != NULL)
			ctl_fail(EX_USAGE, "%s takes no value", row->name);
		return NULL;
	}
	if (equals != NULL)
		return equals + 1;
	if (*i + 1 >= c->argc)
		ctl_fail(EX_USAGE, "%s needs a value", row->name);
	return c->argv[++*i];
}

void
ctl_options(struct ctl *c, const struct option_row *rows, size_t n)
{
	const struct option_row common[] = {
		{"--config", OPTION_TEXT, &c->config},
		{"--set", OPTION_LIST, &c->overrides},
		{"--json", OPTION_FLAG, &c->json},
	};
	int kept = 0;
	bool ended = false;
	for (int i = 0; i < c->argc; i++) {
		struct str arg = str_from(c->argv[i]);
		if (ended || !str_starts(arg, STR("-")) || arg.n == 1) {
			c->argv[kept++] = c->argv[i];
			continue;
		}
		ended = str_eq(arg, STR("--"));
		if (ended)
			continue;
		struct str name = str_head(arg, str_find(arg, '='));
		const struct option_row *row = find_option(rows, n, name);
		if (row == NULL)
			row = find_option(common,
				sizeof common / sizeof *common, name);
		if (row == NULL)
			ctl_fail(EX_USAGE, "there is no option %s; see surat(8)",
				c->argv[i]);
		store_option(c, row, take_value(c, row, &i));
	}
	c->argc = kept;
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
