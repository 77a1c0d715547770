/* SPDX-License-Identifier: ISC */
/*
 * Addresses to recipients.  For an address in one of our domains, in this
 * order: an alias, the user, both again without the extension, the domain's
 * catch-all alias ("@domain"), postmaster.  Expansion is a work list with what
 * was seen, so that aliases that lead in a circle end.
 *
 * A table that cannot be asked makes the answer "later", never "unknown".
 */
#include "auth.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/log.h"
#include "mail/address.h"
#include "mail/charset.h"
#include "sys/hop.h"

enum { FINAL_MOST = 1000, STEPS_MOST = 10000, REASONS_MOST = 500 };

void
lookup_why(struct lookup *l, const char *fmt, ...)
{
	va_list ap;
	if (l->why == NULL || l->why->n == REASONS_MOST)
		return;
	if (l->why->v == NULL)
		l->why->v = arena_array(
			l->arena, REASONS_MOST, sizeof(struct str));
	va_start(ap, fmt);
	l->why->v[l->why->n++] = str_vprintf(l->arena, fmt, ap);
	va_end(ap);
}

bool
lookup_table(struct lookup *l, const struct str_list *refs, struct str key,
	struct table_value *out)
{
	for (size_t i = 0; i < refs->n; i++) {
		struct table *t = tables_get(l->auth, refs->v[i]);
		if (t == NULL)
			continue;
		enum table_result r = table_find(t, l->arena, key, out);
		if (r == TABLE_FOUND)
			return true;
		if (r == TABLE_LATER) {
			l->later = true;
			lookup_why(l, "%.*s: cannot be asked now",
				STR_ARG(refs->v[i]));
		}
	}
	return false;
}

/* A local part in UTF-8 may be composed in several ways; one of them is ours
 * (RFC 6532 3.1). */
static void
parse(struct lookup *l, struct str text, struct address *out)
{
	if (!address_parse(l->arena, text, true, out))
		*out = (struct address){.local = text};
	if (out->utf8)
		out->local = charset_nfc(l->arena, out->local);
}

/* --------------------------------------------------------------- domains */

static bool
same_domain(struct lookup *l, struct str one, struct str other)
{
	return str_eq_nocase(one, other) || str_eq_nocase(
		address_to_ascii(l->arena, one), other);
}

static bool
is_listed(struct lookup *l, const struct str_list *domains, struct str domain)
{
	struct table_value v;
	for (size_t i = 0; i < domains->n; i++)
		if (same_domain(l, domains->v[i], domain))
			return true;
	if (!lookup_table(l, domains, domain, &v))
		return false;
	l->domain_where = v.where;
	return true;
}

enum domain_class
lookup_domain(struct lookup *l, struct str domain)
{
	const struct auth *x = l->auth;
	const struct conf_address *c = &x->conf->address;
	l->domain_where = STR("");
	/* U-labels and A-labels are one domain (RFC 5890).  What has no A-label
	 * is no domain, and not ours because nothing is left of it. */
	bool named = domain.n > 0;
	domain = address_to_ascii(l->arena, domain);
	if (named && domain.n == 0)
		return DOMAIN_ELSEWHERE;
	for (size_t i = 0; i < x->conf->general.domains.n; i++)
		if (same_domain(l, x->conf->general.domains.v[i], domain))
			return DOMAIN_LOCAL;
	if (domain.n == 0 || str_eq_nocase(domain, x->program->hostname) ||
		str_eq_nocase(domain, STR("localhost")))
		return DOMAIN_LOCAL;
	if (is_listed(l, &c->virtual_domains, domain))
		return DOMAIN_VIRTUAL;
	if (is_listed(l, &c->alias_domains, domain))
		return DOMAIN_ALIAS;
	if (is_listed(l, &c->relay_domains, domain))
		return DOMAIN_RELAY;
	return DOMAIN_ELSEWHERE;
}

static const char *
class_text(enum domain_class class)
{
	static const char *const texts[] = {
		[DOMAIN_ELSEWHERE] = "is elsewhere",
		[DOMAIN_LOCAL] = "is local",
		[DOMAIN_VIRTUAL] = "is virtual, with mailboxes",
		[DOMAIN_ALIAS] = "has aliases only",
		[DOMAIN_RELAY] = "is relayed",
	};
	return texts[class];
}

