/* SPDX-License-Identifier: ISC */
/*
 * `surat queue`: rows of the queue that fit a filter, shown or changed.  The
 * filter is the same for both; changing everything has to be said ("all").
 * The queue answers a page at a time; the next is asked for here.
 */
#include "ctl.h"
#include "base/arena.h"
#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* -------------------------------------------------------------- filters */

static int64_t
seconds(const char *text)
{
	int64_t n = 0;
	if (text != NULL && !clock_parse_duration(str_from(text), &n))
		ctl_fail(EX_USAGE, "--older needs a duration such as 90s, 5m, "
			"4h, 5d, not \"%s\"", text);
	return n;
}

/* Those of recipients that wait, or of those that are finished. */
static struct str
state(const char *text, bool history)
{
	static const char *const now[] = {"new", "due", "active", "deferred",
		"held", "delivered", "leaving", NULL};
	static const char *const then[] = {"delivered", "relayed", "forwarded",
		"failed", "expired", "deleted", "duplicate", NULL};
	const char *const *known = history ? then : now;
	for (size_t i = 0; text != NULL && known[i] != NULL; i++)
		if (strcmp(text, known[i]) == 0)
			return str_from(text);
	if (text != NULL)
		ctl_fail(EX_USAGE, "%s recipients are never \"%s\"; see --help",
			history ? "finished" : "queued", text);
	return STR("");
}

void
queue_filter(struct ctl *c, struct msg_queue_list *ask)
{
	const char *texts[6] = {NULL};
	bool history = false, content = false;
	int64_t limit = ask->limit;
	const struct option_row rows[] = {
		{"--sender", OPTION_TEXT, &texts[0], "ADDRESS",
			"of this sender; * is any text, here and below"},
		{"--rcpt", OPTION_TEXT, &texts[1], "ADDRESS",
			"to this recipient"},
		{"--domain", OPTION_TEXT, &texts[2], "DOMAIN",
			"to anybody in this domain"},
		{"--state", OPTION_TEXT, &texts[3], "STATE",
			"new, due, active, deferred, held, delivered, leaving; "
			"with --history: delivered, relayed, forwarded, "
			"failed, expired, deleted, duplicate"},
		{"--reply", OPTION_TEXT, &texts[4], "TEXT",
			"whose last reply has this in it"},
		{"--older", OPTION_TEXT, &texts[5], "TIME",
			"that came this long ago or earlier: 90s, 5m, 4h, 5d"},
		{"--larger", OPTION_NUMBER, &ask->larger, "OCTETS",
			"larger than this"},
		{"--limit", OPTION_NUMBER, &limit, "N",
			"at most so many"},
		{"--history", OPTION_FLAG, &history, NULL,
			"what is finished, not what is queued"},
		{"--content", OPTION_FLAG, &content, NULL,
			"the message itself too"},
	};
	ctl_options(c, rows, sizeof rows / sizeof *rows);
	ask->sender = str_from(texts[0]);
	ask->rcpt = str_from(texts[1]);
	ask->domain = str_from(texts[2]);
	ask->state = state(texts[3], history);
	ask->reply = str_from(texts[4]);
	ask->older = seconds(texts[5]);
	ask->limit = limit;
	ask->history = history;
	ask->content = content;
	if (c->argc > 0)
		ask->id = str_from(c->argv[0]);
}

/* ---------------------------------------------------------------- pages */

/* One page; false when fn wants no more.  next is where it goes on. */
static bool
read_page(struct ctl *c, struct message *ask, queue_fn fn, void *ctx,
	struct msg_done *end)
{
	struct arena *a = arena_new("page");
	struct arena_mark mark = arena_mark(a);
	int conversation = ctl_ask(c, "surat", "queue", ask);
	struct message m;
	bool more = true;
	for (; more; arena_rewind(a, mark)) {
		ctl_answer(a, conversation, &m);
		if (m.kind != MSG_queue_row && m.kind != MSG_queue_count)
			break;
		more = fn(ctx, &m);
	}
	close(conversation);
	*end = (struct msg_done){.status = STATUS(
		STATUS_NEVER, 5, 0, "The queue gave an unexpected answer")};
	if (!more)
		end->status = status_fine();
	else if (m.kind == MSG_done)
		*end = m.done;
	end->status.text = str_copy(c->arena, end->status.text);
	end->next = str_copy(c->arena, end->next);
	arena_free(a);
	return more;
}

