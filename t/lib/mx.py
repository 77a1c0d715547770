# SPDX-License-Identifier: ISC
"""A mail server that behaves as it is told, well or badly.

    mx = Server('127.0.0.2', port, rcpt='450 4.7.1 greylisted')

Each stage (greet, ehlo, helo, lhlo, starttls, auth, mail, rcpt, data, dot,
bdat, rset, quit) has an answer: a reply ("250 ok", lines joined by \\n), None
for what is usual, one of the acts below, or a function of (session, line)
that gives one of these.  reader reads the message after 354 in its own way.  What came is in mx.sessions.
"""
import base64
import hashlib
import hmac
import os
import re
import socket
import ssl
import threading
import time


class Act:
    def __init__(self, name):
        self.name = name


DROP = Act('drop')  # close at once
HANG = Act('hang')  # say nothing more
DRIP = Act('drip')  # an octet every now and then, never a line
GARBAGE = Act('garbage')
ENDLESS = Act('endless')  # a reply that never stops
LONG = Act('long')  # a line that never stops

USUAL = {'greet': '220 mx.test ESMTP', 'helo': '250 mx.test',
         'starttls': '220 go on', 'mail': '250 2.1.0 sender ok',
         'rcpt': '250 2.1.5 recipient ok', 'data': '354 go on',
         'dot': '250 2.0.0 taken', 'bdat': '250 2.0.0 taken',
         'rset': '250 2.0.0 reset', 'quit': '221 2.0.0 bye',
         'noop': '250 ok', 'auth': '535 5.7.8 no'}


class Message:
    def __init__(self):
        self.mail, self.rcpts, self.data = None, [], None


