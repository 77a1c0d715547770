/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "deliver_suites.h"
#include "remote.h"

#define LOOK(literal) content_look(STR(literal))

START_TEST(plain)
{
	struct content_facts f = LOOK("A: b\r\n\r\nhello\r\n");
	ck_assert(!f.eightbit_header && !f.eightbit_body && !f.nul &&
		!f.bare);
	ck_assert_uint_eq(f.longest, 5);
	f = LOOK("");
	ck_assert_uint_eq(f.longest, 0);
	ck_assert(!f.bare);
}
END_TEST

START_TEST(where_eight_bits_are)
{
	struct content_facts f = LOOK("A: \xc3\xbc\r\n\r\nhello\r\n");
	ck_assert(f.eightbit_header && !f.eightbit_body);
	f = LOOK("A: b\r\n\r\nhell\xc3\xb6\r\n");
	ck_assert(!f.eightbit_header && f.eightbit_body);
}
END_TEST

START_TEST(lines)
{
	struct content_facts f = LOOK("A: b\r\n\r\n1234567890");
	ck_assert_uint_eq(f.longest, 10);
	ck_assert(!f.bare);
	ck_assert(LOOK("A: b\r\n\r\na\nb\r\n").bare);
	ck_assert(LOOK("A: b\r\n\r\na\rb\r\n").bare);
	ck_assert(LOOK("A: b\r\n\r\na\r\r\nb\r\n").bare);
	ck_assert(LOOK("A: b\r\n\r\na\r\nb\r").bare);
	ck_assert(LOOK("A: b\r\n\r\na\0b\r\n").nul);
}
END_TEST

Suite *
suite_content(void)
{
	return SUITE("content", plain, where_eight_bits_are, lines);
}
