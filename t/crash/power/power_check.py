# SPDX-License-Identifier: ISC
"""Starts a house on what a power cut left and compares it with the marks:
power_check.py HOUSE TOP FOLDER DISKS, in a mount namespace of its own.
Prints a line of JSON: wrong, a list of [kind, text], and counts.  Kinds:

    lost       acknowledged and not there
    twice      more than once where it should be
    torn       not what was sent
    foreign    refused, or never sent here
    back       where it had been taken from, and that was acknowledged
    renumbered another UID than was told, or a modseq that fell
    stuck      in the queue for good
    log        what the server says of damage
    lock       left, and waited for
    closed     a folder that could not be opened, or at the second try only;
               a session that was left without a word
"""
import imaplib
import json
import os
import re
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', '..', 'lib'))
sys.path.insert(0, HERE)
from house import SLOW
from power_house import USERS, body_of, mount_all, umount_all
from power_record import highest, login
from power_rivals import HOUSES


class Promise:
    """What the marks say must be: for each message where it may be, and which
    UID was told for it."""

    def __init__(self, path):
        self.mail = {}  # id -> [answer, users]
        self.filed = {}  # id -> sets of folders, any of which may be
        self.uids = {}  # (user, folder, v, uid) -> id
        self.modseqs = {}  # (user, folder, v) -> the highest
        self.now = {}  # (id, folder) -> (v, uid)
        for line in open(path):
            mark = json.loads(line)
            getattr(self, 'on_' + mark.pop('k'))(**mark)

    def on_sent(self, id, users):
        self.mail[id] = ['unknown', users]

    def on_yes(self, id):
        self.mail[id][0] = 'yes'

    def on_no(self, id):
        self.mail[id][0] = 'no'

    def after(self, op, before, of, to):
        after = set(before)
        if op in ('move', 'expunge'):
            after.discard(of)
        if to:
            after.add(to)
        return frozenset(after)

    def on_begin(self, op, id, of=None, to=None):
        """Not answered yet: as before, done, or (a MOVE) copied."""
        before = self.filed.get(id, {frozenset()})
        self.filed[id] = before | {
            self.after(o, b, of, to) for b in before for o in (op, 'copy')}
        self.doubt = before

    def on_refused(self, id):
        self.filed[id] = self.doubt

    def on_end(self, op, id, of=None, to=None, v=None, uid=None):
        done = {self.after(op, b, of, to) for b in self.doubt}
        # an expunge need not outlive a cut
        self.filed[id] = self.doubt | done if op == 'expunge' else done
        if to:
            self.uids['carol', to, v, uid] = id
            self.now[id, to] = (v, uid)

    def on_seen(self, user, folder, v, modseq, rows):
        self.modseqs[user, folder, v] = max(
            modseq, self.modseqs.get((user, folder, v), 0))
        for uid, id in rows:
            self.uids[user, folder, v, uid] = id


class Found:
    """What a client sees: (user, folder) -> (v, modseq, [(uid, id, body)])"""
    TRIES = 3

    def __init__(self, house):
        self.folders, self.closed, self.house = {}, [], house
        for user in USERS:
            names = self.again(user, lambda m: [
                re.search(rb'"?([^" ]+)"?$', row)[1].decode()
                for row in m.list()[1]]) or ['INBOX']
            for folder in names:
                self.folders[user, folder] = self.again(
                    user, lambda m: self.read(m, folder)) or (
                        '?', 0, [('?', '?', b'')])

    def again(self, user, what):
        """Who is refused, or left, comes again, as a mail program does."""
        for _ in range(self.TRIES):
            try:
                m = login(self.house, user)
                value = what(m)
                m.logout()
                return value
            except imaplib.IMAP4.error as e:
                self.closed.append('%s: %r' % (user, e))
        return None

    def read(self, m, folder):
        typ, why = m.select(folder)
        if typ != 'OK':
            raise imaplib.IMAP4.error('%s: %r' % (folder, why))
        return self.read_all(m)

    def read_all(self, m):
        v = m.response('UIDVALIDITY')[1][0].decode()
        modseq = highest(m)
        rows = m.uid('FETCH', '1:*', '(UID BODY.PEEK[])')[1] or []
        return v, modseq, [self.message(*row[:2]) for row in rows
                           if isinstance(row, tuple)]

    @staticmethod
    def message(head, text):
        uid = re.search(rb'UID (\d+)', head)[1].decode()
        ident = re.search(rb'(?m)^Message-ID: <(.*?)@', text)
        body = text.split(b'\r\n\r\n', 1)[-1]
        return uid, ident[1].decode() if ident else '?', body

    def count(self, user, folder, ident):
        rows = self.folders.get((user, folder), ('', 0, []))[2]
        return sum(1 for r in rows if r[1] == ident)


