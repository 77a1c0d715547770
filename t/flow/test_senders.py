#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""What becomes of mail on its way through: senders of our own are written as
the outside shall see them, a copy of all of it is kept, and what waits for a
host that comes back is fetched with ETRN."""
import email
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
import mx  # noqa: E402
from house import House, done, ok, same, until  # noqa: E402
from ports import free_port  # noqa: E402

FAR = ['x@relay.test']


def text(sender, header=b''):
    return (b'From: "Somebody" <%s>\r\nTo: x@relay.test, '
            b'carol@desk.example.test\r\n%sSubject: s\r\n\r\nfrom %s\r\n' % (
                sender.encode(), header, sender.encode()))


def submit(h, user, sender, header=b'', to=FAR):
    with h.smtp('submission', user=user) as s:
        return s.sendmail(sender, to, text(sender, header))


def last(far, count):
    """The envelope's sender and the message that came as number count."""
    until(lambda: len(far.messages) >= count, 20)
    if not ok(len(far.messages) == count, 'it leaves once', far.messages):
        raise SystemExit(1)
    m = far.messages[-1]
    return m.mail.split('<')[1].split('>')[0], email.message_from_bytes(m.data)


def rewriting(h, far):
    submit(h, 'bob', 'bob@desk.example.test',
           b'Reply-To: bob@desk.example.test\r\n')
    sender, m = last(far, 1)
    same((sender, m['From'], m['Reply-To']),
         ('bob@example.test', '"Somebody" <bob@example.test>',
          'bob@example.test'), 'the host is hidden, in envelope and header')
    same((m['To'], m.get_payload()),
         ('x@relay.test, carol@desk.example.test',
          'from bob@desk.example.test\r\n'),
         'but neither in recipients nor in the text')
    submit(h, 'alice', 'alice@example.test',
           b'Reply-To: alice.liddell@example.test\r\n')
    sender, m = last(far, 2)
    same((sender, m['From']),
         ('Alice.Liddell@example.test',
          '"Somebody" <Alice.Liddell@example.test>'),
         'a table of senders comes first')
    same(m['Reply-To'], 'third@example.test', 'each address is replaced once')
    with h.smtp() as s:
        s.sendmail('bob@desk.example.test', FAR,
                   text('bob@desk.example.test'))
    sender, m = last(far, 3)
    same((sender, m['From']),
         ('bob@desk.example.test', '"Somebody" <bob@desk.example.test>'),
         'what only passes through is not touched')
    before = len(h.mails('alice'))
    with h.smtp() as s:
        s.sendmail('y@remote.test', ['Alice.Liddell@example.test'],
                   text('y@remote.test'))
    same(len(h.wait_mail('alice', before + 1)), before + 1,
         'and the written form has its reader')


def copies(h, far):
    """Of each message one, whatever its recipients; nobody hears of it."""
    until(lambda: len(h.mails('archive')) >= 4)
    same(len(h.mails('archive')), 4, 'a copy of all that went through')
    submit(h, 'bob', 'bob@example.test', to=['alice@example.test', FAR[0]])
    last(far, 4)
    until(lambda: len(h.mails('archive')) >= 5)
    same(len(h.mails('archive')), 5, 'one for all recipients')
    m = far.messages[-1]
    ok(b'archive' not in m.data and 'archive' not in ''.join(m.rcpts),
       'the others do not see it', m.data)
    before = len(h.mails('alice'))
    with h.smtp() as s:
        s.sendmail('', ['alice@example.test'], text('daemon@remote.test'))
    h.wait_mail('alice', before + 1)
    until(lambda: not h.queue())
    same(len(h.mails('archive')), 5, 'a report is not copied')


def etrn(h, port):
    """A host that is seldom there says when it is."""
    submit(h, 'bob', 'bob@example.test')
    ok(until(lambda: [(r['rcpt'], r['state']) for r in h.queue()] ==
             [(FAR[0], 'deferred')], 20), 'nobody is there: it waits',
       h.queue())
    far = mx.Server('127.0.0.1', port)
    with h.smtp() as s:
        s.ehlo()
        ok('etrn' in s.esmtp_features, 'ETRN is offered', s.esmtp_features)
        same(s.docmd('ETRN other.test')[0], 459, 'not for other domains')
        code, said = s.docmd('ETRN relay.test')
        same((code, said[:18]), (253, b'2.0.0 1 waiting fo'), 'ETRN')
    last(far, 1)
    ok(until(lambda: not h.queue()), 'and it is gone')
    far.stop()


def main():
    port = free_port()
    h = House(without=('imapd', 'pop3d'), users={
        'alice': 'secret', 'bob': 'hunter2', 'archive': 'x'})
    with open(h.dir + '/senders', 'w') as f:
        f.write('alice@example.test Alice.Liddell@example.test\n'
                'alice.liddell@example.test third@example.test\n')
    os.chmod(h.dir + '/senders', 0o644)
    h.sets += ['address.masquerade=example.test',
               'address.senders=text:%s/senders' % h.dir,
               'address.bcc=archive@example.test',
               'address.virtual_domains=desk.example.test',
               'address.relay_domains=relay.test', 'queue.retry=10m',
               'remote.transports=relay.test smtp:127.0.0.1:%d' % port]
    with open(h.dir + '/aliases', 'w') as f:
        f.write('Alice.Liddell: alice\nbob@desk.example.test: bob\n')
    far = mx.Server('127.0.0.1', port)
    with h:
        rewriting(h, far)
        copies(h, far)
        far.stop()
        etrn(h, port)
        same(h.stop(), 0, 'it ends cleanly')
    done()


main()
