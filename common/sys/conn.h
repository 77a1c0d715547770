/* SPDX-License-Identifier: ISC */
/*
 * conn: a client (or server) on a plain stream: buffered lines and literals
 * in, buffered octets out, with deadlines and limits.
 *
 * What always holds:
 *  - a read waits at most until the deadline set by conn_deadline; a write
 *    that cannot go out for the write timeout breaks the connection;
 *  - once a read or write has failed the connection stays failed, and
 *    conn_state says how;
 *  - output waits in the buffer until conn_flush, a full buffer, or a read
 *    that has to wait for input: a pipelined batch is answered by one write;
 *  - views into input hold until the next call that reads.
 *
 * The conn does not own its descriptors' lifetime beyond conn_close.
 */
#ifndef SYS_CONN_H
#define SYS_CONN_H

#include "base/buf.h"
#include "base/str.h"

struct arena;

enum conn_state {
	CONN_OPEN,
	CONN_EOF, /* the peer closed its side */
	CONN_TIMEOUT, /* the deadline passed */
	CONN_BROKEN, /* reset, or could not be written to */
	CONN_STOPPED, /* conn_stop_on */
};

enum conn_line {
	LINE_OK,
	LINE_TOO_LONG, /* swallowed up to its LF; line is how it began */
	LINE_BARE, /* ended by LF without CR, or holds a bare CR */
	LINE_NONE, /* conn_state is no longer CONN_OPEN */
};

struct conn;

/* in and out may be the same socket, or a pair of pipes. */
struct conn *conn_new(struct arena *a, int in, int out);

/* Closes the descriptors after a flush; harmless when already closed. */
void conn_close(struct conn *c);

enum conn_state conn_state(const struct conn *c);

/* Reads fail with CONN_TIMEOUT after this point (clock_in(ms)). */
void conn_deadline(struct conn *c, int64_t deadline);
/* No wait lasts longer than until this descriptor is readable: the process is
 * to end (program_stop_fd).  What can be written without waiting still is. */
void conn_stop_on(struct conn *c, int fd);
/* How long one blocked write may take; default 300000. */
void conn_write_timeout(struct conn *c, int64_t ms);

/*
 * The next line without its line end.  With LINE_BARE the view is set too, so
 * that the caller may be lenient (POP3, IMAP) or refuse (SMTP, where only
 * CRLF ends a line).  limit counts octets without the line end; one
 * that is LF alone leaves room for one more.
 */
enum conn_line conn_line(struct conn *c, size_t limit, struct str *line);

/* How much of a line that is too long is swallowed; beyond that the connection
 * is broken.  Default: until the deadline. */
void conn_swallow(struct conn *c, size_t most);

/* True when a whole line (or any input) waits: do not flush yet. */
bool conn_has_line(const struct conn *c);
bool conn_has_input(const struct conn *c);

/*
 * What is buffered, after waiting for at least one octet: false when the
 * connection failed.  Use up part of it with conn_consume.
 */
bool conn_peek(struct conn *c, struct str *input);
void conn_consume(struct conn *c, size_t n);

/* Exactly n octets copied to `to`; false when the connection failed. */
bool conn_read(struct conn *c, char *to, size_t n);

/* Waits for input until deadline without consuming any; also returns when
 * other_fd (>= 0) is readable.  Flushes first. */
enum conn_wait {
	WAIT_INPUT,
	WAIT_OTHER,
	WAIT_DEADLINE,
	WAIT_CLOSED,
};
enum conn_wait conn_wait(struct conn *c, int other_fd, int64_t deadline);
/* The same, for a whole line, or more than limit octets of one: who sends an
 * octet now and then is waited for no longer than who sends none. */
enum conn_wait conn_wait_line(struct conn *c, size_t limit, int other_fd,
	int64_t deadline);
/* And as long as there is patience, in ms, which is asked for again every two
 * seconds (look: it may be another by now).  Sets the deadline of the read to
 * come. */
typedef int64_t (*conn_patience_fn)(void *ctx, bool look);
enum conn_wait conn_wait_patiently(struct conn *c, size_t limit, int other_fd,
	conn_patience_fn patience, void *ctx);

/* The client is silent: what memory the last command needed above the usual
 * goes back to the system. */
void conn_rest(struct conn *c);

void conn_write(struct conn *c, struct str s);
void conn_puts(struct conn *c, const char *cstr);
void conn_printf(struct conn *c, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* The output buffer itself, for writers that append to a buf. */
struct buf *conn_out(struct conn *c);
/* Called after appending to conn_out: writes when the buffer is full. */
void conn_pace(struct conn *c);
bool conn_flush(struct conn *c);
/* Could a few lines be flushed now, without waiting for the peer? */
bool conn_is_writable(struct conn *c);
/* For who works long without reading or writing: false, and so is the state
 * from then on, when the peer has hung up or the process is to end.  A peer
 * that closed its sending side alone still waits for the answer. */
bool conn_check(struct conn *c);

/* n octets of a file from offset on, after what is buffered. */
bool conn_sendfile(struct conn *c, int fd, int64_t offset, size_t n);

/*
 * Another descriptor underneath (after STARTTLS).  Input that was buffered
 * before is thrown away and its amount returned: above 0 means a client that
 * spoke before TLS was there, which the caller must treat as an attack.
 */
size_t conn_swap(struct conn *c, int in, int out);

/* The descriptors, for handing them to another process; a session socket has
 * the same one twice. */
int conn_fd(const struct conn *c);
/* Buffered input not yet consumed, for the same purpose. */
struct str conn_pending(const struct conn *c);
/* Input known before the first read (handed over with the descriptor). */
void conn_preload(struct conn *c, struct str input);

/* Compression and the like: input and output pass through a filter.  decode
 * appends to out what `in` yields, or the first part of it: then more says so,
 * and is NULL for filters that never do that; encode likewise, flushed when
 * asked.  held: what was given to decode and is not decoded yet.  decode stops
 * where the other side may have ended its coding. */
struct conn_filter {
	bool (*decode)(void *ctx, struct str in, struct buf *out);
	bool (*more)(void *ctx);
	struct str (*held)(void *ctx);
	bool (*encode)(void *ctx, struct str in, struct buf *out);
	void *ctx;
};
void conn_filter(struct conn *c, const struct conn_filter *f);
/* Ends it in both directions, if there is one: what is held is input as it
 * came. */
void conn_unfilter(struct conn *c);

#endif
