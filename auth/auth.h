/* SPDX-License-Identifier: ISC */
/*
 * auth: who may log in, and where mail for an address goes.
 *
 *	users.c		the users table
 *	aliases.c	aliases(5)
 *	pipes.c		accounts under which commands run
 *	table*.c	tables of every kind (table.h)
 *	tables.c	those of the configuration, kept fresh
 *	lookup.c	an address to its recipients
 *	senders.c	addresses as senders: whose they are, how they are shown
 *	policy.c	rules: may mail be taken for a recipient?
 *	finder.c	worker processes for tables that may be slow
 *	room.c		is there room in an account?  a local agent is asked
 *	client.c	smtpd's clients: who may stay, what they did
 *	limits.c	what client blocks and accounts have done lately
 *	login.c		SASL dialogues, the answer after a delay, handing over
 *	password.c	what a stored secret says of a password; the cache
 *	digest.c	hashes of other servers' tables that are digests
 *	kdf.c		and those that are slow
 *	scram.c		stored and derived secrets for SCRAM
 *	hasher.c	worker processes for the slow part of that
 *	pam.c		and those that ask PAM
 *	figures.c	what is counted
 *	main.c		service row
 *
 * The only reader of secrets. It never waits: slow hashes are computed by
 * hashers, servers of tables are asked by finders, delays are timers.
 */
#ifndef AUTH_AUTH_H
#define AUTH_AUTH_H

#include "ask/figures.h"
#include "ask/messages.h"
#include "ask/peers.h"
#include "base/map.h"
#include "base/status.h"
#include "base/str.h"
#include "mail/sasl.h"
#include "sys/loop.h"
#include "sys/policy.h"
#include "sys/service.h"
#include "table.h"

struct buf;
struct dialogue;
struct finders;
struct hashers;
struct limits;
struct rooms;

/* ----------------------------------------------------------- users.c */

/* name:{SCHEME}secret:uid:gid:gecos:home:shell:options */
struct user {
	struct str name; /* lower case: "alice" or "alice@example.org" */
	struct str secret; /* with its scheme; several, a blank between */
	struct str ids; /* "uid:gid", or "-" */
	struct str home;
	bool disabled; /* may not log in; mail is still taken */
	struct str_list nets, protocols; /* where and for what; none: any */
	struct user_limit {
		bool is_set;
		int64_t value;
	} quota, quota_messages, quota_warn; /* not set: as configured */
	struct str rest; /* from another table: what stands there; else empty */
};

struct users {
	struct arena *arena;
	struct map *by_name;
	/* Can every one of them log in by that mechanism? */
	bool scram_sha_1, scram_sha_256;
	bool any_plain; /* some secrets are passwords */
	bool broken; /* nobody was read: the first reading had mistakes */
	/* What shows who exists, unless it is the same for who does not: */
	size_t most_hashes; /* that one of them has; at least 1 */
	struct str_list samples; /* hashes of some */
	uint32_t iterations; /* of stored SCRAM secrets; 0: there are none */
};

/* Parses a table; NULL with every mistake as "FILE:LINE: what" when any line
 * is wrong.  mail_root fills in what a line leaves empty. */
struct users *users_parse(struct arena *a, struct str text, const char *name,
	struct str mail_root, struct buf *errors);
/* One line; NULL, or what is wrong with it. */
const char *users_parse_line(struct arena *a, struct str line,
	struct str mail_root, struct user *out);
/* How much the user may hold, for the messages: "octets messages warn
 * later". */
struct str users_limits(struct arena *a, const struct conf *c,
	const struct user *u);
struct user *users_find(const struct users *u, struct str name);
/* May the user log in for this service (smtp, submission, imap, pop3), from
 * this address? */
bool users_may_login(const struct user *u, struct str service,
	struct str client);

/* ----------------------------------------------------------- aliases.c */

struct alias {
	struct str_list targets;
	struct str where; /* "FILE:LINE" */
};

struct aliases {
	struct arena *arena;
	struct map *by_name; /* lower-case key to struct alias */
	struct watched *includes;
	size_t include_count;
	bool broken; /* none was read, as with users */
};

/* aliases(5): "name: target, target", continuation by leading blanks, quoted
 * names, comments, :include:.  Files are refused with their line, and commands
 * unless they may be; a target that begins with a bar is one. */
struct aliases *aliases_parse(struct arena *a, struct str text,
	const char *name, bool commands, struct buf *errors);
