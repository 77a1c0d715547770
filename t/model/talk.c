/* SPDX-License-Identifier: ISC */
/* Makes up what a client says, and tells the model. */
#include "model.h"
#include "base/arena.h"

static uint64_t state;

void
random_seed(uint64_t seed)
{
	state = seed;
}

/* splitmix64 */
uint64_t
random_next(void)
{
	uint64_t z = state += 0x9e3779b97f4a7c15u;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

size_t
random_below(size_t n)
{
	return (size_t)(random_next() >> 16) % n;
}

bool
random_one_in(size_t n)
{
	return random_below(n) == 0;
}

#define PICK(array) (array)[random_below(sizeof(array) / sizeof *(array))]

/* ------------------------------------------------------------- what is said */

static const struct choice senders[] = {
	{"a@remote.test", 0, NULL}, {"a@remote.test", 0, NULL}, {"", 0, NULL},
	{"alice@example.test", 0, NULL}, {"bob@example.test", 0, NULL},
	{"alice+x@example.test", 0, NULL}, {"full@remote.test", 0, NULL},
	{"refused@remote.test", 0, NULL}, {"a b@remote.test", 501, NULL},
	{"@remote.test", 501, NULL}, {"j\303\266rg@remote.test", 0, NULL},
	{"\"a\"@remote.test", 0, "a@remote.test"},
	{"@x.test,@y.test:a@remote.test", 0, "a@remote.test"},
};
static const struct choice mail_params[] = {
	{"", 0, NULL}, {"", 0, NULL}, {"", 0, NULL}, {"", 0, NULL},
	{"SIZE=100", 0, NULL}, {"BODY=8BITMIME", 0, NULL},
	{"BODY=BINARYMIME", 0, NULL}, {"SMTPUTF8", 0, NULL},
	{"RET=HDRS ENVID=x+2By", 0, NULL}, {"RET=FULL BODY=7BIT", 0, NULL},
	{"REQUIRETLS", 0, NULL}, {"AUTH=<>", 0, NULL},
};
static const struct choice bad_mail_params[] = {
	{"NOSUCH=1", 555, NULL}, {"SIZE=x", 501, NULL}, {"SIZE=-1", 501, NULL},
	{"SIZE=99999999", 552, NULL}, {"BODY=9", 501, NULL},
	{"ENVID=+", 501, NULL}, {"RET=ALL", 501, NULL},
	{"SMTPUTF8=1", 501, NULL}, {"REQUIRETLS=1", 501, NULL},
	{"SIZE=1 SIZE=2", 501, NULL},
};
static const struct choice rcpts[] = {
	{"alice@example.test", 0, NULL}, {"alice@example.test", 0, NULL},
	{"bob@example.test", 0, NULL}, {"postmaster", 0, NULL},
	{"x@relay.test", 0, NULL}, {"nobody@example.test", 550, NULL},
	{"x@far.test", 0, NULL}, {"later@example.test", 451, NULL},
	{"hold@example.test", 0, NULL}, {"elsewhere@example.test", 0, NULL},
	{"", 501, NULL}, {"a b@example.test", 501, NULL},
	{"alice@", 501, NULL}, {"j\303\266rg@relay.test", 0, NULL},
	{"\"alice\"@example.test", 0, "alice@example.test"},
	{"@far.test:bob@example.test", 0, "bob@example.test"},
	{"@example.test:x@far.test", 0, "x@far.test"},
	{"x%far.test@example.test", 550, NULL},
};
static const struct choice rcpt_params[] = {
	{"NOTIFY=NEVER", 0, NULL}, {"NOTIFY=SUCCESS,FAILURE,DELAY", 0, NULL},
	{"NOTIFY=FAILURE ORCPT=rfc822;a+2Bb@c.test", 0, NULL},
	{"ORCPT=rfc822;x@y.test", 0, NULL}, {"NOTIFY=NEVER,DELAY", 501, NULL},
	{"NOTIFY=", 501, NULL}, {"ORCPT=x", 501, NULL},
	{"SIZE=1", 555, NULL}, {"XYZ", 555, NULL},
};
static const char *const lines[] = {
	"", ".", "..", ".x", "RSET", "QUIT", "MAIL FROM:<evil@remote.test>",
	"\342\202\254", "DATA", "BDAT 5 LAST", "text", " . ", "Received: x",
};
/* Spellings of an end that are none.  Each begins a line and is followed by
 * CRLF. */
static const char *const bare[] = {
	"a\nb", "a\rb", "\n.\n", "\r.\r", "\n.", "\r.", "x\n.", "x\r.", ".\n",
	".\r", "x\n.\nMAIL FROM:<evil@remote.test>", "x\r.\rRSET", "\r", "\n",
	"x\n\r.", "..\n", ".\r.", "\n\n.\n",
};
static const char *const chunks[] = {
	"", "S: x\r\n\r\n", "S: x\r\n\r\ntext", "\r\n.\r\n", ".\r\n", "RSET\r\n",
	"x\r", "\nx", "a\nb\r\n", "\r\n", ".", "\r\n.\r\nMAIL FROM:<a@b>\r\n",
};

struct kind {
	void (*fn)(struct model *m, struct said *s);
	unsigned weight;
};

static void
say(struct said *s, const char *verb, const char *rest)
{
	buf_printf(s->octets, "%s%s%s\r\n", verb, *rest != '\0' ? " " : "",
		rest);
}

static void
say_hello(struct model *m, struct said *s)
{
	static const char *const verbs[] = {"HELO", "EHLO", "LHLO"};
	/* Mostly the right one, or nothing would ever happen. */
	const char *verb = random_below(4) > 0
		? (m->setup->lmtp ? "LHLO" : "EHLO") : PICK(verbs);
	bool named = !random_one_in(20);
	say(s, verb, named ? "x.test" : "");
	model_hello(m, verb, named);
}

static void
say_mail(struct model *m, struct said *s)
{
	struct choice path = PICK(senders), param = PICK(mail_params);
	if (m->user.n > 0 && random_below(3) > 0)
		path = (struct choice){m->user.p[0] == 'a'
			? "alice@example.test" : "bob@example.test", 0, NULL};
	if (random_one_in(20))
		param = PICK(bad_mail_params);
	buf_printf(s->octets, "MAIL FROM:<%s>%s%s\r\n", path.text,
		*param.text != '\0' ? " " : "", param.text);
	model_mail(m, path, param);
}

static void
one_rcpt(struct model *m, struct said *s, struct choice path,
	struct choice param)
{
	buf_printf(s->octets, "RCPT TO:<%s>%s%s\r\n", path.text,
		*param.text != '\0' ? " " : "", param.text);
	model_rcpt(m, path, param);
}

static void
say_rcpt(struct model *m, struct said *s)
{
	struct choice param = {"", 0, NULL};
	if (random_one_in(8))
		param = PICK(rcpt_params);
	one_rcpt(m, s, PICK(rcpts), param);
}

static void
cut_here(struct said *s)
{
	buf_add(s->cuts, str_of(&s->octets->n, sizeof(size_t)));
}

/* More than are taken. */
static void
say_many(struct model *m, struct said *s)
{
	for (int i = 0; i < MAX_RCPTS + 5 && m->state != CLOSED; i++) {
		struct choice path = {str_cstr(m->arena, str_printf(m->arena,
			"u%d@relay.test", i)), 0, NULL};
		one_rcpt(m, s, path, (struct choice){"", 0, NULL});
		cut_here(s);
	}
}

static void
add_long(struct buf *b, size_t lines_of_100)
{
	char *p = buf_room(b, lines_of_100 * 100);
	for (size_t i = 0; i < lines_of_100; i++, p += 100) {
		memset(p, 'x', 98);
		memcpy(p + 98, "\r\n", 2);
	}
	buf_grew(b, lines_of_100 * 100);
}

/* As it goes over the wire, but for the final dot. */
static struct str
make_content(struct model *m)
{
	struct buf *b = buf_new(m->arena);
	size_t n = random_below(6);
	if (m->setup->submission || !random_one_in(8))
		buf_adds(b, "S: x\r\n\r\n");
	for (size_t i = 0; i < n; i++) {
		const char *line = PICK(lines);
		if (*line == '.')
			buf_addc(b, '.');
		buf_adds(b, line);
		if (random_one_in(30))
			buf_addc(b, '\0');
		buf_adds(b, "\r\n");
	}
	if (random_one_in(7)) {
		buf_adds(b, PICK(bare));
		buf_adds(b, "\r\n");
	}
	if (random_one_in(20))
		add_long(b, 30);
	if (random_one_in(200))
		add_long(b, random_one_in(2) ? 500 : 700);
	return buf_str(b);
}

static void
say_data(struct model *m, struct said *s)
{
	say(s, "DATA", "");
	if (!model_data(m))
		return;
	if (!random_one_in(4))
		cut_here(s);
	struct str text = make_content(m);
	buf_add(s->octets, text);
	/* One who goes in the middle has sent nothing. */
	if (random_one_in(150)) {
		m->state = CLOSED;
		return;
	}
	buf_adds(s->octets, ".\r\n");
	model_data_end(m, text);
}

static void
say_bdat(struct model *m, struct said *s)
{
	bool last = random_below(5) < 2;
	struct buf *b = buf_new(m->arena);
	if (m->setup->submission && m->chunks->n == 0)
		buf_adds(b, "S: x\r\n\r\n");
	buf_adds(b, PICK(chunks));
	if (random_one_in(20))
		add_long(b, 20);
	if (random_one_in(300))
		add_long(b, random_one_in(2) ? 500 : 700);
	buf_printf(s->octets, "BDAT %zu%s\r\n", b->n, last ? " LAST" : "");
	buf_add(s->octets, buf_str(b));
	if (b->n > 0 && random_one_in(200)) {
		s->octets->n--;
		m->state = CLOSED;
		return;
	}
	model_bdat(m, buf_str(b), last);
}

static void
say_bad_bdat(struct model *m, struct said *s)
{
	static const struct choice sizes[] = {{"x", 501, NULL}, {"", 501, NULL},
		{"5 LAST x", 501, NULL}, {"-1", 501, NULL}, {"5 NEXT", 501, NULL},
		{"99999999", 552, NULL}, {"99999999999999999999", 501, NULL}};
	struct choice size = PICK(sizes);
	say(s, "BDAT", size.text);
	model_bdat_bad(m, size.code);
}

static void
say_rset(struct model *m, struct said *s)
{
	say(s, "RSET", "");
	model_rset(m);
}

static void
say_plain(struct model *m, struct said *s)
{
	static const struct choice all[] = {{"NOOP", 250, NULL},
		{"NOOP x", 250, NULL}, {"noop", 250, NULL}, {"VRFY a", 252, NULL},
		{"VRFY", 501, NULL}, {"HELP", 214, NULL}};
	struct choice one = PICK(all);
	say(s, one.text, "");
	model_plain(m, one.code);
}

static void
say_chatter(struct model *m, struct said *s)
{
	for (size_t n = random_below(MAX_IDLE + 10); n > 0 &&
		m->state != CLOSED; n--) {
		say(s, "NOOP", "");
		model_plain(m, 250);
	}
}

/* More transactions than a session may have. */
static void
say_rounds(struct model *m, struct said *s)
{
	if (!random_one_in(20))
		return;
	for (int i = 0; i <= MAX_TRANSACTIONS; i++) {
		say(s, "MAIL", "FROM:<>");
		model_mail(m, (struct choice){"", 0, NULL},
			(struct choice){"", 0, NULL});
		if (m->state != MAIL)
			return;
		say_rset(m, s);
	}
}

/* A line, the code, what it costs. */
static void
say_garbage(struct model *m, struct said *s)
{
	static const struct {
		const char *text;
		int code;
		bool ends;
	} all[] = {{"XYZZY\r\n", 500, false}, {"EXPN a\r\n", 500, false},
		{"\r\n", 500, false}, {"NOOP \1\r\n", 500, false},
		{".\r\n", 500, false}, {"TURN\r\n", 500, false},
		{"GET / HTTP/1.1\r\n", 554, true}, {"NOOP\n", 500, true},
		{"NOOP\rRSET\r\n", 500, true}, {"NOOP\r\r\n", 500, true}};
	size_t i = random_below(sizeof all / sizeof *all + 1);
	if (i < sizeof all / sizeof *all) {
		buf_adds(s->octets, all[i].text);
		model_garbage(m, all[i].code, all[i].ends);
		return;
	}
	buf_printf(s->octets, "NOOP %*s\r\n", 13000, "x");
	model_garbage(m, 500, false);
}

/* What follows the mechanism; each later word is a line of its own. */
static void
say_auth(struct model *m, struct said *s)
{
	static const struct {
		const char *first, *more[2];
		int code;
		const char *user;
	} all[] = {
		{"PLAIN AGFsaWNlAHNlY3JldA==", {NULL}, 235, "alice"},
		{"PLAIN AGFsaWNlAHNlY3JldA==", {NULL}, 235, "alice"},
		{"plain", {"AGJvYgBzZWNyZXQ="}, 235, "bob"},
		{"PLAIN =", {"AGFsaWNlAHNlY3JldA=="}, 235, "alice"},
		{"PLAIN AGFsaWNlAHdyb25n", {NULL}, 535, NULL},
		{"PLAIN AHNsb3cAc2VjcmV0", {NULL}, 454, NULL},
		{"PLAIN", {"*"}, 501, NULL}, {"PLAIN", {"!"}, 501, NULL},
		{"LOGIN", {"YWxpY2U=", "c2VjcmV0"}, 235, "alice"},
		{"LOGIN YWxpY2U=", {"c2VjcmV0"}, 235, "alice"},
		{"LOGIN", {"YWxpY2U=", "*"}, 501, NULL},
		{"LOGIN", {"YWxpY2U=", "d3Jvbmc="}, 535, NULL},
		{"", {NULL}, 501, NULL}, {"CRAM-MD5", {NULL}, 504, NULL},
		{"PLAIN !", {NULL}, 501, NULL}, {"PLAIN YQ==", {NULL}, 501, NULL},
	};
	size_t i = random_below(sizeof all / sizeof *all);
	say(s, "AUTH", all[i].first);
	if (!model_may_auth(m))
		return;
	for (int k = 0; k < 2 && all[i].more[k] != NULL; k++) {
		int more = 334;
		buf_add(m->want, str_of(&more, sizeof more));
		if (!random_one_in(4))
			cut_here(s);
		say(s, all[i].more[k], "");
	}
	model_auth(m, all[i].code, all[i].user);
}

static void
say_starttls(struct model *m, struct said *s)
{
	bool alone = !random_one_in(8), works = !random_one_in(20);
	size_t before = model_wants(m);
	if (random_one_in(20)) {
		say(s, "STARTTLS", "now");
		bool here = m->state == FRESH || m->state == READY;
		model_plain(m, here ? 501 : 503);
		return;
	}
	say(s, "STARTTLS", "");
	bool begins = model_starttls(m, alone, works);
	int *codes = (int *)(void *)m->want->p;
	if (codes[before] != 220)
		return;
	world.tls_fails = !works;
	if (!alone) {
		s->whole = true;
		buf_adds(s->octets, random_one_in(2) ? "EHLO x\r\n" : "x");
	}
	if (begins) {
		cut_here(s);
		buf_add(s->streams, str_of(&s->octets->n, sizeof(size_t)));
	}
}

static void
say_etrn(struct model *m, struct said *s)
{
	static const struct choice all[] = {{"relay.test", 253, NULL},
		{"x.test", 459, NULL}, {"", 501, NULL}, {"@x", 501, NULL}};
	struct choice one = PICK(all);
	say(s, "ETRN", one.text);
	model_etrn(m, one.code);
}

static void
say_xclient(struct model *m, struct said *s)
{
	static const struct choice all[] = {{"ADDR=192.0.2.1", 0, NULL},
		{"ADDR=127.0.0.1 PORT=5", 0, NULL},
		{"NAME=x.test LOGIN=alice", 0, NULL},
		{"LOGIN=[UNAVAILABLE]", 0, NULL}, {"", 501, NULL},
		{"ADDR=x", 501, NULL}, {"NOSUCH=1", 501, NULL}};
	struct choice one = PICK(all);
	say(s, "XCLIENT", one.text);
	model_xclient(m, one);
}

static void
say_quit(struct model *m, struct said *s)
{
	say(s, "QUIT", "");
	model_quit(m);
}

static const struct kind kinds[] = {
	{say_hello, 160}, {say_mail, 400}, {say_rcpt, 600}, {say_data, 280},
	{say_bdat, 320}, {say_rset, 80}, {say_plain, 100}, {say_auth, 100},
	{say_starttls, 30}, {say_etrn, 20}, {say_xclient, 30},
	{say_garbage, 30}, {say_quit, 15}, {say_bad_bdat, 4}, {say_many, 3},
	{say_chatter, 5}, {say_rounds, 1},
};

static const struct kind *
any_kind(void)
{
	unsigned sum = 0;
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		sum += kinds[i].weight;
	size_t at = random_below(sum), i = 0;
	while (at >= kinds[i].weight)
		at -= kinds[i++].weight;
	return &kinds[i];
}

void
talk(struct model *m, struct said *said)
{
	size_t most = 1 + random_below(24);
	/* Who is nobody yet becomes somebody soon, more often than not. */
	if (m->setup->submission && !m->setup->plaintext &&
		random_below(4) > 0)
		say_starttls(m, said);
	if (m->state != CLOSED && random_below(4) > 0)
		say_hello(m, said);
	cut_here(said);
	if (m->state != CLOSED && m->setup->submission && random_below(4) > 0)
		say_auth(m, said);
	for (size_t i = 0; i < most && m->state != CLOSED; i++) {
		cut_here(said);
		any_kind()->fn(m, said);
	}
}
