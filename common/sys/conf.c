/* SPDX-License-Identifier: ISC */
/*
 * The rows of conf_options.h become libconfuse's table and, once it has
 * parsed, the struct.  Our own checks (bounds, sizes, durations) run after
 * the parser with the line libconfuse remembers, so that every mistake is
 * reported at once, each with its place.
 */
#include "sys/conf.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "sys/argv.h"
#include "sys/hop.h"
#include "sys/net.h"
#include "sys/policy.h"
#include "sys/table_ref.h"
#include "sys/whole.h"

#include <confuse.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

enum { CONF_MOST = 4 * 1024 * 1024, SECTIONS_MOST = 24, ROWS_MOST = 64,
	LISTEN_MOST = 64 };

enum kind {
	KIND_NUMBER,
	KIND_SIZE,
	KIND_DURATION,
	KIND_BOOL,
	KIND_TEXT,
	KIND_LIST,
	KIND_LINES, /* a list whose items may hold commas */
};

struct row {
	struct conf_option option;
	enum kind kind;
	int64_t min, max;
	size_t offset;
};

#define OPTION(section, name, kind, def, min, max, help) \
	{{#section, #name, #kind, def, help}, KIND_##kind, (min), (max), \
		offsetof(struct conf, section.name)},
static const struct row rows[] = {
#include "sys/conf_options.h"
};
#undef OPTION

enum { ROWS = sizeof rows / sizeof *rows };

struct reader {
	struct arena *arena;
	const char *name;
	struct buf *errors;
	struct conf *conf;
	bool failed;
	int lines[ROWS]; /* where each option was set, 0: nowhere */
	struct buf *lists[ROWS]; /* items so far, comma separated */
	unsigned items[ROWS]; /* and how many */
};

/* ------------------------------------------------------------- values */

bool
conf_parse_size(struct str s, int64_t *octets)
{
	static const char units[] = "kmg";
	uint64_t n;
	int shift = 0;
	for (int i = 0; s.n > 0 && units[i] != 0; i++)
		if (char_lower(s.p[s.n - 1]) == units[i])
			shift = 10 * (i + 1);
	if (shift > 0)
		s.n--;
	if (!str_number(s, INT64_MAX >> 31, &n))
		return false;
	*octets = (int64_t)(n << shift);
	return true;
}

static bool
parse_bool(struct str s, bool *value)
{
	static const struct {
		const char *word;
		bool value;
	} words[] = {{"yes", true}, {"true", true}, {"on", true},
		{"no", false}, {"false", false}, {"off", false}};
	for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
		if (!str_eq_nocase(s, str_from(words[i].word)))
			continue;
		*value = words[i].value;
		return true;
	}
	return false;
}

static struct str_list
parse_list(struct arena *a, struct str s, char separator)
{
	struct str_list list = {NULL, 0};
	struct str rest = s, item;
	for (size_t i = 0; i < s.n; i++)
		list.n += s.p[i] == separator;
	list.v = arena_array(a, list.n + 1, sizeof *list.v);
	list.n = 0;
	while (str_cut(&rest, separator, &item)) {
		item = str_trim(item);
		if (item.n > 0)
			list.v[list.n++] = item;
	}
	return list;
}

static const char *
wanted(enum kind kind)
{
	static const char *const texts[] = {
		[KIND_NUMBER] = "a whole number",
		[KIND_SIZE] = "a size such as 4096, 64k, 50m",
		[KIND_DURATION] = "a duration such as 90s, 5m, 4h, 5d",
		[KIND_BOOL] = "yes or no",
		[KIND_TEXT] = "a text",
		[KIND_LIST] = "a list",
		[KIND_LINES] = "a list",
	};
	return texts[kind];
}

static bool
parse_number(enum kind kind, struct str s, int64_t *n)
{
	uint64_t plain;
	if (kind == KIND_SIZE)
		return conf_parse_size(s, n);
	if (kind == KIND_DURATION)
		return clock_parse_duration(s, n);
	if (!str_number(s, INT64_MAX, &plain))
		return false;
	*n = (int64_t)plain;
	return true;
}

