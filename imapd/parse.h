/* SPDX-License-Identifier: ISC */
/*
 * parse: the arguments of one IMAP command as a tree (RFC 3501 4 and 9).
 *
 * A command is lines joined by literals.  The parser works on the line in
 * hand and asks its source for the octets of a literal and for the line that
 * follows; it knows nothing of connections.  Everything it returns lives in
 * the arena it was given.
 *
 * What always holds:
 *  - nesting, number of arguments and octets of literals are bounded by
 *    struct parse_limits; the C stack is not used for nesting;
 *  - no text holds CR, LF or NUL unless it came as a literal, and NUL only in
 *    a literal8;
 *  - after a failure p->error says why, in words for the client, and
 *    parse_drain reads what of the command is still on its way, so that the
 *    octets of a refused literal are never taken for commands (RFC 7888 4).
 *
 * Brackets: BODY[HEADER.FIELDS (A B)]<0.9> is the atom "BODY[HEADER.FIELDS",
 * a list, and the atom "]<0.9>" that is marked as glued to the list.
 */
#ifndef IMAPD_PARSE_H
#define IMAPD_PARSE_H

#include "base/str.h"

struct arena;

enum arg_kind {
	ARG_ATOM,   /* also flags, sets, patterns, NIL and numbers */
	ARG_QUOTED, /* escapes undone */
	ARG_LITERAL,
	ARG_LITERAL8,
	ARG_LIST,
};

struct arg {
	enum arg_kind kind;
	bool glued;        /* no space before it, and not first in its list */
	struct str text;   /* empty for a list */
	struct arg *first; /* of a list; NULL: () */
	struct arg *next;
};

/* {n}, {n+} or ~{n+} at the end of a line. */
struct literal {
	uint64_t size;
	bool sync;   /* the client waits for "+ " before it sends */
	bool binary; /* literal8 */
};

struct parse_limits {
	size_t args;
	size_t depth;
	size_t octets; /* of all literals together */
	/* Largest literal without waiting; above, the connection is lost
	 * rather than read on and on. */
	uint64_t swallow;
};

/* Where a command comes from.  Each returns false when there is no more. */
struct parse_source {
	bool (*line)(void *ctx, struct str *line);
	/* Lets a waiting client send, then reads to `to`. */
	bool (*literal)(void *ctx, const struct literal *l, char *to);
	/* Reads and forgets n octets that come unasked. */
	bool (*skip)(void *ctx, uint64_t n);
	void *ctx;
};

struct parse {
	struct arena *arena;
	struct parse_source source;
	struct parse_limits limits;
	struct str line, rest;  /* the line in hand, what is left of it */
	struct literal pending; /* its head was read, its octets were not */
	bool has_pending;
	bool spaced;         /* a space stood before rest */
	bool lost;           /* the source ended */
	size_t args, octets; /* used so far */
	const char *error;   /* NULL: none */
};

/* line is what follows the command's name; it is copied. */
void parse_begin(struct parse *p, struct arena *a,
	const struct parse_source *source, const struct parse_limits *limits,
	struct str line);

/* The next argument, NULL at the command's end.  False: p->error. */
bool parse_arg(struct parse *p, struct arg **arg);

/* Does the next argument begin like this: '(' for a list, '"', '{'? */
bool parse_is_next(struct parse *p, char c);
/* The same of a parenthesis, and takes it: for lists that are read piece by
 * piece.  False: p->error. */
bool parse_take(struct parse *p, char c);

/* All that are left, as a list by next. */
bool parse_args(struct parse *p, struct arg **first);

/* Is nothing left?  Then the command is complete. */
bool parse_is_end(struct parse *p);

/*
 * When the next argument is a literal, takes its head alone: the caller reads
 * the octets (after "+ " if the client waits) and goes on with
 * parse_resume, or refuses with parse_drain.
 */
bool parse_literal_head(struct parse *p, struct literal *l);
bool parse_resume(struct parse *p);

/* Refuses the command: reads what of it comes anyway.  False when the
 * connection cannot be used any longer. */
bool parse_drain(struct parse *p);

/* The literal at the end of a line, cut off it.  False: there is none. */
bool parse_line_literal(struct str *line, struct literal *l);

/* ------------------------------------------------------------ the tree */
/* The views live as long as the tree.  All of these take NULL as no match. */
bool arg_atom(const struct arg *arg, struct str *text);
bool arg_is(const struct arg *arg, const char *atom);
/* atom, quoted or literal; NIL is the word NIL here. */
bool arg_astring(const struct arg *arg, struct str *text);
/* An astring or NIL, which gives a view whose p is NULL. */
bool arg_nstring(const struct arg *arg, struct str *text);
bool arg_number(const struct arg *arg, uint32_t *number);
bool arg_list(const struct arg *arg, const struct arg **first);
size_t arg_count(const struct arg *first);

#endif
