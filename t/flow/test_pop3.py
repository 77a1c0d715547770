#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Mail that came in over SMTP is read by POP3, by the clients people have."""
import imaplib
import os
import poplib
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
from house import (House, SLOW, after_trace, corpus, done, message, ok, same,
                   skip, until)

PATIENCE = 60 * SLOW


def context():
    return ssl._create_unverified_context()


class Raw:
    """POP3 octet by octet."""

    def __init__(self, h, user=None, password=None):
        self.sock = socket.create_connection(
            ('127.0.0.1', h.port('pop3')), PATIENCE)
        self.file = self.sock.makefile('rb', 1 << 20)
        self.first = self.file.readline()
        if user:
            self.say('USER ' + user)
            self.welcome = self.say('PASS ' + (password or h.users[user]))

    def send(self, *lines):
        self.sock.sendall(''.join(x + '\r\n' for x in lines).encode())

    def say(self, *lines):
        self.send(*lines)
        return self.file.readline()

    def text(self):
        """A multi-line response as it is before byte-stuffing."""
        out = []
        for line in self.file:
            if line == b'.\r\n':
                return b''.join(out)
            out.append(line[1:] if line[:1] == b'.' else line)
        raise EOFError

    def retr(self, n):
        first = self.say('RETR %d' % n)
        return int(first.split()[1]), self.text()

    def close(self):
        self.file.close()
        self.sock.close()

    def quit(self):
        last = self.say('QUIT')
        rest = self.file.read()
        self.close()
        return last, rest


def logins(h):
    def check(p, what):
        same(p.stat()[0], len(h.mails('alice')), what)
        p.quit()
    h.send(['alice@example.test'], message('login'))
    h.wait_mail('alice', 1)
    p = poplib.POP3('127.0.0.1', h.port('pop3'), PATIENCE)
    p.user('alice')
    p.pass_('secret')
    check(p, 'USER and PASS')
    p = poplib.POP3('127.0.0.1', h.port('pop3'), PATIENCE)
    p.stls(context())
    ok('STLS' not in p.capa() and 'SASL' in p.capa(), 'CAPA under TLS')
    p.user('alice')
    p.pass_('secret')
    check(p, 'under STLS')
    p = poplib.POP3_SSL('127.0.0.1', h.port('pop3s'), timeout=PATIENCE,
                        context=context())
    p.user('alice')
    p.pass_('secret')
    check(p, 'under TLS')
    r = Raw(h)
    ok(r.say('AUTH PLAIN AGFsaWNlAHNlY3JldA==').startswith(b'+OK Welcome'),
       'AUTH PLAIN')
    same(r.quit(), (b'+OK Good bye\r\n', b''), 'and QUIT')
    r = Raw(h)
    r.say('AUTH LOGIN')
    r.say('YWxpY2U=')
    ok(r.say('c2VjcmV0').startswith(b'+OK Welcome'), 'AUTH LOGIN')
    r.close()
    r = Raw(h, 'alice', 'wrong')
    same(r.welcome, b'-ERR [AUTH] Wrong user name or password\r\n',
         'a wrong password')
    r.say('USER nobody')
    same(r.say('PASS x'), b'-ERR [AUTH] Wrong user name or password\r\n',
         'an unknown user')
    r.say('USER alice')
    ok(r.say('PASS secret', 'STAT', 'UIDL', 'QUIT').startswith(b'+OK Wel'),
       'the third time, with commands behind it')
    same(len(r.file.read().split(b'\r\n')), 6, 'all answered')
    ok(h.grep(r'auth.* login-failed user=nobody client=127.0.0.1 '
              'service=pop3'), 'failures are in the log')
    r = Raw(h)
    r.say('LANG de')
    r.say('USER bob')
    ok(r.say('PASS hunter2').startswith(b'+OK Willkommen: 0 Nachrichten'),
       'a first login before the first mail, in German')
    r.quit()


