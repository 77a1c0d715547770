/* SPDX-License-Identifier: ISC */
/*
 * master: suratd, the starter.
 *
 * The only program that runs as root.  It owns the listening sockets and the
 * configuration, starts the others and hands them both, and starts them again
 * when they die.  It reads no octet from the network and no mail; what it
 * hears are the few messages of control.c and single octets from workers.
 *
 * A role (roles.c) says what a child can be.  A team is the children of one
 * role.  A generation (generation.c) is one configuration with its snapshot
 * and its listening sockets; a reload makes a new one, and children of the
 * old finish what they have in hand.
 *
 * What always holds:
 *  - a child inherits named descriptors and nothing else (spawn.c);
 *  - a child whose link is closed has been told to finish: it is retired and
 *    never counted again;
 *  - as root every child gets the ids of its role, or of the user it serves,
 *    which are never 0 and never another role's.
 */
#ifndef MASTER_H
#define MASTER_H

#include "ask/messages.h"
#include "ask/peers.h"
#include "base/list.h"
#include "base/str.h"
#include "sys/conf.h"
#include "sys/inherit.h"
#include "sys/keep.h"
#include "sys/listen.h"
#include "sys/spawn.h"

#include <sys/types.h>

struct arena;
struct buf;
struct loop;

/* ---------------------------------------------------------------- roles */

enum role_kind {
	ROLE_SINGLE, /* one process, always */
	ROLE_POOL, /* workers that wait for clients */
	ROLE_AGENT, /* started when the queue asks for one */
	ROLE_SESSION, /* started when auth hands a client over */
};

enum role_flags {
	ROLE_AS_USER = 1, /* ids come with the request, user is for "-" */
	ROLE_RECOVERED = 2, /* not before the queue has recovered */
	ROLE_LINGERS = 4, /* its successor need not wait for its end */
	ROLE_FILES = 8, /* reads files at its start: every reload renews it */
	ROLE_SECRETS = 16, /* may know the passwords in the configuration */
	ROLE_CERTIFICATE = 32, /* gets the file of the certificate, */
	ROLE_KEY = 64, /* of its key */
	ROLE_NETWORK = 128, /* opens internet sockets itself */
	ROLE_GROUPS = 256, /* has the groups of the user's account */
	ROLE_ACCOUNT = ROLE_AS_USER | ROLE_NETWORK | ROLE_GROUPS,
};

struct role {
	const char *name;
	const char *file; /* beside suratd */
	const char *argument; /* or NULL */
	const char *user; /* whose ids, when master is root */
	const char *root; /* of RUNTIME, becomes its /; NULL: none */
	enum role_kind kind;
	unsigned flags;
	size_t idle, most; /* offsets of numbers in struct conf */
};

enum { ROLES_MOST = 16 };

const struct role *role_table(size_t *count);
/* By name; NULL. */
const struct role *role_find(struct str name);
/* The role that asks from RUNTIME/<asker>; NULL for people's commands. */
const struct role *role_asker(const char *asker);
/* Looks up every role's user; false with complaints. */
bool roles_identify(struct ids ids[ROLES_MOST], struct buf *errors);

/* ---------------------------------------------------------- generations */

struct master;

struct generation {
	struct arena *arena;
	uint64_t marks[ROLES_MOST]; /* of the programs' files, by role */
	uint64_t tls_mark; /* of certificate and key */
	const struct conf *conf;
	struct str text; /* the whole configuration */
	struct str public; /* without secrets */
	int config; /* snapshot without secrets */
	int secret; /* snapshot with them */
	struct listeners listeners;
};

struct source {
	const char *file;
	struct str_list overrides;
};

/* Reads and checks; NULL with every complaint as a line in errors. */
struct generation *generation_read(struct master *m, struct buf *errors);
/* Another one when the file was changed or replaced; 0: there is none. */
uint64_t generation_mark(const char *path);
uint64_t generation_tls_mark(const struct conf *c);
/*
 * Opens the listening sockets, taking over from old (or NULL) those it has
 * too.  False with complaints; then old is as it was.
 */
