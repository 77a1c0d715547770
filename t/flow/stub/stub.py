#!/usr/bin/python3 -IS
# SPDX-License-Identifier: ISC
"""Stands in for any program of the suite: its name says for which.

Does what suratd expects of that program and answers every client with one
line: name, pid, uid, root directory, names of its descriptors.  A file
NAME.die beside it makes the program exit at once.
"""
import os
import select
import socket
import sys

name = os.path.basename(sys.argv[0])
names = os.environ['LISTEN_FDNAMES'].split(':')
here = os.path.dirname(os.path.abspath(sys.argv[0]))
assert os.environ['LISTEN_PID'] == str(os.getpid())
assert int(os.environ['LISTEN_FDS']) == len(names)
fds = [(n, 3 + i) for i, n in enumerate(names)]
if os.path.exists(here + '/' + name + '.die'):
    sys.exit(3)
config = open('/proc/self/fd/%d' % dict(fds)['config']).read()
if '--check' in sys.argv:
    sys.exit(0)
master = socket.socket(fileno=dict(fds)['master'])
extra = set(int(f) for f in os.listdir('/proc/self/fd')) - \
    set(f for n, f in fds) - {0, 1, 2}
# listdir's own descriptor is the one that is gone by now
extra = [f for f in extra if os.path.exists('/proc/self/fd/%d' % f)]
if 'SURAT_ROOT' in os.environ:
    os.chroot(os.environ['SURAT_ROOT'])
    os.chdir('/')
sockets = '.'
try:
    sockets = ','.join(sorted(os.listdir('/')))[:60]
except OSError:
    pass
hello = '%s pid=%d ids=%d:%d groups=%s extra=%s names=%s root=%s\n' % (
    name, os.getpid(), os.getuid(), os.getgid(),
    ','.join(map(str, os.getgroups())), extra, ':'.join(names), sockets)


def wait_end(client):
    while True:
        ready, _, _ = select.select([client, master], [], [])
        if client in ready and not client.recv(100):
            return


def pool():
    streams = [socket.socket(fileno=f) for n, f in fds
               if n in 'smtp submission submissions lmtp imap imaps pop3 '
               'pop3s'.split()]
    master.send(b'-')
    while True:
        ready, _, _ = select.select(streams + [master], [], [])
        if master in ready:
            return
        try:
            client, _ = ready[0].accept()
        except BlockingIOError:
            continue
        master.send(b'+')
        client.sendall(hello.encode())
        while client.recv(100):
            pass
        client.close()
        master.send(b'-')


def session():
    message, got, _, _ = socket.recv_fds(master, 65536, 4)
    client = socket.socket(fileno=got[0])
    client.sendall(hello.encode() + message.replace(b'\0', b' ') + b'\n')
    while client.recv(100):
        pass


def agent():
    link = socket.socket(fileno=dict(fds)['queue'])
    link.send(hello.encode())
    while link.recv(65536):
        pass


def single():
    if name == 'queue':
        s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for line in config.splitlines():
            if 'runtime =' in line:
                s.connect(line.split('"')[1] + '/queue/master')
        s.send(b'service\0verb=recovered\0name=\0')
        s.recv(1000)
    master.send(b'-')
    master.recv(1)


for s in (socket.socket(fileno=os.dup(f)) for n, f in fds
          if n.startswith('ask.')):
    s.getsockname()
if 'queue' in names:
    agent()
elif '--session' in sys.argv:
    session()
elif name in ('smtpd', 'imapd', 'pop3d'):
    pool()
else:
    single()
