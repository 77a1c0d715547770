# SPDX-License-Identifier: ISC
"""Talking to one program of the suite as its peer would: starting it with
inherited descriptors, and messages in their wire form (common/sys/ipc.h)."""
import os
import socket
import subprocess
import tempfile

# Kinds of fields, in order: N number, T text, L list, B octets, S status.
MESSAGES = {
    'dns_ask': 'name:T type:T',
    'dns_answer': 'rcode:T secure:N canonical:T ttl:N records:L',
    'tls_start': 'session:T role:T service:T name:T policy:T tlsa:L',
    'tls_ready': 'status:S version:T cipher:T verified:T name:T binding:B',
    'job': 'id:T sender:T arrival:N ret:T envid:T body_type:T utf8:N '
           'requiretls:N size:N destination:T verify:N number:L rcpt:L '
           'orcpt:L notify:L user:L home:L name:L content:B',
    'job_result': 'id:T number:L status:L remote:T scope:T detail:T',
}


def octets(value):
    return value if isinstance(value, bytes) else str(value).encode()


def encode(kind, **fields):
    out = [kind.encode(), b'\0']
    for field in MESSAGES[kind].split():
        name, k = field.split(':')
        value = fields.pop(name, [] if k == 'L' else 0 if k == 'N' else '')
        out += [name.encode(), b'=']
        if k == 'L':
            out += [b'\0'.join([b'%d' % len(value)] +
                               [octets(v) for v in value])]
        elif k == 'B':
            out += [b'%d\0' % len(octets(value)), octets(value)]
        else:
            out += [octets(value)]
        out += [b'\0']
    assert not fields, fields
    return b''.join(out)


def decode(data):
    """(kind, {field: value}); texts as str."""
    def cut():
        nonlocal data
        piece, data = data.split(b'\0', 1)
        return piece
    kind = cut().decode()
    found = {}
    for field in MESSAGES[kind].split():
        name, k = field.split(':')
        key, data = data.split(b'=', 1)
        assert key == name.encode(), key
        if k == 'L':
            found[name] = [cut().decode() for _ in range(int(cut()))]
        elif k == 'B':
            n = int(cut())
            found[name], data = data[:n], data[n + 1:]
        else:
            found[name] = cut().decode()
            if k == 'N':
                found[name] = int(found[name])
    return kind, found


class Program:
    """One program with named descriptors, as suratd would start it."""

    def __init__(self, path, config, fds, log=None):
        """fds: a list of (name, socket)."""
        self.conf = tempfile.NamedTemporaryFile('w', suffix='.conf')
        self.conf.write(config)
        self.conf.flush()
        high = [os.dup(s.fileno()) for _, s in fds]
        env = dict(os.environ, LISTEN_PID='0', LISTEN_FDS=str(len(fds)),
                   LISTEN_FDNAMES=':'.join(n for n, _ in fds))
        # The shell moves them to 3, 4, ... from wherever they are.
        moves = ' '.join('%d<&%d' % (50 + i, fd)
                         for i, fd in enumerate(high))
        down = ' '.join('%d<&%d %d<&-' % (3 + i, 50 + i, 50 + i)
                        for i in range(len(high)))
        script = 'exec %s; exec %s; exec "$@"' % (moves, down)
        self.p = subprocess.Popen(
            ['bash', '-c', script, 'bash', path, '--config', self.conf.name],
            env=env, pass_fds=high, stdin=subprocess.DEVNULL, stderr=log)
        for fd in high:
            os.close(fd)

    def stop(self):
        self.p.kill()
        self.p.wait()
        self.conf.close()


def listen(path):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.path.exists(path):
        os.unlink(path)
    s.bind(path)
    s.listen(16)
    return s


def connect(path):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.settimeout(30)
    s.connect(path)
    return s
