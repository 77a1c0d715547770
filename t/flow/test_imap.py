#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The whole house over IMAP: every message of the corpus comes back octet by
octet and is described in words every client can read; logins; news; strangers
on the port."""
import base64
import os
import socket
import ssl
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
from house import (House, after_trace, corpus, crlf, done, message, ok, same,
                   until)
from imap import Gone, Imap, Literal, leaves


def login(h, user='alice', **how):
    c = Imap(h.port('imaps' if how.get('tls') else 'imap'), **how)
    r = c.login(user, h.users[user])
    if not r.ok:
        raise SystemExit('no login: %r' % r)
    return c


# ------------------------------------------------------------------- corpus

def expected(octets):
    """What a client gets: a NUL cannot be said in a literal."""
    return octets.replace(b'\0', b'\x80')


def deliver(h, sent):
    with h.smtp() as s:
        s.ehlo('corpus.test')
        for name, text in sent:
            s.mail('c@remote.test')
            s.rcpt('alice@example.test')
            code, reply = s.data(text)
            if code != 250:
                ok(False, name + ' is taken', reply)


def check_parts(c, uid, whole, structure):
    """Sizes and lines are those of the sections."""
    wrong = []
    parts = list(leaves(structure))[:200]
    for at in range(0, len(parts), 50):
        some = parts[at:at + 50]
        items = ' '.join('BODY.PEEK[%s]' % section for section, _ in some)
        got = c.fetch(str(uid), items, uid=True)[0]
        for section, part in some:
            octets = got['BODY[%s]' % section]
            if octets is None or len(octets) != part['octets']:
                wrong.append((section, part['octets'],
                              octets and len(octets)))
            elif octets not in whole:
                wrong.append((section, 'is not in the message'))
            elif 'lines' in part and octets.count(b'\n') != part['lines']:
                wrong.append((section, part['lines'], octets.count(b'\n')))
    return wrong


KEPT = 'From To Cc Subject Date Message-ID References Content-Type Sender'


def check_fields(c, uid):
    """The index and the file say the same."""
    items = 'BODY.PEEK[HEADER.FIELDS (%s)]'
    f = c.fetch(str(uid), (items + ' ' + items) % (KEPT, KEPT + ' X-Never'),
                uid=True)[0]
    return len(set(f[k] for k in f if k != 'UID')) == 1


def check_message(c, f, wrong):
    uid, whole = f['UID'], f['BODY[]']
    if f['RFC822.SIZE'] != len(whole):
        wrong.append((uid, 'size', f['RFC822.SIZE'], len(whole)))
    if f['BODY[HEADER]'] + f['BODY[TEXT]'] != whole:
        wrong.append((uid, 'header and text are not the whole'))
    bad = check_parts(c, uid, whole, f['BODYSTRUCTURE'])
    if bad:
        wrong.append((uid, bad))
    if not check_fields(c, uid):
        wrong.append((uid, 'fields differ'))
    pieces = b''
    step = max(1000, len(whole) // 7)
    for at in range(0, len(whole), step):
        piece = c.fetch(str(uid), 'BODY.PEEK[]<%d.%d>' % (at, step), uid=True)
        pieces += piece[0]['BODY[]<%d>' % at]
    if pieces != whole:
        wrong.append((uid, 'pieces differ from the whole'))


def whole_corpus(h):
    sent = list(corpus())
    deliver(h, sent)
    h.wait_mail('alice', len(sent), 60)
    c = login(h)
    same(c.command('EXAMINE INBOX').named('EXISTS'), [('EXISTS', len(sent))],
         'every message has arrived')
    got, wrong = {}, []
    for n in range(1, len(sent) + 1):
        f = c.fetch(str(n), 'UID RFC822.SIZE ENVELOPE BODY BODYSTRUCTURE '
                    'INTERNALDATE FLAGS BODY.PEEK[] BODY.PEEK[HEADER] '
                    'BODY.PEEK[TEXT]')[0]
        text = after_trace(f['BODY[]'])
        got[text] = got.get(text, 0) + 1
        check_message(c, f, wrong)
    missing = [n for n, text in sent if expected(text) not in got]
    same((missing, sum(got.values())), ([], len(sent)),
         '%d corpus messages are read back octet by octet' % len(sent))
    same(wrong, [], 'sizes, lines, sections and pieces agree')
    r = c.command('UID FETCH 1:* (ENVELOPE BODYSTRUCTURE)')
    same((r.ok, len(r.named('FETCH'))), (True, len(sent)),
         'ENVELOPE and BODYSTRUCTURE of all at once')
    c.logout()


def read_by_imaplib(h):
    """As the library of the language reads it, which is lenient otherwise."""
    import imaplib
    m = imaplib.IMAP4('127.0.0.1', h.port('imap'))
    m.login('alice', 'secret')
    kind, count = m.select('INBOX', readonly=True)
    kind, data = m.fetch('1:*', '(ENVELOPE BODYSTRUCTURE RFC822.SIZE)')
    lines = [d for d in data if d != b')']
    same(sum((b'RFC822.SIZE' in (d if isinstance(d, bytes) else d[0]))
             or isinstance(d, tuple) for d in lines) >= int(count[0]), True,
         'imaplib reads them all')
    kind, data = m.search(None, 'LARGER', '1')
    same(len(data[0].split()), int(count[0]), 'imaplib searches')
    m.logout()


# -------------------------------------------------------------------- login

def logins(h):
    c = Imap(h.port('imap'))
    ok(c.greeting[1] == 'OK' and 'STARTTLS' in c.greeting[2] and
       'AUTH=PLAIN' in c.greeting[2], 'the greeting offers what there is',
       c.greeting)
    r = c.command('SELECT INBOX')
    same(r.result, 'BAD', 'nothing is selected before a login')
    r = c.login('alice', 'wrong')
    same((r.result, r.code), ('NO', 'AUTHENTICATIONFAILED'), 'wrong password')
    r = c.login('nobody', 'secret')
    same((r.result, r.code), ('NO', 'AUTHENTICATIONFAILED'), 'unknown user')
    tag = c.start('AUTHENTICATE PLAIN')
    same(c.line(), ('+', b''), 'AUTHENTICATE asks for a response')
    c.send(b'*\r\n')
    same(c.finish(tag).result, 'BAD', 'and can be cancelled')
    tag = c.start('AUTHENTICATE PLAIN')
    c.line()
    c.send(b'!!!not base64!!!\r\n')
    same(c.finish(tag).result, 'BAD', 'what is not base64 is refused')
    same(c.command('AUTHENTICATE X-OTHER').code, 'CANNOT',
         'an unknown mechanism')
    tag = c.start('AUTHENTICATE PLAIN =')
    c.line()
    c.send(b'*\r\n')
    same(c.finish(tag).result, 'BAD', 'an empty response is no login')
    word = base64.b64encode(b'\0alice\0secret').decode()
    r = c.command('AUTHENTICATE PLAIN ' + word)
    ok(r.ok and 'IDLE' in r.code, 'AUTHENTICATE PLAIN with its response', r)
    same(c.command('LOGIN alice secret').result, 'BAD', 'once is enough')
    c.logout()
    c = Imap(h.port('imap'))
    tag = c.start('AUTHENTICATE LOGIN')
    c.line()
    c.send(base64.b64encode(b'alice') + b'\r\n')
    c.line()
    c.send(base64.b64encode(b'secret') + b'\r\n')
    ok(c.finish(tag).ok, 'AUTHENTICATE LOGIN, in two steps')
    c.close()
    c = Imap(h.port('imap'))
    r = c.command('LOGIN', Literal(b'alice'), Literal(b'secret'))
    ok(r.ok, 'LOGIN with literals', r)
    c.close()
    # everything sent at once, by a client that does not wait
    c = Imap(h.port('imap'))
    tags = [c.start(x) for x in ('LOGIN alice secret', 'SELECT INBOX',
                                 'NOOP', 'LOGOUT')]
    same([c.finish(t).result for t in tags], ['OK'] * 4,
         'a pipelined session from LOGIN to LOGOUT')


def too_many_failures(h):
    c = Imap(h.port('imap'))
    try:
        for n in range(20):
            c.login('alice', 'wrong')
        ok(False, 'guessing ends')
    except Gone:
        ok(2 <= n <= 10, 'guessing ends', n)


def tls(h):
    c = Imap(h.port('imap'))
    same(c.command('STARTTLS').result, 'OK', 'STARTTLS')
    c.start_tls()
    r = c.command('CAPABILITY')
    ok('STARTTLS' not in r.lines[0][1] and
       'LOGINDISABLED' not in r.lines[0][1], 'not offered twice', r)
    same(c.command('STARTTLS').result, 'BAD', 'nor taken twice')
    ok(c.login('bob', 'hunter2').ok, 'login under TLS')
    ok(c.command('SELECT INBOX').ok, 'a session under TLS')
    c.logout()
    c = login(h, tls=True)
    ok(c.command('SELECT INBOX').ok, 'TLS from the start')
    c.logout()
    # what comes in the clear behind STARTTLS is nobody's command
    s = socket.create_connection(('127.0.0.1', h.port('imap')), 30)
    f = s.makefile('rb')
    f.readline()
    s.sendall(b'a STARTTLS\r\nb NOOP\r\n')
    same(f.readline()[:4], b'a OK', 'STARTTLS with something behind it')
    same(f.read(), b'', 'ends the connection')


def plaintext(h):
    """Without --plaintext-auth a password needs TLS."""
    c = Imap(h.port('imap'))
    ok('LOGINDISABLED' in c.greeting[2] and
       'AUTH=PLAIN' not in c.greeting[2], 'LOGINDISABLED', c.greeting)
    same(c.login('alice', 'secret').code, 'PRIVACYREQUIRED',
         'LOGIN is refused in the clear')
    same(c.command('AUTHENTICATE PLAIN AGFsaWNlAHNlY3JldA==').code,
         'PRIVACYREQUIRED', 'AUTHENTICATE too')
    c.command('STARTTLS')
    c.start_tls()
    ok(c.login('alice', 'secret').ok, 'and taken under TLS')
    c.logout()


# ------------------------------------------------------------------ clients

def thunderbird(h):
    """Two connections, and the commands in the order that client has them."""
    a = Imap(h.port('imap'))
    a.command('CAPABILITY')
    word = base64.b64encode(b'\0bob\0hunter2').decode()
    tag = a.start('authenticate PLAIN')
    a.line()
    a.send(word.encode() + b'\r\n')
    ok(a.finish(tag).ok, 'authenticate in lower case')
    ok(a.command('ID ("name" "Thunderbird" "version" "115.0")').ok, 'ID')
    ok(a.command('namespace').ok, 'namespace')
    r = a.command('list (subscribed) "" "*" return (special-use)')
    same([x[3] for x in r.named('LIST') if '\\Sent' in x[1]], [b'Sent'],
         'folders with their uses')
    ok(a.command('list "" "INBOX"').named('LIST'), 'list of one')
    ok(a.command('select "INBOX"').ok, 'select')
    r = a.command('getquotaroot "INBOX"')
    ok(r.ok and r.lines[0] == ('QUOTAROOT', ['INBOX']), 'no limits', r)
    ok(a.command('getacl "INBOX"').result == 'BAD',
       'what is not offered is refused')
    r = a.command('UID fetch 1:* (FLAGS)')
    ok(r.ok, 'flags of all')
    before = len(r.named('FETCH'))
    tag = a.idle()
    h.send(['bob@example.test'], message('for bob'))
    line = a.line()
    same(line, ('*', 'EXISTS', before + 1), 'IDLE says that mail has come')
    a.line()
    ok(a.done(tag).ok, 'DONE')
    f = a.fetch('*', 'UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS '
                '(From To Cc Bcc Subject Date Message-ID Priority '
                'X-Priority References Newsgroups In-Reply-To '
                'Content-Type Reply-To)]')[0]
    uid = f['UID']
    ok(any(b'Subject: for bob' in v for v in f.values()
           if isinstance(v, bytes)), 'headers', f)
    f = a.fetch(str(uid), 'UID RFC822.SIZE BODY[]', uid=True)[0]
    same(f['RFC822.SIZE'], len(f['BODY[]']), 'the message')
    # the second connection: a copy of what was sent
    b = login(h, 'bob')
    text = crlf(b'From: bob@example.test\nSubject: sent\n\nhello\n')
    r = b.command('append "Sent" (\\Seen)', Literal(text))
    ok(r.ok and r.code.startswith('APPENDUID '), 'a copy of what was sent', r)
    ok(b.command('select "Sent"').ok, 'select Sent')
    r = b.command('uid search header message-id <x@y>')
    ok(r.ok and r.named('SEARCH')[0][1] == [], 'search for an id')
    b.idle()
    # mark, move, undo
    ok(a.command('uid store %d +Flags (\\Seen $label1)' % uid).ok, 'mark')
    r = a.command('uid move %d "Trash"' % uid)
    moved = [x for x in r.named('OK') if x[1] and x[1].startswith('COPYUID')]
    same((len(moved), [x[0] for x in r.lines][-1]), (1, 'EXPUNGE'),
         'to the trash')
    ok(a.command('select "Trash"').ok, 'select Trash')
    f = a.fetch('*', 'UID FLAGS')[0]
    ok('\\Seen' in f['FLAGS'] and '$label1' in f['FLAGS'],
       'flags and labels go along', f)
    ok(a.command('uid store %d +FLAGS.SILENT (\\Deleted)' % f['UID']).ok and
       a.command('uid expunge %d' % f['UID']).named('EXPUNGE'), 'for good')
    ok(a.command('create "Neu/&AOQ-rger"').ok and
       a.command('subscribe "Neu/&AOQ-rger"').ok, 'a folder')
    same([x[3] for x in a.command('lsub "" "Neu*"').named('LSUB')],
         [b'Neu/&AOQ-rger'], 'subscribed')
    a.command('close')
    a.logout()
    b.close()


def push(h):
    """Everybody who is idle hears of everything, soon."""
    a, b = login(h), login(h)
    a.command('SELECT INBOX')
    b.command('SELECT INBOX')
    tag = a.idle()
    times = []
    for n in range(5):
        start = time.time()
        b.command('STORE 1 %sFLAGS.SILENT (\\Flagged)' % '+-'[n % 2])
        line = a.line()
        times.append(time.time() - start)
        if line[1] != 'FETCH':
            ok(False, 'a flag is pushed', line)
    ok(True, 'flags are pushed to an idle client, %.1f ms after the command '
       'that set them' % (1000 * sorted(times)[2]))
    before = len(h.mails('alice'))
    h.send(['alice@example.test'], message('pushed'))
    same(a.line(), ('*', 'EXISTS', before + 1), 'mail is pushed')
    a.line()
    ok(a.done(tag).ok, 'DONE')
    a.logout()
    b.logout()


# ---------------------------------------------------------------- strangers

def strangers(h):
    """Garbage, too much, and half of something; nobody else notices."""
    good = login(h)
    for text in (b'GET / HTTP/1.1\r\nHost: x\r\n\r\n', b'\0' * 20000,
                 b'EHLO x\r\nMAIL FROM:<a@b>\r\n', b'\xff' * 100 + b'\r\n',
                 b'a ' + b'x' * 10000000, b'a LOGIN {100000000}\r\n',
                 b'a LOGIN {8000+}\r\n' + b'x' * 100, b'a LOGIN {4294967296+}'
                 b'\r\n' + b'x' * 100000, b'a SEARCH ' + b'(' * 100000 +
                 b'\r\n', b'a LOGIN "' + b'\\' * 7000 + b'\r\n',
                 b'a AUTHENTICATE PLAIN\r\n' + b'A' * 100000 + b'\r\n',
                 b'a LOGIN alice', b'', b'\r\n' * 5000):
        with socket.create_connection(('127.0.0.1', h.port('imap'))) as s:
            s.settimeout(30)
            got = b''
            try:
                s.sendall(text)
                s.shutdown(socket.SHUT_WR)
                while True:
                    piece = s.recv(65536)
                    if not piece:
                        break
                    got += piece
            except OSError:
                pass
            # what was sent too much may take the greeting with it
            ok(got.startswith(b'* OK ') or (not got and len(text) > 10000),
               'a stranger who says %.30r hears a greeting and an end' % text,
               got)
    # a browser that was led here: what it posts is not heard
    for word in (b'POST / HTTP/1.1', b'EHLO x'):
        with socket.create_connection(('127.0.0.1', h.port('imap'))) as s, \
                s.makefile('rb') as f:
            s.settimeout(30)
            s.sendall(word + b'\r\nHost: x\r\n\r\na LOGIN alice secret\r\n')
            got = f.read()
            ok(b'BYE' in got and b'a OK' not in got and
               got.count(b'\n') == 3, '%s: one answer, and the end' %
               word.decode(), got)
    with socket.create_connection(('127.0.0.1', h.port('imaps'))) as s:
        s.settimeout(30)
        s.sendall(b'a NOOP\r\n' * 100)
        try:
            while s.recv(65536):
                pass
        except ConnectionResetError:
            pass
        ok(True, 'the clear text on the TLS port is ended')
    ok(good.command('NOOP').ok, 'a session beside them lives')
    good.logout()
    c = login(h)
    ok(c.command('SELECT INBOX').ok, 'and new ones come in')
    ended = len(h.grep(' ended'))
    c.send(b'x FETCH 1 BODY[]\r\n')
    c.close()
    ok(until(lambda: len(h.grep(' ended')) > ended), 'and end with them')


def main():
    with House(sets=['auth.max_failures=5', 'auth.failure_delay=0']) as h:
        whole_corpus(h)
        read_by_imaplib(h)
        logins(h)
        too_many_failures(h)
        tls(h)
        thunderbird(h)
        push(h)
        strangers(h)
        same(h.stop(), 0, 'it ends cleanly')
        same([l for l in h.log if 'runtime error' in l or 'Sanitizer' in l],
             [], 'no complaints')
    with House(options=()) as h:
        plaintext(h)
    done()


main()
