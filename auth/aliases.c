/* SPDX-License-Identifier: ISC */
/* aliases(5).  Addresses are never programs or files here (reliability rule
 * S6); what asks for one is refused with its line. */
#include "auth.h"
#include "base/arena.h"
#include "base/buf.h"

enum { TARGETS_MOST = 1000 };

/* "name" or name, up to the colon. */
static bool
take_name(struct arena *a, struct str *line, struct str *name)
{
	struct str s = *line;
	if (str_starts(s, STR("\""))) {
		size_t end = str_find(str_skip(s, 1), '"');
		*name = str_head(str_skip(s, 1), end);
		s = str_trim(str_skip(s, end + 2));
		if (!str_starts(s, STR(":")))
			return false;
		*line = str_skip(s, 1);
	} else {
		size_t colon = str_find(s, ':');
		if (colon == s.n)
			return false;
		*name = str_trim(str_head(s, colon));
		*line = str_skip(s, colon + 1);
	}
	*name = str_lower(a, *name);
	return name->n > 0;
}

static struct str
take_target(struct str *rest)
{
	size_t i = 0;
	for (bool quoted = false; i < rest->n; i++) {
		if (rest->p[i] == '"')
			quoted = !quoted;
		else if (rest->p[i] == ',' && !quoted)
			break;
	}
	struct str target = str_trim(str_head(*rest, i));
	*rest = str_skip(*rest, i + 1);
	return target;
}

static const char *
check_target(struct str t)
{
	struct str bare = t;
	if (str_starts(bare, STR("\"")))
		bare = str_skip(bare, 1);
	if (str_starts(bare, STR("|")))
		return "a command cannot be a target";
	if (str_starts(bare, STR("/")))
		return "a file cannot be a target";
	if (str_starts(bare, STR(":")))
		return ":include: and the like cannot be targets";
	return NULL;
}

static const char *
parse_entry(struct aliases *x, struct str line)
{
	struct str name;
	struct str_list *list = arena_one(x->arena, struct str_list);
	if (!take_name(x->arena, &line, &name))
		return "a line is name: target, target";
	size_t most = 1;
	for (size_t i = 0; i < line.n; i++)
		most += line.p[i] == ',';
	list->v = arena_array(x->arena, most, sizeof *list->v);
	while (line.n > 0) {
		struct str target = take_target(&line);
		if (target.n == 0)
			continue;
		const char *wrong = check_target(target);
		if (wrong != NULL)
			return wrong;
		if (list->n == TARGETS_MOST)
			return "too many targets";
		list->v[list->n++] = target;
	}
	if (list->n == 0)
		return "the alias has no target";
	if (map_get(x->by_name, name) != NULL)
		return "the alias stands here twice";
	map_set(x->by_name, name, list);
	return NULL;
}

static bool
continues(struct str text)
{
	return text.n > 0 && (text.p[0] == ' ' || text.p[0] == '\t');
}

struct aliases *
aliases_parse(struct arena *a, struct str text, const char *name,
	struct buf *errors)
{
	struct aliases *x = arena_one(a, struct aliases);
	struct str line, more;
	bool ok = true;
	x->arena = a;
	x->by_name = map_new(a);
	for (int n = 1; str_cut(&text, '\n', &line);) {
		int first = n++;
		struct buf *whole = buf_new(a);
		if (!str_starts(line, STR("#")))
			buf_add(whole, line);
		while (text.p != NULL && continues(text) &&
			str_cut(&text, '\n', &more)) {
			buf_add(whole, more);
			n++;
		}
		struct str entry = str_trim(buf_str(whole));
		if (entry.n == 0)
			continue;
		const char *wrong = parse_entry(x, entry);
		if (wrong == NULL)
			continue;
		buf_printf(errors, "%s:%d: %s\n", name, first, wrong);
		ok = false;
	}
	return ok ? x : NULL;
}

const struct str_list *
aliases_find(const struct aliases *x, struct str name)
{
	char lower[512];
	if (name.n > sizeof lower)
		return NULL;
	for (size_t i = 0; i < name.n; i++)
		lower[i] = char_lower(name.p[i]);
	return map_get(x->by_name, str_of(lower, name.n));
}
