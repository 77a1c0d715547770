#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Mail comes in over SMTP and submission, is queued and lies in Maildirs."""
import os
import re
import smtplib
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
from house import (House, after_trace, corpus, done, message, ok, same, until)

MTA = ('imapd', 'pop3d', 'deliver-remote')


def wire(octets):
    return re.sub(rb'(?<!\r)\n', b'\r\n', octets)


def simple(h):
    h.send(['alice@example.test'], message('one'))
    files = h.wait_mail('alice', 1)
    same(len(files), 1, 'a message arrives')
    text = open(files[0], 'rb').read()
    ok(text.startswith(b'Return-Path: <sender@remote.test>\n'
                       b'Delivered-To: alice@example.test\nReceived: from '),
       'trace lines stand before it, each once', text)
    same(wire(after_trace(text)), message('one'),
         'what follows is the message')
    name = os.path.basename(files[0])
    ok(re.match(r'\d+\.[^,]+,S=%d,W=%d,U(ID)?=\d+' %
                (len(text), len(wire(text))), name),
       'size, wire size and UID are in the name', name)


def loops(h):
    """Row 16: what has been here goes back, with where it turns."""
    before = len(h.mails('bob')), len(h.mails('alice'))
    h.send(['alice@example.test'], b'Delivered-To: Alice@Example.TEST\r\n' +
           message('loops'), sender='bob@example.test')
    files = h.wait_mail('bob', before[0] + 1)
    text = open(max(files, key=os.path.getmtime)).read()
    ok('Status: 5.4.6' in text and
       'Final-Recipient: rfc822;alice@example.test' in text,
       'row 16: a Delivered-To of its own: returned', text)
    h.send(['alice@example.test'], b'Delivered-To: bob@example.test\r\n' +
           message('passes'), sender='bob@example.test')
    same((len(h.wait_mail('alice', before[1] + 1)), len(h.mails('bob'))),
         (before[1] + 1, before[0] + 1), 'row 16: of others it is none')


def away(h):
    """Row 70: the place of all mail is not there, or not yet: mail waits, and
    who looked too early is not asked again."""
    for what in ('an agent that knew it', 'one that never did'):
        before = len(h.mails('alice'))
        h.send(['bob@example.test'], message('before'))
        until(lambda: not h.queue())
        os.rename(h.dir + '/mail', h.dir + '/mail.away')
        try:
            os.symlink('/nowhere', h.dir + '/mail')
            if 'never' in what:
                for pid in h.pids('deliver-local'):
                    os.kill(pid, 9)
            h.send(['alice@example.test'], message('away'))
            rows = until(lambda: [r for r in h.queue()
                                  if r['state'] == 'deferred'])
            ok(rows and rows[0]['reply'].startswith('4.3.0'),
               'row 70: without its directory mail waits: ' + what,
               h.queue())
        finally:
            os.unlink(h.dir + '/mail')
            os.rename(h.dir + '/mail.away', h.dir + '/mail')
        h.surat('queue', 'retry', 'all')
        same(len(h.wait_mail('alice', before + 1)), before + 1,
             'row 70: until it is back: ' + what)


def several(h):
    before = len(h.mails('bob')), len(h.mails('alice'))
    h.send(['alice@example.test', 'BOB@example.test', 'alice@example.test',
            'alice+list@example.test'], message('several'))
    until(lambda: len(h.mails('bob')) > before[0] and
          len(h.mails('alice')) > before[1])
    time.sleep(0.3)
    same((len(h.mails('bob')) - before[0],
          len(h.mails('alice')) - before[1]), (1, 1),
         'once to each user, however often named')


def refused(h):
    with h.smtp() as s:
        s.ehlo('client.test')
        same(s.mail('x@remote.test')[0], 250, 'MAIL')
        same(s.rcpt('nobody@example.test')[0], 550, 'unknown user: 550')
        same(s.rcpt('x@elsewhere.test')[0], 550, 'relaying: 550')
        same(s.rcpt('postmaster')[0], 250, 'postmaster without a domain')
        same(s.rcpt('PostMaster@example.test')[0], 250, 'Postmaster@')
        s.rset()
        same(s.docmd('RCPT', 'TO:<alice@example.test>')[0], 503,
             'RCPT before MAIL: 503')
        same(s.docmd('DATA')[0], 503, 'DATA before RCPT: 503')
        same(s.docmd('VRFY', 'alice')[0], 252, 'VRFY: 252')
        same(s.docmd('AUTH', 'PLAIN AGFsaWNlAHNlY3JldA==')[0], 503,
             'no AUTH on port 25')
        same(s.mail('', ['SIZE=99999999999'])[0], 552, 'SIZE too large')
        same(s.mail('')[0], 250, 'the null sender is taken')


