#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Users in a server of tables: they log in as others do, and when it is slow or
away nobody waits, fails or is banned because of it."""
import imaplib
import os
import smtplib
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
from house import House, done, ok, same, until
from ports import free_port
from socketmap import Socketmap

SLOW_SECONDS = 4


class Users:
    """What the server says, and how soon."""

    def __init__(self):
        self.delay, self.fails = 0, False

    def __call__(self, key):
        time.sleep(self.delay)
        if self.fails:
            return b'TEMP not now'
        if key == 'carol':
            return b'OK {PLAIN}right::::::'
        if key == 'broken':
            return b'OK nothing that makes sense:x:y'
        return b'NOTFOUND '


def login(h, user, password):
    """(what IMAP says, the seconds it took)"""
    began = time.monotonic()
    c = imaplib.IMAP4('127.0.0.1', h.port('imap'))
    try:
        c.login(user, password)
        said = 'OK'
    except imaplib.IMAP4.error as e:
        said = str(e)
    c.logout()
    return said, time.monotonic() - began


def while_slow(h, users):
    users.delay = SLOW_SECONDS
    said = []
    slow = threading.Thread(
        target=lambda: said.append(login(h, 'carol', 'right')))
    slow.start()
    time.sleep(0.5)
    one, took = login(h, 'alice', 'secret')
    began = time.monotonic()
    with h.smtp() as s:
        s.ehlo('x.test')
    greeted = time.monotonic() - began
    ok(slow.is_alive() and one == 'OK', 'others log in while it is slow',
       (one, took))
    ok(greeted < SLOW_SECONDS / 2, 'and are greeted', greeted)
    slow.join()
    same(said[0][0], 'OK', 'who needs it waits for it')
    users.delay = 0


def while_away(h, users):
    users.fails = True
    for name in ('carol', 'nobody'):
        said = [login(h, name, 'right')[0] for _ in range(4)]
        ok(all('UNAVAILABLE' in s for s in said),
           'it cannot be asked: later, ' + name, said)
    users.fails = False
    same(login(h, 'carol', 'right')[0], 'OK', 'and nobody is banned for that')
    same(len(h.grep('login-failed user=')), 1,
         'or has failed: the wrong password did')
    ok(h.grep('login-later user=carol'), 'the log says that it was so')
    ok('UNAVAILABLE' in login(h, 'broken', 'x')[0], 'nor for a broken row')
    ok(h.grep('table-broken'), 'which the log names')


def submits(h):
    with smtplib.SMTP('127.0.0.1', h.port('submission')) as s:
        s.ehlo('x.test')
        s.login('carol', 'right')
        same(s.mail('carol@example.test')[0], 250, 'and by submission')
    with h.smtp() as s:
        s.ehlo('x.test')
        s.mail('a@remote.test')
        same(s.rcpt('carol@example.test')[0], 250, 'mail for them is taken')
        same(s.rcpt('nobody@example.test')[0], 550, 'for others it is not')


def house(where, ref):
    users = Users()
    h = House(sets=['auth.failure_delay=0', 'auth.ban_after=3',
                    'address.users=socketmap:' + ref])
    Socketmap(where(h), users)
    with h:
        same(login(h, 'carol', 'right')[0], 'OK', ref[:4] + ': a user logs in')
        same('OK' in login(h, 'carol', 'wrong')[0], False,
             'with the right password only')
        submits(h)
        until(lambda: h.grep('login user=carol'))
        while_slow(h, users)
        while_away(h, users)


port = free_port()
house(lambda h: port, 'inet:127.0.0.1:%d:u' % port)
directory = os.popen('mktemp -d').read().strip()
os.chmod(directory, 0o755)
house(lambda h: directory + '/maps', 'unix:%s/maps:u' % directory)
done()