def whole_corpus(h):
    before = len(h.mails('alice'))
    sent = list(corpus())
    with h.smtp() as s:
        s.ehlo('corpus.test')
        for name, text in sent:
            s.mail('c@remote.test')
            s.rcpt('alice@example.test')
            s.data(text)
    h.wait_mail('alice', before + len(sent), 60)
    r = Raw(h, 'alice')
    r.say('LIST')
    sizes = [int(line.split()[1]) for line in r.text().splitlines()]
    same(len(sizes), before + len(sent), 'LIST has them all')
    count, octets = r.say('STAT').split()[1:]
    same((int(count), int(octets)), (len(sizes), sum(sizes)),
         'STAT is the sum')
    got, wrong = {}, []
    for n, size in enumerate(sizes, 1):
        said, text = r.retr(n)
        if said != size or len(text) != size:
            wrong.append((n, size, said, len(text)))
        got[after_trace(text)] = got.get(after_trace(text), 0) + 1
    same(wrong, [], 'LIST, RETR and the octets agree')
    missing = [name for name, text in sent if text not in got]
    same((missing, sum(got.values())), ([], len(sizes)),
         '%d corpus messages come back octet for octet' % len(sent))
    # In one breath, they are the same.
    r.send(*['RETR %d' % n for n in range(1, len(sizes) + 1)])
    again = 0
    for size in sizes:
        same_size = r.file.readline() == b'+OK %d octets\r\n' % size
        again += same_size and after_trace(r.text()) in got
    same(again, len(sizes), 'and again, all asked for at once')
    wrong = []
    for n in range(1, len(sizes) + 1):
        _, text = r.retr(n)
        r.say('TOP %d 3' % n)
        head = re.compile(rb'(?s).*?\r\n\r\n').match(text)
        want = text + b'\r\n' if head is None else head[0] + b''.join(
            re.findall(rb'[^\n]*\n', text[head.end():])[:3])
        if r.text() != want:
            wrong.append(n)
    same(wrong, [], 'TOP is the beginning of each')
    r.quit()


# ------------------------------------------------------------- real clients

def run(*command, **more):
    return subprocess.run(command, capture_output=True, timeout=PATIENCE,
                          **more)


def curl(h):
    if not shutil.which('curl'):
        return skip('curl', 'not there')
    auth = ['--insecure', '--silent', '--show-error', '--user',
            'alice:secret']
    url = 'pop3s://127.0.0.1:%d/' % h.port('pop3s')
    out = run('curl', *auth, url)
    same(len(out.stdout.split(b'\r\n')) - 1, len(h.mails('alice')),
         'curl lists')
    r = Raw(h, 'alice')
    _, text = r.retr(1)
    r.quit()
    out = run('curl', *auth, url + '1')
    same(out.stdout, text, 'curl pop3s fetches')
    out = run('curl', *auth, '--ssl-reqd', '--login-options', 'AUTH=LOGIN',
              'pop3://127.0.0.1:%d/1' % h.port('pop3'))
    same(out.stdout, text, 'curl with STLS and AUTH LOGIN fetches')
    out = run('curl', *auth, url + '999999')
    ok(out.returncode != 0, 'curl hears of an error')


def fetchmail(h, home):
    if not shutil.which('fetchmail'):
        return skip('fetchmail', 'not there')
    rc = home + '/fetchmailrc'
    with open(rc, 'w') as f:
        f.write('poll 127.0.0.1 protocol pop3 uidl service %d '
                'bad-header accept\n'
                ' user "alice" password "secret" keep sslproto ""\n'
                ' mda "cat >>%s/fetched; echo >>%s/fetched"\n' %
                (h.port('pop3'), home, home))
    os.chmod(rc, 0o600)
    env = dict(os.environ, HOME=home, FETCHMAILHOME=home)
    count = len(h.mails('alice'))
    out = run('fetchmail', '-f', rc, '--nodetach', '--nosyslog', '-i',
              home + '/ids', env=env)
    same((out.returncode, out.stdout.count(b'reading message')),
         (0, count), 'fetchmail reads them all')
    h.send(['alice@example.test'], message('fetchmail'))
    h.wait_mail('alice', count + 1)
    out = run('fetchmail', '-f', rc, '--nodetach', '--nosyslog', '-i',
              home + '/ids', env=env)
    ok((out.returncode, out.stdout.count(b'reading message')) == (0, 1),
       'and only the new one next time', out.stdout.decode())


