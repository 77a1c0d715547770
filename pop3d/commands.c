/* SPDX-License-Identifier: ISC */
/* The table, and the commands that take a few lines. */
#include "pop3d.h"
#include "base/log.h"
#include "maildrop.h"

#define ROW(name) STR_INIT(name)

const struct pop3_command pop3_commands[] = {
	/* Any state */
	{{ROW("CAPA"), POP3_ANY, .flags = CMD_NO_ARGS}, pop3_capa},
	{{ROW("LANG"), POP3_ANY, .help = "[language]"}, pop3_lang},
	{{ROW("QUIT"), POP3_ANY, .done = POP3_CLOSED, .failed = POP3_CLOSED,
		.flags = CMD_NO_ARGS}, pop3_quit},

	/* AUTHORIZATION */
	{{ROW("STLS"), POP3_LOGIN, .done = POP3_GREETED,
		.flags = CMD_NO_ARGS}, pop3_stls, login_start_tls},
	{{ROW("USER"), POP3_LOGIN, .done = POP3_NAMED, .help = "name"},
		pop3_user},
	{{ROW("PASS"), POP3_NAMED, .failed = POP3_GREETED,
		.help = "password"}, pop3_pass},
	{{ROW("AUTH"), POP3_LOGIN, .failed = POP3_GREETED,
		.help = "[mechanism [initial-response]]"}, pop3_auth},
	{{ROW("UTF8"), POP3_LOGIN, .flags = CMD_NO_ARGS}, pop3_utf8},

	/* TRANSACTION */
	{{ROW("STAT"), POP3_TRANSACTION, .flags = CMD_NO_ARGS}, pop3_stat},
	{{ROW("LIST"), POP3_TRANSACTION, .help = "[message]"}, pop3_list},
	{{ROW("UIDL"), POP3_TRANSACTION, .help = "[message]"}, pop3_uidl},
	{{ROW("RETR"), POP3_TRANSACTION, .help = "message"}, pop3_retr},
	{{ROW("TOP"), POP3_TRANSACTION, .help = "message lines"}, pop3_top},
	{{ROW("DELE"), POP3_TRANSACTION, .help = "message"}, pop3_dele},
	{{ROW("RSET"), POP3_TRANSACTION, .flags = CMD_NO_ARGS}, pop3_rset},
	{{ROW("NOOP"), POP3_TRANSACTION, .flags = CMD_NO_ARGS}, pop3_noop},
};

const size_t pop3_command_count = sizeof pop3_commands / sizeof *pop3_commands;

struct pop3_reply
pop3_noop(struct pop3_session *s, struct str args)
{
	(void)s, (void)args;
	return OK(SAY_DONE);
}

/* RFC 1939 6: the only place where messages go. */
struct pop3_reply
pop3_quit(struct pop3_session *s, struct str args)
{
	(void)args;
	if (s->drop == NULL)
		return OK(SAY_BYE);
	struct status st = maildrop_update(s->drop, s->transaction);
	if (status_is_fine(st))
		return OK(SAY_BYE);
	log_error(s->id, "not-removed", LOG_STR("why", st.text));
	return ERR("SYS/TEMP", SAY_NOT_REMOVED);
}
