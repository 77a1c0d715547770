#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""INPROGRESS (RFC 9585): commands that take long say how far they are, to
clients that wait ten seconds by default and no time at all here; and nobody
works for a client who is gone."""
import os
import shutil
import signal
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
from house import done, ok, same
from imap import Local

MESSAGES = 1000
LONG = ['SELECT INBOX', 'SEARCH TEXT nothing', 'UID SORT (SUBJECT) UTF-8 ALL',
        'THREAD REFERENCES UTF-8 ALL', 'COPY 1:* Archive', 'MOVE 1:700 Trash']


def words(r):
    """(tag, done, goal) of each line that says how far it is."""
    return [line[1].split()[1:] for line in r.lines
            if line[0] == 'OK' and line[1].startswith('INPROGRESS')]


def fill(home):
    for sub in ('tmp', 'new', 'cur'):
        os.makedirs(os.path.join(home, 'Maildir', sub))
    for n in range(MESSAGES):
        with open('%s/Maildir/cur/%d.host:2,' % (home, n), 'w') as f:
            f.write('Subject: %d\n\n%s' % (n % 7, 'x\n' * 500))


def session(home, text):
    with open(os.path.join(home, 'surat.conf'), 'w') as f:
        f.write(text)
    return Local(home)


def far(c, command):
    tag = c.start(command)
    r = c.finish(tag)
    said = [(t.strip('("'), int(d), int(g.strip(')'))) for t, d, g in words(r)]
    ok(r.ok and len(said) > 0 and all(t == tag for t, _, _ in said),
       '%s says it, under its tag' % command, (r, said))
    ok(all(0 < d <= g <= MESSAGES for _, d, g in said) and
       [d for _, d, _ in said] == sorted(d for _, d, _ in said),
       'not beyond the goal, and never back', said)


def begin_forever(home):
    """A session that searches for longer than anybody would wait."""
    c = session(home, '')
    c.command('SELECT INBOX')
    c.start('SEARCH ' + ' '.join('NOT TEXT no%d' % i for i in range(6000)))
    time.sleep(0.3)
    ok(c.process.poll() is None, 'it searches')
    return c


def interrupted(home):
    began = time.time()
    begin_forever(home).close()
    ok(time.time() - began < 10, 'who hangs up ends it', time.time() - began)
    c = begin_forever(home)
    c.process.send_signal(signal.SIGTERM)
    said = b''.join(iter(lambda: c.sock.recv(65536), b''))
    ok(b' NO [UNAVAILABLE] ' in said and b'* BYE ' in said,
       'who stops the server is told that the answer is none', said)
    same(c.process.wait(10), 0, 'and it ends')


def main():
    home = tempfile.mkdtemp(prefix='surat.')
    fill(home)
    c = session(home, 'imap { progress = 0 }\n')
    ok('INPROGRESS' in c.command('CAPABILITY').lines[0][1], 'it is offered')
    for name in ('Archive', 'Trash'):
        c.command('CREATE', name)
    for command in LONG:
        far(c, command)
    same(words(c.command('FETCH 1:* FLAGS')), [],
         'what answers all the time need not')
    c.close()
    c = session(home, '')
    same([w for command in LONG[:-1] for w in words(c.command(command))], [],
         'nobody hears of it within ten seconds')
    c.close()
    interrupted(home)
    shutil.rmtree(home)
    done()


main()
