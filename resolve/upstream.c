/* SPDX-License-Identifier: ISC */
/*
 * Setting up libunbound.  Everything it reads from files it reads before the
 * program is confined: adding a zone makes it settle its configuration.
 *
 * When name servers are asked (and not the root), the zones that resolvers
 * answer by themselves are left to them: reserved and private names are what
 * the administrator's own servers may know.
 */
#include "resolve.h"
#include "base/arena.h"
#include "base/log.h"

#include <errno.h>
#include <unistd.h>

struct option {
	const char *name, *value;
};

static const struct option always[] = {
	{"msg-cache-size:", "8m"},
	{"rrset-cache-size:", "16m"},
	{"neg-cache-size:", "2m"},
	/* Mail can wait; nobody is served by an answer of last week. */
	{"cache-max-ttl:", "86400"},
	{"harden-below-nxdomain:", "yes"},
	{"harden-glue:", "yes"},
	{"qname-minimisation:", "yes"},
};

static const struct option forwarding[] = {
	{"do-not-query-localhost:", "no"},
	{"unblock-lan-zones:", "yes"},
	{"insecure-lan-zones:", "yes"},
};

static void
check(int err, const char *what)
{
	if (err != 0)
		fatal(what, ub_strerror(err));
}

static void
set_options(struct ub_ctx *u, const struct option *o, size_t count)
{
	for (size_t i = 0; i < count; i++)
		check(ub_ctx_set_option(u, o[i].name, o[i].value), o[i].name);
}

static void
set_servers(struct arena *a, struct ub_ctx *u, const struct conf *conf)
{
	struct str_list servers = conf->resolve.forward;
	set_options(u, forwarding, sizeof forwarding / sizeof *forwarding);
	for (size_t i = 0; i < servers.n; i++) {
		char *server = str_cstr(a, servers.v[i]);
		check(ub_ctx_set_fwd(u, server), server);
	}
	/* Without it, or without servers in it: from the root. */
	if (servers.n == 0 && ub_ctx_resolvconf(u, NULL) != 0)
		log_warn(LOG_NO_ID, "no-name-servers",
			LOG_CSTR("file", "/etc/resolv.conf"));
}

/* Without the anchor nothing is secure, but mail goes on. */
static void
set_anchor(struct arena *a, struct ub_ctx *u, struct str file)
{
	char *path = str_cstr(a, file);
	if (file.n == 0)
		return;
	if (access(path, R_OK) == 0)
		check(ub_ctx_add_ta_file(u, path), path);
	else
		log_warn(LOG_NO_ID, "no-trust-anchor", LOG_STR("file", file),
			LOG_CSTR("consequence", "nothing is validated"));
	errno = 0;
}

struct ub_ctx *
upstream_new(struct arena *a, const struct conf *conf)
{
	struct ub_ctx *u = ub_ctx_create();
	bool forwards = !conf->resolve.recursive;
	if (u == NULL)
		fatal("libunbound", "no context");
	ub_ctx_debugout(u, NULL);
	set_options(u, always, sizeof always / sizeof *always);
	if (forwards)
		set_servers(a, u, conf);
	set_anchor(a, u, conf->resolve.trust_anchor);
	if (ub_ctx_hosts(u, NULL) != 0)
		log_info(LOG_NO_ID, "no-hosts-file");
	check(ub_ctx_async(u, 1), "threads");
	check(ub_ctx_zone_add(u, "test.", forwards ? "transparent" : "static"),
		"name servers and trust anchor");
	errno = 0;
	return u;
}
