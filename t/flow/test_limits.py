#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""What strangers may cost: connections, rates, errors, guesses, silence.  The
counts are shared by all smtpd processes."""
import base64
import os
import re
import resource
import smtplib
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
from house import SLOW, House, done, message, ok, same, until

MTA = ('imapd', 'pop3d', 'deliver-remote')
# Loopback is a network like any other here.
STRANGERS = ['limit.exempt=', 'smtp.greet_wait=0']


class Client:
    def __init__(self, h, service='smtp', text=b'', source='127.0.0.1'):
        self.s = socket.create_connection(('127.0.0.1', h.port(service)),
                                          source_address=(source, 0))
        self.s.settimeout(60 * SLOW)
        if text:
            self.s.sendall(text)
        self.f = self.s.makefile('rb')

    def line(self):
        try:
            return self.f.readline().decode('latin-1').rstrip('\r\n')
        except ConnectionResetError:
            return ''

    def reply(self):
        """The last line of the next reply."""
        self.text = self.line()
        while self.text[3:4] == '-':
            self.text = self.line()
        return self.text

    def say(self, text):
        try:
            self.s.sendall(text.encode() + b'\r\n')
        except OSError:
            return ''
        return self.reply()

    def close(self):
        self.f.close()
        self.s.close()


def greeting(h, source='127.0.0.1'):
    c = Client(h, source=source)
    text = c.reply()
    c.close()
    return text[:3]


def connections():
    with House(without=MTA, sets=STRANGERS + ['limit.connections=3']) as h:
        held = [Client(h) for _ in range(3)]
        same([c.reply()[:3] for c in held], ['220'] * 3,
             'three connections of a block at once')
        same(greeting(h), '421', 'the fourth is refused')
        same(greeting(h, '127.0.0.99'), '421', 'from a neighbour as well')
        same(greeting(h, '127.0.1.1'), '220', 'from another block it is not')
        held.pop().close()
        ok(until(lambda: greeting(h) == '220'), 'one went: one may come')
        # an smtpd that is killed leaves no connection counted
        for pid, name in h.children().items():
            if name == 'smtpd':
                os.kill(pid, 9)
        ok(until(lambda: greeting(h) == '220'),
           'killed processes count no more')
        again = [Client(h) for _ in range(3)]
        same([c.reply()[:3] for c in again], ['220'] * 3, 'three again')
        for c in held + again:
            c.close()
        ok(h.grep('client-refused .*client=127.0.0.1'), 'the log says why')
    with House(without=MTA, sets=STRANGERS + ['limit.connection_rate=5']) as h:
        said = [greeting(h) for _ in range(8)]
        ok(said[:5] == ['220'] * 5 and '421' in said[5:],
           'connections in a minute', said)


def recipients():
    with House(without=MTA, sets=STRANGERS + ['limit.recipient_rate=10']) as h:
        codes = []
        for _ in range(4):
            with h.smtp() as s:
                s.ehlo('x.test')
                s.mail('a@remote.test')
                for _ in range(4):
                    codes.append(s.rcpt('alice@example.test')[0])
        ok(codes[:10] == [250] * 10 and set(codes[11:]) == {451},
           'recipients in a minute, counted over connections', codes)
        with h.smtp('submission', user='alice') as s:
            s.mail('alice@example.test')
            same([s.rcpt('bob@example.test')[0] for _ in range(5)],
                 [250] * 5, 'who logged in is no stranger')


def accounts():
    """Who logged in is counted by who he is and for whom he speaks, wherever
    from and over however many connections."""
    with House(without=MTA, sets=STRANGERS + [
            'limit.account_rate=12', 'limit.sender_rate=8',
            'general.plus=+']) as h:
        def codes(user, sender, count):
            with h.smtp('submission', user=user) as s:
                s.mail(sender + '@example.test')
                return [s.rcpt('bob@example.test')[0] for _ in range(count)]
        got = codes('alice', 'alice', 5) + codes('alice', 'alice', 5)
        same(got, [250] * 8 + [451] * 2, 'recipients of a sender in a minute')
        got = codes('alice', 'alice+other', 5)
        ok(got[0] == 250 and got[-1] == 451,
           'of an account, for whomever it speaks', got)
        same(codes('bob', 'bob', 5), [250] * 5, 'another has his own')


def errors():
    with House(without=MTA, sets=STRANGERS + ['limit.error_rate=12']) as h:
        for _ in range(2):
            c = Client(h)
            c.reply()
            said = [c.say('XYZZY') for _ in range(8)]
            ok(all(s.startswith('500') for s in said), 'eight errors', said)
            c.say('QUIT')
            c.close()
        ok(until(lambda: greeting(h) == '421'),
           'a block that makes errors only has to wait')


def row76_talks_first():
    """Edge case 76: a 554 greeting, then only QUIT is honoured."""
    with House(without=MTA,
               sets=['limit.exempt=', 'smtp.greet_wait=5']) as h:
        c = Client(h, text=b'EHLO spam.test\r\n')
        ok(c.reply().startswith('554'), 'row 76: who talks first gets 554')
        ok(c.reply().startswith('503'), 'row 76: and 503 for what it said')
        ok(c.say('MAIL FROM:<a@b.test>').startswith('503'), 'row 76: and more')
        ok(c.say('NOOP').startswith('503'), 'row 76: NOOP too')
        ok(c.say('QUIT').startswith('221'), 'row 76: QUIT is heard')
        same(c.line(), '', 'row 76: and ends it')
        c.close()
        before = time.time()
        same(greeting(h), '220', 'who waits is greeted')
        ok(time.time() - before > 4, 'after a while')
        same(until(lambda: limits_known(h), 10), True,
             'and need not wait the next time')
        ok(h.grep('talks-first'), 'the log says so')


def limits_known(h):
    before = time.time()
    return greeting(h) == '220' and time.time() - before < 4


def bans():
    with House(without=MTA, sets=STRANGERS + [
            'auth.failure_delay=0', 'auth.ban_after=3', 'auth.ban=2s',
            'auth.max_failures=2']) as h:
        def login(user, password):
            with h.smtp('submission', tls=True) as s:
                try:
                    return s.login(user, password)[0]
                except smtplib.SMTPResponseException as e:
                    return e.smtp_code
        same(login('bob', 'hunter2'), 235, 'a login')
        # smtplib tries every mechanism: several failures a call
        codes = [login('alice', 'wrong') for _ in range(3)]
        ok(set(codes) <= {535, 454, 421} and codes[-1] != 535,
           'after too many guesses', codes)
        same(login('alice', 'secret'), 454, 'the right password has to wait')
        ok(until(lambda: login('alice', 'secret') == 235, 30),
           'but not for ever')
        ok(h.grep('login-failed .*user=alice client=127.0.0.1') and
           h.grep('login-banned .*user=alice') and h.grep('account-banned'),
           'the log says so')
        ok(h.reload('ban = 2', 'ban = 3600'), 'bans of an hour')
        until(lambda: login('alice', 'wrong') == 454)
        same(login('alice', 'secret'), 454, 'one of them')
        h.surat('reload')
        ok(until(lambda: login('alice', 'secret') == 235, 20),
           'surat reload forgets it')


def banned_blocks():
    """Guesses of many names cost their whole block its logins, and nobody
    else."""
    with House(without=MTA, sets=STRANGERS + [
            'auth.failure_delay=0', 'auth.ban_after=4',
            'auth.max_failures=2']) as h:
        def login(source, user, password):
            with smtplib.SMTP('127.0.0.1', h.port('submission'),
                              timeout=60 * SLOW,
                              source_address=(source, 0)) as s:
                s.ehlo()
                return s.docmd('AUTH PLAIN ' + base64.b64encode(
                    ('\0%s\0%s' % (user, password)).encode()).decode())[0]
        codes = [login('127.0.0.%d' % n, 'user%d' % n, 'x')
                 for n in range(2, 8)]
        same((codes[:4], codes[5]), ([535] * 4, 454),
             'guesses of many names from many hosts of a block')
        same(login('127.0.0.77', 'alice', 'secret'), 454,
             'the block has to wait, whoever it is')
        same(login('127.0.1.1', 'alice', 'secret'), 235,
             'another block need not')
        same(greeting(h, '127.0.0.78'), '220', 'and mail is taken from both')
        ok(h.grep('login-banned .*client=127.0.0.77'), 'the log says so')


def overload():
    """When all workers are busy silence is borne for ten seconds."""
    with House(without=MTA, sets=STRANGERS + [
            'smtp.max_processes=4', 'smtp.idle_processes=1']) as h:
        first = Client(h)
        first.reply()
        first.say('EHLO slow.test')
        held = [Client(h) for _ in range(3)]
        for c in held:
            c.reply()
        # the fifth is greeted when one of them was sent away
        start = time.time()
        same(greeting(h), '220', 'all are busy: one more is served')
        ok(time.time() - start < 60 * SLOW, 'in seconds instead of minutes',
           time.time() - start)
        for c in held + [first]:
            c.s.settimeout(0.1)
        said = []
        for c in held + [first]:
            try:
                said.append(c.reply())
            except TimeoutError:
                pass
        ok(said and all(s.startswith('421') for s in said),
           'because silence is borne for a moment only', said)
        for c in held + [first]:
            c.close()
        ok(until(lambda: h.send(['alice@example.test'], message('a')) == {}),
           'and mail goes on')
        c = Client(h)
        c.reply()
        c.say('EHLO slow.test')
        time.sleep(15)
        same(c.say('NOOP')[:3], '250', 'with room again silence is borne')
        c.close()


def drip(clients, over):
    """An octet a second from each."""
    while not over.wait(1):
        for c in clients:
            try:
                c.s.send(b'N')
            except OSError:
                pass


def dripping():
    """Who was let in before it got crowded, too, and sends an octet now and
    then, is not waited for any longer."""
    with House(without=MTA, sets=STRANGERS + [
            'smtp.max_processes=4', 'smtp.idle_processes=1']) as h:
        over, first = threading.Event(), Client(h)
        first.reply()
        clients = [first] + [Client(h) for _ in range(8)]
        threading.Thread(target=drip, args=(clients, over),
                         daemon=True).start()
        start = time.time()
        first.s.settimeout(90 * SLOW)
        try:
            said = first.reply()
        except TimeoutError:
            said = 'nothing'
        over.set()
        ok(said.startswith('421'), 'a line that does not end is silence', said)
        ok(time.time() - start < 60 * SLOW, 'and borne for a moment',
           time.time() - start)
        ok(until(lambda: h.grep(' too-slow ')), 'the log says who was')
        c = Client(h, source='127.0.0.77')
        ok(c.reply().startswith('421') and 'was too slow' in c.text,
           'its network is not let in for a while', c.text)
        c.close()
        same(greeting(h, '127.0.9.9'), '220', 'another is')
        for c in clients:
            c.close()


def chat(clients, text, over):
    """Says something every second, and nothing of use."""
    while not over.wait(1):
        for c in clients:
            try:
                c.s.send(text)
            except OSError:
                pass


def guests():
    """Who does not log in has ten seconds when others wait, whatever it
    says."""
    for service, text, first, last in [
            ('imap', b'x NOOP\r\n', '* OK', '* BYE [UNAVAILABLE] Your'),
            ('pop3', b'CAPA\r\n', '+OK', '-ERR [SYS/TEMP]')]:
        with House(without=('deliver-remote',), sets=STRANGERS + [
                service + '.max_processes=2']) as h:
            over = threading.Event()
            held = [Client(h, service, source='127.1.1.1') for _ in range(2)]
            for c in held:
                c.line()
            threading.Thread(target=chat, args=(held, text, over),
                             daemon=True).start()
            time.sleep(1)
            start = time.time()
            c = Client(h, service, source='127.2.1.1')
            same(c.line()[:len(first)], first, service + ': others get a turn')
            ok(5 < time.time() - start < 40 * SLOW, 'in ten seconds or so',
               time.time() - start)
            over.set()
            # the line is longer than what is served, and has one of these
            more = [Client(h, service, source=s) for s in
                    ('127.3.1.1', '127.1.1.9', '127.1.1.8', '127.4.1.1')]
            said = [m.line() for m in more]
            ok([s for s in said[1:3] if s.startswith(last)],
               'their network has not, as long as others wait', said)
            same(said[0][:len(first)], first, 'others have')
            for m in held + more + [c]:
                m.close()


def come(h, service, count):
    """So many connections, none of them waited for."""
    crowd = []
    for _ in range(count):
        s = socket.create_connection(('127.0.0.1', h.port(service)))
        s.setblocking(False)
        crowd.append(s)
    return crowd


def told(crowd, text):
    """How many have heard this."""
    count = 0
    for s in crowd:
        try:
            count += s.recv(200, socket.MSG_PEEK).startswith(text)
        except OSError:
            pass
    return count


def turned_away():
    """More wait than can be served soon: they are told so, though the only
    worker waits for its client."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with House(without=('deliver-remote',), sets=[
            'smtp.greet_wait=0'] + ['%s.%s_processes=1' % (s, what)
                                    for s in ('smtp', 'imap', 'pop3')
                                    for what in ('max', 'idle')]) as h:
        for service, holder, text in [
                ('smtp', 'smtp', b'421 4.3.2 Too busy'),
                ('imap', 'imap', b'* BYE [UNAVAILABLE] Too busy'),
                ('pop3', 'pop3', b'-ERR [SYS/TEMP] Too busy'),
                ('imaps', 'imap', b'\x15\x03\x03\0\2\2\x50')]:
            first = Client(h, holder)
            first.line()
            crowd = come(h, service, 800)
            ok(until(lambda: told(crowd, text) >= 30, 20),
               service + ': who is too many is told so', told(crowd, text))
            ok(told(crowd, text) < 400, service + ': the others wait',
               told(crowd, text))
            first.close()
            for s in crowd:
                s.close()
            c = Client(h, holder)
            ok(c.line()[:4] in ('220 ', '* OK', '+OK '),
               service + ': when they are gone who comes is served')
            c.close()
        ok(h.grep('too-busy .*client=127.0.0.1'), 'the log says so')


