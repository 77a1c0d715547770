# SPDX-License-Identifier: ISC
"""Socket units as systemd starts them, without systemd: reads the units that
`make install` put under a root, opens their sockets where they say, and starts
each service when it is first asked, as its user, with its capabilities, its
network and its credentials.  The process has to be in namespaces of its own
(installed paths, ports below 1024): enter() sees to that.

    enter()                             runs the script again, in there
    s = System(root, h.path('etc'))     root: DESTDIR of an installation
    s.start('surat-launcher')           others start by themselves
    s.stop()
"""
import glob
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

INSIDE = 'SURAT_UNITS_INSIDE'
# Of /etc what programs need besides what was installed.
FROM_ETC = ('ld.so.cache', 'hosts', 'resolv.conf', 'localtime', 'services',
            'protocols', 'host.conf', 'ssl', 'nsswitch.conf')


def enter():
    if os.environ.get(INSIDE):
        subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True)
        return
    os.environ[INSIDE] = '1'
    os.execvp('unshare', ['unshare', '-m', '-n', sys.executable] + sys.argv)


def be_system(root):
    """The installed /etc and /var are this namespace's, /run is empty."""
    for name in FROM_ETC:
        source, target = '/etc/' + name, root + '/etc/' + name
        if os.path.isdir(source) and not os.path.exists(target):
            shutil.copytree(source, target, symlinks=True,
                            ignore=shutil.ignore_patterns('private'))
        elif os.path.exists(source) and not os.path.exists(target):
            shutil.copy(source, target)
    for where in ('/var/lib', '/var/mail', '/var/tmp'):
        os.makedirs(root + where, exist_ok=True)
    for command in (['mount', '--bind', root + '/etc', '/etc'],
                    ['mount', '--bind', root + '/var', '/var'],
                    ['mount', '-t', 'tmpfs', '-o', 'mode=755', 'run',
                     '/run']):
        subprocess.run(command, check=True)


class Unit(dict):
    """Settings of a unit and its drop-ins: name -> list of values."""

    def __init__(self, units, name):
        super().__init__()
        self.name = name
        kind = name.rsplit('.', 1)[1]
        bare = name.rsplit('.', 1)[0]
        dirs, at = [units + '/' + name + '.d'], len(bare)
        while (at := bare.rfind('-', 0, at)) > 0:
            dirs.append(units + '/' + bare[:at + 1] + '.' + kind + '.d')
        files = sorted((f for d in dirs for f in glob.glob(d + '/*.conf')),
                       key=os.path.basename)
        for path in [units + '/' + name] + files:
            for line in open(path):
                found = re.match(r'(\w+)=(.*)', line.strip())
                if found and found[2]:
                    self.setdefault(found[1], []).append(found[2])
                elif found:
                    self[found[1]] = []

    def one(self, name, default=None):
        return self.get(name, [default])[-1]

    def words(self, name):
        return ' '.join(self.get(name, [])).split()


