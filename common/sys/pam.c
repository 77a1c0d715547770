/* SPDX-License-Identifier: ISC */
/* The conversation with PAM: one question, for the password; whatever else is
 * asked ends it, and what is told goes nowhere. */
#include "sys/pam.h"

#if defined(SURAT_PAM)

#include <libgen.h>
#include <security/pam_appl.h>
#include <stdlib.h>
#include <string.h>

static void
forget(struct pam_response *r, int count)
{
	for (int i = 0; i < count; i++)
		if (r[i].resp != NULL) {
			explicit_bzero(r[i].resp, strlen(r[i].resp));
			free(r[i].resp);
		}
	free(r);
}

static bool
answer(const struct pam_message *m, const char *password,
	struct pam_response *r)
{
	if (m->msg_style == PAM_TEXT_INFO || m->msg_style == PAM_ERROR_MSG)
		return true;
	if (m->msg_style != PAM_PROMPT_ECHO_OFF)
		return false;
	r->resp = strdup(password);
	return r->resp != NULL;
}

/* Answers are released by the module that asked (pam_conv(3)). */
static int
converse(int count, const struct pam_message **asked, struct pam_response **out,
	void *password)
{
	struct pam_response *r;
	if (count <= 0 || count > PAM_MAX_NUM_MSG)
		return PAM_CONV_ERR;
	r = calloc((size_t)count, sizeof *r);
	for (int i = 0; i < count && r != NULL; i++)
		if (!answer(asked[i], password, &r[i])) {
			forget(r, count);
			return PAM_CONV_ERR;
		}
	*out = r;
	return r != NULL ? PAM_SUCCESS : PAM_BUF_ERR;
}

/* How long a failure takes is auth's to say, for every user alike. */
static void
no_delay(int result, unsigned microseconds, void *ctx)
{
	(void)result, (void)microseconds, (void)ctx;
}

static int
begin(const char *service, const char *user, const struct pam_conv *conv,
	pam_handle_t **pam)
{
	char *path = strdup(service), *copy = strdup(service);
	int r = PAM_BUF_ERR;
	if (path != NULL && copy != NULL && service[0] != '/')
		r = pam_start(service, user, conv, pam);
	else if (path != NULL && copy != NULL)
		r = pam_start_confdir(
			basename(path), user, conv, dirname(copy), pam);
	free(path);
	free(copy);
	return r;
}

static int
ask(pam_handle_t *pam, const char *client)
{
	enum { HOW = PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK };
	void (*delay)(int, unsigned, void *) = no_delay;
	const void *item;
	memcpy(&item, &delay, sizeof item);
	int r = pam_set_item(pam, PAM_FAIL_DELAY, item);
	if (r == PAM_SUCCESS && client[0] != 0)
		r = pam_set_item(pam, PAM_RHOST, client);
	if (r == PAM_SUCCESS)
		r = pam_authenticate(pam, HOW);
	return r == PAM_SUCCESS ? pam_acct_mgmt(pam, HOW) : r;
}

bool
pam_is_there(void)
{
	return true;
}

bool
pam_agrees(const char *service, const struct pam_login *l)
{
	char *password = strdup(l->password);
	struct pam_conv conv = {converse, password};
	pam_handle_t *pam = NULL;
	int r = PAM_BUF_ERR;
	if (password != NULL)
		r = begin(service, l->user, &conv, &pam);
	if (r == PAM_SUCCESS)
		r = ask(pam, l->client);
	if (pam != NULL)
		pam_end(pam, r);
	if (password != NULL)
		explicit_bzero(password, strlen(password));
	free(password);
	return r == PAM_SUCCESS;
}

#else

bool
pam_is_there(void)
{
	return false;
}

bool
pam_agrees(const char *service, const struct pam_login *l)
{
	(void)service, (void)l;
	return false;
}

#endif
