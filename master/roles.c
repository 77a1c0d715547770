/* SPDX-License-Identifier: ISC */
/*
 * What a child can be, in the order in which they are started: who is asked
 * stands before who asks.  Ids and root directories: see doc/house.md.
 */
#include "master.h"
#include "base/buf.h"

#include <grp.h>
#include <pwd.h>

#define NUMBER(section, name) offsetof(struct conf, section.name)

static const struct role roles[] = {
	{"keys", "keys", NULL, "_suratkey", "empty", ROLE_SINGLE,
		ROLE_FILES | ROLE_LINGERS | ROLE_KEY | ROLE_CERTIFICATE, 0, 0},
	{"tls", "tls", NULL, "_surattls", "tls", ROLE_SINGLE,
		ROLE_FILES | ROLE_LINGERS | ROLE_CERTIFICATE, 0, 0},
	{"resolve", "resolve", NULL, "_suratdns", NULL, ROLE_SINGLE,
		ROLE_NETWORK | ROLE_LINGERS, 0, 0},
	{"auth", "auth", NULL, "_suratauth", NULL, ROLE_SINGLE,
		ROLE_FILES | ROLE_LINGERS | ROLE_GROUPS, 0, 0},
	{"queue", "queue", NULL, "_suratq", NULL, ROLE_SINGLE, 0, 0, 0},
	{"deliver-local", "deliver-local", NULL, "_suratmail", NULL,
		ROLE_AGENT, ROLE_AS_USER, 0, NUMBER(queue, local_agents)},
	{"deliver-remote", "deliver-remote", NULL, "_suratout", "deliver",
		ROLE_AGENT, ROLE_SECRETS | ROLE_NETWORK, 0,
		NUMBER(queue, remote_agents)},
	{"deliver-pipe", "deliver-pipe", NULL, "_suratpipe", NULL, ROLE_AGENT,
		ROLE_ACCOUNT, 0, NUMBER(pipe, agents)},
	{"imap-session", "imapd", "--session", "_suratmail", NULL,
		ROLE_SESSION, ROLE_AS_USER, 0, NUMBER(imap, max_processes)},
	{"pop3-session", "pop3d", "--session", "_suratmail", NULL,
		ROLE_SESSION, ROLE_AS_USER, 0, NUMBER(pop3, max_processes)},
	{"smtpd", "smtpd", NULL, "_suratnet", "smtpd", ROLE_POOL, 0,
		NUMBER(smtp, idle_processes), NUMBER(smtp, max_processes)},
	{"imapd", "imapd", NULL, "_suratnet", "imapd", ROLE_POOL,
		ROLE_RECOVERED, NUMBER(imap, idle_processes),
		NUMBER(imap, max_processes)},
	{"pop3d", "pop3d", NULL, "_suratnet", "pop3d", ROLE_POOL,
		ROLE_RECOVERED, NUMBER(pop3, idle_processes),
		NUMBER(pop3, max_processes)},
};

enum { ROLES = sizeof roles / sizeof *roles };

_Static_assert((int)ROLES <= (int)ROLES_MOST, "struct master has room");

const struct role *
role_table(size_t *count)
{
	*count = ROLES;
	return roles;
}

const struct role *
role_find(struct str name)
{
	for (size_t i = 0; i < ROLES; i++)
		if (str_eq(name, str_from(roles[i].name)))
			return &roles[i];
	return NULL;
}

const struct role *
role_asker(const char *asker)
{
	for (size_t i = 0; i < ROLES; i++)
		if (strcmp(asker, roles[i].name) == 0 ||
			(roles[i].root != NULL &&
				strcmp(asker, roles[i].root) == 0))
			return &roles[i];
	return NULL;
}

bool
roles_identify(struct ids ids[ROLES_MOST], struct buf *errors)
{
	bool ok = true;
	for (size_t i = 0; i < ROLES; i++) {
		const struct passwd *pw = getpwnam(roles[i].user);
		if (pw == NULL || pw->pw_uid == 0 || pw->pw_gid == 0) {
			buf_printf(errors, "%s needs the user %s, who %s; "
				"create it, or start suratd as an ordinary "
				"user\n", roles[i].name, roles[i].user,
				pw == NULL ? "does not exist" : "is root");
			ok = false;
			continue;
		}
		ids[i] = (struct ids){pw->pw_uid, pw->pw_gid, roles[i].kind ==
			ROLE_SINGLE && (roles[i].flags & ROLE_GROUPS)};
	}
	return ok;
}
