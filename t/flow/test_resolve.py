#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""resolve by itself, before a real name server (nsd), a signed zone, one that
is tampered with, a server that sends garbage, and one that is dead."""
import os
import shutil
import socket
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE + '/../lib')
import nsd  # noqa: E402
import wire  # noqa: E402

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
