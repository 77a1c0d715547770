# SPDX-License-Identifier: ISC
"""Plays dialogue files against a session program on a socket pair.

A test is a short script and a directory of dialogues:

    from talk import play_all
    play_all('imapd')           # t/box/imapd/*.talk, one TAP line each

A dialogue is a text file.  The program runs as its own user would start it
from inetd, in a fresh home directory that goes afterwards; a line `@name
value` at the top changes how:

    @program imapd --session    the program and its arguments
    @set imap.timeout=60        an option of surat.conf, may be repeated
    @tcp yes                    over TCP on loopback, not a Unix socket
    @peers smtpd                whom it asks are those of peers.py; their
                                messages lie in queue/ of the home directory

Then come steps, one a line, played in order:

    C: text         the client sends text and CRLF
    C~ text         the client sends text, without CRLF
    C| text         the same as C:, and part of the literal whose size stands
                    as {@} or {@+} in the step before (or before that one's S)
    C- EOF          the client closes its sending side (or CLOSE: both)
    S: text         the server's next line is text
    S& text         so are the next lines, in any order: a run of S&
    S* text         lines of the server are passed over until one is text
    S- EOF          the server closes the connection, saying nothing more
    S- QUIET        the server says nothing (for a quarter of a second)
    $ command       sh -e runs it in the home directory and succeeds;
                    it is tried again for a while until it does
    # words         a comment; empty lines mean nothing either

C2: S2: and so on is a second client, whose program starts with its first
step in the same home directory.  A literal is what it is on the wire: lines.

Within text:

    <<x00 ff>>      octets in hex
    <<100000*(>>    that text, repeated
    <</regex/>>     (S) what matches, within the line
    <<=name regex>> (S) the same, and remembered
    <<name>>        what was remembered
    <<>>            nothing, to end a line in a blank

On a failure the transcript of the dialogue so far is printed.
"""
import glob
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

import peers

BUILD = os.path.abspath(os.environ.get('BUILD', 'build'))
HERE = os.path.dirname(os.path.abspath(__file__))
SLOW = 5 if 'san' in BUILD else 1
PATIENCE = 30 * SLOW
STEP = re.compile(r'(?:([CS])(\d*)([:~|&*-])|(\$))(?: (.*))?$')
MARK = re.compile(r'<<(.*?)>>')


class Failed(Exception):
    pass


