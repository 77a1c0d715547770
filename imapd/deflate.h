/* SPDX-License-Identifier: ISC */
/*
 * deflate: the filter under a connection after COMPRESS (RFC 4978).
 *
 * What a client sends is expanded a piece at a time, so that no stream, however
 * much it expands to, takes more memory than a piece.  What we send is flushed
 * whenever the connection is.
 */
#ifndef IMAPD_DEFLATE_H
#define IMAPD_DEFLATE_H

#include "sys/conn.h"

/* Expanded at a time. */
enum { DEFLATE_PIECE = 64 * 1024 };

/* Lives as long as the arena. */
struct conn_filter deflate_filter(struct arena *a);

#endif
