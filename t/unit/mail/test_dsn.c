/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "mail.h"
#include "base/arena.h"
#include "base/buf.h"
#include "mail/dsn.h"
#include "mail/header.h"
#include "mail/mime.h"
#include "mail/template.h"

static struct dsn
failure(struct dsn_recipient *r)
{
	r[0] = (struct dsn_recipient){.address = STR("a@b.example"),
		.original = STR("rfc822;old+2Bx@c.example"),
		.status = status_reply(status_never(1, 1,
			STR("5.1.1 No such user\nreally")), 550),
		.remote = STR("mx.b.example")};
	r[1] = (struct dsn_recipient){.address = STR("z@y"),
		.status = status_never(4, 7, STR("too old"))};
	return (struct dsn){.host = STR("here.example"), .id = STR("4Xb2"),
		.to = STR("me@here.example"), .envid = STR("env+2Bid"),
		.arrival = 1795428000, .now = 1795428060,
		.message_id = STR("4Xb2.report@here.example"),
		.boundary = STR("=_4Xb2"), .recipients = r, .count = 2,
		.original = STR("Subject: x\r\n\r\nbody --=_4Xb2\r\n")};
}

static bool
has(struct str s, const char *text)
{
	return str_search(s, str_from(text)) < s.n;
}

START_TEST(three_parts_with_every_field)
{
	struct arena *a = arena_new("test");
	struct buf *out = buf_new(a);
	struct dsn_recipient r[2];
	struct dsn d = failure(r);
	dsn_write(a, out, &d);
	struct str m = buf_str(out);
	struct mime_part *root = mime_parse(a, m), *p = root->child;
	ck_assert_view(root->minor, "report");
	ck_assert_view(p->minor, "plain");
	ck_assert_view(p->next->minor, "delivery-status");
	ck_assert_view(p->next->next->minor, "rfc822");
	ck_assert_ptr_null(p->next->next->next);
	ck_assert_view(mime_body(m, p->next->next),
		"Subject: x\r\n\r\nbody --=_4Xb2\r\n");
	struct str fields = mime_body(m, p->next);
	ck_assert(has(fields, "Original-Envelope-Id: env+id\r\n"));
	ck_assert(has(fields, "Reporting-MTA: dns;here.example\r\n"));
	ck_assert(has(fields, "Original-Recipient: rfc822;old+x@c.example"));
	ck_assert(has(fields, "Final-Recipient: rfc822;a@b.example\r\n"
		"Action: failed\r\nStatus: 5.1.1\r\n"
		"Remote-MTA: dns;mx.b.example\r\n"
		"Diagnostic-Code: smtp; 550 5.1.1 No such user\r\n"
		"    really\r\n"));
	ck_assert(has(fields, "\r\n\r\nFinal-Recipient: rfc822;z@y\r\n"));
	ck_assert(has(fields, "Status: 5.4.7\r\n"));
	ck_assert(has(m, "Auto-Submitted: auto-replied\r\n"));
	/* The same failure makes the same report. */
	struct buf *again = buf_new(a);
	dsn_write(a, again, &d);
	ck_assert(str_eq(m, buf_str(again)));
	arena_free(a);
}
END_TEST

/* xtext may hold line ends, and with them fields of the sender's making. */
START_TEST(no_fields_but_ours)
{
	static const struct {
		const char *original, *envid;
	} given[] = {
		{"rfc822;a+0D+0AStatus: 2.0.0", "x+0D+0AReporting-MTA: dns;y"},
		{"rfc822+0A;a@b.example", "+0A"},
		{"rfc\r\n822;a@b.example", "+00"},
		{"rfc822;a+7F", "+7f"},
		{"rfc822;a+FF", "+C3+BC"},
	};
	for (size_t i = 0; i < sizeof given / sizeof *given; i++) {
		struct arena *a = arena_new("test");
		struct buf *out = buf_new(a);
		struct dsn_recipient r[2];
		struct dsn d = failure(r);
		r[0].original = str_from(given[i].original);
		d.envid = str_from(given[i].envid);
		dsn_write(a, out, &d);
		ck_assert(!has(buf_str(out), "Original-Recipient"));
		ck_assert(!has(buf_str(out), "Original-Envelope-Id"));
		arena_free(a);
	}
}
END_TEST

START_TEST(headers_only_and_utf8)
{
	struct arena *a = arena_new("test");
	struct buf *out = buf_new(a);
	struct dsn_recipient r[2];
	struct dsn d = failure(r);
	r[0].address = STR("caf\xc3\xa9@b.example");
	d.utf8 = d.headers_only = true;
	dsn_write(a, out, &d);
	struct str m = buf_str(out);
	struct mime_part *p = mime_parse(a, m)->child;
	ck_assert_view(p->next->minor, "global-delivery-status");
	ck_assert_view(p->next->next->minor, "global-headers");
	ck_assert(has(m, "Final-Recipient: utf-8;caf\xc3\xa9@b.example"));
	ck_assert(!has(m, "body --=_"));
	arena_free(a);
}
END_TEST

START_TEST(delay_says_until_when)
{
	struct arena *a = arena_new("test");
	struct buf *out = buf_new(a);
	struct dsn_recipient r[2];
	struct dsn d = failure(r);
	r[0].action = DSN_DELAYED;
	r[0].will_retry_until = 1795860000;
	d.count = 1;
	dsn_write(a, out, &d);
	ck_assert(has(buf_str(out), "Subject: Delayed"));
	ck_assert(has(buf_str(out), "Will-Retry-Until: Sat, 28 Nov 2026"));
	ck_assert(has(buf_str(out), "DO NOT NEED TO SEND"));
	arena_free(a);
}
END_TEST

START_TEST(words_in_several_languages)
{
	const struct template *const list[] = {template_builtin(STR("id")),
		template_builtin(STR("en"))};
	struct arena *a = arena_new("test");
	struct buf *out = buf_new(a);
	struct dsn_recipient r[2];
	struct dsn d = failure(r);
	d.languages = list;
	d.language_count = 2;
	for (int action = DSN_FAILED; action < DSN_ACTIONS; action++) {
		r[0].action = r[1].action = (enum dsn_action)action;
		out->n = 0;
		dsn_write(a, out, &d);
		struct str m = buf_str(out);
		ck_assert(str_is_ascii(m));
		ck_assert(has(m, "\r\nContent-Language: id, en\r\n\r\n"
			"Ini adalah sistem surel di here.example.\r\n\r\n"));
		ck_assert(has(m, "This is the mail system at here.example."));
		ck_assert(has(m, "<z@y> ("));
	}
	r[0].action = DSN_FAILED;
	out->n = 0;
	dsn_write(a, out, &d);
	ck_assert(has(buf_str(out), "Subject: Tidak terkirim"));
	ck_assert(has(buf_str(out), "<a@b.example> (gagal), mx.b.example "
		"menjawab:\r\n"));
	/* Programs read the same in every language. */
	ck_assert(has(buf_str(out), "\r\nAction: failed\r\n"));
	arena_free(a);
}
END_TEST

Suite *
suite_dsn(void)
{
	return SUITE("dsn", three_parts_with_every_field, no_fields_but_ours,
		headers_only_and_utf8, delay_says_until_when,
		words_in_several_languages);
}