static void
complain(struct reader *r, int line, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	struct str text = str_vprintf(r->arena, fmt, ap);
	va_end(ap);
	if (line > 0)
		buf_printf(r->errors, "%s:%d: ", r->name, line);
	else
		buf_printf(r->errors, "%s: ", r->name);
	buf_add(r->errors, text);
	buf_addc(r->errors, '\n');
	r->failed = true;
}

static bool
is_list(const struct row *row)
{
	return row->kind == KIND_LIST || row->kind == KIND_LINES;
}

static char
separator_of(const struct row *row)
{
	return row->kind == KIND_LINES ? '\n' : ',';
}

/* Puts a value into its member; line is for the complaint. */
static void
set(struct reader *r, const struct row *row, struct str text, int line)
{
	void *member = (char *)r->conf + row->offset;
	const struct conf_option *o = &row->option;
	int64_t n = 0;
	r->lines[row - rows] = line;
	if (row->kind == KIND_TEXT) {
		*(struct str *)member = text;
		return;
	}
	if (is_list(row)) {
		*(struct str_list *)member = parse_list(
			r->arena, text, separator_of(row));
		return;
	}
	bool ok = row->kind == KIND_BOOL ? parse_bool(text, member) :
					   parse_number(row->kind, text, &n);
	if (!ok) {
		complain(r, line, "%s.%s is \"%.*s\", but must be %s",
			o->section, o->name, STR_ARG(text), wanted(row->kind));
		return;
	}
	if (row->kind == KIND_BOOL)
		return;
	if (n < row->min || (row->max > 0 && n > row->max))
		complain(r, line, "%s.%s is %lld, but must be from %lld to "
			"%lld", o->section, o->name, (long long)n,
			(long long)row->min,
			(long long)(row->max > 0 ? row->max : INT64_MAX));
	*(int64_t *)member = n;
}

/* ------------------------------------------------------------- parsing */

/* libconfuse's error function has no context argument. */
static struct reader *parsing;

/* libconfuse takes the end of the file for the end of a section, so that a
 * lost brace would silently move options: an option of our own after the last
 * line is known at the top only. */
#define END_OPTION "end-of-configuration"

static void
on_error(cfg_t *cfg, const char *fmt, va_list ap)
{
	char text[512];
	vsnprintf(text, sizeof text, fmt, ap);
	if (strstr(text, END_OPTION) != NULL)
		strcpy(text, "a section is not closed: a } is missing");
	complain(parsing, cfg != NULL ? cfg->line : 0, "%s", text);
}

/* Of two values one would be lost, and whoever wrote the other would look
 * for the reason elsewhere. */
static void
say_twice(struct reader *r, size_t row, int first, int line)
{
	complain(r, line, "%s.%s is set on line %d already",
		rows[row].option.section, rows[row].option.name, first);
}

/* The nth item of a list; the last one is shown twice. */
static void
add_item(struct reader *r, size_t row, struct str item, unsigned n, int line)
{
	if (r->lists[row] == NULL)
		r->lists[row] = buf_new(r->arena);
	struct buf *list = r->lists[row];
	if (n > 1 && n == r->items[row])
		return;
	if (n == 1 && r->items[row] > 0 && !str_eq(buf_str(list), item))
		say_twice(r, row, r->lines[row], line);
	if (n == 1)
		buf_clear(list);
	else
		buf_addc(list, separator_of(&rows[row]));
	buf_add(list, item);
	r->items[row] = n;
}

/* libconfuse keeps no line per option: its parser is at the right line when
 * it validates a value, so that is where ours are checked and taken.  A list
 * is validated anew with every item. */
static int
on_value(cfg_t *cfg, cfg_opt_t *opt)
{
	struct reader *r = parsing;
	size_t row = 0;
	while (row < ROWS && (strcmp(rows[row].option.section,
		cfg_name(cfg)) != 0 ||
		strcmp(rows[row].option.name, opt->name) != 0))
		row++;
	unsigned n = cfg_opt_size(opt);
	if (row == ROWS || n == 0)
		return 0;
	struct str last = str_from(cfg_opt_getnstr(opt, n - 1));
	int first = r->lines[row];
	if (is_list(&rows[row])) {
		add_item(r, row, last, n, cfg->line);
	} else {
		if (first > 0)
			say_twice(r, row, first, cfg->line);
		set(r, &rows[row], str_copy(r->arena, last), cfg->line);
	}
	r->lines[row] = cfg->line;
	return 0;
}

