/* SPDX-License-Identifier: ISC */
/*
 * Fuzz entry of SMTP sessions: the first octet chooses the service, and in
 * which pieces the rest comes, which is what a client says; behind an octet
 * 0x1e, what it says inside TLS.  The programs that smtpd asks are those of
 * t/model.  Every reply is one, and what is taken has a recipient, our trace
 * line, and only whole line ends.
 */
#include "base/arena.h"
#include "base/log.h"
#include "smtpd/smtpd.h"
#include "sys/ipc.h"
#include "t/model/model.h"

#include <assert.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { STREAMS = 4, PIECES_MOST = 40, OCTETS_MOST = 8192, NEXT = 0x1e };

static const char *const services[] = {"smtp", "submission", "lmtp"};
static const char conf_text[] =
	"general { hostname = mx.example.test domains = {example.test} }\n"
	"tls { certificate = /c key = /k }\n"
	"smtp { max_errors = 20 max_size = 64k max_recipients = 100\n"
	"greet_wait = 0 reverse_names = no plaintext_auth = yes\n"
	"xclient_networks = {127.0.0.0/8} }\n";

static struct program program;
static int body;

static void
make_program(void)
{
	struct arena *a = arena_new("program");
	struct buf *errors = buf_new(a);
	int fd = ipc_memory_file("conf", str_from(conf_text));
	lseek(fd, 0, SEEK_SET);
	program = (struct program){.name = "smtpd", .arena = a,
		.hostname = STR("mx.example.test"),
		.conf = conf_read(a, fd, "fuzz", (struct str_list){NULL, 0},
			errors)};
	close(fd);
	assert(program.conf != NULL);
	log_level(LOG_EMERG);
}

/* A client that has said all: {its end, ours} */
static void
say(int pair[2], struct str in, size_t piece)
{
	assert(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) == 0);
	for (int i = 0; in.n > 0; i++) {
		struct str out = i < PIECES_MOST ? str_head(in, piece) : in;
		assert(send(pair[0], out.p, out.n, MSG_DONTWAIT) ==
			(ssize_t)out.n);
		in = str_skip(in, out.n);
	}
	shutdown(pair[0], SHUT_WR);
}

static void
hear(int fd, struct buf *heard)
{
	char packet[64 * 1024];
	ssize_t n;
	/* an error once, when the server left something unread */
	while ((n = recv(fd, packet, sizeof packet, 0)) != 0)
		if (n > 0)
			buf_add(heard, str_of(packet, (size_t)n));
	close(fd);
}

static void
check_replies(struct str text)
{
	struct str line;
	assert(text.n == 0 || str_ends(text, STR("\r\n")));
	while (text.n > 0 && str_cut(&text, '\n', &line)) {
		uint64_t code = 0;
		assert(line.n >= 5 && str_ends(line, STR("\r")));
		assert(str_number(str_head(line, 3), 599, &code) &&
			code >= 200 && (line.p[3] == ' ' || line.p[3] == '-'));
	}
}

static void
check_taken(const struct taken *t)
{
	for (; t != NULL; t = t->next) {
		struct str s = t->content;
		assert(str_search(t->envelope, STR(" to=")) < t->envelope.n);
		assert(str_search(s, STR("Received: ")) < s.n);
		for (size_t i = 0; i < s.n; i++) {
			assert(s.p[i] != '\n' || (i > 0 && s.p[i - 1] == '\r'));
			assert(s.p[i] != '\r' ||
				(i + 1 < s.n && s.p[i + 1] == '\n'));
		}
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	int pairs[STREAMS][2], inner[STREAMS + 1];
	struct str in = str_of(data, n), part;
	if (n < 2 || n > OCTETS_MOST)
		return 0;
	if (program.conf == NULL)
		make_program();
	struct arena *a = arena_new("fuzz");
	struct buf *heard = buf_new(a);
	struct client c = {.service = str_from(services[data[0] % 3])};
	size_t piece = data[0] / 3 % 8 == 0 ? n : data[0] / 3u;
	in = str_skip(in, 1);
	for (int i = 0; i < STREAMS; i++) {
		part = STR("");
		if (i < STREAMS - 1)
			str_cut(&in, NEXT, &part);
		say(pairs[i], part, piece);
		inner[i] = pairs[i][1];
	}
	world_begin(a, true, &body);
	world.streams = inner + 1;
	net_parse_ip(STR("127.0.0.2"), 4000, &c.peer);
	c.local = c.peer;
	c.in = c.out = pairs[0][1];
	smtp_serve(&program, &c);
	for (int i = 1; i < STREAMS; i++)
		close(pairs[i][1]);
	for (int i = 0; i < STREAMS; i++)
		hear(pairs[i][0], heard);
	check_replies(buf_str(heard));
	check_taken(world.first);
	arena_free(a);
	return 0;
}
