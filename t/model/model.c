/* SPDX-License-Identifier: ISC */
/*
 * A session as the RFCs and smtpd(8) have it.  Written from them, command by
 * command and not by tables, so that it can disagree with smtpd.
 */
#include "model.h"
#include "base/arena.h"

void
model_begin(struct model *m, const struct setup *s, struct arena *a)
{
	*m = (struct model){.setup = s, .arena = a, .relays = s->trusted,
		.loopback = true};
	m->names = buf_new(a);
	m->chunks = buf_new(a);
	m->want = buf_new(a);
	m->last = &m->first;
	m->user = STR("");
	m->state = s->early ? BLOCKED : FRESH;
	int greeting = s->early ? 554 : 220;
	buf_add(m->want, str_of(&greeting, sizeof greeting));
}

size_t
model_wants(const struct model *m)
{
	return m->want->n / sizeof(int);
}

/* ------------------------------------------------- what holds for all */

static void
want(struct model *m, int code)
{
	buf_add(m->want, str_of(&code, sizeof code));
}

static void
send_away(struct model *m, int code)
{
	want(m, code);
	m->state = CLOSED;
}

static void
forget(struct model *m)
{
	m->now = (struct envelope){.utf8 = false};
	m->rcpts = 0;
	buf_clear(m->names);
	buf_clear(m->chunks);
}

/* The last or only reply of a command.  Errors are counted, and so is talk
 * that moves no mail; either may be the last drop, but one good bye is
 * enough. */
static void
answer(struct model *m, int code, bool talk)
{
	want(m, code);
	m->errors += code >= 500;
	m->idle += talk;
	if ((code >= 500 && m->errors >= MAX_ERRORS) ||
		(talk && m->idle > MAX_IDLE))
		send_away(m, 421);
}

static bool
is_one_of(const struct model *m, enum state a, enum state b)
{
	return m->state == a || m->state == b;
}

void
model_plain(struct model *m, int code)
{
	answer(m, m->state == BLOCKED ? 503 : code, true);
}

void
model_garbage(struct model *m, int code, bool ends)
{
	if (ends)
		send_away(m, code);
	else
		answer(m, code, false);
}

void
model_rset(struct model *m)
{
	if (m->state != BLOCKED) {
		forget(m);
		m->state = m->state == FRESH ? FRESH : READY;
	}
	model_plain(m, 250);
}

void
model_quit(struct model *m)
{
	send_away(m, 221);
}

void
model_hello(struct model *m, const char *verb, bool named)
{
	bool lmtp = verb[0] == 'L';
	if (lmtp != m->setup->lmtp) {
		answer(m, 500, false);
		return;
	}
	if (m->state != BLOCKED && named) {
		forget(m);
		m->state = READY;
		m->esmtp = verb[0] != 'H';
	}
	model_plain(m, named ? 250 : 501);
}

/* ----------------------------------------------------------- transaction */

static bool
is_utf8(const char *text)
{
	return !str_is_ascii(str_from(text));
}

static struct str
kept(struct choice path)
{
	return str_from(path.kept != NULL ? path.kept : path.text);
}

/* May who has logged in send from there? */
static bool
is_own(const struct model *m, struct str sender)
{
	struct str local = str_head(sender, str_find(sender, '@'));
	return sender.n == 0 || m->any_sender ||
		str_eq(str_head(local, str_find(local, '+')), m->user);
}

static int
judge_mail(const struct model *m, struct choice path, struct choice param)
{
	bool utf8 = m->esmtp && str_eq(str_from(param.text), STR("SMTPUTF8"));
	if (path.code != 0)
		return path.code;
	if (is_utf8(path.text) && !utf8)
		return 501;
	if (param.text[0] != '\0' && !m->esmtp)
		return 501;
	if (param.code != 0)
		return param.code;
	if (str_eq(str_from(param.text), STR("REQUIRETLS")) && !m->tls)
		return 530;
	if (m->setup->submission && m->user.n == 0 && !m->relays)
		return 530;
	return m->user.n == 0 || is_own(m, kept(path)) ? 250 : 553;
}

static void
take_param(struct envelope *e, struct str all)
{
	struct str one, key;
	while (str_word(&all, &one)) {
		struct str value = one;
		str_cut(&value, '=', &key);
		if (str_eq(key, STR("RET")))
			e->ret = value;
		else if (str_eq(key, STR("ENVID")))
			e->envid = value;
		else if (str_eq(key, STR("BODY")))
			e->body = value;
		e->utf8 = e->utf8 || str_eq(one, STR("SMTPUTF8"));
		e->requiretls = e->requiretls ||
			str_eq(one, STR("REQUIRETLS"));
	}
}

