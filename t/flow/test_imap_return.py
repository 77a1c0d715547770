#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""UNAUTHENTICATE (RFC 8437): a connection goes from one user to the next, and
nothing of the first goes along, neither its state nor its process."""
import base64
import fcntl
import hashlib
import hmac
import os
import re
import socket
import ssl
import sys
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
import wire
from house import SLOW, House, done, message, ok, same, until
from imap import Gone, Imap, Local


def capabilities(c):
    return c.command('CAPABILITY').lines[0][1]


def plain(user, password):
    return base64.b64encode(('\0%s\0%s' % (user, password)).encode()).decode()


def open_as(h, user):
    c = Imap(h.port('imaps'), tls=True)
    if not c.login(user, h.users[user]).ok:
        raise SystemExit('no login')
    return c


def subjects(c):
    c.command('SELECT INBOX')
    return [f['ENVELOPE'][1] for f in c.fetch('1:*', 'ENVELOPE')]


def finish_all(c, tags):
    return [c.finish(t).result for t in tags]


def check_next(h):
    c = open_as(h, 'alice')
    ok('UNAUTHENTICATE' in capabilities(c), 'offered under TLS')
    c.command('ENABLE CONDSTORE UTF8=ACCEPT')
    same(subjects(c), [b'of alice'], 'alice reads her mail')
    c.command('STORE 1 +FLAGS (\\Deleted)')
    ok(not c.command('UNAUTHENTICATE now').ok, 'has no arguments')
    r = c.command('UNAUTHENTICATE')
    ok(r.ok and not r.lines, 'she leaves, and nothing is expunged by it', r)
    ok(not c.command('FETCH 1 FLAGS').ok, 'nothing is selected any more')
    ok(not c.command('STATUS INBOX (MESSAGES)').ok, 'nobody logged in')
    ok(not c.command('UNAUTHENTICATE').ok, 'nobody can leave')
    words = capabilities(c)
    ok('AUTH=PLAIN' in words and 'SASL-IR' in words and
       'AUTH=SCRAM-SHA-256-PLUS' in words and 'STARTTLS' not in words and
       'LOGINDISABLED' not in words, 'all is offered as after STARTTLS', words)
    ok(not c.command('LOGIN bob wrong').ok, 'a wrong password is wrong')
    ok(c.login('bob', h.users['bob']).ok, 'bob logs in on that connection')
    same(subjects(c), [b'of bob'], 'and reads his own mail')
    ok('MODSEQ' not in str(c.command('STORE 1 +FLAGS (\\Seen)').lines),
       'in plain words: what alice enabled is gone')
    ok(c.command('UNAUTHENTICATE').ok, 'he leaves too')
    c.login('alice', h.users['alice'])
    c.command('SELECT INBOX')
    same(c.fetch('1', 'FLAGS')[0]['FLAGS'], ['\\Deleted'],
         'alice comes back to what she left')
    c.command('STORE 1 -FLAGS (\\Deleted)')
    c.logout()
    sessions = [l.split()[1:5] for l in h.grep(' session user=')][-3:]
    same([s[2] for s in sessions], ['user=alice', 'user=bob', 'user=alice'],
         'three sessions, in the log')
    same(len({s[0] for s in sessions}), 1, 'of one connection')


def check_pipelined(h):
    """One round trip (RFC 8437 3), and more in flight than sockets hold."""
    c = open_as(h, 'alice')
    tags = [c.start('UNAUTHENTICATE'),
            c.start('AUTHENTICATE PLAIN ' + plain('bob', h.users['bob']))]
    same(finish_all(c, tags), ['OK', 'OK'], 'one round trip to the next user')
    same(subjects(c), [b'of bob'], 'which is the right one')
    many = 40000
    first = c.tags + 1
    c.tags += 2 * many + 3
    login = 'LOGIN alice ' + h.users['alice']
    names = ['NOOP'] * many + ['UNAUTHENTICATE', login] + ['NOOP'] * many + \
        ['SELECT INBOX']
    octets = ''.join('T%d %s\r\n' % (first + i, name)
                     for i, name in enumerate(names)).encode()
    same(pump(c.sock, octets, b'T%d OK' % (first + len(names) - 1)),
         [b'T%d' % (first + i) for i in range(len(names))],
         'nothing that is on its way is lost, doubled or moved')
    same([f['ENVELOPE'][1] for f in c.fetch('1:*', 'ENVELOPE')],
         [b'of alice'], 'and all of it was obeyed')
    c.close()


def pump(s, octets, last):
    """Sends and reads at once; the tags of the answers."""
    got = b''
    s.setblocking(False)
    while not re.search(b'(?m)^' + last + b'.*\n', got):
        try:
            if octets:
                octets = octets[s.send(octets[:65536]):]
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            pass
        try:
            piece = s.recv(1 << 20)
            if not piece:
                break
            got += piece
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
    s.settimeout(60)
    return re.findall(rb'(?m)^(T\d+) OK', got)


def check_compressed(h, flush, what):
    """The layer ends with the CRLF of the command, on both sides (4.1)."""
    c = open_as(h, 'alice')
    c.command('COMPRESS DEFLATE')
    out, into = zlib.compressobj(wbits=-15), zlib.decompressobj(wbits=-15)
    tls = c.sock
    more = b''.join(b'n%d NOOP\r\n' % i for i in range(2000))
    tls.sendall(out.compress(b'a NOOP\r\n') + out.flush(zlib.Z_SYNC_FLUSH) +
                out.compress(b'b UNAUTHENTICATE\r\n') + out.flush(flush) +
                b'c AUTHENTICATE PLAIN ' +
                plain('bob', h.users['bob']).encode() + b'\r\n' + more)
    got = b''
    while b'b OK' not in got:
        got += into.decompress(tls.recv(65536))
    same(re.findall(rb'(?m)^(\w+) (\w+)', got), [(b'a', b'OK'), (b'b', b'OK')],
         what + ': two answers compressed')
    got = got[got.index(b'b OK'):].split(b'\r\n', 1)[1] + into.unused_data
    while b'n1999 OK' not in got:
        got += tls.recv(65536)
    same(len(re.findall(rb'(?m)^n\d+ OK', got)), 2000,
         what + ': what came behind is plain, and so are its answers')
    ok('COMPRESS=DEFLATE' in capabilities(c), what + ': may begin again')
    c.close()


def check_limits(h):
    """A connection that comes back is the client's that it was."""
    c = open_as(h, 'alice')
    before = len(h.grep(' login-failed user=bob client=127.0.0.1'))
    c.command('UNAUTHENTICATE')
    tries = 0
    try:
        while tries < 10:
            c.command('LOGIN bob wrong')
            tries += 1
    except Gone:
        pass
    same(tries, 3, 'as many tries as on a new connection')
    same(len(h.grep(' login-failed user=bob client=127.0.0.1')) - before, 3,
         'each of them counts, for its address')


