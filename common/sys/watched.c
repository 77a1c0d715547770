/* SPDX-License-Identifier: ISC */
#include "sys/watched.h"
#include "sys/whole.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_MOST = 64 << 20 };

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
	new = new && whole_read(fd, text, FILE_MOST);
	close(fd);
	return new;
}
