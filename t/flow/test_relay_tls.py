#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The remote agent, TLS and logins: opportunistic and not, servers that inject,
DANE with a signed zone, REQUIRETLS, smarthosts."""
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
import mx  # noqa: E402
import nsd  # noqa: E402
from agent import Agent  # noqa: E402
from ports import free_port  # noqa: E402
from house import done, need_programs, ok, same, skip, until  # noqa: E402

CAPS = ('PIPELINING', '8BITMIME', 'SIZE', 'STARTTLS')
ZONE = '''
one MX 10 mx2
two MX 10 mx2
two MX 20 mx3
mx2 A 127.0.0.2
mx3 A 127.0.0.3
out A 127.0.0.4
'''
PORT = 0
TOP = tempfile.mkdtemp(prefix='relay.')


def server(n, **how):
    how.setdefault('caps', CAPS)
    return mx.Server('127.0.0.%d' % n, PORT, **how)


def Servers(*list_of_how):
    return mx.Servers(server, list_of_how)


def verbs(s):
    return [l.split(' ')[0].split(':')[0] for l in s.lines]


def how(a, destination='one.test', **more):
    got = a.relay(destination, **more)[0]
    return got[0].split()[0], got[3].split(' ')[1] if got[3] else ''


# -------------------------------------------------------- opportunistic

def opportunistic(dns, cert):
    a = Agent(dns, PORT)
    with Servers((2, {'tls': cert})) as s:
        code, tls = how(a)
        same((code, tls, s.messages[0].data[:8]),
             ('2.0.0', 'tls=TLSv1.3', b'Subject:'), 'TLS where it is offered')
        same(verbs(s)[:4], ['EHLO', 'STARTTLS', 'EHLO', 'MAIL'],
             'EHLO is said again')
        how(a)
        same((len(s.sessions), len(s.messages)), (1, 2), 'kept as well')
    with Servers((2, {'starttls': '454 4.7.0 no'})) as s:
        same((how(a), len(s.sessions)), (('2.0.0', 'tls=no'), 1),
             'row 47: refused: without, in the same session')
    b = Agent(dns, PORT, remote='tls = none')
    with Servers((2, {'tls': cert})) as s:
        same((how(b), 'STARTTLS' in verbs(s)), (('2.0.0', 'tls=no'), False),
             'none is none')
    ok(b.stop(), 'the agent lives')
    ok(a.stop(), 'the agent lives')


def broken_handshake(s, line):
    s.sock.sendall(b'220 go on\r\n')
    s.sock.recv(4096)
    s.sock.sendall(b'this is no TLS\r\n' * 10)
    return mx.DROP


def silent_handshake(s, line):
    s.sock.sendall(b'220 go on\r\n')
    s.sock.recv(4096)
    return mx.DROP


def fallback(dns, cert):
    for what, act in (('garbage', broken_handshake),
                      ('the end', silent_handshake)):
        a = Agent(dns, PORT)
        with Servers((2, {'starttls': act})) as s:
            same((how(a), len(s.sessions), verbs(s)[-3:]),
                 (('2.0.0', 'tls=no'), 2, ['MAIL', 'RCPT', 'DATA']),
                 '47 %s instead of a handshake: anew without TLS' % what)
            a.one('absent.test')
            until(lambda: all(x.ended for x in s.sessions), 10)
            s.forget()
        with Servers((2, {'starttls': act})) as s:
            same((how(a), len(s.sessions)), (('2.0.0', 'tls=no'), 1),
                 'row 47: which is remembered')
        ok(a.stop(), 'the agent lives')
        b = Agent(dns, PORT, remote='tls = required')
        with Servers((2, {'starttls': act})) as s:
            code, scope, text = b.one('one.test')
            same((code[:3], scope, 'MAIL' in verbs(s)),
                 ('4.7', 'host', False), 'row 47: not where TLS is required')
        ok(b.stop(), 'the agent lives')


def resumption(dns, cert):
    for more, names in (('', ''), ('tls = required', ''),
                        ('tls = verified', cert[0])):
        a = Agent(dns, PORT, remote='idle = 0s ' + more, roots=names)
        with Servers((2, {'tls': cert})) as s:
            for _ in range(3):
                how(a)
                until(lambda: all(x.ended for x in s.sessions), 10)
            same([x.resumed for x in s.sessions], [False, True, True],
                 'a session is taken up again (%s)' % (more or 'by default'))
        ok(a.stop(), 'the agent lives')
    # Not where more is demanded than was before.
    a = Agent(dns, PORT, remote='idle = 0s tls_policies = '
              '{"two.test verified"}', roots=cert[0])
    with Servers((2, {'tls': cert})) as s:
        for to in ('one.test', 'two.test', 'one.test', 'two.test'):
            how(a, to)
            until(lambda: all(x.ended for x in s.sessions), 10)
        same([x.resumed for x in s.sessions], [False, False, True, True],
             'only under the same demands')
    ok(a.stop(), 'the agent lives')


def required(dns, cert):
    a = Agent(dns, PORT, remote='tls = required')
    with Servers((2, {'caps': CAPS[:3]}), (3, {'tls': cert})) as (s2, s3):
        code, scope, text = a.one('one.test')
        same((code, scope), ('4.7.4', 'host'), 'required, not offered: later')
        same((how(a, 'two.test'), len(s3.messages)),
             (('2.0.0', 'tls=TLSv1.3'), 1), 'the next server may')
    with Servers((2, {'starttls': '454 4.7.0 no'})) as s:
        same(a.one('one.test')[:2], ('4.7.4', 'host'), 'required, refused')
    ok(a.stop(), 'the agent lives')
    roots = cert[0]
    for name, want in (('one', ('2.0.0', 'tls=TLSv1.3')),
                       ('two', ('2.0.0', 'tls=TLSv1.3'))):
        a = Agent(dns, PORT, remote='tls_policies = {"one.test verified", '
                  '"two.test verified"}', roots=roots)
        other = mx.certificate(TOP, 'other.test')
        with Servers((2, {'tls': other if name == 'two' else cert}),
                     (3, {'tls': cert})) as (s2, s3):
            got = a.relay(name + '.test')[0]
            ok(got[0].startswith('2.') and 'verified' in got[3],
               'verified: %s' % name, got)
            same(len(s3.messages), name == 'two', 'by the right server')
        ok(a.stop(), 'the agent lives')
    a = Agent(dns, PORT, remote='tls = verified', roots=roots)
    with Servers((2, {'tls': mx.certificate(TOP, 'other.test')})) as s:
        code, scope, text = a.one('one.test')
        same((code, scope, 'MAIL' in verbs(s)), ('4.7.7', 'host', False),
             'a certificate of somebody else: later')
    ok(a.stop(), 'the agent lives')


# What a server, or somebody on the way, says behind its consent to TLS.
EARLY = [
    ('a reply', b'250-mx.test\r\n250 XEVIL\r\n'),
    ('the beginning of one', b'250-mx.test\r\n250'),
    ('one octet', b'2'),
    ('an empty line', b'\r\n'),
    ('a lone LF', b'\n'),
    ('a NUL', b'\0'),
    ('the same again', b'220 go on\r\n'),
    ('a refusal', b'554 5.7.1 no\r\n'),
    ('a good bye', b'421 4.3.2 bye\r\n'),
    ('a whole session', b'250 mx.test\r\n250 ok\r\n250 ok\r\n354 go\r\n'
     b'250 taken\r\n221 bye\r\n'),
    ('a great deal', b'250-x\r\n' * 3000),
    ('a TLS record', b'\x16\x03\x03\x00\x02\x02\x28'),
]


def injection(dns, cert):
    """Row 46: what is said before TLS is not heard after it."""
    a = Agent(dns, PORT, remote='tls = required')

    def wrong(what, act):
        with Servers((2, {'tls': cert, 'starttls': act})) as s:
            code, scope, text = a.one('one.test')
            ok(code[0] == '4' and scope == 'host' and 'MAIL' not in verbs(s),
               'row 46: a server injects %s' % what, (code, scope, text))

    for what, octets in EARLY:
        def in_one_go(s, line):
            s.sock.sendall(b'220 go on\r\n' + octets)
            s.start_tls()
            return 'none'

        def later(s, line):
            s.sock.sendall(b'220 go on\r\n')
            time.sleep(0.1)
            s.sock.sendall(octets)
            return mx.DROP
        wrong(what + ' in one go', in_one_go)
        wrong(what + ' a little later', later)

    def ahead(s, line):
        """All answers before the questions, under TLS none."""
        s.sock.sendall(b'250-mx.test\r\n250 STARTTLS\r\n220 go on\r\n'
                       b'250 mx.test\r\n250 ok\r\n')
        return mx.DROP
    with Servers((2, {'tls': cert, 'ehlo': ahead})) as s:
        code, scope, text = a.one('one.test')
        ok(code[0] == '4' and 'MAIL' not in verbs(s),
           'row 46: a server that answers ahead', (code, scope, text))

    def other(s, line):
        # Before TLS it says it can do everything.
        caps = ['SIZE 5', 'STARTTLS', 'DSN', 'AUTH PLAIN'] if not s.tls \
            else ['8BITMIME']
        return '250 mx.test\n' + '\n'.join(caps)
    with Servers((2, {'tls': cert, 'ehlo': other})) as s:
        same(how(a, ret='HDRS')[0], '2.0.0',
             'row 46: EHLO before TLS is forgotten')
        same(s.messages[0].mail, 'MAIL FROM:<me@us.test>',
             'row 46: all of it')
    for stage in ('ehlo', 'mail'):
        def act(s, line):
            return mx.GARBAGE if s.tls else None
        with Servers((2, {'tls': cert, stage: act})) as s:
            code, scope, text = a.one('one.test')
            same((code[0], scope), ('4', 'host'),
                 'garbage under TLS at ' + stage)
    ok(a.stop(), 'the agent lives')


# ----------------------------------------------------------------- DANE

def octets_of(cert, what):
    """The certificate, or the public key in it, in DER."""
    pem = ['openssl', 'x509', '-in', cert[0]]
    if what == 'key':
        key = subprocess.run(pem + ['-pubkey', '-noout'], check=True,
                             capture_output=True).stdout
        return subprocess.run(['openssl', 'pkey', '-pubin', '-outform',
                               'DER'], input=key, check=True,
                              capture_output=True).stdout
    return subprocess.run(pem + ['-outform', 'DER'], check=True,
                          capture_output=True).stdout


def digest(cert, what):
    """3 1 1 (or 3 0 1, 2 0 1 ...) of a certificate."""
    return hashlib.sha256(octets_of(cert, what)).hexdigest()


def chain(name, *names, days='10'):
    """A certificate for these names below an authority of its own: what the
    server shows, and the authority's."""
    ca = mx.certificate(TOP, name + '.authority')
    leaf, key, request = (TOP + '/%s.%s' % (name, e)
                          for e in ('leaf', 'key', 'csr'))
    subprocess.run(
        ['openssl', 'req', '-newkey', 'ec', '-pkeyopt',
         'ec_paramgen_curve:prime256v1', '-nodes', '-subj', '/CN=' + name,
         '-addext', 'subjectAltName=' + ','.join('DNS:' + n for n in names),
         '-keyout', key, '-out', request], check=True, capture_output=True)
    subprocess.run(
        ['openssl', 'x509', '-req', '-in', request, '-CA', ca[0], '-CAkey',
         ca[1], '-CAcreateserial', '-days', days, '-copy_extensions', 'copy',
         '-out', leaf], check=True, capture_output=True)
    with open(leaf, 'a') as f:
        f.write(open(ca[0]).read())
    return (leaf, key), ca


