#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Calls that fail in a session of IMAP or POP3 while it changes a mailbox: no
space, no descriptor, no memory, an error of the disk, an interruption, half a
write; at any call, once or from then on.  NO means nothing has happened, OK
that all has; the session goes on or ends, the next one works.

    test_errors_sessions.py [POINTS]      100 by default; all: every one
"""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', '..',
                                'lib'))
from faults import (MEMORY, NAMES, OPENS, READS, REMOVES, SENDS, SYNCS,
                    WRITES, number_of)
from house import BUILD, SLOW, done, ok, same
from sessionhouse import OPERATIONS, SessionHouse
from sweep import Sweep

# What fails, how, and whether it may go on failing.  (An index that cannot be
# read is thrown away and made again from the names of the files, which know
# nothing of a change that is under way: that one is for test_check.)
FAULTS = [
    ('ENOSPC', WRITES | NAMES, True), ('EDQUOT', WRITES | NAMES, True),
    ('EIO', WRITES, True), ('EIO', SYNCS, True), ('ENOSPC', SYNCS, True),
    ('EROFS', NAMES | REMOVES, True), ('EMFILE', OPENS, True),
    ('ENFILE', OPENS, True), ('ENOMEM', OPENS | NAMES, True),
    ('ENOMEM', MEMORY, True), ('EINTR', WRITES | SENDS | READS, False),
    ('SHORT', WRITES | SENDS, True),
]


# What once went wrong is always looked at: links that could not be removed
# became messages; half a tree of folders was renamed; a folder that could not
# be entered stayed; no memory for the list was no message to be copied.
KNOWN = [('rename-inbox', 'EROFS', NAMES | REMOVES, range(9, 13), 1),
         ('rename', 'EROFS', NAMES | REMOVES, range(1, 4), 1),
         ('create', 'EIO', WRITES, range(7, 10), 0),
         ('copy', 'ENOMEM', MEMORY, range(56, 72), 0)]


def known():
    return [(OPERATIONS[operation], (at, classes, number_of(name), sticky))
            for operation, name, classes, places, sticky in KNOWN
            for at in places if classes != MEMORY or 'san' not in BUILD]


def points(house):
    """Groups: an operation and what fails in it."""
    groups = []
    for operation in OPERATIONS.values():
        for name, classes, sticks in FAULTS:
            if classes == MEMORY and 'san' in BUILD:
                continue  # it is the sanitizer's
            n = house.calls(operation, classes)
            groups.append([(operation, (at, classes, number_of(name), sticky))
                           for at in range(1, n + 1)
                           for sticky in ((0, 1) if sticks else (0,))])
    return groups


def main():
    sweep = Sweep(__doc__, 100 // SLOW)
    start = time.time()
    with SessionHouse() as house:
        groups = points(house)
        work, struck = known() + sweep.spread(groups), 0
        for operation, fault in sweep.each(work):
            # where memory ends nobody can see: it may have been done
            struck += house.point(operation, fault,
                                  careful=fault[1] != MEMORY)
        print('# %d points of %d in %.0f s, %d struck' % (
            len(work), sum(map(len, groups)), time.time() - start, struck))
        for line in house.bad:
            print('# ', line)
        same(len(house.bad), 0, 'row 6: OK is OK, NO is nothing')
        ok(struck > len(work) // 2, 'the points were met', struck)
    done()


main()
