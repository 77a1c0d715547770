/* SPDX-License-Identifier: ISC */
/* The users table; thousands of lines are read in milliseconds into a map. */
#include "auth.h"
#include "base/arena.h"
#include "base/buf.h"

enum { FIELDS = 8 };

enum field { NAME, SECRET, UID, GID, GECOS, HOME, SHELL, OPTIONS };

static bool
is_name(struct str s)
{
	if (s.n == 0 || s.n > 255 || s.p[0] == '.' || s.p[0] == '-')
		return false;
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (c <= 0x20 || c == 0x7f || c == '/' || c == ':')
			return false;
	}
	/* Both sides of an @ become directories. */
	size_t at = str_find_last(s, '@');
	return at != 0 && at + 1 != s.n &&
		str_search(s, STR("..")) == s.n &&
		str_search(s, STR("@.")) == s.n;
}

static bool
has_word(struct str list, struct str word)
{
	struct str piece;
	while (str_cut(&list, ',', &piece))
		if (str_eq(str_trim(piece), word))
			return true;
	return false;
}

/* <root>/<user> or <root>/<domain>/<user> */
static struct str
default_home(struct arena *a, struct str root, struct str name)
{
	size_t at = str_find_last(name, '@');
	if (at == name.n)
		return str_printf(
			a, "%.*s/%.*s", STR_ARG(root), STR_ARG(name));
	return str_printf(a, "%.*s/%.*s/%.*s", STR_ARG(root),
		STR_ARG(str_skip(name, at + 1)), STR_ARG(str_head(name, at)));
}

static const char *
parse_ids(struct arena *a, struct str uid, struct str gid, struct str *ids)
{
	uint64_t u, g;
	*ids = STR("-");
	if ((uid.n == 0 && gid.n == 0) ||
		(str_eq(uid, STR("-")) && str_eq(gid, STR("-"))))
		return NULL;
	if (!str_number(uid, UINT32_MAX - 1, &u) ||
		!str_number(gid, UINT32_MAX - 1, &g))
		return "uid and gid must be numbers, or both empty";
	if (u == 0 || g == 0)
		return "root cannot have mail: alias it to a person";
	*ids = str_printf(a, "%llu:%llu", (unsigned long long)u,
		(unsigned long long)g);
	return NULL;
}

/* A scheme we know has to hold what it promises; others are somebody else's
 * and let nobody in. */
static const char *
check_secret(struct arena *a, struct str secrets)
{
	struct str secret;
	struct sasl_secret scram;
	enum sasl_mechanism m;
	while (password_next(&secrets, &secret))
		if (str_starts_nocase(secret, STR("{SCRAM-")) &&
			!scram_parse(a, secret, &m, &scram))
			return "a SCRAM secret is {SCRAM-SHA-256}iterations,"
				"salt,stored key,server key";
	return NULL;
}

const char *
users_parse_line(struct arena *a, struct str line, struct str mail_root,
	struct user *out)
{
	struct str f[FIELDS] = {{NULL, 0}};
	size_t n = 0;
	while (n < FIELDS && str_cut(&line, ':', &f[n]))
		n++;
	if (n < 2)
		return "a line is name:{SCHEME}secret:uid:gid:gecos:home:"
			"shell:options";
	if (!is_name(f[NAME]))
		return "that name cannot be a user's";
	out->name = str_lower(a, f[NAME]);
	out->secret = str_copy(a, f[SECRET]);
	out->home = f[HOME].n > 0 ? str_copy(a, f[HOME])
				  : default_home(a, mail_root, out->name);
	if (!str_starts(out->home, STR("/")))
		return "home must be an absolute path";
	out->disabled = has_word(f[OPTIONS], STR("disabled"));
	const char *wrong = parse_ids(a, f[UID], f[GID], &out->ids);
	return wrong != NULL ? wrong : check_secret(a, out->secret);
}

/* What the whole table can do is what each of them can. */
static void
note_secrets(struct users *u, const struct user *x)
{
	struct sasl_secret scram;
	struct str password;
	if (x->disabled)
		return;
	enum scram_find one = scram_find(u->arena, x->secret,
		SASL_SCRAM_SHA_1, &scram, &password);
	enum scram_find two = scram_find(u->arena, x->secret,
		SASL_SCRAM_SHA_256, &scram, &password);
	u->scram_sha_1 = u->scram_sha_1 && one != SCRAM_NONE;
	u->scram_sha_256 = u->scram_sha_256 && two != SCRAM_NONE;
	u->any_plain = u->any_plain || one == SCRAM_DERIVE ||
		two == SCRAM_DERIVE;
}

static const char *
add_line(struct users *u, struct str line, struct str mail_root)
{
	struct user *x = arena_one(u->arena, struct user);
	const char *wrong = users_parse_line(u->arena, line, mail_root, x);
	if (wrong != NULL)
		return wrong;
	if (map_get(u->by_name, x->name) != NULL)
		return "the user stands here twice";
	map_set(u->by_name, x->name, x);
	note_secrets(u, x);
	return NULL;
}

struct users *
users_parse(struct arena *a, struct str text, const char *name,
	struct str mail_root, struct buf *errors)
{
	struct users *u = arena_one(a, struct users);
	struct str line;
	bool ok = true;
	u->arena = a;
	u->by_name = map_new(a);
	u->scram_sha_1 = u->scram_sha_256 = true;
	for (int n = 1; str_cut(&text, '\n', &line); n++) {
		line = str_trim(line);
		if (line.n == 0 || line.p[0] == '#')
			continue;
		const char *wrong = add_line(u, line, mail_root);
		if (wrong == NULL)
			continue;
		buf_printf(errors, "%s:%d: %s\n", name, n, wrong);
		ok = false;
	}
	if (map_count(u->by_name) == 0)
		u->scram_sha_1 = u->scram_sha_256 = false;
	return ok ? u : NULL;
}

struct user *
users_find(const struct users *u, struct str name)
{
	char lower[256];
	if (name.n > sizeof lower)
		return NULL;
	for (size_t i = 0; i < name.n; i++)
		lower[i] = char_lower(name.p[i]);
	return map_get(u->by_name, str_of(lower, name.n));
}
