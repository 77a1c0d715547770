/* SPDX-License-Identifier: ISC */
/* Opened through the home directory without following links, checked on the
 * descriptor (reliability rule S10). */
#include "forward.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/log.h"
#include "mail/address.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_MOST = 64 * 1024 };

/* ----------------------------------------------------------------- parsing */

static struct str
take_piece(struct str *rest)
{
	size_t i = 0;
	for (bool quoted = false; i < rest->n; i++) {
		if (rest->p[i] == '"')
			quoted = !quoted;
		else if (rest->p[i] == ',' && !quoted)
			break;
	}
	struct str piece = str_trim(str_head(*rest, i));
	*rest = str_skip(*rest, i + 1);
	return piece;
}

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

static const char *
add_piece(struct arena *a, struct buf *out, struct str piece,
	struct str user)
{
	struct address x;
	struct str bare = piece;
	if (str_starts(bare, STR("\"")))
		bare = str_skip(bare, 1);
	if (bare.n == 0 || bare.p[0] == '|' || bare.p[0] == '/' ||
		bare.p[0] == ':')
		return "a program or a file cannot be named";
	if (is_self(piece, user)) {
		piece = STR("\\");
	} else if (str_has(piece, '@')) {
		if (!address_parse(a, piece, true, &x))
			return "that is no address";
		piece = address_text(a, &x);
	} else {
		for (size_t i = 0; i < piece.n; i++)
			if ((unsigned char)piece.p[i] <= 0x20 ||
				str_has(STR("\\\",<>()"), piece.p[i]))
				return "that is no address";
	}
	if (out->n > 0)
		buf_addc(out, ',');
	buf_add(out, piece);
	return NULL;
}

bool
forward_parse(struct arena *a, struct str text, struct str user,
	struct str *out, const char **wrong)
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
			struct str piece = take_piece(&line);
			if (piece.n > 0 && ++count > FORWARD_MOST)
				*wrong = "too many addresses";
			else if (piece.n > 0)
				*wrong = add_piece(a, all, piece, user);
		}
	}
	*out = all->n == 0 ? STR("") : buf_str(all);
	return *wrong == NULL && all->n > 0;
}

/* ----------------------------------------------------------------- finding */

/* NULL, or why it is not believed. */
static const char *
check_file(int fd)
{
	struct stat st;
	if (fstat(fd, &st) != 0)
		return strerror(errno);
	if (!S_ISREG(st.st_mode) || st.st_nlink != 1)
		return "it is no ordinary file";
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

static bool
obey(struct arena *a, int dir, const char *name, struct str user,
	struct str id, struct str *out)
{
	struct str text;
	const char *wrong;
	int fd = openat(dir, name,
		O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return false;
	wrong = check_file(fd);
	if (wrong == NULL && !read_file(a, fd, &text))
		wrong = strerror(errno);
	close(fd);
	if (wrong == NULL && (forward_parse(a, text, user, out, &wrong) ||
		wrong == NULL))
		return out->n > 0;
	log_warn(id, "forward-ignored", LOG_STR("user", user),
		LOG_CSTR("file", name), LOG_CSTR("why", wrong));
	return false;
}

/* What stands between the user's name and the domain. */
static struct str
extension(struct str rcpt, struct str user, struct str plus)
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

bool
forward_find(struct arena *a, struct str home, struct str rcpt,
	struct str user, struct str plus, struct str id, struct str *out)
{
	struct str ext = extension(rcpt, user, plus);
	int dir = open(str_cstr(a, home),
		O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	bool found = false;
	if (dir < 0)
		return false;
	if (ext.n > 0)
		found = obey(a, dir, str_cstr(a, str_lower(a, str_printf(a,
			".forward+%.*s", STR_ARG(ext)))), user, id, out);
	if (!found)
		found = obey(a, dir, ".forward", user, id, out);
	close(dir);
	return found;
}
