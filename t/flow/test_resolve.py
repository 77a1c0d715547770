#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""resolve by itself, before a real name server (nsd), a signed zone, one that
is tampered with, a server that sends garbage, and one that is dead."""
import os
import shutil
import socket
import struct
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE + '/../lib')
import nsd  # noqa: E402
import wire  # noqa: E402
from ports import free_port  # noqa: E402

BUILD = os.path.abspath(os.environ.get('BUILD', 'build'))
top = tempfile.mkdtemp(prefix='resolve.')
count = 0
failed = 0

ZONE = '''@ MX 10 mx1
@ MX 20 mx2
mx1 A 127.0.0.3
mx1 AAAA ::1
mx2 A 127.0.0.4
www CNAME mx1
null MX 0 .
spf TXT "v=spf1 " "-all"
_25._tcp.mx1 TLSA 3 1 1 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f
4.3.2.1.rev PTR mx1
'''


def ok(good, what, why=''):
    global count, failed
    count += 1
    failed += not good
    print('%s %d - %s' % ('ok' if good else 'not ok', count, what))
    if not good:
        print('# ' + str(why))
    sys.stdout.flush()


def skip(what, why):
    global count
    count += 1
    print('ok %d - %s # SKIP %s' % (count, what, why))


class Resolve:
    def __init__(self, port, anchor='', timeout='10s'):
        self.listener = wire.listen(top + '/ask')
        self.program = wire.Program(BUILD + '/bin/resolve', '''
general { runtime = "%s" }
log { target = stderr level = debug }
resolve { forward = {"127.0.0.1@%d"} trust_anchor = "%s" timeout = %s }
''' % (top, port, anchor, timeout), [('ask.deliver', self.listener)],
            log=open(top + '/log', 'a'))
        self.s = wire.connect(top + '/ask')

    def ask(self, name, type):
        self.s.send(wire.encode('dns_ask', name=name, type=type))
        return wire.decode(self.s.recv(1 << 18))[1]

    def stop(self):
        self.s.close()
        self.listener.close()
        alive = self.program.p.poll() is None
        self.program.stop()
        return alive


def answers(r):
    rows = (
        ('mail.test', 'MX', 'noerror', ['10 mx1.mail.test',
                                        '20 mx2.mail.test']),
        ('mx1.mail.test', 'A', 'noerror', ['127.0.0.3']),
        ('mx1.mail.test', 'AAAA', 'noerror', ['::1']),
        ('mx2.mail.test', 'AAAA', 'noerror', []),
        ('null.mail.test', 'MX', 'noerror', ['0 .']),
        ('spf.mail.test', 'TXT', 'noerror', ['v=spf1 -all']),
        ('4.3.2.1.rev.mail.test', 'PTR', 'noerror', ['mx1.mail.test']),
        ('www.mail.test', 'CNAME', 'noerror', ['mx1.mail.test']),
        ('_25._tcp.mx1.mail.test', 'TLSA', 'noerror',
         ['3 1 1 ' + bytes(range(32)).hex()]),
        ('nobody.mail.test', 'A', 'nxdomain', []),
        ('example.org', 'A', 'servfail', []),  # nsd refuses
        ('localhost', 'A', 'noerror', ['127.0.0.1']),
        ('a..b', 'A', 'nxdomain', []),
        ('x' * 64 + '.test', 'A', 'nxdomain', []),
        ('b\\097d.test', 'A', 'nxdomain', []),
    )
    for name, type, rcode, records in rows:
        a = r.ask(name, type)
        ok(a['rcode'] == rcode and sorted(a['records']) == records and
           a['secure'] == 0, '%s %s' % (name[:40], type), a)
    a = r.ask('www.mail.test', 'A')
    ok(a['records'] == ['127.0.0.3'] and a['canonical'] == 'mx1.mail.test',
       'an alias is followed and named', a)
    a = r.ask('MX1.Mail.TEST', 'A')
    ok(a['records'] == ['127.0.0.3'], 'case does not matter', a)


def order(r):
    """Many at once, fast and slow mixed, are answered in order."""
    names = ['mx1.mail.test', 'example.org', 'null.mail.test', 'a..b'] * 8
    for i, name in enumerate(names):
        r.s.send(wire.encode('dns_ask', name=name, type='A'))
    got = [wire.decode(r.s.recv(1 << 18))[1] for _ in names]
    want = ['noerror', 'servfail', 'noerror', 'nxdomain'] * 8
    ok([g['rcode'] for g in got] == want and
       all(g['records'] == ['127.0.0.3'] for g in got[::4]),
       'answers come in the order of the questions',
       [g['rcode'] for g in got])


def bad_peers(r):
    for what, data in (
            ('garbage', b'\xff' * 100),
            ('an unknown type', wire.encode('dns_ask', name='a', type='ANY')),
            ('another message', wire.encode('job_result', id='x'))):
        s = wire.connect(top + '/ask')
        s.send(data)
        ok(s.recv(100) == b'', '%s costs the connection' % what)
        s.close()
    s = wire.connect(top + '/ask')
    for i in range(200):
        try:
            s.send(wire.encode('dns_ask', name='n%d.test' % i, type='A'))
        except OSError:
            break
    s.close()  # answers for nobody
    a = r.ask('mx1.mail.test', 'A')
    ok(a['records'] == ['127.0.0.3'], 'others are served on', a)


def signed():
    """A zone with its own anchor: proven, proven absent, tampered with."""
    if shutil.which('ldns-signzone') is None:
        skip('DNSSEC', 'ldns-signzone is not installed')
        return
    server = nsd.Nsd(
        {'mail.test': ZONE, 'sig.test': ZONE}, sign=('sig.test',),
        edit=lambda text: text.replace('127.0.0.4', '127.0.0.5'))  # mx2
    r = Resolve(server.port, anchor=server.anchor)
    a = r.ask('sig.test', 'MX')
    ok(a['secure'] == 1 and len(a['records']) == 2, 'a signed answer', a)
    a = r.ask('_25._tcp.mx1.sig.test', 'TLSA')
    ok(a['secure'] == 1 and len(a['records']) == 1, 'a signed TLSA', a)
    a = r.ask('nobody.sig.test', 'A')
    ok(a['rcode'] == 'nxdomain' and a['secure'] == 1,
       'row 67: absence is proven', a)
    a = r.ask('mx2.sig.test', 'A')
    ok(a['rcode'] == 'bogus' and a['secure'] == 0 and a['records'] == [],
       'row 67: what was changed is bogus', a)
    a = r.ask('mx1.mail.test', 'A')
    ok(a['records'] == ['127.0.0.3'] and a['secure'] == 0,
       'row 67: outside of the anchor nothing is secure', a)
    ok(r.stop(), 'resolve lives')
    server.stop()


def hostile():
    """A server whose every answer is another kind of garbage."""
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(('127.0.0.1', 0))
    stop = False

    def serve():
        turn = 0
        s.settimeout(0.2)
        while not stop:
            try:
                q, who = s.recvfrom(4096)
            except OSError:
                continue
            turn += 1
            end = q.index(b'\0', 12) + 5
            head = q[:2] + b'\x81\x80\0\1\0\1\0\0\0\0' + q[12:end]
            answer = b'\xc0\x0c\0\1\0\1\0\0\1\0'
            for data in ((b'', q, head, head + answer,
                          head + answer + b'\xff\xff\1',
                          head + answer + b'\0\3\1\2\3',
                          head + b'\xc0\x0c' * 40,
                          os.urandom(200))[turn % 8],):
                s.sendto(data, who)
    t = threading.Thread(target=serve)
    t.start()
    r = Resolve(s.getsockname()[1], timeout='1s')
    start = time.time()
    got = [r.ask('g%d.test' % i, 'A') for i in range(12)]
    ok(all(a['records'] == [] and a['rcode'] in ('servfail', 'nxdomain')
           for a in got), 'garbage is no answer', got)
    ok(time.time() - start < 14, 'row 67: each within its time')
    ok(r.stop(), 'resolve lives')
    stop = True
    t.join()


class Upstream:
    """A name server that notes how it is asked: over UDP it says that its
    answer does not fit."""

    def __init__(self):
        self.port = free_port()
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(('127.0.0.1', self.port))
        self.tcp = socket.create_server(('127.0.0.1', self.port))
        self.seen = []  # (how, name, size that fits: EDNS0)
        threading.Thread(target=self.serve_udp, daemon=True).start()
        threading.Thread(target=self.serve_tcp, daemon=True).start()

    @staticmethod
    def name(q):
        at, labels = 12, []
        while q[at]:
            labels.append(q[at + 1:at + 1 + q[at]].decode())
            at += 1 + q[at]
        return '.'.join(labels).lower(), at + 5

    def note(self, how, q):
        name, end = self.name(q)
        additional = struct.unpack('>H', q[10:12])[0]
        size = 0
        if additional and q[end:end + 3] == b'\0\0\x29':
            size = struct.unpack('>H', q[end + 3:end + 5])[0]
        self.seen.append((how, name, size))
        return name, end

    def serve_udp(self):
        while True:
            q, who = self.udp.recvfrom(4096)
            name, end = self.note('udp', q)
            if 'absent' in name:
                soa = b'\xc0\x0c\0\6\0\1\0\0\1\0\0\x18\xc0\x0c\xc0\x0c' + \
                    struct.pack('>5I', 1, 3600, 600, 86400, 300)
                a = q[:2] + b'\x81\xa3\0\1\0\0\0\1\0\0' + q[12:end] + soa
            else:  # truncated, and it claims to have proven it
                a = q[:2] + b'\x83\xa0\0\1\0\0\0\0\0\0' + q[12:end]
            self.udp.sendto(a, who)

    def serve_tcp(self):
        while True:
            s, _ = self.tcp.accept()
            n = struct.unpack('>H', s.recv(2))[0]
            q = b''
            while len(q) < n:
                q += s.recv(n - len(q))
            _, end = self.note('tcp', q)
            a = q[:2] + b'\x81\xa0\0\1\0\1\0\0\0\0' + q[12:end] + \
                b'\xc0\x0c\0\1\0\1\0\0\1\0\0\4\x7f\0\0\x09'
            s.sendall(struct.pack('>H', len(a)) + a)
            s.close()


def transports():
    up = Upstream()
    r = Resolve(up.port)
    a = r.ask('large.test', 'A')
    ok(a['records'] == ['127.0.0.9'], 'row 67: what does not fit comes by TCP',
       (a, up.seen))
    ok([s[0] for s in up.seen if 'large' in s[1]] == ['udp', 'tcp'],
       'row 67: after it was asked for by UDP', up.seen)
    ok(all(s[2] >= 1232 for s in up.seen), 'row 67: with EDNS0', up.seen)
    ok(a['secure'] == 0, 'row 67: what a server says of itself (AD) proves '
       'nothing', a)
    for _ in range(3):
        a = r.ask('absent.test', 'A')
        ok(a['rcode'] == 'nxdomain', 'row 67: absent', a)
    ok(len([s for s in up.seen if 'absent' in s[1]]) == 1,
       'row 67: asked once, and remembered', up.seen)
    ok(r.stop(), 'resolve lives')


def dead():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(('127.0.0.1', 0))  # takes and says nothing
        r = Resolve(s.getsockname()[1], timeout='1s')
        start = time.time()
        a = r.ask('mx1.mail.test', 'A')
        took = time.time() - start
        ok(a['rcode'] == 'servfail' and 0.8 < took < 2,
           'a dead server costs the time allowed', (a, took))
        a = r.ask('localhost', 'A')
        ok(a['records'] == ['127.0.0.1'], 'the hosts file still answers', a)
        r.stop()


def main():
    server = nsd.Nsd({'mail.test': ZONE})
    r = Resolve(server.port)
    answers(r)
    order(r)
    bad_peers(r)
    ok(r.stop(), 'resolve lives')
    server.stop()
    signed()
    hostile()
    transports()
    dead()
    print('1..%d' % count)
    if failed == 0:
        shutil.rmtree(top, ignore_errors=True)
    else:
        print('# see ' + top)
    return failed != 0


if shutil.which('nsd') is None:
    print('ok 1 - resolve # SKIP nsd is not installed')
    sys.exit(0)
sys.exit(main())
