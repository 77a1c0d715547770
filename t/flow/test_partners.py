#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Mail to and from Postfix and Exim, as Debian has them, with what both sides
can do: TLS, PIPELINING, SIZE, CHUNKING, SMTPUTF8, DSN; and to one that is made
to know less."""
import email
import os
import smtplib
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
import exim  # noqa: E402
import nsd  # noqa: E402
import postfix  # noqa: E402
from ports import free_port  # noqa: E402
from house import (House, PROGRAMS, SLOW, done, message,  # noqa: E402
                   need_programs, ok, same, skip, until)

WITHOUT = ('imapd', 'pop3d')
ME = 'alice@example.test'


def at(p, user):
    return user + '@' + p.domain


def body(octets):
    return octets.replace(b'\r\n', b'\n').split(b'\n\n', 1)[1]


def send(h, to, octets, options=(), rcpt_options=()):
    with h.smtp('submission', user='alice') as s:
        s.ehlo_or_helo_if_needed()
        return s.sendmail(ME, to, octets, list(options), list(rcpt_options))


EIGHT = 'Viele gr\u00fc\u00dfe aus der Ferne\r\n'.encode()
EIGHT_BITS = b'Subject: 8\r\nMIME-Version: 1.0\r\nContent-Type: ' \
    b'text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n' \
    b'\r\n' + EIGHT


def out(h, p):
    send(h, [at(p, 'u')], message('one', b'.\r\n..\r\nend\r\n'))
    got = p.wait('u', 1)
    same([body(g) for g in got], [b'.\n..\nend\n'],
         'a message reaches %s as it is' % p.name)
    ok(got and p.secure in got[0], 'under TLS', got)
    row = h.queue('--history', '--rcpt', at(p, 'u'))
    same([r['state'] for r in row], ['relayed'], 'the history knows')
    big = b'line of a large message, .\r\n.\r\n' * 60000
    send(h, [at(p, 'u')], message('big', big))
    got = p.wait('u', 2)
    ok(len(got) == 2 and body(got[1]) == big.replace(b'\r\n', b'\n'),
       'a large one', [len(g) for g in got])
    send(h, [at(p, 'u'), at(p, 'two')], EIGHT_BITS, ['BODY=8BITMIME'])
    got = p.wait('u', 3) and p.wait('two', 1)
    same([body(g) for g in got], [EIGHT.replace(b'\r\n', b'\n')], '8 bits')
    send(h, [at(p, 'j\u00f6rg')], 'Subject: gr\u00fc\u00dfe\r\n\r\nx\r\n'
         .encode(), ['SMTPUTF8', 'BODY=8BITMIME'])
    got = p.wait('j\u00f6rg', 1)
    ok(got and 'Subject: gr\u00fc\u00dfe'.encode() in got[0],
       'an address and a header in UTF-8', got or p.log()[-1500:])


def refused(h, p):
    before = len(h.mails('alice'))
    send(h, [at(p, 'nobody'), at(p, 'u')], message('mixed'))
    files = h.wait_mail('alice', before + 1, 30)
    newest = max(files, key=os.path.getmtime)
    report = open(newest, 'rb').read()
    ok(p.unknown in report and at(p, 'nobody').encode() in report,
       'whom %s does not know: returned with its words' % p.name,
       report[-1500:])
    same(len(p.wait('u', 4)), 4, 'and whom it knows gets it')


def too_large(h, p):
    """SIZE: what is larger than the other side takes is not even tried."""
    before = len(h.mails('alice'))
    text = message('too large', b'a line of 32 octets, more or less\r\n' *
                   (p.most // 33 + 1000))
    send(h, [at(p, 'u')], text)
    files = h.wait_mail('alice', before + 1, 30)
    report = open(max(files, key=os.path.getmtime), 'rb').read()
    ok(b'Status: 5.3.4' in report, 'larger than %s takes: returned' % p.name,
       report[:3000])


def less(h, p):
    send(h, ['plain@less.test'], EIGHT_BITS, ['BODY=8BITMIME'])
    got = p.wait('plain', 1)
    if not ok(got, 'one that knows less gets it', p.log()[-1500:]):
        return
    m = email.message_from_bytes(got[0])
    same((m['Content-Transfer-Encoding'], m.get_payload(decode=True)),
         ('quoted-printable', EIGHT.replace(b'\r\n', b'\n')),
         'row 51: in 7 bits, with the same content')
    ok(p.clear in got[0], '(and no TLS)', got[0][:400])


def reports(h, p):
    """The success report comes from the other side, which took that over."""
    before = len(h.mails('alice'))
    send(h, [at(p, 'two')], message('dsn'), ['ENVID=xyz'],
         ['NOTIFY=SUCCESS', 'ORCPT=rfc822;' + at(p, 'two')])
    files = h.wait_mail('alice', before + 1, 40)
    newest = max(files, key=os.path.getmtime)
    report = open(newest, 'rb').read()
    ok(p.host.encode() in report and b'Action: delivered' in report and
       b'original-envelope-id: xyz' in report.lower(),
       'row 34: a success report, from %s' % p.name,
       report[:3000] + p.log()[-1500:].encode())
    time.sleep(0.5)
    same(len(h.mails('alice')), before + 1, 'row 34: and only that')
    send(h, [at(p, 'two')], message('silent'), [], ['NOTIFY=NEVER'])
    p.wait('two', 3)
    time.sleep(0.3)
    same(len(h.mails('alice')), before + 1, 'row 34: NEVER is never')


def back(h, p, port):
    """What the other side sends here: with all it can do."""
    before = len(h.mails('bob'))
    with smtplib.SMTP(p.address, port, timeout=60 * SLOW) as s:
        for i in range(20):
            s.sendmail(at(p, 'x'), ['bob@example.test'],
                       message('back %d' % i, b'.\r\nx\r\n'))
        big = b'.\r\n' + b'x' * 70 + b'\r\n'
        s.sendmail(at(p, 'x'), ['bob@example.test'],
                   message('back', big * 5000))
        s.sendmail(at(p, 'x'), ['bob@example.test'], EIGHT_BITS,
                   ['BODY=8BITMIME'])
        s.sendmail('', ['bob@example.test', 'alice@example.test'],
                   message('null sender'))
    files = h.wait_mail('bob', before + 23, 60)
    texts = [open(f, 'rb').read() for f in files]
    new = [t for t in texts if b'Received: from ' + p.host.encode() in t]
    same(len(new), 23, '%s sends here' % p.name)
    same(sum(body(t) == b'.\nx\n' for t in new), 20, 'as it was')
    ok(all(b'with ESMTPS' in t for t in new), 'under TLS', new[:1])
    same([len(body(t)) for t in new if b'Subject: back\n' in t],
         [len(big) * 5000 - 10000], 'a large one')
    same(sum(body(t) == EIGHT.replace(b'\r\n', b'\n') for t in new), 1,
         '8 bits')


def partner(make, domain, address):
    port, less_port = free_port(), free_port()
    zone = nsd.Nsd({'test': '%s MX 10 mx.%s\nmx.%s A %s\n' %
                    (domain, domain, domain, address)})
    h = House(without=WITHOUT, sets=[
        'resolve.forward=127.0.0.1@%d' % zone.port, 'resolve.trust_anchor=',
        'remote.port=%d' % port, 'remote.allow_loopback=yes',
        'queue.retry=1s, 1s, 2s', 'queue.retry_max=2s',
        'remote.transports=less.test smtp:%s:%d' % (address, less_port)])
    p = None
    try:
        p = make(port, less_port, h.port('smtp'))
        h.start()
        for test in (out, refused, too_large, less, reports):
            test(h, p)
        back(h, p, port)
        same(p.complaints(), [], '%s has nothing to complain of' % p.name)
    finally:
        if p:
            p.stop()
        h.__exit__()
        zone.stop()


def main():
    need_programs([p for p in PROGRAMS if p not in WITHOUT])
    for who, make in ((postfix, postfix.Postfix), (exim, exim.Exim)):
        why = 'needs nsd' if not nsd.is_there() else who.missing()
        if why:
            skip(make.name + ' as a partner', why)
        else:
            partner(make, make.domain.split('.')[0], make.address)
    done()


main()
