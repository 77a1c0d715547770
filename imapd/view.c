/* SPDX-License-Identifier: ISC */
/*
 * The selected mailbox on the wire: news as untagged lines (RFC 3501 7.2.6,
 * 7.3, 7.4), sets of messages, mailbox names in modified UTF-7 (RFC 3501
 * 5.1.3).
 */
#include "view.h"
#include "fetch.h"
#include "flags.h"
#include "seqset.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/log.h"
#include "mail/charset.h"
#include "mail/utf7.h"

void
view_close(struct imap_session *s)
{
	if (s->mailbox == NULL)
		return;
	body_close(s);
	mailbox_close(s->mailbox);
	s->mailbox = NULL;
	s->keywords_told = 0;
	s->unsettled = false;
	view_save(s, &(struct uid_set){0});
	arena_free(s->view);
	s->view = NULL;
}

void
view_save(struct imap_session *s, const struct uid_set *uids)
{
	arena_free(s->saved_arena);
	s->saved_arena = NULL;
	s->saved = (struct uid_set){0};
	if (uids->n == 0)
		return;
	s->saved_arena = arena_new("saved");
	s->saved.v = arena_array(s->saved_arena, uids->n, sizeof *uids->v);
	memcpy(s->saved.v, uids->v, uids->n * sizeof *uids->v);
	s->saved.n = uids->n;
}

struct uid_set
view_saved(struct imap_session *s)
{
	return mailbox_known(s->mailbox, s->transaction, &s->saved);
}

/* ---------------------------------------------------------------- flags */

/* A client may make keywords up (\*) as long as it may change flags. */
static void
put_flags(struct imap_session *s, const struct str_list *keywords)
{
	struct buf *out = buf_new(s->transaction);
	bool fixed = mailbox_is_read_only(s->mailbox);
	flags_print_all(out, keywords);
	s->keywords_told = keywords->n;
	reply_untagged(s->conn, "FLAGS (%.*s)", STR_ARG(buf_str(out)));
	if (!fixed)
		buf_adds(out, " \\*");
	reply_untagged(s->conn, "OK [PERMANENTFLAGS (%.*s)] Flags kept",
		fixed ? 0 : (int)out->n, out->p);
}

void
view_put_flags(struct imap_session *s)
{
	struct str_list keywords = {0};
	mailbox_keywords(s->mailbox, s->transaction, &keywords);
	put_flags(s, &keywords);
}

static void
tell_keywords(struct imap_session *s, const struct str_list *keywords)
{
	if (keywords->n > s->keywords_told)
		put_flags(s, keywords);
}

void
view_tell_keywords(struct imap_session *s)
{
	struct str_list keywords = {0};
	mailbox_keywords(s->mailbox, s->transaction, &keywords);
	tell_keywords(s, &keywords);
}

/* IMAP4rev2 has no such flag (RFC 9051, appendix E). */
bool
view_is_recent(const struct imap_session *s, uint32_t uid)
{
	return !(s->enabled & IMAP_REV2) && mailbox_is_recent(s->mailbox, uid);
}

bool
view_begin_row(struct imap_session *s, uint32_t uid)
{
	struct buf *out = conn_out(s->conn);
	uint32_t seq = mailbox_seq(s->mailbox, uid);
	bool only = (s->enabled & IMAP_UIDONLY) != 0;
	if (seq == 0)
		return false;
	buf_adds(out, "* ");
	buf_addn(out, only ? uid : seq);
	buf_adds(out, only ? " UIDFETCH (" : " FETCH (");
	return true;
}

static void
put_row(struct imap_session *s, const struct message_row *row, bool flags)
{
	struct buf *out = conn_out(s->conn);
	const char *before = "";
	if (!view_begin_row(s, row->uid))
		return;
	if (!(s->enabled & IMAP_UIDONLY)) {
		buf_adds(out, "UID ");
		buf_addn(out, row->uid);
		before = " ";
	}
	if (flags) {
		buf_adds(out, before);
		buf_adds(out, "FLAGS (");
		flags_print(out, row->flags, row->keywords,
			view_is_recent(s, row->uid));
		buf_addc(out, ')');
		before = " ";
	}
	if (s->enabled & IMAP_CONDSTORE) {
		buf_adds(out, before);
		buf_adds(out, "MODSEQ (");
		buf_addn(out, row->modseq);
		buf_addc(out, ')');
	}
	buf_adds(out, ")\r\n");
	conn_pace(s->conn);
}

