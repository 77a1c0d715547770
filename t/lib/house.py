# SPDX-License-Identifier: ISC
"""A whole surat in a temporary directory, for flows: started by `surat run`,
as everybody would, driven by real clients.

    with House(domains=['example.test'], users={'alice': 'secret'}) as h:
        h.send(['alice@example.test'], b'Subject: x\\r\\n\\r\\nhello\\r\\n')
        h.wait_mail('alice', 1)

TAP: ok(condition, what), skip(what, why), done() at the end.
"""
import glob
import os
import pwd
import re
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

from ports import SERVICES, free_offset

CORPUS = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..',
                      'corpus')
BUILD = os.path.abspath(os.environ.get('BUILD', 'build'))
SLOW = 5 if 'san' in BUILD else 1
_count = _failed = 0


def ok(good, what, why=''):
    global _count, _failed
    _count += 1
    _failed += not good
    print('%s %d - %s' % ('ok' if good else 'not ok', _count, what))
    if not good:
        print('# ' + str(why).replace('\n', '\n# '))
    sys.stdout.flush()
    return good


def same(got, want, what):
    return ok(got == want, what, 'got  %.600r\nwant %.600r' % (got, want))


def skip(what, why):
    global _count
    _count += 1
    print('ok %d - %s # SKIP %s' % (_count, what, why))


def done():
    print('1..%d' % _count)
    sys.exit(1 if _failed else 0)


def until(fn, seconds=10):
    end = time.time() + seconds * SLOW
    while time.time() < end:
        value = fn()
        if value:
            return value
        time.sleep(0.02)
    return fn()


PROGRAMS = ('suratd smtpd pop3d imapd queue deliver-local deliver-remote '
            'deliver-pipe auth tls keys resolve surat sendmail').split()


def need_programs(programs=PROGRAMS):
    """A build that is not whole has no flows; says so aloud."""
    missing = [p for p in programs if not os.path.exists(BUILD + '/bin/' + p)]
    if missing:
        skip('the whole house', 'not built: ' + ' '.join(missing))
        done()


