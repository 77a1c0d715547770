/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "ask/messages.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "sys/ipc.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

Suite *suite_messages(void);

static struct str rcpts[] = {STR_INIT("a@x"), STR_INIT(""), STR_INIT("c@x")};

static struct message
full_submit(void)
{
	struct message m = MESSAGE(submit);
	m.submit.token = STR("t-1");
	m.submit.sender = STR("s=x@y");
	m.submit.rcpt = (struct str_list){rcpts, 3};
	m.submit.size = -7;
	m.submit.content = STR("a\0b\r\n=");
	return m;
}

START_TEST(what_is_written_is_read)
{
	struct arena *a = arena_new("test");
	struct buf *b = buf_new(a);
	struct message m = full_submit(), back;
	ipc_encode(&ask_messages, &m, b);
	ck_assert(ipc_decode(&ask_messages, a, buf_str(b), &back));
	ck_assert_int_eq(back.kind, MSG_submit);
	ck_assert_int_eq(back.fd, -1);
	ck_assert_view(back.submit.token, "t-1");
	ck_assert_view(back.submit.sender, "s=x@y");
	ck_assert_uint_eq(back.submit.rcpt.n, 3);
	ck_assert_view(back.submit.rcpt.v[2], "c@x");
	ck_assert_int_eq(back.submit.size, -7);
	ck_assert_view(back.submit.content, "a\0b\r\n=");
	arena_free(a);
}
END_TEST

START_TEST(every_kind_round_trips)
{
	for (int k = 0; k < MSG_COUNT; k++) {
		struct arena *a = arena_new("test");
		struct buf *b = buf_new(a);
		struct message m = {.kind = (enum message_kind)k, .fd = -1};
		struct message back;
		ipc_encode(&ask_messages, &m, b);
		ck_assert(ipc_decode(&ask_messages, a, buf_str(b), &back));
		ck_assert_int_eq(back.kind, k);
		arena_free(a);
	}
}
END_TEST

START_TEST(a_nul_in_a_text_cannot_forge_a_field)
{
	struct arena *a = arena_new("test");
	struct buf *b = buf_new(a);
	struct message m = MESSAGE(rcpt_lookup), back;
	m.rcpt_lookup.address = STR("a@b\0sender=evil");
	ipc_encode(&ask_messages, &m, b);
	ck_assert(ipc_decode(&ask_messages, a, buf_str(b), &back));
	ck_assert_view(back.rcpt_lookup.address, "a@b");
	ck_assert_view(back.rcpt_lookup.sender, "");
	arena_free(a);
}
END_TEST

START_TEST(every_prefix_and_every_changed_octet_is_survived)
{
	struct arena *a = arena_new("test");
	struct buf *b = buf_new(a);
	struct message m = full_submit(), back;
	ipc_encode(&ask_messages, &m, b);
	for (size_t n = 0; n < b->n; n++)
		ck_assert(!ipc_decode(
			&ask_messages, a, str_head(buf_str(b), n), &back));
	for (size_t i = 0; i < b->n; i++) {
		for (int c = 0; c < 256; c += 5) {
			char *copy = arena_copy(a, b->p, b->n);
			copy[i] = (char)c;
			ipc_decode(&ask_messages, a, str_of(copy, b->n), &back);
		}
	}
	buf_addc(b, 'x');
	ck_assert(!ipc_decode(&ask_messages, a, buf_str(b), &back));
	arena_free(a);
}
END_TEST

START_TEST(refused_forms)
{
	static const struct str rows[] = {
		STR_INIT(""),
		STR_INIT("\0"),
		STR_INIT("unknown\0"),
		STR_INIT("checkpoint\0"),
		STR_INIT("checkpoint\0turn=\0"),
		STR_INIT("checkpoint\0turn=1x\0"),
		STR_INIT("checkpoint\0turn=99999999999999999999\0"),
		STR_INIT("checkpoint\0turn=1\0turn=1\0"),
		STR_INIT("checkpoint\0torn=1\0"),
		STR_INIT("submitted\0id=x\0status=2.0.0 - ok\0"),
		STR_INIT("done\0status=9.0.0 - ok\0count=1\0"),
		STR_INIT("opened\0status=2.0.0\0name=\0"),
		STR_INIT("key_signed\0status=2.0.0 - ok\0signature=5\0abc\0"),
		STR_INIT("key_signed\0status=2.0.0 - ok\0signature=-1\0abc\0"),
		STR_INIT("key_signed\0status=2.0.0 - ok\0signature=2\0abc\0"),
		STR_INIT("auth_result\0status=2.0.0 - ok\0more=0\0challenge="
			"0\0\0user=\0senders=99999999999\0handed=0\0"),
	};
	struct arena *a = arena_new("test");
	struct message m;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		ck_assert_msg(!ipc_decode(&ask_messages, a, rows[i], &m),
			"row %zu", i);
	ck_assert(ipc_decode(
		&ask_messages, a, STR("checkpoint\0turn=1\0"), &m));
	arena_free(a);
}
END_TEST

