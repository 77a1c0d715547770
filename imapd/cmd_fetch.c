/* SPDX-License-Identifier: ISC */
/*
 * FETCH, RFC 3501 6.4.5 and 7.4.2, with CHANGEDSINCE, VANISHED and
 * MODSEQ of RFC 7162, BINARY (RFC 3516), PREVIEW (RFC 8970), SAVEDATE (RFC
 * 8514), EMAILID and THREADID (RFC 8474).
 *
 * Items are compiled into a list of rows of a table, each of which writes
 * itself; the index answers what it can, and only sections of bodies open the
 * message.  Rows are streamed: what is in memory is one message.
 */
#include "commands.h"
#include "fetch.h"
#include "flags.h"
#include "result.h"
#include "view.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/log.h"
#include "mail/date.h"

/* Messages marked \Seen at a time, before their bodies are sent. */
enum { SEEN_BATCH = 50 };

struct fetch;
struct item;

struct item_row {
	const char *name;
	void (*write)(struct fetch *f, const struct item *it);
	unsigned want;
	enum section_kind kind; /* of those that send octets */
	bool octets; /* of the file */
	bool peek;
};

struct item {
	const struct item_row *row;
	struct section section;
	struct str label;
	struct item *next;
};

struct items {
	struct item *first, *last;
};

struct fetch {
	struct imap_session *s;
	struct buf *out;
	/* In this order: what the index said of the message holds until it is
	 * asked something else, as opening the file may need. */
	struct items rows, fields, sections;
	unsigned want;
	bool marks;       /* an item sets \Seen */
	bool tells_flags; /* FLAGS is among the items */
	bool tells_modseq;
	bool vanished; /* tells what is gone, too */
	bool partial;  /* only some of the set: */
	struct partial page;
	uint64_t since;
	/* Of the message in hand: */
	struct message_row row;
	struct uid_set marked; /* their FLAGS changed by this command */
	bool first;
	bool unreadable;
	size_t sent;
	struct status status;
};

/* ---------------------------------------------------------------- items */

static void
write_flags(struct fetch *f, const struct item *it)
{
	(void)it;
	buf_adds(f->out, "FLAGS (");
	flags_print(f->out, f->row.flags, f->row.keywords,
		view_is_recent(f->s, f->row.uid));
	buf_addc(f->out, ')');
}

static void
write_uid(struct fetch *f, const struct item *it)
{
	(void)it;
	buf_adds(f->out, "UID ");
	buf_addn(f->out, f->row.uid);
}

static void
put_date(struct fetch *f, const struct item *it, struct date d)
{
	buf_add(f->out, it->label);
	buf_adds(f->out, " \"");
	buf_add(f->out, date_format_imap(f->s->transaction, d));
	buf_addc(f->out, '"');
}

static void
write_date(struct fetch *f, const struct item *it)
{
	put_date(f, it, (struct date){f->row.date, f->row.zone});
}

static void
write_saved(struct fetch *f, const struct item *it)
{
	put_date(f, it, (struct date){.seconds = f->row.saved});
}

/* The same in every copy, in any mailbox (RFC 8474 5.1). */
static void
write_email(struct fetch *f, const struct item *it)
{
	buf_add(f->out, it->label);
	buf_printf(f->out, " (" EMAIL_ID ")",
		(unsigned long long)message_email(&f->row));
}

static void
write_thread(struct fetch *f, const struct item *it)
{
	buf_add(f->out, it->label);
	buf_printf(f->out, " (" THREAD_ID ")",
		(unsigned long long)f->row.thread);
}

static void
write_preview(struct fetch *f, const struct item *it)
{
	buf_add(f->out, it->label);
	buf_addc(f->out, ' ');
	reply_string(f->out, f->row.preview.n > 0 ? f->row.preview : STR(""));
}

static void
write_size(struct fetch *f, const struct item *it)
{
	(void)it;
	buf_adds(f->out, "RFC822.SIZE ");
	buf_addn(f->out, f->row.size);
}

static void
write_modseq(struct fetch *f, const struct item *it)
{
	(void)it;
	buf_adds(f->out, "MODSEQ (");
	buf_addn(f->out, f->row.modseq);
	buf_addc(f->out, ')');
}

static void
write_text(struct fetch *f, const struct item *it, struct str text)
{
	buf_add(f->out, it->label);
	buf_addc(f->out, ' ');
	buf_add(f->out, text);
}

static void
write_envelope(struct fetch *f, const struct item *it)
{
	write_text(f, it, f->row.envelope);
}

