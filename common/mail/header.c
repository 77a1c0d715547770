/* SPDX-License-Identifier: ISC */
/*
 * Fields and addresses.  The address parser is one pass of tokens with a
 * small state: what was collected before a '<', ':' or '@' decides what it
 * was.
 */
#include "mail/header.h"
#include "base/arena.h"

enum { IDS_MOST = 200, ROUTE_MOST = 1000 };

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* Length of the line at the front, its line end included. */
static size_t
line_length(struct str s)
{
	size_t at = str_find(s, '\n');
	return at < s.n ? at + 1 : s.n;
}

static size_t
without_end(struct str line)
{
	size_t n = line.n;
	if (n > 0 && line.p[n - 1] == '\n')
		n--;
	if (n > 0 && line.p[n - 1] == '\r')
		n--;
	return n;
}

/* The colon of a field line: after 1*ftext, blanks before it tolerated
 * (RFC 5322 4.5). */
static bool
find_colon(struct str line, size_t *name_end, size_t *colon)
{
	size_t i = 0;
	while (i < line.n && line.p[i] > 0x20 && line.p[i] != ':' &&
		line.p[i] != 0x7f)
		i++;
	*name_end = i;
	while (i < line.n && is_blank(line.p[i]))
		i++;
	*colon = i;
	return *name_end > 0 && i < line.n && line.p[i] == ':';
}

struct str
header_begin(struct str header)
{
	size_t name_end, colon;
	if (!str_starts(header, STR("From ")) &&
		!str_starts(header, STR(">From ")))
		return header;
	struct str rest = str_skip(header, line_length(header));
	struct str line = str_head(rest, line_length(rest));
	return find_colon(line, &name_end, &colon) ? rest : header;
}

bool
header_next(struct str *rest, struct header_field *field)
{
	size_t n = line_length(*rest), name_end, colon;
	struct str line = str_head(*rest, n);
	if (without_end(line) == 0) {
		*rest = str_skip(*rest, n);
		return false;
	}
	if (!find_colon(line, &name_end, &colon))
		return false;
	for (;;) {
		struct str more = str_skip(*rest, n);
		if (more.n == 0 || !is_blank(more.p[0]))
			break;
		n += line_length(more);
	}
	field->whole = str_head(*rest, n);
	field->name = str_head(line, name_end);
	field->value = str_trim(str_skip(field->whole, colon + 1));
	*rest = str_skip(*rest, n);
	return true;
}

size_t
header_length(struct str message)
{
	struct str rest = message;
	struct header_field field;
	while (header_next(&rest, &field))
		;
	return message.n - rest.n;
}

bool
header_find(struct str header, struct str name, struct str *value)
{
	struct header_field field;
	while (header_next(&header, &field)) {
		if (!str_eq_nocase(field.name, name))
			continue;
		*value = field.value;
		return true;
	}
	return false;
}

struct str
header_unfold(struct arena *a, struct str value)
{
	if (!str_has(value, '\n') && !str_has(value, '\r'))
		return value;
	char *to = arena_alloc(a, value.n);
	size_t n = 0;
	for (size_t i = 0; i < value.n; i++)
		if (value.p[i] != '\r' && value.p[i] != '\n')
			to[n++] = value.p[i];
	return str_of(to, n);
}

/* ------------------------------------------------------------ addresses */

enum token { END, ATOM, QUOTED, LITERAL, SPECIAL };

struct parser {
	struct arena *arena;
	struct str rest;
	struct str token; /* text of ATOM, QUOTED, LITERAL */
	char special;
	struct str comment; /* the last one passed over */
	bool spaced; /* blanks or a comment stood before the token */
	struct header_addresses *out;
	size_t cap;
	/* Collected since the last separator: */
	struct buf *words; /* as a phrase, blanks between */
	struct buf *local; /* as a local part, nothing between */
	struct buf *host; /* as a domain, nothing between */
	struct str route;
	bool have_host, in_angle, in_group;
	struct str phrase;
};

/*
 * The text from *i on up to a delimiter, without backslashes and line ends.
 * Its length is found first: each octet is copied once, however the quotes
 * and parentheses of a hostile header are placed.
 */
