/* SPDX-License-Identifier: ISC */
/*
 * `surat queue`: rows of the queue that fit a filter, shown or changed.  The
 * filter is the same for both; changing everything has to be said ("all").
 */
#include "ctl.h"
#include "base/arena.h"
#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct filter {
	const char *sender, *rcpt, *domain, *state, *reply, *older;
	int64_t larger, limit;
	bool history, content;
};

static int64_t
seconds(const char *text)
{
	int64_t n = 0;
	if (text != NULL && !clock_parse_duration(str_from(text), &n))
		ctl_fail(EX_USAGE, "--older needs a duration such as 90s, 5m, "
			"4h, 5d, not \"%s\"", text);
	return n;
}

/* What both messages have in common, by name. */
#define FILL(to, f, c) \
	do { \
		(to).sender = str_from((f).sender); \
		(to).rcpt = str_from((f).rcpt); \
		(to).domain = str_from((f).domain); \
		(to).state = str_from((f).state); \
		(to).reply = str_from((f).reply); \
		(to).older = seconds((f).older); \
		(to).larger = (f).larger; \
		(to).id = str_from((c)->argc > 0 ? (c)->argv[0] : NULL); \
	} while (0)

static void
take_filter(struct ctl *c, struct filter *f)
{
	const struct option_row rows[] = {
		{"--sender", OPTION_TEXT, &f->sender},
		{"--rcpt", OPTION_TEXT, &f->rcpt},
		{"--domain", OPTION_TEXT, &f->domain},
		{"--state", OPTION_TEXT, &f->state},
		{"--reply", OPTION_TEXT, &f->reply},
		{"--older", OPTION_TEXT, &f->older},
		{"--larger", OPTION_NUMBER, &f->larger},
		{"--limit", OPTION_NUMBER, &f->limit},
		{"--history", OPTION_FLAG, &f->history},
		{"--content", OPTION_FLAG, &f->content},
	};
	ctl_options(c, rows, sizeof rows / sizeof *rows);
	if (c->argc > 1)
		ctl_fail(EX_USAGE, "one queue id at a time");
}

/* --------------------------------------------------------------- showing */

static void
row_json(const struct msg_queue_row *r)
{
	const struct {
		const char *name;
		struct str value;
	} texts[] = {{"id", r->id}, {"sender", r->sender},
		{"origin", r->origin}, {"client", r->client},
		{"user", r->user}, {"rcpt", r->rcpt}, {"orcpt", r->orcpt},
		{"agent", r->agent}, {"destination", r->destination},
		{"state", r->state}, {"reply", r->reply},
		{"remote", r->remote}};
	const struct {
		const char *name;
		int64_t value;
	} numbers[] = {{"size", r->size}, {"arrival", r->arrival},
		{"number", r->number}, {"attempts", r->attempts},
		{"last", r->last}, {"next", r->next},
		{"finished", r->finished}};
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
	struct str next = r->next == 0 ? STR("") :
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

static void
row_long(struct arena *a, const struct msg_queue_row *r)
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
		{"Reply", r->reply}, {"Remote", r->remote}};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (rows[i].value.n > 0 && !str_eq(rows[i].value, STR("-")))
			printf("    %-12s %.*s\n", rows[i].name,
				STR_ARG(text_safe(a, rows[i].value)));
	putchar('\n');
}

static void
message_long(struct arena *a, const struct msg_queue_row *r)
{
	printf("%.*s from <%.*s>, %lld octets, %.*s by %.*s%s%.*s%s%.*s\n",
		STR_ARG(r->id), STR_ARG(text_safe(a, r->sender)),
		(long long)r->size, STR_ARG(text_time(a, r->arrival)),
		STR_ARG(text_safe(a, r->origin)), r->client.n > 0 ? " " : "",
		STR_ARG(text_safe(a, r->client)),
		r->user.n > 0 ? " as " : "", STR_ARG(text_safe(a, r->user)));
}

