/* SPDX-License-Identifier: ISC */
/*
 * status: what became of something an outsider will hear of.
 *
 * Fine, later (try again) or never (give up): the one bit that matters most
 * in mail travels from the disk error to the SMTP reply, the IMAP answer, the
 * log line and the delivery report, and is translated only at that edge.
 *
 * The enhanced code is RFC 3463's subject and detail; its class is the status
 * class.  The text is one line without control characters, or several joined
 * by LF when a remote server spoke several; it belongs to whoever made the
 * status, usually a literal or the transaction arena.
 */
#ifndef BASE_STATUS_H
#define BASE_STATUS_H

#include "base/str.h"

enum status_class {
	STATUS_FINE = 2,
	STATUS_LATER = 4,
	STATUS_NEVER = 5,
};

struct status {
	enum status_class class;
	uint16_t subject; /* RFC 3463, 0..999 */
	uint16_t detail;
	uint16_t reply; /* SMTP reply code, 0: follows from the rest */
	struct str text;
};

#define STATUS(cls, subj, det, literal) \
	((struct status){(cls), (subj), (det), 0, STR(literal)})

static inline struct status
status_fine(void)
{
	return STATUS(STATUS_FINE, 0, 0, "OK");
}

static inline struct status
status_later(int subject, int detail, struct str text)
{
	return (struct status){STATUS_LATER, (uint16_t)subject,
		(uint16_t)detail, 0, text};
}

static inline struct status
status_never(int subject, int detail, struct str text)
{
	return (struct status){STATUS_NEVER, (uint16_t)subject,
		(uint16_t)detail, 0, text};
}

static inline bool
status_is_fine(struct status s)
{
	return s.class == STATUS_FINE;
}

static inline bool
status_is_later(struct status s)
{
	return s.class == STATUS_LATER;
}

/* The same with another SMTP reply code. */
static inline struct status
status_reply(struct status s, int code)
{
	s.reply = (uint16_t)code;
	return s;
}

/*
 * From errno after a failed system call: disk full and quota are later 4.3.1
 * and 4.2.2, everything else later 4.3.0.  The text names the action.
 */
struct status status_errno(struct arena *a, const char *action, int err);

/* The SMTP reply code: s.reply, or what RFC 5321 4.2.3 has for the code. */
int status_reply_code(struct status s);

/* "5.1.1" */
struct str status_enhanced(struct arena *a, struct status s);

/* "5.1.1 550 text" ("-": no reply code), lines kept apart by LF: wire form
 * between processes and in the queue.  status_parse takes it back; false when
 * it is not one. */
struct str status_format(struct arena *a, struct status s);
bool status_parse(struct str s, struct status *out);

#endif
