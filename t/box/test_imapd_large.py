#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The memory of a session does not follow the size of the mailbox it has
selected: beside one on a thousand messages it may be a little larger on sixty
thousand, after SELECT, after reading every flag, after hearing that another
session changed all of them, and after searches.

MESSAGES=1000000 SESSIONS=10 measures more."""
import os
import shutil
import sqlite3
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
from house import BUILD, done, ok, same, skip
from imap import Literal, Local

if 'san' in BUILD:
    skip('memory of sessions', 'sanitizers have a use for it')
    done()
MESSAGES = int(os.environ.get('MESSAGES', '60000'))
SESSIONS = int(os.environ.get('SESSIONS', '2'))
# SQLite keeps up to a megabyte of pages, and frees them here and there
FEW, MORE, MOST = 1000, 2 << 20, 10 << 20

ROWS = '''
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
INSERT INTO %s SELECT key + i, %s FROM n, %s t WHERE key = ?2
'''


def fill(home, count):
    """An INBOX of that many messages, all copies of the one in it, the odd
    ones not seen.  Only the first has a file: who asks for no content does not
    notice, and the directories' times say that there is nothing new."""
    db = sqlite3.connect(home + '/Maildir/surat/index.db')
    folder, key = db.execute('SELECT folder, key FROM message').fetchone()
    for table in 'message', 'header', 'content':
        names = [r[1] for r in db.execute('PRAGMA table_info(%s)' % table)]
        values = ','.join('i % 2' if n == 'flags' else 't.' + n
                          for n in names[1:])
        db.execute(ROWS % (table, values, table), (count - 1, key))
    db.execute(
        'UPDATE folder SET messages = ?1, uidnext = ?1 + 1, run_last = ?1,'
        ' recent_uid = ?1 + 1, new_from = ?1 + 1, uid_mark = ?1 + 1000,'
        ' unseen = (SELECT count(*) FROM message WHERE flags & 1 = 0),'
        ' size = size * ?1, file_size = file_size * ?1 WHERE id = ?2',
        (count, folder))
    db.commit()
    db.close()


def private(pid):
    """Octets that are this process's own; 0 when we may not know."""
    try:
        with open('/proc/%d/smaps_rollup' % pid) as f:
            return sum(int(line.split()[1]) * 1024 for line in f
                       if line.startswith('Private_'))
    except OSError:
        return 0


def command(c, line):
    """Octets of the answer, which nobody parses; it must be OK."""
    c.tags += 1
    tag = b'm%d' % c.tags
    c.sock.sendall(tag + b' ' + line.encode() + b'\r\n')
    count, tail = 0, b'\r\n'
    while True:
        block = c.sock.recv(1 << 18)
        if not block:
            raise SystemExit('%s: the session has ended' % line)
        count += len(block)
        tail = (tail + block)[-400:]
        last = tail.rfind(b'\r\n' + tag + b' ')
        if last >= 0 and tail.endswith(b'\r\n'):
            if not tail[last + 2:].startswith(tag + b' OK'):
                raise SystemExit('%s: %r' % (line, tail))
            return count


STEPS = (
    ('SELECT', 'SELECT INBOX', None),
    ('every flag', 'FETCH 1:* (UID FLAGS)', None),
    ('every envelope', 'FETCH 1:* ENVELOPE', None),
    ('a search by flag', 'SEARCH UNSEEN', None),
    ('a search by subject', 'UID SEARCH SUBJECT "nothing like it"', None),
    ('all flags changed by another', 'NOOP',
     'STORE 1:* +FLAGS.SILENT (\\Flagged)'),
)


def measure(home):
    """Of each step the most a session has after it."""
    log = open(home + '/log', 'w')
    all_of_them = [Local(home, log) for _ in range(SESSIONS)]
    other, found = Local(home, log), []
    command(other, 'SELECT INBOX')
    for what, line, by_another in STEPS:
        if by_another:
            command(other, by_another)
        octets = [command(c, line) for c in all_of_them]
        found.append((max(private(c.process.pid) for c in all_of_them),
                      octets[0]))
    for c in all_of_them + [other]:
        c.sock.close()
        c.process.wait(60)
    return found


def mailbox(count):
    home = tempfile.mkdtemp(prefix='large.')
    try:
        c = Local(home)
        c.command('APPEND INBOX', Literal(
            b'From: a@mail.example\r\nSubject: one of many\r\n\r\nbody\r\n'))
        c.command('SELECT INBOX')
        c.command('LOGOUT')
        c.close()
        fill(home, count)
        return measure(home)
    finally:
        shutil.rmtree(home)


def body():
    """Before a message of many octets was read, and when nobody reads it any
    more."""
    home = tempfile.mkdtemp(prefix='large.')
    try:
        c = Local(home)
        c.command('APPEND INBOX', Literal(
            b'Subject: large\r\n\r\n' + b'%076d\r\n' % 0 * 200000))
        c.command('SELECT INBOX')
        time.sleep(1)
        before = private(c.process.pid)
        octets = command(c, 'FETCH 1 BODY.PEEK[]')
        time.sleep(1)
        after = private(c.process.pid)
        c.command('LOGOUT')
        c.close()
        return before, after, octets
    finally:
        shutil.rmtree(home)


def main():
    before, after, octets = body()
    ok(octets > 78 * 200000 and after < before + (1 << 20),
       'a large message that was read is not kept',
       '%d KiB, before %d KiB' % (after >> 10, before >> 10))
    few, many = mailbox(FEW), mailbox(MESSAGES)
    if few[0][0] == 0:
        skip('memory', 'of processes that hide it from us')
        done()
    for (what, *_), (small, some), (large, all_) in zip(STEPS, few, many):
        ok(all_ >= some and large < small + MORE and large < MOST,
           'memory after ' + what,
           '%d KiB, of a small mailbox %d KiB' % (large >> 10, small >> 10))
        print('# %-30s %6d KiB, of %d messages %6d KiB; answer %d octets' % (
            what, large >> 10, FEW, small >> 10, all_))
    ok(many[1][1] > MESSAGES * 20, 'every message was there', many)
    done()


main()