static char *
path_of(struct arena *a, const struct row *row)
{
	return str_cstr(a, str_printf(a, "%s|%s", row->option.section,
		row->option.name));
}

/* "name = {}" is validated by nobody but is meant. */
static void
take_lists(struct reader *r, cfg_t *cfg)
{
	for (size_t i = 0; i < ROWS; i++) {
		if (!is_list(&rows[i]))
			continue;
		cfg_opt_t *opt = cfg_getopt(cfg, path_of(r->arena, &rows[i]));
		if (opt != NULL && (opt->flags & CFGF_MODIFIED) &&
			cfg_opt_size(opt) == 0)
			set(r, &rows[i], STR(""), cfg->line);
		else if (r->lists[i] != NULL)
			set(r, &rows[i], buf_str(r->lists[i]), r->lines[i]);
	}
}

static cfg_opt_t
confuse_row(const struct row *row)
{
	cfg_opt_t text[] = {CFG_STR(row->option.name, NULL, CFGF_NODEFAULT),
		CFG_STR_LIST(row->option.name, NULL, CFGF_NODEFAULT)};
	return text[is_list(row)];
}

/* Options of a section, ended as libconfuse wants it. */
static cfg_opt_t *
section_table(struct arena *a, const char *section)
{
	cfg_opt_t *opts = arena_array(a, ROWS_MOST, sizeof *opts);
	size_t n = 0;
	for (size_t i = 0; i < ROWS; i++)
		if (strcmp(rows[i].option.section, section) == 0)
			opts[n++] = confuse_row(&rows[i]);
	opts[n] = (cfg_opt_t)CFG_END();
	return opts;
}

static cfg_t *
table(struct arena *a)
{
	static const char *const sections[] = {
#define SECTION_NAME(s) #s,
		CONF_SECTIONS(SECTION_NAME)
#undef SECTION_NAME
	};
	cfg_opt_t *top = arena_array(a, SECTIONS_MOST, sizeof *top);
	size_t n = 0;
	for (; n < sizeof sections / sizeof *sections; n++)
		top[n] = (cfg_opt_t)CFG_SEC(sections[n],
			section_table(a, sections[n]), CFGF_NONE);
	top[n++] = (cfg_opt_t)CFG_STR(END_OPTION, NULL, CFGF_NODEFAULT);
	top[n] = (cfg_opt_t)CFG_END();
	cfg_t *cfg = cfg_init(top, CFGF_NONE);
	if (cfg == NULL)
		fatal("libconfuse", "out of memory");
	cfg_set_error_function(cfg, on_error);
	for (size_t i = 0; i < ROWS; i++)
		cfg_set_validate_func(cfg, path_of(a, &rows[i]), on_value);
	return cfg;
}

static void
override(struct reader *r, struct str text)
{
	struct str section, name, value = text;
	if (!str_cut(&value, '=', &name) || value.p == NULL) {
		complain(r, 0, "\"%.*s\" is not section.option=value",
			STR_ARG(text));
		return;
	}
	str_cut(&name, '.', &section);
	for (size_t i = 0; i < ROWS; i++) {
		if (!str_eq(section, str_from(rows[i].option.section)) ||
			!str_eq(name, str_from(rows[i].option.name)))
			continue;
		set(r, &rows[i], str_copy(r->arena, value), 0);
		return;
	}
	complain(r, 0, "there is no option %.*s.%.*s; `surat config` lists all",
		STR_ARG(section), STR_ARG(name));
}

/* ------------------------------------------------------------- checking */

static bool
is_listen(struct str s)
{
	struct net_address list[2];
	size_t n;
	net_take_proxy(&s);
	return net_parse_listen(s, list, &n);
}

static bool
is_network(struct str s)
{
	struct net_address any;
	return net_parse_ip(str_head(s, str_find(s, '/')), 0, &any) &&
		(!str_has(s, '/') || net_within(&any, s));
}

static bool
is_duration(struct str s)
{
	int64_t seconds;
	return clock_parse_duration(s, &seconds);
}

