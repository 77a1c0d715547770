/* SPDX-License-Identifier: ISC */
/*
 * mapped: the content of a job, which comes in the message when it is small
 * and as a descriptor of a file when it is large (ask/messages.h).
 */
#ifndef DELIVER_MAPPED_H
#define DELIVER_MAPPED_H

#include "ask/messages.h"

struct arena;

/* A view that holds as long as the arena; the job's descriptor is taken.
 * False when it cannot be read. */
bool mapped_content(struct arena *a, struct message *job, struct str *out);

/* The same for who keeps lines: binary content (RFC 3030) is encoded where it
 * comes to rest. */
struct status mapped_lines(struct arena *a, struct message *job,
	struct str *out);

#endif
