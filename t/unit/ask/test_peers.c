/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "ask/link.h"
#include "ask/peers.h"
#include "base/arena.h"
#include "base/clock.h"
#include "sys/ipc.h"
#include "sys/loop.h"

#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

Suite *suite_peers(void);

static char directory[] = "/tmp/peers-test-XXXXXX";
static int closed;

static void
on_route(struct peer *p, struct arena *a, struct message *m)
{
	struct message answer = MESSAGE(route_result);
	struct str v[1] = {str_printf(a, "for:%.*s",
		STR_ARG(m->route.address))};
	answer.route_result.address = (struct str_list){v, 1};
	peer_send(p, &answer);
}

static void
on_die(struct peer *p, struct arena *a, struct message *m)
{
	(void)p, (void)a, (void)m;
	_exit(0);
}

static const struct peer_row rows[] = {
	{MSG_route, PEER_QUEUE, on_route},
	{MSG_checkpoint, PEER_SURAT, on_route},
	{MSG_service, PEER_QUEUE, on_die},
};

static void
on_close(struct peer *p)
{
	(void)p;
	closed++;
}

/* A process that answers on directory/auth. */
static pid_t
answerer(struct arena *a)
{
	struct str path = str_printf(a, "%s/auth", directory);
	int listening = ipc_listen(str_cstr(a, path), 0600);
	ck_assert_int_ge(listening, 0);
	pid_t pid = fork();
	if (pid != 0) {
		close(listening);
		return pid;
	}
	struct loop *l = loop_new(a);
	struct peers ps = {.loop = l, .rows = rows, .count = 3,
		.on_close = on_close};
	peers_listen(&ps, listening, PEER_QUEUE);
	loop_run(l);
	_exit(0);
}

