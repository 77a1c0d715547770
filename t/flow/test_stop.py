#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Edge cases 63, 64 and 77, rule S17: a suite that is stopped, reloaded, or out of
descriptors while clients are there."""
import os
import re
import signal
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
import mx
from house import SLOW, House, done, message, ok, same, until

MTA = ('imapd', 'pop3d', 'deliver-remote')


class Wire:
    def __init__(self, h):
        self.s = socket.create_connection(('127.0.0.1', h.port('smtp')))
        self.s.settimeout(60 * SLOW)
        self.f = self.s.makefile('rb')

    def reply(self):
        while True:
            line = self.f.readline().decode()
            if line[3:4] != '-':
                return line.rstrip()

    def say(self, text):
        self.s.sendall(text.encode() + b'\r\n')
        return self.reply()

    def begin(self):
        self.reply()
        for line in ('EHLO x.test', 'MAIL FROM:<a@remote.test>',
                     'RCPT TO:<alice@example.test>'):
            assert self.say(line).startswith('250'), line


def row63_stop():
    h = House(without=MTA)
    h.own = False
    try:
        h.start()
        idle, busy, half = Wire(h), Wire(h), Wire(h)
        idle.reply()
        idle.say('EHLO x.test')
        busy.begin()
        busy.say('DATA')
        half.begin()
        h.process.send_signal(signal.SIGTERM)
        ok(idle.reply().startswith('421 4.3.2'),
           'row 63: an idle client hears 421 4.3.2')
        same(idle.reply(), '', 'row 63: and is gone')
        busy.s.sendall(b'Subject: last minute\r\n\r\nx\r\n.\r\n')
        ok(busy.reply().startswith('250'),
           'row 63: a message that is coming in is taken')
        ok(busy.reply().startswith('421'), 'row 63: then it is over')
        ok(half.reply().startswith('421'),
           'row 63: who named a recipient hears 421')
        start = time.time()
        same(h.process.wait(40 * SLOW), 0, 'row 63: it ends cleanly')
        ok(time.time() - start < 30 * SLOW, 'row 63: within half a minute')
        h.process = None
        h.start()
        h.wait_mail('alice', 1)
        same(len(h.mails('alice')), 1, 'row 63: and arrives')
    finally:
        h.own = True
        h.__exit__()


# A client's whole life; each pair is what it says, and whether a reply comes.
LIFE = [(b'EHLO x.test\r\n', True), (b'MAIL FROM:<a@remote.test>\r\n', True),
        (b'RCPT TO:<alice@example.test>\r\n', True), (b'DATA\r\n', True),
        (b'Subject: at-%03d\r\n\r\nfirst half\r\n', False),
        (b'second half\r\n.\r\n', False)]
CHUNKS = LIFE[:3] + [(b'BDAT 19\r\nSubject: at-%03d\r\n\r\n', True),
                     (b'BDAT 100\r\nhalf of it', False)]
SECURE = LIFE[:1] + [(b'STARTTLS\r\n', True),
                     (b'\x16\x03\x01\x02\x00\x01\x00', False)]


def at_every_step(h):
    """A client at each step of each life; the last word is not waited for."""
    clients = []
    for life in (LIFE, CHUNKS, SECURE):
        for steps in range(len(life) + 1):
            w = Wire(h)
            w.reply()
            for octets, answered in life[:steps]:
                w.s.sendall(octets % len(clients) if b'%' in octets
                            else octets)
                if answered and w.reply()[:1] not in ('2', '3'):
                    ok(False, 'S17: %r is answered' % octets)
            clients.append(w)
    return clients


def s17_any_step():
    """SIGTERM finds clients at every step: nothing is torn, nobody crashes."""
    h = House(without=MTA)
    h.own = False
    try:
        h.start()
        clients = at_every_step(h)
        h.process.send_signal(signal.SIGTERM)
        taken = []
        for i, w in enumerate(clients):
            try:
                w.s.shutdown(socket.SHUT_WR)
                said = w.f.read()
            except OSError:
                said = b''
            taken += [i] * (b'250 2.0.0 Queued' in said)
        same(h.process.wait(60 * SLOW), 0, 'S17: it ends cleanly')
        same(h.grep(r'AddressSanitizer|runtime error| died '), [],
             'S17: and nobody crashed')
        h.process = None
        h.start()
        h.wait_mail('alice', len(taken), 20)
        got = [int(m[1]) for f in h.mails('alice') for m in
               [re.search(rb'Subject: at-(\d+)', open(f, 'rb').read())]]
        ok(set(taken) <= set(got) and set(got) <= {len(LIFE)} and
           len(got) == len(set(got)),
           'S17: what was taken is there, and nothing else', (taken, got))
    finally:
        h.own = True
        h.__exit__()


def row64_reload():
    with House(without=MTA, sets=['smtp.max_recipients=100']) as h:
        old = Wire(h)
        old.begin()
        conf = open(h.dir + '/surat.conf').read()
        with open(h.dir + '/surat.conf', 'w') as f:
            f.write(conf.replace('max_recipients = 100',
                                 'max_recipients = 200'))
        same(h.surat('reload').returncode, 0, 'row 64: reload')

        def limit():
            new = Wire(h)
            new.reply()
            new.s.sendall(b'EHLO x.test\r\n')
            lines = [new.f.readline().decode() for _ in range(12)]
            return [l for l in lines if 'RCPTMAX=200' in l]
        ok(until(limit), 'row 64: new sessions have the new configuration')
        ok(old.say('DATA').startswith('354'), 'row 64: an old one goes on')
        old.s.sendall(b'Subject: x\r\n\r\nx\r\n.\r\n')
        ok(old.reply().startswith('250'), 'row 64: and is served')
        h.wait_mail('alice', 1)
        same(len(h.mails('alice')), 1, 'row 64: to the end')


def cpu(pid):
    try:
        t = open('/proc/%d/stat' % pid).read().rsplit(')', 1)[1].split()
        return int(t[11]) + int(t[12])
    except OSError:
        return 0


def row77_descriptors():
    """Few descriptors, many clients: for master, auth and the queue."""
    h = House(without=MTA, sets=['smtp.max_processes=200',
                                 'smtp.idle_processes=20'])
    command = h.command()
    h.command = lambda: ['prlimit', '--nofile=80:80'] + command
    h.start()
    try:
        clients = []
        for _ in range(90):
            try:
                clients.append(Wire(h))
                clients[-1].s.sendall(b'EHLO x.test\r\n')
            except OSError:
                break
        time.sleep(1)
        before = {pid: cpu(pid) for pid in h.children()}
        time.sleep(3)
        used = {n: cpu(p) - before.get(p, 0)
                for p, n in h.children().items() if n != 'smtpd'}
        ok(max(used.values()) < 100 * SLOW,
           'row 77: out of descriptors nobody spins', used)
        for w in clients:
            w.f.close()
            w.s.close()

        def sends():
            try:
                return h.send(['alice@example.test'], message('after')) == {}
            except OSError:
                return False
        ok(until(sends, 60), 'row 77: afterwards mail is taken')
        h.wait_mail('alice', 1)
        ok(len(h.mails('alice')) >= 1, 'row 77: and delivered')
    finally:
        h.__exit__()


# Where a server falls silent, and whether the message is given back by then.
STALLS = {'greet': True, 'ehlo': True, 'mail': True, 'rcpt': True,
          'data': True, 'dot': False}


def remote_house():
    """Mail for others goes to a server of ours."""
    server = mx.Server('127.0.0.1', 0, caps=('8BITMIME',))
    h = House(without=('imapd', 'pop3d'), sets=[
        'remote.smarthost=127.0.0.1:%d' % server.listener.getsockname()[1],
        'remote.allow_loopback=yes'])
    h.own = False
    return h, server


def stalls(stage):
    """A stop while a server is silent there."""
    h, server = remote_house()
    released = threading.Event()
    reached = threading.Event()

    def silent(session, line):
        reached.set()
        released.wait(60 * SLOW)
        return None
    server.set(**{stage: silent})
    try:
        h.start()
        h.send(['x@far.test'], message('stalls'), sender='alice@example.test', service='submission',
               user='alice')
        ok(reached.wait(30 * SLOW), stage + ': a server falls silent')
        start = time.time()
        h.process.send_signal(signal.SIGTERM)
        if not STALLS[stage]:
            time.sleep(3)
            same(h.process.poll(), None,
                 stage + ': who may have it is waited for')
            released.set()
        same(h.process.wait(40 * SLOW), 0, stage + ': it ends cleanly')
        took = time.time() - start
        ok(took < (4 if STALLS[stage] else 7) * SLOW,
           stage + ': and soon', took)
        same(h.grep('agent-lost| died '), [], stage + ': nobody is lost')
        released.set()
        server.forget()
        h.process = None
        h.start()
        got = until(lambda: server.messages, 10 if STALLS[stage] else 2)
        same(len(got or []), int(STALLS[stage]),
             stage + ': what was not handed over is sent again, no other')
    finally:
        released.set()
        h.own = True
        h.__exit__()
        server.stop()


def main():
    for stage in STALLS:
        stalls(stage)
    row63_stop()
    s17_any_step()
    row64_reload()
    row77_descriptors()
    done()


main()
