/* SPDX-License-Identifier: ISC */
/*
 * alone: is an open file what a name says, and has it no other name?
 *
 * Where others may make names, a file that has one link need not be ours: a
 * link to somebody's file that is gone when links are counted, and there again
 * when names are compared, was followed all the same.
 */
#ifndef SYS_ALONE_H
#define SYS_ALONE_H

#include <stdbool.h>

/*
 * True when name in the directory dir was the only link of the file behind fd,
 * at one moment within this call.  False also when its links, owner or
 * contents were changed meanwhile.  A file that was changed a moment ago costs
 * a few milliseconds.
 */
bool is_alone(int dir, const char *name, int fd);

#endif