int
queue_pages(struct ctl *c, const struct msg_queue_list *filter, queue_fn fn,
	void *ctx)
{
	struct message ask = MESSAGE(queue_list);
	struct msg_done end;
	ask.queue_list = *filter;
	do {
		if (!read_page(c, &ask, fn, ctx, &end))
			return EX_OK;
		ask.queue_list.after = end.next;
	} while (status_is_fine(end.status) && end.next.n > 0);
	return ctl_status(end.status);
}

/* --------------------------------------------------------------- showing */

void
queue_row_json(const struct msg_queue_row *r)
{
	const struct {
		const char *name;
		struct str value;
	} texts[] = {{"id", r->id}, {"sender", r->sender},
		{"origin", r->origin}, {"client", r->client},
		{"user", r->user}, {"session", r->session},
		{"message_id", r->message_id}, {"trace", r->trace},
		{"rcpt", r->rcpt}, {"orcpt", r->orcpt}, {"agent", r->agent},
		{"destination", r->destination}, {"state", r->state},
		{"reply", r->reply}, {"remote", r->remote},
		{"detail", r->detail}};
	const struct {
		const char *name;
		int64_t value;
	} numbers[] = {{"size", r->size}, {"arrival", r->arrival},
		{"accepted", r->accepted}, {"number", r->number},
		{"attempts", r->attempts}, {"last", r->last},
		{"next", r->next}, {"finished", r->finished},
		{"started", r->started}, {"took", r->took}};
	struct json_row *j = json_begin();
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		json_text(j, texts[i].name, texts[i].value);
	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
		json_number(j, numbers[i].name, numbers[i].value);
	json_end(j);
}

/* One line a message, one below it for each recipient. */
static void
row_short(struct arena *a, const struct msg_queue_row *r, bool first)
{
	struct str sender = text_safe(a, r->sender);
	bool later = r->finished == 0 && r->next > clock_wall();
	struct str next = !later ? STR("") :
		str_printf(a, "  next in %.*s",
			STR_ARG(text_duration(a, r->next - clock_wall())));
	if (first)
		printf("%.*s  %lld octets  %.*s  <%.*s>\n", STR_ARG(r->id),
			(long long)r->size, STR_ARG(text_time(a, r->arrival)),
			STR_ARG(sender));
	printf("    %-9.*s <%.*s>%.*s%s%.*s\n", STR_ARG(r->state),
		STR_ARG(text_safe(a, r->rcpt)), STR_ARG(next),
		r->reply.n > 0 ? "  " : "", STR_ARG(text_safe(a, r->reply)));
}

void
queue_row_long(struct arena *a, const struct msg_queue_row *r)
{
	const struct {
		const char *name;
		struct str value;
	} rows[] = {{"Recipient", r->rcpt}, {"Original", r->orcpt},
		{"State", r->state}, {"Agent", r->agent},
		{"Destination", r->destination},
		{"Attempts", str_printf(a, "%lld", (long long)r->attempts)},
		{"Last", text_time(a, r->last)},
		{"Next", text_time(a, r->next)},
		{"Finished", text_time(a, r->finished)},
		{"Reply", r->reply}, {"Remote", r->remote},
		{"Detail", r->detail}};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (rows[i].value.n > 0 && !str_eq(rows[i].value, STR("-")))
			printf("    %-12s %.*s\n", rows[i].name,
				STR_ARG(text_safe(a, rows[i].value)));
	putchar('\n');
}

