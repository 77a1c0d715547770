# SPDX-License-Identifier: ISC
"""The queue and its local agents as programs of their own, with a stand-in
for master and auth around them, and faults at will (fault.c): SIGKILL, or an
error, at the n-th call that changes anything.

    with QueueHouse() as h:
        h.arm('queue', 17)
        h.submit('a@remote.test', ['alice@example.test'], b'...')
        h.settle()

Domain example.test is local, every user of it exists; list@ is alice and bob,
nobody@ is refused for good, later@ for now, loop@ is delivered by nobody.
"""
import fcntl
import os
import re
import selectors
import shutil
import signal
import socket
import tempfile
import threading
import time

from faults import Faults
from house import BUILD, SLOW
import wire
from wire import receive, send


class QueueHouse(Faults):
    def __init__(self, queue='', general='', faults=True):
        self.dir = tempfile.mkdtemp(prefix='surat.')
        self.conf = self.dir + '/surat.conf'
        with open(self.conf, 'w') as f:
            f.write('general {\n hostname = "mail.test"\n'
                    ' domains = {"example.test"}\n'
                    ' state = "%s/state"\n mail = "%s/mail"\n'
                    ' runtime = "%s/run"\n%s\n}\n'
                    'log { target = "stderr" }\nsmtp { min_free = "16m" }\n'
                    'queue {\n checkpoint = "0s"\n%s\n}\n' %
                    (self.dir, self.dir, self.dir, general, queue))
        os.makedirs(self.dir + '/mail')
        os.makedirs(self.dir + '/run/queue')
        super().__init__(self.dir)
        self.faults = faults
        self.log_path = self.dir + '/log'
        self.log_fd = os.open(self.log_path, os.O_WRONLY | os.O_CREAT |
                              os.O_APPEND, 0o600)
        self.asks = {a: wire.listen('%s/run/ask.%s' % (self.dir, a))
                     for a in ('smtpd', 'sendmail', 'surat')}
        self.selector = selectors.DefaultSelector()
        for name in ('auth', 'master'):
            s = wire.listen('%s/run/queue/%s' % (self.dir, name))
            self.selector.register(s, selectors.EVENT_READ, self.accept)
        self.queue, self.link, self.agents = None, None, set()
        self.starts = self.recovered = 0
        self.deaths = {'queue': 0, 'agent': 0}
        self.ended = self.keep = False
        self.patience = 30 * SLOW
        self.lock = threading.Lock()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    # ------------------------------------------------------------ stand-ins
    def serve(self):
        while not self.ended:
            for key, _ in self.selector.select(0.01):
                key.data(key.fileobj)
            self.reap()
            if self.keep and self.queue is None:
                try:
                    self.launch()
                except OSError as e:
                    print('# not started:', e, flush=True)
                    time.sleep(0.2)

    def reap(self):
        """Notes who died.  Only the serving thread starts a queue again."""
        with self.lock:
            if self.queue and os.waitpid(self.queue, os.WNOHANG)[0]:
                self.deaths['queue'] += 1
                self.link.close()
                self.queue = None
            for pid in list(self.agents):
                if os.waitpid(pid, os.WNOHANG)[0]:
                    self.agents.discard(pid)
                    self.deaths['agent'] += 1

    def accept(self, listening):
        s, _ = listening.accept()
        self.selector.register(s, selectors.EVENT_READ, self.answer)

    def answer(self, s):
        try:
            got = receive(s)
            if got:
                getattr(self, 'on_' + got[0])(s, got[1])
                return
        except OSError:
            pass
        self.selector.unregister(s)
        s.close()

    @staticmethod
    def route(address):
        if address == 'list@example.test':
            return '2.0.0 - OK', ['alice@example.test', 'bob@example.test']
        if address == 'nobody@example.test':
            return '5.1.1 - There is no such user here', []
        if address == 'later@example.test':
            return '4.3.0 - Not now', []
        return '2.0.0 - OK', [address]

    def on_routes(self, s, m):
        each = [self.route(a) for a in m['addresses']]
        final = [a for _, finals in each for a in finals]
        ours = [a.endswith('@example.test') for a in final]
        send(s, 'routes_result', status=[status for status, _ in each],
             finals=[str(len(finals)) for _, finals in each], address=final,
             agent=['local' if o else 'remote' for o in ours],
             user=[a.split('@')[0] if o else '' for a, o in
                   zip(final, ours)],
             home=['%s/mail/%s' % (self.dir, a.split('@')[0]) if o else ''
                   for a, o in zip(final, ours)],
             ids=['-' if o else '' for o in ours],
             command=['' for _ in ours])

    def on_service(self, s, m):
        self.recovered += m['verb'] == 'recovered'
        send(s, 'done', status='2.0.0 - OK')

    def on_agent_start(self, s, m):
        if m['agent'] != 'local' or self.ended:
            send(s, 'opened', status='4.3.0 - no such agent here')
            return
        ours, theirs = socket.socketpair(socket.AF_UNIX,
                                         socket.SOCK_SEQPACKET)
        pid = self.spawn('deliver-local', 'agent', [('queue', theirs)])
        with self.lock:
            self.agents.add(pid)
        theirs.close()
        send(s, 'opened', fd=ours.fileno(), status='2.0.0 - OK')
        ours.close()

    # ------------------------------------------------------------ processes
    def spawn(self, program, slot, fds):
        env = {'PATH': os.environ['PATH'], 'LISTEN_PID': '0',
               'LISTEN_FDS': str(len(fds)),
               'LISTEN_FDNAMES': ':'.join(n for n, _ in fds)}
        for name in ('ASAN_OPTIONS', 'UBSAN_OPTIONS'):
            if name in os.environ:
                env[name] = os.environ[name]
        if self.faults:
            env.update(self.environment(slot))
        high = [fcntl.fcntl(s.fileno(), fcntl.F_DUPFD_CLOEXEC, 200)
                for _, s in fds]
        actions = [(os.POSIX_SPAWN_DUP2, self.log_fd, 2)]
        actions += [(os.POSIX_SPAWN_DUP2, fd, 3 + i)
                    for i, fd in enumerate(high)]
        pid = os.posix_spawn('%s/bin/%s' % (BUILD, program),
                             [program, '--config', self.conf], env,
                             file_actions=actions)
        for fd in high:
            os.close(fd)
        return pid

    def launch(self):
        ours, theirs = socket.socketpair(socket.AF_UNIX,
                                         socket.SOCK_SEQPACKET)
        self.starts += 1
        self.link = ours
        self.queue = self.spawn(
            'queue', 'queue',
            [('ask.' + a, s) for a, s in self.asks.items()] +
            [('master', theirs)])
        theirs.close()

    def start(self):
        """From now on a queue that dies is started again, as by master."""
        before = self.recovered
        self.keep = True
        if not self.until(lambda: self.recovered > before, 40):
            raise SystemExit('the queue does not come up\n' + self.tail())
        return self

    def kill(self):
        """SIGKILL; the next one is there when this returns, if one is to
        be."""
        before = self.deaths['queue'], self.recovered
        os.kill(self.queue, signal.SIGKILL)
        self.until(lambda: self.deaths['queue'] > before[0])
        if self.keep:
            self.until(lambda: self.recovered > before[1])

    def stop(self):
        self.keep = False
        self.shut()
        if not self.until(lambda: self.queue is None, 20):
            os.kill(self.queue, signal.SIGKILL)
        self.until(lambda: not self.agents, 20)

    def shut(self):
        try:
            self.link.shutdown(socket.SHUT_RDWR)
        except (AttributeError, OSError):
            pass

    def close(self):
        self.stop()
        self.ended = True
        self.thread.join()
        for pid in self.agents:
            os.kill(pid, signal.SIGKILL)
        self.page.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, *rest):
        if kind is not None:
            print(self.tail())
        self.close()

    # ----------------------------------------------------------------- mail
    def connect(self, asker='smtpd'):
        return wire.connect('%s/run/ask.%s' % (self.dir, asker))

    def submit(self, sender, rcpts, content, token, body=False, **more):
        """('yes', id), ('no', status) or ('unknown', why)."""
        try:
            with self.connect() as s:
                s.settimeout(self.patience)
                name = b''
                if body:
                    name = self.write_body(s, content)
                    if not isinstance(name, str):
                        return name
                    content = b''
                send(s, 'submit', token=token, session='s', origin='smtp',
                     client='192.0.2.1', sender=sender, rcpt=rcpts,
                     body_type='8BITMIME', size=len(content), body=name,
                     content=content, **more)
                got = receive(s)
        except OSError as e:
            return 'unknown', str(e)
        if got is None:
            return 'unknown', 'closed'
        m = got[1]
        return ('yes', m['id']) if m['status'][0] == '2' \
            else ('no', m['status'])

    def write_body(self, s, content):
        send(s, 'body_open', size=len(content))
        got = receive(s)
        if got is None:
            return 'unknown', 'closed'
        if got[2] is None:
            return 'no', got[1]['status']
        with os.fdopen(got[2], 'wb', 0) as f:
            f.seek(0, 2)
            f.write(content)
            os.fsync(f.fileno())
        return got[1]['name']

    def ask(self, kind, **fields):
        """Rows of `surat queue`, and the last message."""
        rows = []
        with self.connect('surat') as s:
            s.settimeout(30 * SLOW)
            while True:
                send(s, kind, **fields)
                while True:
                    got = receive(s)
                    if got is None:
                        return rows, None
                    if got[0] != 'queue_row':
                        break
                    rows.append(got[1])
                if not got[1].get('next'):
                    return rows, got[1]
                fields['after'] = got[1]['next']

    def rows(self, **fields):
        try:
            rows, last = self.ask('queue_list', **fields)
        except OSError:
            return None
        return None if last is None else rows

    def settle(self, seconds=30, but=()):
        """Until the queue is empty but for these states."""
        end = time.time() + seconds * SLOW
        while time.time() < end:
            rows = self.rows()
            if rows is not None and \
                    all(r['state'] in but for r in rows):
                return rows
            if any(r['state'] == 'held' and 'three times' in r['reply']
                   for r in rows or ()):
                self.ask('queue_change', verb='release', state='held')
            # a machine that is busy with others; a minute is too long here
            if any(r['reply'].endswith('is busy') for r in rows or ()):
                self.ask('queue_change', verb='retry', text='all')
            time.sleep(0.002)
        return self.rows()

    def until(self, fn, seconds=20):
        end = time.time() + seconds * SLOW
        while time.time() < end:
            value = fn()
            if value:
                return value
            time.sleep(0.002)
        return fn()

    def mails(self, user):
        found = []
        for sub in ('new', 'cur'):
            top = '%s/mail/%s/Maildir/%s' % (self.dir, user, sub)
            try:
                found += [top + '/' + f for f in os.listdir(top)]
            except FileNotFoundError:
                pass
        return found

    def log(self):
        with open(self.log_path, errors='replace') as f:
            return f.read()

    def tail(self):
        return re.sub(r'(?m)^', '# ', self.log()[-3000:])


