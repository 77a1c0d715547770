/* SPDX-License-Identifier: ISC */
/*
 * The text files that outlive the index: surat-folder in each folder
 * (UIDVALIDITY, high-water marks, letters of keywords), surat/uidvalidity
 * for the account; and fresh numbers and names.  Small files are replaced
 * whole: written beside, synced when it matters, renamed.
 */
#include "store/index.h"
#include "base/clock.h"
#include "base/log.h"
#include "sys/whole.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_MOST = 16 * 1024 * 1024, VALIDITY_STEP = 1000 };

/* ---------------------------------------------------------- small files */

bool
control_load(struct store *s, struct arena *a, const char *path,
	struct str *text)
{
	int fd = openat(s->dir, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return false;
	struct buf *b = buf_new(a);
	bool ok = whole_read(fd, b, FILE_MOST);
	close(fd);
	*text = buf_str(b);
	return ok;
}

bool
control_sync(struct store *s, const char *path, int flags)
{
	int fd = openat(s->dir, path, flags | O_RDONLY | O_CLOEXEC |
		O_NOFOLLOW);
	bool ok = fd >= 0 && fsync(fd) == 0;
	int err = errno;
	if (fd >= 0)
		close(fd);
	errno = err;
	return ok;
}

int
control_tmp(struct store *s, struct arena *a, struct str dir, const char *path,
	int how)
{
	int flags = O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | how;
	int fd = openat(s->dir, path, flags, 0600);
	if (fd >= 0 || errno != ENOENT ||
		mkdirat(s->dir, folder_path(a, dir, "tmp"), 0700) != 0)
		return fd;
	return openat(s->dir, path, flags, 0600);
}

/* So that the new name is on disk too. */
static bool
sync_directory_of(struct store *s, struct arena *a, const char *path)
{
	struct str dir = str_from(path);
	size_t slash = str_find_last(dir, '/');
	dir = slash == dir.n ? STR(".") : str_head(dir, slash);
	return control_sync(s, str_cstr(a, dir), O_DIRECTORY);
}

/* Whatever somebody put in its place. */
static bool
replace(struct store *s, struct arena *a, const char *beside, const char *path)
{
	if (renameat(s->dir, beside, s->dir, path) == 0)
		return true;
	if (errno != EISDIR)
		return false;
	char *bad = str_cstr(a, str_printf(a, "%s.bad", path));
	return renameat(s->dir, path, s->dir, bad) == 0 &&
		renameat(s->dir, beside, s->dir, path) == 0;
}

bool
control_save(struct store *s, struct arena *a, const char *path,
	struct str text, bool durable)
{
	struct arena_mark m = arena_mark(a);
	char *beside = str_cstr(a, str_printf(a, "%s.%d", path, (int)getpid()));
	int fd = openat(s->dir, beside, O_WRONLY | O_CREAT | O_TRUNC |
		O_CLOEXEC | O_NOFOLLOW, 0600);
	bool ok = fd >= 0 && whole_write(fd, text) &&
		(!durable || fsync(fd) == 0);
	if (fd >= 0)
		ok = close(fd) == 0 && ok;
	ok = ok && replace(s, a, beside, path);
	if (ok && durable)
		ok = sync_directory_of(s, a, path);
	if (!ok && fd >= 0) {
		int err = errno;
		unlinkat(s->dir, beside, 0);
		errno = err;
	}
	arena_rewind(a, m);
	return ok;
}

/* --------------------------------------------------------------- folder */

static const char head[] = "surat-folder 1";

bool
control_write(struct store *s, struct arena *a, const struct folder_row *f,
	bool durable)
{
	struct buf *b = buf_new(a);
	buf_printf(b, "%s\nid %.*s\nuidvalidity %u\nuid %u\nmodseq %llu\n",
		head, STR_ARG(f->mailbox_id), f->uidvalidity, f->uid_mark,
		(unsigned long long)f->modseq_mark);
	if (f->special.n > 0)
		buf_printf(b, "special %.*s\n", STR_ARG(f->special));
	sqlite3_stmt *st = index_query(s, Q_WORDS, "i", f->id);
	while (index_row(s, st))
		buf_printf(b, "keyword %lld %.*s\n",
			(long long)index_int(st, 0),
			STR_ARG(index_text(st, 1)));
	return control_save(s, a, folder_path(a, f->dir, "surat-folder"),
		buf_str(b), durable);
}

void
control_keep(struct store *s, struct arena *a, const struct folder_row *f)
{
	if (!control_write(s, a, f, true) && s->ix.fault == SQLITE_OK)
		s->ix.fault = errno == ENOSPC || errno == EDQUOT
			? SQLITE_FULL : SQLITE_IOERR;
}

static void
take_line(struct arena *a, struct str key, struct str value,
	struct folder_row *f, struct str_list *words)
{
	uint64_t n;
	if (str_eq(key, STR("id")))
		f->mailbox_id = str_copy(a, value);
	else if (str_eq(key, STR("special")) && value.n > 1 &&
		value.p[0] == '\\' && words_is_atom(str_skip(value, 1)))
		f->special = str_copy(a, value);
	else if (str_eq(key, STR("keyword")) && words->n < 100000)
		words->v[words->n++] = value;
	else if (!str_number(value, INT64_MAX / 2, &n))
		return;
	else if (str_eq(key, STR("uidvalidity")) && n <= UINT32_MAX)
		f->uidvalidity = (uint32_t)n;
	else if (str_eq(key, STR("uid")) && n < UINT32_MAX)
		f->uid_mark = (uint32_t)n;
	else if (str_eq(key, STR("modseq")))
		f->modseq_mark = n;
}

static size_t
count_lines(struct str text)
{
	size_t n = 1;
	for (size_t i = 0; i < text.n; i++)
		n += text.p[i] == '\n';
	return n;
}

/* Nothing we ever wrote: a file that a crash or a disk has broken. */
static bool
has_controls(struct str line)
{
	for (size_t i = 0; i < line.n; i++)
		if ((unsigned char)line.p[i] < 0x20 || line.p[i] == 0x7f)
			return true;
	return false;
}

bool
control_parse(struct arena *a, struct str text, struct folder_row *f,
	struct str_list *words)
{
	struct str line, key;
	if (!str_cut(&text, '\n', &line) || !str_eq(line, str_from(head)))
		return false;
	*words = (struct str_list){
		arena_array(a, count_lines(text), sizeof(struct str)), 0};
	while (str_cut(&text, '\n', &line)) {
		if (has_controls(line))
			continue;
		str_cut(&line, ' ', &key);
		take_line(a, key, line, f, words);
	}
	return f->uidvalidity != 0 && f->mailbox_id.n < 200 &&
		words_is_atom(f->mailbox_id);
}

bool
control_read(struct store *s, struct arena *a, struct str dir,
	struct folder_row *f, struct str_list *words)
{
	struct str text;
	return control_load(s, a, folder_path(a, dir, "surat-folder"),
		&text) && control_parse(a, text, f, words);
}

/* -------------------------------------------------------------- numbers */

uint64_t
control_random(struct store *s)
{
	if (s->random == 0 && getrandom(&s->random, sizeof s->random, 0) < 0)
		s->random = (uint64_t)clock_us() << 20 ^ (uint64_t)getpid();
	/* splitmix64 */
	uint64_t z = s->random += 0x9e3779b97f4a7c15;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

/* For an index that has given none out yet. */
static int64_t
highest_known(struct store *s, int64_t bound)
{
	sqlite3_stmt *st = index_query(s, Q_LAST_VALIDITY, "");
	if (!index_row(s, st))
		return bound;
	int64_t highest = index_int(st, 0);
	index_end(st);
	return highest > bound ? highest : bound;
}

/*
 * Seconds since 1970, or one more than the last: strictly growing.  The file
 * has a bound none was above, so that a lost index and a clock set back do no
 * harm.
 */
uint32_t
control_validity(struct store *s, struct arena *a)
{
	struct str text = {0};
	uint64_t bound = 0;
	int64_t last = index_meta(s, "uidvalidity"), now = clock_wall();
	if (control_load(s, a, "surat/uidvalidity", &text))
		str_number(str_trim(text), UINT32_MAX, &bound);
	if (last == 0)
		last = highest_known(s, (int64_t)bound);
	int64_t next = now > last ? now : last + 1;
	if (next > (int64_t)bound)
		control_save(s, a, "surat/uidvalidity", str_printf(a, "%lld\n",
			(long long)next + VALIDITY_STEP), true);
	index_set_meta(s, "uidvalidity", next);
	return (uint32_t)next;
}

struct str
control_mailbox_id(struct store *s, struct arena *a, uint32_t validity)
{
	return str_printf(a, "F%08x%08x", validity,
		(unsigned)control_random(s));
}

struct str
control_stem(struct store *s, struct arena *a)
{
	int64_t us = clock_wall_us();
	return str_printf(a, "%lld.M%06lldP%dQ%uR%08x",
		(long long)(us / 1000000), (long long)(us % 1000000),
		(int)getpid(), ++s->counter, (unsigned)control_random(s));
}

struct str
control_unique(struct store *s, struct arena *a)
{
	return str_printf(a, "%.*s.%s", STR_ARG(control_stem(s, a)), s->host);
}
