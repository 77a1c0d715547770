/* SPDX-License-Identifier: ISC */
/* Words of delivery reports that an administrator writes. */
#include "suites.h"
#include "mail.h"
#include "base/arena.h"
#include "base/buf.h"
#include "mail/dsn.h"
#include "mail/mime.h"
#include "mail/template.h"
#include "mail/word.h"

#include <fcntl.h>
#include <stdio.h>

static struct str
file_of(struct arena *a, const char *path)
{
	struct buf *b = buf_new(a);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	ssize_t n = read(fd, buf_room(b, TEMPLATE_MOST), TEMPLATE_MOST);
	close(fd);
	buf_grew(b, (size_t)n);
	return buf_str(b);
}

/* The samples are what is built in: whoever translates begins with that. */
START_TEST(samples_are_what_is_built_in)
{
	static const char *const tags[] = {"en", "id"};
	struct arena *a = arena_new("test");
	for (size_t i = 0; i < sizeof tags / sizeof *tags; i++) {
		char path[64];
		struct template t = {0};
		struct buf *errors = buf_new(a);
		const struct template *want =
			template_builtin(str_from(tags[i]));
		snprintf(path, sizeof path, "etc/reports/%s", tags[i]);
		ck_assert(template_parse(a, &t, file_of(a, path), path,
			errors));
		for (size_t k = 0; k < TEMPLATE_TEXTS; k++)
			ck_assert_msg(str_eq(t.texts[k], want->texts[k]),
				"%s: %.*s", path, STR_ARG(t.texts[k]));
	}
	ck_assert_ptr_null(template_builtin(STR("fr")));
	arena_free(a);
}
END_TEST

/* What this file makes of a report on one failure. */
static struct str
report_with(struct arena *a, const char *file, enum dsn_action action)
{
	struct buf *errors = buf_new(a), *out = buf_new(a);
	struct template *t = arena_one(a, struct template);
	const struct template **list = arena_array(a, 1, sizeof *list);
	struct dsn_recipient r = {.address = STR("{host}@b.example"),
		.action = action, .remote = STR("mx.b.example"),
		.status = status_never(1, 1, STR("no"))};
	*t = *template_builtin(STR("en"));
	t->tag = STR("de");
	list[0] = t;
	ck_assert_msg(template_parse(a, t, str_from(file), "f", errors),
		"%.*s", STR_ARG(buf_str(errors)));
	struct dsn d = {.host = STR("here.example"), .id = STR("4Xb2"),
		.to = STR("me@here.example"), .message_id = STR("m@h"),
		.boundary = STR("=_4Xb2"), .languages = list,
		.language_count = 1, .recipients = &r, .count = 1,
		.original = STR("Subject: x\r\n\r\n")};
	dsn_write(a, out, &d);
	return buf_str(out);
}

static bool
has(struct str s, const char *text)
{
	return str_search(s, str_from(text)) < s.n;
}

START_TEST(a_language_of_ones_own)
{
	struct arena *a = arena_new("test");
	struct str m = report_with(a, "# Deutsch\r\n"
		"intro: Dies ist das Mailsystem von {host}.\r\n"
		"recipient: An <{recipient}> ({action}):\r\n"
		"remote:{remote} sagt zu <{recipient}> ({action}):\r\n\r\n"
		"failed: unzustellbar\r\n"
		"failed-subject: Zur\xc3\xbc" "ck: {id}\r\n"
		"failed-text: Gr\xc3\xb6\xc3\x9f" "e.\r\n"
		"\t.\r\n"
		" Ein {Wort} und {host}\r\n", DSN_FAILED);
	struct mime_part *p = mime_parse(a, m)->child;
	ck_assert_view(mime_body(m, p),
		"Dies ist das Mailsystem von here.example.\r\n\r\n"
		"Gr\xc3\xb6\xc3\x9f" "e.\r\n\r\nEin {Wort} und here.example\r\n"
		"\r\nmx.b.example sagt zu <{host}@b.example> (unzustellbar):\r\n"
		"    no\r\n");
	ck_assert(has(m, "\r\nSubject: =?utf-8?B?WnVyw7xjazogNFhiMg==?=\r\n"));
	/* RFC 2045 6.4: of the part, and of what contains it. */
	ck_assert(has(str_head(m, p->body.offset),
		"Content-Transfer-Encoding: 8bit\r\n"));
	ck_assert(has(m, "Content-Transfer-Encoding: 8bit\r\n"
		"Content-Language: de\r\n"));
	ck_assert(has(m, "\r\nAction: failed\r\n"));
	/* What it does not say is said in what it stands over. */
	m = report_with(a, "failed: x\n", DSN_DELAYED);
	ck_assert(has(m, "Subject: Delayed: your message is still"));
	ck_assert(!has(m, "8bit"));
	arena_free(a);
}
END_TEST

