/* SPDX-License-Identifier: ISC */
/*
 * messages: the whole vocabulary of the suite.
 *
 * Each message is listed once: its name, whether a descriptor rides along
 * (FD_NO, FD_MAY), and its fields in order, each with a kind:
 *
 *	NUM	a whole number, 64 bits, may be negative
 *	TEXT	octets without NUL
 *	LIST	any number of texts
 *	BYTES	any octets
 *	SECRET	any octets, never printed
 *	STATUS	fine, later or never (base/status.h)
 *
 * Struct, writer, reader and printer come from this list (sys/ipc); the reader
 * refuses what is unknown, missing, doubled, out of order or ill-typed.  Lists
 * of one message that describe the same things (rcpt, orcpt, notify) have the
 * same length; who answers checks that.  A program that takes messages says
 * in its table of rows which peers may send which; who the peer is follows
 * from the socket it came in on, never from the message.
 *
 * Content above 128 KiB travels as a descriptor.
 */
#ifndef ASK_MESSAGES_H
#define ASK_MESSAGES_H

#include "base/status.h"
#include "base/str.h"

/*
 * Who talks: one bit each.  PEER_LOCAL is any local user (the kernel says
 * which), PEER_SURAT the operator's command.
 */
enum peer_who {
	PEER_MASTER = 1 << 0,
	PEER_SMTPD = 1 << 1,
	PEER_IMAPD = 1 << 2,
	PEER_POP3D = 1 << 3,
	PEER_QUEUE = 1 << 4,
	PEER_LOCAL_AGENT = 1 << 5,
	PEER_REMOTE_AGENT = 1 << 6,
	PEER_AUTH = 1 << 7,
	PEER_TLS = 1 << 8,
	PEER_SURAT = 1 << 9,
	PEER_LOCAL = 1 << 10,
};

/*
 * Who may ask whom.  Master makes the socket RUNTIME/<asker>/<asked> for each
 * row, listens on it and hands the listening end to the asked program under
 * the name "ask.<asker>".
 */
#define ASK_LINKS(L) \
	L(smtpd, tls) L(smtpd, auth) L(smtpd, queue) L(smtpd, resolve) \
	L(imapd, tls) L(imapd, auth) \
	L(pop3d, tls) L(pop3d, auth) \
	L(queue, auth) L(queue, master) \
	L(deliver, tls) L(deliver, resolve) \
	L(auth, master) \
	L(tls, keys) L(tls, imapd) \
	L(surat, queue) L(surat, master) L(surat, auth) L(surat, resolve) \
	L(sendmail, queue)

/* clang-format off */

/* ------------------------------------------------------------------ all */
/* The end of an exchange that yields nothing else; count: rows or changes;
 * next: where to go on (after), empty at the end. */
#define FIELDS_done(F) \
	F(STATUS, status) F(NUM, count) F(TEXT, next)
/* A descriptor asked for: a body file, a delivery agent, a content. */
#define FIELDS_opened(F) \
	F(STATUS, status) F(TEXT, name)

/* ----------------------------------------------------------------- auth */
/*
 * A client came, is still there, or went.  verb: enter; poll (how busy is the
 * house by now?); leave (smtpd), with what the client did; slow, when it was
 * sent away because others waited.  The last two are not answered.  passed: it
 * waited for our greeting.  imapd and pop3d, whose clients are here until they
 * have logged in, say offer for the mechanisms.
 */
#define FIELDS_client(F) \
	F(TEXT, verb) F(TEXT, session) F(TEXT, service) F(TEXT, ip) \
	F(NUM, messages) F(NUM, errors) F(NUM, passed)
/* status: may it stay?  busy: workers that serve a client, in percent of all
 * there may be.  known: it waited for a greeting lately.  mechanisms: SASL
 * names to offer, without their -PLUS forms. */
