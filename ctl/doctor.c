/* SPDX-License-Identifier: ISC */
/*
 * `surat doctor`: what `surat check` cannot know, because it is the world and
 * not a file: does everything run and answer, how long does the certificate
 * last, how old is the queue, is there room, is the clock right, and does the
 * DNS lead here.  A line for each thing looked at; 1 when any is not well.
 */
#include "ctl.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "sys/ipc.h"
#include "sys/listen.h"
#include "sys/net.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <unistd.h>

#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

enum {
	ANSWER_MS = 15 * 1000, /* an auth server may let strangers wait */
	DAYS_LEAST = 14, /* of a certificate that somebody renews */
	DAY = 86400,
	QUEUE_OLD = 4 * 3600,
	FREE_PERCENT = 5,
	MEGABYTE = 1 << 20,
	MEGABYTES_LEAST = 200,
	PROGRAMS_MOST = 32,
};

struct doctor {
	struct ctl *ctl;
	const struct conf *conf;
	int bad;
	struct str failing[PROGRAMS_MOST]; /* not to be waited for */
	size_t failing_count;
};

bool
doctor_say(const struct ctl *c, const char *what, bool good, struct str why)
{
	if (!c->json) {
		printf("%-5s %s%s%.*s\n", good ? "ok" : "look", what,
			why.n > 0 ? ": " : "", STR_ARG(why));
		return good;
	}
	struct json_row *j = json_begin();
	json_text(j, "what", str_from(what));
	json_text(j, "state", good ? STR("ok") : STR("look"));
	json_text(j, "detail", why);
	json_end(j);
	return good;
}

static void
say(struct doctor *d, const char *what, bool good, struct str why)
{
	if (!doctor_say(d->ctl, what, good, why))
		d->bad++;
}

/* ------------------------------------------------------------ the machine */

bool
doctor_disk(const struct ctl *c, struct str path)
{
	struct statvfs s;
	struct arena *a = c->arena;
	const char *what = str_cstr(a, str_printf(a, "room in %.*s",
		STR_ARG(path)));
	if (statvfs(str_cstr(a, path), &s) != 0)
		return doctor_say(c, what, false, str_from(strerror(errno)));
	uint64_t mb = (uint64_t)s.f_bavail * s.f_frsize / MEGABYTE;
	/* Some file systems have no fixed number of files. */
	bool files = s.f_files == 0 ||
		s.f_favail * 100 >= s.f_files * FREE_PERCENT;
	return doctor_say(c, what, mb >= MEGABYTES_LEAST && files,
		str_printf(a, "%llu MB free%s", (unsigned long long)mb,
			files ? "" : ", but hardly any files left"));
}

/* The kernel knows whether anybody keeps it right. */
bool
doctor_clock(const struct ctl *c)
{
	struct timex t = {.modes = 0};
	int state = adjtimex(&t);
	bool kept = state != TIME_ERROR && (t.status & STA_UNSYNC) == 0;
	return doctor_say(c, "the clock is kept right", kept,
		kept ? STR("") : STR("no time server is followed"));
}

/* -------------------------------------------------------------- the suite */

/* Whose socket is there, for whom suratd starts next; said if it is not. */
static bool
runs(struct doctor *d, const char *asked)
{
	struct arena *a = d->ctl->arena;
	for (size_t i = 0; i < d->failing_count; i++)
		if (str_eq(d->failing[i], str_from(asked)))
			return false;
	const char *path = str_cstr(a, str_printf(a, "%.*s/surat/%s",
		STR_ARG(d->conf->general.runtime), asked));
	int fd = ipc_connect(path);
	if (fd >= 0)
		close(fd);
	else
		say(d, asked, false, str_printf(a, "%s: %s", path,
			strerror(errno)));
	return fd >= 0;
}

static void
look_at_programs(struct doctor *d)
{
	struct message ask = MESSAGE(service), m;
	struct arena *a = d->ctl->arena;
	if (!runs(d, "master"))
		return;
	ask.service.verb = STR("list");
	int fd = ctl_ask(d->ctl, "surat", "master", &ask);
	for (;;) {
		ctl_answer(a, fd, &m);
		if (m.kind != MSG_service_row)
			break;
		const struct msg_service_row *r = &m.service_row;
		bool fails = str_eq(r->state, STR("failing"));
		if (fails && d->failing_count < PROGRAMS_MOST)
			d->failing[d->failing_count++] = r->name;
		say(d, str_cstr(a, r->name), !fails,
			str_printf(a, "%.*s%s", STR_ARG(r->state),
				r->restarts > 0 ? str_cstr(a, str_printf(a,
					", started again %lld times",
					(long long)r->restarts)) : ""));
	}
	close(fd);
}

