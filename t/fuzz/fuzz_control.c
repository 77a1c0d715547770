/* SPDX-License-Identifier: ISC */
/* Fuzz entry of the control file of a folder, which another program may have
 * broken or an old backup brought back: what is taken from it can be told
 * again, and is read back as the same. */
#include "base/arena.h"
#include "base/buf.h"
#include "store/index.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* As control_write has it, but for the keywords, which come from the index. */
static struct str
write(struct arena *a, const struct folder_row *f)
{
	struct buf *b = buf_new(a);
	buf_printf(b, "surat-folder 1\nid %.*s\nuidvalidity %u\nuid %u\n"
		"modseq %llu\n", STR_ARG(f->mailbox_id), f->uidvalidity,
		f->uid_mark, (unsigned long long)f->modseq_mark);
	if (f->special.n > 0)
		buf_printf(b, "special %.*s\n", STR_ARG(f->special));
	return buf_str(b);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct arena *a = arena_new("fuzz");
	struct folder_row f = {0}, again = {0};
	struct str_list words;
	if (control_parse(a, str_of(data, n), &f, &words)) {
		assert(f.uidvalidity != 0 && f.uid_mark < UINT32_MAX);
		assert(f.modseq_mark <= INT64_MAX / 2);
		for (size_t i = 0; i < words.n; i++)
			assert(!str_has(words.v[i], '\n'));
		assert(control_parse(a, write(a, &f), &again, &words));
		assert(words.n == 0);
		assert(again.uidvalidity == f.uidvalidity &&
			again.uid_mark == f.uid_mark &&
			again.modseq_mark == f.modseq_mark);
		assert(str_eq(again.mailbox_id, f.mailbox_id));
		assert(str_eq(again.special, f.special));
	}
	arena_free(a);
	return 0;
}
