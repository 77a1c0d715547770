/* SPDX-License-Identifier: ISC */
/*
 * LIST and LSUB, RFC 3501 6.3.8 and 6.3.9; LIST-EXTENDED (RFC 5258), CHILDREN
 * (RFC 3348), LIST-STATUS (RFC 5819), SPECIAL-USE (RFC 6154).
 *
 * LSUB is LIST (SUBSCRIBED RECURSIVEMATCH) in old words: a name above one that
 * is subscribed to is shown when the pattern ends too early for that one.
 */
#include "commands.h"
#include "match.h"
#include "view.h"
#include "base/arena.h"
#include "base/buf.h"

enum list_option {
	LIST_SUBSCRIBED = 1 << 0,
	LIST_SPECIAL = 1 << 1,
	LIST_RECURSIVE = 1 << 2,
	LIST_CHILDREN = 1 << 3,
	LIST_STATUS = 1 << 4,
	LIST_REMOTE = 1 << 5, /* there is nothing remote here */
};

/* What a client asks for at once, and memory and time are spent on. */
enum { LIST_PATTERNS = 100 };

struct option {
	const char *name;
	unsigned bit;
};

static const struct option selections[] = {
	{"SUBSCRIBED", LIST_SUBSCRIBED},
	{"SPECIAL-USE", LIST_SPECIAL},
	{"RECURSIVEMATCH", LIST_RECURSIVE},
	{"REMOTE", LIST_REMOTE},
	{NULL, 0},
};

static const struct option returns[] = {
	{"SUBSCRIBED", LIST_SUBSCRIBED},
	{"SPECIAL-USE", LIST_SPECIAL},
	{"CHILDREN", LIST_CHILDREN},
	{"STATUS", LIST_STATUS},
	{NULL, 0},
};

struct listing {
	struct imap_session *s;
	const char *word; /* LIST or LSUB */
	bool extended;
	unsigned selects, returns;
	unsigned items; /* of STATUS */
	struct str_list patterns;
	struct folder_list all;
	bool *matches; /* of each, a pattern */
};

/* -------------------------------------------------------------- arguments */

static unsigned
find_option(const struct option *table, const struct arg *arg)
{
	for (; table->name != NULL; table++)
		if (arg_is(arg, table->name))
			return table->bit;
	return 0;
}

static bool
take_selections(struct listing *l, const struct arg *list)
{
	const struct arg *word;
	if (!arg_list(list, &word))
		return false;
	l->extended = true;
	for (; word != NULL; word = word->next) {
		unsigned bit = find_option(selections, word);
		if (bit == 0)
			return false;
		l->selects |= bit;
	}
	/* alone it would select nothing (RFC 5258 3.1) */
	return !(l->selects & LIST_RECURSIVE) ||
	       (l->selects & (LIST_SUBSCRIBED | LIST_SPECIAL));
}

static bool
take_returns(struct listing *l, const struct arg *arg)
{
	const struct arg *word;
	if (arg == NULL)
		return true;
	if (!arg_is(arg, "RETURN") || !arg_list(arg->next, &word) ||
		arg->next->next != NULL)
		return false;
	l->extended = true;
	for (; word != NULL; word = word->next) {
		unsigned bit = find_option(returns, word);
		if (bit == 0)
			return false;
		l->returns |= bit;
		if (bit != LIST_STATUS)
			continue;
		word = word->next;
		if (!status_parse_items(l->s, word, &l->items))
			return false;
	}
	return true;
}

/* A pattern that is no name in any spelling matches nothing. */
static bool
take_pattern(struct listing *l, struct str reference, const struct arg *arg)
{
	struct str wire, text;
	if (!arg_astring(arg, &wire))
		return false;
	wire = str_printf(l->s->transaction, "%.*s%.*s", STR_ARG(reference),
		STR_ARG(wire));
	if (view_decode_name(l->s, wire, &text))
		l->patterns.v[l->patterns.n++] = text;
	return true;
}

