#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Accounts that are full, or nearly: mail is refused at RCPT, what is in them can
be read and deleted, and then there is room again, also when another program
made it.  Limits of the table of users go before those of the configuration, are
noticed when they change, and hold for mail that no RCPT was asked about."""
import os
import signal
import smtplib
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
from house import House, done, message, ok, same, until
from imap import Imap


SETS = ['general.quota_messages=2', 'general.quota=64k']
USERS = '''\
alice:{PLAIN}secret::::%(d)s/mail/alice::
bob:{PLAIN}secret::::%(d)s/mail/bob::quota_messages=4,quota=1m,quota_warn=50
free:{PLAIN}secret::::%(d)s/mail/free::quota=0,quota_messages=0
'''


def rcpt(h, user, size=0):
    c = smtplib.SMTP('127.0.0.1', h.port('smtp'), timeout=20)
    c.ehlo('x.test')
    c.docmd('MAIL', 'FROM:<s@remote.test> SIZE=%d' % size)
    code, text = c.docmd('RCPT', 'TO:<%s@example.test>' % user)
    c.close()
    return code, text.decode()


def resources(h, user):
    """[(resource, used, limit)] of the one quota root there may be."""
    c = Imap(h.port('imap'))
    c.login(user, 'secret')
    r = c.command('GETQUOTAROOT INBOX')
    c.close()
    words = [w.strip('()') for line in r.lines if line[0] == 'QUOTA'
             for w in line[1][1:]]
    return [(words[i], int(words[i + 1]), int(words[i + 2]))
            for i in range(0, len(words), 3)]


def one_full(h):
    for n in range(2):
        h.send('alice@example.test', message('fits %d' % n))
    h.wait_mail('alice', 2)
    # a file is there a moment before its row
    until(lambda: rcpt(h, 'alice')[0] == 552)
    code, text = rcpt(h, 'alice')
    ok(code == 552 and '5.2.2' in text and 'full' in text,
       'RCPT is refused', (code, text))
    # what no RCPT was asked about: an alias has several targets
    h.send('both@example.test', message('too many'), sender='bob@example.test')
    report = h.wait_mail('bob', 1)
    texts = [open(f, 'rb').read() for f in report]
    ok(any(b'5.2.2' in t and b'full' in t for t in texts),
       'a report says that the mailbox is full', texts)
    same(len(h.mails('alice')), 2, 'nothing more came in')
    for pid in h.pids('deliver-local'):
        os.kill(pid, signal.SIGKILL)
    until(lambda: rcpt(h, 'alice')[0] == 552)
    same(rcpt(h, 'alice')[0], 552, 'also after the agents have died')
    c = Imap(h.port('imap'))
    c.login('alice', 'secret')
    ok(c.command('SELECT INBOX').ok, 'it can be read')
    same(c.command('APPEND INBOX {3+}\r\na:b').code, 'OVERQUOTA',
         'APPEND is refused')
    same(c.command('COPY 1 Drafts').code, 'OVERQUOTA', 'COPY is refused')
    ok(c.command('MOVE 1 Drafts').ok, 'MOVE needs no room')
    ok(not c.command('SETQUOTA "account" (MESSAGE 10)').ok,
       'nobody sets his own limits')
    c.command('STORE 1 +FLAGS.SILENT (\\Deleted)')
    ok(c.command('EXPUNGE').ok, 'and emptied')
    h.send('alice@example.test', message('fits again'))
    h.wait_mail('alice', 1)
    until(lambda: rcpt(h, 'alice')[0] == 552)
    same(rcpt(h, 'alice')[0], 552, 'full again')
    c.close()
    os.unlink(h.mails('alice')[0])
    same(rcpt(h, 'alice')[0], 250, 'until another program makes room')
    same(rcpt(h, 'alice', 65 << 10)[0], 552, 'but not for that much')


def of_their_own(h):
    used, limits = zip(*[(n, m) for _, n, m in resources(h, 'bob')])
    same(limits, (1024, 4), 'limits of the table of users are shown')
    same(used[1], 1, 'beside what is used')
    same(resources(h, 'free'), [], 'who has none has no quota root')
    for n in range(2):
        h.send('free@example.test', message('any number %d' % n))
    same(len(h.wait_mail('free', 3)), 3, 'and takes more than others')
    c = Imap(h.port('imap'))
    c.login('bob', 'secret')
    r = c.command('APPEND Drafts {3+}\r\na:b')
    ok(r.ok and r.code.startswith('APPENDUID'), 'bob has room', r)
    ok(('NO', 'OVERQUOTA') in [line[:2] for line in r.lines],
       'which is said to come to an end', (r, c.untagged))
    c.close()
    write_users(h, USERS.replace('quota_messages=4', 'quota_messages=2'))
    until(lambda: rcpt(h, 'bob')[0] == 552)
    same(rcpt(h, 'bob')[0], 552, 'a lower limit counts at once')
    write_users(h, USERS)
    until(lambda: rcpt(h, 'bob')[0] == 250)
    same(rcpt(h, 'bob')[0], 250, 'and a higher one')


def to_wait(h):
    code, text = rcpt(h, 'alice', 10)
    ok(code == 452 and '4.2.2' in text, 'mail for a full account may wait',
       (code, text))


def write_users(h, text):
    path = os.path.join(h.dir, 'users')
    with open(path + '.new', 'w') as f:
        f.write(text % {'d': h.dir})
    if os.getuid() == 0:
        st = os.stat(path)
        os.chown(path + '.new', st.st_uid, st.st_gid)
    os.rename(path + '.new', path)


def main():
    users = {name: 'secret' for name in ('alice', 'bob', 'free')}
    with House(sets=SETS, users=users) as h:
        write_users(h, USERS)
        with open(os.path.join(h.dir, 'aliases'), 'a') as f:
            f.write('both: alice, free\n')
        until(lambda: rcpt(h, 'both')[0] == 250)
        until(lambda: resources(h, 'free') == [])
        one_full(h)
        of_their_own(h)
    with House(sets=SETS + ['general.quota_defer=yes',
                            'general.quota_messages=0', 'general.quota=1'],
               users=users) as h:
        to_wait(h)
    done()


main()
