/* SPDX-License-Identifier: ISC */
/* "* OK [INPROGRESS ("tag" done goal)] text", RFC 9585 4. */
#include "progress.h"
#include "base/buf.h"
#include "base/clock.h"
#include "store/store.h"

void
progress_begin(struct imap_session *s)
{
	s->progress = clock_in(s->conf->imap.progress * 1000);
}

void
progress_end(struct imap_session *s)
{
	s->progress = CLOCK_FOREVER;
}

static bool
may_speak(struct imap_session *s)
{
	struct buf *out = conn_out(s->conn);
	return (out->n == 0 || out->p[out->n - 1] == '\n') &&
		conn_is_writable(s->conn);
}

void
progress_tell(struct imap_session *s, uint64_t done, uint64_t goal)
{
	struct buf *out = conn_out(s->conn);
	if (clock_ms() < s->progress || !may_speak(s))
		return;
	buf_printf(out, "* OK [INPROGRESS (\"%.*s\"", STR_ARG(s->tag));
	if (goal > 0)
		buf_printf(out, " %llu %llu",
			(unsigned long long)(done < goal ? done : goal),
			(unsigned long long)goal);
	else
		buf_adds(out, " NIL NIL");
	buf_adds(out, ")] Still at it\r\n");
	conn_flush(s->conn);
	progress_begin(s);
}

static void
of_store(void *ctx, const char *folder, uint64_t done, uint64_t total)
{
	(void)folder;
	progress_tell(ctx, done, total);
}

void
progress_listen(struct imap_session *s)
{
	store_progress(s->store, of_store, s);
}
