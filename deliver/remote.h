/* SPDX-License-Identifier: ISC */
/*
 * deliver-remote: carries mail to other servers.
 *
 * Files, in the order a job meets them:
 *	main_remote.c	service row
 *	agent.c		jobs in, results out, the wait between two jobs
 *	job.c		a job, its recipients, what is reported of them
 *	mapped.c	its content, shared with deliver-local
 *	relay.c		server after server, until each recipient has a status
 *	route.c		where a destination's mail goes: rules, smarthost, MX
 *	lookup.c	what resolve is asked
 *	dial.c		hosts and addresses, into a connection
 *	session.c	greeting to QUIT; replies
 *	capability.c	what a server says it can do
 *	secure.c	STARTTLS and its policies
 *	login.c		AUTH
 *	transaction.c	MAIL to the reply after the final dot
 *	content.c	what a message needs of a server, and its conversion
 *
 * The agent serves one job at a time, over at most one connection, which it
 * keeps for the next job to the same place.
 *
 * What always holds: a recipient is reported once; a message is reported as
 * soon as its reply is there; the end of a message is never sent when nobody
 * is left who could be told.  What a server says is a stranger's: bounded in
 * size and time, and cleaned before it goes anywhere.
 */
#ifndef DELIVER_REMOTE_H
#define DELIVER_REMOTE_H

#include "ask/link.h"
#include "ask/messages.h"
#include "base/list.h"
#include "base/status.h"
#include "base/str.h"
#include "mail/smtp.h"
#include "sys/conf.h"
#include "sys/conn.h"
#include "sys/hop.h"
#include "sys/net.h"
#include "sys/service.h"

struct arena;
struct session;

enum {
	HOSTS_MOST = 20, /* of a destination, by preference */
	ADDRESSES_MOST = 12, /* of a host */
	SESSIONS_MOST = 3, /* servers talked to for one job */
	RCPTS_AT_ONCE = 100, /* in one transaction */
	SMALL_CONTENT = 64 * 1024,
};

/* What a failure is about (job_result): the queue rests the destination for
 * the first, the message for the others. */
enum scope { SCOPE_HOST, SCOPE_MESSAGE, SCOPE_RECIPIENT };

/* ----------------------------------------------------------- content.c */
struct content_facts {
	bool eightbit_header, eightbit_body;
	bool nul, bare; /* CR or LF that is not CRLF */
	size_t longest; /* line, without its end */
};

struct content_facts content_look(struct str content);

/* ---------------------------------------------------------------- job.c */
enum target_state {
	TARGET_WAITING, /* to be tried, or tried on another server */
	TARGET_SENT, /* RCPT is under way or accepted */
	TARGET_DONE, /* has its status */
	TARGET_REPORTED,
};

/* One recipient. */
struct target {
	struct str address;
	enum target_state state;
	bool accepted; /* RCPT was */
	bool tried; /* waits for another server than the present one */
	struct status status;
	enum scope scope;
	struct str host, detail;
};

/* What an attempt spends its time with, in this order. */
enum phase {
	PHASE_LOOKUP, /* DNS: mail exchangers, addresses, TLSA */
	PHASE_CONNECT,
	PHASE_HELLO, /* greeting, EHLO, TLS, AUTH */
	PHASE_ENVELOPE, /* MAIL to the reply to DATA */
	PHASE_CONTENT,
	PHASE_ANSWER, /* the server's, to the whole message */
	PHASES
};

struct job {
	struct arena *arena;
	struct msg_job m;
	struct str content;
	struct content_facts facts;
	bool looked; /* facts are known */
	bool tls_optional; /* RFC 8689 5: TLS-Required: No */
	struct target *targets;
	size_t count;
	struct str why; /* what servers tried so far did, a line each */
	size_t why_lines;
	bool again; /* a kept connection broke: it was tried anew */
	int64_t since, took[PHASES]; /* us */
};

/* Copies nothing: the arena, m's views and its descriptor are taken.  NULL
 * when its lists do not fit together. */
struct job *job_new(struct arena *a, struct message *m);
void job_free(struct job *j);
size_t job_waiting(const struct job *j);
/* Every recipient that is waiting or sent gets this status. */
void job_finish(struct job *j, struct status s, enum scope scope,
	struct str host, struct str detail);
/* What has passed since the last such call, or since the job came, was this. */
void job_passed(struct job *j, enum phase p);
/* " lookup=0.004 connect=0.012": seconds of what there was. */
struct str job_phases(struct arena *a, const struct job *j);
/* Is TLS that is proven asked for, or done without? */
void job_look(struct job *j);
/* REQUIRETLS, and nothing goes otherwise; a report is not lost for want of it
 * (RFC 8689 5). */
