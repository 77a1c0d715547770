#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Sessions that stay for the next client of their user: it begins as in a new
process, nobody else's client ever comes there, and they go when they should."""
import os
import poplib
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
from house import House, done, message, ok, same, until
from imap import Imap


def sessions(h, program='imapd'):
    """The processes of users, not those that wait for logins."""
    found = []
    for pid in h.pids(program):
        try:
            with open('/proc/%d/cmdline' % pid, 'rb') as f:
                if b'--session' in f.read():
                    found.append(pid)
        except OSError:
            pass
    return sorted(found)


def login(h, user):
    c = Imap(h.port('imap'))
    r = c.login(user, h.users[user])
    if not r.ok:
        raise SystemExit('no login: %r' % r)
    return c


def leave(h, c):
    """And until it waits for the next one."""
    before = len(h.grep(' ended'))
    c.command('LOGOUT')
    c.close()
    until(lambda: len(h.grep(' ended')) > before)


def server_of(h, once):
    """The process that this client came to."""
    before = len(h.grep(' session user='))
    once()
    until(lambda: len(h.grep(' session user=')) > before)
    return h.grep(' session user=')[-1].split()[0]


def is_reused(h, once):
    """The starter may not have heard yet that one waits, and start another:
    do two clients in a row ever come to the same?"""
    last = ['']

    def again():
        before, last[0] = last[0], server_of(h, once)
        return before == last[0]
    return until(again)


def check_fresh(h):
    """What one client did is nothing to the next one."""
    c = login(h, 'alice')
    c.command('ENABLE CONDSTORE')
    c.command('SELECT INBOX')
    c.command('STORE 1 +FLAGS (\\Flagged kept)')
    c.command('STORE 2 +FLAGS (\\Deleted)')
    pid = sessions(h)
    leave(h, c)
    same(len(pid), 1, 'one client, one process')
    ok(is_reused(h, lambda: leave(h, login(h, 'alice'))),
       'the next one comes to it too')
    c = login(h, 'alice')
    r = c.command('FETCH 1 FLAGS')
    ok(not r.ok, 'and has nothing selected', r)
    r = c.command('SELECT INBOX')
    ok(r.ok, 'selects', r)
    f = c.fetch('1', 'FLAGS')[0]
    ok('\\Flagged' in f['FLAGS'] and 'kept' in f['FLAGS'] and
       'MODSEQ' not in f, 'sees what is in the mailbox, in plain words', f)
    h.send(['alice@example.test'], message('late'))
    ok(until(lambda: c.command('NOOP').named('EXISTS')), 'hears of new mail')
    leave(h, c)


def check_others(h):
    alice = sessions(h)
    c = login(h, 'bob')
    bob = set(sessions(h)) - set(alice)
    same(len(bob), 1, 'another user has another process')
    r = c.command('STATUS INBOX (MESSAGES)')
    ok('MESSAGES' in str(r.lines) and ' 0' in str(r.lines),
       'and the own mail', r.lines)
    leave(h, c)
    ok(is_reused(h, lambda: leave(h, login(h, 'bob'))), 'and comes back to it')
    leave(h, login(h, 'alice'))
    ok(not any('[%d]' % pid in line and 'user=bob' in line for pid in alice
               for line in h.grep(' session user=')),
       'which is never that of the first')


def check_two_at_once(h):
    a, b = login(h, 'alice'), login(h, 'alice')
    pids = sessions(h)
    ok(len(pids) >= 2, 'two clients of one user, two processes', pids)
    leave(h, a)
    leave(h, b)


def check_killed(h):
    pids = sessions(h)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    until(lambda: all(h.grep(' died .*child=%d ' % pid) for pid in pids))
    c = login(h, 'alice')
    ok(c.command('SELECT INBOX').ok, 'one that was killed is not missed')
    leave(h, c)


def check_index_gone(h):
    """The store that was kept open is not what lies there any more."""
    top = h.maildir('alice') + '/surat/'
    for name in os.listdir(top):
        if name.startswith('index.db'):
            os.unlink(top + name)
    c = login(h, 'alice')
    c.command('SELECT INBOX')
    f = c.fetch('1', 'FLAGS')[0]
    ok('\\Flagged' in f['FLAGS'] and 'kept' in f['FLAGS'],
       'an index deleted meanwhile is made anew', f)
    leave(h, c)


def check_reload(h):
    before = sessions(h)
    ok(before, 'some wait')
    ok(h.reload('progress = 10', 'progress = 11'), 'a reload', h.log[-5:])
    ok(until(lambda: not set(before) & set(sessions(h))),
       'with another configuration they go')
    c = login(h, 'alice')
    ok(c.command('SELECT INBOX').ok, 'and others come')
    leave(h, c)


def check_pop3(h):
    def once():
        p = poplib.POP3('127.0.0.1', h.port('pop3'), timeout=60)
        p.user('alice')
        p.pass_(h.users['alice'])
        return p
    p = once()
    count = p.stat()[0]
    p.dele(1)
    pids = sessions(h, 'pop3d')
    same(len(pids), 1, 'POP3: one client, one process')
    p.rset()
    p.quit()

    counts = []

    def again():
        q = once()
        counts.append(q.stat()[0])
        q.quit()
    ok(is_reused(h, again), 'the next one comes to it')
    same(set(counts), {count}, 'and sees all there is')


def main():
    with House() as h:
        for n in range(2):
            h.send(['alice@example.test'], message('m%d' % n))
        h.wait_mail('alice', 2)
        check_fresh(h)
        check_others(h)
        check_two_at_once(h)
        check_killed(h)
        check_index_gone(h)
        check_pop3(h)
        check_reload(h)
        wrong = [l for l in h.grep('somebody else|fatal|died')
                 if 'code=9' not in l]
        ok(not wrong, 'nothing went wrong', wrong)
        same(h.stop(), 0, 'the house ends')
    done()


main()