static bool
is_name_server(struct str s)
{
	struct net_address any;
	uint64_t port;
	struct str rest = s, address;
	str_cut(&rest, '@', &address);
	return net_parse_ip(address, 0, &any) &&
		(!str_has(s, '@') || str_number(rest, 65535, &port));
}

static bool
is_host(struct str s)
{
	struct str host;
	int port;
	return s.n == 0 || hop_parse_host(s, &host, &port);
}

/* Letters, digits, hyphens inside, what is not ASCII; no empty level. */
static bool
is_domain(struct str s)
{
	static const char no[] = " \t@/:;<>()[]\\\"',_*";
	for (size_t i = 0; i < s.n; i++) {
		char before = i > 0 ? s.p[i - 1] : '.';
		char after = i + 1 < s.n ? s.p[i + 1] : '.';
		bool edge = before == '.' || after == '.';
		if (str_has(str_from(no), s.p[i]) || (s.p[i] == '-' && edge) ||
			(s.p[i] == '.' && edge))
			return false;
	}
	return s.n <= 253;
}

static bool
is_ip(struct str s)
{
	struct net_address any;
	return net_parse_ip(s, 0, &any);
}

static bool
is_table(struct str s)
{
	struct table_ref ref;
	return table_ref_parse(s, &ref);
}

static bool
is_domain_or_table(struct str s)
{
	return table_ref_is(s) ? is_table(s)
			       : s.n > 0 && !str_has(s, '@') &&
			!str_has(s, ' ') && !str_has(s, ':');
}

static bool
is_address(struct str s)
{
	size_t at = str_find_last(s, '@');
	return s.n == 0 || (at > 0 && at + 1 < s.n && !str_has(s, ' '));
}

/* ZONE[=ADDRESS][*WEIGHT] */
static bool
is_dns_list(struct str s)
{
	struct net_address any;
	struct str weight = s, zone, address;
	uint64_t n;
	str_cut(&weight, '*', &zone);
	if (weight.p != NULL) {
		if (str_starts(weight, STR("-")))
			weight = str_skip(weight, 1);
		if (!str_number(weight, 1000, &n))
			return false;
	}
	address = zone;
	str_cut(&address, '=', &zone);
	return zone.n > 0 && is_domain(zone) &&
		(address.p == NULL || net_parse_ip(address, 0, &any));
}

/* NETWORK NAME... or * NAME... */
static bool
is_hiding(struct str s)
{
	struct str network, name;
	return str_word(&s, &network) &&
		(str_eq(network, STR("*")) || is_network(network)) &&
		str_word(&s, &name);
}

/* DOMAIN NUMBER or * NUMBER */
static bool
is_rate(struct str s)
{
	struct str domain, number, rest;
	uint64_t n;
	return str_word(&s, &domain) && str_word(&s, &number) &&
		!str_word(&s, &rest) && str_number(number, 1000000, &n) &&
		n > 0;
}

/* RFC 5646, and the name of a file. */
static bool
is_language(struct str s)
{
	enum { MOST = 35 };
	for (size_t i = 0; i < s.n; i++) {
		char c = char_lower(s.p[i]);
		bool inside = i > 0 && i + 1 < s.n;
		if ((c < 'a' || c > 'z') && (i == 0 || c < '0' || c > '9') &&
			(c != '-' || !inside))
			return false;
	}
	return s.n > 0 && s.n <= MOST;
}

static bool
is_absolute(struct str s)
{
	return s.n == 0 || s.p[0] == '/';
}

/*
 * What a kind cannot say: the words a text may be, or what a function thinks
 * of the text or of each item of the list.
 */
struct check {
	size_t offset;
	bool (*fn)(struct str value);
	const char *want;
};

#define WORDS(section, name, words) \
	{offsetof(struct conf, section.name), NULL, words}
#define CHECK(section, name, fn, want) \
	{offsetof(struct conf, section.name), fn, want}
#define LISTEN(name) \
	CHECK(listen, name, is_listen, \
		"IP:PORT, [IPv6]:PORT, *:PORT or /PATH, and proxy behind it")
#define ABSOLUTE(section, name) \
	CHECK(section, name, is_absolute, "an absolute path")

