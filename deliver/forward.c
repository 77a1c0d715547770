/* SPDX-License-Identifier: ISC */
/* Opened through the home directory without following links, checked on the
 * descriptor (reliability rule S10). */
#include "forward.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/log.h"
#include "mail/address.h"
#include "mail/target.h"
#include "sys/alone.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_MOST = 64 * 1024, FORWARD_FILES_MOST = 100 };

/* ----------------------------------------------------------------- parsing */

/* "\alice", of alice or alice@example.org. */
static bool
is_self(struct str piece, struct str user)
{
	if (!str_starts(piece, STR("\\")))
		return false;
	piece = str_skip(piece, 1);
	return str_eq_nocase(piece, user) || str_eq_nocase(
		piece, str_head(user, str_find_last(user, '@')));
}

/* NULL, or what is wrong with it; *out is how the queue wants it. */
static const char *
read_piece(struct arena *a, struct str piece, struct str user, bool commands,
	struct str *out)
{
	struct address x;
	struct str bare = piece;
	if (target_is_command(piece)) {
		if (!commands)
			return "a command cannot be named";
		return target_command(a, piece, out) ? NULL
			: "that is no command";
	}
	if (str_starts(bare, STR("\"")))
		bare = str_skip(bare, 1);
	if (bare.n == 0 || bare.p[0] == '/' || bare.p[0] == ':')
		return "a file cannot be named";
	*out = piece;
	if (is_self(piece, user)) {
		*out = STR("\\");
	} else if (str_has(piece, '@')) {
		if (!address_parse(a, piece, true, &x))
			return "that is no address";
		*out = address_text(a, &x);
	} else {
		for (size_t i = 0; i < piece.n; i++)
			if ((unsigned char)piece.p[i] <= 0x20 ||
				str_has(STR("\\\",<>()"), piece.p[i]))
				return "that is no address";
	}
	return NULL;
}

static const char *
add_piece(struct arena *a, struct buf *all, struct str piece, struct str user,
	bool commands)
{
	struct str text;
	const char *wrong = read_piece(a, piece, user, commands, &text);
	if (wrong != NULL)
		return wrong;
	if (all->n > 0)
		buf_addc(all, '\n');
	buf_add(all, text);
	return NULL;
}

bool
forward_parse(struct arena *a, struct str text,
	const struct forward_rules *rules, struct str *out, const char **wrong)
{
	struct buf *all = buf_new(a);
	struct str line;
	size_t count = 0;
	*wrong = NULL;
	while (str_cut(&text, '\n', &line)) {
		line = str_trim(line);
		if (line.n == 0 || line.p[0] == '#')
			continue;
		while (line.n > 0 && *wrong == NULL) {
			struct str piece = target_take(&line);
			if (piece.n > 0 && ++count > FORWARD_MOST)
				*wrong = "too many addresses";
			else if (piece.n > 0)
				*wrong = add_piece(a, all, piece, rules->user,
					rules->commands);
		}
	}
	*out = all->n == 0 ? STR("") : buf_str(all);
	return *wrong == NULL && all->n > 0;
}

/* ----------------------------------------------------------------- finding */

/* NULL, or why it is not believed. */
static const char *
check_file(int fd, int dir, const char *name)
{
	struct stat st;
	if (fstat(fd, &st) != 0)
		return strerror(errno);
	if (!S_ISREG(st.st_mode) || !is_alone(dir, name, fd))
		return "it is no ordinary file, or changes";
	if (st.st_uid != geteuid() && st.st_uid != 0)
		return "it is somebody else's";
	if (st.st_mode & (S_IWGRP | S_IWOTH))
		return "others may write to it";
	return st.st_size > FILE_MOST ? "it is too large" : NULL;
}

