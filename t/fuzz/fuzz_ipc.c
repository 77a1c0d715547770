/* SPDX-License-Identifier: ISC */
/*
 * Fuzz entry of the IPC reader: the input is a packet from a process that was
 * taken over.  What is taken for a message is written and read again as the
 * same, both as bytes and through a socket, and its description shows no
 * secret.
 */
#include "ask/messages.h"
#include "base/arena.h"
#include "sys/ipc.h"

#include <assert.h>
#include <sys/socket.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void
check_described(const struct message *m, struct buf *text)
{
	ipc_describe(&ask_messages, m, text);
	for (size_t i = 0; i < text->n; i++)
		assert((unsigned char)text->p[i] >= 0x20 ||
			text->p[i] == '\n');
	if (m->kind == MSG_auth_step && m->auth_step.response.n > 0)
		assert(str_search(buf_str(text), STR("response=(secret)")) <
			text->n);
}

static void
check_again(struct arena *a, const struct message *m)
{
	struct buf *once = buf_new(a), *twice = buf_new(a);
	struct message again;
	ipc_encode(&ask_messages, m, once);
	assert(ipc_decode(&ask_messages, a, buf_str(once), &again));
	assert(again.kind == m->kind && again.fd == -1);
	ipc_encode(&ask_messages, &again, twice);
	assert(str_eq(buf_str(once), buf_str(twice)));
	check_described(m, buf_new(a));
}

/* The same bytes as a packet. */
static void
check_socket(struct arena *a, struct str bytes, bool good)
{
	static int pair[2] = {-1, -1};
	struct message m;
	if (pair[0] < 0)
		ipc_pair(pair);
	if (bytes.n == 0 || bytes.n > IPC_PACKET_MOST ||
		send(pair[0], bytes.p, bytes.n, 0) != (ssize_t)bytes.n)
		return;
	enum ipc_result r = ipc_recv(&ask_messages, pair[1], a, &m);
	assert(r == (good ? IPC_OK : IPC_BAD));
	assert(r != IPC_OK || m.fd == -1);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct arena *a = arena_new("fuzz");
	struct str bytes = str_of(data, n);
	struct message m;
	bool good = ipc_decode(&ask_messages, a, bytes, &m);
	assert(m.fd == -1);
	if (good)
		check_again(a, &m);
	check_socket(a, bytes, good);
	arena_free(a);
	return 0;
}