/* Shows rows until done; how many there were. */
static int64_t
show_rows(struct ctl *c, int conversation, bool long_form, int *status)
{
	struct arena *a = arena_new("row");
	struct arena_mark mark = arena_mark(a);
	struct message m;
	char last[64] = "";
	int64_t shown = 0;
	for (;; shown++, arena_rewind(a, mark)) {
		ctl_answer(a, conversation, &m);
		if (m.kind != MSG_queue_row)
			break;
		const struct msg_queue_row *r = &m.queue_row;
		bool first = !str_eq(r->id, str_from(last));
		snprintf(last, sizeof last, "%.*s", STR_ARG(r->id));
		if (c->json)
			row_json(r);
		else if (!long_form)
			row_short(a, r, first);
		if (!c->json && long_form && first)
			message_long(a, r);
		if (!c->json && long_form)
			row_long(a, r);
	}
	*status = m.kind == MSG_done ? ctl_status(m.done.status) : EX_PROTOCOL;
	arena_free(a);
	return shown;
}

int
queue_list(struct ctl *c, const struct msg_queue_list *filter)
{
	struct message ask = MESSAGE(queue_list);
	int status;
	ask.queue_list = *filter;
	int conversation = ctl_ask(c, "surat", "queue", &ask);
	int64_t n = show_rows(c, conversation, false, &status);
	if (n == 0 && status == EX_OK && !c->json)
		puts("nothing");
	return status;
}

static int
list(struct ctl *c)
{
	struct filter f = {0};
	struct msg_queue_list ask = {0};
	take_filter(c, &f);
	FILL(ask, f, c);
	ask.limit = f.limit;
	ask.history = f.history;
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
show_content(struct ctl *c, struct message *ask)
{
	struct message m;
	ask->queue_list.content = 1;
	ctl_answer(c->arena, ctl_ask(c, "surat", "queue", ask), &m);
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
	struct filter f = {0};
	struct message ask = MESSAGE(queue_list);
	int status;
	take_filter(c, &f);
	if (c->argc != 1)
		ctl_fail(EX_USAGE, "show needs a queue id");
	FILL(ask.queue_list, f, c);
	ask.queue_list.history = f.history;
	if (f.content)
		return show_content(c, &ask);
	int conversation = ctl_ask(c, "surat", "queue", &ask);
	if (show_rows(c, conversation, true, &status) > 0 || status != EX_OK)
		return status;
	fprintf(stderr, "surat: nothing in the queue is %s%s\n", c->argv[0],
		f.history ? "" : "; --history looks among the finished");
	return EX_NOTHING;
}

/* ------------------------------------------------------------- changing */

static int
change(struct ctl *c, const char *verb)
{
	struct filter f = {0};
	struct message ask = MESSAGE(queue_change), m;
	take_filter(c, &f);
	FILL(ask.queue_change, f, c);
	ask.queue_change.verb = str_from(verb);
	if (str_eq(ask.queue_change.id, STR("all"))) {
		ask.queue_change.text = STR("all");
		ask.queue_change.id = STR("");
	}
	ctl_answer(c->arena, ctl_ask(c, "surat", "queue", &ask), &m);
	if (m.kind != MSG_done)
		return EX_PROTOCOL;
	if (status_is_fine(m.done.status) && c->json) {
		struct json_row *j = json_begin();
		json_text(j, "verb", str_from(verb));
		json_number(j, "count", m.done.count);
		json_end(j);
	} else if (status_is_fine(m.done.status)) {
		printf("%lld recipients\n", (long long)m.done.count);
	}
	if (status_is_fine(m.done.status) && m.done.count == 0)
		return EX_NOTHING;
	return ctl_status(m.done.status);
}

#define CHANGE(verb) \
	static int change_##verb(struct ctl *c) \
	{ \
		return change(c, #verb); \
	}
CHANGE(retry)
CHANGE(hold)
CHANGE(release)
CHANGE(delete)
CHANGE(expire)

int
ctl_queue(struct ctl *c)
{
	static const struct subcommand rows[] = {
		{"list", "[FILTER]... [--limit N] [--history] [--json]",
			"Shows recipients; --history those that are finished.",
			list},
		{"show", "ID [--history] [--content] [--json]",
			"Shows all of one message, or its content.", show},
		{"retry", "ID|all [FILTER]...", "Tries again at once.",
			change_retry},
		{"hold", "ID|all [FILTER]...", "Keeps from being tried.",
			change_hold},
		{"release", "ID|all [FILTER]...", "Ends a hold.",
			change_release},
		{"delete", "ID|all [FILTER]...",
			"Deletes; nobody is told.", change_delete},
		{"expire", "ID|all [FILTER]...",
			"Gives up; the sender is told.", change_expire},
	};
	if (c->argc == 0 || c->argv[0][0] == '-')
		return list(c);
	return ctl_dispatch(c, "surat queue", rows,
		sizeof rows / sizeof *rows);
}
