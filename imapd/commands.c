/* SPDX-License-Identifier: ISC */
/*
 * The table of commands, and nothing else.  A new command is a function and a
 * row here.
 */
#include "commands.h"

const struct imap_command imap_commands[] = {
	/* Any state */
	{{STR_INIT("CAPABILITY"), IMAP_ANY, .flags = CMD_NO_ARGS},
		imap_capability},
	{{STR_INIT("NOOP"), IMAP_ANY, .flags = CMD_NO_ARGS}, imap_noop},
	{{STR_INIT("LOGOUT"), IMAP_ANY, .done = IMAP_CLOSED,
		 .flags = CMD_NO_ARGS | CMD_NO_NEWS},
		imap_logout},
	{{STR_INIT("ID"), IMAP_ANY, .help = "NIL | (field value ...)"},
		imap_id},

	/* Not authenticated */
	{{STR_INIT("STARTTLS"), IMAP_GREETED, .flags = CMD_NO_ARGS},
		imap_starttls, login_start_tls},
	{{STR_INIT("LOGIN"), IMAP_GREETED, .help = "user password"},
		imap_login},
	{{STR_INIT("AUTHENTICATE"), IMAP_GREETED,
		 .help = "mechanism [initial-response]"},
		imap_authenticate},

	/* Authenticated */
	{{STR_INIT("ENABLE"), IMAP_USER, .help = "capability ..."},
		imap_enable},
};

const size_t imap_command_count = sizeof imap_commands / sizeof *imap_commands;
