/* SPDX-License-Identifier: ISC */
/*
 * Flags as clients write and read them, RFC 3501 2.3.2 and 9 (flag,
 * flag-keyword).  $Forwarded is a keyword to clients and a bit to the store,
 * because Maildir has a letter for it.
 */
#include "flags.h"
#include "base/arena.h"
#include "base/buf.h"

static const struct {
	struct str name;
	unsigned bit;
} names[] = {
	{STR_INIT("\\Answered"), FLAG_ANSWERED},
	{STR_INIT("\\Flagged"), FLAG_FLAGGED},
	{STR_INIT("\\Deleted"), FLAG_DELETED},
	{STR_INIT("\\Seen"), FLAG_SEEN},
	{STR_INIT("\\Draft"), FLAG_DRAFT},
	{STR_INIT("$Forwarded"), FLAG_FORWARDED},
};

enum { NAMES = sizeof names / sizeof *names };

unsigned
flags_bit(struct str name)
{
	for (size_t i = 0; i < NAMES; i++)
		if (str_eq_nocase(name, names[i].name))
			return names[i].bit;
	return 0;
}

/* flag-keyword = atom */
static bool
is_keyword(struct str s)
{
	if (s.n == 0 || s.n > FLAGS_KEYWORD_MOST)
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] <= 0x20 || s.p[i] >= 0x7f ||
			str_has(STR("(){%*\"\\]"), s.p[i]))
			return false;
	return true;
}

static bool
take_flag(struct str name, bool recent, struct flags *out, const char **why)
{
	unsigned bit = flags_bit(name);
	out->bits |= bit;
	if (bit != 0)
		return true;
	if (str_starts(name, STR("\\"))) {
		*why = "No such system flag";
		return recent && str_eq_nocase(name, STR("\\Recent"));
	}
	*why = "Not a flag";
	if (!is_keyword(name))
		return false;
	*why = "Too many keywords";
	if (out->keywords.n == FLAGS_KEYWORDS_MOST)
		return false;
	out->keywords.v[out->keywords.n++] = name;
	return true;
}

bool
flags_parse(struct arena *a, const struct arg *arg, bool recent,
	struct flags *out, const char **why)
{
	struct str name;
	*out = (struct flags){0};
	out->keywords.v =
		arena_array(a, FLAGS_KEYWORDS_MOST, sizeof *out->keywords.v);
	for (; arg != NULL; arg = arg->next) {
		*why = "Flag expected";
		if (!arg_atom(arg, &name) || !take_flag(name, recent, out, why))
			return false;
	}
	return true;
}

static void
add_word(struct buf *out, struct str word, bool *first)
{
	if (!*first)
		buf_addc(out, ' ');
	*first = false;
	buf_add(out, word);
}

void
flags_print(struct buf *out, unsigned bits, struct str keywords, bool recent)
{
	bool first = true;
	for (size_t i = 0; i < NAMES; i++)
		if (bits & names[i].bit)
			add_word(out, names[i].name, &first);
	if (recent)
		add_word(out, STR("\\Recent"), &first);
	if (keywords.n > 0)
		add_word(out, keywords, &first);
}

void
flags_print_all(struct buf *out, const struct str_list *keywords)
{
	bool first = true;
	for (size_t i = 0; i < NAMES; i++)
		add_word(out, names[i].name, &first);
	for (size_t i = 0; i < keywords->n; i++)
		if (flags_bit(keywords->v[i]) == 0)
			add_word(out, keywords->v[i], &first);
}
