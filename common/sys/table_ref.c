/* SPDX-License-Identifier: ISC */
#include "sys/table_ref.h"
#include "sys/net.h"

static const struct {
	struct str name;
	enum table_type type;
} types[] = {
	{STR_INIT("text:"), TABLE_TEXT}, {STR_INIT("passwd:"), TABLE_PASSWD},
	{STR_INIT("cidr:"), TABLE_CIDR},
	{STR_INIT("pcre:"), TABLE_PCRE}, {STR_INIT("sqlite:"), TABLE_SQLITE},
	{STR_INIT("socketmap:"), TABLE_SOCKETMAP},
};

enum { TYPES = sizeof types / sizeof *types };

static size_t
find_type(struct str s)
{
	size_t i = 0;
	while (i < TYPES && !str_starts(s, types[i].name))
		i++;
	return i;
}

bool
table_ref_is(struct str s)
{
	return find_type(s) < TYPES;
}

/* unix:/SOCKET:MAP or inet:ADDRESS:PORT:MAP; an IPv6 address has colons of its
 * own, so everything is taken off the end. */
static bool
parse_socketmap(struct str s, struct table_ref *out)
{
	size_t colon = str_find_last(s, ':');
	struct net_address any;
	uint64_t port;
	if (colon == s.n)
		return false;
	out->map = str_skip(s, colon + 1);
	s = str_head(s, colon);
	if (out->map.n == 0 || str_has(out->map, ' '))
		return false;
	if (str_starts(s, STR("unix:/"))) {
		out->path = str_skip(s, 5);
		return true;
	}
	if (!str_starts(s, STR("inet:")))
		return false;
	s = str_skip(s, 5);
	colon = str_find_last(s, ':');
	if (colon == s.n || !str_number(str_skip(s, colon + 1), 65535, &port))
		return false;
	out->host = str_head(s, colon);
	out->port = (int)port;
	if (str_starts(out->host, STR("[")) && str_ends(out->host, STR("]")))
		out->host = str_head(str_skip(out->host, 1), out->host.n - 2);
	return net_parse_ip(out->host, out->port, &any);
}

bool
table_ref_parse(struct str s, struct table_ref *out)
{
	size_t i = find_type(s);
	*out = (struct table_ref){.whole = s};
	if (i == TYPES)
		return false;
	out->type = types[i].type;
	s = str_skip(s, types[i].name.n);
	if (out->type == TABLE_SOCKETMAP)
		return parse_socketmap(s, out);
	out->path = s;
	if (out->type == TABLE_SQLITE) {
		size_t blank = str_find(s, ' ');
		out->path = str_head(s, blank);
		out->query = str_trim(str_skip(s, blank));
		if (!str_starts_nocase(out->query, STR("select ")))
			return false;
	}
	return str_starts(out->path, STR("/")) && !str_has(out->path, 0);
}
