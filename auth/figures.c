/* SPDX-License-Identifier: ISC */
/* What auth counts: clients it was asked about, logins by what came of them,
 * and how long those took that worked. */
#include "auth.h"
#include "base/clock.h"

/* Who asks may have been taken over, and shall not fill our memory with words
 * of its own. */
static const char *const protocols[] = {
	"submission", "smtp", "lmtp", "imap", "pop3", "other"};
static const char *const results[LOGIN_RESULTS] = {
	[LOGIN_WORKED] = "ok", [LOGIN_FAILED] = "failed",
	[LOGIN_BANNED] = "banned", [LOGIN_LATER] = "later"};

_Static_assert(sizeof protocols / sizeof *protocols == FIGURE_PROTOCOLS,
	"struct figures has a row for each");

/* "imaps" and "imap.proxy" are the same one. */
static size_t
protocol_of(struct str service)
{
	size_t i = 0;
	while (i < FIGURE_PROTOCOLS - 1 &&
		!str_starts(service, str_from(protocols[i])))
		i++;
	return i;
}

void
figures_login(struct auth *x, struct str service, enum login_result result,
	int64_t began)
{
	x->figures.logins[protocol_of(service)][result]++;
	if (result == LOGIN_WORKED)
		histogram_note(&x->figures.login, clock_us() - began);
}

void
figures_client(struct auth *x, struct str service, bool admitted)
{
	x->figures.clients[protocol_of(service)][admitted]++;
}

static void
tell_protocol(struct peer *p, struct arena *a, const struct figures *f,
	size_t i)
{
	for (size_t k = 0; k < LOGIN_RESULTS; k++)
		figure_tell(p, STR("logins"),
			str_printf(a, "protocol=%s result=%s", protocols[i],
				results[k]), f->logins[i][k]);
	for (size_t k = 0; k < 2; k++)
		figure_tell(p, STR("smtp_clients"),
			str_printf(a, "protocol=%s result=%s", protocols[i],
				k ? "admitted" : "refused"),
			f->clients[i][k]);
}

void
figures_tell(struct peer *p, struct arena *a, struct message *m)
{
	const struct auth *x = p->peers->ctx;
	for (size_t i = 0; figures_wanted(m) && i < FIGURE_PROTOCOLS; i++)
		tell_protocol(p, a, &x->figures, i);
	if (figures_wanted(m))
		figure_tell_histogram(p, a, STR("login_seconds"), STR(""),
			&x->figures.login);
	figures_end(p, m);
}