void
queue_message_long(struct arena *a, const struct msg_queue_row *r)
{
	printf("%.*s from <%.*s>, %lld octets, %.*s by %.*s%s%.*s%s%.*s\n",
		STR_ARG(r->id), STR_ARG(text_safe(a, r->sender)),
		(long long)r->size, STR_ARG(text_time(a, r->arrival)),
		STR_ARG(text_safe(a, r->origin)), r->client.n > 0 ? " " : "",
		STR_ARG(text_safe(a, r->client)),
		r->user.n > 0 ? " as " : "", STR_ARG(text_safe(a, r->user)));
	if (r->message_id.n > 0)
		printf("    %-12s <%.*s>\n", "Message-ID",
			STR_ARG(text_safe(a, r->message_id)));
}

struct showing {
	struct ctl *ctl;
	bool whole;
	int64_t shown, limit;
	char last[64];
};

static bool
show_row(void *ctx, const struct message *m)
{
	struct showing *x = ctx;
	const struct msg_queue_row *r = &m->queue_row;
	struct arena *a = arena_new("row");
	bool first = !str_eq(r->id, str_from(x->last));
	snprintf(x->last, sizeof x->last, "%.*s", STR_ARG(r->id));
	if (x->ctl->json)
		queue_row_json(r);
	else if (!x->whole)
		row_short(a, r, first);
	if (!x->ctl->json && x->whole && first)
		queue_message_long(a, r);
	if (!x->ctl->json && x->whole)
		queue_row_long(a, r);
	arena_free(a);
	return ++x->shown != x->limit;
}

int
queue_list(struct ctl *c, const struct msg_queue_list *filter)
{
	struct showing x = {.ctl = c, .limit = filter->limit};
	int status = queue_pages(c, filter, show_row, &x);
	if (x.shown == 0 && status == EX_OK && !c->json)
		puts("nothing");
	return status;
}

static int
list(struct ctl *c)
{
	struct msg_queue_list ask = {.limit = 0};
	queue_filter(c, &ask);
	return queue_list(c, &ask);
}

/* -------------------------------------------------------------- one of it */

