/* SPDX-License-Identifier: ISC */
/*
 * mbox: messages one after the other in a file (RFC 4155), in the form called
 * mboxrd: each begins with a line "From sender date" and ends with an empty
 * one; in between, a line that begins with "From ", or with that behind any
 * number of ">", gets one ">" more.  Who takes it off again has the message.
 */
#ifndef MAIL_MBOX_H
#define MAIL_MBOX_H

#include "base/buf.h"
#include "base/str.h"

/* "From sender Fri Nov 27 22:31:06 2026", UTC, and LF. */
void mbox_from_line(struct buf *out, struct str sender, int64_t seconds);

/*
 * A message with LF at line ends, quoted, and the empty line.  Header fields in
 * which readers of an mbox keep what they know (Status, X-Status, X-Keywords,
 * X-UID, X-IMAP, X-IMAPbase) or by which they skip text (Content-Length) are
 * left out: a stranger's would be believed.
 */
void mbox_message(struct buf *out, struct str message);

#endif
