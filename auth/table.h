/* SPDX-License-Identifier: ISC */
/*
 * table: a text key to a text value, from wherever the administrator keeps
 * them (sys/table_ref.h).
 *
 * Files are noticed when they change and checked before use: one that is broken
 * is complained of, once, and the last good state stays.  A table that never
 * was good, a database or a server that fails, answers "later", and so does
 * whoever asked.
 *
 * The tables of a configuration are opened once, before confinement where they
 * need more than their file, and are found again by their text.
 */
#ifndef AUTH_TABLE_H
#define AUTH_TABLE_H

#include "base/buf.h"
#include "base/str.h"
#include "sys/table_ref.h"
#include "sys/watched.h"

struct arena;
struct table;
struct table_kind;

struct table {
	struct arena *arena;
	struct table_ref ref;
	const struct table_kind *kind;
	struct watched file;
	struct arena *content_arena; /* of files: what was parsed last */
	void *content; /* NULL: not usable */
	int64_t timeout; /* ms, of a server */
};

enum table_result {
	TABLE_FOUND,
	TABLE_NONE,
	TABLE_LATER,
};

/* What was found, and where: "text:/etc/x:12". */
struct table_value {
	struct str text, where;
};

/*
 * What a type of table is.  Files: parse gives the content, or NULL with the
 * mistakes as lines "FILE:LINE: what".  Others: open gives it, NULL when it
 * cannot now; it is tried again.
 */
struct table_kind {
	enum table_type type;
	void *(*parse)(struct arena *a, struct str text, const char *name,
		struct buf *errors);
	void *(*open)(struct table *t);
	enum table_result (*find)(struct table *t, struct arena *a,
		struct str key, struct table_value *out);
};

extern const struct table_kind table_text, table_passwd, table_cidr, table_pcre,
	table_sqlite, table_socketmap;

/* ref must be of the right form. */
struct table *table_new(struct arena *a, struct str ref, int64_t timeout);

/* Reads a changed file; says what is wrong with it in the log. */
void table_refresh(struct table *t);

/* Value and where live in the arena a. */
enum table_result table_find(struct table *t, struct arena *a, struct str key,
	struct table_value *out);

/* "FILE:LINE" for values of files. */
struct str table_where(struct arena *a, const struct table *t, int line);

#endif