/* --------------------------------------------------------- users, aliases */

static struct str
joined(struct arena *a, struct str local, struct str domain)
{
	return str_printf(a, "%.*s@%.*s", STR_ARG(local), STR_ARG(domain));
}

/* In the users table, else in one of the further ones, whose values are the
 * rest of a users line. */
static const struct user *
user_named(struct lookup *l, struct str name)
{
	struct user *u = users_find(l->auth->users, name);
	struct table_value v;
	l->later = l->later || (u == NULL && l->auth->users->broken);
	if (u != NULL ||
		!lookup_table(l, &l->auth->conf->address.users, name, &v))
		return u;
	u = arena_one(l->arena, struct user);
	struct str line = str_printf(
		l->arena, "%.*s:%.*s", STR_ARG(name), STR_ARG(v.text));
	const char *wrong = users_parse_line(
		l->arena, line, l->auth->conf->general.mail, u);
	u->rest = v.text;
	if (wrong == NULL)
		return u;
	log_error(LOG_NO_ID, "table-broken", LOG_STR("where", v.where),
		LOG_STR("key", name), LOG_CSTR("why", wrong));
	l->later = true;
	return NULL;
}

static bool
has_mbox(const struct lookup *l, const struct user *u)
{
	return l->auth->mbox_gid.n > 0 && !str_eq(u->ids, STR("-"));
}

/* "name@domain" has its own line, or the name alone stands for every local
 * domain. */
static const struct user *
find_user(struct lookup *l, enum domain_class class, struct str local,
	struct str domain)
{
	const struct user *u = NULL;
	if (domain.n > 0)
		u = user_named(l, joined(l->arena, local, domain));
	if (u == NULL && class == DOMAIN_LOCAL)
		u = user_named(l, local);
	if (u != NULL)
		lookup_why(l, "user %.*s, mail in %s%.*s", STR_ARG(u->name),
			has_mbox(l, u) ? "an mbox in " : "",
			STR_ARG(has_mbox(l, u) ? l->auth->conf->general.mbox
					       : u->home));
	return u;
}

static const struct str_list *
alias_named(struct lookup *l, struct str name)
{
	const struct alias *x = aliases_find(l->auth->aliases, name);
	struct str_list *targets = arena_one(l->arena, struct str_list);
	struct table_value v;
	struct str where;
	l->later = l->later || (x == NULL && l->auth->aliases->broken);
	if (x != NULL) {
		*targets = x->targets;
		where = x->where;
	} else if (!lookup_table(l, &l->auth->conf->address.aliases, name,
		&v)) {
		return NULL;
	} else if (!aliases_targets(l->arena, v.text, targets)) {
		log_error(LOG_NO_ID, "table-broken", LOG_STR("where", v.where),
			LOG_STR("key", name),
			LOG_CSTR("why", "that is no list of targets"));
		l->later = true;
		return NULL;
	} else {
		where = v.where;
	}
	if (l->why != NULL)
		lookup_why(l, "%.*s: %.*s -> %.*s", STR_ARG(where),
			STR_ARG(name), STR_ARG(str_join(
				l->arena, *targets, STR(", "))));
	return targets;
}

static const struct str_list *
find_alias(struct lookup *l, enum domain_class class, struct str local,
	struct str domain)
{
	const struct str_list *targets = NULL;
	if (domain.n > 0)
		targets = alias_named(l, joined(l->arena, local, domain));
	if (targets == NULL && class == DOMAIN_LOCAL)
		targets = alias_named(l, local);
	return targets;
}

const struct user *
lookup_login(struct lookup *l, struct str name)
{
	const struct user *u = user_named(l, name);
	size_t at = str_find_last(name, '@');
	if (u == NULL && at < name.n && lookup_domain(l,
		str_skip(name, at + 1)) == DOMAIN_LOCAL)
		u = user_named(l, str_head(name, at));
	return u;
}

/* ----------------------------------------------------------- resolving */

struct found {
	const struct str_list *targets;
	const struct user *user;
	bool relayed;
};

static bool
find_as(struct lookup *l, enum domain_class class, struct str local,
	struct str domain, bool no_alias, struct found *out)
{
	out->targets = no_alias ? NULL : find_alias(l, class, local, domain);
	if (out->targets == NULL && class != DOMAIN_ALIAS &&
		class != DOMAIN_RELAY)
		out->user = find_user(l, class, local, domain);
	return out->targets != NULL || out->user != NULL;
}

