#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Real clients send mail: swaks (all of it in test_swaks.py), curl, msmtp, gsasl,
smtplib and sendmail, with every form of TLS and AUTH they know."""
import os
import smtplib
import ssl
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
from house import BUILD, SLOW, House, done, message, ok, same, until

SENT = 0


def call(*command, text=None, env=None):
    return subprocess.run(command, input=text, capture_output=True,
                          text=True, timeout=120 * SLOW,
                          env=dict(os.environ, **(env or {})))


def arrives(h, what, send):
    """send(subject) must put one message into bob's mailbox."""
    global SENT
    SENT += 1
    subject = 'mail number %d.' % SENT
    before = len(h.mails('bob'))
    out = send(subject)
    if hasattr(out, 'returncode'):
        if not ok(out.returncode == 0, what + ': sent',
                  out.stdout[-1500:] + out.stderr[-1500:]):
            return
    files = h.wait_mail('bob', before + 1)
    found = [f for f in files if subject.encode() in open(f, 'rb').read()]
    ok(len(found) == 1, what + ': arrives once', files)


def refused(what, out, *words):
    text = out.stdout + out.stderr
    ok(out.returncode != 0 and all(w in text for w in words),
       what + ': refused', text[-1500:])


def swaks(h, service, *more):
    return lambda subject: call(
        'swaks', '--server', '127.0.0.1:%d' % h.port(service), '--from',
        'alice@example.test', '--to', 'bob@example.test', '--h-Subject',
        subject, '--timeout', str(60 * SLOW), *more)


def with_swaks(h):
    login = ('--auth-user', 'alice', '--auth-password', 'secret')
    arrives(h, 'swaks, port 25', swaks(h, 'smtp'))
    arrives(h, 'swaks, port 25, STARTTLS', swaks(h, 'smtp', '-tls'))
    arrives(h, 'swaks, PIPELINING', swaks(h, 'smtp', '--pipeline'))
    arrives(h, 'swaks, HELO', swaks(h, 'smtp', '--protocol', 'SMTP'))
    arrives(h, 'swaks, LMTP', swaks(h, 'lmtp', '--protocol', 'LMTP'))
    for method in ('PLAIN', 'LOGIN'):
        arrives(h, 'swaks, 587, STARTTLS, ' + method, swaks(
            h, 'submission', '-tls', '--auth', method, *login))
        arrives(h, 'swaks, 465, ' + method, swaks(
            h, 'submissions', '--tls-on-connect', '--auth', method, *login))
    arrives(h, 'swaks, 587, pipelining', swaks(
        h, 'submission', '-tls', '--pipeline', '--auth', 'PLAIN', *login))
    refused('swaks, 587 without TLS', swaks(
        h, 'submission', '--auth', 'PLAIN', *login)('x'))
    refused('swaks, a wrong password', swaks(
        h, 'submission', '-tls', '--auth', 'PLAIN', '--auth-user', 'alice',
        '--auth-password', 'wrong')('x'), '535')
    refused('swaks, no login', swaks(h, 'submission', '-tls')('x'), '530')
    refused('swaks, AUTH on port 25', swaks(
        h, 'smtp', '-tls', '--auth', 'PLAIN', *login)('x'))
    for version in ('tlsv1', 'tlsv1_1'):
        refused('swaks, ' + version, swaks(
            h, 'smtp', '-tls', '--tls-protocol', version)('x'))


def with_curl(h):
    def send(service, *more):
        scheme = 'smtps' if service == 'submissions' else 'smtp'
        return lambda subject: call(
            'curl', '-sSk', '--url', '%s://127.0.0.1:%d/client.test' % (
                scheme, h.port(service)), '--mail-from',
            'alice@example.test', '--mail-rcpt', 'bob@example.test',
            '--upload-file', '-', *more,
            text='From: alice@example.test\r\nSubject: %s\r\n\r\n.dot\r\n'
                 % subject)
    arrives(h, 'curl, port 25', send('smtp'))
    arrives(h, 'curl, STARTTLS', send('smtp', '--ssl-reqd'))
    for method in ('PLAIN', 'LOGIN'):
        arrives(h, 'curl, 587, ' + method, send(
            'submission', '--ssl-reqd', '-u', 'alice:secret',
            '--login-options', 'AUTH=' + method))
        arrives(h, 'curl, 465, ' + method, send(
            'submissions', '-u', 'alice:secret', '--login-options',
            'AUTH=' + method))


def with_msmtp(h):
    def send(service, method, user='alice'):
        conf = h.dir + '/msmtprc'
        with open(conf, 'w') as f:
            f.write('account default\nhost 127.0.0.1\nport %d\n'
                    'from %s@example.test\ntls on\ntls_starttls %s\n'
                    'tls_certcheck off\nauth %s\nuser %s\n'
                    'password secret\n' % (
                        h.port(service), user,
                        'off' if service == 'submissions' else 'on', method,
                        user))
        os.chmod(conf, 0o600)
        return lambda subject: call(
            'msmtp', '-C', conf, 'bob@example.test',
            text='From: %s@example.test\nSubject: %s\n\nhello\n' % (
                user, subject))
    for service in ('submission', 'submissions'):
        for method in ('on', 'plain', 'login', 'scram-sha-1',
                       'scram-sha-256'):
            arrives(h, 'msmtp, %s, %s' % (service, method),
                    send(service, method))


