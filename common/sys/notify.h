/* SPDX-License-Identifier: ISC */
/* notify: telling systemd, or whoever gave us NOTIFY_SOCKET, how we are. */
#ifndef SYS_NOTIFY_H
#define SYS_NOTIFY_H

#include <stdint.h>

/* "READY=1", "RELOADING=1", "STOPPING=1", "WATCHDOG=1"; nothing happens when
 * nobody listens. */
void notify_starter(const char *state);

/* How often WATCHDOG=1 is awaited, ms; 0: never. */
int64_t notify_watchdog(void);

#endif
