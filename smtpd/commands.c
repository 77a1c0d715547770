/* SPDX-License-Identifier: ISC */
/*
 * The tables.  LMTP is SMTP with another greeting command (RFC 2033 4.1).
 * Here, too, stand the commands that take a few lines.
 */
#include "smtpd.h"
#include "base/arena.h"
#include "base/log.h"

static const struct smtp_row rows[] = {
	{{STR_INIT("HELO"), SMTP_ANY, SMTP_READY, 0, 0,
		CMD_NO_LMTP | CMD_PLAIN,
		"HELO host"}, smtp_helo},
	{{STR_INIT("EHLO"), SMTP_ANY, SMTP_READY, 0, 0,
		CMD_LAST | CMD_NO_LMTP | CMD_PLAIN,
		"EHLO host"}, smtp_ehlo},
	{{STR_INIT("LHLO"), SMTP_ANY, SMTP_READY, 0, 0,
		CMD_LAST | CMD_ONLY_LMTP | CMD_PLAIN, "LHLO host"}, smtp_lhlo},
	{{STR_INIT("STARTTLS"), SMTP_FRESH | SMTP_READY, SMTP_FRESH, 0, 0, CMD_LAST,
		"STARTTLS"}, smtp_starttls},
	{{STR_INIT("AUTH"), SMTP_READY, 0, 0, 0, CMD_LAST,
		"AUTH mechanism [response]"}, smtp_auth},
	{{STR_INIT("MAIL"), SMTP_READY, SMTP_MAIL, 0, 0, CMD_FREE,
		"MAIL FROM:<address> [parameters]"}, smtp_mail},
	{{STR_INIT("RCPT"), SMTP_MAIL | SMTP_RCPT, SMTP_RCPT, 0, 0, CMD_FREE,
		"RCPT TO:<address> [parameters]"}, smtp_rcpt},
	{{STR_INIT("DATA"), SMTP_RCPT, SMTP_READY, 0, SMTP_READY,
		CMD_LAST | CMD_FREE, "DATA"}, smtp_data},
	{{STR_INIT("BDAT"), SMTP_RCPT | SMTP_CHUNKS, SMTP_READY, SMTP_CHUNKS,
		SMTP_READY, CMD_FREE | CMD_PAYLOAD, "BDAT size [LAST]"},
		smtp_bdat},
	{{STR_INIT("XCLIENT"), SMTP_FRESH | SMTP_READY, SMTP_FRESH, 0, 0,
		CMD_LAST, "XCLIENT attribute=value ..."}, smtp_xclient},
	{{STR_INIT("ETRN"), SMTP_READY, 0, 0, 0, CMD_NO_LMTP, "ETRN domain"},
		smtp_etrn},
	{{STR_INIT("RSET"), SMTP_ANY, 0, 0, 0, 0, "RSET"}, smtp_rset},
	{{STR_INIT("NOOP"), SMTP_ANY, 0, 0, 0, 0, "NOOP [anything]"},
		smtp_noop},
	{{STR_INIT("VRFY"), SMTP_ANY, 0, 0, 0, 0, "VRFY address"}, smtp_vrfy},
	{{STR_INIT("HELP"), SMTP_ANY, 0, 0, 0, CMD_PLAIN, "HELP"}, smtp_help},
	{{STR_INIT("QUIT"), SMTP_ANY | SMTP_BLOCKED, SMTP_CLOSED, 0, SMTP_CLOSED,
		CMD_LAST | CMD_FREE, "QUIT"}, smtp_quit},
};

const struct smtp_row *
smtp_rows(size_t *count)
{
	*count = sizeof rows / sizeof *rows;
	return rows;
}

/* A name of the client's own; it only ever stands in trace lines and the log,
 * which clean it.  An empty one is an error (RFC 5321 4.1.1.1). */
static struct status
hello(struct session *s, struct str args, bool esmtp)
{
	struct str name = args, word;
	if (!str_word(&name, &word) || word.n > 255)
		return STATUS(STATUS_NEVER, 5, 4, "Say who you are");
	session_reset(s);
	s->helo = str_copy(s->arena, word);
	s->esmtp = esmtp;
	return status_fine();
}

struct status
smtp_helo(struct session *s, struct str args)
{
	struct status st = hello(s, args, false);
	if (status_is_fine(st))
		st.text = s->program->hostname;
	return st;
}

