/* SPDX-License-Identifier: ISC */
/*
 * The coder works through the definition's fields by offset; nothing here
 * knows a message.  The reader is one pass over the bytes with a view that
 * shrinks, and refuses at the first surprise.
 */
#include "sys/ipc.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	FDS_MOST = 2,
	APART_LEAST = 1024, /* octets that are sent from where they lie */
	KEPT_MOST = 16 * 1024,
};

/* First octet of a packet whose message is in the first descriptor. */
static const struct str spilled = STR_INIT("\001spilled");

/* ------------------------------------------------------------- writing */

static const void *
member(const struct ipc_vocabulary *v, const void *msg,
	const struct ipc_field *f)
{
	return (const char *)msg + v->body + f->offset;
}

static void
put_length(struct buf *out, size_t n)
{
	buf_addn(out, n);
	buf_addc(out, 0);
}

static void
put_octets(struct buf *out, struct str s)
{
	put_length(out, s.n);
	buf_add(out, s);
}

/* A NUL in a text would start a new field: what the reader would misread the
 * writer does not write (reliability rule S8). */
static void
put_text(struct buf *out, struct str s)
{
	buf_add(out, str_head(s, str_find(s, 0)));
}

static void
put_list(struct buf *out, struct str_list list)
{
	buf_addn(out, list.n);
	for (size_t i = 0; i < list.n; i++) {
		buf_addc(out, 0);
		put_text(out, list.v[i]);
	}
}

static void
put_number(struct buf *out, int64_t n)
{
	if (n < 0)
		buf_addc(out, '-');
	buf_addn(out, n < 0 ? -(uint64_t)n : (uint64_t)n);
}

static void
put_status(struct buf *out, struct status s)
{
	int class = s.class == 0 ? STATUS_FINE : s.class;
	put_number(out, class);
	buf_addc(out, '.');
	put_number(out, s.subject);
	buf_addc(out, '.');
	put_number(out, s.detail);
	buf_addc(out, ' ');
	if (s.reply != 0)
		buf_addn(out, s.reply);
	else
		buf_addc(out, '-');
	buf_addc(out, ' ');
	put_text(out, s.text);
}

static void
put_field(struct buf *out, enum ipc_kind kind, const void *value)
{
	switch (kind) {
	case IPC_NUM:
		put_number(out, *(const int64_t *)value);
		break;
	case IPC_TEXT:
		put_text(out, *(const struct str *)value);
		break;
	case IPC_LIST:
		put_list(out, *(const struct str_list *)value);
		break;
	case IPC_BYTES:
	case IPC_SECRET:
		put_octets(out, *(const struct str *)value);
		break;
	case IPC_STATUS:
		put_status(out, *(const struct status *)value);
		break;
	}
}

/* Room for a field: what it holds, its name and the numbers around it. */
static size_t
field_room(enum ipc_kind kind, const void *value)
{
	enum { AROUND = 48 };
	const struct str_list *list = value;
	size_t n = AROUND;
	switch (kind) {
	case IPC_NUM:
		break;
	case IPC_TEXT:
	case IPC_BYTES:
	case IPC_SECRET:
		n += ((const struct str *)value)->n;
		break;
	case IPC_STATUS:
		n += ((const struct status *)value)->text.n;
		break;
	case IPC_LIST:
		for (size_t i = 0; i < list->n; i++)
			n += list->v[i].n + 1;
		break;
	}
	return n;
}

/* Octets that are not copied into what is encoded, and their place in it. */
struct apart {
	struct str octets;
	size_t at;
};

static bool
goes_apart(const struct apart *x, enum ipc_kind kind, const void *value)
{
	return x != NULL && x->octets.n == 0 && kind == IPC_BYTES &&
		((const struct str *)value)->n >= APART_LEAST;
}