class Session:
    def __init__(self, server, sock):
        self.server, self.sock = server, sock
        self.buffer = b''
        self.lines = []  # commands as they came
        self.tls = self.resumed = False
        self.message = Message()
        self.messages = []  # with their content, taken or not
        self.begun = time.time()
        self.ended = None

    # ------------------------------------------------------------- octets
    def fill(self):
        data = self.sock.recv(65536)
        if not data:
            raise ConnectionError('closed')
        self.buffer += data

    def line(self):
        while b'\n' not in self.buffer:
            self.fill()
        line, self.buffer = self.buffer.split(b'\n', 1)
        return line.rstrip(b'\r').decode('utf-8', 'surrogateescape')

    def take(self, n):
        while len(self.buffer) < n:
            self.fill()
        data, self.buffer = self.buffer[:n], self.buffer[n:]
        return data

    def say(self, reply):
        lines = reply.split('\n')
        code = lines[0][:3]
        out = []
        for i, text in enumerate(lines):
            text = text[4:] if i == 0 else text
            out.append('%s%s%s' % (code, '-' if i + 1 < len(lines) else ' ',
                                   text))
        self.sock.sendall(('\r\n'.join(out) + '\r\n').encode(
            'utf-8', 'surrogateescape'))

    def act(self, what):
        if what is DROP:
            raise ConnectionError('dropped')
        octets = {GARBAGE.name: b'\0\xff\xfe garbage\r\n' * 3,
                  ENDLESS.name: b'250-more and more\r\n' * 1000,
                  LONG.name: b'250 ' + b'x' * 60000,
                  DRIP.name: b'2'}.get(what.name)
        while not self.server.stopping:
            if octets is None:
                self.fill()
            else:
                self.sock.sendall(octets)
                if what is GARBAGE:
                    self.fill()
                if what is DRIP:
                    time.sleep(0.3)
        raise ConnectionError('stopped')

    def answer(self, stage, line='', usual=None):
        """True when the reply was positive."""
        what = self.server.stages.get(stage)
        if callable(what):
            what = what(self, line)
        if isinstance(what, Act):
            self.act(what)
        reply = what or usual or USUAL[stage]
        self.say(reply)
        if reply.startswith('421'):
            raise ConnectionError('421')
        return reply[0] in '23'

    # ----------------------------------------------------------- commands
    def run(self):
        if self.server.implicit_tls:
            self.start_tls()
        self.answer('greet')
        while not self.server.stopping:
            line = self.line()
            self.lines.append(line)
            verb = line.split(' ')[0].split(':')[0].lower()
            fn = getattr(self, 'on_' + verb, None)
            if fn is None:
                self.say('500 5.5.2 what?')
            elif fn(line) is False:
                return

    def on_ehlo(self, line, stage='ehlo'):
        caps = [c for c in self.server.caps
                if c != 'STARTTLS' or not self.tls]
        self.answer(stage, line, '\n'.join(['250 mx.test'] + caps))

    def on_lhlo(self, line):
        self.on_ehlo(line, 'lhlo')

    def on_helo(self, line):
        self.answer('helo', line)

    def start_tls(self):
        self.sock = self.server.tls.wrap_socket(self.sock, server_side=True)
        self.buffer = b''
        self.tls = True
        self.resumed = self.sock.session_reused

    def on_starttls(self, line):
        if self.answer('starttls', line):
            self.start_tls()

    def on_auth(self, line):
        words = line.split(' ')
        if 'auth' in self.server.stages or self.server.login is None:
            return self.answer('auth', line)
        user, password = self.server.login
        fn = {'PLAIN': self.plain, 'LOGIN': self.login}.get(
            words[1].upper(), self.scram)
        good = fn(user, password, words)
        self.say('235 2.7.0 welcome' if good else '535 5.7.8 no')

    def ask(self, challenge):
        self.say('334 ' + base64.b64encode(challenge).decode())
        return base64.b64decode(self.line())

    def plain(self, user, password, words):
        got = base64.b64decode(words[2])
        return got == ('\0%s\0%s' % (user, password)).encode()

    def login(self, user, password, words):
        return (self.ask(b'Username:'), self.ask(b'Password:')) == \
            (user.encode(), password.encode())

    def scram(self, user, password, words):
        name = 'sha1' if words[1].upper() == 'SCRAM-SHA-1' else 'sha256'
        first = base64.b64decode(words[2]).decode().split(',', 2)[2]
        nonce = first.split('r=')[1] + 'server'
        salt = base64.b64encode(b'salt').decode()
        server_first = 'r=%s,s=%s,i=4096' % (nonce, salt)
        final = self.ask(server_first.encode()).decode()
        without, proof = final.rsplit(',p=', 1)
        salted = hashlib.pbkdf2_hmac(name, password.encode(), b'salt', 4096)

        def mac(key, text):
            return hmac.new(key, text.encode(), name).digest()
        message = ','.join((first, server_first, without))
        key = mac(salted, 'Client Key')
        stored = hashlib.new(name, key).digest()
        want = bytes(a ^ b for a, b in zip(key, mac(stored, message)))
        if base64.b64decode(proof) != want:
            return False
        sign = mac(mac(salted, 'Server Key'), message)
        if self.server.false_proof:
            sign = b'?' * len(sign)
        return self.ask(b'v=' + base64.b64encode(sign)) == b''

    def on_mail(self, line):
        self.message = Message()
        if self.answer('mail', line):
            self.message.mail = line

    def on_rcpt(self, line):
        if self.message.mail is None:
            self.say('503 5.5.1 MAIL first')
        elif self.answer('rcpt', line):
            self.message.rcpts.append(line)

    def on_data(self, line):
        if not self.message.rcpts and not self.server.careless:
            self.say('554 5.5.1 no valid recipients')
        elif self.answer('data', line):
            read = self.server.stages.get('reader', Session.read_data)
            self.finish(read(self), 'dot')

    def read_data(self):
        out = b''
        if self.server.stages.get('content') is DROP:
            self.take(self.server.drop_after)
            raise ConnectionError('dropped')
        got = bytearray(self.buffer)
        while True:
            if got[:3] == b'.\r\n':
                end, data = 3, b''
                break
            at = got.find(b'\r\n.\r\n')
            if at >= 0:
                end, data = at + 5, bytes(got[:at + 2])
                break
            self.buffer = b''
            self.fill()
            got += self.buffer
        self.buffer = bytes(got[end:])
        return re.sub(rb'(?m)^\.', b'', data)

    def on_bdat(self, line):
        words = line.split(' ')
        data = self.take(int(words[1]))
        if not self.message.rcpts:
            self.say('554 5.5.1 no valid recipients')
        else:
            self.finish(data, 'bdat')

    def finish(self, data, stage):
        m, self.message = self.message, Message()
        m.data = data
        self.messages.append(m)
        for _ in (m.rcpts if self.server.lmtp else [0]):
            self.answer(stage, data)

    def on_rset(self, line):
        self.message = Message()
        self.answer('rset', line)

    def on_noop(self, line):
        self.answer('noop', line)

    def on_quit(self, line):
        self.answer('quit', line)
        return False


