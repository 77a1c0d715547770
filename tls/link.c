/* SPDX-License-Identifier: ISC */
/*
 * One stream.  After the handshake the asker gets one end of a socket pair and
 * octets go both ways through a buffer all links share; only what a slow
 * reader has not taken is kept, and nothing more is read from its other side
 * until it has (that is all the flow control there is).
 *
 * An end of one direction is passed on as an end of that direction; when the
 * program's side is gone, close_notify is sent and the stranger is given a
 * moment to read the last octets before the socket is closed.
 *
 * A program may also give the stream back (tls_back): it may be somebody
 * else's from there on, so what the next program gets is another socket pair.
 */
#include "tls.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "sys/ipc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	CHUNK = 16 * 1024,
	ROUNDS = 16, /* of CHUNK per turn and direction */
	HANDSHAKE_MS = 30 * 1000,
	LINGER_MS = 5 * 1000,
	BINDING = 32,
	AHEAD_MOST = 1024 * 1024, /* what a program may not have used */
};

struct pending {
	char *octets;
	size_t n, taken;
};

struct tls_link {
	struct tls *tls;
	struct peer *peer; /* until the handshake is over */
	SSL *ssl;
	int net, plain;
	bool server, handshaking;
	bool net_eof, plain_eof, net_closed;
	bool net_wants_write;
	struct pending to_net, to_plain;
	struct loop_watch *net_watch, *plain_watch;
	struct loop_timer *timer;
	char session[32];
	char address[64]; /* who may come back; empty: nobody */
};

static char chunk[CHUNK];

