#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Programs people use, on a whole house: curl, mbsync both ways, mutt,
fetchmail, imaplib."""
import glob
import os
import random
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
from house import House, SLOW, done, message, ok, same, until
from imap import Imap, Literal
from stores import Far, Near, change_far, change_near, compare, crlf, mail
from terminal import Terminal

CORPUS = os.path.join(os.path.dirname(__file__), '..', 'corpus')


def run(args, **more):
    return subprocess.run(args, capture_output=True, timeout=120 * SLOW,
                          stdin=subprocess.DEVNULL, **more)


def login(h, user='alice'):
    c = Imap(h.port('imap'))
    c.login(user, h.users[user])
    return c


# --------------------------------------------------------------------- curl

def curl(h):
    def get(url, *more, port='imap'):
        scheme = 'imaps' if port == 'imaps' else 'imap'
        r = run(['curl', '-s', '-S', '-k', '-u', 'alice:secret',
                 '%s://127.0.0.1:%d/%s' % (scheme, h.port(port), url)] +
                list(more))
        return r.stdout if r.returncode == 0 else r.stderr
    text = crlf(b'From: a@b.test\nSubject: by curl\n\nhello from curl\n')
    with tempfile.NamedTemporaryFile() as f:
        f.write(text)
        f.flush()
        got = get('INBOX', '-T', f.name)
        same(got, b'', 'curl appends a message')
    same(get('INBOX;UID=1'), text, 'curl reads it')
    same(get('INBOX;UID=1;SECTION=TEXT'), b'hello from curl\r\n',
         'curl reads a part of it')
    same(get('INBOX;MAILINDEX=1'), text, 'curl reads it by number')
    ok(b'"/" INBOX\r\n' in get(''), 'curl lists folders')
    same(get('INBOX?SUBJECT%20curl'), b'* SEARCH 1\r\n', 'curl searches')
    same(get('INBOX;UID=1', '--ssl-reqd'), text, 'curl with STARTTLS')
    same(get('INBOX;UID=1', port='imaps'), text, 'curl with TLS')
    ok(b'\\Deleted' in get('INBOX', '-X', 'STORE 1 +Flags \\Deleted'),
       'curl stores a flag')
    same(get('INBOX', '-X', 'EXPUNGE'), b'* 1 EXPUNGE\r\n', 'curl expunges')


# ------------------------------------------------------------------- mbsync

class Local(Near):
    """mbsync's store."""

    def __init__(self, h, directory):
        super().__init__(directory)
        self.rc = os.path.join(directory, 'rc')
        with open(self.rc, 'w') as f:
            f.write('''
IMAPAccount surat
Host 127.0.0.1
Port %d
User bob
Pass hunter2
SSLType None

IMAPStore far
Account surat

MaildirStore near
Path %s/mail/
Inbox %s/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Remove Both
Expunge Both
SyncState *
''' % (h.port('imap'), directory, directory))

    def sync(self):
        r = run(['mbsync', '-c', self.rc, 'all'])
        text = (r.stdout + r.stderr).decode('utf-8', 'replace')
        if r.returncode != 0 or 'Warning' in text or 'Error' in text:
            ok(False, 'mbsync is content', text)
        return r.returncode == 0


def mbsync(h):
    near = Local(h, tempfile.mkdtemp(prefix='near.'))
    far = Far(h)
    for n, path in enumerate(sorted(glob.glob(CORPUS + '/mime/*'))):
        text = crlf(open(path, 'rb').read()).replace(b'\0', b'?')
        if b'\r\n\r\n' not in text:
            continue  # mbsync passes over what is all header
        far.c.command('APPEND %s (%s)' % (
            ['INBOX', 'Archive', 'Sent'][n % 3],
            ['', '\\Seen', '\\Flagged \\Seen'][n % 3]), Literal(text))
    ok(near.sync(), 'mbsync fetches the corpus')
    compare(near, far, 'at first')
    r = random.Random(4711)
    for n in range(1, 5):
        change_near(near, r, n)
        near.sync()
        compare(near, far, 'round %d, changed here' % n)
        change_far(far, r, n)
        near.sync()
        compare(near, far, 'round %d, changed there' % n)
    change_near(near, r, 9)
    change_far(far, r, 8)
    near.sync()
    near.sync()
    same(near.folders(), far.folders(), 'changed on both sides at once')
    # a lost index changes no UID: mbsync sees nothing new
    far.c.logout()
    for f in glob.glob(h.maildir('bob', 'surat/index.db*')):
        os.unlink(f)
    before = {n: sorted(near.files(n)) for n in near.folders()}
    ok(near.sync(), 'mbsync after the index was lost')
    same({n: sorted(near.files(n)) for n in near.folders()}, before,
         'finds everything as it was')
    shutil.rmtree(near.dir)


# --------------------------------------------------------------------- mutt

def play_mutt(h, keys):
    """mutt on a terminal, with keys pushed into it; how it ended."""
    directory = tempfile.mkdtemp(prefix='mutt.')
    rc = os.path.join(directory, 'rc')
    with open(rc, 'w') as f:
        f.write('''
set imap_user=alice imap_pass=secret
set folder=imap://127.0.0.1:%d/ spoolfile=+INBOX
set ssl_starttls=no ssl_force_tls=no mail_check=60
set quit=yes delete=yes confirmappend=no confirmcreate=no move=no
set wait_key=no sort=mailbox-order mark_old=no header_cache=""
push "%s"
''' % (h.port('imap'), keys))
    t = Terminal(['mutt', '-n', '-F', rc], directory, {})
    code = t.end()
    shutil.rmtree(directory)
    return code, t.shown[-1500:]