static void
write_structure(struct fetch *f, const struct item *it)
{
	write_text(f, it, f->row.structure);
}

static void
write_body(struct fetch *f, const struct item *it)
{
	write_text(f, it, f->row.body);
}

/*
 * What cannot be read is NIL, and the command's reply says why.  To find that
 * out the directories were looked at, and what the row said of the file is no
 * more: the message's other sections do not ask again.
 */
static struct body *
open_body(struct fetch *f)
{
	struct body *b = NULL;
	if (f->unreadable)
		return NULL;
	struct status st = body_open(f->s, &f->row, &b);
	f->unreadable = !status_is_fine(st);
	if (f->unreadable)
		f->status = st;
	return b;
}

static void
write_section(struct fetch *f, const struct item *it)
{
	struct body *b = open_body(f);
	struct str raw;
	buf_add(f->out, it->label);
	if (b == NULL ||
		!body_section(f->s->transaction, b, &it->section, &raw))
		buf_adds(f->out, " NIL");
	else
		body_write(f->s->conn, b, raw, &it->section);
}

static void
write_binary(struct fetch *f, const struct item *it)
{
	struct body *b = open_body(f);
	buf_add(f->out, it->label);
	if (b == NULL) {
		buf_adds(f->out, " NIL");
		return;
	}
	struct status st = binary_write(f->s, b, &it->section);
	if (!status_is_fine(st))
		f->status = st;
}

static void
write_binary_size(struct fetch *f, const struct item *it)
{
	struct body *b = open_body(f);
	struct status st = status_fine();
	uint64_t size = 0;
	if (b != NULL)
		st = binary_size(b, &it->section, &size);
	buf_add(f->out, it->label);
	buf_addc(f->out, ' ');
	buf_addn(f->out, size);
	if (!status_is_fine(st))
		f->status = st;
}

enum { ROW_FLAGS, ROW_MODSEQ, ROW_UID, ROW_PREVIEW };

/* Fields the index has; few messages have more of them than it keeps. */
static void
write_fields(struct fetch *f, const struct item *it)
{
	struct body none = {0};
	if (f->row.fields.p == NULL) {
		write_section(f, it);
		return;
	}
	buf_add(f->out, it->label);
	body_write(f->s->conn, &none,
		body_pick(f->s->transaction, f->row.fields, &it->section),
		&it->section);
}

static const struct item_row rows[] = {
	[ROW_FLAGS] = {"FLAGS", write_flags},
	[ROW_MODSEQ] = {"MODSEQ", write_modseq},
	[ROW_UID] = {"UID", write_uid},
	[ROW_PREVIEW] = {"PREVIEW", write_preview, WANT_PREVIEW},
	{"INTERNALDATE", write_date, WANT_DATES},
	{"RFC822.SIZE", write_size, WANT_SIZES},
	{"ENVELOPE", write_envelope, WANT_ENVELOPE},
	{"BODY", write_body, WANT_BODY},
	{"BODYSTRUCTURE", write_structure, WANT_STRUCTURE},
	{"SAVEDATE", write_saved, WANT_DATES},
	{"EMAILID", write_email, WANT_FILE},
	{"THREADID", write_thread, WANT_THREAD},
	{"RFC822", write_section, WANT_FILE, .octets = true},
	{"RFC822.HEADER", write_section, WANT_FILE, SECTION_HEADER, true,
		true},
	{"RFC822.TEXT", write_section, WANT_FILE, SECTION_TEXT, true},
};

/* Whether a section is only peeked at, it says itself. */
static const struct item_row section_rows[] = {
	[SECTION_BODY] = {"BODY[", write_section, WANT_FILE, .octets = true,
		.peek = true},
	[SECTION_BINARY] = {"BINARY[", write_binary, WANT_FILE,
		.octets = true, .peek = true},
	[SECTION_SIZE] = {"BINARY.SIZE[", write_binary_size, WANT_FILE,
		.octets = true, .peek = true},
};
static const struct item_row fields_row = {
	"BODY[", write_fields, WANT_FILE | WANT_FIELDS};

static const struct {
	const char *name;
	const char *items[6];
} macros[] = {
	{"ALL", {"FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE"}},
	{"FAST", {"FLAGS", "INTERNALDATE", "RFC822.SIZE"}},
	{"FULL", {"FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY"}},
};

/* -------------------------------------------------------------- compiling */

static struct item *
find_item(const struct items *list, const struct item_row *row)
{
	struct item *it = list->first;
	while (it != NULL && it->row != row)
		it = it->next;
	return it;
}

