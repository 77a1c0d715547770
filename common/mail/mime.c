/* SPDX-License-Identifier: ISC */
/*
 * The scanner goes line by line with a stack of open parts (the chain of
 * parents).  A line that begins with "--" is compared with the boundaries of
 * the open multiparts, innermost first; a match closes what is inside.
 */
#include "mail/mime.h"
#include "base/arena.h"
#include "mail/header.h"

struct scanner {
	struct arena *arena;
	struct str message;
	struct mime_point at; /* start of the current line */
	struct mime_point next; /* start of the next one */
	struct mime_part *open; /* innermost part not yet ended */
	struct mime_part *in_header; /* the part whose header this is */
	int depth;
	int parts;
};

/* What the parser needs while a part is open, by its Content-Type. */
struct open_part {
	struct mime_part part; /* first */
	struct str boundary; /* of a multipart */
	struct mime_part *last_child;
	bool digest;
};

static struct open_part *
opened(struct mime_part *p)
{
	return (struct open_part *)p;
}

/* -------------------------------------------------------------- values */

static bool
is_tspecial(char c)
{
	return c <= ' ' || c == 0x7f || strchr("()<>@,;:\\\"/[]?=", c) != NULL;
}

static struct str
skip_cfws(struct str s)
{
	int depth = 0;
	size_t i = 0;
	for (; i < s.n; i++) {
		char c = s.p[i];
		if (c == '\\' && depth > 0)
			i++;
		else if (c == '(')
			depth++;
		else if (c == ')' && depth > 0)
			depth--;
		else if (depth == 0 && c != ' ' && c != '\t' && c != '\r' &&
			c != '\n')
			break;
	}
	return str_skip(s, i);
}

/* A quoted string after its opening quote. */
static struct str
take_quoted(struct arena *a, struct str *s)
{
	size_t i = 0, n = 0;
	while (i < s->n && s->p[i] != '"')
		i += s->p[i] == '\\' ? 2 : 1;
	if (i > s->n)
		i = s->n;
	char *to = arena_alloc(a, i);
	for (size_t k = 0; k < i; k++) {
		if (s->p[k] == '\\' && k + 1 < i)
			k++;
		if (s->p[k] != '\r' && s->p[k] != '\n')
			to[n++] = s->p[k];
	}
	*s = str_skip(*s, i + 1);
	return str_of(to, n);
}

/* A token; values in the wild hold more than tokens may, so that anything up
 * to a blank or semicolon is taken. */
static struct str
take_value(struct arena *a, struct str *s)
{
	if (str_starts(*s, STR("\""))) {
		*s = str_skip(*s, 1);
		return take_quoted(a, s);
	}
	size_t n = 0;
	while (n < s->n && !str_has(STR("; \t\r\n("), s->p[n]))
		n++;
	struct str value = str_head(*s, n);
	*s = str_skip(*s, n);
	return value;
}

static struct str
take_token(struct str *s)
{
	size_t n = 0;
	while (n < s->n && !is_tspecial(s->p[n]))
		n++;
	struct str token = str_head(*s, n);
	*s = str_skip(*s, n);
	return token;
}

static bool
take_param(struct arena *a, struct str *s, struct mime_param *out)
{
	*s = skip_cfws(*s);
	struct str name = take_token(s);
	*s = skip_cfws(*s);
	if (name.n == 0 || !str_starts(*s, STR("=")))
		return false;
	*s = skip_cfws(str_skip(*s, 1));
	out->name = str_lower(a, name);
	out->value = take_value(a, s);
	return true;
}

/* "name*2*" is piece 2 of name, coded; false for a plain name. */
static bool
split_piece(struct str name, struct str *base, uint64_t *number, bool *coded)
{
	size_t star = str_find(name, '*');
	struct str rest = str_skip(name, star + 1);
	*coded = str_ends(rest, STR("*"));
	if (*coded)
		rest.n--;
	*base = str_head(name, star);
	return star < name.n && str_number(rest, MIME_PARAMS_MOST, number);
}

/* Where piece number `want` of base is, or v->count. */
static size_t
find_piece(const struct mime_value *v, struct str base, uint64_t want,
	bool *coded)
{
	struct str name;
	uint64_t number;
	size_t i = 0;
	for (; i < v->count; i++)
		if (split_piece(v->params[i].name, &name, &number, coded) &&
			number == want && str_eq(name, base))
			break;
	return i;
}

