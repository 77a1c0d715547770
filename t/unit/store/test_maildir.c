/* SPDX-License-Identifier: ISC */
/* Names of files and folders: taken apart, put together, and back. */
#include "store_suites.h"

START_TEST(test_file_name_parts)
{
	struct maildir_name n = maildir_parse(STR(
		"1764000000.Q7.host,S=1204,W=1250,UID=77:2,FSab"));
	ck_assert_view(n.unique, "1764000000.Q7.host");
	ck_assert_view(n.base,
		"1764000000.Q7.host,S=1204,W=1250,UID=77");
	ck_assert_view(n.info, ":2,FSab");
	ck_assert(n.has_size && n.size == 1204);
	ck_assert(n.has_wire_size && n.wire_size == 1250);
	ck_assert_uint_eq(n.uid, 77);
}
END_TEST

/* A copy is called what its original is; anything that is no ID counts for
 * nothing. */
START_TEST(test_ids)
{
	struct arena *a = arena_new("test");
	uint64_t id = maildir_id(STR("1.a.host,S=1,W=2,UID=3:2,S"));
	ck_assert(id != 0 && id <= INT64_MAX);
	ck_assert(id == maildir_id(STR("1.a.host")));
	ck_assert(id != maildir_id(STR("1.b.host")));
	struct str copy = maildir_base(a,
		maildir_with_id(a, STR("9.z.host"), id), 5, 6, 7);
	ck_assert(maildir_id(copy) == id);
	ck_assert_uint_eq(maildir_parse(copy).uid, 7);
	ck_assert(maildir_id(maildir_base(a, copy, 5, 6, 8)) == id);
	ck_assert(maildir_parse(STR("x,ID=00000000000000ff")).id == 255);
	ck_assert(maildir_parse(STR("x,ID=ff")).id == 0);
	ck_assert(maildir_parse(STR("x,ID=00000000000000fF")).id == 0);
	ck_assert(maildir_parse(STR("x,ID=00000000000000ff0")).id == 0);
	ck_assert(maildir_id(STR("x,ID=zz")) == maildir_id(STR("x")));
	arena_free(a);
}
END_TEST

/* Whatever a foreign program may have named its file. */
START_TEST(test_file_name_foreign)
{
	static const struct {
		struct str file, unique;
		uint32_t uid;
		bool size, wire;
	} rows[] = {
		{STR_INIT("x"), STR_INIT("x"), 0, false, false},
		{STR_INIT("x:2,"), STR_INIT("x"), 0, false, false},
		{STR_INIT(""), STR_INIT(""), 0, false, false},
		{STR_INIT(":2,S"), STR_INIT(""), 0, false, false},
		{STR_INIT(",UID=3"), STR_INIT(""), 3, false, false},
		{STR_INIT("x,U=12:2,S"), STR_INIT("x"), 0, false, false},
		{STR_INIT("x,UID=0"), STR_INIT("x"), 0, false, false},
		{STR_INIT("x,UID=-1"), STR_INIT("x"), 0, false, false},
		{STR_INIT("x,UID=4294967295"), STR_INIT("x"), 4294967295, false,
			false},
		{STR_INIT("x,UID=4294967296"), STR_INIT("x"), 0, false, false},
		{STR_INIT("x,UID= 5"), STR_INIT("x"), 0, false, false},
		{STR_INIT("x,UID="), STR_INIT("x"), 0, false, false},
		{STR_INIT("x,S=12,W=99999999999999999999"), STR_INIT("x"), 0,
			true, false},
		{STR_INIT("x,W=12x,S="), STR_INIT("x"), 0, false, false},
		{STR_INIT("x:2,S,UID=9"), STR_INIT("x"), 0, false, false},
		{STR_INIT("x,,,UID=9,"), STR_INIT("x"), 9, false, false},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct maildir_name n = maildir_parse(rows[i].file);
		ck_assert_msg(str_eq(n.unique, rows[i].unique), "%s",
			rows[i].file.p);
		ck_assert_msg(n.uid == rows[i].uid, "%s: %u", rows[i].file.p,
			n.uid);
		ck_assert_msg(n.has_size == rows[i].size &&
			n.has_wire_size == rows[i].wire, "%s", rows[i].file.p);
	}
}
END_TEST

