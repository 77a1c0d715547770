/* SPDX-License-Identifier: ISC */
/*
 * The reader of record data (RFC 1035 3.3, 3596, 6698).  The message around
 * it, its compression and its signatures are libunbound's business: names in
 * the data it hands out are whole, so a pointer is malformed here.
 */
#include "record.h"
#include "base/arena.h"
#include "base/buf.h"

#include <arpa/inet.h>

static unsigned
octet(struct str s, size_t i)
{
	return (unsigned char)s.p[i];
}

static bool
is_host_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		(c >= '0' && c <= '9') || c == '-' || c == '_';
}

static void
add_label(struct buf *out, struct str label)
{
	for (size_t i = 0; i < label.n; i++) {
		if (is_host_char(label.p[i]))
			buf_addc(out, label.p[i]);
		else
			buf_printf(out, "\\%03u", octet(label, i));
	}
}

/* A name that takes all of the octets. */
static bool
add_name(struct buf *out, struct str s)
{
	if (s.n == 1 && octet(s, 0) == 0) {
		buf_addc(out, '.');
		return true;
	}
	if (s.n > RECORD_NAME_MOST + 2)
		return false;
	for (bool first = true; s.n > 0; first = false) {
		size_t n = octet(s, 0);
		if (n == 0)
			return s.n == 1 && !first;
		if (n > RECORD_LABEL_MOST || n + 1 > s.n)
			return false;
		if (!first)
			buf_addc(out, '.');
		add_label(out, str_head(str_skip(s, 1), n));
		s = str_skip(s, n + 1);
	}
	return false;
}

static bool
add_address(struct buf *out, struct str s, int family)
{
	char text[INET6_ADDRSTRLEN];
	size_t want = family == AF_INET ? 4 : 16;
	if (s.n != want || inet_ntop(family, s.p, text, sizeof text) == NULL)
		return false;
	buf_adds(out, text);
	return true;
}

static bool
add_a(struct buf *out, struct str s)
{
	return add_address(out, s, AF_INET);
}

static bool
add_aaaa(struct buf *out, struct str s)
{
	return add_address(out, s, AF_INET6);
}

static bool
add_mx(struct buf *out, struct str s)
{
	if (s.n < 3)
		return false;
	buf_printf(out, "%u ", octet(s, 0) << 8 | octet(s, 1));
	return add_name(out, str_skip(s, 2));
}

/* Strings of up to 255 octets that are one text (RFC 7208 3.3). */
static bool
add_txt(struct buf *out, struct str s)
{
	if (s.n == 0)
		return false;
	while (s.n > 0) {
		size_t n = octet(s, 0);
		struct str piece = str_head(str_skip(s, 1), n);
		if (piece.n != n || str_has(piece, '\0'))
			return false;
		buf_add(out, piece);
		s = str_skip(s, n + 1);
	}
	return true;
}

static bool
add_tlsa(struct buf *out, struct str s)
{
	if (s.n < 4)
		return false;
	buf_printf(out, "%u %u %u ", octet(s, 0), octet(s, 1), octet(s, 2));
	for (size_t i = 3; i < s.n; i++)
		buf_printf(out, "%02x", octet(s, i));
	return true;
}

static const struct {
	struct str name;
	int number;
	bool (*add)(struct buf *out, struct str rdata);
} types[] = {
	{STR_INIT("A"), 1, add_a},
	{STR_INIT("CNAME"), 5, add_name},
	{STR_INIT("PTR"), 12, add_name},
	{STR_INIT("MX"), 15, add_mx},
	{STR_INIT("TXT"), 16, add_txt},
	{STR_INIT("AAAA"), 28, add_aaaa},
	{STR_INIT("TLSA"), 52, add_tlsa},
};

enum { TYPES = sizeof types / sizeof *types };

int
record_type(struct str name)
{
	for (size_t i = 0; i < TYPES; i++)
		if (str_eq(name, types[i].name))
			return types[i].number;
	return 0;
}

bool
record_text(struct arena *a, int type, struct str rdata, struct str *out)
{
	struct buf *text = buf_new(a);
	for (size_t i = 0; i < TYPES; i++) {
		if (types[i].number != type)
			continue;
		if (!types[i].add(text, rdata))
			return false;
		*out = buf_str(text);
		return true;
	}
	return false;
}

bool
record_is_name(struct str name)
{
	struct str label;
	if (name.n == 0 || name.n > RECORD_NAME_MOST)
		return false;
	while (str_cut(&name, '.', &label)) {
		if (label.n == 0 || label.n > RECORD_LABEL_MOST)
			return false;
		for (size_t i = 0; i < label.n; i++)
			if (octet(label, i) <= 0x20 ||
				octet(label, i) >= 0x7f ||
				label.p[i] == '\\')
				return false;
	}
	return true;
}
