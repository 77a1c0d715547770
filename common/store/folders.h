/* SPDX-License-Identifier: ISC */
/*
 * folders: the list of a user's folders.
 *
 * Names are UTF-8 in NFC with "/" between levels; INBOX is written so in any
 * spelling, also as the first level of a name.  What the wire calls them
 * (modified UTF-7 or UTF-8) is the protocol's business, what the disk calls
 * them is maildir.h's.
 *
 * One row has everything STATUS may ask for, kept current by every writer.
 * Subscriptions are a text file of their own: they outlive folders and the
 * index.
 */
#ifndef STORE_FOLDERS_H
#define STORE_FOLDERS_H

#include "base/status.h"
#include "base/str.h"

struct arena;
struct store;

#define FOLDERS_SEPARATOR '/'

/* Octets of a name; of its directory. */
enum { FOLDERS_NAME_MOST = 1000, FOLDERS_DIR_MOST = 250 };

struct folder {
	int64_t id; /* 0: there is no such folder, only the name */
	struct str name;
	struct str mailbox_id; /* OBJECTID: the same after RENAME */
	struct str special; /* "\Drafts", ...; empty for none */
	uint32_t uidvalidity;
	uint32_t uidnext;
	uint64_t highestmodseq;
	uint32_t messages, unseen, deleted, recent;
	uint64_t size; /* sum of the messages' wire sizes */
	uint64_t file_size; /* and of the files' */
	bool subscribed;
	bool has_children;
};

struct folder_list {
	struct folder *v;
	size_t n;
};

/*
 * Every folder in hierarchical order, INBOX first, so that what is below a
 * name follows it.  Names that are no folders (id 0) are in it too: those that
 * have children, those that are only subscribed to, and those above them.
 * Directories made by foreign programs are found.  Of each there is what a LIST
 * says: id, name, mailbox_id, special, subscribed and has_children.
 */
struct status folders_list(struct store *s, struct arena *a,
	struct folder_list *out);

/* One folder, fresh: foreign changes are taken in first.  Never 5.1.1 when
 * there is no such folder. */
struct status folders_status(struct store *s, struct arena *a, struct str name,
	struct folder *out);

/* Octets of its files that EXPUNGE would set free. */
struct status folders_deleted_size(struct store *s, struct arena *a,
	const struct folder *f, uint64_t *octets);

/* The name as it is kept: INBOX spelled so, NFC.  False when it cannot be a
 * folder: empty, too long, an empty level, control characters, not UTF-8. */
bool folders_name(struct arena *a, struct str name, struct str *out);

/*
 * special: "" or the attribute for it (RFC 6154).  Levels above need not exist
 * and are not made: they are names with children.  Never 5.1.3 when it cannot
 * be a name, never 5.1.4 when it is there.  A trailing separator is taken off
 * before.
 */
struct status folders_create(struct store *s, struct arena *a, struct str name,
	struct str special);

/* With its messages.  Children stay.  INBOX cannot be deleted: never 5.2.0. */
struct status folders_delete(struct store *s, struct arena *a,
	struct str name);

/*
 * With its children; UIDs, UIDVALIDITY and mailbox id stay.  INBOX: its
 * messages move to the new folder, it and its children stay (RFC 3501
 * 6.3.5).  Never 5.1.3 and 5.1.4 as folders_create.
 */
struct status folders_rename(struct store *s, struct arena *a, struct str from,
	struct str to);

/* on false: unsubscribe.  The folder need not exist. */
struct status folders_subscribe(struct store *s, struct arena *a,
	struct str name, bool on);

#endif
