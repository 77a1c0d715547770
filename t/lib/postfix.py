# SPDX-License-Identifier: ISC
"""Postfix as Debian has it, as a partner: a mail exchanger of its own domain
with Maildirs, which knows where example.test is.

    p = Postfix(port, less, back)    listens on p.address; what answers on
                                     `less` knows less; example.test's mail
                                     goes to 127.0.0.1:back
    p.mails(user), p.wait(user, n)   messages that came, the oldest first
    p.log(), p.complaints()          what it says, what it should not say
    p.stop()
"""
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time

import mx
from house import SLOW, until

USERS = ('u', 'two', 'j\u00f6rg', 'plain')


def missing():
    """Why it cannot be had here, or ''."""
    if os.getuid() == 0 and shutil.which('postfix'):
        return ''
    return 'needs root and postfix'


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


class Partner:
    """A mail exchanger with Maildirs in self.d/mail."""
    def mails(self, user):
        top = '%s/mail/%s/new' % (self.d, user)
        if not os.path.isdir(top):
            return []
        return [open(top + '/' + f, 'rb').read() for f in sorted(
            os.listdir(top), key=lambda f: os.path.getmtime(top + '/' + f))]

    def wait(self, user, count):
        until(lambda: len(self.mails(user)) >= count, 30)
        return self.mails(user)


class Postfix(Partner):
    name, domain, address = 'Postfix', 'postfix.test', '127.0.0.20'
    host, secure, clear = 'mx.postfix.test', b'with ESMTPS', b'with ESMTP '
    unknown, most = b'User unknown in virtual mailbox table', 10240000

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
        with open(d + '/etc/main.cf', 'a') as f:
            f.write('virtual_alias_maps = inline:{ { plain@less.test = '
                    'plain@postfix.test } }\n'
                    'virtual_alias_domains = less.test\n')
        got = self.command('start')
        if got.returncode != 0:
            raise SystemExit('postfix does not start: ' + got.stdout +
                             got.stderr + self.log()[-2000:])

    def command(self, verb):
        return subprocess.run(['postfix', '-c', self.d + '/etc', verb],
                              capture_output=True, text=True,
                              timeout=60 * SLOW)

    def log(self):
        try:
            return open(self.d + '/postfix.log').read()
        except OSError:
            return ''

    def complaints(self):
        return [l for l in self.log().splitlines()
                if 'fatal:' in l or 'panic:' in l]

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
