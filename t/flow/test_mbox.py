#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""mbox files in a directory as /var/mail is (general.mbox), in a suite that
runs as root: who owns them, mail and mutt as readers, others who have the
lock, files that come and go, a crash in the middle."""
import mailbox
import os
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
from house import BUILD, done, message, ok, same, skip, until
from inject import AT_FDCWD, Inside, works
from root import PEOPLE, RootHouse, need_root
from terminal import Terminal

MAIL = 64400


def spool(h, name=''):
    return h.path('spool/' + name)


def text(path):
    try:
        return open(path, errors='replace').read()
    except OSError:
        return ''


def count(path):
    return text(path).count('\nX-Surat-Delivery: ')


def wait(h, name, n, seconds=20):
    until(lambda: count(spool(h, name)) >= n, seconds)
    return count(spool(h, name))


def retry(h, name, condition):
    """What waits is tried now, again until it is so."""
    def again():
        if not condition():
            h.surat('queue', 'retry', '--rcpt', name + '@example.test')
            time.sleep(0.1)
        return condition()
    return until(again, 30)


def becoming(name):
    """With the group that readers of the machine get by set-gid."""
    return ['setpriv', '--reuid', str(PEOPLE[name]), '--regid',
            str(PEOPLE[name]), '--groups', str(MAIL)]


def mail_program(h, name, commands):
    env = {'HOME': h.path('home/' + name), 'MAIL': spool(h, name),
           'USER': name, 'LOGNAME': name, 'PATH': os.environ['PATH'],
           'TMPDIR': h.path('home/' + name)}
    return subprocess.run(
        becoming(name) + ['mail', '-n', '-f', spool(h, name)],
        input=commands, capture_output=True, text=True, env=env, timeout=60)


def play_mutt(h, name, keys):
    """mutt on a terminal, with keys pushed into it; how it ended."""
    home = h.path('home/' + name)
    rc = home + '/muttrc'
    with open(rc, 'w') as f:
        f.write('set spoolfile="%s"\nset folder="%s"\nset quit=yes\n'
                'set wait_key=no\nset mail_check=0\nset move=no\n'
                'set delete=yes\nset confirmappend=no\n'
                'set confirmcreate=no\npush "%s"\n' % (
                    spool(h, name), home, keys))
    os.chmod(rc, 0o644)
    t = Terminal(becoming(name) + ['mutt', '-n', '-F', rc], home,
                 {'USER': name, 'TMPDIR': home})
    code = t.end()
    return code, t.shown[-1500:]


def prepare(h):
    with open(h.path('etc/group'), 'a') as f:
        f.write('mail:x:%d:\n' % MAIL)
    os.mkdir(spool(h))
    os.chown(spool(h), 0, MAIL)
    os.chmod(spool(h), 0o3775)
    with open(h.path('etc/aliases'), 'w') as f:
        f.write('root: carol\ndaemon: root\n')
    h.more = 'general { mbox = "%s" }\n' % spool(h)
    h.write_conf()
    with open(h.path('surat.conf')) as f:
        conf = f.read()
    # one section of a name
    with open(h.path('surat.conf'), 'w') as f:
        f.write(conf.replace(h.more, '').replace(
            'general { ', 'general { mbox = "%s" ' % spool(h), 1))


def delivered(h):
    body = b'From here\r\n>From there\r\n'
    h.send(['carol@example.test', 'alice@example.test'],
           message('first', body), sender='s@remote.test')
    same(wait(h, 'carol', 1), 1, 'a person of the system has an mbox')
    st = os.stat(spool(h, 'carol'))
    same((st.st_uid, st.st_gid, st.st_mode & 0o7777),
         (PEOPLE['carol'], MAIL, 0o600), 'of her own, mode 600')
    got = text(spool(h, 'carol'))
    ok(got.startswith('From s@remote.test ') and
       '\n>From here\n>>From there\n\n' in got, 'quoted', got)
    ok(h.wait_mail('alice', 1, 20), 'a virtual user has a Maildir')
    same(os.path.exists(h.path('home/carol/Maildir')), False,
         'and she has none')
    h.send(['root@example.test', 'daemon@localhost'], message('to root'))
    same(wait(h, 'carol', 2), 2, 'root\'s mail is where its alias leads')
    out = h.surat('explain', 'carol@example.test').stdout
    ok('mail in an mbox in ' + h.path('spool') in out, 'explained', out)
    ok(until(lambda: os.listdir(spool(h)) == ['carol']), 'no lock is left',
       os.listdir(spool(h)))


def readers(h):
    box = mailbox.mbox(spool(h, 'carol'), create=False)
    same([m['Subject'] for m in box], ['first', 'to root'],
         'an mbox to Python')
    if shutil.which('mail'):
        out = mail_program(h, 'carol', 'headers\nexit\n')
        ok('first' in out.stdout and 'to root' in out.stdout,
           'mail reads it', out)
    else:
        skip('mail', 'not installed')
    if shutil.which('mutt'):
        code, shown = play_mutt(
            h, 'carol', '<first-entry><pipe-message>cat >$HOME/seen<enter>'
            '<delete-message><sync-mailbox><quit>')
        ok(code == 0 and 'Subject: first' in text(h.path('home/carol/seen')),
           'mutt reads it', shown)
        same([m['Subject'] for m in mailbox.mbox(spool(h, 'carol'))],
             ['to root'], 'and deletes')
        h.send(['carol@example.test'], message('after mutt'))
        same(wait(h, 'carol', 2), 2, 'and mail goes on')
    else:
        skip('mutt', 'not installed')


def locked(h):
    """mail and mutt take both; while one is held nothing is written."""
    path = spool(h, 'carol')
    # Ours, of the delivery that was just seen, goes a moment after it.
    until(lambda: not os.path.exists(path + '.lock'))
    with open(path + '.lock', 'x'):
        pass
    before = count(path)
    h.send(['carol@example.test'], message('locked'))
    ok(until(lambda: h.grep('carol.*mailbox is locked'), 20),
       'it waits for who has the lock')
    same(count(path), before, 'and writes nothing')
    os.unlink(path + '.lock')
    retry(h, 'carol', lambda: count(path) > before)
    same(count(path), before + 1, 'then goes on')


def gone(h):
    """A reader removes an empty mailbox; an agent that lives is shut in with
    the old one."""
    path = spool(h, 'carol')
    for n in range(3):
        os.unlink(path)
        h.send(['carol@example.test'], message('anew%d' % n))
        same(wait(h, 'carol', 1), 1, 'a mailbox that was removed is made anew')
    same(h.grep('agent-lost'), [], 'by an agent that is told to')


def hostile(h):
    path = spool(h, 'dave')
    os.symlink(h.path('home/carol/.profile'), path)
    h.send(['dave@example.test'], message('link'))
    ok(until(lambda: h.grep('undelivered to=dave'), 20),
       'nothing is written through a link')
    same(os.path.exists(h.path('home/carol/.profile')), False, 'nor made')
    os.unlink(path)
    open(path, 'w').close()
    os.chown(path, PEOPLE['carol'], MAIL)
    os.chmod(path, 0o660)
    seen = len(h.grep('undelivered to=dave'))
    retry(h, 'dave', lambda: len(h.grep('undelivered to=dave')) > seen)
    same(os.path.getsize(path), 0, 'nor into somebody else\'s mailbox')
    os.unlink(path)
    retry(h, 'dave', lambda: count(path) > 0)
    same(count(path), 1, 'it waits until that is put right')


def shut_in(h):
    """What an agent that was taken over could do."""
    if not works() or 'san' in os.path.basename(BUILD):
        skip('code in an agent', 'needs x86-64 and no sanitizers')
        return
    other, secret = spool(h, 'dave'), h.path('home/carol/secret')
    os.chmod(other, 0o660)
    with open(secret, 'w') as f:
        f.write('x')
    os.chown(secret, PEOPLE['carol'], MAIL)
    pid = [p for p in h.pids('deliver-local')
           if os.stat('/proc/%d/task' % p).st_uid == PEOPLE['carol']][0]

    def opens(p, path, flags=os.O_RDWR):
        fd = p.call('openat', AT_FDCWD, path.encode(), flags, 0o600)
        if fd >= 0:
            p.call('close', fd)
        return fd >= 0
    with Inside(pid) as p:
        same([opens(p, spool(h, 'carol')), opens(p, other),
              opens(p, other, os.O_RDONLY), opens(p, secret, os.O_RDONLY),
              opens(p, spool(h, 'x'), os.O_CREAT | os.O_WRONLY),
              opens(p, spool(h), os.O_RDONLY | os.O_DIRECTORY)],
             [True] + [False] * 5, 'it opens its mailbox and no other file')
        lock = spool(h, 'carol.lock').encode()
        same([p.call('mknodat', AT_FDCWD, lock, 0o100200, 0),
              p.call('unlink', lock)], [0, 0], 'it makes and removes a lock')
        same(p.call('unlink', other.encode()) >= 0, False,
             'nor does it remove what is not its own')
    try:
        with Inside(pid) as p:
            made = p.call('mknodat', AT_FDCWD, lock, 0o020600, 0x103) >= 0
    except ProcessLookupError:  # refused, or ended for it
        made = False
    ok(not made and not os.path.exists(lock), 'nor makes a device')


def killed(h):
    """Each message once, whoever dies."""
    sent = 0
    start = count(spool(h, 'carol'))
    for turn in range(6):
        for _ in range(10):
            h.send(['carol@example.test'], message('kill', n=sent))
            sent += 1
        for pid in h.pids('queue' if turn % 3 == 2 else 'deliver-local'):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        until(lambda: h.pids('queue'), 20)
    h.surat('queue', 'retry', 'all')
    until(lambda: count(spool(h, 'carol')) >= start + sent, 60)
    time.sleep(0.5)
    ids = [l for l in text(spool(h, 'carol')).splitlines()
           if l.startswith('Message-ID: <kill')]
    same((len(ids), len(set(ids))), (sent, sent),
         'after six kills each message is there once')


need_root('mbox files')
h = RootHouse()
prepare(h)
with h:
    delivered(h)
    readers(h)
    locked(h)
    gone(h)
    hostile(h)
    shut_in(h)
    killed(h)
done()