void
model_mail(struct model *m, struct choice path, struct choice param)
{
	if (m->state != READY) {
		answer(m, 503, false);
		return;
	}
	int code = judge_mail(m, path, param);
	forget(m);
	if (++m->transactions > MAX_TRANSACTIONS) {
		send_away(m, 421);
		return;
	}
	if (code == 250) {
		m->now.sender = kept(path);
		m->now.user = m->user;
		m->now.origin = str_from(m->setup->lmtp ? "lmtp"
			: m->setup->submission ? "submission" : "smtp");
		take_param(&m->now, str_from(param.text));
		m->state = MAIL;
		m->idle = 0;
	}
	answer(m, code, false);
}

static int
judge_rcpt(const struct model *m, struct choice path, struct choice param)
{
	if (m->rcpts >= MAX_RCPTS)
		return 452;
	if (path.code == 501 || (is_utf8(path.text) && !m->now.utf8))
		return 501;
	if (param.text[0] != '\0' && !m->esmtp)
		return 501;
	if (param.code != 0)
		return param.code;
	if (str_ends(kept(path), STR("@far.test")))
		return m->user.n > 0 || m->relays ? 250 : 550;
	return path.code != 0 ? path.code : 250;
}

/* Twice the same is once, but LMTP owes a reply for each. */
static void
take_rcpt(struct model *m, struct str address, struct str orcpt,
	struct str notify)
{
	for (size_t i = 0; i < m->rcpts && !m->setup->lmtp; i++)
		if (str_eq(m->rcpt[i], address))
			return;
	m->rcpt[m->rcpts++] = address;
	envelope_rcpt(m->names, address, orcpt, notify);
}

void
model_rcpt(struct model *m, struct choice path, struct choice param)
{
	struct str address = kept(path), rest = str_from(param.text), one;
	struct str orcpt = STR(""), notify = STR("");
	if (!is_one_of(m, MAIL, RCPT)) {
		answer(m, 503, false);
		return;
	}
	int code = judge_rcpt(m, path, param);
	while (str_word(&rest, &one))
		if (str_starts(one, STR("ORCPT=")))
			orcpt = str_skip(one, 6);
		else
			notify = str_skip(one, str_find(one, '=') + 1);
	if (code == 250) {
		if (str_eq(address, STR("hold@example.test")))
			m->now.hold = STR("because");
		if (str_eq(address, STR("elsewhere@example.test"))) {
			if (orcpt.n == 0)
				orcpt = str_printf(m->arena, "rfc822;%.*s",
					STR_ARG(address));
			address = STR("bob@example.test");
		}
		take_rcpt(m, address, orcpt, notify);
		m->state = RCPT;
	}
	answer(m, code, false);
}

/* --------------------------------------------------------------- content */

static bool
has_bare(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\r' && i + 1 < s.n && s.p[i + 1] == '\n')
			i++;
		else if (s.p[i] == '\r' || s.p[i] == '\n')
			return true;
	}
	return false;
}

/* What is left of it: dots unstuffed (DATA), line ends CRLF, the last line
 * ended. */
static struct str
text_of(struct model *m, struct str wire, bool dots)
{
	struct buf *b = buf_new(m->arena);
	bool start = true;
	for (size_t i = 0; i < wire.n; i++) {
		bool crlf = wire.p[i] == '\r' && i + 1 < wire.n &&
			wire.p[i + 1] == '\n';
		if (crlf || wire.p[i] == '\r' || wire.p[i] == '\n')
			buf_adds(b, "\r\n");
		else if (!(start && dots && wire.p[i] == '.'))
			buf_addc(b, wire.p[i]);
		start = crlf;
		i += crlf;
	}
	if (b->n > 0 && !str_ends(buf_str(b), STR("\r\n")))
		buf_adds(b, "\r\n");
	return buf_str(b);
}

static int
judge_content(const struct model *m, struct str wire, size_t size)
{
	bool binary = str_eq(m->now.body, STR("BINARYMIME"));
	if (size > MAX_SIZE)
		return 552;
	if (!binary && !m->setup->normalise && has_bare(wire))
		return 550;
	if (str_starts(m->now.sender, STR("full@")))
		return 452;
	return str_starts(m->now.sender, STR("refused@")) ? 552 : 250;
}

