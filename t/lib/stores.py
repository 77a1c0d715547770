# SPDX-License-Identifier: ISC
"""Two stores of one person's mail, for programs that keep them the same: a
Maildir here (Near) and a house (Far); what they hold, compared; seeded random
changes on either side.
"""
import glob
import os
import re

from house import same
from imap import Imap, Literal

FLAGS = {'S': '\\Seen', 'R': '\\Answered', 'F': '\\Flagged', 'D': '\\Draft',
         'T': '\\Deleted'}


def crlf(octets):
    octets = octets.replace(b'\r\n', b'\n').replace(b'\r', b'\n')
    if not octets.endswith(b'\n'):
        octets += b'\n'
    return octets.replace(b'\n', b'\r\n')


class Near:
    """Maildirs below a directory: INBOX beside mail/, or in it."""

    def __init__(self, directory, inbox='INBOX'):
        self.dir, self.inbox = directory, inbox
        os.mkdir(os.path.join(directory, 'mail'))
        self.counter = 0

    def folder(self, name):
        return os.path.join(self.dir, self.inbox if name == 'INBOX' else
                            'mail/' + name)

    def folders(self):
        return sorted(n for n in set(os.listdir(self.dir + '/mail')) | {'INBOX'}
                      if os.path.isdir(self.folder(n) + '/cur'))

    def files(self, name):
        return sorted(glob.glob(self.folder(name) + '/cur/*') +
                      glob.glob(self.folder(name) + '/new/*'))

    def messages(self, name):
        found = []
        for path in self.files(name):
            flags = path.rpartition(':2,')[2] if ':2,' in path else ''
            found.append((plain(open(path, 'rb').read()),
                          ''.join(sorted(set(flags) & set('SRFD')))))
        return sorted(found)

    def add(self, name, text):
        self.counter += 1
        for sub in ('cur', 'new', 'tmp'):
            os.makedirs(self.folder(name) + '/' + sub, exist_ok=True)
        path = '%s/new/%d.local%d.host' % (self.folder(name),
                                           1700000000 + self.counter,
                                           self.counter)
        with open(path, 'wb') as f:
            f.write(text.replace(b'\r\n', b'\n'))

    def flag(self, path, letters):
        base, _, _ = path.replace('/new/', '/cur/').partition(':2,')
        os.rename(path, base + ':2,' + letters)


def plain(octets):
    """What is compared: line ends and mbsync's own mark aside."""
    octets = octets.replace(b'\r\n', b'\n')
    return re.sub(rb'(?m)^X-TUID: .*\n', b'', octets, count=1)


class Far:
    def __init__(self, h):
        self.c = Imap(h.port('imap'))
        self.c.login('bob', h.users['bob'])

    def folders(self):
        r = self.c.command('LIST "" *')
        return sorted(x[3].decode() for x in r.named('LIST')
                      if '\\Noselect' not in x[1])

    def messages(self, name):
        self.c.command('EXAMINE "%s"' % name)
        if not self.c.command('STATUS "%s" (MESSAGES)' % name).named(
                'STATUS')[0][2]['MESSAGES']:
            return []
        found = []
        for f in self.c.fetch('1:*', 'FLAGS BODY.PEEK[]'):
            letters = [k for k, v in FLAGS.items()
                       if v in f['FLAGS'] and k != 'T']
            found.append((plain(f['BODY[]']), ''.join(sorted(letters))))
        return sorted(found)


def compare(near, far, what):
    same(near.folders(), far.folders(), what + ': the same folders')
    wrong = [n for n in near.folders()
             if near.messages(n) != far.messages(n)]
    return same(wrong, [], what + ': the same messages with the same flags')


def mail(n, who):
    return crlf(b'From: %s@x.test\nSubject: number %d\n'
                b'Message-ID: <%d.%s@x.test>\n\nbody %d of %s\n%s' %
                (who, n, n, who, n, who, b'line\n' * (n % 50)))


def change_near(near, r, n):
    for folder in near.folders():
        files = near.files(folder)
        for path in r.sample(files, len(files) // 5):
            near.flag(path, ''.join(sorted(r.sample('FRS', r.randrange(4)))))
        files = near.files(folder)
        for path in r.sample(files, len(files) // 10):
            near.flag(path, 'ST')
    for i in range(r.randrange(8)):
        near.add(r.choice(near.folders()), mail(n * 100 + i, b'near'))
    near.add('near%d' % n, mail(n * 100 + 50, b'near'))


def change_far(far, r, n):
    c = far.c
    for folder in far.folders():
        c.command('SELECT "%s"' % folder)
        found = c.command('UID SEARCH ALL').named('SEARCH')[0][1]
        for uid in r.sample(found, len(found) // 5):
            c.command('UID STORE %d FLAGS (%s)' % (uid, ' '.join(
                r.sample(list(FLAGS.values())[:3], r.randrange(4)))))
        for uid in r.sample(found, len(found) // 10):
            c.command('UID STORE %d +FLAGS.SILENT (\\Deleted)' % uid)
        c.command('EXPUNGE')
    for i in range(r.randrange(8)):
        c.command('APPEND "%s" (\\Seen)' % r.choice(far.folders()),
                  Literal(mail(n * 100 + i, b'far')))
    c.command('CREATE far%d' % n)
    c.command('APPEND far%d' % n, Literal(mail(n * 100 + 51, b'far')))