/* RFC 2231 3: pieces in whatever order become one parameter. */
static struct mime_param
join_pieces(struct arena *a, const struct mime_value *v, struct str base)
{
	struct str pieces[MIME_PARAMS_MOST];
	struct str_list list = {pieces, 0};
	bool coded, any_coded = false;
	for (; list.n < MIME_PARAMS_MOST; list.n++) {
		size_t i = find_piece(v, base, list.n, &coded);
		if (i == v->count)
			break;
		any_coded = any_coded || coded;
		pieces[list.n] = v->params[i].value;
	}
	struct mime_param joined = {base, str_join(a, list, STR(""))};
	if (any_coded)
		joined.name = str_printf(a, "%.*s*", STR_ARG(base));
	return joined;
}

/* In place: each set of pieces stands where its first one was. */
static void
join_params(struct arena *a, struct mime_value *v)
{
	struct mime_param out[MIME_PARAMS_MOST];
	size_t count = 0;
	struct str base;
	uint64_t number;
	bool coded;
	for (size_t i = 0; i < v->count; i++) {
		if (!split_piece(v->params[i].name, &base, &number, &coded))
			out[count++] = v->params[i];
		else if (number == 0)
			out[count++] = join_pieces(a, v, base);
	}
	memcpy(v->params, out, count * sizeof *out);
	v->count = count;
}

/*
 * Parameters are gathered on the stack, so that the arena holds no more than
 * there are: a message of ten thousand parts has as many of these.
 */
struct mime_value
mime_parse_value(struct arena *a, struct str text)
{
	struct mime_param params[MIME_PARAMS_MOST];
	struct mime_value v = {.params = params};
	bool pieces = false;
	text = skip_cfws(text);
	size_t n = 0;
	while (n < text.n && !str_has(STR("; \t\r\n("), text.p[n]))
		n++;
	v.value = str_head(text, n);
	text = str_skip(text, n + str_find(str_skip(text, n), ';'));
	while (text.n > 0 && v.count < MIME_PARAMS_MOST) {
		/* What is no parameter is passed over to the next ';'. */
		if (!take_param(a, &text, &params[v.count])) {
			text = str_skip(text, str_find(text, ';') + 1);
			continue;
		}
		pieces = pieces || str_has(params[v.count].name, '*');
		v.count++;
		text = str_skip(text, str_find(text, ';'));
	}
	if (pieces)
		join_params(a, &v);
	v.params = v.count == 0 ? NULL
		: arena_copy(a, params, v.count * sizeof *params);
	return v;
}

struct str
mime_param(const struct mime_value *v, struct str name)
{
	for (size_t i = 0; i < v->count; i++)
		if (str_eq(v->params[i].name, name))
			return v->params[i].value;
	return STR("");
}

enum mime_encoding
mime_encoding(const struct mime_part *p)
{
	static const struct {
		const char *name;
		enum mime_encoding encoding;
	} names[] = {{"7bit", MIME_IDENTITY}, {"8bit", MIME_IDENTITY},
		{"binary", MIME_IDENTITY}, {"base64", MIME_BASE64},
		{"quoted-printable", MIME_QP}};
	struct str value = skip_cfws(p->fields[MIME_ENCODING]);
	struct str token = take_token(&value);
	if (token.n == 0)
		return MIME_IDENTITY;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (str_eq_nocase(token, str_from(names[i].name)))
			return names[i].encoding;
	return MIME_UNKNOWN;
}

/* --------------------------------------------------------------- lines */

static struct str
current_line(const struct scanner *s)
{
	return str_head(str_skip(s->message, s->at.offset),
		s->next.offset - s->at.offset);
}

static bool
next_line(struct scanner *s)
{
	s->at = s->next;
	struct str rest = str_skip(s->message, s->at.offset);
	if (rest.n == 0)
		return false;
	size_t n = str_find(rest, '\n');
	if (n == rest.n) {
		s->next.offset += n;
		s->next.wire += n;
		return true;
	}
	bool crlf = n > 0 && rest.p[n - 1] == '\r';
	s->next.offset += n + 1;
	s->next.wire += n + (crlf ? 1 : 2);
	s->next.lines++;
	return true;
}

/* Lines of a body that cannot be a boundary, which most of a message is. */
static void
skip_text(struct scanner *s)
{
	struct str rest = str_skip(s->message, s->next.offset);
	const char *p = rest.p, *end = rest.p + rest.n, *lf;
	size_t lines = 0, bare = 0;
	while (p < end && !(p[0] == '-' && end - p > 1 && p[1] == '-') &&
		(lf = memchr(p, '\n', (size_t)(end - p))) != NULL) {
		bare += lf == p || lf[-1] != '\r';
		lines++;
		p = lf + 1;
	}
	s->next.offset += (size_t)(p - rest.p);
	s->next.wire += (size_t)(p - rest.p) + bare;
	s->next.lines += lines;
}