static const struct check checks[] = {
	WORDS(log, target, "syslog stderr"),
	WORDS(log, format, "text json"),
	WORDS(log, level, "error warning info debug"),
	WORDS(tls, minimum, "1.2 1.3"),
	WORDS(smtp, bare_newline, "refuse normalise"),
	WORDS(smtp, bad_header, "keep insert refuse"),
	WORDS(auth, scram, "yes no auto"),
	WORDS(queue, durability, "batch each"),
	CHECK(queue, report_languages, is_language, "a language: en, id, pt-BR"),
	ABSOLUTE(queue, report_templates),
	WORDS(remote, tls, "none opportunistic required verified"),
	WORDS(remote, smarthost_tls, "none opportunistic required verified"),
	WORDS(remote, prefer, "ipv6 ipv4 only-ipv6 only-ipv4"),
	LISTEN(smtp), LISTEN(submission), LISTEN(submissions), LISTEN(lmtp),
	LISTEN(imap), LISTEN(imaps), LISTEN(pop3), LISTEN(pop3s),
	CHECK(general, hostname, is_domain, "a host name"),
	CHECK(general, domains, is_domain, "a domain"),
	ABSOLUTE(general, users), ABSOLUTE(general, aliases),
	ABSOLUTE(general, state), ABSOLUTE(general, runtime),
	ABSOLUTE(general, mbox), ABSOLUTE(general, mail), ABSOLUTE(general, libexec),
	ABSOLUTE(tls, certificate), ABSOLUTE(tls, key), ABSOLUTE(tls, roots),
	ABSOLUTE(resolve, trust_anchor),
	CHECK(smtp, relay_networks, is_network, "ADDRESS or ADDRESS/BITS"),
	CHECK(smtp, xclient_networks, is_network, "ADDRESS or ADDRESS/BITS"),
	CHECK(listen, proxy_from, is_network, "ADDRESS or ADDRESS/BITS"),
	CHECK(smtp, dns_lists, is_dns_list, "ZONE, ZONE=ADDRESS, and *WEIGHT "
		"behind it"),
	CHECK(address, virtual_domains, is_domain_or_table, "DOMAIN or a table"),
	CHECK(address, alias_domains, is_domain_or_table, "DOMAIN or a table"),
	CHECK(address, relay_domains, is_domain_or_table, "DOMAIN or a table"),
	CHECK(address, relay_recipients, is_table, "a table, TYPE:PLACE"),
	CHECK(address, aliases, is_table, "a table, TYPE:PLACE"),
	CHECK(address, users, is_table, "a table, TYPE:PLACE"),
	CHECK(address, senders, is_table, "a table, TYPE:PLACE"),
	CHECK(address, masquerade, is_domain_or_table, "DOMAIN"),
	CHECK(address, bcc, is_address, "an address"),
	CHECK(limit, exempt, is_network, "ADDRESS or ADDRESS/BITS"),
	CHECK(queue, rates, is_rate, "DOMAIN NUMBER or * NUMBER"),
	CHECK(queue, retry, is_duration, "a duration such as 90s, 5m, 4h"),
	CHECK(remote, smarthost, is_host, "HOST or HOST:PORT"),
	CHECK(remote, sender_smarthosts, rule_is_smarthost,
		"SENDER HOP or SENDER HOP USER PASSWORD"),
	CHECK(remote, transports, rule_is_hop, "DOMAIN HOP"),
	CHECK(remote, tls_policies, rule_is_tls,
		"DOMAIN none|opportunistic|required|verified|dane"),
	CHECK(remote, source, is_ip, "an address"),
	CHECK(remote, sender_sources, rule_is_source,
		"SENDER ADDRESS or one of each family"),
	CHECK(remote, own_addresses, is_ip, "an address"),
	CHECK(pipe, commands, argv_is_good, "NAME USER /PROGRAM ARGUMENT..., "
		"with {words} that exist"),
	CHECK(imap, hide, is_hiding, "NETWORK NAME..., or * NAME..."),
	CHECK(resolve, forward, is_name_server, "ADDRESS or ADDRESS@PORT"),
};

static bool
is_one_of(struct str value, const char *words)
{
	struct str rest = str_from(words), word;
	while (str_word(&rest, &word))
		if (str_eq(word, value))
			return true;
	return false;
}

