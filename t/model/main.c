/* SPDX-License-Identifier: ISC */
/*
 * Plays random sessions and compares.
 *
 *	model_smtp [SESSIONS [SEED [ONLY]]]
 *
 * Prints one TAP line.  A session that went wrong is shown with its number:
 * `model_smtp 0 SEED NUMBER` plays it alone.
 */
#include "model.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "sys/ipc.h"
#include "smtpd/smtpd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PACKET_MOST = 16 * 1024, STREAMS_MOST = 8, ROOM = 4 << 20 };

#define TRUSTED "127.0.0.1"
#define STRANGER "127.0.0.2"

static const struct setup setups[] = {
	{.name = "port 25", .service = "smtp"},
	{.name = "port 25, a trusted host", .service = "smtp", .trusted = true,
		.etrn = true, .conf = "address { relay_domains = {relay.test} }"},
	{.name = "port 25, normalising", .service = "smtp", .normalise = true},
	{.name = "port 25, XCLIENT", .service = "smtp", .xclient = true},
	{.name = "port 25, too early", .service = "smtp", .early = true},
	{.name = "submission", .service = "submission", .submission = true},
	{.name = "submission without TLS", .service = "submission",
		.submission = true, .plaintext = true},
	{.name = "submission, XCLIENT", .service = "submission",
		.submission = true, .xclient = true, .plaintext = true},
	{.name = "LMTP", .service = "lmtp", .lmtp = true},
};

enum { SETUPS = sizeof setups / sizeof *setups };

static const char conf_all[] =
	"general { hostname = mx.example.test domains = {example.test} }\n"
	"tls { certificate = /c key = /k }\n"
	"auth { max_failures = 3 }\n"
	"smtp { max_errors = 20 max_size = 64k max_recipients = 100\n"
	"greet_wait = 0 relay_networks = {" TRUSTED "} reverse_names = no\n"
	"bare_newline = %s plaintext_auth = %s xclient_networks = {%s} }\n%s\n";

static struct program programs[SETUPS];
static int bodies[SETUPS];

static void
make_program(struct arena *a, const struct setup *s, struct program *p)
{
	struct buf *errors = buf_new(a);
	struct str text = str_printf(a, conf_all,
		s->normalise ? "normalise" : "refuse",
		s->plaintext ? "yes" : "no", s->xclient ? "127.0.0.0/8" : "",
		s->conf == NULL ? "" : s->conf);
	int fd = ipc_memory_file("conf", text);
	lseek(fd, 0, SEEK_SET);
	p->name = "smtpd";
	p->arena = a;
	p->hostname = STR("mx.example.test");
	p->conf = conf_read(a, fd, "model", (struct str_list){NULL, 0}, errors);
	close(fd);
	if (p->conf == NULL)
		fatal("configuration", str_cstr(a, buf_str(errors)));
}

/* ----------------------------------------------------------------- packets */

static size_t
number_at(const struct buf *b, size_t i)
{
	size_t n;
	memcpy(&n, b->p + i * sizeof n, sizeof n);
	return n;
}

/* The end of the packet that begins at `at`: a command, all there is, or
 * anywhere. */
static size_t
packet_end(const struct said *s, int mode, size_t at, size_t end)
{
	size_t most = at + PACKET_MOST < end ? at + PACKET_MOST : end;
	if (mode == 1)
		return most;
	if (mode == 2)
		most = at + 1 + random_below(most - at);
	for (size_t i = 0; mode == 0 && i < s->cuts->n / sizeof(size_t); i++)
		if (number_at(s->cuts, i) > at)
			return number_at(s->cuts, i) < most
				? number_at(s->cuts, i) : most;
	return most;
}

static void
fill_stream(const struct said *s, int mode, int fd, size_t from, size_t to)
{
	while (from < to) {
		size_t end = packet_end(s, mode, from, to);
		ssize_t n = send(fd, s->octets->p + from, end - from,
			MSG_DONTWAIT);
		if (n == (ssize_t)(end - from))
			from = end;
		else if (errno != ENOBUFS && errno != ENOMEM)
			fatal("send", strerror(errno));
	}
	shutdown(fd, SHUT_WR);
}

