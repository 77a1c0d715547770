/* SPDX-License-Identifier: ISC */
/*
 * CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE, STATUS, NAMESPACE; RFC 3501
 * 6.3.3 to 6.3.7 and 6.3.10, RFC 2342, RFC 6154 5 (USE), RFC 8438 (SIZE), RFC
 * 7162 (HIGHESTMODSEQ), RFC 7889, RFC 8474 (MAILBOXID).  What can be done to folders is store/folders.h's.
 */
#include "commands.h"
#include "view.h"
#include "base/buf.h"

static struct imap_reply
reply_done(struct status st, const char *text)
{
	if (!status_is_fine(st))
		return reply_status(st);
	return (struct imap_reply){IMAP_OK, STR(""), str_from(text)};
}

/* A name, and nothing but a name. */
static bool
take_name(struct imap_session *s, const struct arg *args, struct str *name,
	struct imap_reply *why)
{
	*why = REPLY_BAD("Mailbox name expected");
	if (args == NULL || args->kind == ARG_LIST)
		return false;
	*why = REPLY_NO("CANNOT", "No such mailbox name");
	return view_take_name(s, args, name);
}

/* --------------------------------------------------------------- create */

static const struct str uses[] = {
	STR_INIT("\\Archive"),
	STR_INIT("\\Drafts"),
	STR_INIT("\\Flagged"),
	STR_INIT("\\Junk"),
	STR_INIT("\\Sent"),
	STR_INIT("\\Trash"),
};

static struct str
find_use(const struct arg *arg)
{
	struct str word;
	for (size_t i = 0; i < sizeof uses / sizeof *uses; i++)
		if (arg_atom(arg, &word) && str_eq_nocase(word, uses[i]))
			return uses[i];
	return STR("");
}

/* (USE (\Sent)): one use a folder; \All is not for folders that are real. */
static bool
take_use(const struct arg *arg, struct str *use, struct imap_reply *why)
{
	const struct arg *word, *list;
	*use = STR("");
	*why = REPLY_BAD("Unknown CREATE parameter");
	if (arg == NULL)
		return true;
	if (arg->next != NULL || !arg_list(arg, &word) ||
		!arg_is(word, "USE") || arg_count(word) != 2 ||
		!arg_list(word->next, &list))
		return false;
	*why = REPLY_NO("USEATTR", "No such special use here");
	if (list != NULL)
		*use = find_use(list);
	return list == NULL || (list->next == NULL && use->n > 0);
}

struct imap_reply
imap_create(struct imap_session *s, const struct arg *args)
{
	struct str name, use;
	struct imap_reply why;
	if (!take_name(s, args, &name, &why) ||
		!take_use(args->next, &use, &why))
		return why;
	struct status st =
		folders_create(s->store, s->transaction, name, use);
	struct folder f;
	if (!status_is_fine(st) || !status_is_fine(folders_status(
		s->store, s->transaction, name, &f)))
		return reply_done(st, "Created");
	struct str denormal = view_denormal(s, args);
	if (denormal.n > 0)
		view_put_list(s, name, denormal);
	struct str code = str_printf(s->transaction, "MAILBOXID (%.*s)",
		STR_ARG(f.mailbox_id));
	return (struct imap_reply){IMAP_OK, code, STR("Created")};
}

/* -------------------------------------------------------- delete, rename */

/* A client that deletes the mailbox it has selected has none selected after.
 */
struct imap_reply
imap_delete(struct imap_session *s, const struct arg *args)
{
	struct str name;
	struct imap_reply why;
	if (arg_count(args) > 1)
		return REPLY_BAD("DELETE mailbox");
	if (!take_name(s, args, &name, &why))
		return why;
	bool selected = s->mailbox != NULL &&
			str_eq(mailbox_folder(s->mailbox)->name, name);
	struct status st = folders_delete(s->store, s->transaction, name);
	if (selected && status_is_fine(st)) {
		view_close(s);
		reply_untagged(s->conn, "OK [CLOSED] The mailbox is deleted");
	}
	return reply_done(st, "Deleted");
}

struct imap_reply
imap_rename(struct imap_session *s, const struct arg *args)
{
	struct str from, to;
	struct imap_reply why;
	if (arg_count(args) != 2)
		return REPLY_BAD("RENAME mailbox mailbox");
	if (!take_name(s, args, &from, &why) ||
		!take_name(s, args->next, &to, &why))
		return why;
	struct status st = folders_rename(s->store, s->transaction, from, to);
	if (status_is_fine(st))
		view_put_list(s, to, from);
	return reply_done(st, "Renamed");
}

/* -------------------------------------------------------- subscriptions */

static struct imap_reply
subscribe(struct imap_session *s, const struct arg *args, bool on)
{
	struct str name;
	struct imap_reply why;
	if (arg_count(args) > 1)
		return REPLY_BAD("One mailbox name expected");
	if (!take_name(s, args, &name, &why))
		return why;
	return reply_done(
		folders_subscribe(s->store, s->transaction, name, on),
		on ? "Subscribed" : "Unsubscribed");
}

