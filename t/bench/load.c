/* SPDX-License-Identifier: ISC */
/*
 * load: sends mail by SMTP as fast as the server takes it, from one process
 * with many sessions, so that the sender costs as little as possible beside
 * the server that is measured on the same cores.
 *
 *	load [-s SESSIONS] [-m MESSAGES] [-l OCTETS] [-r RCPTS] [-b BOXES]
 *		[-D DOMAIN] [-d] [-P] [-t SECONDS] HOST PORT
 *
 * Messages of OCTETS go from sender@client.test to 1u@DOMAIN, 2u@DOMAIN ...:
 * to one of BOXES in turn, or with -r to the first RCPTS of them at once.
 * -d: up to 500 messages per session, else one.  -P: MAIL, RCPT and DATA in one
 * packet (RFC 2920); else each command waits for its reply.
 *
 * Prints one line when the last message was taken: how many, seconds, and the
 * time from the final dot to its reply (median and 99th percentile).  Fails,
 * naming the reply, when the server refuses anything, and after SECONDS.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { REPLY_MOST = 4096, COMMAND_MOST = 256, EVENTS = 64, MANY = 500 };

enum step { GREETING, EHLO, MAIL, RCPT, DATA, DOT, QUIT };

struct session {
	int fd;
	enum step step; /* whose reply is awaited */
	int sent_here; /* messages, over this connection */
	int rcpt; /* replies to RCPT had, in this transaction */
	long message; /* number of the one under way */
	double dot; /* when its end was sent */
	char in[REPLY_MOST];
	size_t have;
	char *out; /* what is to be sent */
	size_t length, sent, room;
	bool waiting; /* for room in the socket */
};

static struct {
	int sessions, rcpts, boxes, seconds;
	long messages, octets;
	const char *domain;
	bool many, pipelining;
	struct sockaddr_in to;
} o = {.sessions = 1, .rcpts = 1, .boxes = 10, .messages = 100,
	.octets = 4096, .seconds = 120, .domain = "bench.test"};

static int loop;
static long begun, taken;
static int open_sessions;
static double *waits; /* per message: dot to reply */
static double finished; /* when the last message was taken */
static char *filler;

