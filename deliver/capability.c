/* SPDX-License-Identifier: ISC */
/* The reply to EHLO (RFC 5321 4.1.1.1): a line a keyword. */
#include "remote.h"
#include "mail/sasl.h"

static void
take_size(struct capability *c, struct str words)
{
	struct str word;
	c->size = true;
	if (str_word(&words, &word))
		str_number(word, INT64_MAX, &c->size_most);
}

static void
take_auth(struct capability *c, struct str words)
{
	struct str word;
	while (str_word(&words, &word))
		c->mechanisms |= 1u << sasl_mechanism(word);
	c->mechanisms &= ~(1u << SASL_NONE);
}

/* RFC 9422 */
static void
take_limits(struct capability *c, struct str words)
{
	struct str word, name;
	while (str_word(&words, &word)) {
		str_cut(&word, '=', &name);
		if (str_eq_nocase(name, STR("RCPTMAX")))
			str_number(word, INT64_MAX, &c->rcpt_most);
		else if (str_eq_nocase(name, STR("MAILMAX")))
			str_number(word, INT64_MAX, &c->mail_most);
	}
}

#define FLAG(member) offsetof(struct capability, member)

static const struct {
	const char *keyword;
	size_t flag;
	void (*take)(struct capability *c, struct str words);
} rows[] = {
	{"PIPELINING", FLAG(pipelining), NULL},
	{"8BITMIME", FLAG(eightbit), NULL},
	{"SMTPUTF8", FLAG(smtputf8), NULL},
	{"DSN", FLAG(dsn), NULL},
	{"STARTTLS", FLAG(starttls), NULL},
	{"CHUNKING", FLAG(chunking), NULL},
	{"BINARYMIME", FLAG(binarymime), NULL},
	{"REQUIRETLS", FLAG(requiretls), NULL},
	{"SIZE", 0, take_size},
	{"AUTH", 0, take_auth},
	{"LIMITS", 0, take_limits},
};

static void
take_line(struct capability *c, struct str line)
{
	struct str keyword;
	/* "AUTH=LOGIN": from before RFC 4954, still met. */
	if (str_starts_nocase(line, STR("AUTH="))) {
		take_auth(c, str_skip(line, 5));
		return;
	}
	if (!str_word(&line, &keyword))
		return;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		if (!str_eq_nocase(keyword, str_from(rows[i].keyword)))
			continue;
		if (rows[i].take != NULL)
			rows[i].take(c, line);
		else
			*(bool *)((char *)c + rows[i].flag) = true;
	}
}

void
capability_parse(struct str text, struct capability *out)
{
	struct str line;
	*out = (struct capability){.esmtp = true};
	/* The first line is the server's name and whatever it likes. */
	str_cut(&text, '\n', &line);
	while (str_cut(&text, '\n', &line))
		take_line(out, line);
}
