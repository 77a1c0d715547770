/* SPDX-License-Identifier: ISC */
#include "sys/argv.h"
#include "base/arena.h"
#include "base/buf.h"

static const struct {
	struct str word;
	size_t offset;
} words[] = {
#define ARGV_ROW(word) {STR_INIT(#word), offsetof(struct argv_values, word)},
	ARGV_WORDS(ARGV_ROW)
#undef ARGV_ROW
};

enum { WORDS = sizeof words / sizeof *words };

#define RECIPIENTS STR("{recipients}")

/* ---------------------------------------------------------------- parsing */

/* A quoted word has its quotes around it, and nothing but blanks behind. */
static bool
take_word(struct str *rest, struct str *word)
{
	struct str s = str_trim(*rest);
	if (!str_starts(s, STR("'")))
		return str_word(rest, word) && !str_has(*word, '\'');
	size_t end = str_find(str_skip(s, 1), '\'');
	if (end + 1 >= s.n)
		return false;
	*word = str_head(str_skip(s, 1), end);
	*rest = str_skip(s, end + 2);
	return rest->n == 0 || str_has(STR(" \t"), rest->p[0]);
}

/* The next {word} of an argument: its number, and what stands before it.
 * False when a brace is none of ours; WORDS when there is no further one. */
static bool
next_value(struct str *rest, struct str *before, size_t *which)
{
	size_t at = 0;
	while (at < rest->n && rest->p[at] != '{' && rest->p[at] != '}')
		at++;
	*before = str_head(*rest, at);
	*rest = str_skip(*rest, at);
	*which = WORDS;
	if (rest->n == 0)
		return true;
	size_t end = str_find(*rest, '}');
	struct str name = str_head(str_skip(*rest, 1), end - 1);
	if (end == 0 || end == rest->n)
		return false;
	for (size_t i = 0; i < WORDS; i++)
		if (str_eq(name, words[i].word))
			*which = i;
	*rest = str_skip(*rest, end + 1);
	return *which < WORDS;
}

static bool
is_argument(struct str s)
{
	struct str before;
	size_t which = 0;
	if (str_eq(s, RECIPIENTS))
		return true;
	while (s.n > 0)
		if (!next_value(&s, &before, &which))
			return false;
	return true;
}

static bool
is_name(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!((s.p[i] >= 'a' && s.p[i] <= 'z') ||
			(s.p[i] >= 'A' && s.p[i] <= 'Z') ||
			(s.p[i] >= '0' && s.p[i] <= '9') ||
			str_has(STR("-_."), s.p[i])))
			return false;
	return s.n > 0 && s.n <= 64;
}

bool
argv_parse(struct str text, struct argv *out)
{
	*out = (struct argv){.count = 0};
	for (size_t i = 0; i < text.n; i++)
		if ((unsigned char)text.p[i] < 0x20 && text.p[i] != '\t')
			return false;
	if (!str_word(&text, &out->name) || !is_name(out->name) ||
		!str_word(&text, &out->user) || !is_name(out->user))
		return false;
	while (str_trim(text).n > 0) {
		struct str word;
		if (out->count == ARGV_MOST || !take_word(&text, &word) ||
			!is_argument(word))
			return false;
		out->together = out->together || str_eq(word, RECIPIENTS);
		out->words[out->count++] = word;
	}
	return out->count > 0 && str_starts(out->words[0], STR("/")) &&
		!str_has(out->words[0], '{');
}

bool
argv_is_good(struct str text)
{
	struct argv any;
	return argv_parse(text, &any);
}

bool
argv_find(struct str_list lines, struct str name, struct argv *out)
{
	for (size_t i = 0; i < lines.n; i++)
		if (argv_parse(lines.v[i], out) && str_eq(out->name, name))
			return true;
	return false;
}

/* ---------------------------------------------------------------- filling */

static bool
is_plain(struct str value)
{
	for (size_t i = 0; i < value.n; i++)
		if ((unsigned char)value.p[i] < 0x20 || value.p[i] == 0x7f)
			return false;
	return true;
}

static char *
fill_word(struct arena *a, struct str word, const struct argv_values *v)
{
	struct buf *b = buf_new(a);
	while (word.n > 0) {
		struct str before;
		size_t which;
		if (!next_value(&word, &before, &which))
			return NULL;
		buf_add(b, before);
		if (which == WORDS)
			break;
		const void *member = (const char *)v + words[which].offset;
		struct str value = *(const struct str *)member;
		if (!is_plain(value) ||
			(b->n == 0 && str_starts(value, STR("-"))))
			return NULL;
		buf_add(b, value);
	}
	return str_cstr(a, buf_str(b));
}

char **
argv_fill(struct arena *a, const struct argv *c, const struct argv_values *v)
{
	char **out = arena_array(
		a, c->count * (v->recipients.n + 1) + 1, sizeof *out);
	size_t n = 0;
	for (size_t i = 0; i < c->count; i++) {
		if (!str_eq(c->words[i], RECIPIENTS)) {
			out[n] = fill_word(a, c->words[i], v);
			if (out[n++] == NULL)
				return NULL;
			continue;
		}
		for (size_t k = 0; k < v->recipients.n; k++) {
			struct str to = v->recipients.v[k];
			if (!is_plain(to) || str_starts(to, STR("-")))
				return NULL;
			out[n++] = str_cstr(a, to);
		}
	}
	out[n] = NULL;
	return out;
}