static void
destroy(struct tls_link *l)
{
	loop_untimer(l->timer);
	loop_unwatch(l->net_watch);
	if (l->plain_watch != NULL)
		loop_unwatch(l->plain_watch);
	/* However it ended: the library would take back a session that is
	 * kept for the next time (RFC 5246 7.2.1 wants it no more). */
	if (!l->handshaking)
		SSL_set_shutdown(l->ssl,
			SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	SSL_free(l->ssl);
	close(l->net);
	if (l->plain >= 0)
		close(l->plain);
	free(l->to_net.octets);
	free(l->to_plain.octets);
	if (l->peer != NULL)
		l->peer->data = NULL;
	if (--l->tls->links == 0 && l->tls->no_more)
		loop_stop(l->tls->loop);
	free(l);
}

static void
keep(struct pending *p, const char *octets, size_t n)
{
	p->octets = malloc(n);
	if (p->octets == NULL)
		fatal("out of memory", NULL);
	memcpy(p->octets, octets, n);
	p->n = n;
	p->taken = 0;
}

static bool
is_pending(const struct pending *p)
{
	return p->n > 0;
}

static void
took(struct pending *p, size_t n)
{
	p->taken += n;
	if (p->taken < p->n)
		return;
	free(p->octets);
	*p = (struct pending){NULL, 0, 0};
}

/* ---------------------------------------------------- the plain side */

/* What could not be written now is 0, a broken end -1. */
static ssize_t
write_plain(struct tls_link *l, const char *octets, size_t n)
{
	ssize_t done = send(l->plain, octets, n, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (done >= 0)
		return done;
	return errno == EAGAIN || errno == EINTR ? 0 : -1;
}

/* --------------------------------------------------------- the net side */

enum ssl_result { SSL_MOVED, SSL_WAITS, SSL_ENDED };

static enum ssl_result
judge(struct tls_link *l, int result)
{
	switch (SSL_get_error(l->ssl, result)) {
	case SSL_ERROR_NONE:
		return SSL_MOVED;
	case SSL_ERROR_WANT_WRITE:
		l->net_wants_write = true;
		return SSL_WAITS;
	case SSL_ERROR_WANT_READ:
		return SSL_WAITS;
	default:
		return SSL_ENDED;
	}
}

static void
end_to_plain(struct tls_link *l)
{
	l->net_eof = true;
	if (!is_pending(&l->to_plain))
		shutdown(l->plain, SHUT_WR);
}

static void
end_to_net(struct tls_link *l)
{
	l->plain_eof = true;
	if (is_pending(&l->to_net) || l->net_closed)
		return;
	l->net_closed = true;
	SSL_shutdown(l->ssl);
	shutdown(l->net, SHUT_WR);
}

static void
on_linger(void *ctx)
{
	struct tls_link *l = ctx;
	l->timer = NULL;
	destroy(l);
}

/* net to plain; true when anything moved. */
static bool
pump_in(struct tls_link *l)
{
	if (is_pending(&l->to_plain)) {
		ssize_t n = write_plain(l, l->to_plain.octets +
			l->to_plain.taken, l->to_plain.n - l->to_plain.taken);
		if (n < 0)
			took(&l->to_plain, l->to_plain.n);
		else
			took(&l->to_plain, (size_t)n);
		if (l->net_eof)
			end_to_plain(l);
		return n != 0;
	}
	if (l->net_eof)
		return false;
	int n = SSL_read(l->ssl, chunk, sizeof chunk);
	if (n <= 0) {
		if (judge(l, n) == SSL_ENDED)
			end_to_plain(l);
		return false;
	}
	/* Nobody is left to read it: the stranger talks to the wind. */
	if (l->plain_eof)
		return true;
	ssize_t done = write_plain(l, chunk, (size_t)n);
	if (done >= 0 && done < n)
		keep(&l->to_plain, chunk + done, (size_t)(n - done));
	return true;
}

/* Octets of the program's, which are in the chunk. */
static void
write_net(struct tls_link *l, size_t n)
{
	int done = n == 0 ? 0 : SSL_write(l->ssl, chunk, (int)n);
	if (done > 0 && (size_t)done < n)
		keep(&l->to_net, chunk + done, n - (size_t)done);
	else if (n > 0 && done <= 0 && judge(l, done) == SSL_WAITS)
		keep(&l->to_net, chunk, n);
}

static void take_back(struct tls_link *l, int conversation);

/* plain to net; true when anything moved. */
static bool
pump_out(struct tls_link *l)
{
	if (is_pending(&l->to_net)) {
		struct pending *p = &l->to_net;
		int n = SSL_write(l->ssl, p->octets + p->taken,
			(int)(p->n - p->taken));
		if (n > 0)
			took(p, (size_t)n);
		else if (judge(l, n) == SSL_ENDED)
			took(p, p->n);
		if (!is_pending(p) && l->plain_eof)
			end_to_net(l);
		return n > 0;
	}
	if (l->plain_eof)
		return false;
	int back;
	ssize_t n = ipc_read_fd(l->plain, chunk, sizeof chunk, &back);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		end_to_net(l);
		return false;
	}
	write_net(l, (size_t)n - (back >= 0));
	if (back >= 0)
		take_back(l, back);
	return true;
}

static void
set_interest(struct tls_link *l)
{
	unsigned net = 0, plain = 0;
	if (!is_pending(&l->to_plain) && !l->net_eof)
		net |= LOOP_READ;
	if (l->net_wants_write || is_pending(&l->to_net))
		net |= LOOP_WRITE;
	if (!is_pending(&l->to_net) && !l->plain_eof)
		plain |= LOOP_READ;
	if (is_pending(&l->to_plain))
		plain |= LOOP_WRITE;
	loop_watch_set(l->net_watch, net);
	if (l->plain_watch != NULL)
		loop_watch_set(l->plain_watch, plain);
}

static void
pump(struct tls_link *l)
{
	l->net_wants_write = false;
	for (int i = 0; i < ROUNDS && pump_in(l); i++)
		;
	for (int i = 0; i < ROUNDS && pump_out(l); i++)
		;
	if (l->net_eof && l->plain_eof && !is_pending(&l->to_net)) {
		destroy(l);
		return;
	}
	if (l->plain_eof && l->timer == NULL)
		l->timer = loop_timer(
			l->tls->loop, clock_in(LINGER_MS), on_linger, l);
	/* A closed plain end is reported for ever: stop listening to it. */
	if (l->plain_eof && l->plain_watch != NULL &&
		!is_pending(&l->to_plain)) {
		loop_unwatch(l->plain_watch);
		l->plain_watch = NULL;
	}
	set_interest(l);
	/* The library may hold octets the socket does not show. */
	if (SSL_pending(l->ssl) > 0 && !is_pending(&l->to_plain) &&
		!l->net_eof)
		loop_watch_set(l->net_watch, LOOP_READ | LOOP_WRITE);
}

static void
on_plain(void *ctx, int fd, unsigned events)
{
	(void)fd, (void)events;
	pump(ctx);
}

/* A plain side; the program's end of it, or -1. */
static int
open_plain(struct tls_link *l)
{
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
		pair) != 0)
		return -1;
	l->plain = pair[0];
	l->plain_watch = loop_watch(
		l->tls->loop, l->plain, LOOP_READ, on_plain, l);
	return pair[1];
}

