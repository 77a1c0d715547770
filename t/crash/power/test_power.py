#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Power cuts.  A house works on disks that remember (recorder.c); then what a
cut at any moment could have left is made of the log, mounted, started, and
compared with what had been acknowledged by then.

    test_power.py [IMAGES] [--fs ext4,xfs,btrfs] [--disks 1,2] [--seconds N]
        [--house surat,postfix,lmtp]

IMAGES of each kind: 17 by default, 6 of a sanitizer build; thousands by hand.
Other houses than surat, Debian's Postfix and Dovecot (power_rivals.py), are
there to be compared with: what they lose is said, and is no failure.

With two disks the queue is on one file system and the mail on another.  The
machine is started anew for each image as far as a time namespace goes: its
boot time is another.  SEED repeats the choices, not the timing.

A cut: everything up to a disk's last flush is there, and of what was written
after it any subset, each write by itself, or all of its sectors by themselves.
A sector of btrfs is its own: it knows no superblock that is written in part.
"""
import itertools
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', '..', 'lib'))
sys.path.insert(0, HERE)
from house import BUILD, SLOW, done, ok, same, skip
from sweep import Sweep
import power_check
import power_record
import power_rivals

RECORD = struct.Struct('=BBHIQ')
FILE_SYSTEMS = {  # small, with room for what flows in the time; a sector
    'ext4': ('160M', ['mkfs.ext4', '-q'], 512),
    'xfs': ('320M', ['mkfs.xfs', '-q'], 512),
    'btrfs': ('160M', ['mkfs.btrfs', '-q'], 4096),
}


def blank(fs, path):
    """An empty file system of this kind."""
    size, command, _ = FILE_SYSTEMS[fs]
    subprocess.run(['truncate', '-s', size, path], check=True)
    subprocess.run(command + [path], check=True, stdout=subprocess.DEVNULL)


def events(path):
    """(kind, disk, offset, data) in their order."""
    with open(path, 'rb') as f:
        while True:
            head = f.read(RECORD.size)
            if len(head) < RECORD.size:
                return
            kind, disk, _, length, offset = RECORD.unpack(head)
            yield chr(kind), disk, offset, f.read(length) if length else b''


def survivors(writes, choice, sector):
    """What of these unflushed writes is on the disk: (offset, data)."""
    how = choice.choice(['none', 'all', 'half', 'few', 'most', 'first',
                         'sectors'])
    part = {'none': 0, 'all': 1, 'half': .5, 'few': .1, 'most': .9}.get(how)
    if how == 'first':
        yield from writes[:choice.randint(0, len(writes))]
    elif how == 'sectors':
        for offset, data in writes:
            for i in range(0, len(data), sector):
                if choice.random() < .5:
                    yield offset + i, data[i:i + sector]
    else:
        yield from (w for w in writes if choice.random() < part)


class Images:
    """Walks the log once and stops at the cuts, in their order."""

    def __init__(self, top, fs, count, choice):
        self.top, self.choice = top, choice
        self.sector = FILE_SYSTEMS[fs][2]
        log = top + '/log'
        kinds = [e[0] for e in events(log)]
        begin = next((i for i, k in enumerate(kinds) if k == 'M'), 0)
        self.cuts = sorted(choice.sample(
            range(begin, len(kinds)), min(count, len(kinds) - begin)))

    def __len__(self):
        return len(self.cuts)

    def __iter__(self):
        """(number, folder with the disks and the marks)"""
        bases = sorted(f for f in os.listdir(self.top)
                       if f.startswith('base'))
        durable = [open(self.top + '/' + b, 'r+b') for b in bases]
        pending = [[] for _ in bases]
        marks, cuts = [], list(self.cuts)
        for n, (kind, disk, offset, data) in enumerate(
                events(self.top + '/log')):
            while cuts and cuts[0] == n:
                yield n, self.make(cuts.pop(0), bases, pending, marks)
            if kind == 'M':
                marks.append(data)
            elif kind == 'W':
                pending[disk].append((offset, data))
            else:
                self.put(durable[disk], pending[disk])
                pending[disk] = []

    @staticmethod
    def put(f, writes):
        for offset, data in writes:
            f.seek(offset)
            f.write(data)
        f.flush()

    def make(self, n, bases, pending, marks):
        folder = '%s/image%d' % (self.top, n)
        os.mkdir(folder)
        for disk, base in enumerate(bases):
            path = '%s/disk%d' % (folder, disk)
            subprocess.run(['cp', '--sparse=always', self.top + '/' + base,
                            path], check=True)
            with open(path, 'r+b') as f:
                self.put(f, survivors(pending[disk], self.choice,
                                      self.sector))
        with open(folder + '/marks', 'wb') as f:
            f.write(b''.join(marks))
        return folder


def run(script, *args):
    """In a mount namespace of its own."""
    return subprocess.run(
        ['unshare', '-m', sys.executable, script.__file__, *map(str, args)],
        capture_output=True, text=True)


def record(house, top, fs, disks, seconds):
    for i in range(disks):
        blank(fs, '%s/base%d' % (top, i))
        subprocess.run(['cp', '--sparse=always', '%s/base%d' % (top, i),
                        '%s/live%d' % (top, i)], check=True)
    out = run(power_record, house, top, disks, seconds)
    return out.returncode == 0, out.stdout + out.stderr


def judge(house, folder, top, disks):
    """The findings of one image, (kind, text); and its folder is gone."""
    out = run(power_check, house, top, folder, disks)
    lines = out.stdout.splitlines()
    if out.returncode != 0 or not lines:
        text = (out.stdout + out.stderr)[-2000:]
        return [('no answer', text)], {}
    told = json.loads(lines[-1])
    if not told['wrong'] or not os.environ.get('KEEP'):
        shutil.rmtree(folder)
    return told['wrong'], told['counts']


class Sums:
    """Over the images of one recording."""

    def __init__(self):
        self.wrong, self.images, self.counts = [], 0, Counter()
        self.hit, self.kinds = Counter(), Counter()  # images, findings

    def add(self, n, wrong, counts):
        self.images += 1
        self.counts.update(counts)
        self.wrong += ['cut at %d: %s: %s' % (n, *row) for row in wrong]
        kinds = [kind for kind, _ in wrong]
        self.kinds.update(kinds)
        self.hit.update(set(kinds))

    def examples(self):
        for kind in sorted(self.kinds):
            rows = [line for line in self.wrong if ': %s: ' % kind in line]
            for line in rows[:3]:
                print('# ' + line.replace('\n', ' ')[-300:])

    def __str__(self):
        found = ', '.join('%s %d in %d' % (kind, n, self.hit[kind])
                          for kind, n in sorted(self.kinds.items()))
        return '%d images, %s; %s' % (self.images, ', '.join(
            '%s %d' % row for row in sorted(self.counts.items())),
            found or 'nothing')


def judge_all(house, top, fs, disks, sweep):
    """As many images lie on the disk as are looked at, and one more."""
    images = Images(top, fs, sweep.count, random.Random(sweep.seed))
    # btrfs takes two with one UUID for one, so one after the other
    beside = 1 if fs == 'btrfs' else os.cpu_count()
    sums, jobs = Sums(), []
    with ThreadPoolExecutor(beside) as pool:
        for n, folder in sweep.each(images):
            jobs.append((n, pool.submit(judge, house, folder, top, disks)))
            if len(jobs) > beside:
                n, job = jobs.pop(0)
                sums.add(n, *job.result())
        for n, job in jobs:
            sums.add(n, *job.result())
    return sums


def kind(house, fs, disks, sweep):
    name = '%s, %s, %d disk%s' % (house, fs, disks, 's' * (disks > 1))
    top = tempfile.mkdtemp(prefix='surat.power.')
    try:
        good, why = record(house, top, fs, disks, sweep.args.seconds)
        if not ok(good, name + ': recorded', why):
            return
        sums = judge_all(house, top, fs, disks, sweep)
        print('# %s: %s' % (name, sums))
        ok(sums.counts['acknowledged'] > 0, name + ': mail flowed', sums)
        if house == 'surat':
            same(sums.wrong, [],
                 name + ': what was acknowledged is there, once')
        else:
            same(sums.kinds['no answer'], 0, name + ': all were looked at')
            sums.examples()
    finally:
        if not os.environ.get('KEEP'):
            shutil.rmtree(top, ignore_errors=True)


def able():
    """Why not, or None."""
    if os.getuid() != 0:
        return 'not root'
    for path in (BUILD + '/t/recorder', '/dev/fuse', '/dev/loop-control'):
        if not os.path.exists(path):
            return 'no ' + path
    out = subprocess.run(['unshare', '-m', 'true'], capture_output=True,
                         text=True)
    return None if out.returncode == 0 else out.stderr.strip()


def main():
    sweep = Sweep(__doc__, 17 if SLOW == 1 else 6,
                  ('--fs', {'default': 'ext4,xfs,btrfs'}),
                  ('--disks', {'default': '1,2'}),
                  ('--house', {'default': 'surat'}),
                  ('--seconds', {'type': float, 'default': 4}))
    why = able()
    if why:
        skip('power cuts', why)
        done()
    choices = [c.split(',') for c in (sweep.args.house, sweep.args.fs,
                                      sweep.args.disks)]
    for house, fs, disks in itertools.product(*choices):
        why = power_rivals.missing(house) or (
            None if shutil.which(FILE_SYSTEMS[fs][1][0])
            else 'no ' + FILE_SYSTEMS[fs][1][0])
        if why:
            skip('%s, %s' % (house, fs), why)
        else:
            kind(house, fs, int(disks), sweep)
    done()


if __name__ == '__main__':
    main()
