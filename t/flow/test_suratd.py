#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""suratd with stand-ins for all the other programs: what they inherit, that
they are kept, replaced, renewed and ended.  As root also who they become."""
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
from house import BUILD, done, ok, skip, until
from ports import free_port

HERE = os.path.dirname(os.path.abspath(__file__))
PROGRAMS = ('keys tls resolve auth queue deliver-local deliver-pipe '
            'deliver-remote '
            'smtpd imapd pop3d').split()


class Suite:
    def __init__(self, uid=65534, sets=(), root=False):
        self.dir = tempfile.mkdtemp(prefix='suratd.')
        self.run = self.dir + '/run'
        self.lib = self.dir + '/lib'
        self.uid = uid if os.getuid() == 0 and not root else None
        os.mkdir(self.lib)
        for p in PROGRAMS:
            shutil.copy(HERE + '/stub/stub.py', self.lib + '/' + p)
            os.chmod(self.lib + '/' + p, 0o755)
        self.ports = {n: free_port() for n in
                      ('smtp', 'submission', 'imap', 'pop3')}
        open(self.dir + '/users', 'w').close()
        self.write('')
        self.sets, self.env = sets, None
        self.own(self.dir)

    def own(self, top):
        os.chmod(top, 0o755)
        if self.uid is not None:
            for path, dirs, files in os.walk(top):
                for f in [path] + [path + '/' + f for f in files]:
                    os.chown(f, self.uid, self.uid)

    def write(self, more):
        with open(self.dir + '/surat.conf', 'w') as f:
            f.write('''general { users = "%s/users" state = "%s/state"
runtime = "%s" mail = "%s/mail" libexec = "%s" domains = {"example.test"} }
log { target = stderr level = debug }
remote { smarthost = "relay.test" smarthost_user = me
smarthost_password = geheim }
listen { submissions = {} imaps = {} pop3s = {} lmtp = {}
smtp = {"127.0.0.1:%d"} submission = {"127.0.0.1:%d"} imap = {"127.0.0.1:%d"}
pop3 = {"127.0.0.1:%d"} }
%s
''' % (self.dir, self.dir, self.run, self.dir, self.lib,
                self.ports['smtp'], self.ports['submission'],
                self.ports['imap'], self.ports['pop3'], more))

    def command(self, *more):
        sets = [a for s in self.sets for a in ('--set', s)]
        return [BUILD + '/bin/suratd', '--config', self.dir + '/surat.conf',
                *sets, *more]

    def start(self, wrapper=()):
        self.log = open(self.dir + '/log', 'w+')
        demote = {}
        if self.uid is not None:
            demote = {'user': self.uid, 'group': self.uid,
                      'extra_groups': []}
        self.p = subprocess.Popen(
            [*wrapper, *self.command('--announce')], stdout=subprocess.PIPE,
            stderr=self.log, env=self.env, **demote)
        self.line = self.p.stdout.readline().decode()
        return self

    def client(self, name):
        s = socket.create_connection(('127.0.0.1', self.ports[name]), 10)
        s.settimeout(10)
        return s, s.makefile().readline()

    def ask(self, asker, text, fd=None):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        s.settimeout(10)
        s.connect('%s/%s/master' % (self.run, asker))
        data = text.encode().replace(b'|', b'\0')
        if fd is None:
            s.send(data)
        else:
            socket.send_fds(s, [data], [fd])
        return s

    def status(self, conf='surat.conf'):
        out = subprocess.run(
            [BUILD + '/bin/surat', 'status', '--config',
             self.dir + '/' + conf], capture_output=True, text=True)
        return {l.split()[0]: l.split() for l in out.stdout.splitlines()}

    def logged(self, text):
        self.log.flush()
        return text in open(self.dir + '/log').read()

    def stop(self):
        self.p.send_signal(signal.SIGTERM)
        start = time.time()
        try:
            code = self.p.wait(20)
        except subprocess.TimeoutExpired:
            self.p.kill()
            code = -1
        self.took = time.time() - start
        self.p.stdout.close()
        return code

    def left(self):
        """Processes whose program lies in our directory."""
        found = []
        for pid in filter(str.isdigit, os.listdir('/proc')):
            try:
                line = open('/proc/%s/cmdline' % pid).read()
            except OSError:
                continue
            if self.lib + '/' in line:
                found.append(pid)
        return found

    def remove(self):
        shutil.rmtree(self.dir, ignore_errors=True)


def field(line, name):
    m = re.search(r'%s=(\S*)' % name, line)
    return m[1] if m else None


def test_start():
    s = Suite().start()
    ok(s.line.startswith('surat: ready '), 'one line when ready',
       s.line + open(s.dir + '/log').read())
    c, line = s.client('smtp')
    ok(field(line, 'names') == 'smtp:submission:config:master',
       'a worker has its sockets by name', line)
    ok(field(line, 'extra') == '[]', 'and no other descriptor', line)
    path = s.run + '/sendmail/surat.conf'
    text = open(path).read()
    ok(os.stat(path).st_mode & 0o777 == 0o644 and 'example.test' in text and
       'geheim' not in text, 'the configuration is published, no password')
    c2, line2 = s.client('imap')
    ok(line2.startswith('imapd '), 'imapd serves', line2)
    for x in (c, c2):
        x.close()
    st = s.status()
    ok(st.get('queue', [0, ''])[1] == 'running' and
       st['smtpd'][1] == 'waiting', 'surat status', st)
    ok(s.stop() == 0 and s.left() == [], 'SIGTERM ends all', s.left())
    ok(s.took < 3, 'quickly', s.took)
    s.remove()


def test_keeping():
    s = Suite(sets=['smtp.idle_processes=2', 'smtp.max_processes=4']).start()
    held = [s.client('smtp') for _ in range(4)]
    pids = {field(line, 'pid') for _, line in held}
    ok(len(pids) == 4, 'four clients, four workers', pids)
    late = socket.create_connection(('127.0.0.1', s.ports['smtp']), 10)
    late.settimeout(0.3)
    try:
        got = late.recv(10)
    except socket.timeout:
        got = b''
    ok(got == b'', 'the fifth waits', got)
    held[0][0].close()
    late.settimeout(10)
    ok(late.recv(10) != b'', 'until one is done')
    os.kill(int(field(held[1][1], 'pid')), signal.SIGKILL)
    held[1][0].close()
    c, line = s.client('smtp')
    ok(line.startswith('smtpd'), 'a killed worker is replaced', line)
    pid = int(s.status()['queue'][2])
    time.sleep(2.1)
    os.kill(pid, signal.SIGKILL)
    new = until(lambda: int(s.status()['queue'][2]) not in (0, pid))
    ok(new, 'a killed queue is started again')
    ok(s.status()['queue'][4] == '1', 'and counted', s.status()['queue'])
    for x in [h[0] for h in held] + [late, c]:
        x.close()
    ok(s.stop() == 0 and s.left() == [], 'ends')
    s.remove()


def test_failing():
    s = Suite()
    open(s.lib + '/auth.die', 'w').close()
    s.start()
    ok(s.line == '' and s.p.wait(20) == 1,
       'a program that does not come up: no line, exit status 1')
    ok(s.logged('cannot-start') and s.logged('auth'), 'and a reason')
    s.p.stdout.close()
    s.remove()


def test_back_off():
    s = Suite().start()
    open(s.lib + '/auth.die', 'w').close()
    os.kill(int(s.status()['auth'][2]), signal.SIGKILL)
    ok(until(lambda: s.status()['auth'][1] == 'failing'),
       'later it is a matter of waiting', s.status()['auth'])
    c, line = s.client('smtp')
    ok(line.startswith('smtpd'), 'the others go on')
    os.unlink(s.lib + '/auth.die')
    ok(until(lambda: s.status()['auth'][1] == 'running', 15),
       'and it comes back')
    c.close()
    s.stop()
    s.remove()


def test_quick_deaths():
    s = Suite().start()
    pids, back = {0}, []
    for _ in range(3):
        pid = int(s.status()['auth'][2])
        if pid <= 0:
            break
        pids.add(pid)
        os.kill(pid, signal.SIGKILL)
        back.append(until(lambda: s.status()['auth'][1] == 'running' and
                          int(s.status()['auth'][2]) not in pids, 25))
    ok(len(back) == 3 and all(back),
       'one that had been up is not long waited for', back)
    s.stop()
    s.remove()


def test_control():
    s = Suite().start()
    q = s.ask('queue', 'agent_start|agent=local|user=u|ids=-|home=/|')
    data, fds, _, _ = socket.recv_fds(q, 1000, 2)
    ok(data.startswith(b'opened\0status=2'), 'an agent is started', data)
    agent = socket.socket(fileno=fds[0])
    line = agent.recv(1000).decode()
    ok(line.startswith('deliver-local') and
       field(line, 'names') == 'config:master:queue', 'with its link', line)
    agent.close()
    q = s.ask('queue', 'agent_start|agent=../x|user=u|ids=-|home=/|')
    ok(q.recv(1000).startswith(b'opened\0status=5'), 'no other program')
    ours, theirs = socket.socketpair()
    ours.settimeout(10)
    a = s.ask('auth', 'session_start|session=x|service=imap|user=alice|ids=-|'
              'home=/tmp|limits=|client=c|tls=1|back=0|tag=a1|pending=3|abc|',
              theirs.fileno())
    ok(a.recv(1000).startswith(b'done\0status=2'), 'a session is started')
    f = ours.makefile()
    ok(field(f.readline(), 'names') == 'config:master', 'of imapd')
    ok('user=alice' in f.readline(), 'who hears for whom')
    bad = s.ask('queue', 'service|verb=stop|name=|')
    ok(b'status=5' in bad.recv(1000), 'the queue may not stop the suite')
    bad = s.ask('queue', 'session_start|session=x|service=imap|user=alice|'
                'ids=-|home=/tmp|limits=|client=c|tls=1|back=0|tag=a1|pending=0||')
    ok(bad.recv(1000) == b'', 'nor start a session')
    a = s.ask('auth', 'agent_start|agent=local|user=u|ids=-|home=/|')
    data, fds, _, _ = socket.recv_fds(a, 1000, 2)
    ok(data.startswith(b'opened\0status=2'), 'auth may start an agent', data)
    os.close(fds[0])
    bad = s.ask('surat', 'service|verb')
    ok(bad.recv(1000) == b'', 'garbage costs the connection')
    ok(s.status()['smtpd'][1] == 'waiting', 'and nobody else anything')
    ours.close()
    s.stop()
    s.remove()


def test_reload():
    s = Suite().start()
    c, line = s.client('smtp')
    old = s.status()['queue'][2]
    shutil.copy(s.dir + '/surat.conf', s.dir + '/good.conf')
    s.write('nonsense { }')
    s.p.send_signal(signal.SIGHUP)
    ok(until(lambda: s.logged('reload-refused')), 'a mistake is refused')
    ok(s.status('good.conf')['queue'][2] == old, 'and changes nothing')
    port = s.ports['submission']
    s.ports['submission'] = free_port()
    s.write('smtp { max_errors = 7 }')
    out = subprocess.run([BUILD + '/bin/surat', 'reload', '--config',
                          s.dir + '/surat.conf'])
    ok(out.returncode == 0, 'surat reload')
    ok(until(lambda: s.status()['queue'][2] not in ('0', old)),
       'makes new children', s.status()['queue'])
    c2, line2 = s.client('submission')
    ok(line2.startswith('smtpd'), 'a new port answers', line2)
    try:
        socket.create_connection(('127.0.0.1', port), 1).close()
        closed = False
    except ConnectionRefusedError:
        closed = True
    ok(closed, 'an old one does not')
    c.sendall(b'x')
    ok(os.path.exists('/proc/' + field(line, 'pid')), 'old sessions live on')
    c.close()
    c2.close()
    ok(until(lambda: not os.path.exists('/proc/' + field(line, 'pid'))),
       'and then end')
    ok(s.stop() == 0 and s.left() == [], 'ends')
    s.remove()


def test_notify():
    """What systemd hears: Type=notify, reload and watchdog of surat.service."""
    s = Suite()
    heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    heard.bind(s.dir + '/notify')
    heard.settimeout(20)
    os.chmod(s.dir + '/notify', 0o777)
    s.env = dict(os.environ, NOTIFY_SOCKET=s.dir + '/notify',
                 WATCHDOG_USEC='400000')

    def hears(word, *others):
        seen = []
        while word not in seen:
            seen.append(heard.recv(1000).decode().split('\n')[0])
        ok(set(seen) <= {word, 'WATCHDOG=1', *others}, 'systemd hears ' +
           word, seen)
    s.start()
    hears('READY=1')
    before = time.time()
    for _ in range(4):
        hears('WATCHDOG=1')
    ok(0.4 < time.time() - before < 1.6, 'twice as often as it waits for',
       time.time() - before)
    s.p.send_signal(signal.SIGHUP)
    hears('RELOADING=1')
    hears('READY=1')
    s.p.send_signal(signal.SIGTERM)
    hears('STOPPING=1')
    s.stop()
    heard.close()
    s.remove()


def test_one_only():
    s = Suite().start()
    second = subprocess.run(
        s.command(), capture_output=True, text=True,
        **({'user': s.uid, 'group': s.uid} if s.uid is not None else {}))
    ok(second.returncode == 78 and 'another suratd' in second.stderr,
       'one suratd a directory', second)
    s.p.kill()
    s.p.wait()
    s.p.stdout.close()
    ok(until(lambda: s.left() == []), 'without suratd all end', s.left())
    s.remove()


def test_check():
    s = Suite()
    run = {'user': s.uid, 'group': s.uid} if s.uid is not None else {}
    out = subprocess.run([BUILD + '/bin/suratd', '-n'], capture_output=True,
                         text=True, env=dict(os.environ, SURAT_CONF=s.dir +
                                             '/surat.conf'), **run)
    ok(out.returncode == 0, 'SURAT_CONF says which configuration', out)
    out = subprocess.run(s.command('-n'), capture_output=True, text=True,
                         **run)
    ok(out.returncode == 0 and out.stderr == '', 'suratd -n', out)
    os.unlink(s.lib + '/tls')
    s.write('tls { certificate = "/no/such" key = "/no/such" }')
    out = subprocess.run(s.command('-n'), capture_output=True, text=True,
                         **run)
    ok(out.returncode == 78 and '/lib/tls: No such' in out.stderr and
       'tls.key: /no/such' in out.stderr, 'names what is missing', out)
    s.remove()


USERS = ('net', 'q', 'out', 'auth', 'dns', 'tls', 'key', 'mail', 'pipe')
AS_ROOT = '''mount --bind $0/passwd /etc/passwd &&
mount --bind $0/nsswitch.conf /etc/nsswitch.conf && exec "$@"'''


def test_root():
    if os.getuid() != 0 or subprocess.run(
            ['unshare', '-m', 'true'], stderr=subprocess.DEVNULL).returncode:
        skip('as root', 'needs root and mount namespaces')
        return
    s = Suite(root=True)
    ids = {u: 64100 + i for i, u in enumerate(USERS)}
    with open(s.dir + '/passwd', 'w') as f:
        f.write('root:x:0:0:::\nnobody:x:65534:65534:::\n')
        for u in USERS:
            f.write('_surat%s:x:%d:%d::/:/bin/false\n' % (u, ids[u], ids[u]))
    with open(s.dir + '/nsswitch.conf', 'w') as f:
        f.write('passwd: files\ngroup: files\n')
    s.start(wrapper=['unshare', '-m', 'sh', '-c', AS_ROOT, s.dir])
    ok(s.line.startswith('surat: ready '), 'as root',
       open(s.dir + '/log').read())
    c, line = s.client('smtp')
    ok(field(line, 'ids') == '%d:%d' % (ids['net'], ids['net']) and
       field(line, 'groups') == '', 'smtpd has its ids', line)
    ok(field(line, 'root') == 'auth,queue,resolve,tls',
       'and sees only whom it may ask', line)
    st = os.stat(s.run + '/smtpd/queue')
    ok(st.st_uid == ids['net'] and st.st_mode & 0o777 == 0o600,
       'its sockets are its own')
    ok(os.stat(s.run + '/smtpd').st_uid == 0 and
       os.stat(s.run + '/smtpd').st_mode & 0o777 == 0o750,
       'its directory is not')
    ok(os.stat(s.run + '/sendmail/queue').st_mode & 0o777 == 0o666,
       "sendmail's socket is everybody's")
    ok(os.stat(s.dir + '/state').st_uid == ids['q'], 'the spool is the '
       "queue's")

    def agent(ids, kind='local'):
        q = s.ask('queue', 'agent_start|agent=%s|user=u|ids=%s|home=/|' %
                  (kind, ids))
        data, fds, _, _ = socket.recv_fds(q, 1000, 2)
        if not fds:
            return data.decode()
        with socket.socket(fileno=fds[0]) as link:
            return link.recv(1000).decode()
    ok(field(agent('1234:1235'), 'ids') == '1234:1235',
       'an agent becomes its user')
    ok(field(agent('-'), 'ids') == '%d:%d' % (ids['mail'], ids['mail']),
       'or the user of virtual mail')
    ok(field(agent('1234:1235', 'remote'), 'ids') ==
       '%d:%d' % (ids['out'], ids['out']), 'a remote agent never')
    for bad in ('0:0', '1234:0', '0:1', '%d:%d' % (ids['key'], ids['key']),
                '', '1234', '-1:5', '4294967295:1', '4294967296:1'):
        ok('status=5' in agent(bad), 'nobody becomes "%s"' % bad, agent(bad))
    c.close()
    ok(s.stop() == 0 and s.left() == [], 'ends')
    s.remove()


for test in (test_check, test_start, test_keeping, test_failing,
             test_back_off, test_quick_deaths, test_control, test_reload,
             test_notify, test_one_only, test_root):
    test()
done()
