/* SPDX-License-Identifier: ISC */
/*
 * DATA (RFC 5321 4.1.1.4) and BDAT (RFC 3030).  Whatever goes wrong, the input
 * is read to its end: the client's next line is a command again.  Where the
 * end cannot be known (a BDAT without a size) the session ends instead.
 */
#include "smtpd.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"

enum { BLOCK_MS = 3 * 60 * 1000 };

/* Who brings something is not hurried as one who only speaks. */
static int64_t
block_patience(const struct session *s)
{
	int64_t usual = s->conf->smtp.timeout * 1000;
	int64_t most = client_patience(s);
	if (most < CLIENT_STRESS_MS)
		most = CLIENT_STRESS_MS;
	if (most > BLOCK_MS)
		most = BLOCK_MS;
	return most < usual ? most : usual;
}

static struct status
too_slow(struct session *s)
{
	struct status st = status_reply(STATUS(STATUS_LATER, 4, 2,
		"Too slow; try again later"), 421);
	session_close(s, st);
	return st;
}

static struct status
lost(struct session *s)
{
	if (conn_state(s->conn) == CONN_TIMEOUT)
		return too_slow(s);
	s->state = SMTP_CLOSED;
	return STATUS(STATUS_LATER, 4, 2, "Connection lost");
}

struct status
smtp_data(struct session *s, struct str args)
{
	struct str input;
	if (args.n > 0)
		return STATUS(STATUS_NEVER, 5, 4, "DATA stands alone");
	/* RFC 3030 3: binary content has no end that DATA could find. */
	if (str_eq_nocase(s->t.body_type, STR("BINARYMIME")))
		return status_reply(STATUS(STATUS_NEVER, 5, 1,
			"BINARYMIME goes by BDAT"), 503);
	struct incoming *in = content_begin(s, true);
	session_reply(s, status_reply(STATUS(STATUS_FINE, 0, 0,
		"Send the message, end with a dot alone"), 354));
	int64_t patience = block_patience(s);
	while (!content_is_done(in)) {
		conn_deadline(s->conn, clock_in(patience));
		if (!conn_peek(s->conn, &input))
			return lost(s);
		conn_consume(s->conn, content_feed(in, input));
		if (content_is_too_slow(in))
			return too_slow(s);
	}
	return content_submit(in);
}

/* ----------------------------------------------------------------- BDAT */

/* "size [LAST]" */
static bool
parse_chunk(struct str args, uint64_t *size, bool *last)
{
	struct str word;
	if (!str_word(&args, &word) || !str_number(word, INT64_MAX, size))
		return false;
	*last = str_word(&args, &word);
	return !*last ||
		(str_eq_nocase(word, STR("LAST")) && str_trim(args).n == 0);
}

/* Takes the octets of a chunk; into the message, or nowhere with in NULL.
 * Not fine only when the session is over. */
static struct status
take_chunk(struct session *s, struct incoming *in, uint64_t left)
{
	struct str input;
	int64_t patience = block_patience(s), start = clock_ms();
	while (left > 0) {
		conn_deadline(s->conn, clock_in(patience));
		if (!conn_peek(s->conn, &input))
			return lost(s);
		if (input.n > left)
			input = str_head(input, (size_t)left);
		if (in != NULL)
			content_feed(in, input);
		conn_consume(s->conn, input.n);
		left -= input.n;
		if (in != NULL ? content_is_too_slow(in)
			       : clock_ms() - start > BLOCK_MS)
			return too_slow(s);
	}
	return status_fine();
}

/* Where the next command begins cannot be known, or is too far away. */
static struct status
give_up_session(struct session *s, struct status st)
{
	session_close(s, st);
	return st;
}

static struct status
read_size(struct session *s, struct str args, uint64_t *size, bool *last)
{
	if (!parse_chunk(args, size, last))
		return give_up_session(s, STATUS(STATUS_NEVER, 5, 4,
			"BDAT size [LAST]; good bye"));
	if (*size > 2 * (uint64_t)s->conf->smtp.max_size)
		return give_up_session(s, status_reply(STATUS(STATUS_NEVER, 3,
			4, "That chunk is far too large; good bye"), 552));
	return status_fine();
}

struct status
bdat_refuse(struct session *s, struct str args, struct status why)
{
	uint64_t size;
	bool last;
	struct status st = read_size(s, args, &size, &last);
	if (status_is_fine(st))
		st = take_chunk(s, NULL, size);
	return status_is_fine(st) ? why : st;
}

struct status
smtp_bdat(struct session *s, struct str args)
{
	uint64_t size;
	bool last;
	struct status st = read_size(s, args, &size, &last);
	if (!status_is_fine(st))
		return st;
	if (s->t.incoming == NULL)
		s->t.incoming = content_begin(s, false);
	if (++s->t.chunks > SMTP_CHUNKS_MOST)
		content_refuse(s->t.incoming, STATUS(STATUS_NEVER, 3, 4,
			"Too many chunks"));
	st = take_chunk(s, s->t.incoming, size);
	if (!status_is_fine(st))
		return st;
	/* Good or bad, LAST is answered as the end of a message is: in LMTP
	 * once for each recipient (RFC 2033 4.3). */
	if (last)
		return content_submit(s->t.incoming);
	st = content_status(s->t.incoming);
	if (!status_is_fine(st))
		return st;
	s->more = true;
	return (struct status){STATUS_FINE, 0, 0, 250, str_printf(
		s->transaction_arena, "%llu octets taken",
		(unsigned long long)size)};
}
