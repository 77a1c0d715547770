/* SPDX-License-Identifier: ISC */
/*
 * Each link that is made or taken away sets the time of change, which is that
 * of the last tick of the system's clock.  One that has not moved since the
 * tick before the name was looked up says that no link came or went.
 */
#include "sys/alone.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

enum {
	TICK_NS = 12000000, /* the longest is 10 ms */
	OLD_NS = 50000000,
};

static bool
is_old(struct timespec t)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	long long ns = (long long)(now.tv_sec - t.tv_sec) * 1000000000 +
		(now.tv_nsec - t.tv_nsec);
	return ns > OLD_NS;
}

bool
is_alone(int dir, const char *name, int fd)
{
	const struct timespec tick = {.tv_nsec = TICK_NS};
	struct stat before, there, after;
	if (fstat(fd, &before) != 0)
		return false;
	if (!is_old(before.st_ctim))
		nanosleep(&tick, NULL);
	return fstatat(dir, name, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
		fstat(fd, &after) == 0 && after.st_nlink == 1 &&
		there.st_ino == after.st_ino && there.st_dev == after.st_dev &&
		before.st_ctim.tv_sec == after.st_ctim.tv_sec &&
		before.st_ctim.tv_nsec == after.st_ctim.tv_nsec;
}