enum {
	CLIENT_STRESS_PERCENT = 90, /* from then on silence is borne for */
	CLIENT_STRESS_MS = 10 * 1000, /* this long alone */
};
#define FIELDS_client_result(F) \
	F(STATUS, status) F(NUM, busy) F(NUM, known) F(LIST, mechanisms)
/*
 * May mail be taken for this address, from this client?  (smtpd at RCPT; surat
 * explain, which wants the reasons.)  reverse: the confirmed name of its
 * address, or empty.  listed: what DNS lists say, and which (listed_by).  size:
 * as announced, or 0.
 * sender_domain: "", "null" (null MX) or "unknown" (there is none).
 */
#define FIELDS_rcpt_lookup(F) \
	F(TEXT, address) F(TEXT, sender) F(TEXT, user) F(TEXT, client) \
	F(TEXT, helo) F(TEXT, reverse) F(NUM, tls) F(NUM, listed) \
	F(TEXT, listed_by) F(TEXT, sender_domain) F(NUM, size) \
	F(NUM, explain)
/* ours: 1 in one of our domains.  address: where it goes instead, or empty.
 * hold: why the message is to be held, or empty.  rule: that decided.  ids,
 * home, limits, size: auth's own, for the account to be asked; empty when it is
 * sent. */
#define FIELDS_rcpt_result(F) \
	F(STATUS, status) F(NUM, ours) F(TEXT, address) F(TEXT, hold) \
	F(TEXT, rule) F(TEXT, ids) F(TEXT, home) F(TEXT, limits) \
	F(NUM, size) F(LIST, why)
/* Addresses of our own senders, to be written to the outside.  With user: may
 * that login use the first of them? */
#define FIELDS_sender(F) \
	F(TEXT, user) F(LIST, addresses)
#define FIELDS_sender_result(F) \
	F(STATUS, status) F(LIST, addresses)
/* Where does mail for this address go?  (surat)  Aliases are expanded. */
#define FIELDS_route(F) \
	F(TEXT, address) F(NUM, explain)
/*
 * One entry per final recipient: agent is "local", "remote" or "pipe", or, of
 * several, never the first, "nobody": an alias leads there in vain.  For
 * local: user, its home (the directory that holds Maildir), "uid:gid" ("-" for
 * the ids the agents run under anyway).  For remote those are empty.  For pipe:
 * as whom (user is empty), and command, "|text" of an alias or a name of
 * pipe.commands, which is empty for all others.
 */
#define FIELDS_route_result(F) \
	F(STATUS, status) F(LIST, agent) F(LIST, address) F(LIST, user) \
	F(LIST, home) F(LIST, ids) F(LIST, command) F(LIST, why)
/* The same of several at once (queue). */
#define FIELDS_routes(F) \
	F(LIST, addresses)
/* One entry per address: its status, as status_format writes it, and how many
 * final recipients it has.  Those follow, of the first address first. */
#define FIELDS_routes_result(F) \
	F(LIST, status) F(LIST, finals) F(LIST, agent) F(LIST, address) \
	F(LIST, user) F(LIST, home) F(LIST, ids) \
	F(LIST, command)
/*
 * One step of a SASL dialogue; mechanism is set in the first step and empty
 * in later ones.  service: smtp, submission, imap, pop3.  tls: 1 when the
 * client is under TLS; binding: its tls-exporter octets.  With a descriptor
 * (imap, pop3) a success hands the client over to a session: tag and pending
 * travel to it, and the asker must exit without another word when the result
 * says handed.  back: 1 when the session may give the client back (tls_back).
 */
#define FIELDS_auth_step(F) \
	F(TEXT, session) F(TEXT, service) F(TEXT, mechanism) \
	F(SECRET, response) F(TEXT, client) F(NUM, tls) F(BYTES, binding) \
	F(NUM, back) F(TEXT, tag) F(SECRET, pending)
/*
 * more: the challenge wants another response.  Fine and not more: logged in
 * as user, who may send from the addresses in senders ("*": any; "@domain":
 * any in it).  handed: a session has the client now.
 */