def mutt(h):
    c = login(h)
    c.command('CREATE Kept')
    for n in range(1, 6):
        c.command('APPEND INBOX', Literal(mail(n, b'mutt')))
    code, shown = play_mutt(
        h, '<first-entry><flag-message><next-entry><delete-message>'
        '<copy-message>=Kept<enter><display-message><exit>'
        '<last-entry><save-message>=Kept<enter>'
        '<sync-mailbox><quit>')
    same(code, 0, 'mutt ends well') or print('# %r' % shown)
    c.command('SELECT INBOX')
    found = []
    for f in c.fetch('1:*', 'UID FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)]'):
        found.append((f['UID'], sorted(set(f['FLAGS']) & {
            '\\Flagged', '\\Seen', '\\Deleted'})))
    same([u for u, _ in found][:1], [2], 'the first message is still there')
    ok('\\Flagged' in found[0][1], 'and flagged', found)
    ok(len(found) <= 4, 'a message is deleted', found)
    r = c.command('STATUS Kept (MESSAGES)')
    ok(r.named('STATUS')[0][2]['MESSAGES'] >= 2,
       'messages are copied and moved', r)
    c.logout()


# ---------------------------------------------------------------- fetchmail

def fetchmail(h):
    directory = tempfile.mkdtemp(prefix='fetch.')
    c = login(h)
    c.command('SELECT INBOX')
    for f in c.command('UID SEARCH ALL').named('SEARCH')[0][1]:
        c.command('UID STORE %d +FLAGS.SILENT (\\Deleted)' % f)
    c.command('CLOSE')
    texts = [mail(n, b'fetch') for n in range(20)]
    for t in texts:
        c.command('APPEND INBOX', Literal(t))
    rc = os.path.join(directory, 'rc')
    with open(rc, 'w') as f:
        f.write('poll 127.0.0.1 protocol IMAP port %d user alice password '
                'secret sslproto "" no rewrite\n'
                ' mda "cat >>%s/got; echo >>%s/count"\n' %
                (h.port('imap'), directory, directory))
    os.chmod(rc, 0o600)
    r = run(['fetchmail', '-f', rc, '--invisible', '--nodetach', '--nosyslog'],
            env=dict(os.environ, HOME=directory, FETCHMAILHOME=directory))
    same(r.returncode, 0, 'fetchmail ends well') or print('# %r' % r.stderr)
    got = open(directory + '/got', 'rb').read().replace(b'\r', b'')
    ok(all(t.replace(b'\r', b'').split(b'\n\n', 1)[1] in got for t in texts),
       'and has everything')
    same(c.command('STATUS INBOX (MESSAGES)').named('STATUS')[0][2],
         {'MESSAGES': 0}, 'it is gone from the server')
    c.logout()
    shutil.rmtree(directory)


# ------------------------------------------------------------------ imaplib

def imaplib_flow(h):
    import imaplib
    import time
    m = imaplib.IMAP4('127.0.0.1', h.port('imap'))
    m.login('alice', 'secret')
    kind, data = m.list()
    ok(kind == 'OK' and any(b'INBOX' in x for x in data), 'list', data)
    same(m.create('lib')[0], 'OK', 'create')
    same(m.subscribe('lib')[0], 'OK', 'subscribe')
    ok(any(b'lib' in x for x in m.lsub()[1]), 'lsub')
    for n in range(5):
        same(m.append('lib', '(\\Seen)', imaplib.Time2Internaldate(
            time.time()), mail(n, b'lib'))[0], 'OK', 'append')
    same(m.select('lib'), ('OK', [b'5']), 'select')
    same(m.search(None, 'SUBJECT', '"number 3"')[1], [b'4'], 'search')
    kind, data = m.fetch('1:2', '(UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])')
    ok(b'number 0' in data[0][1] and b'number 1' in data[2][1], 'fetch',
       data)
    same(m.store('2', '+FLAGS', '\\Deleted')[0], 'OK', 'store')
    same(m.copy('1:3', 'Archive')[0], 'OK', 'copy')
    same(m.expunge(), ('OK', [b'2']), 'expunge')
    same(m.uid('MOVE', '1', 'Archive')[0], 'OK', 'move')
    same(m.noop()[0], 'OK', 'noop')
    same(m.status('lib', '(MESSAGES UNSEEN)')[1],
         [b'lib (MESSAGES 3 UNSEEN 0)'], 'status')
    same(m.close()[0], 'OK', 'close')
    same(m.rename('lib', 'library')[0], 'OK', 'rename')
    same(m.unsubscribe('lib')[0], 'OK', 'unsubscribe')
    same(m.delete('library')[0], 'OK', 'delete')
    same(m.namespace(), ('OK', [b'(("" "/")) NIL NIL']), 'namespace')
    same(m.logout()[0], 'BYE', 'logout')


def main():
    with House() as h:
        curl(h)
        mutt(h)
        fetchmail(h)
        imaplib_flow(h)
        mbsync(h)
        same(h.stop(), 0, 'it ends cleanly')
    done()


main()
