/* SPDX-License-Identifier: ISC */
/*
 * Taking messages over.  What is checked here is what the queue itself relies
 * on; policy was the business of who submits.  The answer goes out when the
 * commit is on disk (stored), never before.
 *
 * A body file belongs to the peer that asked for it until a submission names
 * it.  The writer must have closed it: a lease that is refused means that
 * somebody could still change what was acknowledged.
 */
#include "queue.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "mail/address.h"
#include "mail/date.h"
#include "mail/header.h"
#include "mail/trace.h"
#include "sys/ipc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum {
	BODIES_PER_PEER = 4,
	USER_MOST = 300, /* connections of a local user */
	RCPTS_MOST = 100000,
	TEXT_MOST = 2000,
	HEAD_MOST = 32 * 1024,
};

/* Of a peer: the body files it was given and has not submitted. */
struct submitter {
	struct queue *queue;
	int64_t bodies[BODIES_PER_PEER];
	struct peer *peer;
	size_t waiting; /* submissions not answered yet */
	bool gone;
};

static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

void
qid_format(int64_t id, char qid[QID_LENGTH + 1])
{
	uint64_t bits = (uint64_t)id;
	for (int i = QID_LENGTH - 1; i >= 0; i--, bits >>= 5)
		qid[i] = digits[bits & 31];
	qid[QID_LENGTH] = 0;
}

bool
qid_parse(struct str qid, int64_t *id)
{
	uint64_t bits = 0;
	if (qid.n != QID_LENGTH)
		return false;
	for (size_t i = 0; i < qid.n; i++) {
		const char *at = qid.p[i] == 0 ? NULL
					       : strchr(digits, qid.p[i]);
		if (at == NULL)
			return false;
		bits = bits << 5 | (uint64_t)(at - digits);
	}
	*id = (int64_t)bits;
	return true;
}

/* Microseconds since 1970, made to rise whatever the clock does: an id is
 * unique for the life of the logs. */
int64_t
queue_next_id(struct queue *q)
{
	int64_t now = clock_wall_us();
	q->last_id = now > q->last_id ? now : q->last_id + 1;
	return q->last_id;
}

/* ------------------------------------------------------------------ peers */

static struct submitter *
submitter_of(struct queue *q, struct peer *p)
{
	if (p->data == NULL) {
		struct submitter *s = calloc(1, sizeof *s);
		if (s == NULL)
			fatal("out of memory", 0);
		s->queue = q;
		s->peer = p;
		p->data = s;
	}
	return p->data;
}

static void
body_name(int64_t id, char name[QID_LENGTH + 1])
{
	qid_format(id, name);
}

static void
drop_body(struct queue *q, int64_t id)
{
	char name[QID_LENGTH + 1];
	body_name(id, name);
	unlinkat(q->bodies, name, 0);
}

static void
release_submitter(struct submitter *s)
{
	if (s->waiting > 0)
		return;
	for (int i = 0; i < BODIES_PER_PEER; i++)
		if (s->bodies[i] != 0)
			drop_body(s->queue, s->bodies[i]);
	free(s);
}

/* A body it writes now and will submit. */
static bool
has_bodies(const struct peer *p)
{
	const struct submitter *s = p->data;
	for (int i = 0; s != NULL && i < BODIES_PER_PEER; i++)
		if (s->bodies[i] != 0)
			return true;
	return false;
}

static void
on_close(struct peer *p)
{
	struct submitter *s = p->data;
	if (s == NULL)
		return;
	s->gone = true;
	s->peer = NULL;
	release_submitter(s);
}

/* ----------------------------------------------------------------- bodies */

