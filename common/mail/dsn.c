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

/* What a language says; ASCII, or the subject would have to be encoded.  A
 * translation is one more of these. */
struct language {
	const char *tag, *intro, *says, *until;
	struct {
		const char *name, *subject, *text;
	} words[DSN_ACTIONS];
};

/* The words of RFC 3464 2.3.3, which no language changes. */
static const char *const actions[DSN_ACTIONS] = {
	[DSN_FAILED] = "failed",
	[DSN_DELAYED] = "delayed",
	[DSN_DELIVERED] = "delivered",
	[DSN_RELAYED] = "relayed",
	[DSN_EXPANDED] = "expanded",
};

static const struct language languages[] = {
	{"en", "This is the mail system at", "says", "Will be tried until", {
	[DSN_FAILED] = {"failed", "Undeliverable: your message was returned",
		"Your message could not be delivered to one or more of its\r\n"
		"recipients. It will not be tried again.\r\n"},
	[DSN_DELAYED] = {"delayed", "Delayed: your message is still on its way",
		"This is a notice only: YOU DO NOT NEED TO SEND YOUR MESSAGE "
		"AGAIN.\r\nIt could not yet be delivered to one or more of its "
		"recipients\r\nand will be tried until the time given "
		"below.\r\n"},
	[DSN_DELIVERED] = {"delivered", "Delivered: your message has arrived",
		"Your message was delivered to the recipients below, as you "
		"asked\r\nto be told.\r\n"},
	[DSN_RELAYED] = {"relayed", "Relayed: your message was passed on",
		"Your message was passed on to a system that sends no "
		"reports;\r\nno further notice will come from here.\r\n"},
	[DSN_EXPANDED] = {"expanded", "Expanded: your message was passed on",
		"Your message was accepted for a list of recipients; no "
		"further\r\nnotice will come from here.\r\n"}}},
	{"id", "Ini adalah sistem surel di", "menjawab", "Akan dicoba sampai", {
	[DSN_FAILED] = {"gagal", "Tidak terkirim: pesan Anda dikembalikan",
		"Pesan Anda tidak dapat dikirim kepada satu atau beberapa "
		"penerima.\r\nPengiriman tidak akan dicoba lagi.\r\n"},
	[DSN_DELAYED] = {"tertunda", "Tertunda: pesan Anda masih dalam proses",
		"Ini hanya pemberitahuan: ANDA TIDAK PERLU MENGIRIM ULANG "
		"PESAN ANDA.\r\nPesan belum dapat dikirim kepada satu atau "
		"beberapa penerima\r\ndan akan dicoba sampai waktu yang "
		"disebut di bawah.\r\n"},
	[DSN_DELIVERED] = {"terkirim", "Terkirim: pesan Anda sudah sampai",
		"Pesan Anda sudah sampai kepada penerima di bawah, sesuai "
		"permintaan\r\nAnda untuk diberi tahu.\r\n"},
	[DSN_RELAYED] = {"diteruskan", "Diteruskan: pesan Anda sudah diteruskan",
		"Pesan Anda diteruskan ke sistem yang tidak mengirim "
		"laporan;\r\ntidak ada pemberitahuan lagi dari sini.\r\n"},
	[DSN_EXPANDED] = {"disebarkan", "Disebarkan: pesan Anda sudah diteruskan",
		"Pesan Anda diterima untuk sebuah daftar penerima; tidak "
		"ada\r\npemberitahuan lagi dari sini.\r\n"}}},
};

