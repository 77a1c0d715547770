#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""pop3d before a login, with stand-ins for auth, tls and the starter: what is
offered, asked and handed over.  RFC 1939 4, 2449, 2595, 3206, 5034."""
import base64
import os
import shutil
import socket
import sys
import tempfile
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
from house import BUILD, SLOW, done, ok, same, skip
from wire import Program, listen, receive, send

PATIENCE = 30 * SLOW


class Asked:
    """Answers the questions of one kind of asker, one after another, as fn
    says; keeps what was asked."""

    def __init__(self, path, fn):
        self.fn, self.questions = fn, []
        self.sock = listen(path)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            c, _ = self.sock.accept()
            threading.Thread(target=self.serve, args=(c,),
                             daemon=True).start()

    def serve(self, c):
        while True:
            try:
                _, question, client = receive(c) or (None, None, None)
                if question is None:
                    return
                self.questions.append(question)
                client = client and socket.socket(fileno=client)
                kind, fd, fields = self.fn(question, client)
                if client:
                    client.close()
                send(c, kind, fd, **fields)
                if fd is not None:
                    os.close(fd)
            except OSError:  # who asked was ended by the test
                return


def result(status='2.0.0 - OK', **fields):
    return 'auth_result', None, dict(fields, status=status)


def judge(q, client):
    """alice may come in with her password; eve breaks it."""
    if 'verb' in q:
        return 'client_result', None, dict(
            status='2.0.0 - OK', mechanisms=['SCRAM-SHA-256', 'PLAIN',
                                             'LOGIN'])
    if q['mechanism'] == 'LOGIN':
        judge.name = None
        if not q['response']:
            return result(more=1, challenge=b'Username:')
    if q['mechanism'] == 'PLAIN' and not q['response']:
        return result(more=1)
    if b'\0' in q['response']:
        _, name, password = q['response'].split(b'\0', 2)
    elif judge.name is None:
        judge.name = q['response']
        return result(more=1, challenge=b'Password:')
    else:
        name, password = judge.name, q['response']
    if name == b'eve':
        return result('4.3.0 - no workers')
    if (name, password) != (b'alice', b' se cret '):
        return result('5.7.8 - Wrong')
    # What a session would do with the client it is given.
    client.sendall(b'+OK [%s] %s\r\n' %
                   (q['tag'].split()[0].encode(), q['pending']))
    client.shutdown(socket.SHUT_WR)
    return result('2.7.0 235 Welcome', user='alice', handed=1)


judge.name = None


def put_tls(q, client):
    """"TLS" that changes nothing but the descriptor."""
    ours, theirs = socket.socketpair()
    client = client.dup()
    client.setblocking(True)

    def pump(a, b):
        while True:
            data = a.recv(65536)
            if not data:
                break
            b.sendall(data)
        b.shutdown(socket.SHUT_WR)
    for pair in ((client, ours), (ours, client)):
        threading.Thread(target=pump, args=pair, daemon=True).start()
    return 'tls_ready', theirs.detach(), dict(
        status='2.0.0 - OK', version='TLSv1.3', binding=b'octets')


class Login:
    def __init__(self, sets=(), plain=True, name='pop3'):
        self.dir = tempfile.mkdtemp(prefix='pop3.')
        os.mkdir(self.dir + '/pop3d')
        self.auth = Asked(self.dir + '/pop3d/auth', judge)
        self.tls = Asked(self.dir + '/pop3d/tls', put_tls)
        with socket.create_server(('127.0.0.1', 0)) as s:
            self.port = s.getsockname()[1]
            config = ('general { hostname = mail.test runtime = "%s" }\n'
                      'log { target = stderr }\n'
                      'smtp { plaintext_auth = %s }\n'
                      'tls { certificate = "/x.pem" key = "/x.key" }\n%s\n' %
                      (self.dir, 'yes' if plain else 'no', '\n'.join(sets)))
            self.log = tempfile.TemporaryFile()
            self.program = Program(BUILD + '/bin/pop3d', config,
                                   [(name, s)], self.log)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.program.stop()
        shutil.rmtree(self.dir)
        if exc[0]:
            self.log.seek(0)
            print('# ' + self.log.read().decode().replace('\n', '\n# '))

    def client(self):
        return Client(self.port)


class Client:
    def __init__(self, port):
        self.sock = socket.create_connection(('127.0.0.1', port), PATIENCE)
        self.file = self.sock.makefile('rb')
        self.greeting = self.line()

    def line(self):
        return self.file.readline()

    def say(self, *lines):
        """Sends lines in one packet; the answer to the first."""
        self.sock.sendall(b''.join(
            (x.encode() if isinstance(x, str) else x) + b'\r\n'
            for x in lines))
        return self.line()

    def lines(self):
        found = []
        for line in self.file:
            if line == b'.\r\n':
                break
            found.append(line.rstrip(b'\r\n').decode())
        return found

    def capa(self):
        self.say('CAPA')
        return self.lines()

    def is_over(self):
        try:
            return self.file.read() == b''
        except ConnectionResetError:
            return True


def b64(octets):
    return base64.b64encode(octets).decode()


def greeting():
    with Login(plain=False) as l:
        c = l.client()
        same(c.greeting, b'+OK mail.test surat ready\r\n', 'greeting')
        ok(b'<' not in c.greeting, 'which offers no APOP')
        same(c.capa(), ['TOP', 'UIDL', 'PIPELINING', 'RESP-CODES',
                        'AUTH-RESP-CODE', 'STLS', 'UTF8 USER', 'LANG',
                        'EXPIRE NEVER', 'LOGIN-DELAY 0',
                        'IMPLEMENTATION surat'],
             'no password is asked for in the clear')
        for line in ('USER alice', 'AUTH PLAIN', 'AUTH', 'AUTH LOGIN x'):
            same(c.say(line), b'-ERR Start TLS first (STLS)\r\n',
                 line + ' in the clear')
        same(c.say('PASS secret'), b'-ERR Not now\r\n', 'PASS without USER')
        same(c.say('STAT'), b'-ERR Not now\r\n', 'STAT before a login')
        same(c.say('UTF8'), b'+OK UTF-8 it is\r\n', 'UTF8')
        same(c.say('STLS'), b'+OK Begin TLS negotiation now\r\n', 'STLS')
        found = c.capa()
        ok('USER' in found and 'SASL SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN' in found and
           'STLS' not in found, 'under TLS they are', found)
        same(c.say('STLS'), b'-ERR TLS is already active\r\n', 'STLS again')
        same(c.say('USER alice'), b'+OK And the password?\r\n', 'USER')
        same(c.say('PASS  se cret '), b'+OK [i-default] \r\n',
             'PASS with the blanks of the password')
        q = l.auth.questions[-1]
        same(q['tag'], 'i-default SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN '
             'LOGIN', 'what the session is told')
        same((q['service'], q['mechanism'], q['response'], q['tls'],
              q['binding'], q['client']),
             ('pop3', 'PLAIN', b'\0alice\0 se cret ', 1, b'octets',
              '127.0.0.1'), 'what auth is asked')
        same(l.tls.questions[0]['service'], 'pop3', 'what tls is asked')
    with Login(name='pop3s', plain=False) as l:
        ok('STLS' not in l.client().capa(), 'TLS from the start')


def passwords():
    with Login() as l:
        c = l.client()
        same(c.say('user alice', 'pass  se cret ', 'STAT', 'RETR 1'),
             b'+OK And the password?\r\n', 'pipelined')
        same(c.line() + c.line() + c.line(),
             b'+OK [i-default] STAT\r\nRETR 1\r\n\r\n',
             'what was sent ahead goes along')
        ok(c.is_over(), 'and the login process says nothing more')
        c = l.client()
        c.say('LANG de')
        same(c.say('USER alice'), b'+OK Und das Passwort?\r\n', 'in German')
        same(c.say('PASS wrong'),
             b'-ERR [AUTH] Name oder Passwort ist falsch\r\n', 'refused')
        same(c.say('PASS  se cret '), b'-ERR Nicht jetzt\r\n',
             'a name is good for one password')
        same(l.auth.questions[-1]['tag'], 'de', 'and what was not asked for '
             'is not told')
        c.say('USER bob')
        c.say('USER alice')
        same(c.say('PASS  se cret '), b'+OK [de] \r\n',
             'the language goes along')
        c = l.client()
        for name in ('', ' ', '  '):
            same(c.say('USER' + name), b'-ERR Those arguments make no sense'
                 b'\r\n', 'no name: %r' % name)
        c.say('USER eve')
        ok(c.say('PASS x').startswith(b'-ERR [SYS/TEMP] '), 'later')
        c.say('USER alice')
        ok(c.say(b'PASS a\0b').startswith(b'-ERR [AUTH] '), 'NUL in PASS')
        c.say('USER alice')
        ok(c.say('PASS ' + 'x' * 5000).startswith(b'-ERR [AUTH] '), 'long')
        same(c.say('QUIT'), b'+OK Good bye\r\n', 'QUIT')
        ok(c.is_over(), 'ends it')


def failures():
    with Login(sets=['auth { max_failures = 3 }']) as l:
        c = l.client()
        for _ in range(2):
            c.say('USER alice')
            ok(c.say('PASS x').startswith(b'-ERR [AUTH] Wrong'), 'refused')
        c.say('USER alice')
        same(c.say('PASS x'), b'-ERR [AUTH] Too many failed logins; good '
             b'bye\r\n', 'as often as allowed')
        ok(c.is_over(), 'and no more')


def sasl():
    with Login() as l:
        c = l.client()
        for bare in ('AUTH', 'AUTH ', 'auth   '):
            same(c.say(bare), b'+OK Ways to log in:\r\n', repr(bare))
            same(c.lines(), ['SCRAM-SHA-256', 'PLAIN', 'LOGIN'],
                 'lists them')
        same(c.say('AUTH CRAM-MD5'), b'-ERR No such mechanism\r\n', 'unknown')
        same(c.say('AUTH SCRAM-SHA-256-PLUS'), b'-ERR No such mechanism\r\n',
             'not offered')
        for bad in ('AUTH PLAIN ???', 'AUTH PLAIN AA== x'):
            same(c.say(bad), b'-ERR Those arguments make no sense\r\n', bad)
        same(c.say('AUTH PLAIN'), b'+ \r\n', 'a challenge')
        same(c.say('*'), b'-ERR [AUTH] Login cancelled\r\n', 'cancelled')
        same(c.say('AUTH PLAIN ='), b'+ \r\n', 'an empty first response')
        same(c.say('???'), b'-ERR Those arguments make no sense\r\n',
             'not base64')
        same(c.say('AUTH PLAIN ' + b64(b'\0alice\0no')),
             b'-ERR [AUTH] Wrong user name or password\r\n', 'refused')
        same(c.say('AUTH PLAIN ' + b64(b'\0alice\0' + b'x' * 6000)),
             b'-ERR [AUTH] Wrong user name or password\r\n', 'long')
        same(c.say('AUTH LOGIN'), b'+ VXNlcm5hbWU6\r\n', 'LOGIN')
        same(c.say(b64(b'alice')), b'+ UGFzc3dvcmQ6\r\n', 'its password')
        same(c.say(b64(b' se cret ')), b'+OK [i-default] \r\n', 'comes in')
        c = l.client()
        same(c.say('auth login ' + b64(b'alice')), b'+ UGFzc3dvcmQ6\r\n',
             'LOGIN with the name at once')
        same(c.say(b64(b' se cret '), 'NOOP'), b'+OK [i-default] NOOP\r\n',
             'comes in, with what was sent ahead')
        c = l.client()
        same(c.say('AUTH PLAIN ' + b64(b'\0alice\0 se cret ')),
             b'+OK [i-default] \r\n', 'PLAIN with a first response')
        c = l.client()
        c.say('AUTH PLAIN')
        same(c.say(b64(b'\0alice\0 se cret ')), b'+OK [i-default] \r\n',
             'PLAIN without')


def hostile():
    with Login() as l:
        c = l.client()
        same(c.say('STLS', 'USER alice'), b'+OK Begin TLS negotiation now\r\n',
             'a command behind STLS')
        ok(c.is_over(), 'is an attack')
        for first in (b'GET / HTTP/1.1', b'EHLO x', b'\x16\x03\x01', b''):
            c = l.client()
            same(c.say(first, b'Host: x', b'USER alice'),
                 b'-ERR No such command\r\n', 'another protocol')
            same(c.line(), b'-ERR Too many errors; good bye\r\n', 'answered')
            ok(c.is_over(), 'once')
        c = l.client()
        ok(c.say('CAPA'), 'after a command')
        c.lines()
        for _ in range(19):
            ok(c.say('x').startswith(b'-ERR No such'), 'there is patience')
        c.say('x')
        same(c.line(), b'-ERR Too many errors; good bye\r\n', 'but not for '
             'ever')
        ok(c.is_over(), 'it ends')
        c = l.client()
        same(c.say(b'CAPA' + b'x' * 200000), b'-ERR Line too long\r\n',
             'a line without end')
        c = l.client()
        c.sock.sendall(b'CAPA\r\nUSER al')
        c.sock.shutdown(socket.SHUT_WR)
        ok(c.line().startswith(b'+OK') and len(c.lines()) > 5 and c.is_over(),
           'half closed')
        c = l.client()
        c.say('USER alice')
        c.sock.sendall(b'AUTH PLAIN\r\n')
        c.file.close()
        c.sock.close()
        same(l.client().greeting[:3], b'+OK', 'the next client is served')
        same(l.program.p.poll(), None, 'by the same process')


def hand_over(ours, **fields):
    """The client's end, and the file of it."""
    client, theirs = socket.socketpair()
    with theirs:
        send(ours, 'session_start', theirs.fileno(), session='s1',
             service='pop3', tls=1, client='192.0.2.1', **fields)
    client.settimeout(PATIENCE)
    return client, client.makefile('rb')