struct status
view_put_rows(struct imap_session *s, const struct uid_set *uids, bool flags)
{
	struct mailbox_scan scan = {.uids = *uids};
	struct message_row row;
	if (uids->n == 0)
		return status_fine();
	while (mailbox_next(s->mailbox, &scan, &row))
		put_row(s, &row, flags);
	return mailbox_scan_end(s->mailbox, &scan);
}

/* ----------------------------------------------------------------- news */

static void
put_number(struct imap_session *s, uint32_t n, const char *rest)
{
	struct buf *out = conn_out(s->conn);
	buf_adds(out, "* ");
	buf_addn(out, n);
	buf_adds(out, rest);
	conn_pace(s->conn);
}

void
view_put_set(struct imap_session *s, const struct uid_set *set)
{
	struct buf *out = conn_out(s->conn);
	for (size_t i = 0; i < set->n; i++) {
		if (i > 0)
			buf_addc(out, ',');
		seqset_print(&(struct uid_set){&set->v[i], 1}, out);
		conn_pace(s->conn);
	}
}

void
view_put_vanished(
	struct imap_session *s, const struct uid_set *uids, bool earlier)
{
	struct buf *out = conn_out(s->conn);
	if (uids->n == 0)
		return;
	buf_adds(out, earlier ? "* VANISHED (EARLIER) " : "* VANISHED ");
	view_put_set(s, uids);
	buf_adds(out, "\r\n");
	conn_pace(s->conn);
}

void
view_put_recent(struct imap_session *s)
{
	if (!(s->enabled & IMAP_REV2))
		reply_untagged(
			s->conn, "%u RECENT", mailbox_recent(s->mailbox));
}

/* Highest first, so that each number is right when it is read. */
static void
put_expunged(struct imap_session *s, const struct mailbox_news *news)
{
	const struct uid_set *seqs = &news->expunged_seqs;
	if (s->enabled & (IMAP_QRESYNC | IMAP_UIDONLY)) {
		view_put_vanished(s, &news->expunged, false);
		return;
	}
	for (size_t i = seqs->n; i-- > 0;)
		for (uint32_t n = seqs->v[i].last; n >= seqs->v[i].first; n--)
			put_number(s, n, " EXPUNGE\r\n");
}

static void
put_news(struct imap_session *s, const struct mailbox_news *news)
{
	s->unsettled = true;
	put_expunged(s, news);
	if (news->arrived > 0) {
		reply_untagged(s->conn, "%u EXISTS", news->exists);
		view_put_recent(s);
	}
	tell_keywords(s, &news->keywords);
	view_put_rows(s, &news->changed, true);
}

void
view_news(struct imap_session *s, bool expunges)
{
	struct mailbox_news news = {0};
	struct status st =
		mailbox_news(s->mailbox, s->transaction, expunges, &news);
	if (!status_is_fine(st)) {
		log_warn(s->id, "no-news", LOG_STR("why", st.text));
		return;
	}
	if (news.gone) {
		reply_untagged(s->conn, "BYE The selected mailbox is gone");
		s->state = IMAP_CLOSED;
		return;
	}
	if (news.any)
		put_news(s, &news);
	/* Or it would take the modseqs it hears of for a state in which it
	 * had heard of the expunges too (RFC 7162 3.2). */
	if (news.held_back && (s->enabled & IMAP_QRESYNC))
		reply_untagged(s->conn, "OK [HIGHESTMODSEQ %llu] So far",
			(unsigned long long)news.modseq);
}

struct str
view_modseq_code(struct imap_session *s)
{
	if (!(s->enabled & IMAP_QRESYNC))
		return STR("");
	return str_printf(s->transaction, "HIGHESTMODSEQ %llu",
		(unsigned long long)mailbox_folder(s->mailbox)->highestmodseq);
}

/* ----------------------------------------------------------------- sets */

