#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Random valid IMAP commands to surat and to Debian's Dovecot, each a session
program on a socket pair with a Maildir of its own.  Compared is what the
answers mean, and what each of two clients then knows of its mailbox: never
octets, never the order in which things may be said.

    test_imapd_dovecot.py [COMMANDS]    400; of a sanitizer build 200

With a number of COMMANDS they are others each time, without it always the same:
what nobody has looked at yet is found by hand, not by who builds it.
SEED=n in the environment plays a run again.  A round is 200 commands on a new
account, so that a difference does not spread.  Which server is right the
RFCs say; where Dovecot is not, or both may differ, LEGITIMATE says why.
"""
import datetime
import glob
import os
import pwd
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..')
sys.path[:0] = [TOP + '/lib', TOP + '/bench/lib']
import corpus as bench_corpus
import imap
from house import SLOW, crlf, done, same, skip, until
from imap import Literal

COMMANDS = int(sys.argv[1]) if len(sys.argv) > 1 else 400 if SLOW == 1 else 200
ROUND = 200
SEED = int(os.environ.get('SEED', time.time() if len(sys.argv) > 1 else 1))
PROGRAM = '/usr/lib/dovecot/imap'
MOST = 60               # messages in a mailbox

SPECIAL = 'Archive Drafts Junk Sent Trash'.split()
FLAGS = ('\\Seen \\Answered \\Flagged \\Deleted \\Draft $Forwarded Later '
         'work').split()
BOXES = ['INBOX', 'Sent', 'Archive', 'a', 'a/b', 'a/b/c', 'two words',
         'Entw&APw-rfe', 'x-1', 'x-1/y']

# Differences that are none of surat's: (command, what differs, why).  Both
# are patterns, the second over "where: surat's <-> Dovecot's".
LEGITIMATE = (
    ('FETCH', r"fetch\.\d+\.(BODY|BINARY)\[[\d.]+.*\]: None <-> b''$",
     'a part that is not there is NIL or empty'),
    ('FETCH', r"fetch\.\d+\.BODY\[1\.1\]: None <-> b",
     'what is no multipart has no part 1.1 (RFC 3501 6.4.5)'),
    ('FETCH', r".*\] of (\d+) and (?!\1)\d+, at \1: .*--' <-> .*--\\r\\n'$",
     'the line end before a boundary belongs to it (RFC 2046 5.1.1), also '
     'where a multipart ends'),
    ('^(UID )?(COPY|MOVE)', r"(code: \('TRYCREATE',\) <-> \(\)|"
     r"result: 'NO' <-> 'OK')$",
     'nothing to copy, and no such folder: that it is not there, or OK'),
    (r'SPECIAL-USE.*RETURN \(SUBSCRIBED', r'LIST\.\w+\.1: .*Subscribed',
     'who asks for SUBSCRIBED is told (RFC 5258 3.1), by Dovecot not here'),
    (r'\b(OR\b|NOT \().*\b(UN)?(DELETED|SEEN)\b',
     r"(esearch.*|search|SORT|THREAD): .* <-> (None|'0'|\[\])$",
     'UNDELETED, one of two that may hold, is to Dovecot a reason to find '
     'nothing where all are \\Deleted; UNSEEN and what NOT makes of it '
     'likewise'),
    (r'(YOUNGER|OLDER).*(YOUNGER|OLDER)',
     r'(esearch.*|search|SORT|THREAD): ',
     'of two ages Dovecot heeds one'),
    ('LSUB', r"LSUB.*: \['.*Noselect'\] <-> \[\]$",
     'a folder that is subscribed to and not there may say so'),
    ('BINARY', r".*BINARY\[1\]( of [\d and]+, at \d+)?: ((?!<->).)*"
     r'Content-Transfer-Encoding: (quoted|base64)',
     'of a multipart, parts of parts may be decoded or not'),
    ('FETCH', r"(?i).*\.ENVELOPE\..*\.3: b'' <-> b'MISSING_DOMAIN'$",
     'words for an address without a domain'),
)

# Messages of t/corpus/mime that break the RFCs, so that no RFC says what they
# are; why, and which.
UNDECIDED = {
    'a line before the empty one that is no field ends the header, or not':
        'mime4j-basic-plain-with-bad-header-separator mime4j-hdr-fakeout '
        'mime4j-malformedHeader-nocrlfcrlf '
        'mime4j-malformedHeader-noheader '
        'mime4j-malformedHeaderStartsBody-nocrlfcrlf '
        'mime4j-malformedHeaderStartsBody-noheader mime4j-obsolete '
        'mime4j-very-long-boundary mime4j-very-very-long-boundary '
        'mimekit-feedback-report mimekit-issue358',
    'message/rfc822 must not be encoded (RFC 2046 5.2.1)':
        'mime4j-bad-newlines-multiple-parts-base64 '
        'mime4j-base64encoded-rfc822message '
        'mime4j-base64encoded-rfc822message-nested '
        'mime4j-multi-2gifs-base64 mimekit-rfc2046',
    'a multipart without a part in it, or without its boundary':
        'mime4j-badbound mime4j-double-semicolon mime4j-ending-boundaries '
        'mime4j-missing-boundary mime4j-missing-inner-boundary '
        'mime4j-missing-inner-start-boundary mime4j-multipartnopart '
        'mime4j-weird-boundary mimekit-empty-multipart',
    'a type without a subtype': 'mime4j-multi-digest mimekit-missing-subtype',
    'Dovecot ends a FETCH at an encoding it does not know': 'mime4j-x-gzip64',
    'an empty part: the empty line is its header\'s or the boundary\'s':
        'mailparser-decoderended mimekit-body.4',
    'Dovecot counts the line end before a boundary (RFC 2046 5.1.1)':
        'mimekit-body.7 mimekit-rfc2060',
}


# ------------------------------------------------------------------ servers

class Surat:
    name = 'surat'

    def __init__(self, directory):
        self.home = directory + '/surat'
        os.mkdir(self.home)
        self.log = open(directory + '/surat.log', 'wb')

    def session(self):
        return imap.Local(self.home, self.log)


CONF = '''protocols = imap
base_dir = %(dir)s/run
mail_location = maildir:~/Maildir
first_valid_uid = 1
first_valid_gid = 1
last_valid_uid = 0
ssl = no
stats_writer_socket_path =
userdb {
  driver = static
  args = uid=%(uid)d gid=%(gid)d home=%(dir)s/dovecot
}
namespace inbox {
  inbox = yes
  separator = /
%(boxes)s}
'''


class Dovecot:
    name = 'dovecot'

    def __init__(self, directory):
        nobody = pwd.getpwnam('nobody')
        self.ids = {}
        uid, gid = os.getuid(), os.getgid()
        if uid == 0:
            uid, gid = nobody.pw_uid, nobody.pw_gid
            self.ids = {'user': uid, 'group': gid, 'extra_groups': []}
        self.dir, self.home = directory, directory + '/dovecot'
        self.log = open(directory + '/dovecot.log', 'wb')
        os.chmod(directory, 0o755)
        for d in (self.home, directory + '/run'):
            os.mkdir(d)
            os.chown(d, uid, gid)
        boxes = ''.join('  mailbox %s {\n    auto = create\n    special_use = '
                        '\\%s\n  }\n' % (b, b) for b in SPECIAL)
        with open(directory + '/dovecot.conf', 'w') as f:
            f.write(CONF % {'dir': directory, 'uid': uid, 'gid': gid,
                            'boxes': boxes})
        # it makes them when somebody opens one; they are to be there
        c = self.session()
        for box in SPECIAL:
            c.command('CREATE ' + box)
        c.logout()

    def session(self):
        return DovecotSession(self)


class DovecotSession(imap.Local):
    def __init__(self, server):
        self.server = server
        super().__init__(server.home)

    def connect(self, host, port, patience):
        ours, theirs = imap.socket.socketpair()
        ours.settimeout(patience)
        self.process = subprocess.Popen(
            [PROGRAM, '-c', self.server.dir + '/dovecot.conf'],
            stdin=theirs, stdout=theirs, stderr=self.server.log,
            env={'HOME': self.home, 'USER': 'alice', 'TZ': 'UTC',
                 'PATH': os.environ['PATH']}, **self.server.ids)
        theirs.close()
        return ours

    def tagged(self, r):
        """Names of mailboxes in its texts are UTF-8."""
        r.data = bytes(c if c < 128 else 63 for c in r.data)
        return super().tagged(r)


# ---------------------------------------------------------- what is meant

def expand(text):
    """A UID set as a sorted list."""
    out = set()
    for part in text.split(','):
        first, _, last = part.partition(':')
        a, b = sorted((int(first), int(last or first)))
        out.update(range(a, b + 1))
    return sorted(out)


def code_meaning(code):
    """A response code that clients act upon."""
    words = (code or '').split(' ')
    if words[0] == 'COPYUID':
        return words[0], expand(words[2]), expand(words[3])
    if words[0] == 'APPENDUID':
        return words[0], expand(words[2])
    if words[0] == 'MODIFIED':
        return words[0], expand(words[1])
    if words[0] in ('TRYCREATE', 'READ-ONLY', 'READ-WRITE'):
        return tuple(words)
    return ()


def instant(value):
    """A date-time as seconds since 1970."""
    return value and datetime.datetime.strptime(
        value.decode().strip('"').strip(), '%d-%b-%Y %H:%M:%S %z').timestamp()


def lower(value):
    """Types, encodings, parameter names: in no particular case."""
    return value and value.lower()


def parameters(value):
    """As pairs; the default charset may be said or not."""
    pairs = sorted((value[i].lower(), value[i + 1])
                   for i in range(0, len(value or ()), 2))
    return [p for p in pairs if p != (b'charset', b'us-ascii')]


def structure(part):
    out = dict(part, type=tuple(map(lower, part['type'])))
    if 'parts' in part:
        out['parts'] = [structure(p) for p in part['parts']]
    if 'message' in part:
        out['message'] = structure(part['message'])
    if 'encoding' in part:
        out['encoding'] = lower(part['encoding'])
    if 'parameters' in part:
        out['parameters'] = parameters(part['parameters'])
    if part.get('disposition'):
        kind, more = part['disposition']
        out['disposition'] = lower(kind), parameters(more)
    return out


def item_name(name):
    """A section as we asked for it: field names in quotes or not."""
    return name.upper().replace('"', '')


ITEM = {
    'FLAGS': lambda v: sorted(set(v) - {'\\Recent'}),
    'INTERNALDATE': instant,
    'BODY': structure, 'BODYSTRUCTURE': structure,
    'SAVEDATE': lambda v: None,          # a moment later in one of them
    'MODSEQ': lambda v: None,
}


def esearch(words):
    out, at = {}, 0
    if words[:1] == ['(TAG']:
        at = 2
    while at < len(words):
        key = words[at]
        if key == 'UID':
            at += 1
            continue
        value = words[at + 1]
        out[key] = expand(value) if key == 'ALL' else value
        at += 2
    out.pop('MODSEQ', None)
    return out


ATTRIBUTES = {'\\HasChildren', '\\HasNoChildren', '\\Noselect',
              '\\NonExistent', '\\Subscribed'} | {'\\' + s for s in SPECIAL}


def listed(reply, name, text=''):
    out = {}
    for _, attributes, separator, box, extra in reply.named(name):
        known = {a.capitalize(): a for a in ATTRIBUTES}
        have = {known.get(a.capitalize()) for a in attributes} - {None}
        if '\\NonExistent' in have:
            have.add('\\Noselect')
        # said by the way when nobody asked, or not
        if 'CHILDREN' not in text:
            have -= {'\\HasChildren', '\\HasNoChildren'}
        if 'SPECIAL-USE' not in text:
            have -= {'\\' + s for s in SPECIAL}
        out[box.decode()] = separator, sorted(have), sorted(
            (k, sorted(v)) for k, _, v in extra or ())
    return out


NOT_COMPARED = {'UIDVALIDITY', 'HIGHESTMODSEQ', 'RECENT'}


def statuses(reply):
    return {line[1].decode(): {k: v for k, v in line[2].items()
                               if k not in NOT_COMPARED}
            for line in reply.named('STATUS')}


def folders(client):
    return {n for n, v in listed(client.command(['LIST "" *']), 'LIST')
            .items() if '\\Noselect' not in v[1]}


def fetched(reply, wanted):
    out = {}
    for _, n, items in reply.named('FETCH'):
        for name, value in items.items():
            if item_name(name) in wanted:
                how = ITEM.get(name, lambda v: v)
                out.setdefault(n, {})[item_name(name)] = how(value)
    return out


def meaning(reply, text):
    out = {'result': reply.result, 'code': code_meaning(reply.code)}
    for line in reply.lines:
        if line[0] == 'SEARCH':
            out['search'] = sorted(line[1])
        elif line[0] in ('SORT', 'THREAD'):
            out[line[0]] = line[1]
            # the thread with the newest message last, or by their first
            if 'REFS' in text:
                out[line[0]].sort(key=str)
        elif line[0] == 'ESEARCH':
            out['esearch'] = esearch(line[1])
        elif line[0] == 'OK' and code_meaning(line[1]):
            out['code'] = code_meaning(line[1])
    for name in ('LIST', 'LSUB'):
        out[name] = listed(reply, name, text)
    out['status'] = statuses(reply)
    items = wanted(text)
    if items:
        out['fetch'] = fetched(reply, items)
    return out


# ------------------------------------------------------------------ clients

class Failed(Exception):
    """One of the servers is gone, or said what no client understands."""


class Client:
    """One session with one server, and what it was told of its mailbox."""

    def __init__(self, server, marks):
        self.c, self.marks = server.session(), marks
        self.known, self.box, self.writable = [], None, False
        self.server, self.name = server, server.name

    def fill(self, part):
        """@V:box@ is its UIDVALIDITY here, @M:n@ a modseq of the past, @N:n@
        one more: the least that came after."""
        if isinstance(part, bytes):
            return part
        part = re.sub('@V:(.*?)@', lambda m: self.status(
            m[1], 'UIDVALIDITY'), part)
        part = re.sub('@M:([0-9]+)@', lambda m: self.marks[int(m[1])], part)
        return re.sub('@N:([0-9]+)@', lambda m: str(
            int(self.marks[int(m[1])]) + 1), part)

    def status(self, box, item):
        r = self.c.command('STATUS "%s" (%s)' % (box, item))
        found = r.named('STATUS')
        return str(found[0][2][item]) if found else '0'

    def hear(self, lines):
        for line in lines:
            if line[0] == 'EXISTS':
                self.known += [{} for _ in range(line[1] - len(self.known))]
            elif line[0] == 'EXPUNGE':
                del self.known[line[1] - 1]
            elif line[0] == 'FETCH':
                for item in ('UID', 'FLAGS'):
                    if item in line[2]:
                        self.known[line[1] - 1][item] = line[2][item]

    def command(self, parts):
        try:
            r = self.c.command(*[self.fill(p) for p in parts])
        except (imap.Malformed, imap.Gone, OSError) as e:
            raise Failed(self.name, e)
        word = parts[0].split(' ')[0]
        if word in ('SELECT', 'EXAMINE', 'CLOSE', 'UNSELECT'):
            self.known = []
            good = r.ok and word in ('SELECT', 'EXAMINE')
            self.box = parts[0].split('"')[1] if good else None
            self.writable = good and r.code == 'READ-WRITE'
        self.hear(r.lines)
        if '.SILENT' in parts[0]:  # it is for the client to know
            for m in self.known:
                m.pop('FLAGS', None)
        return r

    def away(self, select, known):
        """What a session knows after QRESYNC that knew this before."""
        c, known = self.server.session(), dict(known)
        c.command('ENABLE QRESYNC')
        for line in c.command(self.fill(select)).lines:
            if line[0] == 'VANISHED':
                for uid in expand(line[1][-1]):
                    known.pop(uid, None)
            elif line[0] == 'FETCH':
                known[line[2]['UID']] = sorted(
                    set(line[2]['FLAGS']) - {'\\Recent'})
        c.logout()
        return known

    def catch_up(self):
        """Hears the news, asks for what it cannot know; what it knows."""
        self.command(['NOOP'])
        for n, m in enumerate(self.known, 1):
            if 'UID' not in m or 'FLAGS' not in m:
                self.command(['FETCH %d (UID FLAGS)' % n])
        return [(m['UID'], sorted(set(m['FLAGS']) - {'\\Recent'}))
                for m in self.known]


class Pair:
    """A client that says the same to both servers."""

    def __init__(self, servers, marks):
        self.of = [Client(s, m) for s, m in zip(servers, marks)]
        self.picture = []

    @property
    def box(self):
        return self.of[0].box

    def command(self, parts):
        return [c.command(parts) for c in self.of]

    def catch_up(self):
        """Both pictures; the same unless something is wrong."""
        both = [c.catch_up() for c in self.of]
        self.picture = both[0]
        return both

    def uids(self):
        return [u for u, _ in self.picture]


# ----------------------------------------------------------------- messages

class Messages:
    """Varied mail from the benches' generator, awkward mail of the corpus."""

    def __init__(self, r):
        self.r, self.made = r, 0
        self.generator = bench_corpus.Generator(r.getrandbits(30))
        skipped = ' '.join(UNDECIDED.values()).split()
        self.awkward = [
            text for text in (
                crlf(open(p, 'rb').read()) for p in
                sorted(glob.glob(TOP + '/corpus/mime/*'))
                if os.path.basename(p)[:-4] not in skipped)
            if len(text) < 50000 and b'\0' not in text]
        # SENTBEFORE is true for mail without a date, says Dovecot alone
        self.awkward = [
            text if re.search(rb'(?mi)^date:', text.split(b'\r\n\r\n')[0])
            else b'Date: Mon, 6 Jan 2020 10:00:00 +0000\r\n' + text
            for text in self.awkward]

    def __call__(self):
        self.made += 1
        if self.r.random() < 0.3:
            return self.r.choice(self.awkward)
        return crlf(self.generator.message(self.made)[1])


