# SPDX-License-Identifier: ISC
"""A stranger's reader of a surat Maildir, written from doc/store.md alone.

    problems(maildir)     everything in which files, control files and index
                          disagree, when all programs are at rest
"""
import os
import re
import sqlite3

LETTERS = {'D': 16, 'F': 4, 'P': 32, 'R': 2, 'S': 1, 'T': 8}
FOLDER = ('name dir mailbox_id uidvalidity uidnext uid_mark modseq '
          'modseq_mark messages unseen deleted size file_size run_first '
          'run_last recent_uid').split()


def parse(name):
    """Unique part, keys, flags, keyword numbers of a file name."""
    base, _, info = name.partition(':')
    unique, *keys = base.split(',')
    found = dict(k.split('=', 1) for k in keys if '=' in k)
    letters = info[2:] if info.startswith('2,') else ''
    flags = sum(LETTERS[c] for c in set(letters) if c in LETTERS)
    words = {ord(c) - 97 for c in letters if 'a' <= c <= 'z'}
    return unique, found, flags, words


def wire_size(octets):
    return len(re.sub(rb'(?<!\r)\n', b'\r\n', octets))


def hashed(text):
    """FNV-1a of 64 bits, without the highest."""
    value = 0xcbf29ce484222325
    for octet in text.encode():
        value = (value ^ octet) * 0x100000001b3 % (1 << 64)
    return value % (1 << 63)


def control(directory):
    """surat-folder as a dictionary; keywords by number."""
    lines = open(directory + '/surat-folder').read().split('\n')
    assert lines[0] == 'surat-folder 1'
    values, words = {}, {}
    for line in lines[1:]:
        key, _, value = line.partition(' ')
        if key == 'keyword':
            number, word = value.split(' ')
            words[int(number)] = word
        elif key:
            values[key] = value
    return values, words


def beyond_letters(directory):
    """surat-keywords: UID to words."""
    try:
        lines = open(directory + '/surat-keywords').read().splitlines()
    except FileNotFoundError:
        return {}
    return {int(l.split()[0]): l.split()[1:] for l in lines}


