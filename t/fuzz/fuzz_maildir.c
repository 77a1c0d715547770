/* SPDX-License-Identifier: ISC */
/*
 * Fuzz entry of Maildir names: file names any program may have left there,
 * and folder names any client may have asked for.  Ours can be taken apart
 * again, and none leaves its directory.
 */
#include "base/arena.h"
#include "store/folders.h"
#include "store/maildir.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void
check_file(struct arena *a, struct str file)
{
	struct maildir_name m = maildir_parse(file);
	assert(m.base.n + m.info.n == file.n && m.unique.n <= m.base.n);
	struct str base = maildir_base(a, file, 123, 130, 77);
	struct maildir_name again = maildir_parse(base);
	assert(str_starts(m.unique, again.unique) && again.uid == 77);
	assert(base.n <= MAILDIR_BASE_MOST);
	assert(again.unique.n == m.unique.n || again.unique.n > 100);
	assert(again.has_size && again.size == 123);
	assert(again.has_wire_size && again.wire_size == 130);
	assert(str_eq(maildir_base(a, base, 123, 130, 77), base));
	unsigned flags, flags_again;
	uint32_t letters, letters_again;
	maildir_flags(m.info, &flags, &letters);
	struct str info = maildir_info(a, m.info, flags, letters);
	assert(info.n <= MAILDIR_INFO_MOST);
	maildir_flags(info, &flags_again, &letters_again);
	assert(flags == flags_again && letters == letters_again);
	assert(str_eq(maildir_info(a, info, flags, letters), info));
}

static void
check_directory(struct arena *a, struct str dir)
{
	struct str folder;
	if (dir.n == 0 || !maildir_folder(a, dir, &folder))
		return;
	assert(folder.n > 0 && folder.n <= FOLDERS_NAME_MOST);
	for (size_t i = 0; i < folder.n; i++)
		assert((unsigned char)folder.p[i] >= 0x20);
}

static void
check_folder(struct arena *a, struct str text)
{
	struct str name, again, dir, back;
	if (!folders_name(a, text, &name))
		return;
	assert(name.n > 0 && name.n <= FOLDERS_NAME_MOST);
	assert(folders_name(a, name, &again) && str_eq(name, again));
	if (!maildir_dir(a, name, &dir) || dir.n == 0)
		return;
	assert(dir.p[0] == '.' && dir.n > 1 && dir.n <= FOLDERS_DIR_MOST);
	assert(!str_has(dir, '/') && str_search(dir, STR("..")) == dir.n);
	assert(dir.p[dir.n - 1] != '.');
	assert(maildir_folder(a, dir, &back) && str_eq(back, name));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct arena *a = arena_new("fuzz");
	struct str in = str_of(data, n);
	/* What the kernel takes for a name. */
	if (n <= 255 && !str_has(in, 0) && !str_has(in, '/'))
		check_file(a, in);
	check_directory(a, in);
	check_folder(a, in);
	arena_free(a);
	return 0;
}
