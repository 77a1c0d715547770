#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""What a program that has been taken over can do: in each program of a suite
that runs as root, as it waits for its next client, system calls are made that
an intruder would make.  Who may do what is the table below; everything else is
refused, and who is not named in a row is refused.  See doc/security.md."""
import errno
import os
import socket
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
from house import BUILD, done, message, ok, same, skip, until
from inject import AT_FDCWD, Inside, works
from load import login
from mx import Server
from root import IDS, RootHouse, need_root

# Programs: what each is called here.
NET = {'smtpd', 'imapd', 'pop3d'}  # before a login
ASK = NET | {'tls', 'auth', 'queue', 'resolve', 'deliver-remote'}
MAIL = {'imap-alice', 'imap-carol', 'pop3-bob', 'deliver-virtual',
        'deliver-carol'}
ONLINE = {'resolve', 'deliver-remote'}
# The one that reads mail; its runner is what the commands are.
PIPE = {'pipe-carol'}
ALL = ASK | MAIL | PIPE | {'keys'}
NOBODY = set()
REFUSALS = {errno.EPERM, errno.EACCES, errno.ENOENT, errno.ENOSYS,
            errno.ENOTDIR, errno.ECONNREFUSED, errno.EXDEV}

RD, WR = os.O_RDONLY, os.O_WRONLY | os.O_CREAT
# The kernel looks at these only after its list of calls has let them pass.
WRONG_CALLS = 'setuid setgid setresuid'


def unix(path):
    return struct.pack('H', socket.AF_UNIX) + path.encode() + b'\0'


def inet(port, address='127.0.0.1'):
    return struct.pack('!2sH4s8x', struct.pack('H', socket.AF_INET), port,
                       socket.inet_aton(address))


# ----------------------------------------------------------------- attempts
def opens(path, flags=RD):
    return lambda p: closing(p, p.call('openat', AT_FDCWD, path.encode(),
                                       flags, 0o600))


def closing(p, fd):
    if fd >= 0:
        p.call('close', fd)
    return fd


def calls(name, *arguments):
    return lambda p: p.call(name, *arguments)


def makes(name, *arguments):
    return lambda p: closing(p, p.call(name, *arguments))


def with_socket(family, kind, name, address):
    def attempt(p):
        fd = p.call('socket', family, kind, 0)
        if fd < 0:
            return fd
        got = p.call(name, fd, address, len(address))
        p.call('close', fd)
        return got
    return attempt


def runs_memory(p):
    """A program that was never a file."""
    fd = p.call('memfd_create', b'x', 0)
    if fd < 0:
        return fd
    got = p.call('execveat', fd, b'', 0, 0, 0x1000)
    p.call('close', fd)
    return got


def turns_executable(p):
    at = p.call('mmap', 0, 4096, 3, 0x22, -1, 0)
    return at if -4096 < at < 0 else p.call('mprotect', at, 4096, 5)


def files(h):
    """Name, attempt, who may."""
    shared = h.path('mail')
    mine = h.wait_mail('alice', 1)[0]
    other = h.wait_mail('bob', 1)[0]
    carols = h.wait_mail('carol', 1)[0]
    # A virtual session's root directory is its user's.
    inside = mine[len(shared + '/alice'):]
    virtual = {'deliver-virtual'}
    return [
        ('read /etc/shadow', opens('/etc/shadow'), NOBODY),
        ('read /etc/passwd', opens('/etc/passwd'), NOBODY),
        ('read the table of users', opens(h.path('etc/users')), {'auth'}),
        ('change the table of users', opens(h.path('etc/users'),
                                            os.O_RDWR), NOBODY),
        ('read the configuration', opens(h.path('surat.conf')), NOBODY),
        ('read the private key', opens(h.path('private/key.pem')), NOBODY),
        ('read the queue', opens(h.path('state/queue/queue.db')), {'queue'}),
        ('write into the queue', opens(h.path('state/queue/x'), WR),
         {'queue'}),
        ('list the queue\'s directory', opens(h.path('state/queue'),
                                              os.O_DIRECTORY), {'queue'}),
        ('read alice\'s mail', opens(mine), virtual),
        ('read one\'s own mail in one\'s own root', opens(inside),
         {'imap-alice'}),
        ('read bob\'s mail', opens(other), virtual),
        ('read carol\'s mail', opens(carols), {'imap-carol',
                                               'deliver-carol'}),
        ('read what else carol has', opens(h.path('home/carol/secret')),
         NOBODY),
        ('read where carol\'s mail goes',
         opens(h.path('home/carol/.forward')), {'deliver-carol'}),
        ('write beside carol\'s mail', opens(h.path('home/carol/x'), WR),
         NOBODY),
        ('put a file into bob\'s Maildir',
         opens(h.maildir('bob') + '/new/x', WR), virtual),
        ('follow a link out of a Maildir to carol\'s home',
         opens(h.maildir('carol') + '/escape'), NOBODY),
        ('follow a link out of a virtual user\'s Maildir',
         opens('/Maildir/escape'), NOBODY),
        ('climb out by ..', opens('../../../../../../etc/hostname'), NOBODY),
        ('write to /tmp', opens('/tmp/surat-probe', WR), NOBODY),
        ('write to the root directory', opens('/surat-probe', WR), NOBODY),
        ('make a directory in the root directory',
         calls('mkdir', b'/surat-probe.d', 0o700), NOBODY),
        ('remove the table of users',
         calls('unlink', h.path('etc/users').encode()), NOBODY),
        ('rename the queue away',
         calls('rename', h.path('state/queue').encode(),
               h.path('state/gone').encode()), NOBODY),
        ('make a symbolic link', calls('symlink', b'/etc/shadow', b'/x'),
         NOBODY),
        ('make a device', calls('mknod', b'/surat-probe.n', 0o020600, 0x103),
         NOBODY),
        ('make a file set-uid', calls(
            'chmod', (h.maildir('carol') + '/x').encode(), 0o4755), NOBODY),
        ('read another\'s memory', opens('/proc/1/mem'), NOBODY),
        ('read another\'s environment', opens('/proc/1/environ'), NOBODY),
    ]


def sockets(h):
    run = h.path('run')
    stream, packet = socket.SOCK_STREAM, 5
    to = lambda path: with_socket(socket.AF_UNIX, packet, 'connect',
                                  unix(path))
    return [
        ('a Unix socket', makes('socket', socket.AF_UNIX, stream, 0),
         ALL - {'keys'} - PIPE),
        ('an IPv4 socket', makes('socket', socket.AF_INET, stream, 0),
         ONLINE),
        ('an IPv6 socket', makes('socket', socket.AF_INET6, 2, 0), ONLINE),
        ('a netlink socket', makes('socket', 16, 3, 0), NOBODY),
        ('a packet socket', makes('socket', 17, 3, 0), NOBODY),
        ('a raw socket', makes('socket', socket.AF_INET, 3, 1), NOBODY),
        ('a vsock', makes('socket', 40, stream, 0), NOBODY),
        ('an AF_ALG socket', makes('socket', 38, 5, 0), NOBODY),
        ('ask master as the operator', to(run + '/surat/master'), NOBODY),
        ('ask the queue as the operator', to(run + '/surat/queue'), NOBODY),
        ('ask master for a session, as auth', to(run + '/auth/master'),
         {'auth'}),
        ('ask master for an agent, as the queue', to(run + '/queue/master'),
         {'queue'}),
        ('ask keys, as tls', to(run + '/tls/keys'), NOBODY),
        ('bring imapd a client, as tls', to(run + '/tls/imapd'), NOBODY),
        ('bring imapd a client from one\'s own directory',
         to('/imapd'), {'tls'}),
        ('ask keys from one\'s own directory', to('/keys'), {'tls'}),
        ('ask auth from one\'s own directory', to('/auth'), NET),
        ('ask queue from one\'s own directory', to('/queue'), {'smtpd'}),
        ('ask tls from one\'s own directory', to('/tls'),
         NET | {'deliver-remote'}),
        ('ask resolve from one\'s own directory', to('/resolve'),
         {'smtpd', 'deliver-remote'}),
        ('reach a foreign abstract socket', to('\0surat-probe'), NOBODY),
        ('connect to a port of this host', with_socket(
            socket.AF_INET, stream, 'connect', inet(h.port('lmtp'))), NOBODY),
        ('connect to the port mail is sent to', with_socket(
            socket.AF_INET, stream, 'connect', inet(h.mx.port)),
         {'deliver-remote'}),
        ('listen on a port', with_socket(socket.AF_INET, stream, 'bind',
                                         inet(h.mx.port + 1)), NOBODY),
    ]


def kernel(h):
    parent = h.process.pid
    master = [p for p, n in h.children().items() if n == 'queue'][0]
    uid = IDS['_suratq']
    io = struct.pack('QQ', 0, 0)
    return [
        ('signal suratd', calls('kill', parent, 0), NOBODY),
        ('signal the queue', calls('kill', master, 0), NOBODY),
        ('signal everybody', calls('kill', -1, 0), NOBODY),
        ('trace the queue', calls('ptrace', 16, master, 0, 0), NOBODY),
        ('read the queue\'s memory', calls('process_vm_readv', master, io, 1,
                                           io, 1, 0), NOBODY),
        ('write the queue\'s memory', calls('process_vm_writev', master, io,
                                            1, io, 1, 0), NOBODY),
        ('a handle of the queue', makes('pidfd_open', master, 0), NOBODY),
        ('take the queue\'s descriptors', calls('pidfd_getfd', 3, 0, 0),
         NOBODY),
        ('fork', calls('fork'), NOBODY),
        ('vfork', calls('vfork'), NOBODY),
        ('clone a process', calls('clone', 17, 0, 0, 0, 0), NOBODY),
        ('clone3', calls('clone3', b'\0' * 64, 64), NOBODY),
        ('execute a shell', calls('execve', b'/bin/sh', 0, 0), NOBODY),
        ('execute memory', runs_memory, NOBODY),
        ('memory to execute', calls('mmap', 0, 4096, 7, 0x22, -1, 0), NOBODY),
        ('make memory executable', turns_executable, NOBODY),
        ('become root', calls('setuid', 0), NOBODY),
        ('become root\'s group', calls('setgid', 0), NOBODY),
        ('become the queue', calls('setresuid', uid, uid, uid), NOBODY),
        ('other groups', calls('setgroups', 0, 0), NOBODY),
        ('take capabilities', calls(
            'capset', struct.pack('II', 0x20080522, 0),
            struct.pack('6I', 1 << 21, 1 << 21, 0, 0, 0, 0)), NOBODY),
        ('another root directory', calls('chroot', b'/'), NOBODY),
        ('new namespaces', calls('unshare', 0x10000000), NOBODY),
        ('enter namespaces', calls('setns', 0, 0), NOBODY),
        ('mount', calls('mount', b'none', b'/', b'tmpfs', 0, 0), NOBODY),
        ('the new mounting', makes('fsopen', b'tmpfs', 0), NOBODY),
        ('pivot the root', calls('pivot_root', b'/', b'/'), NOBODY),
        ('files by handle', calls('open_by_handle_at', AT_FDCWD, b'\0' * 16,
                                  0), NOBODY),
        ('io_uring', makes('io_uring_setup', 1, b'\0' * 120), NOBODY),
        ('bpf', makes('bpf', 0, b'\0' * 72, 72), NOBODY),
        ('perf', makes('perf_event_open', b'\0' * 112, 0, -1, -1, 0), NOBODY),
        ('userfaultfd', makes('userfaultfd', 0), NOBODY),
        ('secret memory', makes('memfd_secret', 0), NOBODY),
        ('keys of the kernel', calls('keyctl', 0, -3, 1), NOBODY),
        ('a key for the kernel', calls('add_key', b'user', b'x', b'x', 1,
                                       -3), NOBODY),
        ('a module', calls('init_module', b'', 0, b''), NOBODY),
        ('a new kernel', calls('kexec_load', 0, 0, 0, 0), NOBODY),
        ('the kernel\'s log', calls('syslog', 10, 0, 0), NOBODY),
        ('ports of the machine', calls('iopl', 3), NOBODY),
        ('segments', calls('modify_ldt', 0, b'\0' * 16, 16), NOBODY),
        ('set the clock', calls('settimeofday', b'\0' * 16, 0), NOBODY),
        ('reboot', calls('reboot', 0xfee1dead, 672274793, 0, 0), NOBODY),
        ('swap', calls('swapon', b'/x', 0), NOBODY),
        ('quotas', calls('quotactl', 0, 0, 0, 0), NOBODY),
        ('accounting', calls('acct', 0), NOBODY),
        ('another personality', calls('personality', 0x0040000), NOBODY),
        ('be dumped and traced again', calls('prctl', 4, 1, 0, 0, 0), NOBODY),
        ('raise a limit', calls('prlimit64', 0, 7, struct.pack(
            'QQ', 1 << 20, 1 << 20), 0), NOBODY),
        ('extended attributes', calls('setxattr', b'/', b'user.x', b'x', 1,
                                      0), NOBODY),
    ]


def look(what):
    """What came of it: allowed, refused, or the name of another error."""
    if what >= 0 or what < -4095:
        return 'allowed'
    return 'refused' if -what in REFUSALS else errno.errorcode.get(
        -what, str(what))


def matrix(h, programs):
    rows = files(h) + sockets(h) + kernel(h)
    cells = {}
    for name, pid in programs.items():
        with Inside(pid) as p:
            for what, attempt, _ in rows:
                cells[name, what] = look(attempt(p))
    ok(len(rows) >= 40, '%d things are tried in %d programs' % (
        len(rows), len(programs)))
    for what, _, who in rows:
        got = {n: cells[n, what] for n in programs}
        same(got, {n: 'allowed' if n in who else 'refused'
                   for n in programs}, what)


def prepare(h):
    with open(h.path('home/carol/secret'), 'w') as f:
        f.write('x')
    os.chown(h.path('home/carol/secret'), 64200, 64200)
    with open(h.path('home/carol/.forward'), 'w') as f:
        f.write('\\carol, "|cat > /dev/null"\n')
    os.chown(h.path('home/carol/.forward'), 64200, 64200)
    os.chmod(h.path('home/carol/.forward'), 0o644)
    h.send([p + '@example.test' for p in ('alice', 'bob', 'carol')],
           message('for probes'))
    with h.smtp('submission', 'carol', tls=True) as s:
        s.sendmail('carol@example.test', ['you@example.net'], message('out'))
    for user in ('alice', 'carol', 'bob'):
        h.wait_mail(user, 1, 20)
        os.symlink(h.path('home/carol/secret'), h.maildir(user) + '/escape')
    until(lambda: h.grep(' piped '), 20)
    until(lambda: [m for s in list(h.mx.sessions) for m in s.messages], 20)


def owner(pid):
    return os.stat('/proc/%d/task' % pid).st_uid


def only(h, program, *conditions):
    found = [p for p, n in h.children().items() if n == program and
             all(c(p) for c in conditions)]
    return found[0] if ok(found, 'there is a ' + program) else None


def find(h):
    """Each program at its serving point."""
    below = lambda p: open('/proc/%d/stat' % p).read().rsplit(
        ')', 1)[1].split()[1] == str(h.process.pid)
    programs = {n: only(h, n, below) for n in
                'keys tls auth queue resolve smtpd imapd pop3d '
                'deliver-remote'.split()}
    session = lambda p: b'--session' in open('/proc/%d/cmdline' % p,
                                             'rb').read()
    virtual = lambda p: owner(p) == IDS['_suratmail']
    carol = lambda p: owner(p) == 64200
    confined = lambda p: 'Seccomp:\t2' in open('/proc/%d/status' % p).read()
    for name, program, conditions in (
            ('imap-alice', 'imapd', (session, virtual)),
            ('imap-carol', 'imapd', (session, carol)),
            ('pop3-bob', 'pop3d', (session, virtual)),
            ('deliver-virtual', 'deliver-local', (virtual,)),
            ('deliver-carol', 'deliver-local', (carol,)),
            ('pipe-carol', 'deliver-pipe', (carol, confined))):
        programs[name] = only(h, program, *conditions)
    return {n: p for n, p in programs.items() if p}


def pop3(h):
    import poplib
    c = poplib.POP3_SSL('127.0.0.1', h.port('pop3s'), timeout=30)
    c.user('bob')
    c.pass_('hunter2')
    return c


need_root('code in every confined program')
if not works() or 'san' in os.path.basename(BUILD):
    skip('code in every confined program',
         'needs x86-64 and a build without sanitizers')
    done()
abstract = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
abstract.bind('\0surat-probe')
abstract.listen()
h = RootHouse()
h.more = 'remote { smarthost = "127.0.0.1:%d" allow_loopback = yes idle = ' \
    '"60s" }\n' % (h.port('smtp') + 1)
h.write_conf()
# Refused calls are to return, not to end the program.
h.env.pop('SURAT_SECCOMP', None)
h.mx = Server('127.0.0.1', h.port('smtp') + 1)
with h:
    prepare(h)
    held = [login(h, 'alice'), login(h, 'carol'), pop3(h)]
    programs = find(h)
    matrix(h, programs)
    same({n: p for n, p in programs.items()
          if not os.path.exists('/proc/%d' % p)}, {}, 'nobody died of it')
    h.send(['alice@example.test'], message('afterwards'))
    ok(len(h.wait_mail('alice', 2, 20)) == 2, 'and mail goes on')
done()
