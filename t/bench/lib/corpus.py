# SPDX-License-Identifier: ISC
"""A Maildir of varied mail from a seed: the same seed and count give the same
octets.  Half plain text, a third with an HTML twin, one in seven with an
attachment, some forwarded whole; base64 and 8bit; threads with references;
names and subjects beyond ASCII; 8 to 9 KB in the mean, the longest some 100.

    fill('/some/Maildir', 100000, seed=1, owner=(uid, gid))
"""
import base64
import os
import random
import time

WORDS = (
    'and the for that with this from have not are was but you all can had '
    'about after again before between because could every first found great '
    'house however large later little long many more most much never number '
    'often other people place right same should small sound still such their '
    'there these thing think three through time together under until water '
    'where which while without world would write year answer budget contract '
    'customer deadline delivery draft invoice meeting minutes office order '
    'patch project quarter queue release report review schedule server '
    'summary ticket transfer update version kettle garden harvest ladder '
    'morning orchard pepper river saddle timber window Grüße café naïve '
    'Überweisung résumé 会議 привет').split()
GIVEN = 'Ada Bela Chen Dewi Emil Fatma Gita Hugo Ines Jonas Kaja Luis'.split()
FAMILY = ('Adler Bakker Castro Dvořák Eriksen Fischer Gunawan Horváth Ito '
          'Jansen Kowal Müller').split()
HOSTS = 'mail.example corp.example uni.example list.example'.split()
EPOCH = 1500000000
BREAK = 76


