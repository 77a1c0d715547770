/* SPDX-License-Identifier: ISC */
/* The users table; thousands of lines are read in milliseconds into a map. */
#include "auth.h"
#include "base/arena.h"
#include "base/buf.h"
#include "sys/conf.h"
#include "sys/net.h"

#include <stddef.h>

enum { FIELDS = 8, SAMPLES = 64 };

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

static struct str_list
split(struct arena *a, struct str words)
{
	struct str_list l = {arena_array(a, words.n, sizeof *l.v), 0};
	struct str word;
	while (str_word(&words, &word))
		l.v[l.n++] = str_copy(a, word);
	return l;
}

static bool
is_network(struct str s)
{
	struct net_address any;
	struct str ip = str_head(s, str_find(s, '/'));
	return net_parse_ip(ip, 0, &any) &&
		(ip.n == s.n || net_within(&any, s));
}

static bool
is_protocol(struct str s)
{
	static const struct str known[] = {STR_INIT("smtp"),
		STR_INIT("submission"), STR_INIT("imap"), STR_INIT("pop3")};
	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		if (str_eq(s, known[i]))
			return true;
	return false;
}

/* Options with a value, a list of words; others are somebody else's. */
static const struct {
	struct str name;
	size_t offset;
	bool (*fits)(struct str word);
	const char *wrong;
} options[] = {
	{STR_INIT("allow_nets="), offsetof(struct user, nets), is_network,
		"allow_nets is ADDRESS or ADDRESS/BITS, blanks between"},
	{STR_INIT("protocols="), offsetof(struct user, protocols), is_protocol,
		"protocols are smtp, submission, imap, pop3"},
};

static bool
is_number(struct str text, int64_t *n)
{
	uint64_t plain;
	if (!str_number(text, INT64_MAX, &plain))
		return false;
	*n = (int64_t)plain;
	return true;
}

static bool
is_percent(struct str text, int64_t *n)
{
	return is_number(text, n) && *n > 0 && *n <= 100;
}

/* Those with a number. */
static const struct {
	struct str name;
	size_t offset;
	bool (*parse)(struct str text, int64_t *n);
	const char *wrong;
} numbers[] = {
	{STR_INIT("quota="), offsetof(struct user, quota), conf_parse_size,
		"quota is a size such as 500m or 2g, 0 for any"},
	{STR_INIT("quota_messages="), offsetof(struct user, quota_messages),
		is_number, "quota_messages is a number, 0 for any"},
	{STR_INIT("quota_warn="), offsetof(struct user, quota_warn),
		is_percent, "quota_warn is 1 to 100 percent"},
};

static const char *
parse_list(struct arena *a, struct str text, size_t i, struct user *out)
{
	struct str_list l = split(a, text);
	for (size_t k = 0; k < l.n; k++)
		if (!options[i].fits(l.v[k]))
			return options[i].wrong;
	if (l.n == 0)
		return options[i].wrong;
	*(struct str_list *)(void *)((char *)out + options[i].offset) = l;
	return NULL;
}

static const char *
parse_option(struct arena *a, struct str text, struct user *out)
{
	if (str_eq(text, STR("disabled")))
		out->disabled = true;
	for (size_t i = 0; i < sizeof options / sizeof *options; i++)
		if (str_starts(text, options[i].name))
			return parse_list(a, str_skip(text,
				options[i].name.n), i, out);
	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
		struct user_limit *l = (void *)((char *)out +
			numbers[i].offset);
		if (!str_starts(text, numbers[i].name))
			continue;
		l->is_set = numbers[i].parse(
			str_skip(text, numbers[i].name.n), &l->value);
		return l->is_set ? NULL : numbers[i].wrong;
	}
	return NULL;
}

struct str
users_limits(struct arena *a, const struct conf *c, const struct user *u)
{
	const struct user_limit *own[] = {
		&u->quota, &u->quota_messages, &u->quota_warn};
	int64_t v[] = {c->general.quota, c->general.quota_messages,
		c->general.quota_warn};
	for (size_t i = 0; i < sizeof v / sizeof *v; i++)
		if (own[i]->is_set)
			v[i] = own[i]->value;
	return str_printf(a, "%lld %lld %lld %d", (long long)v[0],
		(long long)v[1], (long long)v[2], c->general.quota_defer);
}

static const char *
parse_options(struct arena *a, struct str list, struct user *out)
{
	struct str piece;
	const char *wrong = NULL;
	while (wrong == NULL && str_cut(&list, ',', &piece))
		wrong = parse_option(a, str_trim(piece), out);
	return wrong;
}

bool
users_may_login(const struct user *u, struct str service, struct str client)
{
	struct net_address from;
	bool here = u->nets.n == 0, thus = u->protocols.n == 0;
	bool known = net_parse_ip(client, 0, &from);
	for (size_t i = 0; i < u->nets.n && known; i++)
		here = here || net_within(&from, u->nets.v[i]);
	for (size_t i = 0; i < u->protocols.n; i++)
		thus = thus || str_eq(u->protocols.v[i], service);
	return !u->disabled && here && thus;
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
	struct str secret, label, digest;
	struct sasl_secret scram;
	enum sasl_mechanism m;
	while (password_next(&secrets, &secret))
		if (str_starts_nocase(secret, STR("{APP}")) &&
			!app_parse(a, secret, &label, &digest))
			return "an app password is {APP}label,digest";
		else if (str_starts_nocase(secret, STR("{SCRAM-")) &&
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
	while (n < OPTIONS && str_cut(&line, ':', &f[n]))
		n++;
	/* networks have colons */
	if (n == OPTIONS && line.p != NULL)
		f[OPTIONS] = line;
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
	const char *wrong = parse_ids(a, f[UID], f[GID], &out->ids);
	if (wrong == NULL)
		wrong = parse_options(a, f[OPTIONS], out);
	return wrong != NULL ? wrong : check_secret(a, out->secret);
}

/* What it costs to see that a password is not theirs. */
static void
note_hashes(struct users *u, struct str secrets)
{
	struct str hash;
	size_t n = 0;
	for (; password_hash(u->arena, &secrets, &hash); n++)
		if (u->samples.n < SAMPLES && !password_is_weak(hash) &&
			!password_is_pam(hash))
			u->samples.v[u->samples.n++] = hash;
	if (n > u->most_hashes)
		u->most_hashes = n;
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
	/* An app password proves nothing by SCRAM. */
	bool app = password_has_app(x->secret);
	u->scram_sha_1 = u->scram_sha_1 && one != SCRAM_NONE && !app;
	u->scram_sha_256 = u->scram_sha_256 && two != SCRAM_NONE && !app;
	u->any_plain = u->any_plain || one == SCRAM_DERIVE ||
		two == SCRAM_DERIVE;
	if (one == SCRAM_STORED || two == SCRAM_STORED)
		u->iterations = scram.iterations;
	note_hashes(u, x->secret);
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
	u->most_hashes = 1;
	u->samples.v = arena_array(a, SAMPLES, sizeof *u->samples.v);
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