static void
die(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	fputs("load: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	exit(1);
}

static void *
must(void *p)
{
	if (p == NULL)
		die("out of memory");
	return p;
}

static double
now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* -------------------------------------------------------------- sending */

static void
watch(struct session *s, int operation, unsigned events)
{
	struct epoll_event e = {.events = events, .data.ptr = s};
	if (epoll_ctl(loop, operation, s->fd, &e) != 0)
		die("epoll_ctl: %s", strerror(errno));
}

static void
push(struct session *s)
{
	while (s->sent < s->length) {
		ssize_t n = send(s->fd, s->out + s->sent, s->length - s->sent,
			MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN)
			die("send: %s", strerror(errno));
		if (n < 0) {
			s->waiting = true;
			watch(s, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
			return;
		}
		s->sent += (size_t)n;
	}
	s->length = s->sent = 0;
	if (s->waiting)
		watch(s, EPOLL_CTL_MOD, EPOLLIN);
	s->waiting = false;
}

static void
put(struct session *s, const char *p, size_t n)
{
	if (s->length + n > s->room) {
		s->room = (s->length + n) * 2;
		s->out = must(realloc(s->out, s->room));
	}
	memcpy(s->out + s->length, p, n);
	s->length += n;
}

static void
say(struct session *s, const char *fmt, ...)
{
	char line[COMMAND_MOST];
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(line, sizeof line, fmt, ap);
	va_end(ap);
	put(s, line, (size_t)n);
}

static void
say_rcpt(struct session *s, int i)
{
	long box = o.rcpts > 1 ? i + 1 : s->message % o.boxes + 1;
	say(s, "RCPT TO:<%ldu@%s>\r\n", box, o.domain);
}

/* No two messages are alike: ids, subject and the first line differ. */
static void
say_content(struct session *s)
{
	size_t before = s->length;
	say(s, "From: Sender <sender@client.test>\r\n"
		"To: Somebody <1u@%s>\r\n", o.domain);
	say(s, "Date: Mon, 6 Jan 2025 10:00:00 +0000\r\n"
		"Message-ID: <%ld.%d@client.test>\r\n", s->message,
		(int)getpid());
	say(s, "Subject: measuring, message %ld\r\n\r\n", s->message);
	size_t n = (size_t)o.octets - (s->length - before) - 2;
	if (filler[n - 1] == '\r')
		n--;
	put(s, filler, n);
	put(s, "\r\n.\r\n", 5);
}

/* ------------------------------------------------------------- sessions */

static void
dial(struct session *s)
{
	int one = 1;
	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (s->fd < 0)
		die("socket: %s", strerror(errno));
	if (connect(s->fd, (struct sockaddr *)&o.to, sizeof o.to) != 0)
		die("connect: %s", strerror(errno));
	fcntl(s->fd, F_SETFL, O_NONBLOCK);
	setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	s->step = GREETING;
	s->have = s->length = s->sent = 0;
	s->sent_here = 0;
	s->waiting = false;
	watch(s, EPOLL_CTL_ADD, EPOLLIN);
}

static void
begin(struct session *s)
{
	s->message = begun++;
	s->rcpt = 0;
	s->step = MAIL;
	say(s, "MAIL FROM:<sender@client.test>\r\n");
	if (!o.pipelining)
		return;
	for (int i = 0; i < o.rcpts; i++)
		say_rcpt(s, i);
	say(s, "DATA\r\n");
}

static void
leave(struct session *s)
{
	say(s, "QUIT\r\n");
	s->step = QUIT;
}

static void
end(struct session *s)
{
	close(s->fd);
	s->fd = -1;
	if (begun < o.messages)
		dial(s);
	else
		open_sessions--;
}

static void
after_dot(struct session *s)
{
	finished = now();
	waits[taken++] = finished - s->dot;
	if (++s->sent_here < (o.many ? MANY : 1) && begun < o.messages)
		begin(s);
	else
		leave(s);
}

static void
after_rcpt(struct session *s)
{
	if (++s->rcpt < o.rcpts) {
		if (!o.pipelining)
			say_rcpt(s, s->rcpt);
		return;
	}
	if (!o.pipelining)
		say(s, "DATA\r\n");
	s->step = DATA;
}

/* The reply to s->step came, and it is the right one. */
static void
proceed(struct session *s)
{
	switch (s->step) {
	case GREETING:
		say(s, "EHLO client.test\r\n");
		s->step = EHLO;
		break;
	case EHLO:
		if (begun < o.messages)
			begin(s);
		else
			leave(s);
		break;
	case MAIL:
		s->step = RCPT;
		if (!o.pipelining)
			say_rcpt(s, 0);
		break;
	case RCPT:
		after_rcpt(s);
		break;
	case DATA:
		say_content(s);
		s->step = DOT;
		s->dot = now();
		break;
	case DOT:
		after_dot(s);
		break;
	case QUIT:
		end(s);
		return;
	}
}

static void
judge(struct session *s, const char *reply, size_t n)
{
	static const char *const wanted[] = {[GREETING] = "220",
		[EHLO] = "250", [MAIL] = "250", [RCPT] = "250",
		[DATA] = "354", [DOT] = "250", [QUIT] = "221"};
	if (strncmp(reply, wanted[s->step], 3) != 0)
		die("after %ld messages: %.*s", taken, (int)n, reply);
	proceed(s);
}

/* One whole reply, its last line "NNN text"; the octets it takes, or 0. */
static size_t
whole_reply(const struct session *s, size_t from)
{
	while (from < s->have) {
		const char *line = s->in + from;
		const char *lf = memchr(line, '\n', s->have - from);
		if (lf == NULL)
			return 0;
		from = (size_t)(lf - s->in) + 1;
		if (lf - line >= 4 && line[3] != '-')
			return from;
	}
	return 0;
}

static void
hear(struct session *s)
{
	ssize_t n = recv(s->fd, s->in + s->have, sizeof s->in - s->have, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0)
		die("after %ld messages: connection lost: %s", taken,
			n == 0 ? "closed" : strerror(errno));
	s->have += (size_t)n;
	size_t at = 0, next;
	while (s->fd >= 0 && (next = whole_reply(s, at)) > 0) {
		judge(s, s->in + at, next - at);
		/* A new connection under the same struct has read nothing. */
		at = s->have == 0 ? 0 : next;
	}
	if (s->fd < 0)
		return;
	memmove(s->in, s->in + at, s->have - at);
	s->have -= at;
	if (s->have == sizeof s->in)
		die("a reply without an end");
	if (s->length > 0 && !s->waiting)
		push(s);
}

/* --------------------------------------------------------------- running */

static int
by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

static void
run(void)
{
	struct session *all = must(calloc((size_t)o.sessions, sizeof *all));
	struct epoll_event e[EVENTS];
	double start = now();
	open_sessions = o.sessions;
	for (int i = 0; i < o.sessions; i++)
		dial(&all[i]);
	while (open_sessions > 0) {
		int n = epoll_wait(loop, e, EVENTS, 1000);
		for (int i = 0; i < n; i++) {
			struct session *s = e[i].data.ptr;
			if (e[i].events & EPOLLOUT)
				push(s);
			if (e[i].events & ~(unsigned)EPOLLOUT)
				hear(s);
		}
		if (now() - start > o.seconds)
			die("only %ld of %ld messages after %d s", taken,
				o.messages, o.seconds);
	}
	qsort(waits, (size_t)taken, sizeof *waits, by_size);
	printf("taken=%ld seconds=%.4f p50_ms=%.2f p99_ms=%.2f\n", taken,
		finished - start, waits[taken / 2] * 1e3,
		waits[taken * 99 / 100] * 1e3);
}

static void
take_options(int argc, char **argv)
{
	int c;
	while ((c = getopt(argc, argv, "s:m:l:r:b:D:t:dP")) != -1) {
		switch (c) {
		case 's': o.sessions = atoi(optarg); break;
		case 'm': o.messages = atol(optarg); break;
		case 'l': o.octets = atol(optarg); break;
		case 'r': o.rcpts = atoi(optarg); break;
		case 'b': o.boxes = atoi(optarg); break;
		case 't': o.seconds = atoi(optarg); break;
		case 'D': o.domain = optarg; break;
		case 'd': o.many = true; break;
		case 'P': o.pipelining = true; break;
		default: exit(64);
		}
	}
	if (argc - optind != 2 || o.sessions < 1 || o.messages < 1 ||
		o.rcpts < 1 || o.boxes < 1 || o.octets < 512)
		die("usage: see the head of t/bench/load.c");
	o.to = (struct sockaddr_in){.sin_family = AF_INET,
		.sin_port = htons((uint16_t)atoi(argv[optind + 1]))};
	if (inet_pton(AF_INET, argv[optind], &o.to.sin_addr) != 1)
		die("%s is not an address", argv[optind]);
}

int
main(int argc, char **argv)
{
	take_options(argc, argv);
	if (o.sessions > o.messages)
		o.sessions = (int)o.messages;
	waits = must(calloc((size_t)o.messages, sizeof *waits));
	filler = must(malloc((size_t)o.octets + 80));
	for (long i = 0; i < o.octets; i++)
		filler[i] = "the quick brown fox jumps over the lazy dog"
			" and packs its box of jugs\r\n"[i % 71];
	loop = epoll_create1(EPOLL_CLOEXEC);
	if (loop < 0)
		die("epoll_create1: %s", strerror(errno));
	run();
	return 0;
}