def term(r):
    """Something that may be in a message: a word, part of one, other case."""
    word = r.choice(bench_corpus.WORDS + bench_corpus.GIVEN +
                    bench_corpus.FAMILY + ['mail.example', 'Re:', 'test'])
    if r.random() < 0.4 and len(word) > 4:
        at = r.randrange(len(word) - 3)
        word = word[at:at + r.randint(3, len(word) - at)]
    word = r.choice([word, word.upper(), word.lower()])
    return Literal(word.encode())


# ----------------------------------------------------------------- commands

class Play:
    """Makes commands that are valid where things stand."""

    def __init__(self, r, pairs, marks):
        self.r, self.pairs, self.marks = r, pairs, marks
        self.message = Messages(r)
        self.boxes = set(SPECIAL) | {'INBOX'}

    def chance(self, p):
        return self.r.random() < p

    def some_box(self, there=0.9):
        r = self.r
        if self.chance(there):
            return r.choice(sorted(self.boxes))
        return r.choice(BOXES + ['nowhere'])

    def numbers(self, most):
        """A set over 1 to most."""
        r, out = self.r, []
        for _ in range(r.choice((1, 1, 1, 2, 3))):
            a, b = r.randint(1, most), r.randint(1, most)
            out.append(r.choice([str(a), '%d:%d' % (a, b), '%d:*' % a, '*',
                                 '1:*', '%d' % b]))
        return ','.join(out)

    def which(self, pair):
        """('UID ', set) or ('', set)"""
        if self.chance(0.5):
            last = pair.uids()[-1] if pair.picture else 1
            return 'UID ', self.numbers(last + self.r.randrange(3))
        return '', self.numbers(len(pair.picture))

    def flags(self, most=3):
        return ' '.join(self.r.sample(FLAGS, self.r.randint(0, most)))

    # ------------------------------------------------ any state
    def append(self, pair):
        def one():
            # both know when: now is not the same for both
            date = ' "%02d-%s-%d %02d:00:00 %s"' % (
                self.r.randint(1, 28), self.r.choice(['Jan', 'Jun', 'Dec']),
                self.r.randint(2019, 2025), self.r.randint(9, 15),
                self.r.choice(['+0000', '+0000', '+0530', '-0400']))
            return ' (%s)%s' % (self.flags(), date)
        parts = ['APPEND "%s"' % self.some_box() + one(),
                 Literal(self.message())]
        while self.chance(0.2):
            parts += [one()[1:], Literal(self.message())]
        return parts

    def catenate(self, pair):
        box, r = self.some_box(1), self.r
        url = '"/%s;UIDVALIDITY=@V:%s@/;UID=%d%s"' % (
            box.replace(' ', '%20'), box, r.randint(1, 9),
            r.choice(['', '/;SECTION=HEADER', '/;SECTION=TEXT',
                      '/;SECTION=HEADER.FIELDS%20(FROM)']))
        return ['APPEND "%s" (%s) " 7-Mar-2024 10:00:00 +0000" CATENATE (TEXT'
                % (self.some_box(), self.flags()),
                Literal(b'Date: Mon, 6 Jan 2020 10:00:00 +0000\r\n'
                        b'Subject: made of pieces\r\n\r\n'),
                'URL %s TEXT' % url,
                Literal(b'\r\nand this\r\n'), ')']

    def create(self, pair):
        return ['CREATE "%s"' % self.r.choice(BOXES)]

    def delete(self, pair):
        used = {p.box for p in self.pairs} | {'INBOX'} | set(SPECIAL)
        # one with others below it is still listed by Dovecot, as if it existed
        free = [b for b in sorted(self.boxes - used) if not any(
            other.startswith(b + '/') for other in self.boxes)] + ['nowhere']
        return ['DELETE "%s"' % self.r.choice(free)]

    def rename(self, pair):
        used = {p.box for p in self.pairs} | {'INBOX'} | set(SPECIAL)
        free = [b for b in sorted(self.boxes - used) if not any(
            u and u.startswith(b + '/') for u in used)] + ['nowhere']
        to = [b for b in BOXES if b not in self.boxes] + ['new%d' % len(free)]
        return ['RENAME "%s" "%s"' % (self.r.choice(free),
                                      self.r.choice(to))]

    def subscribe(self, pair):
        return [self.r.choice(['SUBSCRIBE', 'UNSUBSCRIBE']) +
                ' "%s"' % self.some_box(1)]

    def list(self, pair):
        r = self.r
        pattern = r.choice(['*', '%', 'a*', 'a/%', '%/%', 'INBOX', 'nowhere',
                            '*b', 'Sent', 'x-1/*'])
        where = r.choice(['', '', '', 'a/', 'x-1/'])
        returns = r.choice([
            '', '', ' RETURN (CHILDREN)', ' RETURN (SUBSCRIBED)',
            ' RETURN (SPECIAL-USE)', ' RETURN (SUBSCRIBED CHILDREN)',
            ' RETURN (STATUS (MESSAGES UNSEEN UIDNEXT))'])
        if self.chance(0.2):
            return ['LSUB "%s" "%s"' % (where, pattern)]
        chosen = r.choice(['', '', '', '(SUBSCRIBED) ', '(SPECIAL-USE) ',
                           '(SUBSCRIBED RECURSIVEMATCH) '])
        return ['LIST %s"%s" "%s"%s' % (chosen, where, pattern, returns)]

    def status(self, pair):
        items = ['MESSAGES', 'UIDNEXT', 'UNSEEN', 'UIDVALIDITY', 'SIZE',
                 'HIGHESTMODSEQ']
        return ['STATUS "%s" (%s)' % (self.some_box(), ' '.join(
            self.r.sample(items, self.r.randint(1, 6))))]

    def select(self, pair):
        return ['%s "%s"%s' % (
            self.r.choice(['SELECT', 'SELECT', 'SELECT', 'EXAMINE']),
            'INBOX' if self.chance(0.5) else self.some_box(),
            self.r.choice(['', '', ' (CONDSTORE)']))]

    # ------------------------------------------------ selected
    def fetch(self, pair):
        r = self.r
        items = ['FLAGS', 'UID', 'RFC822.SIZE', 'INTERNALDATE', 'ENVELOPE',
                 'BODY', 'BODYSTRUCTURE', 'BODY.PEEK[]', 'BODY.PEEK[HEADER]',
                 'BODY.PEEK[TEXT]', 'BODY.PEEK[1]', 'BODY.PEEK[1.MIME]',
                 'BODY.PEEK[2]', 'BODY.PEEK[1.1]', 'BODY.PEEK[2.HEADER]',
                 'BODY.PEEK[2.TEXT]', 'BODY.PEEK[2.MIME]', 'BODY[]<%d.%d>' % (
                     r.randrange(3000), r.randint(1, 2000)),
                 'BODY.PEEK[TEXT]<0.%d>' % r.randint(1, 300), 'BODY[1]',
                 'BODY.PEEK[HEADER.FIELDS (FROM TO SUBJECT DATE)]',
                 'BODY.PEEK[HEADER.FIELDS (Content-Type X-Nothing)]',
                 'BODY.PEEK[HEADER.FIELDS.NOT (RECEIVED)]', 'RFC822.HEADER',
                 'RFC822.TEXT', 'RFC822', 'BINARY.PEEK[1]', 'SAVEDATE',
                 'MODSEQ']
        # not BINARY.SIZE: Dovecot 2.3's is at times below 0
        chosen = r.sample(items, r.choice((1, 2, 3, 6)))
        uid, numbers = self.which(pair)
        more = ''
        if self.marks and self.chance(0.15) and uid:
            more = ' (CHANGEDSINCE @M:%d@)' % self.mark(pair)
            if more.endswith('-1@)'):
                more = ''
        return ['%sFETCH %s (%s)%s' % (uid, numbers, ' '.join(chosen), more)]

    def mark(self, pair):
        """A modseq of this mailbox from before."""
        have = self.marks.get(pair.box)
        return self.r.choice(have) if have else -1

    def key(self, pair, depth=0):
        r = self.r
        day = '%d-%s-%d' % (r.randint(1, 28), r.choice(
            ['Jan', 'Jun', 'Dec', 'Jul', 'Aug']), r.randint(2017, 2025))
        last = pair.uids()[-1] if pair.picture else 1
        simple = [
            ['ALL'], ['ANSWERED'], ['DELETED'], ['DRAFT'], ['FLAGGED'],
            ['SEEN'], ['UNANSWERED'], ['UNDELETED'], ['UNDRAFT'],
            ['UNFLAGGED'], ['UNSEEN'], ['KEYWORD Later'],
            ['UNKEYWORD $Forwarded'], ['LARGER %d' % r.randrange(20000)],
            ['SMALLER %d' % r.randrange(20000)],
            [r.choice(['BEFORE', 'ON', 'SINCE', 'SENTBEFORE', 'SENTON',
                       'SENTSINCE']) + ' ' + day],
            ['UID ' + self.numbers(last + 1)],
            [r.choice(['OLDER', 'YOUNGER']) + ' %d' % (
                86400 * 365 * r.randint(1, 8) + 43200)]]
        if pair.picture:
            simple.append([self.numbers(len(pair.picture))])
        texts = [[r.choice(['BODY', 'TEXT', 'SUBJECT', 'FROM', 'TO', 'CC',
                            'BCC', 'SUBJECT', 'FROM']), term(r)],
                 ['HEADER ' + r.choice(['Subject', 'Message-ID', 'List-Id',
                                        'Received', 'Content-Type']), term(r)],
                 ['HEADER %s ""' % r.choice(['List-Id', 'References', 'Cc'])]]
        x = r.random()
        if depth > 2 or x < 0.4:
            return r.choice(simple)
        if x < 0.7:
            return r.choice(texts)
        if x < 0.8:
            return ['NOT'] + self.key(pair, depth + 1)
        if x < 0.92:
            return ['OR'] + self.key(pair, depth + 1) + \
                self.key(pair, depth + 1)
        return ['('] + self.key(pair, depth + 1) + \
            self.key(pair, depth + 1) + [')']

    def keys(self, pair):
        """One to three keys as parts; a parenthesis has no blank inside."""
        out = []
        for _ in range(self.r.choice((1, 1, 2, 3))):
            out += self.key(pair)
        return out

    def search(self, pair):
        r, returns = self.r, ''
        if self.chance(0.4):
            returns = ' RETURN (%s)' % ' '.join(r.sample(
                ['MIN', 'MAX', 'ALL', 'COUNT'], r.randint(0, 4)))
        keys = self.keys(pair)
        mark = self.mark(pair)
        if mark >= 0 and self.chance(0.1):
            keys += ['MODSEQ @N:%d@' % mark]
        return [self.uid() + 'SEARCH%s CHARSET UTF-8' % returns] + keys

    def uid(self):
        return self.r.choice(['', 'UID '])

    def saved(self, pair):
        """SEARCHRES: what was found is used."""
        keys = self.keys(pair)
        use = self.r.choice(['FETCH $ (UID FLAGS)', 'SEARCH $ UNSEEN',
                             'STORE $ +FLAGS.SILENT (Later)',
                             'UID FETCH $ (UID)'])
        return [['SEARCH RETURN (SAVE) CHARSET UTF-8'] + keys, [use]]

    def sort(self, pair):
        r = self.r
        by = r.sample(['ARRIVAL', 'CC', 'DATE', 'FROM', 'SIZE', 'SUBJECT',
                       'TO', 'DISPLAYFROM', 'DISPLAYTO'], r.choice((1, 2, 3)))
        by = [('REVERSE ' if self.chance(0.3) else '') + b for b in by]
        returns = r.choice(['', '', ' RETURN (COUNT MIN MAX)'])
        return [self.uid() + 'SORT%s (%s) UTF-8' % (returns, ' '.join(by))] + \
            (['ALL'] if self.chance(0.6) else self.keys(pair))

    def thread(self, pair):
        how = self.r.choice(['ORDEREDSUBJECT', 'REFERENCES', 'REFS'])
        return [self.uid() + 'THREAD %s UTF-8' % how] + \
            (['ALL'] if self.chance(0.6) else self.keys(pair))

    def store(self, pair):
        uid, numbers = self.which(pair)
        unless, mark = '', self.mark(pair)
        if mark >= 0 and uid and self.chance(0.15):
            unless = '(UNCHANGEDSINCE @M:%d@) ' % mark
        return ['%sSTORE %s %s%sFLAGS%s (%s)' % (
            uid, numbers, unless, self.r.choice(['', '+', '+', '-', '-']),
            self.r.choice(['', '.SILENT']), self.flags())]

    def copy(self, pair):
        uid, numbers = self.which(pair)
        return ['%s%s %s "%s"' % (uid, self.r.choice(
            ['COPY', 'COPY', 'MOVE']), numbers, self.some_box())]

    def delete_some(self, pair):
        uid, numbers = self.which(pair)
        return [['%sSTORE %s +FLAGS (\\Deleted)' % (uid, numbers)],
                ['EXPUNGE' if self.chance(0.6) else
                 'UID EXPUNGE ' + self.numbers(max(pair.uids() + [1]))]]

    def leave(self, pair):
        return [self.r.choice(['CLOSE', 'UNSELECT'])]

    def check(self, pair):
        return ['CHECK']