/* The tables may have the domain in either form. */
static bool
find_exact(struct lookup *l, enum domain_class class, struct str local,
	struct str domain, bool no_alias, struct found *out)
{
	struct str other = address_to_ascii(l->arena, domain);
	if (str_eq(other, domain))
		other = address_to_unicode(l->arena, domain);
	return find_as(l, class, local, domain, no_alias, out) ||
		(!str_eq(other, domain) && other.n > 0 &&
			find_as(l, class, local, other, no_alias, out));
}

/* "mary-ann+list" may be mary-ann's or mary's: the longest name that exists
 * wins, whichever of the separators comes first. */
static bool
find_base(struct lookup *l, enum domain_class class,
	const struct address *addr, bool no_alias, struct found *out)
{
	struct str separators = l->auth->conf->general.plus;
	for (size_t n = addr->local.n; n-- > 1;)
		if (str_has(separators, addr->local.p[n]) &&
			n + 1 < addr->local.n &&
			find_exact(l, class, str_head(addr->local, n),
				addr->domain, no_alias, out))
			return true;
	return false;
}

static bool
is_relayed(struct lookup *l, const struct address *addr)
{
	const struct str_list *tables =
		&l->auth->conf->address.relay_recipients;
	struct table_value v;
	if (tables->n == 0)
		return true;
	if (!lookup_table(l, tables, address_text(l->arena, addr), &v) &&
		!lookup_table(l, tables, joined(l->arena, STR(""),
			addr->domain), &v))
		return false;
	lookup_why(l, "%.*s: is there", STR_ARG(v.where));
	return true;
}

static bool
find_any(struct lookup *l, enum domain_class class,
	const struct address *addr, bool no_alias, struct found *out)
{
	*out = (struct found){.user = NULL};
	if (find_exact(l, class, addr->local, addr->domain, no_alias, out) ||
		find_base(l, class, addr, no_alias, out))
		return true;
	if (addr->domain.n > 0 && !no_alias)
		out->targets = alias_named(
			l, joined(l->arena, STR(""), addr->domain));
	if (out->targets == NULL && class == DOMAIN_RELAY)
		out->relayed = is_relayed(l, addr);
	return out->targets != NULL || out->relayed;
}

bool
lookup_is_postmaster(struct str local)
{
	return str_eq_nocase(local, STR("postmaster")) ||
		str_eq_nocase(local, STR("abuse"));
}

static struct status
unknown(struct lookup *l)
{
	l->unknown = true;
	return STATUS(STATUS_NEVER, 1, 1, "There is no such user here");
}

static struct status
not_now(void)
{
	return STATUS(STATUS_LATER, 3, 0, "A table cannot be asked now");
}

/* The first by name: always the same. */
static const struct user *
first_user(const struct auth *x)
{
	const struct user *first = NULL;
	struct str key;
	void *u;
	size_t cursor = 0;
	while (map_next(x->users->by_name, &cursor, &key, &u))
		if (first == NULL || str_cmp(key, first->name) < 0)
			first = u;
	return first;
}

/* Postmaster always has a reader (RFC 5321 4.5.1): the user or alias of that
 * name, whatever the domain, else whom the configuration names, else the
 * first user there is. */
static bool
find_postmaster(struct lookup *l, struct found *out)
{
	const struct auth *x = l->auth;
	struct address addr = {.local = STR("postmaster")};
	if (find_any(l, DOMAIN_LOCAL, &addr, false, out))
		return true;
	if (!address_parse(l->arena, x->conf->general.postmaster, true, &addr))
		addr = (struct address){.local = x->conf->general.postmaster};
	if (!str_eq_nocase(addr.local, STR("postmaster")) &&
		find_any(l, lookup_domain(l, addr.domain), &addr, false, out))
		return true;
	out->user = first_user(x);
	if (out->user != NULL)
		lookup_why(l, "postmaster is read by %.*s",
			STR_ARG(out->user->name));
	return out->user != NULL;
}

static bool
find_somebody(struct lookup *l, enum domain_class class,
	const struct address *addr, bool no_alias, struct found *out)
{
	return find_any(l, class, addr, no_alias, out) ||
		(class != DOMAIN_RELAY && lookup_is_postmaster(addr->local) &&
			find_postmaster(l, out));
}

