/* SPDX-License-Identifier: ISC */
/* Fuzz entry of mbox files: what is written never begins another message, and
 * in a file of whatever content a delivery that may have been done is there
 * once afterwards, with all that stood before it. */
#include "base/arena.h"
#include "mail/mbox.h"
#include "store/spool.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void
check_quoting(struct arena *a, struct str text)
{
	struct buf *b = buf_new(a);
	mbox_message(b, text);
	struct str all = buf_str(b);
	assert(str_ends(all, STR("\n")) && !str_starts(all, STR("From ")));
	assert(str_search(all, STR("\nFrom ")) == all.n);
}

static struct str
read_file(struct arena *a, const char *path)
{
	struct stat st;
	int fd = open(path, O_RDONLY);
	assert(fd >= 0 && fstat(fd, &st) == 0);
	char *p = arena_alloc(a, (size_t)st.st_size + 1);
	assert(read(fd, p, (size_t)st.st_size) == st.st_size);
	close(fd);
	return str_of(p, (size_t)st.st_size);
}

static void
check_file(struct arena *a, const char *directory, struct str before)
{
	const struct spool s = {.directory = str_from(directory),
		.name = STR("box")};
	const struct delivery_rules rules = {.each = false};
	const char *path = str_cstr(a, str_printf(a, "%s/box", directory));
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert(fd >= 0 && write(fd, before.p, before.n) == (ssize_t)before.n);
	close(fd);
	struct str after[2];
	for (int i = 0; i < 2; i++) {
		struct delivery d = {.name = STR("1"), .verify = true,
			.head = STR("A: b\r\n"), .sender = STR("s@t"),
			.content = STR("C: d\r\n\r\nhello\r\n"), .date = 0};
		spool_deliver(&s, a, &d, 1, &rules);
		assert(status_is_fine(d.status) && (i == 0 || d.was_there));
		after[i] = read_file(a, path);
	}
	assert(str_eq(after[0], after[1]));
	/* nothing is taken away but the beginning of this very message */
	size_t same = 0;
	while (same < before.n && same < after[0].n &&
		before.p[same] == after[0].p[same])
		same++;
	struct str rest = str_skip(before, same);
	assert(rest.n == 0 || str_search(before, STR("From s@t Thu")) <=
		same);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct arena *a = arena_new("fuzz");
	char directory[] = "/tmp/fuzz-mbox-XXXXXX";
	check_quoting(a, str_of(data, n));
	assert(mkdtemp(directory) != NULL);
	check_file(a, directory, str_of(data, n));
	unlink(str_cstr(a, str_printf(a, "%s/box", directory)));
	rmdir(directory);
	arena_free(a);
	return 0;
}
