/* SPDX-License-Identifier: ISC */
/* What is there, and what shall not be any more: STAT, LIST, UIDL, DELE, RSET
 * (RFC 1939 5, 7). */
#include "drop.h"
#include "base/arena.h"
#include "base/log.h"

#define NUMBERS(reply, a, b) \
	((struct pop3_reply){(reply).result, (reply).code, (reply).text, \
		.numbers = {(a), (b)}})

bool
drop_number(struct str *args, uint64_t most, uint64_t *number)
{
	struct str word;
	return str_word(args, &word) && str_number(word, most, number);
}

bool
drop_message(struct str args, uint32_t *number)
{
	uint64_t n;
	if (!drop_number(&args, UINT64_MAX, &n) || str_trim(args).n > 0)
		return false;
	*number = n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
	return true;
}

struct pop3_reply
drop_refusal(enum drop_fate fate)
{
	static const enum say why[] = {
		[DROP_NONE] = SAY_NO_MESSAGE,
		[DROP_DELETED] = SAY_WAS_DELETED,
		[DROP_GONE] = SAY_GONE,
	};
	return ERR(NULL, why[fate]);
}

struct pop3_reply
pop3_stat(struct pop3_session *s, struct str args)
{
	struct pop3_reply r = OK(SAY_NOTHING);
	(void)args;
	r.before = str_printf(s->transaction, "%lu %llu",
		(unsigned long)maildrop_count(s->drop),
		(unsigned long long)maildrop_octets(s->drop));
	return r;
}

/* ----------------------------------------------------------------- LIST */

static void
list_line(void *ctx, uint32_t number, uint64_t size)
{
	struct pop3_session *s = ctx;
	struct buf *out = conn_out(s->conn);
	buf_addn(out, number);
	buf_addc(out, ' ');
	buf_addn(out, size);
	buf_adds(out, "\r\n");
	conn_pace(s->conn);
}

/* A list that breaks off would be taken for the whole: better no line at its
 * end, and no connection. */
static struct pop3_reply
list_all(struct pop3_session *s)
{
	session_reply(s, NUMBERS(OK(SAY_MESSAGES), maildrop_count(s->drop),
		maildrop_octets(s->drop)));
	struct status st = maildrop_each(s->drop, list_line, s);
	if (!status_is_fine(st)) {
		log_error(s->id, "list-failed", LOG_STR("why", st.text));
		return SILENT;
	}
	conn_puts(s->conn, ".\r\n");
	return SAID;
}

struct pop3_reply
pop3_list(struct pop3_session *s, struct str args)
{
	struct pop3_reply r = OK(SAY_NOTHING);
	uint32_t number;
	uint64_t size;
	if (str_trim(args).n == 0)
		return list_all(s);
	if (!drop_message(args, &number))
		return BAD(SAY_ARGUMENTS);
	enum drop_fate fate = maildrop_size(s->drop, number, &size);
	if (fate != DROP_THERE)
		return drop_refusal(fate);
	r.before = str_printf(s->transaction, "%lu %llu",
		(unsigned long)number, (unsigned long long)size);
	return r;
}

/* ----------------------------------------------------------------- UIDL */

static struct pop3_reply
uidl_all(struct pop3_session *s)
{
	struct buf *out = conn_out(s->conn);
	char uidl[DROP_UIDL];
	session_reply(s, OK(SAY_NOTHING));
	for (uint32_t n = 1; n <= maildrop_last(s->drop); n++) {
		if (maildrop_fate(s->drop, n) != DROP_THERE)
			continue;
		maildrop_uidl(s->drop, n, uidl);
		buf_addn(out, n);
		buf_addc(out, ' ');
		buf_add(out, str_of(uidl, sizeof uidl));
		buf_adds(out, "\r\n");
		conn_pace(s->conn);
	}
	buf_adds(out, ".\r\n");
	return SAID;
}

struct pop3_reply
pop3_uidl(struct pop3_session *s, struct str args)
{
	struct pop3_reply r = OK(SAY_NOTHING);
	char uidl[DROP_UIDL];
	uint32_t number;
	if (str_trim(args).n == 0)
		return uidl_all(s);
	if (!drop_message(args, &number))
		return BAD(SAY_ARGUMENTS);
	enum drop_fate fate = maildrop_fate(s->drop, number);
	if (fate != DROP_THERE)
		return drop_refusal(fate);
	maildrop_uidl(s->drop, number, uidl);
	r.before = str_printf(s->transaction, "%lu %.*s",
		(unsigned long)number, DROP_UIDL, uidl);
	return r;
}

/* ------------------------------------------------------------ DELE, RSET */

struct pop3_reply
pop3_dele(struct pop3_session *s, struct str args)
{
	uint32_t number;
	if (!drop_message(args, &number))
		return BAD(SAY_ARGUMENTS);
	enum drop_fate fate = maildrop_delete(s->drop, number);
	return fate == DROP_THERE ? OK(SAY_DELETED) : drop_refusal(fate);
}

struct pop3_reply
pop3_rset(struct pop3_session *s, struct str args)
{
	(void)args;
	maildrop_reset(s->drop);
	return NUMBERS(OK(SAY_MESSAGES), maildrop_count(s->drop),
		maildrop_octets(s->drop));
}
