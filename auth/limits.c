/* SPDX-License-Identifier: ISC */
/*
 * What clients and accounts have done lately, for all smtpd, imapd and pop3d
 * processes: connections, recipients and errors of a block of addresses, failed
 * logins of a block and of an account.  In memory only, bounded, forgotten when
 * auth ends: a limit is no promise.
 *
 * A rate is a bucket that leaks: what comes in a minute fits, more is refused
 * until enough has leaked out.
 *
 * An account is banned for the blocks that guess, not for those its owner
 * logged in from: nobody can lock others out of their mail.
 */
#include "auth.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "sys/net.h"

#include <stdlib.h>

enum {
	MINUTE = 60 * 1000,
	ENTRIES_MOST = 100000, /* of each kind */
	HOMES = 4, /* blocks remembered an account was used from */
	KNOWN_MS = 24 * 60 * MINUTE,
	DELAY_DOUBLINGS = 4, /* of auth.failure_delay */
};

struct bucket {
	int64_t level; /* thousandths */
	int64_t when;
};

/* Failed logins within a window, and the wait they brought. */
struct failures {
	int64_t count, since, banned_until;
};

struct block {
	int64_t open; /* connections of SMTP */
	int64_t guests; /* of IMAP and POP3, until their login */
	struct bucket connections, recipients, errors;
	int64_t paused_until;
	int64_t slow_until; /* others waited for one of it that dripped */
	struct failures failures;
	int64_t seen;
};

struct account {
	struct failures failures;
	struct bucket recipients;
	uint64_t homes[HOMES];
	unsigned next_home;
	int64_t seen;
};

struct limits {
	struct map *blocks, *accounts;
	struct map *senders; /* of those who logged in: also struct account */
	struct map *known; /* address to when it waited for a greeting */
	int64_t busy[POOLS]; /* clients being served */
};

struct limits *
limits_new(struct arena *a)
{
	struct limits *l = arena_one(a, struct limits);
	l->blocks = map_new(a);
	l->accounts = map_new(a);
	l->senders = map_new(a);
	l->known = map_new(a);
	return l;
}

/* --------------------------------------------------------------- entries */

static void *
must(void *p)
{
	if (p == NULL)
		fatal("out of memory", NULL);
	return p;
}

typedef bool (*stale_fn)(const void *entry, int64_t now);

static bool
is_stale_block(const void *entry, int64_t now)
{
	const struct block *b = entry;
	return b->open + b->guests == 0 && b->paused_until < now &&
		b->slow_until < now && b->failures.banned_until < now && b->seen < now - MINUTE;
}

static bool
is_stale_account(const void *entry, int64_t now)
{
	const struct account *x = entry;
	return x->failures.banned_until < now && x->seen < now - MINUTE;
}

/* Half the table goes: first what nobody needs, then, since strangers must not
 * fill our memory, whatever comes first. */
static void
make_room(struct map *m, stale_fn stale)
{
	struct str key;
	void *entry;
	int64_t now = clock_ms();
	if (map_count(m) < ENTRIES_MOST)
		return;
	for (int pass = 0; pass < 2; pass++) {
		size_t cursor = 0;
		while (map_count(m) > ENTRIES_MOST / 2 &&
			map_next(m, &cursor, &key, &entry)) {
			bool open = stale == is_stale_block &&
				((struct block *)entry)->open +
				((struct block *)entry)->guests > 0;
			if (open || (pass == 0 && !stale(entry, now)))
				continue;
			map_remove(m, key);
			free(entry);
		}
	}
}

/* The block's key: family and leading bits; empty when nothing limits it. */
struct str
limits_block(const struct auth *x, struct arena *a, struct str ip)
{
	struct net_address n;
	if (!net_parse_ip(ip, 0, &n))
		return STR("");
	for (size_t i = 0; i < x->conf->limit.exempt.n; i++)
		if (net_within(&n, x->conf->limit.exempt.v[i]))
			return STR("");
	return net_block(a, &n, (unsigned)x->conf->limit.ipv4_block,
		(unsigned)x->conf->limit.ipv6_block);
}

