/* SPDX-License-Identifier: ISC */
/*
 * aliases(5).  Addresses are never programs or files (reliability rule S6):
 * only a target that begins with a bar is a command, and only in the file that
 * the administrator writes.  A list kept by somebody else comes in by
 * ":include:/file", which is watched like the table itself.
 */
#include "auth.h"
#include "base/arena.h"
#include "base/buf.h"
#include "mail/target.h"

#include <errno.h>

enum { TARGETS_MOST = 10000, INCLUDE_DEPTH = 5, INCLUDES_MOST = 1000 };

struct parser {
	struct aliases *aliases;
	struct arena *arena;
	const char *name; /* of the file */
	struct buf *errors;
	struct str_list *list; /* being made */
	size_t cap;
	bool commands; /* may be targets here */
	bool failed;
};

static void
complain(struct parser *p, const char *name, int line, const char *what)
{
	buf_printf(p->errors, "%s:%d: %s\n", name, line, what);
	p->failed = true;
}

static const char *
check_target(struct str t)
{
	struct str bare = t;
	if (str_starts(bare, STR("\"")))
		bare = str_skip(bare, 1);
	if (target_is_command(t))
		return "a command cannot be a target here";
	if (str_starts(bare, STR("/")))
		return "a file cannot be a target";
	if (str_starts(bare, STR(":")))
		return ":include: must name a file, and cannot be used here";
	return NULL;
}

static const char *
add_target(struct parser *p, struct str t)
{
	struct str_list *l = p->list;
	if (l->n == TARGETS_MOST)
		return "too many targets";
	if (l->n == p->cap) {
		size_t cap = p->cap == 0 ? 4 : p->cap * 2;
		struct str *more = arena_array(p->arena, cap, sizeof *more);
		if (l->n > 0)
			memcpy(more, l->v, l->n * sizeof *more);
		l->v = more;
		p->cap = cap;
	}
	l->v[l->n++] = t;
	return NULL;
}

/* ------------------------------------------------------------ :include: */

static const char *include(struct parser *p, struct str path, int depth);

static const char *
add_targets(struct parser *p, struct str text, int depth)
{
	while (text.n > 0) {
		struct str t = target_take(&text);
		struct str bare = t;
		if (str_starts(t, STR("\"")) && str_ends(t, STR("\"")))
			bare = str_head(str_skip(t, 1), t.n - 2);
		const char *wrong = NULL;
		if (t.n == 0)
			continue;
		if (str_starts(bare, STR(":include:/")) && depth > 0)
			wrong = include(p, str_skip(bare, 9), depth - 1);
		else if (p->commands && depth == INCLUDE_DEPTH &&
			target_is_command(t))
			wrong = target_command(p->arena, t, &t) ? NULL :
				"that is no command: \"|command\"";
		else
			wrong = check_target(t);
		if (wrong == NULL && !str_starts(bare, STR(":include:")))
			wrong = add_target(p, t);
		if (wrong != NULL)
			return wrong;
	}
	return NULL;
}

/* Lines of an included file: addresses, comments, nothing that continues. */
static const char *
include(struct parser *p, struct str path, int depth)
{
	struct aliases *x = p->aliases;
	struct buf *text = buf_new(p->arena);
	if (x->include_count == INCLUDES_MOST)
		return "too many included files";
	struct watched *f = &x->includes[x->include_count++];
	f->path = str_cstr(p->arena, path);
	if (!watched_read(f, text, true))
		return "the included file cannot be read";
	struct str rest = buf_str(text), line;
	for (int n = 1; str_cut(&rest, '\n', &line); n++) {
		line = str_trim(line);
		if (line.n == 0 || line.p[0] == '#')
			continue;
		const char *wrong = add_targets(p, line, depth);
		if (wrong != NULL)
			complain(p, f->path, n, wrong);
	}
	return NULL;
}

/* -------------------------------------------------------------- entries */

static const char *
parse_entry(struct parser *p, struct str line, int number)
{
	struct str name;
	struct aliases *x = p->aliases;
	struct alias *entry = arena_one(p->arena, struct alias);
	if (!target_name(p->arena, &line, &name))
		return "a line is name: target, target";
	p->list = &entry->targets;
	p->cap = 0;
	bool before = p->failed;
	const char *wrong = add_targets(p, line, INCLUDE_DEPTH);
	if (wrong != NULL)
		return wrong;
	/* An empty list is one that nobody is on yet. */
	if (entry->targets.n == 0 && !str_has(line, ':') && before == p->failed)
		return "the alias has no target";
	if (map_get(x->by_name, name) != NULL)
		return "the alias stands here twice";
	entry->where = str_printf(p->arena, "%s:%d", p->name, number);
	map_set(x->by_name, name, entry);
	return NULL;
}

struct aliases *
aliases_parse(struct arena *a, struct str text, const char *name,
	bool commands, struct buf *errors)
{
	struct aliases *x = arena_one(a, struct aliases);
	struct parser p = {.aliases = x, .arena = a, .name = name,
		.commands = commands, .errors = errors};
	struct str entry;
	int line, next = 1;
	x->arena = a;
	x->by_name = map_new(a);
	x->includes = arena_array(a, INCLUDES_MOST, sizeof *x->includes);
	while (target_entry(a, &text, &entry, &line, &next)) {
		const char *wrong = parse_entry(&p, entry, line);
		if (wrong != NULL)
			complain(&p, name, line, wrong);
	}
	return p.failed ? NULL : x;
}

bool
aliases_targets(struct arena *a, struct str text, struct str_list *out)
{
	struct parser p = {.arena = a, .list = out};
	*out = (struct str_list){NULL, 0};
	return add_targets(&p, text, 0) == NULL && out->n > 0;
}

bool
aliases_changed(struct aliases *x)
{
	struct arena *a = arena_new("include");
	struct buf *text = buf_new(a);
	bool changed = false;
	for (size_t i = 0; i < x->include_count; i++)
		changed = watched_read(&x->includes[i], text, false) ||
			changed;
	arena_free(a);
	return changed;
}

const struct alias *
aliases_find(const struct aliases *x, struct str name)
{
	char lower[512];
	if (name.n > sizeof lower)
		return NULL;
	for (size_t i = 0; i < name.n; i++)
		lower[i] = char_lower(name.p[i]);
	return map_get(x->by_name, str_of(lower, name.n));
}
