/* SPDX-License-Identifier: ISC */
/*
 * `surat setup DOMAIN`: the first hour.  Looks at the machine, asks at most
 * five questions (or reads their answers from a file), writes a configuration,
 * the first user and, where there is none, a certificate signed by itself, and
 * says what has to stand in the DNS.  Everything is decided before anything is
 * written; --dry-run stops there.
 */
#include "ctl.h"
#include "base/arena.h"
#include "base/buf.h"
#include "sys/net.h"

#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <libgen.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ANSWERS_MOST = 65536, LINE_MOST = 1024, PASSWORD_LETTERS = 20 };

struct setup {
	struct ctl *ctl;
	const char *answers;
	bool dry, force;
	struct preflight look;
	struct str domain, file; /* file: text of the answers */
	struct str hostname, user, password, tls, smarthost;
	struct str dir; /* of the configuration */
	struct str names; /* what programs on this host call it */
	struct str cert, key; /* paths */
	struct str conf, aliases; /* texts */
	bool invented; /* the password */
};

/* ------------------------------------------------------------- questions */

static const struct question {
	const char *name, *text;
	size_t where;
} questions[] = {
#define QUESTION(member, text) {#member, text, offsetof(struct setup, member)}
	QUESTION(hostname, "Name of this host in the DNS"),
	QUESTION(user, "Name of the first user, who gets root's mail"),
	QUESTION(password, "Password of that user; empty: one is invented"),
	QUESTION(tls, "Directory with fullchain.pem and privkey.pem; empty: "
		"a certificate is made"),
	QUESTION(smarthost, "HOST that takes mail for others; empty: "
		"it is sent directly"),
};

enum { QUESTIONS = sizeof questions / sizeof *questions };

static struct str *
answer_of(struct setup *s, size_t i)
{
	return (void *)((char *)s + questions[i].where);
}

/* "name = value" lines, # for comments. */
static void
take_answers(struct setup *s)
{
	struct str rest = s->file, line, name;
	for (int n = 1; rest.n > 0 && str_cut(&rest, '\n', &line); n++) {
		size_t i = 0;
		line = str_trim(line);
		if (line.n == 0 || line.p[0] == '#')
			continue;
		bool whole = str_cut(&line, '=', &name) && line.p != NULL;
		name = str_trim(name);
		while (i < QUESTIONS &&
			!str_eq(name, str_from(questions[i].name)))
			i++;
		if (!whole || i == QUESTIONS)
			ctl_fail(EX_DATAERR, "%s:%d: \"%.*s\" is not one of "
				"hostname, user, password, tls, smarthost, "
				"with a value behind =", s->answers, n,
				STR_ARG(name));
		*answer_of(s, i) = str_trim(line);
	}
}

static void
ask(struct setup *s, size_t i)
{
	char line[LINE_MOST];
	struct str *answer = answer_of(s, i);
	fprintf(stderr, "%s%s%.*s%s: ", questions[i].text,
		answer->n > 0 ? " [" : "", STR_ARG(*answer),
		answer->n > 0 ? "]" : "");
	if (fgets(line, sizeof line, stdin) == NULL)
		ctl_fail(EX_NOINPUT, "no answer on standard input; see "
			"--answers");
	struct str given = str_trim(str_from(line));
	if (given.n > 0)
		*answer = str_copy(s->ctl->arena, given);
}

static bool
is_name(struct str s)
{
	bool ok = s.n > 0 && s.n <= 253;
	for (size_t i = 0; i < s.n && ok; i++) {
		char c = s.p[i], before = i > 0 ? s.p[i - 1] : '.';
		bool letter = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
		ok = letter || ((c == '-' || c == '.') && before != '.');
	}
	return ok && s.p[s.n - 1] != '.' && s.p[s.n - 1] != '-';
}

static bool
is_domain(struct str s)
{
	return is_name(s) && str_has(s, '.');
}

/* It stands between quotes in a file. */
static bool
is_plain(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] <= ' ' || str_has(STR("\"\\{}"), s.p[i]))
			return false;
	return true;
}

