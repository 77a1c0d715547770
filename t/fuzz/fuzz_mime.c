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

static void
check_point(struct str message, struct mime_point p)
{
	struct str before = str_head(message, p.offset);
	assert(p.offset <= message.n);
	assert(mime_wire_size(before) == p.wire ||
		/* between CR and LF */
		str_ends(before, STR("\r")));
}

static void
check_part(struct str message, const struct mime_part *p)
{
	assert(p->start.offset <= p->body.offset);
	assert(p->body.offset <= p->end.offset);
	assert(p->body.lines <= p->end.lines);
	check_point(message, p->start);
	check_point(message, p->body);
	check_point(message, p->end);
	assert(p->end.wire - p->body.wire ==
		mime_wire_size(mime_body(message, p)));
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
	for (struct mime_part *p = mime_parse(a, message); p != NULL;
		p = mime_walk(p)) {
		check_part(message, p);
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
