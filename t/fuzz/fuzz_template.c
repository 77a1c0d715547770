/* SPDX-License-Identifier: ISC */
/*
 * Fuzz entry of the words of delivery reports.  A file that is taken makes
 * reports of three parts, in lines that are none too long, with no field in
 * their header but ours.
 */
#include "base/arena.h"
#include "base/buf.h"
#include "mail/charset.h"
#include "mail/dsn.h"
#include "mail/header.h"
#include "mail/mime.h"
#include "mail/template.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { LINE_MOST = 998, FIELDS = 8 };

static void
check_lines(struct str s)
{
	struct str line;
	while (str_cut(&s, '\n', &line)) {
		assert(s.p == NULL || str_ends(line, STR("\r")));
		assert(line.n <= LINE_MOST + 1);
		assert(!str_has(str_head(line, line.n - (line.n > 0)), '\r'));
	}
}

static void
check_head(struct str report)
{
	struct str rest = str_head(report, header_length(report)), line;
	size_t fields = 0;
	while (str_cut(&rest, '\n', &line) && line.n > 1)
		fields += line.p[0] != ' ' && line.p[0] != '\t';
	assert(fields <= FIELDS + 1);
	assert(str_is_ascii(str_head(report, header_length(report))));
}

static void
write_with(struct arena *a, const struct template *t, enum dsn_action action)
{
	static char host[255];
	memset(host, 'h', sizeof host);
	struct buf *out = buf_new(a);
	struct dsn_recipient r = {.address = STR("a@b.test"),
		.action = action, .status = status_never(1, 1, STR("no")),
		.remote = str_of(host, action == DSN_DELAYED ? 0 : 255),
		.will_retry_until = action == DSN_DELAYED ? 1700000000 : 0};
	const struct dsn d = {.host = str_of(host, sizeof host),
		.id = STR("4XB2"), .to = STR("sender@remote.test"),
		.arrival = 1700000000, .now = 1700000100,
		.message_id = STR("r@mail.test"), .languages = &t,
		.language_count = 1,
		.boundary = STR("=_4XB2_no_input_has_this"),
		.recipients = &r, .count = 1, .original = STR("A: b\r\n\r\n")};
	dsn_write(a, out, &d);
	struct str report = buf_str(out);
	const struct mime_part *part = mime_parse(a, report)->child;
	assert(part != NULL && part->next != NULL &&
		part->next->next != NULL && part->next->next->next == NULL);
	assert(charset_is_utf8(mime_body(report, part)));
	check_lines(report);
	check_head(report);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct arena *a = arena_new("fuzz");
	struct template t = *template_builtin(STR("en"));
	struct buf *errors = buf_new(a);
	if (template_parse(a, &t, str_of(data, n), "f", errors))
		for (int i = DSN_FAILED; i < DSN_ACTIONS; i++)
			write_with(a, &t, (enum dsn_action)i);
	else
		assert(errors->n > 0);
	arena_free(a);
	return 0;
}