struct status
lookup_rcpt(struct lookup *l, struct str text, enum domain_class *class,
	const struct user **user)
{
	struct address addr;
	struct found f;
	*user = NULL;
	parse(l, text, &addr);
	*class = lookup_domain(l, addr.domain);
	lookup_why(l, "%.*s%s%.*s %s", STR_ARG(l->domain_where),
		l->domain_where.n > 0 ? ": " : "", STR_ARG(addr.domain),
		class_text(*class));
	if (*class == DOMAIN_ELSEWHERE)
		return l->later ? not_now() : status_fine();
	if (find_somebody(l, *class, &addr, false, &f)) {
		*user = f.user;
		return status_fine();
	}
	return l->later ? not_now() : unknown(l);
}

/* ----------------------------------------------------------- expansion */

struct addresses {
	struct str *v;
	size_t n, cap;
};

/* A name as it was come upon. */
struct step {
	struct step *next; /* come upon after it */
	struct step *first; /* of this name; NULL: "\\name", or not looked at */
	struct step *again; /* of the next that was come upon again */
	struct step *up; /* see is_in_circle */
	struct str text;
	struct address addr;
	struct step *targets; /* of the alias: count in a row */
	size_t count, round;
	bool repeated;
};

struct expansion {
	struct lookup *l;
	struct map *seen; /* users and commands */
	struct map *steps; /* the first of each name */
	struct step *all, **last, **next; /* to be looked at: from *next on */
	struct step *repeated, **more; /* not looked at again yet */
	size_t count, looked, round;
	struct addresses nobody; /* that are none of ours */
	struct msg_route_result *out;
	size_t first; /* of its own in there */
	size_t room; /* in its lists */
	bool too_many;
	bool nowhere; /* a name leads to itself and is nobody */
};

enum { COLUMNS = 6 };

static void
columns(struct msg_route_result *o, struct str_list *lists[COLUMNS])
{
	struct str_list *all[COLUMNS] = {
		&o->agent, &o->address, &o->user, &o->home, &o->ids,
		&o->command};
	memcpy(lists, all, sizeof all);
}

static void
make_room(struct expansion *e)
{
	struct str_list *lists[COLUMNS];
	size_t n = e->out->agent.n;
	if (n < e->room)
		return;
	e->room = n == 0 ? 4 : n * 2;
	columns(e->out, lists);
	for (size_t i = 0; i < COLUMNS; i++) {
		struct str *more = arena_array(
			e->l->arena, e->room, sizeof *more);
		if (n > 0)
			memcpy(more, lists[i]->v, n * sizeof *more);
		lists[i]->v = more;
	}
}

static void
add_address(struct arena *a, struct addresses *to, struct str address)
{
	if (to->n == to->cap) {
		to->cap = to->cap == 0 ? 16 : to->cap * 2;
		struct str *more = arena_array(a, to->cap, sizeof *more);
		if (to->n > 0)
			memcpy(more, to->v, to->n * sizeof *more);
		to->v = more;
	}
	to->v[to->n++] = address;
}

static void
want(struct expansion *e, struct str address)
{
	struct step *s = arena_one(e->l->arena, struct step);
	s->text = address;
	*e->last = s;
	e->last = &s->next;
	e->count++;
}

/* Where mail for an address goes.  The rest is empty where it means nothing
 * (route_result). */
struct final {
	struct str agent, address, user, home, ids, command;
};

static void
add_final(struct expansion *e, const struct final *f)
{
	struct msg_route_result *o = e->out;
	size_t n = o->agent.n;
	e->too_many = e->too_many || n - e->first == FINAL_MOST;
	if (e->too_many)
		return;
	make_room(e);
	o->agent.v[n] = f->agent;
	o->address.v[n] = f->address;
	o->user.v[n] = f->user;
	o->home.v[n] = f->home;
	o->ids.v[n] = f->ids;
	o->command.v[n] = f->command;
	o->agent.n = o->address.n = o->user.n = o->home.n = o->ids.n =
		o->command.n = n + 1;
}

/* Who has an mbox is delivered to as the user, with the group that may make
 * its file and its lock (Debian policy 11.6). */
