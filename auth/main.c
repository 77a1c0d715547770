/* SPDX-License-Identifier: ISC */
/* auth's service row and its loop. */
#include "auth.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sysexits.h>
#include <unistd.h>

enum { RETIRE_MS = 60 * 1000 };

static void
on_question(struct peer *p, struct arena *a, struct message *m)
{
	struct auth *x = p->peers->ctx;
	struct message answer;
	if (!finders_ask(x->finders, p, m) && finder_answer(x, a, m, &answer))
		rooms_answer(x, p, &answer);
}

/* The same from a client that counts. */
static void
on_rcpt_lookup(struct peer *p, struct arena *a, struct message *m)
{
	struct auth *x = p->peers->ctx;
	struct message answer = MESSAGE(rcpt_result);
	const struct msg_rcpt_lookup *r = &m->rcpt_lookup;
	struct status st = status_fine();
	if (p->who == PEER_SMTPD)
		st = r->user.n > 0 ? limits_account(x, r->user, r->sender)
			: limits_recipient(x, caller_block(caller_of(p)));
	if (status_is_fine(st)) {
		on_question(p, a, m);
		return;
	}
	answer.rcpt_result.status = st;
	peer_send(p, &answer);
}

static const struct peer_row rows[] = {
	{MSG_rcpt_lookup, PEER_SMTPD | PEER_SURAT, on_rcpt_lookup},
	{MSG_route, PEER_SURAT, on_question},
	{MSG_routes, PEER_QUEUE, on_question},
	{MSG_sender, PEER_SMTPD | PEER_SURAT, on_question},
	{MSG_client, PEER_SMTPD | PEER_IMAPD | PEER_POP3D, client_message},
	{MSG_auth_step, PEER_SMTPD | PEER_IMAPD | PEER_POP3D, login_step},
	{MSG_service, PEER_SURAT, figures_tell},
};

/*
 * Salts of users who are not there must outlive us as those of real ones do,
 * and be known to nobody: the machine's id is both.
 */
static void
make_decoy_key(struct auth *x)
{
	char id[64];
	int fd = open("/etc/machine-id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, id, sizeof id);
	if (fd >= 0)
		close(fd);
	if (n < 32) {
		n = sizeof id;
		if (getrandom(id, sizeof id, 0) != n)
			fatal("getrandom", NULL);
	}
	SHA256((const unsigned char *)id, (size_t)n,
		(unsigned char *)x->decoy_key);
	errno = 0;
}

static void
find_mbox_group(struct auth *x, struct buf *errors)
{
	const struct conf_general *c = &x->conf->general;
	if (c->mbox.n == 0)
		return;
	const struct group *g = getgrnam(str_cstr(x->arena, c->mbox_group));
	if (g != NULL && g->gr_gid != 0)
		x->mbox_gid = str_printf(
			x->arena, "%u", (unsigned)g->gr_gid);
	else
		buf_printf(errors, "general.mbox_group: %.*s %s\n",
			STR_ARG(c->mbox_group),
			g == NULL ? "does not exist" : "is root's");
	errno = 0;
}

/* `surat check` asks about the tables, which nobody else reads. */
static void
check_and_exit(struct auth *x, struct buf *errors)
{
	tables_check(x, errors);
	if (errors->n == 0)
		exit(EX_OK);
	fwrite(errors->p, 1, errors->n, stderr);
	exit(EX_CONFIG);
}

static void
prepare(struct program *p)
{
	struct auth *x = arena_one(p->arena, struct auth);
	p->ctx = x;
	x->program = p;
	x->conf = p->conf;
	x->arena = p->arena;
	make_decoy_key(x);
	tables_open(x);
	struct buf *errors = buf_new(p->arena);
	pipes_open(x, errors);
	find_mbox_group(x, errors);
	x->pam = pam_fork(x, errors);
	if (p->argc > 0 && strcmp(p->argv[0], "--check") == 0)
		check_and_exit(x, errors);
	struct str rest = buf_str(errors), line;
	while (str_cut(&rest, '\n', &line) && line.n > 0)
		log_error(LOG_NO_ID, "no-account", LOG_STR("why", line));
	x->finders = finders_fork(x);
	x->hashers = hashers_fork(p, &hasher_hashes,
		(size_t)p->conf->auth.hash_workers);
}

static void
add_tree(struct program *p, const char **list, size_t *n, struct str file)
{
	const char *d = dirname(str_cstr(p->arena, file));
	if (file.n > 0 && access(d, F_OK) == 0)
		list[(*n)++] = d;
}

/* The directories the tables lie in: an editor replaces a file by renaming
 * another over it. */
const char **
auth_trees(struct program *p)
{
	const struct auth *x = p->ctx;
	const char **list = arena_array(
		p->arena, x->table_count + 3, sizeof *list);
	size_t n = 0;
	add_tree(p, list, &n, p->conf->general.users);
	add_tree(p, list, &n, p->conf->general.aliases);
	for (size_t i = 0; i < x->table_count; i++)
		add_tree(p, list, &n, x->tables[i]->ref.path);
	errno = 0;
	return list;
}

static void
over(void *ctx)
{
	struct auth *x = ctx;
	loop_stop(x->loop);
}

/* Told to end: dialogues are finished, others are begun elsewhere. */
static void
watch_master(void *ctx, int fd, unsigned events)
{
	struct auth *x = ctx;
	(void)fd, (void)events;
	loop_unwatch(x->master_watch);
	peers_retire(&x->peers, program_grace(x->program, RETIRE_MS),
		over);
}

static void
listen_all(struct auth *x)
{
	static const char *const askers[] = {"smtpd", "imapd", "pop3d",
		"queue", "surat"};
	for (size_t i = 0; i < sizeof askers / sizeof *askers; i++) {
		char name[32];
		snprintf(name, sizeof name, "ask.%s", askers[i]);
		int fd = program_fd(x->program, name, 0);
		if (fd >= 0)
			peers_listen(&x->peers, fd,
				ask_peer_bit(str_from(askers[i])));
	}
}

static void
run(struct program *p)
{
	struct auth *x = p->ctx;
	x->loop = loop_new(p->arena);
	x->cache = map_new(p->arena);
	x->limits = limits_new(p->arena);
	x->rooms = rooms_new(p->arena, x->loop);
	if (getrandom(x->cache_key, sizeof x->cache_key, 0) !=
		sizeof x->cache_key)
		fatal("getrandom", NULL);
	x->peers = (struct peers){.loop = x->loop, .rows = rows,
		.count = sizeof rows / sizeof *rows, .ctx = x,
		.on_close = caller_closed, .is_busy = login_is_busy};
	x->master = asker_new(p->arena, x->loop, p->sockets, "master");
	hashers_start(x->hashers, x->loop);
	if (x->pam != NULL)
		hashers_start(x->pam, x->loop);
	finders_start(x->finders, x);
	tables_start(x);
	listen_all(x);
	int master = program_fd(p, "master", 0);
	if (master >= 0)
		x->master_watch = loop_watch(
			x->loop, master, 0, watch_master, x);
	loop_run(x->loop);
}

int
main(int argc, char **argv)
{
	static const struct service auth = {
		.name = "auth",
		.asker = "auth",
		.profile = SANDBOX_READER,
		.prepare = prepare,
		.readable = auth_trees,
		.megabytes = 4096,
		.run = run,
		.usage = "Reads users and aliases: checks passwords, says where "
			"mail for an address goes.",
	};
	return service_main(&auth, argc, argv);
}
