#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""More programs people read mail with, on a whole house: alpine, offlineimap
both ways, imapfilter, getmail."""
import os
import random
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
from house import House, SLOW, done, ok, same, skip
from imap import Imap, Literal
from stores import Far, Near, change_far, change_near, compare, mail
from terminal import Terminal


def run(args, home, timeout=120 * SLOW):
    return subprocess.run(args, capture_output=True, timeout=timeout,
                          stdin=subprocess.DEVNULL,
                          env=dict(os.environ, HOME=home))


def fresh(h, count):
    """alice's INBOX has that many messages, Kept none."""
    c = Imap(h.port('imap'))
    c.login('alice', h.users['alice'])
    c.command('DELETE Kept')
    c.command('CREATE Kept')
    c.command('SELECT INBOX')
    c.command('STORE 1:* +FLAGS.SILENT (\\Deleted)')
    c.command('CLOSE')
    for n in range(1, count + 1):
        c.command('APPEND INBOX', Literal(mail(n, b'reader')))
    return c


def subjects(c, folder):
    """Subject to flags of what is in a folder."""
    found = {}
    there = c.command('SELECT ' + folder).named('EXISTS')
    if there and there[0][1]:
        for f in c.fetch('1:*', 'FLAGS ENVELOPE'):
            found[f['ENVELOPE'][1].decode()] = sorted(
                set(f['FLAGS']) - {'\\Recent'})
    return found


# ------------------------------------------------------------------- alpine

def alpine(h, home):
    c = fresh(h, 5)
    host = '{127.0.0.1:%d/user=alice/notls}' % h.port('imap')
    with open(home + '/.pinerc', 'w') as f:
        f.write('personal-name=Alice\nuser-domain=example.test\n'
                'inbox-path=%sINBOX\nfolder-collections=Mail %s[]\n'
                'feature-list=enable-flag-cmd,quit-without-confirm,'
                'expunge-without-confirm-everywhere,save-will-not-delete\n'
                'last-version-used=9.99\n' % (host, host))
    t = Terminal(['alpine', '-p', home + '/.pinerc', '-i', '-f', 'INBOX'],
                 home, {})
    stuck = t.play(
        (rb'ENTER PASSWORD', h.users['alice'] + '\r'),
        (rb'Preserve password', 'n'),
        # it paints what differs: only whole screens are waited for
        (rb'ViewMsg', 'J1\rDJ2\r*'), (rb'Important', '\rJ3\rSKept\r'),
        (rb'ViewMsg', 'J4\r\r'), (rb'body 4 of reader', '<XQ'))
    same(stuck, None, 'alpine opens, flags, saves, reads, expunges')
    same(t.end(), 0, 'and ends well') or print('# %r' % t.shown[-1500:])
    same(subjects(c, 'INBOX'), {
        'number 2': ['\\Flagged'], 'number 3': [], 'number 4': ['\\Seen'],
        'number 5': []}, 'INBOX is as alpine left it')
    same(list(subjects(c, 'Kept')), ['number 3'], 'and so is the other')
    c.logout()


# ---------------------------------------------------------------- imapfilter

RULES = '''options.starttls = false
options.create = true
house = IMAP { server = '127.0.0.1', port = %d, username = 'alice',
               password = '%s' }
old = house.INBOX:contain_subject('number 2') +
      house.INBOX:contain_body('body 7 of')
old:move_messages(house['Kept'])
new = house.INBOX:contain_subject('number 1') * house.INBOX:is_unseen()
new:mark_flagged()
house.INBOX:match_header('Message-ID: <4[.]'):mark_seen()
house.INBOX:contain_subject('number 5'):copy_messages(house['new/made'])
junk = house.INBOX:is_smaller(100000) * house.INBOX:contain_from('reader@') *
       house.INBOX:contain_subject('number 6')
junk:delete_messages()
'''


def imapfilter(h, home):
    c = fresh(h, 8)
    with open(home + '/rules.lua', 'w') as f:
        f.write(RULES % (h.port('imap'), h.users['alice']))
    r = run(['imapfilter', '-c', home + '/rules.lua'], home)
    same(r.returncode, 0, 'imapfilter runs its rules') or print('# %r' % r)
    same(subjects(c, 'INBOX'), {
        'number 1': ['\\Flagged'], 'number 3': [], 'number 4': ['\\Seen'],
        'number 5': [], 'number 8': []}, 'what it marked and deleted')
    same(sorted(subjects(c, 'Kept')), ['number 2', 'number 7'],
         'what it moved')
    same(sorted(subjects(c, 'new/made')), ['number 5'],
         'what it copied into a folder it made')
    c.logout()