# how often, state it wants, command
ROWS = (
    (6, '', Play.append), (1, '', Play.catenate), (2, '', Play.create),
    (1, '', Play.delete), (1, '', Play.rename), (1, '', Play.subscribe),
    (4, '', Play.list), (3, '', Play.status), (3, '', Play.select),
    (14, 'messages', Play.fetch), (14, 'selected', Play.search),
    (2, 'writable', Play.saved), (6, 'selected', Play.sort),
    (5, 'selected', Play.thread), (8, 'writable', Play.store),
    (5, 'writable', Play.copy), (1, 'writable', Play.delete_some),
    (1, 'selected', Play.leave), (1, 'selected', Play.check),
)


def possible(pair, state):
    if state == 'messages':
        return bool(pair.picture)
    if state == 'writable':
        return bool(pair.picture) and pair.of[0].writable
    return not state or pair.box is not None


def wanted(text):
    """The items a command asks for, as their answers are called."""
    m = re.search(r'FETCH \S+ \((.*?)\)( \(CHANGEDSINCE.*)?$', text)
    if not m:
        return set()
    found = re.findall(r'(?:[A-Z0-9.]+)(?:\[[^\]]*\])?(?:<[0-9.]+>)?', m[1])
    return {re.sub(r'<(\d+)\.\d+>', r'<\1>',
                   item_name(i.replace('.PEEK', ''))) for i in found}