/* RFC 9266.  Before 1.3 two sessions may have the same exporter, unless the
 * master secret is bound to its handshake (section 4.2, RFC 7627): then there
 * is nothing to bind to. */
static struct str
export_binding(struct tls_link *l, unsigned char binding[BINDING])
{
	bool unique = SSL_version(l->ssl) >= TLS1_3_VERSION ||
		SSL_get_extms_support(l->ssl) == 1;
	bool ok = unique && SSL_export_keying_material(l->ssl, binding,
		BINDING, "EXPORTER-Channel-Binding", 24, NULL, 0, 0) == 1;
	return str_of(binding, ok ? BINDING : 0);
}

/* ------------------------------------------------------------ given back */

/* What the program had read of the client and what it had not, in order.  Its
 * end of the stream may be anything: reading must not wait. */
static void
gather(struct tls_link *l, const struct message *m, struct buf *ahead)
{
	ssize_t n;
	buf_add(ahead, m->tls_back.pending);
	while (ahead->n < AHEAD_MOST && (n = recv(m->fd,
		buf_room(ahead, CHUNK), CHUNK, MSG_DONTWAIT)) > 0)
		buf_grew(ahead, (size_t)n);
	buf_add(ahead, str_of(l->to_plain.octets + l->to_plain.taken,
		l->to_plain.n - l->to_plain.taken));
}

/* To whoever of the login processes is free next. */
static bool
send_back(struct tls_link *l, struct arena *a, int stream)
{
	unsigned char binding[BINDING];
	struct message m = MESSAGE(client_back);
	int imapd = ipc_connect_now(str_cstr(a, str_printf(a, "%.*s/imapd",
		STR_ARG(l->tls->program->sockets))));
	m.fd = stream;
	m.client_back.session = str_from(l->session);
	m.client_back.address = str_from(l->address);
	m.client_back.binding = export_binding(l, binding);
	bool ok = imapd >= 0 &&
		ipc_send(&ask_messages, imapd, &m) == IPC_OK;
	if (imapd >= 0)
		close(imapd);
	return ok;
}

/* The old pair goes with this process's end of it, whoever still has the
 * other. */
static bool
renew_plain(struct tls_link *l, struct arena *a, const struct message *m)
{
	struct buf *ahead = buf_new(a);
	gather(l, m, ahead);
	if (ahead->n > AHEAD_MOST + CHUNK)
		return false;
	took(&l->to_plain, l->to_plain.n);
	if (ahead->n > 0)
		keep(&l->to_plain, ahead->p, ahead->n);
	loop_unwatch(l->plain_watch);
	close(l->plain);
	l->plain = -1;
	l->plain_watch = NULL;
	int stream = open_plain(l);
	bool ok = stream >= 0 && send_back(l, a, stream);
	if (stream >= 0)
		close(stream);
	if (ok && l->net_eof)
		end_to_plain(l);
	return ok;
}

/* Who cannot come back is gone: the stranger hears the end of the stream. */
static void
take_back(struct tls_link *l, int conversation)
{
	struct arena *a = arena_new("back");
	struct message m = {.fd = -1};
	if (l->address[0] == 0 || ipc_recv(&ask_messages, conversation, a,
		&m) != IPC_OK || m.kind != MSG_tls_back || m.fd < 0 ||
		!renew_plain(l, a, &m)) {
		log_warn(str_from(l->session), "not-back");
		end_to_net(l);
	}
	message_drop(&m);
	close(conversation);
	arena_free(a);
}

