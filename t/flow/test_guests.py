#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Clients that do not log in: silent ones of one network, however many, keep
nobody else out of his mail, and when it gets crowded nobody's silence is borne
for long."""
import os
import select
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
from house import SLOW, House, done, ok, same, until

MOST, SHARE = 20, 3
SETS = ['limit.exempt=', 'limit.connections=%d' % SHARE,
        'imap.max_processes=%d' % MOST, 'pop3.max_processes=%d' % MOST]


class Guest:
    def __init__(self, h, service, source):
        self.s = socket.socket()
        self.s.bind((source, 0))
        self.s.settimeout(60 * SLOW)
        self.s.connect(('127.0.0.1', h.port(service)))
        self.f = self.s.makefile('rb')

    def line(self):
        try:
            return self.f.readline().decode()
        except OSError as e:
            return repr(e)

    def say(self, text):
        self.s.sendall(text.encode() + b'\r\n')
        return self.line()

    def close(self):
        self.f.close()
        self.s.close()


# How it greets, refuses, and lets in.
SERVICES = (
    ('imap', '* OK ', '* BYE [UNAVAILABLE] Too many',
     'a LOGIN alice secret', 'a OK '),
    ('pop3', '+OK ', '-ERR [SYS/TEMP] ', 'USER alice', '+OK '),
)


def greets(h, service, greeting):
    g = Guest(h, service, '127.0.9.1')
    said = g.line()
    g.close()
    return said.startswith(greeting)


def crowd(h, service, greeting, refusal, login, welcome):
    held = [Guest(h, service, '127.0.9.%d' % (1 + i)) for i in range(MOST - 2)]
    same([g.line()[:len(greeting)] for g in held], [greeting] * len(held),
         service + ': a network may have many clients while there is room')
    more = Guest(h, service, '127.0.9.77')
    said = more.line()
    ok(said.startswith(refusal) and more.line() == '',
       service + ': when there is hardly any, no more of it come in', said)
    more.close()
    owner = Guest(h, service, '127.0.5.3')
    said = owner.line() + owner.say(login)
    ok(said.startswith(greeting) and welcome in said,
       service + ': somebody else is served at once', said)
    if service == 'pop3':
        same(owner.say('PASS secret')[:3], '+OK', 'pop3: and logs in')
    owner.close()
    gone = select.select([g.s for g in held], [], [], 25 * SLOW)[0]
    ok(gone, service + ': and silence is borne for seconds, not minutes')
    for g in held:
        g.close()
    ok(until(lambda: greets(h, service, greeting)),
       service + ': then all is as before')


def main():
    with House(sets=SETS) as h:
        for row in SERVICES:
            crowd(h, *row)
    done()


main()