const struct alias *aliases_find(const struct aliases *x, struct str name);
/* The right side of an entry, from a table; false when it is none. */
bool aliases_targets(struct arena *a, struct str text, struct str_list *out);
/* Is an included file another than was read? */
bool aliases_changed(struct aliases *x);

/* ---------------------------------------------------------------- auth */

/* later: too busy, or no session could be started. */
enum login_result {
	LOGIN_WORKED,
	LOGIN_FAILED,
	LOGIN_BANNED,
	LOGIN_LATER,
	LOGIN_RESULTS
};

enum { FIGURE_PROTOCOLS = 6 };

struct figures {
	int64_t logins[FIGURE_PROTOCOLS][LOGIN_RESULTS];
	int64_t clients[FIGURE_PROTOCOLS][2]; /* refused, admitted */
	struct histogram login;
};

struct auth {
	struct program *program;
	const struct conf *conf;
	struct arena *arena;
	struct loop *loop;
	struct peers peers;
	struct asker *master;
	struct loop_watch *master_watch;
	struct users *users;
	struct aliases *aliases;
	int64_t tables_checked; /* boot clock, ms */
	unsigned tables_read; /* how often any was */
	struct watched users_file, aliases_file;
	struct table **tables; /* that options name */
	size_t table_count;
	struct policy_rule *rules;
	size_t rule_count;
	struct str mbox_gid; /* of general.mbox_group; empty: Maildirs */
	struct pipe_user *pipe_users; /* one for each of pipe.commands */
	struct finders *finders; /* NULL: every table answers at once */
	struct hashers *hashers;
	struct hashers *pam; /* NULL: PAM is not asked */
	struct limits *limits;
	struct rooms *rooms;
	struct figures figures;
	struct map *cache; /* HMAC to expiry */
	char cache_key[32];
	char decoy_key[32]; /* for salts of users who are not there */
};

/* Who asks, one for each connection: the client it serves, the login it has
 * under way. */
/* Whose workers a client is served by. */
enum client_pool { POOL_SMTP, POOL_IMAP, POOL_POP3, POOLS };

struct caller {
	struct auth *auth;
	struct dialogue *dialogue;
	bool serving;
	enum client_pool pool;
	char block[20]; /* key of its client's block */
	size_t block_n; /* 0: exempt */
};

/* ------------------------------------------------------------- pipes.c */
/* As whom commands run: the accounts that pipe.commands names. */
struct pipe_user {
	struct str name, ids, home;
	bool known;
};

/* Before confinement.  Who does not exist is a line in errors. */
void pipes_open(struct auth *x, struct buf *errors);
/* As whom the command of that name runs; NULL: as nobody there is. */
const struct pipe_user *pipes_find(const struct auth *x, struct str command);

/* Of this peer, made when first needed. */
struct caller *caller_of(struct peer *p);
void caller_closed(struct peer *p);
struct str caller_block(const struct caller *c);

/* -------------------------------------------------------------- tables.c */
/* The tables and rules of the configuration; reads no file yet. */
void tables_open(struct auth *x);
/* First reading: a missing users file is an empty table.  With a loop they are
 * looked at from then on. */
enum { TABLES_CHECK_MS = 1000 };
void tables_start(struct auth *x);
/* For `surat check`: every mistake in them, "FILE:LINE: what". */
void tables_check(const struct auth *x, struct buf *errors);
/* At most once a second: reads changed files; a broken one is logged and the
 * last good state kept. */
void tables_refresh(struct auth *x);
/* Looks again, whenever that was; true when any has changed. */
bool tables_look_again(struct auth *x);
struct table *tables_get(const struct auth *x, struct str ref);

/* -------------------------------------------------------------- lookup.c */

/* One question about addresses.  Results live in the arena. */
struct lookup {
	const struct auth *auth;
	struct arena *arena;
	struct str_list *why; /* reasons are gathered here; NULL: nobody asks */
	bool later; /* a table could not be asked */
	bool unknown; /* somebody was not found */
	struct str domain_where; /* of the table that lists the domain, or empty */
};

enum domain_class {
	DOMAIN_ELSEWHERE,
	DOMAIN_LOCAL, /* every user has an address in it */
	DOMAIN_VIRTUAL, /* users and aliases with that very domain */
	DOMAIN_ALIAS, /* such aliases only */
	DOMAIN_RELAY, /* mail is passed on */
};

