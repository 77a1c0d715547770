/* SPDX-License-Identifier: ISC */
/*
 * progress: telling the client how far a long command is, RFC 9585.
 *
 * Said after imap.progress and at the same distance from then on, between
 * lines, and never when the client would have to be waited for: locks may be
 * held.
 */
#ifndef IMAPD_PROGRESS_H
#define IMAPD_PROGRESS_H

#include "imapd.h"

/* The command in hand may take long, and sends nothing before its end. */
void progress_begin(struct imap_session *s);
void progress_end(struct imap_session *s);

/* So much of so much is done; goal 0: nobody knows. */
void progress_tell(struct imap_session *s, uint64_t done, uint64_t goal);

/* Has the store say how far it is. */
void progress_listen(struct imap_session *s);

#endif
