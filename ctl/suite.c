/* SPDX-License-Identifier: ISC */
/* The suite as a whole: its configuration, its state, a reload. */
#include "ctl.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* Each line a program has to say, until it ends. */
static void
tell_problems(int from)
{
	FILE *f = fdopen(from, "r");
	char *line = NULL;
	size_t size = 0;
	ssize_t n;
	while (f != NULL && (n = getline(&line, &size, f)) > 0) {
		struct json_row *j = json_begin();
		json_text(j, "problem", str_trim(str_of(line, (size_t)n)));
		json_end(j);
	}
	free(line);
	if (f != NULL)
		fclose(f);
}

/* A program of the suite has its say about the configuration; its exit
 * status. */
static int
ask_program(struct ctl *c, const char *name, const char *option)
{
	struct arena *a = c->arena;
	const char *path = str_cstr(a, str_printf(a, "%.*s/%s",
		STR_ARG(ctl_directory(a)), name));
	char **argv = arena_array(a, 5 + 2 * c->overrides.n, sizeof *argv);
	size_t n = 0;
	int status, said[2] = {-1, -1};
	argv[n++] = str_cstr(a, str_from(name));
	argv[n++] = str_cstr(a, str_from(option));
	argv[n++] = str_cstr(a, STR("--config"));
	argv[n++] = str_cstr(a, str_from(c->config));
	for (size_t i = 0; i < c->overrides.n; i++) {
		argv[n++] = str_cstr(a, STR("--set"));
		argv[n++] = str_cstr(a, c->overrides.v[i]);
	}
	if (c->json && pipe2(said, O_CLOEXEC) != 0)
		ctl_fail(EX_OSERR, "a pipe: %s", strerror(errno));
	pid_t pid = fork();
	if (pid == 0) {
		if (c->json)
			dup2(said[1], STDERR_FILENO);
		execv(path, argv);
		ctl_fail(EX_UNAVAILABLE, "%s: %s", path, strerror(errno));
	}
	if (c->json) {
		close(said[1]);
		tell_problems(said[0]);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		ctl_fail(EX_OSERR, "%s: %s", path, strerror(errno));
	return WIFEXITED(status) ? WEXITSTATUS(status) : EX_SOFTWARE;
}

/* Would programs read it at all? */
static bool
can_be_read(const struct ctl *c)
{
	struct buf *errors = buf_new(c->arena);
	int fd = open(c->config, O_RDONLY | O_CLOEXEC);
	bool good = fd >= 0 && conf_read(c->arena, fd, c->config,
		c->overrides, errors) != NULL;
	if (fd >= 0)
		close(fd);
	return good;
}

/* suratd knows what must be right before it starts, auth what stands in the
 * tables, queue what reports say; all are heard. */
int
ctl_check(struct ctl *c)
{
	ctl_options(c, NULL, 0);
	int first = ask_program(c, "suratd", "-n");
	if (!can_be_read(c))
		return first;
	int second = ask_program(c, "auth", "--check");
	int third = ask_program(c, "queue", "--check");
	return first != 0 ? first : second != 0 ? second : third;
}

/* ---------------------------------------------------------------- config */

static void
show_option(const struct ctl *c, const struct conf_option *o)
{
	if (!c->json) {
		printf("%s.%s\n    %s\n    %s, default \"%s\"\n", o->section,
			o->name, o->help, o->kind, o->def);
		return;
	}
	struct json_row *j = json_begin();
	json_text(j, "section", str_from(o->section));
	json_text(j, "name", str_from(o->name));
	json_text(j, "kind", str_from(o->kind));
	json_text(j, "default", str_from(o->def));
	json_text(j, "help", str_from(o->help));
	json_end(j);
}

/* The part of surat.conf(5) that lists them; a test holds the two together. */
static void
show_manual(struct arena *a, const struct conf_option *o, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct str kind = str_lower(a, str_from(o[i].kind));
		if (str_eq(kind, STR("lines")))
			kind = STR("list");
		if (i == 0 || strcmp(o[i].section, o[i - 1].section) != 0)
			printf("%s.Ss Section %s\n.Bl -tag -width Ds\n",
				i == 0 ? "" : ".El\n", o[i].section);
		printf(".It Ic %s.%s\n%s\nA %.*s; default%s", o[i].section,
			o[i].name, o[i].help, STR_ARG(kind),
			*o[i].def == '\0' ? " empty.\n" : "\n");
		if (*o[i].def != '\0')
			printf(".Dq %s .\n", o[i].def);
	}
	printf(".El\n");
}