static void
encode(const struct ipc_vocabulary *v, const void *msg, struct buf *out,
	struct apart *x)
{
	const struct ipc_head *head = msg;
	const struct ipc_def *def = &v->defs[head->kind];
	size_t room = 0;
	/* Grown once, not by doubling. */
	for (size_t i = 0; x == NULL && i < def->count; i++)
		room += field_room(def->fields[i].kind,
			member(v, msg, &def->fields[i]));
	buf_room(out, room);
	buf_adds(out, def->name);
	buf_addc(out, 0);
	for (size_t i = 0; i < def->count; i++) {
		const struct ipc_field *f = &def->fields[i];
		const void *value = member(v, msg, f);
		buf_adds(out, f->name);
		buf_addc(out, '=');
		if (goes_apart(x, f->kind, value)) {
			x->octets = *(const struct str *)value;
			put_length(out, x->octets.n);
			x->at = out->n;
		} else {
			put_field(out, f->kind, value);
		}
		buf_addc(out, 0);
	}
}

void
ipc_encode(const struct ipc_vocabulary *v, const void *msg, struct buf *out)
{
	encode(v, msg, out, NULL);
}

/* ------------------------------------------------------------- reading */

/* Everything on the wire ends in NUL; false when no NUL is left. */
static bool
take(struct str *in, struct str *piece)
{
	size_t at = str_find(*in, 0);
	if (at == in->n)
		return false;
	*piece = str_head(*in, at);
	*in = str_skip(*in, at + 1);
	return true;
}

static bool
take_number(struct str *in, int64_t *value)
{
	struct str digits;
	uint64_t n;
	if (!take(in, &digits))
		return false;
	bool minus = str_starts(digits, STR("-"));
	if (minus)
		digits = str_skip(digits, 1);
	if (!str_number(digits, INT64_MAX, &n))
		return false;
	*value = minus ? -(int64_t)n : (int64_t)n;
	return true;
}

static bool
take_octets(struct str *in, struct str *value)
{
	int64_t n;
	if (!take_number(in, &n) || n < 0 || (uint64_t)n >= in->n)
		return false;
	*value = str_head(*in, (size_t)n);
	if (in->p[n] != 0)
		return false;
	*in = str_skip(*in, (size_t)n + 1);
	return true;
}

static bool
take_list(struct arena *a, struct str *in, struct str_list *list)
{
	int64_t n;
	/* Each item takes at least its NUL, which bounds the allocation. */
	if (!take_number(in, &n) || n < 0 || (uint64_t)n > in->n ||
		n > IPC_ITEMS_MOST)
		return false;
	list->n = (size_t)n;
	list->v = arena_array(a, list->n, sizeof *list->v);
	for (size_t i = 0; i < list->n; i++)
		if (!take(in, &list->v[i]))
			return false;
	return true;
}

static bool
take_field(struct arena *a, struct str *in, enum ipc_kind kind, void *value)
{
	struct str text;
	switch (kind) {
	case IPC_NUM:
		return take_number(in, value);
	case IPC_TEXT:
		return take(in, value);
	case IPC_LIST:
		return take_list(a, in, value);
	case IPC_BYTES:
	case IPC_SECRET:
		return take_octets(in, value);
	case IPC_STATUS:
		return take(in, &text) && status_parse(text, value);
	}
	return false;
}

static const struct ipc_def *
find_def(const struct ipc_vocabulary *v, struct str name)
{
	for (size_t i = 0; i < v->count; i++)
		if (str_eq(name, str_from(v->defs[i].name)))
			return &v->defs[i];
	return NULL;
}

static bool
take_name(struct str *in, const char *name)
{
	struct str want = str_from(name);
	if (!str_starts(*in, want) || in->n == want.n || in->p[want.n] != '=')
		return false;
	*in = str_skip(*in, want.n + 1);
	return true;
}

bool
ipc_decode(const struct ipc_vocabulary *v, struct arena *a, struct str bytes,
	void *msg)
{
	struct ipc_head *head = msg;
	struct str name;
	memset(msg, 0, v->size);
	head->fd = -1;
	if (!take(&bytes, &name))
		return false;
	const struct ipc_def *def = find_def(v, name);
	if (def == NULL)
		return false;
	head->kind = (int)(def - v->defs);
	for (size_t i = 0; i < def->count; i++) {
		const struct ipc_field *f = &def->fields[i];
		void *value = (char *)msg + v->body + f->offset;
		if (!take_name(&bytes, f->name) ||
			!take_field(a, &bytes, f->kind, value))
			return false;
	}
	return bytes.n == 0;
}

/* ------------------------------------------------------------ printing */

