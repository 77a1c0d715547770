/* SPDX-License-Identifier: ISC */
/* Trace lines; the walk over the header is a plain line walk, since folded
 * lines begin with a blank and can match no field name. */
#include "mail/trace.h"

struct str
trace_protocol(const struct trace *t)
{
	/* [utf8][lmtp][tls][authenticated]; RFC 3848, RFC 6531 4.3 */
	static const char *const names[2][2][2][2] = {
		{{{"ESMTP", "ESMTPA"}, {"ESMTPS", "ESMTPSA"}},
			{{"LMTP", "LMTPA"}, {"LMTPS", "LMTPSA"}}},
		{{{"UTF8SMTP", "UTF8SMTPA"}, {"UTF8SMTPS", "UTF8SMTPSA"}},
			{{"UTF8LMTP", "UTF8LMTPA"},
				{"UTF8LMTPS", "UTF8LMTPSA"}}},
	};
	if (!t->esmtp && !t->lmtp)
		return STR("SMTP");
	return str_from(names[t->utf8][t->lmtp][t->tls][t->authenticated]);
}

/* A stranger's word within a header line: no blanks, no controls, no
 * parentheses that would open a comment. */
static void
add_word(struct buf *out, struct str s)
{
	for (size_t i = 0; i < s.n && i < 255; i++) {
		unsigned char c = (unsigned char)s.p[i];
		bool plain = c > 0x20 && c < 0x7f && c != '(' && c != ')' &&
			c != '\\' && c != ';';
		buf_addc(out, plain || c >= 0x80 ? (char)c : '?');
	}
	if (s.n == 0)
		buf_adds(out, "unknown");
}

static void
add_client(struct buf *out, const struct trace *t)
{
	bool v6 = str_has(t->client, ':');
	buf_adds(out, "Received: from ");
	if (t->hide_client) {
		buf_adds(out, "localhost (authenticated client)");
		return;
	}
	add_word(out, t->helo);
	if (str_eq(t->client, STR("unix")) || str_eq(t->client, STR("pipe"))) {
		buf_adds(out, " (local)");
		return;
	}
	buf_adds(out, " (");
	if (t->reverse.n > 0) {
		add_word(out, t->reverse);
		buf_addc(out, ' ');
	}
	buf_adds(out, v6 ? "[IPv6:" : "[");
	add_word(out, t->client);
	buf_adds(out, "])");
}

void
trace_received(struct buf *out, const struct trace *t)
{
	add_client(out, t);
	buf_adds(out, "\r\n\tby ");
	add_word(out, t->host);
	buf_adds(out, " (surat) with ");
	buf_add(out, trace_protocol(t));
	if (t->tls_version.n > 0) {
		buf_adds(out, " (");
		add_word(out, t->tls_version);
		buf_addc(out, ')');
	}
	buf_adds(out, " id ");
	add_word(out, t->id);
	if (t->recipient.n > 0) {
		buf_adds(out, "\r\n\tfor <");
		buf_add(out, t->recipient);
		buf_addc(out, '>');
	}
	buf_adds(out, ";\r\n\t");
	buf_add(out, t->date);
	buf_adds(out, "\r\n");
}

/* The next line of the header, without its line end; false at its end. */
static bool
header_line(struct str *rest, struct str *line)
{
	if (!str_cut(rest, '\n', line))
		return false;
	if (str_ends(*line, STR("\r")))
		line->n--;
	return line->n > 0;
}

/* The value when the line is this field ("Name" WSP* ":" value). */
static bool
is_field(struct str line, struct str name, struct str *value)
{
	if (!str_starts_nocase(line, name))
		return false;
	struct str rest = str_skip(line, name.n);
	while (rest.n > 0 && (rest.p[0] == ' ' || rest.p[0] == '\t'))
		rest = str_skip(rest, 1);
	if (!str_starts(rest, STR(":")))
		return false;
	*value = str_trim(str_skip(rest, 1));
	return true;
}

size_t
trace_hops(struct str message)
{
	struct str line, value;
	size_t hops = 0;
	while (header_line(&message, &line))
		hops += is_field(line, STR("Received"), &value);
	return hops;
}

bool
trace_delivered_to(struct str message, struct str address)
{
	struct str line, value;
	while (header_line(&message, &line))
		if (is_field(line, STR("Delivered-To"), &value) &&
			str_eq_nocase(value, address))
			return true;
	return false;
}