# host, usage, selector, type of the digest, of what, is it met
USAGES = [
    ('ta01', 2, 0, 1, 'authority', 'certificate', True),
    ('ta11', 2, 1, 1, 'authority', 'key', True),
    ('ta12', 2, 1, 2, 'authority', 'key', True),
    ('ta00', 2, 0, 0, 'authority', 'certificate', True),
    ('ee01', 3, 0, 1, 'leaf', 'certificate', True),
    ('ee12', 3, 1, 2, 'leaf', 'key', True),
    ('ee10', 3, 1, 0, 'leaf', 'key', True),
    ('eename', 3, 1, 1, 'leaf', 'key', True),  # RFC 7672 3.1.1: no names
    ('taname', 2, 0, 1, 'authority', 'certificate', False),  # 3.1.2: names
    ('taleaf', 2, 0, 1, 'leaf', 'certificate', False),
    ('eeca', 3, 0, 1, 'authority', 'certificate', False),
    ('taother', 2, 1, 1, 'other', 'key', False),
]


def row48_usages():
    """TLSA records of every usage, selector and digest."""
    named = [u[0] + '.sig.test' for u in USAGES if not u[0].endswith('name')]
    shown, ca = chain('chain', *named)
    whose = {'authority': ca, 'leaf': shown,
             'other': mx.certificate(TOP, 'other.test')}
    digests = {0: bytes.hex, 1: lambda o: hashlib.sha256(o).hexdigest(),
               2: lambda o: hashlib.sha512(o).hexdigest()}
    zone = ''
    for host, usage, selector, kind, of, what, _ in USAGES:
        zone += '%s A 127.0.0.2\n_%d._tcp.%s TLSA %d %d %d %s\n' % (
            host, PORT, host, usage, selector, kind,
            digests[kind](octets_of(whose[of], what)))
    dns = nsd.Nsd({'sig.test': zone}, sign=('sig.test',))
    a = Agent(dns, PORT, anchor=dns.anchor)
    with Servers((2, {'tls': shown})) as s:
        for host, usage, selector, kind, of, what, met in USAGES:
            before = len(s.messages)
            got = a.relay(host + '.sig.test')[0]
            same((got[0].split()[0][0], 'verified' in got[3],
                  len(s.messages) - before),
                 ('2', True, 1) if met else ('4', False, 0),
                 'row 48: %s: TLSA %d %d %d of the %s' % (
                     host, usage, selector, kind, of))
    ok(a.stop(), 'row 48: the agent lives')
    old, _ = chain('old', 'old.test', days='0')
    dns.stop()
    dns = nsd.Nsd({'sig.test': 'old A 127.0.0.2\n_%d._tcp.old TLSA 3 1 1 %s\n'
                   % (PORT, digest(old, 'key'))}, sign=('sig.test',))
    a = Agent(dns, PORT, anchor=dns.anchor)
    time.sleep(1.1)
    same(subprocess.run(['openssl', 'x509', '-in', old[0], '-noout',
                         '-checkend', '0'], capture_output=True).returncode,
         1, 'row 48: (one that has expired)')
    with Servers((2, {'tls': old})) as s:
        got = a.relay('old.sig.test')[0]
        ok(got[0][:5] == '2.0.0' and 'verified' in got[3],
           'row 48: nor does a date count beside the key', got)
    ok(a.stop(), 'row 48: the agent lives')
    dns.stop()


