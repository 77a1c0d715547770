# SPDX-License-Identifier: ISC
"""Calls that end a program or fail in it (fault.c): a page that test and
programs share, with a slot for each kind of program.

    f = Faults(directory)
    Popen(..., env=f.environment('session'))
    f.arm('session', 17)                            SIGKILL at the 17th
    f.arm('session', 1, SYNCS, errno.EIO, sticky=1)    fails from now on
    f.happened('session')
"""
import errno
import mmap
import os
import struct

from house import BUILD

SLOTS = {'queue': 0, 'agent': 1, 'session': 2, 'smtpd': 3}
WRITES, SYNCS, NAMES, SENDS, OPENS, MEMORY, READS, REMOVES = (
    1 << i for i in range(8))
MUTATING = WRITES | SYNCS | NAMES | SENDS | REMOVES
SHORT = -1  # instead of an error: half of it is written
FIELDS = ('left', 'classes', 'error', 'sticky', 'counted', 'happened',
          'free_blocks', 'pad')


def number_of(name):
    return SHORT if name == 'SHORT' else getattr(errno, name)


class Faults:
    def __init__(self, directory):
        self.page_path = directory + '/faults'
        with open(self.page_path, 'wb') as f:
            f.write(b'\0' * 4096)
        self.page_file = open(self.page_path, 'r+b')
        self.page = mmap.mmap(self.page_file.fileno(), 4096)

    def environment(self, slot):
        """What a program's environment has besides."""
        return {'LD_PRELOAD': BUILD + '/t/fault.so',
                'FAULT_FILE': self.page_path, 'FAULT_AS': str(SLOTS[slot]),
                'ASAN_OPTIONS': os.environ.get('ASAN_OPTIONS', '') +
                ':verify_asan_link_order=0'}

    def field(self, slot, name, value=None):
        at = SLOTS[slot] * 32 + FIELDS.index(name) * 4
        if value is None:
            return struct.unpack_from('i', self.page, at)[0]
        struct.pack_into('i', self.page, at, value)
        return value

    def arm(self, slot, left, classes=MUTATING, error=0, sticky=0):
        self.disarm(slot)
        self.field(slot, 'error', error)
        self.field(slot, 'sticky', sticky)
        self.field(slot, 'classes', classes)
        self.field(slot, 'left', left)

    def disarm(self, slot):
        for name in FIELDS[:-2]:
            self.field(slot, name, 0)

    def happened(self, slot):
        return bool(self.field(slot, 'happened'))