/* The end of a transaction, good or bad; LMTP answers for each. */
static void
finish(struct model *m, int code, struct str content)
{
	size_t replies = m->setup->lmtp ? m->rcpts : 1;
	if (code == 250) {
		struct buf *b = buf_new(m->arena);
		struct taken *t = arena_one(m->arena, struct taken);
		envelope_write(b, &m->now);
		buf_add(b, buf_str(m->names));
		*t = (struct taken){buf_str(b), content, NULL};
		*m->last = t;
		m->last = &t->next;
	}
	forget(m);
	m->state = READY;
	while (--replies > 0)
		want(m, code);
	answer(m, code, false);
}

bool
model_data(struct model *m)
{
	bool binary = str_eq(m->now.body, STR("BINARYMIME"));
	if (m->state == RCPT && !binary) {
		want(m, 354);
		return true;
	}
	if (m->state == RCPT) {
		forget(m);
		m->state = READY;
	}
	answer(m, 503, false);
	return false;
}

void
model_data_end(struct model *m, struct str wire)
{
	struct str content = text_of(m, wire, true);
	finish(m, judge_content(m, wire, content.n), content);
}

void
model_bdat(struct model *m, struct str chunk, bool last)
{
	bool binary = str_eq(m->now.body, STR("BINARYMIME"));
	if (!is_one_of(m, RCPT, CHUNKS)) {
		answer(m, 503, false);
		return;
	}
	buf_add(m->chunks, chunk);
	struct str wire = str_copy(m->arena, buf_str(m->chunks));
	struct str content = binary ? wire : text_of(m, wire, false);
	if (last) {
		finish(m, judge_content(m, wire, content.n), content);
	} else if (wire.n > MAX_SIZE) {
		forget(m);
		m->state = READY;
		answer(m, 552, false);
	} else {
		m->state = CHUNKS;
		answer(m, 250, false);
	}
}

void
model_bdat_bad(struct model *m, int code)
{
	send_away(m, code);
}

/* --------------------------------------------------------- who it is */

bool
model_starttls(struct model *m, bool alone, bool works)
{
	if (!is_one_of(m, FRESH, READY) || m->tls || m->user.n > 0) {
		answer(m, 503, true);
		return false;
	}
	answer(m, 220, true);
	if (m->state == CLOSED)
		return false;
	if (!alone || !works) {
		m->state = CLOSED;
		return false;
	}
	forget(m);
	m->tls = true;
	m->esmtp = false;
	m->state = FRESH;
	return true;
}

bool
model_may_auth(struct model *m)
{
	bool here = m->state == READY && m->user.n == 0 && m->esmtp &&
		m->setup->submission;
	if (here && (m->tls || (m->setup->plaintext && m->loopback)))
		return true;
	answer(m, here ? 538 : 503, true);
	return false;
}

void
model_auth(struct model *m, int code, const char *user)
{
	if (code == 235) {
		m->user = str_from(user);
		m->any_sender = false;
	}
	if (code == 535 && ++m->failures >= MAX_FAILURES)
		send_away(m, 421);
	else
		answer(m, code, true);
}

void
model_etrn(struct model *m, int code)
{
	if (m->setup->lmtp)
		answer(m, 500, false);
	else
		answer(m, m->state != READY ? 503
			: code == 253 && !m->setup->etrn ? 459 : code, true);
}

static void
become(struct model *m, struct str what)
{
	struct str one, key;
	while (str_word(&what, &one)) {
		str_cut(&one, '=', &key);
		if (str_eq(key, STR("ADDR")))
			m->relays = m->loopback = str_eq(one, STR("127.0.0.1"));
		if (str_eq(key, STR("LOGIN"))) {
			m->user = one.p[0] == '[' ? STR("") : one;
			m->any_sender = true;
		}
	}
}

void
model_xclient(struct model *m, struct choice what)
{
	if (!is_one_of(m, FRESH, READY)) {
		answer(m, 503, true);
	} else if (!m->setup->xclient) {
		answer(m, 550, true);
	} else if (what.code != 0) {
		send_away(m, what.code);
	} else {
		become(m, str_from(what.text));
		forget(m);
		m->state = FRESH;
		answer(m, 220, true);
	}
}