static void
check_row(struct reader *r, const struct check *c, const struct row *row)
{
	const void *member = (const char *)r->conf + c->offset;
	struct str text;
	struct str_list values = {&text, 1};
	if (is_list(row))
		values = *(const struct str_list *)member;
	else
		text = *(const struct str *)member;
	for (size_t i = 0; i < values.n; i++) {
		struct str v = values.v[i];
		if (c->fn != NULL ? c->fn(v) : is_one_of(v, c->want))
			continue;
		complain(r, r->lines[row - rows],
			"%s.%s is \"%.*s\", but must be %s%s",
			row->option.section, row->option.name, STR_ARG(v),
			c->fn == NULL ? "one of: " : "", c->want);
	}
}

static int
line_of(const struct reader *r, const void *member)
{
	size_t offset = (size_t)((const char *)member - (char *)r->conf);
	for (size_t i = 0; i < ROWS; i++)
		if (rows[i].offset == offset)
			return r->lines[i];
	return 0;
}

/* Each rule with what is wrong with it. */
static void
check_policy(struct reader *r)
{
	const struct str_list *rules = &r->conf->policy.rules;
	struct policy_rule rule;
	for (size_t i = 0; i < rules->n; i++) {
		const char *wrong = policy_parse(
			r->arena, rules->v[i], &rule);
		if (wrong != NULL)
			complain(r, line_of(r, rules), "policy.rules: \"%.*s\""
				": %s", STR_ARG(rules->v[i]), wrong);
	}
}

/* Two services cannot have one address. */
static void
check_listen(struct reader *r)
{
	struct row_item {
		size_t row;
		struct str text;
	} seen[LISTEN_MOST];
	size_t n = 0;
	for (size_t i = 0; i < ROWS; i++) {
		const struct conf_option *o = &rows[i].option;
		const struct str_list *l = (const void *)(
			(const char *)r->conf + rows[i].offset);
		if (strcmp(o->section, "listen") != 0 ||
			strcmp(o->name, "proxy_from") == 0)
			continue;
		for (size_t k = 0; k < l->n; k++) {
			struct str text = l->v[k];
			net_take_proxy(&text);
			for (size_t j = 0; j < n; j++)
				if (str_eq(seen[j].text, text))
					complain(r, r->lines[i], "listen.%s: "
						"%.*s is what listen.%s has",
						o->name, STR_ARG(text),
						rows[seen[j].row].option.name);
			if (n < LISTEN_MOST)
				seen[n++] = (struct row_item){i, text};
		}
	}
}

/* What no single option can be blamed for. */
static void
check_together(struct reader *r)
{
	const struct conf *c = r->conf;
	if ((c->tls.certificate.n > 0) != (c->tls.key.n > 0))
		complain(r, c->tls.key.n > 0 ? line_of(r, &c->tls.key)
					     : line_of(r, &c->tls.certificate),
			"tls.certificate and tls.key belong together: name "
			"both or none");
	if (c->remote.smarthost_user.n > 0 && c->remote.smarthost.n == 0)
		complain(r, line_of(r, &c->remote.smarthost_user),
			"remote.smarthost_user is set but remote.smarthost is "
			"not: name the smarthost");
}

/* The commands that rules name are there. */
static void
check_pipes(struct reader *r)
{
	const struct conf *c = r->conf;
	const struct str_list *rules = &c->remote.transports;
	struct argv any;
	for (size_t i = 0; i < rules->n; i++) {
		struct str rest = rules->v[i], word;
		struct hop hop;
		if (!str_word(&rest, &word) || !str_word(&rest, &word) ||
			!hop_parse(word, &hop) || hop.kind != HOP_PIPE ||
			argv_find(c->pipe.commands, hop.host, &any))
			continue;
		complain(r, line_of(r, rules), "remote.transports: \"%.*s\": "
			"pipe.commands has no %.*s", STR_ARG(rules->v[i]),
			STR_ARG(hop.host));
	}
}

static void
check_whole(struct reader *r)
{
	for (size_t i = 0; i < sizeof checks / sizeof *checks; i++)
		for (size_t j = 0; j < ROWS; j++)
			if (rows[j].offset == checks[i].offset)
				check_row(r, &checks[i], &rows[j]);
	check_policy(r);
	check_listen(r);
	check_pipes(r);
	check_together(r);
}