/* ------------------------------------------------------------ handshake */

static void
answer(struct tls_link *l, struct message *m)
{
	if (l->peer == NULL)
		return;
	peer_send(l->peer, m);
	l->peer->data = NULL;
	l->peer = NULL;
}

static void
refuse(struct tls_link *l, struct str why)
{
	struct message m = MESSAGE(tls_ready);
	struct arena *a = arena_new("refusal");
	bool verify = SSL_get_verify_result(l->ssl) != X509_V_OK &&
		SSL_get_verify_mode(l->ssl) != SSL_VERIFY_NONE;
	if (verify)
		why = str_from(X509_verify_cert_error_string(
			SSL_get_verify_result(l->ssl)));
	log_info(str_from(l->session), "tls-failed", LOG_STR("why", why));
	m.tls_ready.status = status_later(7, verify ? 7 : 5,
		str_printf(a, "TLS: %.*s", STR_ARG(why)));
	answer(l, &m);
	arena_free(a);
	destroy(l);
}

static void
on_slow(void *ctx)
{
	struct tls_link *l = ctx;
	l->timer = NULL;
	refuse(l, STR("the handshake took too long"));
}

static void
ready(struct tls_link *l)
{
	unsigned char binding[BINDING];
	struct message m = MESSAGE(tls_ready);
	m.fd = open_plain(l);
	if (m.fd < 0) {
		refuse(l, STR("no more descriptors"));
		return;
	}
	loop_untimer(l->timer);
	l->timer = NULL;
	l->handshaking = false;
	m.tls_ready.binding = export_binding(l, binding);
	m.tls_ready.status = status_fine();
	m.tls_ready.version = str_from(SSL_get_version(l->ssl));
	m.tls_ready.cipher = str_from(SSL_get_cipher_name(l->ssl));
	m.tls_ready.verified = context_verified(l->ssl);
	if (l->server) {
		const char *name = SSL_get_servername(
			l->ssl, TLSEXT_NAMETYPE_host_name);
		m.tls_ready.name = str_from(name);
	}
	answer(l, &m);
	message_drop(&m);
	pump(l);
}

static void
shake(struct tls_link *l)
{
	int r = SSL_do_handshake(l->ssl);
	if (r == 1) {
		ready(l);
		return;
	}
	l->net_wants_write = false;
	if (judge(l, r) == SSL_ENDED) {
		struct arena *a = arena_new("error");
		refuse(l, context_error(a));
		arena_free(a);
		return;
	}
	loop_watch_set(l->net_watch,
		l->net_wants_write ? LOOP_WRITE : LOOP_READ);
}

static void
on_net(void *ctx, int fd, unsigned events)
{
	struct tls_link *l = ctx;
	(void)fd, (void)events;
	if (l->handshaking)
		shake(l);
	else
		pump(l);
}

static void
set_text(char *to, size_t size, struct str from)
{
	from = str_head(from, size - 1);
	memcpy(to, from.p, from.n);
}

void
link_start(struct tls *t, struct peer *p, SSL *ssl, int net,
	const struct msg_tls_start *m)
{
	struct tls_link *l = calloc(1, sizeof *l);
	if (l == NULL)
		fatal("out of memory", NULL);
	l->tls = t;
	t->links++;
	l->peer = p;
	l->ssl = ssl;
	l->net = net;
	l->plain = -1;
	l->server = !str_eq(m->role, STR("client"));
	l->handshaking = true;
	set_text(l->session, sizeof l->session, m->session);
	set_text(l->address, sizeof l->address, m->address);
	p->data = l;
	fcntl(net, F_SETFL, fcntl(net, F_GETFL) | O_NONBLOCK);
	SSL_set_fd(ssl, net);
	l->net_watch = loop_watch(t->loop, net, LOOP_READ, on_net, l);
	l->timer = loop_timer(t->loop, clock_in(HANDSHAKE_MS), on_slow, l);
	shake(l);
}

void
link_forget(struct peer *p)
{
	struct tls_link *l = p->data;
	if (l == NULL)
		return;
	l->peer = NULL;
	destroy(l);
}