def with_gsasl(h):
    """Channel binding: the client's TLS is GnuTLS, ours OpenSSL."""
    def login(mechanism, user, password):
        return call('gsasl', '--smtp', '--connect=127.0.0.1:%d' %
                    h.port('submission'), '--mechanism=' + mechanism,
                    '--authentication-id=' + user, '--password=' + password,
                    '--verbose', '--starttls',
                    *([] if 'PLUS' in mechanism else ['--no-cb']),
                    '--x509-ca-file=' + h.dir + '/tls/cert.pem', text='')
    for mechanism in ('PLAIN', 'LOGIN', 'SCRAM-SHA-1', 'SCRAM-SHA-1-PLUS',
                      'SCRAM-SHA-256', 'SCRAM-SHA-256-PLUS'):
        out = login(mechanism, 'alice', 'secret')
        ok('235 ' in out.stdout + out.stderr and out.returncode == 0,
           'gsasl, ' + mechanism, out.stdout[-800:] + out.stderr[-800:])
        out = login(mechanism, 'alice', 'wrong')
        refused('gsasl, %s, a wrong password' % mechanism, out)
        ok('235 ' not in out.stdout, 'and no 235', out.stdout[-500:])


def with_scram_user(h):
    """A secret made by surat: no password in the table, SCRAM and PLAIN."""
    out = h.surat('user', 'add', '--scram', 'carol', input='pencil\n')
    ok(out.returncode == 0 and 'carol:{SCRAM-SHA-256}10000,' in
       open(h.dir + '/users').read(), 'surat user add --scram', out.stderr)
    until(lambda: any('users=3' in l for l in h.log))

    def login(mechanism, password):
        return call('gsasl', '--smtp', '--connect=127.0.0.1:%d' %
                    h.port('submission'), '--mechanism=' + mechanism,
                    '--authentication-id=carol', '--password=' + password,
                    '--starttls', '--x509-ca-file=' + h.dir +
                    '/tls/cert.pem',
                    *([] if 'PLUS' in mechanism else ['--no-cb']), text='')
    for mechanism in ('SCRAM-SHA-256', 'SCRAM-SHA-256-PLUS', 'PLAIN'):
        out = login(mechanism, 'pencil')
        ok(out.returncode == 0, 'a SCRAM secret: ' + mechanism,
           out.stdout[-600:] + out.stderr[-600:])
        refused('a SCRAM secret, a wrong password: ' + mechanism,
                login(mechanism, 'pencils'))


def with_smtplib(h):
    def send(subject, service='submission', user='alice'):
        context = ssl._create_unverified_context()
        if service == 'submissions':
            s = smtplib.SMTP_SSL('127.0.0.1', h.port(service),
                                 context=context, timeout=60 * SLOW)
        else:
            s = smtplib.SMTP('127.0.0.1', h.port(service), timeout=60 * SLOW)
            s.starttls(context=context)
        with s:
            s.login(user, 'secret')
            s.sendmail(user + '@example.test', ['bob@example.test'],
                       message(subject))
    arrives(h, 'smtplib, 587', send)
    arrives(h, 'smtplib, 465', lambda s: send(s, 'submissions'))


def with_sendmail(h):
    def send(*args, text):
        return call(BUILD + '/bin/sendmail', '-C', h.dir + '/surat.conf',
                    *args, text=text)
    arrives(h, 'sendmail', lambda s: send(
        'bob@example.test', text='Subject: %s\n\nhello\n' % s))
    arrives(h, 'sendmail -t -i', lambda s: send(
        '-t', '-i', text='To: bob@example.test\nSubject: %s\n\n.\nmore\n' % s))
    arrives(h, 'sendmail -bs', lambda s: send(
        '-bs', text='EHLO x\r\nMAIL FROM:<alice@example.test>\r\n'
        'RCPT TO:<bob@example.test>\r\nDATA\r\nSubject: %s\r\n\r\nx\r\n.\r\n'
        'QUIT\r\n' % s))


def ipv6(h):
    import socket
    try:
        with socket.socket(socket.AF_INET6) as s:
            s.bind(('::1', 0))
    except OSError:
        print('ok - IPv6 # SKIP there is none')
        return
    arrives(h, 'swaks, IPv6', lambda subject: call(
        'swaks', '--server', '[::1]:%d' % h.port('smtp'), '--from', 'a@b.test',
        '--to', 'bob@example.test', '--h-Subject', subject))
    ok(any(b'[IPv6:::1]' in open(f, 'rb').read() for f in h.mails('bob')),
       'the trace line says IPv6')


def main():
    with House(options=(), without=('imapd', 'pop3d', 'deliver-remote'),
               sets=['auth.failure_delay=0']) as h:
        with open(h.dir + '/users', 'w') as f:
            f.write('alice:{PLAIN}secret::::%s/mail/alice::\n'
                    'bob:{PLAIN}secret::::%s/mail/bob::\n' % (h.dir, h.dir))
        until(lambda: len(h.grep('users-read')) > 1 or h.smtp(
            'submission').close(), 5)
        with_swaks(h)
        with_curl(h)
        with_msmtp(h)
        with_gsasl(h)
        with_scram_user(h)
        with_smtplib(h)
        with_sendmail(h)
        ipv6(h)
        until(lambda: not h.queue())
        same(h.queue(), [], 'the queue is empty at the end')
        same([l for l in h.log if 'secret' in l], [],
             'no password in the log')
    done()


main()