START_TEST(test_base)
{
	struct arena *a = arena_new("test");
	ck_assert_view(maildir_base(a, STR("x"), 1, 2, 3),
		"x,S=1,W=2,UID=3");
	ck_assert_view(maildir_base(a, STR("x,S=9,W=9,UID=9"), 1, 2, 3),
		"x,S=1,W=2,UID=3");
	/* mbsync's number and what nobody knows stay */
	ck_assert_view(maildir_base(a, STR("x,U=17,Z=z,S=4:2,S"), 1, 2, 3),
		"x,S=1,W=2,UID=3,U=17,Z=z");
	struct maildir_name n = maildir_parse(maildir_base(a, STR("y"),
		UINT64_MAX / 2, UINT64_MAX / 2, UINT32_MAX));
	ck_assert(n.size == UINT64_MAX / 2 && n.uid == UINT32_MAX);
	arena_free(a);
}
END_TEST

/* A name that would become too long for a directory keeps its beginning. */
START_TEST(test_base_fits)
{
	struct arena *a = arena_new("test");
	char longest[256];
	for (size_t n = 1; n < 256; n++) {
		memset(longest, 'x', n);
		struct str base = maildir_base(a, str_of(longest, n),
			UINT64_MAX / 2, UINT64_MAX / 2, UINT32_MAX);
		struct maildir_name m = maildir_parse(base);
		ck_assert_uint_le(base.n, MAILDIR_BASE_MOST);
		ck_assert(m.uid == UINT32_MAX && m.has_size &&
			m.has_wire_size);
		ck_assert(m.unique.n > 0 &&
			str_starts(str_of(longest, n), m.unique));
	}
	arena_free(a);
}
END_TEST

START_TEST(test_flags)
{
	static const struct {
		struct str info;
		unsigned flags;
		uint32_t letters;
	} rows[] = {
		{STR_INIT(""), 0, 0},
		{STR_INIT(":2,"), 0, 0},
		{STR_INIT(":2,S"), FLAG_SEEN, 0},
		{STR_INIT(":2,TSRPFD"), 0x3f, 0},
		{STR_INIT(":2,az"), 0, 1U | 1U << 25},
		{STR_INIT(":2,SX9S"), FLAG_SEEN, 0},
		{STR_INIT(":1,S"), 0, 0},
		{STR_INIT(":2S"), 0, 0},
		{STR_INIT("2,S"), 0, 0},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		unsigned flags = 99;
		uint32_t letters = 99;
		maildir_flags(rows[i].info, &flags, &letters);
		ck_assert_msg(flags == rows[i].flags &&
			letters == rows[i].letters, "%s", rows[i].info.p);
	}
}
END_TEST

START_TEST(test_info_round_trip)
{
	struct arena *a = arena_new("test");
	for (unsigned flags = 0; flags < 64; flags++) {
		uint32_t letters = (flags * 2654435761U) & 0x3ffffff, l;
		unsigned f;
		struct str info = maildir_info(a, STR(""), flags, letters);
		maildir_flags(info, &f, &l);
		ck_assert(f == flags && l == letters);
		for (size_t i = 4; i < info.n; i++)
			ck_assert(info.p[i - 1] < info.p[i]);
	}
	ck_assert_view(maildir_info(a, STR(":2,SX9"), FLAG_FLAGGED, 0),
		":2,FX9");
	ck_assert_view(maildir_info(a, STR(":1,old"), FLAG_SEEN, 1), ":2,Sa");
	arena_free(a);
}
END_TEST

/* -------------------------------------------------------------- folders */