class Folder:
    def __init__(self, db, maildir, row):
        self.db, self.row = db, dict(zip(['id'] + FOLDER, row))
        self.directory = os.path.join(maildir, self.row['dir'])
        self.wrong = []

    def say(self, text):
        self.wrong.append('%s: %s' % (self.row['name'], text))

    def range(self):
        return self.row['id'] << 32, (self.row['id'] + 1 << 32) - 1

    def select(self, what, table='message'):
        return self.db.execute('SELECT %s FROM %s WHERE key BETWEEN ? AND ? '
                               'ORDER BY key' % (what, table),
                               self.range()).fetchall()

    def check_control(self):
        values, self.words = control(self.directory)
        for key, column in (('id', 'mailbox_id'),
                            ('uidvalidity', 'uidvalidity')):
            if values[key] != str(self.row[column]):
                self.say('control file and index differ in ' + key)
        if int(values['uid']) < self.row['uidnext'] - 1 or \
                int(values['modseq']) < self.row['modseq']:
            self.say('shown more than the marks allow')
        rows = dict(self.db.execute('SELECT number, name FROM keyword '
                                    'WHERE folder=?', (self.row['id'],)))
        # written first: a word of a change that did not come to pass stays
        if not rows.items() <= self.words.items():
            self.say('keywords differ: %r %r' % (rows, self.words))

    def check_message(self, row, files):
        key, flags, keywords, size, file_size, place, name, info = row
        uid = key & 0xffffffff
        sub = 'new' if place & 2 else 'cur'
        if (sub, name + info) not in files:
            self.say('UID %d has no file' % uid)
            return
        files.remove((sub, name + info))
        try:
            octets = open('%s/%s/%s%s' % (self.directory, sub, name, info),
                          'rb').read()
        except FileNotFoundError:
            self.say('UID %d was renamed meanwhile' % uid)
            return
        _, keys, in_name, numbers = parse(name + info)
        want = (len(octets), wire_size(octets), uid)
        if want != (file_size, size, uid) or \
                tuple(keys.get(k) for k in ('S', 'W', 'UID')) != \
                tuple(map(str, want)):
            self.say('UID %d: %r, %r, %r' % (uid, want, keys, row))
        words = {self.words[n] for n in numbers} | {
            w for w in self.beyond.get(uid, ())
            if w not in [self.words.get(n) for n in range(26)]}
        if not place & 1 and (in_name != flags or
                              words != set((keywords or '').split())):
            self.say('UID %d: flags %x %r, in the name %x %r' %
                     (uid, flags, keywords, in_name, words))

    def check_messages(self):
        self.beyond = beyond_letters(self.directory)
        files = {(sub, f) for sub in ('new', 'cur')
                 for f in os.listdir(self.directory + '/' + sub)
                 if not f.startswith('.')}
        rows = self.select('key,flags,keywords,size,file_size,place,name,'
                           'info')
        for row in rows:
            self.check_message(row, files)
        for sub, name in files:
            self.say('%s/%s has no row' % (sub, name))
        self.check_threads()
        self.check_texts()
        return rows

    def check_threads(self):
        """What the ids in the header say, or the name of the file."""
        ids = {k: (refs or '').split()[:1] or [own or '']
               for k, refs, own in self.select('key,refs,message_id',
                                               'header')}
        for key, name, thread in self.select('key,name,thread'):
            unique, keys, _, _ = parse(name)
            own = int(keys['ID'], 16) if 'ID' in keys else hashed(unique)
            text = ids.get(key, [''])[0]
            if thread not in (-1, hashed(text) if text else own):
                self.say('UID %d has another thread' % (key & 0xffffffff))

    def check_texts(self):
        """Of all but messages nobody has read; and of the dead, a while."""
        read = [k for k, thread in self.select('key,thread') if thread != -1]
        dead = {self.row['id'] << 32 | uid for uid, in self.db.execute(
            'SELECT uid FROM dead WHERE folder=?', (self.row['id'],))}
        for table in ('header', 'content'):
            if [k for k, in self.select('key', table)
                    if k not in dead] != read:
                self.say('rows are missing in ' + table)

    def check_counts(self, rows):
        r = self.row
        uids = [row[0] & 0xffffffff for row in rows]
        runs = self.db.execute('SELECT first, last FROM run WHERE folder=? '
                               'ORDER BY first', (r['id'],)).fetchall()
        if r['run_last']:
            runs.append((r['run_first'], r['run_last']))
        if [u for a, b in runs for u in range(a, b + 1)] != uids:
            self.say('runs %r are not the UIDs' % runs)
        counted = (len(rows), sum(not row[1] & 1 for row in rows),
                   sum(row[1] & 8 != 0 for row in rows),
                   sum(row[3] for row in rows), sum(row[4] for row in rows))
        if counted != tuple(r[k] for k in ('messages', 'unseen', 'deleted',
                                           'size', 'file_size')):
            self.say('counts are %r' % (counted,))
        if uids and uids[-1] >= r['uidnext']:
            self.say('a UID is not below UIDNEXT')


def problems(maildir):
    db = sqlite3.connect(maildir + '/surat/index.db')
    wrong = []
    if db.execute('PRAGMA user_version').fetchone() != (8,):
        return ['another version of the index']
    rows = db.execute('SELECT id,%s FROM folder' % ','.join(FOLDER)).fetchall()
    for row in rows:
        f = Folder(db, maildir, row)
        f.check_control()
        f.check_counts(f.check_messages())
        wrong += f.wrong
    if len({r[4] for r in rows}) != len(rows):
        wrong.append('a UIDVALIDITY is given twice')
    db.close()
    return wrong
