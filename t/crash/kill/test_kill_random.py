#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""SIGKILL to any program at any moment of a stream of messages: nothing that
was acknowledged is lost, nothing arrives twice, nothing that was refused
appears.

    test_kill_random.py [KILLS]     300 by default, 60 of a sanitizer build

The ledger is the client's: 'yes' (250), 'no' (refused), 'unknown' (no answer:
the message may be there once or not at all).
"""
import os
import random
import re
import signal
import smtplib
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', '..',
                                'lib'))
from house import House, SLOW, done, message, ok, same, until
from sweep import Sweep

CLIENTS = 6
USERS = ['alice', 'bob', 'carol', 'dave']
VICTIMS = ['queue', 'deliver-local', 'smtpd', 'auth', 'queue',
           'deliver-local', 'tls', 'keys', 'resolve', 'imapd']


class Client(threading.Thread):
    """Sends one message after another, some large, some to two users."""

    def __init__(self, house, name, stop):
        super().__init__(daemon=True)
        self.house, self.key, self.stop = house, name, stop
        self.ledger = {}
        self.random = random.Random(name)

    def one(self, smtp, n):
        ident = '%s-%d' % (self.key, n)
        users = self.random.sample(USERS, self.random.choice([1, 1, 1, 2]))
        size = self.random.choice([200, 2000, 4000, 60000, 150000])
        body = (b'%076d\r\n' % n) * (size // 78 + 1)
        self.ledger[ident] = ['unknown', users, body]
        smtp.mail('k@remote.test')
        taken = []
        for u in users:
            code, _ = smtp.rcpt(u + '@example.test')
            if code == 250:
                taken.append(u)
        if not taken:
            self.ledger[ident][0] = 'no'
            smtp.rset()
            return
        self.ledger[ident][1] = taken
        code, _ = smtp.data(message(ident, body))
        self.ledger[ident][0] = 'yes' if code == 250 else 'no'

    def run(self):
        n = 0
        while not self.stop.is_set():
            try:
                with smtplib.SMTP('127.0.0.1', self.house.port('smtp'),
                                  timeout=60 * SLOW) as smtp:
                    smtp.ehlo('kill.test')
                    for _ in range(20):
                        if self.stop.is_set():
                            break
                        n += 1
                        self.one(smtp, n)
            except (smtplib.SMTPException, OSError):
                time.sleep(0.02)


def kill_one(house, randomness):
    """Every kind as often as any other: a kind that is just not there is
    waited for a moment.  Which it was."""
    while True:
        victim = randomness.choice(VICTIMS)
        pids = until(lambda: house.pids(victim), 0.5)
        time.sleep(randomness.random() * 0.05 * SLOW)
        if not pids:
            continue
        try:
            os.kill(randomness.choice(pids), signal.SIGKILL)
            return victim
        except ProcessLookupError:
            pass


def drain(house):
    """What was in an agent's hands three times alone is held, rightly; a
    person would release it."""
    end = time.time() + 120 * SLOW
    while time.time() < end:
        rows = house.queue()
        if not rows and house.surat('queue', 'list').returncode == 0:
            return []
        if any(r['state'] == 'held' and 'three times' in r['reply']
               for r in rows):
            house.surat('queue', 'release', 'all', '--state', 'held')
        house.surat('queue', 'retry', 'all')
        time.sleep(0.2)
    return house.queue()


def found(house):
    """(ident, user) -> list of bodies."""
    there = {}
    for user in USERS:
        for path in house.mails(user):
            text = open(path, 'rb').read()
            m = re.search(rb'(?m)^Subject: (\S+)$', text)
            body = text.split(b'\n\n', 1)[1].replace(b'\n', b'\r\n')
            there.setdefault((m[1].decode(), user), []).append(body)
    return there


def judge(ledger, there):
    lost, twice, phantom, torn = [], [], [], []
    for ident, (answer, users, body) in ledger.items():
        for user in USERS:
            copies = there.get((ident, user), [])
            if len(copies) > 1:
                twice.append((ident, user, answer))
            if any(c != body for c in copies):
                torn.append((ident, user))
            if answer == 'yes' and user in users and not copies:
                lost.append((ident, user))
            if copies and (user not in users or answer == 'no'):
                phantom.append((ident, user, answer))
    return lost, twice, phantom, torn


def main():
    sweep = Sweep(__doc__, 300 if SLOW == 1 else 60)
    killed = {}
    with House(users={u: 'x' for u in USERS}) as house:
        stop = threading.Event()
        clients = [Client(house, 'c%d' % i, stop) for i in range(CLIENTS)]
        for c in clients:
            c.start()
        for _ in sweep.each(range(sweep.count)):
            victim = kill_one(house, sweep.random)
            killed[victim] = killed.get(victim, 0) + 1
        stop.set()
        for c in clients:
            c.join(90 * SLOW)
        ledger = {}
        for c in clients:
            ledger.update(c.ledger)
        same(drain(house), [], 'the queue is empty in the end')
        answers = [a for a, _, _ in ledger.values()]
        print('# %d messages: %d taken, %d refused, %d unknown; '
              'killed %s' % (len(ledger), answers.count('yes'),
                             answers.count('no'), answers.count('unknown'),
                             killed))
        ok(answers.count('yes') > sweep.count / 3, 'mail flowed meanwhile')
        lost, twice, phantom, torn = judge(ledger, found(house))
        same(lost, [], 'nothing acknowledged is lost')
        same(twice, [], 'nothing arrives twice')
        same(phantom, [], 'nothing refused appears')
        same(torn, [], 'nothing is torn')
        if lost or twice or phantom:
            for ident in {x[0] for x in lost + twice + phantom}:
                ids = set(re.findall(r'queue=(\S+)', ''.join(
                    house.grep(ident))))
                print('# ' + ident, ids)
    done()


main()
