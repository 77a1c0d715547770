#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Calls that fail in smtpd while it takes messages: no space, no descriptor,
no memory, an error of the disk, an interruption, half a write; at any call,
once or from then on.  The client is refused for now or finds the connection
closed; never is a message taken whose write or sync has failed.

    test_errors_smtpd.py [POINTS]      30 by default; all: every one
"""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', '..',
                                'lib'))
from faults import (MEMORY, NAMES, OPENS, READS, SENDS, SYNCS, WRITES,
                    number_of)
from house import BUILD, SLOW, done, ok, same
from smtphouse import WAYS, SmtpHouse
from sweep import Sweep

# What fails, how, and whether it may go on failing.
FAULTS = [
    ('ENOSPC', WRITES, True), ('EDQUOT', WRITES, True), ('EIO', WRITES, True),
    ('EIO', SYNCS, True), ('ENOSPC', SYNCS, True), ('EMFILE', OPENS, True),
    ('ENFILE', OPENS, True), ('ENOMEM', OPENS | NAMES, True),
    ('ENOMEM', MEMORY, True), ('EINTR', WRITES | SENDS | READS, False),
    ('SHORT', WRITES | SENDS, True),
]


def points(house):
    """Groups: a way and what fails in it."""
    groups = []
    for way in WAYS:
        for name, classes, sticks in FAULTS:
            if classes == MEMORY and 'san' in BUILD:
                continue  # it is the sanitizer's
            error = number_of(name)
            n = house.calls(way, classes, error)
            groups.append([(way, (at, classes, error, sticky))
                           for at in range(1, n + 1)
                           for sticky in ((0, 1) if sticks else (0,))])
    return groups


def main():
    sweep = Sweep(__doc__, 30 // SLOW)
    start = time.time()
    with SmtpHouse() as house:
        groups = points(house)
        work, struck = sweep.spread(groups), 0
        for way, fault in sweep.each(work):
            struck += house.point(way, fault)
        print('# %d points of %d in %.0f s, %d struck' % (
            len(work), sum(map(len, groups)), time.time() - start, struck))
        same(house.ledger.bad[:9], [],
             'row 6: taken is taken, and no error is a promise')
        ok(struck > len(work) // 2, 'the points were met', struck)
        same(os.listdir(house.dir + '/state/queue/bodies'), [],
             'row 6: no body file is left')
    done()


main()
