/* SPDX-License-Identifier: ISC */
/* How results look: JSON lines for programs, short texts for people. */
#include "ctl.h"
#include "base/arena.h"
#include "base/buf.h"

#include <stdio.h>
#include <time.h>

#include <jansson.h>

struct json_row {
	json_t *object;
};

struct json_row *
json_begin(void)
{
	static struct json_row row;
	row.object = json_object();
	return &row;
}

/* What is not UTF-8 keeps its ASCII. */
void
json_text(struct json_row *j, const char *name, struct str value)
{
	json_t *v = json_stringn(value.p == NULL ? "" : value.p, value.n);
	if (v == NULL) {
		struct arena *a = arena_new("json");
		struct str safe = text_safe(a, value);
		v = json_stringn(safe.p, safe.n);
		arena_free(a);
	}
	json_object_set_new(j->object, name, v);
}

void
json_number(struct json_row *j, const char *name, int64_t value)
{
	json_object_set_new(j->object, name, json_integer(value));
}

void
json_end(struct json_row *j)
{
	json_dumpf(j->object, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(j->object);
}

struct str
text_time(struct arena *a, int64_t when)
{
	time_t t = (time_t)when;
	struct tm tm;
	char text[40];
	if (when == 0 || localtime_r(&t, &tm) == NULL)
		return STR("-");
	strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &tm);
	return str_copy(a, str_from(text));
}

struct str
text_duration(struct arena *a, int64_t seconds)
{
	static const struct {
		int64_t unit;
		char letter;
	} units[] = {{86400, 'd'}, {3600, 'h'}, {60, 'm'}};
	for (size_t i = 0; i < sizeof units / sizeof *units; i++)
		if (seconds >= units[i].unit * 2)
			return str_printf(a, "%lld%c",
				(long long)(seconds / units[i].unit),
				units[i].letter);
	return str_printf(a, "%llds", (long long)(seconds < 0 ? 0 : seconds));
}

struct str
text_safe(struct arena *a, struct str s)
{
	struct buf *b = buf_new(a);
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (c < 0x20 || c >= 0x7f)
			buf_addc(b, c == '\n' ? ' ' : '?');
		else
			buf_addc(b, (char)c);
	}
	return buf_str(b);
}