def mpop(h, home):
    if not shutil.which('mpop'):
        return skip('mpop', 'not there')
    rc = home + '/mpoprc'
    for sub in ('cur', 'new', 'tmp'):
        os.makedirs(home + '/mpop/' + sub)
    with open(rc, 'w') as f:
        f.write('account default\nhost 127.0.0.1\nport %d\nuser alice\n'
                'password secret\ntls on\ntls_starttls on\n'
                'tls_certcheck off\nkeep on\npipelining on\n'
                'delivery maildir %s/mpop\nuidls_file %s/uidls\n'
                'received_header off\n' % (h.port('pop3'), home, home))
    os.chmod(rc, 0o600)
    out = run('mpop', '-C', rc)
    same((out.returncode, len(os.listdir(home + '/mpop/new'))),
         (0, len(h.mails('alice'))), 'mpop, pipelining under STLS')
    out = run('mpop', '-C', rc)
    same((out.returncode, len(os.listdir(home + '/mpop/new'))),
         (0, len(h.mails('alice'))), 'knows them all next time')


def scram(h, home):
    """Users whose secrets allow it."""
    with open(h.dir + '/users', 'w') as f:
        f.write('alice:{PLAIN}secret::::%s/mail/alice::\n' % h.dir)
    until(lambda: len(h.grep('users-read')) > 1 or
          Raw(h, 'alice', 'wrong').close())
    h.send(['alice@example.test'], message('scram'))
    h.wait_mail('alice', 1)
    p = poplib.POP3_SSL('127.0.0.1', h.port('pop3s'), timeout=PATIENCE,
                        context=context())
    same(p.capa()['SASL'], ['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-256',
                            'SCRAM-SHA-1-PLUS', 'SCRAM-SHA-1', 'PLAIN',
                            'LOGIN'], 'SCRAM is offered')
    p.user('alice')
    p.pass_('secret')
    ok('SCRAM-SHA-256-PLUS' in p.capa()['SASL'], 'after the login too')
    p.quit()
    if not shutil.which('mpop'):
        return skip('mpop', 'not there')
    for method in ('user', 'plain', 'login', 'scram-sha-1', 'scram-sha-256'):
        for password in ('secret', 'wrong'):
            rc = home + '/scramrc'
            with open(rc, 'w') as f:
                f.write('account default\nhost 127.0.0.1\nport %d\n'
                        'user alice\npassword %s\ntls on\n'
                        'tls_starttls off\ntls_certcheck off\nauth %s\n'
                        'keep on\nonly_new off\n'
                        'delivery mbox %s/scrambox\nuidls_file %s/u\n' %
                        (h.port('pop3s'), password, method, home, home))
            os.chmod(rc, 0o600)
            out = run('mpop', '-C', rc)
            same(out.returncode == 0, password == 'secret',
                 'mpop, %s, %s' % (method, password))


def getmail(h, home):
    if not shutil.which('getmail'):
        return skip('getmail', 'not there')
    os.makedirs(home + '/getmail')
    for sub in ('cur', 'new', 'tmp'):
        os.makedirs(home + '/got/' + sub)
    with open(home + '/getmail/getmailrc', 'w') as f:
        f.write('[retriever]\ntype = SimplePOP3SSLRetriever\n'
                'server = 127.0.0.1\nport = %d\nusername = bob\n'
                'password = hunter2\nssl_cert_hostname =\n'
                '[destination]\ntype = Maildir\npath = %s/got/\n'
                '[options]\ndelete = true\nread_all = false\n'
                'delivered_to = false\nreceived = false\n' %
                (h.port('pop3s'), home))
    for n in range(5):
        h.send(['bob@example.test'], message('getmail', n=n))
    h.wait_mail('bob', 5)
    user = {}
    if os.getuid() == 0:
        user = dict(user='nobody', group='nogroup', extra_groups=[])
    if user:
        run('chown', '-R', 'nobody', home)
    # It waits for a child that may be gone already, and then gives up before
    # QUIT (its own race, on a busy machine).
    for _ in range(5):
        out = run('getmail', '--getmaildir', home + '/getmail', **user)
        got = len(os.listdir(home + '/got/new'))
        if 'waiting child pid' not in str(out.stderr):
            break
        for f in os.listdir(home + '/got/new'):
            os.unlink(home + '/got/new/' + f)
    ok((out.returncode, got) == (0, 5), 'getmail fetches five',
       (out, got))
    until(lambda: not h.mails('bob'))
    same(h.mails('bob'), [], 'and deletes them', )


