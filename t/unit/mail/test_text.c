/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "mail.h"
#include "base/arena.h"
#include "base/buf.h"
#include "mail/charset.h"
#include "mail/facts.h"
#include "mail/text.h"
#include "mail/utf7.h"
#include "mail/word.h"

static struct str
decoded(struct arena *a, const char *text)
{
	struct buf *out = buf_new(a);
	word_decode(a, out, str_from(text));
	return out->n == 0 ? STR("") : buf_str(out);
}

START_TEST(encoded_words)
{
	static const char *const rows[][2] = {
		{"plain text", "plain text"},
		{"=?utf-8?q?caf=C3=A9?=", "caf\xc3\xa9"},
		{"=?iso-8859-1?Q?caf=E9_au_lait?=", "caf\xc3\xa9 au lait"},
		{"=?utf-8?B?Y2Fmw6k=?= x", "caf\xc3\xa9 x"},
		/* RFC 2047 8 */
		{"(=?ISO-8859-1?Q?a?= b)", "(a b)"},
		{"=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab"},
		{"=?ISO-8859-1?Q?a?=\r\n   =?ISO-8859-1?Q?b?=", "ab"},
		{"=?ISO-8859-1?Q?a_b?= c", "a b c"},
		/* a character cut between two words */
		{"=?utf-8?q?caf=C3?= =?utf-8?q?=A9?=", "caf\xc3\xa9"},
		{"=?utf-8*en?q?x?=", "x"},
		{"=?nosuch?q?x=E9?=", "x\xc3\xa9"},
		{"=?utf-8?q?unclosed", "=?utf-8?q?unclosed"},
		{"=?utf-8?x?y?=", "=?utf-8?x?y?="},
		{"=??q?y?=", "=??q?y?="},
		{"=?", "=?"},
		{"raw caf\xe9", "raw caf\xc3\xa9"},
		{"raw caf\xc3\xa9", "raw caf\xc3\xa9"},
		{"=?utf-8?q?=ZZ=?=", "=ZZ="},
		{"=?iso-2022-jp?b?GyRCRnxLXBsoQg==?=", "\xe6\x97\xa5\xe6\x9c"
			"\xac"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct arena *a = arena_new("test");
		struct str got = decoded(a, rows[i][0]);
		ck_assert_msg(str_eq(got, str_from(rows[i][1])), "%s: %.*s",
			rows[i][0], STR_ARG(got));
		arena_free(a);
	}
}
END_TEST

START_TEST(encoded_parameters)
{
	struct arena *a = arena_new("test");
	struct mime_value v = mime_parse_value(a, STR("a; name*0*=iso-8859-1'"
		"'caf%E9; name*1=.txt; old=\"=?utf-8?q?=C3=A9?=\"; z*=%41"));
	ck_assert_view(word_param(a, &v, STR("name")), "caf\xc3\xa9.txt");
	ck_assert_view(word_param(a, &v, STR("old")), "\xc3\xa9");
	ck_assert_view(word_param(a, &v, STR("z")), "A");
	ck_assert_view(word_param(a, &v, STR("none")), "");
	arena_free(a);
}
END_TEST

START_TEST(words_there_and_back)
{
	struct arena *a = arena_new("test");
	struct buf *out = buf_new(a), *back = buf_new(a);
	struct str text = STR("Surat dari B\xc3\xbc" "cher \xe6\x97\xa5"
		" dengan judul yang agak panjang =? \xf0\x9f\x93\xae");
	word_encode(out, text);
	word_decode(a, back, buf_str(out));
	ck_assert(str_eq(buf_str(back), text));
	arena_free(a);
}
END_TEST

START_TEST(mailbox_names)
{
	static const char *const good[][2] = {
		{"INBOX", "INBOX"}, {"a&-b", "a&b"}, {"&AOk-", "\xc3\xa9"},
		{"~peter/mail/&U,BTFw-/&ZeVnLIqe-", "~peter/mail/\xe5\x8f\xb0"
			"\xe5\x8c\x97/\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e"},
		{"&2D3crg-", "\xf0\x9f\x92\xae"}, {"", ""},
		{"&AOk-&-", "\xc3\xa9&"},
	};
	static const char *const bad[] = {"&", "&AOk", "&AGE-", "&Jjo-&Jjo-",
		"&2D0-", "&3K4-", "\xc3\xa9", "a\tb", "&AOl-x&AO", "&A-",
		"&AOkA-", "&AO/-", "&AOk=-", "&AAA-"};
	struct arena *a = arena_new("test");
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		struct buf *utf8 = buf_new(a), *back = buf_new(a);
		ck_assert_msg(utf7_to_utf8(utf8, str_from(good[i][0])), "%s",
			good[i][0]);
		ck_assert(str_eq(buf_str(utf8), str_from(good[i][1])));
		ck_assert(utf7_from_utf8(back, buf_str(utf8)));
		ck_assert_msg(str_eq(buf_str(back), str_from(good[i][0])),
			"%s: %.*s", good[i][0], STR_ARG(buf_str(back)));
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct buf *utf8 = buf_new(a);
		ck_assert_msg(!utf7_to_utf8(utf8, str_from(bad[i])), "%s",
			bad[i]);
		ck_assert_uint_eq(utf8->n, 0);
	}
	struct buf *none = buf_new(a);
	ck_assert(!utf7_from_utf8(none, STR("\xff")));
	arena_free(a);
}
END_TEST

