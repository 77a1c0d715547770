/* SPDX-License-Identifier: ISC */
/*
 * Fuzz entry of delivery reports: lines of the input are what the outside has
 * a say in: the recipient's address, ORCPT, ENVID, what a remote server said
 * and who it was, and then the message.  Whatever they are, the report is a
 * message of three parts whose fields are ours.
 */
#include "base/arena.h"
#include "mail/address.h"
#include "mail/dsn.h"
#include "mail/mime.h"
#include "mail/smtp.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Only CRLF ends a line, outside of the message that is returned. */
static void
check_lines(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] == '\n')
			assert(i > 0 && s.p[i - 1] == '\r');
		else if (s.p[i] == '\r')
			assert(i + 1 < s.n && s.p[i + 1] == '\n');
}

/* Every line of the second part is a field of the report's own, or the
 * continuation of one. */
static void
check_fields(struct str part)
{
	static const char *const names[] = {"Original-Envelope-Id: ",
		"Reporting-MTA: ", "X-Surat-Queue-Id: ", "Arrival-Date: ",
		"Original-Recipient: ", "Final-Recipient: ", "Action: ",
		"Status: ", "Remote-MTA: ", "Diagnostic-Code: ",
		"Last-Attempt-Date: ", "Will-Retry-Until: ", "    "};
	struct str line;
	while (str_cut(&part, '\n', &line)) {
		bool known = line.n == 0 || str_eq(line, STR("\r"));
		for (size_t i = 0; i < sizeof names / sizeof *names; i++)
			known = known || str_starts(line, str_from(names[i]));
		assert(known);
	}
}

static void
check_report(struct arena *a, struct str report, struct str original)
{
	const struct mime_part *words = mime_parse(a, report)->child;
	assert(words != NULL && words->next != NULL);
	const struct mime_part *fields = words->next, *last = fields->next;
	assert(last != NULL && last->next == NULL);
	check_lines(str_head(report, last->body.offset));
	check_fields(mime_body(report, fields));
	/* A header without its empty line takes that of the delimiter. */
	struct str returned = mime_body(report, last);
	assert(str_starts(returned, original));
	returned = str_skip(returned, original.n);
	assert(returned.n == 0 || str_eq(returned, STR("\r\n")));
}

/* A remote server's answer as it comes to us. */
static struct status
said(struct arena *a, struct str text)
{
	struct smtp_reply r;
	smtp_reply_start(a, &r);
	smtp_reply_line(&r, str_printf(a, "550-5.1.1 %.*s", STR_ARG(text)));
	smtp_reply_line(&r, str_printf(a, "550 %.*s", STR_ARG(text)));
	return smtp_reply_status(a, &r, 1, 2);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct arena *a = arena_new("fuzz");
	struct str rest = str_of(data, n), f[5] = {{NULL, 0}};
	struct address x;
	struct buf *out = buf_new(a);
	for (int i = 0; i < 5; i++)
		str_cut(&rest, '\n', &f[i]);
	bool is_address = address_parse(a, f[0], true, &x);
	struct dsn_recipient r = {
		.address = is_address ? address_text(a, &x) : STR("a@b.test"),
		.original = f[1], .action = (enum dsn_action)(n % 5),
		.status = said(a, f[3]),
		.remote = address_is_domain(f[4], false) ? f[4] : STR("")};
	struct dsn d = {.host = STR("mail.test"), .id = STR("4XB2"),
		.to = STR("sender@remote.test"), .envid = f[2],
		.arrival = 1700000000, .now = 1700000100,
		.message_id = STR("r@mail.test"),
		.boundary = STR("=_4XB2_no_input_has_this"),
		.utf8 = n & 1, .recipients = &r, .count = 1, .original = rest};
	if (str_search(rest, d.boundary) == rest.n) {
		dsn_write(a, out, &d);
		check_report(a, buf_str(out), rest);
	}
	arena_free(a);
	return 0;
}