def row48_dane(cert):
    if shutil.which('ldns-signzone') is None:
        skip('row 48: DANE', 'ldns-signzone is not installed')
        return
    good, wrong = digest(cert, 'key'), '00' * 32
    zone = '''
one MX 10 mx2
mx2 A 127.0.0.2
_%(p)d._tcp.mx2 TLSA 3 1 1 %(good)s
wrong MX 10 mxw
mxw A 127.0.0.2
_%(p)d._tcp.mxw TLSA 3 1 1 %(wrong)s
two MX 10 mxw
two MX 20 mx3
mx3 A 127.0.0.3
_%(p)d._tcp.mx3 TLSA 3 1 1 %(wrong)s
_%(p)d._tcp.mx3 TLSA 3 1 1 %(good)s
useless MX 10 mxu
mxu A 127.0.0.2
_%(p)d._tcp.mxu TLSA 1 1 1 %(wrong)s
none MX 10 mxn
mxn A 127.0.0.2
cname MX 10 mxc
mxc CNAME mx2
bare A 127.0.0.2
_%(p)d._tcp.bare TLSA 3 1 1 %(wrong)s
bad MX 10 mxb
mxb A 127.0.0.2
_%(p)d._tcp.mxb TLSA 3 1 1 %(bad)s
''' % {'p': PORT, 'good': good, 'wrong': wrong, 'bad': '11' * 32}
    plain = '''
open MX 10 mx2.sig.test.
loose MX 10 mxl
mxl A 127.0.0.2
_%d._tcp.mxl TLSA 3 1 1 %s
''' % (PORT, wrong)
    # One record is changed after it was signed.
    dns = nsd.Nsd({'sig.test': zone, 'plain.test': plain},
                  sign=('sig.test',),
                  edit=lambda text: text.replace('11' * 32, '22' * 32))
    a = Agent(dns, PORT, anchor=dns.anchor)
    with Servers((2, {'tls': cert}), (3, {'tls': cert})) as (s2, s3):
        got = a.relay('one.sig.test')[0]
        ok(got[0][:5] == '2.0.0' and 'verified' in got[3],
           'row 48: a server that meets its TLSA record', got)
        code, scope, text = a.one('wrong.sig.test')
        same((code[:3], scope), ('4.7', 'host'),
             'row 48: one that does not: later, never in clear')
        got = a.relay('two.sig.test')[0]
        same((got[0][:5], got[2]), ('2.0.0', 'mx3.sig.test'),
             'row 48: the next server that does')
        got = a.relay('useless.sig.test')[0]
        ok(got[0][:5] == '2.0.0' and 'tls=TLS' in got[3] and
           'verified' not in got[3],
           'row 48: no usable record: TLS, not verified', got)
        same(how(a, 'none.sig.test'), ('2.0.0', 'tls=TLSv1.3'),
             'row 48: proven that there is none: no DANE')
        got = a.relay('cname.sig.test')[0]
        ok(got[0][:5] == '2.0.0' and 'verified' in got[3],
           'row 48: where a CNAME leads', got)
        same(a.one('bare.sig.test')[0][:3], '4.7',
             'row 48: a domain without MX has them too')
        code, scope, text = a.one('bad.sig.test')
        ok(code == '4.7.5' and scope == 'host' and 'bogus' in text,
           'row 48: a record that was tampered with: later', (code, text))
        got = a.relay('open.plain.test')[0]
        ok('verified' not in got[3] and got[0][:5] == '2.0.0',
           'row 48: an MX record that is not proven: no DANE', got)
        same(how(a, 'loose.plain.test'), ('2.0.0', 'tls=TLSv1.3'),
             'row 48: a TLSA record that is not proven is none')
    with Servers((2, {'caps': CAPS[:3]})) as s:
        code, scope, text = a.one('one.sig.test')
        same((code, scope), ('4.7.4', 'host'),
             'row 48: without STARTTLS: later')
        same(how(a, 'one.sig.test', content=b'TLS-Required: No\r\n\r\nx\r\n'),
             ('2.0.0', 'tls=no'), 'row 50: unless the sender does without')
    ok(a.stop(), 'row 48: the agent lives')
    a = Agent(dns, PORT, anchor=dns.anchor,
              remote='tls_policies = {"* dane"}')
    with Servers((2, {'tls': cert})) as s:
        same((a.one('one.sig.test')[0], a.one('none.sig.test')[0],
              a.one('open.plain.test')[0]), ('2.0.0', '4.7.5', '4.7.5'),
             'row 48: DANE demanded')
    ok(a.stop(), 'row 48: the agent lives')
    a = Agent(dns, PORT, anchor=dns.anchor, remote='dane = no')
    with Servers((2, {'tls': cert})) as s:
        same(how(a, 'wrong.sig.test')[0], '2.0.0', 'row 48: DANE not wanted')
    ok(a.stop(), 'row 48: the agent lives')
    row50_requiretls(dns, cert)
    dns.stop()
    row48_usages()