class Generator:
    def __init__(self, seed):
        self.r = random.Random(seed)
        self.people = [self._person() for _ in range(300)]
        # made once and drawn from: quick to write, still different mails
        self.paragraphs = [self._paragraph() for _ in range(3000)]
        self.blob = base64.encodebytes(self.r.randbytes(200000))
        self.threads = []

    def _person(self):
        name = self.r.choice(GIVEN) + ' ' + self.r.choice(FAMILY)
        box = '%s%d' % (name.split()[0].lower(), self.r.randrange(1000))
        return name, box + '@' + self.r.choice(HOSTS)

    def _paragraph(self):
        lines, line = [], ''
        for _ in range(self.r.randint(15, 80)):
            word = self.r.choice(WORDS)
            if len(line) + len(word) > BREAK - 6:
                lines.append(line)
                line = word
            else:
                line = (line + ' ' + word).lstrip()
        return ('\n'.join(lines + [line]) + '\n\n').encode()

    def text(self):
        n = min(2 + int(4 * self.r.paretovariate(1.4)), 150)
        return b''.join(self.r.choice(self.paragraphs) for _ in range(n))

    def _boundary(self):
        return b'=_%016x' % self.r.getrandbits(64)

    def plain(self):
        return (b'Content-Type: text/plain; charset=utf-8\n'
                b'Content-Transfer-Encoding: 8bit\n\n' + self.text())

    def encoded(self):
        return (b'Content-Type: text/plain; charset=utf-8\n'
                b'Content-Transfer-Encoding: base64\n\n' +
                base64.encodebytes(self.text()))

    def alternative(self):
        b, text = self._boundary(), self.text()
        html = text.replace(b'\n\n', b'</p>\n<p>')
        return (b'Content-Type: multipart/alternative;\n\tboundary="' + b +
                b'"\n\n--' + b + b'\nContent-Type: text/plain; charset=utf-8\n'
                b'Content-Transfer-Encoding: 8bit\n\n' + text + b'--' + b +
                b'\nContent-Type: text/html; charset=utf-8\n'
                b'Content-Transfer-Encoding: 8bit\n\n<html><body><p>' + html +
                b'</p></body></html>\n--' + b + b'--\n')

    def attached(self):
        b, n = self._boundary(), self.r.randrange(100)
        size = min(90000, int(2000 * self.r.paretovariate(1.1)))
        at = self.r.randrange(len(self.blob) - size)
        at -= at % 77
        octets = self.blob[at:at + size - size % 77]
        inner = b''
        if self.r.random() < 0.2:
            inner = (b'--' + b + b'\nContent-Type: message/rfc822\n\n'
                     b'From: inner@mail.example\nTo: x@mail.example\n'
                     b'Subject: forwarded\nMessage-ID: <%d@mail.example>\n'
                     b'Content-Type: text/plain; charset=utf-8\n\n'
                     % self.r.getrandbits(40) + self.r.choice(self.paragraphs))
        return (b'Content-Type: multipart/mixed;\n\tboundary="' + b +
                b'"\n\nThis message has parts.\n--' + b + b'\n' +
                self.alternative() + b'--' + b +
                b'\nContent-Type: application/pdf; name="file%d.pdf"\n'
                b'Content-Disposition: attachment; filename="file%d.pdf"\n'
                b'Content-Transfer-Encoding: base64\n\n' % (n, n) + octets +
                b'\n' + inner + b'--' + b + b'--\n')

    def _subject(self, ident):
        """Subject and references, of a new thread or an answer in one."""
        if self.threads and self.r.random() < 0.6:
            back = min(len(self.threads), int(self.r.paretovariate(0.6)))
            subject, ids = self.threads[-back]
            refs, subject = ids[-8:], 'Re: ' + subject
            ids.append(ident)
            return subject, refs
        subject = ' '.join(self.r.choice(WORDS)
                           for _ in range(self.r.randint(2, 8)))
        self.threads = self.threads[-400:] + [(subject, [ident])]
        return subject, []

    @staticmethod
    def _header(text):
        if text.isascii():
            return text
        return '=?utf-8?B?%s?=' % base64.b64encode(
            text.encode()[:45].decode('utf-8', 'ignore').encode()).decode()

    def header(self, i, when):
        ident = '<%x.%012x@mail.example>' % (i, self.r.getrandbits(48))
        subject, refs = self._subject(ident)
        date = time.strftime('%a, %d %b %Y %H:%M:%S +0000', time.gmtime(when))
        name, address = self.r.choice(self.people)
        to = [self.r.choice(self.people)
              for _ in range(self.r.choice((1, 1, 1, 2, 4)))]
        signature = base64.b64encode(self.r.randbytes(96)).decode()
        lines = [
            'Return-Path: <%s>' % address,
            'Received: from mx%d.example (mx%d.example [192.0.2.%d])\n'
            '\tby mail.bench.test (surat) with ESMTPS id %010x;\n\t%s' % (
                i % 9, i % 9, i % 250, self.r.getrandbits(40), date),
            'DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; '
            'd=mail.example;\n\ts=s1; h=from:to:subject:date:message-id;'
            '\n\tb=%s\n\t%s' % (signature[:64], signature[64:]),
            'Date: ' + date,
            'From: %s <%s>' % (self._header(name), address),
            'To: ' + ',\n\t'.join('%s <%s>' % (self._header(n), a)
                                  for n, a in to),
            'Message-ID: ' + ident,
            'Subject: ' + self._header(subject),
            'MIME-Version: 1.0']
        if refs:
            lines += ['In-Reply-To: ' + refs[-1],
                      'References: ' + '\n\t'.join(refs)]
        if self.r.random() < 0.2:
            lines += ['List-Id: <list%d.list.example>' % (i % 12)]
        return ('\n'.join(lines) + '\n').encode()

    def message(self, i):
        """(seconds since 1970, octets with LF, flags)"""
        when = EPOCH + i * 900 + self.r.randrange(-4000, 4000)
        header = self.header(i, when)
        k = self.r.random()
        body = self.plain if k < 0.45 else self.encoded if k < 0.52 else \
            self.alternative if k < 0.85 else self.attached
        flags = self.r.choice(('S', 'S', 'S', 'RS', 'FS', ''))
        return when, header + body(), flags


def fill(maildir, count, seed=1, owner=None):
    """Writes them to cur/, names with S= and W=; returns octets."""
    g, total = Generator(seed), 0
    for sub in ('', 'tmp', 'new', 'cur'):
        path = os.path.join(maildir, sub)
        os.makedirs(path, 0o700, exist_ok=True)
        if owner:
            os.chown(path, *owner)
    for i in range(count):
        when, octets, flags = g.message(i)
        path = '%s/cur/%d.%06d.bench,S=%d,W=%d:2,%s' % (
            maildir, when, i, len(octets), len(octets) + octets.count(b'\n'),
            flags)
        fd = os.open(path, os.O_CREAT | os.O_WRONLY, 0o600)
        os.write(fd, octets)
        if owner:
            os.fchown(fd, *owner)
        os.utime(fd, (when, when))
        os.close(fd)
        total += len(octets)
    return total
