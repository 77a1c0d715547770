/* SPDX-License-Identifier: ISC */
/*
 * Files of a scan that will all be read, opened some rows before and asked of
 * the disk together: who reads one after the other waits for each.
 */
#include "store/index.h"

#include <fcntl.h>
#include <unistd.h>

enum {
	ROWS = 16,
	TEXTS_MOST = 1024 * 1024, /* of their rows */
	OCTETS = 128 * 1024, /* of a file; for more the kernel looks ahead */
};

struct ahead {
	struct arena *arena;
	struct arena_mark empty;
	struct {
		struct message_row row;
		int fd; /* -1: was taken, or is to be looked for */
	} v[ROWS];
	size_t n, at; /* those before at were handed out */
	bool ended;
};

int
mailbox_file_ahead(struct mailbox *m, struct arena *a,
	const struct message_row *row)
{
	int fd = maildir_parse(row->name).has_size ? mailbox_file(m, a, row)
						   : -1;
	if (fd >= 0)
		posix_fadvise(fd, 0, OCTETS, POSIX_FADV_WILLNEED);
	return fd;
}

static struct ahead *
ahead_new(void)
{
	struct arena *own = arena_new("ahead");
	arena_limit(own, (size_t)1 << 30);
	struct ahead *x = arena_one(own, struct ahead);
	x->arena = own;
	x->empty = arena_mark(own);
	return x;
}

static void
gather(struct mailbox *m, struct mailbox_scan *c, struct ahead *x)
{
	arena_rewind(x->arena, x->empty);
	x->n = x->at = 0;
	while (x->n < ROWS && arena_used(x->arena) < TEXTS_MOST) {
		struct message_row *row = &x->v[x->n].row;
		x->ended = x->ended || !scan_next(m, c, row);
		if (x->ended)
			return;
		message_keep(x->arena, c->want, row);
		x->v[x->n++].fd = mailbox_file_ahead(m, x->arena, row);
	}
}

static void
close_passed(struct ahead *x)
{
	if (x->at > 0 && x->v[x->at - 1].fd >= 0) {
		close(x->v[x->at - 1].fd);
		x->v[x->at - 1].fd = -1;
	}
}

bool
ahead_next(struct mailbox *m, struct mailbox_scan *c, struct message_row *row)
{
	if (m->ahead == NULL)
		m->ahead = ahead_new();
	struct ahead *x = m->ahead;
	close_passed(x);
	if (x->at == x->n)
		gather(m, c, x);
	if (x->at == x->n)
		return false;
	*row = x->v[x->at++].row;
	return true;
}

int
ahead_take(struct mailbox *m, uint32_t uid)
{
	struct ahead *x = m->ahead;
	if (x == NULL || x->at == 0 || x->v[x->at - 1].row.uid != uid)
		return -1;
	int fd = x->v[x->at - 1].fd;
	x->v[x->at - 1].fd = -1;
	return fd;
}

void
ahead_end(struct mailbox *m)
{
	struct ahead *x = m->ahead;
	m->ahead = NULL;
	if (x == NULL)
		return;
	for (close_passed(x); x->at < x->n; close_passed(x))
		x->at++;
	arena_free(x->arena);
}
