#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""A session on a disk that is full to the last block: mail can be read and
deleted, and then there is room again; and on one that cannot be written to, where
it can be read.  Needs a file system of its own, in a mount namespace; without
one this is skipped."""
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', '..',
                                'lib'))
from house import BUILD, done, ok, same, skip
from imap import Literal, Local
from maildir import problems

SIZE = '6m'


def enter():
    """Runs this script again where it may mount."""
    if os.environ.get('INSIDE'):
        return
    for how in (['unshare', '-m'], ['unshare', '-Urm']):
        try:
            able = subprocess.run(
                how + ['mount', '-t', 'tmpfs', '-o', 'size=1m', 'none',
                       '/mnt'], capture_output=True).returncode == 0
        except FileNotFoundError:
            able = False
        if able:
            os.execvpe(how[0], how + [sys.executable, __file__],
                       dict(os.environ, INSIDE='1'))
    skip('a full disk', 'no mount namespace to be had')
    done()


def fill_up(home):
    """To the last block, as somebody else's log would."""
    with open(home + '/filler', 'ab', buffering=0) as f:
        for size in (65536, 4096, 512, 1):
            try:
                while True:
                    f.write(b'x' * size)
            except OSError:
                pass


def append(c, n):
    text = ('Subject: m%d\r\n\r\n' % n).encode() + b'x' * 20000 + b'\r\n'
    return c.command('APPEND INBOX', Literal(text)).result


def read_only(home, count):
    """As after an error of the disk, when the kernel lets nobody write."""
    subprocess.run(['mount', '-o', 'remount,ro', home], check=True)
    c = Local(home)
    r = c.command('SELECT INBOX')
    same((r.result, r.code), ('OK', 'READ-ONLY'), 'read-only: it is said')
    same(sum(b'Subject: m' in m['BODY[]'] for m in c.fetch('1:*', 'BODY[]')),
         count, 'read-only: every message can be read')
    same(len(c.command('SEARCH RETURN (COUNT) SUBJECT m1').named('ESEARCH')),
         1, 'read-only: and searched')
    same([x[3] for x in c.command('LIST "" "%" RETURN (STATUS (MESSAGES))')
          .named('LIST')][0], b'INBOX', 'read-only: folders are listed')
    same([c.command(x).result for x in (
        'STORE 1 +FLAGS (\\Seen)', 'EXPUNGE', 'COPY 1 Trash', 'CREATE new',
        'RENAME Trash gone', 'DELETE Trash', 'UNSUBSCRIBE Trash')],
         ['NO'] * 7, 'read-only: nothing changes')
    same(append(c, 1), 'NO', 'read-only: nothing comes in')
    same([subprocess.run([BUILD + '/bin/surat', 'mailbox', x, home],
                         capture_output=True).returncode != 0
          for x in ('list', 'check', 'rebuild')], [False, True, True],
         'read-only: nothing is repaired')
    same(c.command('FETCH 1 FLAGS').result, 'OK', 'read-only: it goes on')
    c.close()
    subprocess.run(['mount', '-o', 'remount,rw', home], check=True)
    c = Local(home)
    r = c.command('SELECT INBOX')
    same((r.code, c.fetch('1', 'FLAGS')[0]['FLAGS']), ('READ-WRITE', []),
         'and afterwards nothing has')
    c.close()


def main():
    enter()
    home = tempfile.mkdtemp(prefix='surat %41?#.')
    subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=' + SIZE, 'none',
                    home], check=True)
    c = Local(home)
    n = 0
    while append(c, n) == 'OK':
        n += 1
    ok(n > 50, 'messages come until there is no room', n)
    fill_up(home)
    same(append(c, n + 1), 'NO', 'then no more')
    same(c.command('SELECT INBOX').result, 'OK', 'the folder can be selected')
    same(sum(b'Subject: m' in m['BODY[]']
             for m in c.fetch('1:*', 'BODY.PEEK[]')), n,
         'every message can be read')
    d = Local(home)
    same(d.command('SELECT INBOX').result, 'OK', 'also by another session')
    d.close()
    same(c.command('STORE 1:10 +FLAGS (\\Deleted)').result, 'OK',
         'messages can be marked')
    same(c.command('EXPUNGE').result, 'OK', 'and deleted')
    same(append(c, n + 2), 'OK', 'then there is room again')
    c.close()
    os.unlink(home + '/filler')
    c = Local(home)
    same(c.command('SELECT INBOX').result, 'OK', 'and all is well')
    c.close()
    read_only(home, n - 9)
    # this reader is the last to close the index, and its log goes
    same(problems(home + '/Maildir'), [], 'in index and names too')
    read_only(home, n - 9)
    subprocess.run(['umount', home])
    shutil.rmtree(home, ignore_errors=True)
    done()


main()
