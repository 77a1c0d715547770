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
	{{STR_INIT("SELECT"), IMAP_USER, .done = IMAP_SELECTED,
		 .failed = IMAP_AUTH, .flags = CMD_NO_NEWS,
		 .help = "mailbox [(parameter ...)]"},
		imap_select},
	{{STR_INIT("EXAMINE"), IMAP_USER, .done = IMAP_SELECTED,
		 .failed = IMAP_AUTH, .flags = CMD_NO_NEWS,
		 .help = "mailbox [(parameter ...)]"},
		imap_examine},
	{{STR_INIT("CREATE"), IMAP_USER, .help = "mailbox [(USE (use))]"},
		imap_create},
	{{STR_INIT("DELETE"), IMAP_USER, .help = "mailbox"}, imap_delete},
	{{STR_INIT("RENAME"), IMAP_USER, .help = "mailbox mailbox"},
		imap_rename},
	{{STR_INIT("SUBSCRIBE"), IMAP_USER, .help = "mailbox"},
		imap_subscribe},
	{{STR_INIT("UNSUBSCRIBE"), IMAP_USER, .help = "mailbox"},
		imap_unsubscribe},
	{{STR_INIT("LIST"), IMAP_USER,
		 .help = "[(selection ...)] reference pattern "
			 "[RETURN (option ...)]"},
		imap_list},
	{{STR_INIT("LSUB"), IMAP_USER, .help = "reference pattern"},
		imap_lsub},
	{{STR_INIT("NAMESPACE"), IMAP_USER, .flags = CMD_NO_ARGS},
		imap_namespace},
	{{STR_INIT("STATUS"), IMAP_USER, .help = "mailbox (item ...)"},
		imap_status},
	{{STR_INIT("APPEND"), IMAP_USER, .flags = CMD_READS,
		 .help = "mailbox {[(flag ...)] [date] literal | UTF8 (literal8) |"
			 " CATENATE (TEXT literal | URL url ...)} ..."},
		imap_append},
	{{STR_INIT("IDLE"), IMAP_USER, .flags = CMD_NO_ARGS}, imap_idle},
	{{STR_INIT("COMPRESS"), IMAP_USER, .help = "DEFLATE"}, imap_compress,
		compress_start},

	/* Selected */
	{{STR_INIT("CHECK"), IMAP_SELECTED, .flags = CMD_NO_ARGS},
		imap_check},
	{{STR_INIT("CLOSE"), IMAP_SELECTED, .done = IMAP_AUTH,
		 .failed = IMAP_AUTH, .flags = CMD_NO_ARGS | CMD_NO_NEWS},
		imap_close},
	{{STR_INIT("UNSELECT"), IMAP_SELECTED, .done = IMAP_AUTH,
		 .flags = CMD_NO_ARGS | CMD_NO_NEWS},
		imap_unselect},
	{{STR_INIT("EXPUNGE"), IMAP_SELECTED,
		 .flags = CMD_UID | CMD_WRITES},
		imap_expunge},
	{{STR_INIT("SEARCH"), IMAP_SELECTED, .flags = CMD_UID | CMD_SEQUENCE,
		 .help = "[RETURN (option ...)] [CHARSET charset] key ..."},
		imap_search},
	{{STR_INIT("FETCH"), IMAP_SELECTED, .flags = CMD_UID | CMD_SEQUENCE,
		 .help = "set items [(modifier ...)]"},
		imap_fetch},
	{{STR_INIT("STORE"), IMAP_SELECTED,
		 .flags = CMD_UID | CMD_SEQUENCE | CMD_WRITES,
		 .help = "set [(modifier ...)] FLAGS (flag ...)"},
		imap_store},
	{{STR_INIT("COPY"), IMAP_SELECTED, .flags = CMD_UID,
		 .help = "set mailbox"},
		imap_copy},
	{{STR_INIT("REPLACE"), IMAP_SELECTED,
		 .flags = CMD_UID | CMD_WRITES | CMD_READS,
		 .help = "message mailbox [(flag ...)] [date] literal"},
		imap_replace},
	{{STR_INIT("MOVE"), IMAP_SELECTED, .flags = CMD_UID | CMD_WRITES,
		 .help = "set mailbox"},
		imap_move},
};

const size_t imap_command_count = sizeof imap_commands / sizeof *imap_commands;