/* "*" is met on loopback. */
static struct net_address
where(const struct listener *l)
{
	struct net_address at = l->at;
	struct sockaddr_in *v4 = (void *)&at.sa;
	struct sockaddr_in6 *v6 = (void *)&at.sa;
	if (at.sa.ss_family == AF_INET && v4->sin_addr.s_addr == INADDR_ANY)
		v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (at.sa.ss_family == AF_INET6 &&
		IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr))
		v6->sin6_addr = in6addr_loopback;
	return at;
}

/* What the port says first; TLS ports want to be spoken to. */
static struct str
greeting(struct arena *a, int fd, bool tls)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char text[200];
	if (tls)
		return STR("connects");
	if (poll(&p, 1, ANSWER_MS) <= 0)
		return STR("");
	ssize_t n = recv(fd, text, sizeof text, 0);
	struct str s = str_of(text, n > 0 ? (size_t)n : 0);
	return text_safe(a, str_head(s, str_find(s, '\r')));
}

static void
look_at_port(struct doctor *d, const struct listener *l)
{
	struct arena *a = d->ctl->arena;
	struct net_address at = where(l);
	bool tls, known;
	struct str service = str_from(l->service);
	const char *what = str_cstr(a, str_printf(a, "%s at %.*s", l->service,
		STR_ARG(l->spec)));
	/* Behind a load balancer only that may come. */
	if (str_ends(service, STR(".proxy")))
		return;
	tls = listen_is_tls(service, &known);
	int fd = net_connect(&at, NULL, clock_in(ANSWER_MS));
	if (fd < 0 && at.sa.ss_family == AF_INET6)
		return;
	struct str said = fd < 0 ? STR("") : greeting(a, fd, tls);
	say(d, what, said.n > 0, said.n > 0 ? said : fd < 0 ?
		str_from(strerror(errno)) : STR("no greeting"));
	if (fd >= 0)
		close(fd);
}

static void
look_at_ports(struct doctor *d)
{
	struct listeners all = listen_collect(d->ctl->arena, d->conf);
	for (size_t i = 0; i < all.n; i++)
		look_at_port(d, &all.v[i]);
}

/* What is wrong with one that can be read, if anything. */
static struct str
certificate_trouble(struct doctor *d, X509 *x, int days, int seconds)
{
	struct arena *a = d->ctl->arena;
	struct str host = conf_hostname(a, d->conf);
	if (days < 0 || seconds < 0)
		return str_printf(a, "ended %d days ago", -days);
	if (days < DAYS_LEAST)
		return str_printf(a, "ends in %d days", days);
	if (X509_check_host(x, host.p, host.n, 0, NULL) != 1)
		return str_printf(a, "is not for %.*s: clients will not "
			"trust it under that name", STR_ARG(host));
	return STR("");
}

static void
look_at_certificate(struct doctor *d)
{
	struct arena *a = d->ctl->arena;
	struct str path = d->conf->tls.certificate;
	FILE *f = path.n == 0 ? NULL : fopen(str_cstr(a, path), "re");
	X509 *x = f == NULL ? NULL : PEM_read_X509(f, NULL, NULL, NULL);
	int days = 0, seconds = 0;
	bool known = x != NULL && ASN1_TIME_diff(&days, &seconds, NULL,
		X509_get0_notAfter(x)) == 1;
	if (path.n == 0)
		say(d, "certificate", false, STR("there is none: no client "
			"can use TLS, none can log in"));
	else if (!known)
		say(d, "certificate", false, str_printf(a, "%.*s: %s",
			STR_ARG(path), f == NULL ? strerror(errno) :
				"no certificate"));
	struct str trouble = !known ? STR("") :
		certificate_trouble(d, x, days, seconds);
	if (known)
		say(d, "certificate", trouble.n == 0, trouble.n > 0 ?
			trouble : str_printf(a, "ends in %d days", days));
	X509_free(x);
	if (f != NULL)
		fclose(f);
}

struct waiting {
	int64_t count, oldest;
};

static bool
note_count(void *ctx, const struct message *m)
{
	struct waiting *w = ctx;
	w->count += m->queue_count.count;
	if (m->queue_count.oldest > 0 && (w->oldest == 0 ||
		m->queue_count.oldest < w->oldest))
		w->oldest = m->queue_count.oldest;
	return true;
}

