/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "imapd_suites.h"
#include "imapd/url.h"
#include "base/arena.h"
#include "base/buf.h"

/* label: what the section is called in a response; NULL: refused. */
struct row {
	const char *text, *mailbox, *label;
	uint32_t uidvalidity, uid;
};

static const struct row rows[] = {
	{"/INBOX/;UID=7", "INBOX", "BODY[]", 0, 7},
	{"/a%20b/c%C3%A9;UIDVALIDITY=42/;uid=1", "a b/c\xc3\xa9", "BODY[]",
		42, 1},
	{";UID=20", "", "BODY[]", 0, 20},
	{"/;UID=4294967295/;SECTION=1.2.mime", "", "BODY[1.2.MIME]", 0,
		4294967295},
	{"/x/;UID=3/;section=HEADER.FIELDS%20(DATE%20FROM)", "x",
		"BODY[HEADER.FIELDS (DATE FROM)]", 0, 3},
	{"/x/;UID=3/;SECTION=TEXT/;PARTIAL=5.10", "x", "BODY[TEXT]<5>", 0, 3},
	{"/x/;UID=3/;PARTIAL=5", "x", "BODY[]<5>", 0, 3},
	{"imap://host/x/;UID=3", NULL, NULL, 0, 0},
	{"", NULL, NULL, 0, 0},
	{"/", NULL, NULL, 0, 0},
	{"/x", NULL, NULL, 0, 0},
	{"x/;UID=3", NULL, NULL, 0, 0},
	{"/x/;UID=0", NULL, NULL, 0, 0},
	{"/x/;UID=4294967296", NULL, NULL, 0, 0},
	{"/x;UIDVALIDITY=/;UID=3", NULL, NULL, 0, 0},
	{"/;UIDVALIDITY=1/;UID=3", NULL, NULL, 0, 0},
	{"/x%0d%0a/;UID=3", NULL, NULL, 0, 0},
	{"/x%00/;UID=3", NULL, NULL, 0, 0},
	{"/x%4/;UID=3", NULL, NULL, 0, 0},
	{"/x/;UID=3/;SECTION=", NULL, NULL, 0, 0},
	{"/x/;UID=3/;SECTION=0", NULL, NULL, 0, 0},
	{"/x/;UID=3/;SECTION=TEXT]%20BODY[1", NULL, NULL, 0, 0},
	{"/x/;UID=3/;SECTION=HEADER.FIELDS%20(%7b5+%7d", NULL, NULL, 0, 0},
	{"/x/;UID=3/;SECTION=TEXT]<1.2>%20x", NULL, NULL, 0, 0},
	{"/x/;UID=3/;PARTIAL=5.0", NULL, NULL, 0, 0},
	{"/x/;UID=3/;PARTIAL=", NULL, NULL, 0, 0},
	{"/x/;UID=3/;PARTIAL=1/;SECTION=1", NULL, NULL, 0, 0},
	{"/x/;UID=3/;URLAUTH=anonymous", NULL, NULL, 0, 0},
};

START_TEST(urls)
{
	struct arena *a = arena_new("test");
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const struct row *r = &rows[i];
		struct url u;
		bool fine = url_parse(a, str_from(r->text), &u);
		ck_assert_msg(fine == (r->label != NULL), "%s", r->text);
		if (!fine)
			continue;
		struct buf *label = buf_new(a);
		section_print(&u.section, label);
		ck_assert_msg(str_eq(buf_str(label), str_from(r->label)), "%s",
			r->text);
		ck_assert(str_eq(u.mailbox, str_from(r->mailbox)));
		ck_assert_uint_eq(u.uid, r->uid);
		ck_assert_uint_eq(u.uidvalidity, r->uidvalidity);
	}
	arena_free(a);
}
END_TEST

Suite *
suite_url(void)
{
	return SUITE("url", urls);
}
