/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "mail.h"
#include "base/arena.h"
#include "mail/trace.h"

START_TEST(row56_received_line)
{
	struct arena *a = arena_new("test");
	struct buf *out = buf_new(a);
	struct trace t = {.helo = STR("mx (evil\r\nX: y)"),
		.client = STR("2001:db8::1"), .host = STR("here.example"),
		.id = STR("4Xb2"), .recipient = STR("a@b"),
		.date = STR("Mon, 23 Nov 2026 17:00:00 +0000"), .esmtp = true,
		.tls = true, .authenticated = true,
		.tls_version = STR("TLSv1.3")};
	trace_received(out, &t);
	ck_assert_view(buf_str(out),
		"Received: from mx??evil??X:?y? ([IPv6:2001:db8::1])\r\n"
		"\tby here.example (surat) with ESMTPSA (TLSv1.3) id 4Xb2\r\n"
		"\tfor <a@b>;\r\n\tMon, 23 Nov 2026 17:00:00 +0000\r\n");
	arena_free(a);
}
END_TEST

START_TEST(row56_protocol_names)
{
	struct trace t = {0};
	ck_assert_view(trace_protocol(&t), "SMTP");
	t.esmtp = t.utf8 = t.tls = true;
	ck_assert_view(trace_protocol(&t), "UTF8SMTPS");
	t.lmtp = t.authenticated = true;
	ck_assert_view(trace_protocol(&t), "UTF8LMTPSA");
}
END_TEST

START_TEST(row15_hops_in_every_spelling)
{
	ck_assert_uint_eq(trace_hops(STR("Received: a\r\n\tb\r\nRECEIVED:\n"
		"received : x\r\nX-Received: n\r\n Received: folded\r\n\r\n"
		"Received: body\r\n")), 3);
	ck_assert_uint_eq(trace_hops(STR("")), 0);
}
END_TEST

START_TEST(row16_loops)
{
	struct str m = STR("Delivered-To: Bob@Example.org\r\n\r\n"
		"Delivered-To: x@y\r\n");
	ck_assert(trace_delivered_to(m, STR("bob@example.org")));
	ck_assert(!trace_delivered_to(m, STR("x@y")));
}
END_TEST

Suite *
suite_trace(void)
{
	return SUITE("trace", row56_received_line, row56_protocol_names,
		row15_hops_in_every_spelling, row16_loops);
}