class System:
    def __init__(self, root):
        self.root = root
        self.units = root + '/usr/lib/systemd/system'
        self.log = []
        self.running = {}  # service -> process
        self.sockets = {}  # service -> [(socket, name)]
        self.started = []
        self.notified = {}
        self.poll = select.poll()
        self.by_fd = {}
        self.over = False
        for path in sorted(glob.glob(self.units + '/*.socket')):
            self.open(Unit(self.units, os.path.basename(path)))
        threading.Thread(target=self.watch, daemon=True).start()

    def open(self, unit):
        service = unit.name[:-len('.socket')]
        name = service + ('@' if unit.one('Accept') == 'yes' else '')
        if Unit(self.units, name + '.service').one('StandardInput'):
            return  # its client is on standard input: see test_metrics
        made = self.sockets.setdefault(service, [])
        mode = int(unit.one('SocketMode', '0666'), 8)
        for path in unit.get('ListenSequentialPacket', []):
            s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            os.makedirs(os.path.dirname(path),
                        int(unit.one('DirectoryMode', '0755'), 8), True)
            s.bind(path)
            os.chmod(path, mode)
            made.append((s, unit.one('FileDescriptorName', unit.name)))
        for port in unit.get('ListenStream', []):
            s = socket.create_server(('127.0.0.1', int(port)))
            made.append((s, unit.one('FileDescriptorName', unit.name)))
        for s, _ in made:
            s.listen(128)
            self.by_fd[s.fileno()] = (s, service,
                                      unit.one('Accept', 'no') == 'yes')
            self.poll.register(s, select.POLLIN)

    def watch(self):
        while not self.over:
            for fd, _ in self.poll.poll(50):
                s, service, accept = self.by_fd[fd]
                if accept:
                    client, _ = s.accept()
                    self.start(service + '@', [(client, 'connection')])
                    client.close()
                elif service not in self.running:
                    self.start(service)
            for service, p in list(self.running.items()):
                if p.poll() is not None:
                    self.running.pop(service)
                    self.log.append('%s ended with %d\n' %
                                    (service, p.returncode))

    # ------------------------------------------------------------ a service
    def environment(self, unit, directory):
        env = {'PATH': '/usr/sbin:/usr/bin:/sbin:/bin', 'TZ': 'UTC',
               'SURAT_SECCOMP': 'kill'}
        for name in ('ASAN_OPTIONS', 'UBSAN_OPTIONS'):
            if name in os.environ:
                env[name] = os.environ[name]
        for word in unit.words('Environment'):
            name, value = word.split('=', 1)
            env[name] = value.replace('%d', directory)
        return env

    def credentials(self, unit, uid):
        directory = '/run/credentials/%s.%d' % (unit.name, len(self.started))
        os.makedirs(directory, 0o755)
        for entry in unit.get('LoadCredential', []):
            name, path = entry.split(':')
            shutil.copy(path, directory + '/' + name)
            os.chown(directory + '/' + name, uid, -1)
            os.chmod(directory + '/' + name, 0o400)
        return directory

    def command(self, unit, user):
        caps = [c[len('CAP_'):].lower()
                for c in unit.words('CapabilityBoundingSet')]
        ambient = [c[len('CAP_'):].lower()
                   for c in unit.words('AmbientCapabilities')]
        c = ['unshare', '-n'] if unit.one('PrivateNetwork') == 'yes' else []
        c += ['setpriv', '--no-new-privs',
              '--bounding-set=' + ','.join(['-all'] +
                                           ['+' + x for x in caps])]
        if user:
            c += ['--reuid', user, '--regid', user, '--clear-groups']
            raised = ','.join(['-all'] + ['+' + x for x in ambient])
            c += ['--inh-caps=' + raised, '--ambient-caps=' + raised]
        words = unit.one('ExecStart').split()
        return c + [self.root + words[0]] + words[1:]

    def start(self, service, fds=None):
        unit = Unit(self.units, service + '.service')
        for name in unit.words('Wants'):
            if name.endswith('.service') and \
                    name[:-len('.service')] not in self.running:
                self.start(name[:-len('.service')])
        user = unit.one('User')
        uid = int(subprocess.run(['id', '-u', user], capture_output=True,
                                 text=True).stdout) if user else 0
        directory = self.credentials(unit, uid)
        env = self.environment(unit, directory)
        env['CREDENTIALS_DIRECTORY'] = directory
        for name in unit.words('StateDirectory'):
            os.makedirs('/var/lib/' + name, 0o700, True)
            os.chown('/var/lib/' + name, uid, uid)
        notify = '/run/notify.%d' % len(self.started)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        listener.bind(notify)
        os.chmod(notify, 0o666)
        env['NOTIFY_SOCKET'] = notify
        fds = fds or self.sockets.get(service, [])
        process = self.spawn(self.command(unit, user), env, fds)
        self.started.append(service)
        if not service.endswith('@'):
            self.running[service] = process
        listener.settimeout(20)
        try:
            self.notified[service] = listener.recv(200).decode()
        except socket.timeout:
            self.notified[service] = 'nothing'
        threading.Thread(target=self.collect, args=(process,),
                         daemon=True).start()

    @staticmethod
    def place(numbers):
        """In the child: at 3, 4, ..., by way of numbers out of the way."""
        high = [os.dup2(n, 200 + i) for i, n in enumerate(numbers)]
        for i, n in enumerate(high):
            os.dup2(n, 3 + i, inheritable=True)
        os.closerange(3 + len(numbers), 300)
        os.environ['LISTEN_PID'] = str(os.getpid())

    def run(self, service):
        """A Type=oneshot, to its end; False when a step failed."""
        unit = Unit(self.units, service + '.service')
        uid = int(subprocess.run(['id', '-u', unit.one('User')],
                                 capture_output=True, text=True).stdout)
        directory = self.credentials(unit, uid)
        env = self.environment(unit, directory)
        env['CREDENTIALS_DIRECTORY'] = directory
        try:
            return self.steps(unit, env)
        finally:
            shutil.rmtree(directory)

    def steps(self, unit, env):
        for line in list(unit['ExecStart']):
            again = re.match(r'\+systemctl try-restart (\S+)\.service$', line)
            if again:
                self.restart(again[1])
            # Nothing gives up here.
            if again or re.match(r'-?\+systemctl (start|reset-failed) ', line):
                continue
            unit['ExecStart'] = [line]
            done = subprocess.run(self.command(unit, unit.one('User')),
                                  env=env, capture_output=True, text=True)
            self.log.append(done.stderr)
            if done.returncode:
                return False
        return True

    def restart(self, service):
        """Its socket starts it again when it is asked for."""
        process = self.running.get(service)
        if process:
            os.kill(process.pid, signal.SIGTERM)
            while service in self.running:
                time.sleep(0.02)

    def spawn(self, command, env, fds):
        env['LISTEN_FDS'] = str(len(fds))
        env['LISTEN_FDNAMES'] = ':'.join(name for _, name in fds)
        numbers = [s.fileno() for s, _ in fds]
        # The pid is the program's own only at the last step.
        last = ['sh', '-c', 'export LISTEN_PID=$$; exec "$@"', 'sh'] + command
        out, into = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.dup2(into, 2)
                os.dup2(os.open('/dev/null', os.O_RDWR), 0)
                os.dup2(0, 1)
                os.umask(0o077)
                self.place(numbers)
                os.execvpe('sh', last, env)
            finally:
                os._exit(127)
        os.close(into)
        return Process(pid, os.fdopen(out, errors='replace'))

    def collect(self, process):
        for line in process.stderr:
            self.log.append(line)

    def signal(self, service, number):
        os.kill(self.running[service].pid, number)

    def stop(self):
        self.over = True
        time.sleep(0.1)
        for p in self.running.values():
            if p.poll() is None:
                os.kill(p.pid, signal.SIGTERM)
        end = time.time() + 10
        while time.time() < end and \
                any(p.poll() is None for p in self.running.values()):
            time.sleep(0.05)
        for p in self.running.values():
            if p.poll() is None:
                os.kill(p.pid, signal.SIGKILL)


class Process:
    def __init__(self, pid, stderr):
        self.pid, self.stderr, self.returncode = pid, stderr, None

    def poll(self):
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode
