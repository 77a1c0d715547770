/* SPDX-License-Identifier: ISC */
/*
 * Blocking streams with deadlines.  Descriptors are made non-blocking, waits
 * are poll(2); one read takes what is there, so that a pipelining client
 * costs one system call a batch.
 */
#include "sys/conn.h"
#include "base/arena.h"
#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	READ_CHUNK = 16 * 1024,
	READ_MOST = 64 * 1024,
	OUTPUT_FULL = 32 * 1024,
	DEFAULT_WRITE_TIMEOUT = 300 * 1000,
};

struct conn {
	int in, out;
	int stop; /* -1: none */
	enum conn_state state;
	int64_t deadline;
	int64_t write_timeout;
	struct buf *input;
	size_t chunk; /* octets to read at once */
	size_t taken; /* octets of input already consumed */
	size_t swallow_most;
	char begin[16]; /* of the line that was too long last */
	struct buf *output;
	struct buf *encoded;
	struct conn_filter filter;
	bool write_failed;
};

static void
set_nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);
	if (flags >= 0 && (flags & O_NONBLOCK) == 0)
		fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

struct conn *
conn_new(struct arena *a, int in, int out)
{
	struct conn *c = arena_one(a, struct conn);
	c->in = in;
	c->out = out;
	c->stop = -1;
	c->deadline = CLOCK_FOREVER;
	c->write_timeout = DEFAULT_WRITE_TIMEOUT;
	c->chunk = READ_CHUNK;
	c->swallow_most = SIZE_MAX;
	c->input = buf_new(a);
	c->output = buf_new(a);
	c->encoded = buf_new(a);
	set_nonblocking(in);
	if (out != in)
		set_nonblocking(out);
	return c;
}

void
conn_close(struct conn *c)
{
	if (c->in < 0)
		return;
	conn_flush(c);
	close(c->in);
	if (c->out != c->in)
		close(c->out);
	c->in = c->out = -1;
	if (c->state == CONN_OPEN)
		c->state = CONN_EOF;
}

enum conn_state
conn_state(const struct conn *c)
{
	return c->state;
}

void
conn_deadline(struct conn *c, int64_t deadline)
{
	c->deadline = deadline;
}

void
conn_stop_on(struct conn *c, int fd)
{
	c->stop = fd;
}

void
conn_write_timeout(struct conn *c, int64_t ms)
{
	c->write_timeout = ms;
}

static struct str
unread(const struct conn *c)
{
	return str_skip(buf_str(c->input), c->taken);
}

/* Moves what is left to the front, so that lines stay contiguous. */
static void
compact(struct conn *c)
{
	if (c->taken == 0)
		return;
	buf_drop(c->input, c->taken);
	c->taken = 0;
}

static bool
fail(struct conn *c, enum conn_state how)
{
	if (c->state == CONN_OPEN)
		c->state = how;
	return false;
}

static bool
wait_for(struct conn *c, int fd, short events, int64_t deadline)
{
	struct pollfd p[2] = {{.fd = fd, .events = events},
		{.fd = c->stop, .events = POLLIN}};
	for (;;) {
		int n = poll(p, 2, clock_left(deadline));
		if (n > 0 && p[0].revents == 0)
			return fail(c, CONN_STOPPED);
		if (n > 0)
			return true;
		if (n == 0)
			return fail(c, CONN_TIMEOUT);
		if (errno != EINTR)
			return fail(c, CONN_BROKEN);
	}
}

/* Is there input in the filter that need not be waited for? */
static bool
has_more(const struct conn *c)
{
	return c->filter.more != NULL && c->filter.more(c->filter.ctx);
}

/* Into the input buffer straight, or through the filter. */
static ssize_t
read_once(struct conn *c)
{
	if (c->filter.decode == NULL) {
		ssize_t n = read(c->in, buf_room(c->input, c->chunk), c->chunk);
		if (n > 0)
			buf_grew(c->input, (size_t)n);
		return n;
	}
	char raw[READ_CHUNK];
	if (has_more(c)) {
		if (c->filter.decode(c->filter.ctx, STR(""), c->input))
			return 1;
		errno = EBADMSG;
		return -1;
	}
	ssize_t n = read(c->in, raw, sizeof raw);
	if (n > 0 && !c->filter.decode(
		c->filter.ctx, str_of(raw, (size_t)n), c->input)) {
		errno = EBADMSG;
		return -1;
	}
	return n;
}

/*
 * One read.  Whoever is owed an answer has not sent anything yet: flush and
 * wait, then read; else read, and wait only when nothing is there.
 */
static bool
fill(struct conn *c)
{
	if (c->state != CONN_OPEN)
		return false;
	compact(c);
	bool wait = c->output->n > 0 && !has_more(c);
	for (;;) {
		if (wait && (!conn_flush(c) ||
			!wait_for(c, c->in, POLLIN, c->deadline)))
			return false;
		ssize_t n = read_once(c);
		if (n > 0) {
			/* More where that came from: fewer, larger reads. */
			c->chunk = (size_t)n == c->chunk ? READ_MOST
							 : READ_CHUNK;
			return true;
		}
		if (n == 0)
			return fail(c, CONN_EOF);
		wait = errno == EAGAIN;
		if (!wait && errno != EINTR)
			return fail(c, CONN_BROKEN);
	}
}

/* Drops a line that is too long, but for how it begins. */
static enum conn_line
swallow_line(struct conn *c, struct str *line)
{
	size_t swallowed = 0;
	struct str begin = str_head(unread(c), sizeof c->begin);
	memcpy(c->begin, begin.p, begin.n);
	*line = str_of(c->begin, begin.n);
	for (;;) {
		struct str have = unread(c);
		size_t at = str_find(have, '\n');
		if (at < have.n) {
			c->taken += at + 1;
			return LINE_TOO_LONG;
		}
		c->taken += have.n;
		swallowed += have.n;
		if (swallowed > c->swallow_most)
			fail(c, CONN_BROKEN);
		if (!fill(c))
			return LINE_NONE;
	}
}

void
conn_swallow(struct conn *c, size_t most)
{
	c->swallow_most = most;
}

static enum conn_line
judge_line(struct str *line)
{
	bool crlf = line->n > 0 && line->p[line->n - 1] == '\r';
	if (crlf)
		line->n--;
	return crlf && !str_has(*line, '\r') ? LINE_OK : LINE_BARE;
}

enum conn_line
conn_line(struct conn *c, size_t limit, struct str *line)
{
	size_t seen = 0;
	for (;;) {
		struct str have = unread(c);
		size_t at = seen + str_find(str_skip(have, seen), '\n');
		if (at < have.n && at <= limit + 1) {
			*line = str_head(have, at);
			c->taken += at + 1;
			return judge_line(line);
		}
		if (at < have.n || have.n > limit + 1)
			return swallow_line(c, line);
		seen = have.n;
		if (!fill(c))
			return LINE_NONE;
	}
}

bool
conn_has_line(const struct conn *c)
{
	return str_has(unread(c), '\n');
}

bool
conn_has_input(const struct conn *c)
{
	return unread(c).n > 0;
}

bool
conn_peek(struct conn *c, struct str *input)
{
	while (unread(c).n == 0)
		if (!fill(c))
			return false;
	*input = unread(c);
	return true;
}

void
conn_consume(struct conn *c, size_t n)
{
	c->taken += n;
}

bool
conn_read(struct conn *c, char *to, size_t n)
{
	struct str have;
	while (n > 0) {
		if (!conn_peek(c, &have))
			return false;
		have = str_head(have, n);
		to = mempcpy(to, have.p, have.n);
		c->taken += have.n;
		n -= have.n;
	}
	return true;
}

