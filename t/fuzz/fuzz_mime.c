/* SPDX-License-Identifier: ISC */
/*
 * Fuzz entry of MIME trees and what is rendered from them: a legal tree whose
 * points agree with the octets, and answers a strict reader can read.
 */
#include "base/arena.h"
#include "base/buf.h"
#include "mail/charset.h"
#include "mail/facts.h"
#include "mail/mime.h"
#include "t/unit/mail/grammar.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* For each offset what mime_wire_size says of all before it. */
static size_t *
wire_sizes(struct arena *a, struct str message)
{
	size_t *wire = arena_array(a, message.n + 1, sizeof *wire);
	wire[0] = 0;
	for (size_t i = 0; i < message.n; i++)
		wire[i + 1] = wire[i] + 1 + (message.p[i] == '\n' &&
			(i == 0 || message.p[i - 1] != '\r'));
	assert(wire[message.n] == mime_wire_size(message));
	return wire;
}

static bool
is_within_crlf(struct str message, size_t offset)
{
	return str_ends(str_head(message, offset), STR("\r")) &&
		str_starts(str_skip(message, offset), STR("\n"));
}

static void
check_point(struct str message, const size_t *wire, struct mime_point p)
{
	assert(p.offset <= message.n);
	assert(wire[p.offset] == p.wire || is_within_crlf(message, p.offset));
}

static void
check_part(struct str message, const size_t *wire, const struct mime_part *p)
{
	assert(p->start.offset <= p->body.offset);
	assert(p->body.offset <= p->end.offset);
	assert(p->body.lines <= p->end.lines);
	check_point(message, wire, p->start);
	check_point(message, wire, p->body);
	check_point(message, wire, p->end);
	assert(p->end.wire - p->body.wire ==
		wire[p->end.offset] - wire[p->body.offset] +
		is_within_crlf(message, p->body.offset));
	assert(p->multipart == (p->child != NULL && !p->message));
	assert(!p->message || p->child != NULL);
	assert(p->major.n > 0 && p->minor.n > 0);
	for (const struct mime_part *c = p->child; c != NULL; c = c->next) {
		assert(c->parent == p);
		assert(c->start.offset >= p->body.offset);
		assert(c->end.offset <= p->end.offset);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct arena *a = arena_new("fuzz");
	struct str message = str_of(data, n);
	struct facts f;
	int parts = 0;
	size_t *wire = wire_sizes(a, message);
	for (struct mime_part *p = mime_parse(a, message); p != NULL;
		p = mime_walk(p)) {
		check_part(message, wire, p);
		parts++;
	}
	assert(parts <= MIME_PARTS_MOST);
	facts_find(a, message, &f);
	assert(grammar_is_envelope(f.envelope));
	assert(grammar_is_body(f.body, false));
	assert(grammar_is_body(f.bodystructure, true));
	assert(charset_is_utf8(f.preview) && !str_has(f.preview, '\n'));
	assert(charset_is_utf8(f.subject) && charset_is_utf8(f.sort_subject));
	assert(charset_is_utf8(f.from) && charset_is_utf8(f.display_from));
	arena_free(a);
	return 0;
}
