/* SPDX-License-Identifier: ISC */
/*
 * Three parts: words for a person, fields for a program, the message or its
 * header.  Lines end in CRLF.
 */
#include "mail/dsn.h"
#include "base/arena.h"
#include "mail/charset.h"
#include "mail/date.h"
#include "mail/encode.h"
#include "mail/header.h"
#include "mail/template.h"
#include "mail/word.h"

/* The words of RFC 3464 2.3.3, which no language changes. */
static const char *const actions[DSN_ACTIONS] = {
	[DSN_FAILED] = "failed",
	[DSN_DELAYED] = "delayed",
	[DSN_DELIVERED] = "delivered",
	[DSN_RELAYED] = "relayed",
	[DSN_EXPANDED] = "expanded",
};

_Static_assert(TEMPLATE_TEXTS == TEMPLATE_ACTIONS +
	DSN_ACTIONS * TEMPLATE_PARTS, "a language has words for each action");

/* The i-th language it is written in; English for want of one. */
static const struct template *
written_in(const struct dsn *d, size_t i)
{
	return i < d->language_count ? d->languages[i]
				     : template_builtin(STR("en"));
}

static struct str
words_of(const struct template *t, enum dsn_action action,
	enum template_part part)
{
	return t->texts[TEMPLATE_ACTIONS + action * TEMPLATE_PARTS + part];
}

/* The gravest thing it tells decides what the report is. */
static enum dsn_action
main_action(const struct dsn *d)
{
	enum dsn_action least = DSN_EXPANDED;
	for (size_t i = 0; i < d->count; i++)
		if (d->recipients[i].action < least)
			least = d->recipients[i].action;
	return least;
}

static struct str
date_text(struct arena *a, int64_t seconds)
{
	return date_format(a, (struct date){seconds, 0});
}

/* What may stand in every text. */
static void
write_text(struct buf *out, const struct dsn *d, struct str text)
{
	template_write(out, text, (const struct template_value[]){
		{"host", d->host}, {"id", d->id}, {NULL, {NULL, 0}}});
}

static void
write_subject(struct arena *a, struct buf *out, const struct dsn *d)
{
	struct buf *subject = buf_new(a);
	write_text(subject, d, words_of(written_in(d, 0), main_action(d),
		TEMPLATE_SUBJECT));
	buf_adds(out, "Subject: ");
	word_encode(out, buf_str(subject));
	buf_adds(out, "\r\n");
}

static void
write_encoding(struct buf *out, bool is_8bit)
{
	if (is_8bit)
		buf_adds(out, "Content-Transfer-Encoding: 8bit\r\n");
}

static void
write_head(struct arena *a, struct buf *out, const struct dsn *d, bool is_8bit)
{
	buf_printf(out, "From: Mail Delivery System <MAILER-DAEMON@%.*s>\r\n"
		"To: <%.*s>\r\n", STR_ARG(d->host), STR_ARG(d->to));
	write_subject(a, out, d);
	buf_printf(out, "Date: %.*s\r\nMessage-ID: <%.*s>\r\n",
		STR_ARG(date_text(a, d->now)),
		STR_ARG(d->message_id));
	buf_printf(out, "Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"
		"Content-Type: multipart/report; report-type=%s;\r\n"
		"\tboundary=\"%.*s\"\r\n", d->utf8 ? "global-delivery-status"
						   : "delivery-status",
		STR_ARG(d->boundary));
	write_encoding(out, is_8bit);
	buf_adds(out, "\r\nThis is a MIME-encapsulated report.\r\n");
}

/* What the remote said may have several lines; each is set in. */
static void
write_said(struct buf *out, struct str text)
{
	struct str line;
	while (str_cut(&text, '\n', &line)) {
		buf_adds(out, "    ");
		buf_add(out, line);
		buf_adds(out, "\r\n");
	}
}

static void
write_about(struct arena *a, struct buf *out, const struct template *t,
	const struct dsn_recipient *r)
{
	const struct template_value values[] = {{"recipient", r->address},
		{"action", words_of(t, r->action, TEMPLATE_NAME)},
		{"remote", r->remote},
		{"date", date_text(a, r->will_retry_until)},
		{NULL, {NULL, 0}}};
	buf_adds(out, "\r\n");
	template_write(out, t->texts[r->remote.n > 0 ? TEMPLATE_REMOTE
						     : TEMPLATE_RECIPIENT],
		values);
	buf_adds(out, "\r\n");
	write_said(out, r->status.text);
	if (r->will_retry_until > 0) {
		buf_adds(out, "    ");
		template_write(out, t->texts[TEMPLATE_UNTIL], values);
		buf_adds(out, "\r\n");
	}
}

/* What happened in each language, the recipients in the first. */
static void
write_words(struct arena *a, struct buf *out, const struct dsn *d)
{
	size_t count = d->language_count > 0 ? d->language_count : 1;
	for (size_t i = 0; i < count; i++) {
		const struct template *t = written_in(d, i);
		buf_adds(out, "\r\n");
		write_text(out, d, t->texts[TEMPLATE_INTRO]);
		buf_adds(out, "\r\n\r\n");
		write_text(out, d, words_of(t, main_action(d), TEMPLATE_TEXT));
		buf_adds(out, "\r\n");
	}
	for (size_t i = 0; i < d->count; i++)
		write_about(a, out, written_in(d, 0), &d->recipients[i]);
}

/* The part for people.  Languages may be many. */
static void
write_notification(struct buf *out, const struct dsn *d, struct str words)
{
	buf_printf(out, "\r\n--%.*s\r\nContent-Type: text/plain; "
		"charset=utf-8\r\nContent-Description: Notification\r\n",
		STR_ARG(d->boundary));
	write_encoding(out, !str_is_ascii(words));
	buf_adds(out, "Content-Language:");
	for (size_t i = 0; i == 0 || i < d->language_count; i++)
		buf_printf(out, "%s %.*s", i == 0 ? "" :
			i % 10 == 0 ? ",\r\n" : ",",
			STR_ARG(written_in(d, i)->tag));
	buf_adds(out, "\r\n");
	buf_add(out, words);
}

/* What a sender gave in xtext may be anything once decoded, line ends too;
 * only what is plain text becomes part of a field. */
static bool
decode_plain(struct buf *out, struct str type, struct str coded, bool utf8)
{
	if (!orcpt_decode(out, type, coded) ||
		(!utf8 && !str_is_ascii(buf_str(out))) ||
		!charset_is_utf8(buf_str(out)))
		return false;
	for (size_t i = 0; i < out->n; i++)
		if ((unsigned char)out->p[i] < 0x20 || out->p[i] == 0x7f)
			return false;
	return true;
}

static const char *
address_type(struct str address)
{
	return str_is_ascii(address) ? "rfc822" : "utf-8";
}

/* RFC 3464 2.3.6, as one field: continuation lines begin with a blank. */
static void
write_diagnostic(struct buf *out, const struct dsn_recipient *r)
{
	struct str rest = r->status.text, line;
	if (r->status.text.n == 0 || status_is_fine(r->status))
		return;
	buf_adds(out, "Diagnostic-Code: ");
	buf_adds(out, r->remote.n > 0 ? "smtp;" : "x-surat;");
	if (r->remote.n > 0 && r->status.reply != 0)
		buf_printf(out, " %d", r->status.reply);
	for (bool first = true; str_cut(&rest, '\n', &line); first = false) {
		buf_adds(out, first ? " " : "\r\n    ");
		buf_add(out, line);
	}
	buf_adds(out, "\r\n");
}

