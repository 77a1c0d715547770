/* SPDX-License-Identifier: ISC */
/*
 * The languages of delivery reports: a file of queue.report_templates for each,
 * or the words that are built in.  A file that changes is noticed before the
 * next report.  One with mistakes costs nobody a report: they are said, and the
 * last good words stay.
 */
#include "queue.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "mail/template.h"
#include "sys/watched.h"

#include <errno.h>
#include <unistd.h>

enum { LOOK_MS = 1000 };

struct language {
	struct str tag;
	struct watched file; /* no path: there are no files */
	struct arena *arena; /* of what was read last, or NULL */
};

/* What a file stands over: the same language, or English. */
static const struct template *
built_in(struct str tag)
{
	const struct template *t = template_builtin(tag);
	return t != NULL ? t : template_builtin(STR("en"));
}

/* The file's words, or NULL: it did not change, or is not good. */
static const struct template *
language_read(struct language *l, struct buf *errors)
{
	struct arena *a = arena_new("language");
	struct buf *text = buf_new(a);
	struct template *t = arena_one(a, struct template);
	bool first = l->file.changed == 0;
	bool good = false;
	*t = *built_in(l->tag);
	t->tag = l->tag;
	if (!watched_read(&l->file, text, first)) {
		if (first && access(l->file.path, F_OK) == 0) {
			buf_printf(errors, "%s: cannot be read\n",
				l->file.path);
			l->file.changed = 1; /* said once */
		}
	} else if (text->n > TEMPLATE_MOST) {
		buf_printf(errors, "%s: is too large\n", l->file.path);
	} else {
		good = template_parse(a, t, buf_str(text), l->file.path,
			errors);
	}
	errno = 0;
	if (!good) {
		arena_free(a);
		return NULL;
	}
	arena_free(l->arena);
	l->arena = a;
	return t;
}

static void
complain(const struct buf *errors)
{
	struct str rest = buf_str(errors), line;
	while (str_cut(&rest, '\n', &line))
		if (line.n > 0)
			log_error(LOG_NO_ID, "report-words",
				LOG_STR("why", line));
}

static void
refresh(struct queue *q, struct buf *errors)
{
	for (size_t i = 0; i < q->conf->queue.report_languages.n; i++) {
		struct language *l = &q->languages[i];
		const struct template *t = l->file.path == NULL
			? NULL : language_read(l, errors);
		if (t != NULL)
			q->words[i] = t;
	}
}

static void
add_language(struct queue *q, size_t i, struct buf *errors)
{
	const struct conf_queue *c = &q->conf->queue;
	struct language *l = &q->languages[i];
	l->tag = c->report_languages.v[i];
	q->words[i] = built_in(l->tag);
	if (c->report_templates.n > 0)
		l->file.path = str_cstr(q->arena, str_printf(q->arena,
			"%.*s/%.*s", STR_ARG(c->report_templates),
			STR_ARG(l->tag)));
	if (template_builtin(l->tag) == NULL &&
		(l->file.path == NULL || access(l->file.path, F_OK) != 0))
		buf_printf(errors, "queue.report_languages: %.*s is neither "
			"built in nor in queue.report_templates\n",
			STR_ARG(l->tag));
}

static void
open_all(struct queue *q, struct buf *errors)
{
	size_t n = q->conf->queue.report_languages.n;
	q->languages = arena_array(q->arena, n, sizeof *q->languages);
	q->words = arena_array(q->arena, n, sizeof *q->words);
	for (size_t i = 0; i < n; i++)
		add_language(q, i, errors);
	refresh(q, errors);
	q->words_looked = clock_ms();
}

void
language_open(struct queue *q)
{
	struct buf *errors = buf_new(q->arena);
	open_all(q, errors);
	complain(errors);
	errno = 0;
}

void
language_refresh(struct queue *q)
{
	if (clock_ms() - q->words_looked < LOOK_MS)
		return;
	struct arena *a = arena_new("languages");
	struct buf *errors = buf_new(a);
	refresh(q, errors);
	complain(errors);
	arena_free(a);
	q->words_looked = clock_ms();
}

struct str
language_check(struct program *p)
{
	struct queue q = {.arena = p->arena, .conf = p->conf};
	struct buf *errors = buf_new(p->arena);
	open_all(&q, errors);
	return buf_str(errors);
}
