#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""A file system whose inode table is filled to the last one, and emptied, at
random moments of a stream of mail, as by somebody else's cache of small files.
What is refused is refused with words (4xx, NO) and is not there; what is
acknowledged is there once; when there is room again all goes on by itself.

    test_errors_full_inodes.py [SECONDS]     4 by default; SEED repeats the
                                             moments, not the timing

Needs a small ext4 of its own, by a loop device in a mount namespace; without
one this is skipped."""
import imaplib
import os
import random
import shutil
import smtplib
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', '..', 'lib'))
sys.path.insert(0, os.path.join(HERE, '..', 'power'))
from house import SLOW, done, ok, same, skip
from maildir import problems
from power_check import Found, Promise, check_filed, check_folders
from power_check import check_mail, drain
from power_house import PowerHouse, USERS, message_of, mount
from power_record import Filer, Marks, Reader, Refused, Sender, login

INODES, SENDERS = 6000, 3


def enter():
    """Runs this script again where it may mount."""
    if os.environ.get('INSIDE'):
        return
    if os.getuid() == 0 and os.path.exists('/dev/loop-control') and \
            shutil.which('mkfs.ext4') and subprocess.run(
                ['unshare', '-m', 'true'], capture_output=True
            ).returncode == 0:
        os.execvpe('unshare', ['unshare', '-m', sys.executable, __file__,
                               *sys.argv[1:]], dict(os.environ, INSIDE='1'))
    skip('a full inode table', 'no file system of its own to be had')
    done()


class Filler(threading.Thread):
    """Takes every inode there is, holds them for a moment, gives all or half
    of them back."""

    def __init__(self, path, seed):
        super().__init__(daemon=True)
        self.path, self.random = path, random.Random(seed)
        self.stop, self.files, self.full = threading.Event(), [], 0
        os.mkdir(path)

    def run(self):
        while not self.stop.is_set():
            self.stop.wait(self.random.random() * 0.5)
            end = time.time() + self.random.random() * 0.5
            while time.time() < end:
                self.fill()
                time.sleep(0.002)
            self.full += 1
            self.free(self.random.choice([0, 0, len(self.files) // 2]))
        self.free(0)

    def fill(self):
        try:
            while True:
                path = '%s/%d' % (self.path, len(self.files))
                os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600))
                self.files.append(path)
        except OSError:
            pass

    def free(self, left):
        while len(self.files) > left:
            os.unlink(self.files.pop())


class Counting:
    """Of a worker: how often it was refused, and with which words last."""
    refusals, last = 0, ''

    def unanswered(self, e):
        """The end of a connection is an answer when it was announced."""
        if 'BYE' not in repr(e):
            raise e
        self.refused(e)

    def refused(self, e):
        self.refusals += 1
        self.last = repr(e)


class PatientSender(Counting, Sender):
    def work(self):
        n = 0
        while not self.stop.is_set():
            try:
                with self.house.smtp() as smtp:
                    smtp.ehlo('inodes.test')
                    while not self.stop.is_set() and smtp.sock:
                        n += 1
                        self.one(smtp, '%s-%d' % (self.key, n))
                        self.pause()
            except smtplib.SMTPConnectError as e:
                self.refused(e)
            self.pause()

    def one(self, smtp, ident):
        users = self.random.choice([['alice'], ['bob'], ['alice', 'bob']])
        self.marks.put(k='sent', id=ident, users=users)
        try:
            smtp.sendmail('p@remote.test',
                          [u + '@example.test' for u in users],
                          message_of(ident))
        except (smtplib.SMTPResponseException,
                smtplib.SMTPRecipientsRefused) as e:
            codes = [e.smtp_code] if hasattr(e, 'smtp_code') else [
                code for code, _ in e.recipients.values()]
            if not all(400 <= code < 500 for code in codes):
                raise
            self.refused(e)
            self.marks.put(k='no', id=ident)
            return
        self.marks.put(k='yes', id=ident)


class PatientFiler(Counting, Filer):
    def work(self):
        """Folders were made before."""
        self.n = 0
        while not self.stop.is_set():
            try:
                m = login(self.house, 'carol')
                must_open(m, 'INBOX')
                while not self.stop.is_set():
                    self.n += 1
                    self.one(m, '%s-%d' % (self.key, self.n))
                    self.pause()
                m.logout()
            except imaplib.IMAP4.abort as e:
                self.unanswered(e)
            except (Refused, imaplib.IMAP4.error) as e:
                self.refused(e)
            self.pause()

    def one(self, m, ident):
        try:
            super().one(m, ident)
        except Refused as e:
            self.refused(e)
            self.marks.put(k='refused', id=ident)


class PatientReader(Counting, Reader):
    def work(self):
        while not self.stop.is_set():
            try:
                super().work()
            except imaplib.IMAP4.abort as e:
                self.unanswered(e)
            except imaplib.IMAP4.error as e:
                self.refused(e)
            self.pause()


def must_open(m, folder):
    if m.select(folder)[0] != 'OK':
        raise Refused(folder)


def work(house, marks, seconds, seed, top):
    stop = threading.Event()
    workers = [PatientSender(house, marks, 's%d' % i, stop)
               for i in range(SENDERS)]
    workers += [PatientFiler(house, marks, 'filer', stop),
                PatientReader(house, marks, 'reader', stop)]
    filler = Filler(top + '/disk/filler', seed)
    for w in workers + [filler]:
        w.start()
    time.sleep(seconds)
    filler.stop.set()
    filler.join()
    before = [w.refusals for w in workers]
    # a failed commit is tried again after 1.3 s at most
    time.sleep(2 * SLOW)
    settled = [w.refusals for w in workers]
    time.sleep(1)
    late = [w.last for w, n in zip(workers, settled) if w.refusals > n]
    stop.set()
    for w in workers:
        w.join(60 * SLOW)
    return workers, filler.full, before, late


def judge(house, top, path):
    wrong = [row for row in drain(house)]
    promise, found = Promise(path), Found(house)
    for check in (check_mail, check_filed, check_folders):
        wrong += check(promise, found)
    yes = sum(answer == 'yes' for answer, _ in promise.mail.values())
    return wrong + [('closed', line) for line in found.closed], yes


def main():
    enter()
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 4
    seed = int(os.environ.get('SEED', time.time()))
    print('# seed %d' % seed)
    top = tempfile.mkdtemp(prefix='surat.')
    os.chmod(top, 0o755)
    subprocess.run(['truncate', '-s', '1G', top + '/image'], check=True)
    subprocess.run(['mkfs.ext4', '-q', '-N', str(INODES), top + '/image'],
                   check=True)
    mount(top + '/image', top + '/disk')
    with PowerHouse(top) as house:
        m = login(house, 'carol')
        for folder in ('Box', 'Other'):
            m.create(folder)
        m.logout()
        open(top + '/marks', 'w').close()
        marks = Marks(top + '/marks')
        workers, full, before, late = work(house, marks, seconds, seed, top)
        same([w.wrong for w in workers if w.wrong], [],
             'every refusal was one with words')
        ok(full > 2 and sum(before) > 0, 'the table was full, and that said',
           (full, before))
        same(late, [], 'with room again nobody is refused')
        wrong, yes = judge(house, top, top + '/marks')
        print('# full %d times, %s refusals, %d acknowledged by SMTP' % (
            full, before, yes))
        same(wrong, [], 'what was acknowledged is there, once')
        same([p for u in USERS for p in problems(house.maildir(u))], [],
             'index and names agree')
        same(house.complaints(), [], 'nothing was damaged')
    subprocess.run(['umount', top + '/disk'], check=True)
    shutil.rmtree(top, ignore_errors=True)
    done()


main()
