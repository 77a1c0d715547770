#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""What DNS says of a client: reverse names, lists of good and bad clients, a
sender's domain that takes no mail.  Clients of many addresses are made with
XCLIENT; nsd answers."""
import os
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
import nsd
from house import SLOW, House, done, message, ok, same, skip, until

ZONES = {
    'test': '''
@ MX 10 mx
mx A 192.0.2.1
sender MX 10 mx
null MX 0 .
good.host A 8.8.8.8
good.host AAAA 2600::8
liar.host A 8.8.8.9
bad.bl A 127.0.0.2
8.8.8.8.wl A 127.0.0.1
3.3.8.8.bl A 127.0.0.2
4.3.8.8.bl A 127.0.0.4
5.3.8.8.bl A 192.0.2.99
6.3.8.8.bl A 127.0.0.2
6.3.8.8.wl A 127.0.0.1
1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.6.2.bl A 127.0.0.2
''',
    '8.8.in-addr.arpa': '8.8 PTR good.host.test.\n7.8 PTR liar.host.test.\n',
    '0.0.6.2.ip6.arpa': '8.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0'
                        '.0.0 PTR good.host.test.\n',
}


class Wire:
    def __init__(self, h, address):
        self.s = socket.create_connection(('127.0.0.1', h.port('smtp')))
        self.s.settimeout(90 * SLOW)
        self.f = self.s.makefile('rb')
        self.reply()
        if ':' in address:
            address = 'IPV6:' + address
        self.said = self.say('XCLIENT ADDR=' + address)
        self.say('EHLO client.test')

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.f.close()
        self.s.close()

    def reply(self):
        while True:
            line = self.f.readline().decode('latin-1')
            if line[3:4] != '-':
                return line.rstrip()

    def say(self, line):
        self.s.sendall(line.encode() + b'\r\n')
        return self.reply()

    def rcpt(self, sender='a@sender.test', to='alice@example.test'):
        self.say('RSET')
        self.say('MAIL FROM:<%s>' % sender)
        return self.say('RCPT TO:<%s>' % to)


def lists(h):
    for address, want in (
            ('8.8.1.1', '250'), ('8.8.3.3', '554 5.7.1 8.8.3.3 is listed by '
                                 'bl.test'),
            ('8.8.3.4', '250'),  # another answer than the one that counts
            ('8.8.3.5', '250'),  # an answer outside 127/8
            ('8.8.3.6', '250'),  # in a list of good ones, too
            ('2600::1', '554'), ('2600::2', '250')):
        with Wire(h, address) as w:
            got = w.rcpt()
            ok(got.startswith(want), 'lists: ' + address, got)
    with Wire(h, '8.8.3.3') as w:
        same(w.rcpt(to='postmaster@example.test')[:3], '250',
             'row 37: postmaster hears from a listed client')
        same(w.rcpt()[:3], '554', 'but nobody else')
    ok(until(lambda: h.grep('listed client=8.8.3.3 by=bl.test weight=1')),
       'the log says which')


def names(h):
    before = len(h.mails('alice'))
    for n, (address, want) in enumerate((
            ('8.8.8.8', '(good.host.test [8.8.8.8])'),
            ('2600::8', '(good.host.test [IPv6:2600::8])'),
            ('8.8.8.7', '([8.8.8.7])'))):
        with Wire(h, address) as w:
            w.rcpt()
            w.say('DATA')
            w.s.sendall(message('name', n=n) + b'.\r\n')
            same(w.reply()[:3], '250', 'a message from ' + address)
        h.wait_mail('alice', before + n + 1)
        newest = max(h.mails('alice'), key=os.path.getmtime)
        first = [l for l in open(newest) if l.startswith('Received')][0]
        ok(want in first, 'its confirmed name is in the trace line', first)
    with Wire(h, '8.8.8.7') as w:
        got = w.rcpt(sender='strict@sender.test')
        same(got, '451 4.7.1 Fix your reverse name',
             'a rule on the reverse name')
    with Wire(h, '8.8.8.8') as w:
        same(w.rcpt(sender='strict@sender.test')[:3], '250',
             'and who has one')


def senders(h):
    """Edge case 21: a domain with a null MX sends no mail."""
    with Wire(h, '8.8.1.1') as w:
        ok(w.rcpt('a@null.test').startswith('550 5.7.27'),
           'row 21: the sender\'s domain takes no mail')
        ok(w.rcpt('a@sender.test').startswith('250'),
           'row 21: another sender in the same session')
        ok(w.rcpt('').startswith('250'), 'row 32: the null sender')
        ok(w.rcpt('a@nowhere.test').startswith('550 5.7.1 No such'),
           'a rule on a domain that does not exist')
        ok(w.rcpt('a@[192.0.2.1]').startswith('250'),
           'row 38: a sender with an address literal')


def facts(h):
    """What only the session knows: TLS, and who logged in."""
    def rcpt(sender, to, **how):
        with h.smtp(**how) as s:
            s.ehlo_or_helo_if_needed()
            s.mail(sender)
            code, text = s.rcpt(to)
            return code, text.decode()
    same([rcpt('secret@sender.test', 'alice@example.test', tls=tls)
          for tls in (False, True)],
         [(550, '5.7.1 Not in the clear'), (250, '2.1.5 Recipient taken')],
         'a rule on TLS')
    same([rcpt(user + '@example.test', 'alice@example.test', tls=True,
               service='submission', user=user)[0]
          for user in ('bob', 'alice')], [550, 250],
         'a rule on who logged in')
    same(rcpt('bob@example.test', 'alice@example.test')[0], 250,
         'whom nobody else is taken for')


def explanations(h):
    """What is known of a client may be told, and decides as it would."""
    for options, code, why in (
            (['--from', 'strict@sender.test'], 451, 'rule 1: defer'),
            (['--from', 'strict@sender.test', '--reverse', 'good.host.test'],
             250, 'no rule fits'),
            (['--from', 'a@nowhere.test', '--unknown-sender'], 550,
             'rule 2: reject if sender is unknown'),
            (['--from', 'secret@sender.test'], 550, 'rule 3: reject'),
            (['--from', 'secret@sender.test', '--tls'], 250, 'no rule fits'),
            (['--login', 'bob', '--from', 'bob@example.test'], 550,
             'rule 4: reject if authenticated as bob'),
            (['--listed', '1'], 554, 'smtp.dns_lists: 1'),
            (['--listed', '-1'], 250, 'no rule fits'),
            (['--helo', 'evil.test'], 550, 'rule 5: reject if helo'),
            (['--from', '<>'], 250, 'no rule fits')):
        out = h.surat('explain', '--client', '8.8.1.1', '--to',
                      'alice@example.test', *options)
        ok(why in out.stdout and '=> %d ' % code in out.stdout and
           (out.returncode == 0) == (code == 250),
           'explain %s: %d' % (' '.join(options), code),
           out.stdout + out.stderr)


def dead_dns(h, dns):
    dns.stop()
    with Wire(h, '8.8.3.9') as w:
        same(w.rcpt()[:3], '250', 'a dead name server refuses nobody')


def main():
    if not nsd.is_there():
        skip('DNS of clients', 'nsd is not installed')
        done()
    dns = nsd.Nsd(ZONES)
    with House(without=('imapd', 'pop3d'), sets=[
            'resolve.forward=127.0.0.1@%d' % dns.port, 'resolve.timeout=2s',
            'resolve.trust_anchor=', 'smtp.xclient_networks=127.0.0.1',
            'smtp.greet_wait=0', 'smtp.dns_lists=bl.test=127.0.0.2, '
            'wl.test*-2', 'policy.rules=defer if sender is strict@* and '
            'reverse is unknown: Fix your reverse name\n'
            'reject if sender is unknown: No such domain\n'
            'reject if sender is secret@* and not tls: Not in the clear\n'
            'reject if authenticated as bob and recipient is alice@*: No\n'
            'reject if helo is evil.test']) as h:
        lists(h)
        names(h)
        senders(h)
        facts(h)
        explanations(h)
        dead_dns(h, dns)
        same(h.stop(), 0, 'it ends cleanly')
    done()


main()
