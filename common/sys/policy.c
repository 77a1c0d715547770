/* SPDX-License-Identifier: ISC */
/* Words of a rule, taken off the front one by one. */
#include "sys/policy.h"
#include "base/arena.h"
#include "sys/net.h"
#include "sys/table_ref.h"

enum { VALUES_MOST = 100 };

static const struct {
	struct str name;
	enum policy_action action;
} actions[] = {
	{STR_INIT("accept"), POLICY_ACCEPT}, {STR_INIT("reject"), POLICY_REJECT},
	{STR_INIT("defer"), POLICY_DEFER}, {STR_INIT("hold"), POLICY_HOLD},
	{STR_INIT("redirect"), POLICY_REDIRECT},
};

static const struct {
	struct str name;
	enum policy_fact fact;
} facts[] = {
	{STR_INIT("client"), FACT_CLIENT}, {STR_INIT("helo"), FACT_HELO},
	{STR_INIT("reverse"), FACT_REVERSE}, {STR_INIT("sender"), FACT_SENDER},
	{STR_INIT("recipient"), FACT_RECIPIENT},
	{STR_INIT("authenticated"), FACT_AUTHENTICATED},
	{STR_INIT("tls"), FACT_TLS}, {STR_INIT("listed"), FACT_LISTED},
};

enum {
	ACTIONS = sizeof actions / sizeof *actions,
	FACTS = sizeof facts / sizeof *facts,
};

/* Takes the word off the front, when it is this one. */
static bool
take(struct str *rest, struct str want)
{
	struct str copy = *rest, word;
	if (!str_word(&copy, &word) || !str_eq_nocase(word, want))
		return false;
	*rest = copy;
	return true;
}

static const char *
check_client(struct str v)
{
	struct net_address any;
	struct str ip = str_head(v, str_find(v, '/'));
	if (table_ref_is(v) || (net_parse_ip(ip, 0, &any) &&
		(!str_has(v, '/') || net_within(&any, v))))
		return NULL;
	return "a client is an address, ADDRESS/BITS or a table";
}

static const char *
parse_values(struct arena *a, struct str s, struct policy_condition *c)
{
	struct table_ref ref;
	struct str piece;
	c->values.v = arena_array(a, VALUES_MOST, sizeof *c->values.v);
	/* A query may have commas: a SQLite table stands alone. */
	bool query = str_starts(str_trim(s), STR("sqlite:"));
	while (query ? s.n > 0 : str_cut(&s, ',', &piece)) {
		if (query) {
			piece = s;
			s = STR("");
		}
		piece = str_trim(piece);
		if (piece.n == 0)
			return "a value is missing";
		if (c->values.n == VALUES_MOST)
			return "too many values; use a table";
		if (table_ref_is(piece) && !table_ref_parse(piece, &ref))
			return "that is not how a table is named";
		const char *wrong = c->fact == FACT_CLIENT
			? check_client(piece) : NULL;
		if (wrong != NULL)
			return wrong;
		c->values.v[c->values.n++] = piece;
	}
	return c->values.n > 0 ? NULL : "a value is missing";
}

static const char *
parse_listed(struct str s, struct policy_condition *c)
{
	uint64_t n;
	c->least = 1;
	if (str_trim(s).n == 0)
		return NULL;
	if (!take(&s, STR("at")) || !take(&s, STR("least")) ||
		!str_number(str_trim(s), 1000000, &n))
		return "listed, or listed at least NUMBER";
	c->least = (int64_t)n;
	return NULL;
}

static const char *
parse_condition(struct arena *a, struct str s, struct policy_condition *c)
{
	size_t i = 0;
	*c = (struct policy_condition){.negated = take(&s, STR("not"))};
	while (i < FACTS && !take(&s, facts[i].name))
		i++;
	if (i == FACTS)
		return "a condition begins with client, helo, reverse, sender, "
			"recipient, authenticated, tls or listed";
	c->fact = facts[i].fact;
	if (c->fact == FACT_LISTED)
		return parse_listed(s, c);
	bool bare = str_trim(s).n == 0;
	if (c->fact == FACT_TLS)
		return bare ? NULL : "nothing comes behind tls";
	if (c->fact == FACT_AUTHENTICATED)
		return bare ? NULL : take(&s, STR("as"))
			? parse_values(a, s, c)
			: "authenticated, or authenticated as LIST";
	if (!take(&s, STR("is")) && !take(&s, STR("in")))
		return "is or in is missing";
	return parse_values(a, s, c);
}

static const char *
parse_conditions(struct arena *a, struct str s, struct policy_rule *r)
{
	for (;;) {
		size_t end = str_search(s, STR(" and "));
		if (r->count == POLICY_CONDITIONS)
			return "too many conditions";
		const char *wrong = parse_condition(
			a, str_head(s, end), &r->conditions[r->count++]);
		if (wrong != NULL || end == s.n)
			return wrong;
		s = str_skip(s, end + 5);
	}
}

static const char *
parse_action(struct str *rest, struct policy_rule *r)
{
	size_t i = 0;
	while (i < ACTIONS && !take(rest, actions[i].name))
		i++;
	if (i == ACTIONS)
		return "a rule begins with accept, reject, defer, hold or "
			"redirect";
	r->action = actions[i].action;
	if (r->action != POLICY_REDIRECT)
		return NULL;
	if (!take(rest, STR("to")) || !str_word(rest, &r->target) ||
		!str_has(r->target, '@'))
		return "redirect to ADDRESS";
	return NULL;
}

const char *
policy_parse(struct arena *a, struct str s, struct policy_rule *out)
{
	*out = (struct policy_rule){.source = str_trim(s)};
	s = out->source;
	/* "text:/file" and "::1" have no blank behind their colons. */
	size_t colon = str_search(s, STR(": "));
	if (str_ends(s, STR(":")))
		return "nothing stands behind the colon";
	out->text = str_trim(str_skip(s, colon + 1));
	if (colon == s.n)
		out->text = STR("");
	s = str_trim(str_head(s, colon));
	if (out->text.n > 400)
		return "that text is too long for a reply";
	for (size_t i = 0; i < out->text.n; i++)
		if ((unsigned char)out->text.p[i] < 0x20 ||
			(unsigned char)out->text.p[i] > 0x7e)
			return "the text must be plain ASCII";
	const char *wrong = parse_action(&s, out);
	if (wrong != NULL)
		return wrong;
	if (str_trim(s).n == 0)
		return NULL;
	return take(&s, STR("if")) ? parse_conditions(a, s, out)
				   : "if is missing before the condition";
}

/* ------------------------------------------------------------- patterns */

bool
policy_matches(struct str text, struct str pattern)
{
	size_t t = 0, p = 0, star = pattern.n, back = 0;
	while (t < text.n) {
		if (p < pattern.n && pattern.p[p] == '*') {
			star = p++;
			back = t;
		} else if (p < pattern.n && char_lower(pattern.p[p]) ==
			char_lower(text.p[t])) {
			p++;
			t++;
		} else if (star < pattern.n) {
			p = star + 1;
			t = ++back;
		} else {
			return false;
		}
	}
	while (p < pattern.n && pattern.p[p] == '*')
		p++;
	return p == pattern.n;
}
