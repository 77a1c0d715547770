#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Rule S6: addresses, programs and files never meet.  Two hundred addresses
that mean something to a shell, a path, a format or a table, as recipients,
senders, extensions, names of clients and of users, to every form of delivery:
each is refused, or is the mail of exactly that address.  Nothing is ever
started but the suite's own programs, and no file appears."""
import base64
import json
import os
import re
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
import mx  # noqa: E402
from ports import free_port  # noqa: E402
from house import (BUILD, House, PROGRAMS, done, message, ok, same,  # noqa: E402
                   until)

TOUCH = 'touch${IFS}CANARY'
# What a shell, an expander, a path or a table may take for its own.
WORDS = [
    '`%s`' % TOUCH, '$(%s)' % TOUCH, ';%s;' % TOUCH, '|%s' % TOUCH,
    '|/bin/sh', '||%s' % TOUCH, '&&%s' % TOUCH, '&%s&' % TOUCH, '>CANARY',
    '>>CANARY', '<CANARY', '$IFS', '${HOME}', '${run{/bin/touch CANARY}}',
    '${lookup{x}lsearch{/etc/passwd}}', '%(CANARY)s', '%n%n%n%n', '%s%s%s',
    '%x.%p', "'", "''%s''" % TOUCH, "';%s;'" % TOUCH, '-oQ/tmp', '-bp',
    '--help', '-X/tmp/CANARY', '-froot', '--config=CANARY', '..', '../CANARY',
    '../../../../tmp/CANARY', '/tmp/CANARY', '/etc/passwd', './CANARY',
    '~root', '~/CANARY', ':include:/etc/passwd', ':fail:', ':blackhole:',
    '!CANARY', '#CANARY', '*', '?', '[a-z]', '{a,b}', 'a=b', 'PATH=/tmp',
    'a:b', 'a|b', 'a^b', 'a\\b', '\\', '\\n', '\\0', '\\r\\n', 'a/b', '.',
    '.forward', 'cur', 'new', 'a b', 'a  b', ' a', 'a ', 'a,b', 'a;b',
    "a' OR '1'='1", "'; DROP TABLE recipient; --", 'a"b', 'a(b)c', '@', 'a@b',
    '<a>', '\u00e9`', '%0aRCPT', '%00', '=0D=0A', '&amp;', '{{7*7}}',
    '${jndi:ldap://x}', 'CON', 'nul', '-', '--', '_', '~', '+', '++', 'a+',
    '+a', '=', '!', '$', '%', '&', '/', '//', '|', '^', '?a', '#']


def quoted(word):
    return '"%s"' % re.sub(r'(["\\])', r'\\\1', word)


def is_bare(word):
    return re.fullmatch(r"[\w!#$%&'*+/=?^`{|}~-]+(\.[\w!#$%&'*+/=?^`{|}~-]+)*",
                        word, re.A) is not None


def locals_():
    """Local parts: as they are where they may be, quoted, as extensions."""
    for word in WORDS:
        if is_bare(word):
            yield word
        yield quoted(word)
        yield quoted('alice+' + word)


class Watch(threading.Thread):
    """What runs in the house, all the time."""

    def __init__(self, h):
        super().__init__(daemon=True)
        self.h, self.seen, self.over = h, set(), threading.Event()
        self.start()

    def run(self):
        while not self.over.wait(0.02):
            self.seen |= set(self.h.children().values())


# Names of libc by which a text becomes a program or is expanded.
CALLS = ['system', 'popen', 'wordexp', 'execlp', 'execvp', 'execvpe',
         'posix_spawnp', 'glob']


def calls():
    """No program could call them: no symbol table has the name.  (That of a
    sanitizer's build has its runtime's.)"""
    if 'san' in os.path.basename(BUILD):
        return
    for program in sorted(os.listdir(BUILD + '/bin')):
        octets = open(os.path.join(BUILD, 'bin', program), 'rb').read()
        ok(b'\0malloc\0' in octets, '%s: (symbols can be read)' % program)
        same([c for c in CALLS if b'\0%s\0' % c.encode() in octets], [],
             '%s: no shell, no expander' % program)


RECORD = '''
import json, sys
sys.stdin.buffer.read()
with open(sys.argv[1], 'a') as f:
    f.write(json.dumps(sys.argv[2:]) + '\\n')
'''


def places(h):
    """Each address to each form of delivery; what was sent where."""
    every = list(dict.fromkeys(locals_()))
    ok(len(every) >= 200, '%d local parts' % len(every))
    taken, n = {}, 0
    work = [(d, every[i:i + 40]) for i in range(0, len(every), 40)
            for d in ('example.test', 'all.test', 'far.test')]
    # a process each, so not all of them
    work.append(('pipe.test', every[::8]))
    for domain, chunk in work:
        with h.smtp('submission', user='alice') as s:
            s.ehlo('$(touch CANARY)`|;')
            for local in chunk:
                utf8 = [] if local.isascii() else ['SMTPUTF8']
                s.mail('<alice@example.test>', utf8)
                s.putcmd('RCPT', 'TO:<%s@%s>' % (local, domain)) \
                    if not utf8 else s.send(
                        ('RCPT TO:<%s@%s>\r\n' % (local, domain)).encode())
                if s.getreply()[0] != 250:
                    s.rset()
                    continue
                n += 1
                name = '%s/%d' % (domain, n)
                taken[name] = local
                if s.data(message(name))[0] != 250:
                    del taken[name]
    return taken


