/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "deliver_suites.h"
#include "deliver/pipe.h"
#include "base/arena.h"

#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>

/* As wait gives it. */
#define EXITED(code) ((code) << 8)

static struct str
ended(struct arena *a, int status, bool late, const char *output)
{
	const struct pipe_end e = {status, late, str_from(output)};
	return status_format(a, pipe_status(a, &e));
}

START_TEST(row71_exit_status)
{
	static const struct {
		int code;
		const char *want;
	} rows[] = {{0, "2.0.0"}, {1, "5.3.0"}, {63, "5.3.0"}, {64, "5.3.0"},
		{65, "5.6.0"}, {66, "5.3.0"}, {67, "5.1.1"}, {68, "5.1.2"},
		{69, "5.3.0"}, {70, "5.3.0"}, {71, "4.3.0"}, {72, "5.3.0"},
		{73, "5.2.0"}, {74, "4.3.0"}, {75, "4.3.0"}, {76, "5.5.0"},
		{77, "5.7.0"}, {78, "5.3.5"}, {79, "5.3.0"}, {126, "4.3.5"},
		{127, "4.3.5"}, {128, "5.3.0"}, {137, "4.3.0"},
		{193, "5.3.0"}, {255, "5.3.0"}};
	struct arena *a = arena_new("test");
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct str got = ended(a, EXITED(rows[i].code), false, "");
		ck_assert_msg(str_starts(got, str_from(rows[i].want)),
			"%d: %.*s", rows[i].code, STR_ARG(got));
	}
	ck_assert_view(ended(a, SIGSEGV, false, ""),
		"4.3.0 - the command died of signal 11");
	ck_assert_view(ended(a, SIGKILL, true, "5.7.1 x"),
		"4.3.0 - the command took too long and was ended: 5.7.1 x");
	/* one that handled SIGTERM was late all the same */
	ck_assert_view(ended(a, EXITED(0), true, ""),
		"4.3.0 - the command took too long and was ended");
	arena_free(a);
}
END_TEST

START_TEST(row71_output)
{
	struct arena *a = arena_new("test");
	ck_assert_view(ended(a, EXITED(67), false, "\n one \r\n\n two\nthree\n4"),
		"5.1.1 - there is no such user: one\ntwo\nthree");
	ck_assert_view(ended(a, EXITED(67), false, "a\x1b[2Jb\xff"),
		"5.1.1 - there is no such user: a?[2Jb?");
	ck_assert_view(ended(a, EXITED(67), false, "\xc3\xa9"),
		"5.1.1 - there is no such user: \xc3\xa9");
	ck_assert_view(ended(a, EXITED(67), false, "4.2.1 Moving house"),
		"4.2.1 - Moving house");
	ck_assert_view(ended(a, EXITED(75), false, "5.7.1 No"), "5.7.1 - No");
	ck_assert_view(ended(a, EXITED(75), false, "2.0.0 fine"),
		"4.3.0 - not now: 2.0.0 fine");
	ck_assert_view(ended(a, EXITED(75), false, "5.7 No"),
		"4.3.0 - not now: 5.7 No");
	ck_assert_view(ended(a, EXITED(0), false, "5.7.1 No"),
		"2.0.0 - the command took it");
	ck_assert_view(ended(a, SIGKILL, false, "5.7.1 No"),
		"4.3.0 - the command died of signal 9: 5.7.1 No");
	char text[5000];
	memset(text, 'x', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	ck_assert_uint_lt(ended(a, EXITED(1), false, text).n, 600);
	arena_free(a);
}
END_TEST

/* --------------------------------------------------- where commands stand */

static struct str texts[6];

static struct msg_job
job(const char *command, const char *rcpt)
{
	texts[0] = str_from(rcpt);
	texts[1] = texts[2] = texts[3] = STR("");
	return (struct msg_job){.id = STR("id"), .sender = STR("s@t"),
		.destination = str_from(command), .size = 7,
		.number = {&texts[4], 1}, .rcpt = {&texts[0], 1},
		.orcpt = {&texts[1], 1}, .user = {&texts[2], 1},
		.home = {&texts[3], 1}};
}

static const char *
put(struct arena *a, const char *text)
{
	char *path = str_cstr(a, STR("/tmp/pipe-test-XXXXXX"));
	int fd = mkstemp(path);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	return path;
}

START_TEST(commands_of_aliases)
{
	struct arena *a = arena_new("test");
	const char *path = put(a, "# x: |no\nlist: bob, \"|/bin/a 'b, c'\",\n"
		" |/bin/d\nother: \"|/bin/e\"x\n");
	struct conf c = {.general.aliases = str_from(path),
		.pipe.aliases = true};
	char **argv;
	struct msg_job j = job("|/bin/a 'b, c'", "list@x");
	ck_assert(status_is_fine(pipe_find(a, &c, &j, &argv)));
	ck_assert_str_eq(argv[0], "/bin/sh");
	ck_assert_str_eq(argv[1], "-c");
	ck_assert_str_eq(argv[2], "/bin/a 'b, c'");
	ck_assert_ptr_null(argv[3]);
	j = job("|/bin/d", "list@x");
	ck_assert(status_is_fine(pipe_find(a, &c, &j, &argv)));
	static const char *const none[] = {"|no", "|/bin/e", "|/bin/e\"x", "|",
		"|/bin/a", "|bob", "bob", "|/bin/d\nother: x"};
	for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
		j = job(none[i], "list@x");
		ck_assert_msg(status_is_later(pipe_find(a, &c, &j, &argv)),
			"%s", none[i]);
	}
	j = job("|/bin/d", "list@x");
	c.pipe.aliases = false;
	ck_assert(status_is_later(pipe_find(a, &c, &j, &argv)));
	c.pipe.aliases = true;
	chmod(path, 0666);
	ck_assert(status_is_later(pipe_find(a, &c, &j, &argv)));
	unlink(path);
	ck_assert(status_is_later(pipe_find(a, &c, &j, &argv)));
	arena_free(a);
}
END_TEST

