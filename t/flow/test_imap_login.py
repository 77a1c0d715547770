#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Logging in by IMAP: every SASL mechanism with a client of another hand,
capabilities that are kept from some clients, and clients behind a load
balancer."""
import base64
import os
import re
import socket
import ssl
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
from house import SLOW, House, done, ok, same, until
from imap import Imap
from ports import free_port

MECHANISMS = ('SCRAM-SHA-256-PLUS', 'SCRAM-SHA-256', 'SCRAM-SHA-1-PLUS',
              'SCRAM-SHA-1', 'PLAIN', 'LOGIN')

NO_EXTENDED_MASTER_SECRET = 1  # of OpenSSL; Python has no name for it


def gsasl(h, mechanism, password, *more):
    """Channel binding: the client's TLS is GnuTLS, ours OpenSSL."""
    return subprocess.run(
        ['gsasl', '--imap', '--connect=127.0.0.1:%d' % h.port('imap'),
         '--mechanism=' + mechanism, '--authentication-id=alice',
         '--password=' + password, '--verbose', '--starttls',
         '--x509-ca-file=' + h.dir + '/tls/cert.pem', *more,
         *([] if 'PLUS' in mechanism else ['--no-cb'])],
        stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=60 * SLOW)


def every_mechanism(h):
    for mechanism in MECHANISMS:
        out = gsasl(h, mechanism, 'secret')
        text = out.stdout + out.stderr
        ok(out.returncode == 0 and re.search(r'OK \[CAPABILITY ', text),
           'gsasl, ' + mechanism, text[-800:])
        out = gsasl(h, mechanism, 'wrong')
        ok(out.returncode != 0 and 'AUTHENTICATIONFAILED' in out.stdout +
           out.stderr, 'gsasl, %s, a wrong password' % mechanism,
           out.stdout[-800:])


def offers(c):
    return c.command('CAPABILITY').lines[0][1]


def offered(h):
    """-PLUS only where there is something to bind to, LOGINDISABLED and no
    mechanism before TLS."""
    c = Imap(h.port('imap'))
    words = offers(c)
    ok('LOGINDISABLED' in words and 'SASL-IR' in words and
       not [w for w in words if w.startswith('AUTH=')], 'before TLS', words)
    same(c.command('AUTHENTICATE SCRAM-SHA-256').code, 'PRIVACYREQUIRED',
         'nor can one be used')
    c.command('STARTTLS')
    c.start_tls()
    words = offers(c)
    same([w for w in words if w.startswith('AUTH=')],
         ['AUTH=' + m for m in MECHANISMS], 'under TLS, the strongest first')
    word = base64.b64encode(b'\0alice\0secret').decode()
    ok(c.command('AUTHENTICATE PLAIN ' + word).ok, 'SASL-IR')
    ok('SASL-IR' not in offers(c), 'nothing of that after the login')
    c.close()


def unbound(h):
    """Before TLS 1.3 the exporter is a channel's own only with the extended
    master secret."""
    for option, want in ((0, True), (NO_EXTENDED_MASTER_SECRET, False)):
        c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        c.check_hostname, c.verify_mode = False, ssl.CERT_NONE
        c.maximum_version = ssl.TLSVersion.TLSv1_2
        c.options |= option
        with c.wrap_socket(socket.create_connection(
                ('127.0.0.1', h.port('imaps')))) as s:
            greeting = s.recv(4096)
        same(b'-PLUS' in greeting, want, 'TLS 1.2 %s extended master secret' %
             ('with' if want else 'without'))


def hidden(h):
    c = Imap(h.port('imaps'), tls=True)
    words = offers(c)
    ok('AUTH=LOGIN' not in words and 'AUTH=PLAIN' in words and
       'IDLE' not in words and 'MOVE' not in words and
       'LITERAL+' not in words and 'LITERAL-' in words,
       'what is hidden from this network', words)
    same(c.command('AUTHENTICATE LOGIN').code, 'CANNOT',
         'a hidden mechanism cannot be used')
    ok(c.login('alice', 'secret').ok, 'others can')
    words = offers(c)
    ok('IDLE' not in words and 'CONDSTORE' not in words and
       'MOVE' in words, 'the session hides the same', words)
    r = c.command('ENABLE CONDSTORE')
    same((r.ok, r.lines[0]), (True, ('ENABLED', [])),
         'what is hidden is not enabled')
    c.logout()


def proxied(h, imap, pop3):
    """Whose address counts is not the load balancer's."""
    source, host = '192.0.2.77', '127.0.0.1'
    header = b'\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c' + \
        socket.inet_aton(source) + socket.inet_aton(host) + b'\x10\0\0\x8f'
    with socket.create_connection((host, imap), 30) as s, s.makefile() as f:
        s.sendall(header + b'a LOGIN alice secret\r\n')
        first, answer = f.readline(), f.readline()
    ok('LOGINDISABLED' in first and 'IDLE' not in first and
       'PRIVACYREQUIRED' in answer, 'IMAP behind a proxy: its address decides',
       first + answer)
    with socket.create_connection((host, pop3), 30) as s, s.makefile() as f:
        s.sendall(header)
        f.readline()
    ok(until(lambda: all(h.grep(' connect client=%s service=%s' % (
        source, name)) for name in ('imap', 'pop3'))),
       'and is in the log, as by POP3', h.grep(' connect '))


def main():
    with House(options=(), sets=['auth.failure_delay=0']) as h:
        with open(h.dir + '/users', 'w') as f:
            f.write('alice:{PLAIN}secret::::%s/mail/alice::\n' % h.dir)
        until(lambda: len(h.grep('users-read')) > 1 or h.smtp(
            'submission').close(), 5)
        offered(h)
        unbound(h)
        every_mechanism(h)
    with House(sets=['imap.hide=127.0.0.0/8 IDLE literal+,'
                     '* AUTH=LOGIN CONDSTORE,192.0.2.0/24 MOVE']) as h:
        hidden(h)
    h = House(sets=['imap.hide=192.0.2.0/24 IDLE'])
    ports = [free_port(), free_port()]
    h.sets += ['listen.imap=127.0.0.1:%d, 127.0.0.1:%d proxy' %
               (h.port('imap'), ports[0]),
               'listen.pop3=127.0.0.1:%d, 127.0.0.1:%d proxy' %
               (h.port('pop3'), ports[1])]
    with h:
        proxied(h, *ports)
    done()


main()
