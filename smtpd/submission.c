/* SPDX-License-Identifier: ISC */
/*
 * Header repair, on submission only (RFC 6409 8, RFC 5321 6.4): a relay must
 * not touch what passes through it.
 */
#include "smtpd.h"
#include "base/arena.h"
#include "base/clock.h"
#include "mail/date.h"
#include "mail/header.h"

static bool
is_secret(struct str name)
{
	return str_eq_nocase(name, STR("Bcc")) ||
		str_eq_nocase(name, STR("Resent-Bcc"));
}

void
submission_repair(struct session *s, struct arena *a, struct str header,
	struct buf *out)
{
	struct str rest = header, value;
	struct header_field f;
	if (!header_find(header, STR("Date"), &value))
		buf_printf(out, "Date: %.*s\r\n", STR_ARG(date_format(a,
			(struct date){clock_wall(), 0})));
	if (!header_find(header, STR("Message-ID"), &value))
		buf_printf(out, "Message-ID: <%.*s.%u@%.*s>\r\n",
			STR_ARG(s->id), s->transactions,
			STR_ARG(s->program->hostname));
	while (header_next(&rest, &f))
		if (!is_secret(f.name))
			buf_add(out, f.whole);
	/* Also where body text followed the last field without an empty line:
	 * it must not be taken for header further on. */
	buf_adds(out, "\r\n");
}