def row50_requiretls(dns, cert):
    a = Agent(dns, PORT, anchor=dns.anchor)
    caps = CAPS + ('REQUIRETLS',)
    with Servers((2, {'tls': cert, 'caps': caps})) as s:
        got = a.relay('one.sig.test', requiretls=1)[0]
        same(got[0][:5], '2.0.0', 'row 50: REQUIRETLS where all is proven')
        ok(s.messages[0].mail.endswith(' REQUIRETLS'), 'row 50: and passed on',
           s.messages[0].mail)
        code, scope, text = a.one('none.sig.test', requiretls=1)
        same((code[:3], len(s.messages)), ('4.7', 1),
             'row 50: a certificate nobody vouches for')
        code, scope, text = a.one('open.plain.test', requiretls=1)
        same((code, len(s.messages)), ('5.7.30', 1),
             'row 50: an MX record that is not proven: returned')
    with Servers((2, {'tls': cert})) as s:
        code, scope, text = a.one('one.sig.test', requiretls=1)
        same((code, scope, len(s.messages)), ('5.7.30', 'message', 0),
             'row 50: a server that would not pass it on: returned')
        same(a.one('one.sig.test')[0], '2.0.0', 'row 50: others it may have')
        same((a.one('one.sig.test', requiretls=1, sender='')[0],
              'REQUIRETLS' in s.messages[-1].mail), ('2.0.0', False),
             'row 50: a report is not lost for want of it')
    with Servers((2, {'tls': cert, 'caps': caps})) as s:
        same((a.one('one.sig.test', requiretls=1, sender='')[0],
              s.messages[-1].mail.endswith(' REQUIRETLS'),
              a.one('open.plain.test', requiretls=1, sender='')[0]),
             ('2.0.0', True, '2.0.0'), 'row 50: but has it where it can')
    ok(a.stop(), 'row 50: the agent lives')


