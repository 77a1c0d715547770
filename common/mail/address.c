/* SPDX-License-Identifier: ISC */
/*
 * One cursor moves over the text; every function takes what its rule allows
 * and says whether that was anything.  No recursion.
 */
#include "mail/address.h"
#include "base/arena.h"
#include "base/buf.h"

#include <idn2.h>
#include <stdlib.h>

struct cursor {
	struct str rest;
	bool utf8;
};

static bool
is_atext(char c, bool utf8)
{
	static const char specials[] = "!#$%&'*+-/=?^_`{|}~";
	if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		(c >= '0' && c <= '9'))
		return true;
	if ((unsigned char)c >= 0x80)
		return utf8;
	return c != 0 && strchr(specials, c) != NULL;
}

static bool
take_char(struct cursor *at, char c)
{
	if (at->rest.n == 0 || at->rest.p[0] != c)
		return false;
	at->rest = str_skip(at->rest, 1);
	return true;
}

bool
address_is_utf8(struct str s)
{
	for (size_t i = 0; i < s.n;) {
		unsigned char c = (unsigned char)s.p[i];
		size_t n = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 :
			c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;
		if (n == 0 || i + n > s.n || c < 0x20 || c == 0x7f)
			return false;
		for (size_t k = 1; k < n; k++)
			if (((unsigned char)s.p[i + k] & 0xc0) != 0x80)
				return false;
		unsigned char second = n > 1 ? (unsigned char)s.p[i + 1] : 0;
		/* Overlong forms, surrogates, beyond U+10FFFF. */
		if ((c == 0xe0 && second < 0xa0) ||
			(c == 0xed && second > 0x9f) ||
			(c == 0xf0 && second < 0x90) ||
			(c == 0xf4 && second > 0x8f))
			return false;
		i += n;
	}
	return true;
}

/* ---------------------------------------------------------- local part */

/* Dot-string: atoms with single dots between. */
static bool
take_dot_string(struct cursor *at, struct str *local)
{
	struct str start = at->rest;
	size_t n = 0;
	bool after_dot = true;
	while (n < start.n) {
		if (start.p[n] == '.') {
			if (after_dot)
				return false;
			after_dot = true;
		} else if (is_atext(start.p[n], at->utf8)) {
			after_dot = false;
		} else {
			break;
		}
		n++;
	}
	if (n == 0 || after_dot)
		return false;
	*local = str_head(start, n);
	at->rest = str_skip(start, n);
	return true;
}

/* Quoted-string: printable ASCII, backslash before any of it, UTF-8. */
static bool
take_quoted(struct arena *a, struct cursor *at, struct str *local)
{
	if (!take_char(at, '"'))
		return false;
	struct buf *out = buf_new(a);
	while (at->rest.n > 0 && at->rest.p[0] != '"') {
		unsigned char c = (unsigned char)at->rest.p[0];
		if (c == '\\') {
			at->rest = str_skip(at->rest, 1);
			if (at->rest.n == 0)
				return false;
			c = (unsigned char)at->rest.p[0];
			if (c >= 0x7f)
				return false;
		}
		if (c < 0x20 || c == 0x7f || (c >= 0x80 && !at->utf8))
			return false;
		buf_addc(out, (char)c);
		at->rest = str_skip(at->rest, 1);
	}
	*local = buf_str(out);
	if (local->p == NULL)
		*local = STR("");
	return take_char(at, '"');
}

/* --------------------------------------------------------------- domain */

static bool
is_label_char(char c, bool utf8)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		(c >= '0' && c <= '9') || c == '-' || c == '_' ||
		(utf8 && (unsigned char)c >= 0x80);
}

static bool
is_label(struct str label, bool utf8)
{
	/* A U-label may be longer on paper than its A-label: that length is
	 * checked when it is converted. */
	if (label.n == 0 || (label.n > 63 && !utf8) || label.n > 252)
		return false;
	for (size_t i = 0; i < label.n; i++)
		if (!is_label_char(label.p[i], utf8))
			return false;
	return label.p[0] != '-' && label.p[label.n - 1] != '-';
}