bool job_requires_tls(const struct job *j);

/* -------------------------------------------------------------- agent.c */
struct remote {
	struct program *program;
	const struct conf *conf;
	int queue;
	struct link *resolve, *tls;
	struct route *route; /* the session's */
	struct session *session; /* open and idle or in use, or NULL */
	bool over; /* the queue is gone */
};

/* The queue hangs up when it ends.  From here on that ends this process,
 * wherever it waits (a name, a handshake, a greeting), or not any more: it has
 * begun to hand a message over, and its end would make a second copy. */
void remote_may_leave(bool may);
/* g->queue is watched for that. */
void remote_watch(int queue);

/* Waits for a job, or for the end of the kept connection, and serves it. */
void remote_serve(struct remote *g);
/* Sends the queue what is done and not yet reported. */
void remote_report(struct remote *g, struct job *j);
/* Nobody is there any more who could be told of a delivery. */
bool remote_is_alone(struct remote *g);

/* -------------------------------------------------------------- relay.c */
void relay(struct remote *g, struct job *j);
/* Closes the connection, if there is one. */
void relay_end_session(struct remote *g);

/* -------------------------------------------------------------- route.c */
enum tls_policy {
	TLS_NONE,
	TLS_OPPORTUNISTIC,
	TLS_REQUIRED,
	TLS_VERIFIED,
	TLS_DANE,
};

struct host {
	struct str name; /* A-labels, or the text of an address */
	unsigned preference;
	bool asked; /* addresses are known, or status says why not */
	struct status status;
	struct net_address addresses[ADDRESSES_MOST];
	size_t count;
	/* TLSA records that DNSSEC proves: TLS must be, and they are met. */
	bool dane;
	struct str_list tlsa;
	struct str base; /* the name they are of (RFC 7672 2.2.2) */
};

/* Where the mail of a destination goes; of one job or, while its session is
 * open, of all that follow. */
struct route {
	struct arena *arena;
	struct str destination; /* the job's, as the queue says it */
	struct str sender; /* the job's, when there are rules by sender */
	struct str domain; /* whose MX records these are; empty: named host */
	bool lmtp, implicit_tls;
	bool socket; /* a Unix socket */
	bool fixed; /* the administrator named the host */
	bool secure; /* the way from domain to host names is proven */
	enum tls_policy tls;
	int port;
	struct str user, password; /* at a smarthost */
	struct net_address source4, source6;
	struct host *hosts;
	size_t count;
};

/* Not fine: why there is none (scope host). */
struct status route_find(struct remote *g, struct arena *a, struct job *j,
	struct route *out);
/* Fills in addresses and TLSA of the hosts [from, to). */
void route_addresses(struct remote *g, struct route *r, size_t from,
	size_t to);
/* Would the job take this very route? */
bool route_serves(const struct route *r, const struct job *j);

/* Sorts by preference, equal ones in random order (random(3)). */
void route_sort(struct host *hosts, size_t n);
/* "10 mx.example.org" into a host; false when it is no MX record. */
bool route_parse_mx(struct arena *a, struct str record, struct host *out);
/* Ports a next hop of this configuration can have; for the service row. */
const uint16_t *route_ports(struct program *program);
/* The address belongs to us at this port: we would talk to ourselves. */
bool route_is_self(const struct conf *c, const struct net_address *at);

/* ------------------------------------------------------------- lookup.c */
struct question {
	struct str name;
	const char *type;
};

/* answers has n elements; a question that got no answer has rcode servfail. */
void lookup(struct remote *g, struct arena *a, const struct question *q,
	size_t n, struct msg_dns_answer *answers);
/* Temporary when asking again may help; text says what was asked. */
bool lookup_failed(const struct msg_dns_answer *m);

/* --------------------------------------------------------------- dial.c */
/* The addresses of a route, to be tried one after the other. */
struct candidate {
	struct host *host;
	struct net_address at;
	bool used;
};

struct trip {
	struct remote *remote;
	struct route *route;
	struct candidate *v; /* of the hosts looked at so far */
	size_t count, cap;
	size_t next_host; /* whose addresses are not among them yet */
	bool self; /* a host was us: what is worse is no use */
	bool later; /* some failure is worth another try */
	size_t sessions;
	struct net_address avoid; /* it had its chance already */
	int64_t until; /* no new connections after that */
	struct candidate *current;
	struct status last; /* why the last one failed */
};