class Server:
    def __init__(self, address, port, caps=('PIPELINING', '8BITMIME', 'SIZE',
                 'ENHANCEDSTATUSCODES'), tls=None, login=None, lmtp=False,
                 careless=False, implicit_tls=False, drop_after=10,
                 false_proof=False, **stages):
        """tls: (certificate, key) files.  login: (user, password).
        careless: 354 even without recipients."""
        self.caps, self.login, self.lmtp = list(caps), login, lmtp
        self.careless, self.implicit_tls = careless, implicit_tls
        self.drop_after, self.false_proof = drop_after, false_proof
        self.stages = stages
        self.sessions = []
        self.stopping = False
        self.tls = None
        if tls:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(*tls)
        if address.startswith('/'):
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(address)
        else:
            family = socket.AF_INET6 if ':' in address else socket.AF_INET
            self.listener = socket.socket(family)
            self.listener.setsockopt(socket.SOL_SOCKET,
                                     socket.SO_REUSEADDR, 1)
            self.listener.bind((address, port))
        self.listener.listen(64)
        self.port = port
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while not self.stopping:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,),
                             daemon=True).start()

    def _serve(self, sock):
        sock.settimeout(120)
        s = Session(self, sock)
        self.sessions.append(s)
        try:
            s.run()
        except (OSError, ValueError, EOFError) as e:
            s.ended = e
        finally:
            s.ended = s.ended or 'over'
            try:
                s.sock.close()
            except OSError:
                pass

    def set(self, **stages):
        self.stages.update(stages)

    def forget(self):
        self.sessions = []

    @property
    def messages(self):
        return [m for s in list(self.sessions) for m in s.messages]

    @property
    def lines(self):
        return [l for s in list(self.sessions) for l in s.lines]

    def stop(self):
        self.stopping = True
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        for s in list(self.sessions):
            try:
                s.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def certificate(directory, *names, days=10):
    """A self-signed certificate for these names: (certificate, key)."""
    import subprocess
    cert, key = directory + '/%s.pem' % names[0], directory + '/%s.key' % \
        names[0]
    if not os.path.exists(cert):
        subprocess.run(
            ['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt',
             'ec_paramgen_curve:prime256v1', '-nodes', '-days', str(days),
             '-subj', '/CN=' + names[0], '-addext', 'subjectAltName=' +
             ','.join('DNS:' + n for n in names), '-out', cert,
             '-keyout', key], check=True, capture_output=True)
    return cert, key


class Servers:
    """Some of them for the time of a test: list_of_how has (n, options), of
    which make(n, **options) makes a server."""

    def __init__(self, make, list_of_how):
        self.list = [make(n, **how) for n, how in list_of_how]

    def __enter__(self):
        return self.list if len(self.list) > 1 else self.list[0]

    def __exit__(self, *exc):
        for s in self.list:
            s.stop()
