/* SPDX-License-Identifier: ISC */
/*
 * COMPRESS, RFC 4978: raw DEFLATE (RFC 1951) in both directions.  A client may
 * use a window of 32 KiB; ours is smaller, as every session has one.
 */
#include "commands.h"
#include "deflate.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/log.h"

#include <zlib.h>

enum { OUR_WINDOW = 13, THEIR_WINDOW = 15, OUR_MEMORY = 6, STEP = 16 * 1024 };

struct deflate {
	z_stream in, out;
	struct buf *held; /* compressed, not yet expanded */
	uint32_t last;	  /* its last four octets that were */
	bool full;	  /* there may be more of what was expanded last */
	bool ended;
};

static void
end(void *ctx)
{
	struct deflate *d = ctx;
	inflateEnd(&d->in);
	deflateEnd(&d->out);
}

static bool
more(void *ctx)
{
	struct deflate *d = ctx;
	return d->held->n > 0 || d->full;
}

static struct str
held(void *ctx)
{
	struct deflate *d = ctx;
	return buf_str(d->held);
}

static void
used(struct deflate *d, size_t n)
{
	for (size_t i = n < 4 ? 0 : n - 4; i < n; i++)
		d->last = d->last << 8 | (unsigned char)d->held->p[i];
	buf_drop(d->held, n);
}

/* After an empty stored block (Z_SYNC_FLUSH) or the last one: what follows may
 * be plain, if the client has unauthenticated (RFC 8437 4.1). */
static bool
may_be_over(const struct deflate *d)
{
	enum { AT_BOUNDARY = 128, BITS_LEFT = 7 };
	return d->ended || (d->last == 0xffff &&
		(d->in.data_type & (AT_BOUNDARY | BITS_LEFT)) == AT_BOUNDARY);
}

/* One step; false for what is not DEFLATE, or goes on after its end. */
static bool
expand(struct deflate *d, struct buf *out)
{
	d->in.next_in = (unsigned char *)d->held->p;
	d->in.avail_in = (unsigned)d->held->n;
	d->in.next_out = (unsigned char *)buf_room(out, STEP);
	d->in.avail_out = STEP;
	int r = inflate(&d->in, Z_BLOCK);
	if ((r != Z_OK && r != Z_BUF_ERROR && r != Z_STREAM_END) || d->ended)
		return false;
	d->ended = r == Z_STREAM_END;
	buf_grew(out, STEP - d->in.avail_out);
	d->full = d->in.avail_out == 0;
	used(d, d->held->n - d->in.avail_in);
	return true;
}

static bool
decode(void *ctx, struct str in, struct buf *out)
{
	struct deflate *d = ctx;
	size_t before = out->n;
	buf_add(d->held, in);
	while (more(d) && out->n - before < DEFLATE_PIECE) {
		if (!expand(d, out))
			return false;
		if (may_be_over(d))
			break;
	}
	return true;
}

static bool
encode(void *ctx, struct str in, struct buf *out)
{
	struct deflate *d = ctx;
	d->out.next_in = (unsigned char *)(uintptr_t)in.p;
	d->out.avail_in = (unsigned)in.n;
	do {
		d->out.next_out = (unsigned char *)buf_room(out, STEP);
		d->out.avail_out = STEP;
		if (deflate(&d->out, Z_SYNC_FLUSH) == Z_STREAM_ERROR)
			return false;
		buf_grew(out, STEP - d->out.avail_out);
	} while (d->out.avail_out == 0);
	return true;
}

struct conn_filter
deflate_filter(struct arena *a)
{
	struct deflate *d = arena_one(a, struct deflate);
	d->held = buf_new(a);
	if (inflateInit2(&d->in, -THEIR_WINDOW) != Z_OK ||
		deflateInit2(&d->out, Z_DEFAULT_COMPRESSION, Z_DEFLATED,
			-OUR_WINDOW, OUR_MEMORY, Z_DEFAULT_STRATEGY) != Z_OK)
		fatal("out of memory", NULL);
	arena_hook(a, end, d);
	return (struct conn_filter){.decode = decode, .more = more,
		.held = held, .encode = encode, .ctx = d};
}

struct imap_reply
imap_compress(struct imap_session *s, const struct arg *args)
{
	if (arg_count(args) != 1 || !arg_is(args, "DEFLATE"))
		return REPLY_BAD("COMPRESS DEFLATE");
	if (s->compressed)
		return REPLY_NO("COMPRESSIONACTIVE", "It is on");
	s->compressed = true;
	return REPLY_OK("DEFLATE active");
}

/* The octet after the OK is the first that is compressed (RFC 4978 3). */
void
compress_start(struct imap_session *s)
{
	struct conn_filter f = deflate_filter(s->arena);
	conn_filter(s->conn, &f);
}
