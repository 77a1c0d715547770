/* SPDX-License-Identifier: ISC */
/*
 * queries: every statement but those of scans (scan.c), by name; for index.h.
 * What the tables mean is in doc/store.md.
 */
#ifndef STORE_QUERIES_H
#define STORE_QUERIES_H

#define FOLDER_COLUMNS "id,name,dir,mailbox_id,special,uidvalidity,uidnext," \
	"uid_mark,modseq,modseq_mark,messages,unseen,deleted,size,file_size," \
	"run_first,run_last,new_from,recent_uid,tombs,tomb_since,new_mtime,cur_mtime,unsure,looked," \
	"rebuild,words_owed"

/* clang-format off */
#define INDEX_QUERIES(Q) \
	Q(BEGIN, "BEGIN IMMEDIATE") \
	Q(BEGIN_READ, "BEGIN") \
	Q(COMMIT, "COMMIT") \
	Q(ROLLBACK, "ROLLBACK") \
	Q(META_GET, "SELECT value FROM meta WHERE name=?1") \
	Q(META_SET, "INSERT INTO meta VALUES(?1,?2) " \
		"ON CONFLICT(name) DO UPDATE SET value=?2") \
	Q(META_QUOTA, "SELECT name,value FROM meta " \
		"WHERE name BETWEEN 'quota_' AND 'quota_z'") \
	Q(FOLDERS, "SELECT " FOLDER_COLUMNS " FROM folder ORDER BY id") \
	Q(FOLDER_NAMES, "SELECT id,name,mailbox_id,special FROM folder") \
	Q(FOLDER_NAMED, "SELECT " FOLDER_COLUMNS " FROM folder WHERE name=?1") \
	Q(FOLDER_ID, "SELECT " FOLDER_COLUMNS " FROM folder WHERE id=?1") \
	Q(FOLDER_MAILBOX, "SELECT " FOLDER_COLUMNS " FROM folder " \
		"WHERE mailbox_id=?1") \
	Q(FOLDER_DIR, "SELECT " FOLDER_COLUMNS " FROM folder WHERE dir=?1") \
	Q(FOLDER_ADD, "INSERT OR IGNORE INTO folder(name,dir,mailbox_id," \
		"special,uidvalidity,uidnext,uid_mark,modseq,modseq_mark," \
		"recent_uid,tomb_since,rebuild,new_mtime,cur_mtime) " \
		"VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?6,?8,?10,?11,?12)") \
	Q(FOLDER_SET, "UPDATE folder SET uidnext=?2,uid_mark=?3,modseq=?4," \
		"modseq_mark=?5,messages=?6,unseen=?7,deleted=?8,size=?9," \
		"file_size=?10,run_first=?11,run_last=?12,new_from=?13," \
		"recent_uid=?14,tombs=?15,tomb_since=?16,new_mtime=?17," \
		"cur_mtime=?18,unsure=?19,looked=?20,rebuild=?21," \
		"words_owed=?22 WHERE id=?1") \
	Q(FOLDER_MOVE, "UPDATE folder SET name=?2,dir=?3 WHERE id=?1") \
	Q(RENAME_NOTE, "INSERT OR REPLACE INTO renaming VALUES(1,?1,?2)") \
	Q(RENAME_NOTED, "SELECT from_name,to_name FROM renaming") \
	Q(RENAME_DROP, "DELETE FROM renaming") \
	Q(FOLDER_DROP, "DELETE FROM folder WHERE id=?1") \
	Q(FOLDER_MESSAGES, "DELETE FROM message WHERE key BETWEEN ?1 AND ?2") \
	Q(FOLDER_HEADERS, "DELETE FROM header WHERE key BETWEEN ?1 AND ?2") \
	Q(FOLDER_CONTENTS, "DELETE FROM content WHERE key BETWEEN ?1 AND ?2") \
	Q(FOLDER_RUNS, "DELETE FROM run WHERE folder=?1") \
	Q(FOLDER_TOMBS, "DELETE FROM tombstone WHERE folder=?1") \
	Q(FOLDER_WORDS, "DELETE FROM keyword WHERE folder=?1") \
	Q(FOLDER_DEAD, "DELETE FROM dead WHERE folder=?1") \
	Q(FOLDER_PENDING, "DELETE FROM pending WHERE folder=?1") \
	Q(FOLDER_SPECIAL, "SELECT 1 FROM folder WHERE special=?1") \
	Q(LAST_VALIDITY, "SELECT max(uidvalidity) FROM folder") \
	Q(AFTER_BOOT, "UPDATE folder SET uidnext=max(uidnext,uid_mark+1)," \
		"modseq=max(modseq,modseq_mark),new_mtime=0,cur_mtime=0," \
		"rebuild=1") \
	Q(DELETED_SIZE, "SELECT coalesce(sum(file_size),0) FROM message " \
		"WHERE flags&8<>0 AND key BETWEEN ?1 AND ?2") \
	Q(USAGE, "SELECT sum(messages),sum(file_size) FROM folder") \
	Q(COUNT_ROWS, "SELECT count(*),coalesce(sum(flags&1=0),0)," \
		"coalesce(sum(flags&8<>0),0),coalesce(sum(size),0)," \
		"coalesce(sum(file_size),0) FROM message " \
		"WHERE key BETWEEN ?1 AND ?2") \
	Q(COUNT_PARTIAL, "SELECT count(*) FROM message WHERE key BETWEEN ?1 " \
		"AND ?2 AND thread<>-1 AND (NOT EXISTS (SELECT 1 FROM header h WHERE " \
		"h.key=message.key) OR NOT EXISTS (SELECT 1 FROM content c " \
		"WHERE c.key=message.key))") \
	Q(DROP_PARTIAL, "DELETE FROM message WHERE key BETWEEN ?1 AND ?2 " \
		"AND thread<>-1 AND (NOT EXISTS (SELECT 1 FROM header h WHERE h.key=message.key) " \
		"OR NOT EXISTS (SELECT 1 FROM content c WHERE " \
		"c.key=message.key))") \
	Q(DROP_HEADERS, "DELETE FROM header WHERE key BETWEEN ?1 AND ?2 AND " \
		"NOT EXISTS (SELECT 1 FROM message m WHERE m.key=header.key)") \
	Q(DROP_CONTENTS, "DELETE FROM content WHERE key BETWEEN ?1 AND ?2 " \
		"AND NOT EXISTS (SELECT 1 FROM message m WHERE " \
		"m.key=content.key)") \
	Q(MESSAGE_ADD, "INSERT INTO message(key,folder,flags,modseq,changed," \
		"size,date,zone,keywords,file_size,sent,saved,thread,place," \
		"name,info) VALUES(?1,?2,?3,?4,nullif(?5,0),?6,?7,?8," \
		"nullif(?9,''),?10,?11,?12,?13,?14,?15,?16)") \
	/* ?3 is the way from old keys to new ones */ \
	Q(HEADER_COPY, "INSERT INTO header SELECT key+?3,message_id,refs," \
		"from_text,to_text,cc_text,bcc_text,subject,sort_from," \
		"sort_to,sort_cc,sort_subject,display_from,display_to " \
		"FROM header WHERE key BETWEEN ?1 AND ?2") \
	Q(CONTENT_COPY, "INSERT INTO content SELECT key+?3,preview,envelope," \
		"body,structure,fields FROM content " \
		"WHERE key BETWEEN ?1 AND ?2") \
	Q(HEADER_ADD, "INSERT INTO header VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9," \
		"?10,?11,?12,?13,?14)") \
	Q(CONTENT_ADD, "INSERT INTO content VALUES(?1,?2,?3,?4,?5,?6)") \
	Q(MESSAGE_BARE, "SELECT key,name,info,place,date,size FROM message " \
		"INDEXED BY message_bare WHERE key BETWEEN ?1 AND ?2 AND " \
		"thread=-1 ORDER BY key") \
	Q(MESSAGE_DESCRIBE, "UPDATE message SET sent=?2,thread=?3 " \
		"WHERE key=?1 AND thread=-1") \
	Q(MESSAGE_DROP, "DELETE FROM message WHERE key BETWEEN ?1 AND ?2") \
	Q(HEADER_DROP, "DELETE FROM header WHERE key BETWEEN ?1 AND ?2") \
	Q(CONTENT_DROP, "DELETE FROM content WHERE key BETWEEN ?1 AND ?2") \
	Q(MESSAGE_HAS, "SELECT 1 FROM message WHERE key=?1") \
	Q(MESSAGE_NUMBERS, "SELECT key,flags,size,file_size,name,info,place," \
		"saved FROM message WHERE key BETWEEN ?1 AND ?2 ORDER BY key") \
	Q(MESSAGE_SOURCE, "SELECT flags,size,date,zone,keywords,file_size," \
		"sent,thread,name,info,place FROM message WHERE key=?1") \
	Q(MESSAGE_FILES, "SELECT key,name,info,place FROM message " \
		"WHERE key BETWEEN ?1 AND ?2 ORDER BY key") \
	Q(MESSAGE_FILES_NEW, "SELECT key,name,info,place FROM message " \
		"WHERE key BETWEEN ?1 AND ?2 AND place IN (2,3) ORDER BY key") \
	Q(MESSAGE_LATEST, "SELECT key,name,info,place,saved FROM message " \
		"WHERE key BETWEEN ?1 AND ?2 ORDER BY key DESC") \
	Q(MESSAGE_STATE, "SELECT flags,keywords,name,info,place,file_size " \
		"FROM message WHERE key=?1") \
	Q(MESSAGE_CHANGE, "SELECT key,flags,keywords,modseq,info,place " \
		"FROM message WHERE key BETWEEN ?1 AND ?2 ORDER BY key") \
	Q(MESSAGE_KEYS, "SELECT key FROM message WHERE key BETWEEN ?1 AND ?2 " \
		"ORDER BY key") \
	Q(MESSAGE_DELETED, "SELECT key FROM message INDEXED BY " \
		"message_deleted WHERE key BETWEEN ?1 AND ?2 AND " \
		"flags&8<>0 ORDER BY key") \
	Q(MESSAGE_PLACE, "UPDATE message SET name=?2,info=?3,place=?4 " \
		"WHERE key=?1") \
	Q(MESSAGE_FLAGS, "UPDATE message SET flags=?2," \
		"keywords=nullif(?3,''),modseq=?4,changed=?4,place=?5 " \
		"WHERE key=?1") \
	Q(MESSAGE_LEAVING, "SELECT key,flags,keywords,name,info,place FROM " \
		"message WHERE key BETWEEN ?1 AND ?2 AND place=2 " \
		"ORDER BY key LIMIT ?3") \
	Q(MESSAGE_OWED, "SELECT key,flags,keywords,name,info,place FROM " \
		"message WHERE folder=?1 AND place IN (1,3) LIMIT 128") \
	Q(FOLDERS_OWING, "SELECT DISTINCT folder FROM message WHERE place " \
		"IN (1,3) UNION SELECT DISTINCT folder FROM dead WHERE " \
		"path>'.' UNION SELECT id FROM folder WHERE " \
		"new_from<recent_uid") \
	Q(MESSAGE_CHANGED, "SELECT key,changed FROM message " \
		"WHERE folder=?1 AND changed>?2 ORDER BY key") \
	Q(MESSAGE_CHANGED_TO, "SELECT count(*) FROM (SELECT 1 FROM message " \
		"WHERE folder=?1 AND changed>?2 LIMIT ?3)") \
	Q(MESSAGE_CHANGED_MANY, "SELECT key,changed FROM message NOT INDEXED " \
		"WHERE key BETWEEN ?1 AND ?2 AND changed>?3 ORDER BY key") \
	Q(MESSAGE_OLDER, "SELECT key FROM message WHERE key BETWEEN ?1 AND " \
		"?2 AND modseq<=?3 ORDER BY key DESC LIMIT 1") \
	Q(MESSAGE_WORDS, "SELECT key,keywords FROM message " \
		"WHERE key BETWEEN ?1 AND ?2 AND keywords IS NOT NULL") \
	Q(FIRST_UNSEEN, "SELECT key FROM message INDEXED BY message_unseen " \
		"WHERE key BETWEEN ?1 AND ?2 AND flags&1=0 ORDER BY key LIMIT 1") \
	Q(RUN_COUNT, "SELECT count(*) FROM run WHERE folder=?1") \
	Q(RUNS, "SELECT first,last FROM run WHERE folder=?1 ORDER BY first") \
	Q(RUN_AT, "SELECT first,last FROM run WHERE folder=?1 AND first<=?2 " \
		"ORDER BY first DESC LIMIT 1") \
	Q(RUN_SET, "INSERT OR REPLACE INTO run VALUES(?1,?2,?3)") \
	Q(RUN_DROP, "DELETE FROM run WHERE folder=?1 AND first=?2") \
	Q(TOMB_ADD, "INSERT OR REPLACE INTO tombstone VALUES(?1,?2,?3,?4)") \
	Q(TOMBS, "SELECT first,last FROM tombstone WHERE folder=?1 AND " \
		"modseq>?2") \
	Q(TOMB_HAS, "SELECT 1 FROM tombstone WHERE folder=?1 AND first<=?2 " \
		"AND last>=?2 LIMIT 1") \
	Q(TOMB_NTH, "SELECT modseq FROM tombstone WHERE folder=?1 " \
		"ORDER BY modseq DESC LIMIT 1 OFFSET ?2") \
	Q(TOMB_TRIM, "DELETE FROM tombstone WHERE folder=?1 AND modseq<=?2") \
	Q(RECENT, "SELECT sum(last-max(first,?2)+1) FROM run " \
		"WHERE folder=?1 AND last>=?2 AND first>=coalesce((SELECT " \
		"max(first) FROM run WHERE folder=?1 AND first<=?2),0)") \
	Q(DEAD_ADD, "INSERT OR REPLACE INTO dead VALUES(?1,?2,?3,?4)") \
	Q(DEAD_DROP, "DELETE FROM dead WHERE folder=?1 AND uid=?2") \
	Q(DEAD_BURIED, "UPDATE dead SET path=?4 WHERE folder=?1 AND path>'.' " \
		"AND uid BETWEEN ?2 AND ?3") \
	Q(DEAD_OLD, "DELETE FROM dead WHERE folder=?1 AND path>'!' AND " \
		"path<?2") \
	Q(DEAD_FORGET, "DELETE FROM dead WHERE folder=?1 AND path=''") \
	Q(DEAD_ANY, "SELECT 1 FROM dead WHERE folder=?1 LIMIT 1") \
	Q(DEAD_HAS, "SELECT path FROM dead WHERE folder=?1 AND uid=?2 AND " \
		"unique_part=?3") \
	Q(DEAD_SOME, "SELECT uid,unique_part,path FROM dead WHERE folder=?1 " \
		"AND uid>?2 AND path>'.' ORDER BY uid LIMIT 256") \
	Q(PENDING_ADD, "INSERT OR REPLACE INTO pending VALUES(?1,?2,?3,?4)") \
	Q(PENDING_DROP, "DELETE FROM pending WHERE folder=?1 AND first=?2 " \
		"AND prefix=?3") \
	Q(PENDING_IS, "SELECT 1 FROM pending WHERE folder=?1 AND first=?2 " \
		"AND prefix=?3") \
	Q(PENDING_ANY, "SELECT 1 FROM pending WHERE folder=?1 LIMIT 1") \
	Q(PENDING_HAS, "SELECT prefix FROM pending WHERE folder=?1 AND " \
		"first<=?2 AND last>=?2") \
	Q(PAST_ADD, "INSERT OR REPLACE INTO past(name) VALUES(?1)") \
	Q(PAST_TRIM, "DELETE FROM past WHERE id<=?1") \
	Q(PAST_HAS, "SELECT 1 FROM past WHERE name=?1") \
	Q(WORDS, "SELECT number,name FROM keyword WHERE folder=?1 " \
		"ORDER BY number") \
	Q(WORD_ADD, "INSERT OR IGNORE INTO keyword VALUES(?1,?2,?3)")
/* clang-format on */

#endif
