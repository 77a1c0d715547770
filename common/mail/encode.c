/* SPDX-License-Identifier: ISC */
/* Codings; tables and small state machines, linear in their input. */
#include "mail/encode.h"

#include <utf8proc.h>

enum { LINE = 76, CODE_NONE = 0xff };

static const char alphabet[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* -------------------------------------------------------------- base64 */

void
base64_encode(struct buf *out, struct str s)
{
	char *to = buf_room(out, (s.n + 2) / 3 * 4), *start = to;
	const unsigned char *p = (const unsigned char *)s.p;
	size_t left = s.n;
	for (; left >= 3; left -= 3, p += 3) {
		*to++ = alphabet[p[0] >> 2];
		*to++ = alphabet[(p[0] & 3) << 4 | p[1] >> 4];
		*to++ = alphabet[(p[1] & 15) << 2 | p[2] >> 6];
		*to++ = alphabet[p[2] & 63];
	}
	if (left > 0) {
		unsigned second = left == 2 ? p[1] : 0;
		*to++ = alphabet[p[0] >> 2];
		*to++ = alphabet[(p[0] & 3) << 4 | second >> 4];
		*to++ = left == 2 ? alphabet[(second & 15) << 2] : '=';
		*to++ = '=';
	}
	buf_grew(out, (size_t)(to - start));
}

void
base64_encode_lines(struct buf *out, struct str s)
{
	while (s.n > 0) {
		struct str line = str_head(s, LINE / 4 * 3);
		base64_encode(out, line);
		buf_adds(out, "\r\n");
		s = str_skip(s, line.n);
	}
}

static unsigned
code_of(char c)
{
	if (c >= 'A' && c <= 'Z')
		return (unsigned)(c - 'A');
	if (c >= 'a' && c <= 'z')
		return (unsigned)(c - 'a') + 26;
	if (c >= '0' && c <= '9')
		return (unsigned)(c - '0') + 52;
	return c == '+' ? 62 : c == '/' ? 63 : CODE_NONE;
}

bool
base64_decode(struct buf *out, struct str s)
{
	size_t before = out->n, pad = 0;
	struct base64_stream stream = {0};
	if (s.n % 4 != 0)
		return false;
	while (pad < 2 && pad < s.n && s.p[s.n - 1 - pad] == '=')
		pad++;
	struct str codes = str_head(s, s.n - pad);
	for (size_t i = 0; i < codes.n; i++)
		if (code_of(codes.p[i]) == CODE_NONE)
			return false;
	base64_feed(&stream, codes, out);
	/* Bits left over belong to no octet and must be zero. */
	if ((stream.bits & ((1u << stream.have) - 1)) != 0) {
		out->n = before;
		return false;
	}
	return true;
}

void
base64_feed(struct base64_stream *s, struct str in, struct buf *out)
{
	char *to = buf_room(out, in.n), *start = to;
	for (size_t i = 0; i < in.n; i++) {
		unsigned code = code_of(in.p[i]);
		if (in.p[i] == '=') {
			/* Some mailers join coded pieces: start afresh. */
			s->have = 0;
			continue;
		}
		if (code == CODE_NONE)
			continue;
		s->bits = s->bits << 6 | code;
		s->have += 6;
		if (s->have < 8)
			continue;
		s->have -= 8;
		*to++ = (char)(s->bits >> s->have);
	}
	buf_grew(out, (size_t)(to - start));
}

/* ----------------------------------------------------- quoted-printable */

static const char upper_hex[] = "0123456789ABCDEF";
static const char lower_hex[] = "0123456789abcdef";

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = char_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

struct qp_writer {
	struct buf *out;
	size_t column;
};

/* A soft line break when n more characters and its '=' do not fit. */
static void
qp_put(struct qp_writer *w, const char *text, size_t n)
{
	if (w->column + n > LINE - 1) {
		buf_adds(w->out, "=\r\n");
		w->column = 0;
	}
	buf_add(w->out, str_of(text, n));
	w->column += n;
}

static bool
at_line_end(struct str s, size_t i)
{
	return i + 1 < s.n && s.p[i] == '\r' && s.p[i + 1] == '\n';
}

void
qp_encode(struct buf *out, struct str s, bool text)
{
	struct qp_writer w = {out, 0};
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (text && at_line_end(s, i)) {
			buf_adds(out, "\r\n");
			w.column = 0;
			i++;
			continue;
		}
		bool last = i + 1 == s.n || (text && at_line_end(s, i + 1));
		bool blank = c == ' ' || c == '\t';
		/* "From " and a lone dot are changed by careless hops. */
		bool risky = w.column == 0 && (c == 'F' || c == '.');
		if ((c > 0x20 && c < 0x7f && c != '=' && !risky) ||
			(blank && !last)) {
			qp_put(&w, (const char *)&c, 1);
			continue;
		}
		char code[3] = {'=', upper_hex[c >> 4], upper_hex[c & 15]};
		qp_put(&w, code, 3);
	}
}

