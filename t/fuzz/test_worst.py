#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""No input costs more than its length: each generator makes the worst it can
think of for one parser, and twice as much of it may take at most 2.2 times the
steps (steps.c; not the time, which is the machine's).

    test_worst.py [PATTERN]     the generators whose name has it, with figures
"""
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
from house import BUILD, done, ok, skip

STEPS = os.path.join(BUILD, 'steps', 't')
SIZES = [8192 << i for i in range(5)]  # octets, about
LINES = [500 << i for i in range(4)]  # of what takes no longer lines
OF_LINES = ('imap', 'smtp_path', 'smtp', 'smtp_reply')
FEW = 4000  # steps, below which the fixed cost is what one sees
MOST = 2.2

CRLF = b'\r\n'
HEAD = b'From: a@b.test\r\n'


def fill(piece, before=b'', after=b''):
    """As many of a piece as fit."""
    return lambda n: before + piece * (n // len(piece)) + after


def nest(opens, closes, inside=b''):
    """Half of it opens what the other half closes."""
    def make(n):
        depth = n // (len(opens) + len(closes))
        return opens * depth + inside + closes * depth
    return make


def lines(form, before=b'', end=CRLF):
    """Lines that all differ by their number."""
    def make(n):
        out, i = [before], 0
        size = len(before)
        while size < n:
            out.append(form % i + end)
            size += len(out[-1])
            i += 1
        return b''.join(out)
    return make


def body(inner, head=b''):
    return lambda n: HEAD + head + CRLF + inner(n)


def multipart(n):
    """Parts inside parts, each with a boundary that begins like all others."""
    out, i = [HEAD], 0
    size = 0
    while size < n:
        out.append(b'Content-Type: multipart/mixed; boundary="b%s"\r\n\r\n'
                   b'--b%s\r\n' % (b'x' * (i % 60), b'x' * (i % 60)))
        size += len(out[-1])
        i += 1
    return b''.join(out)


def boundaries(n):
    """Lines that are almost the boundary."""
    mark = b'x' * 69
    return (HEAD + b'Content-Type: multipart/mixed; boundary="' + mark +
            b'y"\r\n\r\n' + (b'--' + mark + CRLF) * (n // 73))


def messages(n):
    """message/rfc822 in message/rfc822."""
    piece = b'Content-Type: message/rfc822\r\n\r\n'
    return HEAD + piece * (n // len(piece)) + b'Subject: x\r\n\r\nx\r\n'


def qp(n):
    return (b'needle\n' + HEAD + b'Content-Type: text/plain\r\n'
            b'Content-Transfer-Encoding: quoted-printable\r\n\r\n' +
            b'=6E=65=65=64=6C=\r\n' * (n // 18))


def base64_lines(n):
    return (b'needle\n' + HEAD + b'Content-Type: text/plain\r\n'
            b'Content-Transfer-Encoding: base64\r\n\r\n' +
            b'bmVlZGw=\r\n' * (n // 10))


def aside(selector, make):
    """An octet first that says what the rest is."""
    return lambda n: bytes([selector]) + make(n)


GENERATORS = {
    # name: (fuzz entry, generator)
    'header: one line': ('header', fill(b'x', b'Subject: ')),
    'header: folded a thousand times': ('header', fill(
        b'\r\n ', b'Subject: x')),
    'header: only names': ('header', fill(b'a:\r\n')),
    'header: no colon': ('header', fill(b'a b\r\n')),
    'header: ids that do not end': ('header', fill(b'<', b'References: ')),
    'header: many ids': ('header', fill(b'<a@b>', b'References: ')),
    'header: nested comments': ('header', fill(b'(', b'References: ')),
    'address: nested comments': ('addresses', nest(b'(', b')')),
    'address: open comments': ('addresses', fill(b'(')),
    'address: open quotes': ('addresses', fill(b'"\\')),
    'address: commas': ('addresses', fill(b',')),
    'address: groups': ('addresses', fill(b'a:b;')),
    'address: routes': ('addresses', fill(b'@a,', b'<', b':x@y>')),
    'address: dots and spaces': ('addresses', fill(b'a . ')),
    'address: angles': ('addresses', fill(b'<')),
    'smtp: a long path': ('smtp_path', fill(b'@a,', b'<', b':x@y>')),
    'smtp: a quoted local part': ('smtp_path', fill(
        b'\\"', b'<"', b'"@y>')),
    'smtp: parameters': ('smtp', fill(b' A=B', b'MAIL FROM:<a@b>')),
    'smtp: dots': ('smtp_data', aside(60, aside(60, fill(b'.\r\n')))),
    'smtp: CRs': ('smtp_data', aside(0, aside(0, fill(b'\r')))),
    'smtp: LFs': ('smtp_data', aside(7, aside(7, fill(b'\n.\n')))),
    'smtp: a long reply': ('smtp_reply', fill(b'250-' + b'x' * 60 + CRLF)),
    'smtp: capabilities': ('capability', fill(
        b'AUTH PLAIN LOGIN\n', b'h\n')),
    'mime: parts in parts': ('mime', multipart),
    'mime: messages in messages': ('mime', messages),
    'mime: almost boundaries': ('mime', boundaries),
    'mime: empty parts': ('mime', fill(b'--b\r\n', HEAD +
        b'Content-Type: multipart/mixed; boundary=b\r\n\r\n')),
    'mime: parameters': ('mime', fill(b'; a=b', b'Content-Type: text/plain',
        b'\r\n\r\n')),
    'mime: continued parameters': ('mime', lines(b'; name*%d*=%%41',
        b'Content-Type: text/plain', b'')),
    'mime: comments': ('mime', nest(b'(', b')', b'x')),
    'mime: many lines': ('mime', body(fill(b'\r\n'))),
    'mime: a subject of prefixes': ('mime', fill(b'Re: ', b'Subject: ',
        b'\r\n\r\n')),
    'mime: a subject of blobs': ('mime', fill(b'[x] ', b'Subject: ',
        b'\r\n\r\n')),
    'mime: forwarded in forwarded': ('mime', lambda n: b'Subject: ' +
        nest(b'[fwd:', b']', b'x')(n) + b'\r\n\r\n'),
    'mime: trailers': ('mime', fill(b'(fwd) ', b'Subject: x ',
        b'\r\n\r\n')),
    'word: encoded words': ('word', fill(b'=?utf-8?q?a?= ')),
    'word: almost encoded': ('word', fill(b'=?utf-8?q?a')),
    'word: question marks': ('word', fill(b'=?')),
    'word: parameters': ('word', lines(b'; filename*%d="x"', b'x', b'')),
    'text: soft breaks': ('text', qp),
    'text: base64': ('text', base64_lines),
    'text: almost the needle': ('text', lambda n: b'a' * 50 + b'b\n' +
        HEAD + CRLF + b'a' * n),
    'charset: combining marks': ('charset', fill('\u0301'.encode(), b'a')),
    'charset: ligatures': ('charset', fill('\ufdfa'.encode())),
    'charset: broken UTF-8': ('charset', fill(b'\xe2\x82')),
    'convert: long lines': ('convert', body(fill(b'\xc3\xa4'),
        b'Content-Type: text/plain; charset=utf-8\r\n')),
    'convert: parts': ('convert', boundaries),
    'utf7: shifts': ('utf7', fill(b'&AAA-')),
    'utf7: open': ('utf7', fill(b'&')),
    'imap: parentheses': ('imap', fill(b'(', b'a SEARCH ', CRLF)),
    'imap: many keys': ('imap', fill(b'UNSEEN ', b'a SEARCH ', b'ALL\r\n')),
    'imap: pairs of keys': ('imap', fill(b'OR SEEN DRAFT ',
        b'a SEARCH ', b'ALL\r\n')),
    'imap: a set that falls': ('imap', lambda n: b'a FETCH ' + b','.join(
        b'%d' % i for i in range(n // 6, 0, -1)) + b' FLAGS\r\n'),
    'imap: a set of pairs': ('imap', lambda n: b'a FETCH ' + b','.join(
        b'%d:%d' % (i * 3, i * 3 + 1) for i in range(1, n // 12)) +
        b' FLAGS\r\n'),
    'imap: wildcards': ('imap', fill(b'*a', b'a LIST "" ', b'b\r\n')),
    'imap: percents': ('imap', fill(b'%', b'a LIST "" ', b'/b\r\n')),
    'imap: patterns': ('imap', fill(b'*a*b ', b'a LIST "" (', b'x)\r\n')),
    'imap: literals of nothing': ('imap', fill(b'{0+}\r\n ',
        b'a SEARCH SUBJECT ', CRLF)),
    'imap: many commands': ('imap', fill(b'a NOOP\r\n')),
    'imap: header fields': ('imap', fill(b'a-long-name ',
        b'a FETCH 1 BODY[HEADER.FIELDS (', b'x)]\r\n')),
    'imap: flags': ('imap', lambda n: b'a STORE 1 FLAGS (' + b' '.join(
        b'keyword%d' % i for i in range(n // 11)) + b')\r\n'),
    'pop3: many commands': ('pop3', fill(b'NOOP\r\n')),
    'control: keywords': ('control', lines(b'keyword %d w',
        b'surat-folder 1\nid F1\nuidvalidity 1\n', b'\n')),
    'tables: aliases of a name': ('tables', aside(0, lines(b'a%d: b'))),
    'tables: one alias of many': ('tables', aside(0, fill(
        b'b,', b'a: '))),
    'tables: users': ('tables', aside(1, lines(b'u%d:{PLAIN}x:::::'))),
    'tables: text': ('tables', aside(2, lines(b'k%d v'))),
    'tables: networks': ('tables', aside(3, lines(b'10.0.%d.0/24 x'))),
    'dns: a text of pieces': ('dns', aside(3, fill(b'\x01x'))),
    'dsn: a long original': ('dsn', lines(b'X-%d: y',
        b'a@b.test\n\n\nsaid\nmx.test\n')),
    'conf: a long list': ('conf', fill(b'"x", ', b'domains = {',
        b'"y"}\n')),
}


def measure(entry, path, data):
    with open(path, 'wb') as f:
        f.write(data)
    out = subprocess.run([STEPS + '/fuzz_' + entry, path],
                         capture_output=True, text=True, timeout=120)
    last = out.stdout.strip().splitlines()[-1:]
    if out.returncode != 0 or not last or not last[0].startswith('steps '):
        return None, (out.stdout + out.stderr)[-500:]
    return int(last[0].split()[1]), ''


def judge(name, entry, make, path, show):
    counts, why = [], ''
    sizes = LINES if entry in OF_LINES else SIZES
    for size in sizes:
        steps, why = measure(entry, path, make(size))
        if steps is None:
            ok(False, name, why)
            return
        counts.append(steps)
    ratios = [b / a for a, b in zip(counts, counts[1:]) if a > FEW]
    worst = max(ratios, default=0)
    # read at all, and not refused at its first octets
    read = counts[-1] > sizes[-1] // 4 and counts[-1] > 1.5 * counts[0]
    ok(worst <= MOST and read, name, 'steps %s, ratios %s' % (
        counts, ['%.2f' % r for r in ratios]))
    if show:
        print('# %s: %.2f, %d steps for each octet' % (
            name, worst, counts[-1] // sizes[-1]))


def main():
    pattern = sys.argv[1] if len(sys.argv) > 1 else ''
    if not os.path.isdir(STEPS):
        skip('worst cases', 'make FLAVOUR=steps fuzz-replay')
        done()
    with tempfile.TemporaryDirectory() as top:
        for name, (entry, make) in GENERATORS.items():
            if pattern in name:
                judge(name, entry, make, top + '/input', bool(pattern))
    done()


if __name__ == '__main__':
    main()
