#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""SIGKILL to the queue and to its local agent at their n-th call that changes
anything, for every n, while messages are accepted, delivered, synced and
reported on; and again while that is recovered from.  Afterwards everything
that was acknowledged is there exactly once, byte for byte, nothing that was
refused is there, and nothing is stuck.

    test_queue_kill.py [POINTS]      300 by default; all: every one
"""
import os
import random
import re
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
from house import SLOW, done, ok, same
from queuehouse import QueueHouse

POINTS = sys.argv[1] if len(sys.argv) > 1 else str(300 // SLOW)
USERS = ['alice', 'bob']


def small(n):
    """One mailbox, content in the database."""
    return dict(rcpts=['alice'], size=300)


def large(n):
    """Two mailboxes, content in a file."""
    return dict(rcpts=['alice', 'bob'], size=90000, body=True)


def aliased(n):
    """Three recipients that are two mailboxes."""
    return dict(rcpts=['list', 'alice'], size=2000, final=['alice', 'bob'])


def failing(n):
    """One mailbox, and a report to the sender's."""
    return dict(rcpts=['alice', 'nobody'], size=500, sender='bob', report=1)


SCENARIOS = [small, large, aliased, failing]


class Ledger:
    def __init__(self, house):
        self.house, self.sent, self.there, self.seen = house, {}, {}, set()
        self.reports = {}
        self.bad = []
        self.count = 0

    def name(self, scenario):
        self.count += 1
        return '%s-%d' % (scenario.__name__, self.count)

    def send(self, ident, rcpts, size, sender='', final=None, body=False,
             report=0):
        text = ('Subject: %s\r\n\r\n' % ident).encode()
        text += b''.join(b'%076d\r\n' % i for i in range(size // 78 + 1))
        answer, _ = self.house.submit(
            (sender or 'x') + ('@example.test' if sender else '@remote.test'),
            [r + '@example.test' for r in rcpts], text, token=ident,
            body=body)
        users = final or [r for r in rcpts if r in USERS]
        self.sent[ident] = (answer, users, text, report)
        return answer

    def look(self):
        """What is new in the mailboxes."""
        for user in USERS:
            for path in self.house.mails(user):
                name = os.path.basename(path).split(':')[0]
                if (user, name) in self.seen:
                    continue
                self.seen.add((user, name))
                text = open(path, 'rb').read().replace(b'\n', b'\r\n')
                self.sort(user, text)

    def sort(self, user, text):
        of = re.search(rb'(?m)^Message-ID: <report\.', text)
        m = re.search(rb'(?m)^Subject: ([a-z]+-\d+)\r$', text)
        if m is None:
            self.bad.append(('what is this', user, text[:200]))
        elif of:
            self.reports.setdefault(m[1].decode(), []).append(user)
        else:
            whole = text[m.start():]
            self.there.setdefault(m[1].decode(), []).append((user, whole))

    def judge(self, ident):
        answer, users, text, report = self.sent.pop(ident)
        copies = self.there.pop(ident, [])
        got = sorted(u for u, _ in copies)
        reports = self.reports.pop(ident, [])
        if any(c != text for _, c in copies):
            self.bad.append((ident, 'torn'))
        if answer == 'no' and (got or reports):
            self.bad.append((ident, 'refused, but there', got))
        whole = got == sorted(users) and len(reports) == report
        if answer == 'yes' and not whole:
            self.bad.append((ident, 'taken, but', got, reports))
        if answer == 'unknown' and not whole and (got or reports):
            self.bad.append((ident, 'half there', got, reports))


def one_point(house, ledger, scenario, victim, at, again):
    """True when the scenario came as far as that call."""
    ident = ledger.name(scenario)
    house.arm(victim, at)
    ledger.send(ident, **scenario(at))
    struck = False
    if again:
        # The second strike meets the recovery from the first.
        house.until(lambda: house.happened(victim) or house.rows() == [], 5)
        struck = house.happened(victim)
        house.arm('queue' if again % 2 else 'agent', again)
    rows = house.settle()
    struck = struck or house.happened(victim)
    for v in ('queue', 'agent'):
        house.disarm(v)
    if rows:
        ledger.bad.append((ident, 'stuck', rows))
    ledger.look()
    ledger.judge(ident)
    return struck


def length(house, ledger, scenario, victim):
    """How many calls there are, and some more."""
    ident = ledger.name(scenario)
    house.arm(victim, 1 << 30)
    ledger.send(ident, **scenario(0))
    house.settle()
    count = house.field(victim, 'counted')
    house.disarm(victim)
    ledger.look()
    ledger.judge(ident)
    return count


def points(house, ledger, randomness):
    whole = []
    for scenario in SCENARIOS:
        for victim in ('queue', 'agent'):
            n = length(house, ledger, scenario, victim)
            whole += [(scenario, victim, at) for at in range(1, n + 15)]
    if POINTS == 'all':
        return whole
    return [randomness.choice(whole) for _ in range(int(POINTS))]


def main():
    seed = int(os.environ.get('SEED', time.time()))
    randomness = random.Random(seed)
    start = time.time()
    with QueueHouse() as house:
        ledger = Ledger(house)
        work = points(house, ledger, randomness)
        struck = 0
        for scenario, victim, at in work:
            again = randomness.choice([0, 0, 1]) and randomness.randint(1, 80)
            struck += one_point(house, ledger, scenario, victim, at, again)
        print('# seed %d: %d points in %.0f s, %d struck; the queue died %d '
              'times, its agents %d times' % (
                  seed, len(work), time.time() - start, struck,
                  house.deaths['queue'], house.deaths['agent']))
        same(ledger.bad, [], 'everything once, whole, and nothing stuck')
        ok(struck > len(work) // 3, 'the points were met')
        same(os.listdir(house.dir + '/state/queue/bodies'), [],
             'no body file is left')
    done()


main()
