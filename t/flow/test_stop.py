#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Edge cases 63, 64 and 77: a suite that is stopped, reloaded, or out of
descriptors while clients are there."""
import os
import signal
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
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
    h.command = lambda: ['prlimit', '--nofile=72:72'] + command
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


def main():
    row63_stop()
    row64_reload()
    row77_descriptors()
    done()


main()