def check_mail(promise, found):
    for id, (answer, users) in promise.mail.items():
        for user in USERS:
            n = found.count(user, 'INBOX', id)
            if n > 1:
                yield 'twice', '%s is %d times with %s (%s)' % (
                    id, n, user, answer)
            if n == 0 and answer == 'yes' and user in users:
                yield 'lost', '%s is lost to %s' % (id, user)
            if n > 0 and (answer == 'no' or user not in users):
                yield 'foreign', '%s appears with %s (%s)' % (
                    id, user, answer)


def check_filed(promise, found):
    for id, may in promise.filed.items():
        counts = {f: found.count('carol', f, id)
                  for f in ('INBOX', 'Box', 'Other')}
        there = frozenset(f for f, n in counts.items() if n)
        if there not in may:
            kind = 'back' if any(m < there for m in may) else 'lost'
            yield kind, '%s is in %s, not in %s' % (
                id, sorted(there), sorted(map(sorted, may)))
        if max(counts.values()) > 1:
            yield 'twice', '%s is twice: %r' % (id, counts)


def check_folders(promise, found):
    """Contents, UIDs, modseqs."""
    for (user, folder), (v, modseq, rows) in found.folders.items():
        for uid, id, body in rows:
            if body != body_of(id):
                yield 'torn', '%s/%s %s %s: not what was sent (%d)' % (
                    user, folder, uid, id, len(body))
            was = promise.uids.get((user, folder, v, uid), id)
            if was != id:
                yield 'renumbered', '%s/%s: UID %s was %s and is %s' % (
                    user, folder, uid, was, id)
        if modseq < promise.modseqs.get((user, folder, v), 0):
            yield 'renumbered', '%s/%s: modseq fell to %d' % (
                user, folder, modseq)
    for (id, folder), (v, uid) in promise.now.items():
        is_v, _, rows = found.folders.get(('carol', folder), ('', 0, []))
        uids = [r[0] for r in rows if r[1] == id]
        if uids and (is_v, uids[0]) != (v, uid):
            yield 'renumbered', '%s in %s was told %s %s and has %s %s' % (
                id, folder, v, uid, is_v, uids[0])


def drain(house):
    end = time.time() + 30 * SLOW
    rows = house.left()
    while rows and time.time() < end:
        house.retry()
        time.sleep(0.05)
        rows = house.left()
    for row in rows:
        yield 'stuck', 'left in the queue: ' + row


def main():
    name, top, folder, disks = sys.argv[1:]
    promise = Promise(folder + '/marks')
    disks = ['%s/disk%d' % (folder, i) for i in range(int(disks))]
    mount_all(top, disks)
    house = HOUSES[name](top, boots=1)
    with house:
        wrong = list(drain(house))
        found = Found(house)
        for check in (check_mail, check_filed, check_folders):
            wrong += check(promise, found)
        wrong += [('closed', line) for line in found.closed]
        wrong += house.complaints()
    if wrong and os.environ.get('KEEP'):
        with open(folder + '/log', 'w') as f:
            f.write(''.join(house.log))
    umount_all(top, disks)
    yes = sum(1 for answer, _ in promise.mail.values() if answer == 'yes')
    print(json.dumps({'wrong': wrong, 'counts': {
        'acknowledged': yes, 'filed': len(promise.filed)}}))


if __name__ == '__main__':
    main()
