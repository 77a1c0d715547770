#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The suite as root: who every program is, what it holds and is left with;
mail through all of it; reloads under load; programs that die; the end."""
import imaplib
import os
import signal
import smtplib
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
from house import SLOW, done, message, ok, same, until
from load import Load, login
from mx import Server
from root import IDS, PEOPLE, RootHouse, need_root

# program -> user, root directory below the runtime directory (None: the
# machine's)
WHO = {
    'keys': ('_suratkey', 'empty'),
    'tls': ('_surattls', 'tls'),
    'resolve': ('_suratdns', None),
    'auth': ('_suratauth', None),
    'queue': ('_suratq', None),
    'smtpd': ('_suratnet', 'smtpd'),
    'imapd': ('_suratnet', 'imapd'),
    'pop3d': ('_suratnet', 'pop3d'),
}
# Files a program may hold open; everything else it holds is no file.
FILES = {
    'queue': ('/state/queue/',),
    'imapd': ('/mail/', '/home/'),
    'pop3d': ('/mail/', '/home/'),
    'deliver-local': ('/mail/', '/home/'),
}
ONLINE = ('resolve', 'deliver-remote')


def status(pid):
    with open('/proc/%d/status' % pid) as f:
        return dict(line.rstrip('\n').split(':\t', 1)
                    for line in f if ':\t' in line)


def limits(pid):
    with open('/proc/%d/limits' % pid) as f:
        return {line[:26].strip(): line[26:].split()[0] for line in f}


def held(pid):
    found = {}
    for fd in os.listdir('/proc/%d/fd' % pid):
        try:
            found[int(fd)] = os.readlink('/proc/%d/fd/%s' % (pid, fd))
        except OSError:
            pass
    return found


def strange(h, name, pid):
    """What a program holds and should not."""
    bad = []
    for fd, what in held(pid).items():
        fine = what.startswith(('socket:', 'anon_inode:', 'pipe:',
                                '/memfd:surat.conf')) or \
            what == '/dev/null' or \
            any(what.startswith(h.dir + p) for p in FILES.get(name, ()))
        if not fine:
            bad.append((fd, what))
    return bad


def check_process(h, name, pid, user, root):
    # One that has just been started is on its way there.
    until(lambda: status(pid)['Seccomp'] == '2')
    s = status(pid)
    uid = IDS.get(user) or PEOPLE[user]
    what = '%s as %s: ' % (name, user)
    # auth has the groups the system says, which here are none but its own
    groups = str(uid) if user == '_suratauth' else ''
    same((s['Uid'].split(), s['Gid'].split(), s['Groups'].strip()),
         ([str(uid)] * 4, [str(uid)] * 4, groups), what + 'ids')
    same({k: s[k] for k in ('CapInh', 'CapPrm', 'CapEff', 'CapAmb',
                            'CapBnd')},
         {k: '0' * 16 for k in ('CapInh', 'CapPrm', 'CapEff', 'CapAmb',
                                'CapBnd')}, what + 'no capabilities')
    same((s['NoNewPrivs'], s['Seccomp']), ('1', '2'),
         what + 'no new privileges, seccomp')
    same(os.readlink('/proc/%d/root' % pid), root, what + 'root directory')
    same(os.stat('/proc/%d/mem' % pid).st_uid, 0, what + 'cannot be dumped')
    l = limits(pid)
    same(l['Max core file size'], '0', what + 'leaves no core')
    threads = name in ('queue', 'resolve')
    ok(threads or l['Max processes'] == '0', what + 'may start nothing', l)
    if 'san' not in h.env.get('BUILD', ''):
        ok(int(l['Max data size']) <= 4 << 30, what + 'memory is limited', l)
    same(strange(h, name, pid), [], what + 'holds nothing else')
    own = os.readlink('/proc/self/ns/net')
    net = os.readlink('/proc/%d/ns/net' % pid)
    same(net == own, name in ONLINE, what + 'network')


def programs(h):
    found = h.children()
    same(sorted(set(found.values()) - {'deliver-local', 'deliver-remote'}),
         sorted(WHO), 'all programs are up')
    for pid, name in sorted(found.items(), key=lambda x: x[1]):
        if name not in WHO:
            continue
        user, root = WHO[name]
        root = h.path('run/' + root) if root else '/'
        if name == 'auth' and status(pid)['PPid'] != str(h.process.pid):
            name = 'auth (hasher)'
        check_process(h, name, pid, user, root)


def mail(h):
    people = ['alice', 'bob', 'carol', 'dave']
    h.send([p + '@example.test' for p in people], message('to all'))
    for p in people:
        files = h.wait_mail(p, 1, 20)
        uid = PEOPLE.get(p, IDS['_suratmail'])
        same([(os.stat(f).st_uid, os.stat(f).st_mode & 0o777)
              for f in files], [(uid, 0o600)], 'delivered as ' + p)
    sessions = {}
    for p in people:
        before = set(h.pids('imapd'))
        sessions[p] = login(h, p)
        same(sessions[p].select()[1], [b'1'], p + ' reads it')
        mine = [x for x in h.pids('imapd') if x not in before and
                '--session' in open('/proc/%d/cmdline' % x).read()]
        same(len(mine), 1, 'in a session of its own')
        for pid in mine:
            shared = p not in PEOPLE
            check_process(h, 'imapd', pid,
                          '_suratmail' if shared else p,
                          h.path('mail/' + p) if shared else '/')
    agents = {status(pid)['Uid'].split()[0]: pid
              for pid in h.pids('deliver-local')}
    for user, uid in (('_suratmail', IDS['_suratmail']), ('carol', 64200)):
        pid = agents.get(str(uid))
        if ok(pid, 'a local agent runs as ' + user, agents):
            check_process(h, 'deliver-local', pid, user, '/')
    for c in sessions.values():
        c.logout()
    with h.smtp('submission', 'carol', tls=True) as s:
        s.sendmail('carol@example.test', ['alice@example.test'],
                   message('submitted'))
    ok(len(h.wait_mail('alice', 2, 20)) == 2, 'submission')


def outgoing(h):
    before = set(h.pids('deliver-remote'))
    with h.smtp('submission', 'carol', tls=True) as s:
        s.sendmail('carol@example.test', ['you@example.net'],
                   message('to others'))
    ok(until(lambda: [m for s in list(h.mx.sessions) for m in s.messages], 20),
       'mail for others goes out')
    for pid in set(h.pids('deliver-remote')) - before:
        check_process(h, 'deliver-remote', pid, '_suratout',
                      h.path('run/deliver'))


def not_root(h):
    """Nothing but suratd is root, now or at any time after its start."""
    roots = [(p, n) for p, n in h.children().items()
             if status(p)['Uid'].split()[0] == '0']
    same(roots, [], 'no other program is root')


def reload(h):
    load = Load(h)
    for n in range(12):
        # A changed configuration renews everybody.
        if n % 2 == 0:
            h.write_conf('smtp { max_errors = %d }' % (10 + n))
        before = len(h.grep(' reloaded '))
        h.process.send_signal(signal.SIGHUP)
        ok(until(lambda: len(h.grep(' reloaded ')) > before, 30),
           'reload %d' % n)
        load.ask_all()
        time.sleep(0.2)
    for s in load.smtp:
        s.sendmail('s@remote.test', ['bob@example.test'], message('stayed'))
    load.end()
    same(load.errors, [], 'no session is dropped, no client turned away')
    ok(load.sent > 3, 'under load', load.sent)
    same(len(h.wait_mail('dave', 1 + load.sent, 60)), 1 + load.sent,
         'each message arrives once')
    same(len(h.wait_mail('bob', 1 + len(load.smtp), 60)),
         1 + len(load.smtp), 'also those of old sessions')
    for c in load.imap:
        c.logout()
    for s in load.smtp:
        s.quit()
    same(h.grep(' died '), [], 'nobody died')


def kill_each(h):
    for name in WHO:
        pids = h.pids(name)
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        ok(until(lambda: set(h.pids(name)) - set(pids), 30),
           name + ' comes back after SIGKILL')
    before = len(h.mails('alice'))

    def again():
        try:
            h.send(['alice@example.test'], message('after'))
            return login(h, 'alice').select()[0] == 'OK'
        except (OSError, smtplib.SMTPException, imaplib.IMAP4.error):
            return False
    ok(until(again, 60), 'and mail goes on')
    ok(len(h.wait_mail('alice', before + 1, 20)) > before, 'and arrives')


def stop(h):
    pid = h.process.pid
    held = login(h, 'bob')
    left = h.children()
    same(h.stop(), 0, 'SIGTERM: exit status 0')
    gone = [p for p in left if os.path.exists('/proc/%d' % p)]
    same(gone, [], 'no process is left of %d' % pid)
    try:
        held.noop()
        ok(False, 'the session has ended')
    except (imaplib.IMAP4.abort, OSError):
        ok(True, 'the session has ended')


need_root('the suite as root')
h = RootHouse()
h.more = 'remote { smarthost = "127.0.0.1:%d" allow_loopback = yes }\n' % (
    h.port('smtp') + 1)
h.write_conf()
h.mx = Server('127.0.0.1', h.port('smtp') + 1)
try:
    h.start()
    programs(h)
    mail(h)
    outgoing(h)
    not_root(h)
    reload(h)
    kill_each(h)
    stop(h)
finally:
    if os.environ.get('SHOW'):
        open(os.environ['SHOW'], 'w').write(''.join(h.log))
    h.__exit__()
done()