static void
check_answers(const struct setup *s)
{
	if (!is_domain(s->hostname))
		ctl_fail(EX_DATAERR, "\"%.*s\" is no host name with a domain",
			STR_ARG(s->hostname));
	if (!user_name_ok(s->user))
		ctl_fail(EX_DATAERR, "\"%.*s\" cannot be a user name",
			STR_ARG(s->user));
	if (!is_plain(s->smarthost) || !is_plain(s->tls))
		ctl_fail(EX_DATAERR, "a blank, quote or brace in an answer");
	if (s->tls.n > 0 && s->tls.p[0] != '/')
		ctl_fail(EX_DATAERR, "tls: %.*s is no absolute path",
			STR_ARG(s->tls));
}

static struct str
invent(struct arena *a)
{
	static const char letters[] = "abcdefghjkmnpqrstuvwxyz23456789";
	unsigned char noise[PASSWORD_LETTERS];
	char *text = arena_alloc(a, PASSWORD_LETTERS);
	if (getrandom(noise, sizeof noise, 0) != sizeof noise)
		ctl_fail(EX_OSERR, "getrandom: %s", strerror(errno));
	for (size_t i = 0; i < PASSWORD_LETTERS; i++)
		text[i] = letters[noise[i] % (sizeof letters - 1)];
	return str_of(text, PASSWORD_LETTERS);
}

static void
gather(struct setup *s)
{
	struct arena *a = s->ctl->arena;
	s->hostname = str_printf(a, "mail.%.*s", STR_ARG(s->domain));
	s->user = STR("postmaster");
	if (s->answers != NULL && !file_read(a, s->answers, &s->file))
		ctl_fail(EX_NOINPUT, "%s: %s", s->answers, strerror(errno));
	take_answers(s);
	for (size_t i = 0; s->answers == NULL && i < QUESTIONS; i++)
		ask(s, i);
	check_answers(s);
	s->invented = s->password.n == 0;
	if (s->invented)
		s->password = invent(a);
}

/* ------------------------------------------------------------- the machine */

/* Programs of this host write to root@localhost, or name it as it does. */
static struct str
other_names(const struct setup *s)
{
	struct arena *a = s->ctl->arena;
	struct buf *b = buf_new(a);
	char own[256] = "";
	gethostname(own, sizeof own - 1);
	struct str names[] = {s->hostname, STR("localhost"),
		str_lower(a, str_from(own))};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		bool again = str_eq(names[i], s->domain);
		for (size_t k = 0; k < i; k++)
			again |= str_eq(names[i], names[k]);
		if (!again && is_name(names[i]))
			buf_printf(b, ", \"%.*s\"", STR_ARG(names[i]));
	}
	return buf_str(b);
}

/* ----------------------------------------------------------------- texts */

static void
compose(struct setup *s)
{
	struct arena *a = s->ctl->arena;
	struct buf *b = buf_new(a);
	bool usual = str_eq(s->dir, STR("/etc/surat"));
	struct str tls = s->tls.n > 0 ? s->tls :
		str_printf(a, "%.*s/tls", STR_ARG(s->dir));
	s->cert = str_printf(a, "%.*s/%s", STR_ARG(tls),
		s->tls.n > 0 ? "fullchain.pem" : "certificate.pem");
	s->key = str_printf(a, "%.*s/%s", STR_ARG(tls),
		s->tls.n > 0 ? "privkey.pem" : "key.pem");
	buf_printf(b, "# surat.conf(5) tells of every option, and `surat config "
		"--options` lists them.\n\ngeneral {\n"
		"\t# What this host calls itself, and whose mail is read "
		"here.\n\thostname = \"%.*s\"\n"
		"\tdomains = {\"%.*s\"%.*s}\n", STR_ARG(s->hostname),
		STR_ARG(s->domain), STR_ARG(s->names));
	if (!usual)
		buf_printf(b, "\tusers = \"%.*s/users\" aliases = "
			"\"%.*s/aliases\"\n", STR_ARG(s->dir),
			STR_ARG(s->dir));
	buf_printf(b, "}\n\n# A renewed certificate is noticed by itself.\n"
		"tls {\n\tcertificate = \"%.*s\"\n\tkey = \"%.*s\"\n}\n",
		STR_ARG(s->cert), STR_ARG(s->key));
	buf_adds(b, "\n# People with an account on this host get mail too, in "
		"their homes.\naddress { users = {\"passwd:/etc/passwd\"} "
		"}\n");
	if (s->smarthost.n > 0)
		buf_printf(b, "\n# Mail for others goes there.\nremote { "
			"smarthost = \"%.*s\" }\n", STR_ARG(s->smarthost));
	s->conf = buf_str(b);
}

