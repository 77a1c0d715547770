/* SPDX-License-Identifier: ISC */
/* Fuzz entry of SMTP replies: lines a server sends, reply after reply.  What
 * became of one is said by us so that it is understood as the same. */
#include "base/arena.h"
#include "mail/smtp.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static bool
next_line(struct str *rest, struct str *line)
{
	if (!str_cut(rest, '\n', line))
		return false;
	if (str_ends(*line, STR("\r")))
		line->n--;
	return true;
}

static void
check_text(struct str text)
{
	for (size_t i = 0; i < text.n; i++)
		assert(text.p[i] == '\n' ||
			((unsigned char)text.p[i] >= 0x20 &&
				text.p[i] != 0x7f));
}

/* Lines longer than a reply may have are cut when they are written. */
static bool
has_long_line(struct str text)
{
	struct str line;
	while (str_cut(&text, '\n', &line))
		if (line.n > 400)
			return true;
	return false;
}

static void
check_again(struct arena *a, struct status s)
{
	struct buf *wire = buf_new(a);
	struct smtp_reply r;
	struct str line;
	smtp_write_reply(wire, s, false);
	smtp_reply_start(a, &r);
	struct str rest = buf_str(wire);
	while (!r.done && !r.bad && next_line(&rest, &line))
		smtp_reply_line(&r, line);
	assert(r.done && !r.bad && rest.n == 0);
	assert(r.code == status_reply_code(s));
	if (!has_long_line(s.text))
		assert(str_eq(buf_str(r.text), s.text));
	struct str form = status_format(a, s);
	struct status back;
	assert(status_parse(form, &back));
	assert(back.class == s.class && back.subject == s.subject &&
		back.detail == s.detail && back.reply == s.reply &&
		str_eq(back.text, s.text));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct arena *a = arena_new("fuzz");
	struct str rest = str_of(data, n), line;
	struct smtp_reply r;
	smtp_reply_start(a, &r);
	while (!r.bad && next_line(&rest, &line)) {
		smtp_reply_line(&r, line);
		if (!r.done || r.bad)
			continue;
		assert(r.lines <= SMTP_REPLY_LINES);
		check_text(buf_str(r.text));
		struct status s = smtp_reply_status(a, &r, 1, 2);
		assert(s.class == STATUS_FINE || s.class == STATUS_LATER ||
			s.class == STATUS_NEVER);
		assert(s.subject <= 999 && s.detail <= 999);
		check_again(a, s);
		smtp_reply_start(a, &r);
	}
	arena_free(a);
	return 0;
}
