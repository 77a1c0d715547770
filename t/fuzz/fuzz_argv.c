/* SPDX-License-Identifier: ISC */
/* Fuzz entry of commands: a line of pipe.commands and, behind a NUL, what is
 * put into it; and the same text as targets of aliases. */
#include "base/arena.h"
#include "mail/target.h"
#include "sys/argv.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void
check_fill(struct arena *a, const struct argv *c, struct str value)
{
	const struct argv_values v = {.sender = value, .recipient = value,
		.local = value, .user = value, .extension = value,
		.domain = value, .original = value, .queue_id = value,
		.size = value, .recipients = {&value, 1}};
	char **argv = argv_fill(a, c, &v);
	if (argv == NULL)
		return;
	size_t count = 0;
	while (argv[count] != NULL)
		count++;
	assert(count == c->count && argv[0][0] == '/');
	for (size_t i = 1; i < count; i++)
		assert(argv[i][0] != '-' || c->words[i].p[0] == '-');
}

static void
check_targets(struct arena *a, struct str text)
{
	struct str entry, name, out, again;
	int line, next = 1;
	while (target_entry(a, &text, &entry, &line, &next)) {
		assert(entry.n > 0 && line < next);
		if (!target_name(a, &entry, &name))
			continue;
		while (entry.n > 0) {
			struct str t = target_take(&entry);
			if (!target_command(a, t, &out))
				continue;
			assert(target_is_command(t) && out.n > 1 &&
				out.n <= TARGET_COMMAND_MOST + 1);
			assert(target_command(a, out, &again) &&
				str_eq(out, again));
		}
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct arena *a = arena_new("fuzz");
	struct str rest = str_of(data, n), line;
	struct argv c;
	check_targets(a, rest);
	if (str_cut(&rest, '\0', &line) && argv_parse(line, &c)) {
		assert(c.count > 0 && c.count <= ARGV_MOST);
		check_fill(a, &c, rest);
	}
	arena_free(a);
	return 0;
}