#define FIELDS_auth_result(F) \
	F(STATUS, status) F(NUM, more) F(BYTES, challenge) F(TEXT, user) \
	F(LIST, senders) F(NUM, handed)

/* ------------------------------------------------------------ tls, keys */
/*
 * Put TLS under this stream.  role: server or client.  service names what is
 * spoken (smtp, submission, imap, pop3): ALPN and tickets are bound to it.
 * For a client, name is the server's host name for SNI and policy one of
 * opportunistic, required, verified, dane; tlsa the usable TLSA records
 * ("usage selector matching hex").  address: the client's, when its stream may
 * be given back (imapd), or empty.
 */
#define FIELDS_tls_start(F) \
	F(TEXT, session) F(TEXT, role) F(TEXT, service) F(TEXT, name) \
	F(TEXT, policy) F(LIST, tlsa) F(TEXT, address)
/* The handshake is over: the descriptor is the plain stream.  verified says
 * how: none, chain, dane.  binding: tls-exporter octets (RFC 9266). */
#define FIELDS_tls_ready(F) \
	F(STATUS, status) F(TEXT, version) F(TEXT, cipher) F(TEXT, verified) \
	F(TEXT, name) F(BYTES, binding)
/*
 * A session is over, its client stays (UNAUTHENTICATE, RFC 8437).  The session
 * tells tls so by a descriptor that comes down the plain stream, on which this
 * message waits: pending is what it has read of the client and not used, and
 * the descriptor its own end of the stream.  tls makes another stream, so that
 * the session has no part in what follows, and gives that to a login process.
 */
#define FIELDS_tls_back(F) \
	F(SECRET, pending)
/* tls to imapd: this client has yet to log in.  The descriptor is its stream;
 * session and address are those of its tls_start. */
#define FIELDS_client_back(F) \
	F(TEXT, session) F(TEXT, address) F(BYTES, binding)
/* Sign with the key of this certificate (SHA-256 of its DER, hex).
 * algorithm: rsa-pss-<hash>, rsa-pkcs1-<hash>, ecdsa, ed25519. */
#define FIELDS_key_sign(F) \
	F(TEXT, certificate) F(TEXT, algorithm) F(BYTES, digest)
#define FIELDS_key_signed(F) \
	F(STATUS, status) F(BYTES, signature)
/* Of which certificate is the key?  have: the one the asker shows (as in
 * key_sign), for the log.  chain: its PEM file, empty when there is none. */
#define FIELDS_key_which(F) \
	F(TEXT, have)
#define FIELDS_key_chain(F) \
	F(STATUS, status) F(BYTES, chain)

/* ---------------------------------------------------------------- queue */
/* A file for a large body, to be written, synced and named in submit.  With
 * probe only: is there room for so much? */
#define FIELDS_body_open(F) \
	F(NUM, size) F(NUM, probe)
/*
 * A message to be queued.  token makes a repeated submission after a lost
 * answer harmless: the first id is answered again.  Either content, or body
 * naming a file from body_open (then content is empty).  ret: "", FULL or
 * HDRS; body_type: 7BIT, 8BITMIME, BINARYMIME; notify: "", NEVER or the
 * keywords as sent; origin: smtp, submission, lmtp, local, report; hold: why
 * the message is to be held until somebody releases it, or empty; trace: how it
 * came here, for `surat trace`: "began=", in microseconds since 1970, when the
 * client connected, and more words of that form.
 */
#define FIELDS_submit(F) \
	F(TEXT, token) F(TEXT, session) F(TEXT, origin) F(TEXT, client) \
	F(TEXT, user) F(TEXT, sender) F(LIST, rcpt) F(LIST, orcpt) \
	F(LIST, notify) F(TEXT, ret) F(TEXT, envid) F(TEXT, body_type) \
	F(NUM, utf8) F(NUM, requiretls) F(NUM, size) F(TEXT, hold) \
	F(TEXT, trace) \
	F(TEXT, body) F(BYTES, content)
