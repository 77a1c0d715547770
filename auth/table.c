/* SPDX-License-Identifier: ISC */
/* Files that change.  What is in them, and everything that is no file, is the
 * kinds' business. */
#include "table.h"
#include "base/arena.h"
#include "base/log.h"

enum { ARENA_MOST = 512 << 20 };

static const struct table_kind *const kinds[] = {&table_text,
	&table_passwd, &table_cidr,
	&table_pcre, &table_sqlite, &table_socketmap};

struct str
table_where(struct arena *a, const struct table *t, int line)
{
	return str_printf(a, "%.*s:%d", STR_ARG(t->ref.path), line);
}

struct table *
table_new(struct arena *a, struct str ref, int64_t timeout)
{
	struct table *t = arena_one(a, struct table);
	t->arena = a;
	t->timeout = timeout;
	table_ref_parse(ref, &t->ref);
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		if (kinds[i]->type == t->ref.type)
			t->kind = kinds[i];
	t->file.path = str_cstr(a, t->ref.path);
	return t;
}

static void
complain(const struct buf *errors)
{
	struct str rest = buf_str(errors), line;
	while (str_cut(&rest, '\n', &line))
		if (line.n > 0)
			log_error(LOG_NO_ID, "table-broken",
				LOG_STR("where", line));
}

static void
refresh_file(struct table *t)
{
	struct arena *a = arena_new("table");
	struct buf *text = buf_new(a), *errors = buf_new(a);
	void *content = NULL;
	bool first = t->content_arena == NULL && t->file.changed == 0;
	arena_limit(a, ARENA_MOST);
	if (watched_read(&t->file, text, first))
		content = t->kind->parse(
			a, buf_str(text), t->file.path, errors);
	else if (first && t->content == NULL) {
		buf_printf(errors, "%s: cannot be read", t->file.path);
		t->file.changed = 1; /* said once */
	}
	complain(errors);
	if (content == NULL) {
		arena_free(a);
		return;
	}
	arena_free(t->content_arena);
	t->content_arena = a;
	t->content = content;
	log_info(LOG_NO_ID, "table-read", LOG_STR("table", t->ref.whole));
}

void
table_refresh(struct table *t)
{
	if (t->kind->parse != NULL)
		refresh_file(t);
	else if (t->content == NULL)
		t->content = t->kind->open(t);
}

enum table_result
table_find(struct table *t, struct arena *a, struct str key,
	struct table_value *out)
{
	*out = (struct table_value){.where = t->ref.whole};
	if (t->content == NULL && t->kind->open != NULL)
		t->content = t->kind->open(t);
	if (t->content == NULL)
		return TABLE_LATER;
	/* No grammar of ours has these, and every other one has its own use
	 * for them (reliability rule S8). */
	for (size_t i = 0; i < key.n; i++)
		if ((unsigned char)key.p[i] < 0x20 || key.p[i] == 0x7f)
			return TABLE_NONE;
	return t->kind->find(t, a, key, out);
}
