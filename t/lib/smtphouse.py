# SPDX-License-Identifier: ISC
"""Sessions of SMTP whose smtpd is killed, or whose calls fail, while it takes
a message (faults.py), with a real queue and a real agent behind it, and what
is in the mailboxes afterwards.

    with SmtpHouse() as h:
        h.point(h.WAYS[0], (17,))
        h.ledger.bad                what was wrong, a list

auth, tls and resolve are those of peers.py: alice, bob and carol exist.
"""
import base64
import os
import socket
import subprocess
import threading

from faults import MUTATING, SYNCS, WRITES
from house import BUILD, SLOW
from peers import Peers
from queuehouse import Ledger, QueueHouse

CHUNK = 60000


class Askings(Peers):
    """The queue is a real one."""
    asked_for = ('auth', 'tls', 'resolve')


class Ended(Exception):
    """The connection has."""


class Refused(Exception):
    pass


class Session:
    """One smtpd and its client."""

    def __init__(self, house, service):
        self.sock, theirs = socket.socketpair()
        self.sock.settimeout(30 * SLOW)
        self.file = self.sock.makefile('rb')
        self.over = False  # the end of the message went out
        self.process = subprocess.Popen(
            [BUILD + '/bin/smtpd', '-i', '--service', service, '--config',
             house.conf, '--set', 'tls.certificate=/c', '--set',
             'tls.key=/k'], stdin=theirs, stdout=theirs,
            stderr=house.log_pipe,
            env=dict(os.environ, **house.environment('smtpd')))
        theirs.close()

    def reply(self, want):
        """Of several lines the last."""
        while True:
            try:
                line = self.file.readline()
            except ConnectionResetError:
                line = b''
            if not line.endswith(b'\r\n'):
                raise Ended
            if line[3:4] != b'-':
                break
        if line[:1] != want:
            raise Refused(line.decode())

    def say(self, octets, want=b'2'):
        try:
            self.sock.sendall(octets)
        except OSError:
            raise Ended
        self.reply(want)

    def end(self, octets):
        """The end of the message is among them."""
        self.over = True
        self.say(octets)

    def close(self):
        """True when smtpd ended by itself."""
        self.file.close()
        self.sock.close()
        try:
            self.process.wait(30 * SLOW)
            return True
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return False


def envelope(c, sender, rcpts):
    c.say(b'MAIL FROM:<%s>\r\n' % sender.encode())
    for r in rcpts:
        c.say(b'RCPT TO:<%s>\r\n' % r.encode())


def data(c, sender, rcpts, text):
    c.say(b'EHLO client.test\r\n')
    envelope(c, sender, rcpts)
    c.say(b'DATA\r\n', b'3')
    c.end(text + b'.\r\n')


def bdat(c, sender, rcpts, text):
    c.say(b'EHLO client.test\r\n')
    envelope(c, sender, rcpts)
    while len(text) > CHUNK:
        c.say(b'BDAT %d\r\n' % CHUNK + text[:CHUNK])
        text = text[CHUNK:]
    c.end(b'BDAT %d LAST\r\n' % len(text) + text)


def again(c, sender, rcpts, text):
    """Behind one that came to nothing, and left its body file."""
    c.say(b'EHLO client.test\r\n')
    envelope(c, sender, rcpts)
    half = b'Subject: half\r\n\r\n' + b'x' * 2 * CHUNK
    try:
        c.say(b'BDAT %d\r\n' % len(half) + half)
    except Refused:
        pass
    c.say(b'RSET\r\n')
    data(c, sender, rcpts, text)


def submission(c, sender, rcpts, text):
    c.say(b'EHLO client.test\r\n')
    c.say(b'STARTTLS\r\n')
    c.say(b'EHLO client.test\r\n')
    c.say(b'AUTH PLAIN ' + base64.b64encode(b'\0carol\0secret') + b'\r\n')
    envelope(c, 'carol@example.test', rcpts)
    c.say(b'DATA\r\n', b'3')
    c.end(b'From: carol@example.test\r\n' + text + b'.\r\n')


