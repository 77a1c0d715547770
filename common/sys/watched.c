/* SPDX-License-Identifier: ISC */
#include "sys/watched.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_MOST = 64 << 20 };

static bool
read_all(int fd, struct buf *out)
{
	for (;;) {
		ssize_t n = read(fd, buf_room(out, 65536), 65536);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n == 0;
		buf_grew(out, (size_t)n);
		if (out->n > FILE_MOST)
			return false;
	}
}

bool
watched_read(struct watched *f, struct buf *text, bool first)
{
	struct stat st;
	int fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	bool new = false;
	if (fd < 0)
		return false;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
		int64_t when = (int64_t)st.st_mtim.tv_sec * 1000000000 +
			st.st_mtim.tv_nsec;
		new = first || when != f->changed || st.st_size != f->size ||
			st.st_ino != f->inode;
		f->changed = when;
		f->size = st.st_size;
		f->inode = st.st_ino;
	}
	new = new && read_all(fd, text);
	close(fd);
	return new;
}