# ------------------------------------------------------------------- getmail

def body(text):
    return text.replace(b'\r\n', b'\n').split(b'\n\n', 1)[1]


def patiently(command, home):
    """getmail forks to deliver, and at times misses the end of its child (it
    waits for a notice that may come before): then it is begun again."""
    for _ in range(5):
        try:
            return run(command, home, timeout=10 * SLOW)
        except subprocess.TimeoutExpired:
            continue
    return run(command, home)


def getmail(h, home):
    c = fresh(h, 4)
    for sub in ('new', 'cur', 'tmp'):
        os.makedirs(home + '/Mail/' + sub)
    os.mkdir(home + '/.getmail')
    with open(home + '/.getmail/getmailrc', 'w') as f:
        f.write('[retriever]\ntype = SimpleIMAPRetriever\n'
                'server = 127.0.0.1\nport = %d\nusername = alice\n'
                'password = %s\n[destination]\ntype = Maildir\n'
                'path = %s/Mail/\n[options]\ndelete = true\nverbose = 0\n'
                'delivered_to = false\nreceived = false\n' %
                (h.port('imap'), h.users['alice'], home))
    command = ['getmail', '--getmaildir', home + '/.getmail']
    if os.getuid() == 0:
        # as root it delivers to nobody's Maildir but another's
        nobody = ['setpriv', '--reuid', '65534', '--regid', '65534',
                  '--clear-groups']
        subprocess.run(['chown', '-R', '65534:65534', home], check=True)
        command = nobody + command
    r = patiently(command, home)
    same(r.returncode, 0, 'getmail ends well') or print('# %r' % r)
    got = {body(open(home + '/Mail/new/' + f, 'rb').read())
           for f in os.listdir(home + '/Mail/new')}
    same(got, {body(mail(n, b'reader')) for n in range(1, 5)},
         'and has every body')
    same(subjects(c, 'INBOX'), {}, 'which is gone from the server')
    c.logout()


# --------------------------------------------------------------- offlineimap

class Offline(Near):
    """offlineimap's store: INBOX lies beside the others."""

    def __init__(self, h, directory):
        super().__init__(directory, inbox='mail/INBOX')
        with open(directory + '/rc', 'w') as f:
            f.write('[general]\naccounts = a\nmetadata = %s/meta\n'
                    'socktimeout = 60\n'
                    '[Account a]\nlocalrepository = l\n'
                    'remoterepository = r\n'
                    '[Repository l]\ntype = Maildir\n'
                    'localfolders = %s/mail\n'
                    '[Repository r]\ntype = IMAP\nremotehost = 127.0.0.1\n'
                    'remoteport = %d\nremoteuser = bob\nremotepass = %s\n'
                    'ssl = no\nstarttls = no\nauth_mechanisms = LOGIN\n' %
                    (directory, directory, h.port('imap'), h.users['bob']))

    def sync(self):
        r = run(['offlineimap', '-c', self.dir + '/rc', '-o', '-u', 'basic'],
                self.dir)
        text = (r.stdout + r.stderr).decode('utf-8', 'replace')
        bad = r.returncode != 0 or 'ERROR' in text or 'Traceback' in text
        if bad:
            ok(False, 'offlineimap is content', text[-2000:])
        return not bad


def offlineimap(h, home):
    near, far = Offline(h, home), Far(h)
    for n in range(30):
        far.c.command('APPEND %s (%s)' % (
            ['INBOX', 'Archive', 'Sent'][n % 3],
            ['', '\\Seen', '\\Flagged \\Seen'][n % 3]),
            Literal(mail(n, b'first')))
    ok(near.sync(), 'offlineimap fetches')
    compare(near, far, 'at first')
    r = random.Random(815)
    for n in range(1, 4):
        change_near(near, r, n)
        near.sync()
        compare(near, far, 'round %d, changed here' % n)
        change_far(far, r, n)
        near.sync()
        compare(near, far, 'round %d, changed there' % n)
    far.c.logout()


READERS = (('alpine', 'alpine', alpine),
           ('imapfilter', 'imapfilter', imapfilter),
           ('getmail', 'getmail6', getmail),
           ('offlineimap', 'offlineimap3', offlineimap))


def main():
    with House() as h:
        for program, package, play in READERS:
            if not shutil.which(program):
                skip(program, 'no package ' + package)
                continue
            home = tempfile.mkdtemp(prefix=program + '.')
            play(h, home)
            shutil.rmtree(home)
        same(h.grep('ERROR|panic|assert'), [], 'the log has no complaints')
        same(h.stop(), 0, 'it ends cleanly')
    done()


main()
