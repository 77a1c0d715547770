/* SPDX-License-Identifier: ISC */
/*
 * recorder: disks that remember.  A FUSE file system with one file for each
 * disk and one called "mark"; what is written to a disk, when it was flushed,
 * and what was written to "mark" go into one log, in the one order in which
 * they happened.  A loop device over the file is a disk with a volatile cache:
 * whatever was written after its last flush may or may not have survived.
 *
 *     recorder MOUNTPOINT LOG DISK...      DISK: an image, which it changes
 *
 * Serves until it is unmounted.  The log is records: struct record, then its
 * data.  One thread, so that the order of the log is the order of the answers.
 */
#define FUSE_USE_VERSION 31
#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { DISKS_MOST = 4, WRITE_MOST = 1 << 20 };

enum kind { WRITE = 'W', FLUSH = 'F', MARK = 'M' };

/* In the machine's own byte order; offset and length in octets. */
struct record {
	uint8_t kind, disk;
	uint16_t unused;
	uint32_t length;
	uint64_t offset;
};

static struct {
	int log, disks[DISKS_MOST];
	int count;
} all;

static int
note(enum kind kind, int disk, const char *data, size_t n, off_t at)
{
	struct record r = {.kind = (uint8_t)kind, .disk = (uint8_t)disk,
		.length = (uint32_t)n, .offset = (uint64_t)at};
	struct iovec v[2] = {{&r, sizeof r}, {(void *)(uintptr_t)data, n}};
	ssize_t want = (ssize_t)(sizeof r + n);
	return writev(all.log, v, 2) == want ? 0 : -EIO;
}

/* "/disk0" is 0, "/mark" is count, anything else -1. */
static int
index_of(const char *path)
{
	char name[16];
	for (int i = 0; i < all.count; i++) {
		snprintf(name, sizeof name, "/disk%d", i);
		if (strcmp(path, name) == 0)
			return i;
	}
	return strcmp(path, "/mark") == 0 ? all.count : -1;
}

static int
on_getattr(const char *path, struct stat *st, struct fuse_file_info *info)
{
	int i = index_of(path);
	(void)info;
	memset(st, 0, sizeof *st);
	st->st_nlink = 1;
	if (strcmp(path, "/") == 0) {
		st->st_mode = S_IFDIR | 0755;
		return 0;
	}
	if (i < 0)
		return -ENOENT;
	st->st_mode = S_IFREG | 0666;
	if (i < all.count) {
		struct stat disk;
		if (fstat(all.disks[i], &disk) != 0)
			return -errno;
		st->st_size = disk.st_size;
	}
	return 0;
}

static int
on_readdir(const char *path, void *to, fuse_fill_dir_t fill, off_t from,
	struct fuse_file_info *info, enum fuse_readdir_flags flags)
{
	char name[16];
	(void)path, (void)from, (void)info, (void)flags;
	for (int i = 0; i < all.count; i++) {
		snprintf(name, sizeof name, "disk%d", i);
		fill(to, name, NULL, 0, 0);
	}
	fill(to, "mark", NULL, 0, 0);
	return 0;
}

/* Past the page cache: a write arrives when it is made. */
static int
on_open(const char *path, struct fuse_file_info *info)
{
	info->direct_io = 1;
	return index_of(path) < 0 ? -ENOENT : 0;
}

static int
on_read(const char *path, char *to, size_t n, off_t at,
	struct fuse_file_info *info)
{
	int i = index_of(path);
	(void)info;
	if (i < 0 || i >= all.count)
		return 0;
	ssize_t got = pread(all.disks[i], to, n, at);
	return got < 0 ? -errno : (int)got;
}

static int
on_write(const char *path, const char *data, size_t n, off_t at,
	struct fuse_file_info *info)
{
	int i = index_of(path);
	(void)info;
	if (i < 0)
		return -ENOENT;
	if (i < all.count && pwrite(all.disks[i], data, n, at) != (ssize_t)n)
		return -EIO;
	int wrong = note(i < all.count ? WRITE : MARK, i, data, n, at);
	return wrong != 0 ? wrong : (int)n;
}

static int
on_fsync(const char *path, int only_data, struct fuse_file_info *info)
{
	int i = index_of(path);
	(void)only_data, (void)info;
	return i >= 0 && i < all.count ? note(FLUSH, i, NULL, 0, 0) : 0;
}

static int
on_truncate(const char *path, off_t size, struct fuse_file_info *info)
{
	(void)size, (void)info;
	return index_of(path) == all.count ? 0 : -EPERM;
}

static void *
on_init(struct fuse_conn_info *conn, struct fuse_config *conf)
{
	conn->max_write = WRITE_MOST;
	conf->kernel_cache = 0;
	return NULL;
}

static const struct fuse_operations operations = {
	.init = on_init,
	.getattr = on_getattr,
	.readdir = on_readdir,
	.open = on_open,
	.read = on_read,
	.write = on_write,
	.fsync = on_fsync,
	.truncate = on_truncate,
};

static int
open_or_die(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0600);
	if (fd < 0) {
		perror(path);
		exit(EXIT_FAILURE);
	}
	return fd;
}

int
main(int argc, char **argv)
{
	if (argc < 4 || argc > 3 + DISKS_MOST) {
		fputs("usage: recorder MOUNTPOINT LOG DISK...\n", stderr);
		return 64;
	}
	all.log = open_or_die(argv[2], O_WRONLY | O_CREAT | O_APPEND);
	for (int i = 3; i < argc; i++)
		all.disks[all.count++] = open_or_die(argv[i], O_RDWR);
	/* -s: one thread; -f: in the foreground. */
	char *args[] = {argv[0], "-s", "-f", "-o", "allow_other", argv[1]};
	return fuse_main(6, args, &operations, NULL);
}
