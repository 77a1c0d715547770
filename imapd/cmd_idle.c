/* SPDX-License-Identifier: ISC */
/*
 * IDLE, RFC 2177: news as they happen.  Other sessions and the delivery agent
 * say so (store/notify.h), for foreign programs the directories are watched;
 * where no watch can be had, they are looked at every few seconds.
 */
#include "commands.h"
#include "view.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "store/notify.h"

enum {
	LOOK_MS = 2000, /* without a watch */
	/* Words that keep connections through address translation alive, not
	 * at the same moment for everybody. */
	ALIVE_MS = 240 * 1000,
	ALIVE_SPREAD_MS = 60 * 1000,
	/* How long a writer whose files were seen may take until it says that
	 * they count.  If nobody does, it was a foreign one; then one of many
	 * sessions takes them in, and that tells the others, who have the more
	 * patience.  Who is not told in the end looks for itself. */
	MOMENT_MS = 1,
	OTHERS_MS = 8,
	OTHERS_MOST_MS = 2000,
	DONE_MOST = 1000,
};

struct idling {
	struct imap_session *s;
	int fd; /* readable: there may be news; -1 */
	bool watched;
	int64_t until; /* RFC 3501 5.4 */
	int64_t alive; /* when to say so */
	/* How long until the next look at the directories; while something
	 * may hide there, sooner. */
	int64_t look, doubt;
	bool rested; /* memory was given back */
	/* What silence is to this one: of many who heard the same, the first
	 * has done what there is to do before the next one looks. */
	int64_t quiet;
};

static void
listen_for_news(struct idling *i)
{
	struct imap_session *s = i->s;
	i->fd = -1;
	if (s->mailbox == NULL)
		return;
	struct status st = notify_watch(
		s->mailbox, s->transaction, &i->fd, &i->watched);
	if (!status_is_fine(st))
		log_warn(s->id, "no-notify", LOG_STR("why", st.text));
}

static void
still_here(struct idling *i)
{
	int64_t spread = (int64_t)((uintptr_t)i->s >> 4) + clock_us();
	i->alive = clock_in(ALIVE_MS + spread % ALIVE_SPREAD_MS);
}

static int64_t
earliest(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* A change seen too early may hide another: look again soon, then later and
 * later. */
static void
tell(struct idling *i)
{
	struct imap_session *s = i->s;
	if (s->mailbox == NULL)
		return;
	struct arena_mark mark = arena_mark(s->transaction);
	view_news(s, true);
	arena_rewind(s->transaction, mark);
	i->look = i->watched ? ALIVE_MS : LOOK_MS;
	if (s->state == IMAP_CLOSED || !mailbox_is_unsure(s->mailbox)) {
		i->doubt = 0;
		return;
	}
	i->doubt = i->doubt == 0 ? MAILBOX_SOON
				 : earliest(i->doubt * 2, LOOK_MS);
	i->look = i->doubt;
}

/* Waits for whatever is first; quiet moments are used. */
static enum conn_wait
wait(struct idling *i)
{
	struct imap_session *s = i->s;
	bool tidy = s->mailbox != NULL && s->unsettled;
	int64_t until = earliest(i->until, i->alive);
	int64_t pause = tidy || !i->rested ? i->quiet : i->look;
	until = earliest(until, clock_in(earliest(pause, i->look)));
	enum conn_wait w = conn_wait(s->conn, i->fd, until);
	if (w != WAIT_DEADLINE)
		i->rested = false;
	else if (tidy)
		session_tidy(s);
	else if (!i->rested)
		session_rest(s);
	i->rested |= w == WAIT_DEADLINE && !tidy;
	return w;
}

/* For the word of a writer, for so long; false when there is something else to
 * be done now. */
static bool
await_word(struct idling *i, int64_t ms, unsigned *heard)
{
	struct imap_session *s = i->s;
	int64_t until = clock_in(ms);
	enum conn_wait w = WAIT_OTHER;
	while (!(*heard & NOTIFY_TOLD) && w == WAIT_OTHER) {
		w = conn_wait(s->conn, i->fd, until);
		if (w == WAIT_OTHER)
			*heard |= notify_drain(s->store);
	}
	return w == WAIT_DEADLINE;
}

/* When the turn of who had it is over and no word came, there was nothing to
 * tell, or he is dead. */
static void
hear(struct idling *i)
{
	struct imap_session *s = i->s;
	int64_t ms = OTHERS_MS, enough = clock_in(OTHERS_MOST_MS);
	unsigned heard = notify_drain(s->store);
	if (heard != NOTIFY_TOUCHED)
		return;
	if (notify_turn(s->store)) {
		await_word(i, MOMENT_MS, &heard);
	} else {
		while (await_word(i, ms + clock_us() % ms, &heard) &&
			clock_ms() < enough && !notify_turn(s->store))
			ms *= 2;
	}
	notify_pass(s->store);
}

/* Until there is input, or there will never be. */
static bool
wait_for_input(struct idling *i)
{
	struct imap_session *s = i->s;
	while (s->state != IMAP_CLOSED && clock_ms() < i->until) {
		enum conn_wait w = wait(i);
		if (w == WAIT_INPUT)
			return true;
		if (w == WAIT_CLOSED)
			return false;
		if (w == WAIT_OTHER)
			hear(i);
		if (w == WAIT_OTHER || i->doubt > 0 || !i->watched)
			tell(i);
		if (clock_ms() < i->alive)
			continue;
		reply_untagged(s->conn, "OK Still here");
		still_here(i);
	}
	if (s->state != IMAP_CLOSED)
		reply_untagged(s->conn, "BYE Idle for too long");
	return false;
}

/* The line that ends it; what is no DONE is not taken for a command either. */
static struct imap_reply
read_done(struct idling *i)
{
	struct str line;
	enum conn_line r = conn_line(i->s->conn, DONE_MOST, &line);
	if (r == LINE_NONE)
		return (struct imap_reply){.result = IMAP_SILENT};
	if (r == LINE_TOO_LONG || !str_eq_nocase(line, STR("DONE")))
		return REPLY_BAD("DONE expected");
	return REPLY_OK("Idled");
}

struct imap_reply
imap_idle(struct imap_session *s, const struct arg *args)
{
	struct idling i = {.s = s,
		.until = clock_in(s->conf->imap.timeout * 1000),
		.look = LOOK_MS,
		.quiet = IMAP_QUIET + clock_us() % IMAP_QUIET};
	struct imap_reply r = {.result = IMAP_SILENT};
	(void)args;
	conn_puts(s->conn, "+ idling\r\n");
	still_here(&i);
	listen_for_news(&i);
	tell(&i);
	if (wait_for_input(&i))
		r = read_done(&i);
	if (r.result == IMAP_SILENT)
		session_say_why(s);
	if (s->mailbox != NULL)
		notify_end(s->store);
	return r;
}
