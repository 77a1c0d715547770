/* SPDX-License-Identifier: ISC */
#include "scratch.h"
#include "base/arena.h"

#include <assert.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static char home[100];

static int
remove_one(const char *path, const struct stat *st, int what, struct FTW *ftw)
{
	(void)st, (void)what, (void)ftw;
	return remove(path);
}

void
scratch_remove(void)
{
	if (home[0] != '\0')
		nftw(home, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	home[0] = '\0';
}

static void
add_message(int number, const char *text)
{
	char path[sizeof home + 40];
	snprintf(path, sizeof path, "%s/Maildir/new/%d.fuzz.x", home, number);
	FILE *f = fopen(path, "w");
	assert(f != NULL && fputs(text, f) >= 0);
	fclose(f);
}

struct str
scratch_home(const char *const *texts)
{
	static const char *const directories[] = {
		"Maildir", "Maildir/new", "Maildir/cur", "Maildir/tmp"};
	static bool before;
	const char *below = getenv("TMPDIR");
	char path[sizeof home + 40];
	if (!before)
		atexit(scratch_remove);
	before = true;
	snprintf(home, sizeof home, "%s/fuzz-home-XXXXXX",
		below == NULL ? "/tmp" : below);
	assert(mkdtemp(home) != NULL);
	for (int i = 0; i < 4; i++) {
		snprintf(path, sizeof path, "%s/%s", home, directories[i]);
		assert(mkdir(path, 0700) == 0);
	}
	for (int i = 0; texts[i] != NULL; i++)
		add_message(i + 1, texts[i]);
	return str_from(home);
}

int
scratch_file(int *keep, struct str text)
{
	if (*keep < 0)
		*keep = memfd_create("fuzz", MFD_CLOEXEC);
	assert(ftruncate(*keep, 0) == 0 && lseek(*keep, 0, SEEK_SET) == 0);
	assert(write(*keep, text.p, text.n) == (ssize_t)text.n);
	assert(lseek(*keep, 0, SEEK_SET) == 0);
	return dup(*keep);
}

struct str
scratch_text(struct arena *a, int keep)
{
	off_t size = lseek(keep, 0, SEEK_END);
	char *text = arena_alloc(a, (size_t)size + 1);
	assert(pread(keep, text, (size_t)size, 0) == size);
	return str_of(text, (size_t)size);
}