START_TEST(folding)
{
	static const char *const rows[][2] = {
		{"Hello  World\r\n x", "HELLO WORLD X"},
		{"  x ", " X "},
		{"caf\xc3\x89", "CAFE\xcc\x81"},
		{"cafe\xcc\x81", "CAFE\xcc\x81"},
		{"Stra\xc3\x9f" "e", "STRA\xe1\xba\x9e" "E"},
		/* RFC 5051's own example: U+01C4 */
		{"\xc7\x84\xc7\x86", "Dz\xcc\x8c" "Dz\xcc\x8c"},
		{"\xef\xac\x81\xef\xbd\x81", "fiA"}, /* fi, wide a */
		{"a\xc2\xa0\xc2\xa0 b", "A B"},
		{"\xcf\x82\xcf\x83", "\xce\xa3\xce\xa3"}, /* sigmas */
		{"\xe6\x97\xa5\xe3\x81\x8c", "\xe6\x97\xa5\xe3\x81\x8b"
			"\xe3\x82\x99"},
		{"", ""},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct arena *a = arena_new("test");
		struct buf *out = buf_new(a);
		charset_fold(out, str_from(rows[i][0]));
		ck_assert_msg(str_eq(buf_str(out), str_from(rows[i][1])),
			"%s: %.*s", rows[i][0], STR_ARG(buf_str(out)));
		arena_free(a);
	}
}
END_TEST

START_TEST(subjects)
{
	static const struct {
		const char *text, *base;
		bool reply;
	} rows[] = {
		{"Hello", "HELLO", false}, {"Re: Hello", "HELLO", true},
		{"re: FWD: [list] Hello (fwd) ", "HELLO", true},
		{"Re[2]: x", "X", true}, {"[a] [b] x", "X", false},
		{"[only]", "[ONLY]", false}, {"Re:", "", true},
		{"[fwd: Re: x]", "X", true}, {"Fw: x", "X", true},
		{"Regarding: x", "REGARDING: X", false}, {"", "", false},
		{"Re : x", "X", true}, {"rE:fWd:[b]x (FWD)", "X", true},
		{"[FWD: x] (fwd)", "X", true}, {"[a] Re: [b]", "[B]", true},
		{"\xef\xbc\xbb" "a] x", "[A] X", false},
		{"Re:  a \t b", "A B", true},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct arena *a = arena_new("test");
		bool reply;
		struct str got = facts_base_subject(
			a, str_from(rows[i].text), &reply);
		if (got.p == NULL)
			got = STR("");
		ck_assert_msg(str_eq(got, str_from(rows[i].base)), "%s: %.*s",
			rows[i].text, STR_ARG(got));
		ck_assert_msg(reply == rows[i].reply, "%s", rows[i].text);
		arena_free(a);
	}
}
END_TEST