const char *
conf_file(void)
{
	const char *said = getenv("SURAT_CONF");
	return said != NULL ? said : CONF_FILE;
}

struct conf *
conf_read(struct arena *a, int fd, const char *name,
	struct str_list overrides, struct buf *errors)
{
	struct reader r = {.arena = a, .name = name, .errors = errors,
		.conf = arena_one(a, struct conf)};
	struct buf *text = buf_new(a);
	for (size_t i = 0; i < ROWS; i++)
		set(&r, &rows[i], str_from(rows[i].option.def), 0);
	if (!whole_read(fd, text, CONF_MOST)) {
		complain(&r, 0, "cannot be read: %s", strerror(errno));
		return NULL;
	}
	buf_add(text, STR("\n" END_OPTION " = yes\n\0"));
	parsing = &r;
	cfg_t *cfg = table(a);
	int result = cfg_parse_buf(cfg, text->p);
	take_lists(&r, cfg);
	cfg_free(cfg);
	if (result != CFG_SUCCESS && !r.failed)
		complain(&r, 0, "cannot be parsed");
	for (size_t i = 0; i < overrides.n; i++)
		override(&r, overrides.v[i]);
	if (!r.failed)
		check_whole(&r);
	return r.failed ? NULL : r.conf;
}

/* ------------------------------------------------------------- writing */

static void
write_quoted(struct buf *out, struct str s)
{
	buf_addc(out, '"');
	for (size_t i = 0; i < s.n; i++) {
		/* $ too: libconfuse would put the environment's ${NAME} */
		if (str_has(STR("\"\\$"), s.p[i]))
			buf_addc(out, '\\');
		buf_addc(out, s.p[i]);
	}
	buf_addc(out, '"');
}

static void
write_list(struct buf *out, struct str_list list)
{
	buf_addc(out, '{');
	for (size_t i = 0; i < list.n; i++) {
		if (i > 0)
			buf_adds(out, ", ");
		write_quoted(out, list.v[i]);
	}
	buf_addc(out, '}');
}

void
conf_write_value(const struct conf *c, size_t i, struct buf *out)
{
	const struct row *row = &rows[i];
	const void *member = (const char *)c + row->offset;
	switch (row->kind) {
	case KIND_NUMBER:
	case KIND_SIZE:
	case KIND_DURATION:
		buf_printf(out, "%lld", (long long)*(const int64_t *)member);
		break;
	case KIND_BOOL:
		buf_adds(out, *(const bool *)member ? "yes" : "no");
		break;
	case KIND_TEXT:
		write_quoted(out, *(const struct str *)member);
		break;
	case KIND_LIST:
	case KIND_LINES:
		write_list(out, *(const struct str_list *)member);
		break;
	}
}

void
conf_write(const struct conf *c, struct buf *out)
{
	const char *section = NULL;
	for (size_t i = 0; i < ROWS; i++) {
		const struct conf_option *o = &rows[i].option;
		if (section == NULL || strcmp(section, o->section) != 0) {
			if (section != NULL)
				buf_adds(out, "}\n");
			buf_printf(out, "%s {\n", o->section);
			section = o->section;
		}
		buf_printf(out, "\t%s = ", o->name);
		conf_write_value(c, i, out);
		buf_addc(out, '\n');
	}
	buf_adds(out, "}\n");
}

const struct conf_option *
conf_options(size_t *count)
{
	static struct conf_option options[ROWS];
	for (size_t i = 0; i < ROWS; i++)
		options[i] = rows[i].option;
	*count = ROWS;
	return options;
}

struct str
conf_hostname(struct arena *a, const struct conf *c)
{
	char name[256] = "localhost";
	if (c->general.hostname.n > 0)
		return c->general.hostname;
	gethostname(name, sizeof name - 1);
	return str_copy(a, str_from(name));
}

bool
conf_is_local_domain(const struct conf *c, struct str domain)
{
	for (size_t i = 0; i < c->general.domains.n; i++)
		if (str_eq_nocase(domain, c->general.domains.v[i]))
			return true;
	return false;
}