static void
stop(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

START_TEST(asking_and_asking_again_after_a_restart)
{
	struct arena *a = arena_new("test");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	pid_t pid = answerer(a);
	struct link *l = link_new(a, str_from(directory), "auth");
	struct message q = MESSAGE(route), answer;
	q.route.address = STR("x@y");
	ck_assert(status_is_fine(
		link_call(l, a, &q, MSG_route_result, &answer)));
	ck_assert_view(answer.route_result.address.v[0], "for:x@y");
	stop(pid);
	pid = answerer(a);
	ck_assert(status_is_fine(
		link_call(l, a, &q, MSG_route_result, &answer)));
	/* What this peer may not send costs the connection only. */
	struct message bad = MESSAGE(checkpoint);
	struct status s = link_call(l, a, &bad, MSG_done, &answer);
	ck_assert(status_is_later(s));
	ck_assert(status_is_fine(
		link_call(l, a, &q, MSG_route_result, &answer)));
	/* An answer of another kind is not taken for the right one. */
	ck_assert(status_is_later(link_call(l, a, &q, MSG_done, &answer)));
	stop(pid);
	link_patience(l, 200);
	s = link_call(l, a, &q, MSG_route_result, &answer);
	ck_assert(status_is_later(s));
	ck_assert_view(s.text, "auth is not there");
	arena_free(a);
}
END_TEST

START_TEST(many_questions_at_once)
{
	struct arena *a = arena_new("test");
	struct message q[LINK_AT_ONCE], got[LINK_AT_ONCE];
	ck_assert_ptr_nonnull(mkdtemp(directory));
	pid_t pid = answerer(a);
	struct link *l = link_new(a, str_from(directory), "auth");
	for (int i = 0; i < LINK_AT_ONCE; i++) {
		q[i] = MESSAGE(route);
		q[i].route.address = str_printf(a, "%d", i);
	}
	for (int turn = 0; turn < 2; turn++) {
		ck_assert(status_is_fine(
			link_call_all(l, a, q, LINK_AT_ONCE, got)));
		for (int i = 0; i < LINK_AT_ONCE; i++)
			ck_assert(str_eq(got[i].route_result.address.v[0],
				str_printf(a, "for:%d", i)));
		/* The other side was restarted: asked again. */
		stop(pid);
		pid = answerer(a);
	}
	stop(pid);
	link_patience(l, 200);
	ck_assert(status_is_later(link_call_all(l, a, q, 2, got)));
	arena_free(a);
}
END_TEST

static int answers, failures;

static void
on_answer(void *ctx, struct arena *a, struct message *m)
{
	struct loop *l = ctx;
	(void)a;
	if (m == NULL)
		failures++;
	else
		answers++;
	if (answers + failures == 100)
		loop_stop(l);
}

START_TEST(asking_from_a_loop)
{
	struct arena *a = arena_new("test");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	pid_t pid = answerer(a);
	struct loop *l = loop_new(a);
	struct asker *k = asker_new(a, l, str_from(directory), "auth");
	struct message q = MESSAGE(route);
	for (int i = 0; i < 100; i++)
		asker_ask(k, &q, on_answer, l);
	loop_run(l);
	ck_assert_int_eq(answers, 100);
	/* The answerer dies: everything under way fails, nothing hangs. */
	struct message die = MESSAGE(service);
	answers = failures = 0;
	asker_ask(k, &die, on_answer, l);
	for (int i = 0; i < 99; i++)
		asker_ask(k, &q, on_answer, l);
	loop_run(l);
	ck_assert_int_eq(failures, 100);
	waitpid(pid, NULL, 0);
	/* Nobody there at all. */
	answers = failures = 0;
	for (int i = 0; i < 100; i++)
		asker_ask(k, &q, on_answer, l);
	loop_run(l);
	ck_assert_int_eq(failures, 100);
	arena_free(a);
}
END_TEST

START_TEST(garbage_closes_that_peer_only)
{
	struct arena *a = arena_new("test");
	struct loop *l = loop_new(a);
	struct peers ps = {.loop = l, .rows = rows, .count = 3,
		.on_close = on_close};
	int one[2], two[2];
	struct message q = MESSAGE(route), answer;
	ipc_pair(one);
	ipc_pair(two);
	closed = 0;
	peers_take(&ps, one[0], PEER_QUEUE);
	peers_take(&ps, two[0], PEER_QUEUE);
	ck_assert_int_eq(ipc_send_bytes(one[1], STR("garbage"), -1), IPC_OK);
	ipc_send(&ask_messages, two[1], &q);
	for (int i = 0; i < 5; i++)
		loop_turn(l, 10);
	ck_assert_int_eq(closed, 1);
	ck_assert_int_eq(ipc_recv(&ask_messages, two[1], a, &answer), IPC_OK);
	ck_assert_int_eq(ipc_recv(&ask_messages, one[1], a, &answer),
		IPC_CLOSED);
	arena_free(a);
}
END_TEST

START_TEST(answers_wait_for_a_slow_reader)
{
	struct arena *a = arena_new("test");
	struct loop *l = loop_new(a);
	struct peers ps = {.loop = l, .rows = rows, .count = 3};
	int pair[2];
	ipc_pair(pair);
	struct peer *p = peers_take(&ps, pair[0], PEER_QUEUE);
	struct message m = MESSAGE(key_signed), back;
	m.key_signed.signature =
		str_of(arena_alloc(a, 50000), 50000);
	for (int i = 0; i < 100; i++)
		peer_send(p, &m);
	int got = 0;
	for (int i = 0; i < 1000 && got < 100; i++) {
		loop_turn(l, 0);
		struct arena *each = arena_new("test");
		while (ipc_recv(&ask_messages, pair[1], each, &back) == IPC_OK)
			got++;
		arena_free(each);
	}
	ck_assert_int_eq(got, 100);
	arena_free(a);
}
END_TEST

/* ------------------------------------- answers meet their own questions */

struct asked_once {
	struct asker *asker;
	const char *address;
	struct str got; /* p NULL: failed */
	bool over;
	char text[64];
};

static void
note_answer(void *ctx, struct arena *a, struct message *m)
{
	struct asked_once *x = ctx;
	(void)a;
	x->over = true;
	if (m == NULL)
		return;
	struct str s = m->route_result.address.v[0];
	memcpy(x->text, s.p, s.n);
	x->got = str_of(x->text, s.n);
}

static void
ask_once(struct asked_once *x)
{
	struct message q = MESSAGE(route);
	q.route.address = str_from(x->address);
	asker_ask(x->asker, &q, note_answer, x);
}

static void
ask_on_event(void *ctx, int fd, unsigned events)
{
	char c;
	(void)events;
	ck_assert_int_eq(read(fd, &c, 1), 1);
	ask_once(ctx);
}

static void
answer_one(struct arena *a, int fd)
{
	struct message q, answer = MESSAGE(route_result);
	struct str v[1];
	ck_assert_int_eq(ipc_recv_wait(&ask_messages, fd, a, &q,
		clock_in(5000)), IPC_OK);
	v[0] = str_printf(a, "for:%.*s", STR_ARG(q.route.address));
	answer.route_result.address = (struct str_list){v, 1};
	ck_assert_int_eq(ipc_send(&ask_messages, fd, &answer), IPC_OK);
}

static void
turn_until(struct loop *l, const bool *over)
{
	for (int i = 0; i < 500 && !*over; i++)
		loop_turn(l, 10);
	ck_assert(*over);
}

/* The asked one goes away, and in the same turn somebody asks again: the
 * questions of the old connection fail, those of the new one are answered,
 * each with its own answer. */
START_TEST(a_lost_connection_takes_only_its_own_questions)
{
	struct arena *a = arena_new("test");
	struct loop *l = loop_new(a);
	ck_assert_ptr_nonnull(mkdtemp(directory));
	struct str path = str_printf(a, "%s/once", directory);
	int listening = ipc_listen(str_cstr(a, path), 0600), more[2];
	struct asker *k = asker_new(a, l, str_from(directory), "once");
	struct asked_once x[3] = {{.asker = k, .address = "first"},
		{.asker = k, .address = "second"},
		{.asker = k, .address = "third"}};
	ck_assert_int_eq(pipe(more), 0);
	ask_once(&x[0]);
	loop_watch(l, more[0], LOOP_READ, ask_on_event, &x[1]);
	loop_turn(l, 0);
	close(accept(listening, NULL, NULL));
	ck_assert_int_eq(write(more[1], "+", 1), 1);
	turn_until(l, &x[0].over);
	ck_assert_ptr_null(x[0].got.p);
	int fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK);
	for (int i = 0; i < 100 && fd < 0; i++) {
		loop_turn(l, 10);
		fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK);
	}
	ck_assert_int_ge(fd, 0);
	ask_once(&x[2]);
	answer_one(a, fd);
	answer_one(a, fd);
	turn_until(l, &x[1].over);
	turn_until(l, &x[2].over);
	ck_assert(str_eq(x[1].got, STR("for:second")));
	ck_assert(str_eq(x[2].got, STR("for:third")));
	close(fd);
	close(listening);
	unlink(str_cstr(a, path));
	rmdir(directory);
	arena_free(a);
}
END_TEST