# ------------------------------------------------------------ smarthosts

def smarthost(dns, cert):
    login = ('me', 'secret, with "odd" ones')
    for mechanism in ('PLAIN', 'LOGIN', 'SCRAM-SHA-1', 'SCRAM-SHA-256',
                      'CRAM-MD5 PLAIN', 'PLAIN SCRAM-SHA-256 LOGIN'):
        a = Agent(dns, PORT, remote='smarthost = "127.0.0.4:%d" '
                  'smarthost_user = me smarthost_password = '
                  "'secret, with \"odd\" ones' smarthost_tls = required" %
                  PORT)
        with Servers((4, {'tls': cert, 'login': login,
                          'caps': CAPS + ('AUTH ' + mechanism,)})) as s:
            got = [a.one(d)[0] for d in ('one.test', 'absent.test')]
            same((got, len(s.sessions), len(s.messages)),
                 (['2.0.0'] * 2, 1, 2),
                 'all mail through the smarthost, by ' + mechanism)
            used = [l for l in s.lines if l.startswith('AUTH')][0].split()[1]
            want = [m for m in ('SCRAM-SHA-256', 'SCRAM-SHA-1', 'PLAIN',
                                'LOGIN') if m in mechanism.split()][0]
            same(used, want, 'the best one is taken')
            ok('secret' not in a.text(), 'no password in the log')
        ok(a.stop(), 'the agent lives')


