/* SPDX-License-Identifier: ISC */
/* The queue's service row. */
#include "queue.h"

int
main(int argc, char **argv)
{
	static const struct service queue = {
		.name = "queue",
		.asker = "queue",
		.profile = SANDBOX_TREE | SANDBOX_THREADS,
		.prepare = queue_prepare,
		.trees = queue_trees,
		.readable = queue_readable,
		.megabytes = 4096,
		.run = queue_run,
		.usage = "Keeps messages that were taken over until every "
			"recipient has them: commits, schedules, hands to "
			"agents, reports.",
	};
	return service_main(&queue, argc, argv);
}
