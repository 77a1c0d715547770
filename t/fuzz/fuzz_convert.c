/* SPDX-License-Identifier: ISC */
/*
 * Fuzz entry of the conversion of messages: whatever goes in, what comes out
 * keeps what was promised, has as many parts, and a reader decodes from each
 * the octets it would have decoded before.
 */
#include "base/arena.h"
#include "base/buf.h"
#include "mail/convert.h"
#include "mail/encode.h"
#include "mail/mime.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void
check_promise(struct str s, unsigned avoid)
{
	size_t line = 0;
	for (size_t i = 0; i < s.n; i++) {
		bool lf = s.p[i] == '\n';
		if (avoid & CONVERT_8BIT)
			assert((unsigned char)s.p[i] < 0x80);
		if (avoid & CONVERT_BINARY) {
			assert(s.p[i] != 0);
			assert(!lf || (i > 0 && s.p[i - 1] == '\r'));
		}
		line = lf ? 0 : line + 1;
		if (avoid & CONVERT_LONG)
			assert(line <= CONVERT_LINE_MOST + 1);
	}
}

static struct str
decoded(struct arena *a, struct str message, const struct mime_part *p)
{
	struct buf *out = buf_new(a);
	struct str body = mime_body(message, p);
	struct base64_stream b64 = {.have = 0};
	struct qp_stream qp = {.held_count = 0};
	if (mime_encoding(p) == MIME_BASE64) {
		base64_feed(&b64, body, out);
	} else if (mime_encoding(p) == MIME_QP) {
		qp_feed(&qp, body, out);
		qp_end(&qp, out);
	} else {
		buf_add(out, body);
	}
	return buf_str(out);
}

static void
check_parts(struct arena *a, struct str before, struct str after)
{
	struct mime_part *p = mime_parse(a, before);
	struct mime_part *q = mime_parse(a, after);
	for (; p != NULL && q != NULL; p = mime_walk(p), q = mime_walk(q)) {
		assert(q->child == NULL || p->child != NULL);
		if (q->child == NULL)
			assert(str_eq(decoded(a, before, p),
				decoded(a, after, q)));
		/* A message in UTF-8 may have been encoded as a whole. */
		if (q->child == NULL && p->child != NULL) {
			assert(str_eq(p->minor, STR("global")));
			while (p->child != NULL)
				for (p = p->child; p->next != NULL; p = p->next)
					;
		}
	}
	assert(p == NULL && q == NULL);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct str message = str_of(data, n);
	for (unsigned avoid = 1; avoid < 8; avoid++) {
		struct arena *a = arena_new("fuzz");
		struct buf *out = buf_new(a);
		arena_limit(a, (size_t)1 << 30);
		struct status s = convert_message(a, message, avoid, out);
		if (status_is_fine(s)) {
			check_promise(buf_str(out), avoid);
			check_parts(a, message, buf_str(out));
		}
		arena_free(a);
	}
	return 0;
}