static struct items *
list_of(struct fetch *f, const struct item_row *row)
{
	if (row == &fields_row)
		return &f->fields;
	return row->octets ? &f->sections : &f->rows;
}

/* Named twice, sent once, but for sections. */
static struct item *
add_item(struct fetch *f, const struct item_row *row)
{
	struct items *to = list_of(f, row);
	struct item *it = find_item(&f->rows, row);
	if (it != NULL)
		return it;
	it = arena_one(f->s->transaction, struct item);
	it->row = row;
	it->label = str_from(row->name);
	it->section.kind = row->kind;
	f->want |= row->want;
	f->tells_flags |= row->write == write_flags;
	f->tells_modseq |= row->write == write_modseq;
	f->marks |= row->octets && !row->peek;
	if (to->last == NULL)
		to->first = it;
	else
		to->last->next = it;
	to->last = it;
	return it;
}

static const struct item_row *
find_row(struct str name)
{
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (str_eq_nocase(name, str_from(rows[i].name)))
			return &rows[i];
	return NULL;
}

static bool
add_macro(struct fetch *f, const struct arg *arg)
{
	for (size_t i = 0; i < sizeof macros / sizeof *macros; i++) {
		if (!arg_is(arg, macros[i].name))
			continue;
		for (const char *const *name = macros[i].items; *name; name++)
			add_item(f, find_row(str_from(*name)));
		return true;
	}
	return false;
}

static bool
add_section(struct fetch *f, const struct arg **arg, const char **why)
{
	struct section section;
	if (!section_parse(f->s->transaction, arg, &section, why))
		return false;
	struct buf *label = buf_new(f->s->transaction);
	struct item *it = add_item(f,
		section_is_kept(&section) ? &fields_row
					  : &section_rows[section.form]);
	section_print(&section, label);
	it->section = section;
	it->label = buf_str(label);
	f->marks |= !section.peek;
	return true;
}

/* PREVIEW (LAZY): it was made when the message came, so it is never late
 * (RFC 8970 3.1). */
static void
take_lazy(const struct arg **arg)
{
	const struct arg *word;
	if (arg_list(*arg, &word) && arg_is(word, "LAZY") &&
		word->next == NULL)
		*arg = (*arg)->next;
}

static bool
add_items(struct fetch *f, const struct arg *arg, const char **why)
{
	while (arg != NULL) {
		struct str name;
		if (add_section(f, &arg, why))
			continue;
		if (*why != NULL)
			return false;
		const struct item_row *row =
			arg_atom(arg, &name) ? find_row(name) : NULL;
		*why = "Unknown FETCH item";
		if (row == NULL)
			return false;
		add_item(f, row);
		arg = arg->next;
		if (row == &rows[ROW_PREVIEW])
			take_lazy(&arg);
	}
	*why = "FETCH items expected";
	return f->rows.first != NULL || f->fields.first != NULL ||
	       f->sections.first != NULL;
}

static bool
take_since(struct fetch *f, const struct arg **word)
{
	struct str text;
	*word = (*word)->next;
	if (!arg_atom(*word, &text) ||
		!str_number(text, INT64_MAX, &f->since))
		return false;
	if (!f->tells_modseq)
		add_item(f, find_row(STR("MODSEQ")));
	return true;
}

/* RFC 7162 3.2.6: for UID FETCH, beside CHANGEDSINCE. */
static bool
take_vanished(struct fetch *f, const struct arg **word)
{
	(void)word;
	f->vanished = true;
	return f->s->uid && (f->s->enabled & IMAP_QRESYNC);
}

/* RFC 9394 3.3: for UID FETCH. */
static bool
take_partial(struct fetch *f, const struct arg **word)
{
	bool again = f->partial;
	*word = (*word)->next;
	f->partial = true;
	return f->s->uid && !again && partial_parse(*word, &f->page);
}

static const struct {
	const char *name;
	bool (*take)(struct fetch *f, const struct arg **word);
} modifiers[] = {
	{"PARTIAL", take_partial},
	{"CHANGEDSINCE", take_since},
	{"VANISHED", take_vanished},
};

static bool
take_modifier(struct fetch *f, const struct arg **word)
{
	for (size_t i = 0; i < sizeof modifiers / sizeof *modifiers; i++)
		if (arg_is(*word, modifiers[i].name))
			return modifiers[i].take(f, word);
	return false;
}

