/* SPDX-License-Identifier: ISC */
/*
 * Grammar and transparency.  The DATA reader copies whole runs between line
 * ends found by memchr; only the few octets around a line end go through the
 * state machine.
 */
#include "mail/smtp.h"
#include "base/arena.h"

#include <stdio.h>

/* --------------------------------------------------- MAIL and RCPT */

static bool
is_key_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		(c >= '0' && c <= '9') || c == '-';
}

static bool
is_value(struct str s, bool utf8)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (c <= 0x20 || c == '=' || c == 0x7f || (c >= 0x80 && !utf8))
			return false;
	}
	return true;
}

static bool
has_param(const struct smtp_path *p, struct str key)
{
	for (size_t i = 0; i < p->param_count; i++)
		if (str_eq_nocase(p->params[i].key, key))
			return true;
	return false;
}

/* RFC 5321 4.1.2 esmtp-param.  AUTH= and ORCPT= carry '=' only as xtext. */
static bool
add_param(struct smtp_path *p, struct str word, bool utf8)
{
	struct str key;
	str_cut(&word, '=', &key);
	if (key.n == 0 || p->param_count == SMTP_PARAMS_MOST ||
		has_param(p, key) || !is_value(word, utf8))
		return false;
	for (size_t i = 0; i < key.n; i++)
		if (!is_key_char(key.p[i]))
			return false;
	p->params[p->param_count++] = (struct smtp_param){key, word};
	return true;
}

/* An address without its brackets, as some clients send it. */
static bool
parse_bare(struct arena *a, struct str *rest, bool utf8, struct address *out)
{
	struct str word, copy = *rest;
	if (!str_word(&copy, &word) || !address_parse(a, word, utf8, out))
		return false;
	*rest = copy;
	return true;
}

struct status
smtp_parse_path(struct arena *a, struct str args, struct str keyword,
	bool utf8, struct smtp_path *out)
{
	struct str word;
	*out = (struct smtp_path){.param_count = 0};
	if (!str_starts_nocase(args, keyword))
		return STATUS(STATUS_NEVER, 5, 4, "Syntax: MAIL FROM:<address> "
			"or RCPT TO:<address>");
	struct str rest = str_trim(str_skip(args, keyword.n));
	bool bracket = str_starts(rest, STR("<"));
	bool ok = bracket ? address_parse_path(a, &rest, utf8, &out->address)
			  : parse_bare(a, &rest, utf8, &out->address);
	if (!ok || (rest.n > 0 && rest.p[0] != ' ')) {
		struct status s = STATUS(STATUS_NEVER, 1, 3,
			"That is not an address in <>");
		s.detail = str_eq_nocase(keyword, STR("FROM:")) ? 7 : 3;
		return status_reply(s, 501);
	}
	while (str_word(&rest, &word))
		if (!add_param(out, word, utf8))
			return STATUS(STATUS_NEVER, 5, 4,
				"Malformed or repeated parameter");
	return status_fine();
}

/* --------------------------------------------------------- replies */

void
smtp_reply_start(struct arena *a, struct smtp_reply *r)
{
	*r = (struct smtp_reply){.text = buf_new(a)};
}

/* Control characters of a stranger's text become blanks here, once. */
static void
add_clean(struct buf *out, struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		buf_addc(out, c < 0x20 || c == 0x7f ? ' ' : (char)c);
	}
}

void
smtp_reply_line(struct smtp_reply *r, struct str line)
{
	uint64_t code;
	char mark = line.n > 3 ? line.p[3] : ' ';
	if (line.n < 3 || !str_number(str_head(line, 3), 599, &code) ||
		code < 200 || (mark != ' ' && mark != '-') ||
		(r->lines > 0 && (int)code != r->code) ||
		r->lines == SMTP_REPLY_LINES) {
		r->bad = true;
		return;
	}
	if (r->lines++ > 0)
		buf_addc(r->text, '\n');
	r->code = (int)code;
	add_clean(r->text, str_skip(line, 4));
	r->done = mark == ' ';
}

/* "4.2.1 text": digits of RFC 3463 at the front. */
static bool
take_enhanced(struct str text, uint64_t n[3])
{
	struct str word, part;
	if (!str_word(&text, &word))
		return false;
	for (int i = 0; i < 3; i++)
		if (!str_cut(&word, '.', &part) ||
			!str_number(part, 999, &n[i]))
			return false;
	return word.p == NULL;
}

struct status
smtp_reply_status(struct arena *a, const struct smtp_reply *r, int subject,
	int detail)
{
	uint64_t n[3];
	struct status s = {.reply = (uint16_t)r->code};
	s.class = r->code < 400 ? STATUS_FINE :
		r->code < 500 ? STATUS_LATER : STATUS_NEVER;
	s.subject = (uint16_t)subject;
	s.detail = (uint16_t)detail;
	s.text = str_copy(a, buf_str(r->text));
	if (take_enhanced(s.text, n) && n[0] == s.class) {
		s.subject = (uint16_t)n[1];
		s.detail = (uint16_t)n[2];
	}
	return s;
}

static void
reply_line(struct buf *out, struct status s, struct str text, bool more)
{
	buf_addn(out, (uint64_t)status_reply_code(s));
	buf_addc(out, more ? '-' : ' ');
	add_clean(out, text);
	buf_adds(out, "\r\n");
}