/* Whose name is one of these gets the mail without. */
static void
compose_aliases(struct setup *s)
{
	const struct {
		struct str name, target;
	} rows[] = {{STR("postmaster"), STR("root")},
		{STR("abuse"), STR("postmaster")},
		{STR("mailer-daemon"), STR("postmaster")},
		{STR("root"), s->user}};
	struct buf *b = buf_new(s->ctl->arena);
	buf_adds(b, "# surat-aliases(5); changes are noticed by themselves.\n");
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (!str_eq(rows[i].name, s->user))
			buf_printf(b, "%.*s: %.*s\n", STR_ARG(rows[i].name),
				STR_ARG(rows[i].target));
	s->aliases = buf_str(b);
}

/* What we wrote we would also refuse. */
static void
check_conf(struct setup *s)
{
	struct arena *a = s->ctl->arena;
	struct buf *errors = buf_new(a);
	char name[] = "/tmp/surat.conf.XXXXXX";
	int fd = mkostemp(name, O_CLOEXEC);
	unlink(name);
	if (fd < 0 || write(fd, s->conf.p, s->conf.n) != (ssize_t)s->conf.n)
		ctl_fail(EX_CANTCREAT, "%s: %s", name, strerror(errno));
	lseek(fd, 0, SEEK_SET);
	if (conf_read(a, fd, s->ctl->config, (struct str_list){NULL, 0},
		errors) == NULL)
		ctl_fail(EX_DATAERR, "with these answers:\n%.*s",
			STR_ARG(buf_str(errors)));
	close(fd);
}

/* ---------------------------------------------------------------- writing */

static void
make_directory(struct str path, mode_t mode, struct arena *a)
{
	if (mkdir(str_cstr(a, path), mode) != 0 && errno != EEXIST)
		ctl_fail(EX_CANTCREAT, "%.*s: %s", STR_ARG(path),
			strerror(errno));
}

static void
write_file(const struct setup *s, const char *path, struct str text,
	unsigned mode)
{
	if (!file_replace(s->ctl->arena, path, text, mode))
		ctl_fail(EX_CANTCREAT, "%s: %s", path, strerror(errno));
	printf("wrote %s\n", path);
}

static void
write_everything(struct setup *s)
{
	struct arena *a = s->ctl->arena;
	const char *aliases = str_cstr(a, str_printf(a, "%.*s/aliases",
		STR_ARG(s->dir)));
	struct str names[] = {s->hostname};
	make_directory(s->dir, 0755, a);
	if (s->tls.n == 0) {
		make_directory(str_printf(a, "%.*s/tls", STR_ARG(s->dir)),
			0700, a);
		certificate_make(s->ctl, str_cstr(a, s->cert),
			str_cstr(a, s->key), (struct str_list){names, 1});
	}
	/* They may have been somebody's before there was a configuration. */
	if (s->force || access(aliases, F_OK) != 0)
		write_file(s, aliases, s->aliases, 0644);
	else
		printf("left %s as it is\n", aliases);
	write_file(s, s->ctl->config, s->conf, 0644);
	user_put(s->ctl, s->user, s->password);
}

/* -------------------------------------------------------------------- DNS */

