/* SPDX-License-Identifier: ISC */
/*
 * One pass, line by line: the state between two pieces is the last octet and
 * the length of the line.
 */
#include "stuff.h"

void
stuff_start(struct stuff *w)
{
	*w = (struct stuff){.before = '\n'};
}

void
stuff_top(struct stuff *w, uint64_t lines)
{
	stuff_start(w);
	w->top = true;
	w->lines = lines;
}

/* A line has ended.  The first without anything but its line end ends the
 * header. */
static void
count_line(struct stuff *w)
{
	bool empty =
		w->length == 0 || (w->length == 1 && w->before == '\r');
	if (!w->body)
		w->body = empty;
	else if (w->lines > 0)
		w->lines--;
	w->done = w->body && w->lines == 0;
}

/* Every octet becomes two at most. */
void
stuff_feed(struct stuff *w, struct str octets, struct buf *out)
{
	const char *p = octets.p, *end = octets.p + octets.n;
	char *room = buf_room(out, octets.n * 2), *to = room;
	while (p < end && !w->done) {
		const char *lf = memchr(p, '\n', (size_t)(end - p));
		size_t n = (size_t)((lf == NULL ? end : lf) - p);
		if (w->length == 0 && *p == '.')
			*to++ = '.';
		if (n > 0) {
			to = mempcpy(to, p, n);
			w->before = p[n - 1];
			w->length += n;
		}
		if (lf == NULL)
			break;
		if (w->before != '\r')
			*to++ = '\r';
		*to++ = '\n';
		if (w->top)
			count_line(w);
		w->before = '\n';
		w->length = 0;
		p = lf + 1;
	}
	buf_grew(out, (size_t)(to - room));
}

void
stuff_end(struct stuff *w, struct buf *out)
{
	if (w->length > 0)
		buf_adds(out, "\r\n");
	if (w->top && !w->body)
		buf_adds(out, "\r\n");
	buf_adds(out, ".\r\n");
}
