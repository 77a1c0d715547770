#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Fifty sessions, a program that renames files, one that delivers and one that
removes, all on one mailbox: every session's view stays true to what it was
told, and in the end all see the same."""
import os
import random
import shutil
import sqlite3
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
from house import done, ok, same, SLOW
from imap import Literal, Local

SESSIONS = int(os.environ.get('SESSIONS', 50 if SLOW == 1 else 20))
COMMANDS, MESSAGES = int(os.environ.get('COMMANDS', '25')), 60
FLAGS = ['\\Seen', '\\Flagged', '\\Answered', '\\Draft', '$One', '$Two']


class View:
    """What a client knows, checked against every line."""

    def __init__(self, home, name, log):
        self.c, self.name = Local(home, log), name
        self.random = random.Random(name)
        self.uids, self.wrong = [], []
        self.idle_tag = None
        self.command('SELECT INBOX')

    def complain(self, what):
        self.wrong.append('session %s: %s' % (self.name, what))

    def line(self, line, sequence):
        kind, n = line[0], line[1]
        if kind == 'EXISTS':
            if n < len(self.uids):
                self.complain('EXISTS %d after %d' % (n, len(self.uids)))
            self.uids += [None] * (n - len(self.uids))
        elif kind == 'EXPUNGE':
            if sequence or not 1 <= n <= len(self.uids):
                self.complain('EXPUNGE %d out of place' % n)
            else:
                del self.uids[n - 1]
        elif kind == 'FETCH':
            uid = line[2].get('UID')
            if not 1 <= n <= len(self.uids):
                self.complain('FETCH %d of %d' % (n, len(self.uids)))
            elif uid is not None:
                if self.uids[n - 1] not in (None, uid):
                    self.complain('%d was %s and is %s' % (
                        n, self.uids[n - 1], uid))
                self.uids[n - 1] = uid

    def command(self, *parts):
        r = self.c.command(*parts)
        word = parts[0].split()[0]
        if word == 'SELECT':
            self.uids = []
        for line in r.lines:
            self.line(line, word in ('FETCH', 'STORE', 'SEARCH'))
        if r.result == 'BAD':
            self.complain('%r: %r' % (parts, r))
        return r

    def some(self):
        n = len(self.uids)
        if n == 0:
            return None
        a, b = self.random.randint(1, n), self.random.randint(1, n)
        return '%d:%d' % (min(a, b), min(max(a, b), min(a, b) + 9))

    def step(self):
        r = self.random
        what = r.random()
        some = self.some()
        flags = ' '.join(r.sample(FLAGS, r.randint(0, 3)))
        if what < 0.15 or some is None:
            self.command('APPEND INBOX (%s)' % flags, Literal(
                b'Subject: %d\r\n\r\nbody %d\r\n' % (r.randrange(10 ** 6),
                                                     r.randrange(100))))
        elif what < 0.4:
            self.command('STORE %s %sFLAGS%s (%s)' % (
                some, r.choice(['+', '-']), r.choice(['', '.SILENT']), flags))
        elif what < 0.6:
            self.command('FETCH %s (UID FLAGS RFC822.SIZE BODY.PEEK[])' % some)
        elif what < 0.7:
            self.command('FETCH 1:%d (UID)' % len(self.uids))
        elif what < 0.8:
            self.command('STORE %s +FLAGS.SILENT (\\Deleted)' %
                         some.split(':')[0])
        elif what < 0.85:
            self.command('EXPUNGE')
        elif what < 0.88:
            self.command('COPY %s INBOX' % some.split(':')[0])
        elif what < 0.9:
            self.command('MOVE %s Trash' % some.split(':')[0])
        elif what < 0.95:
            self.command('UID SEARCH OR SUBJECT 1 KEYWORD $One')
        else:
            tag = self.c.idle()
            time.sleep(r.random() * 0.05)
            for line in self.c.done(tag).lines:
                self.line(line, False)

    def run(self):
        try:
            for _ in range(COMMANDS):
                self.step()
        except Exception as e:
            self.complain(repr(e))


class Foreign(threading.Thread):
    """Renames, delivers and removes, as mutt or a script would."""

    def __init__(self, maildir):
        super().__init__(daemon=True)
        self.maildir, self.over, self.random = maildir, False, \
            random.Random(1)
        self.n = 0

    def run(self):
        r = self.random
        while not self.over:
            what = r.random()
            if what < 0.3:
                self.n += 1
                name = '%d.F%d.host' % (time.time(), self.n)
                with open(self.maildir + '/tmp/' + name, 'w') as f:
                    f.write('Subject: foreign %d\n\nx\n' % self.n)
                os.rename(self.maildir + '/tmp/' + name,
                          self.maildir + '/new/' + name)
            else:
                self.change(what > 0.95)
            time.sleep(0.01)

    def change(self, remove):
        names = os.listdir(self.maildir + '/cur')
        if not names:
            return
        name = self.random.choice(names)
        path = self.maildir + '/cur/' + name
        base, _, letters = name.partition(':2,')
        letters = ''.join(sorted(set(letters) ^ {self.random.choice('FRS')}))
        try:
            if remove:
                os.unlink(path)
            else:
                os.rename(path, self.maildir + '/cur/' + base + ':2,' +
                          letters)
        except FileNotFoundError:
            pass


def state(c):
    r = c.command('SELECT INBOX')
    if not r.named('EXISTS')[0][1]:
        return []
    return [(f['UID'], sorted(set(f['FLAGS']) - {'\\Recent'}),
             f['RFC822.SIZE'])
            for f in c.fetch('1:*', 'UID FLAGS RFC822.SIZE')]


COUNTED = '''SELECT count(*) FROM folder f WHERE (messages, unseen, deleted,
size) IS NOT (SELECT count(*), coalesce(sum(flags&1=0),0),
coalesce(sum(flags&8<>0),0), coalesce(sum(size),0) FROM message m WHERE
m.folder=f.id) OR messages<>(SELECT coalesce(sum(last-first+1),0) FROM run r
WHERE r.folder=f.id)+iif(run_last=0,0,run_last-run_first+1)'''


def names_follow(maildir, want):
    """The flags in the names of the files, when everybody is at rest."""
    letters = {'\\Seen': 'S', '\\Flagged': 'F', '\\Answered': 'R',
               '\\Draft': 'D', '\\Deleted': 'T'}
    found = {}
    for name in os.listdir(maildir + '/cur') + os.listdir(maildir + '/new'):
        uid = name.partition(',UID=')[2].partition(':')[0].partition(',')[0]
        have = name.partition(':2,')[2]
        found[int(uid)] = ''.join(c for c in have if c.isupper())
    return found == {uid: ''.join(sorted(letters[f] for f in flags
                                         if f in letters))
                     for uid, flags, size in want}


def main():
    home = tempfile.mkdtemp(prefix='many.')
    maildir = home + '/Maildir'
    log = tempfile.TemporaryFile()
    first = Local(home, log)
    for n in range(MESSAGES):
        first.command('APPEND INBOX', Literal(b'Subject: %d\r\n\r\nx\r\n' % n))
    views = [View(home, str(n), log) for n in range(SESSIONS)]
    foreign = Foreign(maildir)
    foreign.start()
    threads = [threading.Thread(target=v.run) for v in views]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    foreign.over = True
    foreign.join()
    # the last reading of the directories may have been too early
    for _ in range(3):
        time.sleep(0.1)
        for v in views:
            v.command('NOOP')
    for v in views:
        if v.uids:
            v.command('FETCH 1:* (UID FLAGS)')
    same([w for v in views for w in v.wrong][:5], [],
         'no view is ever told anything that cannot be')
    known = [[u for u in v.uids] for v in views]
    same([k == known[0] for k in known], [True] * SESSIONS,
         'in the end all views have the same messages')
    states = [state(v.c) for v in views]
    same([s == states[0] for s in states], [True] * SESSIONS,
         'with the same flags and sizes')
    same([u for u, _, _ in states[0]], known[0], 'also when selected anew')
    for v in views:
        v.c.logout()
    first.command('SELECT INBOX')
    end = time.time() + 20 * SLOW
    while not names_follow(maildir, states[0]) and time.time() < end:
        time.sleep(0.2)
    ok(names_follow(maildir, states[0]), 'and the names of the files say so',
       os.listdir(maildir + '/cur')[:5])
    db = sqlite3.connect(maildir + '/surat/index.db')
    same(db.execute(COUNTED).fetchone()[0], 0, 'counts are what is counted')
    db.close()
    first.logout()
    for f in os.listdir(maildir + '/surat'):
        if f.startswith('index.db'):
            os.unlink(maildir + '/surat/' + f)
    again = Local(home, log)
    got = [(u, [f for f in flags if f[0] == '\\'], s)
           for u, flags, s in state(again)]
    want = [(u, [f for f in flags if f[0] == '\\'], s)
            for u, flags, s in states[0]]
    same(got, want, 'and a lost index changes nothing')
    again.logout()
    log.seek(0)
    text = log.read().decode('utf-8', 'replace')
    ok('ERROR' not in text and 'runtime error' not in text, 'no complaints',
       text[-2000:])
    shutil.rmtree(home, ignore_errors=True)
    done()


main()