/* For more than there is. */
static enum conn_wait
wait_more(struct conn *c, int other_fd, int64_t deadline)
{
	if (c->state != CONN_OPEN || !conn_flush(c))
		return WAIT_CLOSED;
	struct pollfd p[3] = {
		{.fd = c->in, .events = POLLIN},
		{.fd = other_fd, .events = POLLIN},
		{.fd = c->stop, .events = POLLIN},
	};
	for (;;) {
		int n = poll(p, 3, clock_left(deadline));
		if (n == 0)
			return WAIT_DEADLINE;
		if (n < 0 && errno != EINTR)
			return WAIT_CLOSED;
		if (n > 0)
			break;
	}
	if (p[2].revents != 0) {
		fail(c, CONN_STOPPED);
		return WAIT_CLOSED;
	}
	return p[0].revents != 0 ? WAIT_INPUT : WAIT_OTHER;
}

enum conn_wait
conn_wait(struct conn *c, int other_fd, int64_t deadline)
{
	if (conn_has_input(c) || has_more(c))
		return WAIT_INPUT;
	return wait_more(c, other_fd, deadline);
}

enum conn_wait
conn_wait_line(struct conn *c, size_t limit, int other_fd, int64_t deadline)
{
	while (!conn_has_line(c) && unread(c).n <= limit + 1 && !has_more(c)) {
		enum conn_wait w = wait_more(c, other_fd, deadline);
		if (w != WAIT_INPUT || !fill(c))
			return w;
	}
	return WAIT_INPUT;
}

enum conn_wait
conn_wait_patiently(struct conn *c, size_t limit, int other_fd,
	conn_patience_fn patience, void *ctx)
{
	enum { LOOK_EVERY_MS = 2 * 1000 };
	int64_t start = clock_ms(), last = start + patience(ctx, false);
	enum conn_wait w;
	for (;;) {
		int64_t next = clock_in(LOOK_EVERY_MS);
		w = conn_wait_line(c, limit, other_fd,
			next < last ? next : last);
		if (w != WAIT_DEADLINE || clock_ms() >= last)
			break;
		last = start + patience(ctx, true);
	}
	conn_deadline(c, last);
	return w;
}

bool
conn_is_writable(struct conn *c)
{
	struct pollfd p = {.fd = c->out, .events = POLLOUT};
	return !c->write_failed && c->output->n < OUTPUT_FULL / 8 &&
		poll(&p, 1, 0) == 1 && (p.revents & POLLOUT);
}

bool
conn_check(struct conn *c)
{
	struct pollfd p[2] = {
		{.fd = c->out}, {.fd = c->stop, .events = POLLIN}};
	if (c->state == CONN_OPEN && poll(p, 2, 0) > 0)
		fail(c, p[1].revents != 0 ? CONN_STOPPED : CONN_BROKEN);
	return c->state == CONN_OPEN;
}

void
conn_rest(struct conn *c)
{
	compact(c);
	buf_shrink(c->input, OUTPUT_FULL);
	buf_shrink(c->output, OUTPUT_FULL * 2);
	buf_shrink(c->encoded, OUTPUT_FULL * 2);
	malloc_trim(0);
}

static bool
write_all(struct conn *c, struct str s)
{
	int64_t deadline = clock_in(c->write_timeout);
	while (s.n > 0) {
		ssize_t n = write(c->out, s.p, s.n);
		if (n > 0)
			s = str_skip(s, (size_t)n);
		else if (n < 0 && errno == EAGAIN) {
			if (!wait_for(c, c->out, POLLOUT, deadline))
				return false;
		} else if (n < 0 && errno != EINTR)
			return fail(c, CONN_BROKEN);
	}
	return true;
}

bool
conn_flush(struct conn *c)
{
	struct buf *from = c->output;
	if (from->n == 0 || c->write_failed || c->out < 0)
		return !c->write_failed;
	if (c->filter.encode != NULL) {
		buf_clear(c->encoded);
		if (!c->filter.encode(
			c->filter.ctx, buf_str(from), c->encoded))
			return fail(c, CONN_BROKEN);
		from = c->encoded;
	}
	c->write_failed = !write_all(c, buf_str(from));
	buf_clear(c->output);
	return !c->write_failed;
}