/* Nobody listens at first: that question fails, later ones are answered. */
START_TEST(a_question_that_could_not_be_sent_shifts_nothing)
{
	struct arena *a = arena_new("test");
	struct loop *l = loop_new(a);
	ck_assert_ptr_nonnull(mkdtemp(directory));
	struct str path = str_printf(a, "%s/late", directory);
	struct asker *k = asker_new(a, l, str_from(directory), "late");
	struct asked_once x[2] = {{.asker = k, .address = "first"},
		{.asker = k, .address = "second"}};
	ask_once(&x[0]);
	int listening = ipc_listen(str_cstr(a, path), 0600);
	ask_once(&x[1]);
	int fd = accept(listening, NULL, NULL);
	answer_one(a, fd);
	turn_until(l, &x[0].over);
	turn_until(l, &x[1].over);
	ck_assert_ptr_null(x[0].got.p);
	ck_assert(str_eq(x[1].got, STR("for:second")));
	close(fd);
	close(listening);
	unlink(str_cstr(a, path));
	rmdir(directory);
	arena_free(a);
}
END_TEST

/* ------------------------------------------- asking one that retires */

enum { MANY = 4000 };

/* One that is asked, and does not look at it yet. */
struct retiring {
	struct arena *arena;
	struct loop *loop;
	const char *path;
	int listening, fd;
	struct asker *asker;
};

static struct retiring
retiring_new(void)
{
	struct retiring r = {.arena = arena_new("test")};
	r.loop = loop_new(r.arena);
	ck_assert_ptr_nonnull(mkdtemp(directory));
	r.path = str_cstr(r.arena,
		str_printf(r.arena, "%s/goes", directory));
	r.listening = ipc_listen(r.path, 0600);
	r.asker = asker_new(r.arena, r.loop, str_from(directory), "goes");
	return r;
}

static int
retiring_accept(struct retiring *r)
{
	int fd = accept4(r->listening, NULL, NULL, SOCK_NONBLOCK);
	ck_assert_int_ge(fd, 0);
	ipc_roomy(fd);
	return fd;
}

static void
retiring_free(struct retiring *r)
{
	close(r->listening);
	unlink(r->path);
	rmdir(directory);
	arena_free(r->arena);
}

