/* SPDX-License-Identifier: ISC */
/*
 * Garbage on every socket of the queue costs its sender the connection;
 * others, and the queue, go on.
 */
#include "queue_suites.h"
#include "stand.h"
#include "base/buf.h"
#include "sys/ipc.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

static int
raw_socket(struct stand *s, const char *asker)
{
	char path[128];
	snprintf(path, sizeof path, "%s/ask.%s", s->directory, asker);
	int fd = ipc_connect(path);
	ck_assert_int_ge(fd, 0);
	return fd;
}

/* Sends octets; was the connection closed for it? */
static bool
is_thrown_out(int fd, struct str octets)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char c;
	ck_assert_int_eq(
		ipc_send_bytes(fd, octets, -1), IPC_OK);
	ck_assert_int_eq(poll(&p, 1, 60000), 1);
	bool gone = recv(fd, &c, 1, 0) <= 0;
	close(fd);
	return gone;
}

static void
check_alive(struct stand *s)
{
	struct str id = stand_submit(
		s, "a@b.test", "alice@local.test", "alive\r\n");
	ck_assert_uint_eq(id.n, QID_LENGTH);
	stand_until(s, stand_state(s, id).n == 0);
}

static const char *const askers[] = {"smtpd", "sendmail", "surat"};

START_TEST(garbage_costs_the_connection)
{
	struct stand *s = stand_new("");
	static const struct str garbage[] = {STR_INIT("x"), STR_INIT("\0"),
		STR_INIT("submit\0"), STR_INIT("submit\0token="),
		STR_INIT("queue_list\0id=\0\0\0\0"), STR_INIT("done\0"),
		STR_INIT("body_open\0size=99999999999999999999\0"),
		STR_INIT("GET / HTTP/1.1\r\n"), STR_INIT("\001spilled")};
	for (int i = 0; i < 3; i++)
		for (size_t j = 0; j < sizeof garbage / sizeof *garbage; j++)
			ck_assert_msg(is_thrown_out(raw_socket(s, askers[i]),
				garbage[j]), "%s %zu", askers[i], j);
	check_alive(s);
	stand_free(s);
}
END_TEST

/* Every message of the vocabulary from those who may not send it. */
START_TEST(a_message_that_is_not_ones_to_send_costs_it_too)
{
	struct stand *s = stand_new("");
	for (int kind = 0; kind < MSG_COUNT; kind++) {
		struct message m = {.kind = (enum message_kind)kind, .fd = -1};
		for (int i = 0; i < 3; i++) {
			bool may = i < 2 ? kind == MSG_submit ||
						   kind == MSG_body_open
					 : kind == MSG_queue_list ||
						   kind == MSG_queue_change ||
						   kind == MSG_service;
			if (may)
				continue;
			struct peer *p = stand_connect(s, askers[i]);
			stand_send(p, &m);
			ck_assert_msg(stand_is_closed(s, p), "%d %d", kind, i);
		}
	}
	check_alive(s);
	stand_free(s);
}
END_TEST

/* Sixteen MiB of empty recipients, of filters, of numbers. */
START_TEST(a_message_of_nothing_but_items_is_refused)
{
	struct stand *s = stand_new("");
	static const char head[] = "submit\0token=\0session=\0origin=\0"
		"client=\0user=\0sender=\0rcpt=";
	struct buf *b = buf_new(s->arena);
	buf_add(b, str_of(head, sizeof head - 1));
	buf_printf(b, "%d", 15 << 20);
	buf_addc(b, 0);
	memset(buf_room(b, 15 << 20), 0, 15 << 20);
	buf_grew(b, 15 << 20);
	for (int i = 0; i < 3; i++)
		ck_assert(is_thrown_out(
			raw_socket(s, askers[i]), buf_str(b)));
	ck_assert_int_eq(stand_sql(s, "SELECT count(*) FROM message"), 0);
	check_alive(s);
	stand_free(s);
}
END_TEST

/* Random changes of a good message; what is still one may be taken. */
START_TEST(changed_messages_are_survived)
{
	struct stand *s = stand_new("");
	unsigned seed = 1;
	struct buf *b = buf_new(s->arena);
	struct message m = MESSAGE(submit);
	m.submit = stand_envelope(s, "a@b.test",
		"alice@local.test bob@local.test", "S: x\r\n\r\ny\r\n");
	ipc_encode(&ask_messages, &m, b);
	for (int i = 0; i < 2000; i++) {
		char copy[2048];
		size_t n = b->n;
		ck_assert_uint_lt(n, sizeof copy);
		memcpy(copy, b->p, n);
		for (int k = 0; k < 3; k++)
			copy[(size_t)rand_r(&seed) % n] = (char)rand_r(&seed);
		if (i % 4 == 0)
			n = (size_t)rand_r(&seed) % n + 1;
		int fd = raw_socket(s, askers[i % 2]);
		ck_assert_int_eq(
			ipc_send_bytes(fd, str_of(copy, n), -1), IPC_OK);
		close(fd);
		if (i % 100 == 0)
			stand_turn(s, 1);
	}
	check_alive(s);
	ck_assert_int_eq(
		stand_sql(s, "SELECT count(*) FROM message WHERE sender"
			" GLOB '*[^ -~]*'"), 0);
	stand_free(s);
}
END_TEST