def subjects(texts):
    return sorted(m[1].decode() for t in texts for m in
                  [re.search(rb'(?m)^Subject: (\S+/\d+)\r?$', re.split(
                      rb'\r?\n\r?\n', t)[0])] if m)


def delivered(h, user):
    return [open(f, 'rb').read() for f in h.mails(user)]


def bare(local):
    """Without quotes, as people would write it."""
    return re.sub(r'\\(.)', r'\1', local[1:-1]) if local[0] == '"' else local


def commands(h, sent):
    """To a command: one argument is one argument.  What would be taken for an
    option is not given to it at all."""
    got = [json.loads(l) for l in open(h.dir + '/recorded')]
    want = [bare(l) for l in sent if bare(l)[:1] != '-']
    same(sorted(bare(a[1][1:]) for a in got), sorted(want),
         'a command: each address once, as one argument')
    ok(all(len(a) == 3 and a[0].endswith('@pipe.test') and a[2] == '--'
           for a in got), 'and no argument more', got[:3])


def senders(h):
    """As senders of what cannot be delivered: reports go nowhere odd."""
    before = len(h.mails('bob'))
    n = 0
    for local in dict.fromkeys(locals_()):
        if not local.isascii():
            continue
        with h.smtp() as s:
            s.ehlo('x.test')
            s.putcmd('MAIL', 'FROM:<%s@example.test>' % local)
            if s.getreply()[0] != 250:
                continue
            s.rcpt('bob@example.test')
            n += s.data(message('from'))[0] == 250
    same(len(h.wait_mail('bob', before + n, 40)), before + n,
         'as senders: %d, all of them arrive' % n)


def users(h):
    """As names of users: refused, all in the same way."""
    codes = set()
    for word in WORDS[:60]:
        with h.smtp('submission') as s:
            s.ehlo('x.test')
            plain = b'\0'.join([b'', word.encode(), b'secret'])
            codes.add(s.docmd('AUTH', 'PLAIN ' + base64.b64encode(
                plain).decode())[0])
    ok(codes <= {535, 454}, 'as users: nobody', codes)


def main():
    port = free_port()
    server = mx.Server('127.0.0.1', port, caps=('PIPELINING', 'SMTPUTF8',
                                                '8BITMIME'))
    h = House(without=('imapd', 'pop3d'), sets=[
        'smtp.max_errors=1000', 'limit.error_rate=100000',
        'auth.ban_after=100000', 'auth.failure_delay=0',
        'address.alias_domains=all.test', 'remote.allow_loopback=yes',
        'remote.transports=far.test smtp:127.0.0.1:%d, pipe.test pipe:keep' %
        port])
    with open(h.dir + '/record.py', 'w') as f:
        f.write(RECORD)
    os.chmod(h.dir + '/record.py', 0o644)
    h.sets.append('pipe.commands=keep nobody %s %s/record.py %s/recorded '
                  '{recipient} x{local} --' % (
                      os.path.realpath('/usr/bin/python3'), h.dir, h.dir))
    with open(h.dir + '/catch', 'w') as f:
        f.write('@all.test: bob\n')
    os.chmod(h.dir + '/catch', 0o644)
    h.sets.append('address.aliases=text:%s/catch' % h.dir)
    calls()
    with h:
        watch = Watch(h)
        taken = places(h)
        ok(until(lambda: h.queue() == [], 60), 'all of it leaves the queue',
           h.queue()[:3])
        want = {d: sorted(n for n in taken if n.startswith(d)) for d in
                ('example.test', 'all.test', 'far.test', 'pipe.test')}
        ok(len(want['all.test']) > 150 and len(want['far.test']) > 150 and
           len(want['example.test']) > 50, 'most have somewhere to go',
           {d: len(n) for d, n in want.items()})
        local = delivered(h, 'alice')
        same(subjects(local), want['example.test'],
             'extensions: each is in the mailbox once')
        same(subjects(delivered(h, 'bob')), want['all.test'],
             'a catch-all: each once')
        sent = {subjects([m.data])[0]: m.rcpts for m in server.messages}
        same(sorted(sent), want['far.test'], 'relayed: each once')
        odd = [(n, taken[n], r) for n, r in sent.items() if len(r) != 1 or
               bare(taken[n]) != bare(re.fullmatch(
                   r'RCPT TO:<(.*)@far\.test>', r[0])[1])]
        same(odd[:5], [], 'and to exactly that address')
        commands(h, [taken[n] for n in want['pipe.test']])
        senders(h)
        users(h)
        watch.over.set()
        python = os.path.basename(os.path.realpath('/usr/bin/python3'))
        same(sorted(watch.seen - set(PROGRAMS) - {python}), [],
             'row 42: nothing was started but our own')
        found = [os.path.join(d, f) for d, _, files in os.walk(h.dir)
                 for f in files if 'CANARY' in f]
        same(found, [], 'no file appeared')
        same(os.path.exists('/tmp/CANARY'), False, 'nor elsewhere')
        same(h.grep('AddressSanitizer|runtime error| died '), [],
             'and nobody died')
    server.stop()
    done()


main()