static struct str
clean(struct parser *p, struct str s)
{
	char *to = arena_alloc(p->arena, s.n);
	size_t n = 0;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\\' && i + 1 < s.n)
			i++;
		if (s.p[i] != '\r' && s.p[i] != '\n')
			to[n++] = s.p[i];
	}
	return str_of(to, n);
}

static struct str
unescape(struct parser *p, char end)
{
	struct str s = p->rest;
	size_t i = 0;
	for (; i < s.n && s.p[i] != end; i++)
		if (s.p[i] == '\\' && i + 1 < s.n)
			i++;
	p->rest = str_skip(s, i + 1);
	return clean(p, str_head(s, i));
}

/* A comment, nested ones included; its text is remembered: "(Jane Doe)". */
static void
skip_comment(struct parser *p)
{
	struct str s = p->rest;
	size_t i = 1, end = s.n;
	for (int depth = 1; i < s.n && depth > 0; i++) {
		if (s.p[i] == '\\' && i + 1 < s.n)
			i++;
		else if (s.p[i] == '(')
			depth++;
		else if (s.p[i] == ')' && --depth == 0)
			end = i;
	}
	p->comment = str_trim(clean(p, str_skip(str_head(s, end), 1)));
	p->rest = str_skip(s, i);
}

static void
skip_blanks(struct parser *p)
{
	p->spaced = false;
	while (p->rest.n > 0) {
		char c = p->rest.p[0];
		if (c == '(')
			skip_comment(p);
		else if (is_blank(c) || c == '\r' || c == '\n')
			p->rest = str_skip(p->rest, 1);
		else
			return;
		p->spaced = true;
	}
}

static bool
is_special(char c)
{
	return c == '<' || c == '>' || c == ',' || c == ';' || c == ':' ||
		c == '@' || c == '.';
}

static bool
ends_atom(char c)
{
	return is_special(c) || is_blank(c) || c == '\r' || c == '\n' ||
		c == '(' || c == '"' || c == '[';
}

static enum token
next_token(struct parser *p)
{
	skip_blanks(p);
	if (p->rest.n == 0)
		return END;
	char c = p->rest.p[0];
	if (c == '"' || c == '[') {
		p->rest = str_skip(p->rest, 1);
		struct str text = unescape(p, c == '"' ? '"' : ']');
		if (c == '"') {
			p->token = text;
			return QUOTED;
		}
		p->token = str_printf(p->arena, "[%.*s]", STR_ARG(text));
		return LITERAL;
	}
	if (is_special(c)) {
		p->special = c;
		p->rest = str_skip(p->rest, 1);
		return SPECIAL;
	}
	size_t n = 1;
	while (n < p->rest.n && !ends_atom(p->rest.p[n]))
		n++;
	p->token = str_head(p->rest, n);
	p->rest = str_skip(p->rest, n);
	return ATOM;
}

static void
add(struct parser *p, struct header_address x)
{
	struct header_addresses *out = p->out;
	if (out->n == HEADER_ADDRESSES_MOST)
		return;
	if (out->n == p->cap) {
		p->cap = p->cap == 0 ? 8 : p->cap * 2;
		struct header_address *v =
			arena_array(p->arena, p->cap, sizeof *v);
		if (out->n > 0)
			memcpy(v, out->v, out->n * sizeof *v);
		out->v = v;
	}
	out->v[out->n++] = x;
}

static void
reset(struct parser *p)
{
	buf_clear(p->words);
	buf_clear(p->local);
	buf_clear(p->host);
	p->route = p->phrase = p->comment = (struct str){NULL, 0};
	p->have_host = p->in_angle = false;
}

static struct str
kept(struct parser *p, struct buf *b)
{
	return str_copy(p->arena, str_trim(buf_str(b)));
}

/* What stood between two separators is an address if it has a mailbox. */
static void
finish(struct parser *p)
{
	struct header_address x = {.mailbox = kept(p, p->local)};
	if (p->have_host || p->in_angle || p->local->n > 0) {
		if (p->have_host)
			x.host = kept(p, p->host);
		if (p->route.n > 0)
			x.route = p->route;
		x.name = p->phrase.n > 0 ? p->phrase : p->comment;
		if (x.name.n == 0)
			x.name = (struct str){NULL, 0};
		/* "<>" names nobody. */
		if (x.mailbox.n > 0 || x.host.n > 0)
			add(p, x);
	}
	reset(p);
}

