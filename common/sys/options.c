/* SPDX-License-Identifier: ISC */
#include "sys/options.h"
#include "base/arena.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

struct taking {
	struct arena *arena;
	int argc;
	char **argv;
	const char *help;
};

static void __attribute__((noreturn, format(printf, 2, 3)))
fail(const struct taking *t, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	fprintf(stderr, "%s: ", program_invocation_short_name);
	vfprintf(stderr, fmt, ap);
	fprintf(stderr, "; see %s\n", t->help != NULL ? t->help : "--help");
	va_end(ap);
	exit(EX_USAGE);
}

static void
store(const struct taking *t, const struct option_row *row, const char *value)
{
	struct str_list *list = row->where;
	uint64_t n;
	bool minus;
	switch (row->kind) {
	case OPTION_FLAG:
		*(bool *)row->where = true;
		break;
	case OPTION_TEXT:
		*(const char **)row->where = value;
		break;
	case OPTION_NUMBER:
	case OPTION_SIGNED:
		minus = row->kind == OPTION_SIGNED && *value == '-';
		if (!str_number(str_from(value + minus), INT64_MAX, &n))
			fail(t, "%s needs a number, not \"%s\"", row->name,
				value);
		*(int64_t *)row->where = minus ? -(int64_t)n : (int64_t)n;
		break;
	case OPTION_LIST:
		if (list->v == NULL)
			list->v = arena_array(t->arena, (size_t)t->argc + 1,
				sizeof *list->v);
		list->v[list->n++] = str_from(value);
		break;
	}
}

static const char *
take_value(const struct taking *t, const struct option_row *row, int *i)
{
	const char *equals = strchr(t->argv[*i], '=');
	if (row->kind == OPTION_FLAG && equals != NULL)
		fail(t, "%s takes no value", row->name);
	if (row->kind == OPTION_FLAG || equals != NULL)
		return equals == NULL ? NULL : equals + 1;
	if (*i + 1 >= t->argc)
		fail(t, "%s needs a value", row->name);
	return t->argv[++*i];
}

static const struct option_row *
find(const struct option_row *rows, size_t n, struct str name)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq(name, str_from(rows[i].name)))
			return &rows[i];
	return NULL;
}

int
options_take(struct arena *a, int argc, char **argv,
	const struct option_row *rows, size_t n, const char *help)
{
	const struct taking t = {a, argc, argv, help};
	int kept = 0;
	bool ended = false;
	for (int i = 0; i < argc; i++) {
		struct str arg = str_from(argv[i]);
		bool option = !ended && arg.n > 1 && arg.p[0] == '-';
		ended = ended || (option && str_eq(arg, STR("--")));
		if (option && ended)
			continue;
		const struct option_row *row = !option ? NULL :
			find(rows, n, str_head(arg, str_find(arg, '=')));
		if (row != NULL)
			store(&t, row, take_value(&t, row, &i));
		else if (!option || help == NULL)
			argv[kept++] = argv[i];
		else
			fail(&t, "there is no option %s", argv[i]);
	}
	return kept;
}
