/* SPDX-License-Identifier: ISC */
/*
 * Tables that are files: text, passwd, cidr, pcre.  A line is a key, blanks, and the
 * value, which may be empty where only membership counts.  A line that begins
 * with a blank continues the one before; # begins a comment.
 */
#define PCRE2_CODE_UNIT_WIDTH 8

#include "table.h"
#include "base/arena.h"
#include "base/map.h"
#include "sys/net.h"

#include <pcre2.h>

enum { KEY_MOST = 512, GROUPS_MOST = 20, MATCH_MOST = 20000,
	HEAP_KIB_MOST = 1024 };

/* ---------------------------------------------------------------- lines */

struct line {
	struct str text;
	int number;
};

/* The next entry, its continuations joined; false at the end. */
static bool
next_line(struct arena *a, struct str *rest, int *number, struct line *out)
{
	struct str line;
	while (str_cut(rest, '\n', &line)) {
		int first = ++*number;
		struct buf *whole = NULL;
		if (str_starts(line, STR("#")) || str_trim(line).n == 0)
			continue;
		out->text = str_trim(line);
		while (rest->n > 0 && (rest->p[0] == ' ' ||
			rest->p[0] == '\t') && str_cut(rest, '\n', &line)) {
			++*number;
			if (whole == NULL) {
				whole = buf_new(a);
				buf_add(whole, out->text);
			}
			buf_addc(whole, ' ');
			buf_add(whole, str_trim(line));
			out->text = buf_str(whole);
		}
		out->number = first;
		return true;
	}
	return false;
}

static void
complain(struct buf *errors, const char *name, int line, const char *what)
{
	buf_printf(errors, "%s:%d: %s\n", name, line, what);
}

/* ----------------------------------------------------------------- text */

struct text_row {
	struct str value;
	int line;
};

/* Up to the first blank outside quotes. */
static struct str
take_key(struct str *line)
{
	size_t i = 0;
	for (bool quoted = false; i < line->n; i++) {
		char c = line->p[i];
		if (c == '"')
			quoted = !quoted;
		else if (c == '\\' && quoted)
			i++;
		else if ((c == ' ' || c == '\t') && !quoted)
			break;
	}
	struct str key = str_head(*line, i);
	*line = str_trim(str_skip(*line, i));
	/* "key: value" and "key value" are the same. */
	if (key.n > 1 && key.p[key.n - 1] == ':')
		key.n--;
	return key;
}

static void *
text_parse(struct arena *a, struct str text, const char *name,
	struct buf *errors)
{
	struct map *m = map_new(a);
	struct line l;
	int number = 0;
	size_t before = errors->n;
	while (next_line(a, &text, &number, &l)) {
		struct str value = l.text;
		struct str key = str_lower(a, take_key(&value));
		struct text_row *r = arena_one(a, struct text_row);
		if (key.n > KEY_MOST)
			complain(errors, name, l.number, "the key is too long");
		else if (map_get(m, key) != NULL)
			complain(errors, name, l.number,
				"the key stands here twice");
		*r = (struct text_row){value, l.number};
		map_set(m, key, r);
	}
	return errors->n == before ? m : NULL;
}

static enum table_result
text_find(struct table *t, struct arena *a, struct str key,
	struct table_value *out)
{
	const struct text_row *r = map_get(t->content, str_lower(a, key));
	if (r == NULL)
		return TABLE_NONE;
	out->text = str_copy(a, r->value);
	out->where = table_where(a, t, r->line);
	return TABLE_FOUND;
}

const struct table_kind table_text = {
	.type = TABLE_TEXT, .parse = text_parse, .find = text_find};

/* --------------------------------------------------------------- passwd */

/* People have ids from here on; what is below, and nobody, is the system's. */
enum { PEOPLE_FIRST = 1000, PEOPLE_LAST = 59999 };

/* passwd(5) is a table of users but for whom it lists.  It is not ours: what
 * we cannot read in it is nobody. */
