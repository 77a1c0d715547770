# SPDX-License-Identifier: ISC
"""Records a working house: power_record.py HOUSE TOP DISKS SECONDS, in a mount
namespace of its own.  What is sent and what is acknowledged goes into the log
as marks, each a line of JSON; power_check.py reads them.

    sent ID USERS, then yes ID or no ID          SMTP
    begin OP ID FOLDER [TO], then end ...        IMAP; V UID where it now is
                             or refused ID
    seen FOLDER V [[UID, ID]...]                 what a client was shown
"""
import imaplib
import json
import os
import random
import re
import smtplib
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', '..', 'lib'))
sys.path.insert(0, HERE)
from house import BUILD, SLOW
from power_house import message_of, mount_all, umount_all
from power_rivals import HOUSES

SENDERS = 3


class Marks:
    def __init__(self, path):
        self.fd = os.open(path, os.O_WRONLY)

    def put(self, **fields):
        os.write(self.fd, (json.dumps(fields) + '\n').encode())

    def close(self):
        os.close(self.fd)


class Worker(threading.Thread):
    """Works until told to stop; what goes wrong is kept for the end."""

    def __init__(self, house, marks, name, stop):
        super().__init__(daemon=True)
        self.house, self.marks, self.key, self.stop = house, marks, name, stop
        self.random = random.Random(name)
        self.wrong = None

    def run(self):
        try:
            self.work()
        except Exception as e:  # told by main
            self.wrong = '%s: %r' % (self.key, e)

    def pause(self):
        time.sleep(self.random.random() * 0.03)


class Sender(Worker):
    def work(self):
        n = 0
        with self.house.smtp() as smtp:
            smtp.ehlo('power.test')
            while not self.stop.is_set():
                n += 1
                self.one(smtp, '%s-%d' % (self.key, n))
                self.pause()

    def one(self, smtp, ident):
        users = self.random.choice([['alice'], ['bob'], ['alice', 'bob']])
        self.marks.put(k='sent', id=ident, users=users)
        try:
            smtp.sendmail('p@remote.test',
                          [u + '@example.test' for u in users],
                          message_of(ident))
        except smtplib.SMTPResponseException:
            self.marks.put(k='no', id=ident)
            smtp.rset()
            return
        self.marks.put(k='yes', id=ident)


def login(house, user):
    m = imaplib.IMAP4('127.0.0.1', house.port('imap'), timeout=60 * SLOW)
    m.login(user, house.users[user])
    return m


class Refused(Exception):
    """NO to what was begun."""


def must(answer):
    if answer[0] != 'OK':
        raise Refused(answer)


def told(m, code, answer):
    """The words of a response code: APPENDUID, COPYUID."""
    must(answer)
    return m.response(code)[1][0].decode().split()


def highest(m):
    """The modseq of what was selected; 0: the server says none."""
    return int(m.response('HIGHESTMODSEQ')[1][0] or 0)


class Filer(Worker):
    """Carol: appends, copies, moves, expunges."""

    def work(self):
        m = login(self.house, 'carol')
        for folder in ('Box', 'Other'):
            m.create(folder)
        m.select('INBOX')
        n = 0
        while not self.stop.is_set():
            n += 1
            self.one(m, '%s-%d' % (self.key, n))
            self.pause()
        m.logout()

    def begin(self, op, ident, **where):
        self.marks.put(k='begin', op=op, id=ident, **where)

    def end(self, op, ident, **where):
        self.marks.put(k='end', op=op, id=ident, **where)

    def one(self, m, ident):
        self.begin('append', ident, to='INBOX')
        v, uid = told(m, 'APPENDUID', m.append(
            'INBOX', '', None, message_of(ident)))
        self.end('append', ident, to='INBOX', v=v, uid=uid)
        self.transfer(m, 'copy', ident, uid, 'Box')
        what = self.random.choice(['move', 'expunge', 'nothing'])
        if what == 'move':
            self.transfer(m, 'move', ident, uid, 'Other')
        elif what == 'expunge':
            self.begin('expunge', ident, of='INBOX')
            must(m.uid('STORE', uid, '+FLAGS', '(\\Deleted)'))
            must(m.uid('EXPUNGE', uid))
            self.end('expunge', ident, of='INBOX')

    def transfer(self, m, op, ident, uid, to):
        self.begin(op, ident, of='INBOX', to=to)
        v, _, uid = told(m, 'COPYUID', m.uid(op.upper(), uid, to))
        self.end(op, ident, of='INBOX', to=to, v=v, uid=uid)


class Reader(Worker):
    """Looks at what the others do."""

    def work(self):
        folders = [('alice', 'INBOX'), ('bob', 'INBOX'), ('carol', 'Box')]
        while not self.stop.is_set():
            user, folder = self.random.choice(folders)
            m = login(self.house, user)
            if m.select(folder, True)[0] == 'OK':
                self.look(m, user, folder)
            m.logout()
            time.sleep(0.15)

    def look(self, m, user, folder):
        v = m.response('UIDVALIDITY')[1][0].decode()
        modseq = highest(m)
        _, rows = m.uid('FETCH', '1:*',
                        '(BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])')
        seen = []
        for row in rows or []:
            if isinstance(row, tuple):
                uid = re.search(rb'UID (\d+)', row[0])[1]
                ident = re.search(rb'<(.*?)@', row[1])[1]
                seen.append([uid.decode(), ident.decode()])
        self.marks.put(k='seen', user=user, folder=folder, v=v,
                       modseq=modseq, rows=seen[-50:])


def work(house, marks, seconds):
    stop = threading.Event()
    workers = [Sender(house, marks, 's%d' % i, stop)
               for i in range(SENDERS)]
    workers += [Filer(house, marks, 'filer', stop),
                Reader(house, marks, 'reader', stop)]
    for w in workers:
        w.start()
    time.sleep(seconds)
    stop.set()
    for w in workers:
        w.join(60 * SLOW)
    return [w.wrong for w in workers if w.wrong]


def serve(top, disks):
    """The recorder, and its disks mounted."""
    live = ['%s/live%d' % (top, i) for i in range(disks)]
    os.mkdir(top + '/recorder')
    recorder = subprocess.Popen(
        [BUILD + '/t/recorder', top + '/recorder', top + '/log'] + live,
        stdout=sys.stderr)
    while not os.path.exists(top + '/recorder/mark'):
        if recorder.poll() is not None:
            sys.exit('the recorder has ended')
        time.sleep(0.02)
    return recorder


def main():
    name, top, count, seconds = sys.argv[1:]
    count = int(count)
    recorder = serve(top, count)
    try:
        disks = ['%s/recorder/disk%d' % (top, i) for i in range(count)]
        mount_all(top, disks)
        os.chmod(top, 0o755)
        house = HOUSES[name](top)
        os.sync()  # the administrator's part
        with house:
            marks = Marks(top + '/recorder/mark')
            wrong = work(house, marks, float(seconds))
            marks.close()
        umount_all(top, disks)
        # the loop devices let go of it when they like
        subprocess.run(['umount', '-l', top + '/recorder'], check=True)
        recorder.wait(20)
    finally:
        recorder.kill()
    sys.exit('\n'.join(wrong) or 0)


if __name__ == '__main__':
    main()