static void
qp_flush_blanks(struct qp_stream *s, struct buf *out)
{
	buf_add(out, str_of(s->blank, s->blanks));
	s->blanks = 0;
}

static bool
is_padding(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* Of '=' and blanks, which no line end follows so far: if anything else does,
 * they are what they are. */
static bool
qp_padding(struct qp_stream *s, char c, struct buf *out)
{
	if (is_padding(c) && s->held_count < sizeof s->held)
		return true;
	bool next = c == '=';
	buf_add(out, str_of(s->held, s->held_count - next));
	s->held_count = next;
	return next;
}

/* One octet after '='; true while the sequence goes on. */
static bool
qp_escape(struct qp_stream *s, char c, struct buf *out)
{
	s->held[s->held_count++] = c;
	if (c == '\n')
		return false; /* soft break */
	if (is_padding(s->held[1]))
		return qp_padding(s, c, out);
	int high = hex_value(s->held[1]);
	if (s->held_count == 2 && high >= 0)
		return true;
	int low = s->held_count == 3 ? hex_value(s->held[2]) : -1;
	if (high >= 0 && low >= 0)
		buf_addc(out, (char)(high << 4 | low));
	else
		buf_add(out, str_of(s->held, s->held_count));
	return false;
}

void
qp_feed(struct qp_stream *s, struct str in, struct buf *out)
{
	for (size_t i = 0; i < in.n; i++) {
		char c = in.p[i];
		if (s->held_count > 0) {
			if (!qp_escape(s, c, out))
				s->held_count = 0;
		} else if (c == ' ' || c == '\t') {
			if (s->blanks == sizeof s->blank)
				qp_flush_blanks(s, out);
			s->blank[s->blanks++] = c;
		} else if (c == '=') {
			qp_flush_blanks(s, out);
			s->held[s->held_count++] = c;
		} else {
			/* Blanks before a line end were added on the way. */
			if (c == '\n' || c == '\r')
				s->blanks = 0;
			qp_flush_blanks(s, out);
			buf_addc(out, c);
		}
	}
}

void
qp_end(struct qp_stream *s, struct buf *out)
{
	s->blanks = 0;
	if (s->held_count > 1 && hex_value(s->held[1]) >= 0)
		buf_add(out, str_of(s->held, s->held_count));
	s->held_count = 0;
}

/* --------------------------------------------------------- xtext, hex */

void
xtext_encode(struct buf *out, struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (c > 0x20 && c < 0x7f && c != '+' && c != '=') {
			buf_addc(out, (char)c);
			continue;
		}
		buf_addc(out, '+');
		buf_addc(out, upper_hex[c >> 4]);
		buf_addc(out, upper_hex[c & 15]);
	}
}

static bool
xtext_char(struct buf *out, struct str s, size_t *i)
{
	unsigned char c = (unsigned char)s.p[*i];
	if (c <= 0x20 || c >= 0x7f || c == '=')
		return false;
	if (c != '+') {
		buf_addc(out, (char)c);
		return true;
	}
	if (*i + 2 >= s.n)
		return false;
	int high = hex_value(s.p[*i + 1]), low = hex_value(s.p[*i + 2]);
	/* RFC 3461 4: capital letters. */
	if (high < 0 || low < 0 || s.p[*i + 1] >= 'a' || s.p[*i + 2] >= 'a')
		return false;
	buf_addc(out, (char)(high << 4 | low));
	*i += 2;
	return true;
}