START_TEST(test_folder_directories)
{
	static const struct {
		struct str name, dir;
	} rows[] = {
		{STR_INIT("INBOX"), STR_INIT("")},
		{STR_INIT("Sent"), STR_INIT(".Sent")},
		{STR_INIT("a/b/c"), STR_INIT(".a.b.c")},
		{STR_INIT("INBOX/x"), STR_INIT(".INBOX.x")},
		{STR_INIT("a.b"), STR_INIT(".a&AC4-b")},
		{STR_INIT("~"), STR_INIT(".&AH4-")},
		{STR_INIT(".."), STR_INIT(".&AC4-&AC4-")},
		{STR_INIT("a&b"), STR_INIT(".a&-b")},
		{STR_INIT("Entw\xc3\xbcrfe"), STR_INIT(".Entw&APw-rfe")},
		{STR_INIT("\xf0\x9f\x98\x80"), STR_INIT(".&2D3eAA-")},
		{STR_INIT("cur"), STR_INIT(".cur")},
		{STR_INIT("\xc3\xbc.\xc3\xbc"), STR_INIT(".&APw-&AC4-&APw-")},
	};
	struct arena *a = arena_new("test");
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct str dir, name;
		ck_assert(maildir_dir(a, rows[i].name, &dir));
		ck_assert_msg(str_eq(dir, rows[i].dir), "%.*s", STR_ARG(dir));
		ck_assert(maildir_folder(a, dir, &name));
		ck_assert_msg(str_eq(name, rows[i].name), "%.*s",
			STR_ARG(name));
	}
	arena_free(a);
}
END_TEST

START_TEST(test_foreign_directories)
{
	static const struct {
		struct str dir, name; /* empty: no folder of ours */
	} rows[] = {
		{STR_INIT("x"), STR_INIT("")},
		{STR_INIT("."), STR_INIT("")},
		{STR_INIT(".."), STR_INIT("")},
		{STR_INIT(".a..b"), STR_INIT("")},
		{STR_INIT(".a."), STR_INIT("")},
		{STR_INIT(".INBOX"), STR_INIT("")},
		{STR_INIT(".\xc3\xbc"), STR_INIT("\xc3\xbc")},
		{STR_INIT(".a&b"), STR_INIT("a&b")},
		{STR_INIT(".&AGE-"), STR_INIT("&AGE-")},
		{STR_INIT(".\xff"), STR_INIT("")},
		{STR_INIT(".a\nb"), STR_INIT("")},
	};
	struct arena *a = arena_new("test");
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct str name = {0};
		bool is = maildir_folder(a, rows[i].dir, &name);
		ck_assert_msg(is == (rows[i].name.n > 0), "%s: %.*s",
			rows[i].dir.p, STR_ARG(name));
		if (is)
			ck_assert_msg(str_eq(name, rows[i].name), "%s: %.*s",
				rows[i].dir.p, STR_ARG(name));
	}
	arena_free(a);
}
END_TEST

/* Any name that is a folder's survives the way to disk and back, and no two
 * share a directory. */
START_TEST(test_every_name_has_its_directory)
{
	static const char *const atoms[] = {"a", ".", "~", "&", "-", "&-",
		"\xc3\xbc", "\xf0\x9f\x98\x80", " ", "AC4", "&AC4-", "%", "*"};
	enum { ATOMS = sizeof atoms / sizeof *atoms };
	struct arena *a = arena_new("test");
	struct str dir, back;
	for (size_t i = 0; i < ATOMS * ATOMS * ATOMS; i++) {
		struct str name = str_printf(a, "%s%s%s", atoms[i % ATOMS],
			atoms[i / ATOMS % ATOMS], atoms[i / ATOMS / ATOMS]);
		ck_assert(maildir_dir(a, name, &dir));
		ck_assert(!str_has(str_skip(dir, 1), '.') &&
			!str_has(dir, '/') && !str_has(dir, '~'));
		ck_assert_msg(maildir_folder(a, dir, &back) &&
			str_eq(back, name), "%.*s: %.*s", STR_ARG(name),
			STR_ARG(back));
	}
	arena_free(a);
}
END_TEST

START_TEST(test_long_directory)
{
	struct arena *a = arena_new("test");
	char name[400];
	struct str dir;
	memset(name, 'x', sizeof name);
	ck_assert(maildir_dir(a, str_of(name, 249), &dir));
	ck_assert_uint_eq(dir.n, 250);
	ck_assert(!maildir_dir(a, str_of(name, 250), &dir));
	arena_free(a);
}
END_TEST

Suite *
suite_maildir(void)
{
	return SUITE("maildir", test_file_name_parts, test_ids, test_file_name_foreign,
		test_base, test_base_fits, test_flags, test_info_round_trip,
		test_folder_directories, test_foreign_directories,
		test_every_name_has_its_directory, test_long_directory);
}