def bad_logins(dns, cert):
    def agent(tls):
        return Agent(dns, PORT, remote='smarthost = "out.test:%d" '
                     'smarthost_user = me smarthost_password = secret '
                     'smarthost_tls = %s' % (PORT, tls))
    good = ('me', 'secret')
    rows = [
        ('a wrong password', {'login': ('me', 'other'),
                              'caps': CAPS + ('AUTH PLAIN',)}, '4.7.8'),
        ('one that is refused by SCRAM',
         {'login': ('me', 'other'), 'caps': CAPS + ('AUTH SCRAM-SHA-256',)},
         '4.7.8'),
        ('a server that does not know it',
         {'login': good, 'false_proof': True,
          'caps': CAPS + ('AUTH SCRAM-SHA-256',)}, '4.7.0'),
        ('none offered', {'login': good}, '4.7.4'),
        ('none known', {'login': good, 'caps': CAPS + ('AUTH GSSAPI',)},
         '4.7.4'),
        ('a server that asks for ever',
         {'auth': lambda s, l: s.say('334 ') or [
             s.say('334 ') for _ in iter(s.line, None)],
          'caps': CAPS + ('AUTH SCRAM-SHA-256',)}, '4.7.0'),
        ('235 without a proof', {'auth': '235 2.7.0 come in',
                                 'caps': CAPS + ('AUTH SCRAM-SHA-256',)},
         '4.7.0'),
        ('454', {'auth': '454 4.7.0 not now', 'caps': CAPS +
                 ('AUTH PLAIN',)}, '4.7.0'),
    ]
    for what, more, want in rows:
        a = agent('required')
        with Servers((4, dict(more, tls=cert))) as s:
            code, scope, text = a.one('one.test')
            same((code, scope, 'MAIL' in verbs(s)), (want, 'host', False),
                 'login: %s: later' % what)
        ok(a.stop(), 'the agent lives')