static void
add_word(struct parser *p, bool spaced)
{
	if (p->have_host) {
		/* domain: atoms and dots, nothing between */
		buf_add(p->host, p->token);
		return;
	}
	if (p->words->n > 0 && spaced)
		buf_addc(p->words, ' ');
	buf_add(p->words, p->token);
	/* "Jane Doe jane@x": only the last word can be the local part. */
	if (spaced && p->local->n > 0 && p->local->p[p->local->n - 1] != '.')
		buf_clear(p->local);
	buf_add(p->local, p->token);
}

/* "<@a,@b:user@host>": everything up to the colon is a source route.  It is
 * looked for a bounded way ahead, or a row of '<' would cost a walk each. */
static void
take_route(struct parser *p)
{
	struct str ahead = str_head(p->rest, ROUTE_MOST);
	struct str inside = str_head(ahead, str_find(ahead, '>'));
	struct str trimmed = str_trim(inside);
	size_t colon = str_find(inside, ':');
	if (!str_starts(trimmed, STR("@")) || colon == inside.n)
		return;
	p->route = str_trim(str_head(inside, colon));
	p->rest = str_skip(p->rest, colon + 1);
}

static void
open_angle(struct parser *p)
{
	p->phrase = kept(p, p->words);
	buf_clear(p->words);
	buf_clear(p->local);
	buf_clear(p->host);
	p->have_host = false;
	p->in_angle = true;
	take_route(p);
}

static void
open_group(struct parser *p)
{
	if (p->in_group || p->in_angle)
		return;
	add(p, (struct header_address){.mailbox = kept(p, p->words),
		.group = true});
	reset(p);
	p->in_group = true;
}

static void
close_group(struct parser *p)
{
	finish(p);
	if (p->in_group)
		add(p, (struct header_address){.group = true});
	p->in_group = false;
}

static void
take_special(struct parser *p)
{
	switch (p->special) {
	case ',':
		finish(p);
		break;
	case '<':
		open_angle(p);
		break;
	case ':':
		open_group(p);
		break;
	case ';':
		close_group(p);
		break;
	case '@':
		p->have_host = true;
		buf_clear(p->host);
		break;
	case '.':
		p->token = STR(".");
		add_word(p, false);
		break;
	default: /* '>' closes by itself: what follows is noise */
		break;
	}
}

struct header_addresses
header_parse_addresses(struct arena *a, struct str value)
{
	struct header_addresses out = {NULL, 0};
	struct parser p = {.arena = a, .rest = value, .out = &out,
		.words = buf_new(a), .local = buf_new(a), .host = buf_new(a)};
	bool closed = false;
	for (;;) {
		enum token t = next_token(&p);
		if (t == END)
			break;
		if (t == SPECIAL) {
			closed = p.special == '>' ||
				(closed && p.special == '.');
			take_special(&p);
		} else if (!closed) {
			add_word(&p, p.spaced || t == QUOTED);
		}
	}
	close_group(&p);
	return out;
}

struct str_list
header_message_ids(struct arena *a, struct str value)
{
	size_t most = 0;
	for (size_t i = 0; i < value.n && most < IDS_MOST; i++)
		most += value.p[i] == '<';
	struct str_list list = {arena_array(a, most, sizeof(struct str)), 0};
	while (list.n < most) {
		size_t open = str_find(value, '<');
		struct str rest = str_skip(value, open + 1);
		size_t close = str_find(rest, '>');
		if (open == value.n || close == rest.n)
			break;
		char *id = arena_alloc(a, close);
		size_t n = 0;
		for (size_t i = 0; i < close; i++)
			if ((unsigned char)rest.p[i] > 0x20)
				id[n++] = rest.p[i];
		if (n > 0)
			list.v[list.n++] = str_of(id, n);
		value = str_skip(rest, close + 1);
	}
	return list;
}
