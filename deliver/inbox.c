/* SPDX-License-Identifier: ISC */
/*
 * The batch of the local agent: recipients by mailbox, our two lines before
 * each message (RFC 5321 4.4 Return-Path; Delivered-To against loops), and one
 * result per job.  Files and rows are common/store's business.
 */
#include "inbox.h"
#include "forward.h"
#include "mapped.h"
#include "base/arena.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "mail/trace.h"
#include "store/deliver.h"
#include "store/quota.h"
#include "store/spool.h"
#include "store/store.h"

#include <sys/stat.h>
#include <unistd.h>

enum {
	STORES_MOST = 32, /* open at once */
	SYSTEMS_MOST = 64, /* file systems between two checkpoints */
	JOBS_MOST = 256,
	OCTETS_MOST = 32 * 1024 * 1024,
	PATIENCE_MS = 500, /* with a locked mailbox, each of two times */
};

struct kept_store {
	struct list used; /* most recent first */
	struct str home;
	struct store *store;
};

struct mailbox_batch;

/* One recipient of a job. */
struct parcel {
	struct parcel *next; /* of the mailbox */
	bool unseen; /* a new agent would see more (job_result) */
	struct delivery delivery;
	struct str forward; /* where it goes instead, or empty */
};

struct gathered {
	struct msg_job job;
	struct str content;
	struct parcel *parcels; /* one per recipient */
};

struct mailbox_batch {
	struct list link;
	struct str home;
	struct str mbox; /* its file's name; empty: a Maildir */
	struct parcel *first, *last;
	size_t n;
};

struct inbox {
	struct arena *arena;
	const struct delivery_rules *rules;
	bool forward; /* obey .forward files */
	bool commands; /* and commands in them */
	struct str plus;
	const struct conf *limits; /* NULL: none */
	const struct spool *spool; /* NULL: everybody has a Maildir */
	const char *tree; /* NULL: not known */
	struct stat then; /* of it */
	struct arena *batch;
	struct gathered *jobs[JOBS_MOST];
	size_t job_count;
	size_t octets;
	struct map *by_home, *forwards; /* home to what is there now */
	struct list mailboxes;
	struct kept_store stores[STORES_MOST];
	struct list lru;
	struct {
		dev_t dev;
		int fd;
	} systems[SYSTEMS_MOST];
	size_t system_count;
	bool sync_failed; /* since the last checkpoint */
};

/* ---------------------------------------------------------------- batch */

static void
begin(struct inbox *x)
{
	x->batch = arena_new("batch");
	arena_limit(x->batch, (size_t)2 << 30);
	x->by_home = map_new(x->batch);
	x->forwards = map_new(x->batch);
	list_init(&x->mailboxes);
	x->job_count = 0;
	x->octets = 0;
}

void
inbox_tree(struct inbox *x, const char *path, const struct stat *then)
{
	x->tree = path;
	x->then = *then;
}

struct inbox *
inbox_new(struct arena *a, const struct delivery_rules *rules)
{
	struct inbox *x = arena_one(a, struct inbox);
	x->arena = a;
	x->rules = rules;
	list_init(&x->lru);
	for (size_t i = 0; i < STORES_MOST; i++)
		list_add(&x->lru, &x->stores[i].used);
	begin(x);
	return x;
}

void
inbox_forward(struct inbox *x, struct str plus, bool commands)
{
	x->forward = true;
	x->commands = commands;
	x->plus = plus;
}

void
inbox_limit(struct inbox *x, const struct conf *c)
{
	x->limits = c;
}

void
inbox_spool(struct inbox *x, const struct spool *s)
{
	x->spool = s;
}

static void
forget_systems(struct inbox *x)
{
	for (size_t i = 0; i < x->system_count; i++)
		close(x->systems[i].fd);
	x->system_count = 0;
}

void
inbox_free(struct inbox *x)
{
	for (size_t i = 0; i < STORES_MOST; i++)
		store_close(x->stores[i].store);
	forget_systems(x);
	arena_free(x->batch);
}

struct arena *
inbox_arena(struct inbox *x)
{
	return x->batch;
}

