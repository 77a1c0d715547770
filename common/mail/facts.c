/* SPDX-License-Identifier: ISC */
/* One MIME parse, one walk over the top header; everything else is made from
 * their views. */
#include "mail/facts.h"
#include "base/arena.h"
#include "mail/charset.h"
#include "mail/date.h"
#include "mail/header.h"
#include "mail/structure.h"
#include "mail/text.h"
#include "mail/word.h"

enum field {
	F_DATE, F_FROM, F_TO, F_CC, F_BCC, F_SUBJECT, F_MESSAGE_ID,
	F_IN_REPLY_TO, F_REFERENCES, F_COUNT
};

/* The first of each name; doubled: there are more of some. */
static void
read_fields(struct str header, struct str values[F_COUNT], bool *doubled)
{
	static const struct str names[F_COUNT] = {STR_INIT("Date"),
		STR_INIT("From"), STR_INIT("To"), STR_INIT("Cc"),
		STR_INIT("Bcc"), STR_INIT("Subject"), STR_INIT("Message-ID"),
		STR_INIT("In-Reply-To"), STR_INIT("References")};
	struct header_field f;
	header = header_begin(header);
	while (header_next(&header, &f))
		for (int i = 0; i < F_COUNT; i++) {
			if (!str_eq_nocase(f.name, names[i]))
				continue;
			if (values[i].p == NULL)
				values[i] = f.value;
			else
				*doubled = true;
		}
}

/* What the common clients ask for when they list a mailbox, and what people
 * search by. */
static const struct str kept[] = {
	STR_INIT("auto-submitted"), STR_INIT("bcc"), STR_INIT("cc"),
	STR_INIT("chat-is-post-message"), STR_INIT("chat-version"),
	STR_INIT("content-description"), STR_INIT("content-disposition"),
	STR_INIT("content-language"), STR_INIT("content-transfer-encoding"),
	STR_INIT("content-type"), STR_INIT("date"), STR_INIT("delivered-to"),
	STR_INIT("disposition-notification-to"), STR_INIT("envelope-to"),
	STR_INIT("from"), STR_INIT("importance"), STR_INIT("in-reply-to"),
	STR_INIT("keywords"), STR_INIT("lines"), STR_INIT("list-help"),
	STR_INIT("list-id"), STR_INIT("list-post"),
	STR_INIT("list-subscribe"), STR_INIT("list-unsubscribe"),
	STR_INIT("mail-followup-to"), STR_INIT("mail-reply-to"),
	STR_INIT("message-id"), STR_INIT("mime-version"),
	STR_INIT("newsgroups"), STR_INIT("organization"),
	STR_INIT("precedence"), STR_INIT("priority"), STR_INIT("references"),
	STR_INIT("reply-to"), STR_INIT("resent-date"),
	STR_INIT("resent-from"), STR_INIT("resent-message-id"),
	STR_INIT("resent-to"), STR_INIT("return-path"), STR_INIT("sender"),
	STR_INIT("status"), STR_INIT("subject"), STR_INIT("to"),
	STR_INIT("user-agent"), STR_INIT("x-label"), STR_INIT("x-mailer"),
	STR_INIT("x-microsoft-original-message-id"),
	STR_INIT("x-mozilla-draft-info"), STR_INIT("x-original-to"),
	STR_INIT("x-priority"), STR_INIT("x-spam-flag"),
	STR_INIT("x-spam-status"), STR_INIT("x-status"),
	STR_INIT("x-tuid"),
};

bool
facts_keeps(struct str name)
{
	for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
		if (kept[i].n == name.n && name.n > 0 &&
			char_lower(name.p[0]) == kept[i].p[0] &&
			str_eq_nocase(name, kept[i]))
			return true;
	return false;
}

/* NUL has no place in a text of the index. */
static struct str
keep_fields(struct arena *a, struct str header)
{
	static const struct str none = {NULL, 0};
	struct buf *out = buf_new(a);
	struct header_field f;
	buf_room(out, 1);
	header = header_begin(header);
	while (header_next(&header, &f)) {
		if (f.name.n == 0 || !facts_keeps(f.name))
			continue;
		if (out->n + f.whole.n > FACTS_FIELDS_MOST ||
			str_has(f.whole, 0))
			return none;
		buf_add(out, f.whole);
		if (!str_ends(f.whole, STR("\n")))
			buf_addc(out, '\n');
	}
	return buf_str(out);
}

