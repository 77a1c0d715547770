#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Commands in a suite that runs as root: whose id they have, which groups,
what they are left with, and that no other's command can be had."""
import glob
import json
import os
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
from house import done, message, ok, same, skip, until
from root import IDS, PEOPLE, RootHouse, need_root

SCRIPT = '''#!/usr/bin/python3
import json, os, sys
status = dict(l.rstrip('\\n').split(':\\t', 1) for l in
              open('/proc/self/status') if ':\\t' in l)
found = {k: status[k].split() for k in ('Uid', 'Gid', 'Groups', 'CapBnd',
                                        'CapEff', 'NoNewPrivs', 'Seccomp')}
found.update(cwd=os.getcwd(), home=os.environ['HOME'],
             user=os.environ['USER'], text=sys.stdin.read(),
             parent=os.getppid(), argv=sys.argv[1:],
             network=os.readlink('/proc/self/ns/net'))
name = 'DIR/out/%d' % os.getpid()
with open(name + '.new', 'w') as f:
    json.dump(found, f)
os.rename(name + '.new', name + '.json')
'''


def script(h, name, text):
    with open(h.path(name), 'w') as f:
        f.write(text.replace('DIR', h.dir))
    os.chmod(h.path(name), 0o755)
    return h.path(name)


def own(path, uid, mode):
    os.chown(path, uid, uid)
    os.chmod(path, mode)


def runs(h, count, seconds=20):
    until(lambda: len(glob.glob(h.path('out/*.json'))) >= count, seconds)
    found = []
    for path in glob.glob(h.path('out/*.json')):
        found.append(json.load(open(path)))
        os.unlink(path)
    return found


def prepare(h):
    os.mkdir(h.path('out'))
    os.chmod(h.path('out'), 0o1777)
    note = script(h, 'note', SCRIPT)
    with open(h.path('etc/group'), 'a') as f:
        f.write('club:x:64300:carol,dave\nother:x:64301:dave\n')
    with open(h.path('etc/aliases'), 'w') as f:
        f.write('note: "|%s alias"\n' % note)
    for name in PEOPLE:
        path = h.path('home/%s/.forward' % name)
        with open(path, 'w') as f:
            f.write('\\%s, "|%s forward"\n' % (name, note))
        own(path, PEOPLE[name], 0o644)
    h.more = '''pipe { commands = {"hop dave %s {recipient}"} }
address { relay_domains = {"hop.test"} }
remote { transports = {"hop.test pipe:hop"} }
''' % note
    h.write_conf()
    return note


def who(f):
    return (f['Uid'], f['Gid'], sorted(f['Groups']))


def ids(uid, *groups):
    return ([str(uid)] * 4, [str(uid)] * 4, sorted(map(str, groups)))


def as_whom(h):
    alias, carol, dave = IDS['_suratpipe'], PEOPLE['carol'], PEOPLE['dave']
    h.send(['note@example.test'], message('alias'))
    f = runs(h, 1)
    same([who(x) for x in f], [ids(alias)], 'an alias: as _suratpipe')
    same([(x['CapBnd'], x['CapEff'], x['NoNewPrivs'], x['Seccomp'])
          for x in f], [(['0' * 16], ['0' * 16], ['1'], ['0'])],
         'without any right, now or later')
    h.send(['carol@example.test'], message('forward'))
    f = runs(h, 1)
    same([(who(x), x['cwd'], x['home'], x['user'], x['argv']) for x in f],
         [(ids(carol, carol, 64300), h.path('home/carol'),
           h.path('home/carol'), 'carol', ['forward'])],
         'a .forward: as the user, with the groups, at home')
    same([x['network'] for x in f], [os.readlink('/proc/self/ns/net')],
         'with the network of the system')
    h.send(['x@hop.test'], message('hop'))
    f = runs(h, 1)
    same([(who(x), x['argv']) for x in f],
         [(ids(dave, dave, 64300, 64301), ['x@hop.test'])],
         'a next hop: as the account it names')
    ok(h.wait_mail('carol', 1, 20), 'the mailbox has it too')