static const struct str sample = STR_INIT(
	"From: =?utf-8?q?J=C3=B6rg?= <Joerg@Example.org>\n"
	"To: a@b, c@d\nSubject: Re: Caf\xc3\xa9\n"
	"Date: Mon, 23 Nov 2026 17:00:00 +0700\n"
	"Message-ID: <m1@x>\nReferences: <r1@x> <r2@x>\n"
	"Content-Type: multipart/mixed; boundary=x\n\n"
	"--x\nContent-Type: text/plain; charset=iso-8859-1\n"
	"Content-Transfer-Encoding: quoted-printable\n\n"
	"Gr=FC=\n=DFe  aus\nB\n"
	"--x\nContent-Type: application/pdf\n"
	"Content-Transfer-Encoding: base64\n"
	"Content-Disposition: attachment; filename=x.pdf\n\n"
	"c2VjcmV0\n--x--\n");

START_TEST(facts_of_a_message)
{
	struct arena *a = arena_new("test");
	struct facts f;
	facts_find(a, sample, &f);
	ck_assert_view(f.from, "JO\xcc\x88RG <JOERG@EXAMPLE.ORG>");
	ck_assert_view(f.sort_from, "JOERG");
	ck_assert_view(f.display_from, "JO\xcc\x88RG");
	ck_assert_view(f.display_to, "A@B");
	ck_assert_view(f.subject, "RE: CAFE\xcc\x81");
	ck_assert_view(f.sort_subject, "CAFE\xcc\x81");
	ck_assert(f.is_reply && f.has_date && f.has_attachment);
	ck_assert_int_eq(f.sent, 1795428000);
	ck_assert_int_eq(f.sent_zone, 420);
	ck_assert_view(f.message_id, "m1@x");
	ck_assert_uint_eq(f.references.n, 2);
	ck_assert_view(f.references.v[1], "r2@x");
	ck_assert_view(f.preview, "Gr\xc3\xbc\xc3\x9f" "e aus B");
	ck_assert_uint_eq(f.size, sample.n);
	arena_free(a);
}
END_TEST

START_TEST(fields_as_they_stand)
{
	struct arena *a = arena_new("test");
	struct facts f;
	facts_find(a, STR("Received: x\nSUBJECT: a\n b\nX-Other: c\r\n"
		"From : d\r\nto:e\n\nCc: body\n"), &f);
	ck_assert_view(f.fields, "SUBJECT: a\n b\nFrom : d\r\nto:e\n");
	facts_find(a, STR("Subject: ends with the message"), &f);
	ck_assert_view(f.fields, "Subject: ends with the message\n");
	facts_find(a, STR("To: One\nSubject: a\nto: Two\n\n"), &f);
	ck_assert_view(f.to, "ONE TWO");
	ck_assert_view(f.sort_to, "ONE");
	ck_assert_view(f.subject, "A");
	facts_find(a, STR("To: people: x@y, z@y;\nCc: \"A B\" <c@d>\n"
		"From: ;\n\n"), &f);
	ck_assert_view(f.sort_to, "PEOPLE");
	ck_assert_view(f.display_to, "PEOPLE");
	ck_assert_view(f.sort_cc, "C");
	ck_assert_uint_eq(f.sort_from.n, 0);
	facts_find(a, STR("X-Other: c\n\n"), &f);
	ck_assert(f.fields.p != NULL && f.fields.n == 0);
	facts_find(a, STR("Subject: a\0b\n\n"), &f);
	ck_assert_ptr_null(f.fields.p);
	struct buf *m = buf_new(a);
	buf_adds(m, "To: ");
	for (int i = 0; i < FACTS_FIELDS_MOST; i++)
		buf_addc(m, 'x');
	buf_adds(m, "\n\n");
	facts_find(a, buf_str(m), &f);
	ck_assert_ptr_null(f.fields.p);
	ck_assert(facts_keeps(STR("message-ID")));
	ck_assert(!facts_keeps(STR("received")) && !facts_keeps(STR("")));
	arena_free(a);
}
END_TEST