static struct block *
find_block(struct limits *l, struct str key)
{
	struct block *b = map_get(l->blocks, key);
	if (b == NULL) {
		make_room(l->blocks, is_stale_block);
		b = must(calloc(1, sizeof *b));
		map_set(l->blocks, key, b);
	}
	b->seen = clock_ms();
	return b;
}

static struct account *
find_account(struct map *m, struct str name)
{
	struct account *x = map_get(m, name);
	if (x == NULL) {
		make_room(m, is_stale_account);
		x = must(calloc(1, sizeof *x));
		map_set(m, name, x);
	}
	x->seen = clock_ms();
	return x;
}

/* ----------------------------------------------------------------- rates */

/* Puts n in; false when it is over full. */
static bool
pour(struct bucket *b, int64_t n, int64_t per_minute)
{
	int64_t now = clock_ms(), gone = now - b->when;
	int64_t leaked = gone > MINUTE ? b->level
				       : gone * per_minute * 1000 / MINUTE;
	b->level = b->level > leaked ? b->level - leaked : 0;
	b->when = now;
	if (b->level + n * 1000 > per_minute * 1000)
		return false;
	b->level += n * 1000;
	return true;
}

static struct status
wait_a_while(const char *text)
{
	return status_reply(status_later(7, 0, str_from(text)), 421);
}

void
limits_slow(struct auth *x, struct str key)
{
	if (key.n > 0)
		find_block(x->limits, key)->slow_until =
			clock_in(x->conf->limit.pause * 1000);
}

static struct status
may_wait(const struct auth *x, struct str key)
{
	const struct block *b = map_get(x->limits->blocks, key);
	if (b == NULL || b->slow_until <= clock_ms())
		return status_fine();
	return wait_a_while("Your network was too slow while others waited; "
		"try again later");
}

struct status
limits_enter(struct auth *x, struct str key)
{
	const struct conf_limit *c = &x->conf->limit;
	if (key.n == 0)
		return status_fine();
	struct status st = may_wait(x, key);
	if (!status_is_fine(st))
		return st;
	struct block *b = find_block(x->limits, key);
	if (b->paused_until > clock_ms())
		return wait_a_while("Too many errors from your network; try "
			"again later");
	if (b->open >= c->connections)
		return wait_a_while("Too many connections from your network");
	if (!pour(&b->connections, 1, c->connection_rate))
		return wait_a_while("Too many connections from your network "
			"in a short time");
	b->open++;
	return status_fine();
}

void
limits_leave(struct auth *x, struct str key, int64_t errors)
{
	const struct conf_limit *c = &x->conf->limit;
	struct block *b = map_get(x->limits->blocks, key);
	if (b == NULL)
		return;
	if (b->open > 0)
		b->open--;
	if (errors > 0 && !pour(&b->errors, errors, c->error_rate))
		b->paused_until = clock_in(c->pause * 1000);
}

struct status
limits_recipient(struct auth *x, struct str key)
{
	if (key.n == 0)
		return status_fine();
	struct block *b = find_block(x->limits, key);
	if (pour(&b->recipients, 1, x->conf->limit.recipient_rate))
		return status_fine();
	return STATUS(STATUS_LATER, 7, 1, "Too many recipients from your "
		"network in a short time; slow down");
}

struct status
limits_account(struct auth *x, struct str user, struct str sender)
{
	const struct conf_limit *c = &x->conf->limit;
	struct account *a = find_account(x->limits->accounts, user);
	if (!pour(&a->recipients, 1, c->account_rate))
		return STATUS(STATUS_LATER, 7, 1, "Too many recipients from "
			"your account in a short time; slow down");
	a = find_account(x->limits->senders, sender);
	if (pour(&a->recipients, 1, c->sender_rate))
		return status_fine();
	return STATUS(STATUS_LATER, 7, 1, "Too many recipients for this "
		"sender in a short time; slow down");
}

/* Of all workers, in percent, when so many more were busy. */
static int64_t
share(const struct auth *x, enum client_pool pool, int64_t more)
{
	const int64_t most[POOLS] = {
		[POOL_SMTP] = x->conf->smtp.max_processes,
		[POOL_IMAP] = x->conf->imap.max_processes,
		[POOL_POP3] = x->conf->pop3.max_processes};
	return (x->limits->busy[pool] + more) * 100 / most[pool];
}

