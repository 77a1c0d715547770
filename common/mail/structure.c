/* SPDX-License-Identifier: ISC */
/*
 * Rendering.  The tree is walked with an explicit way back (closing text is
 * written when a part's last child is done), so depth costs no stack.  What
 * is parsed on the way (addresses, parameters) goes as soon as it is written:
 * ten thousand parts must not cost ten thousand headers' worth of memory.
 */
#include "mail/structure.h"
#include "base/arena.h"
#include "mail/header.h"

enum { QUOTED_MOST = 1000 };

/* ------------------------------------------------------------- strings */

static bool
is_quotable(struct str s)
{
	if (s.n > QUOTED_MOST)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (c < 0x20 || c >= 0x7f)
			return false;
	}
	return true;
}

static void
quoted(struct buf *out, struct str s)
{
	char *to = buf_room(out, s.n * 2 + 2);
	size_t n = 0;
	to[n++] = '"';
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '"' || s.p[i] == '\\')
			to[n++] = '\\';
		to[n++] = s.p[i];
	}
	to[n++] = '"';
	buf_grew(out, n);
}

void
structure_nstring(struct buf *out, struct str s)
{
	if (s.p == NULL) {
		buf_adds(out, "NIL");
	} else if (is_quotable(s)) {
		quoted(out, s);
	} else {
		buf_printf(out, "{%zu}\r\n", s.n);
		size_t at = out->n;
		buf_add(out, s);
		for (; at < out->n; at++)
			if (out->p[at] == 0)
				out->p[at] = (char)0x80;
	}
}

static void
folded(struct arena *a, struct buf *out, struct str value)
{
	struct arena_mark mark = arena_mark(a);
	structure_nstring(out,
		value.p == NULL ? value : header_unfold(a, value));
	arena_rewind(a, mark);
}

/* ------------------------------------------------------------- envelope */

static void
address(struct buf *out, const struct header_address *x)
{
	buf_addc(out, '(');
	structure_nstring(out, x->name);
	buf_addc(out, ' ');
	structure_nstring(out, x->route);
	buf_addc(out, ' ');
	structure_nstring(out, x->mailbox);
	buf_addc(out, ' ');
	/* A NIL host would make a group of it (RFC 3501 7.4.2). */
	bool group = x->name.p == NULL && x->host.p == NULL;
	structure_nstring(out,
		x->host.p == NULL && !group ? STR("") : x->host);
	buf_addc(out, ')');
}

static bool
has_group(const struct header_addresses *list)
{
	for (size_t i = 0; i < list->n; i++)
		if (list->v[i].mailbox.p == NULL)
			return true;
	return false;
}

static void
addresses(struct arena *a, struct buf *out, struct str value)
{
	struct arena_mark mark = arena_mark(a);
	struct header_addresses list = header_parse_addresses(a, value);
	bool groups = has_group(&list);
	buf_adds(out, list.n == 0 ? "NIL" : "(");
	for (size_t i = 0; i < list.n; i++) {
		struct header_address x = list.v[i];
		/* A name without a domain is an address, unless groups are
		 * about and it may be one's name. */
		if (!groups && x.host.p == NULL)
			x.host = STR("");
		address(out, &x);
	}
	if (list.n > 0)
		buf_addc(out, ')');
	arena_rewind(a, mark);
}

/* Most Senders and Reply-Tos are the From once more. */
static void
again(struct buf *out, size_t from, size_t to)
{
	char *p = buf_room(out, to - from);
	memcpy(p, out->p + from, to - from);
	buf_grew(out, to - from);
}

enum envelope_field {
	E_DATE, E_SUBJECT, E_FROM, E_SENDER, E_REPLY_TO, E_TO, E_CC, E_BCC,
	E_IN_REPLY_TO, E_MESSAGE_ID, E_FIELDS
};

void
structure_envelope(struct arena *a, struct buf *out, struct str header)
{
	static const struct str names[E_FIELDS] = {STR_INIT("Date"),
		STR_INIT("Subject"), STR_INIT("From"), STR_INIT("Sender"),
		STR_INIT("Reply-To"), STR_INIT("To"), STR_INIT("Cc"),
		STR_INIT("Bcc"), STR_INIT("In-Reply-To"),
		STR_INIT("Message-ID")};
	struct str values[E_FIELDS] = {{NULL, 0}};
	struct header_field f;
	header = header_begin(header);
	while (header_next(&header, &f))
		for (int i = 0; i < E_FIELDS; i++)
			if (values[i].p == NULL &&
				str_eq_nocase(f.name, names[i]))
				values[i] = f.value;
	/* Absent or empty, they are the same as From. */
	if (values[E_SENDER].n == 0)
		values[E_SENDER] = values[E_FROM];
	if (values[E_REPLY_TO].n == 0)
		values[E_REPLY_TO] = values[E_FROM];
	size_t from = 0, from_end = 0;
	for (int i = 0; i < E_FIELDS; i++) {
		buf_addc(out, i == 0 ? '(' : ' ');
		from = i == E_FROM ? out->n : from;
		if (i > E_FROM && values[i].p == values[E_FROM].p)
			again(out, from, from_end);
		else if (i >= E_FROM && i <= E_BCC)
			addresses(a, out, values[i]);
		else
			folded(a, out, values[i]);
		from_end = i == E_FROM ? out->n : from_end;
	}
	buf_addc(out, ')');
}

/* ---------------------------------------------------------------- body */