bool generation_listen(struct generation *g, struct generation *old,
	struct buf *errors);
/* Listening sockets that whoever started us had opened already. */
struct listeners generation_given(struct arena *a,
	const struct inheritance *in);
/* Ends listening where the newer generation does not, and frees. */
void generation_free(struct generation *g);

/* Has this program sockets to accept on? */
bool generation_serves(const struct generation *g, const char *file);

/* A role's program: in general.libexec, or where suratd lies. */
const char *generation_program(struct arena *a, const struct generation *g,
	const struct role *role);

/* ---------------------------------------------------------------- teams */

struct team {
	struct master *master;
	const struct role *role;
	struct ids ids;
	struct keeper keep;
};

/* What a child is started with beyond its role. */
struct start {
	const struct ids *ids; /* NULL: the role's */
	const struct message *first; /* waits on its link; or NULL */
	struct str home; /* of whom it serves; empty: that comes later */
	bool enclosed; /* home becomes its root directory */
	int queue; /* its link to the queue, or -1 */
	struct str key; /* whom else a session may serve (sys/keep.h) */
};

struct ask_socket {
	const char *asker, *asked;
	int fd;
};

enum stop_step { STOP_NOT, STOP_FRONT, STOP_BACK };

struct master {
	struct arena *arena;
	struct loop *loop;
	struct source source;
	const char *exe; /* our own file */
	uint64_t exe_mark;
	char **argv;
	struct inheritance given; /* by whoever started us */
	bool again; /* we were another program before */
	bool launcher; /* only agents and sessions; the rest is systemd's */
	uint64_t tls_seen, tls_refused; /* marks */
	struct generation *now;
	struct team teams[ROLES_MOST];
	size_t team_count;
	struct ask_socket *asks;
	size_t ask_count;
	struct peers peers;
	bool root;
	int no_network; /* see sys/sandbox; -1 */
	bool announce;
	bool recovered; /* imapd and pop3d may serve */
	bool ready;
	bool stopping;
	enum stop_step stop_step;
	int exit_status;
};

void teams_init(struct master *m);
struct team *team_of(struct master *m, const struct role *role);
/* The number of the configuration at this offset. */
int64_t team_number(const struct team *t, size_t offset);
/* Starts what the team lacks; call after anything changed. */
void team_tend(struct team *t);
void teams_tend(struct master *m);
/* One more child; false when it cannot be started now. */
bool team_start(struct team *t, const struct start *with);
/* Tells all of it to finish. */
void team_retire(struct team *t);
/* Lets those go whom nobody needed for a while; runs by itself. */
void teams_sweep(void *ctx);
/* Collects the dead. */
void teams_reap(struct master *m);
void teams_signal(struct master *m, int signal);
/* All that there are. */
int64_t teams_children(const struct master *m);

/* -------------------------------------------------------------- sockets */

/* One suratd a runtime directory; false with complaints.  The lock goes with
 * the process. */
bool sockets_lock(const struct master *m, struct buf *errors);
/* Directories below RUNTIME and the sockets of ASK_LINKS in them. */
bool sockets_make(struct master *m, struct buf *errors);

/* The configuration without secrets, where people's commands find it. */
void sockets_publish(const struct master *m);

/* ------------------------------------------------------- control, ready */

/* Listens for those who may ask master. */
void control_open(struct master *m);
/* Re-reads the configuration; a status says why not. */
struct status control_reload(struct master *m, struct arena *a);

/* Our own file is another one; NULL-ended argv and the sockets go along. */
bool upgrade_is_due(const struct master *m);
/* Soon; false when the new program would not start. */
bool upgrade(struct master *m);
/* Takes over the children of the program we were before, if there was one. */
void upgrade_adopt(struct master *m);

/* Every port answers and the queue has recovered?  Then says so, once. */
void ready_look(struct master *m);
/* A team fails at the start: nobody is to wait for ready in vain. */
void ready_despair(struct master *m, const struct team *t);

/* Ends everything, step by step; loop_run returns when all are gone. */
void stop_begin(struct master *m, int exit_status);
/* Called when a child is gone. */
void stop_look(struct master *m);

#endif