class House:
    def __init__(self, domains=('example.test',), users=None, sets=(),
                 options=('--plaintext-auth',), directory=None, without=()):
        """without: programs this house does not run ('imapd', 'pop3d')."""
        need_programs([p for p in PROGRAMS if p not in without])
        self.own = directory is None
        self.dir = directory or tempfile.mkdtemp(prefix='surat.')
        self.domains, self.sets = domains, list(sets)
        self.users = {'alice': 'secret', 'bob': 'hunter2'} \
            if users is None else users
        for program in without:
            if program in ('imapd', 'pop3d'):
                name = program[:-1]
                self.sets += ['listen.%s=' % name, 'listen.%ss=' % name]
        self.options = list(options)
        self.offset = free_offset()
        self.process = None
        self.log = []
        self.env = dict(os.environ)
        if os.getuid() == 0:
            nobody = pwd.getpwnam('nobody')
            os.chown(self.dir, nobody.pw_uid, nobody.pw_gid)

    def port(self, service):
        return SERVICES[service] + self.offset

    def command(self):
        c = [BUILD + '/bin/surat', 'run', '--dir', self.dir,
             '--port-offset', str(self.offset)] + self.options
        for d in self.domains:
            c += ['--domain', d]
        for name, password in self.users.items():
            c += ['--user', name + ':' + password]
        for s in self.sets:
            c += ['--set', s]
        return c

    def start(self, seconds=20):
        self.process = subprocess.Popen(
            self.command(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL, env=self.env)
        threading.Thread(target=self._collect, daemon=True).start()
        line = []
        reader = threading.Thread(target=lambda: line.append(
            self.process.stdout.readline().decode()), daemon=True)
        reader.start()
        reader.join(seconds * SLOW)
        if not line or not line[0].startswith('surat: ready'):
            time.sleep(0.3)
            text = ''.join(self.log[-40:])
            self.stop()
            raise SystemExit('not ready: %r\n%s' % (line, text))
        return self

    def _collect(self):
        for line in self.process.stderr:
            self.log.append(line.decode('utf-8', 'replace'))

    def stop(self):
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(20 * SLOW)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self.process = None
        return code

    def __enter__(self):
        return self.start()

    def __exit__(self, *exc):
        self.stop()
        if self.own:
            shutil.rmtree(self.dir, ignore_errors=True)

    def grep(self, pattern):
        return [l for l in list(self.log) if re.search(pattern, l)]

    # ----------------------------------------------------------- processes
    def children(self):
        """pid -> program name of everything that runs in this house."""
        found, todo = {}, [self.process.pid]
        while todo:
            parent = todo.pop()
            try:
                with open('/proc/%d/task/%d/children' % (parent, parent)) as f:
                    kids = f.read().split()
            except OSError:
                continue
            for k in map(int, kids):
                try:
                    exe = os.readlink('/proc/%d/exe' % k)
                except OSError:
                    continue
                found[k] = os.path.basename(exe)
                todo.append(k)
        return found

    def pids(self, program):
        return [p for p, n in self.children().items() if n == program]

    # ---------------------------------------------------------------- mail
    def smtp(self, service='smtp', user=None, tls=False):
        s = smtplib.SMTP('127.0.0.1', self.port(service), timeout=60 * SLOW)
        if tls:
            s.starttls(context=ssl._create_unverified_context())
        if user:
            s.login(user, self.users[user])
        return s

    def send(self, to, message, sender='sender@remote.test', **how):
        with self.smtp(**how) as s:
            return s.sendmail(sender, to, message)

    def maildir(self, user, folder=''):
        user = '/'.join(reversed(user.split('@')))
        return os.path.join(self.dir, 'mail', user, 'Maildir', folder)

    def mails(self, user, folder=''):
        """File names of the messages in a folder."""
        found = []
        for sub in ('new', 'cur'):
            try:
                top = self.maildir(user, folder) + '/' + sub
                found += [top + '/' + f for f in os.listdir(top)]
            except FileNotFoundError:
                pass
        return sorted(found)

    def wait_mail(self, user, count, seconds=10, folder=''):
        until(lambda: len(self.mails(user, folder)) >= count, seconds)
        return self.mails(user, folder)

    def reload(self, old, new):
        """With a line of the configuration that is another one; was it
        taken?"""
        path = self.dir + '/surat.conf'
        with open(path) as f:
            text = f.read()
        assert old in text, old
        with open(path, 'w') as f:
            f.write(text.replace(old, new, 1))
        before = len(self.grep(' reloaded'))
        self.process.send_signal(signal.SIGHUP)
        return until(lambda: len(self.grep(' reloaded')) > before)

    def surat(self, *args, **more):
        return subprocess.run(
            [BUILD + '/bin/surat', *args, '--config',
             self.dir + '/surat.conf'], capture_output=True, text=True,
            timeout=60 * SLOW, **more)

    def queue(self, *args):
        import json
        out = self.surat('queue', 'list', '--json', *args)
        return [json.loads(line) for line in out.stdout.splitlines()]


class Copied(House):
    """A house whose programs may be replaced."""

    def __init__(self, **more):
        super().__init__(**more)
        os.mkdir(self.dir + '/bin')
        os.chmod(self.dir, 0o755)
        for p in PROGRAMS:
            shutil.copy(BUILD + '/bin/' + p, self.dir + '/bin')

    def command(self):
        c = super().command()
        c[0] = self.dir + '/bin/surat'
        return c


def after_trace(octets):
    """A message without the trace lines we put before it."""
    ours = re.compile(rb'(Return-Path|Delivered-To|Received):', re.I)
    while True:
        if not ours.match(octets):
            return octets
        # only ours: one of each, at the very top
        end = re.compile(rb'\r?\n(?![ \t])').search(octets)
        if octets[:9].lower() == b'received:':
            return octets[end.end():]
        octets = octets[end.end():]


def message(subject, body=b'hello\r\n', n=''):
    return (b'From: sender@remote.test\r\nSubject: ' + subject.encode() +
            b'\r\nMessage-ID: <' + (subject + str(n)).encode() +
            b'@remote.test>\r\n\r\n' + body)


def crlf(octets):
    """As a client sends it: CRLF line ends, the last line ended."""
    octets = re.sub(rb'\r\n|\r|\n', b'\r\n', octets)
    return octets if octets.endswith(b'\r\n') else octets + b'\r\n'


def corpus():
    """Every message of t/corpus: name, octets as they are sent."""
    for path in sorted(glob.glob(CORPUS + '/mime/*')):
        yield os.path.basename(path), crlf(open(path, 'rb').read())
    for path in sorted(glob.glob(CORPUS + '/mbox/*.mbox')):
        text = open(path, 'rb').read()
        parts = re.split(rb'(?m)^From [^\n]*\n', text)[1:]
        for n, part in enumerate(parts):
            yield '%s/%d' % (os.path.basename(path), n), crlf(part)