def slow_drip():
    """Edge case 58: a client that drips is cut off."""
    with House(without=MTA, sets=STRANGERS + ['limit.data_rate=1000000']) as h:
        c = Client(h)
        c.reply()
        c.say('EHLO drip.test')
        c.say('MAIL FROM:<a@remote.test>')
        c.say('RCPT TO:<alice@example.test>')
        ok(c.say('DATA').startswith('354'), 'DATA')
        start = time.time()
        c.s.settimeout(0.5)
        line = b''
        while not line and time.time() - start < 90 * SLOW:
            try:
                c.s.sendall(b'x' * 10 + b'\r\n')
                line = c.s.recv(100)
            except socket.timeout:
                continue
            except OSError:
                break
        ok(line.startswith(b'421'), 'row 58: too slow', line)
        ok(time.time() - start > 29, 'row 58: but not at once')
        c.close()
        same(h.mails('alice'), [], 'row 58: and nothing is taken')


def transactions():
    """LIMITS: as many messages a session as were said, and the next session
    takes the rest."""
    with House(without=MTA, sets=['limit.recipient_rate=1000000']) as h:
        with h.smtp() as s:
            s.ehlo('x.test')
            most = int(re.search(r'MAILMAX=(\d+)', s.esmtp_features['limits'],
                                 )[1])
            codes = []
            for _ in range(most + 1):
                codes.append(s.docmd('MAIL FROM:<a@remote.test>')[0])
                if codes[-1] != 250:
                    break
                s.docmd('RSET')
            same((len(codes), set(codes[:-1]), codes[-1] // 100),
                 (most + 1, {250}, 4), 'LIMITS MAILMAX=%d is what holds' %
                 most)
        same(h.send(['alice@example.test'], message('next')), {},
             'and another session is served')


def silence():
    with House(without=MTA, sets=['smtp.timeout=5s']) as h:
        c = Client(h)
        c.reply()
        start = time.time()
        ok(c.reply().startswith('421') and time.time() - start > 4,
           'silence ends the session')
        c.close()
        c = Client(h)
        c.reply()
        c.say('EHLO x.test')
        c.s.shutdown(socket.SHUT_WR)
        same(c.line(), '', 'a half-closed connection is closed')
        c.close()


def main():
    connections()
    recipients()
    accounts()
    errors()
    row76_talks_first()
    bans()
    banned_blocks()
    overload()
    dripping()
    guests()
    turned_away()
    slow_drip()
    transactions()
    silence()
    done()


main()
