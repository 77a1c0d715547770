/* SPDX-License-Identifier: ISC */
/*
 * Names of files and directories in a Maildir: taking them apart and putting
 * them together.  Maildir file names as D. J. Bernstein's maildir(5) has them
 * with the S= and W= keys of Maildir++; folder names as directories in
 * modified UTF-7 (RFC 3501 5.1.3).  Touches no file.
 */
#include "store/maildir.h"
#include "base/arena.h"
#include "mail/charset.h"
#include "mail/utf7.h"
#include "store/folders.h"
#include "store/message.h"

/* ---------------------------------------------------------------- files */

/* 16 hexadecimal digits, else 0. */
static uint64_t
parse_id(struct str s)
{
	uint64_t id = 0;
	for (size_t i = 0; i < s.n && s.n == 16; i++) {
		size_t digit = str_find(STR("0123456789abcdef"), s.p[i]);
		if (digit == 16)
			return 0;
		id = id << 4 | digit;
	}
	return id & INT64_MAX;
}

struct maildir_name
maildir_parse(struct str file)
{
	struct maildir_name m = {0};
	size_t colon = str_find(file, ':');
	m.base = str_head(file, colon);
	m.info = str_skip(file, colon);
	struct str rest = m.base, key;
	str_cut(&rest, ',', &m.unique);
	while (str_cut(&rest, ',', &key)) {
		uint64_t n;
		if (str_starts(key, STR("S=")))
			m.has_size = str_number(str_skip(key, 2), INT64_MAX,
				&m.size);
		else if (str_starts(key, STR("W=")))
			m.has_wire_size = str_number(str_skip(key, 2),
				INT64_MAX, &m.wire_size);
		else if (str_starts(key, STR("UID=")) &&
			str_number(str_skip(key, 4), UINT32_MAX, &n))
			m.uid = (uint32_t)n;
		else if (str_starts(key, STR("ID=")))
			m.id = parse_id(str_skip(key, 3));
	}
	return m;
}

uint64_t
maildir_id(struct str file)
{
	struct maildir_name m = maildir_parse(file);
	if (m.id != 0)
		return m.id;
	uint64_t id = str_hash(m.unique) & INT64_MAX;
	return id == 0 ? 1 : id;
}

struct str
maildir_with_id(struct arena *a, struct str unique, uint64_t id)
{
	return str_printf(a, "%.*s,ID=%016llx", STR_ARG(unique),
		(unsigned long long)id);
}

static bool
is_ours(struct str key)
{
	return str_starts(key, STR("S=")) || str_starts(key, STR("W=")) ||
		str_starts(key, STR("UID="));
}

static size_t
digits_of(uint64_t n)
{
	size_t digits = 1;
	for (; n >= 10; n /= 10)
		digits++;
	return digits;
}

/* For every delivery: without printf. */
static void
put_keys(struct buf *b, uint64_t size, uint64_t wire_size, uint32_t uid)
{
	buf_add(b, STR(",S="));
	buf_addn(b, size);
	buf_add(b, STR(",W="));
	buf_addn(b, wire_size);
	buf_add(b, STR(",UID="));
	buf_addn(b, uid);
}

struct str
maildir_base(struct arena *a, struct str old, uint64_t size,
	uint64_t wire_size, uint32_t uid)
{
	struct str rest = str_head(old, str_find(old, ':')), unique = {0}, key;
	size_t keys = strlen(",S=,W=,UID=") + digits_of(size) +
		digits_of(wire_size) + digits_of(uid);
	struct buf *b = buf_new(a);
	str_cut(&rest, ',', &unique);
	buf_add(b, str_head(unique, MAILDIR_BASE_MOST - keys));
	put_keys(b, size, wire_size, uid);
	while (str_cut(&rest, ',', &key)) {
		if (is_ours(key) || b->n + 1 + key.n > MAILDIR_BASE_MOST)
			continue;
		buf_addc(b, ',');
		buf_add(b, key);
	}
	return buf_str(b);
}

/* ASCII order, so that writing them in turn sorts them. */
static const struct {
	char letter;
	unsigned flag;
} letters_of[] = {
	{'D', FLAG_DRAFT},
	{'F', FLAG_FLAGGED},
	{'P', FLAG_FORWARDED},
	{'R', FLAG_ANSWERED},
	{'S', FLAG_SEEN},
	{'T', FLAG_DELETED},
};

enum { LETTERS = sizeof(letters_of) / sizeof(letters_of[0]) };

static struct str
info_letters(struct str info)
{
	return str_starts(info, STR(":2,")) ? str_skip(info, 3) : STR("");
}

