#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""swaks with every AUTH and every TLS form it has, on every service: what is
taken arrives and says so in its trace line; what is not is refused, and the
password never leaves the client in the clear."""
import os
import re
import socket
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
from house import SLOW, House, done, ok, same, until

GOOD = ('--auth-user', 'alice', '--auth-password', 'secret')
WRONG = ('--auth-user', 'alice', '--auth-password', 'wrong')
STARTTLS, ON_CONNECT = ('-tls',), ('--tls-on-connect',)
# of swaks
NO_MAIL, NO_RCPT, NO_AUTH, NO_TLS = 23, 24, 28, 29
SECRET = re.compile(r'secret|AGFsaWNlAHNlY3JldA==|c2VjcmV0')
COUNT = 0


def swaks(h, service, *more):
    global COUNT
    COUNT += 1
    return subprocess.run(
        ['swaks', '--server', '127.0.0.1:%d' % h.port(service), '--from',
         'alice@example.test', '--to', 'bob@example.test', '--h-Subject',
         'number %d.' % COUNT, '--timeout', str(20 * SLOW), *more],
        capture_output=True, text=True, timeout=60 * SLOW)


def trace_of(h):
    """The trace line of the last message, once it is there."""
    words = b'number %d.' % COUNT

    def find():
        for f in h.mails('bob'):
            text = open(f, 'rb').read()
            if words in text:
                return re.search(rb'(?s)Received: .*?\n(?=\S)', text)[0]
    return (until(find) or b'').decode()


def taken(h, service, what, *more, says='', trace=''):
    out = swaks(h, service, *more)
    text = out.stdout + out.stderr
    if not ok(out.returncode == 0 and re.search(says, text), what,
              '%d\n%s' % (out.returncode, text[-1500:])):
        return
    line = trace_of(h)
    ok(re.search(trace, line, re.S), what + ': so says the trace line',
       repr((trace, line)))


def refused(h, service, what, code, *more, says=''):
    before = len(h.mails('bob'))
    out = swaks(h, service, *more)
    text = out.stdout + out.stderr
    ok(out.returncode in (code if isinstance(code, tuple) else (code,)) and
       re.search(says, text) and len(h.mails('bob')) == before, what,
       '%d\n%s' % (out.returncode, text[-1500:]))
    return text


# ------------------------------------------------------------------- AUTH

def logins(h):
    for service, tls in (('submission', STARTTLS), ('submissions', ON_CONNECT)):
        for how in (['--auth', 'PLAIN'], ['--auth', 'LOGIN'], ['--auth'],
                    ['--auth', 'CRAM-MD5,DIGEST-MD5,LOGIN'],
                    ['--auth-optional'], ['--auth-optional-strict', 'PLAIN'],
                    ['--auth', 'PLAIN', '--pipeline']):
            taken(h, service, '%s %s' % (service, ' '.join(how)), *tls, *how,
                  *GOOD, says=r'<~. +235 2\.7\.0', trace='with ESMTPSA')
        for how in ('PLAIN', 'LOGIN'):
            refused(h, service, '%s %s: a wrong password' % (service, how),
                    NO_AUTH, *tls, '--auth', how, *WRONG,
                    says=r'<~\* +535 5\.7\.8')
        refused(h, service, service + ': nobody is let in without one',
                NO_MAIL, *tls, says=r'<~\* +530 5\.7\.0')
        refused(h, service, service + ': nor after a failure', NO_MAIL, *tls,
                '--auth-optional', 'PLAIN', *WRONG, says=r'<~\* +530 5\.7\.0')
        for how in ('CRAM-MD5', 'CRAM-SHA1', 'DIGEST-MD5', 'NTLM', 'SPA',
                    'MSN'):
            text = refused(h, service, '%s %s: is not offered' % (
                service, how), NO_AUTH, *tls, '--auth', how, *GOOD)
            ok('~> AUTH' not in text, 'and not begun', text[-800:])
        refused(h, service, service + ": another's address", NO_MAIL, *tls,
                '--auth', 'PLAIN', *GOOD, '--from', 'bob@example.test',
                says=r'<~\* +553 5\.7\.1')


def no_logins(h):
    """Before TLS nothing is offered, and what is said anyway is not heard."""
    for how in ('PLAIN', 'LOGIN', 'CRAM-MD5', 'CRAM-SHA1', 'DIGEST-MD5',
                'NTLM'):
        text = refused(h, 'submission', '587 %s before TLS' % how, NO_AUTH,
                       '--auth', how, *GOOD)
        ok('250-AUTH' not in text and '-> AUTH' not in text and
           not SECRET.search(text.split('=== Connected')[1]),
           'not offered, and the password stays', text)
        for tls in ((), STARTTLS):
            text = refused(h, 'smtp', '25 %s%s' % (how, ''.join(tls)),
                           NO_AUTH, *tls, '--auth', how, *GOOD)
            ok('AUTH' not in text.split('EHLO')[1], 'not offered there', text)
    taken(h, 'smtp', '25 with a login that need not be', *STARTTLS,
          '--auth-optional', *GOOD, trace='with ESMTPS ')


def liar(port):
    """A host between the two that offers AUTH where it is not, and hides TLS:
    its own port."""
    listener = socket.create_server(('127.0.0.1', 0))

    def pump(a, b, change):
        while octets := a.recv(65536):
            b.sendall(change(octets) if change else octets)
        b.shutdown(socket.SHUT_WR)

    def serve():
        client, server = listener.accept()[0], socket.create_connection(
            ('127.0.0.1', port))
        threading.Thread(target=pump, args=(client, server, None),
                         daemon=True).start()
        pump(server, client, lambda octets: octets.replace(
            b'250-STARTTLS\r\n', b'250-AUTH PLAIN LOGIN\r\n'))
    threading.Thread(target=serve, daemon=True).start()
    return listener.getsockname()[1]


def in_the_clear(h):
    """Who logs in without TLS all the same is not heard: his password, right
    or wrong, is not even looked at."""
    for service, says in (('submission', r'<\*\* 538 5\.7\.11'),
                          ('smtp', r'<\*\* 50[0-9] ')):
        for how in ('PLAIN', 'LOGIN'):
            for password in (GOOD, WRONG):
                refused(h, service, '%s %s in the clear' % (service, how),
                        NO_AUTH, '--auth', how, *password, '--server',
                        '127.0.0.1:%d' % liar(h.port(service)), says=says)


# -------------------------------------------------------------------- TLS

def versions(h):
    for service, tls in (('smtp', STARTTLS), ('submission', STARTTLS),
                         ('submissions', ON_CONNECT), ('lmtp', STARTTLS)):
        login = ('--auth', 'PLAIN') + GOOD if 'sub' in service else ()
        more = ('--protocol', 'LMTP') if service == 'lmtp' else ()
        for version, name in (('tlsv1_2', r'TLSv1\.2'),
                              ('tlsv1_3', r'TLSv1\.3')):
            taken(h, service, '%s %s' % (service, name), *tls, *more, *login,
                  '--tls-protocol', version,
                  says='TLS started with cipher ' + name,
                  trace='with (ESMTPSA?|LMTPS)')
        for version in ('tlsv1', 'tlsv1_1'):
            refused(h, service, '%s %s' % (service, version), NO_TLS, *tls,
                    *more, '--tls-protocol', version)


def forms(h):
    cert = h.dir + '/tls/cert.pem'
    for how in ('--tls-optional', '--tls-optional-strict'):
        taken(h, 'smtp', how, how, says='TLS started', trace='with ESMTPS ')
    taken(h, 'smtp', '25 without TLS', trace='with ESMTP ')
    for service, tls in (('smtp', STARTTLS), ('submissions', ON_CONNECT)):
        login = ('--auth', 'LOGIN') + GOOD if 'sub' in service else ()
        for what, more in (
                ('the certificate verifies',
                 ['--tls-verify', '--tls-ca-path', cert]),
                ('a name is asked for', ['--tls-sni', 'mail.example.test']),
                ('another name', ['--tls-sni', 'nobody.example']),
                ('ECDHE and AES', ['--tls-protocol', 'tlsv1_2',
                                   '--tls-cipher', 'ECDHE+AESGCM']),
                ('ChaCha', ['--tls-protocol', 'tlsv1_2', '--tls-cipher',
                            'ECDHE+CHACHA20']),
                ('a client with a certificate: nobody asks for it',
                 ['--tls-cert', h.dir + '/client.pem', '--tls-key',
                  h.dir + '/client.key'])):
            taken(h, service, '%s: %s' % (service, what), *tls, *login, *more,
                  says='TLS started', trace='with ESMTPSA?')
        refused(h, service, service + ': not verified without its issuer',
                NO_TLS, *tls, *login, '--tls-verify')
        for cipher in ('RC4', 'aNULL', 'eNULL', '3DES', 'EXPORT', 'kRSA'):
            refused(h, service, '%s: %s' % (service, cipher),
                    (1, NO_TLS), *tls, *login, '--tls-protocol', 'tlsv1_2',
                    '--tls-cipher', cipher + ':@SECLEVEL=0')
    refused(h, 'submission', 'TLS at once where STARTTLS is spoken', NO_TLS,
            *ON_CONNECT, '--timeout', '5')
    refused(h, 'submissions', 'STARTTLS where TLS comes at once', (6, 21, 2),
            *STARTTLS, '--timeout', '3')


def main():
    with House(options=(), without=('imapd', 'pop3d', 'deliver-remote'),
               users={'alice': 'secret', 'bob': 'secret'},
               sets=['auth.failure_delay=0', 'auth.ban_after=1000']) as h:
        subprocess.run(
            ['openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes',
             '-subj', '/CN=client', '-days', '2', '-keyout',
             h.dir + '/client.key', '-out', h.dir + '/client.pem'],
            check=True, capture_output=True)
        logins(h)
        no_logins(h)
        in_the_clear(h)
        versions(h)
        forms(h)
        same([l for l in h.log if SECRET.search(l)], [],
             'no password in the log')
    done()


main()
