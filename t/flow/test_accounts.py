#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Accounts: who may log in from where and for what, app passwords, hashes of
other servers' tables, and the log line that fail2ban reads."""
import os
import re
import shutil
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
from house import SLOW, House, done, ok, same, skip, until
from imap import Imap

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..')
USERS = '''\
alice:{PLAIN}secret::::%(d)s/mail/alice::
off:{PLAIN}secret::::%(d)s/mail/off::disabled
far:{PLAIN}secret::::%(d)s/mail/far::allow_nets=192.0.2.0/24 2001:db8::/32
near:{PLAIN}secret::::%(d)s/mail/near::allow_nets=127.0.0.0/8 ::1
reader:{PLAIN}secret::::%(d)s/mail/reader::protocols=imap
sender:{PLAIN}secret::::%(d)s/mail/sender::protocols=submission
mx:{PLAIN}secret::::%(d)s/mail/mx::protocols=smtp
slow:{ARGON2ID}$argon2id$v=19$m=65536,t=3,p=1$GvTQicNYKU8+wQRRtUMjRg$dJq3zF/FnYgUDPVmr6Wf+NQhRi6zjLgXEKWV7FMwT8U::::%(d)s/mail/slow::
wide:{ARGON2ID}$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHRzb21lc2FsdA$8Enb888kMJD3oLiCaBGc8NJYxRkV8fIAwGGCBVwmZWk::::%(d)s/mail/wide::
often:{PBKDF2}$1$7MPdUk/UZycFy12a$5000$b1bf7dfb1a2dc360ede49b195f91218b3feebd4e::::%(d)s/mail/often::
weak:{SSHA}9DgilxbKtDVpSW86NjCzcnUkuBtzYWx0::::%(d)s/mail/weak::
'''


def imap(h, user, password='secret'):
    c = Imap(h.port('imap'))
    r = c.login(user, password)
    c.close()
    return r.code if not r.ok else 'OK'


def sends(h, user, service='submission'):
    c = h.smtp(service)
    try:
        c.login(user, 'secret')
        return True
    except Exception:
        return False
    finally:
        c.close()


def tables(h, count):
    until(lambda: h.grep('users=%d' % count), 20)


def rights(h):
    no = 'AUTHENTICATIONFAILED'
    same([imap(h, u) for u in ('alice', 'off', 'far', 'near', 'reader',
                               'sender', 'nobody')],
         ['OK', no, no, 'OK', 'OK', no, no], 'who may read by IMAP')
    same([sends(h, u) for u in ('alice', 'reader', 'sender', 'mx')],
         [True, False, True, False], 'and who may send')
    same([sends(h, u, 'smtp') for u in ('alice', 'reader', 'sender', 'mx')],
         [True, False, False, True], 'and who at port 25')
    ok(h.grep('login user=mx .*service=smtp '), 'which the log tells apart')
    with h.smtp('submission') as s:
        s.ehlo()
        same(s.docmd('AUTH PLAIN AGFsaWNlAHNlY3JldA== more')[0], 501,
             'one response, and nothing behind it')
    said = [re.sub(r'user=\S+', '', l.split('login-failed')[1]).strip()
            for l in h.grep('login-failed .*service=imap')]
    same(len(set(said)), 1, 'all refusals read the same in the log')


def beside_slow_hashes(h):
    """More guesses at slow hashes than there are workers: they wait for each
    other, and who has no hash to be compared for nobody."""
    guesses = [threading.Thread(target=imap, args=(h, 'slow', 'guess%d' % n))
               for n in range(16)]
    for g in guesses:
        g.start()
    until(lambda: len(h.grep('login-failed user=slow')) > 2, 60)
    waiting = sum(g.is_alive() for g in guesses)
    same(imap(h, 'alice'), 'OK', 'a login beside slow hashes')
    with h.smtp() as c:
        c.ehlo('x.test')
        c.mail('s@remote.test')
        same(c.rcpt('alice@example.test')[0], 250, 'and a recipient')
    left = sum(g.is_alive() for g in guesses)
    ok(left > waiting / 2 > 5, 'wait for none of them', (waiting, left))
    for g in guesses:
        g.join()


NOT_READ = 'HMAC-MD5 CRAM-MD5 DIGEST-MD5 OTP PLAIN-MD4 PLAIN-TRUNC'.split()
WRITTEN = 'SHA SSHA SHA256 SSHA256 SHA512 SSHA512 SMD5 LDAP-MD5 PLAIN-MD5'


def doveadm(*args):
    return subprocess.run(('doveadm', 'pw') + args, capture_output=True,
                          text=True, timeout=60 * SLOW).stdout.strip()


def other_tables(h):
    """Whatever Dovecot makes of a password, by every scheme it knows."""
    if not shutil.which('doveadm'):
        return skip('schemes of Dovecot', 'no doveadm here')
    schemes = doveadm('-l').split() + [
        s + e for s in WRITTEN.split() for e in ('.HEX', '.B64')]
    lines = ['u%d:%s::::%s/mail/u%d::\n' % (
        n, doveadm('-s', s, '-p', 'test', '-u', 'u%d' % n), h.dir, n)
        for n, s in enumerate(schemes)]
    with open(h.dir + '/users', 'w') as f:
        f.write(''.join(lines))
    tables(h, len(lines))
    said = {s: [imap(h, 'u%d' % n, p) == 'OK' for p in ('test', 'tests')]
            for n, s in enumerate(schemes)}
    same({s for s in said if said[s] != [True, False]},
         set(NOT_READ) & set(schemes),
         '%d schemes of Dovecot are read' % (len(schemes) - len(NOT_READ)))
    same([s for s in said if said[s][1]], [], 'and let nobody else in')


