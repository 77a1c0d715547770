/* SPDX-License-Identifier: ISC */
/*
 * BODY[...] as clients write it and as responses name it; RFC 3501 9
 * (section, section-spec, section-part).  Finding the octets is fetch_body.c's
 * business.
 */
#include "imapd.h"
#include "section.h"
#include "base/arena.h"
#include "base/buf.h"
#include "mail/facts.h"

static const struct {
	struct str word;
	enum section_kind kind;
} kinds[] = {
	{STR_INIT(""), SECTION_ALL},
	{STR_INIT("HEADER"), SECTION_HEADER},
	{STR_INIT("HEADER.FIELDS"), SECTION_FIELDS},
	{STR_INIT("HEADER.FIELDS.NOT"), SECTION_FIELDS_NOT},
	{STR_INIT("TEXT"), SECTION_TEXT},
	{STR_INIT("MIME"), SECTION_MIME},
};

/* As requests begin, and as responses do. */
static const struct {
	struct str word;
	enum section_form form;
	bool peek;
} forms[] = {
	{STR_INIT("BODY["), SECTION_BODY},
	{STR_INIT("BODY.PEEK["), SECTION_BODY, true},
	{STR_INIT("BINARY["), SECTION_BINARY},
	{STR_INIT("BINARY.PEEK["), SECTION_BINARY, true},
	{STR_INIT("BINARY.SIZE["), SECTION_SIZE, true},
};

enum { FORMS = sizeof forms / sizeof *forms };

/* Takes "12" or "12." off the front; false when no number stands there. */
static bool
cut_part(struct str *s, uint32_t *number)
{
	uint64_t n;
	size_t digits = 0;
	while (digits < s->n && s->p[digits] >= '0' && s->p[digits] <= '9')
		digits++;
	if (!str_number(str_head(*s, digits), UINT32_MAX, &n))
		return false;
	*number = (uint32_t)n;
	*s = str_skip(*s, digits);
	if (str_starts(*s, STR(".")))
		*s = str_skip(*s, 1);
	return true;
}

static bool
parse_path(struct arena *a, struct str *s, struct section *out)
{
	uint32_t path[SECTION_DEPTH], number;
	while (cut_part(s, &number)) {
		if (number == 0 || out->depth == SECTION_DEPTH)
			return false;
		path[out->depth++] = number;
	}
	out->path = arena_copy(a, path, out->depth * sizeof *path);
	return true;
}

/* What is asked of the part; MIME is of parts alone. */
static bool
parse_kind(struct str word, struct section *out)
{
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		if (!str_eq_nocase(word, kinds[i].word))
			continue;
		out->kind = kinds[i].kind;
		if (out->form != SECTION_BODY)
			return out->kind == SECTION_ALL;
		return out->kind != SECTION_MIME || out->depth > 0;
	}
	return false;
}

static bool
parse_fields(struct arena *a, const struct arg *list, struct section *out)
{
	const struct arg *arg;
	if (!arg_list(list, &arg) || arg == NULL)
		return false;
	out->fields.v = arena_array(a, arg_count(arg), sizeof *out->fields.v);
	for (; arg != NULL; arg = arg->next)
		if (!arg_astring(arg, &out->fields.v[out->fields.n++]))
			return false;
	return true;
}

/* "]" and perhaps "<from.most>", of 63 bits (RFC 9051 9, number64) */
static bool
parse_end(struct str s, struct section *out)
{
	if (str_eq(s, STR("]")))
		return true;
	if (!str_starts(s, STR("]<")) || !str_ends(s, STR(">")) ||
		out->form == SECTION_SIZE)
		return false;
	s = str_head(str_skip(s, 2), s.n - 3);
	size_t dot = str_find(s, '.');
	out->partial = true;
	return str_number(str_head(s, dot), INT64_MAX, &out->from) &&
	       str_number(str_skip(s, dot + 1), INT64_MAX, &out->most) &&
	       out->most > 0;
}

static bool
wants_fields(const struct section *s)
{
	return s->kind == SECTION_FIELDS || s->kind == SECTION_FIELDS_NOT;
}

/* rest is what follows the opening bracket. */
static bool
parse_inside(struct arena *a, struct str rest, const struct arg **arg,
	struct section *out)
{
	if (!parse_path(a, &rest, out))
		return false;
	struct str word = str_head(rest, str_find(rest, ']'));
	if (!parse_kind(word, out))
		return false;
	if (!wants_fields(out)) {
		*arg = (*arg)->next;
		return parse_end(str_skip(rest, word.n), out);
	}
	const struct arg *list = (*arg)->next;
	if (word.n != rest.n || list == NULL || !parse_fields(a, list, out) ||
		list->next == NULL || !list->next->glued ||
		!arg_atom(list->next, &rest))
		return false;
	*arg = list->next->next;
	return parse_end(rest, out);
}

static bool
cut_form(struct str *text, struct section *out)
{
	for (size_t i = 0; i < FORMS; i++) {
		if (!str_starts_nocase(*text, forms[i].word))
			continue;
		out->form = forms[i].form;
		out->peek = forms[i].peek;
		*text = str_skip(*text, forms[i].word.n);
		return true;
	}
	return false;
}

bool
section_parse(struct arena *a, const struct arg **arg, struct section *out,
	const char **why)
{
	struct str text;
	*why = NULL;
	*out = (struct section){0};
	if (!arg_atom(*arg, &text) || !cut_form(&text, out))
		return false;
	if (parse_inside(a, text, arg, out))
		return true;
	*why = "No such body section";
	return false;
}

bool
section_is_kept(const struct section *s)
{
	if (s->depth > 0 || s->kind != SECTION_FIELDS)
		return false;
	for (size_t i = 0; i < s->fields.n; i++)
		if (!facts_keeps(s->fields.v[i]))
			return false;
	return true;
}

static void
print_fields(const struct section *s, struct buf *out)
{
	buf_adds(out, " (");
	for (size_t i = 0; i < s->fields.n; i++) {
		if (i > 0)
			buf_addc(out, ' ');
		reply_astring(out, s->fields.v[i]);
	}
	buf_addc(out, ')');
}

/* A response does not say PEEK. */
static struct str
form_word(const struct section *s)
{
	size_t i = 0;
	while (forms[i].form != s->form)
		i++;
	return forms[i].word;
}

void
section_print(const struct section *s, struct buf *out)
{
	buf_add(out, form_word(s));
	for (size_t i = 0; i < s->depth; i++) {
		if (i > 0)
			buf_addc(out, '.');
		buf_addn(out, s->path[i]);
	}
	if (s->depth > 0 && s->kind != SECTION_ALL)
		buf_addc(out, '.');
	buf_add(out, kinds[s->kind].word);
	if (wants_fields(s))
		print_fields(s, out);
	buf_addc(out, ']');
	if (s->partial)
		buf_printf(out, "<%llu>", (unsigned long long)s->from);
}
