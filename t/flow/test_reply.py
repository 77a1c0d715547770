#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Between the dot and its reply nothing is waited for: not a table that hangs
once the recipient was taken, not an agent that stands still, not a server far
away that says nothing.  The message is safe, and that is all the reply says."""
import os
import signal
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
from house import SLOW, House, done, message, ok, same  # noqa: E402
from socketmap import Socketmap  # noqa: E402

MOST = 2.0 * SLOW  # seconds; what is slow here would take a minute
hang = threading.Event()
go_on = threading.Event()


def table(key):
    if key == 'slow@example.test' and hang.is_set():
        go_on.wait(60 * SLOW)
    return b'OK bob' if key == 'slow@example.test' else b'NOTFOUND '


def dot(h, to, text, what, between=lambda: None):
    """Sends, and looks how long the reply to the dot takes."""
    with h.smtp(user='alice', service='submission') as s:
        s.ehlo('x.test')
        s.mail('alice@example.test')
        same(s.rcpt(to)[0], 250, 'row 3: %s: taken' % what)
        s.putcmd('data')
        same(s.getreply()[0], 354, 'row 3: %s: DATA' % what)
        between()
        s.send(text)
        start = time.time()
        s.send(b'.\r\n')
        code = s.getreply()[0]
        took = time.time() - start
        ok(code == 250 and took < MOST,
           'row 3: %s: answered at once' % what, (code, took))


def stopped(h):
    """An agent that stands still: the mailbox gets it when it goes on."""
    h.send(['alice@example.test'], message('first'))
    h.wait_mail('alice', 1)
    agents = h.pids('deliver-local')
    ok(agents, 'row 3: an agent is there')
    try:
        for pid in agents:
            os.kill(pid, signal.SIGSTOP)
        dot(h, 'alice@example.test', message('second'),
            'an agent that stands still')
        dot(h, 'alice@example.test',
            message('third', b'a large message\r\n' * 200000),
            'and a large message')
    finally:
        for pid in agents:
            os.kill(pid, signal.SIGCONT)
    same(len(h.wait_mail('alice', 3, 30)), 3, 'row 3: all of it arrives')


def main():
    silent = socket.socket()
    silent.bind(('127.0.0.1', 0))
    silent.listen(5)
    h = House(without=('imapd', 'pop3d'), sets=[
        'remote.transports=far.test smtp:127.0.0.1:%d' %
        silent.getsockname()[1], 'remote.allow_loopback=yes',
        'queue.retry=1s, 1s, 2s', 'queue.retry_max=2s'])
    maps = Socketmap(h.dir + '/maps', table)
    h.sets.append('address.aliases=socketmap:unix:%s/maps:aliases' % h.dir)
    with h:
        dot(h, 'slow@example.test', message('hangs'),
            'a table that hangs', hang.set)
        dot(h, 'x@far.test', message('far'), 'a server that says nothing')
        time.sleep(0.2)
        same(h.mails('bob'), [], 'row 3: (the table does hang)')
        hang.clear()
        go_on.set()
        same(len(h.wait_mail('bob', 1, 90)), 1,
             'row 3: delivered once the table answers')
        same([r['state'] for r in h.queue('--rcpt', 'x@far.test')],
             ['active'], 'row 3: the one for far away still waits')
        stopped(h)
        silent.close()  # or its agent would wait for the greeting
    maps.s.close()
    done()


main()
