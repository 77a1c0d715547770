#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""surat backup while mail comes in and is read, and surat restore: of one
folder into the running suite, and of everything onto an empty machine."""
import glob
import imaplib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
from house import BUILD, House, done, message, ok, same, until


def imap(h, user):
    c = imaplib.IMAP4('127.0.0.1', h.port('imap'), timeout=60)
    c.login(user, h.users[user])
    return c


def picture(c, folder):
    """What a client remembers of a folder."""
    c.select(folder)
    valid = c.response('UIDVALIDITY')[1]
    rows = c.fetch('1:*', '(UID FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])')[1]
    found = []
    for r in rows:
        if isinstance(r, tuple):
            uid = re.search(rb'UID (\d+)', r[0])[1]
            flags = re.search(rb'FLAGS \((.*?)\)', r[0])[1]
            found.append((uid, b' '.join(sorted(
                set(flags.split()) - {b'\\Recent'})), r[1].strip()))
    return valid, found


def prepare(h):
    h.send(['alice@example.test'], message('one'))
    h.send(['alice@example.test'], message('two'))
    h.wait_mail('alice', 2)
    c = imap(h, 'alice')
    c.select()
    c.store('1', '+FLAGS', r'(\Seen \Flagged keyword)')
    c.create('Work')
    c.subscribe('Work')
    for n in range(20):
        c.append('Work', r'(\Seen)', None, message('work %d' % n))
    c.select('Work')
    c.store('3', '+FLAGS', r'\Deleted')
    c.expunge()
    # What waits in the queue, in it and beside it.
    with h.smtp('submission', 'alice') as s:
        s.sendmail('alice@example.test', ['x@example.net'], message('small'))
        s.sendmail('alice@example.test', ['x@example.net'],
                   message('large', b'x' * 70 + b'\r\n' + b'y' * 60 + b'\r\n'
                           * 5000))
    until(lambda: len(h.queue('--domain', 'example.net')) == 2)
    return c


class Senders(threading.Thread):
    def __init__(self, h):
        super().__init__(daemon=True)
        self.h, self.sent, self.over = h, 0, False

    def run(self):
        with self.h.smtp() as s:
            while not self.over:
                s.sendmail('s@remote.test', ['bob@example.test'],
                           message('load %d' % self.sent))
                self.sent += 1


def readers(h, stop):
    """Reading moves files from new to cur under the backup's eyes."""
    c = imap(h, 'bob')
    while not stop.is_set():
        c.select()
        if c.search(None, 'ALL')[1][0]:
            c.store('1:*', '+FLAGS', r'\Seen')
    c.logout()


def subjects(directory):
    found = []
    for sub in ('new', 'cur'):
        for f in glob.glob('%s/%s/*' % (directory, sub)):
            found.append(re.search(rb'(?m)^Subject: (.*?)\r?$',
                                   open(f, 'rb').read())[1].decode())
    return found


def backup(h, where, *more):
    out = h.surat('backup', where, *more)
    same(out.returncode, 0, 'backup' + ''.join(more[:1]))
    return out


def under_load(h, where):
    load, stop = Senders(h), threading.Event()
    reader = threading.Thread(target=readers, args=(h, stop), daemon=True)
    load.start()
    reader.start()
    until(lambda: load.sent >= 30)
    before = load.sent
    backup(h, where)
    load.over = True
    stop.set()
    load.join()
    reader.join()
    h.wait_mail('bob', load.sent, 30)
    return before, load.sent


def one_message(h, c, where):
    """By UID and by Message-ID, into a folder whose index was lost."""
    had = {s: u for u, _, s in picture(c, 'INBOX')[1]}
    next_uid = int(c.response('UIDNEXT')[1][0])
    c.store('1:2', '+FLAGS', r'\Deleted')
    c.expunge()
    for f in glob.glob(h.maildir('alice') + '/surat/index.db*') + glob.glob(
            h.dir + '/mail/alice/**/index.db*', recursive=True):
        if os.path.exists(f):
            os.unlink(f)

    def restore(*words):
        return h.surat('restore', where, '--user', 'alice', *words)
    uid = had[b'Subject: one'].decode()
    same(restore('--folder', 'inbox', '--uid', uid).returncode, 0,
         'restore of a message by its UID')
    got = picture(c, 'INBOX')[1]
    same([r[2] for r in got], [b'Subject: one'], 'that one alone')
    ok(int(got[0][0]) >= next_uid, 'as a new one', (got, next_uid))
    ok(b'\\Flagged' in got[0][1], 'with its flags', got)
    out = restore('--folder', 'INBOX', '--uid', uid)
    same((out.returncode, out.stdout), (1, 'it is in the folder\n'),
         'it is not put there twice')
    ids = [re.search(rb'(?mi)^Message-ID: *(\S+)', open(f, 'rb').read())[1]
           for f in glob.glob(where + '/mail/alice/Maildir/*/*')
           if b'Subject: two' in open(f, 'rb').read()]
    for which, want in ((ids[0].decode().strip('<>'), 0),
                        ('nobody@nowhere', 66)):
        same(restore('--folder', 'INBOX', '--message-id',
                     which).returncode, want, 'by Message-ID: ' + which)
    same(sorted(r[2] for r in picture(c, 'INBOX')[1]),
         [b'Subject: one', b'Subject: two'], 'both are back')
    for words in (('--uid', '1'), ('--folder', 'INBOX', '--uid', 'x'),
                  ('--folder', 'a//b')):
        same(restore(*words).returncode, 64, 'refused: ' + ' '.join(words))
    same(restore('--folder', 'Gone', '--uid', '1').returncode, 66,
         'a folder that never was')
    ok(b'Gone' not in b''.join(c.list()[1]), 'is not made')