def tcp_pair():
    with socket.create_server(('127.0.0.1', 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        return ours, listener.accept()[0]


class Client:
    """One session of the program and our end of its connection."""

    def __init__(self, talk):
        ours, theirs = tcp_pair() if talk.tcp else socket.socketpair()
        self.talk, self.sock, self.data = talk, ours, b''
        self.process = subprocess.Popen(
            [os.path.join(BUILD, 'bin', talk.program[0])] + talk.program[1:] +
            ['--config', talk.config], stdin=theirs, stdout=theirs,
            stderr=talk.log, cwd=talk.home,
            env=dict(os.environ, HOME=talk.home))
        theirs.close()

    def send(self, octets):
        self.sock.settimeout(PATIENCE)
        try:
            self.sock.sendall(octets)
        except OSError as e:
            raise Failed('cannot send: %s' % e)

    def line(self, seconds=PATIENCE):
        """The next line with its line end; b'' at the end, None if none
        came in time."""
        end = time.time() + seconds
        while b'\n' not in self.data:
            self.sock.settimeout(max(0.01, end - time.time()))
            try:
                more = self.sock.recv(65536)
            except socket.timeout:
                return None
            except ConnectionResetError:
                more = b''
            if not more:
                line, self.data = self.data, b''
                return line
            self.data += more
        line, self.data = self.data.split(b'\n', 1)
        return line + b'\n'

    def close(self):
        self.sock.close()
        try:
            code = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise Failed('the program does not end with its client')
        if code != 0:
            raise Failed('the program ended with status %d' % code)


class Talk:
    def __init__(self, path):
        self.path, self.known, self.clients = path, {}, {}
        self.transcript = []
        self.program = ['false']
        self.sets = ['log.target=stderr']
        self.peers, self.tcp = None, False
        self.steps = list(self.read())
        self.home = tempfile.mkdtemp(prefix='talk.')
        self.config = os.path.join(self.home, 'surat.conf')
        open(self.config, 'w').close()
        for s in self.sets:
            self.program += ['--set', s]
        self.log = tempfile.TemporaryFile()
        if self.peers:
            self.program += ['--set', 'general.runtime=%s/run' % self.home]
            self.peers = peers.Peers(self.home, self.peers)

    def read(self):
        for n, line in enumerate(open(self.path, encoding='utf-8'), 1):
            line = line.rstrip('\n')
            if line.startswith('@'):
                name, value = line[1:].split(' ', 1)
                if name == 'program':
                    self.program = value.split()
                elif name == 'peers':
                    self.peers = value
                elif name == 'tcp':
                    self.tcp = True
                else:
                    self.sets.append(value)
            elif line and not line.startswith('#'):
                m = STEP.match(line)
                if not m:
                    raise SystemExit('%s:%d: not a step: %s' %
                                     (self.path, n, line))
                yield (n,) + m.groups()

    # --------------------------------------------------------------- text
    def octets(self, text):
        """What the client sends."""
        out, at = b'', 0
        for m in MARK.finditer(text):
            out += text[at:m.start()].encode()
            at, inside = m.end(), m[1]
            times = re.match(r'(\d+)\*', inside)
            if re.fullmatch(r'x([0-9a-f]{2} ?)+', inside):
                out += bytes.fromhex(inside[1:])
            elif times:
                out += inside[times.end():].encode() * int(times[1])
            elif inside:
                out += self.remembered(inside)
        return out + text[at:].encode()

    def remembered(self, name):
        if name not in self.known:
            raise Failed('nothing is known as ' + name)
        return self.known[name]

    def pattern(self, text):
        """What the server's line must match."""
        out, at = b'', 0
        for m in MARK.finditer(text):
            out += re.escape(text[at:m.start()].encode())
            at, inside = m.end(), m[1]
            keep = re.match(r'=(\w+) ', inside)
            if re.fullmatch(r'/.*/', inside):
                out += b'(?:' + inside[1:-1].encode() + b')'
            elif keep:
                out += (b'(?P<' + keep[1].encode() + b'>' +
                        inside[keep.end():].encode() + b')')
            else:
                out += re.escape(self.octets(m[0]))
        return re.compile(out + re.escape(text[at:].encode()) + b'\r\n',
                          re.S)

    def matches(self, text, line):
        m = self.pattern(text).fullmatch(line or b'')
        if m:
            self.known.update(m.groupdict())
        return m is not None

    def sized(self, text, i, name):
        """The text with the size of the literal that follows step i."""
        if '{@' not in text:
            return text
        while self.steps[i][1] == 'S':
            i += 1
        size = 0
        while i < len(self.steps) and self.steps[i][1:4] == ('C', name, '|'):
            size += len(self.octets(self.steps[i][5] or '')) + 2
            i += 1
        return text.replace('{@', '{%d' % size)

    # -------------------------------------------------------------- steps
    def client(self, name):
        if name not in self.clients:
            self.clients[name] = Client(self)
        return self.clients[name]

    def note(self, who, what):
        self.transcript.append('%s %s' % (who, repr(what)[:500]))

    def hear(self, name):
        line = self.client(name).line()
        self.note('S' + name, line)
        if line is None:
            raise Failed('the server says nothing')
        return line

    def client_step(self, name, how, text):
        c = self.client(name)
        self.note('C' + name + how, text)
        if how in ':~|':
            c.send(self.octets(text) + (b'' if how == '~' else b'\r\n'))
        elif text == 'EOF':
            c.sock.shutdown(socket.SHUT_WR)
        elif text == 'CLOSE':
            self.clients.pop(name).close()
        else:
            raise Failed('no such step')

    def server_step(self, name, how, text):
        if how == ':':
            if not self.matches(text, self.hear(name)):
                raise Failed('expected ' + text)
        elif how == '*':
            line = self.hear(name)
            while not self.matches(text, line):
                if not line:
                    raise Failed('expected at last ' + text)
                line = self.hear(name)
        elif text == 'EOF':
            if self.hear(name) != b'':
                raise Failed('expected the end')
        elif text == 'QUIET':
            line = self.client(name).line(0.25)
            if line is not None:
                self.note('S' + name, line)
                raise Failed('expected silence')

    def any_order(self, name, texts):
        texts = list(texts)
        while texts:
            line = self.hear(name)
            found = [t for t in texts if self.matches(t, line)]
            if not found:
                raise Failed('expected one of\n    ' + '\n    '.join(texts))
            texts.remove(found[0])

    def shell(self, command):
        self.note('$', command)
        for name, value in self.known.items():
            command = command.replace('<<%s>>' % name,
                                      value.decode('utf-8', 'replace'))
        end = time.time() + PATIENCE
        while True:
            done = subprocess.run(['sh', '-ec', command], cwd=self.home,
                                  stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT)
            if done.returncode == 0:
                return
            if time.time() > end:
                raise Failed('status %d: %s' % (
                    done.returncode, done.stdout.decode('utf-8', 'replace')))
            time.sleep(0.1)

    def play(self):
        i = 0
        while i < len(self.steps):
            self.at, side, name, how, shell, text = self.steps[i]
            i += 1
            if shell:
                self.shell(text)
            elif side == 'C':
                self.client_step(name, how, self.sized(text or '', i, name))
            elif how == '&':
                run = [text]
                while i < len(self.steps) and \
                        self.steps[i][1:4] == (side, name, how):
                    run.append(self.steps[i][5])
                    i += 1
                self.any_order(name, run)
            else:
                self.server_step(name, how, text or '')
        for name in list(self.clients):
            self.clients.pop(name).close()

    def finish(self):
        for c in self.clients.values():
            c.sock.close()
            c.process.kill()
            c.process.wait()
        if self.peers:
            self.peers.close()
        shutil.rmtree(self.home, ignore_errors=True)


def play(path):
    """None, or why it failed."""
    t = Talk(path)
    if not os.path.exists(os.path.join(BUILD, 'bin', t.program[0])):
        t.finish()
        return 'SKIP'
    try:
        t.play()
        return None
    except Failed as e:
        t.log.seek(0)
        return '%s:%d: %s\n%s\n%s' % (
            path, t.at, e, '\n'.join(t.transcript[-30:]),
            t.log.read()[-3000:].decode('utf-8', 'replace'))
    finally:
        t.finish()


def play_all(folder):
    top = os.path.join(HERE, '..', 'box', folder)
    paths = sorted(glob.glob(top + '/*.talk'))
    wanted = os.environ.get('TALK', '')
    failed = n = 0
    for path in paths:
        name = os.path.basename(path)[:-len('.talk')]
        if wanted not in name:
            continue
        n += 1
        why = play(path)
        if why == 'SKIP':
            print('ok %d - %s/%s # SKIP not built' % (n, folder, name))
            continue
        print('%s %d - %s/%s' % ('not ok' if why else 'ok', n, folder, name))
        if why:
            failed += 1
            print('# ' + why.replace('\n', '\n# '))
        sys.stdout.flush()
    print('1..%d' % n)
    sys.exit(1 if failed or not n else 0)
