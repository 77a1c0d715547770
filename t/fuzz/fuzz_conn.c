/* SPDX-License-Identifier: ISC */
/*
 * Fuzz entry of the line reader.  The first octet is the longest line, the
 * second says in which pieces the rest comes: whatever they are, the lines are
 * the same, and so are the octets that a line ending in {n} announces.
 */
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "sys/conn.h"

#include <assert.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { PIECES_MOST = 64, OCTETS_MOST = 4096 };

/* What the other side says, each piece a packet. */
static int
say(struct str in, size_t piece)
{
	int pair[2];
	assert(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) == 0);
	for (int i = 0; in.n > 0; i++) {
		struct str out = i < PIECES_MOST ? str_head(in, piece) : in;
		assert(send(pair[0], out.p, out.n, MSG_DONTWAIT) ==
			(ssize_t)out.n);
		in = str_skip(in, out.n);
	}
	close(pair[0]);
	return pair[1];
}

/* "... {12}" */
static size_t
announced(struct str line)
{
	size_t at = str_find_last(line, '{');
	uint64_t n = 0;
	if (at == line.n || !str_ends(line, STR("}")))
		return 0;
	struct str digits = str_skip(line, at + 1);
	return str_number(str_head(digits, digits.n - 1), 200, &n) ? n : 0;
}

/* Lines and how they ended, and literals, in words. */
static struct str
hear(struct arena *a, struct str in, size_t piece, size_t limit)
{
	char octets[200];
	struct str line;
	enum conn_line how;
	struct buf *heard = buf_new(a);
	int fd = say(in, piece);
	struct conn *c = conn_new(a, fd, fd);
	conn_deadline(c, clock_in(60000));
	while ((how = conn_line(c, limit, &line)) != LINE_NONE) {
		buf_printf(heard, "%d ", how);
		if (how == LINE_TOO_LONG)
			continue;
		assert(line.n <= limit + (how == LINE_BARE));
		assert(how == LINE_BARE || (!str_has(line, '\n') &&
			!str_has(line, '\r')));
		buf_add(heard, line);
		size_t n = announced(line);
		if (n > 0 && conn_read(c, octets, n))
			buf_add(heard, str_of(octets, n));
	}
	assert(conn_state(c) == CONN_EOF);
	conn_close(c);
	return buf_str(heard);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct arena *a = arena_new("fuzz");
	struct str in = str_of(data, n);
	if (n > 2 && n < OCTETS_MOST) {
		size_t limit = (size_t)data[0] + 1, piece = data[1] % 16u + 1;
		in = str_skip(in, 2);
		assert(str_eq(hear(a, in, in.n, limit),
			hear(a, in, piece, limit)));
	}
	arena_free(a);
	return 0;
}