def one_folder(h, c, where):
    before = picture(c, 'Work')
    c.select('Work')
    c.store('1:10', '+FLAGS', r'\Deleted')
    c.expunge()
    out = h.surat('restore', where, '--user', 'alice', '--folder', 'Work')
    same(out.returncode, 0, 'restore of a folder')
    valid, after = picture(c, 'Work')
    same(sorted(r[2] for r in after), sorted(r[2] for r in before[1]),
         'what was deleted is back, and nothing twice')
    kept = before[1][10:]
    same([r for r in after if r in kept], kept, 'what stayed has its UIDs')
    old = {r[0] for r in before[1][:10]}
    same([r for r in after if r[0] in old], [], 'what is back has new ones')
    same(valid, before[0], 'in the same folder')
    c.select('Work')
    c.delete('Work')
    same(h.surat('restore', where, '--user', 'alice').returncode, 0,
         'restore of a user')
    same(len(picture(c, 'Work')[1]), len(before[1]), 'a deleted folder too')
    same(len(picture(c, 'INBOX')[1]), 2, 'and nothing twice')
    wrong = h.surat('restore', where, '--user', 'nobody-there')
    ok(wrong.returncode == 67, 'an unknown user', wrong)
    same(h.surat('restore', where).returncode, 75,
         'everything, while the suite runs: no')
    same(h.surat('backup', where).returncode, 73, 'a directory with a backup')


def everything(h, where, want, sent):
    """The machine is lost; a new one has the same paths and nothing in
    them."""
    shutil.rmtree(h.dir)
    os.mkdir(h.dir)
    shutil.copy(where + '/config/surat.conf', h.dir)
    as_owner = []
    if os.getuid() == 0:
        subprocess.run(['chown', '-R', '65534:65534', h.dir, where],
                       check=True)
        as_owner = ['setpriv', '--reuid=65534', '--regid=65534',
                    '--clear-groups']
    out = subprocess.run(
        as_owner + [BUILD + '/bin/surat', 'restore', where, '--config',
                    h.dir + '/surat.conf'], capture_output=True, text=True)
    ok(out.returncode == 0, 'restore of everything', out)
    with h:
        c = imap(h, 'alice')
        for folder, had in want.items():
            same(picture(c, folder), had,
                 folder + ': UIDVALIDITY, UIDs and flags are the same')
        c.logout()
        waiting = h.queue('--domain', 'example.net')
        same(len(waiting), 2, 'the queue waits as before')
        for q in waiting:
            got = h.surat('queue', 'show', q['id'], '--content')
            ok('From: sender@remote.test' in got.stdout, 'with its content',
               got)
        until(lambda: not h.queue('--domain', 'example.test'), 20)
        got = subjects(h.maildir('bob'))
        same(len(got), len(set(got)), 'no mail is there twice')
        missing = {'load %d' % n for n in range(sent)} - set(got)
        same(missing, set(), 'none of what was taken before is missing')


def incremental(h, where):
    again = where + '.2'
    backup(h, again, '--base', where)
    mine = glob.glob(again + '/mail/alice/Maildir/cur/*')
    shared = [f for f in mine if os.stat(f).st_nlink > 1]
    ok(mine and shared == mine, 'what did not change is shared', mine)


top = tempfile.mkdtemp(prefix='surat.')
os.chmod(top, 0o755)
os.mkdir(top + '/h')
h = House(directory=top + '/h', sets=['remote.smarthost=127.0.0.1:1', 'queue.retry=1h',
                'remote.allow_loopback=yes', 'smtp.greet_wait=0s'])
try:
    with h:
        c = prepare(h)
        want = {f: picture(c, f) for f in ('INBOX', 'Work')}
        before, sent = under_load(h, top + '/b')
        saved = subjects(top + '/b/mail/bob/Maildir')
        same(len(saved), len(set(saved)), 'no message is saved twice')
        same(sorted(os.listdir(top + '/b/config')),
             ['aliases', 'certificate.pem', 'key.pem', 'surat.conf', 'users'],
             'the configuration is saved')
        same(os.stat(top + '/b').st_mode & 0o777, 0o700,
             'and nobody else sees it')
        one_folder(h, c, top + '/b')
        incremental(h, top + '/b')
        one_message(h, c, top + '/b')
        c.logout()
    everything(h, top + '/b', want, before)
finally:
    shutil.rmtree(top, ignore_errors=True)
done()
