# SPDX-License-Identifier: ISC
"""What all benches share: command line, a place to measure on, CPU time of a
server with all its processes, flushes of the disk, medians, lines of output.

Rules for a figure that may be quoted: both servers in one run, on one file
system, alternately; the median of several repetitions with its extremes; CPU
over every process of the server; nothing about absolute numbers, the ratio is
what holds on another day.
"""
import argparse
import atexit
import fcntl
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.dirname(os.path.abspath(__file__)))))
BUILD = os.path.abspath(os.environ.get('BUILD', os.path.join(TOP, 'build')))
os.environ['BUILD'] = BUILD
sys.path.insert(0, os.path.join(TOP, 't', 'lib'))
DISK_MIB = 3000


def options(what, repeat=5, seconds=4.0, more=()):
    p = argparse.ArgumentParser(
        description=what, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--quick', action='store_true',
                   help='fewer cases, shorter, two repetitions')
    p.add_argument('--json', action='store_true',
                   help='one JSON object per figure instead of a line')
    p.add_argument('--repeat', type=int, default=repeat)
    p.add_argument('--seconds', type=float, default=seconds,
                   help='length of one run (default %(default)s)')
    p.add_argument('--only', default='', metavar='TEXT',
                   help='cases whose name has this in it')
    p.add_argument('--no-peer', action='store_true', help='surat alone')
    p.add_argument('--dir', help='measure here instead of on a disk image')
    for name, how in more:
        p.add_argument(name, **how)
    a = p.parse_args()
    # the servers are ended at exit, also when we are told to go
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if a.quick:
        a.repeat, a.seconds = min(a.repeat, 2), min(a.seconds, 1.5)
    return a


