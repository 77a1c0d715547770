/* SPDX-License-Identifier: ISC */
/*
 * Fuzz entry of the IMAP parser: the input is what a client sends, command
 * after command.  Checks what the header of imapd/parse promises of the tree.
 */
#include "imapd/parse.h"
#include "imapd/seqset.h"
#include "base/arena.h"
#include "base/buf.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static bool
input_line(void *ctx, struct str *line)
{
	struct str *rest = ctx;
	size_t end = str_find(*rest, '\n');
	if (end == rest->n)
		return false;
	*line = str_head(*rest, end);
	if (str_ends(*line, STR("\r")))
		line->n--;
	*rest = str_skip(*rest, end + 1);
	return true;
}

static bool
input_literal(void *ctx, const struct literal *l, char *to)
{
	struct str *rest = ctx;
	if (l->size > rest->n)
		return false;
	memcpy(to, rest->p, l->size);
	*rest = str_skip(*rest, l->size);
	return true;
}

static bool
input_skip(void *ctx, uint64_t n)
{
	struct str *rest = ctx;
	if (n > rest->n)
		return false;
	*rest = str_skip(*rest, n);
	return true;
}

static void
check_set(struct arena *a, struct str text)
{
	struct uid_set set;
	struct buf *out = buf_new(a);
	if (!seqset_parse(a, text, &set))
		return;
	seqset_resolve(&set, 1000);
	for (size_t i = 1; i < set.n; i++)
		assert(set.v[i - 1].last + 1 < set.v[i].first);
	seqset_print(&set, out);
}

static size_t
check_tree(struct arena *a, const struct arg *arg, size_t depth)
{
	size_t count = 0;
	assert(depth <= 21);
	for (; arg != NULL; arg = arg->next) {
		count += 1 + check_tree(a, arg->first, depth + 1);
		assert(arg->kind == ARG_LIST || arg->first == NULL);
		assert(arg->kind == ARG_LITERAL8 || !str_has(arg->text, 0));
		if (arg->kind == ARG_ATOM)
			check_set(a, arg->text);
	}
	return count;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const struct parse_limits limits = {
		.args = 1000, .depth = 20, .octets = 4096, .swallow = 65536};
	struct str rest = str_of(data, n), line;
	struct parse_source source = {
		input_line, input_literal, input_skip, &rest};
	struct arena *a = arena_new("fuzz");
	while (input_line(&rest, &line)) {
		struct arena_mark mark = arena_mark(a);
		struct parse p;
		struct arg *args;
		parse_begin(&p, a, &source, &limits, line);
		bool fine = parse_args(&p, &args);
		assert(fine == (p.error == NULL));
		if (fine)
			assert(check_tree(a, args, 0) == p.args);
		else if (!parse_drain(&p))
			break;
		arena_rewind(a, mark);
	}
	arena_free(a);
	return 0;
}