/* Answers what comes until it has all that was sent; how many. */
static int
answer_all(struct arena *a, int fd, struct loop *l)
{
	int n = 0;
	for (int idle = 0; idle < 3; idle++) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		while (poll(&p, 1, 0) == 1 && recv(fd, &(char){0}, 1,
			MSG_PEEK | MSG_DONTWAIT) > 0) {
			answer_one(a, fd);
			n++;
			loop_turn(l, 0);
			idle = 0;
		}
		loop_turn(l, 0);
	}
	return n;
}

START_TEST(one_that_retires_is_heard_to_the_end)
{
	struct retiring r = retiring_new();
	struct asked_once x[2] = {{.asker = r.asker, .address = "before"},
		{.asker = r.asker, .address = "after"}};
	ask_once(&x[0]);
	int old = retiring_accept(&r);
	shutdown(old, SHUT_RD);
	ask_once(&x[1]);
	int new = retiring_accept(&r);
	answer_one(r.arena, new);
	turn_until(r.loop, &x[1].over);
	ck_assert(!x[0].over);
	answer_one(r.arena, old);
	close(old);
	turn_until(r.loop, &x[0].over);
	ck_assert(str_eq(x[0].got, STR("for:before")));
	ck_assert(str_eq(x[1].got, STR("for:after")));
	close(new);
	retiring_free(&r);
}
END_TEST

START_TEST(what_has_no_room_there_goes_to_the_successor)
{
	static struct asked_once x[MANY];
	struct retiring r = retiring_new();
	for (int i = 0; i < MANY; i++) {
		x[i] = (struct asked_once){.asker = r.asker, .address =
			str_cstr(r.arena, str_printf(r.arena, "%d", i))};
		ask_once(&x[i]);
	}
	int old = retiring_accept(&r);
	shutdown(old, SHUT_RD);
	int early = answer_all(r.arena, old, r.loop);
	int new = retiring_accept(&r);
	close(old);
	ck_assert_int_lt(early, MANY);
	ck_assert_int_eq(early + answer_all(r.arena, new, r.loop), MANY);
	for (int i = 0; i < MANY; i++) {
		turn_until(r.loop, &x[i].over);
		ck_assert(str_eq(x[i].got, str_printf(r.arena, "for:%d", i)));
	}
	close(new);
	retiring_free(&r);
}
END_TEST

START_TEST(answers_of_one_that_closed_unheard_are_read)
{
	struct retiring r = retiring_new();
	struct asked_once x[2] = {{.asker = r.asker, .address = "answered"},
		{.asker = r.asker, .address = "not"}};
	ask_once(&x[0]);
	ask_once(&x[1]);
	int fd = retiring_accept(&r);
	answer_one(r.arena, fd);
	close(fd);
	turn_until(r.loop, &x[1].over);
	ck_assert(str_eq(x[0].got, STR("for:answered")));
	ck_assert_ptr_null(x[1].got.p);
	retiring_free(&r);
}
END_TEST

/* Out of descriptors: no spinning, and served when there are some again. */
START_TEST(out_of_descriptors)
{
	struct arena *a = arena_new("test");
	struct loop *loop = loop_new(a);
	struct peers ps = {.loop = loop, .rows = rows,
		.count = sizeof rows / sizeof *rows};
	ck_assert_ptr_nonnull(mkdtemp(directory));
	struct str path = str_printf(a, "%s/full", directory);
	int listening = ipc_listen(str_cstr(a, path), 0600), spare[2];
	struct rlimit old, low = {0, 0};
	ck_assert_int_ge(listening, 0);
	peers_listen(&ps, listening, PEER_QUEUE);
	int client = ipc_connect(str_cstr(a, path));
	ck_assert_int_ge(client, 0);
	ck_assert_int_eq(pipe(spare), 0);
	getrlimit(RLIMIT_NOFILE, &old);
	low = (struct rlimit){(rlim_t)spare[1] + 1, old.rlim_max};
	setrlimit(RLIMIT_NOFILE, &low);
	int64_t end = clock_in(500);
	int turns = 0;
	while (clock_left(end) > 0) {
		loop_turn(loop, 50);
		turns++;
	}
	ck_assert_msg(turns < 100, "%d turns", turns);
	setrlimit(RLIMIT_NOFILE, &old);
	struct message m = MESSAGE(route), answer;
	m.route.address = STR("x");
	ck_assert_int_eq(ipc_send(&ask_messages, client, &m), IPC_OK);
	end = clock_in(30000);
	enum ipc_result r = IPC_AGAIN;
	while (r == IPC_AGAIN && clock_left(end) > 0) {
		loop_turn(loop, 10);
		r = ipc_recv_wait(&ask_messages, client, a, &answer,
			clock_in(1));
	}
	ck_assert_int_eq(r, IPC_OK);
	unlink(str_cstr(a, path));
	rmdir(directory);
	arena_free(a);
}
END_TEST

