#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""SIGKILL to smtpd at its n-th call that changes anything, while it takes
messages by DATA and BDAT, small, large, behind one that came to nothing, and
from users.  What was acknowledged is there once and whole, what was not is
not, or is there once and whole when its end had been sent.

    test_kill_smtpd.py [POINTS]      30 by default; all: every one
"""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', '..',
                                'lib'))
from house import SLOW, done, ok, same
from smtphouse import WAYS, SmtpHouse
from sweep import Sweep


def main():
    sweep = Sweep(__doc__, 30 // SLOW)
    start = time.time()
    with SmtpHouse() as house:
        groups = [[(way, n) for n in range(1, house.calls(way) + 1)]
                  for way in WAYS]
        work, struck = sweep.spread(groups), 0
        for way, n in sweep.each(work):
            struck += house.point(way, (n,))
        print('# %d points of %d in %.0f s, %d struck' % (
            len(work), sum(map(len, groups)), time.time() - start, struck))
        same(house.ledger.bad[:9], [], 'everything once, whole, or refused')
        ok(struck > len(work) // 2, 'the points were met', struck)
        same(os.listdir(house.dir + '/state/queue/bodies'), [],
             'no body file is left')
    done()


main()
