/* SPDX-License-Identifier: ISC */
/*
 * listing: what lies in a folder's directories and is not where its rows say;
 * for sync.c only.
 */
#ifndef STORE_LISTING_H
#define STORE_LISTING_H

#include "store/message.h"

struct folder_row;
struct store;

/* A file that no row has in its place. */
struct entry {
	uint32_t uid; /* of its name, 0: none */
	bool in_new;
	struct str file;
};

struct known {
	uint32_t uid;
	uint32_t place; /* hash of where it lies, and whether it does */
	uint32_t unique; /* hash of the unique part */
};

struct listing {
	struct arena *a;
	bool all; /* cur/ too; else what lies or should lie in new/ */
	struct known *known;
	size_t known_n, known_room;
	struct known **by_unique; /* when it is asked for */
	struct entry *v; /* by UID, those without last; then by name */
	size_t n, room;
	struct uid_set missing; /* rows without their file, looked for twice */
	int64_t at_new, at_cur; /* directory times before the last reading */
	bool young; /* what was read is not certain */
};

/* Within a reader's transaction.  False with errno when a directory cannot be
 * read; index_status says what else went wrong. */
bool listing_read(struct store *s, struct listing *l,
	const struct folder_row *f);

/* UIDs of rows that may have this unique part, one with each call; *at is 0
 * first.  False: no more. */
bool listing_same_unique(struct listing *l, struct str unique, size_t *at,
	uint32_t *uid);

/* Nothing happened since the last reading began. */
bool listing_stood_still(struct store *s, const struct listing *l,
	struct str dir);

#endif
