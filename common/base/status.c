/* SPDX-License-Identifier: ISC */
/* Statuses: reply codes from enhanced codes, text form and back. */
#include "base/status.h"
#include "base/arena.h"

#include <errno.h>

struct status
status_errno(struct arena *a, const char *action, int err)
{
	struct str text = str_printf(a, "%s: %s", action, strerror(err));
	if (err == ENOSPC)
		return status_later(3, 1, text);
	if (err == EDQUOT)
		return status_later(2, 2, text);
	return status_later(3, 0, text);
}

static const struct {
	uint8_t class, subject, detail;
	uint16_t reply;
} reply_codes[] = {
	{2, 0, 0, 250},
	{4, 2, 2, 452}, /* mailbox full */
	{4, 3, 1, 452}, /* system storage */
	{4, 3, 2, 421}, /* shutting down */
	{4, 5, 3, 452}, /* too many recipients */
	{4, 7, 0, 454}, /* temporary authentication failure */
	{5, 1, 3, 501}, /* bad address syntax */
	{5, 1, 10, 556}, /* null MX */
	{5, 2, 2, 552}, /* mailbox full for good */
	{5, 3, 4, 552}, /* message too big */
	{5, 5, 1, 503}, /* wrong order */
	{5, 5, 2, 500}, /* syntax */
	{5, 5, 4, 501}, /* bad arguments */
	{5, 7, 8, 535}, /* bad credentials */
	{5, 7, 9, 534}, /* mechanism too weak */
};

int
status_reply_code(struct status s)
{
	if (s.reply != 0)
		return s.reply;
	for (size_t i = 0; i < sizeof reply_codes / sizeof *reply_codes; i++)
		if (reply_codes[i].class == s.class &&
			reply_codes[i].subject == s.subject &&
			reply_codes[i].detail == s.detail)
			return reply_codes[i].reply;
	switch (s.class) {
	case STATUS_FINE:
		return 250;
	case STATUS_LATER:
		return s.subject == 2 ? 450 : 451;
	case STATUS_NEVER:
		break;
	}
	return s.subject == 1 || s.subject == 2 || s.subject == 7 ? 550 : 554;
}

struct str
status_enhanced(struct arena *a, struct status s)
{
	return str_printf(a, "%d.%d.%d", s.class, s.subject, s.detail);
}

struct str
status_format(struct arena *a, struct status s)
{
	if (s.reply != 0)
		return str_printf(a, "%d.%d.%d %d %.*s", s.class, s.subject,
			s.detail, s.reply, STR_ARG(s.text));
	return str_printf(a, "%d.%d.%d - %.*s", s.class, s.subject, s.detail,
		STR_ARG(s.text));
}

bool
status_parse(struct str s, struct status *out)
{
	struct str code, reply, part;
	uint64_t n[3], r = 0;
	if (!str_cut(&s, ' ', &code) || !str_cut(&s, ' ', &reply))
		return false;
	for (int i = 0; i < 3; i++)
		if (!str_cut(&code, '.', &part) ||
			!str_number(part, 999, &n[i]))
			return false;
	if (code.p != NULL || (n[0] != 2 && n[0] != 4 && n[0] != 5))
		return false;
	if (!str_eq(reply, STR("-")) && !str_number(reply, 599, &r))
		return false;
	*out = (struct status){(enum status_class)n[0], (uint16_t)n[1],
		(uint16_t)n[2], (uint16_t)r, s};
	return true;
}