def check_reload(h):
    """tls and imapd are others by then; who has the stream is the old one."""
    c = open_as(h, 'alice')
    ok(h.reload('progress = 10', 'progress = 11'), 'a reload', h.log[-5:])
    r = c.command('UNAUTHENTICATE')
    ok(r.ok and c.login('bob', h.users['bob']).ok,
       'a stream of before it comes back', r)
    c.close()


# ------------------------------------------------------------------ hostile
def send_fd(stream, fd):
    socket.send_fds(stream, [b'-'], [fd])


def spill(octets):
    """As what is too large for a packet travels (common/sys/ipc.h)."""
    fd = os.memfd_create('message', os.MFD_ALLOW_SEALING)
    with open(fd, 'wb', closefd=False) as f:
        f.write(octets)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK
                | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE)
    return fd


def scram_plus(user, password, binding, say):
    """SCRAM-SHA-256-PLUS (RFC 5802, RFC 9266) by say(response) ->
    challenge, which answers the last one with the tagged line."""
    def mac(key, text):
        return hmac.new(key, text, 'sha256').digest()
    gs2, bare = b'p=tls-exporter,,', b'n=' + user + b',r=abcdefgh'
    first = say(gs2 + bare)
    got = dict(f.split(b'=', 1) for f in first.split(b','))
    salted = hashlib.pbkdf2_hmac('sha256', password,
                                 base64.b64decode(got[b's']), int(got[b'i']))
    key = mac(salted, b'Client Key')
    without = b'c=' + base64.b64encode(gs2 + binding) + b',r=' + got[b'r']
    signature = mac(hashlib.sha256(key).digest(),
                    b','.join((bare, first, without)))
    proof = bytes(x ^ y for x, y in zip(key, signature))
    answer = say(without + b',p=' + base64.b64encode(proof))
    return say(b'') if answer.startswith(b'v=') else answer