/* What the outside may reach us at, as far as this host knows. */
static void
show_addresses(const struct setup *s)
{
	struct ifaddrs *all = NULL;
	size_t shown = 0;
	if (getifaddrs(&all) != 0)
		all = NULL;
	for (const struct ifaddrs *i = all; i != NULL; i = i->ifa_next) {
		struct net_address at = {.n = sizeof at.sa};
		int family = i->ifa_addr == NULL ? 0 : i->ifa_addr->sa_family;
		if (family != AF_INET && family != AF_INET6)
			continue;
		memcpy(&at.sa, i->ifa_addr, family == AF_INET ?
			sizeof(struct sockaddr_in) :
			sizeof(struct sockaddr_in6));
		if (net_is_private(&at))
			continue;
		printf("%.*s. %s %.*s\n", STR_ARG(s->hostname),
			family == AF_INET ? "A" : "AAAA",
			STR_ARG(net_ip(s->ctl->arena, &at)));
		shown++;
	}
	if (shown == 0)
		printf("%.*s. A the-address-others-see\n",
			STR_ARG(s->hostname));
	freeifaddrs(all);
}

static void
show_dns(const struct setup *s)
{
	static const struct {
		const char *service;
		int port;
	} rows[] = {{"_submissions", 465}, {"_submission", 587},
		{"_imaps", 993}, {"_pop3s", 995}};
	struct str d = s->domain;
	printf("\nTo be published in the DNS:\n\n");
	show_addresses(s);
	printf("%.*s. MX 10 %.*s.\n", STR_ARG(d), STR_ARG(s->hostname));
	printf("%.*s. TXT \"v=spf1 mx%s\"\n", STR_ARG(d),
		s->smarthost.n > 0 ? " ~all" : " -all");
	printf("_dmarc.%.*s. TXT \"v=DMARC1; p=none; "
		"rua=mailto:postmaster@%.*s\"\n", STR_ARG(d), STR_ARG(d));
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		printf("%s._tcp.%.*s. SRV 0 1 %d %.*s.\n", rows[i].service,
			STR_ARG(d), rows[i].port, STR_ARG(s->hostname));
	printf("\nand, by whoever gave you the address, the name of the "
		"address: %.*s\n", STR_ARG(s->hostname));
}

static void
show_end(const struct setup *s)
{
	show_dns(s);
	if (s->invented && !s->dry)
		printf("\n%.*s has the password %.*s; `surat user passwd` "
			"changes it.\n", STR_ARG(s->user),
			STR_ARG(s->password));
	printf("\nThen: systemctl enable --now surat; surat doctor\n");
}

int
ctl_setup(struct ctl *c)
{
	struct setup s = {.ctl = c};
	const struct option_row rows[] = {
		{"--answers", OPTION_TEXT, &s.answers, "FILE",
			"answers, a line each, instead of questions"},
		{"--dry-run", OPTION_FLAG, &s.dry, NULL,
			"shows, and writes nothing"},
		{"--force", OPTION_FLAG, &s.force, NULL,
			"over what is there"},
		{"--probe", OPTION_TEXT, &s.look.probe, "HOST[:PORT]",
			"who is asked whether mail gets out"},
		{"--offline", OPTION_FLAG, &s.look.offline, NULL,
			"nobody is asked, the DNS neither"},
	};
	ctl_options(c, rows, sizeof rows / sizeof *rows);
	if (c->argc != 1 || !is_domain(str_from(c->argv[0])))
		ctl_fail(EX_USAGE, "setup needs a domain, in small letters");
	s.domain = str_from(c->argv[0]);
	s.dir = str_from(dirname(str_cstr(c->arena, str_from(c->config))));
	if (!s.force && !s.dry && access(c->config, F_OK) == 0)
		ctl_fail(EX_CANTCREAT, "%s is there already; --force "
			"replaces it", c->config);
	gather(&s);
	s.names = other_names(&s);
	compose(&s);
	compose_aliases(&s);
	check_conf(&s);
	s.look.hostname = s.hostname;
	s.look.smarthost = s.smarthost;
	preflight(c, &s.look);
	if (s.dry)
		printf("\nWould write %s:\n\n%.*s", c->config,
			STR_ARG(s.conf));
	else
		write_everything(&s);
	show_end(&s);
	return EX_OK;
}