# ----------------------------------------------------------------- hard cases

def fill(h, user, count, text):
    """Messages of a foreign program."""
    for sub in ('cur', 'new', 'tmp'):
        os.makedirs(h.maildir(user, sub), exist_ok=True)
    for n in range(count):
        with open(h.maildir(user, 'cur/%d.fill.x:2,' % n), 'wb') as f:
            f.write(text(n))
    if os.getuid() == 0:
        run('chown', '-R', 'nobody', h.dir + '/mail')


def beside(h):
    """Two sessions at once; what one deletes the other hears of."""
    for n in range(3):
        h.send(['bob@example.test'], message('beside', n=n))
    h.wait_mail('bob', 3)
    a, b = Raw(h, 'bob'), Raw(h, 'bob')
    uidls = a.say('UIDL') and a.text()
    same(b.say('UIDL') and b.text(), uidls, 'both see the same names')
    b.say('DELE 2')
    h.send(['bob@example.test'], message('beside', n=4))
    h.wait_mail('bob', 4)
    same(b.quit()[0], b'+OK Good bye\r\n', 'one deletes')
    until(lambda: len(h.mails('bob')) == 3)
    same(len(h.mails('bob')), 3, 'which takes effect')
    same(a.say('RETR 2'), b'-ERR Somebody else deleted that message\r\n',
         'the other hears of it')
    ok(a.say('STAT').startswith(b'+OK 2 '), 'and sees nothing new')
    a.say('DELE 1')
    a.say('DELE 3')
    a.quit()
    until(lambda: len(h.mails('bob')) == 1)
    same(len(h.mails('bob')), 1, 'what came meanwhile stays')
    r = Raw(h, 'bob')
    r.say('DELE 1')
    r.quit()


def beside_imap(h):
    """IMAP and POP3 on one mailbox, each told what the other does."""
    for n in range(6):
        h.send(['bob@example.test'], message('imap', n=n))
    h.wait_mail('bob', 6)
    m = imaplib.IMAP4('127.0.0.1', h.port('imap'), PATIENCE)
    m.login('bob', h.users['bob'])
    m.select('INBOX')
    m.append('INBOX', '', None, b'Subject: appended\r\n\r\nno end')
    r = Raw(h, 'bob')
    ok(r.say('STAT').startswith(b'+OK 7 '), 'both see seven', r.welcome)
    wire = [m.fetch(str(n), '(RFC822.SIZE)')[1][0] for n in range(1, 8)]
    sizes = [int(re.search(rb'SIZE (\d+)', w)[1]) for w in wire]
    r.say('LIST')
    same([int(x.split()[1]) for x in r.text().splitlines()], sizes,
         'of the same sizes')
    same(r.retr(7)[1], b'Subject: appended\r\n\r\nno end\r\n',
         'a last line is ended for POP3')
    m.store('1,2', '+FLAGS', '\\Deleted')
    m.store('3,4', '+FLAGS', '\\Flagged $Work')
    same(sorted(m.expunge()[1]), [b'1', b'2'], 'IMAP expunges two')
    same(r.say('RETR 1'), b'-ERR Somebody else deleted that message\r\n',
         'POP3 hears of the first')
    same(r.say('DELE 2'), b'-ERR Somebody else deleted that message\r\n',
         'and of the second')
    same(r.retr(3)[0], sizes[2], 'numbers stay, whatever flags come')
    ok(r.say('STAT').startswith(b'+OK 5 '), 'five are left')
    same(r.say('DELE 4')[:3], b'+OK', 'POP3 deletes one')
    same(m.noop()[0] and m.search(None, 'ALL')[1], [b'1 2 3 4 5'],
         'which IMAP does not see before QUIT')
    same(r.quit()[0], b'+OK Good bye\r\n', 'QUIT')
    same(m.noop()[0] and m.response('EXPUNGE')[1], [b'2'], 'but then')
    until(lambda: m.noop()[0] and m.search(None, 'SEEN')[1] == [b'1 4'])
    same(m.search(None, 'SEEN')[1], [b'1 4'],
         'what POP3 fetched counts as read')
    r = Raw(h, 'bob')
    for n in range(1, 5):
        r.say('DELE %d' % n)
    m.store('1:*', '+FLAGS', '\\Deleted')
    m.expunge()
    same(r.quit()[0], b'+OK Good bye\r\n', 'both delete the same')
    m.logout()
    until(lambda: not h.mails('bob'))
    same(h.mails('bob'), [], 'and nothing is left')