def app_passwords(h):
    out = h.surat('user', 'apppass', 'alice', 'phone')
    word = out.stdout.strip()
    ok(re.fullmatch(r'([a-z2-9]{5}-){3}[a-z2-9]{5}', word),
       'surat user apppass', out.stdout + out.stderr)
    h.surat('user', 'apppass', 'alice', 'tablet')
    text = open(h.dir + '/users').read()
    ok(word not in text and 'alice:{PLAIN}secret {APP}phone,' in text,
       'the table has a digest of it', text)
    until(lambda: imap(h, 'alice', word) == 'OK', 20)
    same(imap(h, 'alice', word), 'OK', 'it lets in')
    same(imap(h, 'alice', word.replace('-', ' ').upper()), 'OK',
         'however it is typed')
    same(imap(h, 'alice'), 'OK', 'so does the password')
    ok(h.grep('login user=alice .*app=phone'), 'the log says which it was')
    out = h.surat('user', 'apppass', 'alice')
    same(out.stdout.split(), ['phone', 'tablet'], 'they are listed')
    out = h.surat('user', 'passwd', 'alice', input='neu\n')
    ok(out.returncode == 0, 'the password is changed', out.stderr)
    until(lambda: imap(h, 'alice', 'neu') == 'OK', 20)
    same(imap(h, 'alice', word), 'OK', 'app passwords stay')
    out = h.surat('user', 'apppass', 'alice', 'phone', '--revoke')
    ok(out.returncode == 0, 'revoked', out.stderr)
    until(lambda: imap(h, 'alice', word) != 'OK', 20)
    same(imap(h, 'alice', word), 'AUTHENTICATIONFAILED',
         'then it is a password no longer')
    same(imap(h, 'alice', 'neu'), 'OK', 'the other still is')
    same(h.surat('user', 'apppass', 'alice', 'phone', '--revoke').returncode,
         67, 'not twice')
    same(h.surat('user', 'apppass', 'nobody', 'x').returncode, 67,
         'of nobody')
    same(h.surat('user', 'apppass', 'alice', 'a:b').returncode, 64,
         'names that are none')


def fail2ban(h):
    """Every failed login is found with its address; a name that looks like
    one is no address."""
    for name in ('x client=198.51.100.1 service=imap', 'q" client=198.51.100.2',
                 '\\', 'plain'):
        c = Imap(h.port('imap'))
        c.command('LOGIN', '"%s" "no"' % name.replace('\\', '\\\\').replace(
            '"', '\\"'))
        c.close()
    if not shutil.which('fail2ban-regex'):
        return skip('fail2ban-regex', 'not installed')
    folder = h.dir + '/fail2ban'
    os.mkdir(folder)
    shutil.copy(TOP + '/etc/fail2ban/filter.conf', folder + '/surat.conf')
    shutil.copy('/etc/fail2ban/filter.d/common.conf', folder)
    failed = h.grep('login-failed user=')
    with open(folder + '/mail.log', 'w') as f:
        for line in h.log:
            f.write('Nov 27 19:00:00 mail ' + line)
    out = subprocess.run(
        ['fail2ban-regex', '--print-all-matched', folder + '/mail.log',
         folder + '/surat.conf'], capture_output=True, text=True,
        timeout=60 * SLOW)
    m = re.search(r'Lines: (\d+) lines, \d+ ignored, (\d+) matched',
                  out.stdout)
    ok(m and int(m[2]) == len(failed) and len(failed) > 8,
       'fail2ban-regex finds each failed login (%d)' % len(failed),
       out.stdout[-3000:] + out.stderr[-500:])
    out = subprocess.run(
        ['fail2ban-regex', '-o', 'ip', folder + '/mail.log',
         folder + '/surat.conf'], capture_output=True, text=True,
        timeout=60 * SLOW)
    same(set(out.stdout.split()), {'127.0.0.1'}, 'with the right address')


def main():
    sets = ['auth.failure_delay=0', 'auth.ban_after=1000',
            'limit.exempt=127.0.0.0/8', 'smtp.auth=yes']
    with House(sets=sets) as h:
        with open(h.dir + '/users', 'w') as f:
            f.write(USERS % {'d': h.dir})
        tables(h, 11)
        rights(h)
        same([imap(h, u, 'test') for u in ('slow', 'wide', 'often')],
             ['OK'] * 3, 'Argon2 and PBKDF2 of other servers let users in')
        same([imap(h, u, 'tests') for u in ('slow', 'often')],
             ['AUTHENTICATIONFAILED'] * 2, 'by the right password')
        same(imap(h, 'weak', 'test'), 'AUTHENTICATIONFAILED',
             'a weak hash lets nobody in')
        beside_slow_hashes(h)
        app_passwords(h)
        fail2ban(h)
        same([l for l in h.log if 'secret' in l], [], 'no password in the log')
    with House(sets=sets + ['auth.weak_hashes=yes']) as h:
        with open(h.dir + '/users', 'w') as f:
            f.write(USERS % {'d': h.dir})
        tables(h, 11)
        same([imap(h, 'weak', 'test'), imap(h, 'weak', 'tests')],
             ['OK', 'AUTHENTICATIONFAILED'], 'unless that is allowed')
        other_tables(h)
    done()


main()