/* The i-th language it is written in; English for want of one. */
static const struct language *
written_in(const struct dsn *d, size_t i)
{
	size_t k = sizeof languages / sizeof *languages;
	while (--k > 0)
		if (i < d->languages.n && str_eq(d->languages.v[i],
			str_from(languages[k].tag)))
			break;
	return &languages[k];
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

static void
write_head(struct arena *a, struct buf *out, const struct dsn *d)
{
	enum dsn_action action = main_action(d);
	buf_printf(out, "From: Mail Delivery System <MAILER-DAEMON@%.*s>\r\n"
		"To: <%.*s>\r\n", STR_ARG(d->host), STR_ARG(d->to));
	buf_printf(out, "Subject: %s\r\nDate: %.*s\r\nMessage-ID: <%.*s>\r\n",
		written_in(d, 0)->words[action].subject,
		STR_ARG(date_text(a, d->now)),
		STR_ARG(d->message_id));
	buf_printf(out, "Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"
		"Content-Type: multipart/report; report-type=%s;\r\n"
		"\tboundary=\"%.*s\"\r\n", d->utf8 ? "global-delivery-status"
						   : "delivery-status",
		STR_ARG(d->boundary));
	if (d->utf8)
		buf_adds(out, "Content-Transfer-Encoding: 8bit\r\n");
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
write_about(struct arena *a, struct buf *out, const struct language *l,
	const struct dsn_recipient *r)
{
	buf_printf(out, "\r\n<%.*s> (%s)", STR_ARG(r->address),
		l->words[r->action].name);
	if (r->remote.n > 0)
		buf_printf(out, ", %s %.*s", l->says, STR_ARG(r->remote));
	buf_adds(out, ":\r\n");
	write_said(out, r->status.text);
	if (r->will_retry_until > 0)
		buf_printf(out, "    %s %.*s.\r\n", l->until,
			STR_ARG(date_text(a, r->will_retry_until)));
}

/* What happened in each language, the recipients in the first. */
static void
write_words(struct arena *a, struct buf *out, const struct dsn *d)
{
	size_t count = d->languages.n > 0 ? d->languages.n : 1;
	buf_printf(out, "\r\n--%.*s\r\nContent-Type: text/plain; "
		"charset=utf-8\r\nContent-Description: Notification\r\n"
		"Content-Language:", STR_ARG(d->boundary));
	for (size_t i = 0; i < count; i++)
		buf_printf(out, "%s %s", i > 0 ? "," : "",
			written_in(d, i)->tag);
	buf_adds(out, "\r\n");
	for (size_t i = 0; i < count; i++) {
		const struct language *l = written_in(d, i);
		buf_printf(out, "\r\n%s %.*s.\r\n\r\n%s", l->intro,
			STR_ARG(d->host), l->words[main_action(d)].text);
	}
	for (size_t i = 0; i < d->count; i++)
		write_about(a, out, written_in(d, 0), &d->recipients[i]);
}

/* What a sender gave in xtext may be anything once decoded, line ends too;
 * only what is plain text becomes part of a field. */
static bool
decode_plain(struct buf *out, struct str coded, bool utf8)
{
	if (!xtext_decode(out, coded) ||
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
	if (given.p != NULL && decode_plain(kind, type, false) &&
		decode_plain(plain, given, d->utf8))
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
	if (d->envid.n > 0 && decode_plain(envid, d->envid, d->utf8))
		buf_printf(out, "Original-Envelope-Id: %.*s\r\n",
			STR_ARG(buf_str(envid)));
	buf_printf(out, "Reporting-MTA: dns;%.*s\r\nX-Surat-Queue-Id: %.*s\r\n"
		"Arrival-Date: %.*s\r\n", STR_ARG(d->host), STR_ARG(d->id),
		STR_ARG(date_text(a, d->arrival)));
	for (size_t i = 0; i < d->count; i++)
		write_recipient(a, out, d, &d->recipients[i]);
}

static void
write_original(struct buf *out, const struct dsn *d)
{
	const char *type = d->utf8 ? "message/global" : "message/rfc822";
	struct str m = d->original;
	if (d->headers_only) {
		type = d->utf8 ? "message/global-headers"
			       : "text/rfc822-headers";
		m = str_head(m, header_length(m));
	}
	buf_printf(out, "\r\n--%.*s\r\nContent-Type: %s\r\n"
		"Content-Description: Your message\r\n",
		STR_ARG(d->boundary), type);
	if (!str_is_ascii(m))
		buf_adds(out, "Content-Transfer-Encoding: 8bit\r\n");
	buf_adds(out, "\r\n");
	buf_add(out, m);
	buf_printf(out, "\r\n--%.*s--\r\n", STR_ARG(d->boundary));
}

void
dsn_write(struct arena *a, struct buf *out, const struct dsn *d)
{
	write_head(a, out, d);
	write_words(a, out, d);
	write_fields(a, out, d);
	write_original(out, d);
}
