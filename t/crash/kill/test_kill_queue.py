#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""SIGKILL to the queue and to its local agent at their n-th call that changes
anything, for every n, while messages are accepted, delivered, synced and
reported on; and again while that is recovered from.  Afterwards everything
that was acknowledged is there exactly once, byte for byte, nothing that was
refused is there, and nothing is stuck.

    test_kill_queue.py [POINTS]      300 by default; all: every one
"""
import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', '..',
                                'lib'))
from house import SLOW, done, ok, same
from queuehouse import SCENARIOS, Ledger, QueueHouse
from sweep import Sweep


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


def points(house, ledger):
    whole = []
    for scenario in SCENARIOS:
        for victim in ('queue', 'agent'):
            n = length(house, ledger, scenario, victim)
            whole += [(scenario, victim, at) for at in range(1, n + 15)]
    return whole


def left_behind(house):
    """An agent that sleeps while its queue dies wakes up with jobs in hand
    that the next queue's agent has done: it must not do them again."""
    house.submit('x@remote.test', ['carol@example.test'],
                 b'Subject: before\r\n\r\n', 'behind/0')
    house.settle()
    before = set(house.mails('carol'))
    sleepers = list(house.agents)
    for pid in sleepers:
        os.kill(pid, signal.SIGSTOP)
    for i in range(3):
        house.submit('x@remote.test', ['carol@example.test'],
                     b'Subject: behind %d\r\n\r\n' % i, 'behind/%d' % (i + 1))
    house.until(lambda: [r['state'] for r in house.rows() or []] ==
                ['active'] * 3)
    house.kill()
    same(house.settle(), [], 'another agent delivers')
    for pid in sleepers:
        os.kill(pid, signal.SIGCONT)
    house.until(lambda: not house.agents.intersection(sleepers))
    same(len(set(house.mails('carol')) - before), 3,
         'the one that was left behind does not')


def main():
    sweep = Sweep(__doc__, 300 // SLOW)
    start = time.time()
    with QueueHouse() as house:
        left_behind(house)
        ledger = Ledger(house)
        work = sweep.choose(points(house, ledger))
        struck = 0
        for scenario, victim, at in sweep.each(work):
            again = sweep.random.choice([0, 0, 1]) and \
                sweep.random.randint(1, 80)
            struck += one_point(house, ledger, scenario, victim, at, again)
        print('# %d points in %.0f s, %d struck; the queue died %d '
              'times, its agents %d times' % (
                  len(work), time.time() - start, struck,
                  house.deaths['queue'], house.deaths['agent']))
        same(ledger.bad, [], 'rows 1, 2: everything once, whole, and nothing stuck')
        ok(struck > len(work) // 3, 'the points were met')
        same(os.listdir(house.dir + '/state/queue/bodies'), [],
             'no body file is left')
    done()


main()
