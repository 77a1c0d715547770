#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""A POP3 session that deletes is killed at each of its system calls: either
all it deleted is gone afterwards or nothing, and all once it has said so.  No
message changes its name, none comes back."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', '..',
                                'lib'))
from house import BUILD, SLOW, done, ok, same, skip

PROGRAM = [BUILD + '/bin/pop3d', '--session', '--set', 'log.target=stderr',
           '--set', 'log.level=error', '--config']
# What a session does to the world, or learns from it, once it has begun.
CALLS = ('openat read write pread64 pwrite64 fcntl fdatasync fsync unlinkat '
         'unlink renameat2 renameat ftruncate mmap sendto newfstatat').split()
MESSAGES, DELETED = 6, (1, 3, 4)
EVERY = 1 if SLOW == 1 else 7  # under sanitizers, some of them


def session(home, commands, wrap=()):
    open(home + '/conf', 'a').close()
    p = subprocess.run(
        [*wrap, *PROGRAM, home + '/conf'], input=commands, timeout=60 * SLOW,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=dict(os.environ, HOME=home))
    return p.stdout


def names(home):
    text = session(home, b'UIDL\r\nQUIT\r\n')
    return re.findall(rb'(?m)^\d+ (\S+)\r$', text)


def files(home):
    return [f for sub in ('new', 'cur')
            for f in os.listdir(home + '/Maildir/' + sub)]


def template(home):
    for sub in ('new', 'cur', 'tmp'):
        os.makedirs(home + '/Maildir/' + sub)
    for n in range(MESSAGES):
        with open(home + '/Maildir/new/%d.kill.x' % n, 'w') as f:
            f.write('Subject: %d\n\nhello\n' % n)
    return names(home)


COMMANDS = b''.join(b'DELE %d\r\n' % n for n in DELETED) + b'QUIT\r\n'


def counts(home):
    """How often the session makes each call."""
    log = home + '.trace'
    session(home, COMMANDS, ['strace', '-qq', '-o', log, '-e',
                             'trace=' + ','.join(CALLS)])
    found = {}
    for line in open(log, errors='replace'):
        call = line.split('(')[0]
        found[call] = found.get(call, 0) + 1
    os.unlink(log)
    return found


def killed_at(home, call, n):
    return session(home, COMMANDS, [
        'strace', '-qq', '-o', '/dev/null', '-e', 'trace=' + call, '-e',
        'inject=%s:signal=KILL:when=%d' % (call, n)])


def main():
    if not os.path.exists(BUILD + '/bin/pop3d'):
        skip('kills', 'not built')
        done()
    if not shutil.which('strace'):
        skip('kills', 'no strace')
        done()
    top = tempfile.mkdtemp(prefix='pop3.')
    first = top + '/first'
    before = template(first)
    same(len(before), MESSAGES, 'all are there')
    left = [name for n, name in enumerate(before, 1) if n not in DELETED]
    shutil.copytree(first, top + '/count')
    calls = counts(top + '/count')
    same(names(top + '/count'), left, 'undisturbed, the deleted are gone')
    points = [(call, n) for call, count in sorted(calls.items())
              for n in range(1, count + 1)][::EVERY]
    ok(len(points) > (100 if EVERY == 1 else 10), 'there are steps',
       calls)
    wrong, gone = [], 0
    for i, (call, n) in enumerate(points):
        home = top + '/%d' % i
        shutil.copytree(first, home)
        said = killed_at(home, call, n)
        now = names(home)
        promised = b'+OK Good bye' in said
        if now != left and (promised or now != before):
            wrong.append((call, n, promised, now))
        if len(files(home)) != len(now):
            wrong.append((call, n, files(home)))
        gone += now == left
        shutil.rmtree(home)
    same(wrong, [], 'all or nothing, at %d steps' % len(points))
    ok(0 < gone < len(points), 'some came before the end, some after', gone)
    shutil.rmtree(top)
    done()


main()