/* Texts are made in buffers that serve for all, and copied when they are done. */
struct maker {
	struct arena *a;
	struct buf *plain, *fold;
};

static struct maker
maker_new(struct arena *a)
{
	return (struct maker){a, buf_new(a), buf_new(a)};
}

static struct str
folded(struct maker *m, struct str utf8)
{
	buf_clear(m->fold);
	charset_fold(m->fold, utf8);
	return str_copy(m->a, str_trim(buf_str(m->fold)));
}

/* Until the next text is made. */
static struct str
decoded(struct maker *m, struct str value)
{
	buf_clear(m->plain);
	word_decode(m->a, m->plain, value);
	return buf_str(m->plain);
}

static struct str
folded_value(struct maker *m, struct str value)
{
	return value.n == 0 ? STR("") : folded(m, decoded(m, value));
}

/* A search looks at every field of that name. */
static struct str
folded_all(struct maker *m, struct str header, struct str name)
{
	struct header_field f;
	buf_clear(m->plain);
	header = header_begin(header);
	while (header_next(&header, &f)) {
		if (!str_eq_nocase(f.name, name))
			continue;
		word_decode(m->a, m->plain, f.value);
		buf_addc(m->plain, '\n');
	}
	return folded(m, buf_str(m->plain));
}

static void
fold_fields(struct maker *m, struct str header, struct str values[F_COUNT],
	bool doubled, struct facts *out)
{
	const struct {
		int field;
		struct str name, *text;
	} rows[] = {
		{F_FROM, STR("from"), &out->from},
		{F_TO, STR("to"), &out->to},
		{F_CC, STR("cc"), &out->cc},
		{F_BCC, STR("bcc"), &out->bcc},
		{F_SUBJECT, STR("subject"), &out->subject},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		*rows[i].text = doubled
			? folded_all(m, header, rows[i].name)
			: folded_value(m, values[rows[i].field]);
}

/* ------------------------------------------------------------- subject */

static struct str
skip_blanks(struct str s)
{
	while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t'))
		s = str_skip(s, 1);
	return s;
}

/* "[blob]" at the front, RFC 5256 5 subj-blob: no brackets inside. */
static bool
skip_blob(struct str *s)
{
	if (!str_starts(*s, STR("[")))
		return false;
	/* no farther than the next one that opens */
	size_t at = 1;
	while (at < s->n && s->p[at] != '[' && s->p[at] != ']')
		at++;
	if (at == s->n || s->p[at] == '[')
		return false;
	*s = skip_blanks(str_skip(*s, at + 1));
	return true;
}

/* subj-refwd: ("re" / "fw" / "fwd") blanks [blob] ":" */
static bool
skip_reply(struct str *s)
{
	static const struct str words[] = {
		STR_INIT("re"), STR_INIT("fwd"), STR_INIT("fw")};
	for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
		if (!str_starts_nocase(*s, words[i]))
			continue;
		struct str rest = skip_blanks(str_skip(*s, words[i].n));
		skip_blob(&rest);
		if (!str_starts(rest, STR(":")))
			continue;
		*s = skip_blanks(str_skip(rest, 1));
		return true;
	}
	return false;
}

/* subj-trailer */
static bool
drop_forwarded(struct str *s)
{
	struct str fwd = STR("(fwd)");
	if (s->n < fwd.n || !str_eq_nocase(str_skip(*s, s->n - fwd.n), fwd))
		return false;
	*s = str_trim(str_head(*s, s->n - fwd.n));
	return true;
}

/* RFC 5256 2.1 steps 2 to 6. */
static struct str
strip_subject(struct str s, bool *is_reply)
{
	for (;;) {
		s = str_trim(s);
		while (drop_forwarded(&s))
			*is_reply = true;
		for (;;) {
			struct str rest = s;
			if (skip_reply(&rest)) {
				*is_reply = true;
				s = rest;
			} else if (skip_blob(&rest) && rest.n > 0) {
				s = rest;
			} else {
				break;
			}
		}
		/* Step 6: "[fwd: x]" */
		if (!str_starts_nocase(s, STR("[fwd:")) ||
			!str_ends(s, STR("]")))
			return s;
		s = str_head(str_skip(s, 5), s.n - 6);
		*is_reply = true;
	}
}