/* ------------------------------------------------------------- retiring */

static int over;
static struct peer *late;

static void
on_over(void *ctx)
{
	(void)ctx;
	over++;
}

/* Answers when the test wants it to. */
static void
on_late(struct peer *p, struct arena *a, struct message *m)
{
	(void)a, (void)m;
	late = p;
}

static const struct peer_row late_rows[] = {{MSG_route, PEER_QUEUE, on_late}};

static bool
is_clinging(const struct peer *p)
{
	return p->data != NULL;
}

static void
turns(struct loop *l, int n)
{
	for (int i = 0; i < n; i++)
		loop_turn(l, 2);
}

START_TEST(retiring_answers_what_was_asked)
{
	struct arena *a = arena_new("test");
	struct loop *l = loop_new(a);
	struct peers ps = {.loop = l, .rows = late_rows, .count = 1};
	struct message q = MESSAGE(route), answer = MESSAGE(route_result);
	struct message row = MESSAGE(queue_row), got;
	int one[2], two[2];
	ipc_pair(one);
	ipc_pair(two);
	peers_take(&ps, one[0], PEER_QUEUE);
	peers_take(&ps, two[0], PEER_QUEUE);
	over = 0;
	ipc_send(&ask_messages, one[1], &q);
	turns(l, 3);
	ck_assert_ptr_nonnull(late);
	peers_retire(&ps, 60 * 1000, on_over);
	turns(l, 3);
	/* Nothing under way: its next question fails where it can be asked
	 * again. */
	ck_assert_int_eq(ipc_send(&ask_messages, two[1], &q), IPC_CLOSED);
	ck_assert_int_eq(ipc_recv(&ask_messages, two[1], a, &got),
		IPC_CLOSED);
	ck_assert_int_eq(over, 0);
	/* A row is not the end; a question in the meantime is answered too. */
	peer_send(late, &row);
	turns(l, 3);
	ck_assert_int_eq(ipc_send(&ask_messages, one[1], &q), IPC_OK);
	turns(l, 3);
	peer_send(late, &answer);
	peer_send(late, &answer);
	ck_assert_int_eq(over, 0);
	turns(l, 5);
	ck_assert_int_eq(over, 1);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(ipc_recv(&ask_messages, one[1], a, &got),
			IPC_OK);
	ck_assert_int_eq(ipc_recv(&ask_messages, one[1], a, &got),
		IPC_CLOSED);
	arena_free(a);
}
END_TEST

START_TEST(retiring_waits_for_the_unfinished_but_not_for_ever)
{
	struct arena *a = arena_new("test");
	struct loop *l = loop_new(a);
	struct peers ps = {.loop = l, .rows = late_rows, .count = 1,
		.is_busy = is_clinging};
	struct peers none = {.loop = l, .rows = late_rows, .count = 1};
	struct message q = MESSAGE(route);
	int pair[2];
	ipc_pair(pair);
	struct peer *p = peers_take(&ps, pair[0], PEER_QUEUE);
	over = 0;
	p->data = p;
	peers_retire(&ps, 300, on_over);
	turns(l, 3);
	ck_assert_int_eq(ipc_send(&ask_messages, pair[1], &q), IPC_OK);
	ck_assert_int_eq(over, 0);
	for (int i = 0; i < 1000 && over == 0; i++)
		loop_turn(l, 10);
	ck_assert_int_eq(over, 1);
	peers_retire(&none, 60 * 1000, on_over);
	turns(l, 3);
	ck_assert_int_eq(over, 2);
	arena_free(a);
}
END_TEST

Suite *
suite_peers(void)
{
	return SUITE("peers", asking_and_asking_again_after_a_restart,
		many_questions_at_once, asking_from_a_loop, garbage_closes_that_peer_only,
		answers_wait_for_a_slow_reader,
		a_lost_connection_takes_only_its_own_questions,
		a_question_that_could_not_be_sent_shifts_nothing,
		one_that_retires_is_heard_to_the_end,
		what_has_no_room_there_goes_to_the_successor,
		answers_of_one_that_closed_unheard_are_read,
		out_of_descriptors, retiring_answers_what_was_asked,
		retiring_waits_for_the_unfinished_but_not_for_ever);
}