START_TEST(mistakes_are_said_by_line)
{
	static const struct {
		const char *file, *error;
	} bad[] = {
		{"intro: {nobody}", "f:1: no such name there: nobody\n"},
		{"\n# x\nintro: {recipient}",
			"f:3: no such name there: recipient\n"},
		{"failed-subject: {remote}",
			"f:1: no such name there: remote\n"},
		{"introduction: x", "f:1: there is no introduction\n"},
		{"words", "f:1: no KEY: TEXT: words\n"},
		{" words", "f:1: continues nothing\n"},
		{"intro: a\rb", "f:1: a control character\n"},
		{"intro: a\n \x1b[2J", "f:2: a control character\n"},
		{"until: a\n b", "f:2: is one line only: until\n"},
		{"failed-subject: a\n Bcc: b@c",
			"f:2: is one line only: failed-subject\n"},
		{"intro: \xff\xfe", "f:1: is not UTF-8\n"},
		{"intro: \xc3", "f:1: is not UTF-8\n"},
		{"intro: a\nintro: b", "f:2: stands here twice: intro\n"},
		{"intro:\nuntil: x", "f:2: says nothing: intro\n"},
	};
	struct arena *a = arena_new("test");
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct template t = *template_builtin(STR("en"));
		struct buf *errors = buf_new(a);
		ck_assert(!template_parse(a, &t, str_from(bad[i].file), "f",
			errors));
		struct str got = buf_str(errors);
		ck_assert_msg(str_eq(got, str_from(bad[i].error)),
			"%s: %.*s", bad[i].file, STR_ARG(got));
	}
	arena_free(a);
}
END_TEST

/* NUL is an octet like others. */
START_TEST(nul_is_a_control_character)
{
	struct arena *a = arena_new("test");
	struct template t = *template_builtin(STR("en"));
	struct buf *errors = buf_new(a);
	ck_assert(!template_parse(a, &t, STR("intro: a\0b"), "f", errors));
	ck_assert_view(buf_str(errors), "f:1: a control character\n");
	arena_free(a);
}
END_TEST

/* Each line, and what its names may make of it. */
START_TEST(long_lines_are_refused)
{
	static const struct {
		const char *before, *again;
		int times;
		bool good;
	} lines[] = {
		{"intro: ", "x", 400, true},
		{"intro: ", "x", 401, false},
		{"intro: x\n ", "x", 401, false},
		{"intro: ", "{host}", 3, true},
		{"intro: ", "{host}", 4, false},
		{"failed-subject: ", "x", 200, true},
		{"failed-subject: ", "x", 201, false},
		{"remote: ", "{recipient} ", 3, false},
		{"failed: ", "x", 64, true},
		{"failed: ", "x", 65, false},
	};
	struct arena *a = arena_new("test");
	for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
		struct template t = *template_builtin(STR("en"));
		struct buf *file = buf_new(a), *errors = buf_new(a);
		buf_adds(file, lines[i].before);
		for (int k = 0; k < lines[i].times; k++)
			buf_adds(file, lines[i].again);
		ck_assert_msg(template_parse(a, &t, buf_str(file), "f",
			errors) == lines[i].good, "%s", lines[i].before);
		ck_assert(lines[i].good ==
			!has(buf_str(errors), "too long"));
	}
	arena_free(a);
}
END_TEST

Suite *
suite_template(void)
{
	return SUITE("template", samples_are_what_is_built_in,
		a_language_of_ones_own, mistakes_are_said_by_line,
		nul_is_a_control_character, long_lines_are_refused);
}
