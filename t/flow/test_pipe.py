#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Mail into commands: of aliases, of .forward files, of next hops.  What the
command finds, what its end means for the mail, what becomes of it when the
suite goes away (edge case 71)."""
import glob
import json
import os
import re
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
from house import House, done, message, ok, same, until

# Writes what it finds into a file of its own, then ends as its name says.
SCRIPT = '''#!/usr/bin/python3
import os, resource, sys
found = {
    'argv': sys.argv[1:], 'env': dict(os.environ),
    'fds': sorted(int(f) for f in os.listdir('/proc/self/fd')),
    'stdin': os.readlink('/proc/self/fd/0'),
    'session': os.getsid(0), 'cwd': os.getcwd(),
    'core': resource.getrlimit(resource.RLIMIT_CORE)[0],
    'data': resource.getrlimit(resource.RLIMIT_DATA)[0],
    'privileges': [l for l in open('/proc/self/status')
                   if l.startswith('NoNewPrivs')][0].split()[1],
    'seccomp': [l for l in open('/proc/self/status')
                if l.startswith('Seccomp:')][0].split()[1],
    'writable': os.access('/proc/self/fd/0', os.W_OK),
}
found['text'] = sys.stdin.buffer.read().decode('latin-1')
import json
name = 'DIR/out/%d.%d' % (os.getpid(), os.times()[4] * 100)
with open(name + '.new', 'w') as f:
    json.dump(found, f)
os.rename(name + '.new', name + '.json')
'''


def script(h, name, text):
    path = os.path.join(h.dir, name)
    with open(path, 'w') as f:
        f.write(text.replace('DIR', h.dir))
    os.chmod(path, 0o755)
    return path


def house():
    h = House(users={'alice': 'secret'})
    for d in ('out', 'mail'):
        os.mkdir(os.path.join(h.dir, d))
        os.chmod(os.path.join(h.dir, d), 0o777)
    note = script(h, 'note', SCRIPT)
    for code in (0, 1, 64, 67, 69, 71, 75, 77):
        script(h, 'exit%d' % code,
               '#!/bin/sh\ncat >/dev/null\necho "words of %d"\nexit %d\n' %
               (code, code))
    script(h, 'wordy', '#!/bin/sh\necho "5.7.1 Go away"\nexit 75\n')
    script(h, 'loud', '#!/bin/sh\nhead -c 3000000 /dev/zero | tr "\\0" x\n'
           'exit 67\n')
    script(h, 'killed', '#!/bin/sh\nkill -SEGV $$\n')
    script(h, 'slow', '#!/bin/sh\ntrap "" TERM\nsleep 600 & '
           'echo $! > DIR/out/child\necho $$ > DIR/out/parent\nwait\nwait\n')
    with open(os.path.join(h.dir, 'aliases'), 'w') as f:
        f.write('note: "|%s \\"a, b\\" c"\n' % note)
        f.write('twice: note, "|%s \\"a, b\\" c"\n' % note)
        f.write('both: alice,\n\t"|%s both"\n' % note)
        for name in ('exit0', 'exit1', 'exit64', 'exit67', 'exit69', 'exit71',
                     'exit75', 'exit77', 'wordy', 'loud', 'killed', 'slow'):
            f.write('%s: "|%s/%s"\n' % (name, h.dir, name))
        f.write('gone: |/no/such/program\n')
    table = os.path.join(h.dir, 'table')
    with open(table, 'w') as f:
        f.write('alice:{PLAIN}secret:::::\n')
        for name in ('erin', 'frank'):
            home = os.path.join(h.dir, 'mail', name)
            os.mkdir(home)
            f.write('%s:{PLAIN}x:%d:%d::%s::\n' % (
                name, os.stat(h.dir).st_uid, os.stat(h.dir).st_gid, home))
            os.chown(home, os.stat(h.dir).st_uid, os.stat(h.dir).st_gid)
    os.chmod(table, 0o644)
    h.users = {}
    h.options += ['--users', table]
    h.sets += ['pipe.timeout=2', 'queue.retry=1', 'queue.delay_notice=0',
               'queue.checkpoint=0', 'address.relay_domains=pipe.test\n'
               'all.test', 'remote.transports=pipe.test pipe:one,'
               'all.test pipe:all', 'pipe.commands=' + '\n'.join([
                   'one nobody %s {sender} {local} {user} {extension} '
                   "{domain} 'a b' x={recipient}" % note,
                   'all nobody %s -r {recipients} .' % note])]
    return h


def runs(h, count, seconds=10):
    """What commands found, once so many have run."""
    until(lambda: len(glob.glob(h.dir + '/out/*.json')) >= count, seconds)
    found = []
    for path in sorted(glob.glob(h.dir + '/out/*.json')):
        found.append(json.load(open(path)))
        os.unlink(path)
    return found


def send(h, to, subject='x', **how):
    h.send([to], message(subject), **how)


# ------------------------------------------------------------------- tests
def what_it_finds(h):
    h.send(['note+ext@example.test'], message('finds', b'one\r\n.two\r\n'),
           sender='s@remote.test')
    got = runs(h, 1)
    if not same(len(got), 1, 'the command of an alias runs once'):
        return
    f = got[0]
    same(f['argv'], ['a, b', 'c'], 'a shell took its words apart')
    lines = f['text'].split('\n')
    ok(re.fullmatch(r'From s@remote\.test \w{3} \w{3} [ \d]\d '
                    r'\d\d:\d\d:\d\d \d{4}', lines[0]), 'From_ line', lines)
    same(lines[1:3], ['Return-Path: <s@remote.test>',
                      'Delivered-To: note+ext@example.test'],
         'and the two lines of a delivery')
    ok(f['text'].endswith('\n\none\n.two\n') and '\r' not in f['text'],
       'lines end with LF', f['text'])
    env = f['env']
    same({k: env.get(k) for k in ('SENDER', 'RECIPIENT', 'LOCAL', 'EXTENSION',
                                  'DOMAIN', 'ORIGINAL_RECIPIENT')},
         {'SENDER': 's@remote.test', 'RECIPIENT': 'note+ext@example.test',
          'LOCAL': 'note+ext', 'EXTENSION': 'ext', 'DOMAIN': 'example.test',
          'ORIGINAL_RECIPIENT': 'note+ext@example.test'}, 'the envelope')
    extra = set(env) - set('PATH SHELL LANG TZ HOME USER LOGNAME SENDER '
                           'RECIPIENT ORIGINAL_RECIPIENT LOCAL EXTENSION '
                           'DOMAIN QUEUE_ID PWD SHLVL _ OLDPWD '
                           'LC_CTYPE'.split())
    same(extra, set(), 'nothing else in the environment')
    # 3 is the directory that was being listed.
    same([fd for fd in f['fds'] if fd > 3], [], 'no other descriptor')
    ok(f['session'] not in (os.getsid(0), os.getsid(h.process.pid)),
       'a session of its own')
    same((f['core'], f['data'], f['privileges'], f['seccomp']),
         (0, 1 << 30, '1', '0'), 'limits, no new privileges, no filter')


def expanded_once(h):
    send(h, 'twice@example.test', 'twice')
    same(len(runs(h, 1)), 1, 'one command, two ways to it: it runs once')
    before = len(h.mails('alice'))
    send(h, 'both@example.test', 'both')
    same(len(runs(h, 1)), 1, 'a command beside a mailbox')
    same(len(h.wait_mail('alice', before + 1)), before + 1,
         'and the mailbox has it')


def a_hostile_address(h):
    """What would be a command in an alias is an address on the wire."""
    try:
        h.send(['|%s/note@example.test' % h.dir], message('hostile'))
        refused = False
    except Exception:
        refused = True
    ok(refused, 'an address that begins with a bar is nobody')
    h.send(['note+$x`id`|a@example.test'], message('quoted'))
    got = runs(h, 1)
    same([g['env']['EXTENSION'] for g in got],
         ['_x_id__a'], 'what a shell could take is gone')


def exits(h):
    """Row 71: sysexits."""
    for code, want in ((1, '5.3.0'), (64, '5.3.0'), (67, '5.1.1'),
                       (69, '5.3.0'), (77, '5.7.0')):
        before = len(h.mails('alice'))
        send(h, 'exit%d@example.test' % code, 'status %d' % code,
             sender='alice@example.test')
        got = h.wait_mail('alice', before + 1)
        text = open(got[-1]).read() if len(got) > before else ''
        ok('Status: %s\n' % want in text and 'words of %d' % code in text,
           'row 71: status %d is returned as %s, with its words' % (
               code, want), text[:2000])
    for name, want in (('exit71', '4.3.0'), ('exit75', '4.3.0'),
                       ('killed', 'signal 11'), ('gone', 'command is not '
                                                 'there')):
        send(h, name + '@example.test', name)
        row = until(lambda: [r for r in h.queue('--rcpt', name + '@*')
                             if r['attempts'] > 0 and
                             r['state'] == 'deferred'])
        ok(row and want in row[0]['reply'],
           'row 71: %s waits (%s)' % (name, want), row)
        h.surat('queue', 'delete', '--rcpt', name + '@*')
    send(h, 'exit0@example.test', 'zero')
    row = until(lambda: h.queue('--rcpt', 'exit0@*', '--history'))
    ok(row and row[0]['state'] == 'delivered', 'row 71: 0 is delivered', row)


def words_decide(h):
    before = len(h.mails('alice'))
    send(h, 'wordy@example.test', 'wordy', sender='alice@example.test')
    got = h.wait_mail('alice', before + 1)
    text = open(got[-1]).read()
    ok('Status: 5.7.1\n' in text and 'Go away' in text,
       'a code at the beginning of the output wins over the status', text)
    before = len(h.mails('alice'))
    send(h, 'loud@example.test', 'loud', sender='alice@example.test')
    got = h.wait_mail('alice', before + 1)
    ok(os.path.getsize(got[-1]) < 20000, 'three megabytes of words are cut')


def alive(name, h):
    try:
        pid = int(open(os.path.join(h.dir, 'out', name)).read())
        os.kill(pid, 0)
        return open('/proc/%d/stat' % pid).read().split()[2] != 'Z'
    except (OSError, ValueError):
        return False


def time_is_over(h):
    send(h, 'slow@example.test', 'slow')
    ok(until(lambda: alive('parent', h) and alive('child', h)), 'it runs')
    row = until(lambda: [r for r in h.queue('--rcpt', 'slow@*')
                         if r['attempts'] > 0], 20)
    ok(row and 'too long' in row[0]['reply'], 'row 71: its time is over', row)
    ok(until(lambda: not alive('parent', h) and not alive('child', h)),
       'and it is gone with what it started')
    h.surat('queue', 'delete', '--rcpt', 'slow@*')


def forward(h):
    uid = os.stat(h.dir).st_uid
    for name, text in (('erin', '\\erin, "|/usr/bin/procmail DEFAULT=%s/mail/erin/box '
                       '%s/mail/erin/.procmailrc"\n' % (h.dir, h.dir)),
                       ('frank', '|%s/note mine\n' % h.dir)):
        path = os.path.join(h.dir, 'mail', name, '.forward')
        with open(path, 'w') as f:
            f.write(text)
        os.chown(path, uid, uid)
        os.chmod(path, 0o644)
    rc = os.path.join(h.dir, 'mail/erin/.procmailrc')
    with open(rc, 'w') as f:
        f.write('MAILDIR=%s/mail/erin\n' % h.dir)
    os.chown(rc, uid, uid)
    send(h, 'erin@example.test', 'procmail')
    box = os.path.join(h.dir, 'mail/erin/box')
    ok(until(lambda: os.path.exists(box) and 'Subject: procmail' in
             open(box).read()), 'procmail, from a .forward',
       h.grep('erin'))
    new = os.path.join(h.dir, 'mail/erin/Maildir/new')
    ok(until(lambda: os.path.isdir(new) and os.listdir(new)),
       'and the mailbox beside it')
    send(h, 'frank+x@example.test', 'frank')
    got = runs(h, 1)
    same([(g['argv'], g['cwd'], g['env']['EXTENSION']) for g in got],
         [(['mine'], os.path.join(h.dir, 'mail/frank'), 'x')],
         'in the home of whose .forward it is')
    path = os.path.join(h.dir, 'mail/frank/.forward')
    os.chmod(path, 0o666)
    send(h, 'frank@example.test', 'open')
    new = os.path.join(h.dir, 'mail/frank/Maildir/new')
    ok(until(lambda: os.path.isdir(new) and os.listdir(new)),
       'a .forward that others can write to is not obeyed')
    same(runs(h, 1, 0.2), [], 'and its command does not run')


def loop(h):
    """A command that gives the mail back to us."""
    script(h, 'again', '#!/usr/bin/python3\nimport smtplib, sys\n'
           's = smtplib.SMTP("127.0.0.1", %d)\n'
           'text = sys.stdin.buffer.read().split(b"\\n", 1)[1]\n'
           'text = text.replace(b"\\n", b"\\r\\n")\n'
           's.sendmail("alice@example.test", ["again@example.test"], text)\n'
           % h.port('smtp'))
    with open(os.path.join(h.dir, 'aliases'), 'a') as f:
        f.write('again: "|%s/again"\n' % h.dir)
    time.sleep(1.2)
    before = len(h.mails('alice'))
    send(h, 'again@example.test', 'again', sender='alice@example.test')
    got = h.wait_mail('alice', before + 1)
    ok(len(got) > before and 'mail loop' in open(got[-1]).read(),
       'what it gives back is known by its Delivered-To')


def next_hop(h):
    """pipe.commands, named by remote.transports."""
    h.send(['you+list@pipe.test'], message('hop'), sender='s@remote.test')
    got = runs(h, 1)
    same([g['argv'] for g in got],
         [['s@remote.test', 'you+list', 'you', 'list', 'pipe.test', 'a b',
           'x=you+list@pipe.test']], 'a command with its words filled in')
    ok(got and got[0]['text'].startswith('Return-Path: <s@remote.test>\n'
                                         'Delivered-To: you+list@'),
       'without a From_ line', got)
    h.send(['a@all.test', 'b@all.test'], message('all'))
    got = runs(h, 1)
    same([g['argv'] for g in got], [['-r', 'a@all.test', 'b@all.test', '.']],
         'one run for all recipients')
    ok(got and 'Delivered-To' not in got[0]['text'],
       'which are told in the arguments alone')
    h.send(['a@pipe.test', 'b@pipe.test'], message('each'))
    same(sorted(g['argv'][1] for g in runs(h, 2)), ['a', 'b'],
         'or one for each')
    before = len(h.mails('alice'))
    send(h, '-rf@pipe.test', 'option', sender='alice@example.test')
    got = h.wait_mail('alice', before + 1)
    ok(len(got) > before and 'Status: 5.1.3' in open(got[-1]).read(),
       'an address that looks like an option is no argument')
    out = h.surat('explain', 'x@pipe.test')
    ok('command' in out.stdout, 'surat explain says so', out)
    row = h.queue('--rcpt', 'a@all.test', '--history')
    same([r['state'] for r in row], ['relayed'], 'it has been passed on')


def after_a_kill(h):
    """Nobody hears of a command whose queue has died: it is killed, and run
    again."""
    script(h, 'hang', '#!/bin/sh\necho $$ > DIR/out/hang.$$\n'
           '[ -e DIR/out/go ] && exec DIR/note again\nexec sleep 600\n')
    with open(os.path.join(h.dir, 'aliases'), 'a') as f:
        f.write('hang: "|%s/hang"\n' % h.dir)
    time.sleep(1.2)
    for what in ('queue', 'deliver-pipe'):
        for path in glob.glob(h.dir + '/out/hang.*') + glob.glob(
                h.dir + '/out/go'):
            os.unlink(path)
        send(h, 'hang@example.test', 'hang ' + what)
        first = until(lambda: glob.glob(h.dir + '/out/hang.*'))
        pid = int(open(first[0]).read())
        open(h.dir + '/out/go', 'w').close()
        os.kill(h.pids(what)[0], signal.SIGKILL)
        ok(until(lambda: not os.path.exists('/proc/%d' % pid) or
                 open('/proc/%d/stat' % pid).read().split()[2] == 'Z'),
           'the %s dies, and its command with it' % what)
        got = runs(h, 1, 20)
        ok(len(got) == 1 and 'Subject: hang ' + what in got[0]['text'],
           'the command is run again', (got, h.log[-5:]))


def gone_from_the_aliases(h):
    """A command is looked for where it stands each time."""
    path = os.path.join(h.dir, 'aliases')
    text = open(path).read()
    send(h, 'exit75@example.test', 'late')
    until(lambda: [r for r in h.queue('--rcpt', 'exit75@*')
                   if r['attempts'] > 0])
    with open(path, 'w') as f:
        f.write(text.replace('exit75"', 'exit0"'))
    row = until(lambda: [r for r in h.queue('--rcpt', 'exit75@*')
                         if 'no such command' in r['reply']])
    ok(row, 'a command that stands nowhere is not run')
    h.surat('queue', 'delete', '--rcpt', 'exit75@*')
    with open(path, 'w') as f:
        f.write(text)


with house() as h:
    what_it_finds(h)
    expanded_once(h)
    a_hostile_address(h)
    exits(h)
    words_decide(h)
    time_is_over(h)
    forward(h)
    loop(h)
    next_hop(h)
    gone_from_the_aliases(h)
h = house()
h.sets[h.sets.index('pipe.timeout=2')] = 'pipe.timeout=60'
with h:
    after_a_kill(h)
done()