void lookup_why(struct lookup *l, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* The first of the tables that knows the key; l->later is set when one could
 * not be asked. */
bool lookup_table(struct lookup *l, const struct str_list *refs,
	struct str key, struct table_value *out);
enum domain_class lookup_domain(struct lookup *l, struct str domain);
bool lookup_is_postmaster(struct str local);
/* The user who logs in by this name, or NULL. */
const struct user *lookup_login(struct lookup *l, struct str name);
/* Is there somebody of that address?  Fine for other people's domains.  user:
 * whose alone it is, or NULL. */
struct status lookup_rcpt(struct lookup *l, struct str address,
	enum domain_class *class, const struct user **user);
void lookup_route(struct lookup *l, struct str address,
	struct msg_route_result *out);
void lookup_routes(struct lookup *l, struct str_list addresses,
	struct msg_routes_result *out);

/* ------------------------------------------------------------- senders.c */
/* Addresses the user may send from, as far as they can be listed. */
struct str_list senders_of(const struct auth *x, struct arena *a,
	const struct user *u);
/* As the outside is to see it. */
struct str senders_rewrite(struct lookup *l, struct str address);
void senders_answer(struct lookup *l, const struct msg_sender *q,
	struct msg_sender_result *out);

/* -------------------------------------------------------------- policy.c */
void policy_decide(struct lookup *l, const struct msg_rcpt_lookup *q,
	struct msg_rcpt_result *out);

/* ---------------------------------------------------------------- main.c */
/* The directories its tables lie in, NULL-ended. */
const char **auth_trees(struct program *p);

/* -------------------------------------------------------------- finder.c */
/* Before confinement: forks workers when a table is slow. */
struct finders *finders_fork(struct auth *x);
void finders_start(struct finders *f, struct auth *x);
/* Has the question answered by a worker, each peer's in order.  False when
 * there are none: answer it yourself. */
bool finders_ask(struct finders *f, struct peer *p, const struct message *m);
/* Who logs in by that name (lookup_login): fn is called once, later, with an
 * answer of kind login_found.  False as above. */
typedef void (*found_fn)(void *ctx, const struct message *m);
bool finders_ask_login(struct finders *f, struct str name, found_fn fn,
	void *ctx);
/* The peer is gone. */
void finders_forget(struct finders *f, struct peer *p);
/* The answer to one of the questions about addresses. */
bool finder_answer(struct auth *x, struct arena *a, const struct message *m,
	struct message *answer);

/* ---------------------------------------------------------------- room.c */
struct rooms *rooms_new(struct arena *a, struct loop *l);
/* Sends the answer; one that names a home only when there is room in it. */
void rooms_answer(struct auth *x, struct peer *p, struct message *answer);
/* The peer is gone. */
void rooms_forget(struct auth *x, struct peer *p);

/* ---------------------------------------------------------------- client */
void client_message(struct peer *p, struct arena *a, struct message *m);

/* ---------------------------------------------------------------- limits */
struct limits *limits_new(struct arena *a);
/* The key of an address's block; empty: nothing limits it. */
struct str limits_block(const struct auth *x, struct arena *a, struct str ip);
/* A connection comes: later when it may not stay; goes, having made errors. */
struct status limits_enter(struct auth *x, struct str block);
void limits_leave(struct auth *x, struct str block, int64_t errors);
/* The same of one who has yet to log in, at IMAP or POP3: only when there is
 * hardly a worker left has a block no more than its share of them. */
struct status limits_admit(struct auth *x, struct str block,
	enum client_pool pool);
void limits_depart(struct auth *x, struct str block);
/* One of it kept a worker while others waited for that: for the length of
 * limit.pause later is the answer to who comes from there, in IMAP and POP3 as
 * long as hardly a worker is left. */
void limits_slow(struct auth *x, struct str block);
struct status limits_recipient(struct auth *x, struct str block);
/* The same for one who logged in, wherever from. */
struct status limits_account(struct auth *x, struct str user,
	struct str sender);
/* Workers that serve a client, and what part of all they are, in percent. */
void limits_count(struct auth *x, enum client_pool pool, int change);
int64_t limits_busy(const struct auth *x, enum client_pool pool);
/* Did this address wait for our greeting within a day? */
bool limits_is_known(const struct auth *x, struct str ip);
void limits_passed(struct auth *x, struct str ip);
bool limits_may_login(struct auth *x, struct str block, struct str name);
/* How long to wait before the answer, in ms. */
int64_t limits_login_failed(struct auth *x, struct str block, struct str name);
void limits_login_worked(struct auth *x, struct str block, struct str name);

/* --------------------------------------------------------------- figures */
/* began: of its first step, by clock_us. */
void figures_login(struct auth *x, struct str service,
	enum login_result result, int64_t began);
/* One smtpd asked about. */
void figures_client(struct auth *x, struct str service, bool admitted);
void figures_tell(struct peer *p, struct arena *a, struct message *m);

/* ----------------------------------------------------------------- login */
void login_step(struct peer *p, struct arena *a, struct message *m);
/* Is it in the middle of a dialogue? */
bool login_is_busy(const struct peer *p);
/* The asker is gone. */
void login_forget(struct dialogue *d);

/* -------------------------------------------------------------- password */
/* Is it one of the secrets that stand there in the clear? */
bool password_is_plain(struct str secrets, struct str password);
/* Takes the next one off the front that a hasher can be asked about; false
 * when there is none left. */
bool password_hash(struct arena *a, struct str *secrets, struct str *hash);
/* Is it one of the user's app passwords?  label: which. */
bool password_is_app(struct arena *a, struct str secrets, struct str password,
	struct str *label);
bool password_has_app(struct str secrets);
/* "{APP}label,digest" taken apart; false for anything else. */
bool app_parse(struct arena *a, struct str secret, struct str *label,
	struct str *digest);
/* Is that hash one that auth.weak_hashes is about? */
bool password_is_weak(struct str secret);
/* Is it no hash, but said to be known to PAM? */
bool password_is_pam(struct str secret);
/* A hash nobody has a password for, as costly as a real one. */
struct str password_decoy(void);
/* What to hash for a user who has none, or is none: something of the cost of
 * other users' hashes, the same each time. */
struct str password_stand_in(const struct auth *x, struct str name);
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
/* A secret nobody can prove to know, with others' iterations (0: usual). */
struct sasl_secret scram_decoy(
	struct arena *a, struct str salt, uint32_t iterations);
/* What a hasher is asked, and its answer taken apart. */
struct str scram_question(struct arena *a, enum sasl_mechanism m,
	struct str salt);
bool scram_answer(struct arena *a, struct str answer, struct str salt,
	struct sasl_secret *out);
/* Names of the mechanisms to offer, without -PLUS. */
struct str_list scram_offer(const struct auth *x, struct arena *a);

/* ---------------------------------------------------------------- digest */
/* Is it a hash of one of the schemes that are a digest and perhaps a salt? */
bool digest_is(struct str secret);
bool digest_agrees(struct arena *a, struct str secret, struct str password);

/* ------------------------------------------------------------------- kdf */
/* Is it a slow hash that is not crypt(3)'s? */
bool kdf_is(struct str secret);
bool kdf_agrees(struct arena *a, struct str secret, struct str password);

/* ---------------------------------------------------------------- hasher */
/* The answer to a password check is "1" or "0". */
typedef void (*hashed_fn)(void *ctx, struct str answer);
/* What workers do, and what they may. */
struct hasher_work {
	const char *name;
	unsigned rights;
	const char *const *readable;
	/* To "hash NUL password NUL", of which n octets were sent. */
	struct str (*answer)(struct arena *a, const char *question, size_t n);
};
extern const struct hasher_work hasher_hashes;
/* Before confinement: forks the workers. */
struct hashers *hashers_fork(
	struct program *p, const struct hasher_work *what, size_t count);
void hashers_start(struct hashers *h, struct loop *l);
/*
 * hash: of crypt(3), or a SCRAM secret, to be compared with the password's; or
 * a question of scram_question.  fn is called once, later; false when too
 * many wait (answer: later).
 */
bool hashers_ask(struct hashers *h, struct str hash, struct str password,
	hashed_fn fn, void *ctx);

/* ------------------------------------------------------------------- pam */
/* Before confinement: the workers that ask auth.pam; NULL when it is empty.
 * That this build has no PAM is a line in errors. */
struct hashers *pam_fork(struct auth *x, struct buf *errors);
/* What they are asked about a user at this address. */
struct str pam_question(
	const struct auth *x, struct arena *a, struct str user,
	struct str client);

#endif
