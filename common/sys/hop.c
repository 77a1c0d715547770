/* SPDX-License-Identifier: ISC */
/* Next hops as text.  Rules are few: they are searched one after the other. */
#include "sys/hop.h"
#include "sys/net.h"

static const struct {
	const char *scheme;
	enum hop_kind kind;
	bool lmtp, tls;
	int port;
} schemes[] = {
	{"mx:", HOP_MX, false, false, 0},
	{"smtp:", HOP_HOST, false, false, 0},
	{"smtps:", HOP_HOST, false, true, 465},
	{"lmtp:unix:", HOP_UNIX, true, false, 0},
	{"lmtp:", HOP_HOST, true, false, 24},
	{"pipe:", HOP_PIPE, false, false, 0},
};

bool
hop_parse_host(struct str text, struct str *host, int *port)
{
	uint64_t number = 0;
	size_t end = str_starts(text, STR("[")) ? str_find(text, ']') : 0;
	struct str rest = str_skip(text, end);
	size_t colon = str_find_last(rest, ':');
	struct str named = str_head(text, end + colon);
	if (end == text.n && text.n > 0)
		return false;
	if (colon < rest.n && !str_number(str_skip(rest, colon + 1), 65535,
		&number))
		return false;
	if (end > 0) {
		struct net_address any;
		if (named.n != end + 1)
			return false;
		*host = str_head(str_skip(named, 1), end - 1);
		if (!net_parse_ip(*host, 0, &any))
			return false;
	} else {
		*host = named;
	}
	*port = (int)number;
	/* "host:0" is no port, "a:b:25" no host. */
	return host->n > 0 && (number > 0) == (colon < rest.n) &&
		(end > 0 || !str_has(*host, ':'));
}

/* A name without a path in it: the directory is the agent's own; or that of a
 * command. */
static bool
is_plain_name(struct str s)
{
	return s.n > 0 && s.n < 100 && !str_has(s, '/') && !str_has(s, 0) &&
		!str_starts(s, STR("."));
}

bool
hop_parse(struct str text, struct hop *out)
{
	*out = (struct hop){.kind = HOP_MX};
	if (str_eq(text, STR("direct")))
		return true;
	for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
		struct str scheme = str_from(schemes[i].scheme);
		if (!str_starts(text, scheme))
			continue;
		*out = (struct hop){.kind = schemes[i].kind,
			.lmtp = schemes[i].lmtp, .tls = schemes[i].tls,
			.host = str_skip(text, scheme.n)};
		if (out->kind == HOP_UNIX || out->kind == HOP_PIPE)
			return is_plain_name(out->host);
		bool ok = hop_parse_host(out->host, &out->host, &out->port);
		if (out->port == 0)
			out->port = schemes[i].port;
		return ok;
	}
	return false;
}

/* ---------------------------------------------------------------- rules */

/* How well a pattern fits: 0 not at all, else the higher the better. */
static size_t
fit(struct str pattern, struct str address)
{
	size_t at = str_find_last(address, '@');
	struct str domain = at < address.n ? str_skip(address, at + 1)
					   : address;
	if (str_eq(pattern, STR("*")))
		return 1;
	if (str_has(pattern, '@') && !str_starts(pattern, STR("@")))
		return str_eq_nocase(pattern, address) ? 4096 : 0;
	if (str_starts(pattern, STR("@")))
		pattern = str_skip(pattern, 1);
	if (pattern.n == 0)
		return 0;
	if (str_eq_nocase(pattern, domain))
		return 2048;
	if (pattern.p[0] != '.' || domain.n <= pattern.n)
		return 0;
	return str_eq_nocase(pattern, str_skip(domain, domain.n - pattern.n))
		? 1 + pattern.n : 0;
}

bool
rule_find(struct str_list rules, struct str address, struct str *value)
{
	size_t best = 0;
	for (size_t i = 0; i < rules.n; i++) {
		struct str rest = rules.v[i], pattern;
		if (!str_word(&rest, &pattern))
			continue;
		size_t n = fit(pattern, address);
		if (n <= best)
			continue;
		best = n;
		*value = str_trim(rest);
	}
	return best > 0;
}

/* The words of a rule after its pattern; 0 when there are too many. */
static size_t
words_of(struct str rule, struct str *words, size_t most)
{
	struct str pattern, word;
	size_t n = 0;
	if (!str_word(&rule, &pattern))
		return 0;
	while (str_word(&rule, &word)) {
		if (n == most)
			return 0;
		words[n++] = word;
	}
	return n;
}

bool
rule_is_hop(struct str rule)
{
	struct str word;
	struct hop hop;
	return words_of(rule, &word, 1) == 1 && hop_parse(word, &hop);
}

bool
rule_pipe(struct str_list rules, struct str address, struct str *name)
{
	struct str rule;
	struct hop hop;
	if (!rule_find(rules, address, &rule) || !hop_parse(rule, &hop) ||
		hop.kind != HOP_PIPE)
		return false;
	*name = hop.host;
	return true;
}

bool
rule_is_smarthost(struct str rule)
{
	struct str words[3];
	struct hop hop;
	size_t n = words_of(rule, words, 3);
	return (n == 1 || n == 3) && hop_parse(words[0], &hop) &&
		hop.kind != HOP_PIPE;
}

bool
rule_is_tls(struct str rule)
{
	static const char *const known[] = {
		"none", "opportunistic", "required", "verified", "dane"};
	struct str word;
	if (words_of(rule, &word, 1) != 1)
		return false;
	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		if (str_eq(word, str_from(known[i])))
			return true;
	return false;
}

bool
rule_is_source(struct str rule)
{
	struct str words[2];
	struct net_address at[2];
	size_t n = words_of(rule, words, 2);
	for (size_t i = 0; i < n; i++)
		if (!net_parse_ip(words[i], 0, &at[i]))
			return false;
	return n == 1 ||
		(n == 2 && at[0].sa.ss_family != at[1].sa.ss_family);
}
