#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Commands in random order against a small model of the session: SMTP,
submission and LMTP, pipelined in pieces.

    t/box/test_smtp_model.py [SEQUENCES [SEED]]

Every reply code must be what the model says; what the model does not know
(texts, addresses in messages) other tests look at.
"""
import os
import random
import shutil
import socket
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'lib'))
import peers  # noqa: E402
import wire  # noqa: E402

BUILD = os.path.abspath(os.environ.get('BUILD', 'build'))
SLOW = 5 if 'san' in BUILD else 1
PLAIN = 'AGFsaWNlAHNlY3JldA=='  # alice, secret
WRONG = 'AGFsaWNlAHdyb25n'
FRESH, READY, MAIL, RCPT, CHUNKS = 'fresh', 'ready', 'mail', 'rcpt', 'chunks'


class Model:
    """A session as the RFCs have it.  Each command returns the codes of its
    replies; self.closed says that the connection ends behind them."""

    def __init__(self, service):
        self.service, self.lmtp = service, service == 'lmtp'
        self.submission = service == 'submission'
        self.tls = self.user = self.closed = False
        self.idle = 0
        self.begin()

    def begin(self):
        self.state, self.esmtp = FRESH, False
        self.reset()

    def reset(self):
        self.rcpts, self.count, self.sender = set(), 0, None
        self.binary, self.bad = False, None

    # ----------------------------------------------- what holds for all
    def idles(self, codes):
        self.idle += 1
        if self.idle > 100 and not self.closed:
            self.closed = True
            return codes + [421]
        return codes

    def order(self, states):
        return self.state in states

    # ------------------------------------------------------- the commands
    def hello(self, verb, good):
        if (verb == 'LHLO') != self.lmtp:
            return [500]
        if not good:
            return self.idles([501])
        self.reset()
        self.state, self.esmtp = READY, verb != 'HELO'
        return self.idles([250])

    def mail(self, sender, code, params):
        """code: what is wrong with the command itself, or 0."""
        if not self.order([READY]):
            return [503]
        self.reset()
        if params and not self.esmtp and code != 501:
            return [501]
        if code:
            return [code]
        if params == 'REQUIRETLS' and not self.tls:
            return [530]
        if self.submission and not self.user:
            return [530]
        if self.user and sender not in ('', 'alice@example.test'):
            return [553]
        self.state, self.sender, self.idle = MAIL, sender, 0
        self.binary = params == 'BODY=BINARYMIME'
        return [250]

    def rcpt(self, to, code):
        if not self.order([MAIL, RCPT]):
            return [503]
        if not code and to.endswith('@far.test') and not self.user:
            code = 550
        if code:
            return [code]
        if self.lmtp or to not in self.rcpts:
            self.count += 1
        self.rcpts.add(to)
        self.state = RCPT
        return [250]

    def content(self, good):
        code = 250
        if self.sender and self.sender.startswith('full@'):
            code = 452
        if self.sender and self.sender.startswith('refused@'):
            code = 552
        if not good and not self.binary:
            code = 550
        n = self.count if self.lmtp else 1
        self.state = READY
        self.reset()
        return [code] * n

    def data(self, good):
        """None for the codes of the content: it must not be sent."""
        if not self.order([RCPT]):
            return [503], None
        if self.binary:
            self.state = READY
            self.reset()
            return [503], None
        return [354], self.content(good)

    def bdat(self, last, good):
        if not self.order([RCPT, CHUNKS]):
            return [503]
        self.bad = self.bad or not good
        if not last:
            self.state = CHUNKS
            return [250]
        return self.content(not self.bad)

    def rset(self):
        self.reset()
        if self.state != FRESH:
            self.state = READY
        return self.idles([250])

    def auth(self, mechanism, code):
        if not self.order([READY]):
            return self.idles([503])
        if self.user or not self.esmtp or not self.submission:
            return self.idles([503])
        if not self.tls:
            return self.idles([538])
        self.user = code == 235
        return self.idles([code])

    def starttls(self):
        if not self.order([FRESH, READY]) or self.tls:
            return self.idles([503])
        codes = self.idles([220])
        if not self.closed:
            self.tls = True
            self.begin()
        return codes

    def etrn(self):
        if self.lmtp:
            return [500]
        return self.idles([459 if self.order([READY]) else 503])

    def xclient(self):
        return self.idles([550 if self.order([FRESH, READY]) else 503])

    def quit(self):
        self.closed = True
        return [221]


SENDERS = [('a@remote.test', 0), ('', 0), ('alice@example.test', 0),
           ('full@remote.test', 0), ('refused@remote.test', 0),
           ('a b@remote.test', 501), ('@remote.test', 501)]
PARAMS = ['', '', '', 'SIZE=100', 'BODY=8BITMIME', 'BODY=BINARYMIME',
          'SMTPUTF8', 'RET=HDRS ENVID=x', 'REQUIRETLS']
BAD_PARAMS = [('NOSUCH=1', 555), ('SIZE=x', 501), ('SIZE=999999999999', 552),
              ('BODY=9', 501), ('ENVID=+', 501)]
RCPTS = [('alice@example.test', 0), ('bob@example.test', 0),
         ('postmaster', 0), ('nobody@example.test', 550),
         ('x@far.test', 0), ('later@example.test', 451), ('', 501),
         ('a b@example.test', 501)]


class Talk:
    """Makes a sequence of commands and what must be answered to it."""

    def __init__(self, model, rnd):
        self.m, self.rnd = model, rnd
        self.out, self.want, self.said = [], [], []

    def add(self, line, codes, octets=b''):
        self.said.append(line)
        self.out.append(line.encode() + b'\r\n' + octets)
        self.want += codes

    def one(self):
        """One command; False when nothing may follow in this sequence."""
        kind = self.rnd.choices(
            ['hello', 'mail', 'rcpt', 'data', 'bdat', 'rset', 'plain',
             'auth', 'starttls', 'odd', 'quit'],
            [8, 20, 30, 14, 16, 4, 6, 4, 1, 3, 0.3])[0]
        return getattr(self, kind)() is not False and not self.m.closed

    def hello(self):
        # mostly the right one, or nothing would ever happen
        right = 'LHLO' if self.m.lmtp else 'EHLO'
        verb = self.rnd.choice([right] * 4 + ['HELO', 'EHLO', 'LHLO'])
        good = self.rnd.random() < 0.95
        self.add(verb + (' x.test' if good else ''),
                 self.m.hello(verb, good))

    def mail(self):
        sender, code = self.rnd.choice(SENDERS)
        params = self.rnd.choice(PARAMS)
        if self.m.user and self.rnd.random() < 0.7:
            sender, code = 'alice@example.test', 0
        if self.rnd.random() < 0.05:
            params, wrong = self.rnd.choice(BAD_PARAMS)
            code = code or wrong
            if not self.m.esmtp:
                code = 501
        self.add(('MAIL FROM:<%s> %s' % (sender, params)).rstrip(),
                 self.m.mail(sender, code, params))

    def rcpt(self):
        to, code = self.rnd.choice(RCPTS)
        self.add('RCPT TO:<%s>' % to, self.m.rcpt(to, code))

    def data(self):
        good = self.rnd.random() < 0.85
        codes, after = self.m.data(good)
        text = b''
        if after is not None:
            text = b'S: x\r\n\r\n' + self.rnd.choice(
                [b'', b'..\r\n', b'RSET\r\n', b'x' * 3000 + b'\r\n',
                 b'QUIT\r\n..\r\n']) + (b'' if good else self.rnd.choice(
                     [b'a\nb\r\n', b'\r.\r\r\n', b'\n.\n\r\n'])) + b'.\r\n'
            codes += after
        self.add('DATA', codes, text)

    def bdat(self):
        last = self.rnd.random() < 0.4
        good = self.rnd.random() < 0.85
        text = self.rnd.choice([b'', b'S: x\r\n', b'\r\n.\r\n', b'RSET\r\n',
                                b'y' * 2000 + b'\r\n'])
        if not good:
            text += self.rnd.choice([b'a\nb\r\n', b'\rx\r\n'])
        self.add('BDAT %d%s' % (len(text), ' LAST' if last else ''),
                 self.m.bdat(last, good), text)

    def rset(self):
        self.add('RSET', self.m.rset())

    def plain(self):
        line, code = self.rnd.choice(
            [('NOOP', 250), ('NOOP x', 250), ('VRFY a', 252), ('VRFY', 501),
             ('HELP', 214)])
        self.add(line, self.m.idles([code]))

    def auth(self):
        line, code = self.rnd.choice(
            [('AUTH PLAIN ' + PLAIN, 235), ('AUTH PLAIN ' + WRONG, 535),
             ('AUTH', 501), ('AUTH CRAM-MD5', 504),
             ('AUTH PLAIN !', 501)])
        self.add(line, self.m.auth(line, code))

    def starttls(self):
        self.add('STARTTLS', self.m.starttls())
        return False  # nothing may be sent behind it

    def odd(self):
        line, codes = self.rnd.choice(
            [('XYZZY', None), ('ETRN x.test', self.m.etrn),
             ('XCLIENT ADDR=192.0.2.1', self.m.xclient)])
        self.add(line, [500] if codes is None else codes())

    def quit(self):
        self.add('QUIT', self.m.quit())


class Session:
    def __init__(self, path, service):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.settimeout(60 * SLOW)
        self.s.connect(path + service)
        self.f = self.s.makefile('rb')
        self.model, self.sequences = Model(service), 0
        self.history = []
        assert self.reply() == 220

    def reply(self):
        while True:
            line = self.f.readline()
            if not line:
                return 0
            if line[3:4] == b' ':
                return int(line[:3])

    def play(self, rnd):
        """None, or what was wrong."""
        talk = Talk(self.model, rnd)
        for _ in range(rnd.randrange(1, 14)):
            if not talk.one():
                break
        octets = b''.join(talk.out)
        before = self.history
        self.history = (before + talk.said)[-60:]
        at = 0
        if rnd.random() < 0.2:
            at = rnd.randrange(len(octets) + 1)
        try:
            self.s.sendall(octets[:at])
            if at < len(octets):
                self.s.sendall(octets[at:])
        except OSError as e:
            return '%s: said %r\nbefore %r' % (e, talk.said, before)
        got = [self.reply() for _ in talk.want]
        if self.model.closed:
            talk.want.append(0)
            got.append(self.reply())
        self.sequences += 1
        if got != talk.want:
            return 'said %r\nwant %r\ngot  %r\nbefore %r' % (
                talk.said, talk.want, got, before)
        return None

    def close(self):
        self.f.close()
        self.s.close()


def listen(path):
    s = socket.socket(socket.AF_UNIX)
    s.bind(path)
    s.listen(50)
    return s


CONF = '''general { hostname = mx.example.test
    domains = {example.test}
    runtime = "%s/run" }
log { target = stderr level = error }
tls { certificate = "/c" key = "/k" }
auth { max_failures = 100 }
smtp { max_errors = 1000 }
'''


class Server(threading.Thread):
    """smtpd retires after a hundred clients, or after a login: as master
    would, we start the next."""

    def __init__(self, top):
        super().__init__(daemon=True)
        self.conf = CONF % top
        self.sockets = [(name, listen(top + '/' + name))
                        for name in ('smtp', 'submission', 'lmtp')]
        self.over = False
        self.bad = 0
        self.start()

    def run(self):
        while not self.over:
            self.program = wire.Program(BUILD + '/bin/smtpd', self.conf,
                                        self.sockets)
            if self.program.p.wait() != 0 and not self.over:
                self.bad += 1
            self.program.conf.close()

    def stop(self):
        self.over = True
        self.program.p.kill()
        self.join(10)


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 4000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else int(time.time())
    if not os.path.exists(BUILD + '/bin/smtpd'):
        print('ok 1 - random sessions # SKIP not built')
        return
    rnd = random.Random(seed)
    top = tempfile.mkdtemp(prefix='model.')
    fake = peers.Peers(top, keep=False)
    fake.remember = False
    server = Server(top)
    done, wrong, session = 0, None, None
    while done < count and not wrong:
        service = rnd.choice(['smtp', 'smtp', 'submission', 'lmtp'])
        session = Session(top + '/', service)
        while session.sequences < 40 and done < count and not wrong and \
                not session.model.closed:
            wrong = session.play(rnd)
            done += 1
        session.close()
    server.stop()
    if server.bad:
        wrong = 'smtpd died'
    shutil.rmtree(top, ignore_errors=True)
    print('%s 1 - %d random sessions, seed %d' % (
        'not ok' if wrong else 'ok', done, seed))
    if wrong:
        print('# %s: ' % session.model.service + wrong.replace('\n', '\n# '))
    print('1..1')
    sys.exit(1 if wrong else 0)


main()
