/* SPDX-License-Identifier: ISC */
/*
 * Replays files, and the files of folders, through one fuzz entry, so that
 * any compiler's build runs what a fuzzer once found.  Counts as libcheck
 * does; the last name shown before a crash is the input that did it.
 */
#include "base/arena.h"
#include "base/buf.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { PIECE = 64 * 1024 };

static bool
replay_file(const char *path)
{
	struct arena *a = arena_new("replay");
	struct buf *b = buf_new(a);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = -1;
	while (fd >= 0 && (n = read(fd, buf_room(b, PIECE), PIECE)) > 0)
		buf_grew(b, (size_t)n);
	if (fd >= 0)
		close(fd);
	puts(path);
	fflush(stdout);
	if (n == 0)
		LLVMFuzzerTestOneInput(
			b->n == 0 ? (const uint8_t *)"" : (void *)b->p, b->n);
	arena_free(a);
	return n == 0;
}

static int
replay(const char *path, unsigned *failed)
{
	struct stat st;
	DIR *d = opendir(path);
	int count = 0;
	if (d == NULL) {
		*failed += !replay_file(path);
		return 1;
	}
	for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
		char name[4096];
		snprintf(name, sizeof name, "%s/%s", path, e->d_name);
		if (stat(name, &st) != 0 || !S_ISREG(st.st_mode))
			continue;
		*failed += !replay_file(name);
		count++;
	}
	closedir(d);
	return count;
}

int
main(int argc, char **argv)
{
	unsigned failed = 0;
	int count = 0;
	for (int i = 1; i < argc; i++)
		count += replay(argv[i], &failed);
	printf("Checks: %d, Failures: %u, Errors: 0\n", count, failed);
	return failed == 0 && count > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
