/* SPDX-License-Identifier: ISC */
/*
 * Sections of messages, RFC 3501 6.4.5 (BODY[...]) and 9 (section-part): from
 * part numbers to octets, and onto the wire as literals.  Nothing is copied
 * but header fields picked out.
 */
#include "fetch.h"
#include "base/arena.h"
#include "base/buf.h"
#include "mail/header.h"

enum { CHUNK = 16 * 1024 };

void
body_close(struct imap_session *s)
{
	if (s->body == NULL)
		return;
	binary_forget(s->body);
	arena_free(s->body->arena);
	s->body = NULL;
}

struct status
body_open(struct imap_session *s, const struct message_row *row,
	struct body **out)
{
	*out = s->body;
	if (s->body != NULL && s->body->uid == row->uid)
		return status_fine();
	*out = NULL;
	body_close(s);
	struct arena *a = arena_new("body");
	struct body *b = arena_one(a, struct body);
	b->arena = a;
	b->uid = row->uid;
	struct status st = mailbox_read_row(s->mailbox, a, row, &b->file);
	if (!status_is_fine(st)) {
		st.text = str_copy(s->transaction, st.text);
		arena_free(a);
		return st;
	}
	*out = s->body = b;
	return st;
}

struct status
body_unread(struct imap_session *s, uint32_t uid)
{
	struct message_file file;
	struct arena *a = arena_new("unread");
	struct status st = mailbox_read(s->mailbox, a, uid, &file);
	struct str why = status_is_fine(st) ? STR("it could not be read")
					    : st.text;
	if (st.class != STATUS_NEVER)
		st = status_later(3, 0, str_printf(s->transaction,
			"UID %u: %.*s", uid, STR_ARG(why)));
	else
		st = status_fine();
	arena_free(a);
	return st;
}

/* ---------------------------------------------------------------- parts */

/* Part n within a part.  What is no multipart has one part, itself (RFC 3501
 * 6.4.5). */
static const struct mime_part *
child(const struct mime_part *p, uint32_t n)
{
	if (!p->multipart)
		return n == 1 ? p : NULL;
	for (p = p->child; p != NULL && n > 1; n--)
		p = p->next;
	return p;
}

static const struct mime_part *
find_part(const struct mime_part *root, const struct section *s)
{
	const struct mime_part *p = root;
	for (size_t i = 0; p != NULL && i < s->depth; i++) {
		bool leaf = !p->multipart && i > 0;
		if (leaf && p->message && p->child != NULL)
			p = p->child;
		else if (leaf)
			return NULL;
		p = child(p, s->path[i]);
	}
	return p;
}

static bool
is_named(const struct section *s, struct str name)
{
	for (size_t i = 0; i < s->fields.n; i++)
		if (str_eq_nocase(s->fields.v[i], name))
			return true;
	return false;
}

/* Fields in their order, folded as they are, and the empty line. */
struct str
body_pick(struct arena *a, struct str header, const struct section *s)
{
	struct buf *out = buf_new(a);
	struct header_field field;
	bool wanted = s->kind == SECTION_FIELDS;
	header = header_begin(header);
	while (header_next(&header, &field)) {
		if (is_named(s, field.name) != wanted)
			continue;
		buf_add(out, field.whole);
		if (!str_ends(field.whole, STR("\n")))
			buf_addc(out, '\n');
	}
	buf_addc(out, '\n');
	return buf_str(out);
}

/* HEADER and TEXT are a message's: of the whole, or of a part that is one. */
static const struct mime_part *
message_of(const struct mime_part *p, const struct section *s)
{
	if (s->depth == 0)
		return p;
	return p->message ? p->child : NULL;
}

struct mime_part *
body_tree(struct body *b)
{
	if (b->root == NULL)
		b->root = mime_parse(b->arena, b->file.raw);
	return b->root;
}

const struct mime_part *
body_part(struct body *b, const struct section *s)
{
	return find_part(body_tree(b), s);
}

bool
body_section(struct arena *a, struct body *b, const struct section *s,
	struct str *raw)
{
	struct str all = b->file.raw;
	bool whole = s->depth == 0 && s->kind == SECTION_ALL;
	*raw = all;
	if (whole)
		return true;
	const struct mime_part *p = find_part(body_tree(b), s);
	if (p == NULL)
		return false;
	if (s->kind == SECTION_ALL || s->kind == SECTION_MIME) {
		*raw = s->kind == SECTION_ALL ? mime_body(all, p)
					      : mime_header(all, p);
		return true;
	}
	p = message_of(p, s);
	if (p == NULL)
		return false;
	if (s->kind == SECTION_TEXT)
		*raw = mime_body(all, p);
	else if (s->kind == SECTION_HEADER)
		*raw = mime_header(all, p);
	else
		*raw = body_pick(a, mime_header(all, p), s);
	return true;
}

/* ----------------------------------------------------------------- wire */

/* A literal holds no NUL (RFC 3501 9, CHAR8); its length must not change. */
static void
mask_nul(char *p, size_t n)
{
	for (char *nul; n > 0 && (nul = memchr(p, 0, n)) != NULL;) {
		*nul = (char)0x80;
		n -= (size_t)(nul + 1 - p);
		p = nul + 1;
	}
}

static void
write_wire(struct conn *c, struct message_wire *w, uint64_t left, bool mask)
{
	while (left > 0 && conn_state(c) == CONN_OPEN) {
		size_t want = left < CHUNK ? (size_t)left : CHUNK;
		char *to = buf_room(conn_out(c), want);
		size_t n = message_wire_fill(w, to, want);
		if (n == 0)
			break;
		if (mask)
			mask_nul(to, n);
		buf_grew(conn_out(c), n);
		conn_pace(c);
		left -= n;
	}
}

/* Clients fetch large parts in pieces, one after the other: the next begins
 * where the last one ended, and the size is known.  Picked fields are made
 * anew each time, perhaps in the same place. */
static void
take_stretch(struct body *b, struct str raw)
{
	struct str all = b->file.raw;
	bool mine = all.n > 0 && raw.p >= all.p && raw.p < all.p + all.n;
	bool whole = raw.p == all.p && raw.n == all.n;
	if (mine && b->raw.p == raw.p && b->raw.n == raw.n)
		return;
	b->raw = raw;
	b->size = whole ? b->file.size : message_wire_size(raw);
	b->at = 0;
	b->wire = (struct message_wire){.raw = raw};
}

static void
move_to(struct body *b, uint64_t from)
{
	if (from < b->at) {
		b->at = 0;
		b->wire = (struct message_wire){.raw = b->raw};
	}
	message_wire_skip(&b->wire, from - b->at);
	b->at = from;
}

/* A stretch that begins past the end is the empty string. */
void
body_write(struct conn *c, struct body *b, struct str raw,
	const struct section *s)
{
	take_stretch(b, raw);
	uint64_t size = b->size, from = 0;
	if (s->partial) {
		from = s->from < size ? s->from : size;
		size = size - from < s->most ? size - from : s->most;
	}
	bool any = s->form == SECTION_BINARY && str_has(raw, 0);
	move_to(b, from);
	buf_adds(conn_out(c), any ? " ~{" : " {");
	buf_addn(conn_out(c), size);
	buf_adds(conn_out(c), "}\r\n");
	write_wire(c, &b->wire, size, !any);
	b->at += size;
}
