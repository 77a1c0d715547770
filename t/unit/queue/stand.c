/* SPDX-License-Identifier: ISC */
#include "stand.h"
#include "base/buf.h"
#include "base/log.h"
#include "sys/ipc.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const askers[] = {"smtpd", "sendmail", "surat"};

void
stand_turn(struct stand *s, int ms)
{
	loop_turn(s->loop, ms);
}

/* A message is only the call's: this one is the arena's. */
static struct message
keep(struct arena *a, struct message *m)
{
	struct buf *b = buf_new(a);
	struct message copy;
	ipc_encode(&ask_messages, m, b);
	ck_assert(ipc_decode(&ask_messages, a, buf_str(b), &copy));
	copy.fd = m->fd;
	m->fd = -1;
	return copy;
}

/* ----------------------------------------------------------------- auth */

static void
add_route(struct arena *a, struct msg_routes_result *r, struct str address)
{
	size_t at = str_find_last(address, '@');
	struct str domain = str_skip(address, at + 1);
	bool local = str_eq(domain, STR("local.test"));
	bool ids = str_starts(domain, STR("ids"));
	struct str number = str_head(
		str_skip(domain, 3), str_find(domain, '.') - 3);
	struct str user = str_head(address, at);
	size_t n = r->agent.n++;
	bool pipe = str_eq(domain, STR("pipe.test"));
	r->address.n = r->user.n = r->home.n = r->ids.n = r->command.n =
		r->agent.n;
	r->agent.v[n] = local || ids ? STR("local") : pipe ? STR("pipe")
		: str_eq(domain, STR("nobody.test")) ? STR("nobody")
		: STR("remote");
	r->command.v[n] = pipe ? str_printf(a, "|%.*s", STR_ARG(user))
		: STR("");
	r->address.v[n] = address;
	r->user.v[n] = local || ids ? user : STR("");
	r->home.v[n] = local || ids ? str_printf(a, "/home/%.*s",
		STR_ARG(user)) : STR("");
	r->ids.v[n] = ids ? str_printf(a, "%.*s:%.*s", STR_ARG(number),
		STR_ARG(number)) : STR("-");
}

static void
route_one(struct stand *s, struct arena *a, struct str address,
	struct msg_routes_result *r, size_t i)
{
	struct str *to = map_get(s->aliases, address);
	struct str rest = to != NULL ? *to : address, one;
	struct status st = status_fine();
	size_t before = r->agent.n;
	while (!str_ends(address, STR("@nobody.test")) &&
		str_word(&rest, &one))
		add_route(a, r, one);
	if (str_eq(address, STR("later@local.test")))
		st = STATUS(STATUS_LATER, 3, 0, "try later");
	if (str_eq(address, STR("unknown@local.test")) ||
		str_ends(address, STR("@nobody.test")))
		st = STATUS(STATUS_NEVER, 1, 1, "no such user");
	r->status.v[i] = status_format(a, st);
	r->finals.v[i] = str_printf(a, "%zu", r->agent.n - before);
	if (str_eq(address, STR("nonsense@local.test")))
		r->finals.v[i] = STR("9");
}

static void
on_routes(struct peer *p, struct arena *a, struct message *m)
{
	enum { EACH = 64 };
	struct stand *s = p->peers->ctx;
	struct message answer = MESSAGE(routes_result);
	struct msg_routes_result *r = &answer.routes_result;
	struct str_list *lists[] = {&r->status, &r->finals, &r->agent,
		&r->address, &r->user, &r->home, &r->ids, &r->command};
	size_t n = m->routes.addresses.n;
	s->questions++;
	s->routes += n;
	if (s->auth_silent)
		return;
	for (int i = 0; i < 8; i++)
		lists[i]->v = arena_array(a, EACH * n, sizeof(struct str));
	r->status.n = r->finals.n = n;
	for (size_t i = 0; i < n; i++)
		route_one(s, a, m->routes.addresses.v[i], r, i);
	peer_send(p, &answer);
}

