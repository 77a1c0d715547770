/* SPDX-License-Identifier: ISC */
/* Fuzz entry of encoded words and coded parameters: always valid UTF-8, and
 * what is encoded decodes to what it was. */
#include "base/arena.h"
#include "base/buf.h"
#include "mail/charset.h"
#include "mail/word.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct arena *a = arena_new("fuzz");
	struct buf *utf8 = buf_new(a), *words = buf_new(a), *again = buf_new(a);
	struct str text = str_of(data, n);
	word_decode(a, utf8, text);
	assert(charset_is_utf8(buf_str(utf8)));
	word_encode(words, buf_str(utf8));
	word_decode(a, again, buf_str(words));
	assert(str_eq(buf_str(again), buf_str(utf8)));
	struct mime_value v = mime_parse_value(a, text);
	assert(v.count <= MIME_PARAMS_MOST);
	assert(charset_is_utf8(word_param(a, &v, STR("name"))));
	assert(charset_is_utf8(word_param(a, &v, STR("filename"))));
	arena_free(a);
	return 0;
}
