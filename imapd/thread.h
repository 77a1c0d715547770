/* SPDX-License-Identifier: ISC */
/*
 * thread: messages as threads (RFC 5256 2.1, 3; REFS as IMAP servers have it:
 * by references alone, threads by their newest message).
 *
 * Everything is done over arrays of numbers, without recursion and in n log n,
 * whatever the messages refer to.
 */
#ifndef IMAPD_THREAD_H
#define IMAPD_THREAD_H

#include "base/str.h"

#include <stdint.h>

struct arena;

enum thread_algorithm {
	THREAD_ORDEREDSUBJECT,
	THREAD_REFERENCES,
	THREAD_REFS,
};

struct thread_message {
	uint32_t uid;
	int64_t sent, arrived;
	struct str id;         /* without brackets, may be empty */
	struct str references; /* oldest first, one blank between */
	struct str subject;    /* the base of it, folded */
	bool is_reply;         /* something was taken off to get there */
};

/* A message, or what stands for several (uid 0).  Links are indexes. */
struct thread_node {
	uint32_t uid;
	uint32_t parent, first, next; /* THREAD_NONE: none */
};

enum { THREAD_NONE = UINT32_MAX };

struct thread_forest {
	const struct thread_node *v;
	uint32_t first; /* of those at the top */
};

/* n messages by ascending UID, n below 2^30; everything in the arena. */
struct thread_forest thread_run(struct arena *a, enum thread_algorithm how,
	const struct thread_message *messages, size_t n);

#endif
