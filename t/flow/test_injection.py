#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""TLS on every protocol we serve: what is said in the clear is not heard under
TLS, in whatever form it is slipped in; what was said before is forgotten; a
session of one service is none of another's, and another protocol's client is
turned away.  The other direction, where we are the client, is in
test_relay_tls.py."""
import os
import socket
import ssl
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
from house import SLOW, House, done, ok, same  # noqa: E402

CONTEXT = ssl._create_unverified_context()

# service: what begins TLS, how consent begins, a harmless command and how its
# reply begins, what to say first
PLAIN = {
    'smtp': (b'STARTTLS\r\n', b'220 ', b'NOOP\r\n', b'250 ', b'EHLO x\r\n'),
    'submission': (b'STARTTLS\r\n', b'220 ', b'NOOP\r\n', b'250 ',
                   b'EHLO x\r\n'),
    'lmtp': (b'STARTTLS\r\n', b'220 ', b'NOOP\r\n', b'250 ', b'LHLO x\r\n'),
    'imap': (b'a STARTTLS\r\n', b'a OK', b'b NOOP\r\n', b'b OK', b''),
    'pop3': (b'STLS\r\n', b'+OK', b'CAPA\r\n', b'+OK', b''),
}
TLS = {'submissions': b'EHLO x\r\n', 'imaps': b'a NOOP\r\n',
       'pop3s': b'CAPA\r\n'}
ALPN = {'submissions': 'smtp', 'imaps': 'imap', 'pop3s': 'pop3'}

# What lies behind the command in the same packet, made of the harmless one.
BEHIND = [
    ('a command', lambda c: c),
    ('half a command', lambda c: c[:2]),
    ('one octet', lambda c: b'x'),
    ('an empty line', lambda c: b'\r\n'),
    ('a lone LF', lambda c: b'\n'),
    ('a lone CR', lambda c: b'\r'),
    ('a NUL', lambda c: b'\0'),
    ('a hundred commands', lambda c: c * 100),
    ('64 KiB', lambda c: c * (65536 // len(c))),
    ('a login', lambda c: b'a LOGIN alice secret\r\nUSER alice\r\n'
     b'AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n'),
    ('a transaction', lambda c: b'EHLO evil\r\nMAIL FROM:<evil@x.test>\r\n'
     b'RCPT TO:<alice@example.test>\r\n'),
    ('the same again', lambda c: b'STARTTLS\r\n'),
    ('a TLS record', lambda c: b'\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03'),
]


class Plain:
    def __init__(self, h, service):
        self.s = socket.create_connection(('127.0.0.1', h.port(service)))
        self.s.settimeout(60 * SLOW)
        self.f = self.s.makefile('rb')

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.f.close()
        self.s.close()

    def line(self):
        try:
            return self.f.readline()
        except OSError:
            return b''

    def rest(self):
        """What comes until the connection ends."""
        got = b''
        while True:
            more = self.line()
            if not more:
                return got
            got += more

    def begin(self, first):
        """Past the greeting and what has to be said first."""
        self.line()
        if first:
            self.s.sendall(first)
            while self.line()[3:4] == b'-':
                pass

    def tls(self):
        """From here on under TLS: the stream, and what is read of it."""
        self.f.close()
        self.s = CONTEXT.wrap_socket(self.s)
        self.f = self.s.makefile('rb')


def behind(h, service):
    begin, consent, harmless, fine, first = PLAIN[service]
    for what, make in BEHIND:
        with Plain(h, service) as p:
            p.begin(first)
            p.s.sendall(begin + make(harmless))
            same((p.line()[:len(consent)], p.rest()), (consent, b''),
                 'row 46: %s: %s behind it: the connection ends' %
                 (service, what))


def instead(h, service):
    """After the consent, where a handshake should begin."""
    begin, consent, harmless, fine, first = PLAIN[service]
    with Plain(h, service) as p:
        p.begin(first)
        p.s.sendall(begin)
        p.line()
        p.s.sendall(harmless * 3)
        got = p.rest()
        ok(fine not in got and not got.startswith(b'4'),
           'row 46: %s: commands instead of a handshake' % service, got)
    with Plain(h, service) as p:
        p.begin(first)
        p.s.sendall(begin)
        p.line()
        p.tls()
        p.s.sendall(harmless)
        ok(p.line().startswith(fine),
           'row 46: %s: and one who behaves is served' % service)
        if service == 'pop3':
            while p.line() != b'.\r\n':
                pass
        p.s.sendall(begin)
        got = p.line()
        ok(got[:1] in (b'5', b'-') or got.startswith(b'a BAD'),
           'row 46: %s: no second TLS' % service, got)


FORGOTTEN = [
    ('smtp', b'EHLO x\r\n', b'MAIL FROM:<a@b.test>\r\n', b'503'),
    ('submission', b'EHLO x\r\n', b'AUTH PLAIN\r\n', b'503'),
    ('lmtp', b'LHLO x\r\n', b'MAIL FROM:<a@b.test>\r\n', b'503'),
    ('imap', b'', b'c SELECT INBOX\r\n', b'c BAD'),
    ('pop3', b'USER alice\r\n', b'PASS secret\r\n', b'-ERR'),
]


def forgotten(h):
    for service, before, after, refusal in FORGOTTEN:
        with Plain(h, service) as p:
            p.begin(before)
            p.s.sendall(PLAIN[service][0])
            p.line()
            p.tls()
            p.s.sendall(after)
            got = p.line()
            ok(got.startswith(refusal),
               'row 46: %s: what was said before TLS is forgotten' % service,
               got)


def clear(h):
    """Commands in the clear where only TLS is spoken."""
    for service, command in TLS.items():
        with Plain(h, service) as p:
            p.s.sendall(command * 3)
            got = p.rest()
            ok(not any(c in got for c in (b'250', b'OK', b'220')),
               'row 47: %s: nothing in the clear' % service, got)


def protocols(h):
    """S12: ALPN is for this protocol or for none."""
    for service in TLS:
        for names, good in ((['http/1.1'], False), (['h2', 'ftp'], False),
                            ([ALPN[service]], True),
                            (['http/1.1', ALPN[service]], True)):
            context = ssl._create_unverified_context()
            context.set_alpn_protocols(names)
            try:
                with socket.create_connection(
                        ('127.0.0.1', h.port(service))) as s, \
                        context.wrap_socket(s) as t:
                    t.settimeout(60 * SLOW)
                    got = t.recv(100) != b''
            except (ssl.SSLError, ConnectionError):
                got = False
            same(got, good, 'S12: %s: a client of %s' % (
                service, ' or '.join(names)))


def handshake(h, service, session=None):
    """(a session to come back with, whether it came back with this one)."""
    context = handshake.context
    with socket.create_connection(('127.0.0.1', h.port(service))) as s, \
            context.wrap_socket(s, session=session) as t:
        t.settimeout(60 * SLOW)
        t.recv(100)  # tickets of TLS 1.3 come before the greeting
        return t.session, t.session_reused


handshake.context = ssl._create_unverified_context()


def tickets(h):
    """S12: a session of one service is none of another's."""
    own = 0
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        handshake.context = ssl._create_unverified_context()
        handshake.context.maximum_version = version
        for service in TLS:
            for other in TLS:
                session, _ = handshake(h, service)
                reused = handshake(h, other, session)[1]
                own += reused and service == other
                ok(not reused or service == other,
                   'S12: a session of %s at %s, %s' %
                   (service, other, version.name))
    ok(own, 'S12: (while its own takes it)')


