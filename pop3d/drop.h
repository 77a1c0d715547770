/* SPDX-License-Identifier: ISC */
/* What the commands on messages lend each other. */
#ifndef POP3D_DROP_H
#define POP3D_DROP_H

#include "maildrop.h"
#include "pop3d.h"

/* Cuts a number off the arguments. */
bool drop_number(struct str *args, uint64_t most, uint64_t *number);
/* Arguments that are one message number; too large ones are just that. */
bool drop_message(struct str args, uint32_t *number);
/* The answer to a number that is not THERE. */
struct pop3_reply drop_refusal(enum drop_fate fate);

#endif
