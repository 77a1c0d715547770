#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""A message whose file the session may not read, met with an index that has
just been made anew: nobody is told that it was expunged."""
import ctypes
import glob
import os
import shutil
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
from house import done, ok, same
from imap import Literal, Local

BOUND_DROP, OVERRIDE, SEARCH = 24, 1, 2
libc = ctypes.CDLL(None)


def as_others():
    """Modes are for root too."""
    for capability in (OVERRIDE, SEARCH):
        libc.prctl(BOUND_DROP, capability, 0, 0, 0)


def fill(home):
    c = Local(home)
    for n in range(1, 4):
        c.command('APPEND INBOX', Literal(b'Subject: s%d\r\n\r\nx\r\n' % n))
    c.close()
    shutil.rmtree(home + '/Maildir/surat')
    path, = glob.glob(home + '/Maildir/cur/*,UID=2:*')
    os.chmod(path, 0)
    return path


def numbers(r):
    return [line[1] for line in r.lines if line[0] == 'FETCH']


def refused(r, name):
    ok(r.result == 'NO' and r.code == 'UNAVAILABLE' and
       'UID 2' in r.text and 'Permission denied' in r.text,
       name + ' says why', (r.result, r.code, r.text))


def main():
    home = tempfile.mkdtemp(prefix='surat.')
    path = fill(home)
    with open(home + '/log', 'w') as log:
        c = Local(home, log=log, before=as_others)
    c.command('SELECT INBOX')
    ok(c.command('FETCH 1:3 FLAGS').ok, 'what names say is there')
    r = c.command('FETCH 1:3 ENVELOPE')
    same(numbers(r), [1, 3], 'what the others say, too')
    refused(r, 'FETCH')
    r = c.command('FETCH 1:3 BODY.PEEK[]')
    ok(not r.ok and len(numbers(r)) == 3, 'its octets are NIL', r.lines)
    for command in ('SEARCH SUBJECT s', 'SORT (SUBJECT) UTF-8 ALL',
                    'THREAD REFERENCES UTF-8 ALL'):
        r = c.command(command)
        ok(r.ok and any(line[0] == 'NO' and 'UID 2' in line[2]
                        for line in r.lines),
           '%s says what it lacks' % command, r.lines)
    with open(home + '/log') as log:
        said = log.read()
    ok('failed command=FETCH why="UID 2: ' in said and
       'unreadable why="UID 2: ' in said, 'so does the log', said)
    os.chmod(path, 0o600)
    ok(c.command('FETCH 1:3 ENVELOPE').ok, 'once it can be read, it is')
    same(c.command('SEARCH SUBJECT s').lines, [('SEARCH', [1, 2, 3])],
         'and found')
    c.close()
    shutil.rmtree(home)
    done()


main()
