/* SPDX-License-Identifier: ISC */
/* The file is one that nobody changes any more: it is mapped, not read. */
#include "mapped.h"
#include "base/arena.h"
#include "base/buf.h"
#include "mail/convert.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct mapping {
	void *p;
	size_t n;
};

static void
unmap(void *ctx)
{
	struct mapping *m = ctx;
	munmap(m->p, m->n);
}

bool
mapped_content(struct arena *a, struct message *m, struct str *out)
{
	struct stat st;
	*out = m->job.content;
	if (m->fd < 0)
		return true;
	int fd = message_take_fd(m);
	void *p = MAP_FAILED;
	bool ok = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
	*out = STR("");
	if (ok && st.st_size > 0)
		p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd,
			0);
	close(fd);
	if (!ok || st.st_size == 0)
		return ok;
	if (p == MAP_FAILED)
		return false;
	struct mapping *kept = arena_one(a, struct mapping);
	*kept = (struct mapping){p, (size_t)st.st_size};
	arena_hook(a, unmap, kept);
	*out = str_of(p, kept->n);
	return true;
}

struct status
mapped_lines(struct arena *a, struct message *m, struct str *out)
{
	if (!mapped_content(a, m, out))
		return status_later(3, 0, STR("the content cannot be read"));
	if (!str_eq_nocase(m->job.body_type, STR("BINARYMIME")))
		return status_fine();
	struct buf *lines = buf_new(a);
	struct status st = convert_message(a, *out, CONVERT_BINARY, lines);
	*out = buf_str(lines);
	return st;
}