def broken(h):
    h.send(['bob@example.test'], message('broken'))
    h.wait_mail('bob', 1)
    r = Raw(h, 'bob')
    r.say('DELE 1')
    r.sock.shutdown(socket.SHUT_WR)
    same(r.file.read(), b'', 'a half-closed session ends')
    r = Raw(h, 'bob')
    r.say('DELE 1')
    r.close()
    r = Raw(h, 'bob')
    same(r.say('STAT')[:6], b'+OK 1 ', 'and deletes nothing')
    r.say('DELE 1')
    r.quit()
    for text in (b'GET / HTTP/1.1\r\nHost: x\r\n\r\n', b'\0' * 5000 + b'\r\n',
                 b'A' * 1000000 + b'\r\n', b'\xff\xfe\r\n' * 50,
                 b'USER\r\nPASS\r\nUSER alice\r\nPASS\r\n', b'STLS\r\nX\r\n',
                 b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03' * 20):
        with socket.create_connection(('127.0.0.1', h.port('pop3'))) as c:
            c.settimeout(PATIENCE)
            try:
                c.sendall(text)
                c.shutdown(socket.SHUT_WR)
                while c.recv(65536):
                    pass
            except (ConnectionResetError, BrokenPipeError):
                pass
    with socket.create_connection(('127.0.0.1', h.port('pop3s'))) as c:
        c.sendall(b'CAPA\r\n' * 10)
    ok(Raw(h, 'alice').welcome.startswith(b'+OK Wel'), 'garbage hurts nobody')


def high_water(h, name):
    """Most memory any process of this program ever had, in kB."""
    most = 0
    for pid in h.pids(name):
        try:
            text = open('/proc/%d/status' % pid).read()
        except OSError:
            continue
        most = max(most, int(re.search(r'VmHWM:\s+(\d+)', text)[1]))
    return most


def large(h):
    """A message far larger than a session may become."""
    lines = b''.join(b'%07d %s\n' % (i, b'x' * 60) for i in range(15000))
    times = 100
    with open(h.maildir('alice', 'cur/1.large.x:2,S'), 'wb') as f:
        f.write(b'Subject: large\n\n')
        for _ in range(times):
            f.write(lines)
    if os.getuid() == 0:
        run('chown', 'nobody', h.maildir('alice', 'cur/1.large.x:2,S'))
    # who first sees the file reads it whole
    m = imaplib.IMAP4('127.0.0.1', h.port('imap'), PATIENCE)
    m.login('alice', h.users['alice'])
    m.select('INBOX')
    m.logout()
    r = Raw(h, 'alice')
    count = int(r.say('STAT').split()[1])
    size = 18 + (len(lines) + 15000) * times
    same(r.say('LIST %d' % count).split()[2], b'%d' % size, 'its size')
    same(r.say('RETR %d' % count), b'+OK %d octets\r\n' % size,
         'a message of %d MB' % (size >> 20))
    got = r.file.read(size)
    same((len(got), got[:18], got[-70:], r.file.read(3)),
         (size, b'Subject: large\r\n\r\n',
          lines.replace(b'\n', b'\r\n')[-70:], b'.\r\n'), 'comes whole')
    if 'san' not in os.environ.get('BUILD', ''):
        most = high_water(h, 'pop3d')
        ok(0 < most < 32 << 10, 'in bounded memory', '%d kB' % most)
    r.say('TOP %d 2' % count)
    same(len(r.text()), 18 + 2 * 70, 'its top')
    r.say('DELE %d' % count)
    same(r.quit()[0], b'+OK Good bye\r\n', 'and gone')


def slow_reader(h):
    """Thousands of pipelined RETRs by a client that does not read."""
    count = 2000
    fill(h, 'carol', count, lambda n: b'Subject: %d\n\n.%d\n%s' %
         (n, n, b'dots\n.\n' * 200))
    slow, seen = Raw(h, 'carol'), 0
    slow.send(*['RETR %d' % n for n in range(1, count + 1)])
    ok(slow.welcome.startswith(b'+OK Welcome: 2000 '), 'a full mailbox')
    quick = Raw(h, 'carol')
    ok(quick.say('STAT').startswith(b'+OK 2000 '), 'others are served')
    _, text = quick.retr(1700)
    quick.quit()
    for n in range(1, count + 1):
        first = slow.file.readline()
        t = slow.text()
        seen += int(first.split()[1]) == len(t)
        if n == 1700:
            same(t, text, 'the same octets')
    same(seen, count, 'and the slow one has all in the end')
    slow.send(*['DELE %d' % n for n in range(1, count)])
    for _ in range(1, count):
        slow.file.readline()
    same(slow.say('STAT').split()[1], b'1', 'deletes all but one')
    same(slow.quit()[0], b'+OK Good bye\r\n', 'QUIT')
    until(lambda: len(h.mails('carol')) == 1, 60)
    same(len(h.mails('carol')), 1, 'one is left')


def seen(h):
    """What was downloaded counts as read, if it is to."""
    def flags(name):
        return [f.rsplit(':', 1)[-1] for f in h.mails('dave')
                if '/%s.fill' % name in f]
    fill(h, 'dave', 2, lambda n: b'Subject: %d\n\n' % n)
    r = Raw(h, 'dave')
    r.retr(2)
    r.quit()
    until(lambda: flags(1) == ['2,S'])
    same((flags(0), flags(1)), (['2,'], ['2,S']), 'what was read is marked')


def stopped(h):
    """The server stops while clients are there: quickly, deleting nothing."""
    fill(h, 'dave', 3, lambda n: b'Subject: %d\n\n' % n)
    before = Raw(h)
    r, busy = Raw(h, 'dave'), Raw(h, 'carol')
    count = len(h.mails('dave'))
    r.say('DELE 1')
    r.retr(3)
    busy.send(*['RETR 1'] * 20000)
    start = time.time()
    same(h.stop(), 0, 'it ends cleanly')
    ok(time.time() - start < 15 * SLOW, 'and soon', time.time() - start)
    same((r.file.read(), before.file.read()), (b'', b''),
         'clients find the connection closed')
    same(len(h.mails('dave')), count, 'nothing was deleted')
    ok([f for f in h.mails('dave') if '/2.fill' in f and f.endswith('S')],
       'what was fetched is marked')


def limits(h):
    sessions = [Raw(h, 'alice') for _ in range(3)]
    r = Raw(h, 'alice')
    ok(r.welcome.startswith(b'-ERR [SYS/TEMP] '), 'too many sessions')
    sessions.pop().quit()
    ok(until(lambda: Raw(h, 'alice').welcome.startswith(b'+OK')),
       'one goes, another may come')


def main():
    users = {'alice': 'secret', 'bob': 'hunter2', 'carol': 'c', 'dave': 'd'}
    home = tempfile.mkdtemp(prefix='pop3.')
    os.chmod(home, 0o755)
    with House(users=users, without=('deliver-remote',)) as h:
        logins(h)
        whole_corpus(h)
        curl(h)
        fetchmail(h, home)
        mpop(h, home)
        getmail(h, home)
        beside(h)
        beside_imap(h)
        broken(h)
        large(h)
        slow_reader(h)
        seen(h)
        stopped(h)
    with House(users={'alice': 'secret'},
               without=('deliver-remote', 'imapd'),
               sets=['auth.failure_delay=0']) as h:
        scram(h, home)
    shutil.rmtree(home)
    with House(users=users, without=('deliver-remote', 'imapd'),
               sets=['pop3.max_processes=3']) as h:
        limits(h)
    done()


main()