struct status
limits_admit(struct auth *x, struct str key, enum client_pool pool)
{
	if (key.n == 0)
		return status_fine();
	/* Would it have one of the last workers? */
	struct status st = share(x, pool, 1) < CLIENT_STRESS_PERCENT
		? status_fine() : may_wait(x, key);
	if (!status_is_fine(st))
		return st;
	struct block *b = find_block(x->limits, key);
	if (b->guests >= x->conf->limit.connections &&
		limits_busy(x, pool) >= CLIENT_STRESS_PERCENT)
		return wait_a_while("Too many connections from your network");
	b->guests++;
	return status_fine();
}

void
limits_depart(struct auth *x, struct str key)
{
	struct block *b = map_get(x->limits->blocks, key);
	if (b != NULL && b->guests > 0)
		b->guests--;
}

void
limits_count(struct auth *x, enum client_pool pool, int change)
{
	x->limits->busy[pool] += change;
}

int64_t
limits_busy(const struct auth *x, enum client_pool pool)
{
	return share(x, pool, 0);
}

/* --------------------------------------------------------------- greeting */

bool
limits_is_known(const struct auth *x, struct str ip)
{
	const void *until = map_get(x->limits->known, ip);
	return until != NULL && (int64_t)(intptr_t)until > clock_ms();
}

void
limits_passed(struct auth *x, struct str ip)
{
	struct map *m = x->limits->known;
	struct str key;
	void *until;
	size_t cursor = 0;
	/* Full: everybody waits once more. */
	if (map_count(m) >= ENTRIES_MOST)
		while (map_next(m, &cursor, &key, &until))
			map_remove(m, key);
	map_set(m, ip, (void *)(intptr_t)clock_in(KNOWN_MS));
}

/* ----------------------------------------------------------------- logins */

static uint64_t
home_of(struct str key)
{
	return key.n == 0 ? 0 : map_hash(key);
}

static bool
is_home(const struct account *a, uint64_t home)
{
	for (int i = 0; i < HOMES; i++)
		if (a->homes[i] == home && home != 0)
			return true;
	return false;
}

bool
limits_may_login(struct auth *x, struct str key, struct str name)
{
	int64_t now = clock_ms();
	const struct block *b = map_get(x->limits->blocks, key);
	const struct account *a = map_get(x->limits->accounts, name);
	if (key.n == 0)
		return true;
	if (b != NULL && b->failures.banned_until > now)
		return false;
	return a == NULL || a->failures.banned_until <= now ||
		is_home(a, home_of(key));
}

/* True when this failure is the one too many. */
static bool
add_failure(const struct auth *x, struct failures *f)
{
	int64_t now = clock_ms();
	if (now - f->since > x->conf->auth.ban_window * 1000) {
		f->since = now;
		f->count = 0;
	}
	if (++f->count < x->conf->auth.ban_after)
		return false;
	f->count = 0;
	f->banned_until = now + x->conf->auth.ban * 1000;
	return true;
}

int64_t
limits_login_failed(struct auth *x, struct str key, struct str name)
{
	int64_t delay = x->conf->auth.failure_delay * 1000;
	if (key.n == 0)
		return delay;
	struct account *a = find_account(x->limits->accounts, name);
	struct block *b = find_block(x->limits, key);
	int64_t before = a->failures.count > b->failures.count
		? a->failures.count : b->failures.count;
	if (add_failure(x, &b->failures))
		log_warn(LOG_NO_ID, "block-banned",
			LOG_NUM("seconds", x->conf->auth.ban));
	if (add_failure(x, &a->failures))
		log_warn(LOG_NO_ID, "account-banned", LOG_STR("user", name),
			LOG_NUM("seconds", x->conf->auth.ban));
	return delay << (before < DELAY_DOUBLINGS ? before : DELAY_DOUBLINGS);
}

void
limits_login_worked(struct auth *x, struct str key, struct str name)
{
	uint64_t home = home_of(key);
	if (key.n == 0)
		return;
	struct account *a = find_account(x->limits->accounts, name);
	if (!is_home(a, home))
		a->homes[a->next_home++ % HOMES] = home;
}