struct writer {
	struct arena *arena;
	struct buf *out;
	struct str message;
	bool extended;
};

static void
params(struct writer *w, const struct mime_value *v)
{
	if (v->count == 0) {
		buf_adds(w->out, "NIL");
		return;
	}
	for (size_t i = 0; i < v->count; i++) {
		buf_addc(w->out, i == 0 ? '(' : ' ');
		structure_nstring(w->out, v->params[i].name);
		buf_addc(w->out, ' ');
		structure_nstring(w->out, v->params[i].value.p == NULL
				? STR("") : v->params[i].value);
	}
	buf_addc(w->out, ')');
}

static void
disposition(struct writer *w, struct str value)
{
	struct arena_mark mark = arena_mark(w->arena);
	struct mime_value v = mime_parse_value(w->arena, value);
	if (v.value.n == 0) {
		buf_adds(w->out, "NIL");
	} else {
		buf_addc(w->out, '(');
		structure_nstring(w->out, v.value);
		buf_addc(w->out, ' ');
		params(w, &v);
		buf_addc(w->out, ')');
	}
	arena_rewind(w->arena, mark);
}

/* "en, id": one string, or a list of several. */
static void
languages(struct writer *w, struct str value)
{
	struct str rest = value, tag;
	if (value.n == 0) {
		buf_adds(w->out, "NIL");
		return;
	}
	char before = '(';
	while (str_cut(&rest, ',', &tag)) {
		buf_addc(w->out, before);
		folded(w->arena, w->out, str_trim(tag));
		before = ' ';
	}
	buf_addc(w->out, ')');
}

static void
extension(struct writer *w, const struct mime_part *p, bool leaf)
{
	if (!w->extended)
		return;
	buf_addc(w->out, ' ');
	if (leaf)
		folded(w->arena, w->out, p->fields[MIME_MD5]);
	else
		params(w, &p->type);
	buf_addc(w->out, ' ');
	disposition(w, p->fields[MIME_DISPOSITION]);
	buf_addc(w->out, ' ');
	languages(w, p->fields[MIME_LANGUAGE]);
	buf_addc(w->out, ' ');
	folded(w->arena, w->out, p->fields[MIME_LOCATION]);
}

/* What a leaf is called: a multipart without parts and a message that cannot
 * be looked into must not promise what they do not have. */
static void
leaf_type(const struct mime_part *p, struct str *major, struct str *minor)
{
	struct str value = p->type.value;
	str_cut(&value, '/', major);
	*minor = value;
	if (str_eq(p->major, STR("multipart"))) {
		*major = STR("text");
		*minor = STR("plain");
	} else if (str_eq(p->major, STR("message")) && !p->message &&
		(str_eq(p->minor, STR("rfc822")) ||
			str_eq(p->minor, STR("global")))) {
		*major = STR("application");
		*minor = STR("octet-stream");
	}
}

static void
leaf_start(struct writer *w, const struct mime_part *p, struct str major,
	struct str minor)
{
	struct str encoding = p->fields[MIME_ENCODING];
	buf_addc(w->out, '(');
	structure_nstring(w->out, major);
	buf_addc(w->out, ' ');
	structure_nstring(w->out, minor);
	buf_addc(w->out, ' ');
	params(w, &p->type);
	buf_addc(w->out, ' ');
	folded(w->arena, w->out, p->fields[MIME_ID]);
	buf_addc(w->out, ' ');
	folded(w->arena, w->out, p->fields[MIME_DESCRIPTION]);
	buf_addc(w->out, ' ');
	folded(w->arena, w->out,
		encoding.n == 0 ? STR("7bit") : encoding);
	buf_addc(w->out, ' ');
	buf_addn(w->out, p->end.wire - p->body.wire);
}

static void
lines(struct writer *w, const struct mime_part *p)
{
	buf_addc(w->out, ' ');
	buf_addn(w->out, p->end.lines - p->body.lines);
}

/* Everything up to the first child. */
static void
begin(struct writer *w, const struct mime_part *p)
{
	struct str major, minor;
	if (p->multipart) {
		buf_addc(w->out, '(');
		return;
	}
	leaf_type(p, &major, &minor);
	leaf_start(w, p, major, minor);
	if (p->message) {
		buf_addc(w->out, ' ');
		structure_envelope(
			w->arena, w->out, mime_header(w->message, p->child));
		buf_addc(w->out, ' ');
	} else if (str_eq_nocase(major, STR("text"))) {
		lines(w, p);
	}
}

/* Everything after the last child. */
static void
end(struct writer *w, const struct mime_part *p)
{
	if (p->multipart) {
		struct str rest = p->type.value, major;
		str_cut(&rest, '/', &major);
		buf_addc(w->out, ' ');
		structure_nstring(w->out, rest);
	} else if (p->message) {
		lines(w, p);
	}
	extension(w, p, !p->multipart);
	buf_addc(w->out, ')');
}

void
structure_body(struct arena *a, struct buf *out, struct str message,
	const struct mime_part *root, bool extended)
{
	struct writer w = {a, out, message, extended};
	const struct mime_part *p = root;
	for (;;) {
		begin(&w, p);
		if (p->child != NULL) {
			p = p->child;
			continue;
		}
		end(&w, p);
		while (p != root && p->next == NULL) {
			p = p->parent;
			end(&w, p);
		}
		if (p == root)
			return;
		p = p->next;
	}
}
