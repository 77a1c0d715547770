/* SPDX-License-Identifier: ISC */
/*
 * whole: all of a file, read or written, whatever a single call does.
 */
#ifndef SYS_WHOLE_H
#define SYS_WHOLE_H

#include "base/buf.h"

#include <stdbool.h>

/* From where it stands to its end, appended to text.  False: errno says why,
 * EFBIG that there are more than most octets, which are in text then. */
bool whole_read(int fd, struct buf *text, size_t most);

/* False: errno says why, and some of it may be written.  Syncs nothing. */
bool whole_write(int fd, struct str text);

#endif
