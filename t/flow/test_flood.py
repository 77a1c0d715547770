#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Many strangers at once, each from a block of its own: first they say one
octet now and then, then they come and go as fast as they can.  Who brings mail
meanwhile is served, against a flood soon, against a drip when those before it
in the line have had their ten seconds; afterwards everything is as before.

    test_flood.py [CLIENTS] [--processes N]     60 and 30; 5000 by hand
"""
import os
import resource
import smtplib
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
from house import SLOW, House, done, message, ok, same, until
from sweep import Sweep

MTA = ('imapd', 'pop3d', 'deliver-remote')
SETS = ['limit.exempt=', 'smtp.greet_wait=0', 'smtp.idle_processes=2']
TEXT = b'EHLO a.very.long.name.of.a.client.that.has.time.test\r\n' * 100
STRESS = 20 * SLOW  # seconds in which all who drip have been sent away


def address(n):
    return '127.%d.%d.9' % (1 + n // 250 % 250, n % 250)


class Strangers(threading.Thread):
    """Until told to stop; those who are sent away come again."""

    def __init__(self, port, count, patient):
        super().__init__(daemon=True)
        self.port, self.count, self.patient = port, count, patient
        self.held, self.said = {}, {}
        self.came = self.gone = 0
        self.stop = threading.Event()

    def come(self, n):
        s = socket.socket()
        s.setblocking(False)
        try:
            s.bind((address(n), 0))
            s.connect(('127.0.0.1', self.port))
        except BlockingIOError:
            pass
        except OSError:
            s.close()
            return
        self.came += 1
        self.held[n], self.said[n] = s, 0

    def leave(self, n):
        self.held.pop(n).close()
        self.gone += 1

    def drip(self, n):
        try:
            self.held[n].send(TEXT[self.said[n]:self.said[n] + 1])
            self.said[n] += 1
            if self.held[n].recv(4096) == b'':
                self.leave(n)
        except BlockingIOError:
            pass
        except OSError:
            self.leave(n)

    def run(self):
        while not self.stop.is_set():
            for n in range(self.count):
                if n not in self.held:
                    self.come(n)
                elif self.patient:
                    self.drip(n)
                else:
                    self.leave(n)
            time.sleep(1 if self.patient else 0.01)
        for n in list(self.held):
            self.leave(n)


def bring(h, n, bound):
    """(seconds, 'yes', 'later' or what went wrong) of one honest message."""
    start, what = time.time(), 'yes'
    try:
        with smtplib.SMTP(timeout=2 * bound,
                          source_address=('127.255.1.1', 0)) as s:
            code, _ = s.connect('127.0.0.1', h.port('smtp'))
            if code == 421:
                return time.time() - start, 'later'
            s.sendmail('a@remote.test', ['alice@example.test'],
                       message('honest-%d' % n))
    except smtplib.SMTPResponseException as e:
        what = 'later' if 400 <= e.smtp_code < 500 else repr(e)
    except (smtplib.SMTPServerDisconnected, OSError) as e:
        what = repr(e)
    return time.time() - start, what


def memory(h):
    """KiB of all its programs."""
    total = 0
    for pid in list(h.children()) + [h.process.pid]:
        try:
            for line in open('/proc/%d/smaps_rollup' % pid):
                if line.startswith('Pss:'):
                    total += int(line.split()[1])
        except OSError:
            pass
    return total


def under(h, count, patient, what, bound):
    strangers = Strangers(h.port('smtp'), count, patient)
    strangers.start()
    until(lambda: strangers.came >= count, 20)
    told, most, start = [], 0, time.time()
    while time.time() - start < 8:
        told.append(bring(h, len(told), bound))
        most = max(most, memory(h))
        time.sleep(0.1)
    strangers.stop.set()
    strangers.join()
    times = sorted(t for t, _ in told)
    answers = [a for _, a in told]
    print('# %s: %d strangers came %d times; of %d honest messages %d were '
          'taken, %d put off; median %.2f s, longest %.2f s; most memory %d '
          'KiB' % (what, count, strangers.came, len(told),
                   answers.count('yes'), answers.count('later'),
                   times[len(times) // 2], times[-1], most))
    same([a for a in answers if a not in ('yes', 'later')], [],
         what + ': who brings mail is answered')
    ok(answers.count('yes') > len(answers) / 2, what + ': mostly by taking it',
       answers)
    ok(times[-1] < bound, what + ': and soon', times)
    return answers.count('yes')


def descriptors(h):
    """Of all its programs."""
    return sum(len(os.listdir('/proc/%d/fd' % pid)) for pid in h.children())


def main():
    sweep = Sweep(__doc__, 60,
                  ('--processes', {'type': int, 'default': 30}))
    workers = sweep.args.processes
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with House(without=MTA, sets=SETS + [
            'smtp.max_processes=%d' % workers]) as h:
        bring(h, -1, STRESS)
        before = memory(h), descriptors(h)
        taken = 1 + under(h, sweep.count, True, 'a slow drip',
                          STRESS * (1 + sweep.count / workers))
        taken += under(h, sweep.count, False, 'a flood', 10 * SLOW)
        seconds, answer = bring(h, -2, STRESS)
        ok(answer == 'yes' and seconds < 2 * SLOW,
           'when they are gone, mail is taken at once', (seconds, answer))
        same(len(h.wait_mail('alice', taken + 1, 30)), taken + 1,
             'and all that was taken is there')
        until(lambda: len(h.pids('smtpd')) <= 3, 90)
        after = memory(h), descriptors(h)
        print('# memory %d KiB before, %d after; descriptors %d, %d' % (
            before[0], after[0], before[1], after[1]))
        ok(after[0] < 2 * before[0], 'memory is given back', (before, after))
        ok(after[1] < 2 * before[1], 'and descriptors', (before, after))
        same(h.grep('AddressSanitizer|runtime error|dumped'), [],
             'no program has suffered')
    done()


main()
