#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""What a client that has not logged in may cost in memory: streams without
end, each for a few seconds."""
import os
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
from house import BUILD, House, done, message, ok, same, skip

MOST = 8 << 20
SECONDS = 3
BEGIN = b'EHLO x.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<alice@example.test>' \
    b'\r\n'

STREAMS = [
    ('a line without an end', b'', b'x' * 65536),
    ('a line of blanks', b'', b' ' * 65536),
    ('NUL', b'', b'\0' * 65536),
    ('line ends', b'', b'\r\n' * 32768),
    ('empty commands', b'', b'NOOP\r\n' * 8192),
    ('greetings', b'', b'EHLO ' + b'x' * 200 + b'\r\n'),
    ('senders', b'EHLO x.test\r\n',
     b'MAIL FROM:<' + b'a' * 60 + b'@b.test> ENVID=' + b'x' * 90 +
     b'\r\nRSET\r\n'),
    ('recipients', BEGIN, b''.join(
        b'RCPT TO:<alice+%d@example.test> ORCPT=rfc822;%s\r\n' %
        (i, b'x' * 400) for i in range(500))),
    ('a header field without an end', BEGIN + b'DATA\r\nX: ', b'x' * 65536),
    ('header fields', BEGIN + b'DATA\r\n', b'X-Y: z\r\n' * 8192),
    ('a header line folded for ever', BEGIN + b'DATA\r\nX: y\r\n',
     b' z\r\n' * 16384),
    ('a body', BEGIN + b'DATA\r\nX: y\r\n\r\n', b'x' * 998 + b'\r\n'),
    ('dots', BEGIN + b'DATA\r\nX: y\r\n\r\n', b'..\r\n' * 8192),
    ('tiny chunks', BEGIN, b'BDAT 1\r\nx' * 4096),
    ('empty chunks', BEGIN, b'BDAT 0\r\n' * 8192),
    ('a chunk without an end', BEGIN + b'BDAT 60000000\r\n', b'x' * 65536),
    ('chunks nobody wants', b'', b'BDAT 60000\r\n' + b'x' * 60000),
]


def private(pid):
    """Octets of memory that are this process's own."""
    total = 0
    try:
        for line in open('/proc/%d/smaps_rollup' % pid):
            if line.startswith('Private_'):
                total += int(line.split()[1]) * 1024
    except OSError:
        pass
    return total


def stream(h, begin, piece):
    """The most memory any smtpd had, and the octets sent."""
    most = sent = 0
    s = socket.create_connection(('127.0.0.1', h.port('smtp')))
    s.setblocking(False)
    pids = h.pids('smtpd')
    data = begin
    end = time.time() + SECONDS
    closed = False
    while time.time() < end and not closed:
        for _ in range(200):
            try:
                n = s.send(data[:65536])
                data = data[n:] or piece
                sent += n
            except BlockingIOError:
                try:
                    closed = s.recv(65536) == b''
                except BlockingIOError:
                    time.sleep(0.001)
                except OSError:
                    closed = True
            except OSError:
                closed = True
            if closed:
                break
        most = max([most] + [private(p) for p in pids])
    s.close()
    return most, sent


def main():
    if 'san' in BUILD:
        skip('memory of a stranger', 'sanitizers have a use for it')
        done()
    with House(without=('imapd', 'pop3d', 'deliver-remote'),
               sets=['smtp.max_errors=1000', 'smtp.max_size=50m']) as h:
        for what, begin, piece in STREAMS:
            most, sent = stream(h, begin, piece)
            ok(most < MOST, '%s: %d KiB for %d KiB' % (
                what, most >> 10, sent >> 10))
        same(h.send(['alice@example.test'], message('after')), {},
             'and afterwards mail is taken')
    done()


main()
