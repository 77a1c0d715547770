/* SPDX-License-Identifier: ISC */
/*
 * Sessions with servers, to be taken up again (RFC 8446 2.2, RFC 5246 7.3):
 * half the round trips and a tenth of the work of a new handshake.
 *
 * A session is offered only where all that was demanded when it began is
 * demanded again: service, name, policy, TLSA records.  It carries what was
 * verified then.  A ticket of TLS 1.3 is used once, so that nobody on the way
 * can tell two connections belong together.
 */
#include "tls.h"
#include "base/arena.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"

#include <stdlib.h>

enum { SESSIONS_MOST = 512 };

struct resumable {
	struct list used; /* the one longest unused first */
	char *key;
	SSL_SESSION *session;
};

static int key_index;
static struct map *by_key;
static struct list by_use;
static size_t count;

static void
forget(struct resumable *r)
{
	map_remove(by_key, str_from(r->key));
	list_remove(&r->used);
	SSL_SESSION_free(r->session);
	free(r->key);
	free(r);
	count--;
}

/* The library has a session for us, at any time after the handshake. */
static int
keep(SSL *ssl, SSL_SESSION *session)
{
	const char *key = SSL_get_ex_data(ssl, key_index);
	if (key == NULL || (SSL_get_verify_mode(ssl) != SSL_VERIFY_NONE &&
		SSL_get_verify_result(ssl) != X509_V_OK))
		return 0;
	struct resumable *r = map_get(by_key, str_from(key));
	if (r != NULL)
		forget(r);
	if (count == SESSIONS_MOST)
		forget(list_first(&by_use, struct resumable, used));
	r = calloc(1, sizeof *r);
	if (r == NULL || (r->key = strdup(key)) == NULL)
		fatal("out of memory", NULL);
	r->session = session;
	list_add(&by_use, &r->used);
	map_set(by_key, str_from(key), r);
	count++;
	return 1; /* the reference is ours now */
}

static void
free_key(void *parent, void *key, CRYPTO_EX_DATA *data, int index, long argl,
	void *argp)
{
	(void)parent, (void)data, (void)index, (void)argl, (void)argp;
	free(key);
}

void
resume_start(struct tls *t)
{
	by_key = map_new(t->arena);
	list_init(&by_use);
	key_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, free_key);
	SSL_CTX_set_session_cache_mode(t->client, SSL_SESS_CACHE_CLIENT |
		SSL_SESS_CACHE_NO_INTERNAL_STORE);
	SSL_CTX_sess_set_new_cb(t->client, keep);
}

static char *
key_of(struct arena *a, const struct msg_tls_start *m)
{
	struct str tlsa = str_join(a, m->tlsa, STR(","));
	struct str key = str_printf(a, "%.*s %.*s %.*s %.*s",
		STR_ARG(m->service), STR_ARG(m->policy), STR_ARG(m->name),
		STR_ARG(tlsa));
	char *copy = strndup(key.p, key.n);
	if (copy == NULL)
		fatal("out of memory", NULL);
	return copy;
}

void
resume_offer(struct arena *a, SSL *ssl, const struct msg_tls_start *m)
{
	char *key = key_of(a, m);
	/* Without a name nobody says whose session it is. */
	if (m->name.n == 0 || SSL_set_ex_data(ssl, key_index, key) != 1) {
		free(key);
		return;
	}
	struct resumable *r = map_get(by_key, str_from(key));
	if (r == NULL)
		return;
	SSL_set_session(ssl, r->session);
	if (SSL_SESSION_get_protocol_version(r->session) >= TLS1_3_VERSION)
		forget(r);
}
