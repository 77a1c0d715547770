#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Is it an open relay?  Every way of asking that scanners and spammers know:
forms of the recipient, of the sender, of the session.  Each is refused at once
or means somebody here; nothing that leaves the house is ever in the queue."""
import os
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
from house import SLOW, House, done, ok, same, until  # noqa: E402

HOST = 'mx.example.test'
NULL, HERE, FAR = '<>', '<alice@example.test>', '<spammer@far.test>'

# Recipients that must not be taken, whoever sends.
RECIPIENTS = [
    '<victim@far.test>',
    'victim@far.test',
    '<VICTIM@FAR.TEST>',
    '<"victim"@far.test>',
    '<"victim@far.test">',
    '<"victim@far.test"@example.test>',
    '<"victim%far.test"@example.test>',
    '<victim%far.test@example.test>',
    '<victim%far.test@[127.0.0.1]>',
    '<victim%far.test@' + HOST + '>',
    '<victim%far.test%example.test@example.test>',
    '<victim%far.test@>',
    '<victim%far.test>',
    '<far.test!victim>',
    '<far.test!victim@example.test>',
    '<far.test!victim@[127.0.0.1]>',
    '<example.test!far.test!victim>',
    '<far.test!victim%example.test>',
    '<@example.test:victim@far.test>',
    '<@' + HOST + ':victim@far.test>',
    '<@[127.0.0.1]:victim@far.test>',
    '<@example.test,@far.test:victim@far.test>',
    '<@far.test:victim%far.test@example.test>',
    '<victim@far.test@example.test>',
    '<victim@example.test@far.test>',
    '<alice@example.test,victim@far.test>',
    '<alice@example.test>,<victim@far.test>',
    '<alice@example.test> <victim@far.test>',
    '<alice@example.test victim@far.test>',
    '<victim@far.test;alice@example.test>',
    '<victim@far.test,>',
    '<victim@[127.0.0.1]>',
    '<victim@[192.0.2.1]>',
    '<victim@127.0.0.1>',
    '<victim@localhost>',
    '<victim@' + HOST + '.far.test>',
    '<victim@far.test.>',
    '<victim@example.test.far.test>',
    '<victim@.example.test>',
    '<victim@example.test.>',
    '<victim@sub.example.test>',
    '<victim@xexample.test>',
    '<victim@example.tes>',
    '<victim@>',
    '<victim>',
    '<@far.test>',
    '<victim@far.test\\@example.test>',
    '<victim\\@far.test@example.test>',
    '<victim(@example.test)@far.test>',
    '<victim@far.test(@example.test)>',
    '<victim@far\u2024test>',
    '<victim\\%far.test@example.test>',
    '<alice+victim@far.test>',
    '<alice@example.test/victim@far.test>',
    '<SMTP:victim@far.test>',
    '<"SMTP:victim@far.test"@example.test>',
    '<IMCEASMTP-victim+40far+2Etest@example.test>',
    '<postmaster@far.test>',
    '<postmaster%far.test@example.test>',
    '<abuse@far.test>',
    '<|victim@far.test>',
    '<victim@far.test> NOTIFY=SUCCESS ORCPT=rfc822;alice@example.test',
    '<victim@[IPv6:::1]>',
    '<victim@[IPv6:2001:db8::1]>',
    '<victim@2130706433>',
    '<victim=far.test@example.test>',
]

# Who asks: a name (with parameters), and how the session began.
SENDERS = [FAR, NULL, HERE, '<postmaster@example.test>', '<spam@localhost>',
           '<spam@[127.0.0.1]>', '<' + 'root@' + HOST + '>',
           HERE + ' AUTH=<alice@example.test>', '<spam>',
           '<victim@far.test> SIZE=1 BODY=8BITMIME']
HELLOS = ['EHLO ' + HOST, 'HELO ' + HOST, 'EHLO example.test',
          'EHLO localhost', 'EHLO [127.0.0.1]', 'HELO far.test']


class Session:
    def __init__(self, h, hello, service='smtp'):
        self.s = socket.create_connection(('127.0.0.1', h.port(service)))
        self.s.settimeout(60 * SLOW)
        self.f = self.s.makefile('rb')
        self.code()
        self.say(hello)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.f.close()
        self.s.close()

    def code(self):
        while True:
            line = self.f.readline()
            if line[3:4] != b'-':
                return int(line[:3] or 0)

    def say(self, line):
        self.s.sendall(line.encode() + b'\r\n')
        return self.code()


def recipients(h, service, sender, hello='EHLO x.test'):
    """Those that were taken."""
    taken = []
    for to in RECIPIENTS:
        # a session each dozen: errors are counted, too
        with Session(h, hello, service) as s:
            begun = s.say('MAIL FROM:' + sender)
            if begun == 250 and s.say('RCPT TO:' + to) < 500:
                taken.append(to)
            if begun != 250 and service == 'smtp' and begun < 500:
                taken.append('MAIL: %d' % begun)
    return taken


def forms(h):
    ok(len(set(RECIPIENTS)) >= 60, '%d forms' % len(set(RECIPIENTS)))
    for sender in (FAR, NULL, HERE):
        same(recipients(h, 'smtp', sender), [],
             'row 41: from %s: none is taken' % sender)
    same(recipients(h, 'smtp', FAR, 'HELO ' + HOST), [],
         'from one who takes our name: none is taken')
    same(recipients(h, 'submission', FAR), [],
         'at submission without a login: none is taken')


def sessions(h):
    for hello in HELLOS:
        for sender in SENDERS:
            with Session(h, hello) as s:
                codes = [s.say('MAIL FROM:' + sender),
                         s.say('RCPT TO:<victim@far.test>'),
                         s.say('DATA')]
                ok(all(c >= 500 for c in codes[1:]),
                   '%s, from %s' % (hello, sender), codes)


def tricks(h):
    """Ways that are no form of an address."""
    with Session(h, 'EHLO x.test') as s:
        s.say('MAIL FROM:' + FAR)
        same(s.say('RCPT TO:' + HERE), 250, 'one who is here first')
        same(s.say('RCPT TO:<victim@far.test>'), 550, 'then the other')
        s.say('RSET')
        s.say('MAIL FROM:' + FAR)
        same(s.say('RCPT TO:<victim@far.test>'), 550, 'after RSET')
        s.say('EHLO ' + HOST)
        s.say('MAIL FROM:' + FAR)
        same(s.say('RCPT TO:<victim@far.test>'), 550, 'after EHLO again')
    with Session(h, 'EHLO x.test') as s:
        for line in ('XCLIENT ADDR=127.0.0.1 LOGIN=alice', 'XFORWARD ADDR=::1',
                     'TURN', 'ETRN far.test', 'SEND FROM:' + FAR,
                     'AUTH PLAIN AGFsaWNlAHNlY3JldA==', 'AUTH ANONYMOUS',
                     'AUTH EXTERNAL ='):
            code = s.say(line)
            ok(code >= 400, 'refused: ' + line, code)
        s.say('MAIL FROM:' + FAR)
        same(s.say('RCPT TO:<victim@far.test>'), 550, 'and nobody by that')


def header(h):
    """The envelope says where to, the header nothing."""
    with Session(h, 'EHLO x.test') as s:
        s.say('MAIL FROM:' + FAR)
        s.say('RCPT TO:' + HERE)
        s.say('DATA')
        s.s.sendall(b'To: victim@far.test\r\nCc: victim2@far.test\r\n'
                    b'Bcc: victim3@far.test\r\nResent-To: victim4@far.test\r\n'
                    b'X-Envelope-To: victim5@far.test\r\n'
                    b'Errors-To: victim6@far.test\r\n'
                    b'Return-Receipt-To: victim7@far.test\r\n'
                    b'Disposition-Notification-To: victim8@far.test\r\n'
                    b'\r\nx\r\n.\r\n')
        same(s.code(), 250, 'a message to somebody here')
    h.wait_mail('alice', 1)


def outside(h):
    """Whatever was ever queued for elsewhere."""
    rows = h.queue() + h.queue('--history')
    return [r['rcpt'] for r in rows
            if not r['rcpt'].endswith('@example.test')]


def main():
    h = House(without=('imapd', 'pop3d'), options=(), sets=[
        'general.hostname=' + HOST, 'limit.connections=10000',
        'smtp.greet_wait=0', 'address.relay_domains=relay.test'])
    with h:
        forms(h)
        sessions(h)
        tricks(h)
        header(h)
        until(lambda: len(h.queue()) == 0)
        same(len(h.mails('alice')), 1, 'only that one came')
        same(outside(h), [], 'and nothing was ever to leave')
    done()


main()