# ------------------------------------------------------------- what is sent
USERS = ['alice', 'bob']


def small(n):
    """One mailbox, content in the database."""
    return dict(rcpts=['alice'], size=300)


def large(n):
    """Two mailboxes, content in a file."""
    return dict(rcpts=['alice', 'bob'], size=90000, body=True)


def aliased(n):
    """Three recipients that are two mailboxes."""
    return dict(rcpts=['list', 'alice'], size=2000, final=['alice', 'bob'])


def failing(n):
    """One mailbox, and a report to the sender's."""
    return dict(rcpts=['alice', 'nobody'], size=500, sender='bob', report=1)


SCENARIOS = [small, large, aliased, failing]


class Ledger:
    def __init__(self, house):
        self.house, self.sent, self.there, self.seen = house, {}, {}, set()
        self.reports = {}
        self.bad = []
        self.count = 0

    def name(self, scenario):
        self.count += 1
        return '%s-%d' % (scenario.__name__, self.count)

    def send(self, ident, rcpts, size, sender='', final=None, body=False,
             report=0):
        text = ('Subject: %s\r\n\r\n' % ident).encode()
        text += b''.join(b'%076d\r\n' % i for i in range(size // 78 + 1))
        answer, _ = self.house.submit(
            (sender or 'x') + ('@example.test' if sender else '@remote.test'),
            [r + '@example.test' for r in rcpts], text, token=ident,
            body=body)
        users = final or [r for r in rcpts if r in USERS]
        self.sent[ident] = (answer, users, text, report)
        return answer

    def look(self):
        """What is new in the mailboxes."""
        for user in USERS:
            for path in self.house.mails(user):
                name = os.path.basename(path).split(':')[0]
                if (user, name) in self.seen:
                    continue
                self.seen.add((user, name))
                text = open(path, 'rb').read().replace(b'\n', b'\r\n')
                self.sort(user, text)

    def sort(self, user, text):
        of = re.search(rb'(?m)^Message-ID: <report\.', text)
        m = re.search(rb'(?m)^Subject: ([a-z]+-\d+)\r$', text)
        if m is None:
            self.bad.append(('what is this', user, text[:200]))
        elif of:
            self.reports.setdefault(m[1].decode(), []).append(user)
        else:
            whole = text[m.start():]
            self.there.setdefault(m[1].decode(), []).append((user, whole))

    def judge(self, ident):
        answer, users, text, report = self.sent.pop(ident)
        copies = self.there.pop(ident, [])
        got = sorted(u for u, _ in copies)
        reports = self.reports.pop(ident, [])
        if any(c != text for _, c in copies):
            self.bad.append((ident, 'torn'))
        if answer == 'no' and (got or reports):
            self.bad.append((ident, 'refused, but there', got))
        whole = got == sorted(users) and len(reports) == report
        if answer == 'yes' and not whole:
            self.bad.append((ident, 'taken, but', got, reports))
        if answer == 'unknown' and not whole and (got or reports):
            self.bad.append((ident, 'half there', got, reports))