def check_binding(h):
    """It goes on, as TLS does."""
    for wrong in (False, True):
        s = Session(h)
        s.give()
        lines = []

        def say(response):
            s.client.sendall((b'' if lines else b'a AUTHENTICATE '
                              b'SCRAM-SHA-256-PLUS ') +
                             base64.b64encode(response) + b'\r\n')
            lines.append(s.answer())
            return base64.b64decode(lines[-1][2:-2]) \
                if lines[-1].startswith(b'+') else lines[-1]
        binding = bytes(32) if wrong else s.binding
        last = scram_plus(b'alice', h.users['alice'].encode(), binding, say)
        same(last[:4], b'a NO' if wrong else b'a OK', 'SCRAM-PLUS, %s binding'
             % ('another' if wrong else 'the same'))


class Session:
    """A session process that is somebody else's: it has the client's plain
    stream from tls, as imapd would get it and hand it over."""

    def __init__(self, h, address='127.0.0.1', role='server', as_who='imapd'):
        listener = socket.create_server(('127.0.0.1', 0))
        raw = socket.create_connection(listener.getsockname(), 60)
        theirs = listener.accept()[0]
        tls = wire.connect('%s/run/%s/tls' % (h.dir, as_who))
        wire.send(tls, 'tls_start', theirs.fileno(), session='probe',
                  role=role, service='imap', address=address)
        theirs.close()
        self.client = ssl._create_unverified_context().wrap_socket(raw)
        _, fields, fd = wire.receive(tls)
        self.binding = fields['binding']
        self.stream = socket.socket(fileno=fd)
        self.stream.settimeout(10 * SLOW)

    def give(self, fd=None, pending=b''):
        """What handover_return does."""
        self.tell(wire.encode('tls_back', pending=pending),
                  self.stream.fileno() if fd is None else fd)

    def tell(self, octets, fd=None):
        a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with a, b:
            a.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 212992)
            fds = [] if fd is None else [fd]
            if len(octets) > 100000:
                fds, octets = [spill(octets)] + fds, wire.SPILLED
            if octets:
                socket.send_fds(a, [octets], fds)
            send_fd(self.stream, b.fileno())

    def says(self, command):
        self.client.sendall(command + b'\r\n')
        return self.answer()

    def answer(self):
        try:
            return self.client.recv(4096)
        except (ssl.SSLError, ConnectionError):
            return b''


def check_cut_off(h):
    """What the session keeps is worth nothing."""
    s = Session(h)
    kept = s.stream.dup()
    s.give(pending=b'a CAPABILITY\r\n')
    ok(b'SASL-IR' in s.answer(), 'what it had read is read again')
    kept.settimeout(10 * SLOW)
    same(kept.recv(100), b'', 'its end of the stream is the end')
    try:
        kept.sendall(b'* BYE from the past\r\n')
        ok(False, 'nor can it speak to the client')
    except (BrokenPipeError, ConnectionError):
        ok(True, 'nor can it speak to the client')
    answer = s.says(b'b LOGIN bob ' + h.users['bob'].encode())
    ok(b'b OK' in answer and b'past' not in answer,
       'who goes on with somebody else', answer)
    try:
        kept.setblocking(False)
        got = kept.recv(1)
    except BlockingIOError:
        got = b'?'
    same(got, b'', 'and is not overheard')
    ok(h.grep('probe back client=127.0.0.1'), 'the log knows it')