class Way:
    """How a message comes, and what it is."""

    def __init__(self, name, play, size, rcpts=('alice', 'bob')):
        self.__name__, self.play = name, play
        self.size, self.rcpts = size, list(rcpts)

    def __call__(self):
        return dict(rcpts=self.rcpts, size=self.size, body=self)


WAYS = [Way('data', data, 300), Way('large', data, 150000),
        Way('inline', data, 40000, ['alice']), Way('bdat', bdat, 150000),
        Way('again', again, 150000), Way('submission', submission, 300),
        Way('submitted', submission, 150000)]


class SmtpHouse(QueueHouse):
    def __init__(self):
        super().__init__(faults=False)
        # a pipe, for errors of a disk are not to be met by the log
        out, self.log_pipe = os.pipe()
        threading.Thread(target=self.keep_log, args=(out,),
                         daemon=True).start()
        self.peers = Askings(self.dir)
        os.symlink(self.dir + '/run/ask.smtpd', self.dir + '/run/smtpd/queue')
        self.ledger = Ledger(self)
        self.fault = None

    def keep_log(self, out):
        while octets := os.read(out, 65536):
            os.write(self.log_fd, octets)

    def close(self):
        os.close(self.log_pipe)
        self.peers.close()
        super().close()

    def submit(self, sender, rcpts, content, token, body=None):
        """As the queue's (which is asked by whom, here): by a session of
        SMTP, the way `body` says."""
        c = Session(self, 'submission' if body.play == submission
                    else 'smtp')
        try:
            c.reply(b'2')
            if self.fault:
                self.arm('smtpd', *self.fault)
            body.play(c, sender, rcpts, content)
            answer = 'yes', ''
        except Refused as e:
            answer = 'no', str(e)
            if str(e)[0] != '4':
                self.ledger.bad.append((token, self.fault, str(e)))
        except Ended:
            answer = ('unknown' if c.over else 'no'), 'closed'
        except TimeoutError:
            answer = 'unknown', 'silent'
            self.ledger.bad.append((token, self.fault, 'smtpd says nothing'))
        if not c.close():
            self.ledger.bad.append((token, self.fault, 'smtpd does not end'))
        return answer

    def send(self, way):
        ident = self.ledger.name(way)
        return ident, self.ledger.send(ident, **way())

    def settled(self, *idents):
        rows = self.settle()
        if rows:
            self.ledger.bad.append((idents, 'stuck', rows))
        self.ledger.look()
        for ident in idents:
            self.ledger.judge(ident)

    def calm(self):
        self.disarm('smtpd')
        self.fault = None

    def calls(self, way, classes=MUTATING, error=0):
        """How many of them smtpd makes that could meet this error."""
        self.fault = 1 << 30, classes, error
        ident, answer = self.send(way)
        count = self.field('smtpd', 'counted')
        self.calm()
        if answer != 'yes':
            self.ledger.bad.append((ident, 'undisturbed, but', answer))
        self.settled(ident)
        return count

    def point(self, way, fault):
        """fault: what arm() wants, once the client was greeted.  True when it
        struck."""
        self.fault = fault
        ident, answer = self.send(way)
        struck = self.happened('smtpd')
        self.calm()
        at, classes, error, sticky = (fault + (MUTATING, 0, 0))[:4]
        told = classes & ~(WRITES | SYNCS) == 0 and error > 0 and \
            (sticky or way.play != again)
        if struck and told and answer == 'yes':
            self.ledger.bad.append((ident, fault, 'taken all the same'))
        after, answer = self.send(WAYS[0])
        if answer != 'yes':
            self.ledger.bad.append((ident, fault, 'nothing afterwards'))
        self.settled(ident, after)
        return struck