void
smtp_write_reply(struct buf *out, struct status s, bool enhanced)
{
	struct str rest = s.text, line;
	char text[600];
	if (rest.p == NULL)
		rest = STR("");
	while (str_cut(&rest, '\n', &line)) {
		line = str_head(line, 500);
		int n = 0;
		if (enhanced)
			n = snprintf(text, sizeof text, "%d.%d.%d ", s.class,
				s.subject, s.detail);
		memcpy(text + n, line.p == NULL ? "" : line.p, line.n);
		reply_line(out, s, str_of(text, (size_t)n + line.n),
			rest.p != NULL);
	}
}

/* ------------------------------------------------------------ DATA */

enum data_state {
	LINE_START, /* after CRLF */
	IN_LINE,
	SEEN_CR, /* within a line, after CR */
	SEEN_DOT, /* CRLF . */
	SEEN_DOT_CR, /* CRLF . CR */
};

void
smtp_data_start(struct smtp_data *d, enum smtp_bare policy)
{
	*d = (struct smtp_data){
		.policy = policy, .state = LINE_START, .dots = true};
}

/* A CR that was not followed by LF. */
static void
lone_cr(struct smtp_data *d, struct buf *out)
{
	d->bare = true;
	if (d->policy == SMTP_NORMALISE_BARE)
		buf_adds(out, "\r\n");
	else
		buf_addc(out, '\r');
}

static void
lone_lf(struct smtp_data *d, struct buf *out)
{
	d->bare = true;
	if (d->policy == SMTP_NORMALISE_BARE)
		buf_addc(out, '\r');
	buf_addc(out, '\n');
}

/* One octet in the middle of a line.  A normalised lone line end starts no
 * new line here: a dot after it is content, never the end. */
static enum data_state
plain(struct smtp_data *d, char c, struct buf *out)
{
	if (c == '\r')
		return SEEN_CR;
	if (c == '\n')
		lone_lf(d, out);
	else
		buf_addc(out, c);
	return IN_LINE;
}

static enum data_state
step(struct smtp_data *d, char c, struct buf *out)
{
	switch ((enum data_state)d->state) {
	case LINE_START:
		return c == '.' && d->dots ? SEEN_DOT : plain(d, c, out);
	case IN_LINE:
		return plain(d, c, out);
	case SEEN_CR:
		if (c == '\n') {
			buf_adds(out, "\r\n");
			return LINE_START;
		}
		lone_cr(d, out);
		return plain(d, c, out);
	case SEEN_DOT:
		/* RFC 5321 4.5.2: the dot is dropped unless alone. */
		return c == '\r' ? SEEN_DOT_CR : plain(d, c, out);
	case SEEN_DOT_CR:
		if (c == '\n') {
			d->done = true;
			return LINE_START;
		}
		lone_cr(d, out);
		return plain(d, c, out);
	}
	return IN_LINE;
}

/* Octets up to the next CR or LF need no looking at.  Not further than a line
 * may be: who sends nothing but one of the two would have us look for the other
 * through all that follows, each time. */
static size_t
run_length(struct str s)
{
	enum { RUN_MOST = 1000 };
	s = str_head(s, RUN_MOST);
	return str_find(str_head(s, str_find(s, '\r')), '\n');
}

size_t
smtp_data_feed(struct smtp_data *d, struct str in, struct buf *out)
{
	size_t i = 0, before = out->n;
	while (i < in.n && !d->done) {
		if (d->state == IN_LINE) {
			struct str rest = str_skip(in, i);
			size_t n = run_length(rest);
			buf_add(out, str_head(rest, n));
			i += n;
			if (i == in.n)
				break;
		}
		d->state = step(d, in.p[i++], out);
	}
	d->octets += out->n - before;
	return i;
}

void
smtp_data_end(struct smtp_data *d, struct buf *out)
{
	size_t before = out->n;
	if (d->done || d->state == LINE_START)
		return;
	if (d->state == SEEN_CR)
		lone_cr(d, out);
	if (d->state != SEEN_CR || d->policy != SMTP_NORMALISE_BARE)
		buf_adds(out, "\r\n");
	d->state = LINE_START;
	d->octets += out->n - before;
}

void
smtp_stuff_start(struct smtp_stuff *w)
{
	*w = (struct smtp_stuff){.line_start = true};
}

static void
end_line(struct smtp_stuff *w, struct buf *out)
{
	buf_adds(out, "\r\n");
	w->line_start = true;
	w->after_cr = false;
}

static void
stuff_octet(struct smtp_stuff *w, char c, struct buf *out)
{
	if (w->after_cr) {
		end_line(w, out); /* CRLF, or a CR by itself */
		if (c == '\n')
			return;
	}
	if (c == '\r') {
		w->after_cr = true;
	} else if (c == '\n') {
		end_line(w, out);
	} else {
		if (w->line_start && c == '.')
			buf_addc(out, '.');
		buf_addc(out, c);
		w->line_start = false;
	}
}

void
smtp_stuff_feed(struct smtp_stuff *w, struct str in, struct buf *out)
{
	for (size_t i = 0; i < in.n; i++) {
		if (!w->line_start && !w->after_cr) {
			struct str rest = str_skip(in, i);
			size_t n = run_length(rest);
			buf_add(out, str_head(rest, n));
			i += n;
			if (i == in.n)
				break;
		}
		stuff_octet(w, in.p[i], out);
	}
}

void
smtp_stuff_end(struct smtp_stuff *w, struct buf *out)
{
	if (w->after_cr || !w->line_start)
		end_line(w, out);
	buf_adds(out, ".\r\n");
}