/* The line end before a boundary belongs to the boundary. */
static struct mime_point
before_line_end(const struct scanner *s, struct mime_point at,
	struct mime_point least)
{
	if (at.offset <= least.offset || s->message.p[at.offset - 1] != '\n')
		return at;
	at.offset--;
	at.lines--;
	at.wire -= 2;
	if (at.offset > least.offset && s->message.p[at.offset - 1] == '\r')
		at.offset--;
	return at;
}

/* --------------------------------------------------------------- parts */

static struct mime_part *
open_part(struct scanner *s, struct mime_part *parent)
{
	struct mime_part *p = &arena_one(s->arena, struct open_part)->part;
	p->parent = parent;
	p->start = p->body = p->end = s->at;
	if (parent != NULL) {
		struct open_part *o = opened(parent);
		if (o->last_child == NULL)
			parent->child = p;
		else
			o->last_child->next = p;
		o->last_child = p;
	}
	s->open = s->in_header = p;
	s->parts++;
	s->depth++;
	return p;
}

static void
read_fields(struct scanner *s, struct mime_part *p)
{
	static const struct str names[MIME_FIELDS] = {
		[MIME_TYPE] = STR_INIT("Type"),
		[MIME_ENCODING] = STR_INIT("Transfer-Encoding"),
		[MIME_ID] = STR_INIT("ID"),
		[MIME_DESCRIPTION] = STR_INIT("Description"),
		[MIME_MD5] = STR_INIT("MD5"),
		[MIME_DISPOSITION] = STR_INIT("Disposition"),
		[MIME_LANGUAGE] = STR_INIT("Language"),
		[MIME_LOCATION] = STR_INIT("Location"),
	};
	struct str rest = mime_header(s->message, p);
	while (rest.n > 0) {
		size_t n = str_find(rest, '\n') + 1;
		if (!str_starts_nocase(rest, STR("Content-"))) {
			rest = str_skip(rest, n);
			continue;
		}
		while (n < rest.n && (rest.p[n] == ' ' || rest.p[n] == '\t'))
			n += str_find(str_skip(rest, n), '\n') + 1;
		struct str field = str_skip(str_head(rest, n), 8), name;
		rest = str_skip(rest, n);
		if (!str_cut(&field, ':', &name) || field.p == NULL)
			continue;
		name = str_trim(name);
		for (int i = 0; i < MIME_FIELDS; i++)
			if (p->fields[i].p == NULL &&
				str_eq_nocase(name, names[i]))
				p->fields[i] = str_trim(field);
	}
}

/* Content-Type with RFC 2045 5.2's default for what is missing or junk; what
 * follows the two tokens without being a parameter is passed over. */
static void
read_type(struct scanner *s, struct mime_part *p)
{
	bool digest = p->parent != NULL && opened(p->parent)->digest;
	p->type = mime_parse_value(s->arena, p->fields[MIME_TYPE]);
	struct str rest = p->type.value, type = take_token(&rest), subtype;
	bool slash = str_starts(rest, STR("/"));
	rest = str_skip(rest, 1);
	subtype = take_token(&rest);
	if (type.n == 0 || !slash || subtype.n == 0) {
		p->type = (struct mime_value){.count = 0};
		type = digest ? STR("message") : STR("text");
		subtype = digest ? STR("rfc822") : STR("plain");
	}
	p->major = str_lower(s->arena, type);
	p->minor = str_lower(s->arena, subtype);
	p->type.value = str_printf(s->arena, "%.*s/%.*s", STR_ARG(type),
		STR_ARG(subtype));
}

static void
end_header(struct scanner *s, struct mime_point body)
{
	struct mime_part *p = s->in_header;
	p->body = body;
	s->in_header = NULL;
	read_fields(s, p);
	read_type(s, p);
	if (s->depth >= MIME_DEPTH_MOST)
		return;
	if (str_eq(p->major, STR("multipart"))) {
		struct str b = mime_param(&p->type, STR("boundary"));
		/* RFC 2046 5.1.1: never ends in blanks. */
		while (b.n > 0 && (b.p[b.n - 1] == ' ' ||
			b.p[b.n - 1] == '\t'))
			b.n--;
		if (b.n <= MIME_BOUNDARY_MOST)
			opened(p)->boundary = b;
		opened(p)->digest = str_eq(p->minor, STR("digest"));
		return;
	}
	p->message = str_eq(p->major, STR("message")) &&
		(str_eq(p->minor, STR("rfc822")) ||
			str_eq(p->minor, STR("global"))) &&
		mime_encoding(p) == MIME_IDENTITY &&
		s->parts < MIME_PARTS_MOST;
	if (p->message) {
		struct mime_point line = s->at;
		s->at = body;
		open_part(s, p);
		s->at = line;
	}
}

