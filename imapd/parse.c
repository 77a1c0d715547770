/* SPDX-License-Identifier: ISC */
/*
 * IMAP tokens, literals and lists to an argument tree; RFC 3501 4 and 9, RFC
 * 7888 (LITERAL+), RFC 3516 (literal8).  What the words mean is the business
 * of the commands.
 *
 * Strict about framing, lenient about blanks: several spaces, or none around
 * a parenthesis, are taken, because clients send them.
 */
#include "parse.h"
#include "base/arena.h"

void
parse_begin(struct parse *p, struct arena *a, const struct parse_source *source,
	const struct parse_limits *limits, struct str line)
{
	*p = (struct parse){
		.arena = a,
		.source = *source,
		.limits = *limits,
		.line = str_copy(a, line),
	};
	p->rest = p->line;
}

static bool
refuse(struct parse *p, const char *why)
{
	if (p->error == NULL)
		p->error = why;
	return false;
}

static bool
lose(struct parse *p)
{
	p->lost = true;
	return refuse(p, "connection lost");
}

bool
parse_line_literal(struct str *line, struct literal *l)
{
	struct str s = *line, digits;
	if (s.n < 3 || s.p[s.n - 1] != '}')
		return false;
	size_t open = str_find_last(s, '{');
	if (open == s.n)
		return false;
	digits = str_head(str_skip(s, open + 1), s.n - open - 2);
	l->sync = !str_ends(digits, STR("+")) && !str_ends(digits, STR("-"));
	if (!l->sync)
		digits.n--;
	if (!str_number(digits, INT64_MAX, &l->size))
		return false;
	l->binary = open > 0 && s.p[open - 1] == '~';
	*line = str_head(s, open - l->binary);
	return true;
}

static bool
next_line(struct parse *p)
{
	struct str line;
	p->has_pending = false;
	if (!p->source.line(p->source.ctx, &line))
		return lose(p);
	p->rest = p->line = str_copy(p->arena, line);
	p->spaced = false;
	return true;
}

bool
parse_resume(struct parse *p)
{
	return next_line(p);
}

static void
skip_spaces(struct parse *p)
{
	while (p->rest.n > 0 && p->rest.p[0] == ' ') {
		p->rest = str_skip(p->rest, 1);
		p->spaced = true;
	}
}

bool
parse_is_end(struct parse *p)
{
	skip_spaces(p);
	return p->rest.n == 0 && !p->has_pending;
}

bool
parse_is_next(struct parse *p, char c)
{
	skip_spaces(p);
	return p->rest.n > 0 && p->rest.p[0] == c;
}

bool
parse_take(struct parse *p, char c)
{
	if (!parse_is_next(p, c))
		return refuse(p, c == '(' ? "( expected" : ") expected");
	p->rest = str_skip(p->rest, 1);
	p->spaced = false;
	return true;
}

static bool
is_literal_start(struct str s)
{
	return str_starts(s, STR("{")) || str_starts(s, STR("~{"));
}

bool
parse_literal_head(struct parse *p, struct literal *l)
{
	skip_spaces(p);
	if (!is_literal_start(p->rest))
		return refuse(p, "Literal expected");
	struct str before = p->rest;
	if (!parse_line_literal(&before, l) || before.n != 0)
		return refuse(p, "Malformed literal");
	p->rest = before;
	p->pending = *l;
	p->has_pending = true;
	return true;
}

/* The client hears of a literal that is too large before it sends it. */
static bool
read_literal(struct parse *p, struct arg *arg)
{
	struct literal l;
	if (!parse_literal_head(p, &l))
		return false;
	if (l.size > p->limits.octets - p->octets)
		return refuse(p, "Literal too large");
	p->octets += l.size;
	char *to = arena_alloc(p->arena, l.size);
	if (!p->source.literal(p->source.ctx, &l, to))
		return lose(p);
	arg->kind = l.binary ? ARG_LITERAL8 : ARG_LITERAL;
	arg->text = str_of(to, l.size);
	if (!next_line(p))
		return false;
	if (!l.binary && str_has(arg->text, 0))
		return refuse(p, "NUL in literal");
	return true;
}