static struct str
delivery_ids(struct lookup *l, const struct user *u)
{
	struct str gid = l->auth->mbox_gid;
	if (!has_mbox(l, u))
		return u->ids;
	return str_printf(l->arena, "%.*s:%.*s",
		STR_ARG(str_head(u->ids, str_find(u->ids, ':'))),
		STR_ARG(gid));
}

static void
add_user(struct expansion *e, struct str address, const struct user *u)
{
	struct str key = str_printf(
		e->l->arena, "\\%.*s", STR_ARG(u->name));
	const struct final f = {STR("local"), address, u->name, u->home,
		delivery_ids(e->l, u), STR("")};
	if (map_get(e->seen, key) == NULL)
		add_final(e, &f);
	map_set(e->seen, key, e);
}

/* Of an alias: it runs as the agent's own user, who owns nothing. */
static void
add_command(struct expansion *e, struct str address, struct str command)
{
	const struct final f = {STR("pipe"), address, STR(""), STR(""),
		STR("-"), command};
	if (map_get(e->seen, command) == NULL)
		add_final(e, &f);
	map_set(e->seen, command, e);
}

/* To another server, or to the command that stands in for one. */
static void
add_elsewhere(struct expansion *e, struct str address)
{
	struct lookup *l = e->l;
	struct final f = {STR("remote"), address, STR(""), STR(""), STR(""),
		STR("")};
	if (!rule_pipe(l->auth->conf->remote.transports, address,
		&f.command)) {
		lookup_why(l, "%.*s goes to another server",
			STR_ARG(address));
		add_final(e, &f);
		return;
	}
	const struct pipe_user *u = pipes_find(l->auth, f.command);
	lookup_why(l, "%.*s goes to the command %.*s", STR_ARG(address),
		STR_ARG(f.command));
	if (u == NULL) {
		lookup_why(l, "whose user does not exist");
		l->later = true;
		return;
	}
	f.agent = STR("pipe");
	f.ids = u->ids;
	f.home = u->home;
	add_final(e, &f);
}

/* A target that begins with a bar came from an alias; an address as a client
 * names it may begin so too. */
static void
want_targets(struct expansion *e, struct str address,
	const struct str_list *targets)
{
	for (size_t i = 0; i < targets->n; i++)
		if (str_starts(targets->v[i], STR("|")))
			add_command(e, address, targets->v[i]);
		else
			want(e, targets->v[i]);
}

/* False: that is nobody. */
static bool
lead_on(struct expansion *e, struct step *s, bool no_alias)
{
	struct lookup *l = e->l;
	struct found f;
	struct str normal = address_text(l->arena, &s->addr);
	enum domain_class class = lookup_domain(l, s->addr.domain);
	bool found = class != DOMAIN_ELSEWHERE &&
		find_somebody(l, class, &s->addr, no_alias, &f);
	if (class == DOMAIN_ELSEWHERE || (found && f.relayed)) {
		add_elsewhere(e, normal);
	} else if (!found) {
		l->unknown = true;
		return false;
	} else if (f.user != NULL) {
		add_user(e, normal, f.user);
	} else {
		struct step **first = e->last;
		size_t before = e->count;
		want_targets(e, normal, f.targets);
		s->targets = *first;
		s->count = e->count - before;
	}
	return true;
}

static void
add_nobody(struct expansion *e, const struct step *s)
{
	struct arena *a = e->l->arena;
	add_address(a, &e->nobody, address_text(a, &s->addr));
}

static void
look_at(struct expansion *e, struct step *s)
{
	struct lookup *l = e->l;
	/* "\name": that very user, whatever aliases say. */
	bool no_alias = str_starts(s->text, STR("\\"));
	parse(l, str_skip(s->text, no_alias), &s->addr);
	struct str key = str_lower(l->arena, address_text(l->arena, &s->addr));
	struct step *before = no_alias ? NULL : map_get(e->steps, key);
	if (!no_alias)
		s->first = before == NULL ? s : before;
	if (s->first == s)
		map_set(e->steps, key, s);
	if (before == NULL) {
		if (!lead_on(e, s, no_alias))
			add_nobody(e, s);
	} else if (!before->repeated) {
		before->repeated = true;
		*e->more = before;
		e->more = &before->again;
	}
}

