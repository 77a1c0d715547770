/* SPDX-License-Identifier: ISC */
/*
 * Fuzz entry of the content of parts: the first line is what is searched for
 * in the message after it.  A needle taken from a part's own decoded text is
 * always found.
 */
#include "base/arena.h"
#include "base/buf.h"
#include "mail/charset.h"
#include "mail/text.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* A text as a whole, as a search sees it.  What is not UTF-8 and has no
 * charset is a guess, which depends on how much of it is seen. */
static struct str
folded(struct arena *a, struct str message, const struct mime_part *p)
{
	struct buf *raw = buf_new(a), *utf8 = buf_new(a), *out = buf_new(a);
	if (text_decode(a, message, p, raw) && charset_is_utf8(buf_str(raw)))
		charset_to_utf8(a, mime_param(&p->type, STR("charset")),
			buf_str(raw), utf8);
	charset_fold(out, buf_str(utf8));
	return buf_str(out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct arena *a = arena_new("fuzz");
	struct str message = str_of(data, n), line;
	struct buf *needle = buf_new(a);
	if (str_cut(&message, '\n', &line)) {
		charset_fold(needle, line);
		struct mime_part *root = mime_parse(a, message);
		bool body = text_search(
			a, message, root, buf_str(needle), false);
		bool text = text_search(
			a, message, root, buf_str(needle), true);
		assert(text || !body);
		for (struct mime_part *p = root; p; p = mime_walk(p)) {
			if (p->child != NULL || !str_eq(p->major, STR("text")))
				continue;
			struct str all = folded(a, message, p);
			assert(text_search(a, message, root,
				str_head(all, 100), false));
		}
	}
	arena_free(a);
	return 0;
}