/* Length of a quoted string's inside; false when it does not end. */
static bool
measure_quoted(struct str s, size_t *length, bool *escaped)
{
	*escaped = false;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '"') {
			*length = i;
			return true;
		}
		if (s.p[i] == '\\') {
			*escaped = true;
			i++;
		}
	}
	return false;
}

static bool
unescape(struct parse *p, struct str inside, struct str *text)
{
	char *to = arena_alloc(p->arena, inside.n);
	size_t n = 0;
	for (size_t i = 0; i < inside.n; i++) {
		if (inside.p[i] == '\\') {
			i++;
			if (inside.p[i] != '"' && inside.p[i] != '\\')
				return refuse(p, "Unknown escape in string");
		}
		to[n++] = inside.p[i];
	}
	*text = str_of(to, n);
	return true;
}

static bool
is_control(char c)
{
	return (unsigned char)c < 0x20 || c == 0x7f;
}

static bool
has_control(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (is_control(s.p[i]) && s.p[i] != '\t')
			return true;
	return false;
}

static bool
read_quoted(struct parse *p, struct arg *arg)
{
	size_t n;
	bool escaped;
	struct str s = str_skip(p->rest, 1);
	if (!measure_quoted(s, &n, &escaped))
		return refuse(p, "String without closing quote");
	arg->kind = ARG_QUOTED;
	arg->text = str_head(s, n);
	p->rest = str_skip(s, n + 1);
	if (str_has(arg->text, 0) || str_has(arg->text, '\r'))
		return refuse(p, "Control character in string");
	return !escaped || unescape(p, arg->text, &arg->text);
}

/* Where an atom ends.  What may stand inside is wider than RFC 3501's atom:
 * flags, sets and patterns come this way too. */
static bool
ends_atom(char c)
{
	return c == ' ' || c == '(' || c == ')' || c == '"';
}

static bool
read_atom(struct parse *p, struct arg *arg)
{
	size_t n = 0;
	while (n < p->rest.n && !ends_atom(p->rest.p[n]))
		n++;
	arg->kind = ARG_ATOM;
	arg->text = str_head(p->rest, n);
	p->rest = str_skip(p->rest, n);
	if (has_control(arg->text) || str_has(arg->text, '\t'))
		return refuse(p, "Control character in command");
	if (str_has(arg->text, '{'))
		return refuse(p, "Malformed literal");
	return true;
}

static struct arg *
new_arg(struct parse *p)
{
	if (p->args >= p->limits.args) {
		refuse(p, "Too many arguments");
		return NULL;
	}
	p->args++;
	struct arg *arg = arena_one(p->arena, struct arg);
	arg->glued = !p->spaced;
	p->spaced = false;
	return arg;
}

static bool
is_string(const struct arg *arg)
{
	return arg->kind != ARG_ATOM && arg->kind != ARG_LIST;
}

/* "a"b, b"a" and "a""b" are one word to no grammar; ( and ) separate. */
static bool
may_follow(const struct arg *before, const struct arg *arg)
{
	if (before == NULL || !arg->glued)
		return true;
	return before->kind == ARG_LIST || arg->kind == ARG_LIST ||
	       !(is_string(before) || is_string(arg));
}

static bool
read_word(struct parse *p, struct arg *arg)
{
	if (p->rest.p[0] == '"')
		return read_quoted(p, arg);
	if (is_literal_start(p->rest))
		return read_literal(p, arg);
	return read_atom(p, arg);
}

/* A list being read: where its next argument goes, and the list around it. */
struct level {
	struct level *up;
	struct arg **tail;
	struct arg *last;
};

static struct level *
open_list(struct parse *p, struct level *up, struct arg *list)
{
	struct level *l = arena_one(p->arena, struct level);
	list->kind = ARG_LIST;
	l->up = up;
	l->tail = &list->first;
	p->rest = str_skip(p->rest, 1);
	p->spaced = false;
	return l;
}

