/* SPDX-License-Identifier: ISC */
/*
 * A PAM module for tests, which knows people by its arguments:
 *
 *	user=password	lets the user in
 *	slow=user	takes four seconds over that one
 *	expired=user	whose password has to be changed first
 *	locked=user	who may not come in
 *	from=address	where everybody has to come from
 *	asks=user	of whom it wants to know another thing, aloud
 */
#include <security/pam_ext.h>
#include <security/pam_modules.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool
has(int argc, const char **argv, const char *name, const char *value)
{
	char want[512];
	snprintf(want, sizeof want, "%s=%s", name, value);
	for (int i = 0; i < argc; i++)
		if (strcmp(argv[i], want) == 0)
			return true;
	return false;
}

int
pam_sm_authenticate(pam_handle_t *pam, int flags, int argc, const char **argv)
{
	const char *user = NULL, *password = NULL;
	char *more = NULL;
	(void)flags;
	if (pam_get_user(pam, &user, NULL) != PAM_SUCCESS)
		return PAM_USER_UNKNOWN;
	pam_info(pam, "Welcome to the test");
	if (has(argc, argv, "asks", user) &&
		pam_prompt(pam, PAM_PROMPT_ECHO_ON, &more, "Colour? ") !=
			PAM_SUCCESS)
		return PAM_CONV_ERR;
	if (pam_get_authtok(pam, PAM_AUTHTOK, &password, NULL) != PAM_SUCCESS)
		return PAM_AUTH_ERR;
	if (has(argc, argv, "slow", user))
		sleep(4);
	pam_fail_delay(pam, 5000000);
	return has(argc, argv, user, password) ? PAM_SUCCESS : PAM_AUTH_ERR;
}

int
pam_sm_setcred(pam_handle_t *pam, int flags, int argc, const char **argv)
{
	(void)pam, (void)flags, (void)argc, (void)argv;
	return PAM_SUCCESS;
}

int
pam_sm_acct_mgmt(pam_handle_t *pam, int flags, int argc, const char **argv)
{
	const void *from = NULL;
	const char *user = NULL;
	(void)flags;
	if (pam_get_user(pam, &user, NULL) != PAM_SUCCESS ||
		pam_get_item(pam, PAM_RHOST, &from) != PAM_SUCCESS ||
		from == NULL || !has(argc, argv, "from", from))
		return PAM_PERM_DENIED;
	if (has(argc, argv, "expired", user))
		return PAM_NEW_AUTHTOK_REQD;
	return has(argc, argv, "locked", user) ? PAM_ACCT_EXPIRED : PAM_SUCCESS;
}
