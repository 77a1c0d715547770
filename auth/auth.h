/* SPDX-License-Identifier: ISC */
/*
 * auth: who may log in, and where mail for an address goes.
 *
 *	users.c		the users table
 *	aliases.c	aliases(5)
 *	tables.c	noticing that either changed, keeping the last good
 *	lookup.c	an address to its recipients: rcpt_lookup, route
 *	client.c	smtpd's clients: who may stay, what they did
 *	limits.c	what client blocks and accounts have done lately
 *	login.c		SASL dialogues, the answer after a delay, handing over
 *	password.c	what a stored secret says of a password; the cache
 *	scram.c		stored and derived secrets for SCRAM
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
#include "mail/sasl.h"
#include "sys/loop.h"
#include "sys/service.h"

struct buf;
struct dialogue;
struct hashers;
struct limits;

/* ---------------------------------------------------------------- tables */

/* name:{SCHEME}secret:uid:gid:gecos:home:shell:options */
struct user {
	struct str name; /* lower case: "alice" or "alice@example.org" */
	struct str secret; /* with its scheme; several, a blank between */
	struct str ids; /* "uid:gid", or "-" */
	struct str home;
	bool disabled; /* may not log in; mail is still taken */
};

struct users {
	struct arena *arena;
	struct map *by_name;
	/* Can every one of them log in by that mechanism? */
	bool scram_sha_1, scram_sha_256;
	bool any_plain; /* some secrets are passwords */
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
	struct limits *limits;
	struct map *cache; /* HMAC to expiry */
	char cache_key[32];
	char decoy_key[32]; /* for salts of users who are not there */
};

/* Who asks, one for each connection: the client it serves, the login it has
 * under way. */
struct caller {
	struct auth *auth;
	struct dialogue *dialogue;
	bool serving;
	char block[20]; /* key of its client's block */
	size_t block_n; /* 0: exempt */
};

/* Of this peer, made when first needed. */
struct caller *caller_of(struct peer *p);
void caller_closed(struct peer *p);
struct str caller_block(const struct caller *c);

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

/* ---------------------------------------------------------------- client */
void client_message(struct peer *p, struct arena *a, struct message *m);

/* ---------------------------------------------------------------- limits */
struct limits *limits_new(struct arena *a);
/* The key of an address's block; empty: nothing limits it. */
struct str limits_block(const struct auth *x, struct arena *a, struct str ip);
/* A connection comes: later when it may not stay; goes, having made errors. */
struct status limits_enter(struct auth *x, struct str block);
void limits_leave(struct auth *x, struct str block, int64_t errors);
struct status limits_recipient(struct auth *x, struct str block);
/* Workers that serve a client, and what part of all they are, in percent. */
void limits_count(struct auth *x, int change);
int64_t limits_busy(const struct auth *x);
/* Did this address wait for our greeting within a day? */
bool limits_is_known(const struct auth *x, struct str ip);
void limits_passed(struct auth *x, struct str ip);
bool limits_may_login(struct auth *x, struct str block, struct str name);
/* How long to wait before the answer, in ms. */
int64_t limits_login_failed(struct auth *x, struct str block, struct str name);
void limits_login_worked(struct auth *x, struct str block, struct str name);

/* ----------------------------------------------------------------- login */
void login_step(struct peer *p, struct arena *a, struct message *m);
/* The asker is gone. */
void login_forget(struct dialogue *d);

/* -------------------------------------------------------------- password */
enum verdict { VERDICT_RIGHT, VERDICT_WRONG, VERDICT_HASH };
/* Compares where that takes no time; VERDICT_HASH: ask a hasher about
 * *hash. */
enum verdict password_check(struct arena *a, struct str secret,
	struct str password, struct str *hash);
/* A hash nobody has a password for, as costly as a real one. */
struct str password_decoy(void);
/* Takes one secret off the front of a user's: schemes are parted by blanks. */
bool password_next(struct str *secrets, struct str *secret);
bool cache_has(struct auth *x, struct arena *a, const struct user *u,
	struct str password);
void cache_add(struct auth *x, struct arena *a, const struct user *u,
	struct str password);

/* ----------------------------------------------------------------- scram */
/* What a user's secrets hold for a mechanism. */
enum scram_find { SCRAM_NONE, SCRAM_STORED, SCRAM_DERIVE };
/* SCRAM_STORED: *out is it; SCRAM_DERIVE: *password is what to derive it
 * from. */
enum scram_find scram_find(struct arena *a, struct str secrets,
	enum sasl_mechanism m, struct sasl_secret *out, struct str *password);
/* "{SCRAM-SHA-256}iterations,salt,stored,server"; false for anything else. */
bool scram_parse(struct arena *a, struct str secret, enum sasl_mechanism *m,
	struct sasl_secret *out);
/* The salt for a name, the same every time, whether there is such a user or
 * not. */
struct str scram_salt(const struct auth *x, struct arena *a, struct str name);
/* A secret nobody can prove to know. */
struct sasl_secret scram_decoy(struct arena *a, struct str salt);
/* What a hasher is asked, and its answer taken apart. */
struct str scram_question(struct arena *a, enum sasl_mechanism m,
	struct str salt);
bool scram_answer(struct arena *a, struct str answer, struct str salt,
	struct sasl_secret *out);
/* Names of the mechanisms to offer, without -PLUS. */
struct str_list scram_offer(const struct auth *x, struct arena *a);

/* ---------------------------------------------------------------- hasher */
/* The answer to a password check is "1" or "0". */
typedef void (*hashed_fn)(void *ctx, struct str answer);
/* Before confinement: forks the workers. */
struct hashers *hashers_fork(struct program *p, size_t count);
void hashers_start(struct hashers *h, struct loop *l);
/*
 * hash: of crypt(3), or a SCRAM secret, to be compared with the password's; or
 * a question of scram_question.  fn is called once, later; false when too
 * many wait (answer: later).
 */
bool hashers_ask(struct hashers *h, struct str hash, struct str password,
	hashed_fn fn, void *ctx);

#endif
