#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The log goes to syslog, as it does unless something else is said: every
program of a suite that runs as root reaches it, from root directories of their
own too, under its name and with the facility of mail; one event a line, and
one id of a message leads through all of them."""
import os
import re
import socket
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
from house import done, message, ok, same, until
from load import login
from root import RootHouse, need_root
from units import enter

MAIL, PRIORITIES = 2, range(8)
LINE = re.compile(r'<(\d+)>(\w{3} [ \d]\d [\d:]{8}) ([a-z-]+)\[(\d+)\]: (.*)',
                  re.S)


class Syslog:
    """A /dev/log in a /dev of our own."""

    def __init__(self):
        subprocess.run(['sh', '-c', '''set -e
            d=$(mktemp -d -p /tmp); mount -t tmpfs -o mode=755 dev "$d"
            for n in null zero full random urandom tty; do
                touch "$d/$n"; mount --bind /dev/$n "$d/$n"; done
            ln -s /proc/self/fd "$d/fd"
            mkdir "$d/shm"; mount --bind /dev/shm "$d/shm"
            mount --rbind "$d" /dev; umount -Rl "$d"; rmdir "$d"'''],
                       check=True)
        self.lines = []
        self.open()

    def open(self):
        self.s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.s.bind('/dev/log')
        os.chmod('/dev/log', 0o666)
        threading.Thread(target=self.read, args=(self.s,),
                         daemon=True).start()

    def read(self, s):
        while True:
            try:
                self.lines.append(s.recv(8192).decode())
            except OSError:
                return

    def again(self):
        """As when syslogd is started anew."""
        self.s.shutdown(socket.SHUT_RDWR)
        self.s.close()
        os.unlink('/dev/log')
        self.open()

    def of(self, word):
        return [l for l in list(self.lines) if word in l]


def use_syslog(h):
    with open(h.path('surat.conf')) as f:
        text = f.read()
    with open(h.path('surat.conf'), 'w') as f:
        f.write(text.replace('target = stderr', ''))


need_root('the log in syslog')
enter()
log = Syslog()
h = RootHouse()
use_syslog(h)
with h:
    h.send(['alice@example.test', 'carol@example.test'], message('logged'))
    h.wait_mail('carol', 1, 20)
    login(h, 'alice').logout()
    ok(until(lambda: log.of(' login user=alice')), 'a login is logged')
    found = [LINE.fullmatch(l) for l in log.lines]
    same([l for l, m in zip(log.lines, found) if not m or '\n' in l], [],
         'each event is a line, with program and process')
    same({int(m[1]) >> 3 for m in found}, {MAIL}, 'of the facility of mail')
    names = {m[3] for m in found}
    for name in ('suratd', 'smtpd', 'queue', 'deliver-local', 'auth', 'imapd'):
        ok(name in names, name + ' has said something', names)
    message_id, = re.findall(r': (\w+) queued ', '\n'.join(log.lines))
    session, = re.findall(r' queued session=(\w+) ', '\n'.join(log.lines))
    same({m[3] for m in found if session in m[5]}, {'smtpd', 'queue'},
         'the id of a session leads from its client to its messages')
    same({m[3] for m in found if message_id in m[5]},
         {'queue', 'deliver-local'},
         'and that of a message to the mailboxes')
    same(h.log, [], 'and nothing is said on standard error')
    log.again()
    h.send(['alice@example.test'], message('again'))
    h.wait_mail('alice', 2, 20)
    ok(until(lambda: {'queue', 'deliver-local'} <= {
        m[3] for m in map(LINE.fullmatch, log.lines[len(found):]) if m}),
       'a syslogd that was started anew is found', log.lines[len(found):])
done()
