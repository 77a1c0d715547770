/* SPDX-License-Identifier: ISC */
/*
 * RETR and TOP (RFC 1939 5, 7).  A message passes through one buffer in
 * pieces, however large it is; small ones leave in one write together with
 * those the client asked for in the same breath.
 */
#include "drop.h"
#include "base/log.h"
#include "stuff.h"

#include <errno.h>
#include <unistd.h>

static bool
pass(struct pop3_session *s, struct stuff *w, struct str octets)
{
	stuff_feed(w, octets, conn_out(s->conn));
	conn_pace(s->conn);
	return conn_state(s->conn) == CONN_OPEN;
}

static bool
send_octets(struct pop3_session *s, struct stuff *w, struct str octets)
{
	while (octets.n > 0 && !w->done) {
		if (!pass(s, w, str_head(octets, POP3_CHUNK)))
			return false;
		octets = str_skip(octets, POP3_CHUNK);
	}
	return true;
}

/* A file that is shorter than it was ends where it ends. */
static bool
send_file(struct pop3_session *s, struct stuff *w, struct drop_file *file)
{
	char chunk[POP3_CHUNK];
	while (!w->done && file->left > 0) {
		size_t want = file->left < sizeof chunk ? (size_t)file->left
							: sizeof chunk;
		ssize_t n = read(file->fd, chunk, want);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		if (n == 0)
			return true;
		file->left -= (uint64_t)n;
		if (!pass(s, w, str_of(chunk, (size_t)n)))
			return false;
	}
	return true;
}

/* Once the first line is out, a failure can only be shown by ending the
 * connection: the final dot would say that this was the message. */
static bool
send_message(struct pop3_session *s, struct stuff *w, struct drop_file *file)
{
	bool ok = file->fd >= 0 ? send_file(s, w, file)
				: send_octets(s, w, file->octets);
	if (!ok) {
		if (conn_state(s->conn) == CONN_OPEN)
			log_error(s->id, "read-failed",
				LOG_CSTR("why", strerror(errno)));
		return false;
	}
	stuff_end(w, conn_out(s->conn));
	conn_pace(s->conn);
	return true;
}

/* first: the line before the message, or what is refused. */
static struct pop3_reply
retrieve(struct pop3_session *s, uint32_t number, struct stuff *w,
	struct drop_file *file)
{
	enum drop_fate fate;
	struct status st =
		maildrop_read(s->drop, s->transaction, number, file, &fate);
	if (!status_is_fine(st)) {
		log_error(s->id, "read-failed", LOG_STR("why", st.text));
		return ERR("SYS/TEMP", SAY_UNREADABLE);
	}
	if (fate != DROP_THERE)
		return drop_refusal(fate);
	struct pop3_reply first = OK(w->top ? SAY_NOTHING : SAY_OCTETS);
	first.numbers[0] = file->size;
	session_reply(s, first);
	bool sent = send_message(s, w, file);
	if (file->fd >= 0)
		close(file->fd);
	return sent ? SAID : SILENT;
}

struct pop3_reply
pop3_retr(struct pop3_session *s, struct str args)
{
	uint32_t number;
	struct drop_file file;
	struct stuff w;
	if (!drop_message(args, &number))
		return BAD(SAY_ARGUMENTS);
	stuff_start(&w);
	struct pop3_reply r = retrieve(s, number, &w, &file);
	if (r.result == POP3_SAID) {
		maildrop_retrieved(s->drop, number);
		s->retrieved++;
		s->octets += file.size;
	}
	return r;
}

struct pop3_reply
pop3_top(struct pop3_session *s, struct str args)
{
	uint64_t number, lines;
	struct drop_file file;
	struct stuff w;
	if (!drop_number(&args, UINT32_MAX, &number) ||
		!drop_number(&args, UINT64_MAX, &lines) ||
		str_trim(args).n > 0)
		return BAD(SAY_ARGUMENTS);
	stuff_top(&w, lines);
	return retrieve(s, (uint32_t)number, &w, &file);
}