static const struct peer_row auth_rows[] = {
	{MSG_routes, PEER_QUEUE, on_routes}};

void
stand_alias(struct stand *s, const char *from, const char *to)
{
	struct str *value = arena_one(s->arena, struct str);
	*value = str_copy(s->arena, str_from(to));
	map_set(s->aliases, str_from(from), value);
}

/* --------------------------------------------------------------- master */

static void
on_agent_start(struct peer *p, struct arena *a, struct message *m)
{
	struct stand *s = p->peers->ctx;
	struct message answer = MESSAGE(opened);
	bool local = str_eq(m->agent_start.agent, STR("local"));
	int pair[2];
	(void)a;
	answer.opened.status = STATUS(STATUS_LATER, 3, 2, "too many agents");
	if (!s->no_agents) {
		ipc_pair(pair);
		answer.opened.status = status_fine();
		answer.fd = pair[0];
		struct peer *g = peers_take(&s->agents, pair[1], PEER_QUEUE);
		g->data = local ? s : NULL;
		s->agents_started++;
		s->agents_alive++;
	}
	peer_send(p, &answer);
	message_drop(&answer);
}

static void
on_service(struct peer *p, struct arena *a, struct message *m)
{
	struct stand *s = p->peers->ctx;
	struct message answer = MESSAGE(done);
	(void)a;
	answer.done.status = status_fine();
	s->recovered |= str_eq(m->service.verb, STR("recovered"));
	peer_send(p, &answer);
}

static const struct peer_row master_rows[] = {
	{MSG_agent_start, PEER_QUEUE, on_agent_start},
	{MSG_service, PEER_QUEUE, on_service},
};

/* --------------------------------------------------------------- agents */

static void
forget_job(struct stand_job *j)
{
	list_remove(&j->link);
	arena_free(j->arena);
}

static void
on_job(struct peer *p, struct arena *a, struct message *m)
{
	struct stand *s = p->peers->ctx;
	struct arena *own = arena_new("job");
	struct stand_job *j = arena_one(own, struct stand_job);
	struct message copy = keep(own, m);
	(void)a;
	*j = (struct stand_job){.arena = own, .peer = p, .job = copy.job,
		.content = copy.job.content, .local = p->data != NULL};
	if (copy.fd >= 0) {
		off_t n = lseek(copy.fd, 0, SEEK_END);
		char *to = arena_alloc(own, (size_t)n);
		ck_assert_int_eq(pread(copy.fd, to, (size_t)n, 0), n);
		j->content = str_of(to, (size_t)n);
		close(copy.fd);
	}
	s->jobs_seen++;
	list_add(&s->jobs, &j->link);
	if (s->agent != NULL)
		s->agent(s, j);
}

static void
on_checkpoint(struct peer *p, struct arena *a, struct message *m)
{
	struct stand *s = p->peers->ctx;
	struct message answer = MESSAGE(done);
	(void)a, (void)m;
	s->checkpoints++;
	answer.done.status = s->checkpoint;
	peer_send(p, &answer);
}

static void
agent_closed(struct peer *p)
{
	struct stand *s = p->peers->ctx;
	s->agents_alive--;
	list_each(&s->jobs, at, save) {
		struct stand_job *j = list_entry(at, struct stand_job, link);
		if (j->peer == p)
			forget_job(j);
	}
}

static const struct peer_row agent_rows[] = {
	{MSG_job, PEER_QUEUE, on_job},
	{MSG_checkpoint, PEER_QUEUE, on_checkpoint},
};

static void
answer_some(const struct stand *s, struct stand_job *j, size_t from,
	size_t to, const char *status, const char *scope)
{
	struct message m = MESSAGE(job_result);
	struct msg_job_result *r = &m.job_result;
	size_t n = to - from;
	r->id = j->job.id;
	r->number = (struct str_list){j->job.number.v + from, n};
	r->status = (struct str_list){
		arena_array(j->arena, n, sizeof(struct str)), n};
	for (size_t i = 0; i < n; i++)
		r->status.v[i] = str_from(status);
	r->remote = j->local ? STR("") : s->remote;
	r->scope = str_from(scope);
	r->detail = s->detail;
	peer_send(j->peer, &m);
}