void
conn_pace(struct conn *c)
{
	if (c->output->n >= OUTPUT_FULL)
		conn_flush(c);
}

void
conn_write(struct conn *c, struct str s)
{
	buf_add(c->output, s);
	conn_pace(c);
}

void
conn_puts(struct conn *c, const char *cstr)
{
	conn_write(c, str_from(cstr));
}

void
conn_printf(struct conn *c, const char *fmt, ...)
{
	va_list ap, again;
	va_start(ap, fmt);
	va_copy(again, ap);
	int n = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	if (n > 0) {
		char *to = buf_room(c->output, (size_t)n + 1);
		vsnprintf(to, (size_t)n + 1, fmt, ap);
		buf_grew(c->output, (size_t)n);
	}
	va_end(ap);
	conn_pace(c);
}

struct buf *
conn_out(struct conn *c)
{
	return c->output;
}

/* Where sendfile does not apply (filters, pipes): through the buffer. */
static bool
copy_file(struct conn *c, int fd, int64_t offset, size_t n)
{
	char raw[READ_CHUNK];
	while (n > 0) {
		size_t want = n < sizeof raw ? n : sizeof raw;
		ssize_t got = pread(fd, raw, want, offset);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return fail(c, CONN_BROKEN);
		conn_write(c, str_of(raw, (size_t)got));
		offset += got;
		n -= (size_t)got;
	}
	return !c->write_failed;
}

bool
conn_sendfile(struct conn *c, int fd, int64_t offset, size_t n)
{
	int64_t deadline = clock_in(c->write_timeout);
	if (c->filter.encode != NULL || n <= READ_CHUNK)
		return copy_file(c, fd, offset, n);
	if (!conn_flush(c))
		return false;
	while (n > 0) {
		off_t at = offset;
		ssize_t sent = sendfile(c->out, fd, &at, n);
		if (sent > 0) {
			offset += sent;
			n -= (size_t)sent;
		} else if (sent == 0) {
			return fail(c, CONN_BROKEN);
		} else if (errno == EAGAIN) {
			if (!wait_for(c, c->out, POLLOUT, deadline))
				return false;
		} else if (errno == EINVAL || errno == ENOSYS) {
			return copy_file(c, fd, offset, n);
		} else if (errno != EINTR) {
			c->write_failed = true;
			return fail(c, CONN_BROKEN);
		}
	}
	return true;
}

size_t
conn_swap(struct conn *c, int in, int out)
{
	size_t lost = unread(c).n;
	buf_clear(c->input);
	c->taken = 0;
	if (c->in != in)
		close(c->in);
	if (c->out != c->in && c->out != out)
		close(c->out);
	c->in = in;
	c->out = out;
	set_nonblocking(in);
	if (out != in)
		set_nonblocking(out);
	return lost;
}

int
conn_fd(const struct conn *c)
{
	return c->in;
}

struct str
conn_pending(const struct conn *c)
{
	return unread(c);
}

void
conn_preload(struct conn *c, struct str input)
{
	buf_add(c->input, input);
}

/* What was read ahead of the switch is already in the new coding. */
void
conn_filter(struct conn *c, const struct conn_filter *f)
{
	conn_flush(c);
	c->filter = *f;
	if (f->decode == NULL || unread(c).n == 0)
		return;
	compact(c);
	struct buf raw = *c->input;
	*c->input = (struct buf){0};
	if (!f->decode(f->ctx, buf_str(&raw), c->input))
		fail(c, CONN_BROKEN);
	free(raw.p);
}

void
conn_unfilter(struct conn *c)
{
	conn_flush(c);
	if (c->filter.held != NULL)
		buf_add(c->input, c->filter.held(c->filter.ctx));
	c->filter = (struct conn_filter){0};
}