/* (CHANGEDSINCE n ...), behind the items. */
static bool
take_modifiers(struct fetch *f, const struct arg *arg, const char **why)
{
	const struct arg *word;
	*why = "Unknown FETCH modifier";
	if (arg == NULL)
		return true;
	if (arg->next != NULL || !arg_list(arg, &word) || word == NULL)
		return false;
	for (; word != NULL; word = word->next)
		if (!take_modifier(f, &word))
			return false;
	return !f->vanished || f->since > 0;
}

/* One macro, one item (which may take several arguments), or a list. */
static bool
compile(struct fetch *f, const struct arg *arg, const char **why)
{
	const struct arg *first;
	if (f->s->uid && !(f->s->enabled & IMAP_UIDONLY))
		add_item(f, find_row(STR("UID")));
	*why = "FETCH items expected";
	if (arg == NULL)
		return false;
	if (add_macro(f, arg))
		return take_modifiers(f, arg->next, why);
	if (arg_list(arg, &first))
		return add_items(f, first, why) &&
		       take_modifiers(f, arg->next, why);
	if (add_section(f, &arg, why))
		return take_modifiers(f, arg, why);
	if (*why != NULL)
		return false;
	struct arg alone = *arg;
	alone.next = NULL;
	if (!add_items(f, &alone, why))
		return false;
	arg = arg->next;
	if (arg_is(&alone, rows[ROW_PREVIEW].name))
		take_lazy(&arg);
	return take_modifiers(f, arg, why);
}

/* --------------------------------------------------------------- sending */

static void
write_item(struct fetch *f, const struct item *it)
{
	if (!f->first)
		buf_addc(f->out, ' ');
	f->first = false;
	it->row->write(f, it);
}

static void
write_items(struct fetch *f, const struct items *list)
{
	for (const struct item *it = list->first; it != NULL; it = it->next)
		write_item(f, it);
}

/* What marking the message changed is told in the same breath (RFC 7162 3.2.4).
 */
static void
write_marked(struct fetch *f)
{
	static const struct item flags = {.row = &rows[ROW_FLAGS]};
	static const struct item modseq = {.row = &rows[ROW_MODSEQ]};
	static const struct item uid = {.row = &rows[ROW_UID]};
	if (!uid_set_has(&f->marked, f->row.uid))
		return;
	if (!f->tells_flags)
		write_item(f, &flags);
	if (!(f->s->enabled & IMAP_CONDSTORE))
		return;
	if (!f->tells_modseq)
		write_item(f, &modseq);
	if (!(f->s->enabled & IMAP_UIDONLY) &&
		find_item(&f->rows, &rows[ROW_UID]) == NULL)
		write_item(f, &uid);
}

static void
write_message(struct fetch *f)
{
	struct arena_mark mark = arena_mark(f->s->transaction);
	if (!view_begin_row(f->s, f->row.uid))
		return;
	f->first = true;
	f->unreadable = false;
	write_items(f, &f->rows);
	write_marked(f);
	write_items(f, &f->fields);
	write_items(f, &f->sections);
	buf_adds(f->out, ")\r\n");
	conn_pace(f->s->conn);
	f->sent++;
	/* A status keeps its text: there are few, and they end the command. */
	if (status_is_fine(f->status))
		arena_rewind(f->s->transaction, mark);
}

static void
send_rows(struct fetch *f, const struct uid_set *uids)
{
	struct mailbox *m = f->s->mailbox;
	struct mailbox_scan scan = {
		.uids = *uids, .want = f->want, .since = f->since,
		.reads = f->sections.first != NULL};
	while (conn_state(f->s->conn) == CONN_OPEN &&
		mailbox_next(m, &scan, &f->row))
		write_message(f);
	struct status st = mailbox_scan_end(m, &scan);
	if (status_is_fine(st) && scan.unread != 0)
		st = body_unread(f->s, scan.unread);
	if (!status_is_fine(st))
		f->status = st;
}

static bool
has_unseen(struct fetch *f, const struct uid_set *batch)
{
	struct mailbox_scan scan = {.uids = *batch, .mask = FLAG_SEEN};
	struct message_row row;
	bool any = mailbox_next(f->s->mailbox, &scan, &row);
	mailbox_scan_end(f->s->mailbox, &scan);
	return any;
}

/* Only what will be sent is marked; to mark is a change, so what CHANGEDSINCE
 * leaves out has to be known before. */
