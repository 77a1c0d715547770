#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""A session under COMPRESS=DEFLATE (RFC 4978): the same commands and answers,
and streams that expand to a thousand times their size, in bounded memory."""
import os
import shutil
import sys
import tempfile
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
from house import done, ok, same
from imap import Gone, Literal, Local


class Deflated:
    """A socket whose octets are compressed."""

    def __init__(self, sock):
        self.sock = sock
        self.out = zlib.compressobj(wbits=-15)
        self.into = zlib.decompressobj(wbits=-15)

    def sendall(self, octets):
        self.sock.sendall(self.out.compress(octets) +
                          self.out.flush(zlib.Z_SYNC_FLUSH))

    def recv(self, n):
        while True:
            data = self.sock.recv(n)
            if not data:
                return data
            plain = self.into.decompress(data)
            if plain:
                return plain

    def __getattr__(self, name):
        return getattr(self.sock, name)


def session(home):
    c = Local(home)
    r = c.command('COMPRESS DEFLATE')
    ok(r.ok, 'COMPRESS', r)
    c.sock = Deflated(c.sock)
    return c


def peak(c):
    with open('/proc/%d/status' % c.process.pid) as f:
        return [int(l.split()[1]) for l in f if l.startswith('VmHWM')][0]


def as_usual(home):
    c = session(home)
    same(c.command('COMPRESS DEFLATE').code, 'COMPRESSIONACTIVE', 'not twice')
    ok('COMPRESS=DEFLATE' not in c.command('CAPABILITY').lines[0][1],
       'nor offered any longer')
    text = b'Subject: x\r\n\r\n' + b'some words and some more\r\n' * 40000
    r = c.command('APPEND INBOX', Literal(text))
    ok(r.ok, 'a message of a megabyte comes in', r)
    ok(c.command('SELECT INBOX').ok, 'SELECT')
    r = c.fetch('1', 'BODY.PEEK[]')
    ok(text in [bytes(v) for v in r[0].values() if isinstance(v, bytes)],
       'and out again', repr(r)[:300])
    tags = [c.start('NOOP') for _ in range(50)]
    same([c.finish(t).result for t in tags], ['OK'] * 50, 'pipelined')
    tag = c.start('IDLE')
    c.line()
    c.send(b'DONE\r\n')
    ok(c.finish(tag).ok, 'IDLE and DONE')
    c.logout()


def bombs(home):
    """A hundred megabytes of nothing, in a hundred kilobytes."""
    c = session(home)
    before = peak(c)
    c.sock.sock.settimeout(60)
    piece = b'\0' * (1 << 20)
    try:
        for _ in range(96):
            c.sock.sendall(piece)
        c.send(b'\r\n')
        c.line()
        c.finish('none')
    except (Gone, OSError) as e:
        ok(True, 'a line without end ends the session')
    else:
        ok(False, 'a line without end ends the session')
    c.close()
    c = session(home)
    try:
        c.send(b'a APPEND INBOX {90000000+}\r\n')
        for _ in range(48):
            c.sock.sendall(piece)
            if peak(c) - before > 24 * 1024:
                break
        ok(peak(c) - before < 24 * 1024, 'a bomb is not expanded in memory',
           '%d KB' % (peak(c) - before))
    except (Gone, OSError, IndexError):
        ok(True, 'a bomb is not expanded in memory')
    c.close()


def nonsense(home):
    c = Local(home)
    ok(c.command('COMPRESS DEFLATE').ok, 'COMPRESS again')
    c.send(b'a NOOP in the clear\r\n')
    try:
        c.sock.settimeout(30)
        c.line()
        ok(False, 'what is not compressed ends the session')
    except Gone:
        ok(True, 'what is not compressed ends the session')
    c.close()
    c = Local(home)
    same(c.command('COMPRESS LZW').result, 'BAD', 'another algorithm')
    same(c.command('COMPRESS').result, 'BAD', 'none')
    ok(c.command('NOOP').ok, 'and the session goes on in the clear')
    c.logout()


def main():
    home = tempfile.mkdtemp(prefix='compress.')
    try:
        as_usual(home)
        nonsense(home)
        bombs(home)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    done()


main()