void
stand_result(struct stand *s, struct stand_job *j, const char *status,
	const char *scope)
{
	answer_some(s, j, 0, j->job.number.n, status, scope);
	forget_job(j);
}

void
stand_result_one(struct stand *s, struct stand_job *j, size_t i,
	const char *status, const char *scope)
{
	answer_some(s, j, i, i + 1, status, scope);
	if (i + 1 == j->job.number.n)
		forget_job(j);
}

void
stand_forward(struct stand *s, struct stand_job *j, const char *to)
{
	struct message m = MESSAGE(job_result);
	struct msg_job_result *r = &m.job_result;
	struct str status = STR("2.1.5 - Forwarded"), forward = str_from(to);
	(void)s;
	r->id = j->job.id;
	r->number = (struct str_list){j->job.number.v, 1};
	r->status = (struct str_list){&status, 1};
	r->forward = (struct str_list){&forward, 1};
	peer_send(j->peer, &m);
	forget_job(j);
}

void
stand_fine(struct stand *s, struct stand_job *j)
{
	stand_result(s, j, "2.0.0 - fine", "");
}

void
stand_crash(struct stand *s, struct stand_job *j)
{
	struct peer *p = j->peer;
	size_t alive = s->agents_alive;
	peer_close(p);
	while (s->agents_alive == alive)
		stand_turn(s, 10);
}

struct stand_job *
stand_job_for(struct stand *s, const char *rcpt)
{
	list_each(&s->jobs, at, save) {
		struct stand_job *j = list_entry(at, struct stand_job, link);
		for (size_t i = 0; i < j->job.rcpt.n; i++)
			if (str_eq(j->job.rcpt.v[i], str_from(rcpt)))
				return j;
	}
	return NULL;
}

struct stand_job *
stand_job(struct stand *s)
{
	stand_until(s, !list_is_empty(&s->jobs));
	return list_first(&s->jobs, struct stand_job, link);
}

/* -------------------------------------------------------------- clients */

/* What came for a client and was not fetched. */
struct inbox {
	struct list answers;
	bool closed;
};

struct answer {
	struct list link;
	struct message m;
};

#define ROW(name, fd) {MSG_##name, ~0u, on_answer},

static void
on_answer(struct peer *p, struct arena *a, struct message *m)
{
	struct stand *s = p->peers->ctx;
	struct inbox *in = p->data;
	struct answer *w = arena_one(s->arena, struct answer);
	(void)a;
	w->m = keep(s->arena, m);
	list_add(&in->answers, &w->link);
}

static const struct peer_row client_rows[] = {MESSAGES(ROW)};

static void
client_closed(struct peer *p)
{
	((struct inbox *)p->data)->closed = true;
}

struct peer *
stand_connect(struct stand *s, const char *asker)
{
	char path[128];
	snprintf(path, sizeof path, "%s/ask.%s", s->directory, asker);
	int fd = ipc_connect(path);
	ck_assert_int_ge(fd, 0);
	struct peer *p = peers_take(&s->clients, fd, PEER_QUEUE);
	struct inbox *in = arena_one(s->arena, struct inbox);
	list_init(&in->answers);
	p->data = in;
	return p;
}

void
stand_send(struct peer *p, const struct message *m)
{
	peer_send(p, m);
}

bool
stand_is_dead(struct stand *s)
{
	if (s->queue > 0 && waitpid(s->queue, NULL, WNOHANG) == s->queue) {
		close(s->master);
		s->queue = 0;
	}
	return s->queue == 0;
}

