/* SPDX-License-Identifier: ISC */
/*
 * What a local program writes becomes a message (RFC 5322): its own fields
 * stay as they are, missing ones are added at the front, and those that name
 * hidden recipients or belong to delivery are left out.
 */
#include "ctl.h"
#include "ask/link.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "mail/address.h"
#include "mail/date.h"
#include "mail/encode.h"
#include "mail/header.h"
#include "mail/word.h"

#include <errno.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

enum { RCPTS_MOST = 10000, INLINE_MOST = 60 * 1024, TOKEN = 16 };

/* ------------------------------------------------------------- addresses */

static bool
add_rcpt(struct letter *l, struct str address)
{
	for (size_t i = 0; i < l->rcpts.n; i++)
		if (str_eq(l->rcpts.v[i], address))
			return true;
	if (l->rcpts.v == NULL)
		l->rcpts.v = arena_array(l->arena, RCPTS_MOST,
			sizeof *l->rcpts.v);
	if (l->rcpts.n == RCPTS_MOST)
		return false;
	l->rcpts.v[l->rcpts.n++] = str_copy(l->arena, address);
	return true;
}

/* What was meant by mailbox and host, in normal form. */
static bool
normal(struct arena *a, const struct letter *l,
	const struct header_address *x, struct str *out)
{
	struct address meant = {.local = x->mailbox,
		.domain = x->host.n > 0 ? x->host : l->domain}, checked;
	struct str text = address_text(a, &meant);
	if (x->mailbox.n == 0 || !address_parse(a, text, true, &checked))
		return false;
	*out = address_text(a, &checked);
	return true;
}

bool
letter_address(const struct letter *l, struct str text, struct str *out)
{
	struct header_addresses list = header_parse_addresses(l->arena, text);
	return list.n == 1 && normal(l->arena, l, &list.v[0], out);
}

static bool
add_list(struct arena *a, struct letter *l, struct str text)
{
	struct header_addresses list = header_parse_addresses(a, text);
	struct str address;
	for (size_t i = 0; i < list.n; i++) {
		if (list.v[i].group)
			continue;
		if (!normal(a, l, &list.v[i], &address) ||
			!add_rcpt(l, address))
			return false;
	}
	return list.n < HEADER_ADDRESSES_MOST;
}

bool
letter_rcpts(struct letter *l, struct str text)
{
	struct arena *a = arena_new("addresses");
	bool ok = add_list(a, l, text);
	arena_free(a);
	return ok;
}

/* ----------------------------------------------------------------- lines */

/* Every line end becomes CRLF; NUL, which no mail may hold, goes. */
static struct str
lines(struct arena *a, struct str raw)
{
	struct buf *out = buf_new(a);
	char *to = buf_room(out, raw.n * 2 + 2);
	size_t n = 0;
	for (size_t i = 0; i < raw.n; i++) {
		char c = raw.p[i];
		bool crlf = c == '\r' && i + 1 < raw.n && raw.p[i + 1] == '\n';
		if (c == '\0' || crlf)
			continue;
		if (c == '\n' || c == '\r')
			to[n++] = '\r';
		to[n++] = c == '\r' ? '\n' : c;
	}
	if (n > 0 && to[n - 1] != '\n') {
		to[n++] = '\r';
		to[n++] = '\n';
	}
	buf_grew(out, n);
	return buf_str(out);
}

/* "From user date" of mailbox files is no field. */
static struct str
without_postmark(struct str text)
{
	if (!str_starts(text, STR("From ")) && !str_starts(text,
		STR(">From ")))
		return text;
	return str_skip(text, str_find(text, '\n') + 1);
}

/* ---------------------------------------------------------------- fields */

static const struct {
	struct str name;
	bool dropped, addressees, resent;
} special[] = {
	{STR_INIT("To"), .addressees = true},
	{STR_INIT("Cc"), .addressees = true},
	{STR_INIT("Bcc"), .addressees = true, .dropped = true},
	{STR_INIT("Resent-To"), .addressees = true, .resent = true},
	{STR_INIT("Resent-Cc"), .addressees = true, .resent = true},
	{STR_INIT("Resent-Bcc"), .addressees = true, .resent = true,
		.dropped = true},
	{STR_INIT("Return-Path"), .dropped = true},
};

enum { SPECIALS = sizeof special / sizeof *special };

static size_t
special_row(struct str name)
{
	size_t i = 0;
	while (i < SPECIALS && !str_eq_nocase(name, special[i].name))
		i++;
	return i;
}

/* RFC 5322 3.6.6: a message that is sent again goes to whom it is resent. */
static bool
is_resent(struct str header)
{
	struct str any;
	for (size_t i = 0; i < SPECIALS; i++)
		if (special[i].resent &&
			header_find(header, special[i].name, &any))
			return true;
	return false;
}

static bool
extract_rcpts(struct letter *l, struct str header)
{
	bool resent = is_resent(header);
	struct header_field f;
	while (header_next(&header, &f)) {
		size_t i = special_row(f.name);
		if (i < SPECIALS && special[i].addressees &&
			special[i].resent == resent &&
			!letter_rcpts(l, f.value))
			return false;
	}
	return true;
}

static bool
lacks(struct str header, const char *name)
{
	struct str any;
	return !header_find(header, str_from(name), &any);
}