/* Ends everything inside `outer`, which stays open. */
static void
close_inside(struct scanner *s, struct mime_part *outer, struct mime_point end)
{
	while (s->open != outer) {
		struct mime_part *p = s->open;
		if (s->in_header == p)
			end_header(s, end);
		/* end_header may have opened a message's content. */
		if (s->open != p)
			continue;
		p->end = end;
		if (p->end.offset < p->body.offset)
			p->end = p->body;
		p->multipart = p->child != NULL && !p->message;
		s->open = p->parent;
		s->depth--;
	}
}

enum boundary { NO_BOUNDARY, NEXT_PART, LAST_PART };

static enum boundary
match(struct str line, struct str boundary)
{
	struct str rest = str_skip(line, 2);
	if (boundary.n == 0 || !str_starts(rest, boundary))
		return NO_BOUNDARY;
	rest = str_skip(rest, boundary.n);
	if (str_starts(rest, STR("--")))
		return LAST_PART;
	return str_trim(rest).n == 0 ? NEXT_PART : NO_BOUNDARY;
}

/* True when the line was a boundary of an open multipart. */
static bool
take_boundary(struct scanner *s, struct str line)
{
	if (!str_starts(line, STR("--")))
		return false;
	for (struct mime_part *p = s->open; p != NULL; p = p->parent) {
		enum boundary b = match(line, opened(p)->boundary);
		if (b == NO_BOUNDARY)
			continue;
		if (b == NEXT_PART && s->parts >= MIME_PARTS_MOST)
			return false;
		struct mime_point least = s->open->body;
		close_inside(s, p, before_line_end(s, s->at, least));
		if (b == NEXT_PART) {
			struct mime_point line_start = s->at;
			s->at = s->next;
			open_part(s, p);
			s->at = line_start;
		} else {
			opened(p)->boundary = STR("");
		}
		return true;
	}
	return false;
}

static bool
is_field(struct str line)
{
	size_t i = 0;
	while (i < line.n && line.p[i] > ' ' && line.p[i] != ':' &&
		line.p[i] != 0x7f)
		i++;
	size_t name = i;
	while (i < line.n && (line.p[i] == ' ' || line.p[i] == '\t'))
		i++;
	return name > 0 && i < line.n && line.p[i] == ':';
}

/* What an mbox has before the fields of a message (header_begin). */
static bool
is_before_fields(const struct scanner *s)
{
	struct str rest = str_skip(s->message, s->at.offset);
	const struct mime_part *p = s->in_header;
	return (p->parent == NULL || p->parent->message) &&
		header_begin(rest).p != rest.p;
}

static void
take_header_line(struct scanner *s, struct str line)
{
	if (str_eq(line, STR("\r\n")) || str_eq(line, STR("\n")) ||
		str_eq(line, STR("\r"))) {
		end_header(s, s->next);
		return;
	}
	bool first = s->at.offset == s->in_header->start.offset;
	if (first && is_before_fields(s))
		return;
	bool folded = !first && (line.p[0] == ' ' || line.p[0] == '\t');
	/* The body begins with what is no field; in a message within it that
	 * line is looked at again as header of the content. */
	while (s->in_header != NULL && !folded && !is_field(line)) {
		struct mime_part *before = s->in_header;
		end_header(s, s->at);
		if (s->in_header == before)
			break;
	}
}

struct mime_part *
mime_parse(struct arena *a, struct str message)
{
	struct scanner s = {.arena = a, .message = message};
	struct mime_part *root = open_part(&s, NULL);
	while (next_line(&s)) {
		struct str line = current_line(&s);
		if (!take_boundary(&s, line) && s.in_header != NULL)
			take_header_line(&s, line);
		if (s.in_header == NULL)
			skip_text(&s);
	}
	close_inside(&s, NULL, s.at);
	return root;
}

struct mime_part *
mime_walk(struct mime_part *p)
{
	if (p->child != NULL)
		return p->child;
	while (p != NULL && p->next == NULL)
		p = p->parent;
	return p == NULL ? NULL : p->next;
}

size_t
mime_wire_size(struct str s)
{
	size_t wire = s.n;
	const char *at = s.p, *end = s.p + s.n;
	while (at < end && (at = memchr(at, '\n', (size_t)(end - at))) != NULL) {
		wire += at == s.p || at[-1] != '\r';
		at++;
	}
	return wire;
}
