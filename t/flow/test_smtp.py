#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""SMTP on the wire of a whole house: every way to end a message but the right
one, pieces of every size, BDAT, binary content, PROXY, XCLIENT, LMTP on a Unix
socket, connections that break off, garbage."""
import base64
import email
import itertools
import os
import random
import socket
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
from house import SLOW, House, after_trace, done, message, ok, same, until
from smuggle import END, SPELLINGS

MTA = ('imapd', 'pop3d', 'deliver-remote')


class Wire:
    def __init__(self, where, first=b''):
        if isinstance(where, str):
            self.s = socket.socket(socket.AF_UNIX)
            self.s.connect(where)
        else:
            self.s = socket.create_connection(('127.0.0.1', where))
            self.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.s.settimeout(60 * SLOW)
        self.s.sendall(first)
        self.f = self.s.makefile('rb')

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.f.close()
        self.s.close()

    def reply(self):
        """(code, text) of the next reply; (0, '') at the end."""
        while True:
            try:
                line = self.f.readline().decode('latin-1')
            except ConnectionResetError:
                line = ''
            if not line:
                return 0, ''
            if line[3] == ' ':
                return int(line[:3]), line[4:].rstrip()

    def say(self, line):
        self.s.sendall(line.encode() + b'\r\n')
        return self.reply()[0]

    def begin(self, to='alice@example.test', params='', hello='EHLO'):
        assert self.reply()[0] == 220
        self.say(hello + ' wire.test')
        code = self.say('MAIL FROM:<sender@remote.test>' + params)
        assert code == 250, code
        assert self.say('RCPT TO:<%s>' % to) == 250


def count(h, user='alice'):
    return len(h.mails(user))


# ------------------------------------------------------------- smuggling

EVIL = b'MAIL FROM:<evil@x.test>\r\nRCPT TO:<alice@example.test>\r\n' \
    b'DATA\r\nSubject: smuggled\r\n\r\nsmuggled\r\n'
BEGIN = b'EHLO wire.test\r\nMAIL FROM:<sender@remote.test>\r\n' \
    b'RCPT TO:<alice@example.test>\r\n'


def by_bdat(text, dot):
    return b'BDAT %d LAST\r\n' % len(text) + text


def by_two(text, dot):
    """The dot begins the second chunk."""
    return b'BDAT %d\r\n' % dot + text[:dot] + \
        b'BDAT %d LAST\r\n' % (len(text) - dot) + text[dot:]


def by_data(text, dot):
    return b'DATA\r\n' + text + b'.\r\n'


# how, the replies it has before and up to the refusal
HOW = [('DATA', by_data, [354, 550]), ('BDAT', by_bdat, [550]),
       ('two chunks', by_two, [250, 550])]
WAYS = [('in one packet', lambda w, octets: w.s.sendall(octets)),
        ('octet by octet', lambda w, octets: [
            w.s.send(octets[i:i + 1]) for i in range(len(octets))])]


def smuggling(h):
    """Spellings of an end of data that are none: refused at the real end, and
    nothing within is a command, however it is sent."""
    before, wrong, tried = count(h), [], 0
    for before_dot, after_dot in SPELLINGS:
        text = b'Subject: x\r\n\r\nx' + before_dot + b'.' + after_dot + EVIL
        if END in text:
            continue
        tried += 1
        dot = len(b'Subject: x\r\n\r\nx' + before_dot)
        for (how, make, replies), (way, send) in itertools.product(HOW, WAYS):
            with Wire(h.port('smtp')) as w:
                send(w, BEGIN + make(text, dot) + b'NOOP\r\nQUIT\r\n')
                want = [220, 250, 250, 250] + replies + [250, 221, 0]
                got = [w.reply()[0] for _ in want]
                if got != want:
                    wrong.append((how, way, before_dot, after_dot, got))
    same(wrong[:5], [], 'rows 7, 8: %d spellings refused' % tried)
    ok(tried >= 60, 'and there are enough', tried)
    time.sleep(0.3)
    same(count(h), before, 'and nothing smuggled')


def pieces(h):
    """Edge case 45: a whole session cut at every place, and at random."""
    talk = (b'EHLO wire.test\r\nMAIL FROM:<a@remote.test>\r\n'
            b'RCPT TO:<alice@example.test>\r\nRCPT TO:<nobody@example.test>'
            b'\r\nDATA\r\nSubject: pieces\r\n\r\n..dot\r\n.\r\n'
            b'MAIL FROM:<a@remote.test>\r\nRCPT TO:<bob@example.test>\r\n'
            b'BDAT 12\r\nSubject: x\r\nBDAT 9 LAST\r\n\r\n.\r\nx\r\n.'
            b'\r\nRSET\r\nQUIT\r\n')
    want = None
    cuts = [[n] for n in range(0, len(talk), 7)]
    rnd = random.Random(1)
    cuts += [sorted(rnd.sample(range(len(talk)), rnd.randrange(2, 40)))
             for _ in range(15)] + [list(range(len(talk)))]
    odd, before = [], (count(h), count(h, 'bob'))
    for cut in cuts:
        with Wire(h.port('smtp')) as w:
            for a, b in zip([0] + cut, cut + [len(talk)]):
                if a < b:
                    w.s.sendall(talk[a:b])
                if len(cut) < 3:
                    time.sleep(0.02)
            codes = []
            while not codes or codes[-1]:
                codes.append(w.reply()[0])
        if want is None:
            want = [220, 250, 250, 250, 550, 354, 250, 250, 250, 250, 250,
                    500, 250, 221, 0]
        if codes != want:
            odd.append((cut, codes))
    same(odd[:3], [], 'row 45: a session in pieces, %d times' % len(cuts))
    until(lambda: (count(h) - before[0], count(h, 'bob') - before[1]) ==
          (len(cuts), len(cuts)), 30)
    same((count(h) - before[0], count(h, 'bob') - before[1]),
         (len(cuts), len(cuts)), 'and every message arrived')


# --------------------------------------------------------------- content

def newest(h, user):
    return max(h.mails(user), key=os.path.getmtime)


def binary(h):
    image = bytes(range(256)) * 300 + b'\r\n.\r\n\n\r'
    text = (b'From: a@remote.test\r\nSubject: binary\r\nMIME-Version: 1.0\r\n'
            b'Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n'
            b'Content-Type: text/plain\r\n\r\nhello\r\n--b\r\n'
            b'Content-Type: image/x-test\r\n'
            b'Content-Transfer-Encoding: binary\r\n\r\n' + image +
            b'\r\n--b--\r\n')
    before = count(h)
    with Wire(h.port('smtp')) as w:
        w.begin(params=' BODY=BINARYMIME')
        w.s.sendall(b'BDAT 1000\r\n' + text[:1000] + b'BDAT %d LAST\r\n' %
                    (len(text) - 1000) + text[1000:])
        same([w.reply()[0], w.reply()[0]], [250, 250], 'BINARYMIME is taken')
    h.wait_mail('alice', before + 1)
    kept = open(newest(h, 'alice'), 'rb').read()
    parts = email.message_from_bytes(kept).get_payload()
    same(parts[1].get_payload(decode=True), image,
         'BINARYMIME: the same octets, encoded where they rest')
    ok(b'\0' not in kept, 'and lines in the Maildir')


def literals(h):
    """Row 38: the address a client came to is ours, another is not."""
    before = count(h, 'bob')
    with h.smtp() as s:
        s.ehlo('x.test')
        s.mail('a@remote.test')
        same(s.rcpt('bob@[127.0.0.1]')[0], 250, 'row 38: our own address')
        same([s.rcpt('bob@' + d)[0] for d in ('[127.0.0.2]', '[IPv6:::1]')],
             [550, 550], 'row 38: not one the client did not come to')
        s.data(b'Subject: literal\r\n\r\nx\r\n')
    h.wait_mail('bob', before + 1)
    same(count(h, 'bob'), before + 1, 'row 38: and mail for it arrives')


def awkward(h):
    """Edge cases 8, 10, 12: what is kept as it is."""
    texts = [b'Subject: long\r\n\r\n' + b'x' * 100000 + b'\r\n',
             b'Subject: nul\r\n\r\na\0b\r\n\0\r\n',
             b'Subject: 8bit \xe4\r\n\r\n\xff\xfe\xc3\r\n',
             b'Subject: dots\r\n\r\n.\r\n..\r\n...x\r\n. \r\n',
             b'\r\nno header\r\n', b'\r\n', b'']
    before = set(h.mails('alice'))
    for text in texts:
        with h.smtp() as s:
            s.ehlo('x.test')
            s.mail('a@remote.test')
            s.rcpt('alice@example.test')
            code = s.docmd('DATA')[0]
            s.send(b''.join(b'.' + l if l.startswith(b'.') else l
                            for l in text.splitlines(True)) + b'.\r\n')
            code = s.getreply()[0]
            if code != 250:
                ok(False, 'awkward text', (text[:40], code))
    h.wait_mail('alice', len(before) + len(texts))
    got = {after_trace(open(f, 'rb').read())
           for f in set(h.mails('alice')) - before}
    want = {t.replace(b'\r\n', b'\n') for t in texts}
    same(sorted(t[:40] for t in want - got), [],
         'rows 8, 10, 12: long lines, NUL, 8-bit, dots: kept as they are')


def broken_off(h):
    """Edge case 6 and the like: half a message is none."""
    before = count(h)
    for sent in (b'DATA\r\nSubject: half\r\n\r\nhalf\r\n',
                 b'DATA\r\nSubject: half\r\n\r\nhalf\r\n.\r',
                 b'DATA\r\nS: x\r\n\r\n' + b'x' * 200000,
                 b'BDAT 100 LAST\r\nonly this',
                 b'BDAT 5\r\nabcd\n', b'BDAT 200000\r\n' + b'x' * 150000):
        for half in (True, False):
            with Wire(h.port('smtp')) as w:
                w.begin()
                w.s.sendall(sent)
                if half:
                    w.s.shutdown(socket.SHUT_WR)
                    while w.reply()[0]:
                        pass
    time.sleep(0.3)
    same(count(h), before, 'half a message is no message')
    ok(until(lambda: not os.listdir(h.dir + '/state/queue/bodies') or
             len(os.listdir(h.dir + '/state/queue/bodies')) < 5),
       'and its files do not gather')


def garbage(h):
    rnd = random.Random(7)
    words = [b'EHLO x', b'MAIL FROM:<a@b.test>', b'RCPT TO:<', b'DATA',
             b'BDAT 99', b'\r\n', b'\n', b'\0', b'\xff' * 50, b'LAST', b'.',
             b'STARTTLS', b'AUTH PLAIN', b'\r\n.\r\n', b' ' * 3000, b'<>']
    for _ in range(150):
        text = b''.join(rnd.choice(words) for _ in range(rnd.randrange(40)))
        text += bytes(rnd.randrange(256) for _ in range(rnd.randrange(200)))
        try:
            with Wire(h.port(rnd.choice(
                    ['smtp', 'submission', 'submissions', 'lmtp']))) as w:
                w.s.settimeout(5 * SLOW)
                w.s.sendall(text)
                w.s.shutdown(socket.SHUT_WR)
                while w.reply()[0]:
                    pass
        except (OSError, ValueError):
            pass
    same(h.send(['alice@example.test'], message('after garbage')), {},
         'row 75: garbage hurts nobody')
    same(h.grep(r'died|AddressSanitizer|runtime error'), [],
         'and nothing died')


# ----------------------------------------------------- who is the client

SIGNATURE = b'\r\n\r\n\0\r\nQUIT\n'


def proxy_header(source, port=4321, command=0x21):
    if ':' in source:
        body = socket.inet_pton(socket.AF_INET6, source) + \
            socket.inet_pton(socket.AF_INET6, '::1') + \
            struct.pack('>HH', port, 25)
        family = 0x21
    else:
        body = socket.inet_aton(source) + socket.inet_aton('127.0.0.1') + \
            struct.pack('>HH', port, 25)
        family = 0x11
    body += b'\x04\0\x03abc'  # a TLV nobody needs
    return SIGNATURE + bytes([command, family]) + \
        struct.pack('>H', len(body)) + body


def proxy(h, plain, tls):
    for source in ('192.0.2.9', '2001:db8::9'):
        with Wire(plain, proxy_header(source)) as w:
            same([w.reply()[0], w.say('EHLO x')], [220, 250],
                 'PROXY: a session for ' + source)
        ok(until(lambda: h.grep('connect client=%s port=4321' % source)),
           'PROXY: it is known by its own address')
    before = count(h)
    with Wire(plain, proxy_header('192.0.2.9')) as w:
        w.begin()
        w.say('DATA')
        w.s.sendall(b'Subject: proxied\r\n\r\nx\r\n.\r\n')
        same(w.reply()[0], 250, 'PROXY: a message')
    h.wait_mail('alice', before + 1)
    ok(b'[192.0.2.9]' in open(newest(h, 'alice'), 'rb').read(),
       'PROXY: and its trace line')
    out = subprocess.run(
        ['swaks', '--server', '127.0.0.1:%d' % tls, '--tls-on-connect',
         '--proxy-version', '2', '--proxy-family', 'AF_INET',
         '--proxy-source', '192.0.2.44', '--proxy-source-port', '5',
         '--proxy-dest', '127.0.0.1', '--proxy-dest-port', '465',
         '--auth', 'PLAIN', '--auth-user', 'alice', '--auth-password',
         'secret', '--from', 'alice@example.test', '--to',
         'bob@example.test'], capture_output=True, text=True,
        timeout=60 * SLOW)
    ok(out.returncode == 0 and until(lambda: h.grep(
        'login .*client=192.0.2.44')), 'PROXY: before TLS, by swaks',
       out.stdout[-800:])
    with Wire(plain, SIGNATURE + b'\x20\0\0\0') as w:
        same(w.reply()[0], 220, 'PROXY: a health check is greeted')
    for bad in (b'EHLO x\r\n' * 3, b'PROXY TCP4 1.2.3.4 5.6.7.8 1 25\r\n',
                SIGNATURE + b'\x21\x11\0\x04abcd', SIGNATURE[:10],
                SIGNATURE + b'\x21\x31\0\x04abcd'):
        with Wire(plain, bad) as w:
            try:
                w.s.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            same(w.reply()[0], 0, 'PROXY: no header, no session')
    ok(until(lambda: h.grep('proxy-refused .*why="no header"')),
       'PROXY: the log says so')
    with Wire(h.port('smtp'), proxy_header('192.0.2.10')) as w:
        said = w.f.read()
    ok(said.startswith((b'220', b'5')) and b'\r\n250' not in said and
       not h.grep('client=192.0.2.10'),
       'PROXY: not where it is not asked for', said)


def xclient_unknown(h):
    """Whose address the proxy does not know is not trusted as the proxy is;
    nor is a name that nobody confirmed one for the rules."""
    with h.smtp() as s:
        s.ehlo('proxy.test')
        same(s.mail('a@remote.test')[0] // 100 + s.rcpt('x@far.test')[0] // 100,
             4, 'the proxy itself may relay')
    with h.smtp() as s:
        s.ehlo('proxy.test')
        s.docmd('XCLIENT ADDR=[UNAVAILABLE] NAME=[UNAVAILABLE] '
                'REVERSE_NAME=mx.good.test')
        s.ehlo('x.test')
        s.mail('a@remote.test')
        same(s.rcpt('x@far.test')[0], 550, 'XCLIENT: who is not known may not')
        code = s.rcpt('bob@example.test')[0]
        s.data(b'Subject: unknown\r\n\r\nx\r\n')
    ok(code == 250 and until(lambda: [m for m in h.mails('bob') if
       'Subject: unknown' in open(m, errors='replace').read() and
       'good.test' not in open(m, errors='replace').read()]),
       'nor is an unconfirmed name written down as one')


def xclient(h):
    before = count(h, 'bob')
    out = subprocess.run(
        ['swaks', '--server', '127.0.0.1:%d' % h.port('smtp'),
         '--xclient-addr', '192.0.2.55', '--xclient-name', 'far.test',
         '--from', 'a@remote.test', '--to', 'bob@example.test'],
        capture_output=True, text=True, timeout=60 * SLOW)
    ok(out.returncode == 0, 'XCLIENT, by swaks', out.stdout[-800:])
    ok(until(lambda: h.grep('xclient client=192.0.2.55')),
       'XCLIENT: it is known by that address')
    h.wait_mail('bob', before + 1)
    text = open(newest(h, 'bob')).read()
    ok('(far.test [192.0.2.55])' in text, 'XCLIENT: and so says the trace '
       'line', text[:600])


def lmtp(h, path):
    before = count(h), count(h, 'bob')
    with Wire(path) as w:
        w.begin(hello='LHLO')
        same(w.say('RCPT TO:<nobody@example.test>'), 550, 'LMTP: unknown')
        same(w.say('RCPT TO:<bob@example.test>'), 250, 'LMTP: a second one')
        same(w.say('DATA'), 354, 'LMTP: DATA')
        w.s.sendall(b'Subject: lmtp\r\n\r\nx\r\n.\r\n')
        same([w.reply()[0], w.reply()[0]], [250, 250],
             'row 30: one reply for each recipient')
        same(w.say('NOOP'), 250, 'row 30: and no more')
    until(lambda: (count(h), count(h, 'bob')) ==
          (before[0] + 1, before[1] + 1))
    same((count(h), count(h, 'bob')), (before[0] + 1, before[1] + 1),
         'LMTP on a Unix socket delivers')


def lost_queue(h):
    """The queue is killed between a body file and its submission."""
    before = count(h)
    text = b'Subject: queue lost\r\n\r\n' + b'x' * 70 * 2000 + b'\r\n'
    with Wire(h.port('smtp')) as w:
        w.begin()
        w.s.sendall(b'BDAT %d\r\n' % len(text) + text)
        same(w.reply()[0], 250, 'a large chunk')
        for pid in h.pids('queue'):
            os.kill(pid, 9)
        w.s.sendall(b'BDAT 0 LAST\r\n')
        code = w.reply()[0]
        ok(code in (250, 451), 'the queue is killed: not refused for ever',
           code)
    until(lambda: h.send(['alice@example.test'], text) == {}, 20)
    ok(until(lambda: count(h) > before, 30), 'and the next one arrives')


def main():
    base = 20000 + os.getpid() % 20000
    for port in range(base, base + 500):
        try:
            for p in (port, port + 1):
                socket.create_server(('127.0.0.1', p)).close()
            break
        except OSError:
            continue
    h = House(without=MTA, options=())
    path = h.dir + '/lmtp.sock'
    h.sets += ['listen.smtp=127.0.0.1:%d, 127.0.0.1:%d proxy' %
               (h.port('smtp'), port),
               'listen.submissions=127.0.0.1:%d, 127.0.0.1:%d proxy' %
               (h.port('submissions'), port + 1),
               'listen.lmtp=127.0.0.1:%d, %s' % (h.port('lmtp'), path),
               'smtp.xclient_networks=127.0.0.1', 'smtp.greet_wait=0']
    with h:
        smuggling(h)
        pieces(h)
        binary(h)
        literals(h)
        awkward(h)
        broken_off(h)
        garbage(h)
        proxy(h, port, port + 1)
        xclient(h)
        lmtp(h, path)
        lost_queue(h)
        same(h.stop(), 0, 'it ends cleanly')
    with House(without=MTA, sets=['smtp.xclient_networks=127.0.0.1',
                                  'smtp.relay_networks=127.0.0.1',
                                  'smtp.greet_wait=0']) as h:
        xclient_unknown(h)
    done()


main()
