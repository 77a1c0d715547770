/* SPDX-License-Identifier: ISC */
#include "mail/target.h"
#include "base/arena.h"
#include "base/buf.h"

static bool
continues(struct str text)
{
	return text.n > 0 && (text.p[0] == ' ' || text.p[0] == '\t');
}

static bool
says_nothing(struct str line)
{
	line = str_trim(line);
	return line.n == 0 || line.p[0] == '#';
}

/* Comments and empty lines may stand within an entry. */
bool
target_entry(struct arena *a, struct str *text, struct str *entry, int *line,
	int *next)
{
	struct str piece;
	while (str_cut(text, '\n', &piece)) {
		struct buf *whole = buf_new(a);
		*line = (*next)++;
		if (says_nothing(piece))
			continue;
		buf_add(whole, piece);
		for (struct str rest = *text; str_cut(&rest, '\n', &piece) &&
			(says_nothing(piece) || continues(piece)); *text = rest) {
			if (!says_nothing(piece))
				buf_add(whole, piece);
			(*next)++;
		}
		*entry = str_trim(buf_str(whole));
		return true;
	}
	return false;
}

bool
target_name(struct arena *a, struct str *entry, struct str *name)
{
	struct str s = *entry;
	if (str_starts(s, STR("\""))) {
		size_t end = str_find(str_skip(s, 1), '"');
		*name = str_head(str_skip(s, 1), end);
		s = str_trim(str_skip(s, end + 2));
		if (!str_starts(s, STR(":")))
			return false;
		*entry = str_skip(s, 1);
	} else {
		size_t colon = str_find(s, ':');
		if (colon == s.n)
			return false;
		*name = str_trim(str_head(s, colon));
		*entry = str_skip(s, colon + 1);
	}
	*name = str_lower(a, *name);
	return name->n > 0;
}

struct str
target_take(struct str *rest)
{
	size_t i = 0;
	for (bool quoted = false; i < rest->n; i++) {
		if (rest->p[i] == '"')
			quoted = !quoted;
		else if (rest->p[i] == '\\' && quoted && i + 1 < rest->n)
			i++;
		else if (rest->p[i] == ',' && !quoted)
			break;
	}
	struct str target = str_trim(str_head(*rest, i));
	*rest = str_skip(*rest, i + 1);
	return target;
}

bool
target_is_command(struct str t)
{
	return str_starts(t, STR("|")) || str_starts(t, STR("\"|"));
}

/* What stands in quotes; false when they do not end with the text. */
static bool
unquote(struct arena *a, struct str t, struct str *out)
{
	struct buf *b = buf_new(a);
	size_t i = 1;
	for (; i < t.n && t.p[i] != '"'; i++) {
		if (t.p[i] == '\\' && i + 1 < t.n)
			i++;
		buf_addc(b, t.p[i]);
	}
	*out = buf_str(b);
	return i + 1 == t.n;
}

bool
target_command(struct arena *a, struct str t, struct str *out)
{
	/* "\|..." is none: what asks and what runs must agree */
	if (!target_is_command(t) ||
		(str_starts(t, STR("\"")) && !unquote(a, t, &t)))
		return false;
	t = str_trim(str_skip(t, 1));
	if (t.n == 0 || t.n > TARGET_COMMAND_MOST)
		return false;
	for (size_t i = 0; i < t.n; i++)
		if ((unsigned char)t.p[i] < 0x20 || t.p[i] == 0x7f)
			return false;
	*out = str_printf(a, "|%.*s", STR_ARG(t));
	return true;
}
