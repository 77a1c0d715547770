/* SPDX-License-Identifier: ISC */
/*
 * One walk over the parts in their order.  Between the parts stand boundary
 * lines, preambles and epilogues, which are copied; in those two, which nobody
 * reads, what must not be becomes a question mark.
 */
#include "mail/convert.h"
#include "base/arena.h"
#include "mail/charset.h"
#include "mail/encode.h"
#include "mail/header.h"
#include "mail/mime.h"

enum { BLANKS_MOST = 100 };

struct converter {
	struct arena *arena;
	struct str message;
	unsigned avoid;
	struct buf *out;
	size_t at; /* copied so far */
	bool sealed; /* within a part that must stay as it is */
	struct status status;
};

static void
refuse(struct converter *c, int detail, const char *why)
{
	if (status_is_fine(c->status))
		c->status = status_never(6, detail, str_from(why));
}

static bool
is_binary(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		bool lf = s.p[i] == '\n' && (i == 0 || s.p[i - 1] != '\r');
		bool cr = s.p[i] == '\r' &&
			(i + 1 == s.n || s.p[i + 1] != '\n');
		if (s.p[i] == 0 || lf || cr)
			return true;
	}
	return false;
}

static bool
is_long(struct str s)
{
	while (s.n > CONVERT_LINE_MOST) {
		size_t n = str_find(s, '\n');
		bool cr = n < s.n && n > 0 && s.p[n - 1] == '\r';
		if (n - cr > CONVERT_LINE_MOST)
			return true;
		s = str_skip(s, n + 1);
	}
	return false;
}

/* Is there anything in it that must not be? */
static bool
offends(const struct converter *c, struct str s)
{
	return ((c->avoid & CONVERT_8BIT) && !str_is_ascii(s)) ||
		((c->avoid & CONVERT_LONG) && is_long(s)) ||
		((c->avoid & CONVERT_BINARY) && is_binary(s));
}

/* ----------------------------------------------------- between the parts */

/* What stands for an octet that must not be.  Blanks after a boundary belong
 * to it (RFC 2046 5.1.1), so that they may stay blanks; elsewhere nothing may
 * become what it was not. */
static char
stand_in(struct str rest)
{
	if (rest.p[0] != '\r')
		return '?';
	struct str near = str_head(rest, BLANKS_MOST); /* not all for each */
	size_t n = str_find(near, '\n');
	bool ends = n < near.n || near.n == rest.n;
	return ends && str_trim(str_head(near, n)).n == 0 ? ' ' : '?';
}

static bool
is_bad_octet(char c)
{
	return (unsigned char)c >= 0x80 || c == 0 || c == '\r';
}

static void
copy_gap(struct converter *c, size_t to)
{
	struct str gap = str_skip(str_head(c->message, to), c->at);
	c->at = to;
	if (!offends(c, gap)) {
		buf_add(c->out, gap);
		return;
	}
	if (is_long(gap) && (c->avoid & CONVERT_LONG))
		refuse(c, 0, "a line between its parts is too long");
	for (; gap.n > 0; gap = str_skip(gap, 1)) {
		if (str_starts(gap, STR("\r\n")))
			gap = str_skip(gap, 1);
		if (gap.p[0] == '\n')
			buf_adds(c->out, "\r\n");
		else
			buf_addc(c->out, is_bad_octet(gap.p[0])
				? stand_in(gap) : gap.p[0]);
	}
}

/* --------------------------------------------------------------- headers */

/* Fields whose text is not free, where an encoded word would be a lie. */
static bool
is_structured(struct str name)
{
	static const char *const names[] = {"From", "Sender", "Reply-To", "To",
		"Cc", "Bcc", "Message-ID", "In-Reply-To", "References",
		"Date", "Return-Path", "Received", "Delivered-To",
		"Content-Type", "Content-Disposition",
		"Content-Transfer-Encoding", "Content-ID", "MIME-Version"};
	if (str_starts_nocase(name, STR("Resent-")))
		return true;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (str_eq_nocase(name, str_from(names[i])))
			return true;
	return false;
}

/* RFC 2047: words of at most 75 characters, whole characters in each. */
static void
add_encoded_words(struct buf *out, struct str text)
{
	enum { OCTETS = 36 }; /* 48 in base64, with the charset below 75 */
	bool utf8 = charset_is_utf8(text);
	while (text.n > 0) {
		size_t n = text.n < OCTETS ? text.n : OCTETS;
		while (utf8 && n < text.n && n > 1 &&
			((unsigned char)text.p[n] & 0xc0) == 0x80)
			n--;
		buf_adds(out, utf8 ? "=?utf-8?B?" : "=?unknown-8bit?B?");
		base64_encode(out, str_head(text, n));
		buf_adds(out, "?=");
		text = str_skip(text, n);
		if (text.n > 0)
			buf_adds(out, "\r\n ");
	}
}

