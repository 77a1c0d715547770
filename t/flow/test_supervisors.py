#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""suratd under runit and under s6, by the samples in etc/: up, reloaded with
a session open, killed and started again, down."""
import os
import re
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
from house import done, message, ok, same, skip, until
from installed import InstalledHouse
from root import ENTER, need_root


class Supervised(InstalledHouse):
    """Its service directory is h.path('sv/surat'), made of the samples."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind
        os.mkdir(self.path('sv'))
        shutil.copytree(self.path('root/usr/share/doc/surat/examples/') +
                        kind, self.path('sv/surat'))
        self.replace('run', 'exec suratd', 'exec suratd --config ' +
                     self.path('surat.conf'))
        self.env['PATH'] = self.path('root/usr/sbin') + ':' + \
            os.environ['PATH']

    def replace(self, name, old, new):
        """Where files lie is another place here than on a machine."""
        path = self.path('sv/surat/') + name
        text = open(path).read()
        with open(path, 'w') as f:
            f.write(text.replace(old, new))

    def start(self, seconds=20):
        command = {'runit': ['runsvdir', '-P', self.path('sv')],
                   's6': ['s6-svscan', self.path('sv')]}[self.kind]
        self.out = open(self.path('out'), 'wb')
        self.process = subprocess.Popen(
            ['unshare', '-m', 'sh', '-c', ENTER, self.dir] + command,
            env=self.env, stdout=self.out, stderr=self.out,
            stdin=subprocess.DEVNULL)
        return self

    def stop(self):
        self.out.close()
        self.process.send_signal(signal.SIGHUP if self.kind == 'runit' else
                                 signal.SIGTERM)
        self.process.wait(60)
        self.process = None

    def tell(self, *words):
        return subprocess.run([*words, self.path('sv/surat')], timeout=60,
                              capture_output=True, text=True)

    def suratd(self):
        """Its process id."""
        found = [p for p, n in self.children().items() if n == 'suratd']
        return found[0] if found else 0


def answers(h):
    try:
        with h.smtp() as s:
            return s.noop()[0] == 250
    except OSError:
        return False


def life(h, reload, down, log):
    """From the start to the end."""
    ok(until(lambda: answers(h), 30), h.kind + ': up')
    h.send(['alice@example.test'], message('one'))
    same(len(h.wait_mail('alice', 1, 20)), 1, h.kind + ': mail arrives')
    with h.smtp() as s:
        same(h.tell(*reload).returncode, 0, ' '.join(reload))
        ok(until(lambda: ' reloaded ' in log(), 20), h.kind + ': reloads')
        s.sendmail('s@remote.test', ['alice@example.test'], message('two'))
    same(len(h.wait_mail('alice', 2, 20)), 2, h.kind + ': and drops nobody')
    first = h.suratd()
    os.kill(first, signal.SIGKILL)
    ok(until(lambda: h.suratd() not in (0, first) and answers(h), 40),
       h.kind + ': killed, it is started again')
    h.send(['alice@example.test'], message('three'))
    same(len(h.wait_mail('alice', 3, 20)), 3, h.kind + ': and takes mail')
    same(h.tell(*down).returncode, 0, ' '.join(down))
    ok(until(lambda: h.suratd() == 0, 30), h.kind + ': down')
    ok(not answers(h), h.kind + ': nobody listens')


def by_runit():
    with Supervised('runit') as h:
        h.replace('log/run', '/var/log/surat', h.path('logs'))

        def log():
            try:
                return open(h.path('logs/current')).read()
            except OSError:
                return ''
        life(h, ['sv', 'hup'], ['sv', '-w', '30', 'down'], log)
        ok(re.search(r'(?m)^\d{4}-\d\d-\d\d_\S+ .* queued ', log()),
           'svlogd has the log', log()[-500:])


def by_s6():
    with Supervised('s6') as h:
        up = until(lambda: os.path.exists(h.path('sv/surat/event')), 20) and \
            h.tell('s6-svwait', '-U', '-t', '30000')
        ok(up and up.returncode == 0 and answers(h),
           's6 is told when every port is answered', up)
        life(h, ['s6-svc', '-h'], ['s6-svc', '-wD', '-T', '30000', '-d'],
             lambda: open(h.path('out')).read())


need_root('suratd under supervisors')
for kind, program, run in (('runit', 'runsvdir', by_runit),
                           ('s6', 's6-svscan', by_s6)):
    if shutil.which(program):
        run()
    else:
        skip(kind, 'not installed')
done()