def session():
    """The other end of a hand-over."""
    home = tempfile.mkdtemp(prefix='pop3.')
    ours, master = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    alice = {'user': 'alice', 'home': home + '/not/yet'}
    with master:
        p = Program(BUILD + '/bin/pop3d', 'log { target = stderr }',
                    [('master', master)], None, ['--session'])
    client, f = hand_over(ours, tag='fr PLAIN LOGIN',
                          pending=b'STAT\r\nCAPA\r\nQU', **alice)
    same(f.readline(), 'Bienvenue : 0 messages, 0 octets\r\n'
         .encode().join([b'+OK ', b'']), 'the session says +OK')
    same(f.readline(), b'+OK 0 0\r\n', 'and answers what was sent ahead')
    found = []
    for line in f:
        if line == b'.\r\n':
            break
        found.append(line)
    ok(b'SASL PLAIN LOGIN\r\n' in found and b'STLS\r\n' not in found,
       'with the capabilities of before', found)
    client.sendall(b'IT\r\n')
    same(f.read(), b'+OK Au revoir\r\n', 'until the client goes')
    ok(os.path.isdir(home + '/not/yet/Maildir/cur'),
       'the home of a first login was made')
    next_clients(ours, p, alice)
    shutil.rmtree(home)


def next_clients(ours, p, alice):
    ours.settimeout(PATIENCE)
    same(ours.recv(10) + ours.recv(10), b'--', 'it is up, and free again')
    client, f = hand_over(ours, tag='', pending=b'CAPA\r\nQUIT\r\n', **alice)
    got = f.read()
    ok(got.startswith(b'+OK ') and b'\r\nSASL ' not in got and
       b'Bienvenue' not in got, 'the next client begins anew', got)
    same(ours.recv(10), b'-', 'it is free again')
    client, f = hand_over(ours, tag='', pending=b'STAT\r\n',
                          user='bob', home=alice['home'])
    same(f.read(), b'', "somebody else's client gets nothing")
    ok(p.p.wait(PATIENCE) != 0, 'and the process ends')
    p.stop()


def main():
    if not os.path.exists(BUILD + '/bin/pop3d'):
        skip('pop3d before a login', 'not built')
        done()
    greeting()
    passwords()
    failures()
    sasl()
    hostile()
    session()
    done()


main()
