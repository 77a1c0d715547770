/* SPDX-License-Identifier: ISC */
/*
 * Names of mechanisms.  By themselves, since a session process that only tells
 * which there are need not load a library for hashes.
 */
#include "mail/sasl.h"

static const struct {
	const char *name;
	enum sasl_mechanism mechanism;
} mechanisms[] = {
	{"PLAIN", SASL_PLAIN},
	{"LOGIN", SASL_LOGIN},
	{"SCRAM-SHA-1", SASL_SCRAM_SHA_1},
	{"SCRAM-SHA-1-PLUS", SASL_SCRAM_SHA_1_PLUS},
	{"SCRAM-SHA-256", SASL_SCRAM_SHA_256},
	{"SCRAM-SHA-256-PLUS", SASL_SCRAM_SHA_256_PLUS},
};

enum { COUNT = sizeof mechanisms / sizeof *mechanisms };

enum sasl_mechanism
sasl_mechanism(struct str name)
{
	for (size_t i = 0; i < COUNT; i++)
		if (str_eq_nocase(name, str_from(mechanisms[i].name)))
			return mechanisms[i].mechanism;
	return SASL_NONE;
}

struct str
sasl_name(enum sasl_mechanism m)
{
	for (size_t i = 0; i < COUNT; i++)
		if (mechanisms[i].mechanism == m)
			return str_from(mechanisms[i].name);
	return STR("");
}

bool
sasl_is_plaintext(enum sasl_mechanism m)
{
	return m == SASL_PLAIN || m == SASL_LOGIN;
}

bool
sasl_binds(enum sasl_mechanism m)
{
	return m == SASL_SCRAM_SHA_1_PLUS || m == SASL_SCRAM_SHA_256_PLUS;
}

/* In the order in which clients should like them. */
static const enum sasl_mechanism offered[] = {SASL_PLAIN, SASL_LOGIN};

enum sasl_mechanism
sasl_offered(size_t n, struct str binding)
{
	for (size_t i = 0; i < sizeof offered / sizeof *offered; i++)
		if ((binding.n > 0 || !sasl_binds(offered[i])) && n-- == 0)
			return offered[i];
	return SASL_NONE;
}