def load(port, messages, sessions=1, many=True, octets=4096, more=()):
    """Sends mail and returns what the sender says of it, as numbers."""
    command = [tool('load'), '-s', str(sessions), '-m', str(messages),
               '-l', str(octets), '-t', '300'] + ['-d'] * many
    done = subprocess.run(command + list(more) + ['127.0.0.1', str(port)],
                          capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit('port %d: %s' % (port, done.stderr))
    return {k: float(v) for k, v in
            (f.split('=') for f in done.stdout.split())}


def note(text):
    print('# ' + text, flush=True)


def tool(name):
    path = os.path.join(BUILD, 't', 'bench', name)
    if not os.path.exists(path):
        sys.exit('%s is not built; run make bench' % path)
    return path


# ------------------------------------------------------------- where it runs

class Place:
    """A directory on an ext4 of its own with a journal, on a disk image (as
    root), else on whatever file system the given or a temporary directory has.
    Everything in it goes at the end."""

    def __init__(self, directory=None, mib=DISK_MIB):
        self.device, self.mib = None, mib
        self.path = tempfile.mkdtemp(prefix='surat-bench.', dir=directory)
        os.chmod(self.path, 0o755)
        atexit.register(self.remove)
        why = 'as asked' if directory else self._mount()
        kind, device = self._find()
        if self.device is None:
            self.device = device
            note('on %s, %s (%s): syncs cost what they cost there, which is '
                 'not what they cost a mail server' % (device, kind, why))
        else:
            note('on ext4 with a journal, loop device over a written image')

    def _mount(self):
        """Why there is no disk image, or '' with self.device set."""
        if os.getuid() != 0:
            return 'no root for a disk image'
        folder = os.path.join(BUILD, 'bench')
        os.makedirs(folder, exist_ok=True)
        image = os.path.join(folder, 'disk.img')
        there = os.path.exists(image) and \
            os.path.getsize(image) >= self.mib << 20
        if shutil.disk_usage(folder).free < (self.mib + 500) << 20 and \
                not there:
            return 'no space for a disk image'
        self.lock = open(image + '.lock', 'w')
        fcntl.flock(self.lock, fcntl.LOCK_EX)  # one bench at a time
        try:
            if not there:
                # written in full: no allocation below us while we measure
                subprocess.run(['dd', 'if=/dev/zero', 'of=' + image, 'bs=1M',
                                'count=%d' % self.mib, 'conv=fsync',
                                'status=none'], check=True)
            subprocess.run(['mkfs.ext4', '-q', '-F', image], check=True)
            subprocess.run(['mount', '-o', 'loop', image, self.path],
                           check=True, stderr=subprocess.DEVNULL)
        except (OSError, subprocess.CalledProcessError) as e:
            return 'cannot mount a disk image: %s' % e
        os.chmod(self.path, 0o755)
        self.device = self._find()[1]
        return ''

    def _find(self):
        out = subprocess.run(['findmnt', '-no', 'FSTYPE,SOURCE', '-T',
                              self.path], capture_output=True, text=True)
        kind, device = out.stdout.split()[:2]
        return kind, device.split('/')[-1]

    def flushes(self):
        """Flush requests the device has finished, or None."""
        try:
            with open('/sys/block/%s/stat' % self.device) as f:
                return int(f.read().split()[15])
        except (OSError, IndexError):
            return None

    def fresh(self, name):
        """An empty directory; an earlier one of that name goes."""
        path = os.path.join(self.path, name)
        shutil.rmtree(path, ignore_errors=True)
        os.mkdir(path, 0o755)
        return path

    def remove(self):
        # a server that was just ended may take a moment to let go
        for _ in range(50):
            if not os.path.ismount(self.path) or subprocess.run(
                    ['umount', self.path],
                    stderr=subprocess.DEVNULL).returncode == 0:
                break
            time.sleep(0.2)
        shutil.rmtree(self.path, ignore_errors=True)


# ---------------------------------------------------------------- accounting

def tree(pid):
    """This process and all below it."""
    kids = {}
    for d in os.listdir('/proc'):
        if d.isdigit():
            try:
                with open('/proc/%s/stat' % d) as f:
                    parent = int(f.read().rsplit(')', 1)[1].split()[1])
                kids.setdefault(parent, []).append(int(d))
            except OSError:
                pass
    seen, todo = [], [pid]
    while todo:
        p = todo.pop()
        seen.append(p)
        todo += kids.get(p, [])
    return seen


class Account:
    """The CPU time of a server: of its control group where one can be made,
    else of its process tree with the children that were waited for."""

    def __init__(self, name):
        self.group = self.pid = None
        for top in ('/sys/fs/cgroup/cpuacct', '/sys/fs/cgroup'):
            if os.path.exists(top + '/cgroup.procs'):
                group = '%s/surat-bench-%s-%d' % (top, name, os.getpid())
                try:
                    os.mkdir(group)
                    self.group = group
                    atexit.register(self._remove)
                except OSError:
                    pass
                break

    def take(self, pid):
        """The server's first process; all below it belong to it."""
        self.pid = pid
        for p in tree(pid) if self.group else ():
            try:
                with open(self.group + '/cgroup.procs', 'w') as f:
                    f.write(str(p))
            except OSError:
                pass

    def _remove(self):
        try:
            os.rmdir(self.group)
        except OSError:
            pass

    def cpu(self):
        """Seconds so far."""
        if self.group and os.path.exists(self.group + '/cpuacct.usage'):
            with open(self.group + '/cpuacct.usage') as f:
                return int(f.read()) / 1e9
        if self.group:
            with open(self.group + '/cpu.stat') as f:
                return int(f.readline().split()[1]) / 1e6
        ticks = 0
        for p in tree(self.pid):
            try:
                with open('/proc/%d/stat' % p) as f:
                    ticks += sum(map(int, f.read().rsplit(')', 1)[1]
                                     .split()[11:15]))
            except OSError:
                pass
        return ticks / os.sysconf('SC_CLK_TCK')

    def pss(self):
        """Proportional resident memory, KiB."""
        total = 0
        for p in tree(self.pid):
            try:
                with open('/proc/%d/smaps_rollup' % p) as f:
                    total += sum(int(l.split()[1]) for l in f
                                 if l.startswith('Pss:'))
            except OSError:
                pass
        return total


class Syncs:
    """Sync calls of some processes and their children, by perf's tracepoints;
    empty where perf is missing or may not."""
    CALLS = ('fsync', 'fdatasync', 'syncfs')

    def __init__(self, pids):
        self.counts = {}
        self.perf = None
        if not shutil.which('perf'):
            return
        events = ','.join('syscalls:sys_enter_' + c for c in self.CALLS)
        self.perf = subprocess.Popen(
            ['perf', 'stat', '-x', ';', '-e', events, '-p',
             ','.join(map(str, pids))],
            stderr=subprocess.PIPE, text=True)
        time.sleep(0.5)

    def end(self):
        if self.perf is None:
            return {}
        self.perf.send_signal(2)
        for line in self.perf.communicate()[1].splitlines():
            field = line.split(';')
            if len(field) > 2 and field[0].isdigit():
                call = field[2].rsplit('_', 1)[-1]
                self.counts[call] = int(field[0])
        return self.counts


# -------------------------------------------------------------------- output

def summary(values):
    v = sorted(values)
    return {'median': statistics.median(v), 'min': v[0], 'max': v[-1]}


def each(seconds, cpu):
    """What a step took: seconds, or (seconds of one, how many)."""
    if isinstance(seconds, tuple):
        return seconds[0], cpu / seconds[1]
    return seconds, cpu


def ratio(ours, theirs):
    return ours / theirs if theirs else float('nan')


def show(s, digits=0):
    return '%.*f (%.*f-%.*f)' % (digits, s['median'], digits, s['min'],
                                 digits, s['max'])


def emit(args, line, **figures):
    if args.json:
        print(json.dumps(figures), flush=True)
    else:
        print(line, flush=True)
