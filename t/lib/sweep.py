# SPDX-License-Identifier: ISC
"""How many points of a sweep a test of t/crash takes, which, and how far it
is.  By hand:

    test_kill_queue.py 10000            or --count 10000, or all
    SEED=17 test_kill_queue.py 500      the choices of another run

    sweep = Sweep(__doc__, 300)
    for point in sweep.each(sweep.choose(points)):
        ...

Who says how many is told every few seconds how far it is, on stderr.
"""
import argparse
import os
import random
import sys
import time

EVERY = 5  # seconds between two lines of progress


def count_of(text):
    return 0 if text == 'all' else int(text)


class Sweep:
    def __init__(self, doc, count, *options):
        """count: by default; options: (name, keywords) more of them, whose
        values are in self.args."""
        p = argparse.ArgumentParser(
            description=doc, formatter_class=argparse.RawTextHelpFormatter)
        p.add_argument('points', nargs='?', type=count_of, default=count)
        p.add_argument('--count', type=count_of, help='the same')
        for name, keywords in options:
            p.add_argument(name, **keywords)
        self.args = p.parse_args()
        counts = self.args.count, self.args.points
        self.count = next(c for c in counts if c is not None)  # 0: all
        self.told = len(sys.argv) > 1
        self.start = self.said = time.time()
        self.seed = int(os.environ.get('SEED', time.time()))
        self.random = random.Random(self.seed)
        print('# seed %d' % self.seed, flush=True)

    def choose(self, whole):
        if self.count == 0:
            return whole
        return [self.random.choice(whole) for _ in range(self.count)]

    def spread(self, groups):
        """As choose, but each group is as likely as any other."""
        if self.count == 0:
            return [point for g in groups for point in g]
        groups = [g for g in groups if g]
        return [self.random.choice(self.random.choice(groups))
                for _ in range(self.count)]

    def progress(self, done, of):
        now = time.time()
        if self.told and (now - self.said > EVERY or done == of):
            self.said = now
            print('# %d of %d, %.1f/s' % (done, of, done / max(
                now - self.start, 1e-3)), file=sys.stderr, flush=True)

    def each(self, work):
        self.start = time.time()
        for n, point in enumerate(work, 1):
            yield point
            self.progress(n, len(work))
