#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Power cuts.  A house works on disks that remember (recorder.c); then what a
cut at any moment could have left is made of the log, mounted, started, and
compared with what had been acknowledged by then.

    test_power.py [IMAGES] [--fs ext4,xfs,btrfs] [--disks 1,2] [--seconds N]

IMAGES of each kind: 17 by default, 6 of a sanitizer build; thousands by hand.
With two disks the queue is on one file system and the mail on another.  The
machine is started anew for each image as far as a time namespace goes: its
boot time is another.  SEED repeats the choices, not the timing.

A cut: everything up to a disk's last flush is there, and of what was written
after it any subset, each write by itself, or all of its sectors by themselves.
"""
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', '..', 'lib'))
sys.path.insert(0, HERE)
from house import BUILD, SLOW, done, ok, same, skip
from sweep import Sweep
import power_check
import power_record

RECORD = struct.Struct('=BBHIQ')
SECTOR = 512
FILE_SYSTEMS = {  # small, with room for what flows in the time
    'ext4': ('160M', ['mkfs.ext4', '-q']),
    'xfs': ('320M', ['mkfs.xfs', '-q']),
    'btrfs': ('160M', ['mkfs.btrfs', '-q']),
}


def blank(fs, path):
    """An empty file system of this kind."""
    size, command = FILE_SYSTEMS[fs]
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


def survivors(writes, choice):
    """What of these unflushed writes is on the disk: (offset, data)."""
    how = choice.choice(['none', 'all', 'half', 'few', 'most', 'first',
                         'sectors'])
    part = {'none': 0, 'all': 1, 'half': .5, 'few': .1, 'most': .9}.get(how)
    if how == 'first':
        yield from writes[:choice.randint(0, len(writes))]
    elif how == 'sectors':
        for offset, data in writes:
            for i in range(0, len(data), SECTOR):
                if choice.random() < .5:
                    yield offset + i, data[i:i + SECTOR]
    else:
        yield from (w for w in writes if choice.random() < part)


class Images:
    """Walks the log once and stops at the cuts, in their order."""

    def __init__(self, top, count, choice):
        self.top, self.choice = top, choice
        log = top + '/log'
        kinds = [e[0] for e in events(log)]
        begin = next((i for i, k in enumerate(kinds) if k == 'M'), 0)
        self.cuts = sorted(choice.sample(
            range(begin, len(kinds)), min(count, len(kinds) - begin)))
        self.total = len(kinds)

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
                self.put(f, survivors(pending[disk], self.choice))
        with open(folder + '/marks', 'wb') as f:
            f.write(b''.join(marks))
        return folder


def record(top, fs, disks, seconds):
    for i in range(disks):
        blank(fs, '%s/base%d' % (top, i))
        subprocess.run(['cp', '--sparse=always', '%s/base%d' % (top, i),
                        '%s/live%d' % (top, i)], check=True)
    out = subprocess.run(
        ['unshare', '-m', sys.executable, power_record.__file__, top,
         str(disks), str(seconds)], capture_output=True, text=True)
    return out.returncode == 0, out.stdout + out.stderr


def judge(folder, top, disks):
    """The findings of one image, each a line; and its folder is gone."""
    out = subprocess.run(
        ['unshare', '-m', sys.executable, power_check.__file__, top, folder,
         str(disks)], capture_output=True, text=True)
    lines = out.stdout.splitlines()
    if out.returncode != 0 or not lines:
        return [(out.stdout + out.stderr)[-2000:] or 'no answer'], {}
    told = json.loads(lines[-1])
    if not told['wrong'] or not os.environ.get('KEEP'):
        shutil.rmtree(folder)
    return told['wrong'], told['counts']


def kind(fs, disks, sweep):
    name = '%s, %d disk%s' % (fs, disks, 's' if disks > 1 else '')
    top = tempfile.mkdtemp(prefix='surat.power.')
    try:
        good, why = record(top, fs, disks, sweep.args.seconds)
        if not ok(good, name + ': recorded', why):
            return
        images = Images(top, sweep.count, random.Random(sweep.seed))
        wrong, sums = [], {}
        # btrfs takes two with one UUID for one, so one after the other
        beside = 1 if fs == 'btrfs' else os.cpu_count()
        with ThreadPoolExecutor(beside) as pool:
            jobs = [(n, pool.submit(judge, folder, top, disks))
                    for n, folder in images]
            for n, job in sweep.each(jobs):
                lines, counts = job.result()
                wrong += ['cut at %d: %s' % (n, line) for line in lines]
                for key, value in counts.items():
                    sums[key] = sums.get(key, 0) + value
        print('# %s: %d images of %d events; %s' % (
            name, len(jobs), images.total, sums))
        ok(sums.get('acknowledged', 0) > 0, name + ': mail flowed', sums)
        same(wrong, [], name + ': what was acknowledged is there, once')
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
                  ('--seconds', {'type': float, 'default': 4}))
    why = able()
    if why:
        skip('power cuts', why)
        done()
    for fs in sweep.args.fs.split(','):
        if not shutil.which(FILE_SYSTEMS[fs][1][0]):
            skip(fs, 'no ' + FILE_SYSTEMS[fs][1][0])
            continue
        for disks in map(int, sweep.args.disks.split(',')):
            kind(fs, disks, sweep)
    done()


if __name__ == '__main__':
    main()