/* The keywords that truly work here and now. */
struct status
smtp_ehlo(struct session *s, struct str args)
{
	struct status st = hello(s, args, true);
	if (!status_is_fine(st))
		return st;
	struct buf *text = buf_new(s->transaction_arena);
	buf_add(text, s->program->hostname);
	buf_printf(text, "\nPIPELINING\nSIZE %lld\n8BITMIME\nSMTPUTF8\n"
		"ENHANCEDSTATUSCODES\nDSN\nCHUNKING\nBINARYMIME\n"
		"LIMITS MAILMAX=%d RCPTMAX=%lld",
		(long long)s->conf->smtp.max_size, SMTP_TRANSACTIONS,
		(long long)s->conf->smtp.max_recipients);
	if (s->tls)
		buf_adds(text, "\nREQUIRETLS");
	if (login_may_start_tls(s))
		buf_adds(text, "\nSTARTTLS");
	if (s->conf->address.relay_domains.n > 0 && !s->lmtp)
		buf_adds(text, "\nETRN");
	login_keyword(s, text);
	xclient_keyword(s, text);
	buf_adds(text, "\nHELP");
	st.text = buf_str(text);
	return st;
}

struct status
smtp_lhlo(struct session *s, struct str args)
{
	return smtp_ehlo(s, args);
}

struct status
smtp_rset(struct session *s, struct str args)
{
	(void)args;
	session_reset(s);
	/* The row cannot say "READY if anything was said before". */
	if (s->state != SMTP_FRESH)
		s->state = SMTP_READY;
	return STATUS(STATUS_FINE, 0, 0, "Forgotten");
}

struct status
smtp_noop(struct session *s, struct str args)
{
	(void)s, (void)args;
	return status_fine();
}

/* RFC 5321 3.5.3: neither confirming nor denying. */
struct status
smtp_vrfy(struct session *s, struct str args)
{
	(void)s;
	if (args.n == 0)
		return STATUS(STATUS_NEVER, 5, 4, "VRFY whom?");
	return status_reply(STATUS(STATUS_FINE, 5, 0,
		"Send some mail, and it will be seen"), 252);
}

static bool
is_relayed(const struct session *s, struct str domain)
{
	const struct str_list *l = &s->conf->address.relay_domains;
	for (size_t i = 0; i < l->n; i++)
		if (str_eq_nocase(l->v[i], domain))
			return true;
	return false;
}

/* The queue looks at a page of rows at a time. */
static struct status
retry_domain(struct session *s, struct str domain, int64_t *count)
{
	struct message m = MESSAGE(queue_change), answer;
	m.queue_change.verb = STR("retry");
	m.queue_change.domain = domain;
	do {
		struct status st = link_call_again(s->queue,
			s->transaction_arena, &m, MSG_done, &answer);
		if (status_is_fine(st))
			st = answer.done.status;
		if (!status_is_fine(st))
			return st;
		*count += answer.done.count;
		m.queue_change.after = answer.done.next;
	} while (answer.done.next.n > 0);
	return status_fine();
}

/* RFC 1985: mail that waits for a domain we relay for is tried at once. */
struct status
smtp_etrn(struct session *s, struct str args)
{
	struct str domain = str_lower(s->transaction_arena, str_trim(args));
	int64_t count = 0;
	if (domain.n == 0 || !address_is_domain(domain, false))
		return STATUS(STATUS_NEVER, 5, 4, "ETRN which domain?");
	if (!is_relayed(s, domain))
		return status_reply(STATUS(STATUS_LATER, 7, 1,
			"That is not done for this domain"), 459);
	struct status st = retry_domain(s, domain, &count);
	if (!status_is_fine(st))
		return status_reply(st, 458);
	log_info(s->id, "etrn", LOG_STR("domain", domain),
		LOG_NUM("count", count));
	return (struct status){STATUS_FINE, 0, 0, count > 0 ? 253 : 251,
		str_printf(s->transaction_arena, "%lld waiting for %.*s",
			(long long)count, STR_ARG(domain))};
}

struct status
smtp_help(struct session *s, struct str args)
{
	struct buf *text = buf_new(s->transaction_arena);
	(void)args;
	buf_adds(text, "surat: RFC 5321, and");
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		buf_printf(text, "\n%s", rows[i].command.help);
	return status_reply((struct status){STATUS_FINE, 0, 0, 0,
		buf_str(text)}, 214);
}

struct status
smtp_quit(struct session *s, struct str args)
{
	(void)s, (void)args;
	return status_reply(STATUS(STATUS_FINE, 0, 0, "Good bye"), 221);
}