static unsigned
flag_of(char letter)
{
	for (size_t i = 0; i < LETTERS; i++)
		if (letters_of[i].letter == letter)
			return letters_of[i].flag;
	return 0;
}

void
maildir_flags(struct str info, unsigned *flags, uint32_t *letters)
{
	struct str in = info_letters(info);
	*flags = 0;
	*letters = 0;
	for (size_t i = 0; i < in.n; i++) {
		if (in.p[i] >= 'a' && in.p[i] <= 'z')
			*letters |= 1U << (in.p[i] - 'a');
		*flags |= flag_of(in.p[i]);
	}
}

struct str
maildir_info(struct arena *a, struct str old, unsigned flags, uint32_t letters)
{
	struct buf *b = buf_new(a);
	buf_adds(b, ":2,");
	for (size_t i = 0; i < LETTERS; i++)
		if (flags & letters_of[i].flag)
			buf_addc(b, letters_of[i].letter);
	for (int i = 0; i < 26; i++)
		if (letters & 1U << i)
			buf_addc(b, (char)('a' + i));
	struct str kept = info_letters(old);
	for (size_t i = 0; i < kept.n && b->n < MAILDIR_INFO_MOST; i++) {
		char c = kept.p[i];
		if (flag_of(c) == 0 && !(c >= 'a' && c <= 'z'))
			buf_addc(b, c);
	}
	return buf_str(b);
}

/* -------------------------------------------------------------- folders */

/* Characters that mean something in a directory name, and their codes: each
 * by itself, which no other name has, for RFC 3501 forbids both coded ASCII
 * and shifts side by side. */
static const struct {
	char c;
	struct str code;
} coded[] = {
	{'.', STR_INIT("&AC4-")},
	{'~', STR_INIT("&AH4-")},
};

enum { CODED = sizeof(coded) / sizeof(coded[0]) };

static void
put_level(struct buf *out, struct str level)
{
	while (level.n > 0) {
		size_t plain = 0, k = CODED;
		for (; plain < level.n && k == CODED; plain++)
			for (k = 0; k < CODED && coded[k].c != level.p[plain];)
				k++;
		if (k < CODED)
			plain--;
		utf7_from_utf8(out, str_head(level, plain));
		if (k < CODED)
			buf_add(out, coded[k].code);
		level = str_skip(level, plain + (k < CODED));
	}
}

static bool
take_level(struct buf *out, struct str in)
{
	while (in.n > 0) {
		size_t at = in.n, which = CODED;
		for (size_t k = 0; k < CODED; k++) {
			size_t found = str_search(in, coded[k].code);
			if (found < at) {
				at = found;
				which = k;
			}
		}
		if (!utf7_to_utf8(out, str_head(in, at)))
			return false;
		if (which < CODED)
			buf_addc(out, coded[which].c);
		in = str_skip(in, at + 5);
	}
	return true;
}

bool
maildir_dir(struct arena *a, struct str folder, struct str *dir)
{
	*dir = STR("");
	if (str_eq(folder, STR("INBOX")))
		return true;
	struct buf *b = buf_new(a);
	struct str level;
	while (str_cut(&folder, FOLDERS_SEPARATOR, &level)) {
		buf_addc(b, '.');
		put_level(b, level);
	}
	*dir = buf_str(b);
	return dir->n <= FOLDERS_DIR_MOST;
}

static bool
has_controls(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
			return true;
	return false;
}

/* Foreign directories may hold raw UTF-8 or a stray &: then the octets are
 * the name. */
static bool
level_of(struct arena *a, struct str in, struct buf *out)
{
	struct buf *name = buf_new(a), *again = buf_new(a);
	if (take_level(name, in) && !has_controls(buf_str(name))) {
		put_level(again, buf_str(name));
		if (str_eq(buf_str(again), in)) {
			buf_add(out, buf_str(name));
			return true;
		}
	}
	if (!charset_is_utf8(in) || has_controls(in))
		return false;
	buf_add(out, in);
	return true;
}

bool
maildir_folder(struct arena *a, struct str dir, struct str *folder)
{
	*folder = STR("INBOX");
	if (dir.n == 0)
		return true;
	if (dir.p[0] != '.' || dir.n > FOLDERS_DIR_MOST)
		return false;
	struct str rest = str_skip(dir, 1), level;
	struct buf *b = buf_new(a);
	while (str_cut(&rest, '.', &level)) {
		if (level.n == 0)
			return false;
		if (b->n > 0)
			buf_addc(b, FOLDERS_SEPARATOR);
		if (!level_of(a, level, b))
			return false;
	}
	*folder = buf_str(b);
	return b->n > 0 && b->n <= FOLDERS_NAME_MOST &&
		dir.p[dir.n - 1] != '.' && !str_eq(*folder, STR("INBOX"));
}