/* Folds at the last blank that fits; a fold before a blank changes nothing
 * (RFC 5322 2.2.3). */
static void
add_folded(struct converter *c, struct str line)
{
	while (line.n > CONVERT_LINE_MOST) {
		size_t n = CONVERT_LINE_MOST;
		while (n > 0 && line.p[n] != ' ' && line.p[n] != '\t')
			n--;
		/* Blanks alone would make a line that is empty. */
		if (str_trim(str_head(line, n)).n == 0) {
			refuse(c, 0, "a header line is too long and has no "
				"place to fold it");
			break;
		}
		buf_add(c->out, str_head(line, n));
		buf_adds(c->out, "\r\n");
		line = str_skip(line, n);
	}
	buf_add(c->out, line);
	buf_adds(c->out, "\r\n");
}

static void
add_lines(struct converter *c, struct str field)
{
	struct str line;
	if (str_ends(field, STR("\n")))
		field.n--;
	while (str_cut(&field, '\n', &line)) {
		if (str_ends(line, STR("\r")))
			line.n--;
		add_folded(c, line);
	}
}

static void
add_field(struct converter *c, const struct header_field *f)
{
	if (!offends(c, f->whole)) {
		buf_add(c->out, f->whole);
		return;
	}
	if (c->sealed)
		refuse(c, 3, "a signed or encrypted part cannot be changed");
	if ((c->avoid & CONVERT_8BIT) && !str_is_ascii(f->whole)) {
		if (is_structured(f->name) || !str_is_ascii(f->name)) {
			refuse(c, 3, "a header field has 8-bit text where "
				"none can be");
			return;
		}
		buf_add(c->out, f->name);
		buf_adds(c->out, ": ");
		add_encoded_words(c->out,
			header_unfold(c->arena, f->value));
		buf_adds(c->out, "\r\n");
		return;
	}
	if ((c->avoid & CONVERT_BINARY) && is_binary(f->whole))
		refuse(c, 3, "a header field has octets that none can have");
	add_lines(c, f->whole);
}

static bool
is_identity(const struct mime_part *p)
{
	return mime_encoding(p) == MIME_IDENTITY;
}

/* A leaf that gets an encoding it did not say it has must say what it is. */
static void
add_missing(struct converter *c, const struct mime_part *p,
	const char *encoding, bool has_version)
{
	bool top = p->parent == NULL || p->parent->message;
	if (top && !has_version)
		buf_adds(c->out, "MIME-Version: 1.0\r\n");
	if (p->fields[MIME_TYPE].p == NULL && !p->multipart)
		buf_printf(c->out, "Content-Type: text/plain; charset=%s\r\n",
			charset_is_utf8(mime_body(c->message, p)) ? "utf-8"
							: "unknown-8bit");
	buf_printf(c->out, "Content-Transfer-Encoding: %s\r\n", encoding);
}

static bool
ends_in_empty_line(struct str header)
{
	return str_eq(header, STR("\r\n")) || str_eq(header, STR("\n")) ||
		str_ends(header, STR("\n\r\n")) ||
		str_ends(header, STR("\n\n"));
}

/* The header with this encoding; NULL: as it is.  One within others that no
 * empty line ends is ended by the delimiter behind it, as long as nothing of it
 * changes. */
static void
copy_header(struct converter *c, const struct mime_part *p,
	const char *encoding)
{
	struct str whole = mime_header(c->message, p), rest = whole;
	struct header_field f;
	bool has_version = false;
	if (p->parent == NULL || p->parent->message)
		rest = header_begin(whole);
	struct str before = str_head(whole, whole.n - rest.n);
	if (offends(c, before))
		refuse(c, 3, "the line before the header cannot be changed");
	buf_add(c->out, before);
	if (p->parent != NULL && !p->message && !ends_in_empty_line(rest) &&
		(encoding != NULL || offends(c, rest)))
		refuse(c, 3, "a header has no end");
	while (header_next(&rest, &f)) {
		has_version = has_version ||
			str_eq_nocase(f.name, STR("MIME-Version"));
		if (encoding == NULL || !str_eq_nocase(f.name,
			STR("Content-Transfer-Encoding")))
			add_field(c, &f);
	}
	if (encoding != NULL)
		add_missing(c, p, encoding, has_version);
	/* What header_next took for no field is body from here on. */
	buf_add(c->out, rest);
	/* A message within begins with a header of its own. */
	if (encoding != NULL || p->message ||
		ends_in_empty_line(mime_header(c->message, p)))
		buf_adds(c->out, "\r\n");
	c->at = p->body.offset;
}

/* Where no empty line is between, what stands before the parts might be taken
 * for a field once it is converted, and what is no delimiter yet becomes one
 * once the header gets an end. */
