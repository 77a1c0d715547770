#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""smtpd, imapd and pop3d one client a process, by the samples in etc/inetd:
under inetd, under tcpserver, and as a program that ssh runs."""
import imaplib
import os
import poplib
import re
import signal
import smtplib
import ssl
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
from house import done, message, need_programs, ok, same, skip, until
from installed import InstalledHouse
from root import ENTER, PEOPLE, need_root
from units import enter

TLS = ssl._create_unverified_context()
LIBEXEC = '/usr/local/libexec/surat'


class InetdHouse(InstalledHouse):
    """Nothing is listened on, and what lies elsewhere is under h.dir."""

    def write_conf(self, more=''):
        super().write_conf(more)
        with open(self.path('surat.conf')) as f:
            text = f.read()
        text = re.sub(r'(?s)listen \{.*?\n\}', 'listen { %s }' % ' '.join(
            s + ' = {}' for s in 'smtp submission submissions imap imaps '
            'pop3 pop3s'.split()), text)
        with open(self.path('surat.conf'), 'w') as f:
            f.write(text)

    def sample(self, name):
        text = open(self.path('root/usr/share/doc/surat/examples/inetd/') +
                    name).read()
        return text.replace(LIBEXEC, self.path('root/usr/libexec/surat'))

    def inside(self, command, **more):
        env = dict(os.environ, SURAT_CONF=self.path('surat.conf'))
        return subprocess.Popen(
            ['unshare', '-m', 'sh', '-c', ENTER, self.dir] + command, env=env,
            stderr=subprocess.PIPE, **more)


def by_ssh(h):
    """As sshd would run it: the user's ids, pipes, nobody's socket."""
    program = re.search(r'command="([^"]*)"', h.sample('ssh'))[1]
    uid = str(PEOPLE['carol'])
    p = h.inside(['setpriv', '--reuid', uid, '--regid', uid,
                  '--clear-groups', 'env', 'HOME=' + h.path('home/carol'),
                  'sh', '-c', program], stdin=subprocess.PIPE,
                 stdout=subprocess.PIPE)
    out, err = p.communicate(b'a select inbox\r\nb logout\r\n')
    ok(out.startswith(b'* PREAUTH '), 'ssh: logged in from the start',
       out + err)
    ok(b'* 1 EXISTS' in out and b'b OK' in out, 'ssh: reads mail', out)


def smtp(port, h):
    with smtplib.SMTP('127.0.0.1', port, timeout=30) as s:
        s.starttls(context=TLS)
        s.sendmail('s@remote.test', ['alice@example.test',
                                     'carol@example.test'], message('inetd'))


def imap(c):
    c.login('alice', 'secret')
    n = int(c.select()[1][0])
    c.logout()
    return n


def by_inetd(h):
    conf = h.path('inetd.conf')
    with open(conf, 'w') as f:
        f.write(h.sample('inetd.conf'))
    server = h.inside(['inetd', '-i', conf])
    try:
        ok(until(lambda: listens(143)), 'inetd takes the sample')
        smtp(25, h)
        same(len(h.wait_mail('alice', 1, 20)), 1, 'inetd: smtpd takes mail')
        c = imaplib.IMAP4('127.0.0.1', 143, timeout=30)
        ok(b'PREAUTH' not in c.welcome, 'a client from the network is nobody',
           c.welcome)
        c.starttls(ssl_context=TLS)
        same(imap(c), 1, 'inetd: IMAP with STARTTLS')
        c = imaplib.IMAP4_SSL('127.0.0.1', 993, timeout=30, ssl_context=TLS)
        same(imap(c), 1, 'inetd: IMAP under TLS')
        p = poplib.POP3('127.0.0.1', 110, timeout=30)
        p.stls(context=TLS)
        p.user('alice')
        p.pass_('secret')
        same(p.stat()[0], 1, 'inetd: POP3')
        p.quit()
    finally:
        server.kill()
        server.wait()


def by_tcpserver(h):
    script = h.path('tcpserver')
    with open(script, 'w') as f:
        f.write(h.sample('tcpserver'))
    usage = re.findall(r'(?m)^#\ttcpserver (\d+) (\w+) (\w+)$',
                       open(script).read())
    servers = [h.inside(['sh', script, *words]) for words in usage]
    try:
        for port, _, service in usage:
            ok(until(lambda: listens(int(port))), 'tcpserver: ' + service)
        smtp(25, h)
        same(len(h.wait_mail('alice', 2, 20)), 2,
             'tcpserver: smtpd takes mail')
        c = imaplib.IMAP4_SSL('127.0.0.1', 993, timeout=30, ssl_context=TLS)
        same(imap(c), 2, 'tcpserver: IMAP')
        p = poplib.POP3_SSL('127.0.0.1', 995, timeout=30, context=TLS)
        p.user('alice')
        p.pass_('secret')
        same(p.stat()[0], 2, 'tcpserver: POP3')
        p.quit()
    finally:
        for s in servers:
            s.kill()
            s.wait()


def listens(port):
    """Without connecting, which would start somebody."""
    return any(line.split()[1].endswith(':%04X' % port) and
               line.split()[3] == '0A' for line in open('/proc/net/tcp'))


need_root('programs under inetd')
enter()
with InetdHouse() as h:
    by_inetd(h)
    by_ssh(h)
    by_tcpserver(h)
    same(h.grep(' died '), [], 'nobody died')
done()