START_TEST(secrets_are_not_printed)
{
	struct arena *a = arena_new("test");
	struct buf *b = buf_new(a);
	struct message m = MESSAGE(auth_step);
	m.auth_step.response = STR("hunter2");
	m.auth_step.client = STR("127.0.0.1\n");
	ipc_describe(&ask_messages, &m, b);
	struct str text = buf_str(b);
	ck_assert_uint_eq(str_search(text, STR("hunter2")), text.n);
	ck_assert_uint_lt(str_search(text, STR("(secret)")), text.n);
	ck_assert_uint_lt(str_search(text, STR("127.0.0.1\\x0a")), text.n);
	arena_free(a);
}
END_TEST

START_TEST(descriptors_ride_along)
{
	struct arena *a = arena_new("test");
	int pair[2];
	struct message m = MESSAGE(opened), back;
	ipc_pair(pair);
	m.opened.name = STR("body");
	m.fd = open("/dev/null", O_RDONLY);
	ck_assert_int_eq(ipc_send(&ask_messages, pair[0], &m), IPC_OK);
	ck_assert_int_eq(ipc_recv(&ask_messages, pair[1], a, &back), IPC_OK);
	ck_assert_int_ge(back.fd, 0);
	ck_assert_int_ne(back.fd, m.fd);
	ck_assert(fcntl(back.fd, F_GETFD) & FD_CLOEXEC);
	message_drop(&back);
	ck_assert_int_eq(back.fd, -1);
	ck_assert_int_eq(ipc_recv(&ask_messages, pair[1], a, &back),
		IPC_AGAIN);
	close(pair[0]);
	ck_assert_int_eq(ipc_recv(&ask_messages, pair[1], a, &back),
		IPC_CLOSED);
	close(pair[1]);
	message_drop(&m);
	arena_free(a);
}
END_TEST

START_TEST(a_descriptor_where_none_belongs_is_refused_and_closed)
{
	struct arena *a = arena_new("test");
	int pair[2];
	struct message m = MESSAGE(checkpoint), back;
	ipc_pair(pair);
	int next = open("/dev/null", O_RDONLY);
	close(next);
	m.fd = pair[0];
	ck_assert_int_eq(ipc_send(&ask_messages, pair[0], &m), IPC_OK);
	ck_assert_int_eq(ipc_recv(&ask_messages, pair[1], a, &back), IPC_BAD);
	int after = open("/dev/null", O_RDONLY);
	ck_assert_int_eq(after, next);
	arena_free(a);
}
END_TEST

START_TEST(large_messages_travel_too)
{
	struct arena *a = arena_new("test");
	enum { MANY = 20000 };
	struct str *v = arena_array(a, MANY, sizeof *v);
	for (size_t i = 0; i < MANY; i++)
		v[i] = str_printf(a, "recipient-%zu@example.org", i);
	int pair[2];
	struct message m = full_submit(), back;
	ipc_pair(pair);
	m.submit.rcpt = (struct str_list){v, MANY};
	ck_assert_int_eq(ipc_send(&ask_messages, pair[0], &m), IPC_OK);
	ck_assert_int_eq(ipc_recv(&ask_messages, pair[1], a, &back), IPC_OK);
	ck_assert_int_eq(back.fd, -1);
	ck_assert_uint_eq(back.submit.rcpt.n, MANY);
	ck_assert(str_eq(back.submit.rcpt.v[MANY - 1], v[MANY - 1]));
	close(pair[0]);
	close(pair[1]);
	arena_free(a);
}
END_TEST

START_TEST(a_forged_spill_is_refused)
{
	struct arena *a = arena_new("test");
	struct message back;
	int pair[2], pipes[2];
	ipc_pair(pair);
	ck_assert_int_eq(pipe(pipes), 0);
	/* A pipe would block, an unsealed file could change under us. */
	ck_assert_int_eq(ipc_send_bytes(pair[0], STR("\001spilled"), pipes[0]),
		IPC_OK);
	ck_assert_int_eq(ipc_recv(&ask_messages, pair[1], a, &back), IPC_BAD);
	ck_assert_int_eq(ipc_send_bytes(pair[0], STR("\001spilled"), -1),
		IPC_OK);
	ck_assert_int_eq(ipc_recv(&ask_messages, pair[1], a, &back), IPC_BAD);
	arena_free(a);
}
END_TEST

START_TEST(waiting_has_an_end)
{
	struct arena *a = arena_new("test");
	struct message back;
	int pair[2];
	ipc_pair(pair);
	int64_t start = clock_ms();
	ck_assert_int_eq(ipc_recv_wait(&ask_messages, pair[1], a, &back,
		clock_in(50)), IPC_AGAIN);
	ck_assert_int_ge(clock_ms() - start, 49);
	arena_free(a);
}
END_TEST

Suite *
suite_messages(void)
{
	return SUITE("messages", what_is_written_is_read,
		every_kind_round_trips, a_nul_in_a_text_cannot_forge_a_field,
		every_prefix_and_every_changed_octet_is_survived,
		refused_forms, secrets_are_not_printed,
		descriptors_ride_along,
		a_descriptor_where_none_belongs_is_refused_and_closed,
		large_messages_travel_too, a_forged_spill_is_refused,
		waiting_has_an_end);
}
