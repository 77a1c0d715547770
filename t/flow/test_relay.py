#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The remote agent before servers that behave and servers that do not, found
by a real name server.  Row numbers are those of t/rows.md."""
import email
import os
import random
import socket
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
import mx  # noqa: E402
import nsd  # noqa: E402
from agent import Agent  # noqa: E402
from ports import free_port  # noqa: E402
from smuggle import SPELLINGS  # noqa: E402
from house import SLOW, done, need_programs, ok, same, skip, until  # noqa

PORT = 0
FULL = ('PIPELINING', '8BITMIME', 'SIZE', 'DSN', 'SMTPUTF8', 'CHUNKING',
        'ENHANCEDSTATUSCODES')
PLAIN = ('8BITMIME', 'SIZE')

ZONE = '''
one MX 10 mx2
two MX 10 mx2
two MX 20 mx3
equal MX 10 mx2
equal MX 10 mx3
three MX 10 mx2
three MX 20 mx3
three MX 30 mx4
mx2 A 127.0.0.2
mx3 A 127.0.0.3
mx4 A 127.0.0.4
bare A 127.0.0.2
alias CNAME bare
mxalias MX 10 cname
cname CNAME mx2
null MX 0 .
self MX 10 me
self MX 20 mx2
self2 MX 5 mx2
self2 MX 10 me
self2 MX 20 mx3
self3 MX 10 me
self3 MX 10 mx2
self4 MX 10 us.test.
self5 MX 10 nat
me A 127.0.0.9
nat A 192.0.2.77
local MX 10 localhost
localhost A 127.0.0.1
zero MX 10 zero
zero A 0.0.0.0
private MX 10 rfc1918
rfc1918 A 10.1.2.3
nowhere MX 10 missing
nowhere MX 20 missing2
half MX 10 missing
half MX 20 mx2
broken MX 10 mx.elsewhere.org.
many MX 10 manyhost
manyhost A 127.0.0.60
manyhost A 127.0.0.61
manyhost A 127.0.0.62
manyhost A 127.0.0.2
dual MX 10 dualhost
dualhost AAAA ::1
dualhost A 127.0.0.2
six MX 10 sixhost
sixhost AAAA ::1
slow MX 10 slowhost
slowhost A 127.0.0.80
slowhost AAAA ::1
dead MX 10 deadhost
deadhost A 127.0.0.66
text TXT "no address here"
xn--bcher-kva MX 10 mx2
'''


def server(n, **how):
    return mx.Server('127.0.0.%d' % n, PORT, **how)


def verbs(s):
    return [l.split(' ')[0].split(':')[0] for l in s.lines]


def Servers(*list_of_how):
    return mx.Servers(server, list_of_how)


# ------------------------------------------------------------- the ways

def ordinary(a):
    with Servers((2, {})) as s:
        got = a.relay('one.test')
        same([g[:3] + (g[3][:25],) for g in got], [
            ('2.0.0 250 2.0.0 taken', 'message', 'mx2.test',
             'ip=127.0.0.2 tls=no dsn=0')], 'a message is relayed')
        m = s.messages[0]
        same((m.mail, m.rcpts, m.data),
             ('MAIL FROM:<me@us.test> SIZE=%d' % len(m.data),
              ['RCPT TO:<r0@one.test>'],
              b'Subject: 1\r\n\r\nhello\r\n'), 'as it is')
        dots = b'.\r\n..\r\n.x\r\n\r\n. \r\nlast'
        a.relay('one.test', content=dots)
        same(s.messages[1].data, dots + b'\r\n', 'dots are dots')
        same(len(s.sessions), 1, 'over one connection')
        big = b'X-A: b\r\n\r\n' + b'.0123456789abcdef\r\n' * 40000
        with tempfile.TemporaryFile() as f:
            f.write(big)
            f.flush()
            a.relay('one.test', fd=f.fileno(), size=len(big))
        ok(s.messages[2].data == big, 'a large one from a descriptor')
        a.relay('one.test', sender='')
        ok(s.messages[3].mail.startswith('MAIL FROM:<> '), 'the null sender')


def row17_mx_is_me(a):
    with Servers((2, {}), (3, {})) as (s2, s3):
        for name in ('self', 'self3', 'self4', 'self5'):
            code, scope, text = a.one(name + '.test')
            same((code, scope), ('5.4.6', 'host'), '17 %s: a loop' % name)
        same(len(s2.sessions), 0, 'row 17: nobody as good or worse is asked')
        code, _, _ = a.one('self2.test')
        same((code, len(s2.messages)), ('2.0.0', 1),
             'row 17: a better one than us is')
        s2.set(mail='450 4.2.1 not now')
        time.sleep(0)
        code, scope, text = a.one('self2.test')
        same((code, len(s3.sessions)), ('4.2.1', 0),
             'row 17: and when it cannot, the mail waits here')
    with Servers((2, {'ehlo': '250 us.test\nSIZE'})) as s:
        code, scope, text = a.one('one.test')
        same(code, '5.4.6', 'row 17: a server that calls itself by our name')


def row18_private(dns):
    a = Agent(dns, PORT, loopback=False,
              remote='transports = {"rule.test smtp:127.0.0.2"}')
    with Servers((2, {})) as s:
        for name in ('one', 'local', 'zero', 'private', 'bare'):
            code, scope, text = a.one(name + '.test')
            same(code, '5.4.4', '18 %s: no mail to such addresses' % name)
        code, scope, text = a.one('[127.0.0.2]')
        same(code, '5.4.4', 'row 18: nor as a literal')
        same(len(s.sessions), 0, 'row 18: nobody was called')
        same(a.one('rule.test')[0], '2.0.0',
             'row 18: but where a rule says so')
    ok(a.stop(), 'row 18: the agent lives')


def row19_no_mx(a):
    with Servers((2, {})) as s:
        same(a.one('bare.test')[0], '2.0.0', 'row 19: an address is enough')
        same(a.one('alias.test')[0], '2.0.0', 'row 19: also behind a CNAME')
        same(s.messages[1].rcpts, ['RCPT TO:<r0@alias.test>'],
             'row 68: the recipient stays as it is')
        same(a.one('text.test')[0], '5.4.4', 'row 19: none at all: returned')
        same(a.one('absent.test')[0], '5.1.2',
             'row 19: no such domain: returned')
        code, scope, text = a.one('a' * 70 + '.test')
        same(code, '5.1.2', 'row 19: no domain name at all')
        same(a.one('[127.0.0.2]')[0], '2.0.0', 'row 38: an address literal')
        same(a.one('mxalias.test')[0], '2.0.0',
             'row 68: an MX that is a CNAME')


def row20_unresolvable(a):
    with Servers((2, {})) as s:
        code, scope, text = a.one('nowhere.test')
        same((code, scope), ('5.4.4', 'host'),
             'row 20: hosts that do not exist: returned')
        ok('missing.test' in text and 'missing2.test' in text,
           'row 20: and both named', text)
        same(a.one('half.test')[0], '2.0.0', 'row 20: one that does is enough')
        code, scope, text = a.one('broken.test')
        same((code, scope), ('4.4.3', 'host'), 'row 20: no answer: later')
        code, scope, text = a.one('other.org')
        same((code, scope), ('4.4.3', 'host'), 'row 20: for the MX too')


def row21_null_mx(a):
    code, scope, text = a.one('null.test')
    same((code, text[:4]), ('5.1.10', '556 '), 'row 21: null MX: 556 5.1.10')


def row22_many(a):
    with Servers((2, {}), (3, {})) as (s2, s3):
        for _ in range(3):
            same(a.one('many.test')[0], '2.0.0',
                 'row 22: the address that works')
        until(lambda: not [s for s in s2.sessions if not s.ended], 8)
        for _ in range(24):
            a.one('equal.test')
            a.one('dead.test')  # so that the connection is not kept
            if s2.messages[3:] and s3.messages:
                break
        ok(len(s2.messages) > 3 and len(s3.messages) > 0,
           'row 22: equal preferences share the mail')
        start = time.time()
        same(a.one('dual.test')[0], '2.0.0',
             'row 22: IPv4 when IPv6 is refused')
    v6 = mx.Server('::1', PORT)
    a.one('dead.test')
    same(a.relay('dual.test')[0][3].split()[0], 'ip=::1',
         'row 22: IPv6 is preferred')
    # A host that swallows connections: its queue of one is full.
    hole = socket.socket()
    hole.bind(('127.0.0.80', PORT))
    hole.listen(0)
    fill = []
    for _ in range(4):
        s = socket.socket()
        s.setblocking(False)
        try:
            s.connect(('127.0.0.80', PORT))
        except OSError:
            pass
        fill.append(s)
    b = Agent(DNS, PORT, remote='prefer = ipv4')
    start = time.time()
    same(b.relay('slow.test')[0][3].split()[0], 'ip=::1',
         'row 22: silence is not waited for before another address is tried')
    same(b.relay('dual.test')[0][3].split()[0:1], ['ip=::1'],
         'row 22: (only IPv6 listens now)')
    b.stop()
    b = Agent(DNS, PORT, remote='prefer = only-ipv4')
    same(b.one('dual.test')[0], '4.4.1',
         'row 22: only IPv4 where that is wanted')
    same(b.one('six.test')[0], '5.4.4', 'row 22: then IPv6 alone is nothing')
    b.stop()
    for s in fill + [hole]:
        s.close()
    v6.stop()


def row23_4xx(a):
    for stage, reply in (('greet', '450 4.3.2 busy'), ('ehlo', '451 no'),
                         ('mail', '451 4.3.0 not now'),
                         ('rcpt', '451 4.7.1 greylisted'),
                         ('greet', '421 4.3.2 too many connections'),
                         ('mail', '421 4.7.0 slow down')):
        with Servers((2, {stage: reply}), (3, {})) as (s2, s3):
            same((a.one('two.test')[0], len(s2.sessions) > 0,
                  len(s3.messages)), ('2.0.0', True, 1),
                 '23 %s at %s: the next server' % (reply[:3], stage))
    with Servers((2, {'mail': '451 4.3.0 not now'}),
                 (3, {'mail': '452 4.3.1 full'}),
                 (4, {'mail': '450 4.2.0 no'})) as (s2, s3, s4):
        code, scope, text = a.one('three.test')
        same((code, scope, len(s4.sessions)), ('4.2.0', 'message', 1),
             'row 23: all say so: later, with the last word')
    with Servers((2, {'greet': '450 4.3.2 busy'})) as s:
        code, scope, text = a.one('one.test')
        same((code, scope, text), ('4.3.2', 'host', '450 4.3.2 busy'),
             'row 23: a greeting is of the host')


def row24_5xx_greeting(a):
    with Servers((2, {'greet': '554 5.7.1 go away'}), (3, {})) as (s2, s3):
        same((a.one('two.test')[0], len(s3.messages)), ('2.0.0', 1),
             '24 554 at the greeting: the next server')
    with Servers((2, {'greet': '554 5.7.1 go away'})) as s:
        code, scope, text = a.one('one.test')
        same((code, scope), ('4.7.1', 'host'), 'row 24: alone: later')
    with Servers((2, {'greet': '521 no mail here'})) as s:
        code, scope, text = a.one('one.test')
        same((code, scope), ('5.3.2', 'host'), '24 521 from all: never')
    with Servers((2, {'ehlo': '502 what?'})) as s:
        same((a.one('one.test')[0], verbs(s)[:2]),
             ('2.0.0', ['EHLO', 'HELO']),
             'row 74: HELO where EHLO is not known')
        same(s.messages[0].mail, 'MAIL FROM:<me@us.test>',
             'row 74: without extensions')
    with Servers((2, {'ehlo': '502 what?', 'helo': '550 no'})) as s:
        same(a.one('one.test')[:2], ('4.3.0', 'host'),
             'row 74: nor that: later')


CLASSES = [
    ('rcpt', '550 5.1.1 No such user', '5.1.1', 'recipient'),
    ('rcpt', '550 No such user', '5.1.0', 'recipient'),
    ('rcpt', '550 4.2.2 first digit wins', '5.1.0', 'recipient'),
    ('rcpt', '450 5.1.1 first digit wins', '4.1.0', 'recipient'),
    ('rcpt', '599 9.9.9 whatever', '5.1.0', 'recipient'),
    ('rcpt', '450 4.2.1 several\n4.2.1 lines\n4.2.1 kept', '4.2.1',
     'recipient'),
    ('rcpt', '552 too many recipients', '4.5.3', 'recipient'),
    ('rcpt', '552 5.2.2 mailbox full', '5.2.2', 'recipient'),
    ('rcpt', '452 4.2.2 mailbox full', '4.2.2', 'recipient'),
    ('rcpt', '421 4.3.2 going down', '4.3.2', 'message'),
    ('mail', '550 5.7.1 not you', '5.7.1', 'message'),
    ('mail', '421 4.7.0 slow down', '4.7.0', 'host'),
    ('data', '451 4.3.0 no', '4.3.0', 'message'),
    ('data', '554 5.6.0 no', '5.6.0', 'message'),
    ('data', '421 4.3.2 going down', '4.3.2', 'message'),
    ('data', '250 what', '4.5.0', 'message'),
    ('dot', '452 4.3.1 disk full', '4.3.1', 'message'),
    ('dot', '552 5.3.4 too big', '5.3.4', 'message'),
    ('dot', '554 5.7.1 spam', '5.7.1', 'message'),
    ('dot', '421 4.7.28 too much', '4.7.28', 'message'),
    ('dot', '354 what', '4.4.2', 'message'),
]


def row25_classes(a, caps, what):
    for stage, reply, code, scope in CLASSES:
        with Servers((2, {stage: reply, 'caps': caps})) as s:
            got = a.one('one.test')
            ok(got[:2] == (code, scope) and
               (reply[0] == '2' or reply[:3] == '354' or
                got[2] == reply),
               'row 25: %s to %s is %s (%s)' % (reply.split('\n')[0], stage, code,
                                           what), got)


def row26_partial(a):
    def rcpt(s, line):
        return {'0': None, '1': '550 5.1.1 unknown', '2': '451 4.2.1 later',
                '3': '250 yes'}[line.split('<r')[1][0]]
    for caps in (FULL, FULL[:1], PLAIN):
        with Servers((2, {'rcpt': rcpt, 'caps': caps})) as s:
            got = a.relay('one.test', 4)
            same([g[0].split()[0] for g in got],
                 ['2.0.0', '5.1.1', '4.2.1', '2.0.0'],
                 'row 26: each recipient its own (%d extensions)' % len(caps))
            same(s.messages[0].rcpts,
                 ['RCPT TO:<r0@one.test>', 'RCPT TO:<r3@one.test>'],
                 'row 26: for those that were accepted')


def row27_28_none(a):
    for caps in (FULL, FULL[:1], PLAIN):
        with Servers((2, {'rcpt': '550 5.1.1 no', 'caps': caps})) as s:
            got = a.relay('one.test', 3)
            same([g[0].split()[0] for g in got], ['5.1.1'] * 3,
                 'row 27: all recipients refused (%d extensions)' % len(caps))
            if 'PIPELINING' not in caps:
                ok('DATA' not in verbs(s),
                   'row 27: no DATA without pipelining',
                   verbs(s))
            s.set(rcpt=None)
            same((a.one('one.test')[0], len(s.sessions)), ('2.0.0', 1),
                 'row 27: the session goes on')
    with Servers((2, {'rcpt': '550 5.1.1 no', 'careless': True})) as s:
        same(a.one('one.test')[0], '5.1.1', '28 354 though none was taken')
        same([m.data for m in s.messages], [b''], 'row 28: gets a lone dot')
        s.set(rcpt=None)
        same((a.one('one.test')[0], len(s.sessions)), ('2.0.0', 1),
             'row 28: the session goes on')


def row29_after_dot(a):
    for caps in (FULL, FULL[:1], PLAIN):
        act = {'dot': mx.DROP, 'bdat': mx.DROP, 'caps': caps}
        with Servers((2, act), (3, {})) as (s2, s3):
            code, scope, text = a.one('two.test')
            same((code, scope), ('4.4.2', 'message'),
                 'row 29: lost after the dot: only this message waits')
            ok('twice' in text and len(s3.sessions) == 0,
               'row 29: no other server is given it', text)
    b = Agent(DNS, PORT, patience=2)
    with Servers((2, {'dot': mx.HANG})) as s:
        code, scope, text = b.one('one.test')
        same((code, scope, len(s.messages)), ('4.4.2', 'message', 1),
             'row 29: no answer after the dot')
    ok(b.stop(), 'row 29: the agent lives')


def row30_lmtp(dns):
    a = Agent(dns, PORT, remote='transports = {"* lmtp:127.0.0.2:%d"}' % PORT)
    answers = []

    def dot(s, line):
        return answers.pop(0)

    def rcpt(s, line):
        return '550 5.1.1 no' if '<r1' in line else None
    with Servers((2, {'lmtp': True, 'dot': dot, 'rcpt': rcpt})) as s:
        answers[:] = ['250 2.0.0 in', '452 4.2.2 full', '550 5.7.1 spam']
        got = a.relay('one.test', 4)
        same([g[0] for g in got],
             ['2.0.0 250 2.0.0 in', '5.1.1 550 5.1.1 no',
              '4.2.2 452 4.2.2 full', '5.7.1 550 5.7.1 spam'],
             'row 30: one reply for each that was accepted, in order')
        same(verbs(s)[0], 'LHLO', 'row 30: LHLO')
        answers[:] = ['250 2.0.0 in', mx.DROP]
        got = a.relay('one.test', 4)
        same([g[0].split()[0] for g in got],
             ['2.0.0', '5.1.1', '4.4.2', '4.4.2'],
             'row 30: replies that do not come')
    ok(a.stop(), 'row 30: the agent lives')
    b = Agent(dns, PORT, remote='transports = {"* lmtp:unix:lmtp"}')
    s = mx.Server(b.top + '/run/deliver/lmtp', 0, lmtp=True)
    same(b.one('one.test')[0], '2.0.0', 'row 30: over a Unix socket')
    s.stop()
    ok(b.stop(), 'row 30: the agent lives')


def row31_too_many(a):
    def rcpt(s, line):
        return '452 4.5.3 too many' if len(s.message.rcpts) >= 3 else None
    for caps in (FULL, PLAIN):
        with Servers((2, {'rcpt': rcpt, 'caps': caps})) as s:
            got = a.relay('one.test', 8)
            same(({g[0].split()[0] for g in got},
                  [len(m.rcpts) for m in s.messages], len(s.sessions)),
                 ({'2.0.0'}, [3, 3, 2], 1),
                 'row 31: the rest in transactions of their own, at once')
    with Servers((2, {'caps': FULL + ('LIMITS RCPTMAX=5 MAILMAX=2',)})) as s:
        a.relay('one.test', 12)
        same(([len(m.rcpts) for m in s.messages]), [5, 5, 2],
             'row 31: LIMITS RCPTMAX')
        a.relay('one.test', 1)
        a.relay('one.test', 1)
        ok(len(s.sessions) >= 2, 'row 31: LIMITS MAILMAX')


# ------------------------------------------------------ hostile servers

STAGES = ('greet', 'ehlo', 'mail', 'rcpt', 'data')


def hostile(_):
    a = Agent(DNS, PORT, patience=2 * SLOW)
    acts = {'drop': mx.DROP, 'drip': mx.DRIP, 'garbage': mx.GARBAGE,
            'hang': mx.HANG, 'endless': mx.ENDLESS, 'long': mx.LONG}
    for name, act in acts.items():
        for stage in STAGES + ('dot',):
            with Servers((2, {stage: act})) as s:
                start = time.time()
                code, scope, text = a.one('one.test')
                want = 'host' if stage in ('greet', 'ehlo', 'mail') \
                    else 'message'
                ok(code[0] == '4' and scope == want,
                   '%s at %s: later, of the %s' % (name, stage, want),
                   (code, scope, text))
            if not a.is_alive():
                ok(False, 'the agent lives')
                return
    for stage in STAGES + ('dot',):
        for reply in ('421 4.3.2 bye', '', '2', '250', 'hello',
                      '250-\n', '\xff250 ok'):
            act = (lambda r: lambda s, l: (
                s.sock.sendall(r.encode('latin-1') + b'\r\n'), mx.HANG)[1]
            )(reply)
            with Servers((2, {stage: act})) as s:
                code, scope, text = a.one('one.test')
                fine = (reply, stage) == ('250', 'dot')  # all there has to be
                ok(code[0] == ('2' if fine else '4'), '%r at %s: %s' %
                   (reply, stage, 'fine' if fine else 'later'),
                   (code, scope, text))
    with Servers((2, {'content': mx.DROP, 'drop_after': 100000}),
                 (3, {})) as (s2, s3):
        big = b'A: b\r\n\r\n' + b'0123456789abcdef\r\n' * 200000
        with tempfile.TemporaryFile() as f:
            f.write(big)
            f.flush()
            got = a.relay('two.test', fd=f.fileno(), size=len(big))
        ok(got[0][0].startswith('2.') and s3.messages[0].data == big and
           not s2.messages, 'dropped in the middle of the message: the next '
           'server', got)
    with Servers((2, {'content': mx.DROP, 'drop_after': 100000})) as s2:
        with tempfile.TemporaryFile() as f:
            f.write(big)
            f.flush()
            got = a.relay('one.test', fd=f.fileno(), size=len(big))
        same(got[0][0][:3] + got[0][1], '4.4message', 'alone: later')
    ok(a.stop(), 'the agent lives')


def control_characters(a):
    with Servers((2, {'rcpt': '550 \x1b[2J\x07bell\x00 \x7f end'})) as s:
        text = a.relay('one.test')[0][0]
        ok(all(c >= ' ' and c != '\x7f' for c in text),
           'control characters of a reply go nowhere', text)
    with Servers((2, {})) as s:
        for bad in ('a\r\nRCPT TO:<x@y>@one.test', 'a\nb@one.test',
                    'a\rb@one.test'):
            got = a.relay('one.test', [bad, 'good@one.test'])
            same([g[0].split()[0] for g in got], ['5.1.3', '2.0.0'],
                 'an address with a line end is none')
        same({len(m.rcpts) for m in s.messages}, {1}, 'and is not sent')


def phases(a):
    """Where the time of an attempt went."""
    def slow(seconds):
        return lambda s, line: time.sleep(seconds)

    def times(detail):
        return {w.split('=')[0]: float(w.split('=')[1])
                for w in detail.split() if w.split('=')[0] in (
                    'lookup', 'connect', 'hello', 'envelope', 'content',
                    'answer')}
    a.one('dead.test')  # nothing is kept
    for caps in (FULL, FULL[:1], PLAIN):
        with Servers((2, {'ehlo': slow(0.3), 'rcpt': slow(0.5), 'caps': caps,
                          'dot': slow(0.8), 'bdat': slow(0.8)})) as s:
            start = time.time()
            got = times(a.relay('one.test')[0][3])
            took = time.time() - start
            ok(list(got) == ['lookup', 'connect', 'hello', 'envelope',
                             'content', 'answer'] and
               got['hello'] > 0.25 and got['envelope'] > 0.45 and
               got['answer'] > 0.7 and sum(got.values()) < took + 0.01,
               'each phase of an attempt has its time (%d extensions)' %
               len(caps), (got, took))
            got = times(a.relay('one.test')[0][3])
            ok(list(got) == ['envelope', 'content', 'answer'] and
               got['envelope'] > 0.45, 'a kept connection needs the rest only',
               got)
        a.one('dead.test')
    with Servers((2, {'greet': '450 4.3.2 busy'})) as s:
        s.set(greet=lambda s, l: time.sleep(0.3) or '450 4.3.2 busy')
        got = times(a.relay('one.test')[0][3])
        ok(list(got) == ['lookup', 'connect', 'hello'] and
           got['hello'] > 0.25, 'and a failure those that it had', got)


def dead(a):
    code, scope, text = a.one('dead.test')
    same((code, scope), ('4.4.1', 'host'), 'a dead host')
    ok('deadhost.test[127.0.0.66]' in text, 'is named', text)


# ------------------------------------------------------------ connections

def reuse(a):
    with Servers((2, {'caps': FULL})) as s:
        for _ in range(5):
            a.one('one.test')
        same((len(s.sessions), len(s.messages)), (1, 5),
             'one connection for one destination')
        a.one('bare.test')
        a.one('two.test')
        a.one('equal.test')
        ok(len(s.sessions) <= 2, 'for others on the same host too',
           len(s.sessions))
        a.relay('one.test', rcpts=['x@one.test'])
        a.one('dead.test')
        ok(until(lambda: all(x.ended for x in s.sessions), 5),
           'it is closed for another place')
        same(s.sessions[0].lines[-1], 'QUIT', 'with QUIT')
        s.forget()
        a.one('one.test')
        ok(until(lambda: s.sessions[0].ended, 15), 'and when it is idle')
        same(s.sessions[0].lines[-1], 'QUIT', 'with QUIT')
    # The server tires of it between two messages, or within one.
    seen = []

    def second(reply):
        def act(s, line):
            seen.append(line)
            return reply if len(s.messages) >= 1 else None
        return act
    for what, act in (('drops', mx.DROP), ('says 421', '421 4.3.2 enough')):
        for stage in ('mail', 'rcpt', 'data'):
            with Servers((2, {stage: second(act)})) as s:
                got = [a.one('one.test')[0] for _ in range(3)]
                same((got, len(s.messages)), (['2.0.0'] * 3, 3),
                     'a kept connection %s at %s: called anew' %
                     (what, stage))
    with Servers((2, {})) as s:
        a.one('one.test')
        s.sessions[0].sock.shutdown(socket.SHUT_RDWR)
        same(a.one('one.test')[0], '2.0.0', 'closed while idle: called anew')


def pipelining(a):
    """What is said before what was heard."""
    with Servers((2, {'caps': ('PIPELINING',)})) as s:
        first = a.send('one.test')
        jobs = [first] + [a.send('one.test') for _ in range(9)]
        ok(all(list(a.result(j).values())[0][0].startswith('2.')
               for j in jobs), 'several jobs in flight')
        same((len(s.sessions), len(s.messages)), (1, 10),
             'over one connection, each once')
        same([m.data.split(b'\r\n')[0] for m in s.messages],
             sorted((m.data.split(b'\r\n')[0] for m in s.messages),
                    key=lambda x: int(x.split()[1])), 'in order')
    lost = []

    def dot(s, line):
        lost.append(line)
        return mx.DROP if len(lost) == 2 else None
    with Servers((2, {'caps': ('PIPELINING',), 'dot': dot})) as s:
        jobs = [a.send('one.test') for _ in range(5)]
        got = [list(a.result(j).values())[0][0][:5] for j in jobs]
        same((got, len(s.messages)),
             (['2.0.0', '4.4.2', '2.0.0', '2.0.0', '2.0.0'], 5),
             'one lost after its end: the one begun behind it is not')

    def rcpt(s, line):
        return '421 4.3.2 enough' if len(s.messages) == 1 else None
    with Servers((2, {'caps': ('PIPELINING',), 'rcpt': rcpt})) as s:
        jobs = [a.send('one.test') for _ in range(4)]
        got = [list(a.result(j).values())[0][0][:5] for j in jobs]
        same((got, len(s.messages)), (['2.0.0'] * 4, 4),
             'one that ends the session at the next: the next is called anew')
    with Servers((2, {'caps': ('PIPELINING',)}), (3, {})) as (s2, s3):
        jobs = [a.send(d) for d in ('one.test', 'one.test', '[127.0.0.3]',
                                    'one.test', 'bare.test')]
        got = [list(a.result(j).values())[0][0][:5] for j in jobs]
        same((got, len(s2.messages), len(s3.messages)),
             (['2.0.0'] * 5, 4, 1), 'jobs for different places')


def chunking(a):
    with Servers((2, {'caps': FULL})) as s:
        content = b'A: b\r\n\r\n.\r\n..\r\nbody'
        a.relay('one.test', content=content)
        same((verbs(s), s.messages[0].data),
             (['EHLO', 'MAIL', 'RCPT', 'BDAT'], content),
             'row 53: BDAT where it is offered, octet for octet')
        binary = b'A: b\r\nContent-Transfer-Encoding: binary\r\n\r\n' + \
            bytes(range(256)) * 10
        big = b'A: b\r\n\r\n' + b'.0123456789abcdef\r\n' * 40000
        with tempfile.TemporaryFile() as f:
            f.write(big)
            f.flush()
            a.relay('one.test', fd=f.fileno(), size=len(big))
        ok(s.messages[1].data == big, 'row 53: a large one')
        s.set(rcpt='550 5.1.1 no')
        same(a.one('one.test')[0], '5.1.1', 'row 53: nobody wants it')
        s.set(rcpt=None)
        same((a.one('one.test')[0], len(s.sessions), verbs(s)[-4:]),
             ('2.0.0', 1, ['RSET', 'MAIL', 'RCPT', 'BDAT']),
             'row 53: then it is reset')
    with Servers((2, {'caps': FULL + ('BINARYMIME',)})) as s:
        a.relay('one.test', content=binary, body_type='BINARYMIME')
        ok(s.messages[0].data == binary and
           'BODY=BINARYMIME' in s.messages[0].mail, 'row 53: BINARYMIME',
           s.messages[0].mail)
    image = bytes(range(256)) * 300 + b'\r\n.\r\n\n\r'
    parts = b'A: b\r\nMIME-Version: 1.0\r\nContent-Type: ' \
        b'multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nwords\r\n--x\r\n' \
        b'Content-Type: image/x-test\r\n' \
        b'Content-Transfer-Encoding: binary\r\n\r\n' + image + b'\r\n--x--\r\n'
    for caps in (FULL, FULL[:1], PLAIN, ('SIZE',)):
        with Servers((2, {'caps': caps})) as s:
            same(a.relay('one.test', content=parts,
                         body_type='BINARYMIME')[0][0][:5], '2.0.0',
                 'row 53: binary, to a server that takes none (%d extensions)'
                 % len(caps))
            m = email.message_from_bytes(s.messages[0].data)
            got = m.get_payload()
            same((got[0].get_payload(), got[1].get_payload(decode=True),
                  got[1]['Content-Transfer-Encoding'],
                  'BINARYMIME' in s.messages[0].mail,
                  b'\0' in s.messages[0].data),
                 ('words', image, 'base64', False, False),
                 'row 53: has the same octets there')
    b = Agent(DNS, PORT, remote='chunking = no')
    with Servers((2, {'caps': FULL})) as s:
        b.one('one.test')
        ok('BDAT' not in verbs(s), 'row 53: unless it is not wanted', verbs(s))
    b.stop()


# ----------------------------------------------------------- the message

def extensions(a):
    with Servers((2, {'caps': FULL})) as s:
        a.relay('one.test', ['x@one.test', 'y@one.test'], ret='HDRS',
                envid='QQ314159', notify=['SUCCESS,FAILURE', 'NEVER'],
                orcpt=['rfc822;X+2Bz@one.test', ''])
        m = s.messages[0]
        ok(m.mail.endswith(' RET=HDRS ENVID=QQ314159') and m.rcpts ==
           ['RCPT TO:<x@one.test> NOTIFY=SUCCESS,FAILURE '
            'ORCPT=rfc822;X+2Bz@one.test', 'RCPT TO:<y@one.test> '
            'NOTIFY=NEVER'], 'row 34: DSN parameters are passed on',
           (m.mail, m.rcpts))
        same(a.relay('one.test')[0][3][:25],
             'ip=127.0.0.2 tls=no dsn=1', 'row 34: and who reports is known')
        a.relay('one.test', envid='a\r\nRSET', notify=['A B'],
                orcpt=['rfc822;a b'])
        ok('ENVID' not in s.messages[-1].mail and
           s.messages[-1].rcpts == ['RCPT TO:<r0@one.test>'],
           'what is no value is not sent', s.messages[-1].mail)
    with Servers((2, {'caps': PLAIN})) as s:
        a.relay('one.test', ret='FULL', envid='x', notify=['NEVER'])
        m = s.messages[0]
        ok('RET' not in m.mail and m.rcpts == ['RCPT TO:<r0@one.test>'],
           'row 34: not where it is not known', m.mail)
    with Servers((2, {'caps': ('SIZE 100',)})) as s:
        code, scope, text = a.one('one.test', content=b'A: b\r\n\r\n' +
                                  b'x' * 200 + b'\r\n')
        same((code, scope, text[:4], 'MAIL' in verbs(s)),
             ('5.3.4', 'message', '552 ', False),
             'larger than the server takes: not even tried')
        same(a.one('one.test')[0], '2.0.0', 'a smaller one is')


def row39_quoted(a):
    """A local part that needs quotes has them again on the way out."""
    with Servers((2, {'caps': FULL})) as s:
        for local in ('"a b"', '"a@b"', '""', '"a\\"b"', '"a\\\\b"', '".x"',
                      '"x."', '"a..b"', 'Mixed.Case', '"a,b"', '"<>"'):
            a.one('one.test', rcpt=[local + '@one.test'])
            same(s.messages[-1].rcpts, ['RCPT TO:<%s@one.test>' % local],
                 'row 39: %s as it was' % local)


def row51_8bit(a):
    text = 'A: b\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; ' \
        'charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n' \
        'Viele gr\u00fc\u00dfe aus der Ferne\r\n'.encode()
    with Servers((2, {'caps': ('SIZE', '8BITMIME')})) as s:
        a.relay('one.test', content=text, body_type='8BITMIME')
        ok(s.messages[0].data == text and
           'BODY=8BITMIME' in s.messages[0].mail, '51 8 bits as they are',
           s.messages[0].mail)
    with Servers((2, {'caps': ('SIZE',)})) as s:
        a.relay('one.test', content=text, body_type='8BITMIME')
        m = s.messages[0]
        ok(b'Content-Transfer-Encoding: quoted-printable\r\n' in m.data and
           b'Viele gr=C3=BC=C3=9Fe aus' in m.data and 'BODY' not in m.mail and
           'SIZE=%d' % len(m.data) in m.mail,
           'row 51: converted for a server without 8BITMIME', m.data)
        signed = b'A: b\r\nContent-Type: multipart/signed; boundary=x\r\n' \
            b'\r\n--x\r\n\r\nh\xe9\r\n--x--\r\n'
        code, scope, text = a.one('one.test', content=signed)
        same((code, scope), ('5.6.3', 'message'),
             'row 51: what is signed is returned')
    with Servers((2, {'caps': ('SIZE',)}), (3, {})) as (s2, s3):
        same((a.one('two.test', content=signed)[0], len(s3.messages)),
             ('2.0.0', 1), 'row 51: or goes to a server that takes it')
    with Servers((2, {'caps': FULL})) as s:
        a.relay('one.test', content=b'A: b\r\n\r\n' + b'x' * 5000 + b'\r\n')
        ok(max(map(len, s.messages[0].data.split(b'\r\n'))) <= 998 and
           b'quoted-printable' in s.messages[0].data,
           'row 12: long lines are encoded')
        a.relay('one.test', content=b'A: ' + b'word ' * 500 +
                b'\r\n\r\nbody\r\n')
        data = s.messages[1].data
        ok(max(map(len, data.split(b'\r\n'))) <= 998 and
           data.replace(b'\r\n ', b' ').startswith(b'A: ' + b'word ' * 499),
           'row 12: long header lines are folded', data)
        code, scope, text = a.one('one.test', content=b'A: ' + b'x' * 2000 +
                                  b'\r\n\r\nbody\r\n')
        same(code, '5.6.0', 'row 12: where they can be')


def row52_utf8(a):
    with Servers((2, {'caps': FULL}), (3, {'caps': PLAIN})) as (s2, s3):
        same(a.one('b\u00fccher.test', utf8=1)[0], '2.0.0',
             'row 52: an IDN is found')
        m = s2.messages[0]
        ok('SMTPUTF8' in m.mail and m.rcpts ==
           ['RCPT TO:<r0@b\u00fccher.test>'], 'row 52: as it is with SMTPUTF8',
           (m.mail, m.rcpts))
        a.one('one.test', utf8=1)
        ok('SMTPUTF8' not in s2.messages[1].mail,
           'row 52: without need it is not asked for')
        a.relay('one.test', content='Subject: \u00fc\r\n\r\n'.encode(), utf8=1)
        ok('SMTPUTF8' in s2.messages[2].mail, 'row 52: a header may need it',
           s2.messages[2].mail)
        to = '[127.0.0.3]'
        got = a.relay(to, ['x@b\u00fccher.test', 'j\u00f6rg@b\u00fccher.test'],
                      utf8=1)
        same([g[0].split()[0] for g in got], ['2.0.0', '5.6.7'],
             'row 52: elsewhere a domain has another form, '
             'a local part has none')
        same(s3.messages[0].rcpts, ['RCPT TO:<x@xn--bcher-kva.test>'],
             'row 52: the A-label')
        for what, more in (
                ('sender', {'sender': 'j\u00f6rg@us.test'}),
                ('header', {'content': 'A: \u00fc\r\n\r\n'.encode()})):
            same(a.one(to, utf8=1, **more)[0], '5.6.7',
                 'row 52: nor a ' + what)
    with Servers((2, {'caps': PLAIN}), (3, {'caps': FULL})) as (s2, s3):
        same((a.one('two.test', utf8=1, sender='j\u00f6rg@us.test')[0],
              len(s3.messages)), ('2.0.0', 1),
             'row 52: another server may know it')


def row9_smuggling(a):
    """Whatever stands in a message, it ends where we say: by DATA with CRLF
    only, each dot at the start of a line doubled."""
    raw = []

    def read_raw(s):
        got = b''
        while not got.endswith(b'\r\n.\r\n'):
            s.fill()
            got += s.buffer
            s.buffer = b''
        raw.append(got)
        return got
    for caps in (('PIPELINING',), ('PIPELINING', 'CHUNKING')):
        bad = []
        with Servers((2, {'caps': caps, 'reader': read_raw})) as s:
            for spelling in map(b'.'.join, SPELLINGS):
                text = b'A: b\r\n\r\nbefore' + spelling + \
                    b'MAIL FROM:<x@y>\r\nRCPT TO:<z>\r\nend\r\n'
                raw.clear()
                code = a.one('one.test', content=text)[0]
                got = s.messages[-1].data
                lines = got.split(b'\r\n')
                if raw:  # not by BDAT
                    lines = got[:-3].split(b'\r\n')
                if code != '2.0.0' or \
                        any(b'\n' in l or b'\r' in l for l in lines) or \
                        (raw and (got.count(b'\r\n.\r\n') != 1 or any(
                            l[:1] == b'.' and l[:2] != b'..'
                            for l in lines))):
                    bad.append((spelling, code, got))
        same(bad, [],
             'row 9: no spelling of an end gets through (%s, %d)' % (
                 caps[-1], len(SPELLINGS)))


def at_random(a, count=250):
    """A server that says whatever comes to its mind."""
    rng = random.Random(5)
    taken = []

    def anything(stage):
        def act(s, line):
            kind = rng.randrange(12)
            if kind < 6:
                return None
            if kind == 6:
                return mx.DROP
            if kind == 7:
                s.sock.sendall(bytes(rng.randrange(256) for _ in range(
                    rng.randrange(1, 300))) + b'\r\n')
                return mx.DROP
            code = rng.choice(['200', '220', '250', '251', '334', '354',
                               '421', '450', '451', '452', '500', '521',
                               '550', '552', '554', '599', '600', '25', '-1'])
            text = ''.join(chr(rng.randrange(1, 256)) for _ in range(
                rng.randrange(40))).replace('\n', ' ')
            lines = rng.choice([[text], [text, text], ['5.1.1 ' + text]])
            return code + ' ' + '\n'.join(lines)
        return act
    stages = {s: anything(s) for s in
              ('greet', 'ehlo', 'helo', 'mail', 'rcpt', 'data', 'dot',
               'bdat', 'rset')}
    b = Agent(DNS, PORT, patience=1)
    with Servers((2, dict(stages, caps=FULL, careless=True))) as s:
        wrong = []
        for _ in range(count):
            got = b.relay('one.test', rng.choice([1, 1, 2, 5]))
            for status, scope, _, _ in got:
                if status[0] not in '245' or scope not in (
                        'host', 'message', 'recipient') or any(
                            c < ' ' and c != '\n' for c in status):
                    wrong.append((status, scope))
            if any(g[0][0] == '2' for g in got):
                taken.append(got)
        same(wrong, [], 'a server at random: every recipient has a status')
        ok(len(taken) > 0, 'now and then it takes something', len(taken))
    ok(b.stop(), 'the agent lives')


# -------------------------------------------------------------- shutdown

def no_queue(dns):
    """The end of a message is not sent when nobody can be told of it."""
    b = Agent(dns, PORT)
    hold = []

    def data(s, line):
        hold.append(s)
        until(lambda: len(hold) > 1, 30)
        return None
    with Servers((2, {'caps': ('PIPELINING',), 'data': data})) as s:
        b.send('one.test')
        ok(until(lambda: hold, 20), 'a message is under way')
        b.queue.close()
        hold.append(None)
        ok(until(lambda: s.sessions[0].ended, 20) and not s.messages,
           'the queue goes away: the message is not ended')
    b.stop()


def main():
    global DNS, PORT
    need_programs(['deliver-remote', 'resolve', 'tls'])
    if not nsd.is_there():
        skip('the remote agent', 'nsd is not installed')
        done()
    PORT = free_port()
    DNS = dns = nsd.Nsd({'test': ZONE})
    a = Agent(dns, PORT, remote='idle = 3s own_addresses = {"192.0.2.77"}',
              more='listen { smtp = {"127.0.0.9:%d"} }' % PORT)
    for test in (ordinary, row17_mx_is_me, row19_no_mx, row20_unresolvable,
                 row21_null_mx, row22_many, row23_4xx, row24_5xx_greeting):
        test(a)
    row25_classes(a, FULL[:1], 'pipelined')
    row25_classes(a, PLAIN, 'in lockstep')
    for test in (row26_partial, row27_28_none, row29_after_dot,
                 row31_too_many, hostile, row9_smuggling, at_random,
                 control_characters, dead, phases, reuse,
                 pipelining, chunking, extensions, row39_quoted, row51_8bit,
                 row52_utf8):
        test(a)
    if not ok(a.stop(), 'the agent lives and ends with its queue'):
        print(a.text()[-3000:])
    row18_private(dns)
    row30_lmtp(dns)
    no_queue(dns)
    dns.stop()
    done()


main()