/* However the text is cut on the way: whole characters, so many of them. */
START_TEST(previews_of_long_texts)
{
	static const struct {
		const char *filler;
		int count;
	} rows[] = {{"\xf0\x9f\x98\x80", 900}, {"\xe2\x82\xac", 900},
		{"\xc3\xa9", 900}, {"x", 3000}, {"\xe2\x82\xac ", 600}};
	struct arena *a = arena_new("test");
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		for (int blanks = 0; blanks < 2100; blanks += 700) {
			struct buf *m = buf_new(a), *text = buf_new(a);
			struct facts f;
			buf_adds(m, "Content-Type: text/plain; charset=utf-8\n"
				"\n");
			for (int k = 0; k < blanks; k++)
				buf_addc(m, ' ');
			for (int k = 0; k < rows[i].count; k++)
				buf_adds(text, rows[i].filler);
			buf_add(m, buf_str(text));
			facts_find(a, buf_str(m), &f);
			ck_assert(str_eq(f.preview, str_trim(charset_head_chars(
				buf_str(text), FACTS_PREVIEW_MOST))));
		}
	}
	arena_free(a);
}
END_TEST

static struct str
folded(struct arena *a, struct str text)
{
	struct buf *out = buf_new(a);
	charset_fold(out, text);
	return buf_str(out);
}

START_TEST(searching_decoded_text)
{
	static const struct {
		const char *needle;
		bool body, text;
	} rows[] = {{"gr\xc3\xbc\xc3\x9f" "e aus b", true, true}, {"j\xc3\xb6rg", false,
		true}, {"secret", false, false}, {"x.pdf", false, true},
		{"nowhere", false, false}, {"", true, true}};
	struct arena *a = arena_new("test");
	struct mime_part *root = mime_parse(a, sample);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct str n = folded(a, str_from(rows[i].needle));
		ck_assert_msg(text_search(a, sample, root, n, false) ==
			rows[i].body, "%s", rows[i].needle);
		ck_assert_msg(text_search(a, sample, root, n, true) ==
			rows[i].text, "%s", rows[i].needle);
	}
	arena_free(a);
}
END_TEST

START_TEST(searching_a_delivery_report)
{
	struct str m = STR("Content-Type: multipart/report; boundary=b\r\n\r\n"
		"--b\r\nContent-Type: message/delivery-status\r\n\r\n"
		"Reporting-MTA: dns; mx.example.test\r\n\r\n"
		"Diagnostic-Code: smtp; 550 No Such User\r\n"
		"--b\r\nContent-Type: image/png\r\n\r\n"
		"picture\r\n--b--\r\n");
	struct arena *a = arena_new("test");
	struct mime_part *root = mime_parse(a, m);
	ck_assert(text_search(
		a, m, root, folded(a, STR("no such user")), false));
	ck_assert(!text_search(
		a, m, root, folded(a, STR("picture")), false));
	arena_free(a);
}
END_TEST

START_TEST(a_match_across_pieces_is_found)
{
	struct arena *a = arena_new("test");
	struct buf *m = buf_new(a);
	buf_adds(m, "Subject: x\n\n");
	for (int i = 0; i < 20000; i++)
		buf_printf(m, "line %05d\n", i);
	struct mime_part *root = mime_parse(a, buf_str(m));
	for (int i = 0; i < 19999; i += 111)
		ck_assert(text_search(a, buf_str(m), root,
			folded(a, str_printf(a, "line %05d line %05d", i,
				i + 1)), false));
	arena_free(a);
}
END_TEST

START_TEST(wire_form_and_parts_of_it)
{
	struct arena *a = arena_new("test");
	struct str s = STR("a\nb\r\n\n\rc");
	struct str whole = STR("a\r\nb\r\n\r\n\rc");
	for (size_t skip = 0; skip < 12; skip++) {
		for (size_t most = 0; most < 12; most++) {
			struct buf *out = buf_new(a);
			text_to_wire(out, s, skip, most);
			ck_assert(str_eq(buf_str(out),
				str_head(str_skip(whole, skip), most)));
		}
	}
	arena_free(a);
}
END_TEST

Suite *
suite_text(void)
{
	return SUITE("text", encoded_words, encoded_parameters,
		words_there_and_back, mailbox_names, folding, subjects,
		facts_of_a_message, fields_as_they_stand, previews_of_long_texts,
		searching_decoded_text,
		searching_a_delivery_report, a_match_across_pieces_is_found, wire_form_and_parts_of_it);
}