#define FIELDS_submitted(F) \
	F(STATUS, status) F(TEXT, id)
/*
 * One delivery of one message to some of its recipients (queue to agent).
 * number: the recipient's number within the message, unchanged in results.
 * Local: user, home and name (Maildir base name) per recipient; verify: 1, a
 * delivery before a crash may have been done, look first; 2, a sync failed,
 * write it anew whatever is there.  Remote:
 * destination is the domain or next hop; those lists are empty.  Pipe: it is
 * the command, and user the person whose .forward has it, or empty.  own: 1,
 * the users of a local job have ids of their own.
 * The content is in content or in the descriptor (read-only, CRLF lines).
 */
#define FIELDS_job(F) \
	F(TEXT, id) F(TEXT, sender) F(NUM, arrival) F(TEXT, ret) \
	F(TEXT, envid) F(TEXT, body_type) F(NUM, utf8) F(NUM, requiretls) \
	F(NUM, size) F(TEXT, destination) F(NUM, verify) F(NUM, own) \
	F(LIST, number) F(LIST, rcpt) F(LIST, orcpt) F(LIST, notify) F(LIST, user) \
	F(LIST, home) F(LIST, name) F(BYTES, content)
/*
 * What became of some recipients of a job; several may be sent for one job,
 * together they name each number once.  status: status_format texts.  remote:
 * the host that said so.  scope: what the failure is about: host, message or
 * recipient; or agent, when a new one of a local lane would see what this one
 * may not.  detail: for the log and trace (tls=..., ip=..., dsn=1 when the
 * next hop took over reporting, connect=SECONDS ...).  forward, empty or one for each number: the
 * user wants it elsewhere, addresses and "|command"s with LF between, "\" for
 * the mailbox itself.
 */
#define FIELDS_job_result(F) \
	F(TEXT, id) F(LIST, number) F(LIST, status) F(LIST, forward) \
	F(TEXT, remote) F(TEXT, scope) F(TEXT, detail)
/* Is there room for a message of that size in the account whose home this is?
 * (auth to a local agent)  limits as in session_start, noted there from now on.
 * Answered by done: never or later 2.2 when there is not. */
#define FIELDS_room(F) \
	F(TEXT, home) F(TEXT, limits) F(NUM, size)
/* Sync every mail file system touched since the last one; answered by done. */
#define FIELDS_checkpoint(F) \
	F(NUM, turn)
/*
 * Rows of the queue, or of finished messages (history 1), or of the attempts
 * on the message id (attempts 1).  Filters, empty or 0 for any: id, sender,
 * rcpt, domain (of a recipient), state, reply (part of the last reply), older
 * and larger (seconds, octets); sender and rcpt may have "*" in them; about:
 * the sender, a recipient as it is or was, or the Message-ID.  A page
 * at a time: the same question with after as done's next has it goes on.
 * content 1 with an id: answered by opened with the message to read.
 * group: not the rows, but queue_count of them by "domain" or "state"; or, of
 * "lanes", what memory knows of them.
 */
#define FIELDS_queue_list(F) \
	F(TEXT, id) F(TEXT, sender) F(TEXT, rcpt) F(TEXT, domain) \
	F(TEXT, state) F(TEXT, reply) F(TEXT, about) F(NUM, older) \
	F(NUM, larger) F(NUM, limit) F(NUM, history) F(NUM, attempts) F(NUM, content) \
	F(TEXT, group) F(TEXT, after)
/*
 * One recipient.  state: new (not routed), due, active, deferred, held,
 * delivered (waits for a checkpoint), leaving (its last change is being
 * written); in history: delivered, relayed, failed, expired, duplicate,
 * deleted.  last, next, finished, arrival: seconds since 1970; accepted,
 * started (the attempt) and took: microseconds.  detail: the agent's words for it.
 */