static struct uid_set
changed_in(struct fetch *f, const struct uid_set *batch)
{
	struct mailbox_scan scan = {.uids = *batch, .since = f->since};
	struct uid_set changed = {0};
	struct message_row row;
	while (mailbox_next(f->s->mailbox, &scan, &row))
		uid_set_add(f->s->transaction, &changed, row.uid);
	struct status st = mailbox_scan_end(f->s->mailbox, &scan);
	if (!status_is_fine(st))
		f->status = st;
	return changed;
}

/* Marks a batch, then sends it: a client that goes away in the middle has
 * not "seen" the rest. */
static void
mark_and_send(struct fetch *f, const struct uid_set *batch)
{
	struct mailbox_store how = {.how = FLAGS_ADD,
		.flags = FLAG_SEEN,
		.unchanged_since = UINT64_MAX};
	struct status st = status_fine();
	struct uid_set changed;
	if (f->since > 0) {
		changed = changed_in(f, batch);
		batch = &changed;
	}
	if (batch->n == 0)
		return;
	if (has_unseen(f, batch))
		st = mailbox_store(
			f->s->mailbox, f->s->transaction, batch, &how);
	/* the disk may be full: that is no reason not to read */
	if (!status_is_fine(st))
		log_warn(f->s->id, "not-seen", LOG_STR("why", st.text));
	f->marked = how.changed;
	f->s->unsettled |= how.changed.n > 0;
	send_rows(f, batch);
}

/* The messages of a range, a few at a time. */
static void
send_range(struct fetch *f, struct uid_range r)
{
	struct mailbox *m = f->s->mailbox;
	struct uid_range below = {1, r.first - 1}, upto = {1, r.last};
	uint32_t last = mailbox_count_in(m, &(struct uid_set){&upto, 1});
	uint32_t next = r.first == 1
		? 1 : mailbox_count_in(m, &(struct uid_set){&below, 1}) + 1;
	while (next <= last && conn_state(f->s->conn) == CONN_OPEN) {
		struct arena_mark mark = arena_mark(f->s->transaction);
		uint32_t end = last - next < SEEN_BATCH
			? last : next + SEEN_BATCH - 1;
		struct uid_range part = {
			mailbox_uid(m, next), mailbox_uid(m, end)};
		mark_and_send(f, &(struct uid_set){&part, 1});
		if (status_is_fine(f->status))
			arena_rewind(f->s->transaction, mark);
		next = end + 1;
	}
}

static void
send_in_batches(struct fetch *f, const struct uid_set *uids)
{
	for (size_t i = 0; i < uids->n; i++)
		send_range(f, uids->v[i]);
}

/* What of a set is gone without the client having been told of it in this
 * session. */
static void
send_vanished(struct fetch *f, const struct arg *set)
{
	struct uid_set within, gone;
	if (!f->vanished || !view_take_past_set(f->s, set, &within))
		return;
	mailbox_vanished(f->s->mailbox, f->s->transaction, f->since, &within,
		&gone);
	view_put_vanished(f->s, &gone, true);
}

/* RFC 2180 4.1.2: what is gone is left out, and the client told why. */
static struct imap_reply
outcome(const struct fetch *f, const struct uid_set *uids)
{
	if (!status_is_fine(f->status))
		return reply_status(f->status);
	if (conn_state(f->s->conn) != CONN_OPEN)
		return REPLY_INTERRUPTED;
	if (f->since == 0 && f->sent < mailbox_count_in(f->s->mailbox, uids))
		return REPLY(IMAP_OK, "EXPUNGEISSUED", "Some are gone");
	return REPLY_OK("Fetched");
}

struct imap_reply
imap_fetch(struct imap_session *s, const struct arg *args)
{
	struct fetch f = {
		.s = s, .out = conn_out(s->conn), .status = status_fine()};
	struct uid_set uids;
	struct imap_reply r;
	const char *why;
	if (args == NULL || !compile(&f, args->next, &why))
		return (struct imap_reply){IMAP_BAD, STR(""),
			args == NULL ? STR("Message set expected")
				     : str_from(why)};
	if (!view_take_set(s, args, &uids, &r))
		return r;
	/* who asks for CHANGEDSINCE or MODSEQ knows them (RFC 7162 3.1) */
	if (f.tells_modseq)
		s->enabled |= IMAP_CONDSTORE;
	send_vanished(&f, args);
	if (f.partial) {
		uids = mailbox_known(s->mailbox, s->transaction, &uids);
		uids = partial_pick(s->transaction, &uids, &f.page);
	}
	if (f.marks && !mailbox_is_read_only(s->mailbox))
		send_in_batches(&f, &uids);
	else
		send_rows(&f, &uids);
	return outcome(&f, &uids);
}
