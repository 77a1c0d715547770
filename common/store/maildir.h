/* SPDX-License-Identifier: ISC */
/*
 * maildir: names of files and directories.
 *
 *	<time>.<unique>.<host>,S=<octets>,W=<octets on the wire>,UID=<uid>:2,<flags>
 *	'----- unique part --'
 *	'----------------------------- base --------------------------' '- info -'
 *
 * S is the size of the file, W with CRLF line ends, UID the message's UID in
 * the folder it lies in.  The key is UID and not U because mbsync, which may
 * work on the same Maildir, uses U for numbers of its own.  A copy has ID, 16
 * digits that say of which message it is one.  Keys we do not know are kept.  Flags are Maildir's letters (D F P R S T) and a..z for the
 * folder's first 26 keywords.
 *
 * Folders are Maildir++: INBOX is the Maildir itself, another is a directory
 * ".Level.Level" in it.  Each level is in modified UTF-7 (as Courier and
 * Dovecot have it); "." and "~", which mean something in a directory name, are
 * coded too, each in a shift of its own (&AC4- and &AH4-), so that every name
 * has one directory.
 *
 * All functions are pure.
 */
#ifndef STORE_MAILDIR_H
#define STORE_MAILDIR_H

#include "base/buf.h"
#include "base/str.h"

struct arena;

struct maildir_name {
	struct str unique; /* up to the first comma */
	struct str base; /* up to the colon */
	struct str info; /* the colon and the rest */
	uint64_t size, wire_size; /* valid with the bools */
	uint32_t uid; /* 0: none */
	bool has_size, has_wire_size;
	uint64_t id; /* of the message and its copies, 0: not in the name */
};

/* Takes any file name apart. */
struct maildir_name maildir_parse(struct str file);

/* So that any flags fit behind it into a file name of 255 octets. */
enum { MAILDIR_BASE_MOST = 200, MAILDIR_INFO_MOST = 55 };

/* The base with S, W and UID set to these, other keys kept as far as they
 * fit; a unique part that is too long is cut. */
struct str maildir_base(struct arena *a, struct str old, uint64_t size,
	uint64_t wire_size, uint32_t uid);

/* What a message is called wherever it is copied to: the ID of its name, else
 * what follows from the unique part.  63 bits, not 0. */
uint64_t maildir_id(struct str file);
/* A unique part (or base) with that ID behind it, for the base of a copy. */
struct str maildir_with_id(struct arena *a, struct str unique, uint64_t id);

/* Message flags (store/message.h) and keyword letters (bit 0 = a) of ":2,FS";
 * letters that mean nothing to us are passed over. */
void maildir_flags(struct str info, unsigned *flags, uint32_t *letters);
/* ":2,..." with the letters in ASCII order; unknown ones of the old info are
 * kept, as far as they fit. */
struct str maildir_info(struct arena *a, struct str old, unsigned flags,
	uint32_t letters);

/* Folder name to directory; false when the directory would be too long. */
bool maildir_dir(struct arena *a, struct str folder, struct str *dir);
/* Directory to folder name; false when it cannot be a folder of ours. */
bool maildir_folder(struct arena *a, struct str dir, struct str *folder);

#endif
