/* SPDX-License-Identifier: ISC */
/*
 * Text tables edited by hand: noticed when they change, checked before use; a
 * broken one keeps the last good state and says so, once per change.
 */
#include "auth.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHECK_MS = 1000, TABLE_MOST = 64 << 20, ARENA_MOST = 512 << 20 };

static bool
read_file(int fd, struct buf *out)
{
	for (;;) {
		ssize_t n = read(fd, buf_room(out, 65536), 65536);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n == 0;
		buf_grew(out, (size_t)n);
		if (out->n > TABLE_MOST)
			return false;
	}
}

/* True when the file is another than was last read; text is its content. */
static bool
changed(struct table_file *f, struct buf *text, bool first)
{
	struct stat st;
	int fd = open(f->path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		/* No file is an empty table, at the start only: a file that
		 * vanishes later is somebody's half-done edit. */
		return first && errno == ENOENT;
	}
	bool new = false;
	if (fstat(fd, &st) == 0) {
		int64_t when = (int64_t)st.st_mtim.tv_sec * 1000000000 +
			st.st_mtim.tv_nsec;
		new = first || when != f->changed || st.st_size != f->size;
		f->changed = when;
		f->size = st.st_size;
	}
	new = new && read_file(fd, text);
	close(fd);
	return new;
}

static void
complain(const struct buf *errors)
{
	struct str rest = buf_str(errors), line;
	while (str_cut(&rest, '\n', &line))
		if (line.n > 0)
			log_error(LOG_NO_ID, "table-broken",
				LOG_STR("where", line));
}

static struct arena *
table_arena(void)
{
	struct arena *a = arena_new("table");
	arena_limit(a, ARENA_MOST);
	return a;
}

static void
refresh_users(struct auth *x, bool first)
{
	struct arena *a = table_arena();
	struct buf *text = buf_new(a), *errors = buf_new(a);
	struct users *u = NULL;
	if (changed(&x->users_file, text, first)) {
		u = users_parse(a, buf_str(text), x->users_file.path,
			x->conf->general.mail, errors);
		if (u == NULL && first)
			u = users_parse(a, STR(""), "", STR("/"), errors);
		complain(errors);
	}
	if (u == NULL) {
		arena_free(a);
		return;
	}
	if (x->users != NULL)
		arena_free(x->users->arena);
	x->users = u;
	log_info(LOG_NO_ID, "users-read",
		LOG_NUM("users", map_count(u->by_name)));
}

static void
refresh_aliases(struct auth *x, bool first)
{
	struct arena *a = table_arena();
	struct buf *text = buf_new(a), *errors = buf_new(a);
	struct aliases *n = NULL;
	if (changed(&x->aliases_file, text, first)) {
		n = aliases_parse(
			a, buf_str(text), x->aliases_file.path, errors);
		if (n == NULL && first)
			n = aliases_parse(a, STR(""), "", errors);
		complain(errors);
	}
	if (n == NULL) {
		arena_free(a);
		return;
	}
	if (x->aliases != NULL)
		arena_free(x->aliases->arena);
	x->aliases = n;
}

void
tables_start(struct auth *x)
{
	x->users_file.path = str_cstr(x->arena, x->conf->general.users);
	x->aliases_file.path = str_cstr(x->arena, x->conf->general.aliases);
	refresh_users(x, true);
	refresh_aliases(x, true);
	x->tables_checked = clock_ms();
}

void
tables_refresh(struct auth *x)
{
	int64_t now = clock_ms();
	if (now - x->tables_checked < CHECK_MS)
		return;
	x->tables_checked = now;
	refresh_users(x, false);
	refresh_aliases(x, false);
}
