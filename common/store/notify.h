/* SPDX-License-Identifier: ISC */
/*
 * notify: being told that something in a store changed.
 *
 * A session that wants to know binds a datagram socket under
 * <Maildir>/surat/notify/; every writer sends one byte to each socket there
 * after its commit, and never waits: a full socket knows already.  A socket
 * nobody holds any more is removed by the next writer.  What changed is not
 * said: the session asks mailbox_news.
 */
#ifndef STORE_NOTIFY_H
#define STORE_NOTIFY_H

#include "base/status.h"

struct arena;
struct store;

/* A descriptor to poll for reading, non-blocking; the store's, closed with
 * it.  The same one when called again. */
struct status notify_listen(struct store *s, struct arena *a, int *fd);

/* Takes what was sent; true when there was any. */
bool notify_drain(struct store *s);

/* One byte to everybody but this store's own socket.  The room's writers do
 * this themselves. */
void notify_send(struct store *s);

#endif