def clear_password():
    """The password stays at home where it could be read."""
    dns = nsd.Nsd({'test': ZONE})
    a = Agent(dns, PORT, remote='smarthost = "out.test:%d" smarthost_user = '
              'me smarthost_password = secret smarthost_tls = opportunistic'
              % PORT)
    with Servers((4, {'login': ('me', 'secret'),
                      'caps': CAPS[:3] + ('AUTH PLAIN',)})) as s:
        same(a.one('one.test')[0], '2.0.0', 'on loopback it may go in clear')
    ok(a.stop(), 'the agent lives')
    dns.stop()


def implicit(dns, cert):
    a = Agent(dns, PORT, remote='transports = {"* smtps:out.test:%d"}' % PORT)
    with Servers((4, {'tls': cert, 'implicit_tls': True})) as s:
        same(how(a), ('2.0.0', 'tls=TLSv1.3'), 'TLS from the start')
    with Servers((4, {})) as s:
        code, scope, text = a.one('one.test')
        same((code[:3], scope), ('4.7', 'host'), 'which cannot be done without')
    ok(a.stop(), 'the agent lives')


def rules(dns, cert):
    a = Agent(dns, PORT, remote='''
transports = {"two.test smtp:127.0.0.3", ".sub.test mx:one.test",
  "deep.sub.test direct", "lmtp.test lmtp:127.0.0.5:%d"}
sender_smarthosts = {"@boss.test smtp:127.0.0.4 boss secret",
  "vip@us.test smtp:127.0.0.6"}
source = {"127.0.0.7"} sender_sources = {"@boss.test 127.0.0.8"}
tls_policies = {"one.test none"}
''' % PORT)
    peers = []

    def note(s, line):
        peers.append(s.sock.getpeername()[0])
    clear = CAPS[:3]
    with Servers((2, {'tls': cert, 'ehlo': note}),
                 (3, {'ehlo': note, 'caps': clear}),
                 (4, {'login': ('boss', 'secret'), 'ehlo': note,
                      'caps': clear + ('AUTH LOGIN',)}),
                 (5, {'lmtp': True, 'caps': clear}),
                 (6, {'caps': clear})) as (s2, s3, s4, s5, s6):
        for to, more, at in (
                ('one.test', {}, s2), ('two.test', {}, s3),
                ('x.sub.test', {}, s2), ('lmtp.test', {}, s5),
                ('one.test', {'sender': 'me@boss.test'}, s4),
                ('two.test', {'sender': 'me@boss.test'}, s3),
                ('one.test', {'sender': 'VIP@us.test'}, s6),
                ('one.test', {'sender': ''}, s2)):
            before = len(at.messages)
            got = a.one(to, **more)
            same((got[0], len(at.messages)), ('2.0.0', before + 1),
                 'rules: %s %s' % (to, more))
        same(a.one('deep.sub.test')[0], '5.1.2', 'rules: the most specific')
        same(peers[:5], ['127.0.0.7'] * 3 + ['127.0.0.8'] * 2,
             'rules: the address they come from')
        ok('STARTTLS' not in verbs(s2), 'rules: TLS')
    ok(a.stop(), 'the agent lives')


def main():
    global PORT
    need_programs(['deliver-remote', 'resolve', 'tls'])
    if not nsd.is_there():
        skip('the remote agent and TLS', 'nsd is not installed')
        done()
    PORT = free_port()
    cert = mx.certificate(TOP, 'mx2.test', 'mx3.test', 'mx2.sig.test')
    dns = nsd.Nsd({'test': ZONE})
    for test in (opportunistic, fallback, resumption, required, injection, smarthost,
                 bad_logins, implicit, rules):
        test(dns, cert)
    clear_password()
    dns.stop()
    row48_dane(cert)
    shutil.rmtree(TOP, ignore_errors=True)
    done()


main()
