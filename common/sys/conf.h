/* SPDX-License-Identifier: ISC */
/*
 * conf: the configuration snapshot.
 *
 * suratd (or a program started by itself) reads surat.conf once, checks it,
 * and hands the checked text to every child as a descriptor; all processes of
 * one generation see one configuration.  libconfuse only ever reads the
 * administrator's own file.  An unknown option, a value out of bounds or a
 * contradiction is an error with file and line, before anything starts.
 *
 * Members are named after the options: conf->smtp.max_size.  Sizes are octets,
 * durations seconds.  The struct and its texts belong to the arena and never
 * change; a reload makes a new generation of processes.
 */
#ifndef SYS_CONF_H
#define SYS_CONF_H

#include "base/str.h"

struct arena;
struct buf;

/* Where it is when nobody says otherwise (conf_file: the environment's
 * SURAT_CONF may), and what suratd lets everybody read of it: all but
 * passwords. */
#define CONF_FILE "/etc/surat/surat.conf"
#define CONF_PUBLISHED "/run/surat/sendmail/surat.conf"
const char *conf_file(void);

#define CONF_SECTIONS(S) \
	S(general) S(listen) S(log) S(tls) S(smtp) S(limit) S(policy) S(address) S(queue) S(remote) \
	S(pipe) S(resolve) S(auth) S(imap) S(pop3)

#define CONF_TYPE_NUMBER int64_t
#define CONF_TYPE_SIZE int64_t
#define CONF_TYPE_DURATION int64_t
#define CONF_TYPE_BOOL bool
#define CONF_TYPE_TEXT struct str
#define CONF_TYPE_LIST struct str_list
#define CONF_TYPE_LINES struct str_list

/*
 * The rows stand in one list, section after section.  A macro cannot filter
 * them by section, so every section is a struct with all members of its own
 * rows, made by one inclusion each with the others defined away.
 */
#define CONF_MEMBER(kind, name) CONF_TYPE_##kind name;

#define OPTION(section, name, kind, def, min, max, help) \
	CONF_IF_##section(CONF_MEMBER(kind, name))
#define CONF_IF_general(x)
#define CONF_IF_listen(x)
#define CONF_IF_log(x)
#define CONF_IF_tls(x)
#define CONF_IF_smtp(x)
#define CONF_IF_limit(x)
#define CONF_IF_policy(x)
#define CONF_IF_address(x)
#define CONF_IF_queue(x)
#define CONF_IF_remote(x)
#define CONF_IF_pipe(x)
#define CONF_IF_resolve(x)
#define CONF_IF_auth(x)
#define CONF_IF_imap(x)
#define CONF_IF_pop3(x)

#undef CONF_IF_general
#define CONF_IF_general(x) x
struct conf_general {
#include "sys/conf_options.h"
};
#undef CONF_IF_general
#define CONF_IF_general(x)

#undef CONF_IF_listen
#define CONF_IF_listen(x) x
struct conf_listen {
#include "sys/conf_options.h"
};
#undef CONF_IF_listen
#define CONF_IF_listen(x)

#undef CONF_IF_log
#define CONF_IF_log(x) x
struct conf_log {
#include "sys/conf_options.h"
};
#undef CONF_IF_log
#define CONF_IF_log(x)

#undef CONF_IF_tls
#define CONF_IF_tls(x) x
struct conf_tls {
#include "sys/conf_options.h"
};
#undef CONF_IF_tls
#define CONF_IF_tls(x)

#undef CONF_IF_smtp
#define CONF_IF_smtp(x) x
struct conf_smtp {
#include "sys/conf_options.h"
};
#undef CONF_IF_smtp
#define CONF_IF_smtp(x)

#undef CONF_IF_limit
#define CONF_IF_limit(x) x
struct conf_limit {
#include "sys/conf_options.h"
};
#undef CONF_IF_limit
#define CONF_IF_limit(x)

#undef CONF_IF_policy
#define CONF_IF_policy(x) x
struct conf_policy {
#include "sys/conf_options.h"
};
#undef CONF_IF_policy
#define CONF_IF_policy(x)

#undef CONF_IF_address
#define CONF_IF_address(x) x
struct conf_address {
#include "sys/conf_options.h"
};
#undef CONF_IF_address
#define CONF_IF_address(x)

#undef CONF_IF_queue
#define CONF_IF_queue(x) x
struct conf_queue {
#include "sys/conf_options.h"
};
#undef CONF_IF_queue
#define CONF_IF_queue(x)

#undef CONF_IF_remote
#define CONF_IF_remote(x) x
struct conf_remote {
#include "sys/conf_options.h"
};
#undef CONF_IF_remote
#define CONF_IF_remote(x)

#undef CONF_IF_pipe
#define CONF_IF_pipe(x) x
struct conf_pipe {
#include "sys/conf_options.h"
};
#undef CONF_IF_pipe
#define CONF_IF_pipe(x)

#undef CONF_IF_resolve
#define CONF_IF_resolve(x) x
struct conf_resolve {
#include "sys/conf_options.h"
};
#undef CONF_IF_resolve
#define CONF_IF_resolve(x)

#undef CONF_IF_auth
#define CONF_IF_auth(x) x
struct conf_auth {
#include "sys/conf_options.h"
};
#undef CONF_IF_auth
#define CONF_IF_auth(x)

#undef CONF_IF_imap
#define CONF_IF_imap(x) x
struct conf_imap {
#include "sys/conf_options.h"
};
#undef CONF_IF_imap
#define CONF_IF_imap(x)

#undef CONF_IF_pop3
#define CONF_IF_pop3(x) x
struct conf_pop3 {
#include "sys/conf_options.h"
};
#undef CONF_IF_pop3
#define CONF_IF_pop3(x)

#undef OPTION

struct conf {
#define CONF_SECTION_MEMBER(s) struct conf_##s s;
	CONF_SECTIONS(CONF_SECTION_MEMBER)
#undef CONF_SECTION_MEMBER
};

/*
 * Reads and checks; overrides are "section.option=value" and win over the
 * file.  NULL when anything is wrong, with every mistake as a line
 * "FILE:LINE: what, and what to do" appended to errors.  fd is read to its
 * end and not closed; name is for the messages.
 */
struct conf *conf_read(struct arena *a, int fd, const char *name,
	struct str_list overrides, struct buf *errors);

/* The effective configuration as text that conf_read takes back; of it the
 * value of the i-th of conf_options. */
void conf_write(const struct conf *c, struct buf *out);
void conf_write_value(const struct conf *c, size_t i, struct buf *out);

/* One row, for `surat config` and the manual page. */
struct conf_option {
	const char *section, *name, *kind, *def, *help;
};
const struct conf_option *conf_options(size_t *count);

/* general.hostname, or what the system calls itself. */
struct str conf_hostname(struct arena *a, const struct conf *c);

/* Is this domain one of general.domains (ASCII case-insensitive)? */
bool conf_is_local_domain(const struct conf *c, struct str domain);

/* "4096", "64k", "50m", "2g" to octets; false for anything else. */
bool conf_parse_size(struct str s, int64_t *octets);

#endif
