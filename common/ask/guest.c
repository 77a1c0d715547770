/* SPDX-License-Identifier: ISC */
/* What happens between a client's first octet and its session.  How
 * challenges and refusals look on the wire is the protocol's. */
#include "ask/guest.h"
#include "ask/link.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "sys/serve.h"

enum { LOGIN_MOST = 10 * 60 * 1000, LOOK_EVERY = 2 * 1000 };

void
guest_init(struct guest *g, struct program *p, struct arena *a,
	struct str service, int in, int out)
{
	*g = (struct guest){
		.conf = p->conf,
		.arena = a,
		.conn = conn_new(a, in, out),
		.service = service,
		.id = program_session_id(a),
		.peer = net_peer(in),
	};
	g->client = net_ip(a, &g->peer);
}

static void
make_links(struct guest *g, struct program *p)
{
	g->auth = link_new(g->arena, p->sockets, "auth");
	g->to_tls = link_new(g->arena, p->sockets, "tls");
	g->back = program_fd(p, "ask.tls", 0) >= 0;
	g->program = p;
	g->began = clock_ms();
}

void
guest_welcome(struct guest *g, struct program *p, const struct client *c)
{
	make_links(g, p);
	g->peer = c->peer;
	g->client = net_ip(g->arena, &g->peer);
	log_info(g->id, "connect", LOG_STR("client", g->client),
		LOG_STR("service", c->service));
}

static struct status
ask_client(struct guest *g, struct arena *a, const char *verb,
	struct message *answer)
{
	struct message m = MESSAGE(client);
	m.client.verb = str_from(verb);
	m.client.session = g->id;
	m.client.service = g->service;
	m.client.ip = g->client;
	if (answer == NULL) {
		link_tell(g->auth, &m);
		return status_fine();
	}
	struct status st = link_call_again(
		g->auth, a, &m, MSG_client_result, answer);
	if (status_is_fine(st))
		g->busy = answer->client_result.busy;
	return st;
}

/* Who cannot be counted is let in: his login needs auth anyway. */
struct status
guest_enter(struct guest *g)
{
	struct message answer;
	if (g->auth == NULL ||
		!status_is_fine(ask_client(g, g->arena, "enter", &answer)))
		return status_fine();
	struct status st = answer.client_result.status;
	if (!status_is_fine(st))
		log_warn(g->id, "client-refused", LOG_STR("client", g->client),
			LOG_STR("why", st.text));
	return st;
}

static int64_t
login_deadline(const struct guest *g)
{
	return g->began + (g->crowded ? (int64_t)CLIENT_STRESS_MS : LOGIN_MOST);
}

static bool
is_over(struct guest *g)
{
	int64_t now = clock_ms();
	if (now >= g->look) {
		g->look = now + LOOK_EVERY;
		g->crowded = g->program != NULL && serve_line(g->program) > 0;
	}
	return now >= login_deadline(g);
}

static int64_t
patience(void *ctx, bool look)
{
	struct guest *g = ctx;
	struct message answer;
	if (look && g->auth != NULL) {
		struct arena *a = arena_new("poll");
		ask_client(g, a, "poll", &answer);
		arena_free(a);
	}
	is_over(g);
	int64_t most = login_deadline(g) - g->waits;
	if (g->busy >= CLIENT_STRESS_PERCENT && most > CLIENT_STRESS_MS)
		most = CLIENT_STRESS_MS;
	return most < g->usual ? most : g->usual;
}

bool
guest_wait(struct guest *g, size_t most, int64_t usual)
{
	g->usual = usual;
	g->waits = clock_ms();
	conn_wait_patiently(g->conn, most, -1, patience, g);
	if (!is_over(g))
		return true;
	log_info(g->id, "too-slow", LOG_STR("client", g->client));
	if (g->crowded && g->auth != NULL)
		ask_client(g, g->arena, "slow", NULL);
	return false;
}

bool
guest_come_back(struct guest *g, struct program *p, const struct message *m)
{
	const struct msg_client_back *b = &m->client_back;
	if (m->kind != MSG_client_back ||
		!net_parse_ip(b->address, 0, &g->peer))
		return false;
	make_links(g, p);
	g->tls = true;
	g->id = str_copy(g->arena, b->session);
	g->client = net_ip(g->arena, &g->peer);
	g->binding = str_copy(g->arena, b->binding);
	log_info(g->id, "back", LOG_STR("client", g->client));
	return true;
}

bool
guest_may_login(const struct guest *g)
{
	return g->tls ||
		(g->conf->smtp.plaintext_auth && net_is_loopback(&g->peer));
}

bool
guest_may_start_tls(const struct guest *g)
{
	return !g->tls && g->conf->tls.certificate.n > 0;
}

/* ------------------------------------------------------------------ TLS */

