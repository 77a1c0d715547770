/* SPDX-License-Identifier: ISC */
/* The reader of record data: what is right, and every length that is not. */
#include "suites.h"
#include "base/arena.h"
#include "resolve/record.h"

static const char *const names[] = {
	"A", "AAAA", "MX", "TXT", "TLSA", "PTR", "CNAME"};

enum { NAMES = sizeof names / sizeof *names, LENGTHS = 64 };

START_TEST(well_formed)
{
	static const struct {
		const char *type;
		struct str rdata, text;
	} rows[] = {
		{"A", STR_INIT("\300\0\2\1"), STR_INIT("192.0.2.1")},
		{"AAAA", STR_INIT("\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1"),
			STR_INIT("2001:db8::1")},
		{"MX", STR_INIT("\0\12\2mx\7example\3org\0"),
			STR_INIT("10 mx.example.org")},
		{"MX", STR_INIT("\377\377\2mx\0"), STR_INIT("65535 mx")},
		{"MX", STR_INIT("\0\0\0"), STR_INIT("0 .")},
		{"MX", STR_INIT("\0\1\7_odd.by\1x\0"),
			STR_INIT("1 _odd\\046by.x")},
		{"TXT", STR_INIT("\6v=spf1\5 -all"), STR_INIT("v=spf1 -all")},
		{"TXT", STR_INIT("\0"), STR_INIT("")},
		{"TXT", STR_INIT("\2\303\266"), STR_INIT("\303\266")},
		{"TLSA", STR_INIT("\3\1\1\253\1"), STR_INIT("3 1 1 ab01")},
		{"PTR", STR_INIT("\4host\4test\0"), STR_INIT("host.test")},
		{"CNAME", STR_INIT("\1a\1\0\1c\0"), STR_INIT("a.\\000.c")},
		{"CNAME", STR_INIT("\1\\\0"), STR_INIT("\\092")},
	};
	struct arena *a = arena_new("test");
	struct str out;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		int type = record_type(str_from(rows[i].type));
		ck_assert(record_text(a, type, rows[i].rdata, &out));
		ck_assert_msg(str_eq(out, rows[i].text), "%s: \"%.*s\"",
			rows[i].type, STR_ARG(out));
	}
	arena_free(a);
}
END_TEST

START_TEST(malformed)
{
	static const struct {
		const char *type;
		struct str rdata;
	} rows[] = {
		{"A", STR_INIT("")},
		{"A", STR_INIT("\1\2\3")},
		{"A", STR_INIT("\1\2\3\4\5")},
		{"AAAA", STR_INIT("\1\2\3\4")},
		{"MX", STR_INIT("\0")},
		{"MX", STR_INIT("\0\12")},
		{"MX", STR_INIT("\0\12\2mx")}, /* no root */
		{"MX", STR_INIT("\0\12\3mx\0")}, /* one too long */
		{"MX", STR_INIT("\0\12\2mx\0x")}, /* more behind it */
		{"MX", STR_INIT("\0\12\0\0")},
		{"MX", STR_INIT("\0\12\300\14")}, /* a pointer */
		{"PTR", STR_INIT("")},
		{"PTR", STR_INIT("\100xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
			"xxxxxxxxxxxxxxxxxxxxxxxxx\0")}, /* 64 */
		{"TXT", STR_INIT("")},
		{"TXT", STR_INIT("\5four")},
		{"TXT", STR_INIT("\4four\1")},
		{"TXT", STR_INIT("\3a\0b")},
		{"TLSA", STR_INIT("\3\1\1")},
	};
	struct arena *a = arena_new("test");
	struct str out;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		int type = record_type(str_from(rows[i].type));
		ck_assert_msg(!record_text(a, type, rows[i].rdata, &out),
			"row %zu (%s) was taken", i, rows[i].type);
	}
	arena_free(a);
}
END_TEST

START_TEST(longest_name)
{
	/* Four labels that make 255 octets with their lengths and the root;
	 * one octet more is no name. */
	char wire[256];
	struct arena *a = arena_new("test");
	struct str out;
	size_t n = 0;
	static const int labels[] = {63, 63, 63, 61};
	for (size_t i = 0; i < 4; i++) {
		wire[n++] = (char)labels[i];
		memset(wire + n, 'x', (size_t)labels[i]);
		n += (size_t)labels[i];
	}
	wire[n++] = 0;
	ck_assert_uint_eq(n, 255);
	ck_assert(record_text(a, record_type(STR("PTR")), str_of(wire, n),
		&out));
	ck_assert_uint_eq(out.n, RECORD_NAME_MOST);
	ck_assert(record_is_name(out));
	wire[192] = 62;
	wire[n - 1] = 'x';
	wire[n++] = 0;
	ck_assert(!record_text(a, record_type(STR("PTR")), str_of(wire, n),
		&out));
	arena_free(a);
}
END_TEST

/*
 * Every type with every length, under contents that lie about lengths in
 * every way.  Each record lies at the end of its own block, so that a read
 * past it is one past the block.
 */
START_TEST(every_length)
{
	static const unsigned char fills[] = {
		0, 1, 2, 3, 62, 63, 64, 127, 128, 192, 255};
	struct arena *a = arena_new("test");
	struct arena_mark mark = arena_mark(a);
	for (size_t t = 0; t < NAMES; t++) {
		int type = record_type(str_from(names[t]));
		for (size_t n = 0; n <= LENGTHS; n++)
			for (size_t f = 0; f < sizeof fills; f++) {
				char *p = malloc(n == 0 ? 1 : n);
				struct str out = STR("x");
				memset(p, fills[f], n);
				if (n > 0 && f % 2 == 1)
					p[n - 1] = 0;
				bool good = record_text(a, type,
					str_of(p, n), &out);
				ck_assert(!good || out.n != 1 ||
					out.p[0] != 'x');
				ck_assert(!good || !str_has(out, '\0'));
				if (t == 0)
					ck_assert(good == (n == 4));
				if (t == 1)
					ck_assert(good == (n == 16));
				free(p);
				arena_rewind(a, mark);
			}
	}
	arena_free(a);
}
END_TEST

START_TEST(questions)
{
	static const struct {
		struct str name;
		bool good;
	} rows[] = {
		{STR_INIT("example.org"), true},
		{STR_INIT("_25._tcp.mx.example.org"), true},
		{STR_INIT("0/25.2.0.192.in-addr.arpa"), true},
		{STR_INIT("localhost"), true},
		{STR_INIT(""), false},
		{STR_INIT("."), false},
		{STR_INIT("example.org."), false},
		{STR_INIT("a..b"), false},
		{STR_INIT(".a"), false},
		{STR_INIT("a b"), false},
		{STR_INIT("a\\.b"), false},
		{STR_INIT("a\0b"), false},
		{STR_INIT("\303\266.org"), false},
		{STR_INIT("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
			"xxxxxxxxxx.org"), false},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		ck_assert_msg(record_is_name(rows[i].name) == rows[i].good,
			"\"%.*s\"", STR_ARG(rows[i].name));
	ck_assert_int_eq(record_type(STR("MX")), 15);
	ck_assert_int_eq(record_type(STR("mx")), 0);
	ck_assert_int_eq(record_type(STR("AXFR")), 0);
	ck_assert_int_eq(record_type(STR("")), 0);
}
END_TEST

Suite *suite_record(void);

Suite *
suite_record(void)
{
	return SUITE("record", well_formed, malformed, longest_name,
		every_length, questions);
}