static void
describe_text(struct buf *out, struct str s)
{
	for (size_t i = 0; i < s.n && i < 200; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (c > 0x20 && c < 0x7f)
			buf_addc(out, (char)c);
		else
			buf_printf(out, "\\x%02x", c);
	}
	if (s.n > 200)
		buf_adds(out, "...");
}

static void
describe_list(struct buf *out, struct str_list list)
{
	for (size_t i = 0; i < list.n && i < 10; i++) {
		if (i > 0)
			buf_addc(out, ',');
		describe_text(out, list.v[i]);
	}
	if (list.n > 10)
		buf_printf(out, ",...(%zu)", list.n);
}

/* Its text may be a stranger's. */
static void
describe_status(struct buf *out, struct status s)
{
	struct str text = s.text;
	s.text = STR("");
	put_status(out, s);
	describe_text(out, text);
}

static void
describe_field(struct buf *out, enum ipc_kind kind, const void *value)
{
	switch (kind) {
	case IPC_TEXT:
		describe_text(out, *(const struct str *)value);
		break;
	case IPC_LIST:
		describe_list(out, *(const struct str_list *)value);
		break;
	case IPC_BYTES:
		buf_printf(out, "(%zu octets)", ((const struct str *)value)->n);
		break;
	case IPC_SECRET:
		buf_adds(out, "(secret)");
		break;
	case IPC_NUM:
		put_field(out, kind, value);
		break;
	case IPC_STATUS:
		describe_status(out, *(const struct status *)value);
		break;
	}
}

void
ipc_describe(const struct ipc_vocabulary *v, const void *msg, struct buf *out)
{
	const struct ipc_head *head = msg;
	const struct ipc_def *def = &v->defs[head->kind];
	buf_adds(out, def->name);
	for (size_t i = 0; i < def->count; i++) {
		buf_addc(out, ' ');
		buf_adds(out, def->fields[i].name);
		buf_addc(out, '=');
		describe_field(out, def->fields[i].kind,
			member(v, msg, &def->fields[i]));
	}
}

/* ------------------------------------------------------------- sending */

union control {
	struct cmsghdr align;
	char octets[CMSG_SPACE(sizeof(int) * FDS_MOST)];
};

static enum ipc_result
send_pieces(int sock, struct iovec *pieces, size_t n, const int *fds,
	size_t count)
{
	union control control;
	struct msghdr h = {.msg_iov = pieces, .msg_iovlen = n};
	if (count > 0) {
		control = (union control){0};
		h.msg_control = control.octets;
		h.msg_controllen = CMSG_SPACE(sizeof(int) * count);
		struct cmsghdr *c = CMSG_FIRSTHDR(&h);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * count);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * count);
	}
	for (;;) {
		if (sendmsg(sock, &h, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
			return IPC_OK;
		if (errno == EAGAIN || errno == ENOBUFS)
			return IPC_AGAIN;
		if (errno != EINTR)
			return IPC_CLOSED;
	}
}

static struct iovec
piece(struct str s)
{
	return (struct iovec){(void *)(uintptr_t)s.p, s.n};
}

static enum ipc_result
send_packet(int sock, struct str bytes, const int *fds, size_t count)
{
	struct iovec one = piece(bytes);
	return send_pieces(sock, &one, 1, fds, count);
}

int
ipc_memory_file(const char *name, struct str bytes)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		fatal("memfd_create", NULL);
	while (bytes.n > 0) {
		ssize_t n = write(fd, bytes.p, bytes.n);
		if (n < 0 && errno != EINTR)
			fatal("memory file", NULL);
		bytes = str_skip(bytes, n > 0 ? (size_t)n : 0);
	}
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW |
		F_SEAL_SHRINK | F_SEAL_SEAL) != 0)
		fatal("memory file", "cannot be sealed");
	return fd;
}

enum ipc_result
ipc_send_bytes(int sock, struct str bytes, int fd)
{
	int fds[FDS_MOST];
	size_t count = 0;
	if (bytes.n <= IPC_PACKET_MOST) {
		if (fd >= 0)
			fds[count++] = fd;
		return send_packet(sock, bytes, fds, count);
	}
	int file = ipc_memory_file("message", bytes);
	fds[count++] = file;
	if (fd >= 0)
		fds[count++] = fd;
	enum ipc_result r = send_packet(sock, spilled, fds, count);
	close(file);
	return r;
}