def check_hostile(h):
    """Anything may be given back in its place, or said with it."""
    null = os.open('/dev/zero', os.O_RDONLY)
    r, w = os.pipe()
    other, far = socket.socketpair()
    far.sendall(b'x NOOP\r\n')
    for fd, what in ((null, 'a device'), (r, 'a pipe nobody writes to')):
        s = Session(h)
        before = len(h.grep('probe back'))
        s.give(fd)
        # what came before is in the stream that was not given back
        until(lambda: len(h.grep('probe back')) > before)
        ok(b'y OK' in s.says(b'y NOOP'), what + ': nobody waits for it')
    s = Session(h)
    s.give(other.fileno())
    ok(b'x OK' in s.answer(), 'another stream: its octets are the client\'s')
    ends = []
    for what, how in (
            ('no conversation', lambda s: send_fd(s.stream, r)),
            ('no message', lambda s: s.tell(b'')),
            ('octets', lambda s: s.tell(b'what')),
            ('another message', lambda s: s.tell(wire.encode('tls_ready'))),
            ('no stream', lambda s: s.tell(wire.encode('tls_back'))),
            ('too much', lambda s: s.give(pending=b'n NOOP\r\n' * 300000))):
        s = Session(h)
        how(s)
        same(s.answer(), b'', what + ': the end of this client')
        ends.append(s)
    for args, what in (({'address': ''}, 'who may not come back'),
                       ({'as_who': 'smtpd'}, 'nobody of smtpd\'s')):
        s = Session(h, **args)
        s.give()
        same(s.answer(), b'', what + ' does not')
    same(len(h.grep('probe not-back')), len(ends) + 2, 'each in the log')
    # login processes do not believe tls either
    for fields in ({'address': 'nowhere'}, {'address': ''}):
        a, b = socket.socketpair()
        with wire.connect(h.dir + '/run/tls/imapd') as tls, a, b:
            wire.send(tls, 'client_back', a.fileno(), **fields)
            a.close()
            b.settimeout(10 * SLOW)
            same(b.recv(1), b'', 'imapd: an address %(address)r' % fields)
    with wire.connect(h.dir + '/run/tls/imapd') as tls:
        wire.send(tls, 'done')
        same(tls.recv(1), b'', 'imapd: another message')
    c = open_as(h, 'alice')
    same(subjects(c), [b'of alice'], 'and others are served as before')
    c.logout()


def check_not_offered(h):
    c = Imap(h.port('imap'))
    c.login('alice', h.users['alice'])
    ok('UNAUTHENTICATE' not in capabilities(c) and
       not c.command('UNAUTHENTICATE').ok and c.command('NOOP').ok,
       'not without TLS: such a stream cannot be taken from who had it')
    c.close()
    c = Local(h.dir)
    ok('UNAUTHENTICATE' not in capabilities(c) and
       not c.command('UNAUTHENTICATE').ok and c.command('NOOP').ok,
       'nor for who was logged in from the start (PREAUTH)')
    c.close()
    c = Imap(h.port('imaps'), tls=True)
    c.login('alice', h.users['alice'])
    ok('UNAUTHENTICATE' not in capabilities(c) and
       not c.command('UNAUTHENTICATE').ok and c.command('NOOP').ok,
       'nor where it is hidden')
    c.close()


def main():
    sets = ['auth.failure_delay=0', 'auth.max_failures=3',
            'auth.ban_after=1000']
    with House(sets=sets) as h:
        with open(h.dir + '/users', 'w') as f:
            for user, password in h.users.items():
                f.write('%s:{PLAIN}%s::::%s/mail/%s::\n' %
                        (user, password, h.dir, user))
        until(lambda: len(h.grep('users-read')) > 1 or h.smtp(
            'submission').close(), 5)
        for user in ('alice', 'bob'):
            h.send([user + '@example.test'], message('of ' + user))
            h.wait_mail(user, 1)
        check_next(h)
        check_pipelined(h)
        check_compressed(h, zlib.Z_SYNC_FLUSH, 'sync')
        check_compressed(h, zlib.Z_FULL_FLUSH, 'full')
        check_compressed(h, zlib.Z_FINISH, 'finish')
        check_limits(h)
        check_cut_off(h)
        check_binding(h)
        check_hostile(h)
        check_reload(h)
    with House(sets=['imap.hide=* UNAUTHENTICATE']) as h:
        check_not_offered(h)
    done()


main()
