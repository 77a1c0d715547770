# SPDX-License-Identifier: ISC
"""An IMAP client that believes nothing: every octet of a response must be what
RFC 3501 9 allows at that place, else Malformed is raised with the place.

    c = Imap(port)
    r = c.command('SELECT INBOX')       # r.ok, r.code, r.text, r.lines
    c.command('APPEND INBOX', Literal(b'...'))
    for f in c.fetch('1:*', 'UID ENVELOPE'): f['UID'], f['ENVELOPE']

Parsed values: atoms are str, numbers int, strings bytes, NIL None, lists
lists.  An untagged line is (name, value...), see Imap.untagged.
"""
import os
import re
import socket
import ssl
import subprocess

ATOM = re.compile(rb'[^\x00-\x20\x7f-\xff(){%*"\\\]]+')
ASTRING = re.compile(rb'[^\x00-\x20\x7f-\xff(){%*"\\]+')
FLAG = re.compile(rb'\\?[^\x00-\x20\x7f-\xff(){%*"\\\]]+')
NUMBER = re.compile(rb'0|[1-9][0-9]*')
DATE_TIME = re.compile(rb'"[ 0-3][0-9]-(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|'
                       rb'Oct|Nov|Dec)-[0-9]{4} [0-2][0-9]:[0-5][0-9]:'
                       rb'[0-6][0-9] [+-][0-9]{4}"')
TEXT = re.compile(rb'[\x01-\x09\x0b\x0c\x0e-\x7f]+')
SET = re.compile(rb'[1-9][0-9]*(:[1-9][0-9]*)?(,[1-9][0-9]*(:[1-9][0-9]*)?)*')
SECTION = re.compile(rb'(BODY|BINARY(\.SIZE)?)'
                     rb'\[([^\]\r\n"]|"[^"]*")*\](<[0-9]+>)?')


class Malformed(Exception):
    pass


class Gone(Exception):
    """The server closed the connection."""


class Literal(bytes):
    sync = False