static void
show_values(struct ctl *c, const struct conf *conf,
	const struct conf_option *o, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct buf *value = buf_new(c->arena);
		struct json_row *j = json_begin();
		conf_write_value(conf, i, value);
		json_text(j, "section", str_from(o[i].section));
		json_text(j, "name", str_from(o[i].name));
		json_text(j, "value", buf_str(value));
		json_end(j);
	}
}

int
ctl_config(struct ctl *c)
{
	bool options = false, manual = false;
	size_t count;
	const struct option_row rows[] = {
		{"--options", OPTION_FLAG, &options, NULL,
			"every option there is, with its default"},
		{"--mdoc", OPTION_FLAG, &manual}};
	ctl_options(c, rows, sizeof rows / sizeof *rows);
	const struct conf_option *o = conf_options(&count);
	if (manual)
		show_manual(c->arena, o, count);
	for (size_t i = 0; options && !manual && i < count; i++)
		show_option(c, &o[i]);
	if (options || manual)
		return EX_OK;
	const struct conf *conf = ctl_conf(c);
	if (c->json) {
		show_values(c, conf, o, count);
		return EX_OK;
	}
	struct buf *text = buf_new(c->arena);
	conf_write(conf, text);
	fwrite(text->p, 1, text->n, stdout);
	return EX_OK;
}

/* ---------------------------------------------------------------- status */

static void
show_service(struct ctl *c, const struct msg_service_row *s)
{
	if (!c->json) {
		struct str since = text_duration(c->arena,
			clock_wall() - s->since);
		printf("%-16.*s %-8.*s %7lld %8.*s %8lld %6lld %9lld\n",
			STR_ARG(s->name), STR_ARG(s->state),
			(long long)s->pid, STR_ARG(s->since == 0 ? STR("-")
								 : since),
			(long long)s->restarts, (long long)s->busy,
			(long long)s->served);
		return;
	}
	struct json_row *j = json_begin();
	json_text(j, "name", s->name);
	json_text(j, "state", s->state);
	json_number(j, "pid", s->pid);
	json_number(j, "since", s->since);
	json_number(j, "restarts", s->restarts);
	json_number(j, "busy", s->busy);
	json_number(j, "served", s->served);
	json_end(j);
}

int
ctl_suite_status(struct ctl *c)
{
	struct message ask = MESSAGE(service), m;
	ask.service.verb = STR("list");
	ctl_options(c, NULL, 0);
	int conversation = ctl_ask(c, "surat", "master", &ask);
	if (!c->json)
		printf("%-16s %-8s %7s %8s %8s %6s %9s\n", "NAME", "STATE",
			"PID", "STARTED", "RESTARTS", "BUSY", "SERVED");
	for (;;) {
		ctl_answer(c->arena, conversation, &m);
		if (m.kind != MSG_service_row)
			break;
		show_service(c, &m.service_row);
	}
	return m.kind == MSG_done ? ctl_status(m.done.status) : EX_PROTOCOL;
}

int
ctl_reload(struct ctl *c)
{
	struct message ask = MESSAGE(service);
	ask.service.verb = STR("reload");
	ctl_options(c, NULL, 0);
	return ctl_done(c, ctl_ask(c, "surat", "master", &ask));
}
