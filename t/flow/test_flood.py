#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Many strangers at once, each from a block of its own: first they say one
octet now and then, to smtpd, imapd and pop3d, then they come and go as fast as
they can.  Who brings mail or reads it meanwhile is served, against a flood
soon, against a drip when those before it in the line have had their seconds;
afterwards everything is as before.

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

SETS = ['limit.exempt=', 'smtp.greet_wait=0', 'smtp.idle_processes=2']
TEXTS = {'smtp': b'EHLO a.very.long.name.of.a.client.that.has.time.test\r\n',
         'imap': b'a1 LOGIN somebody.who.is.thinking.of.her.password x\r\n',
         'pop3': b'USER somebody.who.is.thinking.of.her.password\r\n'}
STRESS = 20 * SLOW  # seconds in which all who drip have been sent away


def address(n):
    return '127.%d.%d.9' % (1 + n // 250 % 250, n % 250)


class Strangers(threading.Thread):
    """Until told to stop; those who are sent away come again."""

    def __init__(self, h, service, count, patient):
        super().__init__(daemon=True)
        self.port, self.count, self.patient = h.port(service), count, patient
        self.text = TEXTS[service] * 100
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
            self.held[n].send(self.text[self.said[n]:self.said[n] + 1])
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


SOURCE = '127.255.1.1'


def bring(h, n, bound):
    with smtplib.SMTP(timeout=2 * bound, source_address=(SOURCE, 0)) as s:
        code, text = s.connect('127.0.0.1', h.port('smtp'))
        if code != 220:
            raise smtplib.SMTPResponseException(code, text)
        s.sendmail('a@remote.test', ['alice@example.test'],
                   message('honest-%d' % n))


def read(h, service, bound):
    """A login and its end."""
    words = {'imap': (b'* OK', b'a LOGIN alice secret\r\n', b'a OK'),
             'pop3': (b'+OK', b'USER alice\r\nPASS secret\r\n', b'+OK')}
    greeting, login, done = words[service]
    with socket.create_connection(('127.0.0.1', h.port(service)), 2 * bound,
                                  (SOURCE, 0)) as s:
        f = s.makefile('rb')
        for octets, want in ((b'', greeting), (login, done)):
            s.sendall(octets)
            line = f.readline()
            if not line.startswith(want):
                later = b'UNAVAILABLE' in line or b'SYS/TEMP' in line
                raise smtplib.SMTPResponseException(
                    421 if later else 500, line)


def honest(h, service, n, bound):
    """(seconds, 'yes', 'later' or what went wrong)."""
    start, what = time.time(), 'yes'
    try:
        if service == 'smtp':
            bring(h, n, bound)
        else:
            read(h, service, bound)
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


def under(h, service, count, patient, what, bound):
    """At least eight seconds of it, and until somebody honest was served."""
    what = '%s, %s' % (service, what)
    strangers = Strangers(h, service, count, patient)
    strangers.start()
    until(lambda: strangers.came >= count, 20)
    told, most, start = [], 0, time.time()
    answers = []
    while time.time() - start < 8 or (
            'yes' not in answers and time.time() - start < bound):
        told.append(honest(h, service, len(told), bound))
        answers.append(told[-1][1])
        most = max(most, memory(h))
        time.sleep(0.1)
    first = time.time() - start
    strangers.stop.set()
    strangers.join()
    times = sorted(t for t, _ in told)
    print('# %s: %d strangers came %d times in %.0f s; of %d honest clients '
          '%d were served, %d put off; median %.2f s, longest %.2f s; most '
          'memory %d KiB' % (
              what, count, strangers.came, first, len(told),
              answers.count('yes'), answers.count('later'),
              times[len(times) // 2], times[-1], most))
    same([a for a in answers if a not in ('yes', 'later')], [],
         what + ': who is honest is answered')
    ok('yes' in answers, what + ': and served', answers)
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
    limits = ['%s.max_processes=%d' % (s, workers) for s in TEXTS]
    with House(without=('deliver-remote',), sets=SETS + limits) as h:
        for service in TEXTS:
            honest(h, service, -1, STRESS)
        before = memory(h), descriptors(h)
        drip = STRESS * (1 + sweep.count / workers)
        taken = 1 + under(h, 'smtp', sweep.count, True, 'a slow drip', drip)
        for service in ('imap', 'pop3'):
            under(h, service, sweep.count, True, 'a slow drip', drip)
        taken += under(h, 'smtp', sweep.count, False, 'a flood', 10 * SLOW)
        for service in TEXTS:
            seconds, answer = honest(h, service, -2, STRESS)
            ok(answer == 'yes' and seconds < 3 * SLOW, service +
               ': when they are gone, who comes is served', (seconds, answer))
        same(len(h.wait_mail('alice', taken + 1, 30)), taken + 1,
             'and all that was taken is there')
        until(lambda: all(len(h.pids(p)) <= 4 for p in
                          ('smtpd', 'imapd', 'pop3d')), 90)
        until(lambda: descriptors(h) < 2 * before[1], 90)
        after = memory(h), descriptors(h)
        print('# memory %d KiB before, %d after; descriptors %d, %d' % (
            before[0], after[0], before[1], after[1]))
        ok(after[0] < 2 * before[0], 'memory is given back', (before, after))
        ok(after[1] < 2 * before[1], 'and descriptors', (before, after))
        same(h.grep('AddressSanitizer|runtime error|dumped'), [],
             'no program has suffered')
    done()


main()
