/* SPDX-License-Identifier: ISC */
/*
 * service: what every program does before and around its own work.
 *
 * A program's main() is one row and one call.  The skeleton takes the
 * inherited descriptors (systemd's LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES),
 * reads the configuration snapshot, opens the log, gives up rights, and then
 * either runs the program's loop or serves one client after another.
 *
 * Names of inherited descriptors:
 *	smtp, submission, submissions, lmtp, imap, imaps, pop3, pop3s
 *			stream sockets to accept clients on; with ".proxy"
 *			behind the name a PROXY header comes before each
 *	ask.<asker>	SEQPACKET sockets on which <asker> asks this program
 *	config		the checked configuration text
 *	master		SEQPACKET link to the starter: "-" says that a program
 *			has come up or a worker waits for a client, "+" that it
 *			took one; a session finds its session_start here; its
 *			end means the starter is gone: finish and exit
 *	queue		an agent's link to the queue
 * Started without suratd (by systemd or by hand) there is no config or master
 * descriptor; the file named by --config or /etc/surat/surat.conf is read.
 */
#ifndef SYS_SERVICE_H
#define SYS_SERVICE_H

#include "base/str.h"
#include "sys/conf.h"
#include "sys/net.h"

struct arena;

/* System call classes, reliability rule by rule: what is left to a program
 * once it is confined. */
enum sandbox_profile {
	SANDBOX_NONE, /* master and the operator's commands */
	SANDBOX_PURE, /* inherited descriptors only */
	SANDBOX_FILES, /* and files passed as descriptors */
	SANDBOX_TREE, /* and paths below its own directories */
	SANDBOX_ASKER, /* and connecting to its sockets */
	SANDBOX_NETWORK, /* and internet sockets */
};

struct inherited {
	const char *name;
	int fd;
};

struct program {
	const char *name;
	struct arena *arena; /* the process's */
	const struct conf *conf;
	struct inherited *fds;
	size_t fd_count;
	struct str sockets; /* where its askings go (ask/link.h); "" = root */
	struct str hostname;
	int argc; /* what is left after the skeleton's own options */
	char **argv;
	void *ctx; /* the program's own */
};

/* A client just accepted, or the one session of inetd. */
struct client {
	int in, out; /* the same socket, or a pair of pipes */
	struct str service; /* smtp, submission, ... */
	bool tls; /* implicit TLS is to be started first */
	bool inetd;
	bool proxy; /* peer and local are what a PROXY header says */
	struct net_address peer, local;
};

enum served {
	SERVED_AGAIN, /* ready for the next client */
	SERVED_RETIRE, /* this process has seen secrets or somebody's mail */
};

struct service {
	const char *name;
	const char *asker; /* its directory of sockets; NULL: asks nobody */
	enum sandbox_profile profile;
	/* Opens what has to be open before rights are given up.  May be
	 * NULL. */
	void (*prepare)(struct program *p);
	/* Directories (NULL-ended, in the arena) that a TREE program may use;
	 * called with the program's own ids.  May be NULL. */
	const char **(*trees)(struct program *p);
	/* One of the two: */
	void (*run)(struct program *p);
	enum served (*serve)(struct program *p, struct client *c);
	unsigned max_clients; /* serve: then retire; 0: 1000 */
	const char *usage; /* one paragraph for --help */
};

/* Never returns but with the exit status. */
int service_main(const struct service *s, int argc, char **argv);

/* The inherited descriptor of that name, the nth of several; -1. */
int program_fd(const struct program *p, const char *name, size_t nth);

/* For a helper process forked in prepare: gives up rights as the program
 * itself will, into a profile and directories (or NULL) of its own. */
void program_confine(struct program *p, enum sandbox_profile profile,
	const char *const *trees);

/* From now on SIGTERM ends nothing by itself but makes this descriptor
 * readable, so that a session can say good bye. */
int program_stop_fd(void);

/* A fresh id for a session: time and random, 12 letters and digits, sorts
 * roughly by time. */
struct str program_session_id(struct arena *a);

#endif
