/* SPDX-License-Identifier: ISC */
/*
 * Lines are put together in a fixed buffer on the stack, so that logging
 * needs no memory and works from fatal().  What does not fit is cut.
 */
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

/* What a pipe takes in one piece is not torn by another program's lines. */
enum { LINE_MAX_OCTETS = 4096, VALUE_MAX = 1024, GATHERED_MOST = 4096 };

static struct {
	const char *ident;
	enum log_target to;
	enum log_format as;
	int level;
} log_state = {"surat", LOG_TO_STDERR, LOG_AS_TEXT, LOG_INFO};

static struct {
	bool on;
	pid_t pid; /* 0: not asked yet */
	size_t n;
	char text[GATHERED_MOST];
} gathered;

struct line {
	char text[LINE_MAX_OCTETS];
	size_t n;
};

void
log_open(const char *ident, enum log_target to, enum log_format as)
{
	log_state.ident = ident;
	log_state.to = to;
	log_state.as = as;
	if (to == LOG_TO_SYSLOG)
		openlog(ident, LOG_PID | LOG_NDELAY, LOG_MAIL);
}

void
log_level(int level)
{
	log_state.level = level;
}

/* A full or closed log must never block or end a session. */
static void
put(const char *text, size_t n)
{
	ssize_t ignored = n > 0 ? write(STDERR_FILENO, text, n) : 0;
	(void)ignored;
}

void
log_flush(void)
{
	put(gathered.text, gathered.n);
	gathered.n = 0;
}

/* A child is another process, and what waits is its parent's to write. */
static void
in_child(void)
{
	gathered.on = false;
	gathered.pid = 0;
}

static pid_t
own_pid(void)
{
	static bool watched;
	if (!watched)
		watched = pthread_atfork(log_flush, NULL, in_child) == 0;
	if (gathered.pid == 0 || !watched)
		gathered.pid = getpid();
	return gathered.pid;
}

/* One octet stays free for the newline. */
static void
add(struct line *l, struct str s)
{
	size_t room = sizeof l->text - 1 - l->n;
	size_t n = s.n < room ? s.n : room;
	if (n > 0)
		memcpy(l->text + l->n, s.p, n);
	l->n += n;
}

static void
add_number(struct line *l, int64_t number)
{
	char digits[24];
	size_t at = sizeof digits;
	uint64_t rest = number < 0 ? -(uint64_t)number : (uint64_t)number;
	do {
		digits[--at] = (char)('0' + rest % 10);
		rest /= 10;
	} while (rest > 0);
	if (number < 0)
		digits[--at] = '-';
	add(l, str_of(digits + at, sizeof digits - at));
}

static void
add_escaped(struct line *l, struct str s, const char *hex)
{
	static const char digits[] = "0123456789abcdef";
	for (size_t i = 0; i < s.n && i < VALUE_MAX; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (c == '"' || c == '\\') {
			add(l, STR("\\"));
			add(l, str_of(&s.p[i], 1));
		} else if (c >= 0x20 && c < 0x7f) {
			add(l, str_of(&s.p[i], 1));
		} else {
			char pair[2] = {digits[c >> 4], digits[c & 15]};
			add(l, str_from(hex));
			add(l, str_of(pair, 2));
		}
	}
	if (s.n > VALUE_MAX)
		add(l, STR("..."));
}

static bool
needs_quotes(struct str s)
{
	if (s.n == 0)
		return true;
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (c <= 0x20 || c >= 0x7f || c == '"' || c == '\\')
			return true;
	}
	return s.n > VALUE_MAX;
}

static void
add_field_text(struct line *l, const struct log_field *f)
{
	add(l, STR(" "));
	add(l, str_from(f->key));
	add(l, STR("="));
	if (f->is_number) {
		add_number(l, f->number);
	} else if (needs_quotes(f->text)) {
		add(l, STR("\""));
		add_escaped(l, f->text, "\\x");
		add(l, STR("\""));
	} else {
		add(l, f->text);
	}
}

static void
add_field_json(struct line *l, const struct log_field *f)
{
	add(l, STR(",\""));
	add(l, str_from(f->key));
	add(l, STR("\":"));
	if (f->is_number) {
		add_number(l, f->number);
		return;
	}
	add(l, STR("\""));
	add_escaped(l, f->text, "\\u00");
	add(l, STR("\""));
}

static void
format_text(struct line *l, struct str id, const char *event,
	const struct log_field *f)
{
	if (id.n == 0)
		add(l, STR("-"));
	else
		add_escaped(l, id, "\\x");
	add(l, STR(" "));
	add(l, str_from(event));
	for (; f->key != NULL; f++)
		add_field_text(l, f);
}

static void
format_json(struct line *l, struct str id, const char *event,
	const struct log_field *f)
{
	add(l, STR("{\"program\":\""));
	add(l, str_from(log_state.ident));
	add(l, STR("\",\"pid\":"));
	add_number(l, own_pid());
	add(l, STR(",\"id\":\""));
	add_escaped(l, id, "\\u00");
	add(l, STR("\",\"event\":\""));
	add_escaped(l, str_from(event), "\\u00");
	add(l, STR("\""));
	for (; f->key != NULL; f++)
		add_field_json(l, f);
	add(l, STR("}"));
}

void
log_gather(bool on)
{
	log_flush();
	own_pid();
	gathered.on = on;
}

static void
emit(int level, struct line *l)
{
	if (log_state.to == LOG_TO_SYSLOG) {
		syslog(level, "%.*s", (int)l->n, l->text);
		return;
	}
	l->text[l->n++] = '\n';
	if (gathered.n + l->n > sizeof gathered.text)
		log_flush();
	if (!gathered.on) {
		put(l->text, l->n);
		return;
	}
	memcpy(gathered.text + gathered.n, l->text, l->n);
	gathered.n += l->n;
	if (level <= LOG_WARNING)
		log_flush();
}

void
log_write(int level, struct str id, const char *event,
	const struct log_field *fields)
{
	struct line l;
	if (level > log_state.level)
		return;
	l.n = 0;
	if (log_state.as == LOG_AS_JSON) {
		format_json(&l, id, event, fields);
		emit(level, &l);
		return;
	}
	if (log_state.to == LOG_TO_STDERR) {
		add(&l, str_from(log_state.ident));
		add(&l, STR("["));
		add_number(&l, own_pid());
		add(&l, STR("]: "));
	}
	format_text(&l, id, event, fields);
	emit(level, &l);
}

void
fatal(const char *what, const char *why)
{
	int err = errno;
	log_error(LOG_NO_ID, "fatal", LOG_CSTR("what", what),
		LOG_CSTR("why", why == NULL ? "-" : why),
		LOG_CSTR("errno", err == 0 ? "-" : strerror(err)));
	exit(75);
}
