/* SPDX-License-Identifier: ISC */
/* The tables made from the definitions in ask/messages.h. */
#include "ask/messages.h"
#include "sys/ipc.h"

#include <unistd.h>

/*
 * A row needs the offset of its field in the message's own struct, whose name
 * the field list does not carry: each table is made with ROW_OF set to it.
 */
#define FIELD_ROW(kind, field) {#field, IPC_##kind, offsetof(ROW_OF, field)},
#define FIELDS_TABLE(name) \
	static const struct ipc_field name##_fields[] = { \
		FIELDS_##name(FIELD_ROW)};

#define ROW_OF struct msg_done
FIELDS_TABLE(done)
#undef ROW_OF
#define ROW_OF struct msg_opened
FIELDS_TABLE(opened)
#undef ROW_OF
#define ROW_OF struct msg_client
FIELDS_TABLE(client)
#undef ROW_OF
#define ROW_OF struct msg_client_result
FIELDS_TABLE(client_result)
#undef ROW_OF
#define ROW_OF struct msg_rcpt_lookup
FIELDS_TABLE(rcpt_lookup)
#undef ROW_OF
#define ROW_OF struct msg_rcpt_result
FIELDS_TABLE(rcpt_result)
#undef ROW_OF
#define ROW_OF struct msg_sender
FIELDS_TABLE(sender)
#undef ROW_OF
#define ROW_OF struct msg_sender_result
FIELDS_TABLE(sender_result)
#undef ROW_OF
#define ROW_OF struct msg_route
FIELDS_TABLE(route)
#undef ROW_OF
#define ROW_OF struct msg_route_result
FIELDS_TABLE(route_result)
#undef ROW_OF
#define ROW_OF struct msg_routes
FIELDS_TABLE(routes)
#undef ROW_OF
#define ROW_OF struct msg_routes_result
FIELDS_TABLE(routes_result)
#undef ROW_OF
#define ROW_OF struct msg_auth_step
FIELDS_TABLE(auth_step)
#undef ROW_OF
#define ROW_OF struct msg_auth_result
FIELDS_TABLE(auth_result)
#undef ROW_OF
#define ROW_OF struct msg_tls_start
FIELDS_TABLE(tls_start)
#undef ROW_OF
#define ROW_OF struct msg_tls_ready
FIELDS_TABLE(tls_ready)
#undef ROW_OF
#define ROW_OF struct msg_tls_back
FIELDS_TABLE(tls_back)
#undef ROW_OF
#define ROW_OF struct msg_client_back
FIELDS_TABLE(client_back)
#undef ROW_OF
#define ROW_OF struct msg_key_sign
FIELDS_TABLE(key_sign)
#undef ROW_OF
#define ROW_OF struct msg_key_signed
FIELDS_TABLE(key_signed)
#undef ROW_OF
#define ROW_OF struct msg_key_which
FIELDS_TABLE(key_which)
#undef ROW_OF
#define ROW_OF struct msg_key_chain
FIELDS_TABLE(key_chain)
#undef ROW_OF
#define ROW_OF struct msg_body_open
FIELDS_TABLE(body_open)
#undef ROW_OF
#define ROW_OF struct msg_submit
FIELDS_TABLE(submit)
#undef ROW_OF
#define ROW_OF struct msg_submitted
FIELDS_TABLE(submitted)
#undef ROW_OF
#define ROW_OF struct msg_job
FIELDS_TABLE(job)
#undef ROW_OF
#define ROW_OF struct msg_job_result
FIELDS_TABLE(job_result)
#undef ROW_OF
#define ROW_OF struct msg_checkpoint
FIELDS_TABLE(checkpoint)
#undef ROW_OF
#define ROW_OF struct msg_room
FIELDS_TABLE(room)
#undef ROW_OF
#define ROW_OF struct msg_queue_list
FIELDS_TABLE(queue_list)
#undef ROW_OF
#define ROW_OF struct msg_queue_row
FIELDS_TABLE(queue_row)
#undef ROW_OF
#define ROW_OF struct msg_queue_count
FIELDS_TABLE(queue_count)
#undef ROW_OF
#define ROW_OF struct msg_queue_change
FIELDS_TABLE(queue_change)
#undef ROW_OF
#define ROW_OF struct msg_dns_ask
FIELDS_TABLE(dns_ask)
#undef ROW_OF
#define ROW_OF struct msg_dns_answer
FIELDS_TABLE(dns_answer)
#undef ROW_OF
#define ROW_OF struct msg_agent_start
FIELDS_TABLE(agent_start)
#undef ROW_OF
#define ROW_OF struct msg_session_start
FIELDS_TABLE(session_start)
#undef ROW_OF
#define ROW_OF struct msg_login_find
FIELDS_TABLE(login_find)
#undef ROW_OF
#define ROW_OF struct msg_login_found
FIELDS_TABLE(login_found)
#undef ROW_OF
#define ROW_OF struct msg_service
FIELDS_TABLE(service)
#undef ROW_OF
#define ROW_OF struct msg_service_row
FIELDS_TABLE(service_row)
#undef ROW_OF
#define ROW_OF struct msg_figure_row
FIELDS_TABLE(figure_row)
#undef ROW_OF

#define DEF_ROW(name, fd) \
	{#name, fd, name##_fields, \
		sizeof name##_fields / sizeof *name##_fields},
static const struct ipc_def defs[] = {MESSAGES(DEF_ROW)};

_Static_assert(sizeof defs / sizeof *defs == MSG_COUNT, "one row a message");
_Static_assert(offsetof(struct message, kind) ==
	offsetof(struct ipc_head, kind), "messages begin like ipc_head");
_Static_assert(offsetof(struct message, fd) == offsetof(struct ipc_head, fd),
	"messages begin like ipc_head");

const struct ipc_vocabulary ask_messages = {
	.defs = defs,
	.count = MSG_COUNT,
	.body = offsetof(struct message, done),
	.size = sizeof(struct message),
};

void
message_drop(struct message *m)
{
	if (m->fd >= 0)
		close(m->fd);
	m->fd = -1;
}

int
message_take_fd(struct message *m)
{
	int fd = m->fd;
	m->fd = -1;
	return fd;
}

unsigned
ask_peer_bit(struct str asker)
{
	static const struct {
		const char *name;
		unsigned bit;
	} askers[] = {
		{"smtpd", PEER_SMTPD}, {"imapd", PEER_IMAPD},
		{"pop3d", PEER_POP3D}, {"queue", PEER_QUEUE},
		{"deliver", PEER_REMOTE_AGENT}, {"auth", PEER_AUTH},
		{"tls", PEER_TLS}, {"surat", PEER_SURAT},
		{"sendmail", PEER_LOCAL},
	};
	for (size_t i = 0; i < sizeof askers / sizeof *askers; i++)
		if (str_eq(asker, str_from(askers[i].name)))
			return askers[i].bit;
	return 0;
}