bool
address_is_domain(struct str domain, bool utf8)
{
	struct str rest = domain, label;
	if (domain.n == 0 || domain.n > ADDRESS_DOMAIN_MOST)
		return false;
	while (str_cut(&rest, '.', &label))
		if (!is_label(label, utf8))
			return false;
	return true;
}

static bool
is_ipv4(struct str s)
{
	struct str part;
	uint64_t n;
	int parts = 0;
	while (str_cut(&s, '.', &part)) {
		if (part.n > 3 || !str_number(part, 255, &n))
			return false;
		parts++;
	}
	return parts == 4;
}

static bool
is_hex_group(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = char_lower(s.p[i]);
		if ((c < '0' || c > '9') && (c < 'a' || c > 'f'))
			return false;
	}
	return s.n >= 1 && s.n <= 4;
}

/* RFC 4291 2.2: eight groups, one run of zeros as "::", IPv4 at the end. */
static bool
is_ipv6(struct str s)
{
	struct str group;
	int groups = 0, gaps = 0;
	if (str_starts(s, STR("::"))) {
		gaps = 1;
		s = str_skip(s, 2);
		if (s.n == 0)
			return true;
	}
	while (str_cut(&s, ':', &group)) {
		if (group.n == 0) {
			if (++gaps > 1)
				return false;
			if (s.n == 0)
				break;
		} else if (s.p == NULL && is_ipv4(group)) {
			groups += 2;
		} else if (is_hex_group(group)) {
			groups++;
		} else {
			return false;
		}
	}
	return gaps == 1 ? groups <= 7 : groups == 8;
}

bool
address_literal(struct str domain, struct str *ip)
{
	if (domain.n < 2 || domain.p[0] != '[' ||
		domain.p[domain.n - 1] != ']')
		return false;
	*ip = str_head(str_skip(domain, 1), domain.n - 2);
	if (str_starts_nocase(*ip, STR("IPv6:"))) {
		*ip = str_skip(*ip, 5);
		return is_ipv6(*ip);
	}
	return is_ipv4(*ip);
}

static bool
take_domain(struct arena *a, struct cursor *at, struct str *domain)
{
	struct str start = at->rest, ip;
	size_t n = 0;
	if (start.n > 0 && start.p[0] == '[') {
		n = str_find(start, ']') + 1;
		if (n > start.n || !address_literal(str_head(start, n), &ip))
			return false;
	} else {
		while (n < start.n && (is_label_char(start.p[n], at->utf8) ||
			start.p[n] == '.'))
			n++;
		/* A name may end in the dot of the root. */
		struct str name = str_head(start, n);
		if (str_ends(name, STR(".")))
			name.n--;
		if (!address_is_domain(name, at->utf8))
			return false;
		*domain = str_lower(a, name);
		at->rest = str_skip(start, n);
		return true;
	}
	*domain = str_lower(a, str_head(start, n));
	at->rest = str_skip(start, n);
	return true;
}

/* -------------------------------------------------------------- address */

static bool
is_beyond_ascii(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] >= 0x80)
			return true;
	return false;
}

static bool
finish(struct address *x)
{
	x->utf8 = is_beyond_ascii(x->local) || is_beyond_ascii(x->domain);
	if (x->utf8 &&
		(!address_is_utf8(x->local) || !address_is_utf8(x->domain)))
		return false;
	return x->local.n <= ADDRESS_LOCAL_MOST &&
		x->local.n + 1 + x->domain.n <= ADDRESS_MOST + 1;
}

static bool
take_local(struct arena *a, struct cursor *at, struct str *local)
{
	if (at->rest.n > 0 && at->rest.p[0] == '"')
		return take_quoted(a, at, local);
	return take_dot_string(at, local);
}