static int
copy_out(int fd)
{
	char block[65536];
	ssize_t n;
	while ((n = read(fd, block, sizeof block)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			ctl_fail(EX_IOERR, "content: %s", strerror(errno));
		fwrite(block, 1, (size_t)n, stdout);
	}
	return EX_OK;
}

static int
show_content(struct ctl *c, const struct msg_queue_list *filter)
{
	struct message ask = MESSAGE(queue_list), m;
	ask.queue_list = *filter;
	ctl_answer(c->arena, ctl_ask(c, "surat", "queue", &ask), &m);
	if (m.kind == MSG_done)
		return ctl_status(m.done.status);
	if (m.kind != MSG_opened)
		return EX_PROTOCOL;
	if (!status_is_fine(m.opened.status) || m.fd < 0)
		return ctl_status(m.opened.status);
	return copy_out(m.fd);
}

static int
show(struct ctl *c)
{
	struct msg_queue_list ask = {.limit = 0};
	struct showing x = {.ctl = c, .whole = true};
	queue_filter(c, &ask);
	if (c->argc != 1)
		ctl_fail(EX_USAGE, "show needs a queue id");
	if (ask.content != 0)
		return show_content(c, &ask);
	int status = queue_pages(c, &ask, show_row, &x);
	if (x.shown > 0 || status != EX_OK)
		return status;
	fprintf(stderr, "surat: nothing in the queue is %s%s\n", c->argv[0],
		ask.history ? "" : "; --history looks among the finished");
	return EX_NOTHING;
}

/* ------------------------------------------------------------- changing */

/* What both messages have in common, by name. */
static struct msg_queue_change
change_of(const struct msg_queue_list *l)
{
	return (struct msg_queue_change){.id = l->id, .sender = l->sender,
		.rcpt = l->rcpt, .domain = l->domain, .state = l->state,
		.reply = l->reply, .older = l->older, .larger = l->larger};
}

static int
say_changed(struct ctl *c, const char *verb, int64_t count)
{
	if (c->json) {
		struct json_row *j = json_begin();
		json_text(j, "verb", str_from(verb));
		json_number(j, "count", count);
		json_end(j);
	} else {
		printf("%lld recipients\n", (long long)count);
	}
	return count == 0 ? EX_NOTHING : EX_OK;
}

static int
change(struct ctl *c, const char *verb, struct msg_queue_change order)
{
	struct message ask = MESSAGE(queue_change), m;
	int64_t count = 0;
	ask.queue_change = order;
	ask.queue_change.verb = str_from(verb);
	if (str_eq(order.id, STR("all"))) {
		if (order.text.n == 0)
			ask.queue_change.text = STR("all");
		ask.queue_change.id = STR("");
	}
	do {
		int conversation = ctl_ask(c, "surat", "queue", &ask);
		ctl_answer(c->arena, conversation, &m);
		close(conversation);
		if (m.kind != MSG_done)
			return EX_PROTOCOL;
		count += m.done.count;
		ask.queue_change.after = m.done.next;
	} while (status_is_fine(m.done.status) && m.done.next.n > 0);
	if (!status_is_fine(m.done.status))
		return ctl_status(m.done.status);
	return say_changed(c, verb, count);
}

static int
change_with(struct ctl *c, const char *verb)
{
	struct msg_queue_list filter = {.limit = 0};
	queue_filter(c, &filter);
	return change(c, verb, change_of(&filter));
}

#define CHANGE(verb) \
	static int change_##verb(struct ctl *c) \
	{ \
		return change_with(c, #verb); \
	}
CHANGE(retry)
CHANGE(hold)
CHANGE(release)
CHANGE(delete)
CHANGE(expire)

static int
redirect(struct ctl *c)
{
	struct msg_queue_list filter = {.limit = 0};
	queue_filter(c, &filter);
	if (c->argc != 2)
		ctl_fail(EX_USAGE, "redirect needs a queue id, or all and a "
			"filter, and an address");
	struct msg_queue_change order = change_of(&filter);
	order.text = str_from(c->argv[1]);
	return change(c, "redirect", order);
}

int
ctl_queue(struct ctl *c)
{
	static const struct subcommand rows[] = {
		{"list", "[FILTER]... [--limit N] [--history] [--json]",
			"Shows recipients; --history those that are finished.",
			list, 1},
		{"show", "ID [--history] [--content] [--json]",
			"Shows all of one message, or its content.", show, 1},
		{"why", "ID", "Says what a message waits for.",
			queue_why, 1},
		{"counts", "[FILTER]... [--json]",
			"Counts recipients by destination and age.",
			queue_counts},
		{"top", "[--once] [--json]",
			"Shows what is being worked on, again and again.",
			queue_top},
		{"retry", "ID|all [FILTER]...", "Tries again at once.",
			change_retry, 1},
		{"hold", "ID|all [FILTER]...", "Keeps from being tried.",
			change_hold, 1},
		{"release", "ID|all [FILTER]...", "Ends a hold.",
			change_release, 1},
		{"delete", "ID|all [FILTER]...",
			"Deletes; nobody is told.", change_delete, 1},
		{"expire", "ID|all [FILTER]...",
			"Gives up; the sender is told.", change_expire, 1},
		{"redirect", "ID|all ADDRESS [FILTER]...",
			"Sends on to another address instead.", redirect, 2},
	};
	bool help = c->argc > 0 && str_eq(str_from(c->argv[0]), STR("--help"));
	if (c->argc == 0 || (c->argv[0][0] == '-' && !help))
		return list(c);
	return ctl_dispatch(c, "surat queue", rows,
		sizeof rows / sizeof *rows);
}
