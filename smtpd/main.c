/* SPDX-License-Identifier: ISC */
/* smtpd's service row. */
#include "smtpd.h"

int
main(int argc, char **argv)
{
	static const struct service smtpd = {
		.name = "smtpd",
		.asker = "smtpd",
		.profile = SANDBOX_ASKER,
		.idle = offsetof(struct conf, smtp.idle_processes),
		.most = offsetof(struct conf, smtp.max_processes),
		.serve = smtp_serve,
		.too_busy = "421 4.3.2 Too busy; try again later\r\n",
		.usage = "Takes mail by SMTP, submission and LMTP and hands it "
			"to the queue.",
	};
	return service_main(&smtpd, argc, argv);
}
