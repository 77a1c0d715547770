# SPDX-License-Identifier: ISC
"""IMAP and POP3 clients that only count: big reads, no parsing beyond the end
of an answer, so that what is measured is the server."""
import socket
import ssl
import time

_context = None


def tls_context():
    """One for all connections, no certificate checks, no resumption."""
    global _context
    if _context is None:
        _context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        _context.check_hostname = False
        _context.verify_mode = ssl.CERT_NONE
    return _context


class Client:
    READ = 1 << 18

    def __init__(self, port, tls=False):
        self.s = socket.create_connection(('127.0.0.1', port), 300)
        self.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self.s = tls_context().wrap_socket(self.s)
        self.octets = 0

    def receive(self):
        block = self.s.recv(self.READ)
        if not block:
            raise EOFError('the server closed the connection')
        self.octets += len(block)
        return block

    def close(self):
        self.s.close()


class Imap(Client):
    def __init__(self, port, user=None, password='pw', tls=False):
        super().__init__(port, tls)
        self.number = 0
        self._line()
        if user:
            self.command('LOGIN %s %s' % (user, password))

    def _line(self):
        data = b''
        while not data.endswith(b'\r\n'):
            data += self.receive()
        return data

    def command(self, line, keep=False):
        """Sends one and reads to its tagged answer, which must be OK; with
        keep returns all that came."""
        self.number += 1
        tag = b'zq%06d' % self.number
        self.octets, start = 0, time.perf_counter()
        text = line if isinstance(line, bytes) else line.encode()
        self.s.sendall(tag + b' ' + text + b'\r\n')
        tail, kept = b'', []
        while True:
            block = self.receive()
            if keep:
                kept.append(block)
            tail = (tail + block)[-8192:]
            if not tail.endswith(b'\r\n'):
                continue
            last = tail[tail.rfind(b'\r\n', 0, -2) + 2:] \
                if b'\r\n' in tail[:-2] else tail
            if last.startswith(tag + b' '):
                break
        self.seconds = time.perf_counter() - start
        if not last.startswith(tag + b' OK'):
            raise RuntimeError('%r: %r' % (text[:80], last[:200]))
        return b''.join(kept)

    def append(self, box, message):
        self.command(b'APPEND %s {%d+}\r\n%s' % (
            box.encode(), len(message), message))


class Pop3(Client):
    def __init__(self, port, user, password='pw', tls=False):
        super().__init__(port, tls)
        self.rest = b''
        self._answer()
        self.one('USER ' + user)
        self.one('PASS ' + password)

    def _answer(self):
        while b'\r\n' not in self.rest:
            self.rest += self.receive()
        line, self.rest = self.rest.split(b'\r\n', 1)
        if not line.startswith(b'+OK'):
            raise RuntimeError('%r' % line)
        return line

    def one(self, line):
        self.s.sendall(line.encode() + b'\r\n')
        return self._answer()

    def many(self, lines):
        """Sends them together and reads as many answers of several lines."""
        self.s.sendall(b''.join(l.encode() + b'\r\n' for l in lines))
        ends, tail = len(lines), b''
        while ends > 0:
            block = tail + self.receive()
            ends -= block.count(b'\r\n.\r\n')
            tail = block[-4:]
