/* SPDX-License-Identifier: ISC */
/*
 * {PAM} in place of a secret: the system is asked.  Its modules are code of the
 * administrator's choice, so they run in workers of their own, which may read
 * what _suratauth may and connect to Unix sockets: enough for pam_unix, where
 * that account is in the group of the shadow file, and for sssd and its like.
 * They start no program, write no file and have no network.
 */
#include "auth.h"
#include "base/arena.h"
#include "base/buf.h"
#include "sys/pam.h"
#include "sys/sandbox.h"

#define SCHEME STR("{PAM}")

/* "{PAM}service client user" NUL password */
static struct str
answer_to(struct arena *a, const char *question, size_t n)
{
	const char *end = memchr(question, 0, n);
	struct str rest, service, client, user;
	if (end == NULL || end == question + n - 1)
		return STR("0");
	rest = str_skip(str_of(question, (size_t)(end - question)), SCHEME.n);
	if (!str_word(&rest, &service) || !str_word(&rest, &client) ||
		!str_word(&rest, &user))
		return STR("0");
	struct pam_login l = {.user = str_cstr(a, user), .password = end + 1,
		.client = str_eq(client, STR("-")) ? "" : str_cstr(a, client)};
	return pam_agrees(str_cstr(a, service), &l) ? STR("1") : STR("0");
}

struct hashers *
pam_fork(struct auth *x, struct buf *errors)
{
	static const char *const everything[] = {"/", NULL};
	static const struct hasher_work pam = {.name = "auth-pam",
		.rights = SANDBOX_READER | SANDBOX_CODE | SANDBOX_PAM,
		.readable = everything, .answer = answer_to};
	if (x->conf->auth.pam.n == 0)
		return NULL;
	if (!pam_is_there())
		buf_adds(errors, "auth.pam: this build has no PAM\n");
	return hashers_fork(
		x->program, &pam, (size_t)x->conf->auth.hash_workers);
}

struct str
pam_question(const struct auth *x, struct arena *a, struct str user,
	struct str client)
{
	if (client.n == 0)
		client = STR("-");
	return str_printf(a, "%.*s%.*s %.*s %.*s", STR_ARG(SCHEME),
		STR_ARG(x->conf->auth.pam), STR_ARG(client), STR_ARG(user));
}
