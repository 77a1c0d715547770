#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""SIGKILL to a session of IMAP or POP3 at its n-th call that changes anything,
while it appends, copies, moves, flags, expunges, makes, renames and removes
folders, or quits; and to the next one at any call of its recovery.  The
mailbox is as it was or as it was to be, and as it was to be once that was
said; no UID changes its meaning.

    test_kill_sessions.py [POINTS]      120 by default; all: every one
"""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', '..',
                                'lib'))
from faults import MUTATING
from house import SLOW, done, ok, same
from sessionhouse import OPERATIONS, SessionHouse
from sweep import Sweep


def main():
    sweep = Sweep(__doc__, 120 // SLOW)
    start = time.time()
    with SessionHouse() as house:
        whole = [(o, n) for o in OPERATIONS.values()
                 for n in range(1, house.calls(o) + 2)]
        work, struck = sweep.choose(whole), 0
        for operation, n in sweep.each(work):
            again = sweep.random.choice([0, 0, 1]) and \
                sweep.random.randint(1, 25)
            struck += house.point(operation, (n, MUTATING), again)
        print('# %d points of %d in %.0f s, %d struck' % (
            len(work), len(whole), time.time() - start, struck))
        for line in house.bad:
            print('# ', line)
        same(len(house.bad), 0, 'row 2: as it was or as it was to be')
        ok(struck > len(work) // 2, 'the points were met', struck)
    done()


main()
