# SPDX-License-Identifier: ISC
"""Sessions of IMAP and POP3 that are killed, or whose calls fail, in the
middle of a command that changes a mailbox (faults.py); and what a client finds
afterwards.

    with SessionHouse() as h:
        h.point(OPERATIONS['move'], (17,))
        h.bad                      what was wrong, a list

An operation is known by what it makes of a mailbox when nobody disturbs it.
Disturbed, the mailbox is as it was or as it would be: as it would be when OK
was said, as it was when NO was.
"""
import os
import re
import shutil
import subprocess
import tempfile

from faults import MUTATING, Faults
from house import BUILD, SLOW
from imap import Gone, Imap, Literal, Local
from maildir import problems

MESSAGES = 6


def text_of(name, size):
    return ('Subject: %s\r\n\r\n' % name).encode() + \
        b''.join(b'%076d\r\n' % i for i in range(size // 78 + 1))


TEXTS = {n: text_of(n, size) for n, size in
         [('new', 300), ('large', 150000)] +
         [('m%d' % i, 200 * i) for i in range(MESSAGES)]}


class View:
    """What a client sees: folder -> (uidvalidity, uidnext, modseq,
    {uid: (subject, flags)})."""

    def __init__(self, c):
        c.command('ENABLE CONDSTORE')
        names = [r[3].decode() for r in c.command('LIST "" *').named('LIST')]
        self.folders = {n: self.folder(c, n) for n in names}

    def folder(self, c, name):
        codes = {}
        r = c.command('SELECT "%s"' % name)
        if not r.ok:
            return 0, 0, 0, {0: ('not opened: ' + r.text, ())}
        for line in r.named('OK'):
            word, _, value = (line[1] or '').partition(' ')
            codes[word] = value
        rows = c.fetch('1:*', 'UID FLAGS BODY.PEEK[]') \
            if r.named('EXISTS')[0][1] else []
        return (int(codes['UIDVALIDITY']), int(codes['UIDNEXT']),
                int(codes['HIGHESTMODSEQ']),
                {m['UID']: self.message(m) for m in rows})

    @staticmethod
    def message(m):
        found = re.match(rb'Subject: (\S+)\r\n', m['BODY[]'])
        subject = found[1].decode() if found else '?'
        whole = m['BODY[]'] == TEXTS.get(subject)
        flags = tuple(sorted(f for f in m['FLAGS'] if f != '\\Recent'))
        return subject if whole else subject + ' torn', flags

    def content(self, keywords=True):
        return {n: sorted((subject, tuple(f for f in flags
                                          if keywords or f[0] == '\\'))
                          for subject, flags in f[3].values())
                for n, f in self.folders.items()}

    def promises(self):
        """(uidvalidity, uid) -> subject."""
        return {(f[0], uid): m[0] for f in self.folders.values()
                for uid, m in f[3].items()}

    def marks(self):
        return {f[0]: f[1:3] for f in self.folders.values()}


class Operation:
    """Commands of IMAP; those of `before` are not disturbed."""

    def __init__(self, name, before, *commands, either=False, leaves=None):
        """either: when what would take it back fails too, a NO may come
        behind the point of no return.  leaves: a folder that may stay, empty,
        in the same case or when it was killed."""
        self.name, self.before, self.commands = name, before, commands
        self.either, self.leaves = either, leaves

    def play(self, house, home, fault):
        """OK, NO, or gone; what was told."""
        c = house.local(home, 'session')
        for command in self.before:
            assert c.command(*command).ok, command
        house.arm('session', *fault)
        answer, code = 'OK', None
        try:
            for command in self.commands:
                r = c.command(*command)
                answer, code = ('OK', r.code) if r.ok else ('NO', r.text)
        except (Gone, OSError):
            answer = 'gone'
        struck = house.happened('session')
        house.counted = house.field('session', 'counted')
        house.disarm('session')
        if answer != 'gone':
            self.go_on(house, c)
        c.close()
        return answer, code, struck

    @staticmethod
    def go_on(house, c):
        """The session is as good as before."""
        try:
            r = c.command('NOOP')
        except (Gone, OSError):
            return
        if not r.ok:
            house.bad.append(('the session says', r))


class Quit:
    """POP3: all that was deleted goes at QUIT."""
    name, either, leaves = 'pop3', False, None
    commands = b'DELE 1\r\nDELE 3\r\nDELE 4\r\nQUIT\r\n'

    def play(self, house, home, fault):
        p = subprocess.Popen(
            [BUILD + '/bin/pop3d', '--session', '--set', 'log.target=stderr',
             '--set', 'log.level=error', '--config', home + '/surat.conf'],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=house.log,
            env=dict(os.environ, HOME=home, **house.environment('session')))
        p.stdout.readline()
        house.arm('session', *fault)
        try:
            out, _ = p.communicate(self.commands, 30 * SLOW)
        except subprocess.TimeoutExpired:
            p.kill()
            out, _ = p.communicate()
            house.bad.append((self.name, fault, 'does not end'))
        struck = house.happened('session')
        house.counted = house.field('session', 'counted')
        house.disarm('session')
        answers = re.findall(rb'(?m)^(\+OK|-ERR)[^\r\n]*\r$', out)
        if answers == [b'+OK'] * 4:
            return 'OK', None, struck
        if answers[:3] != [b'+OK'] * 3:
            return 'less', None, struck  # not all were marked
        return 'NO' if len(answers) == 4 else 'gone', None, struck


INBOX = (('SELECT INBOX',),)
NEW, LARGE = TEXTS['new'], TEXTS['large']
OPERATIONS = {o.name: o for o in [
    Operation('append', INBOX, ('APPEND Archive (\\Seen)', Literal(NEW))),
    Operation('append-here', INBOX, ('APPEND INBOX (word)', Literal(NEW))),
    Operation('append-large', INBOX, ('APPEND Archive', Literal(LARGE))),
    Operation('append-many', INBOX, ('APPEND Archive', Literal(NEW), '',
                                     Literal(LARGE))),
    Operation('copy', INBOX, ('COPY 1:3 Archive',)),
    Operation('move', INBOX, ('MOVE 2:4 Archive',)),
    Operation('store', INBOX, ('STORE 1:5 +FLAGS (\\Flagged work)',)),
    Operation('store-unseen', INBOX, ('STORE 1:6 FLAGS ()',)),
    Operation('expunge', INBOX + (('STORE 2:4 +FLAGS (\\Deleted)',),),
              ('EXPUNGE',)),
    Operation('uid-expunge', INBOX + (('STORE 1:6 +FLAGS (\\Deleted)',),),
              ('UID EXPUNGE 1:2',)),
    Operation('close', INBOX + (('STORE 5:6 +FLAGS (\\Deleted)',),),
              ('CLOSE',)),
    Operation('create', INBOX, ('CREATE b/c',), either=True),
    Operation('rename', INBOX, ('RENAME a x',), either=True),
    Operation('rename-inbox', INBOX, ('RENAME INBOX old',),
              leaves='old'),
    Operation('delete', INBOX, ('DELETE a/b',), either=True),
    Operation('replace', INBOX, ('REPLACE 3 Archive', Literal(NEW))),
    Quit(),
]}


class SessionHouse(Faults):
    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix='surat.')
        super().__init__(self.dir)
        self.log = open(self.dir + '/log', 'ab')
        self.bad, self.made, self.counted = [], 0, 0
        self.expected = {}

    def __enter__(self):
        self.template = self.dir + '/template'
        os.mkdir(self.template)
        c = self.local(self.template)
        for folder in ('Archive', 'a', 'a/b'):
            c.command('CREATE "%s"' % folder)
        for i in range(MESSAGES):
            c.command('APPEND INBOX', Literal(TEXTS['m%d' % i]))
        c.command('SELECT INBOX')
        for folder in ('a', 'a/b'):
            c.command('COPY 1:2 "%s"' % folder)
        View(c)
        c.close()
        return self

    def __exit__(self, kind, *rest):
        self.log.close()
        if kind is not None:
            print(open(self.dir + '/log', errors='replace').read()[-3000:])
        shutil.rmtree(self.dir, ignore_errors=True)

    def local(self, home, slot=None):
        env = self.environment(slot) if slot else {}
        return Local(home, self.log, patience=60 * SLOW, env=env)

    def fresh(self):
        self.made += 1
        home = '%s/%d' % (self.dir, self.made)
        shutil.copytree(self.template, home)
        return home

    def look(self, home):
        c = self.local(home)
        v = View(c)
        c.close()
        return v

    def undisturbed(self, operation):
        """The views before and after, and how many calls of which kinds."""
        if operation.name not in self.expected:
            views = []
            for commands in ((), operation.commands):
                home = self.fresh()
                known = vars(operation).copy()
                operation.commands = commands
                operation.play(self, home, (1 << 30,))
                vars(operation).clear()
                vars(operation).update(known)
                views.append(self.look(home))
                shutil.rmtree(home)
            self.expected[operation.name] = views
        return self.expected[operation.name]

    def calls(self, operation, classes=MUTATING):
        """How many calls of these classes it makes."""
        home = self.fresh()
        operation.play(self, home, (1 << 30, classes))
        shutil.rmtree(home)
        return self.counted

    def recover(self, home, at):
        """A session that finds what the first left is killed, too."""
        self.arm('session', at)
        try:
            c = self.local(home, 'session')
            View(c)
            c.close()
        except (Gone, OSError, IndexError):
            pass
        self.disarm('session')

    def point(self, operation, fault, again=0, careful=True):
        """fault: what arm() wants.  careful: False when a NO, too, leaves it
        open what has happened.  True when it struck."""
        before, done = self.undisturbed(operation)
        home = self.fresh()
        answer, code, struck = operation.play(self, home, fault)
        if again:
            self.recover(home, again)
        what = (operation.name, fault, again, answer)
        lasts = len(fault) > 3 and fault[3]
        if answer == 'NO' and (operation.either and lasts or not careful):
            answer = 'gone'
        now = self.look(home)
        left = now.folders.get(operation.leaves)
        if left and not left[3] and (answer == 'gone' or lasts):
            del now.folders[operation.leaves]
        self.judge(what, answer, code, now, before, done)
        self.bad += [(what, p) for p in problems(home + '/Maildir')]
        c = self.local(home)
        if not c.command('APPEND INBOX', Literal(NEW)).ok:
            self.bad.append((what, 'no mail is taken afterwards'))
        c.close()
        shutil.rmtree(home)
        return struck

    def judge(self, what, answer, code, now, before, done):
        may = {'OK': [done], 'NO': [before], 'less': [now]}.get(
            answer, [before, done])
        # A word the folder had not known goes with the row that was not
        # written; the message that was not acknowledged may be there without.
        words = answer != 'gone' or not what[0].startswith('append')
        content = now.content(words)
        if content not in [v.content(words) for v in may]:
            was = may[0].content(words)
            self.bad.append((what, {n: content.get(n) for n in
                                    set(content) | set(was)
                                    if content.get(n) != was.get(n)}))
        was, promised = before.marks(), before.promises()
        for v, marks in now.marks().items():
            if v in was and (marks[0] < was[v][0] or marks[1] < was[v][1]):
                self.bad.append((what, 'marks fell', was[v], marks))
        for key, subject in now.promises().items():
            if promised.get(key, subject) != subject:
                self.bad.append((what, 'a UID means another', key))
        told = re.match(r'(?:APPEND|COPY)UID (\d+) (?:\S+ )?(\d+)(?:[:,]|$)',
                        code or '')
        if answer == 'OK' and told and \
                (int(told[1]), int(told[2])) not in now.promises():
            self.bad.append((what, 'told a UID that is none', code))