/* A descriptor where none belongs; one that is no memory file. */
START_TEST(foreign_descriptors_are_refused)
{
	struct stand *s = stand_new("");
	struct message m = MESSAGE(body_open);
	struct peer *p = stand_connect(s, "smtpd");
	m.fd = open("/dev/zero", O_RDONLY);
	stand_send(p, &m);
	ck_assert(stand_is_closed(s, p));
	close(m.fd);
	int fd = raw_socket(s, "smtpd");
	int zero = open("/dev/zero", O_RDONLY);
	ck_assert_int_eq(ipc_send_bytes(fd, STR("\001spilled"), zero), IPC_OK);
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
	ck_assert_int_eq(poll(&poll_fd, 1, 60000), 1);
	char c;
	ck_assert_int_le(recv(fd, &c, 1, 0), 0);
	check_alive(s);
	stand_free(s);
}
END_TEST

/* An agent that talks nonsense is cut off; its jobs are tried again. */
static int nonsense;

static void
talk_nonsense(struct stand *s, struct stand_job *j)
{
	static const char *const bad[] = {"", "fine", "2.0.0", "9.0.0 - x"};
	struct message m = MESSAGE(job_result);
	struct str number = STR("4000000000"), status;
	switch (nonsense++) {
	case 0:
		m = MESSAGE(submit);
		break;
	case 1: /* of a message it was never given */
		m.job_result.id = STR("00000000000");
		m.job_result.number = (struct str_list){&number, 1};
		status = STR("2.0.0 - fine");
		m.job_result.status = (struct str_list){&status, 1};
		peer_send(j->peer, &m);
		m = MESSAGE(checkpoint);
		break;
	case 2: /* fewer statuses than numbers */
		m.job_result.id = j->job.id;
		m.job_result.number = j->job.number;
		break;
	case 3:
		status = str_from(bad[1]);
		m.job_result.id = j->job.id;
		m.job_result.number = j->job.number;
		m.job_result.status = (struct str_list){&status, 1};
		break;
	default:
		stand_fine(s, j);
		return;
	}
	peer_send(j->peer, &m);
}

START_TEST(an_agent_that_talks_nonsense_is_cut_off)
{
	struct stand *s = stand_new("");
	s->agent = talk_nonsense;
	for (int i = 0; i < 2; i++) {
		struct str id = stand_submit(
			s, "a@b.test", "alice@local.test", "x\r\n");
		ck_assert_uint_eq(id.n, QID_LENGTH);
		stand_until(s, nonsense >= 2 * (i + 1));
		stand_until(s, stand_state(s, id).n == 0 ||
			str_eq(stand_state(s, id), STR("held")));
	}
	ck_assert_uint_ge(s->agents_started, 4);
	check_alive(s);
	stand_free(s);
}
END_TEST

/* Somebody who asks for much and reads nothing is dropped, not waited for. */
START_TEST(who_does_not_read_holds_up_nobody)
{
	struct stand *s = stand_new("");
	int fd = raw_socket(s, "surat");
	struct buf *b = buf_new(s->arena);
	struct message m = MESSAGE(queue_list);
	s->agent = NULL;
	for (int i = 0; i < 50; i++)
		stand_submit(s, "a@b.test", "x@remote.test", "x\r\n");
	ipc_encode(&ask_messages, &m, b);
	for (int i = 0; i < 500; i++)
		if (ipc_send_bytes(fd, buf_str(b), -1) != IPC_OK)
			break;
	ck_assert(stand_submit(s, "a@b.test", "x@remote.test", "x\r\n").n > 0);
	ck_assert_int_lt(stand_memory(s), 400 * 1024);
	close(fd);
	s->agent = stand_fine;
	stand_free(s);
}
END_TEST

Suite *
suite_hostile(void)
{
	return SUITE("hostile", garbage_costs_the_connection,
		a_message_that_is_not_ones_to_send_costs_it_too,
		a_message_of_nothing_but_items_is_refused,
		changed_messages_are_survived, foreign_descriptors_are_refused,
		an_agent_that_talks_nonsense_is_cut_off,
		who_does_not_read_holds_up_nobody);
}
