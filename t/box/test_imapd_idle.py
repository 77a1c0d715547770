#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Many sessions idle on one mailbox: all hear of a change, but one alone looks
for it in the directories, and who has the turn and does not come to an end
keeps nobody from hearing of it."""
import ctypes
import fcntl
import os
import select
import shutil
import struct
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
from house import SLOW, done, ok, same
from imap import Literal, Local

SESSIONS = 40 if SLOW == 1 else 16
IN_OPEN = 0x20


class Opened(threading.Thread):
    """How often a directory was opened.  The kernel makes one event of equal
    ones that nobody has read, so they are read at once."""

    def __init__(self, path):
        super().__init__(daemon=True)
        libc = ctypes.CDLL(None, use_errno=True)
        self.fd, self.n = libc.inotify_init1(0), 0
        if libc.inotify_add_watch(self.fd, path.encode(), IN_OPEN) < 0:
            raise OSError(ctypes.get_errno(), path)
        self.start()

    def run(self):
        while True:
            octets, at = os.read(self.fd, 4096), 0
            while at < len(octets):
                length = struct.unpack_from('iIII', octets, at)[3]
                self.n += length == 0  # files in it have a name
                at += 16 + length

    def count(self):
        n, self.n = self.n, 0
        return n


def heard(sessions, seconds=30):
    """How many have said EXISTS by then."""
    waiting = {c.sock.fileno(): c for c in sessions}
    end = time.time() + seconds * SLOW
    while waiting and time.time() < end:
        for fd in select.select(list(waiting), [], [], 1)[0]:
            if waiting[fd].line()[1] == 'EXISTS':
                del waiting[fd]
    return len(sessions) - len(waiting)


def rest(sessions):
    """Until they have done what they do in silence, and nobody speaks."""
    time.sleep(1.5 * SLOW)
    for c in sessions:
        c.sock.setblocking(False)
        try:
            while True:
                c.data += c.sock.recv(65536)
        except BlockingIOError:
            pass
        c.sock.setblocking(True)
        c.data = b''


def drop(maildir, name):
    """As another program delivers."""
    with open(maildir + '/tmp/' + name, 'w') as f:
        f.write('Subject: ' + name + '\n\nx\n')
    os.rename(maildir + '/tmp/' + name, maildir + '/new/' + name)


def main():
    home = tempfile.mkdtemp(prefix='idle.')
    maildir = home + '/Maildir'
    log = tempfile.TemporaryFile()
    writer = Local(home, log)
    writer.command('SELECT INBOX')
    sessions = [Local(home, log) for _ in range(SESSIONS)]
    for c in sessions:
        c.command('SELECT INBOX')
    tags = [c.idle() for c in sessions]
    rest(sessions)
    opened = Opened(maildir + '/new')

    drop(maildir, '1.a.host')
    same(heard(sessions), SESSIONS, 'another program\'s file: all are told')
    n = opened.count()
    ok(n < SESSIONS / 2, 'one of them has looked', n)
    rest(sessions)
    n = opened.count()
    ok(n < SESSIONS, 'nor do all look again when one has moved it', n)

    ok(writer.command('APPEND INBOX', Literal(b'Subject: b\r\n\r\nb\r\n')).ok,
       'a session\'s message')
    same(heard(sessions), SESSIONS, 'all are told')
    n = opened.count()
    ok(n < SESSIONS / 2, 'at its word, without looking', n)
    rest(sessions)

    stuck = os.open(maildir + '/new', os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(stuck, fcntl.LOCK_EX)
    drop(maildir, '2.c.host')
    same(heard(sessions[:5], 60), 5, 'somebody has the turn and is stuck: they '
         'hear of it none the less')
    os.close(stuck)
    same(heard(sessions[5:]), SESSIONS - 5, 'and so do the others')
    for c, tag in zip(sessions, tags):
        c.done(tag)
    same({len(c.fetch('1:*', 'FLAGS')) for c in sessions}, {3},
         'they see the same')
    for c in sessions + [writer]:
        c.logout()
    log.seek(0)
    text = log.read().decode()
    same([l for l in text.splitlines() if 'Sanitizer' in l or 'fatal' in l],
         [], 'nobody complains')
    shutil.rmtree(home)


main()
done()
