#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Mail to and from Postfix, as Debian has it, with what both can do: TLS,
CHUNKING, SMTPUTF8, DSN, and a Postfix that is made to know less."""
import email
import os
import pwd
import shutil
import signal
import smtplib
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
import mx  # noqa: E402
import nsd  # noqa: E402
from ports import free_port  # noqa: E402
from house import (House, PROGRAMS, SLOW, done, message,  # noqa: E402
                   need_programs, ok, same, skip, until)

WITHOUT = ('imapd', 'pop3d')
ME = 'alice@example.test'
USERS = ('u', 'two', 'j\u00f6rg', 'plain')

MAIN = '''
compatibility_level = 3.6
queue_directory = %(d)s/spool
data_directory = %(d)s/data
daemon_directory = /usr/lib/postfix/sbin
command_directory = /usr/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = %(d)s/postfix.log
maillog_file_prefixes = %(d)s
myhostname = mx.postfix.test
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtpd_peername_lookup = no
smtp_dns_support_level = disabled
smtp_host_lookup = native
alias_maps =
alias_database =
local_recipient_maps =
virtual_mailbox_domains = postfix.test
virtual_transport = virtual
virtual_mailbox_base = %(d)s/mail
virtual_mailbox_maps = texthash:%(d)s/etc/boxes
virtual_minimum_uid = 1
virtual_uid_maps = static:%(uid)d
virtual_gid_maps = static:%(gid)d
transport_maps = inline:{ { example.test = smtp:[127.0.0.1]:%(back)d } }
relay_domains = example.test
smtpd_tls_security_level = may
smtpd_tls_chain_files = %(key)s, %(cert)s
smtp_tls_security_level = may
smtputf8_enable = yes
'''
MASTER = '''
127.0.0.20:%(port)d inet n - n - - smtpd
127.0.0.20:%(less)d inet n - n - - smtpd
  -o smtpd_discard_ehlo_keywords=8bitmime,chunking,smtputf8,pipelining,starttls
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
'''


class Postfix:
    def __init__(self, port, less, back):
        self.d = d = tempfile.mkdtemp(prefix='postfix.')
        os.chmod(d, 0o755)
        for sub in ('etc', 'spool', 'data', 'mail'):
            os.mkdir(d + '/' + sub, 0o755)
        who, owner = pwd.getpwnam('nobody'), pwd.getpwnam('postfix')
        os.chown(d + '/data', owner.pw_uid, owner.pw_gid)
        os.chown(d + '/mail', who.pw_uid, who.pw_gid)
        cert, key = mx.certificate(d, 'mx.postfix.test')
        values = dict(d=d, uid=who.pw_uid, gid=who.pw_gid, back=back,
                      cert=cert, key=key, port=port, less=less)
        for name, text in (('main.cf', MAIN), ('master.cf', MASTER)):
            with open(d + '/etc/' + name, 'w') as f:
                f.write(text % values)
        with open(d + '/etc/boxes', 'w', encoding='utf-8') as f:
            for user in USERS:
                f.write('%s@postfix.test %s/\n' % (user, user))
        got = self.command('start')
        if got.returncode != 0:
            raise SystemExit('postfix does not start: ' + got.stdout +
                             got.stderr + self.log()[-2000:])

    def command(self, verb):
        return subprocess.run(['postfix', '-c', self.d + '/etc', verb],
                              capture_output=True, text=True,
                              timeout=60 * SLOW)

    def mails(self, user):
        top = '%s/mail/%s/new' % (self.d, user)
        if not os.path.isdir(top):
            return []
        return [open(top + '/' + f, 'rb').read() for f in sorted(
            os.listdir(top), key=lambda f: os.path.getmtime(top + '/' + f))]

    def wait(self, user, count):
        until(lambda: len(self.mails(user)) >= count, 30)
        return self.mails(user)

    def log(self):
        try:
            return open(self.d + '/postfix.log').read()
        except OSError:
            return ''

    def stop(self):
        pid = None
        try:
            pid = int(open(self.d + '/spool/pid/master.pid').read())
        except (OSError, ValueError):
            pass
        self.command('stop')
        end = time.time() + 20
        while pid and os.path.exists('/proc/%d' % pid) and time.time() < end:
            time.sleep(0.05)
        if pid and os.path.exists('/proc/%d' % pid):
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.d, ignore_errors=True)


def body(octets):
    return octets.replace(b'\r\n', b'\n').split(b'\n\n', 1)[1]


def send(h, to, octets, options=(), rcpt_options=()):
    with h.smtp('submission', user='alice') as s:
        s.ehlo_or_helo_if_needed()
        return s.sendmail(ME, to, octets, list(options), list(rcpt_options))


def to_postfix(h, p):
    send(h, ['u@postfix.test'], message('one', b'.\r\n..\r\nend\r\n'))
    got = p.wait('u', 1)
    same(len(got), 1, 'a message reaches Postfix')
    same(body(got[0]), b'.\n..\nend\n', 'as it is')
    ok(b'with ESMTPS' in got[0], 'under TLS', got[0][:500])
    row = h.queue('--history', '--rcpt', 'u@postfix.test')
    same([r['state'] for r in row], ['relayed'], 'the history knows')
    big = b'line of a large message, .\r\n.\r\n' * 60000
    send(h, ['u@postfix.test'], message('big', big))
    got = p.wait('u', 2)
    ok(len(got) == 2 and body(got[1]) == big.replace(b'\r\n', b'\n'),
       'a large one', [len(g) for g in got])
    eight = 'Viele gr\u00fc\u00dfe\r\n'.encode()
    send(h, ['u@postfix.test', 'two@postfix.test'],
         b'Subject: 8\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; '
         b'charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n' + eight,
         ['BODY=8BITMIME'])
    got = p.wait('u', 3) and p.wait('two', 1)
    same(body(got[0]), eight.replace(b'\r\n', b'\n'), '8 bits')
    send(h, ['j\u00f6rg@postfix.test'], 'Subject: gr\u00fc\u00dfe\r\n\r\nx\r\n'
         .encode(), ['SMTPUTF8', 'BODY=8BITMIME'])
    got = p.wait('j\u00f6rg', 1)
    ok(got and 'Subject: gr\u00fc\u00dfe'.encode() in got[0],
       'an address and a header in UTF-8', got)


def refused(h, p):
    before = len(h.mails('alice'))
    send(h, ['nobody@postfix.test', 'u@postfix.test'], message('mixed'))
    files = h.wait_mail('alice', before + 1, 30)
    newest = max(files, key=os.path.getmtime)
    report = open(newest, 'rb').read()
    ok(b'User unknown in virtual mailbox table' in report and
       b'nobody@postfix.test' in report, 'whom Postfix does not know: '
       'returned with its words', report[-1500:])
    p.wait('u', 4)


def less(h, p):
    text = b'Subject: 8\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; ' \
        b'charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n' + \
        'Viele gr\u00fc\u00dfe aus der Ferne\r\n'.encode()
    send(h, ['plain@less.test'], text, ['BODY=8BITMIME'])
    got = p.wait('plain', 1)
    if not ok(got, 'a Postfix that knows less gets it', p.log()[-1500:]):
        return
    m = email.message_from_bytes(got[0])
    same((m['Content-Transfer-Encoding'], m.get_payload(decode=True)),
         ('quoted-printable',
          'Viele gr\u00fc\u00dfe aus der Ferne\n'.encode()),
         'row 51: in 7 bits, with the same content')
    ok(b'with ESMTP ' in got[0], '(and no TLS)', got[0][:400])


def reports(h, p):
    """The success report comes from Postfix, which took that over."""
    before = len(h.mails('alice'))
    with h.smtp('submission', user='alice') as s:
        s.ehlo()
        if not s.has_extn('dsn'):
            skip('row 34: DSN through Postfix', 'submission has no DSN yet')
            return
        s.sendmail(ME, ['two@postfix.test'], message('dsn'),
                   ['ENVID=xyz'], ['NOTIFY=SUCCESS',
                                   'ORCPT=rfc822;two@postfix.test'])
    files = h.wait_mail('alice', before + 1, 40)
    newest = max(files, key=os.path.getmtime)
    report = open(newest, 'rb').read()
    ok(b'mx.postfix.test' in report and b'Action: delivered' in report and
       b'Original-Envelope-Id: xyz' in report,
       'row 34: a success report, from Postfix', report[:3000])
    time.sleep(0.5)
    same(len(h.mails('alice')), before + 1, 'row 34: and only that')


def from_postfix(h, p, port):
    before = len(h.mails('bob'))
    with smtplib.SMTP('127.0.0.20', port, timeout=60 * SLOW) as s:
        for i in range(20):
            s.sendmail('x@postfix.test', ['bob@example.test'],
                       message('back %d' % i, b'.\r\nx\r\n'))
    files = h.wait_mail('bob', before + 20, 60)
    same(len(files) - before, 20, 'Postfix sends twenty here')
    text = open(files[-1], 'rb').read()
    ok(b'with ESMTPS' in text and body(text) == b'.\nx\n', 'under TLS',
       text[:600])


def main():
    need_programs([p for p in PROGRAMS if p not in WITHOUT])
    if os.getuid() != 0 or not shutil.which('postfix') or not nsd.is_there():
        skip('Postfix as a partner', 'needs root, postfix and nsd')
        done()
    port, less_port = free_port(), free_port()
    zone = nsd.Nsd({'test': 'postfix MX 10 mx.postfix\n'
                            'mx.postfix A 127.0.0.20\n'})
    h = House(without=WITHOUT, sets=[
        'resolve.forward=127.0.0.1@%d' % zone.port, 'resolve.trust_anchor=',
        'remote.port=%d' % port, 'remote.allow_loopback=yes',
        'queue.retry=1s, 1s, 2s', 'queue.retry_max=2s',
        'remote.transports=less.test smtp:127.0.0.20:%d' % less_port])
    p = None
    try:
        p = Postfix(port, less_port, h.port('smtp'))
        with open(p.d + '/etc/main.cf', 'a') as f:
            f.write('virtual_alias_maps = inline:{ { plain@less.test = '
                    'plain@postfix.test } }\n'
                    'virtual_alias_domains = less.test\n')
        p.command('reload')
        h.start()
        for test in (to_postfix, refused, less, reports):
            test(h, p)
        from_postfix(h, p, port)
        bad = [l for l in p.log().splitlines()
               if 'fatal:' in l or 'panic:' in l]
        same(bad, [], 'Postfix has nothing to complain of')
    finally:
        if p:
            p.stop()
        h.__exit__()
        zone.stop()
    done()


main()
