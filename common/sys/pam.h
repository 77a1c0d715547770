/* SPDX-License-Identifier: ISC */
/*
 * pam: passwords that the system's Pluggable Authentication Modules know.
 *
 * PAM can be left out of a build (PAM= for make); then nobody's password is
 * right.  Its modules are code of the administrator's choice, which may block
 * for as long as it likes and reads files: a process of its own asks.
 */
#ifndef SYS_PAM_H
#define SYS_PAM_H

#include <stdbool.h>

/* What a session of the login would know. */
struct pam_login {
	const char *user, *password;
	const char *client; /* address, or "" */
};

/* Was it built in? */
bool pam_is_there(void);

/* service: a name in /etc/pam.d, or the path of such a file.  True when the
 * password is right and the account may be used now; one whose password has
 * expired may not, since nobody here could ask for another. */
bool pam_agrees(const char *service, const struct pam_login *l);

#endif