static void *
passwd_parse(struct arena *a, struct str text, const char *name,
	struct buf *errors)
{
	struct map *m = map_new(a);
	struct str line, key, rest, secret, uid;
	uint64_t id;
	(void)name, (void)errors;
	for (int n = 1; str_cut(&text, '\n', &line); n++) {
		rest = line;
		str_cut(&rest, ':', &key);
		struct str value = rest;
		/* the password is in the shadow file: PAM may know it */
		if (str_starts(rest, STR("x:")))
			value = str_printf(a, "{PAM}%.*s",
				STR_ARG(str_skip(rest, 1)));
		if (!str_cut(&rest, ':', &secret) ||
			!str_cut(&rest, ':', &uid) ||
			!str_number(uid, PEOPLE_LAST, &id) ||
			id < PEOPLE_FIRST || key.n == 0 || key.n > KEY_MOST)
			continue;
		struct text_row *r = arena_one(a, struct text_row);
		*r = (struct text_row){value, n};
		map_set(m, str_lower(a, key), r);
	}
	return m;
}

const struct table_kind table_passwd = {
	.type = TABLE_PASSWD, .parse = passwd_parse, .find = text_find};

/* ----------------------------------------------------------------- cidr */

struct cidr_row {
	struct str network, value;
	int line;
	struct cidr_row *next;
};

static bool
is_network(struct str s)
{
	struct net_address any;
	return net_parse_ip(str_head(s, str_find(s, '/')), 0, &any) &&
		(!str_has(s, '/') || net_within(&any, s));
}

struct cidr {
	struct cidr_row *first;
};

static void *
cidr_parse(struct arena *a, struct str text, const char *name,
	struct buf *errors)
{
	struct cidr *c = arena_one(a, struct cidr);
	struct cidr_row **last = &c->first;
	struct line l;
	int number = 0;
	size_t before = errors->n;
	while (next_line(a, &text, &number, &l)) {
		struct cidr_row *r = arena_one(a, struct cidr_row);
		struct str value = l.text;
		str_word(&value, &r->network);
		r->value = str_trim(value);
		r->line = l.number;
		if (!is_network(r->network))
			complain(errors, name, l.number,
				"a line is ADDRESS or ADDRESS/BITS and a value");
		*last = r;
		last = &r->next;
	}
	return errors->n == before ? c : NULL;
}

static enum table_result
cidr_find(struct table *t, struct arena *a, struct str key,
	struct table_value *out)
{
	const struct cidr *c = t->content;
	struct net_address n;
	if (!net_parse_ip(key, 0, &n))
		return TABLE_NONE;
	for (const struct cidr_row *r = c->first; r != NULL; r = r->next) {
		if (!net_within(&n, r->network))
			continue;
		out->text = str_copy(a, r->value);
		out->where = table_where(a, t, r->line);
		return TABLE_FOUND;
	}
	return TABLE_NONE;
}

const struct table_kind table_cidr = {
	.type = TABLE_CIDR, .parse = cidr_parse, .find = cidr_find};

/* ----------------------------------------------------------------- pcre */

struct pcre_row {
	pcre2_code *code;
	struct str value;
	int line;
	struct pcre_row *next;
};

struct pcre {
	struct pcre_row *first;
	pcre2_match_context *context;
	pcre2_match_data *data;
};

static void
free_pcre(void *ctx)
{
	struct pcre *p = ctx;
	for (struct pcre_row *r = p->first; r != NULL; r = r->next)
		pcre2_code_free(r->code);
	pcre2_match_data_free(p->data);
	pcre2_match_context_free(p->context);
}

/* What a stranger can make an expression do has an end. */
static struct pcre *
new_pcre(struct arena *a)
{
	struct pcre *p = arena_one(a, struct pcre);
	p->context = pcre2_match_context_create(NULL);
	p->data = pcre2_match_data_create(GROUPS_MOST, NULL);
	pcre2_set_match_limit(p->context, MATCH_MOST);
	pcre2_set_depth_limit(p->context, MATCH_MOST);
	pcre2_set_heap_limit(p->context, HEAP_KIB_MOST);
	arena_hook(a, free_pcre, p);
	return p;
}

