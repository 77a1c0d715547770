/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "deliver_suites.h"
#include "deliver/forward.h"
#include "base/arena.h"
#include "base/clock.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

START_TEST(contents)
{
	static const struct {
		const char *text, *want; /* NULL: none; "!": wrong */
		const char *with; /* where commands may be, if another */
	} rows[] = {
		{"bob@elsewhere.test\n", "bob@elsewhere.test"},
		{"# a comment\n\n bob , carol@X.test\n", "bob\ncarol@x.test"},
		{"\\alice, bob@x.test", "\\\nbob@x.test"},
		{"\\ALICE@example.org\n", "\\"},
		{"\"a,b\"@x.test\n", "\"a,b\"@x.test"},
		{"", NULL}, {"#\n\n", NULL}, {" , ,\n", NULL},
		{"|/usr/bin/procmail\n", "!", "|/usr/bin/procmail"},
		{"\\alice, \"|/usr/bin/vacation a, b\"\n", "!",
			"\\\n|/usr/bin/vacation a, b"},
		{"\"|\"\n", "!"}, {"\"|x\n", "!"},
		{"/var/mail/alice\n", "!"},
		{"bob@x.test, /dev/null\n", "!"},
		{":include:/etc/list\n", "!"},
		{"\\bob\n", "!"}, {"a b@x.test\n", "!"}, {"a b\n", "!"},
		{"<bob@x.test>\n", "!"}, {"bob@\n", "!"},
	};
	struct arena *a = arena_new("test");
	for (size_t k = 0; k < 2 * (sizeof rows / sizeof *rows); k++) {
		const char *wrong;
		struct str out;
		size_t i = k / 2;
		const struct forward_rules rules = {
			STR("alice@example.org"), STR("+"), k % 2 == 1,
			STR("id")};
		const char *want = k % 2 == 1 && rows[i].with != NULL
			? rows[i].with : rows[i].want;
		bool found = forward_parse(
			a, str_from(rows[i].text), &rules, &out, &wrong);
		bool bad = want != NULL && strcmp(want, "!") == 0;
		ck_assert_msg((wrong != NULL) == bad, "row %zu: %s", i, wrong);
		ck_assert_msg(found == (want != NULL && !bad), "row %zu", i);
		if (found)
			ck_assert_msg(str_eq(out, str_from(want)),
				"row %zu: %.*s", i, STR_ARG(out));
	}
	arena_free(a);
}
END_TEST

static char home[] = "/tmp/forward-test-XXXXXX";

static const char *
put(struct arena *a, const char *name, const char *text)
{
	const char *path = str_cstr(a, str_printf(a, "%s/%s", home, name));
	FILE *f = fopen(path, "w");
	fputs(text, f);
	fclose(f);
	chmod(path, 0644);
	return path;
}

static struct str
find(struct arena *a, const char *rcpt)
{
	struct str out;
	const struct forward_rules rules = {
		STR("alice"), STR("+-"), false, STR("test")};
	return forward_find(a, str_from(home), str_from(rcpt), &rules, &out) ==
		FORWARD_FOUND ? out : STR("-");
}

START_TEST(files)
{
	struct arena *a = arena_new("test");
	ck_assert_ptr_nonnull(mkdtemp(home));
	ck_assert_view(find(a, "alice@x.test"), "-");
	const char *plain = put(a, ".forward", "bob@x.test\n");
	const char *list = put(a, ".forward+list", "carol@x.test\n");
	ck_assert_view(find(a, "alice@x.test"), "bob@x.test");
	ck_assert_view(find(a, "Alice+List@x.test"), "carol@x.test");
	ck_assert_view(find(a, "alice-list@x.test"), "carol@x.test");
	ck_assert_view(find(a, "alice+other@x.test"), "bob@x.test");
	ck_assert_view(find(a, "alice+@x.test"), "bob@x.test");
	ck_assert_view(find(a, "alice+../x@x.test"), "bob@x.test");
	/* what others could have written, or is no file, is not believed */
	chmod(plain, 0664);
	ck_assert_view(find(a, "alice@x.test"), "-");
	chmod(plain, 0644);
	ck_assert_view(find(a, "alice@x.test"), "bob@x.test");
	unlink(plain);
	ck_assert_int_eq(symlink(list, plain), 0);
	ck_assert_view(find(a, "alice@x.test"), "-");
	unlink(plain);
	ck_assert_int_eq(link(list, plain), 0);
	ck_assert_view(find(a, "alice@x.test"), "-");
	unlink(plain);
	ck_assert_int_eq(mkfifo(plain, 0644), 0);
	ck_assert_view(find(a, "alice@x.test"), "-");
	unlink(plain);
	ck_assert_int_eq(mkdir(plain, 0755), 0);
	ck_assert_view(find(a, "alice@x.test"), "-");
	rmdir(plain);
	put(a, ".forward", "|sh\n");
	ck_assert_view(find(a, "alice@x.test"), "-");
	if (geteuid() == 0) {
		put(a, ".forward", "bob@x.test\n");
		ck_assert_int_eq(chown(plain, 12345, 12345), 0);
		ck_assert_view(find(a, "alice@x.test"), "-");
	}
	unlink(plain);
	unlink(list);
	rmdir(home);
	arena_free(a);
}
END_TEST

/* Names that come and go between our steps. */
static void
change_names(const char *good, const char *secret, const char *name)
{
	for (;;) {
		if (link(secret, name) == 0)
			unlink(name);
		if (symlink(secret, name) == 0)
			unlink(name);
		if (rename(good, name) == 0)
			rename(name, good);
	}
}

/* A file that is another's is not believed, however quickly it is gone. */
START_TEST(links_at_any_moment)
{
	struct arena *a = arena_new("test");
	ck_assert_ptr_nonnull(mkdtemp(home));
	const char *good = put(a, "good", "bob@x.test\n");
	const char *secret = put(a, "secret", "mallory@x.test\n");
	const char *name = str_cstr(a, str_printf(a, "%s/.forward", home));
	size_t wrong = 0;
	pid_t pid = fork();
	if (pid == 0)
		change_names(good, secret, name);
	int64_t end = clock_in(500);
	while (clock_left(end) > 0) {
		struct arena_mark m = arena_mark(a);
		struct str to = find(a, "alice@x.test");
		wrong += str_eq(to, STR("mallory@x.test"));
		arena_rewind(a, m);
	}
	kill(pid, SIGKILL);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	unlink(name);
	put(a, ".forward", "bob@x.test\n");
	ck_assert_view(find(a, "alice@x.test"), "bob@x.test");
	unlink(name);
	unlink(good);
	unlink(secret);
	rmdir(home);
	ck_assert_uint_eq(wrong, 0);
	arena_free(a);
}
END_TEST

Suite *
suite_forward(void)
{
	return SUITE("forward", contents, files, links_at_any_moment);
}
