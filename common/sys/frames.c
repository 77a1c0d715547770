/* SPDX-License-Identifier: ISC */
/*
 * A file system of SQLite's that differs in one file.  Only whole frames that
 * follow each other wait, and only between frames_gather(true) and the frame
 * that ends the commit: SQLite holds the write lock then, so that nobody else
 * writes there.  Any other call finds the file as if nothing had waited.
 *
 * Frames of a transaction that outgrows its cache are written before COMMIT,
 * and go through.  So does what SQLite does to them at the end: it reads each
 * and writes its 24 octets anew, and what is read has been written before.
 */
#include "sys/frames.h"

#include <string.h>

/* SQLite's own xWrite takes less than 128 KiB. */
enum { HEADER = 24, MOST = 28 * (4096 + HEADER) };

struct log_file {
	sqlite3_file base;
	bool gathers;
	_Alignas(sqlite3_int64) char real[]; /* SQLite aligns to eight */
};

/* Of the one that gathers. */
static struct {
	sqlite3_int64 at;
	int n;
	bool page_due; /* what waits ends with a header */
	bool last; /* of the frame that ends the commit */
	char octets[MOST];
} waiting;

static sqlite3_vfs *usual;

static sqlite3_file *
real(sqlite3_file *f)
{
	return (sqlite3_file *)(void *)((struct log_file *)f)->real;
}

static int
flush(sqlite3_file *f)
{
	if (!((struct log_file *)f)->gathers || waiting.n == 0)
		return SQLITE_OK;
	int n = waiting.n;
	waiting.n = 0;
	return real(f)->pMethods->xWrite(real(f), waiting.octets, n,
		waiting.at);
}

/* -------------------------------------------------------------- writing */

/* The database's size in a header says that a commit ends there. */
static bool
ends_commit(const unsigned char *header)
{
	return (header[4] | header[5] | header[6] | header[7]) != 0;
}

/* A header waits for its page; that of the last frame only with others, so
 * that a page follows for certain. */
static bool
may_wait(const sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
	if (!((const struct log_file *)f)->gathers)
		return false;
	if (waiting.n > 0)
		return at == waiting.at + waiting.n && n <= MOST - waiting.n &&
			waiting.page_due == (n != HEADER);
	return n == HEADER && at > 0 && !ends_commit(p);
}

static int
log_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
	if (!may_wait(f, p, n, at)) {
		int r = flush(f);
		if (r != SQLITE_OK || !may_wait(f, p, n, at))
			return r != SQLITE_OK ? r
				: real(f)->pMethods->xWrite(real(f), p, n, at);
	}
	if (waiting.n == 0)
		waiting.at = at;
	waiting.page_due = n == HEADER;
	if (waiting.page_due)
		waiting.last = ends_commit(p);
	memcpy(waiting.octets + waiting.n, p, (size_t)n);
	waiting.n += n;
	return waiting.last && !waiting.page_due ? flush(f) : SQLITE_OK;
}

/* ------------------------------------------------------- everything else */

static int
log_close(sqlite3_file *f)
{
	int r = flush(f);
	int closed = real(f)->pMethods->xClose(real(f));
	return r != SQLITE_OK ? r : closed;
}

static int
log_read(sqlite3_file *f, void *to, int n, sqlite3_int64 at)
{
	int r = flush(f);
	return r != SQLITE_OK ? r
		: real(f)->pMethods->xRead(real(f), to, n, at);
}

static int
log_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	int r = flush(f);
	return r != SQLITE_OK ? r
		: real(f)->pMethods->xTruncate(real(f), size);
}

static int
log_sync(sqlite3_file *f, int flags)
{
	int r = flush(f);
	return r != SQLITE_OK ? r : real(f)->pMethods->xSync(real(f), flags);
}

static int
log_size(sqlite3_file *f, sqlite3_int64 *size)
{
	int r = flush(f);
	return r != SQLITE_OK ? r
		: real(f)->pMethods->xFileSize(real(f), size);
}

static int
log_control(sqlite3_file *f, int what, void *arg)
{
	int r = flush(f);
	return r != SQLITE_OK ? r
		: real(f)->pMethods->xFileControl(real(f), what, arg);
}

static int
log_lock(sqlite3_file *f, int how)
{
	return real(f)->pMethods->xLock(real(f), how);
}

static int
log_unlock(sqlite3_file *f, int how)
{
	return real(f)->pMethods->xUnlock(real(f), how);
}

static int
log_is_reserved(sqlite3_file *f, int *out)
{
	return real(f)->pMethods->xCheckReservedLock(real(f), out);
}

static int
log_sector(sqlite3_file *f)
{
	return real(f)->pMethods->xSectorSize(real(f));
}

static int
log_device(sqlite3_file *f)
{
	return real(f)->pMethods->xDeviceCharacteristics(real(f));
}

static const sqlite3_io_methods methods = {
	.iVersion = 1,
	.xClose = log_close,
	.xRead = log_read,
	.xWrite = log_write,
	.xTruncate = log_truncate,
	.xSync = log_sync,
	.xFileSize = log_size,
	.xLock = log_lock,
	.xUnlock = log_unlock,
	.xCheckReservedLock = log_is_reserved,
	.xFileControl = log_control,
	.xSectorSize = log_sector,
	.xDeviceCharacteristics = log_device,
};

static int
open_file(sqlite3_vfs *v, const char *name, sqlite3_file *f, int flags,
	int *got)
{
	(void)v;
	if ((flags & SQLITE_OPEN_WAL) == 0)
		return usual->xOpen(usual, name, f, flags, got);
	((struct log_file *)f)->gathers = false;
	memset(real(f), 0, (size_t)usual->szOsFile);
	int r = usual->xOpen(usual, name, real(f), flags, got);
	/* SQLite closes what has methods, whatever became of it. */
	f->pMethods = real(f)->pMethods == NULL ? NULL : &methods;
	return r;
}

const char *
frames_vfs(void)
{
	static sqlite3_vfs own;
	if (usual != NULL)
		return own.zName;
	usual = sqlite3_vfs_find(NULL);
	own = *usual;
	own.zName = "frames";
	own.pNext = NULL;
	own.szOsFile += (int)sizeof(struct log_file);
	own.xOpen = open_file;
	sqlite3_vfs_register(&own, 0);
	return own.zName;
}

void
frames_gather(sqlite3 *db, bool on)
{
	sqlite3_file *f = NULL;
	sqlite3_file_control(db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &f);
	if (f == NULL || f->pMethods != &methods)
		return;
	/* What a failed COMMIT left was never written. */
	waiting.n = 0;
	((struct log_file *)f)->gathers = on;
}