static void
look_at_queue(struct doctor *d)
{
	struct msg_queue_list ask = {.group = STR("domain")};
	struct waiting w = {0, 0};
	struct arena *a = d->ctl->arena;
	if (!runs(d, "queue"))
		return;
	queue_pages(d->ctl, &ask, note_count, &w);
	int64_t age = w.oldest == 0 ? 0 : clock_wall() - w.oldest;
	say(d, "the queue", age < QUEUE_OLD, str_printf(a,
		"%lld recipients wait, the oldest for %.*s",
		(long long)w.count, STR_ARG(text_duration(a, age))));
}

/* -------------------------------------------------------------------- DNS */

static const struct msg_dns_answer *
resolve(struct doctor *d, struct str name, const char *type)
{
	struct message ask = MESSAGE(dns_ask);
	struct message *m = arena_one(d->ctl->arena, struct message);
	ask.dns_ask.name = name;
	ask.dns_ask.type = str_from(type);
	int fd = ctl_ask(d->ctl, "surat", "resolve", &ask);
	ctl_answer(d->ctl->arena, fd, m);
	close(fd);
	return m->kind == MSG_dns_answer ? &m->dns_answer : NULL;
}

/* Is there a mail exchanger of this name?  "10 mail.example.org" */
static bool
leads_to(const struct msg_dns_answer *mx, struct str host)
{
	for (size_t i = 0; mx != NULL && i < mx->records.n; i++) {
		struct str rest = mx->records.v[i], number;
		str_cut(&rest, ' ', &number);
		if (str_ends(rest, STR(".")))
			rest.n--;
		if (str_eq_nocase(rest, host))
			return true;
	}
	return false;
}

/* RFC 5321 5.1: without an MX the address counts, which is looked at too. */
static bool
is_itself(const struct msg_dns_answer *mx, struct str domain, struct str host)
{
	return mx != NULL && mx->records.n == 0 &&
		str_eq_nocase(domain, host);
}

/* That nobody could say what stands there is another thing than that nothing
 * does. */
static struct str
without_records(struct arena *a, const struct msg_dns_answer *m)
{
	struct str rcode = m == NULL ? STR("no answer") : m->rcode;
	bool told = str_eq(rcode, STR("noerror")) ||
		str_eq(rcode, STR("nxdomain"));
	return told ? STR("there is none") : str_printf(a,
		"no name server could tell (%.*s)", STR_ARG(rcode));
}

/* Why mail for the domain does not come here. */
static struct str
mx_trouble(struct arena *a, const struct msg_dns_answer *mx, struct str host)
{
	if (mx == NULL || mx->records.n == 0)
		return without_records(a, mx);
	return str_printf(a, "names %.*s, not %.*s", STR_ARG(text_safe(a,
		str_join(a, mx->records, STR(", ")))), STR_ARG(host));
}

static void
look_at_dns(struct doctor *d)
{
	struct arena *a = d->ctl->arena;
	struct str host = conf_hostname(a, d->conf);
	if (!runs(d, "resolve"))
		return;
	for (size_t i = 0; i < d->conf->general.domains.n; i++) {
		struct str domain = d->conf->general.domains.v[i];
		/* localhost, and what only this host calls itself. */
		if (!str_has(domain, '.'))
			continue;
		const struct msg_dns_answer *mx = resolve(d, domain, "MX");
		bool good = leads_to(mx, host) || is_itself(mx, domain, host);
		say(d, str_cstr(a, str_printf(a, "MX of %.*s",
			STR_ARG(domain))), good, good ? STR("") :
			mx_trouble(a, mx, host));
	}
	const struct msg_dns_answer *v4 = resolve(d, host, "A");
	const struct msg_dns_answer *v6 = resolve(d, host, "AAAA");
	bool good = (v4 != NULL && v4->records.n > 0) ||
		(v6 != NULL && v6->records.n > 0);
	say(d, str_cstr(a, str_printf(a, "address of %.*s", STR_ARG(host))),
		good, good ? STR("") : without_records(a, v4));
}

int
ctl_doctor(struct ctl *c)
{
	struct doctor d = {.ctl = c};
	ctl_options(c, NULL, 0);
	d.conf = ctl_conf(c);
	look_at_programs(&d);
	look_at_ports(&d);
	look_at_certificate(&d);
	look_at_queue(&d);
	look_at_dns(&d);
	d.bad += !doctor_disk(c, d.conf->general.state);
	if (access(str_cstr(c->arena, d.conf->general.mail), F_OK) == 0)
		d.bad += !doctor_disk(c, d.conf->general.mail);
	d.bad += !doctor_clock(c);
	return d.bad > 0 ? EX_NOTHING : EX_OK;
}
