/* SPDX-License-Identifier: ISC */
/*
 * ipc: typed messages between our own processes over SEQPACKET sockets.
 *
 * The vocabulary is somebody else's (ask/messages): a list of definitions,
 * from which this module writes, reads, checks and prints.  On the wire:
 *
 *	name NUL field=value NUL field=value NUL ...
 *	NUM     decimal             LIST    count NUL item NUL item NUL ...
 *	TEXT    octets, no NUL      BYTES, SECRET  length NUL octets NUL
 *	STATUS  status_format
 *
 * Fields come in the order of the definition, all of them, once.  A message
 * larger than a packet may be (PACKET_MOST) travels in a sealed memory file;
 * neither side notices.  What is received is hostile: a malformed message
 * costs its sender the connection, nothing else.
 */
#ifndef SYS_IPC_H
#define SYS_IPC_H

#include "base/buf.h"
#include "base/status.h"
#include "base/str.h"

#include <sys/types.h>

struct arena;

enum ipc_kind {
	IPC_NUM,
	IPC_TEXT,
	IPC_LIST,
	IPC_BYTES,
	IPC_SECRET,
	IPC_STATUS,
};

enum ipc_fd { FD_NO, FD_MAY };

struct ipc_field {
	const char *name;
	enum ipc_kind kind;
	size_t offset; /* from the start of the body */
};

struct ipc_def {
	const char *name;
	enum ipc_fd fd;
	const struct ipc_field *fields;
	size_t count;
};

struct ipc_vocabulary {
	const struct ipc_def *defs;
	size_t count;
	size_t body; /* offset of the body in a message */
	size_t size; /* of a message */
};

/* Every message struct begins like this. */
struct ipc_head {
	int kind;
	int fd;
};

/* Largest message as such, and largest that goes as one packet (the socket
 * buffer bounds it); between the two a memory file carries it. */
enum { IPC_MOST = 16 * 1024 * 1024, IPC_PACKET_MOST = 160 * 1024 };

/* Most items of one list: a message of nothing but empty items must not cost
 * its reader more than its octets let expect. */
enum { IPC_ITEMS_MOST = 200 * 1000 };

void ipc_encode(const struct ipc_vocabulary *v, const void *msg,
	struct buf *out);

/* False when it is not exactly a message of the vocabulary.  Views point
 * into bytes; lists belong to the arena.  fd is set to -1. */
bool ipc_decode(const struct ipc_vocabulary *v, struct arena *a,
	struct str bytes, void *msg);

/* "rcpt_lookup address=a@b sender= user=" for traces; no secrets, long
 * octets only counted. */
void ipc_describe(const struct ipc_vocabulary *v, const void *msg,
	struct buf *out);

enum ipc_result {
	IPC_OK,
	IPC_AGAIN, /* would block */
	IPC_CLOSED, /* the peer went away */
	IPC_BAD, /* not a message, or an unexpected descriptor */
};

/* Sends now or says IPC_AGAIN; the message's fd stays the caller's. */
enum ipc_result ipc_send(const struct ipc_vocabulary *v, int sock,
	const void *msg);

/* The same for bytes made by ipc_encode before. */
enum ipc_result ipc_send_bytes(int sock, struct str bytes, int fd);

/* Receives what is there or says IPC_AGAIN.  Everything in the message lives
 * in the arena, but its fd, which is the caller's. */
enum ipc_result ipc_recv(const struct ipc_vocabulary *v, int sock,
	struct arena *a, void *msg);

/* Blocking forms: wait until the deadline, then IPC_AGAIN. */
enum ipc_result ipc_send_wait(const struct ipc_vocabulary *v, int sock,
	const void *msg, int64_t deadline);
enum ipc_result ipc_recv_wait(const struct ipc_vocabulary *v, int sock,
	struct arena *a, void *msg, int64_t deadline);

/* Of a socket that blocks: how long ipc_recv_patient waits before it says
 * IPC_AGAIN.  Costs one call less than waiting first. */
void ipc_patience(int sock, int64_t ms);
enum ipc_result ipc_recv_patient(const struct ipc_vocabulary *v, int sock,
	struct arena *a, void *msg);

/*
 * A descriptor down a stream, with one octet that has no meaning.  False when
 * it cannot be sent by the deadline.
 */
bool ipc_write_fd(int stream, int fd, int64_t deadline);
/* read(2) without waiting, which ends with that octet where one comes: then
 * *fd is its descriptor, the caller's; else -1. */
ssize_t ipc_read_fd(int stream, char *to, size_t most, int *fd);

/* A connected pair with roomy buffers; -1 ids never come back.  fatal. */
void ipc_pair(int pair[2]);
/* Connects to a listening SEQPACKET socket; -1 with errno. */
int ipc_connect(const char *path);
/* The same at once: EAGAIN when too many wait there already. */
int ipc_connect_now(const char *path);
/* Makes and binds a listening socket with this mode, replacing a stale one;
 * -1 with errno. */
int ipc_listen(const char *path, unsigned mode);
/* A sealed memory file with these bytes; what goes wrong is fatal, as out of
 * memory is. */
int ipc_memory_file(const char *name, struct str bytes);

/* Raises the send buffer to what IPC_PACKET_MOST needs. */
void ipc_roomy(int sock);

/* Who is on the other side, by the kernel's word; false when unknown. */
bool ipc_peer_ids(int sock, unsigned *uid, unsigned *gid, int *pid);

#endif