bool
address_parse(struct arena *a, struct str text, bool utf8,
	struct address *out)
{
	struct cursor at = {text, utf8};
	*out = (struct address){0};
	return take_local(a, &at, &out->local) && take_char(&at, '@') &&
		take_domain(a, &at, &out->domain) && at.rest.n == 0 &&
		finish(out);
}

/* "@x,@y:" before the mailbox; RFC 5321 C: accepted and ignored. */
static bool
skip_route(struct arena *a, struct cursor *at)
{
	struct str domain;
	if (at->rest.n == 0 || at->rest.p[0] != '@')
		return true;
	do {
		if (!take_char(at, '@') || !take_domain(a, at, &domain))
			return false;
	} while (take_char(at, ','));
	return take_char(at, ':');
}

bool
address_parse_path(struct arena *a, struct str *text, bool utf8,
	struct address *out)
{
	struct cursor at = {*text, utf8};
	*out = (struct address){0};
	if (!take_char(&at, '<'))
		return false;
	if (take_char(&at, '>')) {
		*text = at.rest;
		return true;
	}
	if (!skip_route(a, &at) || !take_local(a, &at, &out->local))
		return false;
	/* RFC 5321 4.1.1.3: <Postmaster> needs no domain. */
	bool bare = at.rest.n > 0 && at.rest.p[0] == '>' &&
		str_eq_nocase(out->local, STR("postmaster"));
	if (!bare && (!take_char(&at, '@') ||
		!take_domain(a, &at, &out->domain)))
		return false;
	if (!take_char(&at, '>') || !finish(out))
		return false;
	*text = at.rest;
	return true;
}

static bool
needs_quotes(struct str local)
{
	struct cursor at = {local, true};
	struct str all;
	return !take_dot_string(&at, &all) || at.rest.n > 0;
}

struct str
address_local(struct arena *a, const struct address *x)
{
	if (!needs_quotes(x->local))
		return x->local;
	struct buf *out = buf_new(a);
	buf_addc(out, '"');
	for (size_t i = 0; i < x->local.n; i++) {
		if (x->local.p[i] == '"' || x->local.p[i] == '\\')
			buf_addc(out, '\\');
		buf_addc(out, x->local.p[i]);
	}
	buf_addc(out, '"');
	return buf_str(out);
}

struct str
address_text(struct arena *a, const struct address *x)
{
	if (address_is_null(x))
		return STR("");
	struct str local = address_local(a, x);
	if (x->domain.n == 0)
		return local;
	return str_printf(
		a, "%.*s@%.*s", STR_ARG(local), STR_ARG(x->domain));
}

void
address_split(struct str local, struct str separators, struct str *user,
	struct str *extension)
{
	*user = local;
	*extension = STR("");
	for (size_t i = 1; i + 1 < local.n; i++) {
		if (!str_has(separators, local.p[i]))
			continue;
		*user = str_head(local, i);
		*extension = str_skip(local, i + 1);
		return;
	}
}

/* ----------------------------------------------------------------- IDNA */

static struct str
converted(struct arena *a, int result, char *text)
{
	if (result != IDN2_OK)
		return STR("");
	struct str s = str_copy(a, str_from(text));
	idn2_free(text);
	return s;
}

struct str
address_to_ascii(struct arena *a, struct str domain)
{
	char *text = NULL;
	if (!is_beyond_ascii(domain))
		return domain;
	int r = idn2_to_ascii_8z(str_cstr(a, domain), &text,
		IDN2_NONTRANSITIONAL | IDN2_NFC_INPUT);
	return converted(a, r, text);
}

struct str
address_to_unicode(struct arena *a, struct str domain)
{
	char *text = NULL;
	int r = idn2_to_unicode_8z8z(str_cstr(a, domain), &text, 0);
	struct str s = converted(a, r, text);
	return s.n > 0 ? s : domain;
}