static bool
take_patterns(struct listing *l, struct str reference, const struct arg *arg)
{
	const struct arg *each;
	if (!arg_list(arg, &each)) {
		l->patterns.v = arena_array(
			l->s->transaction, 1, sizeof *l->patterns.v);
		return take_pattern(l, reference, arg);
	}
	l->extended = true;
	l->patterns.v = arena_array(
		l->s->transaction, arg_count(each), sizeof *l->patterns.v);
	for (; each != NULL; each = each->next)
		if (!take_pattern(l, reference, each))
			return false;
	return true;
}

/* ---------------------------------------------------------------- choosing */

static bool
matches_any(const struct listing *l, struct str name)
{
	for (size_t i = 0; i < l->patterns.n; i++)
		if (match_name(l->patterns.v[i], name))
			return true;
	return false;
}

static bool
is_selected(const struct listing *l, const struct folder *f)
{
	unsigned by = l->selects & (LIST_SUBSCRIBED | LIST_SPECIAL);
	if (by == 0)
		return f->id != 0 || f->has_children;
	return (!(by & LIST_SUBSCRIBED) || f->subscribed) &&
	       (!(by & LIST_SPECIAL) || f->special.n > 0);
}

static bool
is_below(struct str name, struct str parent)
{
	return name.n > parent.n && name.p[parent.n] == FOLDERS_SEPARATOR &&
	       str_starts(name, parent);
}

/* Is anything below it selected; unseen: that no pattern matches? */
static bool
selects_below(const struct listing *l, size_t at, bool unseen)
{
	struct str parent = l->all.v[at].name;
	for (size_t i = at + 1; i < l->all.n; i++) {
		const struct folder *f = &l->all.v[i];
		/* INBOX stands before all, apart from what is below it */
		if (!is_below(f->name, parent) && at > 0)
			return false;
		if (is_below(f->name, parent) && is_selected(l, f) &&
			!(unseen && l->matches[i]))
			return true;
	}
	return false;
}

/* ----------------------------------------------------------------- sending */

static void
put_attribute(struct buf *out, struct str name)
{
	if (out->p[out->n - 1] != '(')
		buf_addc(out, ' ');
	buf_add(out, name);
}

static void
put_attributes(const struct listing *l, const struct folder *f, bool selected)
{
	struct buf *out = conn_out(l->s->conn);
	bool lsub = l->selects == (LIST_SUBSCRIBED | LIST_RECURSIVE) &&
		    !l->extended;
	if (f->id == 0 && (l->extended || (l->s->enabled & IMAP_REV2)))
		put_attribute(out, STR("\\NonExistent"));
	else if (f->id == 0 || (lsub && !selected))
		put_attribute(out, STR("\\Noselect"));
	put_attribute(out, f->has_children ? STR("\\HasChildren")
					   : STR("\\HasNoChildren"));
	if (f->subscribed && ((l->selects | l->returns) & LIST_SUBSCRIBED) &&
		!lsub)
		put_attribute(out, STR("\\Subscribed"));
	if (f->special.n > 0)
		put_attribute(out, f->special);
}

static void
put_child_info(const struct listing *l)
{
	struct buf *out = conn_out(l->s->conn);
	const char *before = "";
	buf_adds(out, " (\"CHILDINFO\" (");
	for (const struct option *o = selections; o->name != NULL; o++) {
		if (!(l->selects & o->bit) || o->bit == LIST_RECURSIVE ||
			o->bit == LIST_REMOTE)
			continue;
		buf_printf(out, "%s\"%s\"", before, o->name);
		before = " ";
	}
	buf_adds(out, "))");
}

static void
put_folder(const struct listing *l, size_t at, bool selected)
{
	struct buf *out = conn_out(l->s->conn);
	const struct folder *f = &l->all.v[at];
	buf_printf(out, "* %s (", l->word);
	put_attributes(l, f, selected);
	buf_printf(out, ") \"%c\" ", FOLDERS_SEPARATOR);
	view_put_name(l->s, out, f->name);
	if (l->extended && (l->selects & LIST_RECURSIVE) &&
		selects_below(l, at, !selected))
		put_child_info(l);
	buf_adds(out, "\r\n");
	conn_pace(l->s->conn);
}