bool
stand_answer(struct stand *s, struct peer *p, struct message *answer)
{
	struct inbox *in = p->data;
	bool lives = !stand_is_dead(s);
	/* The listener outlives the queue: who dies now closes nothing. */
	stand_until(s, !list_is_empty(&in->answers) || in->closed ||
			(lives && stand_is_dead(s)));
	struct answer *w = list_first(&in->answers, struct answer, link);
	if (w == NULL)
		return false;
	*answer = w->m;
	list_remove(&w->link);
	return true;
}

bool
stand_is_closed(struct stand *s, struct peer *p)
{
	struct inbox *in = p->data;
	for (int i = 0; i < 100 && !in->closed; i++)
		stand_turn(s, 10);
	return in->closed;
}

void
stand_drop(struct stand *s, struct peer *p)
{
	struct inbox *in = p->data;
	peer_close(p);
	while (!in->closed)
		stand_turn(s, 1);
}

struct msg_submit
stand_envelope(struct stand *s, const char *from, const char *to,
	const char *content)
{
	static unsigned number;
	struct str rest = str_from(to), one;
	struct msg_submit m = {.session = STR("session"),
		.origin = STR("smtp"), .client = STR("192.0.2.1"),
		.sender = str_from(from), .body_type = STR("7BIT"),
		.content = str_from(content)};
	m.token = str_printf(s->arena, "token/%d/%u", (int)getpid(), ++number);
	m.rcpt.v = arena_array(s->arena, strlen(to) / 2 + 1, sizeof one);
	while (str_word(&rest, &one))
		m.rcpt.v[m.rcpt.n++] = one;
	return m;
}

struct str
stand_submit_as(struct stand *s, struct peer *p, const struct msg_submit *m)
{
	struct message ask = MESSAGE(submit), answer;
	ask.submit = *m;
	peer_send(p, &ask);
	s->last = STATUS(STATUS_LATER, 9, 9, "closed");
	if (!stand_answer(s, p, &answer))
		return STR("");
	ck_assert_int_eq(answer.kind, MSG_submitted);
	s->last = answer.submitted.status;
	return answer.submitted.id;
}

struct str
stand_submit(struct stand *s, const char *from, const char *to,
	const char *content)
{
	struct peer *p = stand_connect(s, "smtpd");
	struct inbox *in = p->data;
	struct msg_submit m = stand_envelope(s, from, to, content);
	struct str id = stand_submit_as(s, p, &m);
	/* closed by the queue, it has been freed */
	if (!in->closed)
		stand_drop(s, p);
	return id;
}

struct stand_rows
stand_list(struct stand *s, const struct msg_queue_list *l)
{
	struct peer *p = stand_connect(s, "surat");
	struct message m = MESSAGE(queue_list);
	struct stand_rows rows = {NULL, 0, {0}, 0};
	size_t cap = 16;
	rows.v = arena_array(s->arena, cap, sizeof *rows.v);
	struct msg_queue_list ask = *l;
	do {
		m = MESSAGE(queue_list);
		m.queue_list = ask;
		peer_send(p, &m);
		while (stand_answer(s, p, &m) && m.kind == MSG_queue_row) {
			if (rows.n == cap) {
				struct msg_queue_row *more = arena_array(
					s->arena, cap *= 2, sizeof *more);
				memcpy(more, rows.v, rows.n * sizeof *more);
				rows.v = more;
			}
			rows.v[rows.n++] = m.queue_row;
		}
		ck_assert_int_eq(m.kind, MSG_done);
		rows.pages++;
		rows.status = m.done.status;
		ask.after = m.done.next;
	} while (m.done.next.n > 0);
	stand_drop(s, p);
	return rows;
}

struct str
stand_state(struct stand *s, struct str id)
{
	struct msg_queue_list l = {.id = id};
	struct stand_rows r = stand_list(s, &l);
	return r.n > 0 ? r.v[0].state : STR("");
}