struct str
facts_base_subject(struct arena *a, struct str subject, bool *is_reply)
{
	struct maker m = maker_new(a);
	*is_reply = false;
	return folded(&m, strip_subject(subject, is_reply));
}

/* ------------------------------------------------------------ addresses */

static void
address_keys(struct maker *m, struct str value, struct str *sort,
	struct str *display)
{
	*sort = STR("");
	if (display != NULL)
		*display = STR("");
	if (value.n == 0)
		return;
	struct header_addresses list = header_parse_addresses(m->a, value);
	if (list.n == 0)
		return;
	/* A group stands under its name (RFC 5957 3). */
	const struct header_address *x = &list.v[0];
	*sort = folded_value(m, x->mailbox);
	if (display == NULL)
		return;
	if (x->name.n > 0)
		*display = folded_value(m, x->name);
	else if (x->host.p != NULL)
		*display = folded_value(m, str_printf(m->a, "%.*s@%.*s",
			STR_ARG(x->mailbox), STR_ARG(x->host)));
	else
		*display = *sort;
}

/* ----------------------------------------------------------- references */

/* References if there are any, else the first In-Reply-To (RFC 5256 3). */
static struct str_list
references(struct arena *a, const struct str values[F_COUNT])
{
	struct str_list all = {NULL, 0};
	if (values[F_REFERENCES].n > 0)
		all = header_message_ids(a, values[F_REFERENCES]);
	if (all.n == 0 && values[F_IN_REPLY_TO].n > 0) {
		all = header_message_ids(a, values[F_IN_REPLY_TO]);
		all.n = all.n > 1 ? 1 : all.n;
	}
	if (all.n > FACTS_REFERENCES_MOST) {
		/* The nearest ancestors tell most. */
		all.v += all.n - FACTS_REFERENCES_MOST;
		all.n = FACTS_REFERENCES_MOST;
	}
	return all;
}

static bool
has_attachment(struct mime_part *root)
{
	for (struct mime_part *p = root; p != NULL; p = mime_walk(p)) {
		if (str_starts_nocase(str_trim(p->fields[MIME_DISPOSITION]),
			STR("attachment")))
			return true;
		if (p->child == NULL && !str_eq(p->major, STR("text")) &&
			!str_eq(p->major, STR("multipart")) &&
			p->fields[MIME_ID].n == 0)
			return true;
	}
	return false;
}

static void
render(struct arena *a, struct str message, struct mime_part *root,
	struct facts *out)
{
	struct buf *envelope = buf_new(a), *body = buf_new(a),
		   *extended = buf_new(a), *preview = buf_new(a);
	structure_envelope(a, envelope, mime_header(message, root));
	structure_body(a, body, message, root, false);
	structure_body(a, extended, message, root, true);
	text_preview(a, message, root, FACTS_PREVIEW_MOST, preview);
	out->envelope = buf_str(envelope);
	out->body = buf_str(body);
	out->bodystructure = buf_str(extended);
	out->preview = buf_str(preview);
}

void
facts_find(struct arena *a, struct str message, struct facts *out)
{
	struct str values[F_COUNT] = {{NULL, 0}};
	struct date sent;
	struct mime_part *root = mime_parse(a, message);
	*out = (struct facts){.size = message.n,
		.wire_size = root->end.wire,
		.header_size = root->body.offset};
	struct maker m = maker_new(a);
	bool doubled = false;
	read_fields(mime_header(message, root), values, &doubled);
	out->fields = keep_fields(a, mime_header(message, root));
	out->has_date = date_parse(
		header_unfold(a, values[F_DATE]), &sent);
	if (out->has_date) {
		out->sent = sent.seconds;
		out->sent_zone = sent.zone;
	}
	fold_fields(&m, mime_header(message, root), values, doubled, out);
	out->sort_subject = folded(&m, strip_subject(
		decoded(&m, values[F_SUBJECT]), &out->is_reply));
	address_keys(&m, values[F_FROM], &out->sort_from, &out->display_from);
	address_keys(&m, values[F_TO], &out->sort_to, &out->display_to);
	address_keys(&m, values[F_CC], &out->sort_cc, NULL);
	struct str_list ids = header_message_ids(a, values[F_MESSAGE_ID]);
	out->message_id = ids.n > 0 ? ids.v[0] : STR("");
	out->references = references(a, values);
	out->has_attachment = has_attachment(root);
	render(a, message, root, out);
}
