/* SPDX-License-Identifier: ISC */
/*
 * auth: who may log in, and where mail for an address goes.
 *
 *	users.c		the users table
 *	aliases.c	aliases(5)
 *	tables.c	noticing that either changed, keeping the last good
 *	lookup.c	an address to its recipients: rcpt_lookup, route
 *	login.c		SASL dialogues, the answer after a delay, handing over
 *	password.c	what a stored secret says of a password; the cache
 *	hasher.c	worker processes for the slow part of that
 *	main.c		service row
 *
 * The only reader of secrets. It never waits: slow hashes are computed by
 * hashers, delays are timers.
 */
#ifndef AUTH_AUTH_H
#define AUTH_AUTH_H

#include "ask/messages.h"
#include "ask/peers.h"
#include "base/map.h"
#include "base/status.h"
#include "base/str.h"
#include "sys/loop.h"
#include "sys/service.h"

struct buf;
struct hashers;

/* ---------------------------------------------------------------- tables */

/* name:{SCHEME}secret:uid:gid:gecos:home:shell:options */
struct user {
	struct str name; /* lower case: "alice" or "alice@example.org" */
	struct str secret; /* with its scheme */
	struct str ids; /* "uid:gid", or "-" */
	struct str home;
	bool disabled; /* may not log in; mail is still taken */
};

struct users {
	struct arena *arena;
	struct map *by_name;
};

/* Parses a table; NULL with every mistake as "FILE:LINE: what" when any line
 * is wrong.  home_of fills in what a line leaves empty. */
struct users *users_parse(struct arena *a, struct str text, const char *name,
	struct str mail_root, struct buf *errors);
struct user *users_find(const struct users *u, struct str name);

struct aliases {
	struct arena *arena;
	struct map *by_name; /* lower-case key to struct str_list */
};

/* aliases(5): "name: target, target", continuation by leading blanks, quoted
 * names, comments.  Files, pipes and :include: are refused with their line. */
struct aliases *aliases_parse(struct arena *a, struct str text,
	const char *name, struct buf *errors);
const struct str_list *aliases_find(const struct aliases *x, struct str name);

struct auth {
	struct program *program;
	const struct conf *conf;
	struct arena *arena;
	struct loop *loop;
	struct peers peers;
	struct asker *master;
	struct users *users;
	struct aliases *aliases;
	int64_t tables_checked; /* boot clock, ms */
	struct table_file {
		const char *path;
		int64_t changed; /* ns, and size: as last read */
		int64_t size;
	} users_file, aliases_file;
	struct hashers *hashers;
	struct map *cache; /* HMAC to expiry */
	char cache_key[32];
};

/* First use: a missing users file is an empty table. */
void tables_start(struct auth *x);
/* At most once a second: reads a changed file; a broken one is logged and the
 * last good state kept. */
void tables_refresh(struct auth *x);

/* ---------------------------------------------------------------- lookup */
bool lookup_is_local(const struct auth *x, struct str domain);
/* The user who logs in by this name, or NULL. */
struct user *lookup_login(const struct auth *x, struct str name);
/* Addresses the user may send from. */
struct str_list lookup_senders(struct auth *x, struct arena *a,
	const struct user *u);
void lookup_rcpt(struct auth *x, struct arena *a, struct str address,
	struct msg_rcpt_result *out);
void lookup_route(struct auth *x, struct arena *a, struct str address,
	struct msg_route_result *out);

/* ----------------------------------------------------------------- login */
void login_step(struct peer *p, struct arena *a, struct message *m);
void login_closed(struct peer *p);

/* -------------------------------------------------------------- password */
enum verdict { VERDICT_RIGHT, VERDICT_WRONG, VERDICT_HASH };
/* Compares where that takes no time; VERDICT_HASH: ask a hasher about
 * *hash. */
enum verdict password_check(struct arena *a, struct str secret,
	struct str password, struct str *hash);
/* A hash nobody has a password for, as costly as a real one. */
struct str password_decoy(void);
bool cache_has(struct auth *x, struct arena *a, const struct user *u,
	struct str password);
void cache_add(struct auth *x, struct arena *a, const struct user *u,
	struct str password);

/* ---------------------------------------------------------------- hasher */
typedef void (*hashed_fn)(void *ctx, bool right);
/* Before confinement: forks the workers. */
struct hashers *hashers_fork(struct program *p, size_t count);
void hashers_start(struct hashers *h, struct loop *l);
/* fn is called once, later; false when too many wait (answer: later). */
bool hashers_ask(struct hashers *h, struct str hash, struct str password,
	hashed_fn fn, void *ctx);

#endif
