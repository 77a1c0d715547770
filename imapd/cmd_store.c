/* SPDX-License-Identifier: ISC */
/*
 * STORE, RFC 3501 6.4.6, with UNCHANGEDSINCE (RFC 7162 3.1.3).
 */
#include "commands.h"
#include "flags.h"
#include "seqset.h"
#include "view.h"
#include "base/buf.h"

struct storing {
	struct uid_set uids;
	struct mailbox_store how;
	bool silent;
};

static const struct {
	const char *name;
	enum flag_change how;
	bool silent;
} forms[] = {
	{"FLAGS", FLAGS_REPLACE, false},
	{"FLAGS.SILENT", FLAGS_REPLACE, true},
	{"+FLAGS", FLAGS_ADD, false},
	{"+FLAGS.SILENT", FLAGS_ADD, true},
	{"-FLAGS", FLAGS_REMOVE, false},
	{"-FLAGS.SILENT", FLAGS_REMOVE, true},
};

static bool
take_form(struct storing *st, const struct arg *arg)
{
	for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
		if (!arg_is(arg, forms[i].name))
			continue;
		st->how.how = forms[i].how;
		st->silent = forms[i].silent;
		return true;
	}
	return false;
}

/* (UNCHANGEDSINCE n), before the form; who says so knows CONDSTORE. */
static bool
take_modifier(struct imap_session *s, struct storing *st,
	const struct arg **arg)
{
	const struct arg *word;
	struct str number;
	st->how.unchanged_since = UINT64_MAX;
	if (!arg_list(*arg, &word))
		return true;
	if (!arg_is(word, "UNCHANGEDSINCE") || arg_count(word) != 2 ||
		!arg_atom(word->next, &number) ||
		!str_number(number, INT64_MAX, &st->how.unchanged_since))
		return false;
	s->enabled |= IMAP_CONDSTORE;
	*arg = (*arg)->next;
	return true;
}

/* A list of flags, or flags without parentheses. */
static bool
take_flags(struct imap_session *s, struct storing *st, const struct arg *arg,
	const char **why)
{
	const struct arg *first = arg;
	struct flags flags;
	*why = "Flags expected";
	if (arg == NULL || (arg_list(arg, &first) && arg->next != NULL) ||
		!flags_parse(s->transaction, first, false, &flags, why))
		return false;
	st->how.flags = flags.bits;
	st->how.keywords = flags.keywords;
	return true;
}

static bool
take_arguments(struct imap_session *s, struct storing *st,
	const struct arg *args, struct imap_reply *why)
{
	const char *words = "STORE set FLAGS (flag ...)";
	const struct arg *arg = args == NULL ? NULL : args->next;
	if (args == NULL || !take_modifier(s, st, &arg) ||
		!take_form(st, arg) ||
		!take_flags(s, st, arg->next, &words)) {
		*why = (struct imap_reply){
			IMAP_BAD, STR(""), str_from(words)};
		return false;
	}
	return view_take_set(s, args, &st->uids, why);
}

/* RFC 7162 3.1.3: what was not changed, in the client's numbers. */
static struct imap_reply
reply_modified(struct imap_session *s, const struct uid_set *modified)
{
	struct buf *code = buf_new(s->transaction);
	struct uid_set set = *modified;
	if (!s->uid)
		set = view_seqs(s, modified);
	buf_adds(code, "MODIFIED ");
	seqset_print(&set, code);
	return (struct imap_reply){
		IMAP_OK, buf_str(code), STR("Some have changed")};
}

/* The client is told what it did, unless it said not to; of changes it made
 * silently only their modseq, when it keeps count of those. */
static struct status
tell(struct imap_session *s, const struct storing *st)
{
	view_tell_keywords(s);
	if (!st->silent)
		return view_put_rows(s, &st->uids, true);
	if (s->enabled & IMAP_CONDSTORE)
		return view_put_rows(s, &st->how.changed, false);
	return status_fine();
}

/* RFC 2180 4.2: what is gone has no flags; who wants to hear of those of such
 * messages alone hears NO. */
static struct imap_reply
reply_stored(struct imap_session *s, const struct storing *st)
{
	if (st->how.modified.n > 0)
		return reply_modified(s, &st->how.modified);
	if (st->how.met >= mailbox_count_in(s->mailbox, &st->uids))
		return REPLY_OK("Stored");
	if (st->how.met == 0 && !st->silent)
		return REPLY_NO("EXPUNGEISSUED", "All are gone");
	return REPLY(IMAP_OK, "EXPUNGEISSUED", "Some are gone");
}

struct imap_reply
imap_store(struct imap_session *s, const struct arg *args)
{
	struct storing st = {0};
	struct imap_reply why;
	if (!take_arguments(s, &st, args, &why))
		return why;
	struct status done = mailbox_store(
		s->mailbox, s->transaction, &st.uids, &st.how);
	if (status_is_fine(done)) {
		s->unsettled |= st.how.changed.n > 0;
		done = tell(s, &st);
	}
	if (!status_is_fine(done))
		return reply_status(done);
	return reply_stored(s, &st);
}