/* 452 before the space is gone, not after (RFC 5321 4.2.3). */
static struct status
check_space(struct queue *q, int64_t size)
{
	struct statvfs v;
	if (q->refusing)
		return STATUS(STATUS_LATER, 3, 0,
			"The queue cannot be written; try again later");
	if (batch_is_full(q))
		return STATUS(STATUS_LATER, 3, 2,
			"The disk is slower than the mail; try again later");
	if (fstatvfs(q->bodies, &v) != 0)
		return status_fine();
	int64_t free_octets = (int64_t)(v.f_bavail * v.f_frsize);
	bool inodes = v.f_files == 0 || v.f_favail > 100;
	if (free_octets - size < q->conf->smtp.min_free || !inodes)
		return STATUS(STATUS_LATER, 3, 1,
			"Not enough space; try again later");
	return status_fine();
}

static int64_t *
free_slot(struct submitter *s)
{
	for (int i = 0; i < BODIES_PER_PEER; i++)
		if (s->bodies[i] == 0)
			return &s->bodies[i];
	return NULL;
}

static struct str
received_line(struct queue *q, struct arena *a, struct peer *p, int64_t id)
{
	struct buf *out = buf_new(a);
	unsigned uid = 0, gid = 0;
	int pid = 0;
	char qid[QID_LENGTH + 1];
	ipc_peer_ids(peer_fd(p), &uid, &gid, &pid);
	qid_format(id, qid);
	buf_printf(out, "Received: by %.*s (surat, from userid %u) id %s;"
		"\r\n\t%.*s\r\n", STR_ARG(q->program->hostname), uid, qid,
		STR_ARG(date_format(a, (struct date){clock_wall(), 0})));
	return buf_str(out);
}