#define FIELDS_queue_row(F) \
	F(TEXT, id) F(TEXT, sender) F(NUM, size) F(NUM, arrival) \
	F(NUM, accepted) F(TEXT, origin) F(TEXT, client) F(TEXT, user) \
	F(TEXT, session) \
	F(TEXT, message_id) F(TEXT, trace) F(NUM, number) \
	F(TEXT, rcpt) F(TEXT, orcpt) F(TEXT, agent) F(TEXT, destination) \
	F(TEXT, state) F(NUM, attempts) F(NUM, last) F(NUM, next) \
	F(TEXT, reply) F(TEXT, remote) F(NUM, finished) F(NUM, started) \
	F(NUM, took) F(TEXT, detail)
/*
 * A group of rows of one page (whoever asks adds them up), or a lane.  ages:
 * how many are younger than 5 minutes, 1, 6, 24, 120 hours, and older.  next:
 * the earliest attempt, or until when the lane is parked.  active, limit:
 * jobs out, and how many may be.
 */
#define FIELDS_queue_count(F) \
	F(TEXT, key) F(NUM, count) F(NUM, oldest) F(NUM, next) F(LIST, ages) \
	F(NUM, active) F(NUM, limit) F(NUM, failures) F(TEXT, reply)
/* verb: retry, hold, release, delete, expire, redirect (to text).  Same
 * filters and pages; all filters empty is refused unless text is "all". */
#define FIELDS_queue_change(F) \
	F(TEXT, verb) F(TEXT, text) F(TEXT, id) F(TEXT, sender) \
	F(TEXT, rcpt) F(TEXT, domain) F(TEXT, state) F(TEXT, reply) \
	F(NUM, older) F(NUM, larger) F(TEXT, after)

/* -------------------------------------------------------------- resolve */
/* type: A, AAAA, MX, TXT, TLSA, PTR, CNAME.  A name without trailing dot. */
#define FIELDS_dns_ask(F) \
	F(TEXT, name) F(TEXT, type)
/*
 * rcode: noerror, nxdomain, servfail (also time-out) or bogus.  secure: DNSSEC
 * validated.  canonical: where CNAMEs led.  records in presentation form:
 * "192.0.2.1", "10 mx.example.org", "3 1 1 <hex>", text octets as they are.
 */
#define FIELDS_dns_answer(F) \
	F(TEXT, rcode) F(NUM, secure) F(TEXT, canonical) F(NUM, ttl) \
	F(LIST, records)

/* --------------------------------------------------------------- master */
/* Start a delivery agent ("local", "remote", "pipe"); answered by opened, whose
 * descriptor speaks job/job_result/checkpoint.  ids as in route_result. */
#define FIELDS_agent_start(F) \
	F(TEXT, agent) F(TEXT, user) F(TEXT, ids) F(TEXT, home)
/* Start a session for a client that logged in (auth to master, and master to
 * the session process, which finds it as its first message).  limits: of the
 * account, "octets messages warn later": 0 for none, warn in percent, later 1
 * when mail for it is to wait. */
#define FIELDS_session_start(F) \
	F(TEXT, session) F(TEXT, service) F(TEXT, user) F(TEXT, ids) \
	F(TEXT, home) F(TEXT, limits) F(TEXT, client) F(NUM, tls) F(NUM, back) \
	F(TEXT, tag) F(SECRET, pending)
/* verb: list, reload, recovered (queue: sessions may be let in), stop; of queue
 * and auth: figures. */
#define FIELDS_service(F) \
	F(TEXT, verb) F(TEXT, name)
/* Within auth: who logs in by this name?  rest: of another table than the users
 * file, what stands there behind the name; else empty, as is name when there is
 * nobody. */
#define FIELDS_login_find(F) \
	F(TEXT, name)
#define FIELDS_login_found(F) \
	F(STATUS, status) F(TEXT, name) F(SECRET, rest)
