# SPDX-License-Identifier: ISC
"""Talking to one program of the suite as its peer would: starting it with
inherited descriptors, and messages in their wire form (common/sys/ipc.h)."""
import os
import re
import socket
import subprocess
import tempfile


HERE = os.path.dirname(os.path.abspath(__file__))
HEADER = os.path.join(HERE, '..', '..', 'common', 'ask', 'messages.h')
KINDS = {'NUM': 'N', 'TEXT': 'T', 'LIST': 'L', 'BYTES': 'B', 'SECRET': 'B',
         'STATUS': 'S'}


def definitions(path=HEADER):
    """name -> 'field:kind ...' (N number, T text, L list, B octets, S
    status), from the one place that defines them."""
    text = open(path).read().replace('\\\n', ' ')
    found = {}
    for name, fields in re.findall(r'^#define FIELDS_(\w+)\(F\)(.*)$', text,
                                   re.M):
        found[name] = ' '.join(
            '%s:%s' % (field, KINDS[kind]) for kind, field in
            re.findall(r'F\((\w+), (\w+)\)', fields))
    return found


MESSAGES = definitions()
SPILLED = b'\x01spilled'


def octets(value):
    return value if isinstance(value, bytes) else str(value).encode('utf-8', 'surrogateescape')


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
            found[name] = [cut().decode('utf-8', 'surrogateescape') for _ in range(int(cut()))]
        elif k == 'B':
            n = int(cut())
            found[name], data = data[:n], data[n + 1:]
        else:
            found[name] = cut().decode('utf-8', 'surrogateescape')
            if k == 'N':
                found[name] = int(found[name])
    return kind, found


class Program:
    """One program with named descriptors, as suratd would start it."""

    def __init__(self, path, config, fds, log=None, arguments=()):
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
            ['bash', '-c', script, 'bash', path, *arguments, '--config',
             self.conf.name],
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


def receive(s):
    """(kind, fields, descriptor or None); None at the end."""
    data, fds, _, _ = socket.recv_fds(s, 1 << 20, 4)
    if not data and not fds:
        return None
    if data == SPILLED:
        with os.fdopen(fds.pop(0), 'rb') as f:
            f.seek(0)
            data = f.read()
    kind, fields = decode(data)
    return kind, fields, fds[0] if fds else None


def send(s, kind, fd=None, **fields):
    socket.send_fds(s, [encode(kind, **fields)], [] if fd is None else [fd])