enum ipc_result
ipc_send(const struct ipc_vocabulary *v, int sock, const void *msg)
{
	static struct buf out; /* kept: one thread of a program sends */
	struct apart x = {.octets = {0}};
	int fd = ((const struct ipc_head *)msg)->fd;
	enum ipc_result r;
	buf_clear(&out);
	encode(v, msg, &out, &x);
	struct str s = buf_str(&out);
	if (s.n + x.octets.n <= IPC_PACKET_MOST) {
		struct iovec pieces[] = {piece(str_head(s, x.at)),
			piece(x.octets), piece(str_skip(s, x.at))};
		r = send_pieces(sock, pieces, 3, &fd, fd >= 0);
	} else {
		buf_clear(&out);
		ipc_encode(v, msg, &out);
		r = ipc_send_bytes(sock, buf_str(&out), fd);
	}
	buf_clear(&out);
	buf_shrink(&out, KEPT_MOST);
	return r;
}

/* ----------------------------------------------------------- receiving */

struct received {
	int fds[FDS_MOST];
	size_t count;
};

static void
close_received(struct received *r)
{
	while (r->count > 0)
		close(r->fds[--r->count]);
}

static void
take_fds(struct msghdr *h, struct received *r)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c != NULL;
		c = CMSG_NXTHDR(h, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
			if (r->count < FDS_MOST)
				r->fds[r->count++] = fd;
			else
				close(fd);
		}
	}
}

/* Only a memory file sealed against change may carry a message: its size is
 * true and reading it cannot block. */
static bool
unspill(struct arena *a, int fd, struct str *bytes)
{
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);
	if (seals < 0 || (seals & F_SEAL_WRITE) == 0 || fstat(fd, &st) != 0 ||
		st.st_size < 0 || st.st_size > IPC_MOST)
		return false;
	char *to = arena_alloc(a, (size_t)st.st_size);
	size_t have = 0;
	while (have < (size_t)st.st_size) {
		ssize_t n = pread(fd, to + have, (size_t)st.st_size - have,
			(off_t)have);
		if (n <= 0)
			return false;
		have += (size_t)n;
	}
	*bytes = str_of(to, have);
	return true;
}

static bool
accept_packet(const struct ipc_vocabulary *v, struct arena *a,
	struct received *r, struct str bytes, void *msg)
{
	if (str_eq(bytes, spilled)) {
		if (r->count == 0 || !unspill(a, r->fds[0], &bytes))
			return false;
		close(r->fds[0]);
		r->fds[0] = r->fds[--r->count];
	} else {
		bytes = str_copy(a, bytes);
	}
	if (!ipc_decode(v, a, bytes, msg))
		return false;
	struct ipc_head *head = msg;
	if (r->count > 1 ||
		(r->count > 0 && v->defs[head->kind].fd == FD_NO))
		return false;
	if (r->count == 1) {
		head->fd = r->fds[0];
		r->count = 0;
	}
	return true;
}

static enum ipc_result
receive(const struct ipc_vocabulary *v, int sock, struct arena *a, void *msg,
	int flags)
{
	static char packet[IPC_PACKET_MOST + 1];
	union control control;
	struct iovec iov = {packet, sizeof packet};
	struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control.octets,
		.msg_controllen = sizeof control.octets};
	struct received got = {.count = 0};
	ssize_t n;
	/* One that closed without having read all may have answered some: the
	 * error comes once, and before what it sent. */
	do
		n = recvmsg(sock, &h, flags | MSG_CMSG_CLOEXEC);
	while (n < 0 && (errno == EINTR || errno == ECONNRESET));
	if (n < 0)
		return errno == EAGAIN ? IPC_AGAIN : IPC_CLOSED;
	take_fds(&h, &got);
	if (n == 0 && got.count == 0)
		return IPC_CLOSED;
	bool ok = (h.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0 &&
		accept_packet(v, a, &got, str_of(packet, (size_t)n), msg);
	close_received(&got);
	return ok ? IPC_OK : IPC_BAD;
}

enum ipc_result
ipc_recv(const struct ipc_vocabulary *v, int sock, struct arena *a, void *msg)
{
	return receive(v, sock, a, msg, MSG_DONTWAIT);
}