static bool
read_file(struct arena *a, int fd, struct str *text)
{
	char *p = arena_alloc(a, FILE_MOST);
	size_t n = 0;
	while (n < FILE_MOST) {
		ssize_t got = read(fd, p + n, FILE_MOST - n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return false;
		if (got == 0)
			break;
		n += (size_t)got;
	}
	*text = str_of(p, n);
	return true;
}

/* What forward_files found: by what they are, since the same name may be
 * another file's later. */
static struct {
	bool used;
	size_t n;
	ino_t inodes[FORWARD_FILES_MOST];
} seen;

const char **
forward_files(struct arena *a, struct str home)
{
	const char **v = arena_array(a, FORWARD_FILES_MOST + 1, sizeof *v);
	DIR *d = opendir(str_cstr(a, home));
	struct dirent *e;
	seen.used = true;
	while (d != NULL && seen.n < FORWARD_FILES_MOST &&
		(e = readdir(d)) != NULL) {
		struct stat st;
		if (strncmp(e->d_name, ".forward", sizeof ".forward" - 1) !=
				0 || fstatat(dirfd(d), e->d_name, &st,
				AT_SYMLINK_NOFOLLOW) != 0 ||
			!S_ISREG(st.st_mode))
			continue;
		seen.inodes[seen.n] = st.st_ino;
		v[seen.n++] = str_cstr(a, str_printf(a, "%.*s/%s",
			STR_ARG(home), e->d_name));
	}
	if (d != NULL)
		closedir(d);
	errno = 0;
	return v;
}

static bool
is_unseen(int dir, const char *name)
{
	struct stat st;
	if (!seen.used || seen.n == FORWARD_FILES_MOST ||
		fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
		!S_ISREG(st.st_mode))
		return false;
	for (size_t i = 0; i < seen.n; i++)
		if (seen.inodes[i] == st.st_ino)
			return false;
	return true;
}

static enum forward_found
obey(struct arena *a, int dir, const char *name,
	const struct forward_rules *rules, struct str *out)
{
	struct str text;
	const char *wrong;
	int fd = openat(dir, name,
		O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return errno == EACCES && is_unseen(dir, name)
			? FORWARD_UNSEEN : FORWARD_NONE;
	wrong = check_file(fd, dir, name);
	if (wrong == NULL && !read_file(a, fd, &text))
		wrong = strerror(errno);
	close(fd);
	if (wrong == NULL && (forward_parse(a, text, rules, out, &wrong) ||
		wrong == NULL))
		return out->n > 0 ? FORWARD_FOUND : FORWARD_NONE;
	log_warn(rules->id, "forward-ignored", LOG_STR("user", rules->user),
		LOG_CSTR("file", name), LOG_CSTR("why", wrong));
	return FORWARD_NONE;
}

/* What stands between the user's name and the domain. */
struct str
forward_extension(struct str rcpt, struct str user, struct str plus)
{
	struct str local = str_head(rcpt, str_find_last(rcpt, '@'));
	user = str_head(user, str_find_last(user, '@'));
	if (local.n < user.n + 2 || !str_starts_nocase(local, user) ||
		!str_has(plus, local.p[user.n]))
		return STR("");
	struct str ext = str_skip(local, user.n + 1);
	/* It becomes part of a file's name. */
	for (size_t i = 0; i < ext.n; i++)
		if (ext.p[i] == '/' || ext.p[i] == 0)
			return STR("");
	return ext.n > 100 ? STR("") : ext;
}

enum forward_found
forward_find(struct arena *a, struct str home, struct str rcpt,
	const struct forward_rules *rules, struct str *out)
{
	struct str ext = forward_extension(rcpt, rules->user, rules->plus);
	/* A path, not a directory that could be read. */
	int dir = open(str_cstr(a, home),
		O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	enum forward_found found = FORWARD_NONE;
	if (dir < 0)
		return found;
	if (ext.n > 0)
		found = obey(a, dir, str_cstr(a, str_lower(a, str_printf(a,
			".forward+%.*s", STR_ARG(ext)))), rules, out);
	if (found == FORWARD_NONE)
		found = obey(a, dir, ".forward", rules, out);
	close(dir);
	return found;
}