/* "/expression/flags value", with any mark that is no letter for the slash. */
static const char *
parse_expression(struct pcre_row *r, struct str line)
{
	static const struct {
		char letter;
		uint32_t flips;
	} flags[] = {{'i', PCRE2_CASELESS}, {'m', PCRE2_MULTILINE},
		{'s', PCRE2_DOTALL}, {'x', PCRE2_EXTENDED}};
	uint32_t options = PCRE2_CASELESS | PCRE2_DOTALL | PCRE2_NEVER_UTF;
	char mark = line.p[0];
	size_t end = 1;
	while (end < line.n && line.p[end] != mark)
		end += line.p[end] == '\\' ? 2 : 1;
	if (end >= line.n)
		return "a line is /expression/flags and a value";
	struct str source = str_head(str_skip(line, 1), end - 1);
	line = str_skip(line, end + 1);
	for (; line.n > 0 && line.p[0] != ' ' && line.p[0] != '\t';
		line = str_skip(line, 1)) {
		size_t i = 0;
		while (i < 4 && flags[i].letter != line.p[0])
			i++;
		if (i == 4)
			return "flags are i, m, s and x";
		options ^= flags[i].flips;
	}
	int error;
	PCRE2_SIZE at;
	r->value = str_trim(line);
	r->code = pcre2_compile((PCRE2_SPTR)source.p, source.n, options,
		&error, &at, NULL);
	return r->code == NULL ? "that expression cannot be understood" : NULL;
}

static void *
pcre_parse(struct arena *a, struct str text, const char *name,
	struct buf *errors)
{
	struct pcre *p = new_pcre(a);
	struct pcre_row **last = &p->first;
	struct line l;
	int number = 0;
	size_t before = errors->n;
	while (next_line(a, &text, &number, &l)) {
		struct pcre_row *r = arena_one(a, struct pcre_row);
		const char *wrong = parse_expression(r, l.text);
		r->line = l.number;
		if (wrong != NULL)
			complain(errors, name, l.number, wrong);
		*last = r;
		last = &r->next;
	}
	return errors->n == before ? p : NULL;
}

/* $1 to $9 and ${1} are what the groups caught; $$ is a dollar. */
static struct str
fill_in(struct arena *a, const struct pcre *p, struct str key, int groups,
	struct str value)
{
	const PCRE2_SIZE *at = pcre2_get_ovector_pointer(p->data);
	struct buf *out = buf_new(a);
	for (size_t i = 0; i < value.n; i++) {
		bool brace = i + 3 < value.n && value.p[i + 1] == '{' &&
			value.p[i + 3] == '}';
		char c = i + 1 < value.n ? value.p[i + (brace ? 2 : 1)] : 0;
		if (value.p[i] != '$' || (c != '$' && (c < '1' || c > '9'))) {
			buf_addc(out, value.p[i]);
			continue;
		}
		i += brace ? 3 : 1;
		int g = c - '0';
		if (c == '$')
			buf_addc(out, '$');
		else if (g < groups && at[2 * g] != PCRE2_UNSET)
			buf_add(out, str_of(key.p + at[2 * g],
				at[2 * g + 1] - at[2 * g]));
	}
	return out->n == 0 ? STR("") : buf_str(out);
}

static enum table_result
pcre_find(struct table *t, struct arena *a, struct str key,
	struct table_value *out)
{
	const struct pcre *p = t->content;
	for (const struct pcre_row *r = p->first; r != NULL; r = r->next) {
		int n = pcre2_match(r->code, (PCRE2_SPTR)key.p, key.n, 0, 0,
			p->data, p->context);
		if (n == PCRE2_ERROR_NOMATCH)
			continue;
		out->where = table_where(a, t, r->line);
		/* Too much work: nobody knows whether it would have fitted. */
		if (n < 0)
			return TABLE_LATER;
		out->text = fill_in(a, p, key, n == 0 ? GROUPS_MOST : n,
			r->value);
		return TABLE_FOUND;
	}
	return TABLE_NONE;
}

const struct table_kind table_pcre = {
	.type = TABLE_PCRE, .parse = pcre_parse, .find = pcre_find};
