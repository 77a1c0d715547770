/* SPDX-License-Identifier: ISC */
/*
 * Two rows: the login role serves one client after another, the session role
 * one user's client.  Started with --session, or with -i by the user, a process
 * is a session; without a starter that sends session_start it serves standard
 * input and output as the user who runs it, logged in from the start
 * (PREAUTH, RFC 3501 7.1.4).
 */
#include "commands.h"
#include "ask/handover.h"

static const struct service login_service = {
	.name = "imapd",
	.asker = "imapd",
	.profile = SANDBOX_ASKER,
	.idle = offsetof(struct conf, imap.idle_processes),
	.most = offsetof(struct conf, imap.max_processes),
	.serve = login_serve,
	.too_busy = "* BYE [UNAVAILABLE] Too busy; try again later\r\n",
	.answers = true,
	.max_clients = 1000,
	.usage = "imapd serves IMAP clients until they have logged in; their "
		 "sessions run in\nprocesses of their own, as the user.",
};

static const struct service session_service = {
	.name = "imapd",
	.profile = SANDBOX_TREE,
	.prepare = handover_prepare,
	.trees = start_trees,
	.run = start_run,
	.inetd = true,
	.usage = "imapd --session serves one user.",
};

int
main(int argc, char **argv)
{
	const struct service *row =
		handover_is_session(argc, argv) ? &session_service : &login_service;
	return service_main(row, argc, argv);
}