int64_t
stand_change(struct stand *s, struct msg_queue_change c)
{
	struct peer *p = stand_connect(s, "surat");
	int64_t count = 0;
	struct message m;
	do {
		m = MESSAGE(queue_change);
		m.queue_change = c;
		peer_send(p, &m);
		ck_assert(stand_answer(s, p, &m) && m.kind == MSG_done);
		count += m.done.count;
		c.after = m.done.next;
	} while (m.done.next.n > 0);
	stand_drop(s, p);
	return status_is_fine(m.done.status) ? count : -1;
}

/* ------------------------------------------------------------ the queue */

static void
run_queue(struct stand *s, int link)
{
	char path[128];
	struct program p = {.name = "queue", .conf = s->conf,
		.arena = arena_new("queue"), .hostname = STR("mail.test")};
	snprintf(path, sizeof path, "%s/log", s->directory);
	int log = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
	dup2(log, STDERR_FILENO);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, SIG_IGN);
	log_open("queue", LOG_TO_STDERR, LOG_AS_TEXT);
	p.fds = arena_array(p.arena, 4, sizeof *p.fds);
	for (int i = 0; i < 3; i++)
		p.fds[p.fd_count++] = (struct inherited){
			str_cstr(p.arena, str_printf(p.arena, "ask.%s",
				askers[i])), s->asks[i]};
	p.fds[p.fd_count++] = (struct inherited){"master", link};
	/* Everything else is the stand's: its loop, its ends of sockets. */
	for (int fd = 3; fd < 1024; fd++)
		if (fd != link && fd != s->asks[0] && fd != s->asks[1] &&
			fd != s->asks[2])
			close(fd);
	p.sockets = str_from(s->directory);
	if (s->in_child != NULL)
		s->in_child();
	queue_prepare(&p);
	queue_run(&p);
	exit(0);
}

void
stand_start(struct stand *s)
{
	int pair[2];
	ipc_pair(pair);
	s->recovered = false;
	fflush(NULL);
	s->queue = fork();
	ck_assert_int_ge(s->queue, 0);
	if (s->queue == 0)
		run_queue(s, pair[1]);
	close(pair[1]);
	s->master = pair[0];
}

void
stand_kill(struct stand *s)
{
	if (s->queue > 0) {
		kill(s->queue, SIGKILL);
		waitpid(s->queue, NULL, 0);
		close(s->master);
	}
	s->queue = 0;
	stand_until(s, s->agents_alive == 0);
}

void
stand_again(struct stand *s)
{
	stand_kill(s);
	stand_start(s);
}

int
stand_stop(struct stand *s)
{
	int status = -1;
	pid_t gone = 0;
	close(s->master);
	stand_until(s, gone == s->queue ||
		(gone = waitpid(s->queue, &status, WNOHANG)) == s->queue);
	s->queue = 0;
	return status;
}

static int
listen_as(struct stand *s, const char *name)
{
	char path[128];
	snprintf(path, sizeof path, "%s/%s", s->directory, name);
	int fd = ipc_listen(path, 0600);
	ck_assert_int_ge(fd, 0);
	return fd;
}

static struct conf *
make_conf(struct stand *s, const char *options)
{
	struct buf *errors = buf_new(s->arena);
	struct str text = str_printf(s->arena, "general {\n hostname = "
		"mail.test\n domains = {local.test}\n state = %s/state\n}\n"
		"log { target = stderr }\nsmtp { min_free = 16m }\n"
		"queue {\n%s\n}\n", s->directory, options);
	int fd = memfd_create("conf", MFD_CLOEXEC);
	ck_assert_int_eq(write(fd, text.p, text.n), text.n);
	lseek(fd, 0, SEEK_SET);
	struct conf *c = conf_read(
		s->arena, fd, "conf", (struct str_list){NULL, 0}, errors);
	ck_assert_msg(c != NULL, "%.*s", STR_ARG(buf_str(errors)));
	close(fd);
	return c;
}

