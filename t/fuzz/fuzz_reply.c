/* SPDX-License-Identifier: ISC */
/*
 * Fuzz entry of what servers say to us: replies, their statuses and the
 * keywords of EHLO.  Nothing that is kept has a control character but the LF
 * between two lines, and a status survives its way to the queue and back.
 */
#include "base/arena.h"
#include "base/status.h"
#include "deliver/remote.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void
check_status(struct arena *a, const struct smtp_reply *r)
{
	struct status back, s = smtp_reply_status(a, r, 1, 0);
	struct str text = status_format(a, s);
	assert((int)s.class == (r->code < 400 ? 2 : r->code / 100));
	assert(status_parse(text, &back));
	assert(back.class == s.class && back.subject == s.subject &&
		back.detail == s.detail && back.reply == s.reply &&
		str_eq(back.text, s.text));
	for (size_t i = 0; i < text.n; i++)
		assert(text.p[i] == '\n' || ((unsigned char)text.p[i] >= 0x20 &&
			text.p[i] != 0x7f));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct arena *a = arena_new("fuzz");
	struct str rest = str_of(data, n), line;
	struct smtp_reply r;
	smtp_reply_start(a, &r);
	while (str_cut(&rest, '\n', &line)) {
		smtp_reply_line(&r, line);
		assert(r.lines <= SMTP_REPLY_LINES);
		if (r.bad)
			break;
		if (!r.done)
			continue;
		struct capability c;
		capability_parse(buf_str(r.text), &c);
		check_status(a, &r);
		smtp_reply_start(a, &r);
	}
	arena_free(a);
	return 0;
}