bool
inbox_is_full(const struct inbox *x)
{
	return x->job_count == JOBS_MOST || x->octets > OCTETS_MOST;
}

/* -------------------------------------------------------------- a job */

/* What comes before the message: once, whatever it went through before. */
static struct str
lines_before(struct arena *a, struct str sender, struct str rcpt)
{
	return str_printf(a, "Return-Path: <%.*s>\r\nDelivered-To: %.*s\r\n",
		STR_ARG(sender), STR_ARG(rcpt));
}

/* The account's, where it is known, else the user's. */
static struct str
mbox_of(const struct inbox *x, const struct gathered *g, size_t i)
{
	struct str user = i < g->job.user.n ? g->job.user.v[i] : STR("");
	if (x->spool == NULL || g->job.own != 1)
		return STR("");
	if (x->spool->name.n > 0)
		return x->spool->name;
	return str_starts(user, STR("\\")) ? str_skip(user, 1) : user;
}

static struct mailbox_batch *
mailbox_of(struct inbox *x, struct str home, struct str mbox)
{
	struct mailbox_batch *b = map_get(x->by_home, home);
	if (b != NULL)
		return b;
	b = arena_one(x->batch, struct mailbox_batch);
	b->home = home;
	b->mbox = mbox;
	list_add(&x->mailboxes, &b->link);
	map_set(x->by_home, home, b);
	return b;
}

/* What a home's .forward says to one user. */
struct known_forward {
	struct str user, targets;
	bool commands;
	enum forward_found found;
};

/* A batch is one moment: a file is looked for once for all that goes to one
 * user of a home, extensions apart. */
static enum forward_found
find_forward(struct inbox *x, const struct gathered *g, size_t i,
	struct str *targets)
{
	struct str home = g->job.home.v[i], rcpt = g->job.rcpt.v[i];
	const struct forward_rules rules = {g->job.user.v[i], x->plus,
		x->commands && g->job.own == 1, g->job.id};
	struct known_forward *k = map_get(x->forwards, home);
	bool plain = forward_extension(rcpt, rules.user, x->plus).n == 0;
	if (plain && k != NULL && str_eq(k->user, rules.user) &&
		k->commands == rules.commands) {
		*targets = k->targets;
		return k->found;
	}
	enum forward_found found =
		forward_find(x->batch, home, rcpt, &rules, targets);
	if (plain) {
		k = arena_one(x->batch, struct known_forward);
		*k = (struct known_forward){
			rules.user, *targets, rules.commands, found};
		map_set(x->forwards, home, k);
	}
	return found;
}

/* "\user" is what a .forward of that user said: not asked again. */
static bool
is_forwarded(struct inbox *x, struct gathered *g, size_t i)
{
	struct parcel *p = &g->parcels[i];
	struct str user = i < g->job.user.n ? g->job.user.v[i] : STR("");
	enum forward_found found = FORWARD_NONE;
	if (x->forward && user.n > 0 && !str_starts(user, STR("\\")))
		found = find_forward(x, g, i, &p->forward);
	p->unseen = found == FORWARD_UNSEEN;
	p->delivery.status = p->unseen
		? STATUS(STATUS_LATER, 3, 0, "the .forward is a new one")
		: STATUS(STATUS_FINE, 1, 5, "Forwarded");
	return found != FORWARD_NONE;
}

static void
add_parcel(struct inbox *x, struct gathered *g, size_t i)
{
	struct parcel *p = &g->parcels[i];
	p->delivery = (struct delivery){
		.name = g->job.name.v[i],
		.head = lines_before(x->batch, g->job.sender, g->job.rcpt.v[i]),
		.content = g->content,
		.date = g->job.arrival,
		.sender = g->job.sender,
		.verify = g->job.verify != 0,
		.rewrite = g->job.verify == 2,
	};
	if (trace_delivered_to(g->content, g->job.rcpt.v[i])) {
		p->delivery.status = status_never(4, 6,
			STR("mail loop: it was delivered here before"));
		return;
	}
	/* Before a crash, when there was no .forward yet, it may have come to
	 * rest here. */
	if (is_forwarded(x, g, i) && (p->unseen || !p->delivery.verify))
		return;
	p->delivery.only_look = p->forward.n > 0;
	struct mailbox_batch *b = mailbox_of(
		x, g->job.home.v[i], mbox_of(x, g, i));
	if (b->last == NULL)
		b->first = p;
	else
		b->last->next = p;
	b->last = p;
	b->n++;
}

