/* SPDX-License-Identifier: ISC */
/* The suites of auth/. */
#include "suites.h"
#include "auth_suites.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"

#include <unistd.h>

static const struct conf *
read_conf(struct arena *a, const char *text)
{
	int ends[2];
	struct buf *errors = buf_new(a);
	ck_assert_int_eq(pipe(ends), 0);
	ck_assert_int_eq(write(ends[1], text, strlen(text)),
		(ssize_t)strlen(text));
	close(ends[1]);
	const struct conf *c = conf_read(
		a, ends[0], "test", (struct str_list){NULL, 0}, errors);
	ck_assert_msg(c != NULL, "%.*s", STR_ARG(buf_str(errors)));
	close(ends[0]);
	return c;
}

struct auth *
test_auth(struct arena *a, const char *conf, const char *users,
	const char *aliases)
{
	struct auth *x = arena_one(a, struct auth);
	struct buf *errors = buf_new(a);
	x->program = arena_one(a, struct program);
	x->conf = x->program->conf = read_conf(a, conf);
	x->program->hostname = STR("mx.example.org");
	x->program->arena = x->arena = a;
	x->users = users_parse(
		a, str_from(users), "users", STR("/mail"), errors);
	x->aliases = aliases_parse(
		a, str_from(aliases), "aliases", x->conf->pipe.aliases, errors);
	ck_assert_msg(errors->n == 0, "%.*s", STR_ARG(buf_str(errors)));
	tables_open(x);
	pipes_open(x, buf_new(a));
	for (size_t i = 0; i < x->table_count; i++)
		table_refresh(x->tables[i]);
	x->tables_checked = CLOCK_FOREVER / 2;
	return x;
}

const char *
test_file(struct arena *a, const char *text)
{
	char *path = str_cstr(a, STR("/tmp/auth-test-XXXXXX"));
	int fd = mkstemp(path);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	return path;
}

int
main(void)
{
	static Suite *(*const suites[])(void) = {suite_users, suite_aliases,
		suite_password, suite_lookup, suite_limits, suite_login,
		suite_table, suite_decide};
	log_level(LOG_EMERG);
	return run_suites(suites, sizeof suites / sizeof *suites);
}