/* One argument, or one parenthesis, at this level. */
static bool
read_element(struct parse *p, struct level **at, size_t *depth)
{
	if (p->rest.p[0] == ')') {
		if (*depth == 0)
			return refuse(p, "Unexpected )");
		*at = (*at)->up;
		(*depth)--;
		p->rest = str_skip(p->rest, 1);
		p->spaced = false;
		return true;
	}
	struct arg *arg = new_arg(p);
	if (arg == NULL)
		return false;
	if ((*at)->last == NULL)
		arg->glued = false;
	*(*at)->tail = arg;
	(*at)->tail = &arg->next;
	struct arg *before = (*at)->last;
	(*at)->last = arg;
	if (p->rest.p[0] == '(') {
		if (++*depth > p->limits.depth)
			return refuse(p, "Too many parentheses");
		*at = open_list(p, *at, arg);
		return true;
	}
	if (!read_word(p, arg))
		return false;
	return may_follow(before, arg) || refuse(p, "Space expected");
}

/* Arguments until the list that was open at the start is complete; with
 * `all`, until the command ends. */
static bool
read_elements(struct parse *p, struct arg **first, bool all)
{
	struct level top = {.tail = first}, *at = &top;
	size_t depth = 0;
	*first = NULL;
	while (!parse_is_end(p)) {
		if (!read_element(p, &at, &depth))
			return false;
		if (!all && depth == 0)
			return true;
	}
	return depth == 0 || refuse(p, "Missing )");
}

bool
parse_arg(struct parse *p, struct arg **arg)
{
	return p->error == NULL && read_elements(p, arg, false);
}

bool
parse_args(struct parse *p, struct arg **first)
{
	return p->error == NULL && read_elements(p, first, true);
}

/* A refused command goes on as long as its lines end with literals for which
 * the client does not wait, wherever in the line the fault was. */
bool
parse_drain(struct parse *p)
{
	struct literal l = p->pending;
	bool more = p->has_pending || parse_line_literal(&p->line, &l);
	while (more && !l.sync && !p->lost) {
		if (l.size > p->limits.swallow ||
			!p->source.skip(p->source.ctx, l.size))
			return lose(p);
		struct str line;
		if (!p->source.line(p->source.ctx, &line))
			return lose(p);
		more = parse_line_literal(&line, &l);
	}
	p->rest = STR("");
	p->has_pending = false;
	return !p->lost;
}

/* ------------------------------------------------------------- the tree */

bool
arg_atom(const struct arg *arg, struct str *text)
{
	if (arg == NULL || arg->kind != ARG_ATOM)
		return false;
	*text = arg->text;
	return true;
}

bool
arg_is(const struct arg *arg, const char *atom)
{
	return arg != NULL && arg->kind == ARG_ATOM &&
	       str_eq_nocase(arg->text, str_from(atom));
}

bool
arg_astring(const struct arg *arg, struct str *text)
{
	if (arg == NULL || arg->kind == ARG_LIST || arg->kind == ARG_LITERAL8)
		return false;
	*text = arg->text;
	return true;
}

bool
arg_nstring(const struct arg *arg, struct str *text)
{
	if (!arg_is(arg, "NIL"))
		return arg_astring(arg, text);
	*text = (struct str){NULL, 0};
	return true;
}

bool
arg_number(const struct arg *arg, uint32_t *number)
{
	uint64_t n;
	if (arg == NULL || arg->kind != ARG_ATOM ||
		!str_number(arg->text, UINT32_MAX, &n))
		return false;
	*number = (uint32_t)n;
	return true;
}

bool
arg_list(const struct arg *arg, const struct arg **first)
{
	if (arg == NULL || arg->kind != ARG_LIST)
		return false;
	*first = arg->first;
	return true;
}

size_t
arg_count(const struct arg *first)
{
	size_t n = 0;
	for (; first != NULL; first = first->next)
		n++;
	return n;
}
