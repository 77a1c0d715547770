/* SPDX-License-Identifier: ISC */
/* What the mail does when a host's addresses cannot be had: a stand-in for
 * resolve answers from a table. */
#include "suites.h"
#include "deliver_suites.h"
#include "remote.h"
#include "base/arena.h"
#include "base/clock.h"
#include "sys/ipc.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

struct record {
	const char *name, *type, *rcode, *data;
};

static const struct record records[] = {
	{"dead.test", "A", "servfail", NULL},
	{"six.test", "A", "servfail", NULL},
	{"six.test", "AAAA", "noerror", "2600::25"},
	{"four.test", "A", "noerror", "11.0.0.25"},
	{"four.test", "AAAA", "servfail", NULL},
	{"private.test", "A", "noerror", "10.0.0.25"},
	{"private.test", "AAAA", "servfail", NULL},
	{"inside.test", "A", "noerror", "10.0.0.25"},
};

static struct message
answer_to(struct arena *a, const struct msg_dns_ask *q)
{
	struct message m = MESSAGE(dns_answer);
	m.dns_answer.rcode = STR("noerror");
	for (size_t i = 0; i < sizeof records / sizeof *records; i++) {
		const struct record *r = &records[i];
		if (!str_eq(q->name, str_from(r->name)) ||
			!str_eq(q->type, str_from(r->type)))
			continue;
		m.dns_answer.rcode = str_from(r->rcode);
		m.dns_answer.records.v = arena_one(a, struct str);
		m.dns_answer.records.n = r->data != NULL;
		if (r->data != NULL)
			m.dns_answer.records.v[0] = str_from(r->data);
	}
	return m;
}

static void
serve(int listening)
{
	struct arena *a = arena_new("resolve");
	struct message m;
	struct pollfd p = {listening, POLLIN, 0}; /* it does not block */
	poll(&p, 1, -1);
	int fd = accept(listening, NULL, NULL);
	while (ipc_recv_wait(&ask_messages, fd, a, &m, clock_in(60000)) ==
		IPC_OK) {
		struct message answer = answer_to(a, &m.dns_ask);
		ipc_send_wait(&ask_messages, fd, &answer, clock_in(60000));
	}
	_exit(0);
}

struct rig {
	struct arena *arena;
	struct conf conf;
	struct program program;
	struct remote remote;
	struct route route;
	struct job job;
	char directory[32];
	pid_t resolve;
};

