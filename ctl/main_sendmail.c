/* SPDX-License-Identifier: ISC */
/*
 * sendmail, mailq, newaliases: what cron, PHP, mutt and git call.  No setuid,
 * no setgid: the message goes over a socket that everybody may connect to,
 * and the kernel tells the queue who that is.  Nothing is lost silently: when
 * the queue does not confirm, the exit status says so.
 */
#include "ctl.h"
#include "base/arena.h"
#include "base/buf.h"
#include "sys/ipc.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum mode { MODE_SUBMIT, MODE_LIST, MODE_SMTP, MODE_NOTHING };

struct sendmail {
	struct ctl ctl;
	struct letter letter;
	enum mode mode;
	const char *sender, *author;
	bool extract;
	bool dots; /* a line with one dot does not end the message */
};

/* ------------------------------------------------------------- options */

static void
set_mode(struct sendmail *s, const char *value)
{
	static const struct {
		char letter;
		enum mode mode;
	} modes[] = {{'m', MODE_SUBMIT}, {'p', MODE_LIST}, {'s', MODE_SMTP},
		{'i', MODE_NOTHING}};
	for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
		if (value[0] != modes[i].letter || value[1] != '\0')
			continue;
		s->mode = modes[i].mode;
		return;
	}
	ctl_fail(EX_USAGE, "-b%s is not for this program; suratd runs the "
		"suite, surat(8) looks after it", value);
}

static void
set_sender(struct sendmail *s, const char *value)
{
	s->sender = value;
}

static void
set_author(struct sendmail *s, const char *value)
{
	s->author = value;
}

static void
set_config(struct sendmail *s, const char *value)
{
	s->ctl.config = value;
}

static void
set_notify(struct sendmail *s, const char *value)
{
	s->letter.notify = str_from(value);
}

static void
set_ret(struct sendmail *s, const char *value)
{
	s->letter.ret = str_from(strcasecmp(value, "full") == 0 ? "FULL"
								: "HDRS");
}

static void
set_envid(struct sendmail *s, const char *value)
{
	s->letter.envid = str_from(value);
}

/* -oi of all the -o there are means something here. */
static void
set_old(struct sendmail *s, const char *value)
{
	if (value[0] == 'i')
		s->dots = true;
}

static void
ignore(struct sendmail *s, const char *value)
{
	(void)s;
	(void)value;
}

static void
set_dots(struct sendmail *s, const char *value)
{
	(void)value;
	s->dots = true;
}

static void
set_extract(struct sendmail *s, const char *value)
{
	(void)value;
	s->extract = true;
}

static const struct option {
	char letter;
	enum { ALONE, VALUE, ATTACHED } argument;
	void (*fn)(struct sendmail *s, const char *value);
} options[] = {
	{'b', VALUE, set_mode}, {'f', VALUE, set_sender},
	{'r', VALUE, set_sender}, {'F', VALUE, set_author},
	{'C', VALUE, set_config}, {'N', VALUE, set_notify},
	{'R', VALUE, set_ret}, {'V', VALUE, set_envid},
	{'t', ALONE, set_extract}, {'i', ALONE, set_dots},
	{'o', VALUE, set_old}, {'A', ATTACHED, ignore}, {'B', VALUE, ignore},
	{'h', VALUE, ignore}, {'L', VALUE, ignore}, {'O', VALUE, ignore},
	{'p', VALUE, ignore}, {'X', VALUE, ignore}, {'e', ATTACHED, ignore},
	{'q', ATTACHED, ignore}, {'d', ATTACHED, ignore},
	{'G', ALONE, ignore}, {'m', ALONE, ignore}, {'n', ALONE, ignore},
	{'U', ALONE, ignore}, {'v', ALONE, ignore}, {'x', ALONE, ignore},
	{'I', ALONE, ignore}, {'s', ALONE, ignore},
};

static const struct option *
find_option(char letter)
{
	for (size_t i = 0; i < sizeof options / sizeof *options; i++)
		if (options[i].letter == letter)
			return &options[i];
	ctl_fail(EX_USAGE, "there is no option -%c; see sendmail(8)", letter);
}

/* One word of options; *i moves on when it takes the next word too. */
static void
take_word(struct sendmail *s, int argc, char **argv, int *i)
{
	for (const char *at = argv[*i] + 1; *at != '\0'; at++) {
		const struct option *o = find_option(*at);
		const char *value = at + 1;
		if (o->argument == ALONE) {
			o->fn(s, "");
			continue;
		}
		if (*value == '\0' && o->argument == VALUE) {
			if (*i + 1 >= argc)
				ctl_fail(EX_USAGE, "-%c needs a value", *at);
			value = argv[++*i];
		}
		o->fn(s, value);
		return;
	}
}

static void __attribute__((noreturn))
show_help(void)
{
	puts("usage: sendmail [OPTION]... [--] ADDRESS...\n"
	     "       mailq, newaliases\n\n"
	     "Puts the message on standard input into the queue.\n\n"
	     "  -t            also to the addresses in its header\n"
	     "  -i, -oi       a line with one dot does not end it\n"
	     "  -f ADDRESS    the sender\n"
	     "  -F NAME       the author's name, when there is no From\n"
	     "  -N, -R, -V    NOTIFY, RET and ENVID of RFC 3461\n"
	     "  -bp           lists the queue, as mailq does\n"
	     "  -bs           SMTP on standard input and output\n"
	     "  -bi           nothing: aliases are read when they change\n\n"
	     "sendmail(8) tells more.");
	exit(EX_OK);
}