/* ------------------------------------------------------------------- play */

struct played {
	struct buf *got; /* codes, as the model's */
	struct buf *text; /* all that the server said */
	bool malformed;
};

static void
hear(struct played *p, int fd)
{
	char packet[64 * 1024];
	for (;;) {
		ssize_t n = recv(fd, packet, sizeof packet, 0);
		/* Once, when the server left something unread. */
		if (n < 0 && errno == ECONNRESET)
			continue;
		if (n <= 0)
			break;
		buf_add(p->text, str_of(packet, (size_t)n));
	}
}

static void
read_replies(struct played *p)
{
	struct str rest = buf_str(p->text), line;
	while (rest.n > 0 && str_cut(&rest, '\n', &line)) {
		uint64_t code = 0;
		bool good = line.n >= 5 && line.p[line.n - 1] == '\r' &&
			str_number(str_head(line, 3), 599, &code) &&
			code >= 200 && (line.p[3] == ' ' || line.p[3] == '-');
		int c = (int)code;
		p->malformed = p->malformed || !good;
		if (good && line.p[3] == ' ')
			buf_add(p->got, str_of(&c, sizeof c));
	}
}

/* Nobody reads before the other side has said all: there must be room, for the
 * replies too. */
static void
make_stream(int pair[2])
{
	int room = ROOM;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
		fatal("socketpair", strerror(errno));
	for (int i = 0; i < 2; i++)
		if (setsockopt(pair[i], SOL_SOCKET, SO_SNDBUFFORCE, &room,
			sizeof room) != 0)
			setsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &room,
				sizeof room);
}

/* One stream for each TLS and one more: whoever begins TLS when it should not
 * finds a client there, and its answer is one too many. */
static void
play(const struct setup *s, struct program *program, const struct said *said,
	struct played *p)
{
	size_t n = said->streams->n / sizeof(size_t), from = 0;
	int pairs[STREAMS_MOST + 1][2], inner[STREAMS_MOST + 1];
	int mode = said->whole ? 0 : (int)random_below(3);
	struct client c = {.service = str_from(s->service)};
	for (size_t i = 0; i <= n; i++) {
		size_t to = i < n ? number_at(said->streams, i)
				  : said->octets->n;
		make_stream(pairs[i]);
		inner[i] = pairs[i][1];
		fill_stream(said, mode, pairs[i][0], from, to);
		from = to;
	}
	make_stream(pairs[++n]);
	inner[n] = pairs[n][1];
	if (send(pairs[n][0], "QUIT\r\n", 6, 0) != 6)
		fatal("send", strerror(errno));
	world.streams = inner + 1;
	net_parse_ip(s->trusted ? STR(TRUSTED) : STR(STRANGER), 4000, &c.peer);
	c.local = c.peer;
	c.in = c.out = pairs[0][1];
	smtp_serve(program, &c);
	for (size_t i = 1; i <= n; i++)
		close(pairs[i][1]);
	for (size_t i = 0; i <= n; i++) {
		hear(p, pairs[i][0]);
		close(pairs[i][0]);
	}
	read_replies(p);
}

/* ---------------------------------------------------------------- compare */

/* What was taken ends with what was sent, behind our own trace line; behind a
 * repaired header where submission repairs. */
static bool
is_content(const struct setup *s, struct str got, struct str want)
{
	struct str sent = STR("S: x\r\n\r\n"), head, line;
	if (s->submission)
		want = str_skip(want, str_starts(want, sent) ? sent.n : want.n);
	if (!str_ends(got, want) || !str_starts(got, STR("Received: ")))
		return false;
	head = str_skip(str_head(got, got.n - want.n), 1);
	while (!s->submission && head.n > 0 && str_cut(&head, '\n', &line))
		if (head.n > 0 && head.p[0] != '\t' && head.p[0] != ' ')
			return false;
	return true;
}