bool
view_take_past_set(struct imap_session *s, const struct arg *arg,
	struct uid_set *uids)
{
	struct str text;
	*uids = s->saved;
	if (arg_is(arg, "$"))
		return true;
	if (!arg_atom(arg, &text) ||
		!seqset_parse(s->transaction, text, uids))
		return false;
	seqset_resolve(uids, mailbox_folder(s->mailbox)->uidnext - 1);
	return true;
}

bool
view_take_set(struct imap_session *s, const struct arg *arg,
	struct uid_set *uids, struct imap_reply *why)
{
	struct str text;
	struct uid_set set;
	if (arg_is(arg, "$")) {
		*uids = view_saved(s);
		return true;
	}
	*why = REPLY_BAD("Message set expected");
	if (!arg_atom(arg, &text) || !seqset_parse(s->transaction, text, &set))
		return false;
	if (s->uid) {
		uint32_t last = mailbox_last_uid(s->mailbox);
		seqset_resolve(&set, last);
		seqset_limit(&set, last);
		*uids = set;
		return true;
	}
	uint32_t count = mailbox_count(s->mailbox);
	seqset_resolve(&set, count);
	*why = REPLY_BAD("No such message");
	if (set.n == 0 || seqset_last(&set) > count)
		return false;
	*uids = mailbox_uids(s->mailbox, s->transaction, &set);
	return true;
}

/* Numbers may be adjacent where UIDs are not. */
struct uid_set
view_seqs(struct imap_session *s, const struct uid_set *uids)
{
	struct uid_set out = {
		arena_array(s->transaction, uids->n, sizeof *out.v), 0};
	for (size_t i = 0; i < uids->n; i++) {
		struct uid_range r = {
			mailbox_seq(s->mailbox, uids->v[i].first),
			mailbox_seq(s->mailbox, uids->v[i].last)};
		if (out.n > 0 && out.v[out.n - 1].last + 1 == r.first)
			out.v[out.n - 1].last = r.last;
		else
			out.v[out.n++] = r;
	}
	return out;
}

/* ---------------------------------------------------------------- names */

bool
view_decode_name(struct imap_session *s, struct str wire, struct str *text)
{
	struct buf *utf8 = buf_new(s->transaction);
	if (s->enabled & IMAP_UTF8_NAMES) {
		*text = charset_nfc(s->transaction, wire);
		return charset_is_utf8(wire);
	}
	if (!utf7_to_utf8(utf8, wire))
		return false;
	*text = charset_nfc(s->transaction, buf_str(utf8));
	return true;
}

bool
view_take_name(struct imap_session *s, const struct arg *arg, struct str *name)
{
	struct str wire, text;
	if (!arg_astring(arg, &wire) || !view_decode_name(s, wire, &text))
		return false;
	if (text.n > 1 && text.p[text.n - 1] == FOLDERS_SEPARATOR)
		text.n--;
	return folders_name(s->transaction, text, name);
}

void
view_put_name(struct imap_session *s, struct buf *out, struct str name)
{
	struct buf *wire = buf_new(s->transaction);
	if ((s->enabled & IMAP_UTF8_NAMES) && !str_is_ascii(name))
		reply_utf8(out, name);
	else if ((s->enabled & IMAP_UTF8_NAMES) || !utf7_from_utf8(wire, name))
		reply_astring(out, name);
	else
		reply_astring(out, buf_str(wire));
}

void
view_put_list(struct imap_session *s, struct str name, struct str old)
{
	struct buf *out = conn_out(s->conn);
	if (!(s->enabled & IMAP_REV2))
		return;
	buf_printf(out, "* LIST () \"%c\" ", FOLDERS_SEPARATOR);
	view_put_name(s, out, name);
	if (old.n > 0) {
		buf_adds(out, " (\"OLDNAME\" (");
		view_put_name(s, out, old);
		buf_adds(out, "))");
	}
	buf_adds(out, "\r\n");
}

struct str
view_denormal(struct imap_session *s, const struct arg *arg)
{
	struct str text;
	if (!arg_astring(arg, &text) || !charset_is_utf8(text) ||
		str_eq(charset_nfc(s->transaction, text), text))
		return STR("");
	return text;
}