def a_virtual_user(h):
    """Shares an id with others: no command."""
    path = h.path('mail/alice/.forward')
    h.send(['alice@example.test'], message('first'))
    h.wait_mail('alice', 1, 20)
    with open(path, 'w') as f:
        f.write('|%s virtual\n' % h.path('note'))
    own(path, IDS['_suratmail'], 0o644)
    h.send(['alice@example.test'], message('second'))
    same(len(h.wait_mail('alice', 2, 20)), 2,
         'a virtual user\'s command is not obeyed, the mail delivered')
    same(runs(h, 1, 0.2), [], 'nothing ran')


def two_processes(h):
    """The agent that reads mail is confined, the runner does not read it."""
    pids = {}
    for pid in h.pids('deliver-pipe'):
        text = open('/proc/%d/status' % pid).read()
        pids[pid] = ('Seccomp:\t2' in text, 'NoNewPrivs:\t1' in text)
    same(sorted(set(pids.values())), [(False, True), (True, True)],
         'an agent with a list of calls, a runner without')
    runners = [p for p, how in pids.items() if not how[0]]

    def strange():
        links = [os.readlink('/proc/%d/fd/%s' % (p, fd)) for p in runners
                 for fd in os.listdir('/proc/%d/fd' % p)]
        return [l for l in links if l != '/dev/null' and
                not l.startswith(('socket:', 'pipe:'))]
    # One that has answered may still be closing what it had.
    ok(until(lambda: not strange()),
       'the runner holds its agent and the log', strange())


def a_new_forward(h):
    """An agent that was shut in before there was this file."""
    path = h.path('home/carol/.forward')
    h.send(['carol@example.test'], message('before'))
    runs(h, 1)
    before = len(h.wait_mail('carol', 2, 20))
    for n in range(2):
        with open(path + '.new', 'w') as f:
            f.write('"|%s new%d"\n' % (h.path('note'), n))
        own(path + '.new', PEOPLE['carol'], 0o644)
        os.rename(path + '.new', path)
        h.send(['carol+x@example.test'], message('new'))
        same([x['argv'] for x in runs(h, 1)], [['new%d' % n]],
             'a .forward put in its place is obeyed at once')
    os.chmod(path, 0)
    os.chown(path, 0, 0)
    h.send(['carol@example.test'], message('after'))
    same(len(h.wait_mail('carol', before + 1, 20)), before + 1,
         'one that cannot be read is none')

def procmail(h):
    if not shutil.which('procmail'):
        skip('procmail', 'not installed')
        return
    path = h.path('home/dave/.forward')
    with open(path, 'w') as f:
        f.write('"|exec /usr/bin/procmail"\n')
    own(path, PEOPLE['dave'], 0o644)
    rc = h.path('home/dave/.procmailrc')
    with open(rc, 'w') as f:
        f.write('MAILDIR=$HOME\nDEFAULT=$HOME/box\n:0\n* ^Subject: refuse\n'
                '{\nEXITCODE=67\nHOST\n}\n')
    own(rc, PEOPLE['dave'], 0o644)
    h.send(['dave@example.test'], message('keep'))
    box = h.path('home/dave/box')
    ok(until(lambda: os.path.exists(box) and 'Subject: keep' in
             open(box).read(), 20), 'procmail as the system has it',
       h.grep('dave'))
    text = open(box).read() if os.path.exists(box) else ''
    ok(text.startswith('From sender@remote.test '), 'its From_ line is ours',
       text[:200])


need_root('commands in a suite that runs as root')
h = RootHouse()
prepare(h)
with h:
    as_whom(h)
    two_processes(h)
    a_new_forward(h)
    a_virtual_user(h)
    procmail(h)
    same(h.grep(' died '), [], 'nobody died')
done()