static struct rig *
rig_new(const char *prefer)
{
	struct arena *a = arena_new("rig");
	struct rig *g = arena_one(a, struct rig);
	g->arena = a;
	g->conf.remote.prefer = str_from(prefer);
	g->program = (struct program){.conf = &g->conf,
		.hostname = STR("mail.example.test")};
	strcpy(g->directory, "/tmp/surat-dial-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(g->directory));
	int fd = ipc_listen(str_cstr(a,
		str_printf(a, "%s/resolve", g->directory)), 0600);
	ck_assert_int_ge(fd, 0);
	g->resolve = fork();
	if (g->resolve == 0)
		serve(fd);
	close(fd);
	g->remote = (struct remote){.program = &g->program, .conf = &g->conf,
		.resolve = link_new(a, str_from(g->directory), "resolve")};
	g->route = (struct route){.arena = a, .port = 25,
		.destination = STR("far.test"),
		.hosts = arena_array(a, 2, sizeof(struct host))};
	g->job.arena = a;
	return g;
}

static void
rig_free(struct rig *g)
{
	kill(g->resolve, SIGKILL);
	waitpid(g->resolve, NULL, 0);
	unlink(str_cstr(g->arena,
		str_printf(g->arena, "%s/resolve", g->directory)));
	rmdir(g->directory);
	arena_free(g->arena);
}

static struct status
status_of_route(const char *prefer, const char *first, const char *second)
{
	struct rig *g = rig_new(prefer);
	struct str host;
	const char *names[] = {first, second};
	for (size_t i = 0; i < 2 && names[i] != NULL; i++)
		g->route.hosts[g->route.count++] = (struct host){
			.name = str_from(names[i]),
			.preference = (unsigned)i * 10};
	struct trip *t = trip_new(&g->remote, &g->route);
	while (trip_look(t, &g->job))
		;
	struct status s = trip_status(t, &g->job, &host);
	s.text = STR("");
	rig_free(g);
	return s;
}

/* We are second; whether the first takes mail nobody knows now. */
START_TEST(a_second_host_waits_for_the_first)
{
	struct status s = status_of_route(
		"ipv6", "dead.test", "mail.example.test");
	ck_assert_int_eq(s.class, STATUS_LATER);
	ck_assert_int_eq(s.subject * 10 + s.detail, 43);
	/* That the first takes none is known. */
	s = status_of_route("ipv6", "nothing.test", "mail.example.test");
	ck_assert_int_eq(s.class, STATUS_NEVER);
	ck_assert_int_eq(s.subject * 10 + s.detail, 46);
	s = status_of_route("ipv6", "mail.example.test", NULL);
	ck_assert_int_eq(s.class, STATUS_NEVER);
}
END_TEST

START_TEST(an_address_that_was_not_learned_may_be_one)
{
	static const struct {
		const char *prefer, *host;
		enum status_class class;
	} rows[] = {{"only-ipv4", "six.test", STATUS_LATER},
		{"only-ipv6", "four.test", STATUS_LATER},
		{"ipv6", "private.test", STATUS_LATER},
		{"only-ipv4", "private.test", STATUS_NEVER},
		{"ipv6", "inside.test", STATUS_NEVER},
		{"ipv4", "nothing.test", STATUS_NEVER},
		{"ipv4", "dead.test", STATUS_LATER}};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct status s = status_of_route(
			rows[i].prefer, rows[i].host, NULL);
		ck_assert_msg(s.class == rows[i].class, "%s %s: %d",
			rows[i].prefer, rows[i].host, s.class);
	}
}
END_TEST

/* An SMTP server that calls itself by our name. */
static int
namesake(struct rig *g)
{
	static const char says[] = "220 mail.example.test ESMTP\r\n"
		"250 mail.example.test\r\n";
	int pair[2];
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	ck_assert_int_eq(write(pair[1], says, sizeof says - 1),
		sizeof says - 1);
	g->conf.remote.block_timeout = g->conf.remote.greeting_timeout =
		g->conf.remote.command_timeout = 10;
	shutdown(pair[1], SHUT_WR);
	return pair[0];
}

static struct status
status_of_namesake(bool fixed)
{
	struct rig *g = rig_new("ipv6");
	struct status s;
	bool tls_failed;
	g->route.hosts[0].name = STR("filter.test");
	g->route.count = 1;
	g->route.fixed = fixed;
	struct trip *t = trip_new(&g->remote, &g->route);
	t->v[0].host = &g->route.hosts[0];
	t->current = &t->v[0];
	struct session *x = session_open(
		t, namesake(g), TLS_NONE, &s, &tls_failed);
	if (x != NULL)
		session_close(x);
	s.text = STR("");
	rig_free(g);
	return s;
}

/* A filter beside us, which a rule names, is not us. */
START_TEST(a_namesake_is_us_unless_a_rule_names_it)
{
	struct status s = status_of_namesake(false);
	ck_assert_int_eq(s.class, STATUS_NEVER);
	ck_assert_int_eq(s.subject * 10 + s.detail, 46);
	ck_assert(status_is_fine(status_of_namesake(true)));
}
END_TEST

Suite *
suite_dial(void)
{
	return SUITE("dial", a_second_host_waits_for_the_first,
		an_address_that_was_not_learned_may_be_one,
		a_namesake_is_us_unless_a_rule_names_it);
}