void
ipc_patience(int sock, int64_t ms)
{
	struct timeval t = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
	setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
}

enum ipc_result
ipc_recv_patient(const struct ipc_vocabulary *v, int sock, struct arena *a,
	void *msg)
{
	return receive(v, sock, a, msg, 0);
}

static bool
wait_for(int sock, short events, int64_t deadline)
{
	struct pollfd p = {.fd = sock, .events = events};
	int n;
	do
		n = poll(&p, 1, clock_left(deadline));
	while (n < 0 && errno == EINTR);
	return n > 0;
}

enum ipc_result
ipc_send_wait(const struct ipc_vocabulary *v, int sock, const void *msg,
	int64_t deadline)
{
	enum ipc_result r;
	while ((r = ipc_send(v, sock, msg)) == IPC_AGAIN)
		if (!wait_for(sock, POLLOUT, deadline))
			return IPC_AGAIN;
	return r;
}

/* Waits first: an answer is never there at once. */
enum ipc_result
ipc_recv_wait(const struct ipc_vocabulary *v, int sock, struct arena *a,
	void *msg, int64_t deadline)
{
	enum ipc_result r;
	do {
		if (!wait_for(sock, POLLIN, deadline))
			return IPC_AGAIN;
	} while ((r = ipc_recv(v, sock, a, msg)) == IPC_AGAIN);
	return r;
}

/* -------------------------------------------------------------- streams */

bool
ipc_write_fd(int stream, int fd, int64_t deadline)
{
	enum ipc_result r;
	while ((r = send_packet(stream, STR("-"), &fd, 1)) == IPC_AGAIN)
		if (!wait_for(stream, POLLOUT, deadline))
			return false;
	return r == IPC_OK;
}

ssize_t
ipc_read_fd(int stream, char *to, size_t most, int *fd)
{
	union control control;
	struct iovec iov = {to, most};
	struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control.octets,
		.msg_controllen = sizeof control.octets};
	struct received got = {.count = 0};
	ssize_t n = recvmsg(stream, &h, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	*fd = -1;
	if (n < 0)
		return n;
	take_fds(&h, &got);
	if (got.count > 0)
		*fd = got.fds[--got.count];
	close_received(&got);
	return n;
}

/* ------------------------------------------------------------- sockets */

void
ipc_roomy(int sock)
{
	/* The kernel doubles it; stock limits allow 212992. */
	int size = 212992;
	setsockopt(sock, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
}

void
ipc_pair(int pair[2])
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
		fatal("socketpair", NULL);
	ipc_roomy(pair[0]);
	ipc_roomy(pair[1]);
}

static bool
set_path(struct sockaddr_un *sun, const char *path)
{
	*sun = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof sun->sun_path) {
		errno = ENAMETOOLONG;
		return false;
	}
	strcpy(sun->sun_path, path);
	return true;
}

static int
connect_to(const char *path, int flags)
{
	struct sockaddr_un sun;
	if (!set_path(&sun, path))
		return -1;
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | flags, 0);
	if (fd < 0)
		return -1;
	if (connect(fd, (struct sockaddr *)&sun, sizeof sun) != 0) {
		int err = errno;
		close(fd);
		errno = err;
		return -1;
	}
	ipc_roomy(fd);
	return fd;
}

int
ipc_connect(const char *path)
{
	return connect_to(path, 0);
}

int
ipc_connect_now(const char *path)
{
	return connect_to(path, SOCK_NONBLOCK);
}

int
ipc_listen(const char *path, unsigned mode)
{
	struct sockaddr_un sun;
	if (!set_path(&sun, path))
		return -1;
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK,
		0);
	if (fd < 0)
		return -1;
	unlink(path);
	if (bind(fd, (struct sockaddr *)&sun, sizeof sun) != 0 ||
		chmod(path, mode) != 0 || listen(fd, 1024) != 0) {
		int err = errno;
		close(fd);
		errno = err;
		return -1;
	}
	return fd;
}

bool
ipc_peer_ids(int sock, unsigned *uid, unsigned *gid, int *pid)
{
	struct ucred cred;
	socklen_t n = sizeof cred;
	if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &cred, &n) != 0)
		return false;
	*uid = cred.uid;
	*gid = cred.gid;
	*pid = cred.pid;
	return true;
}