def client(h, service, more, said=''):
    """What openssl's client sees of a service."""
    starts = {'smtp': ['-starttls', 'smtp']}.get(service, [])
    out = subprocess.run(
        ['openssl', 's_client', '-connect', '127.0.0.1:%d' % h.port(service)] +
        starts + more, input=said, capture_output=True, text=True,
        timeout=60 * SLOW)
    return out.stdout + out.stderr


def little_of_tls(h):
    """S12: what is not asked for cannot be parsed wrongly."""
    for service in ['smtp'] + list(TLS):
        for version in ('-tls1_2', '-tls1_3'):
            got = client(h, service, [version])
            ok('No client certificate CA names sent' in got and
               'Client Certificate Types' not in got and
               'Compression: NONE' in got,
               'S12: %s: no certificate is asked for, %s' %
               (service, version[1:]), got)
        got = client(h, service, ['-tls1_2'], 'R\n')
        ok('RENEGOTIATING' in got and 'no renegotiation' in got,
           'S12: %s: no renegotiation' % service, got)
        got = client(h, service, ['-tls1_1', '-cipher', 'ALL:@SECLEVEL=0'])
        ok('Cipher is (NONE)' in got, 'S12: %s: no TLS 1.1' % service, got)


def main():
    h = House(options=())
    h.sets.append('listen.lmtp=127.0.0.1:%d' % h.port('lmtp'))
    h.sets.append('limit.connections=1000')
    with h:
        for service in PLAIN:
            behind(h, service)
            instead(h, service)
        forgotten(h)
        clear(h)
        protocols(h)
        tickets(h)
        little_of_tls(h)
        same(h.grep(r'AddressSanitizer|runtime error| died '), [],
             'nobody died of it')
    done()


main()