#define FIELDS_service_row(F) \
	F(TEXT, name) F(NUM, pid) F(TEXT, state) F(NUM, since) \
	F(NUM, restarts) F(NUM, busy) F(NUM, served)
/*
 * Something a program counts (ask/figures).  labels: "name=value" texts, a
 * blank between.  Of a histogram value is how many, sum their microseconds, and
 * buckets "bound count" texts, the bound in seconds, the count of all up to it;
 * of a counter buckets are empty.
 */
#define FIELDS_figure_row(F) \
	F(TEXT, name) F(TEXT, labels) F(NUM, value) F(NUM, sum) \
	F(LIST, buckets)

#define MESSAGES(M) \
	M(done, FD_NO) M(opened, FD_MAY) \
	M(rcpt_lookup, FD_NO) M(rcpt_result, FD_NO) \
	M(sender, FD_NO) M(sender_result, FD_NO) \
	M(route, FD_NO) M(route_result, FD_NO) \
	M(routes, FD_NO) M(routes_result, FD_NO) \
	M(client, FD_NO) M(client_result, FD_NO) \
	M(auth_step, FD_MAY) M(auth_result, FD_NO) \
	M(login_find, FD_NO) M(login_found, FD_NO) \
	M(tls_start, FD_MAY) M(tls_ready, FD_MAY) \
	M(tls_back, FD_MAY) M(client_back, FD_MAY) \
	M(key_sign, FD_NO) M(key_signed, FD_NO) \
	M(key_which, FD_NO) M(key_chain, FD_NO) \
	M(body_open, FD_NO) M(submit, FD_NO) M(submitted, FD_NO) \
	M(job, FD_MAY) M(job_result, FD_NO) M(checkpoint, FD_NO) \
	M(room, FD_NO) \
	M(queue_list, FD_NO) M(queue_row, FD_NO) M(queue_count, FD_NO) \
	M(queue_change, FD_NO) \
	M(dns_ask, FD_NO) M(dns_answer, FD_NO) \
	M(agent_start, FD_NO) M(session_start, FD_MAY) \
	M(service, FD_NO) M(service_row, FD_NO) M(figure_row, FD_NO)

/* clang-format on */

#define FIELD_TYPE_NUM int64_t
#define FIELD_TYPE_TEXT struct str
#define FIELD_TYPE_LIST struct str_list
#define FIELD_TYPE_BYTES struct str
#define FIELD_TYPE_SECRET struct str
#define FIELD_TYPE_STATUS struct status
#define FIELD_MEMBER(kind, name) FIELD_TYPE_##kind name;

#define MESSAGE_STRUCT(name, fd) \
	struct msg_##name { \
		FIELDS_##name(FIELD_MEMBER) \
	};
MESSAGES(MESSAGE_STRUCT)
#undef MESSAGE_STRUCT

enum message_kind {
#define MESSAGE_KIND(name, fd) MSG_##name,
	MESSAGES(MESSAGE_KIND)
#undef MESSAGE_KIND
	MSG_COUNT
};

/*
 * Any message.  fd is -1 or a descriptor; whoever receives a message owns it
 * and must take it (set it to -1) or message_drop it.
 */
struct message {
	enum message_kind kind;
	int fd;
	union {
#define MESSAGE_MEMBER(name, fd) struct msg_##name name;
		MESSAGES(MESSAGE_MEMBER)
#undef MESSAGE_MEMBER
	};
};

/* A message with everything empty. */
#define MESSAGE(k) ((struct message){.kind = MSG_##k, .fd = -1})

/* The definitions, for sys/ipc (which knows no message by itself). */
struct ipc_vocabulary;
extern const struct ipc_vocabulary ask_messages;

/* Closes the descriptor, if there is one. */
void message_drop(struct message *m);
/* The descriptor, which is the caller's now; -1 when there is none. */
int message_take_fd(struct message *m);

/* The peer bit of an asker's name as in ASK_LINKS; 0 when unknown. */
unsigned ask_peer_bit(struct str asker);

#endif