/* Does an alias lead back to its own name? */
static bool
is_in_circle(struct expansion *e, struct step *from)
{
	struct step *open = from;
	from->up = NULL;
	e->round++;
	while (open != NULL) {
		struct step *t = open->targets;
		size_t n = open->count;
		open = open->up;
		for (; n-- > 0; t = t->next) {
			if (t->first == from)
				return true;
			if (t->first == NULL || t->first->round == e->round)
				continue;
			t->first->round = e->round;
			t->first->up = open;
			open = t->first;
		}
	}
	return false;
}

/* An alias that leads to itself means the user of that name, too; one that two
 * others lead to means nothing more. */
static void
look_at_repeated(struct expansion *e)
{
	struct step *s = e->repeated;
	e->repeated = NULL;
	e->more = &e->repeated;
	for (; s != NULL; s = s->again)
		if (is_in_circle(e, s) && !lead_on(e, s, true))
			e->nowhere = true;
}

/* Where that is nobody, others of the circle may be somebody: root's mail is
 * postmaster's, postmaster's is root's. */
static void
break_circles(struct expansion *e)
{
	for (struct step *s = e->all; s != NULL && s != *e->next; s = s->next)
		if (s->first == s && is_in_circle(e, s))
			lead_on(e, s, true);
}

/* All or nobody: a part would be lost without a word. */
static struct status
too_many(struct str address)
{
	log_error(LOG_NO_ID, "alias-too-large", LOG_STR("address", address),
		LOG_NUM("most", FINAL_MOST));
	return STATUS(STATUS_LATER, 4, 6,
		"The alias leads to too many recipients");
}

static void
follow(struct expansion *e)
{
	while (*e->next != NULL && e->looked < STEPS_MOST) {
		struct step *s = *e->next;
		e->next = &s->next;
		e->looked++;
		look_at(e, s);
		if (*e->next == NULL)
			look_at_repeated(e);
	}
	e->too_many = e->too_many || *e->next != NULL;
	if (e->nowhere)
		break_circles(e);
}

/* Adds an address's final recipients to those of others; returns how it went
 * with this one.  Who is nobody stands last, and beside somebody. */
static struct status
expand(struct lookup *l, struct str address, struct msg_route_result *out,
	size_t *room)
{
	struct expansion e = {.l = l, .seen = map_new(l->arena),
		.steps = map_new(l->arena), .out = out,
		.first = out->agent.n, .room = *room};
	struct str_list *lists[COLUMNS];
	e.last = e.next = &e.all;
	e.more = &e.repeated;
	want(&e, address);
	follow(&e);
	bool somebody = out->agent.n > e.first;
	for (size_t i = 0; somebody && i < e.nobody.n; i++)
		add_final(&e, &(struct final){.agent = STR("nobody"),
			.address = e.nobody.v[i]});
	*room = e.room;
	if (l->later || e.too_many) {
		columns(out, lists);
		for (size_t i = 0; i < COLUMNS; i++)
			lists[i]->n = e.first;
		return l->later ? not_now() : too_many(address);
	}
	if (somebody)
		return status_fine();
	return e.nobody.n > 0 ? unknown(l) : STATUS(STATUS_NEVER, 4, 6,
		"The alias leads in a circle");
}

void
lookup_route(struct lookup *l, struct str address,
	struct msg_route_result *out)
{
	size_t room = 0;
	out->status = expand(l, address, out, &room);
}

void
lookup_routes(struct lookup *l, struct str_list addresses,
	struct msg_routes_result *out)
{
	struct arena *a = l->arena;
	struct msg_route_result all = {.status = status_fine()};
	size_t room = 0, n = addresses.n;
	out->status = (struct str_list){
		arena_array(a, n, sizeof(struct str)), n};
	out->finals = (struct str_list){
		arena_array(a, n, sizeof(struct str)), n};
	for (size_t i = 0; i < n; i++) {
		size_t before = all.agent.n;
		l->later = false;
		struct status s = expand(l, addresses.v[i], &all, &room);
		out->status.v[i] = status_format(a, s);
		out->finals.v[i] = str_printf(
			a, "%zu", all.agent.n - before);
	}
	out->agent = all.agent;
	out->address = all.address;
	out->user = all.user;
	out->home = all.home;
	out->ids = all.ids;
	out->command = all.command;
}