bool
xtext_decode(struct buf *out, struct str s)
{
	size_t before = out->n;
	for (size_t i = 0; i < s.n; i++) {
		if (xtext_char(out, s, &i))
			continue;
		out->n = before;
		return false;
	}
	return true;
}

/* RFC 6533 3: EmbeddedUnicodeChar, whose points of ASCII are few. */
static void
embed(struct buf *out, unsigned long c)
{
	buf_printf(out, "\\x{%02lX}", c);
}

static bool
is_quchar(unsigned char c)
{
	return c > 0x20 && c < 0x7f && c != '+' && c != '=' && c != '\\';
}

/* keep: ASCII is coded already. */
static void
embed_all(struct buf *out, struct str s, bool keep)
{
	while (s.n > 0) {
		utf8proc_int32_t c;
		utf8proc_ssize_t n = utf8proc_iterate(
			(const utf8proc_uint8_t *)s.p,
			(utf8proc_ssize_t)s.n, &c);
		if (n < 1) {
			n = 1;
			c = 0xfffd;
		}
		if (c < 0x80 && (keep || is_quchar((unsigned char)c)))
			buf_addc(out, (char)c);
		else
			embed(out, (unsigned long)c);
		s = str_skip(s, (size_t)n);
	}
}

void
orcpt_encode(struct buf *out, struct str address)
{
	bool ascii = str_is_ascii(address);
	buf_adds(out, ascii ? "rfc822;" : "utf-8;");
	if (ascii)
		xtext_encode(out, address);
	else
		embed_all(out, address, false);
}

void
orcpt_to_ascii(struct buf *out, struct str orcpt)
{
	embed_all(out, orcpt, true);
}

/* "\x{F6}", which s begins with; false when it is none. */
static bool
take_embedded(struct buf *out, struct str *s)
{
	utf8proc_uint8_t to[4];
	struct str rest = str_skip(*s, 3), digits;
	long c = 0;
	if (!str_cut(&rest, '}', &digits) || rest.p == NULL || digits.n < 2 ||
		digits.n > 6)
		return false;
	for (size_t i = 0; i < digits.n; i++) {
		int value = hex_value(digits.p[i]);
		if (value < 0)
			return false;
		c = c << 4 | value;
	}
	utf8proc_ssize_t n = utf8proc_codepoint_valid((utf8proc_int32_t)c)
		? utf8proc_encode_char((utf8proc_int32_t)c, to) : 0;
	buf_add(out, str_of((const char *)to, (size_t)n));
	*s = rest;
	return n > 0;
}

bool
orcpt_decode(struct buf *out, struct str type, struct str s)
{
	struct str mark = STR("\\x{");
	bool embedded = str_search(s, mark) < s.n || !str_is_ascii(s);
	if (!embedded || !str_eq_nocase(type, STR("utf-8")))
		return xtext_decode(out, s);
	while (s.n > 0) {
		if (str_starts(s, mark)) {
			if (!take_embedded(out, &s))
				return false;
			continue;
		}
		buf_addc(out, s.p[0]);
		s = str_skip(s, 1);
	}
	return true;
}

void
hex_encode(struct buf *out, struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		buf_addc(out, lower_hex[(unsigned char)s.p[i] >> 4]);
		buf_addc(out, lower_hex[s.p[i] & 15]);
	}
}

bool
hex_decode(struct buf *out, struct str s)
{
	size_t before = out->n;
	for (size_t i = 0; i + 1 < s.n; i += 2) {
		int high = hex_value(s.p[i]), low = hex_value(s.p[i + 1]);
		if (high < 0 || low < 0) {
			out->n = before;
			return false;
		}
		buf_addc(out, (char)(high << 4 | low));
	}
	return s.n % 2 == 0;
}