# -------------------------------------------------------------------- round

class Round:
    def __init__(self, seed):
        self.seed, self.r = seed, random.Random(seed)
        self.dir = tempfile.mkdtemp(prefix='dovecot.')
        self.servers = Surat(self.dir), Dovecot(self.dir)
        self.values = [[], []]
        self.marks, self.pictures = {}, {}
        self.pairs = [Pair(self.servers, self.values) for _ in range(2)]
        self.play = Play(self.r, self.pairs, self.marks)
        self.wrong, self.count, self.known, self.last = [], 0, 0, ''
        self.crashed = False

    def differ(self, text, kind, ours, theirs):
        for path, a, b in leaves(kind, ours, theirs):
            shown = '%s: %r <-> %r' % (path, a, b)
            if any(re.search(command, text, re.S) and
                   re.match(what, shown, re.S)
                   for command, what, _ in LEGITIMATE):
                self.known += 1
            else:
                self.wrong.append('%s\n    %s\n    surat   %.900r\n    '
                                  'dovecot %.900r' % (text, path, a, b))

    def say(self, pair, parts):
        text = ' '.join(p if isinstance(p, str) else
                        repr(bytes(p[:60])) for p in parts)
        self.count, self.last = self.count + 1, text
        replies = pair.command(join(parts))
        ours, theirs = [meaning(r, text) for r in replies]
        if 'SORT' in text and ours != theirs:
            # once Dovecot has made its sort keys, equal ones are in order
            theirs = meaning(pair.of[1].command(join(parts)), text)
        for kind in sorted(set(ours) | set(theirs)):
            if ours.get(kind) != theirs.get(kind):
                self.differ(text, kind, ours.get(kind), theirs.get(kind))
        for p in self.pairs:
            if p.box is not None:
                known = p.catch_up()
                if known[0] != known[1]:
                    self.differ(text, 'picture', *known)
                    return False
        self.boxes(text)
        return True

    def boxes(self, text):
        """All sessions see the same folders; Dovecot's in a moment."""
        if text.split(' ')[0] not in ('CREATE', 'DELETE', 'RENAME'):
            return
        for c in (c for pair in self.pairs for c in pair.of[1:]):
            until(lambda: folders(c) == folders(self.pairs[0].of[0]), 3)
        there = [folders(c) for c in self.pairs[0].of]
        if there[0] != there[1]:
            self.differ(text, 'folders', *map(sorted, there))
        self.play.boxes = there[0] & there[1]
        for gone in set(self.marks) - self.play.boxes:
            del self.marks[gone]

    def mark(self):
        """Remembers where a mailbox stands, in both servers."""
        pair = self.r.choice(self.pairs)
        if pair.box is None or not self.play.chance(0.1):
            return
        for c, values in zip(pair.of, self.values):
            values.append(c.status(pair.box, 'HIGHESTMODSEQ'))
        self.marks.setdefault(pair.box, []).append(len(self.values[0]) - 1)
        self.pictures[len(self.values[0]) - 1] = dict(pair.picture)

    def resync(self):
        """A client that was away since a mark hears what it missed."""
        pair = self.r.choice(self.pairs)
        marks = self.marks.get(pair.box)
        if not marks or not self.play.chance(0.2):
            return
        n = self.r.choice(marks)
        text = 'SELECT "%s" (QRESYNC (@V:%s@ @M:%d@))' % (pair.box, pair.box,
                                                          n)
        self.count, self.last = self.count + 1, text
        both = [c.away(text, self.pictures[n]) for c in pair.of]
        self.differ(text, 'resync', *both)
        self.differ(text, 'resynced', both[0], dict(pair.picture))

    def full(self, pair):
        """Mailboxes stay small: the rest is put away."""
        if len(pair.picture) <= MOST:
            return True
        uids = pair.uids()[:len(pair.picture) // 2]
        numbers = ','.join(map(str, uids))
        return self.say(pair, ['SELECT "%s"' % pair.box]) and self.say(
            pair, ['UID STORE %s +FLAGS.SILENT (\\Deleted)' % numbers]) and \
            self.say(pair, ['UID EXPUNGE ' + numbers])

    def run(self, commands):
        for pair in self.pairs:
            self.say(pair, ['SELECT "INBOX"'])
        # without a list everything is subscribed to, or nothing
        for box in sorted(self.play.boxes):
            self.say(self.pairs[0], ['UNSUBSCRIBE "%s"' % box])
        for _ in range(6):
            self.say(self.pairs[0], self.play.append(self.pairs[0]))
        while self.count < commands:
            pair = self.r.choice(self.pairs)
            rows = [row for row in ROWS if possible(pair, row[1])]
            make = self.r.choices(rows, [row[0] for row in rows])[0][2]
            said = make(self.play, pair)
            for parts in said if isinstance(said[0], list) else [said]:
                if not self.say(pair, parts):
                    return
            self.mark()
            self.resync()
            if not self.full(pair):
                return

    def panic(self):
        return 'Panic: ' in open(self.dir + '/dovecot.log', 'rb').read().decode(
            'utf-8', 'replace')

    def end(self):
        for p in self.pairs:
            for c in p.of:
                try:
                    c.c.logout()
                except (imap.Malformed, imap.Gone, OSError):
                    c.c.process.kill()
        for server in self.servers:
            server.log.close()
        text = open(self.dir + '/surat.log', 'rb').read().decode(
            'utf-8', 'replace')
        if re.search('ERROR|runtime error|warning|assert', text):
            self.wrong.append('surat complained: ' + text[-800:])
        shutil.rmtree(self.dir, ignore_errors=True)


def join(parts):
    """Texts side by side as one, without a blank inside parentheses."""
    out = []
    for p in parts:
        if isinstance(p, str) and out and isinstance(out[-1], str):
            out[-1] += ('' if out[-1].endswith('(') or p == ')' else ' ') + p
        else:
            out.append(p)
    return out


def leaves(kind, ours, theirs):
    """Where two trees differ: (path, ours, theirs) each."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for k in sorted(set(ours) | set(theirs), key=str):
            yield from leaves('%s.%s' % (kind, k), ours.get(k), theirs.get(k))
    elif isinstance(ours, (list, tuple)) and len(ours) == len(theirs or ()) \
            and isinstance(theirs, (list, tuple)):
        for n, (a, b) in enumerate(zip(ours, theirs)):
            yield from leaves('%s.%d' % (kind, n), a, b)
    elif isinstance(ours, bytes) and isinstance(theirs, bytes) and \
            len(ours) > 200 and ours != theirs:
        at = len(os.path.commonprefix([ours, theirs]))
        where = '%s of %d and %d, at %d' % (kind, len(ours), len(theirs), at)
        yield where, ours[at - min(at, 99):at + 99], theirs[
            at - min(at, 99):at + 99]
    elif ours != theirs:
        yield kind, ours, theirs


def main():
    if not os.path.exists(PROGRAM):
        skip('the same commands to Dovecot', 'no dovecot-imapd here')
        done()
    print('# seed %d' % SEED)
    count, n, bad, known, crashed = 0, 0, [], 0, 0
    while count < COMMANDS:
        r = Round(SEED + n)
        try:
            r.run(min(ROUND, COMMANDS - count))
        except Failed as e:
            # a round less: there are assertions Dovecot does not meet
            r.crashed = e.args[0] == 'dovecot' and r.panic()
            if not r.crashed:
                r.wrong.append('%s: %r' % (r.last, e))
        r.end()
        crashed += r.crashed
        bad += ['seed %d: %s' % (r.seed, w) for w in r.wrong]
        count, known, n = count + r.count, known + r.known, n + 1
        if len(bad) > 50:
            break
    same(bad[:20], [], '%d commands mean the same to both (%d differences '
         'are legitimate)' % (count, known)) or print(
             '\n'.join(bad).replace('\n', '\n# '))
    if crashed:
        print('# Dovecot panicked %d times' % crashed)
    done()


main()