def submission(h):
    with h.smtp('submission', tls=True) as s:
        s.ehlo('client.test')
        same(s.mail('alice@example.test')[0], 530, 'submission wants a login')
        try:
            s.login('alice', 'wrong')
            ok(False, 'a wrong password')
        except smtplib.SMTPAuthenticationError as e:
            same(e.smtp_code, 535, 'a wrong password: 535')
        s.login('alice', 'secret')
        same(s.mail('bob@example.test')[0], 553, 'not your address: 553')
        before = len(h.mails('bob'))
        s.sendmail('alice@example.test', ['bob@example.test'],
                   b'Subject: s\r\nBcc: secret@x\r\n\r\nbody\r\n')
    text = open(h.wait_mail('bob', before + 1)[-1], 'rb').read()
    newest = max(h.mails('bob'), key=os.path.getmtime)
    text = open(newest, 'rb').read()
    ok(b'\nDate: ' in text and b'\nMessage-ID: <' in text and
       b'Bcc' not in text and b'ESMTPSA' in text,
       'submission adds Date and Message-ID and takes Bcc out', text)
    ok(b'127.0.0.1' not in text, 'and does not tell where the user sits')


def whole_corpus(h):
    sent = list(corpus())
    before = set(h.mails('alice'))
    with h.smtp() as s:
        s.ehlo('corpus.test')
        for name, text in sent:
            s.mail('c@remote.test')
            s.rcpt('alice@example.test')
            code, reply = s.data(text)
            if code != 250:
                ok(False, name + ' is taken', reply)
    until(lambda: len(h.mails('alice')) >= len(before) + len(sent), 30)
    got = {}
    for f in set(h.mails('alice')) - before:
        text = wire(after_trace(open(f, 'rb').read()))
        got[text] = got.get(text, 0) + 1
    missing = [n for n, text in sent if text not in got]
    same((missing, sum(got.values())), ([], len(sent)),
         '%d corpus messages lie in the Maildir byte for byte' % len(sent))


def large(h):
    before = set(h.mails('bob'))
    sizes = [66000, 114000, 114500, 115000, 130500, 131000, 131500,
             1000000, 5000000]
    for n in sizes:
        body = b''.join(b'%07d.\r\n' % i for i in range(n // 10))
        h.send(['bob@example.test'], message('large', body, n))
    h.wait_mail('bob', len(before) + len(sizes))
    got = sorted(len(after_trace(open(f, 'rb').read()))
                 for f in set(h.mails('bob')) - before)
    want = sorted(len(message('large', b''.join(
        b'%07d.\n' % i for i in range(n // 10)), n).replace(b'\r', b''))
        for n in sizes)
    same(got, want, 'large messages, around the edge of a body file too')
    until(lambda: not os.listdir(h.dir + '/state/queue/bodies'))
    same(os.listdir(h.dir + '/state/queue/bodies'), [],
         'body files go with their messages')


def too_large(h):
    with h.smtp() as s:
        s.ehlo('x.test')
        s.mail('x@remote.test')
        s.rcpt('alice@example.test')
        same(s.data(b'x' * 70 + b'\r\n' + b'y' * 3000000)[0], 552,
             'a message over the limit is swallowed: 552')
        same(s.noop()[0], 250, 'and the session lives')


def bare(h):
    """Every way of ending a message but the right one is refused."""
    before = len(h.mails('alice'))
    for n, end in enumerate([b'\n.\n', b'\n.\r\n', b'\r\n.\n', b'\r.\r',
                             b'\r\n.\r', b'\n.\r', b'\r.\r\n']):
        with socket.create_connection(('127.0.0.1', h.port('smtp'))) as c:
            f = c.makefile('rwb')
            f.readline()
            f.write(b'EHLO x\r\nMAIL FROM:<a@b>\r\n'
                    b'RCPT TO:<alice@example.test>\r\nDATA\r\n')
            f.flush()
            while not f.readline().startswith(b'354'):
                pass
            f.write(b'Subject: smuggle\r\n\r\nx' + end +
                    b'MAIL FROM:<evil@x>\r\n'
                    b'RCPT TO:<alice@example.test>\r\nDATA\r\n'
                    b'smuggled\r\n.\r\n')
            f.flush()
            reply = f.readline()
            ok(reply.startswith(b'550'), 'bare newline %d is refused' % n,
               reply)
    time.sleep(0.3)
    same(len(h.mails('alice')), before, 'nothing was smuggled')


def garbage(h):
    for text in (b'GET / HTTP/1.1\r\nHost: x\r\n\r\n', b'\0' * 5000 + b'\r\n',
                 b'A' * 100000 + b'\r\n', b'\xff\xfe\r\n' * 50,
                 b'EHLO\r\nEHLO \r\nHELO\r\n', b'MAIL FROM:<a\0b@c>\r\n'):
        with socket.create_connection(('127.0.0.1', h.port('smtp'))) as c:
            c.settimeout(10)
            try:
                c.sendall(text)
                c.shutdown(socket.SHUT_WR)
                while c.recv(65536):
                    pass
            except (ConnectionResetError, BrokenPipeError):
                pass
    same(h.send(['alice@example.test'], message('after garbage')), {},
         'garbage does not hurt')


def main():
    with House(sets=['smtp.max_size=6m'], without=MTA) as h:
        simple(h)
        loops(h)
        several(h)
        refused(h)
        submission(h)
        whole_corpus(h)
        large(h)
        bare(h)
        garbage(h)
        away(h)
        until(lambda: not h.queue())
        same(h.queue(), [], 'the queue is empty at the end')
        same(h.stop(), 0, 'it ends cleanly')
    with House(sets=['smtp.max_size=1m'], without=MTA) as h:
        too_large(h)
    done()


main()