struct stand *
stand_new(const char *options)
{
	struct arena *a = arena_new("stand");
	struct stand *s = arena_one(a, struct stand);
	arena_limit(a, (size_t)1 << 30);
	signal(SIGPIPE, SIG_IGN);
	s->remote = STR("mx.remote.test");
	s->arena = a;
	s->loop = loop_new(a);
	snprintf(s->directory, sizeof s->directory,
		"%s/surat-queue-XXXXXX", test_top());
	ck_assert_ptr_nonnull(mkdtemp(s->directory));
	s->conf = make_conf(s, options);
	s->aliases = map_new(a);
	s->checkpoint = status_fine();
	s->agent = stand_fine;
	list_init(&s->jobs);
	s->auth = (struct peers){.loop = s->loop, .rows = auth_rows,
		.count = 1, .ctx = s};
	s->masters = (struct peers){.loop = s->loop, .rows = master_rows,
		.count = 2, .ctx = s};
	s->agents = (struct peers){.loop = s->loop, .rows = agent_rows,
		.count = 2, .ctx = s, .on_close = agent_closed};
	s->clients = (struct peers){.loop = s->loop, .rows = client_rows,
		.count = MSG_COUNT, .ctx = s, .on_close = client_closed};
	peers_listen(&s->auth, listen_as(s, "auth"), PEER_QUEUE);
	peers_listen(&s->masters, listen_as(s, "master"), PEER_QUEUE);
	for (int i = 0; i < 3; i++) {
		char name[32];
		snprintf(name, sizeof name, "ask.%s", askers[i]);
		s->asks[i] = listen_as(s, name);
	}
	stand_start(s);
	stand_until(s, s->recovered);
	return s;
}

void
stand_free(struct stand *s)
{
	char command[128];
	if (s->queue > 0)
		stand_kill(s);
	snprintf(command, sizeof command, "rm -rf '%s'", s->directory);
	ck_assert_int_eq(system(command), 0);
	arena_free(s->arena);
}

/* ------------------------------------------------------------- evidence */

static sqlite3 *
database(struct stand *s)
{
	char path[128];
	sqlite3 *db;
	snprintf(path, sizeof path, "%s/state/queue/queue.db", s->directory);
	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	sqlite3_busy_timeout(db, 10000);
	return db;
}

int64_t
stand_sql(struct stand *s, const char *sql)
{
	sqlite3 *db = database(s);
	sqlite3_stmt *st = NULL;
	/* -1 also for a database a test has damaged. */
	int64_t n = sqlite3_prepare_v2(db, sql, -1, &st, NULL) == SQLITE_OK &&
			sqlite3_step(st) == SQLITE_ROW
		? sqlite3_column_int64(st, 0) : -1;
	sqlite3_finalize(st);
	sqlite3_close(db);
	return n;
}

void
stand_exec(struct stand *s, const char *sql)
{
	sqlite3 *db = database(s);
	char *why = NULL;
	ck_assert_msg(sqlite3_exec(db, sql, NULL, NULL, &why) == SQLITE_OK,
		"%s: %s", sql, why);
	sqlite3_close(db);
}

bool
stand_logged(struct stand *s, const char *text)
{
	char path[128];
	struct arena *a = arena_new("log");
	arena_limit(a, (size_t)1 << 30);
	snprintf(path, sizeof path, "%s/log", s->directory);
	int fd = open(path, O_RDONLY);
	off_t n = lseek(fd, 0, SEEK_END);
	char *p = arena_alloc(a, (size_t)n);
	n = pread(fd, p, (size_t)n, 0);
	close(fd);
	struct str log = str_of(p, (size_t)n);
	bool found = str_search(log, str_from(text)) < log.n;
	arena_free(a);
	return found;
}

long
stand_memory(const struct stand *s)
{
	char path[64], line[256];
	long kilobytes = 0;
	snprintf(path, sizeof path, "/proc/%d/status", (int)s->queue);
	FILE *f = fopen(path, "r");
	while (f != NULL && fgets(line, sizeof line, f) != NULL)
		sscanf(line, "VmRSS: %ld", &kilobytes);
	if (f != NULL)
		fclose(f);
	return kilobytes;
}
