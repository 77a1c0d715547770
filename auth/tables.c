/* SPDX-License-Identifier: ISC */
/*
 * The tables of the configuration: users, aliases, and whatever options name.
 * Text tables are edited by hand: noticed when they change, checked before
 * use; a broken one keeps the last good state and says so, once per change.
 */
#include "auth.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"

enum { ARENA_MOST = 512 << 20, TABLES_MOST = 200 };

static void
complain(const struct buf *errors)
{
	struct str rest = buf_str(errors), line;
	while (str_cut(&rest, '\n', &line))
		if (line.n > 0)
			log_error(LOG_NO_ID, "table-broken",
				LOG_STR("where", line));
}

static struct arena *
table_arena(void)
{
	struct arena *a = arena_new("table");
	arena_limit(a, ARENA_MOST);
	return a;
}

/* No file is an empty table, at the start.  One with mistakes in it, and no
 * good state to keep, might know anybody. */
static struct users *
no_users(struct arena *a, struct buf *errors)
{
	bool broken = errors->n > 0;
	struct users *u = users_parse(a, STR(""), "", STR("/"), errors);
	u->broken = broken;
	return u;
}

static struct aliases *
no_aliases(struct arena *a, struct buf *errors)
{
	bool broken = errors->n > 0;
	struct aliases *x = aliases_parse(a, STR(""), "", false, errors);
	x->broken = broken;
	return x;
}

static void
refresh_users(struct auth *x, bool first)
{
	struct arena *a = table_arena();
	struct buf *text = buf_new(a), *errors = buf_new(a);
	struct users *u = NULL;
	if (watched_read(&x->users_file, text, first)) {
		u = users_parse(a, buf_str(text), x->users_file.path,
			x->conf->general.mail, errors);
		complain(errors);
	}
	if (u == NULL && first)
		u = no_users(a, errors);
	if (u == NULL) {
		arena_free(a);
		return;
	}
	if (x->users != NULL)
		arena_free(x->users->arena);
	x->users = u;
	x->tables_read++;
	log_info(LOG_NO_ID, "users-read",
		LOG_NUM("users", map_count(u->by_name)));
}

static void
refresh_aliases(struct auth *x, bool first)
{
	struct arena *a = table_arena();
	struct buf *text = buf_new(a), *errors = buf_new(a);
	struct aliases *n = NULL;
	bool again = first || aliases_changed(x->aliases);
	if (watched_read(&x->aliases_file, text, again)) {
		n = aliases_parse(a, buf_str(text), x->aliases_file.path,
			x->conf->pipe.aliases, errors);
		complain(errors);
	}
	if (n == NULL && first)
		n = no_aliases(a, errors);
	if (n == NULL) {
		arena_free(a);
		return;
	}
	if (x->aliases != NULL)
		arena_free(x->aliases->arena);
	x->aliases = n;
	x->tables_read++;
}

/* ------------------------------------------------------ tables by option */

struct table *
tables_get(const struct auth *x, struct str ref)
{
	for (size_t i = 0; i < x->table_count; i++)
		if (str_eq(x->tables[i]->ref.whole, ref))
			return x->tables[i];
	return NULL;
}

static void
add_table(struct auth *x, struct str ref)
{
	struct table_ref form;
	if (!table_ref_parse(ref, &form) || tables_get(x, ref) != NULL)
		return;
	if (x->table_count == TABLES_MOST)
		fatal("too many tables", NULL);
	x->tables[x->table_count++] = table_new(
		x->arena, ref, x->conf->address.lookup_timeout * 1000);
}

static void
add_rules(struct auth *x)
{
	const struct str_list *rules = &x->conf->policy.rules;
	x->rules = arena_array(x->arena, rules->n, sizeof *x->rules);
	for (size_t i = 0; i < rules->n; i++) {
		struct policy_rule *r = &x->rules[i];
		policy_parse(x->arena, rules->v[i], r);
		for (size_t k = 0; k < r->count; k++)
			for (size_t v = 0; v < r->conditions[k].values.n; v++)
				add_table(x, r->conditions[k].values.v[v]);
	}
	x->rule_count = rules->n;
}

void
tables_open(struct auth *x)
{
	const struct conf_address *c = &x->conf->address;
	const struct str_list *const lists[] = {&c->virtual_domains,
		&c->alias_domains, &c->relay_domains, &c->relay_recipients,
		&c->aliases, &c->users, &c->senders};
	x->tables = arena_array(x->arena, TABLES_MOST, sizeof *x->tables);
	for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
		for (size_t k = 0; k < lists[i]->n; k++)
			add_table(x, lists[i]->v[k]);
	add_rules(x);
}

static void
refresh_all(struct auth *x, bool first)
{
	refresh_users(x, first);
	refresh_aliases(x, first);
	for (size_t i = 0; i < x->table_count; i++) {
		const void *before = x->tables[i]->content;
		table_refresh(x->tables[i]);
		x->tables_read += x->tables[i]->content != before;
	}
	x->tables_checked = clock_ms();
}

/* Also when nobody asks: a mistake is to be heard of soon, and of two changes
 * the first must not be missed. */
static void
check(void *ctx)
{
	struct auth *x = ctx;
	tables_refresh(x);
	loop_timer(x->loop, clock_in(TABLES_CHECK_MS), check, x);
}

void
tables_start(struct auth *x)
{
	x->users_file.path = str_cstr(x->arena, x->conf->general.users);
	x->aliases_file.path = str_cstr(x->arena, x->conf->general.aliases);
	refresh_all(x, true);
	if (x->loop != NULL)
		check(x);
}

/* An aliases file that is not there is none; users suratd looks for. */
void
tables_check(const struct auth *x, struct buf *errors)
{
	const struct conf_general *c = &x->conf->general;
	struct watched users = {.path = str_cstr(x->arena, c->users)};
	struct watched aliases = {.path = str_cstr(x->arena, c->aliases)};
	struct arena *a = table_arena();
	struct buf *text = buf_new(a);
	if (watched_read(&users, text, true))
		users_parse(a, buf_str(text), users.path, c->mail, errors);
	text = buf_new(a);
	if (watched_read(&aliases, text, true))
		aliases_parse(a, buf_str(text), aliases.path,
			x->conf->pipe.aliases, errors);
	for (size_t i = 0; i < x->table_count; i++) {
		struct table *t = x->tables[i];
		text = buf_new(a);
		if (t->kind->parse == NULL)
			continue;
		if (watched_read(&t->file, text, true))
			t->kind->parse(a, buf_str(text), t->file.path, errors);
		else
			buf_printf(errors, "%s: cannot be read\n",
				t->file.path);
	}
	arena_free(a);
}

void
tables_refresh(struct auth *x)
{
	if (clock_ms() - x->tables_checked >= TABLES_CHECK_MS)
		refresh_all(x, false);
}

bool
tables_look_again(struct auth *x)
{
	unsigned before = x->tables_read;
	refresh_all(x, false);
	return x->tables_read != before;
}
