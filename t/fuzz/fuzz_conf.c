/* SPDX-License-Identifier: ISC */
/*
 * Fuzz entry of configuration values: every line is SECTION.OPTION=VALUE, as
 * --set has it.  What is taken can be written out, as suratd does for its
 * children, and reads back as the same.
 */
#include "base/arena.h"
#include "base/buf.h"
#include "sys/conf.h"

#include <assert.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { LINES_MOST = 20 };

static const struct conf *
read_text(struct arena *a, struct str text, struct str_list overrides,
	struct buf *errors)
{
	static int fd = -1;
	if (fd < 0)
		fd = memfd_create("conf", MFD_CLOEXEC);
	if (ftruncate(fd, 0) != 0 ||
		pwrite(fd, text.p, text.n, 0) != (ssize_t)text.n ||
		lseek(fd, 0, SEEK_SET) != 0)
		return NULL;
	return conf_read(a, fd, "surat.conf", overrides, errors);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct arena *a = arena_new("fuzz");
	struct buf *errors = buf_new(a), *once = buf_new(a),
		*twice = buf_new(a);
	struct str lines = str_of(data, n), v[LINES_MOST];
	struct str_list sets = {v, 0}, none = {v, 0};
	/* No NUL: they come from a command line. */
	while (sets.n < LINES_MOST && str_cut(&lines, '\n', &v[sets.n]))
		sets.n += !str_has(v[sets.n], 0);
	const struct conf *c = read_text(a, STR(""), sets, errors);
	assert((c == NULL) == (errors->n > 0));
	if (c != NULL) {
		conf_write(c, once);
		const struct conf *again =
			read_text(a, buf_str(once), none, errors);
		assert(again != NULL);
		conf_write(again, twice);
		assert(str_eq(buf_str(once), buf_str(twice)));
	}
	arena_free(a);
	return 0;
}
