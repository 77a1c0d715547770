#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""People whose passwords the system knows: PAM is asked, with a module of our
own, and as root with that of the shadow file."""
import imaplib
import os
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
from house import BUILD, SLOW, House, done, ok, same, skip, until
from root import ENTER, IDS, PEOPLE, RootHouse, need_root

MODULE = os.path.abspath(BUILD + '/t/pam_module.so')
SERVICE = '''\
auth required %(m)s alice=secret off=secret late=secret gone=secret \\
    ask=secret slow=secret carol=secret slow=slow asks=ask
account required %(m)s from=127.0.0.1 expired=late locked=gone
'''
USERS = '''\
alice:{PAM}::::%(d)s/mail/alice::
both:{PLAIN}mine {PAM}::::%(d)s/mail/both::
off:{PAM}::::%(d)s/mail/off::disabled
late:{PAM}::::%(d)s/mail/late::
gone:{PAM}::::%(d)s/mail/gone::
ask:{PAM}::::%(d)s/mail/ask::
slow:{PAM}::::%(d)s/mail/slow::
own:{CRYPT}$5$salt$lNwM/2EW94.5e484ZZwetUClB7.Z/Z3buPmQvXdPEj4::::%(d)s/mail/own::
'''
NO = 'AUTHENTICATIONFAILED'


def login(h, user, password='secret'):
    """'OK' or the response code."""
    c = imaplib.IMAP4('127.0.0.1', h.port('imap'))
    try:
        c.starttls()
        c.login(user, password)
        return 'OK'
    except imaplib.IMAP4.error as e:
        return str(e).partition('[')[2].partition(']')[0]
    finally:
        c.logout()


def submission(h, user, password):
    with h.smtp('submission') as c:
        try:
            c.login(user, password)
            return True
        except Exception:
            return False


def write(path, text):
    with open(path, 'w') as f:
        f.write(text)


def rights(h):
    same([login(h, u) for u in ('alice', 'off', 'late', 'gone', 'ask', 'who')],
         ['OK', NO, NO, NO, NO, NO],
         'whom PAM knows; not who is disabled here, whose password or account '
         'has expired, of whom more is asked, nobody else')
    same(login(h, 'alice', 'wrong'), NO, 'by the right password')
    same([login(h, 'both', p) for p in ('mine', 'secret')], ['OK', NO],
         'beside another secret')
    same([submission(h, 'carol', p) for p in ('secret', 'wrong')],
         [True, False], 'people of a passwd file are such users')
    same(submission(h, 'dora', 'secret'), False,
         'but for those with no password at all')
    same([l for l in h.log if 'secret' in l], [], 'no password in the log')


def slowly(h):
    said = []
    slow = threading.Thread(target=lambda: said.append(login(h, 'slow')))
    slow.start()
    time.sleep(0.5)
    began = time.monotonic()
    same(login(h, 'own', 'test'), 'OK', 'while it takes its time, others')
    took = time.monotonic() - began
    ok(slow.is_alive() and took < 2 * SLOW, 'need not wait', took)
    slow.join()
    same(said, ['OK'], 'who needs it waits for it')


def at_once(h):
    """What was right a moment ago is asked again."""
    same(login(h, 'alice'), 'OK', 'the password')
    text = open(h.dir + '/service').read()
    write(h.dir + '/service', text.replace('alice=secret', 'alice=newer'))
    same([login(h, 'alice', p) for p in ('secret', 'newer')], [NO, 'OK'],
         'has been changed')


def delay(h):
    """The pause is the same for who is there and who is not."""
    took = []
    for name in ('alice', 'nobody', 'own', 'slow'):
        began = time.monotonic()
        login(h, name, 'wrong')
        took.append(time.monotonic() - began)
    ok(all(4.9 < t < 4.9 + 3 * SLOW for t in took),
       'a refusal takes as long, whoever it is', took)


def module():
    sets = ['limit.exempt=127.0.0.0/8', 'auth.ban_after=1000']
    with House(users={}, sets=sets) as h:
        write(h.dir + '/users', USERS % {'d': h.dir})
        until(lambda: h.grep('users=8'), 20)
        same(login(h, 'alice'), NO, 'nobody is asked unless that is wanted')
    for seconds, parts in ((0, (rights, slowly, at_once)), (5, (delay,))):
        h = House(users={}, sets=sets)
        h.sets += ['auth.failure_delay=%d' % seconds,
                   'auth.pam=%s/service' % h.dir,
                   'address.users=passwd:%s/people' % h.dir]
        write(h.dir + '/service', SERVICE % {'m': MODULE})
        write(h.dir + '/people', 'carol:x:1000:1000::/nowhere:\n'
              'dora::1001:1001::/nowhere:\n')
        with h:
            write(h.dir + '/users', USERS % {'d': h.dir})
            until(lambda: h.grep('users=8'), 20)
            for part in parts:
                part(h)


class Shadowed(RootHouse):
    """With a shadow file, which the group of that name may read."""

    def write_tables(self):
        super().write_tables()
        write(self.path('etc/users'), ''.join(
            '%s:{PAM}:%d:%d::%s::\n' % (n, i, i, self.path('home/' + n))
            for n, i in PEOPLE.items()))
        self.shadow('pass', 'word')
        self.group('_suratauth')

    def group(self, members):
        with open(self.path('etc/group'), 'a') as f:
            f.write('shadow:x:42:%s\n' % members)

    def shadow(self, carol, dave, locked=''):
        hashes = [subprocess.run(['openssl', 'passwd', '-6', p],
                                 capture_output=True, text=True).stdout.strip()
                  for p in (carol, dave)]
        # in place: the file is mounted
        write(self.path('etc/shadow'), 'carol:%s:20000::::::\ndave:%s%s:'
              '20000::::::\n' % (hashes[0], locked, hashes[1]))
        os.chmod(self.path('etc/shadow'), 0o640)
        os.chown(self.path('etc/shadow'), 0, 42)

    def command(self):
        c = super().command()
        c[c.index(ENTER)] = ('mount --bind "$0/etc/shadow" /etc/shadow && ' +
                             ENTER)
        return c


UNIX = 'auth required pam_unix.so\naccount required pam_unix.so\n'


def shadow():
    need_root('PAM and the shadow file')
    sets = ['auth.failure_delay=0', 'auth.ban_after=1000']
    h = Shadowed(sets=sets)
    h.sets.append('auth.pam=' + h.path('etc/service'))
    write(h.path('etc/service'), UNIX)
    with h:
        same([login(h, *who) for who in (
            ('carol', 'pass'), ('dave', 'word'), ('carol', 'word'),
            ('alice', 'secret'))], ['OK', 'OK', NO, NO],
            'passwords of the shadow file')
        ok(os.path.isdir(h.path('home/carol/Maildir')),
           'and the session is theirs')
        h.shadow('other', 'word', locked='!')
        same([login(h, *who) for who in (
            ('carol', 'pass'), ('carol', 'other'), ('dave', 'word'))],
            [NO, 'OK', NO], 'a new password and a lock count at once')
        own = [p for p, n in h.children().items() if n == 'auth']
        ids = {l.split()[1] for p in own for l in open('/proc/%d/status' % p)
               if l.startswith('Uid')}
        same((len(own) > 3, ids), (True, {str(IDS['_suratauth'])}),
             'and nobody is root for it')
    h = Shadowed(sets=h.sets[:2])
    h.sets.append('auth.pam=' + h.path('etc/service'))
    write(h.path('etc/service'), UNIX)
    # it would have a set-uid program look, which is refused, not punished
    h.env['SURAT_SECCOMP'] = ''
    text = open(h.path('etc/group')).read()
    write(h.path('etc/group'), text.replace('42:_suratauth', '42:'))
    with h:
        same(login(h, 'carol', 'pass'), NO,
             'who is not in the group cannot read it')


def main():
    if not os.path.exists(MODULE):
        skip('PAM', 'this build has none')
        done()
    module()
    shadow()
    done()


main()
