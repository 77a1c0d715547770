/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "deliver_suites.h"
#include "remote.h"
#include "mail/sasl.h"

static struct capability
parse(const char *text)
{
	struct capability c;
	capability_parse(str_from(text), &c);
	return c;
}

START_TEST(what_servers_say)
{
	struct capability c = parse("mx.example.org Hello\n"
		"PIPELINING\nsize 52428800\n8BITMIME\nSTARTTLS\nDSN\n"
		"SMTPUTF8\nCHUNKING\nBINARYMIME\nREQUIRETLS\n"
		"AUTH PLAIN login SCRAM-SHA-256 XOAUTH2\nX-NEW a b");
	ck_assert(c.esmtp && c.pipelining && c.eightbit && c.starttls &&
		c.dsn && c.smtputf8 && c.chunking && c.binarymime &&
		c.requiretls && c.size);
	ck_assert_uint_eq(c.size_most, 52428800);
	ck_assert_uint_eq(c.mechanisms, 1u << SASL_PLAIN | 1u << SASL_LOGIN |
		1u << SASL_SCRAM_SHA_256);
}
END_TEST

START_TEST(the_first_line_is_a_name)
{
	struct capability c = parse("PIPELINING STARTTLS");
	ck_assert(!c.pipelining && !c.starttls);
	c = parse("PIPELINING\nDSN");
	ck_assert(!c.pipelining && c.dsn);
}
END_TEST

START_TEST(odd_lines)
{
	struct capability c = parse("x\nSIZE\nAUTH=LOGIN PLAIN\n\n  \n=\n"
		"SIZE 99999999999999999999\nPIPELININGS\nDSN=1\nAUTH");
	ck_assert(c.size && !c.pipelining && !c.dsn);
	ck_assert_uint_eq(c.size_most, 0);
	ck_assert_uint_eq(
		c.mechanisms, 1u << SASL_PLAIN | 1u << SASL_LOGIN);
}
END_TEST

START_TEST(limits)
{
	struct capability c = parse("x\nLIMITS MAILMAX=10 RCPTMAX=100 X=1");
	ck_assert_uint_eq(c.mail_most, 10);
	ck_assert_uint_eq(c.rcpt_most, 100);
	c = parse("x\nLIMITS RCPTMAX RCPTMAX=x MAILMAX=-1");
	ck_assert_uint_eq(c.rcpt_most, 0);
	ck_assert_uint_eq(c.mail_most, 0);
}
END_TEST

Suite *
suite_capability(void)
{
	return SUITE("capability", what_servers_say, the_first_line_is_a_name,
		odd_lines, limits);
}
