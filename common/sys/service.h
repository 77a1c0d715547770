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
 *	certificate, key	the files of tls.certificate and tls.key, opened by
 *			the starter because only root may (program_open)
 * Started without suratd (by systemd or by hand) there is no config or master
 * descriptor; the file named by --config or /etc/surat/surat.conf is read, and
 * a starter with NOTIFY_SOCKET hears READY=1.
 *
 * A program has the ids it runs under from its first instruction on.  When
 * SURAT_ROOT names a directory, it makes that its root directory before it
 * reads from anybody.
 */
#ifndef SYS_SERVICE_H
#define SYS_SERVICE_H

#include "base/str.h"
#include "sys/conf.h"
#include "sys/inherit.h"
#include "sys/net.h"
#include "sys/sandbox.h"

struct arena;
struct service;

struct program {
	const char *name;
	const struct service *service;
	struct arena *arena; /* the process's */
	const struct conf *conf;
	struct inherited *fds;
	size_t fd_count;
	struct str sockets; /* where its askings go (ask/link.h); "" = root */
	struct str root; /* the directory that is / now; "": as for everybody */
	struct str hostname;
	int argc; /* what is left after the skeleton's own options */
	char **argv;
	void *ctx; /* the program's own */
};

/* A client just accepted, or the one session of inetd. */
struct client {
	int in, out; /* the same socket, or a pair of pipes */
	struct str service; /* smtp, submission, ...; or ask.NAME */
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
	unsigned profile; /* of sys/sandbox.h */
	/* Opens what has to be open before rights are given up.  May be
	 * NULL. */
	void (*prepare)(struct program *p);
	/* What a program with that right may change and read below
	 * (NULL-ended, in the arena), and TCP ports it may connect to; may be
	 * NULL. */
	const char **(*trees)(struct program *p);
	const char **(*readable)(struct program *p);
	const char **(*lockable)(struct program *p);
	const uint16_t *(*ports)(struct program *p);
	unsigned files; /* most open descriptors; 0: as many as allowed */
	unsigned megabytes; /* most memory; 0: the usual gigabyte */
	/* One of the two: */
	void (*run)(struct program *p);
	bool inetd; /* run: with -i one client on standard input */
	enum served (*serve)(struct program *p, struct client *c);
	/* serve: what is said to who comes when too many wait already; NULL:
	 * all are served.  Where TLS comes first an alert is. */
	const char *too_busy;
	/* serve: also those who come to ask, on sockets ask.<asker>. */
	bool answers;
	unsigned max_clients; /* serve: then retire; 0: 100 */
	/* serve without suratd: offsets in struct conf of how many workers wait
	 * and how many there may be. */
	size_t idle, most;
	const char *usage; /* one paragraph for --help */
};

/* Opens the log as the configuration wants it. */
void service_log(const char *name, const struct conf_log *c);

/* Never returns but with the exit status. */
int service_main(const struct service *s, int argc, char **argv);

/* The inherited descriptor of that name, the nth of several; -1. */
int program_fd(const struct program *p, const char *name, size_t nth);

/* For a helper process forked in prepare: gives up rights as the program
 * itself will, with rights and what it may read (or NULL) of its own. */
void program_confine(struct program *p, unsigned rights,
	const char *const *readable);

/* A path of the configuration as this program has to call it: its root
 * directory may lie above. */
struct str program_path(const struct program *p, struct str path);

/* For prepare: the starter's descriptor of that name, or the file itself;
 * -1 with errno. */
int program_open(const struct program *p, const char *name, struct str path);

/* Told to end, is another one there already?  suratd starts it first; systemd
 * does when this one is gone. */
bool program_has_successor(const struct program *p);
/* How long what was begun may take then, ms: at most that, and without a
 * successor, for whom everybody waits, a moment. */
int64_t program_grace(const struct program *p, int64_t most);

/* From now on SIGTERM ends nothing by itself but makes this descriptor
 * readable, so that a session can say good bye. */
int program_stop_fd(void);

/* A fresh id for a session: time and random, 12 letters and digits, sorts
 * roughly by time. */
struct str program_session_id(struct arena *a);

#endif