/* "rfc822;a+2Bb@c" */
static void
write_original_recipient(struct arena *a, struct buf *out,
	const struct dsn *d, struct str given)
{
	struct str type;
	struct buf *plain = buf_new(a), *kind = buf_new(a);
	str_cut(&given, ';', &type);
	if (given.p != NULL && decode_plain(kind, STR(""), type, false) &&
		decode_plain(plain, type, given, d->utf8))
		buf_printf(out, "Original-Recipient: %.*s;%.*s\r\n",
			STR_ARG(buf_str(kind)), STR_ARG(buf_str(plain)));
}

static void
write_recipient(struct arena *a, struct buf *out, const struct dsn *d,
	const struct dsn_recipient *r)
{
	buf_adds(out, "\r\n");
	if (r->original.n > 0)
		write_original_recipient(a, out, d, r->original);
	buf_printf(out, "Final-Recipient: %s;%.*s\r\nAction: %s\r\n"
		"Status: %.*s\r\n", address_type(r->address),
		STR_ARG(r->address), actions[r->action],
		STR_ARG(status_enhanced(a, r->status)));
	if (r->remote.n > 0)
		buf_printf(out, "Remote-MTA: dns;%.*s\r\n", STR_ARG(r->remote));
	write_diagnostic(out, r);
	buf_printf(out, "Last-Attempt-Date: %.*s\r\n",
		STR_ARG(date_text(a, d->now)));
	if (r->will_retry_until > 0)
		buf_printf(out, "Will-Retry-Until: %.*s\r\n",
			STR_ARG(date_text(a, r->will_retry_until)));
}

static void
write_fields(struct arena *a, struct buf *out, const struct dsn *d)
{
	struct buf *envid = buf_new(a);
	buf_printf(out, "\r\n--%.*s\r\nContent-Type: message/%s\r\n"
		"Content-Description: Delivery report\r\n\r\n",
		STR_ARG(d->boundary), d->utf8 ? "global-delivery-status"
					      : "delivery-status");
	if (d->envid.n > 0 && decode_plain(envid, STR(""), d->envid, d->utf8))
		buf_printf(out, "Original-Envelope-Id: %.*s\r\n",
			STR_ARG(buf_str(envid)));
	buf_printf(out, "Reporting-MTA: dns;%.*s\r\nX-Surat-Queue-Id: %.*s\r\n"
		"Arrival-Date: %.*s\r\n", STR_ARG(d->host), STR_ARG(d->id),
		STR_ARG(date_text(a, d->arrival)));
	for (size_t i = 0; i < d->count; i++)
		write_recipient(a, out, d, &d->recipients[i]);
}

/* The message, or what of it is returned. */
static struct str
returned(const struct dsn *d)
{
	return d->headers_only
		? str_head(d->original, header_length(d->original))
		: d->original;
}

static void
write_original(struct buf *out, const struct dsn *d, struct str m)
{
	const char *type = d->utf8 ? "message/global" : "message/rfc822";
	if (d->headers_only)
		type = d->utf8 ? "message/global-headers"
			       : "text/rfc822-headers";
	buf_printf(out, "\r\n--%.*s\r\nContent-Type: %s\r\n"
		"Content-Description: Your message\r\n",
		STR_ARG(d->boundary), type);
	write_encoding(out, !str_is_ascii(m));
	buf_adds(out, "\r\n");
	buf_add(out, m);
	buf_printf(out, "\r\n--%.*s--\r\n", STR_ARG(d->boundary));
}

/* What is 8-bit in a part has to be said of the whole (RFC 2045 6.4). */
void
dsn_write(struct arena *a, struct buf *out, const struct dsn *d)
{
	struct buf *words = buf_new(a);
	struct str m = returned(d);
	write_words(a, words, d);
	write_head(a, out, d, d->utf8 || !str_is_ascii(buf_str(words)) ||
		!str_is_ascii(m));
	write_notification(out, d, buf_str(words));
	write_fields(a, out, d);
	write_original(out, d, m);
}