struct imap_reply
imap_subscribe(struct imap_session *s, const struct arg *args)
{
	return subscribe(s, args, true);
}

struct imap_reply
imap_unsubscribe(struct imap_session *s, const struct arg *args)
{
	return subscribe(s, args, false);
}

struct imap_reply
imap_namespace(struct imap_session *s, const struct arg *args)
{
	(void)args;
	reply_untagged(s->conn, "NAMESPACE ((\"\" \"%c\")) NIL NIL",
		FOLDERS_SEPARATOR);
	return REPLY_OK("That is all");
}

/* --------------------------------------------------------------- status */

static void
put_append_limit(
	struct imap_session *s, const struct folder *f, struct buf *out)
{
	(void)f;
	buf_addn(out, (uint64_t)s->conf->imap.max_message);
}

static void
put_mailbox_id(
	struct imap_session *s, const struct folder *f, struct buf *out)
{
	(void)s;
	buf_printf(out, "(%.*s)", STR_ARG(f->mailbox_id));
}

static void
put_deleted_size(
	struct imap_session *s, const struct folder *f, struct buf *out)
{
	uint64_t octets;
	folders_deleted_size(s->store, s->transaction, f, &octets);
	buf_addn(out, octets);
}

#define ITEM(name, member, ...)                                                \
	{name, offsetof(struct folder, member),                                \
		sizeof((struct folder){0}.member) == sizeof(uint64_t),         \
		__VA_ARGS__}

static const struct status_item {
	const char *name;
	size_t offset;
	bool wide; /* 64 bits, else 32 */
	unsigned enables; /* by being asked for (RFC 7162 3.1) */
	/* of what is no number of the folder */
	void (*put)(struct imap_session *s, const struct folder *f,
		struct buf *out);
} status_items[] = {
	ITEM("MESSAGES", messages),
	ITEM("RECENT", recent),
	ITEM("UIDNEXT", uidnext),
	ITEM("UIDVALIDITY", uidvalidity),
	ITEM("UNSEEN", unseen),
	ITEM("DELETED", deleted),
	ITEM("SIZE", size),
	ITEM("HIGHESTMODSEQ", highestmodseq, IMAP_CONDSTORE),
	{"APPENDLIMIT", .put = put_append_limit},
	{"MAILBOXID", .put = put_mailbox_id},
	{"DELETED-STORAGE", .put = put_deleted_size},
};

enum { STATUS_ITEMS = sizeof status_items / sizeof *status_items };

/* RFC 9051, appendix E: no RECENT. */
static bool
is_item(const struct imap_session *s, const struct arg *word, size_t i)
{
	bool gone = (s->enabled & IMAP_REV2) &&
		status_items[i].offset == offsetof(struct folder, recent) &&
		status_items[i].put == NULL;
	return !gone && arg_is(word, status_items[i].name);
}

bool
status_parse_items(const struct imap_session *s, const struct arg *list,
	unsigned *items)
{
	const struct arg *word;
	*items = 0;
	if (!arg_list(list, &word) || word == NULL)
		return false;
	for (; word != NULL; word = word->next) {
		size_t i = 0;
		while (i < STATUS_ITEMS && !is_item(s, word, i))
			i++;
		if (i == STATUS_ITEMS)
			return false;
		*items |= 1U << i;
	}
	return true;
}

static uint64_t
value_of(const struct status_item *item, const struct folder *f)
{
	const void *at = (const char *)f + item->offset;
	return item->wide ? *(const uint64_t *)at : *(const uint32_t *)at;
}

void
status_put(struct imap_session *s, const struct folder *f, unsigned items)
{
	struct buf *out = conn_out(s->conn);
	const char *before = "";
	buf_adds(out, "* STATUS ");
	view_put_name(s, out, f->name);
	buf_adds(out, " (");
	for (size_t i = 0; i < STATUS_ITEMS; i++) {
		const struct status_item *item = &status_items[i];
		if (!(items & 1U << i))
			continue;
		buf_printf(out, "%s%s ", before, item->name);
		if (item->put != NULL)
			item->put(s, f, out);
		else
			buf_addn(out, value_of(item, f));
		before = " ";
		s->enabled |= item->enables;
	}
	buf_adds(out, ")\r\n");
	conn_pace(s->conn);
}

struct imap_reply
imap_status(struct imap_session *s, const struct arg *args)
{
	struct str name;
	struct imap_reply why;
	struct folder f;
	unsigned items;
	if (arg_count(args) != 2 || !status_parse_items(s, args->next, &items))
		return REPLY_BAD("STATUS mailbox (item ...)");
	if (!take_name(s, args, &name, &why))
		return why;
	struct status st = folders_status(s->store, s->transaction, name, &f);
	if (!status_is_fine(st))
		return reply_status(st);
	status_put(s, &f, items);
	return REPLY_OK("That is all");
}