static void
take_options(struct sendmail *s, int argc, char **argv)
{
	int i = 1;
	for (; i < argc && argv[i][0] == '-' && argv[i][1] != '\0'; i++) {
		if (strcmp(argv[i], "--help") == 0)
			show_help();
		if (strcmp(argv[i], "--") == 0) {
			i++;
			break;
		}
		take_word(s, argc, argv, &i);
	}
	s->ctl.argc = argc - i;
	s->ctl.argv = argv + i;
}

/* -------------------------------------------------------------- defaults */

static void
fill_letter(struct sendmail *s, const struct conf *conf)
{
	struct letter *l = &s->letter;
	l->arena = s->ctl.arena;
	l->hostname = conf_hostname(l->arena, conf);
	l->domain = conf->general.domains.n > 0 ? conf->general.domains.v[0]
						: l->hostname;
}

/* The first part of the gecos field, with & for the login name. */
static struct str
full_name(struct arena *a, const struct passwd *pw)
{
	struct str gecos = str_from(pw->pw_gecos);
	struct str first = str_head(gecos, str_find(gecos, ','));
	size_t at = str_find(first, '&');
	if (at == first.n)
		return first;
	return str_printf(a, "%.*s%s%.*s", STR_ARG(str_head(first, at)),
		pw->pw_name, STR_ARG(str_skip(first, at + 1)));
}

static void
fill_sender(struct sendmail *s)
{
	struct letter *l = &s->letter;
	const struct passwd *pw = getpwuid(getuid());
	struct str user = pw != NULL ? str_from(pw->pw_name) :
		str_printf(l->arena, "%u", (unsigned)getuid());
	struct str text = s->sender != NULL ? str_from(s->sender) : user;
	if (s->author != NULL)
		l->author = str_from(s->author);
	else if (pw != NULL && s->sender == NULL)
		l->author = full_name(l->arena, pw);
	if (text.n == 0 || str_eq(text, STR("<>")))
		l->sender = STR("");
	else if (!letter_address(l, text, &l->sender))
		ctl_fail(EX_DATAERR, "\"%.*s\" is no sender address",
			STR_ARG(text));
}

/* ---------------------------------------------------------------- modes */

/* Up to a line with one dot, unless dots are plain text. */
static struct str
until_dot(struct str text)
{
	struct str rest = text, line;
	while (rest.n > 0 && str_cut(&rest, '\n', &line)) {
		struct str bare = line;
		if (str_ends(bare, STR("\r")))
			bare.n--;
		if (str_eq(bare, STR(".")))
			return str_head(text, (size_t)(line.p - text.p));
	}
	return text;
}

static struct str
read_message(const struct sendmail *s, int64_t most)
{
	struct buf *b = buf_new(s->ctl.arena);
	ssize_t n;
	while ((n = read(STDIN_FILENO, buf_room(b, 65536), 65536)) != 0) {
		if (n < 0 && errno != EINTR)
			ctl_fail(EX_IOERR, "standard input: %s",
				strerror(errno));
		buf_grew(b, n > 0 ? (size_t)n : 0);
		if ((int64_t)b->n > most)
			ctl_fail(EX_DATAERR, "the message is larger than "
				"smtp.max_size allows");
	}
	return s->dots ? buf_str(b) : until_dot(buf_str(b));
}

/* Somebody listens, or the caller hears of it at once. */
static void
check_queue(struct sendmail *s, struct str sockets)
{
	const char *path = str_cstr(s->ctl.arena, str_printf(s->ctl.arena,
		"%.*s/queue", STR_ARG(sockets)));
	int fd = ipc_connect(path);
	if (fd < 0)
		ctl_fail(EX_TEMPFAIL, "%s: %s: the mail system does not run; "
			"the message was not taken", path, strerror(errno));
	close(fd);
}

static int
submit(struct sendmail *s, const struct conf *conf, struct str sockets)
{
	struct letter *l = &s->letter;
	struct str id;
	fill_sender(s);
	for (int i = 0; i < s->ctl.argc; i++)
		if (!letter_rcpts(l, str_from(s->ctl.argv[i])))
			ctl_fail(EX_NOUSER, "\"%s\" is no address",
				s->ctl.argv[i]);
	if (l->rcpts.n == 0 && !s->extract)
		ctl_fail(EX_USAGE, "no recipients; -t takes them from the "
			"header");
	struct str raw = read_message(s, conf->smtp.max_size);
	if (!letter_compose(l, raw, s->extract))
		ctl_fail(EX_DATAERR, "an address in the header cannot be "
			"understood");
	if (l->rcpts.n == 0)
		ctl_fail(EX_USAGE, "no recipients in the header");
	check_queue(s, sockets);
	return ctl_status(letter_submit(l, sockets, &id));
}

static int
run(struct sendmail *s)
{
	struct msg_queue_list all = {.limit = 0};
	if (s->mode == MODE_NOTHING)
		return EX_OK; /* auth reads the aliases itself */
	if (s->mode == MODE_LIST)
		return queue_list(&s->ctl, &all);
	const struct conf *conf = ctl_conf(&s->ctl);
	struct str sockets = str_printf(s->ctl.arena, "%.*s/sendmail",
		STR_ARG(conf->general.runtime));
	fill_letter(s, conf);
	if (s->mode == MODE_SUBMIT)
		return submit(s, conf, sockets);
	check_queue(s, sockets);
	return stdio_smtp(&s->letter, sockets, conf->smtp.max_size);
}

int
main(int argc, char **argv)
{
	struct sendmail s = {.ctl.arena = arena_new("sendmail"),
		.ctl.config = conf_file()};
	if (strcmp(program_invocation_short_name, "mailq") == 0)
		s.mode = MODE_LIST;
	if (strcmp(program_invocation_short_name, "newaliases") == 0)
		s.mode = MODE_NOTHING;
	take_options(&s, argc, argv);
	return run(&s);
}
