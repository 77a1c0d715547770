/* SPDX-License-Identifier: ISC */
/*
 * IMAP URLs without a server, RFC 5092 11 (ipath-query).  A section in one is
 * a section of FETCH with its odd characters coded, and read as such.
 */
#include "imapd.h"
#include "url.h"
#include "base/arena.h"

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = char_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Two hexadecimal digits; -1 when they are none. */
static int
octet(struct str s)
{
	int high = s.n < 2 ? -1 : hex_digit(s.p[0]);
	int low = s.n < 2 ? -1 : hex_digit(s.p[1]);
	return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/* Control characters are in nothing that is named here. */
static bool
decode(struct arena *a, struct str coded, struct str *out)
{
	char *to = arena_alloc(a, coded.n);
	size_t n = 0;
	while (coded.n > 0) {
		bool is_coded = coded.p[0] == '%';
		int c = is_coded ? octet(str_skip(coded, 1))
				 : (unsigned char)coded.p[0];
		if (c < 0x20 || c == 0x7f)
			return false;
		to[n++] = (char)c;
		coded = str_skip(coded, is_coded ? 3 : 1);
	}
	*out = str_of(to, n);
	return true;
}

/* Takes such a beginning off, in any case of letters. */
static bool
cut_prefix(struct str *s, struct str prefix)
{
	if (!str_starts_nocase(*s, prefix))
		return false;
	*s = str_skip(*s, prefix.n);
	return true;
}

static bool
parse_number(struct str s, uint32_t *out)
{
	uint64_t n;
	if (!str_number(s, UINT32_MAX, &n) || n == 0)
		return false;
	*out = (uint32_t)n;
	return true;
}

static bool
parse_mailbox(struct arena *a, struct str s, struct url *out)
{
	struct str name = str_head(s, str_find(s, ';'));
	struct str rest = str_skip(s, name.n);
	if (rest.n > 0 && (!cut_prefix(&rest, STR(";UIDVALIDITY=")) ||
		!parse_number(rest, &out->uidvalidity)))
		return false;
	return decode(a, name, &out->mailbox);
}

/* A word that is all of the command: nothing can follow it. */
static bool
no_line(void *ctx, struct str *line)
{
	(void)ctx;
	(void)line;
	return false;
}

static bool
no_literal(void *ctx, const struct literal *l, char *to)
{
	(void)ctx;
	(void)l;
	(void)to;
	return false;
}

static bool
parse_section(struct arena *a, struct str spec, struct url *out)
{
	static const struct parse_source source = {no_line, no_literal};
	static const struct parse_limits limits = {.args = 1000, .depth = 2};
	struct parse p;
	struct arg *args;
	const char *why;
	parse_begin(&p, a, &source, &limits,
		str_printf(a, "BODY[%.*s]", STR_ARG(spec)));
	if (!parse_args(&p, &args))
		return false;
	const struct arg *at = args;
	return section_parse(a, &at, &out->section, &why) && at == NULL &&
	       !out->section.partial;
}

static bool
parse_partial(struct str s, struct section *out)
{
	struct str from = str_head(s, str_find(s, '.'));
	struct str most = str_skip(s, from.n + 1);
	out->partial = true;
	out->most = INT64_MAX;
	if (from.n < s.n && (!str_number(most, INT64_MAX, &out->most) ||
		out->most == 0))
		return false;
	return str_number(from, INT64_MAX, &out->from);
}

/* What follows the mailbox: UID, then perhaps the section, then perhaps the
 * stretch. */
static bool
parse_message(struct arena *a, struct str s, struct url *out)
{
	struct str piece, spec;
	if (!str_cut(&s, '/', &piece) || !cut_prefix(&piece, STR(";UID=")) ||
		!parse_number(piece, &out->uid))
		return false;
	bool more = str_cut(&s, '/', &piece);
	if (more && cut_prefix(&piece, STR(";SECTION="))) {
		if (!decode(a, piece, &spec) || spec.n == 0 ||
			!parse_section(a, spec, out))
			return false;
		more = str_cut(&s, '/', &piece);
	}
	if (more && (!cut_prefix(&piece, STR(";PARTIAL=")) ||
		!parse_partial(piece, &out->section)))
		return false;
	return s.n == 0;
}

/* The slash before ";UID=", or the end. */
static size_t
find_message(struct str s)
{
	size_t i = 0;
	while (i < s.n && !str_starts_nocase(str_skip(s, i), STR("/;UID=")))
		i++;
	return i;
}

bool
url_parse(struct arena *a, struct str text, struct url *out)
{
	*out = (struct url){0};
	if (str_starts_nocase(text, STR(";UID=")))
		return parse_message(a, text, out);
	size_t end = find_message(text);
	if (!str_starts(text, STR("/")) || end == text.n)
		return false;
	struct str mailbox = str_skip(str_head(text, end), 1);
	if (mailbox.n > 0 && (!parse_mailbox(a, mailbox, out) ||
		out->mailbox.n == 0))
		return false;
	return parse_message(a, str_skip(text, end + 1), out);
}
