#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""`surat queue` and `surat trace` on a whole house: messages that wait for a
name server that is not there are listed, explained, held, redirected, given
up; and what became of each is told afterwards."""
import json
import os
import re
import select
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
from house import BUILD, House, done, message, ok, same, until
from terminal import Terminal


def send_away(h, to, subject):
    """From alice, who is logged in, to somewhere else."""
    with h.smtp('submission', user='alice') as s:
        s.sendmail('alice@example.test', to,
                   message(subject).replace(b'sender@remote.test',
                                            b'alice@example.test'))
    return until(lambda: [r for r in h.queue()
                          if r['rcpt'] == to[0]])[0]['id']


def state(h, ident):
    return sorted({r['state'] for r in h.queue() if r['id'] == ident})


def live(h):
    """On a terminal top goes on, and shows what came since."""
    t = Terminal([BUILD + '/bin/surat', 'queue', 'top', '--config',
                  h.dir + '/surat.conf'], h.dir, {})
    ok(t.expect(rb'in memory') and t.expect(rb'in memory'),
       'top shows it again and again', t.shown)
    three = send_away(h, ['new@later.test'], 'three')
    ok(t.expect(rb'remote later.test'), 'with what came since', t.shown)
    t.process.send_signal(signal.SIGINT)
    ok(t.end() != 'hung', 'until it is told to end')
    h.surat('queue', 'delete', three)
    until(lambda: not [r for r in h.queue() if r['id'] == three])


def lists(h, one, two):
    out = h.surat('queue').stdout
    ok(one in out and two in out and '<x@away.test>' in out,
       'a list for people', out)
    same({r['id'] for r in h.queue('--sender', 'alice@example.test')},
         {one, two}, '--sender')
    same({r['id'] for r in h.queue('--domain', 'other.test')}, {two},
         '--domain')
    same(h.queue('--rcpt', '*@nowhere.test'), [], 'a pattern nobody fits')
    out = h.surat('queue', 'show', one).stdout
    ok('Attempts' in out and 'away.test' in out and 'Message-ID' in out,
       'show has all of it', out)
    out = h.surat('queue', 'show', one, '--content').stdout
    ok('Subject: one' in out, 'and the content', out)
    same(h.surat('queue', 'show', '1K000000000').returncode, 1,
         'an id that is not there: 1')
    ok(h.surat('queue', 'show', 'x').returncode not in (0, 1),
       'what is no id is an error')
    out = h.surat('queue', 'why', one)
    ok(re.search(r'waits for its next attempt, in \d+.*tried \d+ times',
                 out.stdout, re.S), 'why it waits', out.stdout + out.stderr)
    rows = [json.loads(l) for l in
            h.surat('queue', 'counts', '--json').stdout.splitlines()]
    same({r['domain']: r['count'] for r in rows},
         {'away.test': 1, 'other.test': 1}, 'counts by domain')
    out = h.surat('queue', 'counts').stdout
    ok('total' in out and 'away.test' in out, 'for people too', out)
    out = h.surat('queue', 'top', '--once').stdout
    ok('in memory' in out and 'waiting' in out, 'top', out)
    live(h)


def orders(h, one, two):
    same(h.surat('queue', 'hold', one).stdout, '1 recipients\n', 'hold')
    until(lambda: state(h, one) == ['held'])
    same(state(h, one), ['held'], 'is held')
    ok('held by the operator' in h.surat('queue', 'why', one).stdout,
       'why says so')
    same(h.surat('queue', 'hold', one).returncode, 1, 'once is enough')
    h.surat('queue', 'release', one)
    until(lambda: state(h, one) == ['deferred'])
    same(state(h, one), ['deferred'], 'release: tried, and deferred again')
    before = len(h.mails('bob'))
    same(h.surat('queue', 'redirect', one, 'bob@example.test').stdout,
         '1 recipients\n', 'redirect')
    same(len(h.wait_mail('bob', before + 1)), before + 1, 'bob has it')
    ok(h.surat('queue', 'redirect', two, 'nobody at all').returncode != 0,
       'not to what is no address')
    before = len(h.mails('alice'))
    same(h.surat('queue', 'expire', 'all', '--domain', 'other.test').stdout,
         '1 recipients\n', 'expire')
    files = h.wait_mail('alice', before + 1)
    text = open(files[-1]).read() if len(files) > before else ''
    text = max((open(f).read() for f in files), key=lambda t:
               'Final-Recipient' in t)
    ok('Final-Recipient: rfc822;y@other.test' in text and
       'Status: 5.4.7' in text, 'alice is told', text)
    three = send_away(h, ['z@third.test'], 'three')
    until(lambda: state(h, three) == ['deferred'])
    same(h.surat('queue', 'delete', 'all', '--sender', '*@example.test',
                 '--json').stdout, '{"verb":"delete","count":1}\n', 'delete')
    until(lambda: not h.queue())
    same(h.queue(), [], 'nothing is left')
    same(h.surat('queue', 'delete', 'all').returncode, 1,
         'nothing to delete: 1')
    ok(h.surat('queue', 'delete').returncode not in (0, 1),
       'all has to be said')


def traces(h, one, two):
    out = h.surat('trace', one).stdout
    ok(re.search(r'connected: session.*accepted: began=.*tried for [0-9.]+ s: '
                 r'.*first rfc822;x@away.test.*delivered', out, re.S) or
       re.search(r'connected.*accepted.*<bob@example.test>.*x@away.test.*'
                 r'tried for.*delivered', out, re.S),
       'by queue id: connected, accepted, tried, delivered', out)
    steps = re.findall(r'\+([0-9.]+) s', out)
    ok(len(steps) >= 2, 'each step with its time', out)
    out = h.surat('trace', '<two@remote.test>').stdout
    ok(two in out and 'expired' in out, 'by Message-ID', out)
    out = h.surat('trace', 'x@away.test').stdout
    ok(one in out, 'by the recipient it first had', out)
    rows = [json.loads(l) for l in h.surat(
        'trace', 'alice@example.test', '--json').stdout.splitlines()]
    ok({one, two} <= {r['id'] for r in rows}, 'by sender, for programs')
    ok(any(r['state'] == 'attempt' and r['took'] > 0 for r in rows),
       'attempts among them')
    same(h.surat('trace', 'nobody@nowhere.test').returncode, 1,
         'unknown: 1')


def next_line(f, seconds):
    return f.readline() if select.select([f], [], [], seconds)[0] else ''


def alone(h):
    """A second one on the same database delivers nothing, and waits."""
    second = subprocess.Popen(
        [BUILD + '/bin/queue', '--config', h.dir + '/surat.conf'],
        stderr=subprocess.PIPE, text=True)
    try:
        said = next_line(second.stderr, 10)
        ok(' queue-busy ' in said, 'a queue that is not alone says so', said)
        same(next_line(second.stderr, 1), '', 'and does nothing')
        h.stop()
        said = next_line(second.stderr, 20)
        ok(' recovered ' in said, 'until the other one has ended', said)
    finally:
        second.terminate()
        second.wait()
        second.stderr.close()


def main():
    with House(sets=['resolve.forward=127.0.0.1@1',
                     'resolve.timeout=1s', 'queue.retry=10m']) as h:
        one = send_away(h, ['x@away.test'], 'one')
        two = send_away(h, ['y@other.test'], 'two')
        until(lambda: all(r['state'] == 'deferred' for r in h.queue()), 40)
        lists(h, one, two)
        orders(h, one, two)
        traces(h, one, two)
        alone(h)
    done()


main()
