/* SPDX-License-Identifier: ISC */
#include "mail/mbox.h"
#include "mail/date.h"

void
mbox_from_line(struct buf *out, struct str sender, int64_t seconds)
{
	static const char days[] = "SunMonTueWedThuFriSat";
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	struct date_parts t = date_split((struct date){seconds, 0});
	if (sender.n == 0)
		sender = STR("MAILER-DAEMON");
	buf_adds(out, "From ");
	for (size_t i = 0; i < sender.n; i++) {
		unsigned char c = (unsigned char)sender.p[i];
		buf_addc(out, c <= 0x20 || c == 0x7f ? '_' : sender.p[i]);
	}
	buf_printf(out, " %.3s %.3s %2d %02d:%02d:%02d %lld\n",
		days + 3 * t.weekday, months + 3 * (t.month - 1), t.day,
		t.hour, t.minute, t.second, (long long)t.year);
}

static bool
is_from(struct str line)
{
	while (str_starts(line, STR(">")))
		line = str_skip(line, 1);
	return str_starts(line, STR("From "));
}

static bool
is_readers_own(struct str line)
{
	static const struct str names[] = {STR_INIT("status"),
		STR_INIT("x-status"), STR_INIT("x-keywords"),
		STR_INIT("x-uid"), STR_INIT("x-imap"), STR_INIT("x-imapbase"),
		STR_INIT("content-length")};
	struct str name = str_trim(str_head(line, str_find(line, ':')));
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (str_eq_nocase(name, names[i]))
			return true;
	return false;
}

void
mbox_message(struct buf *out, struct str message)
{
	bool header = true, dropped = false;
	while (message.n > 0) {
		size_t n = str_find(message, '\n');
		struct str line = str_head(message, n);
		bool folded = line.n > 0 &&
			(line.p[0] == ' ' || line.p[0] == '\t');
		message = str_skip(message, n + 1);
		if (line.n == 0)
			header = false;
		dropped = header &&
			(folded ? dropped : is_readers_own(line));
		if (dropped)
			continue;
		if (is_from(line))
			buf_addc(out, '>');
		buf_add(out, line);
		buf_addc(out, '\n');
	}
	buf_addc(out, '\n');
}
