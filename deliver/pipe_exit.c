/* SPDX-License-Identifier: ISC */
#include "pipe.h"
#include "base/arena.h"
#include "base/buf.h"
#include "mail/charset.h"

#include <sys/wait.h>
#include <sysexits.h>

enum {
	LINES_MOST = 3,
	TEXT_MOST = 500,
	/* Of a shell, and of ours: it is there no more, or cannot be run, or
	 * died of the signal that is added. */
	NOT_EXECUTABLE = 126,
	NOT_FOUND = 127,
	SIGNALLED = 128,
	SIGNALS = 64,
};

/* What the administrator can mend waits for that; so does what the system had
 * not enough of just then. */
static const struct {
	int code;
	struct status status;
} exits[] = {
#define EXIT(code, class, subject, detail, text) \
	{code, {STATUS_##class, subject, detail, 0, STR_INIT(text)}}
	EXIT(EX_USAGE, NEVER, 3, 0, "the command was used wrongly"),
	EXIT(EX_DATAERR, NEVER, 6, 0, "the message is not as it must be"),
	EXIT(EX_NOINPUT, NEVER, 3, 0, "an input cannot be opened"),
	EXIT(EX_NOUSER, NEVER, 1, 1, "there is no such user"),
	EXIT(EX_NOHOST, NEVER, 1, 2, "there is no such host"),
	EXIT(EX_UNAVAILABLE, NEVER, 3, 0, "the service is not available"),
	EXIT(EX_SOFTWARE, NEVER, 3, 0, "an error within the command"),
	EXIT(EX_OSERR, LATER, 3, 0, "an error of the system"),
	EXIT(EX_OSFILE, NEVER, 3, 0, "a file of the system is missing"),
	EXIT(EX_CANTCREAT, NEVER, 2, 0, "a file cannot be made"),
	EXIT(EX_IOERR, LATER, 3, 0, "a file cannot be read or written"),
	EXIT(EX_TEMPFAIL, LATER, 3, 0, "not now"),
	EXIT(EX_PROTOCOL, NEVER, 5, 0, "an error in a protocol"),
	EXIT(EX_NOPERM, NEVER, 7, 0, "permission denied"),
	EXIT(EX_CONFIG, NEVER, 3, 5, "an error in a configuration"),
	EXIT(NOT_EXECUTABLE, LATER, 3, 5, "the command cannot be run"),
	EXIT(NOT_FOUND, LATER, 3, 5, "the command is not there"),
#undef EXIT
};

static struct status
of_signal(struct arena *a, int signal)
{
	return status_later(3, 0, str_printf(
		a, "the command died of signal %d", signal));
}

static struct status
of_exit(struct arena *a, int code)
{
	if (code > SIGNALLED && code <= SIGNALLED + SIGNALS)
		return of_signal(a, code - SIGNALLED);
	if (code == EX_OK)
		return STATUS(STATUS_FINE, 0, 0, "the command took it");
	for (size_t i = 0; i < sizeof exits / sizeof *exits; i++)
		if (exits[i].code == code)
			return exits[i].status;
	return status_never(3, 0, str_printf(
		a, "the command ended with status %d", code));
}

static struct status
of_end(struct arena *a, const struct pipe_end *e)
{
	if (e->late)
		return STATUS(STATUS_LATER, 3, 0,
			"the command took too long and was ended");
	if (WIFSIGNALED(e->status))
		return of_signal(a, WTERMSIG(e->status));
	return of_exit(a, WEXITSTATUS(e->status));
}

/* A few lines that can stand in a report, whatever they were. */
static struct str
clean(struct arena *a, struct str output)
{
	struct buf *b = buf_new(a);
	struct str line;
	for (int n = 0; n < LINES_MOST && str_cut(&output, '\n', &line);) {
		line = str_trim(line);
		if (line.n == 0)
			continue;
		if (n++ > 0)
			buf_addc(b, '\n');
		bool utf8 = charset_is_utf8(line);
		for (size_t i = 0; i < line.n; i++) {
			unsigned char c = (unsigned char)line.p[i];
			bool good = c >= 0x20 && c != 0x7f &&
				(c < 0x80 || utf8);
			buf_addc(b, good ? line.p[i] : '?');
		}
	}
	return charset_head(buf_str(b), TEXT_MOST);
}

/* "5.7.1 text" or "4.2.0 text" */
static bool
says_code(struct str text, struct status *out)
{
	struct str rest = text, word, piece;
	uint64_t n[3];
	if (!str_word(&rest, &word))
		return false;
	for (int i = 0; i < 3; i++)
		if (!str_cut(&word, '.', &piece) ||
			!str_number(piece, 999, &n[i]))
			return false;
	if (word.p != NULL || (n[0] != STATUS_LATER && n[0] != STATUS_NEVER))
		return false;
	*out = (struct status){(enum status_class)n[0], (uint16_t)n[1],
		(uint16_t)n[2], 0, str_trim(rest)};
	return true;
}

struct status
pipe_status(struct arena *a, const struct pipe_end *e)
{
	struct status s = of_end(a, e), better;
	struct str output = clean(a, e->output);
	if (status_is_fine(s) || output.n == 0)
		return s;
	if (!e->late && WIFEXITED(e->status) && says_code(output, &better))
		return better;
	s.text = str_printf(a, "%.*s: %.*s", STR_ARG(s.text),
		STR_ARG(output));
	return s;
}