static bool
refuse_all(struct gathered *g, size_t n, struct status st)
{
	for (size_t i = 0; i < n; i++)
		g->parcels[i].delivery.status = st;
	return true;
}

bool
inbox_add(struct inbox *x, struct message *m)
{
	struct msg_job *j = &m->job;
	size_t n = j->number.n;
	if (n == 0 || j->rcpt.n != n || j->home.n != n || j->name.n != n)
		return false;
	struct gathered *g = arena_one(x->batch, struct gathered);
	g->parcels = arena_array(x->batch, n, sizeof *g->parcels);
	g->job = *j;
	x->jobs[x->job_count++] = g;
	struct status st = mapped_lines(x->batch, m, &g->content);
	if (!status_is_fine(st))
		return refuse_all(g, n, st);
	x->octets += g->content.n;
	for (size_t i = 0; i < n; i++)
		add_parcel(x, g, i);
	return true;
}

/* --------------------------------------------------------------- stores */

/* The open store of a home, or the least used place for a new one. */
static struct status
store_of(struct inbox *x, struct str home, struct store **out)
{
	struct kept_store *k = NULL;
	list_each(&x->lru, at, save) {
		k = list_entry(at, struct kept_store, used);
		if (k->store != NULL && str_eq(k->home, home))
			break;
	}
	list_remove(&k->used);
	list_push(&x->lru, &k->used);
	*out = k->store;
	if (k->store != NULL && str_eq(k->home, home))
		return status_fine();
	store_close(k->store);
	k->store = NULL;
	struct status st = store_open(x->batch, home, &k->store);
	if (!status_is_fine(st))
		return st;
	store_patience(k->store, PATIENCE_MS);
	if (x->limits != NULL)
		quota_configure(k->store, x->limits);
	/* path text of the store outlives the batch, the job's does not */
	k->home = store_home(k->store);
	*out = k->store;
	return st;
}

struct status
inbox_room(struct inbox *x, const struct msg_room *q)
{
	struct quota limits;
	struct store *s;
	if (!quota_parse(q->limits, &limits))
		return status_never(5, 4, STR("those are no limits"));
	struct status st = store_of(x, q->home, &s);
	if (status_is_fine(st))
		st = quota_note(s, x->batch, &limits);
	if (status_is_fine(st))
		st = quota_room(s, x->batch, 1, (uint64_t)q->size);
	return st;
}

static void
sync_systems(struct inbox *x)
{
	for (size_t i = 0; i < x->system_count; i++)
		if (syncfs(x->systems[i].fd) != 0)
			x->sync_failed = true;
	forget_systems(x);
}

/* What a checkpoint will have to sync.  With a file system for each user there
 * may be more than have a place: then those noted are synced now. */
static void
note_system(struct inbox *x, const struct store *s)
{
	struct stat st;
	if (fstat(store_dir(s), &st) != 0)
		return;
	for (size_t i = 0; i < x->system_count; i++)
		if (x->systems[i].dev == st.st_dev)
			return;
	if (x->system_count == SYSTEMS_MOST)
		sync_systems(x);
	int fd = dup(store_dir(s));
	if (fd < 0)
		fatal("checkpoint", "dup");
	x->systems[x->system_count].dev = st.st_dev;
	x->systems[x->system_count++].fd = fd;
}

struct status
inbox_checkpoint(struct inbox *x)
{
	sync_systems(x);
	bool failed = x->sync_failed;
	x->sync_failed = false;
	return failed ? status_later(3, 0, STR("syncfs failed"))
		      : status_fine();
}

/* ------------------------------------------------------------- delivery */

static bool
is_busy(struct status st)
{
	return status_is_later(st) && st.subject == 2 && st.detail == 0;
}

/* Of the mailbox served last, after trouble: an index that could only be
 * opened for reading stays so until it is opened again. */
