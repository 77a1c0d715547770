/* SPDX-License-Identifier: ISC */
/*
 * Fuzz entry of auth's tables, users, aliases, text and cidr, and of rules: the
 * first octet picks which.  A table is taken whole or not at all, and then
 * nothing in it can leave the mail root or run a program.
 */
#include "auth/auth.h"
#include "base/arena.h"
#include "base/buf.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* A home that nobody wrote down: one or two directories below the root. */
static void
check_home(struct str home, struct str root)
{
	struct str piece;
	home = str_skip(home, root.n + 1);
	assert(home.n > 0);
	while (str_cut(&home, '/', &piece))
		assert(piece.n > 0 && piece.p[0] != '.');
}

static void
check_user(const struct users *t, struct str name, const struct user *u,
	const struct user *elsewhere)
{
	assert(str_eq(u->name, name) && users_find(t, name) == u);
	assert(name.n > 0 && !str_has(name, '/') && !str_has(name, '\n'));
	assert(str_starts(u->home, STR("/")));
	assert(u->ids.n > 0 && !str_starts(u->ids, STR("0:")));
	if (!str_eq(u->home, elsewhere->home))
		check_home(u->home, STR("/mail"));
}

/* With another root, only homes of our making are elsewhere. */
static void
check_users(struct arena *a, struct str text)
{
	struct buf *errors = buf_new(a);
	struct users *t = users_parse(a, text, "users", STR("/mail"), errors);
	struct users *other = users_parse(a, text, "users", STR("/x"), errors);
	struct str name;
	void *u;
	assert((t == NULL) == (errors->n > 0));
	for (size_t at = 0; t != NULL && map_next(t->by_name, &at, &name, &u);)
		check_user(t, name, u, users_find(other, name));
}

static void
check_aliases(struct arena *a, struct str text, bool commands)
{
	struct buf *errors = buf_new(a);
	struct aliases *t = aliases_parse(
		a, text, "aliases", commands, errors);
	struct str name;
	void *v;
	assert((t == NULL) == (errors->n > 0));
	for (size_t at = 0; t != NULL && map_next(t->by_name, &at, &name, &v);) {
		const struct alias *x = v;
		const struct str_list *list = &x->targets;
		assert(list->n <= 10000);
		assert(name.n > 0 && (name.n > 512 ||
			aliases_find(t, name) == x));
		for (size_t i = 0; i < list->n; i++)
			assert(list->v[i].n > 0 &&
				(commands || list->v[i].p[0] != '|') &&
				list->v[i].p[0] != '/' &&
				list->v[i].p[0] != ':' &&
				!str_has(list->v[i], '\n'));
	}
}

static void
check_both(struct arena *a, struct str text)
{
	check_aliases(a, text, false);
	check_aliases(a, text, true);
}

static void
check_table(struct arena *a, const struct table_kind *kind, struct str text,
	struct str key)
{
	struct buf *errors = buf_new(a);
	struct table t = {.kind = kind, .ref = {.path = STR("/x")}};
	struct table_value v;
	t.content = kind->parse(a, text, "table", errors);
	assert((t.content == NULL) == (errors->n > 0));
	if (table_find(&t, a, key, &v) == TABLE_FOUND)
		assert(!str_has(v.text, '\n') &&
			str_starts(v.where, STR("/x:")));
}

/* What was understood is understood again from its source. */
static void
check_rule(struct arena *a, struct str text)
{
	struct policy_rule r, again;
	if (policy_parse(a, text, &r) != NULL)
		return;
	assert(policy_parse(a, r.source, &again) == NULL);
	assert(r.count == again.count && r.action == again.action);
	assert(r.count <= POLICY_CONDITIONS && str_eq(r.text, again.text));
	for (size_t i = 0; i < r.count; i++)
		for (size_t k = 0; k < r.conditions[i].values.n; k++)
			policy_matches(text, r.conditions[i].values.v[k]);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct arena *a = arena_new("fuzz");
	struct str text = str_skip(str_of(data, n), 1);
	unsigned kind = n > 0 ? data[0] % 5 : 0;
	if (kind == 0)
		check_both(a, text);
	else if (kind == 1)
		check_users(a, text);
	else if (kind == 2)
		check_table(a, &table_text, text, str_head(text, 5));
	else if (kind == 3)
		check_table(a, &table_cidr, text, STR("192.0.2.1"));
	else
		check_rule(a, text);
	arena_free(a);
	return 0;
}
