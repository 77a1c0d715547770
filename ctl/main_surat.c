/* SPDX-License-Identifier: ISC */
/* surat: the operator's command. */
#include "ctl.h"
#include "base/arena.h"

#include <stdlib.h>

static const struct subcommand subcommands[] = {
	{"run", "--dir DIR [OPTION]...",
		"Starts a whole suite in one directory on loopback ports.",
		ctl_run},
	{"setup", "DOMAIN [--answers FILE] [--dry-run] [--force] "
		"[--probe HOST[:PORT]] [--offline]",
		"Makes a configuration, a first user and a list for the DNS.",
		ctl_setup},
	{"doctor", "[--json]", "Looks at what is live, and says what is not "
		"well.", ctl_doctor},
	{"check", "", "Says everything that is wrong with the configuration.",
		ctl_check},
	{"status", "[--json]", "Shows what runs.", ctl_suite_status},
	{"reload", "", "Has the configuration read anew; sessions go on.",
		ctl_reload},
	{"config", "[--options] [--json]",
		"Shows the configuration as it is, or every option there is.",
		ctl_config},
	{"queue", "[list|show|why|counts|top|retry|hold|release|delete|expire"
		"|redirect]", "Shows and changes the queue.", ctl_queue},
	{"trace", "ADDRESS|MESSAGE-ID|QUEUE-ID [--limit N] [--json]",
		"Shows what became of a message, and when.", ctl_trace},
	{"explain", "ADDRESS | --client IP --to ADDRESS [OPTION]...",
		"Says what would become of mail, and what decides it.",
		ctl_explain},
	{"mailbox", "list|stat|check|rebuild [USER|DIR]",
		"Shows an account's folders; checks and mends them.",
		ctl_mailbox},
	{"metrics", "[--http]", "Shows figures of the suite as OpenMetrics.",
		ctl_metrics},
	{"backup", "DIR [--base OLDER]", "Saves configuration, queue and mail "
		"while the suite runs.", ctl_backup},
	{"restore", "DIR [--user NAME [--folder NAME "
		"[--uid N|--message-id ID]]]",
		"Puts back what a backup has.", ctl_restore},
	{"user", "[add|passwd|apppass|list|delete]",
		"Edits the table of users.", ctl_user},
};

int
main(int argc, char **argv)
{
	struct ctl c = {.arena = arena_new("surat"),
		.config = conf_file(), .argc = argc - 1, .argv = argv + 1};
	return ctl_dispatch(&c, "surat", subcommands,
		sizeof subcommands / sizeof *subcommands);
}
