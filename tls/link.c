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
 */
#include "tls.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"

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
	ssize_t n = recv(l->plain, chunk, sizeof chunk, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		end_to_net(l);
		return false;
	}
	int done = SSL_write(l->ssl, chunk, (int)n);
	if (done > 0 && done < n)
		keep(&l->to_net, chunk + done, (size_t)(n - done));
	else if (done <= 0 && judge(l, done) == SSL_WAITS)
		keep(&l->to_net, chunk, (size_t)n);
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

static void on_plain(void *ctx, int fd, unsigned events);

static void
ready(struct tls_link *l)
{
	int pair[2];
	unsigned char binding[BINDING];
	struct message m = MESSAGE(tls_ready);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
		pair) != 0) {
		refuse(l, STR("no more descriptors"));
		return;
	}
	loop_untimer(l->timer);
	l->timer = NULL;
	l->handshaking = false;
	l->plain = pair[0];
	l->plain_watch = loop_watch(
		l->tls->loop, l->plain, LOOP_READ, on_plain, l);
	/* RFC 9266 */
	if (SSL_export_keying_material(l->ssl, binding, sizeof binding,
		"EXPORTER-Channel-Binding", 24, NULL, 0, 0) == 1)
		m.tls_ready.binding = str_of(binding, sizeof binding);
	m.tls_ready.status = status_fine();
	m.tls_ready.version = str_from(SSL_get_version(l->ssl));
	m.tls_ready.cipher = str_from(SSL_get_cipher_name(l->ssl));
	m.tls_ready.verified = context_verified(l->ssl);
	if (l->server) {
		const char *name = SSL_get_servername(
			l->ssl, TLSEXT_NAMETYPE_host_name);
		m.tls_ready.name = str_from(name);
	}
	m.fd = pair[1];
	answer(l, &m);
	close(pair[1]);
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
on_plain(void *ctx, int fd, unsigned events)
{
	(void)fd, (void)events;
	pump(ctx);
}

void
link_start(struct tls *t, struct peer *p, SSL *ssl, int net, bool server,
	struct str session)
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
	l->server = server;
	l->handshaking = true;
	session = str_head(session, sizeof l->session - 1);
	memcpy(l->session, session.p, session.n);
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
