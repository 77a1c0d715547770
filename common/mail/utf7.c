/* SPDX-License-Identifier: ISC */
/* UTF-16 in base64 with ',' for '/', between '&' and '-'. */
#include "mail/utf7.h"
#include "mail/charset.h"

#include <utf8proc.h>

static const char alphabet[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

static void
add_utf8(struct buf *out, int32_t c)
{
	utf8proc_uint8_t text[4];
	utf8proc_ssize_t n = utf8proc_encode_char(c, text);
	buf_add(out, str_of(text, (size_t)n));
}

struct units {
	int32_t high; /* a surrogate that waits for its other half */
	bool any;
};

/* One UTF-16 unit; false for what the canonical form has not. */
static bool
take_unit(struct units *u, int32_t unit, struct buf *out)
{
	u->any = true;
	if (u->high != 0) {
		if (unit < 0xdc00 || unit > 0xdfff)
			return false;
		add_utf8(out, 0x10000 + ((u->high - 0xd800) << 10) +
			(unit - 0xdc00));
		u->high = 0;
		return true;
	}
	if (unit >= 0xd800 && unit <= 0xdbff) {
		u->high = unit;
		return true;
	}
	if ((unit >= 0xdc00 && unit <= 0xdfff) ||
		(unit >= 0x20 && unit <= 0x7e) || unit == 0)
		return false;
	add_utf8(out, unit);
	return true;
}

/* The text between '&' and '-'. */
static bool
decode_shifted(struct str s, struct buf *out)
{
	struct units u = {0, false};
	uint32_t bits = 0;
	int have = 0;
	for (size_t i = 0; i < s.n; i++) {
		const char *at = s.p[i] == 0 ? NULL : strchr(alphabet, s.p[i]);
		if (at == NULL)
			return false;
		bits = (bits << 6 | (uint32_t)(at - alphabet)) & 0xffffff;
		have += 6;
		if (have < 16)
			continue;
		have -= 16;
		if (!take_unit(&u, (int32_t)(bits >> have & 0xffff), out))
			return false;
	}
	/* Fewer than six bits may be left over, and they must be zero. */
	return u.any && u.high == 0 && have < 6 &&
		(bits & ((1u << have) - 1)) == 0;
}

bool
utf7_to_utf8(struct buf *out, struct str name)
{
	size_t before = out->n;
	bool shifted_before = false, ok = true;
	for (size_t i = 0; ok && i < name.n;) {
		unsigned char c = (unsigned char)name.p[i];
		if (c < 0x20 || c > 0x7e) {
			ok = false;
		} else if (c != '&') {
			buf_addc(out, (char)c);
			shifted_before = false;
			i++;
		} else {
			struct str rest = str_skip(name, i + 1);
			size_t n = str_find(rest, '-');
			if (n == 0 && rest.n > 0)
				buf_addc(out, '&');
			else
				ok = n < rest.n && !shifted_before &&
					decode_shifted(str_head(rest, n), out);
			shifted_before = n > 0;
			i += n + 2;
		}
	}
	if (!ok)
		out->n = before;
	return ok;
}

struct shift {
	struct buf *out;
	bool open;
	uint32_t bits;
	int have;
};

static void
add_unit(struct shift *s, uint32_t unit)
{
	if (!s->open)
		buf_addc(s->out, '&');
	s->open = true;
	s->bits = (s->bits << 16 | unit) & 0xffffffff;
	s->have += 16;
	while (s->have >= 6) {
		s->have -= 6;
		buf_addc(s->out, alphabet[s->bits >> s->have & 63]);
	}
	s->bits &= (1u << s->have) - 1;
}

static void
close_shift(struct shift *s)
{
	if (!s->open)
		return;
	if (s->have > 0)
		buf_addc(s->out, alphabet[s->bits << (6 - s->have) & 63]);
	buf_addc(s->out, '-');
	*s = (struct shift){.out = s->out};
}

bool
utf7_from_utf8(struct buf *out, struct str name)
{
	struct shift s = {.out = out};
	if (!charset_is_utf8(name))
		return false;
	for (size_t i = 0; i < name.n;) {
		utf8proc_int32_t c;
		i += (size_t)utf8proc_iterate(
			(const utf8proc_uint8_t *)name.p + i,
			(utf8proc_ssize_t)(name.n - i), &c);
		if (c >= 0x20 && c <= 0x7e) {
			close_shift(&s);
			buf_addc(out, (char)c);
			if (c == '&')
				buf_addc(out, '-');
		} else if (c < 0x10000) {
			add_unit(&s, (uint32_t)c);
		} else {
			add_unit(&s, 0xd800 + ((uint32_t)(c - 0x10000) >> 10));
			add_unit(&s, 0xdc00 + ((uint32_t)(c - 0x10000) & 1023));
		}
	}
	close_shift(&s);
	return true;
}