START_TEST(commands_by_name)
{
	struct arena *a = arena_new("test");
	struct str line = STR("one nobody /bin/x {user} {extension} {domain} "
		"{size} {queue_id}"), all = STR("all nobody /bin/x "
		"{recipients}"), both[] = {line, all};
	struct conf c = {.general.plus = STR("+-"),
		.pipe.commands = {both, 2}};
	char **argv;
	struct msg_job j = job("one", "a-b+c@d");
	ck_assert(status_is_fine(pipe_find(a, &c, &j, &argv)));
	ck_assert_str_eq(argv[1], "a");
	ck_assert_str_eq(argv[2], "b+c");
	ck_assert_str_eq(argv[3], "d");
	ck_assert_str_eq(argv[4], "7");
	ck_assert_str_eq(argv[5], "id");
	ck_assert(!pipe_is_together(&c, STR("one")));
	ck_assert(pipe_is_together(&c, STR("all")));
	j = job("one", "-a@d");
	ck_assert_view(status_enhanced(a, pipe_find(a, &c, &j, &argv)),
		"5.1.3");
	j = job("two", "a@d");
	ck_assert(status_is_later(pipe_find(a, &c, &j, &argv)));
	/* Root started it, as somebody else. */
	setenv("SURAT_UID", "1", 1);
	j = job("one", "a@d");
	if (getuid() != 65534)
		ck_assert(status_is_later(pipe_find(a, &c, &j, &argv)));
	unsetenv("SURAT_UID");
	arena_free(a);
}
END_TEST

START_TEST(commands_of_people)
{
	struct arena *a = arena_new("test");
	char home[] = "/tmp/pipe-home-XXXXXX";
	ck_assert_ptr_nonnull(mkdtemp(home));
	char *path = str_cstr(a, str_printf(a, "%s/.forward", home));
	FILE *f = fopen(path, "w");
	fputs("\\carol, \"|/bin/a b\"\n", f);
	fclose(f);
	chmod(path, 0644);
	struct conf c = {.pipe.forward = true};
	char **argv;
	struct msg_job j = job("|/bin/a b", "carol@x");
	texts[2] = STR("carol");
	texts[3] = str_from(home);
	ck_assert(status_is_fine(pipe_find(a, &c, &j, &argv)));
	j.destination = STR("|/bin/a");
	ck_assert(status_is_later(pipe_find(a, &c, &j, &argv)));
	j.destination = STR("|/bin/a b");
	c.pipe.forward = false;
	ck_assert(status_is_later(pipe_find(a, &c, &j, &argv)));
	c.pipe.forward = true;
	chmod(path, 0666);
	ck_assert(status_is_later(pipe_find(a, &c, &j, &argv)));
	unlink(path);
	ck_assert(status_is_later(pipe_find(a, &c, &j, &argv)));
	rmdir(home);
	arena_free(a);
}
END_TEST

Suite *
suite_pipe(void)
{
	return SUITE("pipe", row71_exit_status, row71_output,
		commands_of_aliases, commands_by_name, commands_of_people);
}