static void
check_preamble(struct converter *c, const struct mime_part *p, bool changes)
{
	struct str rest = str_skip(c->message, p->body.offset);
	if (!ends_in_empty_line(mime_header(c->message, p)) && !p->message &&
		(changes || offends(c, str_head(rest,
			p->child->start.offset - p->body.offset))))
		refuse(c, 3, "a header has no end");
}

/* ------------------------------------------------------------------ parts */

static bool
is_sealed(const struct mime_part *p)
{
	for (; p != NULL; p = p->parent)
		if (str_eq(p->major, STR("multipart")) &&
			(str_eq(p->minor, STR("signed")) ||
				str_eq(p->minor, STR("encrypted"))))
			return true;
	return false;
}

/* The octets meant, of a part whose own encoding was not kept to. */
static struct str
decoded(struct converter *c, const struct mime_part *p, struct str body)
{
	struct buf *out = buf_new(c->arena);
	struct base64_stream b64 = {.have = 0};
	struct qp_stream qp = {.held_count = 0};
	switch (mime_encoding(p)) {
	case MIME_BASE64:
		base64_feed(&b64, body, out);
		break;
	case MIME_QP:
		qp_feed(&qp, body, out);
		qp_end(&qp, out);
		break;
	case MIME_IDENTITY:
		return body;
	case MIME_UNKNOWN:
		refuse(c, 3, "a part has an unknown encoding");
		break;
	}
	return out->n > 0 ? buf_str(out) : STR("");
}

/* Mostly coded, it could not be read as it is anyway. */
static bool
prefers_base64(struct str s)
{
	size_t coded = 0;
	for (size_t i = 0; i < s.n; i++)
		coded += (unsigned char)s.p[i] >= 0x80 || s.p[i] == '=';
	return coded > s.n / 3;
}

/* RFC 6532 3.5, 6533: of composite types these alone may be encoded. */
static bool
is_global(const struct mime_part *p)
{
	return str_eq(p->major, STR("message")) &&
		str_starts(p->minor, STR("global"));
}

static void
copy_leaf(struct converter *c, const struct mime_part *p)
{
	struct str body = mime_body(c->message, p);
	if (!offends(c, body)) {
		copy_header(c, p, NULL);
		copy_gap(c, p->end.offset);
		return;
	}
	if (c->sealed)
		refuse(c, 3, "a signed or encrypted part cannot be changed");
	if (str_eq(p->major, STR("multipart")) ||
		(str_eq(p->major, STR("message")) && !is_global(p)))
		refuse(c, 3, "a part cannot be encoded");
	body = decoded(c, p, body);
	/* A message may have delimiters of what it lies in, which were none as
	 * long as its own parts were seen. */
	bool text = (str_eq(p->major, STR("text")) ||
			(is_global(p) && p->child == NULL)) &&
		!is_binary(body) && !prefers_base64(body);
	copy_header(c, p, text ? "quoted-printable" : "base64");
	if (text)
		qp_encode(c->out, body, true);
	else
		base64_encode_lines(c->out, body);
	c->at = p->end.offset;
}

/* What contains others is as its parts are: no longer 8bit or binary. */
static void
copy_container(struct converter *c, const struct mime_part *p)
{
	bool labelled = p->fields[MIME_ENCODING].p != NULL && is_identity(p);
	bool clean = (c->avoid & CONVERT_8BIT) != 0;
	bool changes = labelled && !c->sealed &&
		(clean || (c->avoid & CONVERT_BINARY));
	check_preamble(c, p, changes);
	if (changes)
		copy_header(c, p, clean ? "7bit" : "8bit");
	else
		copy_header(c, p, NULL);
}

/* A message in UTF-8 is encoded as a whole: what is in its addresses has no
 * other form. */
static bool
is_whole(const struct converter *c, const struct mime_part *p)
{
	return p->child == NULL || (is_global(p) &&
		(c->avoid & CONVERT_8BIT) &&
		!str_is_ascii(mime_body(c->message, p)));
}

static struct mime_part *
last_within(struct mime_part *p)
{
	while (p->child != NULL)
		for (p = p->child; p->next != NULL; p = p->next)
			;
	return p;
}

struct status
convert_message(struct arena *a, struct str message, unsigned avoid,
	struct buf *out)
{
	struct converter c = {.arena = a, .message = message, .avoid = avoid,
		.out = out, .status = status_fine()};
	struct mime_part *p = mime_parse(a, message);
	for (; p != NULL && status_is_fine(c.status); p = mime_walk(p)) {
		copy_gap(&c, p->start.offset);
		c.sealed = is_sealed(p->parent);
		if (is_whole(&c, p)) {
			copy_leaf(&c, p);
			p = last_within(p);
		} else {
			copy_container(&c, p);
		}
	}
	copy_gap(&c, message.n);
	return c.status;
}
