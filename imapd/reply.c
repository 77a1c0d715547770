/* SPDX-License-Identifier: ISC */
/*
 * What the server says: tagged and untagged lines, atoms and strings; RFC 3501
 * 7 and 9, response codes of RFC 5530.  Strict to the
 * octet: clients break on a space too many.
 */
#include "imapd.h"
#include "base/buf.h"
#include "mail/structure.h"

#include <stdio.h>

static const char *const results[] = {
	[IMAP_OK] = "OK",
	[IMAP_NO] = "NO",
	[IMAP_BAD] = "BAD",
};

/* RFC 3463 subject and detail to RFC 5530 code; the first that fits. */
static const struct {
	enum status_class class; /* 0: any */
	int subject, detail;     /* detail -1: any */
	struct str code;
} codes[] = {
	{0, 2, 2, STR_INIT("OVERQUOTA")},
	{0, 2, 1, STR_INIT("NOPERM")},
	{0, 2, 3, STR_INIT("TOOBIG")},
	{0, 3, 4, STR_INIT("TOOBIG")},
	{STATUS_NEVER, 1, 1, STR_INIT("NONEXISTENT")},
	{STATUS_NEVER, 1, 3, STR_INIT("CANNOT")},
	{STATUS_NEVER, 1, 4, STR_INIT("ALREADYEXISTS")},
	{STATUS_NEVER, 2, 0, STR_INIT("CANNOT")},
	{STATUS_NEVER, 5, 3, STR_INIT("LIMIT")},
	{STATUS_NEVER, 6, 0, STR_INIT("EXPUNGEISSUED")},
	{STATUS_NEVER, 6, 3, STR_INIT("UNKNOWN-CTE")},
	{STATUS_NEVER, 7, -1, STR_INIT("NOPERM")},
	{STATUS_LATER, 3, -1, STR_INIT("UNAVAILABLE")},
	{STATUS_LATER, 2, -1, STR_INIT("INUSE")},
};

struct imap_reply
reply_status(struct status st)
{
	struct imap_reply r = {.result = IMAP_NO, .text = st.text};
	if (status_is_fine(st))
		r.result = IMAP_OK;
	for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
		if ((codes[i].class != 0 && codes[i].class != st.class) ||
			codes[i].subject != st.subject ||
			(codes[i].detail >= 0 && codes[i].detail != st.detail))
			continue;
		r.code = codes[i].code;
		break;
	}
	return r;
}

/* A line of text cannot be empty (RFC 3501 9, resp-text), nor hold controls,
 * which texts made of others' words might. */
static void
add_text(struct buf *out, struct str text)
{
	if (text.n == 0)
		text = STR("Done");
	for (size_t i = 0; i < text.n; i++) {
		unsigned char c = (unsigned char)text.p[i];
		buf_addc(out, c < 0x20 || c > 0x7e ? '?' : (char)c);
	}
}

void
reply_line(struct conn *c, struct str tag, struct imap_reply r)
{
	struct buf *out = conn_out(c);
	if (r.result == IMAP_SILENT)
		return;
	buf_add(out, tag.n == 0 ? STR("*") : tag);
	buf_addc(out, ' ');
	buf_adds(out, results[r.result]);
	buf_addc(out, ' ');
	if (r.code.n > 0) {
		buf_addc(out, '[');
		buf_add(out, r.code);
		buf_adds(out, "] ");
	}
	add_text(out, r.text);
	buf_adds(out, "\r\n");
	conn_pace(c);
}

void
reply_untagged(struct conn *c, const char *fmt, ...)
{
	struct buf *out = conn_out(c);
	va_list ap, again;
	va_start(ap, fmt);
	va_copy(again, ap);
	int n = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	buf_adds(out, "* ");
	if (n > 0) {
		vsnprintf(buf_room(out, (size_t)n + 1), (size_t)n + 1, fmt, ap);
		buf_grew(out, (size_t)n);
	}
	va_end(ap);
	buf_adds(out, "\r\n");
	conn_pace(c);
}

void
reply_string(struct buf *out, struct str text)
{
	structure_nstring(out, text);
}

static void
put_quoted(struct buf *out, struct str text, unsigned char most)
{
	buf_addc(out, '"');
	for (size_t i = 0; i < text.n; i++) {
		unsigned char c = (unsigned char)text.p[i];
		if (c == '"' || c == '\\')
			buf_addc(out, '\\');
		buf_addc(out, c < 0x20 || c == 0x7f || c > most ? '?' : (char)c);
	}
	buf_addc(out, '"');
}

void
reply_quoted(struct buf *out, struct str text)
{
	put_quoted(out, text, 0x7e);
}

void
reply_utf8(struct buf *out, struct str text)
{
	put_quoted(out, text, 0xff);
}

/* NIL would be read as no string where a client expects an nstring. */
static bool
fits_atom(struct str text)
{
	if (text.n == 0 || str_eq_nocase(text, STR("NIL")))
		return false;
	for (size_t i = 0; i < text.n; i++)
		if (text.p[i] <= 0x20 || text.p[i] >= 0x7f ||
			str_has(STR("(){%*\"\\"), text.p[i]))
			return false;
	return true;
}

void
reply_astring(struct buf *out, struct str text)
{
	if (fits_atom(text))
		buf_add(out, text);
	else
		structure_nstring(out, text);
}