static struct status
ask_tls(struct guest *g, struct message *answer)
{
	struct message m = MESSAGE(tls_start);
	conn_flush(g->conn);
	m.fd = conn_fd(g->conn);
	m.tls_start.session = g->id;
	m.tls_start.role = STR("server");
	m.tls_start.service = g->service;
	m.tls_start.address = g->back ? g->client : STR("");
	struct status st =
		link_call(g->to_tls, g->arena, &m, MSG_tls_ready, answer);
	if (!status_is_fine(st))
		return st;
	if (status_is_fine(answer->tls_ready.status) && answer->fd < 0)
		return status_later(3, 0, STR("tls gave no stream"));
	return answer->tls_ready.status;
}

static bool
refuse_injection(const struct guest *g)
{
	log_warn(g->id, "tls-injection", LOG_STR("client", g->client));
	return false;
}

/* Such a client may never speak TLS: do not wait for it to. */
bool
guest_start_tls(struct guest *g)
{
	struct message answer;
	if (conn_has_input(g->conn))
		return refuse_injection(g);
	struct status st = ask_tls(g, &answer);
	if (!status_is_fine(st)) {
		log_info(g->id, "tls-failed", LOG_STR("why", st.text),
			LOG_STR("client", g->client));
		return false;
	}
	int fd = message_take_fd(&answer);
	if (conn_swap(g->conn, fd, fd) > 0)
		return refuse_injection(g);
	g->tls = true;
	g->binding = answer.tls_ready.binding;
	g->mechanisms.n = 0;
	log_info(g->id, "tls", LOG_STR("version", answer.tls_ready.version),
		LOG_STR("cipher", answer.tls_ready.cipher));
	return true;
}

/* ----------------------------------------------------------- mechanisms */

static void
keep_mechanisms(struct guest *g, struct str_list offer)
{
	struct str *v = arena_array(g->arena, offer.n * 2, sizeof *v);
	size_t n = 0;
	for (size_t i = 0; i < offer.n; i++) {
		if (g->binding.n > 0 && str_starts(offer.v[i], STR("SCRAM-")))
			v[n++] = str_printf(g->arena, "%.*s-PLUS",
				STR_ARG(offer.v[i]));
		v[n++] = str_copy(g->arena, offer.v[i]);
	}
	g->mechanisms = (struct str_list){v, n};
}

struct str_list
guest_mechanisms(struct guest *g)
{
	struct message answer;
	if (g->mechanisms.n > 0 || g->auth == NULL)
		return g->mechanisms;
	if (status_is_fine(ask_client(g, g->arena, "offer", &answer)))
		keep_mechanisms(g, answer.client_result.mechanisms);
	return g->mechanisms;
}

/* ---------------------------------------------------------------- login */

static struct status
ask_auth(struct guest *g, struct arena *a, struct str mechanism,
	const struct guest_login *how, struct message *answer)
{
	struct message m = MESSAGE(auth_step);
	conn_flush(g->conn);
	m.fd = conn_fd(g->conn);
	m.auth_step.session = g->id;
	m.auth_step.service = g->service;
	m.auth_step.mechanism = mechanism;
	m.auth_step.response = how->response;
	m.auth_step.client = g->client;
	m.auth_step.tls = g->tls;
	m.auth_step.binding = g->binding;
	m.auth_step.back = g->tls && g->back;
	m.auth_step.tag = how->tag;
	m.auth_step.pending = conn_pending(g->conn);
	struct status st =
		link_call(g->auth, a, &m, MSG_auth_result, answer);
	return status_is_fine(st) ? answer->auth_result.status : st;
}

static enum guest_result
outcome(struct guest *g, const struct msg_auth_result *r, struct status *why)
{
	if (status_is_later(*why))
		return GUEST_LATER;
	if (!status_is_fine(*why)) {
		g->failures++;
		log_info(g->id, "login-failed", LOG_STR("client", g->client));
		return GUEST_REFUSED;
	}
	if (!r->handed) {
		*why = status_later(3, 0, STR("No session can be started"));
		return GUEST_LATER;
	}
	log_info(g->id, "handed", LOG_STR("user", r->user));
	return GUEST_HANDED;
}

enum guest_result
guest_login(struct guest *g, struct arena *a, const struct guest_login *how,
	struct status *why)
{
	struct guest_login step = *how;
	struct message m = MESSAGE(auth_result);
	*why = ask_auth(g, a, how->mechanism, &step, &m);
	while (status_is_fine(*why) && m.auth_result.more) {
		if (how->exchange == NULL ||
			!how->exchange(how->ctx, m.auth_result.challenge,
				&step.response)) {
			/* auth still waits for that response. */
			link_close(g->auth);
			return GUEST_CANCELLED;
		}
		*why = ask_auth(g, a, STR(""), &step, &m);
	}
	return outcome(g, &m.auth_result, why);
}

bool
guest_is_trying(const struct guest *g)
{
	return g->failures >= g->conf->auth.max_failures;
}