static void
forget_store(struct inbox *x)
{
	struct kept_store *k = list_first(&x->lru, struct kept_store, used);
	store_close(k->store);
	k->store = NULL;
}

/* A file system that was mounted since, or is another now, is out of reach:
 * rights are to what lay there when they were given. */
static bool
is_elsewhere(const struct inbox *x)
{
	struct stat now;
	return x->tree != NULL && stat(x->tree, &now) == 0 &&
		(now.st_dev != x->then.st_dev || now.st_ino != x->then.st_ino);
}

/* True when another agent would see more. */
static bool
into_maildir(struct inbox *x, const struct mailbox_batch *b,
	struct delivery *v)
{
	struct store *s;
	bool trouble = false;
	struct status st = store_of(x, b->home, &s);
	if (status_is_fine(st)) {
		note_system(x, s);
		store_deliver(s, x->batch, v, b->n, x->rules);
	}
	for (size_t i = 0; i < b->n; i++) {
		if (!status_is_fine(st))
			v[i].status = st;
		trouble = trouble || status_is_later(v[i].status);
	}
	if (trouble)
		forget_store(x);
	return trouble && is_elsewhere(x);
}

static bool
into_mbox(struct inbox *x, const struct mailbox_batch *b, struct delivery *v)
{
	struct spool s = *x->spool;
	s.name = b->mbox;
	return spool_deliver(&s, x->batch, v, b->n, x->rules) ==
		SPOOL_UNSEEN;
}

/* One mailbox.  False when it is locked. */
static bool
deliver_mailbox(struct inbox *x, struct mailbox_batch *b)
{
	struct delivery *v = arena_array(x->batch, b->n, sizeof *v);
	size_t i = 0;
	bool busy = false, unseen;
	for (struct parcel *p = b->first; p != NULL; p = p->next)
		v[i++] = p->delivery;
	if (b->mbox.n > 0)
		unseen = into_mbox(x, b, v);
	else
		unseen = into_maildir(x, b, v);
	i = 0;
	for (struct parcel *p = b->first; p != NULL; p = p->next, i++) {
		busy = busy || is_busy(v[i].status);
		p->delivery = v[i];
		p->unseen = p->unseen || unseen;
	}
	return !busy;
}

static void
deliver_all(struct inbox *x)
{
	struct list again;
	list_init(&again);
	list_each(&x->mailboxes, at, save) {
		if (deliver_mailbox(x,
			    list_entry(at, struct mailbox_batch, link)))
			continue;
		list_remove(at);
		list_add(&again, at);
	}
	list_each(&again, at, save)
		deliver_mailbox(x, list_entry(at, struct mailbox_batch, link));
}

static void
answer(struct inbox *x, struct gathered *g, inbox_reply reply, void *ctx)
{
	struct message m = MESSAGE(job_result);
	struct msg_job_result *r = &m.job_result;
	size_t n = g->job.number.n;
	r->id = g->job.id;
	r->number = g->job.number;
	r->status = (struct str_list){
		arena_array(x->batch, n, sizeof(struct str)), n};
	r->forward = (struct str_list){
		arena_array(x->batch, n, sizeof(struct str)), n};
	r->scope = STR("recipient");
	for (size_t i = 0; i < n; i++) {
		if (!g->parcels[i].delivery.was_there)
			r->forward.v[i] = g->parcels[i].forward;
		if (g->parcels[i].unseen)
			r->scope = STR("agent");
		struct delivery *d = &g->parcels[i].delivery;
		r->status.v[i] = status_format(x->batch, d->status);
		log_info(g->job.id,
			status_is_fine(d->status) ? "delivered" : "undelivered",
			LOG_STR("to", g->job.rcpt.v[i]),
			LOG_STR("file", d->file),
			LOG_STR("status", r->status.v[i]));
		if (n == 1)
			r->detail = d->file;
	}
	reply(ctx, &m);
}

void
inbox_deliver(struct inbox *x, inbox_reply reply, void *ctx)
{
	deliver_all(x);
	log_gather(true);
	for (size_t i = 0; i < x->job_count; i++)
		answer(x, x->jobs[i], reply, ctx);
	log_gather(false);
	arena_free(x->batch);
	begin(x);
}