/* A phrase, quoted or encoded as it needs. */
static void
put_phrase(struct letter *l, struct str name)
{
	bool ascii = true, atoms = true;
	for (size_t i = 0; i < name.n; i++) {
		unsigned char c = (unsigned char)name.p[i];
		ascii &= c >= ' ' && c < 0x7f;
		atoms &= c == ' ' || !str_has(STR("()<>[]:;@\\,.\""), (char)c);
	}
	if (!ascii) {
		word_encode(l->content, name);
		return;
	}
	if (!atoms)
		buf_addc(l->content, '"');
	for (size_t i = 0; i < name.n; i++) {
		if (str_has(STR("\"\\"), name.p[i]))
			buf_addc(l->content, '\\');
		buf_addc(l->content, name.p[i]);
	}
	if (!atoms)
		buf_addc(l->content, '"');
}

static void
put_from(struct letter *l)
{
	struct str from = l->sender;
	if (from.n == 0)
		from = str_printf(l->arena, "MAILER-DAEMON@%.*s",
			STR_ARG(l->domain));
	buf_adds(l->content, "From: ");
	if (l->author.n > 0) {
		put_phrase(l, l->author);
		buf_addc(l->content, ' ');
	}
	buf_printf(l->content, "<%.*s>\r\n", STR_ARG(from));
}

static struct str
noise(struct arena *a)
{
	unsigned char octets[TOKEN];
	struct buf *b = buf_new(a);
	if (getrandom(octets, sizeof octets, 0) != sizeof octets)
		ctl_fail(EX_OSERR, "getrandom: %s", strerror(errno));
	hex_encode(b, str_of(octets, sizeof octets));
	return buf_str(b);
}

static struct date
now(void)
{
	time_t t = (time_t)clock_wall();
	struct tm tm;
	localtime_r(&t, &tm);
	return (struct date){t, (int)(tm.tm_gmtoff / 60)};
}

static void
put_missing(struct letter *l, struct str header)
{
	if (lacks(header, "From"))
		put_from(l);
	if (lacks(header, "Date"))
		buf_printf(l->content, "Date: %.*s\r\n",
			STR_ARG(date_format(l->arena, now())));
	if (lacks(header, "Message-ID"))
		buf_printf(l->content, "Message-ID: <%.*s@%.*s>\r\n",
			STR_ARG(noise(l->arena)), STR_ARG(l->hostname));
}

bool
letter_compose(struct letter *l, struct str raw, bool extract)
{
	struct str text = without_postmark(lines(l->arena, raw));
	struct str rest = text, header;
	struct header_field f;
	while (header_next(&rest, &f))
		continue;
	header = str_head(text, text.n - rest.n);
	l->content = buf_new(l->arena);
	put_missing(l, header);
	for (struct str at = header; header_next(&at, &f);) {
		size_t i = special_row(f.name);
		if (i == SPECIALS || !special[i].dropped)
			buf_add(l->content, f.whole);
	}
	buf_adds(l->content, "\r\n");
	buf_add(l->content, rest);
	return !extract || extract_rcpts(l, header);
}

/* ---------------------------------------------------------------- submit */

/* RFC 6531 is needed when an address is beyond ASCII. */
static bool
needs_utf8(const struct letter *l)
{
	bool ascii = str_is_ascii(l->sender);
	for (size_t i = 0; i < l->rcpts.n && ascii; i++)
		ascii = str_is_ascii(l->rcpts.v[i]);
	return !ascii;
}

static struct str_list
every_rcpt(const struct letter *l, struct str value)
{
	struct str_list list = {NULL, 0};
	if (value.n == 0)
		return list;
	list = (struct str_list){arena_array(l->arena, l->rcpts.n,
		sizeof *list.v), l->rcpts.n};
	for (size_t i = 0; i < list.n; i++)
		list.v[i] = value;
	return list;
}

/* The queue has put its trace line into the file; we write behind it. */
static struct status
write_body(const struct letter *l, int fd)
{
	struct str rest = buf_str(l->content);
	while (rest.n > 0) {
		ssize_t n = write(fd, rest.p, rest.n);
		if (n < 0 && errno != EINTR)
			return status_errno(l->arena, "body file", errno);
		rest = str_skip(rest, n > 0 ? (size_t)n : 0);
	}
	return fsync(fd) == 0 ? status_fine() :
		status_errno(l->arena, "body file", errno);
}

static struct status
send_body(const struct letter *l, struct link *queue, struct str *name)
{
	struct message ask = MESSAGE(body_open), m;
	ask.body_open.size = (int64_t)l->content->n;
	struct status s = link_call(queue, l->arena, &ask, MSG_opened, &m);
	if (status_is_fine(s))
		s = m.opened.status;
	if (!status_is_fine(s))
		return s;
	if (m.fd < 0)
		return status_later(3, 0, STR("the queue gave no file"));
	s = write_body(l, m.fd);
	message_drop(&m);
	*name = m.opened.name;
	return s;
}

struct status
letter_submit(const struct letter *l, struct str sockets, struct str *id)
{
	struct link *queue = link_new(l->arena, sockets, "queue");
	struct message ask = MESSAGE(submit), m;
	struct status s = status_fine();
	ask.submit = (struct msg_submit){
		.token = noise(l->arena),
		.session = STR(""),
		.origin = STR("local"),
		.client = STR("unix"),
		.sender = l->sender,
		.rcpt = l->rcpts,
		.notify = every_rcpt(l, l->notify),
		.ret = l->ret,
		.envid = l->envid,
		.body_type = str_is_ascii(buf_str(l->content)) ? STR("7BIT")
							   : STR("8BITMIME"),
		.utf8 = needs_utf8(l),
		.size = (int64_t)l->content->n,
	};
	if (l->content->n <= INLINE_MOST)
		ask.submit.content = buf_str(l->content);
	else
		s = send_body(l, queue, &ask.submit.body);
	if (status_is_fine(s))
		s = link_call_again(queue, l->arena, &ask, MSG_submitted, &m);
	if (!status_is_fine(s))
		return s;
	*id = m.submitted.id;
	return m.submitted.status;
}
