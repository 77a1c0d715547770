/* SPDX-License-Identifier: ISC */
#ifndef UNIT_MAIL_H
#define UNIT_MAIL_H

#include <check.h>

#define MAIL_SUITES(S) \
	S(encode) S(address) S(smtp) S(trace) S(date) S(header) S(mime) S(text) \
	S(charset) \
	S(sasl) S(dsn) S(template) S(convert) S(target) S(mbox)

#define DECLARE(name) Suite *suite_##name(void);
MAIL_SUITES(DECLARE)
#undef DECLARE

#endif
