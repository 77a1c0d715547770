/* SPDX-License-Identifier: ISC */
/*
 * BINARY, RFC 3516 4.2: parts as octets.  What is not encoded is sent as it
 * is; what is, is decoded once and kept as long as the message is open, as
 * clients fetch large parts in pieces.
 */
#include "fetch.h"
#include "base/arena.h"
#include "base/buf.h"
#include "mail/encode.h"

enum { CHUNK = 16 * 1024 };

void
binary_forget(struct body *b)
{
	if (b->decoded_arena != NULL)
		arena_free(b->decoded_arena);
	b->decoded_arena = NULL;
	b->decoded_part = NULL;
}

/* Whoever contains others has no encoding (RFC 2045 6.4), whatever it says. */
static enum mime_encoding
encoding_of(const struct mime_part *p)
{
	return p->child != NULL ? MIME_IDENTITY : mime_encoding(p);
}

/* In wire form first: a line end of quoted-printable is CRLF. */
static void
decode(struct buf *out, struct str raw, enum mime_encoding how)
{
	struct message_wire w = {.raw = raw};
	struct base64_stream base64 = {0};
	struct qp_stream qp = {.held_count = 0};
	char chunk[CHUNK];
	size_t n;
	while ((n = message_wire_fill(&w, chunk, sizeof chunk)) > 0)
		if (how == MIME_BASE64)
			base64_feed(&base64, str_of(chunk, n), out);
		else
			qp_feed(&qp, str_of(chunk, n), out);
	if (how == MIME_QP)
		qp_end(&qp, out);
}

static struct str
decoded(struct body *b, const struct mime_part *p)
{
	if (b->decoded_part == p)
		return buf_str(b->decoded);
	binary_forget(b);
	b->decoded_arena = arena_new("decoded");
	b->decoded = buf_new(b->decoded_arena);
	decode(b->decoded, mime_body(b->file.raw, p), encoding_of(p));
	b->decoded_part = p;
	return buf_str(b->decoded);
}

static struct status
unknown_encoding(void)
{
	return status_never(6, 3, STR("Nobody knows that encoding"));
}

static void
write_octets(struct conn *c, struct str octets, const struct section *s)
{
	if (s->partial)
		octets = str_head(str_skip(octets, s->from), s->most);
	buf_adds(conn_out(c), str_has(octets, 0) ? " ~{" : " {");
	buf_addn(conn_out(c), octets.n);
	buf_adds(conn_out(c), "}\r\n");
	while (octets.n > 0 && conn_state(c) == CONN_OPEN) {
		struct str piece = str_head(octets, CHUNK);
		conn_write(c, piece);
		octets = str_skip(octets, piece.n);
	}
}

struct status
binary_write(struct imap_session *s, struct body *b,
	const struct section *section)
{
	struct str raw;
	const struct mime_part *p = body_part(b, section);
	enum mime_encoding how = MIME_IDENTITY;
	if (section->depth > 0 && p != NULL)
		how = encoding_of(p);
	if (p == NULL || how == MIME_UNKNOWN)
		buf_adds(conn_out(s->conn), " NIL");
	else if (how != MIME_IDENTITY)
		write_octets(s->conn, decoded(b, p), section);
	else if (body_section(s->transaction, b, section, &raw))
		body_write(s->conn, b, raw, section);
	return how == MIME_UNKNOWN ? unknown_encoding() : status_fine();
}

struct status
binary_size(struct body *b, const struct section *section, uint64_t *size)
{
	const struct mime_part *p = body_part(b, section);
	*size = 0;
	if (p == NULL)
		return status_fine();
	enum mime_encoding how =
		section->depth > 0 ? encoding_of(p) : MIME_IDENTITY;
	if (how == MIME_UNKNOWN)
		return unknown_encoding();
	if (section->depth == 0)
		*size = b->file.size;
	else if (how == MIME_IDENTITY)
		*size = message_wire_size(mime_body(b->file.raw, p));
	else
		*size = decoded(b, p).n;
	return status_fine();
}
