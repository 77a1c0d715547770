/* SPDX-License-Identifier: ISC */
#include "grammar.h"

enum { DEPTH_MOST = 210 };

static bool
take(struct str *s, struct str what)
{
	if (!str_starts(*s, what))
		return false;
	*s = str_skip(*s, what.n);
	return true;
}

static bool
number(struct str *s)
{
	size_t n = 0;
	while (n < s->n && s->p[n] >= '0' && s->p[n] <= '9')
		n++;
	*s = str_skip(*s, n);
	return n > 0;
}

static bool
quoted(struct str *s)
{
	if (!take(s, STR("\"")))
		return false;
	while (s->n > 0 && s->p[0] != '"') {
		unsigned char c = (unsigned char)s->p[0];
		if (c == '\\') {
			*s = str_skip(*s, 1);
			if (s->n == 0 || (s->p[0] != '"' && s->p[0] != '\\'))
				return false;
		} else if (c == 0 || c == '\r' || c == '\n' || c >= 0x80) {
			return false;
		}
		*s = str_skip(*s, 1);
	}
	return take(s, STR("\""));
}

static bool
literal(struct str *s)
{
	uint64_t n;
	if (!take(s, STR("{")))
		return false;
	size_t end = str_find(*s, '}');
	if (!str_number(str_head(*s, end), 100000000, &n))
		return false;
	*s = str_skip(*s, end);
	if (!take(s, STR("}\r\n")) || n > s->n)
		return false;
	if (str_has(str_head(*s, n), 0))
		return false;
	*s = str_skip(*s, n);
	return true;
}

static bool
string(struct str *s)
{
	return str_starts(*s, STR("{")) ? literal(s) : quoted(s);
}

static bool
nstring(struct str *s)
{
	return take(s, STR("NIL")) || string(s);
}

static bool
address(struct str *s)
{
	if (!take(s, STR("(")))
		return false;
	for (int i = 0; i < 4; i++)
		if ((i > 0 && !take(s, STR(" "))) || !nstring(s))
			return false;
	return take(s, STR(")"));
}

static bool
addresses(struct str *s)
{
	if (take(s, STR("NIL")))
		return true;
	if (!take(s, STR("(")) || !address(s))
		return false;
	while (!take(s, STR(")")))
		if (!address(s))
			return false;
	return true;
}

static bool
envelope(struct str *s)
{
	if (!take(s, STR("(")))
		return false;
	for (int i = 0; i < 10; i++) {
		bool list = i >= 2 && i <= 7;
		if ((i > 0 && !take(s, STR(" "))) ||
			!(list ? addresses(s) : nstring(s)))
			return false;
	}
	return take(s, STR(")"));
}

static bool
params(struct str *s)
{
	if (take(s, STR("NIL")))
		return true;
	if (!take(s, STR("(")))
		return false;
	do {
		if (!string(s) || !take(s, STR(" ")) || !string(s))
			return false;
	} while (take(s, STR(" ")));
	return take(s, STR(")"));
}

static bool
extension(struct str *s, bool leaf)
{
	if (!take(s, STR(" ")) || !(leaf ? nstring(s) : params(s)))
		return false;
	if (!take(s, STR(" ")))
		return false;
	if (!take(s, STR("NIL")) &&
		!(take(s, STR("(")) && string(s) && take(s, STR(" ")) &&
			params(s) && take(s, STR(")"))))
		return false;
	if (!take(s, STR(" ")))
		return false;
	if (str_starts(*s, STR("("))) {
		take(s, STR("("));
		do
			if (!string(s))
				return false;
		while (take(s, STR(" ")));
		if (!take(s, STR(")")))
			return false;
	} else if (!nstring(s)) {
		return false;
	}
	return take(s, STR(" ")) && nstring(s);
}

static bool body(struct str *s, bool extended, int depth);

static bool
leaf(struct str *s, bool extended, int depth)
{
	struct str type = *s, subtype;
	bool text = str_starts_nocase(type, STR("\"text\""));
	bool message = str_starts_nocase(type, STR("\"message\" "));
	if (!string(s) || !take(s, STR(" ")))
		return false;
	subtype = *s;
	message = message && (str_starts_nocase(subtype, STR("\"rfc822\"")) ||
		str_starts_nocase(subtype, STR("\"global\" ")));
	if (!string(s) || !take(s, STR(" ")) || !params(s) ||
		!take(s, STR(" ")) || !nstring(s) || !take(s, STR(" ")) ||
		!nstring(s) || !take(s, STR(" ")) || !string(s) ||
		!take(s, STR(" ")) || !number(s))
		return false;
	if (message && (!take(s, STR(" ")) || !envelope(s) ||
		!take(s, STR(" ")) || !body(s, extended, depth + 1)))
		return false;
	if ((text || message) && (!take(s, STR(" ")) || !number(s)))
		return false;
	return !extended || extension(s, true);
}

static bool
body(struct str *s, bool extended, int depth)
{
	if (depth > DEPTH_MOST || !take(s, STR("(")))
		return false;
	if (!str_starts(*s, STR("(")))
		return leaf(s, extended, depth) && take(s, STR(")"));
	while (str_starts(*s, STR("(")))
		if (!body(s, extended, depth + 1))
			return false;
	return take(s, STR(" ")) && string(s) &&
		(!extended || extension(s, false)) && take(s, STR(")"));
}

bool
grammar_is_envelope(struct str s)
{
	return envelope(&s) && s.n == 0;
}

bool
grammar_is_body(struct str s, bool extended)
{
	return body(&s, extended, 0) && s.n == 0;
}