static const char *
compare(const struct model *m, const struct played *p)
{
	const struct taken *want = m->first, *got = world.first;
	if (p->malformed)
		return "a malformed reply";
	if (!str_eq(buf_str(m->want), buf_str(p->got)))
		return "other replies";
	for (; want != NULL && got != NULL; want = want->next, got = got->next)
		if (!str_eq(want->envelope, got->envelope))
			return "another envelope";
		else if (!is_content(m->setup, got->content, want->content))
			return "another content";
	return want == NULL && got == NULL ? NULL
		: want == NULL ? "accepted what it should not"
			       : "lost what it said it had";
}

static void
show(const char *what, struct str s)
{
	printf("# %s", what);
	for (size_t i = 0; i < s.n && i < 2500; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (c == '\n')
			printf("\\n%s", i + 1 < s.n ? "\n#   " : "");
		else if (c == '\r')
			printf("\\r");
		else if (c < 32 || c > 126)
			printf("\\x%02x", c);
		else
			putchar(c);
	}
	putchar('\n');
}

static void
show_codes(const char *what, const struct buf *codes)
{
	printf("# %s", what);
	for (size_t i = 0; i < codes->n / sizeof(int); i++) {
		int c;
		memcpy(&c, codes->p + i * sizeof c, sizeof c);
		printf(" %d", c);
	}
	putchar('\n');
}

static void
explain(const struct model *m, const struct said *said,
	const struct played *p, const char *why)
{
	printf("# %s: %s\n", m->setup->name, why);
	show("said   ", buf_str(said->octets));
	show_codes("want", m->want);
	show_codes("got ", p->got);
	for (const struct taken *t = m->first; t != NULL; t = t->next) {
		show("to be taken ", t->envelope);
		show("   ", t->content);
	}
	for (const struct taken *t = world.first; t != NULL; t = t->next) {
		show("taken ", t->envelope);
		show("   ", t->content);
	}
}

/* Session `number`; true when all is as it should be. */
static bool
session(uint64_t seed, uint64_t number, bool alone)
{
	struct arena *a = arena_new("session");
	struct model m;
	struct said said = {buf_new(a), buf_new(a), buf_new(a), false};
	struct played p = {buf_new(a), buf_new(a), false};
	random_seed(seed ^ number * 0x9e3779b97f4a7c15u);
	random_next();
	size_t which = random_below(SETUPS);
	world_begin(a, !setups[which].early, &bodies[which]);
	model_begin(&m, &setups[which], a);
	talk(&m, &said);
	play(&setups[which], &programs[which], &said, &p);
	const char *why = compare(&m, &p);
	if (why != NULL || alone)
		explain(&m, &said, &p, why == NULL ? "as it should be" : why);
	arena_free(a);
	return why == NULL;
}

static double
cpu_seconds(void)
{
	struct rusage u;
	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
		(double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

int
main(int argc, char **argv)
{
	uint64_t most = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000;
	uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10)
				 : (uint64_t)clock_wall_us();
	uint64_t only = argc > 3 ? strtoull(argv[3], NULL, 10) : 0, i = 0;
	struct arena *a = arena_new("model");
	log_level(LOG_EMERG);
	for (size_t k = 0; k < SETUPS; k++)
		make_program(a, &setups[k], &programs[k]);
	bool good = true;
	if (argc > 3)
		good = session(seed, only, true);
	while (good && i < most)
		good = session(seed, i++, false);
	printf("%s 1 - %llu random sessions, seed %llu%s: %.1f s of CPU\n",
		good ? "ok" : "not ok", (unsigned long long)i,
		(unsigned long long)seed, good ? "" : ", the last was wrong",
		cpu_seconds());
	printf("1..1\n");
	return good ? 0 : 1;
}
