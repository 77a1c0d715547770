/* SPDX-License-Identifier: ISC */
/* surat: the operator's command. */
#include "ctl.h"
#include "base/arena.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct subcommand subcommands[] = {
	{"run", "--dir DIR [OPTION]...",
		"Starts a whole suite in one directory on loopback ports.",
		ctl_run},
	{"setup", "DOMAIN [--answers FILE] [--dry-run] [--force] "
		"[--probe HOST[:PORT]] [--offline]",
		"Makes a configuration, a first user and a list for the DNS.",
		ctl_setup, 1},
	{"doctor", "[--json]", "Looks at what is live, and says what is not "
		"well.", ctl_doctor},
	{"check", "[--json]", "Says everything that is wrong with the configuration.",
		ctl_check},
	{"status", "[--json]", "Shows what runs.", ctl_suite_status},
	{"reload", "", "Has the configuration read anew; sessions go on.",
		ctl_reload},
	{"config", "[--options] [--json]",
		"Shows the configuration as it is, or every option there is.",
		ctl_config},
	{"queue", "[list|show|why|counts|top|retry|hold|release|delete|expire"
		"|redirect]", "Shows and changes the queue.", ctl_queue, 1},
	{"trace", "ADDRESS|MESSAGE-ID|QUEUE-ID [--limit N] [--json]",
		"Shows what became of a message, and when.",
		ctl_trace, 1},
	{"explain", "ADDRESS | --client IP --to ADDRESS [OPTION]...",
		"Says what would become of mail, and what decides it.",
		ctl_explain, 1},
	{"mailbox", "list|stat|check|rebuild [USER|DIR]",
		"Shows an account's folders; checks and mends them.",
		ctl_mailbox},
	{"metrics", "[--http]", "Shows figures of the suite as OpenMetrics.",
		ctl_metrics},
	{"backup", "DIR [--base OLDER]", "Saves configuration, queue and mail "
		"while the suite runs.", ctl_backup, 1},
	{"restore", "DIR [--user NAME [--folder NAME "
		"[--uid N|--message-id ID]]]",
		"Puts back what a backup has.", ctl_restore, 1},
	{"user", "[add|passwd|apppass|list|delete]",
		"Edits the table of users.", ctl_user},
};

int
main(int argc, char **argv)
{
	struct ctl c = {.arena = arena_new("surat"),
		.config = conf_file(), .argc = argc - 1, .argv = argv + 1};
	if (argc > 1 && strcmp(argv[1], "--version") == 0)
		return puts("surat " VERSION) < 0 ? EX_IOERR : EX_OK;
	int status = ctl_dispatch(&c, "surat", subcommands,
		sizeof subcommands / sizeof *subcommands);
	if (fflush(stdout) != 0 || ferror(stdout))
		ctl_fail(EX_IOERR, "standard output: %s", strerror(errno));
	return status;
}