struct trip *trip_new(struct remote *g, struct route *r);
/* Not to this address (again). */
void trip_avoid(struct trip *t, const struct net_address *at);
/* Looks up the next hosts of equal preference; false when there are none. */
bool trip_look(struct trip *t, struct job *j);
/* A connection to the next address that takes one, -1 when none is left.
 * Failures are noted in the job's `why`. */
int trip_next(struct trip *t, struct job *j);
/* The same address once more. */
int trip_again(struct trip *t, struct job *j);
/* What is to be said when no server is left; *host: who said it, or empty. */
struct status trip_status(struct trip *t, struct job *j, struct str *host);
/* The current host failed, or one did before it was one (at NULL): adds
 * "host[ip]: text" to the job's `why`. */
void trip_note(struct trip *t, struct job *j, const struct host *h,
	const struct net_address *at, struct status s);

/* --------------------------------------------------------- capability.c */
struct capability {
	bool esmtp, pipelining, eightbit, smtputf8, dsn, starttls, chunking,
		binarymime, requiretls, size;
	uint64_t size_most; /* 0: no limit said */
	uint64_t rcpt_most, mail_most; /* RFC 9422; 0: none said */
	unsigned mechanisms; /* 1 << enum sasl_mechanism */
};

/* From the text of a reply to EHLO, lines joined by LF. */
void capability_parse(struct str text, struct capability *out);

/* ------------------------------------------------------------ session.c */
struct session {
	struct arena *arena;
	struct remote *remote;
	struct conn *conn;
	struct host *host; /* of the agent's route */
	struct net_address at;
	struct str name, ip; /* of the host */
	bool bound; /* to a source address */
	struct str user; /* who was logged in, as the route said */
	struct capability can;
	struct str greeted; /* what it calls itself */
	bool lmtp, tls, verified;
	bool fixed; /* the route's */
	struct str tls_text, binding;
	size_t transactions;
	int64_t opened;
	bool dirty; /* RSET before the next transaction */
	/* No more can be sent; fault says why, from a reply or from us. */
	bool broken;
	struct status fault;
};

/*
 * A session on a connected descriptor, which is taken; from the greeting to
 * where MAIL may be sent.  NULL: *s says why not, *tls_failed whether it was
 * the TLS handshake.
 */
struct session *session_open(struct trip *t, int fd, enum tls_policy policy,
	struct status *s, bool *tls_failed);
/* QUIT when it can be said, and the end. */
void session_close(struct session *s);
/* Good enough for a job with this policy? */
bool session_meets(const struct session *s, enum tls_policy policy);
/* Is this host, as this route has it, the one that is connected? */
bool session_is_with(const struct session *s, const struct route *r,
	const struct host *h);

/* What is waited for decides how long (RFC 5321 4.5.3.2). */
enum expect {
	EXPECT_GREETING,
	EXPECT_REPLY,
	EXPECT_START, /* the 354 */
	EXPECT_FINAL,
};

/* The next reply.  False: none came, the session is broken.  421 is a reply,
 * and breaks it too (RFC 5321 3.8). */
bool session_reply(struct session *s, struct arena *a, enum expect e,
	struct smtp_reply *r);
/* A command and its reply. */
bool session_command(struct session *s, struct arena *a, enum expect e,
	struct smtp_reply *r, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
/* Later, with the host's name before the text. */
void session_break(struct session *s, int subject, int detail,
	const char *what);

/* EHLO (or LHLO), and HELO where that is not known. */
struct status session_hello(struct session *s);

/* ------------------------------------------------------------- secure.c */
/* What TLS this job needs with this host. */
enum tls_policy secure_policy(const struct route *r, const struct host *h,
	const struct job *j);
/* STARTTLS as the policy wants it, and EHLO again.  *failed: the handshake
 * did not succeed; without TLS the host may be reached. */
struct status secure_start(struct session *s, const struct host *h,
	enum tls_policy policy, bool *failed);
/* TLS under the stream, before anything was said or after STARTTLS. */
struct status secure_stream(struct session *s, const struct host *h,
	enum tls_policy policy);

/* -------------------------------------------------------------- login.c */
/* Never with a password that could be read on the way. */
struct status login(struct session *s, const struct route *r);

/* -------------------------------------------------------- transaction.c */
struct transaction;

/*
 * Says what may be said without waiting (not flushed).  NULL: this server
 * cannot be given the message, or not now: recipients have a status, those
 * that wait may be tried elsewhere.
 */
struct transaction *transaction_begin(struct session *s, struct job *j);
/*
 * The rest.  Recipients are done, or wait: for another server, with the
 * reason as their status; or, without one, for another transaction.
 */
void transaction_run(struct transaction *t);

#endif