class Reader:
    """One response, cut from the front."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def fail(self, what):
        raise Malformed('%s expected at %d: %r <-> %r' % (
            what, self.at, self.data[max(0, self.at - 200):self.at],
            self.data[self.at:self.at + 100]))

    def take(self, octets):
        if self.data[self.at:self.at + len(octets)] != octets:
            self.fail(repr(octets))
        self.at += len(octets)

    def has(self, octets):
        found = self.data[self.at:self.at + len(octets)] == octets
        self.at += len(octets) if found else 0
        return found

    def peek(self):
        return self.data[self.at:self.at + 1]

    def match(self, pattern, what):
        m = pattern.match(self.data, self.at)
        if not m:
            self.fail(what)
        self.at = m.end()
        return m[0]

    def atom(self):
        return self.match(ATOM, 'atom').decode()

    def number(self, most=2 ** 32 - 1):
        n = int(self.match(NUMBER, 'number'))
        if n > most:
            self.fail('a smaller number')
        return n

    def string(self, binary=False):
        if self.has(b'"'):
            out = b''
            while not self.has(b'"'):
                if self.has(b'\\') and self.peek() not in (b'"', b'\\'):
                    self.fail('an escape of " or \\')
                c = self.peek()
                if not c or c in b'\r\n\0' or c >= b'\x80':
                    self.fail('a 7-bit character')
                out += c
                self.at += 1
            return out
        self.take(b'{')
        n = self.number(2 ** 63)
        self.take(b'}\r\n')
        out = self.data[self.at:self.at + n]
        if len(out) != n or (b'\0' in out and not binary):
            self.fail('a literal of %d without NUL' % n)
        self.at += n
        return out

    def nstring(self):
        return None if self.has(b'NIL') else self.string()

    def astring(self):
        if self.peek() in (b'"', b'{'):
            return self.string()
        return self.match(ASTRING, 'astring')

    def list_of(self, one):
        """"(" one *(SP one) ")" """
        self.take(b'(')
        out = []
        while not self.has(b')'):
            if out:
                self.take(b' ')
            out.append(one())
        return out

    def flag(self):
        return self.match(FLAG, 'flag').decode()

    def end(self):
        self.take(b'\r\n')
        if self.at != len(self.data):
            self.fail('the end')

    # ------------------------------------------------- RFC 3501 7.4.2
    def address(self):
        self.take(b'(')
        parts = [self.nstring()]
        for _ in range(3):
            self.take(b' ')
            parts.append(self.nstring())
        self.take(b')')
        return parts

    def addresses(self):
        if self.has(b'NIL'):
            return None
        self.take(b'(')
        out = [self.address()]
        while not self.has(b')'):
            out.append(self.address())
        return out

    def envelope(self):
        self.take(b'(')
        out = [self.nstring()]
        self.take(b' ')
        out.append(self.nstring())
        for _ in range(6):
            self.take(b' ')
            out.append(self.addresses())
        for _ in range(2):
            self.take(b' ')
            out.append(self.nstring())
        self.take(b')')
        return out

    def parameters(self):
        if self.has(b'NIL'):
            return None
        out = self.list_of(self.string)
        if not out or len(out) % 2:
            self.fail('pairs')
        return out

    def disposition(self):
        if self.has(b'NIL'):
            return None
        self.take(b'(')
        out = [self.string()]
        self.take(b' ')
        out.append(self.parameters())
        self.take(b')')
        return out

    def language(self):
        if self.peek() != b'(':
            return self.nstring()
        out = self.list_of(self.string)
        if not out:
            self.fail('a language')
        return out

    def extension(self, part):
        """What follows md5 or the parameters; all of it is always sent."""
        self.take(b' ')
        part['disposition'] = self.disposition()
        self.take(b' ')
        part['language'] = self.language()
        self.take(b' ')
        part['location'] = self.nstring()

    def body(self, extended):
        """A part as a dict; 'parts' of a multipart, 'message' of a
        message/rfc822."""
        self.take(b'(')
        part = {}
        if self.peek() == b'(':
            part['parts'] = []
            while self.peek() == b'(':
                part['parts'].append(self.body(extended))
            self.take(b' ')
            part['type'] = (b'multipart', self.string())
            if extended:
                self.take(b' ')
                part['parameters'] = self.parameters()
                self.extension(part)
        else:
            self.single(part, extended)
        self.take(b')')
        return part

    def single(self, part, extended):
        major = self.string()
        self.take(b' ')
        part['type'] = (major, self.string())
        self.take(b' ')
        part['parameters'] = self.parameters()
        self.take(b' ')
        part['id'] = self.nstring()
        self.take(b' ')
        part['description'] = self.nstring()
        self.take(b' ')
        part['encoding'] = self.string()
        self.take(b' ')
        part['octets'] = self.number()
        kind = major.lower(), part['type'][1].lower()
        if kind in ((b'message', b'rfc822'), (b'message', b'global')):
            self.take(b' ')
            part['envelope'] = self.envelope()
            self.take(b' ')
            part['message'] = self.body(extended)
        if 'message' in part or kind[0] == b'text':
            self.take(b' ')
            part['lines'] = self.number()
        if extended:
            self.take(b' ')
            part['md5'] = self.nstring()
            self.extension(part)

    # ------------------------------------------------------------ lines
    def fetch_item(self):
        if SECTION.match(self.data, self.at):
            name = self.match(SECTION, 'section').decode()
            self.take(b' ')
            if name.startswith('BINARY.SIZE'):
                return name, self.number()
            if name.startswith('BINARY') and self.has(b'~'):
                return name, self.string(binary=True)
            return name, self.nstring()
        name = self.match(re.compile(rb'[A-Z0-9.]+'), 'item').decode()
        self.take(b' ')
        read = {
            'FLAGS': lambda: self.list_of(self.flag),
            'UID': self.number, 'RFC822.SIZE': lambda: self.number(2 ** 63),
            'INTERNALDATE': lambda: self.match(DATE_TIME, 'date-time'),
            'ENVELOPE': self.envelope, 'BODY': lambda: self.body(False),
            'BODYSTRUCTURE': lambda: self.body(True),
            'MODSEQ': lambda: self.list_of(lambda: self.number(2 ** 63)),
            'RFC822': self.nstring, 'RFC822.HEADER': self.nstring,
            'RFC822.TEXT': self.nstring, 'PREVIEW': self.nstring,
            'SAVEDATE': lambda: None if self.has(b'NIL') else
            self.match(DATE_TIME, 'date-time'),
        }
        if name not in read:
            self.fail('a known item')
        return name, read[name]()

    def fetch(self):
        items = self.list_of(self.fetch_item)
        if not items:
            self.fail('an item')
        return dict(items)

    def mailbox_list(self):
        flags = self.list_of(self.flag)
        self.take(b' ')
        separator = self.nstring()
        self.take(b' ')
        name = self.astring()
        extra = None
        if self.has(b' '):
            extra = self.list_of(lambda: (
                self.astring(), self.take(b' '), self.list_of(self.string)))
        return flags, separator, name, extra

    def status(self):
        name = self.astring()
        self.take(b' ')

        def item():
            key = self.atom()
            self.take(b' ')
            return key, self.number(2 ** 63)
        return name, dict(self.list_of(item))

    def search(self):
        out = []
        while self.peek() == b' ':
            self.take(b' ')
            if self.peek() == b'(':
                self.take(b'(MODSEQ ')
                self.number(2 ** 63)
                self.take(b')')
                break
            out.append(self.number())
        return out

    # ------------------------------------------------- RFC 5256 BNF
    def thread(self):
        """(2 3 (4) (5 6)) is [2, 3, [4], [5, 6]]; without a first number it
        has branches only."""
        self.take(b'(')
        out = []
        while not self.has(b')'):
            if self.peek() == b'(':
                out.append(self.thread())
            else:
                if out:
                    self.take(b' ')
                if self.peek() != b'(':
                    out.append(self.number())
        return out

    def threads(self):
        out = []
        if self.has(b' '):
            while self.peek() == b'(':
                out.append(self.thread())
        return out

    def code(self):
        """[code arguments], or None."""
        if not self.has(b'['):
            return None
        end = self.data.index(b']', self.at)
        code = self.data[self.at:end].decode('ascii')
        self.at = end
        self.take(b'] ')
        return code

    def result(self):
        code = self.code()
        text = self.match(TEXT, 'text').decode('ascii')
        return code, text


class Reply:
    def __init__(self, result, code, text, lines):
        self.result, self.code, self.text = result, code, text
        self.lines = lines
        self.ok = result == 'OK'

    def named(self, name):
        return [line for line in self.lines if line[0] == name]

    def __repr__(self):
        return '%s [%s] %s %r' % (self.result, self.code, self.text,
                                  self.lines[:20])


class Imap:
    def __init__(self, port, tls=False, host='127.0.0.1', patience=60):
        self.sock = self.connect(host, port, patience)
        self.patience, self.data, self.tags = patience, b'', 0
        if tls:
            self.start_tls()
        self.greeting = self.line()

    def connect(self, host, port, patience):
        return socket.create_connection((host, port), patience)

    def start_tls(self):
        context = ssl._create_unverified_context()
        self.sock = context.wrap_socket(self.sock)

    def more(self):
        try:
            piece = self.sock.recv(1 << 18)
        except (ConnectionResetError, ssl.SSLError):
            piece = b''
        if not piece:
            raise Gone(self.data)
        self.data += piece

    def raw(self):
        """The octets of one response, literals and all."""
        end = 0
        while True:
            at = self.data.find(b'\r\n', end)
            while at < 0:
                end = max(end, len(self.data) - 1)
                self.more()
                at = self.data.find(b'\r\n', end)
            m = re.search(rb'\{([0-9]+)\}$', self.data[max(0, at - 30):at])
            end = at + 2
            if not m:
                break
            end += int(m[1])
            pieces, have = [self.data], len(self.data)
            while have < end:
                piece = self.sock.recv(1 << 20)
                if not piece:
                    raise Gone(self.data)
                pieces.append(piece)
                have += len(piece)
            self.data = b''.join(pieces)
        out, self.data = self.data[:end], self.data[end:]
        return out

    def line(self):
        """('*', name, value...), ('+', text) or (tag, result, code, text)."""
        raw = self.raw()
        r = Reader(raw)
        if r.has(b'+ '):
            return '+', raw[2:-2]
        if not r.has(b'* '):
            tag = r.match(re.compile(rb'[A-Za-z0-9.]+'), 'tag').decode()
            r.take(b' ')
            return (tag,) + self.tagged(r)
        out = self.untagged(r)
        r.end()
        return ('*',) + out

    def tagged(self, r):
        result = r.match(re.compile(rb'OK|NO|BAD'), 'result').decode()
        r.take(b' ')
        out = (result,) + r.result()
        r.end()
        return out

    def untagged(self, r):
        if r.peek().isdigit():
            n = r.number()
            r.take(b' ')
            name = r.atom()
            if name == 'FETCH':
                r.take(b' ')
                return name, n, r.fetch()
            if name not in ('EXISTS', 'RECENT', 'EXPUNGE'):
                r.fail('a message word')
            return name, n
        name = r.atom()
        if name in ('SEARCH', 'SORT'):
            return name, r.search()
        if name == 'THREAD':
            return name, r.threads()
        if name == 'ENABLED' and r.peek() != b' ':
            return name, []
        r.take(b' ')
        if name in ('OK', 'NO', 'BAD', 'BYE', 'PREAUTH'):
            return (name,) + r.result()
        if name in ('LIST', 'LSUB'):
            return (name,) + r.mailbox_list()
        if name == 'STATUS':
            return (name,) + r.status()
        if name == 'FLAGS':
            return name, r.list_of(r.flag)
        if name not in ('CAPABILITY', 'ENABLED', 'ID', 'NAMESPACE',
                        'ESEARCH', 'QUOTA', 'QUOTAROOT', 'VANISHED'):
            r.fail('a known response')
        return name, r.match(TEXT, 'text').decode().split(' ')

    # ---------------------------------------------------------- commands
    def send(self, octets):
        self.sock.sendall(octets)

    def start(self, *parts):
        """Sends a command; literals do not wait.  Its tag."""
        self.tags += 1
        tag = 'T%d' % self.tags
        out = tag.encode()
        for p in parts:
            if isinstance(p, Literal):
                out += b' {%d+}\r\n' % len(p) + p
            else:
                out += b' ' + (p if isinstance(p, bytes) else p.encode())
        self.send(out + b'\r\n')
        return tag

    def finish(self, tag):
        lines = []
        while True:
            line = self.line()
            if line[0] == tag:
                return Reply(line[1], line[2], line[3], lines)
            if line[0] == '+':
                raise Malformed('an unasked + %r' % (line,))
            if line[0] != '*':
                raise Malformed('tag %r, not %r' % (line[0], tag))
            lines.append(line[1:])

    def command(self, *parts):
        return self.finish(self.start(*parts))

    def login(self, user, password):
        return self.command('LOGIN', '"%s" "%s"' % (user, password))

    def fetch(self, messages, items, uid=False):
        r = self.command(('UID ' if uid else '') + 'FETCH %s (%s)' %
                         (messages, items))
        if not r.ok:
            raise Malformed(repr(r))
        return [line[2] for line in r.named('FETCH')]

    def idle(self):
        tag = self.start('IDLE')
        line = self.line()
        while line[0] != '+':
            line = self.line()
        return tag

    def done(self, tag):
        self.send(b'DONE\r\n')
        return self.finish(tag)

    def close(self):
        self.sock.close()

    def logout(self):
        r = self.command('LOGOUT')
        self.close()
        return r


class Local(Imap):
    """A session of its own on a socket pair, in a home directory; its process
    calls `before` first."""

    def __init__(self, home, log=None, patience=300, env=(), before=None):
        self.home, self.log, self.env = home, log, dict(env)
        self.before = before
        super().__init__(0, patience=patience)

    def connect(self, host, port, patience):
        ours, theirs = socket.socketpair()
        ours.settimeout(patience)
        config = os.path.join(self.home, 'surat.conf')
        if not os.path.exists(config):
            open(config, 'w').close()
        self.process = subprocess.Popen(
            [os.path.join(os.path.abspath(os.environ.get('BUILD', 'build')),
                          'bin', 'imapd'), '--session', '--config', config,
             '--set', 'log.target=stderr', '--set', 'log.level=warning'],
            stdin=theirs, stdout=theirs, stderr=self.log,
            env=dict(os.environ, HOME=self.home, **self.env),
            preexec_fn=self.before)
        theirs.close()
        return ours

    def close(self):
        super().close()
        return self.process.wait(self.patience)


def leaves(part, path=''):
    """(section, part) of everything that has octets of its own, as FETCH
    BODY[section] names it."""
    if 'parts' in part:
        for n, inner in enumerate(part['parts'], 1):
            yield from leaves(inner, '%s.%d' % (path, n) if path else str(n))
        return
    where = path or '1'
    yield where, part
    if 'message' in part:
        inner = part['message']
        if 'parts' in inner:
            yield from leaves(inner, where)
        else:
            yield from leaves(inner, where + '.1')