static void
put_status(const struct listing *l, const struct folder *f)
{
	struct folder fresh;
	struct arena *a = l->s->transaction;
	struct arena_mark mark = arena_mark(a);
	if (f->id != 0 &&
		status_is_fine(folders_status(l->s->store, a, f->name, &fresh)))
		status_put(l->s, &fresh, l->items);
	arena_rewind(a, mark);
}

/* Somebody still listens.  Asking costs as much as a folder does whose STATUS
 * is not wanted. */
static bool
is_heard(const struct listing *l, size_t at)
{
	enum { FOLDERS_BETWEEN = 16 };
	bool quick = !(l->returns & LIST_STATUS);
	return (quick && at % FOLDERS_BETWEEN != 0) || conn_check(l->s->conn);
}

static struct imap_reply
send_list(struct listing *l)
{
	struct arena *a = l->s->transaction;
	struct status st = folders_list(l->s->store, a, &l->all);
	if (!status_is_fine(st))
		return reply_status(st);
	l->matches = arena_array(a, l->all.n, sizeof *l->matches);
	for (size_t i = 0; i < l->all.n && is_heard(l, i); i++)
		l->matches[i] = matches_any(l, l->all.v[i].name);
	for (size_t i = 0; i < l->all.n && is_heard(l, i); i++) {
		bool selected = is_selected(l, &l->all.v[i]);
		if (!l->matches[i] ||
			(!selected && (!(l->selects & LIST_RECURSIVE) ||
					      !selects_below(l, i, true))))
			continue;
		put_folder(l, i, selected);
		if (selected && (l->returns & LIST_STATUS))
			put_status(l, &l->all.v[i]);
	}
	if (conn_state(l->s->conn) != CONN_OPEN)
		return REPLY_INTERRUPTED;
	return REPLY_OK("That is all");
}

/* ---------------------------------------------------------------- commands */

/* LIST "" "" asks for the separator alone. */
static bool
asks_separator(const struct listing *l, const struct arg *pattern)
{
	struct str text;
	return !l->extended && pattern->next == NULL &&
	       arg_astring(pattern, &text) && text.n == 0;
}

struct imap_reply
imap_list(struct imap_session *s, const struct arg *args)
{
	struct listing l = {.s = s, .word = "LIST"};
	struct str reference;
	struct imap_reply wrong = REPLY_BAD("LIST reference pattern");
	if (args != NULL && args->kind == ARG_LIST) {
		if (!take_selections(&l, args))
			return REPLY_BAD("Unknown LIST selection");
		args = args->next;
	}
	if (!arg_astring(args, &reference) || args->next == NULL)
		return wrong;
	const struct arg *pattern = args->next;
	if (!take_returns(&l, pattern->next))
		return REPLY_BAD("Unknown LIST return option");
	if (asks_separator(&l, pattern)) {
		reply_untagged(s->conn, "LIST (\\Noselect) \"%c\" \"\"",
			FOLDERS_SEPARATOR);
		return REPLY_OK("That is all");
	}
	if (pattern->kind == ARG_LIST &&
		arg_count(pattern->first) > LIST_PATTERNS)
		return REPLY_NO("LIMIT", "Too many patterns at once");
	if (!take_patterns(&l, reference, pattern))
		return wrong;
	return send_list(&l);
}

struct imap_reply
imap_lsub(struct imap_session *s, const struct arg *args)
{
	struct listing l = {.s = s,
		.word = "LSUB",
		.selects = LIST_SUBSCRIBED | LIST_RECURSIVE};
	struct str reference, pattern;
	if (arg_count(args) != 2 || !arg_astring(args, &reference) ||
		!arg_astring(args->next, &pattern))
		return REPLY_BAD("LSUB reference pattern");
	take_patterns(&l, reference, args->next);
	return send_list(&l);
}