static struct status
open_body(struct queue *q, struct peer *p, struct arena *a,
	struct message *answer)
{
	struct submitter *s = submitter_of(q, p);
	int64_t *slot = free_slot(s), id = queue_next_id(q);
	char name[QID_LENGTH + 1];
	if (slot == NULL)
		return STATUS(STATUS_LATER, 3, 0, "Too many open bodies");
	body_name(id, name);
	int fd = openat(q->bodies, name,
		O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return status_errno(a, "body file", errno);
	*slot = id;
	if (p->who == PEER_LOCAL) {
		struct str line = received_line(q, a, p, id);
		if (write(fd, line.p, line.n) != (ssize_t)line.n) {
			struct status st = status_errno(a, "body file", errno);
			close(fd);
			drop_body(q, id);
			*slot = 0;
			return st;
		}
	}
	answer->fd = fd;
	answer->opened.name = str_copy(a, str_from(name));
	return status_fine();
}

static void
on_body_open(struct peer *p, struct arena *a, struct message *m)
{
	struct queue *q = p->peers->ctx;
	struct message answer = MESSAGE(opened);
	struct status s = check_space(q, m->body_open.size);
	if (status_is_fine(s) && m->body_open.probe == 0)
		s = open_body(q, p, a, &answer);
	answer.opened.status = s;
	peer_send(p, &answer);
	message_drop(&answer);
}

static bool
is_text(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
			return false;
	return s.n <= TEXT_MOST;
}

/* For `surat trace`, whatever the header says. */
static struct str
message_id(struct arena *a, struct str text)
{
	struct str header = str_head(text, header_length(text)), value;
	if (!header_find(header, STR("Message-ID"), &value))
		return STR("");
	struct str_list ids = header_message_ids(a, value);
	return ids.n > 0 && is_text(ids.v[0]) ? ids.v[0] : STR("");
}

static struct str
body_head(struct arena *a, int fd)
{
	char *p = arena_alloc(a, HEAD_MOST);
	ssize_t n = pread(fd, p, HEAD_MOST, 0);
	return str_of(p, n > 0 ? (size_t)n : 0);
}

/* What smtpd and sendmail see to before; who has the socket need not ask them.
 * Header lines were added since. */
static struct status
check_size(const struct queue *q, const struct peer *p, int64_t size)
{
	if (p->who != PEER_LOCAL || size <= q->conf->smtp.max_size + HEAD_MOST)
		return status_fine();
	return status_reply(STATUS(STATUS_NEVER, 3, 4,
		"The message is larger than smtp.max_size allows"), 552);
}

static int64_t *
slot_of(struct submitter *s, struct str name)
{
	int64_t id = 0;
	qid_parse(name, &id);
	for (int i = 0; i < BODIES_PER_PEER && id != 0; i++)
		if (s->bodies[i] == id)
			return &s->bodies[i];
	return NULL;
}

/* Somebody could write to it.  File systems without leases cannot tell; the
 * owner's mode and the missing path are what is left then. */
static bool
is_open_yet(int fd)
{
	if (fcntl(fd, F_SETLEASE, F_RDLCK) != 0)
		return errno == EAGAIN;
	fcntl(fd, F_SETLEASE, F_UNLCK);
	return false;
}

/* One whose submission was refused is asked for no more: it would take a place
 * for as long as the peer stays.  It may be submitted yet when it is open. */
static void
give_up_body(struct queue *q, struct submitter *s, struct arena *a,
	struct str name)
{
	int64_t *slot = slot_of(s, name);
	if (slot == NULL)
		return;
	int fd = openat(q->bodies, str_cstr(a, name),
		O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || !is_open_yet(fd)) {
		drop_body(q, *slot);
		*slot = 0;
	}
	if (fd >= 0)
		close(fd);
}

/* The file the peer was given under that name, closed by everybody who could
 * write to it. */
static struct status
claim_body(struct queue *q, struct submitter *s, struct arena *a,
	struct new_message *m)
{
	struct stat st;
	int64_t *slot = slot_of(s, m->body);
	/* Not a mistake of the client: a queue that was restarted meanwhile
	 * knows the file no more. */
	if (slot == NULL)
		return STATUS(STATUS_LATER, 3, 0, "That is not your body file");
	int fd = openat(q->bodies, str_cstr(a, m->body),
		O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return status_errno(a, "body file", errno);
	bool busy = is_open_yet(fd);
	m->message_id = message_id(a, body_head(a, fd));
	bool known = fstat(fd, &st) == 0;
	close(fd);
	if (busy)
		return STATUS(STATUS_LATER, 3, 0, "The body is still open");
	if (!known)
		return STATUS(STATUS_LATER, 3, 0, "The body has no size");
	m->size = st.st_size;
	struct status s2 = check_size(q, s->peer, m->size);
	if (status_is_fine(s2))
		*slot = 0;
	return s2;
}

/* ----------------------------------------------------------------- submit */

static bool
is_list(struct str_list l, size_t count)
{
	for (size_t i = 0; i < l.n; i++)
		if (!is_text(l.v[i]))
			return false;
	return l.n == count || l.n == 0;
}

/* A name without a domain is one of ours, or a word of the sender's host. */
static bool
is_address(struct arena *a, struct str text)
{
	struct address x;
	if (!str_has(text, '@'))
		text = str_printf(a, "%.*s@localhost", STR_ARG(text));
	return address_parse(a, text, true, &x);
}

static bool
are_addresses(struct arena *a, struct str_list l)
{
	struct arena_mark mark = arena_mark(a);
	bool ok = true;
	for (size_t i = 0; ok && i < l.n; i++) {
		ok = is_address(a, l.v[i]);
		arena_rewind(a, mark);
	}
	return ok;
}

static struct status
check_submit(struct arena *a, const struct msg_submit *m)
{
	const struct str texts[] = {m->token, m->session, m->origin, m->client,
		m->user, m->sender, m->ret, m->envid, m->body_type, m->body,
		m->trace, m->hold};
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		if (!is_text(texts[i]))
			return STATUS(STATUS_NEVER, 5, 4, "Malformed envelope");
	if (m->rcpt.n == 0 || m->rcpt.n > RCPTS_MOST ||
		!is_list(m->rcpt, m->rcpt.n) ||
		!is_list(m->orcpt, m->rcpt.n) || !is_list(m->notify, m->rcpt.n))
		return STATUS(STATUS_NEVER, 5, 4, "Malformed recipients");
	if ((m->sender.n > 0 && !is_address(a, m->sender)) ||
		!are_addresses(a, m->rcpt))
		return STATUS(STATUS_NEVER, 1, 3, "Malformed address");
	if (m->body.n > 0 && !qid_parse(m->body, &(int64_t){0}))
		return STATUS(STATUS_NEVER, 5, 4, "Malformed body name");
	if (m->content.n > INLINE_MOST || (m->body.n > 0 && m->content.n > 0))
		return STATUS(STATUS_NEVER, 3, 4, "Content too large");
	return status_fine();
}

static void
answer_submit(struct submitter *s, struct status st, int64_t id)
{
	char qid[QID_LENGTH + 1];
	struct message answer = MESSAGE(submitted);
	if (s->peer == NULL)
		return;
	qid_format(id, qid);
	answer.submitted.status = st;
	if (status_is_fine(st))
		answer.submitted.id = str_from(qid);
	peer_send(s->peer, &answer);
}

static void
log_queued(const struct new_message *m)
{
	char qid[QID_LENGTH + 1];
	qid_format(m->id, qid);
	log_info(str_from(qid), "queued", LOG_STR("session", m->session),
		LOG_STR("origin", m->origin), LOG_STR("from", m->sender),
		LOG_NUM("size", m->size), LOG_NUM("rcpts", m->count));
}

static void
stored(struct queue *q, void *ctx, struct status st,
	const struct new_message *m, bool before)
{
	struct submitter *s = ctx;
	s->waiting--;
	answer_submit(s, st, m->id);
	if (s->gone)
		release_submitter(s);
	if (m->body.n > 0 && (before || !status_is_fine(st))) {
		int64_t id;
		if (qid_parse(m->body, &id))
			drop_body(q, id);
	}
	if (!status_is_fine(st) || before)
		return;
	figures_accepted(q, m->id);
	log_queued(m);
	if (m->hold.n == 0)
		load_fresh(q, m);
}

static struct str
at(struct str_list l, size_t i)
{
	return i < l.n ? l.v[i] : STR("");
}

/* A submission whose answer was lost is asked again over another connection,
 * which its body file no longer belongs to. */
static bool
was_taken(struct queue *q, struct str token, int64_t *id)
{
	sqlite3_stmt *s = table_get(q->reader, FIND_TOKEN);
	table_bind_text(s, 1, token);
	bool found = token.n > 0 && sqlite3_step(s) == SQLITE_ROW;
	if (found)
		*id = sqlite3_column_int64(s, 0);
	sqlite3_reset(s);
	return found;
}

/* A local user says what is in the envelope; where it comes from the kernel
 * says, and the rest is what smtpd knows of its client. */
static void
own_words(struct peer *p, struct arena *a, struct new_message *n)
{
	unsigned uid = 0, gid;
	int pid;
	ipc_peer_ids(peer_fd(p), &uid, &gid, &pid);
	n->origin = STR("local");
	n->client = STR("unix");
	n->user = str_printf(a, "uid %u", uid);
	n->session = n->trace = n->hold = STR("");
}

static struct status
take(struct queue *q, struct peer *p, struct arena *a, struct msg_submit *m)
{
	struct submitter *s = submitter_of(q, p);
	struct new_message n = {.id = queue_next_id(q), .token = m->token,
		.sender = m->sender, .origin = m->origin,
		.session = m->session, .client = m->client, .user = m->user,
		.ret = m->ret, .envid = m->envid, .body_type = m->body_type,
		.hold = m->hold, .body = m->body, .content = m->content,
		.trace = m->trace, .utf8 = m->utf8 != 0,
		.requiretls = m->requiretls != 0, .arrival = clock_wall(),
		.size = (int64_t)m->content.n, .count = m->rcpt.n};
	struct new_rcpt *r = arena_array(a, n.count + 1, sizeof *r);
	struct status st = check_space(q, 0);
	if (status_is_fine(st) && m->body.n > 0)
		st = claim_body(q, s, a, &n);
	if (!status_is_fine(st))
		return st;
	if (m->body.n == 0)
		n.message_id = message_id(a, m->content);
	if (p->who == PEER_LOCAL && m->body.n == 0) {
		struct str two[] = {received_line(q, a, p, n.id), m->content};
		n.content = str_join(a, (struct str_list){two, 2}, STR(""));
		n.size = (int64_t)n.content.n;
	}
	for (size_t i = 0; i < n.count; i++)
		r[i] = (struct new_rcpt){m->rcpt.v[i], at(m->orcpt, i),
			at(m->notify, i)};
	/* A copy of all mail, but reports; nobody hears of it. */
	if (q->conf->address.bcc.n > 0 && n.sender.n > 0)
		r[n.count++] = (struct new_rcpt){q->conf->address.bcc,
			STR(""), STR("NEVER")};
	n.rcpts = r;
	if (p->who == PEER_LOCAL)
		own_words(p, a, &n);
	s->waiting++;
	batch_add_message(q, &n, stored, s, false);
	return status_fine();
}

/* A local user's token is his own: it cannot take another's place. */
static void
own_token(struct peer *p, struct arena *a, struct msg_submit *m)
{
	unsigned uid = 0, gid;
	int pid;
	if (p->who != PEER_LOCAL || m->token.n == 0)
		return;
	ipc_peer_ids(peer_fd(p), &uid, &gid, &pid);
	m->token = str_printf(a, "uid %u/%.*s", uid, STR_ARG(m->token));
}

static void
on_submit(struct peer *p, struct arena *a, struct message *m)
{
	struct queue *q = p->peers->ctx;
	struct message answer = MESSAGE(submitted);
	struct status st = check_submit(a, &m->submit);
	int64_t id;
	own_token(p, a, &m->submit);
	if (m->submit.body.n > 0 && was_taken(q, m->submit.token, &id)) {
		answer_submit(submitter_of(q, p), st, id);
		return;
	}
	if (status_is_fine(st))
		st = take(q, p, a, &m->submit);
	if (status_is_fine(st))
		return; /* answered when it is stored */
	give_up_body(q, submitter_of(q, p), a, m->submit.body);
	answer.submitted.status = st;
	peer_send(p, &answer);
}

/* smtpd may have a domain's mail tried again (ETRN), and nothing else. */
static void
on_change(struct peer *p, struct arena *a, struct message *m)
{
	struct message change = MESSAGE(queue_change);
	change.queue_change.verb = STR("retry");
	change.queue_change.domain = m->queue_change.domain;
	change.queue_change.after = m->queue_change.after;
	if (p->who != PEER_SMTPD) {
		control_change(p, a, m);
	} else if (change.queue_change.domain.n == 0) {
		peer_close(p);
	} else {
		control_change(p, a, &change);
	}
}

static const struct peer_row rows[] = {
	{MSG_submit, PEER_SMTPD | PEER_LOCAL, on_submit},
	{MSG_body_open, PEER_SMTPD | PEER_LOCAL, on_body_open},
	{MSG_queue_list, PEER_SURAT, rows_list},
	{MSG_queue_change, PEER_SURAT | PEER_SMTPD, on_change},
	{MSG_service, PEER_SURAT, figures_tell},
};

void
intake_start(struct queue *q)
{
	static const char *const askers[] = {"smtpd", "sendmail", "surat"};
	q->intake = (struct peers){.loop = q->loop, .rows = rows,
		.is_busy = has_bodies, .user_most = USER_MOST,
		.count = sizeof rows / sizeof *rows, .ctx = q,
		.on_close = on_close};
	for (size_t i = 0; i < sizeof askers / sizeof *askers; i++) {
		char name[32];
		snprintf(name, sizeof name, "ask.%s", askers[i]);
		int fd = program_fd(q->program, name, 0);
		if (fd >= 0)
			peers_listen(&q->intake, fd,
				ask_peer_bit(str_from(askers[i])));
	}
}
