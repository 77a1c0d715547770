/* SPDX-License-Identifier: ISC */
/* sd_notify(3) and sd_watchdog_enabled(3), which are a datagram and two
 * variables. */
#include "sys/notify.h"
#include "base/str.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

void
notify_starter(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	char text[128];
	struct timespec now;
	if (path == NULL || strlen(path) >= sizeof sun.sun_path)
		return;
	memcpy(sun.sun_path, path, strlen(path));
	socklen_t n = (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
		strlen(path));
	if (*path == '@')
		sun.sun_path[0] = '\0';
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	/* systemd checks RELOADING=1 by its own clock. */
	clock_gettime(CLOCK_MONOTONIC, &now);
	int len = snprintf(text, sizeof text, "%s\nMONOTONIC_USEC=%lld%06ld",
		state, (long long)now.tv_sec, now.tv_nsec / 1000);
	sendto(fd, text, (size_t)len, MSG_NOSIGNAL, (struct sockaddr *)&sun,
		n);
	close(fd);
}

int64_t
notify_watchdog(void)
{
	uint64_t us, pid;
	const char *for_whom = getenv("WATCHDOG_PID");
	if (!str_number(str_from(getenv("WATCHDOG_USEC")), INT64_MAX, &us))
		return 0;
	if (for_whom != NULL && (!str_number(str_from(for_whom), INT32_MAX,
		&pid) || pid != (uint64_t)getpid()))
		return 0;
	/* Twice as often as awaited. */
	return (int64_t)(us / 2000);
}
