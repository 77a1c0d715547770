#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""surat mailbox: list, stat, check and rebuild, while the suite delivers and a
session looks on."""
import imaplib
import json
import os
import pty
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
from house import BUILD, House, done, message, ok, same, until
from maildir import problems

COUNT = 60


def rows(house, *command):
    r = house.surat('mailbox', *command, '--json')
    return r.returncode, [json.loads(l) for l in r.stdout.splitlines()]


def login(house, user):
    c = imaplib.IMAP4('127.0.0.1', house.port('imap'))
    c.login(user, house.users[user])
    return c


def state(c):
    c.noop()
    typ, data = c.uid('FETCH', '1:*', '(FLAGS)')
    return typ, sorted(d.decode().partition(' ')[2] for d in data if d)


def show(house):
    for n in range(COUNT):
        house.send(['alice@example.test'], message('m%d' % n, b'text\r\n'))
    until(lambda: len(house.mails('alice')) == COUNT, 30)
    code, folders = rows(house, 'list', 'alice')
    same(code, 0, 'list')
    same([f['folder'] for f in folders],
         ['INBOX', 'Archive', 'Drafts', 'Junk', 'Sent', 'Trash'],
         'every folder is listed')
    same(folders[0]['messages'], COUNT, 'with its messages')
    same(folders[2]['special'], '\\Drafts', 'and what it is for')
    code, one = rows(house, 'stat', '--folder', 'inbox', 'alice')
    same((code, len(one), one[0]['unseen'], one[0]['uidnext']),
         (0, 1, COUNT, COUNT + 1), 'stat of one folder')
    text = house.surat('mailbox', 'stat', 'alice').stdout
    ok('%d messages' % COUNT in text and 'validity' in text, 'stat as text',
       text)
    home = os.path.dirname(os.path.dirname(house.maildir('alice', 'x')))
    same(rows(house, 'list', home)[1], folders, 'the same by its directory')
    same(rows(house, 'list', '--folder', 'nix', 'alice'), (1, []),
         'a folder that is not there')
    same(house.surat('mailbox', 'list', 'nobody').returncode, 67,
         'a user who is not there')
    same(house.surat('mailbox', 'list', '/nix').returncode, 66,
         'a directory that is not there')
    same(house.surat('mailbox', 'lost', 'alice').returncode, 64,
         'a command that is not there')


def mend(house, maildir):
    same(rows(house, 'check', '--deep', 'alice'),
         (0, [{'result': 'nothing wrong', 'folders': 6, 'messages': COUNT,
               'problems': 0}]), 'nothing is wrong')
    os.unlink(maildir + '/surat-folder')
    victim = [f for f in os.listdir(maildir + '/new')][7]
    with open(maildir + '/new/' + victim, 'r+b') as f:
        f.write(b'X')
        f.truncate()
    os.utime(maildir + '/new/' + victim, (1e9, 1e9))
    code, found = rows(house, 'check', '--deep', '--dry-run', 'alice')
    same((code, found[-1]['problems']), (65, 2), 'damage is found')
    ok(not os.path.exists(maildir + '/surat-folder'), 'and left alone')
    code, found = rows(house, 'check', '--deep', 'alice')
    same((code, found[-1]['result']), (0, 'repaired'), 'and then mended')
    until(lambda: rows(house, 'list', 'alice')[1][0]['messages'] == COUNT, 60)
    code, found = rows(house, 'check', '--deep', '--dry-run', 'alice')
    same((code, found[-1]['problems']), (0, 0), 'so that nothing is wrong')


def rebuild(house, maildir):
    """With a session on it and mail coming in."""
    c = login(house, 'alice')
    c.select('INBOX')
    c.uid('STORE', '3', '+FLAGS', r'(\Flagged $Work)')
    before = state(c)
    stop = threading.Event()
    sent = []

    def send():
        while not stop.is_set():
            house.send(['alice@example.test'],
                       message('r%d' % len(sent), b'more\r\n'))
            sent.append(1)
    sender = threading.Thread(target=send)
    sender.start()
    for _ in range(5):
        code, found = rows(house, 'rebuild', 'alice')
        if code:
            break
    stop.set()
    sender.join()
    same((code, found[-1]['folders']), (0, 6), 'rebuilt five times')
    total = COUNT + len(sent)
    ok(until(lambda: len(state(c)[1]) == total, 60),
       'a session goes on, and is told of what came', len(state(c)[1]))
    same(state(c)[1][:0] + [s for s in state(c)[1] if s in before[1]],
         before[1], 'every UID and flag is as it was')
    uids = [l.partition(',UID=')[2].partition(':')[0]
            for l in os.listdir(maildir + '/new') + os.listdir(maildir + '/cur')]
    same(len(set(uids)), total, 'no UID twice')
    code, found = rows(house, 'check', '--deep', '--dry-run', 'alice')
    same((code, found[-1]['problems'] if found else None), (0, 0),
         'nothing is wrong after it')
    c.logout()


def many_keywords(house, maildir):
    """What a stranger reads, who knows no more than doc/store.md."""
    c = login(house, 'alice')
    c.select('INBOX')
    for n in range(30):
        c.uid('STORE', '%d:%d' % (n + 1, n + 3), '+FLAGS.SILENT',
              r'(\Seen word%02d)' % n)
    c.uid('COPY', '5:20', 'Archive')
    c.uid('MOVE', '25:28', 'Trash')
    c.uid('STORE', '10', '+FLAGS.SILENT', r'(\Deleted)')
    c.expunge()
    c.logout()
    wrong = until(lambda: not problems(maildir), 30) or problems(maildir)
    same(wrong, True, 'a stranger reads the same from names and index')
    r = house.surat('mailbox', 'rebuild', 'alice')
    same((r.returncode, problems(maildir)), (0, []), 'also after a rebuild')
    code, found = rows(house, 'stat', '--folder', 'Archive', 'alice')
    ok('word29' not in found[0]['keywords'] and
       'word10' in found[0]['keywords'], 'keywords were copied', found)


def progress(house):
    """What a person at a terminal sees meanwhile, and nobody else."""
    c = login(house, 'bob')
    c.create('Entw&APw-rfe')
    for n in range(3):
        c.append('Entw&APw-rfe', None, None, b'Subject: x\r\n\r\n')
    c.logout()
    command = [BUILD + '/bin/surat', 'mailbox', 'rebuild', 'bob',
               '--config', house.dir + '/surat.conf']
    terminal, theirs = pty.openpty()
    out = subprocess.run(command, stderr=theirs,
                         stdout=subprocess.PIPE, text=True)
    shown = os.read(terminal, 65536).decode()
    os.close(theirs)
    os.close(terminal)
    ok('\rEntwürfe: 3 of 3' in shown.replace('\x1b[K', '') and
       shown.endswith('\r\x1b[K'), 'progress on a terminal, and it goes',
       shown)
    ok('the index was made anew' in out.stdout, 'and what was done stays',
       out.stdout)
    out = subprocess.run(command, capture_output=True, text=True)
    same(out.stderr, '', 'without a terminal there is none')


def main():
    with House() as house:
        maildir = house.maildir('alice')
        show(house)
        mend(house, maildir)
        rebuild(house, maildir)
        many_keywords(house, maildir)
        progress(house)
        owners = {os.stat(os.path.join(d, f)).st_uid
                  for d, _, files in os.walk(maildir) for f in files}
        same(len(owners), 1, 'every file is the owner\'s')
    done()


main()
