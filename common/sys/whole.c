/* SPDX-License-Identifier: ISC */
#include "sys/whole.h"

#include <errno.h>
#include <unistd.h>

enum { STEP = 16384 };

bool
whole_read(int fd, struct buf *text, size_t most)
{
	size_t before = text->n;
	while (text->n - before <= most) {
		ssize_t n = read(fd, buf_room(text, STEP), STEP);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n == 0;
		buf_grew(text, (size_t)n);
	}
	errno = EFBIG;
	return false;
}

bool
whole_write(int fd, struct str text)
{
	while (text.n > 0) {
		ssize_t n = write(fd, text.p, text.n);
		if (n < 0 && errno == EINTR)
			continue;
		if (n == 0)
			errno = EIO;
		if (n <= 0)
			return false;
		text = str_skip(text, (size_t)n);
	}
	return true;
}
