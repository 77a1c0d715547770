# SPDX-License-Identifier: ISC
"""The servers: surat, and Postfix from Debian, each in a directory of its own
on loopback.  start() and stop(); port, boxes (where the mail of mailbox N
lies) and account (its CPU time) in between.  The power cuts of t/crash/power
start them on what a cut has left: then their directories are there already,
and who says where the mail and the sockets are puts them there.

Packages are installed without starting or enabling anything; what runs is
started here from a private directory and ended by its process id.
"""
import atexit
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time

from bench import Account, note
from ports import free_port

POLICY = '/usr/sbin/policy-rc.d'
BOXES = 50


def install(command, package, *units):
    """None, or why there is no such command."""
    path = '/usr/sbin:/sbin:' + os.environ['PATH']
    if shutil.which(command, path=path):
        return None
    if os.getuid() != 0:
        return '%s is not installed' % package
    note('installing %s with apt-get' % package)
    ours = not os.path.exists(POLICY)
    if ours:
        with open(POLICY, 'w') as f:
            f.write('#!/bin/sh\nexit 101\n')
        os.chmod(POLICY, 0o755)
    try:
        env = dict(os.environ, DEBIAN_FRONTEND='noninteractive')
        quiet = {'env': env, 'stdout': subprocess.DEVNULL,
                 'stderr': subprocess.DEVNULL}
        get = ['apt-get', 'install', '-y', '-q', '--no-install-recommends']
        if subprocess.run(get + [package], **quiet).returncode != 0:
            subprocess.run(['apt-get', 'update', '-q'], **quiet)
            if subprocess.run(get + [package], **quiet).returncode != 0:
                return 'apt-get cannot install %s' % package
        for unit in units:
            subprocess.run(['systemctl', 'disable', unit], **quiet)
    finally:
        if ours:
            os.unlink(POLICY)
    return None


class Server:
    """Started and stopped once or several times; stopped at the end."""
    running = False
    pid = None

    def __init__(self):
        self.account = Account(self.name)
        atexit.register(self.stop)

    def start(self):
        self.running = True
        self._start()

    def stop(self):
        if self.running and self.pid:
            self._stop()
        self.running = False


def greets(port, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            with socket.create_connection(('127.0.0.1', port), 5) as s:
                if s.recv(100).startswith((b'220', b'* OK', b'+OK')):
                    return
        except OSError:
            pass
        time.sleep(0.05)
    raise SystemExit('nothing answers on port %d' % port)


class Surat(Server):
    name = 'surat'

    def __init__(self, place, sets=(), users=None, options=()):
        self.place, self.sets, self.options = place, sets, options
        self.users = users or {'%du' % (i + 1): 'pw' for i in range(BOXES)}
        super().__init__()

    def _start(self):
        from house import House
        self.dir = self.place.fresh('surat')
        sets = ['smtp.max_processes=300', 'imap.max_processes=2000']
        self.house = House(domains=['bench.test'], users=self.users,
                           sets=sets + list(self.sets),
                           options=list(self.options), directory=self.dir)
        # the log goes to a file: who reads a pipe costs time beside us
        self.log = open(self.dir + '.log', 'wb')
        self.house.process = subprocess.Popen(
            self.house.command(), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=self.log)
        line = self.house.process.stdout.readline()
        if not line.startswith(b'surat: ready'):
            raise SystemExit('surat does not start: see %s.log' % self.dir)
        self.port = self.house.port('smtp')
        self.ports = {p: self.house.port(p) for p in
                      ('imap', 'imaps', 'pop3', 'pop3s')}
        self.owner = os.stat(self.dir).st_uid, os.stat(self.dir).st_gid
        self.pid = self.house.process.pid
        self.account.take(self.pid)

    def box(self, n):
        return self.house.maildir('%du' % n) + '/new'

    def maildir(self, user):
        return self.house.maildir(user)

    def forget(self, user):
        """Throws the index of that mailbox away; files stay."""
        top = self.maildir(user) + '/surat/'
        for name in os.listdir(top) if os.path.isdir(top) else ():
            if name.startswith('index.db'):
                os.unlink(top + name)

    def _stop(self):
        self.house.stop()
        self.log.close()


class Postfix(Server):
    """virtual(8) delivery into Maildirs, what it syncs left as it is; limits
    raised so that 200 sessions find processes."""
    name = 'postfix'
    ENV = dict(os.environ, PATH='/usr/sbin:/sbin:' + os.environ['PATH'])

    domain = 'bench.test'

    def __init__(self, place, relay=None, extra='', mail=None, users=None):
        self.place, self.relay, self.extra = place, relay, extra
        self.mail = mail
        self.users = users or ['%du' % (n + 1) for n in range(BOXES)]
        super().__init__()

    @staticmethod
    def missing():
        if os.getuid() != 0:
            return 'Postfix wants root'
        return install('postfix', 'postfix', 'postfix.service')

    def _start(self):
        self.dir = self.place.fresh('postfix')
        self.port = free_port()
        self.mail = self.mail or self.dir + '/mail'
        for sub in ('etc', 'spool', 'data'):
            os.makedirs(os.path.join(self.dir, sub), 0o755, True)
        os.makedirs(self.mail, 0o755, True)
        owner = pwd.getpwnam('postfix')
        os.chown(self.dir + '/data', owner.pw_uid, owner.pw_gid)
        nobody = pwd.getpwnam('nobody')
        for user in self.users:
            home = self.mail + '/' + user
            for d in (home, home + '/Maildir', home + '/Maildir/new',
                      home + '/Maildir/cur', home + '/Maildir/tmp'):
                os.makedirs(d, 0o700, True)
                os.chown(d, nobody.pw_uid, nobody.pw_gid)
        self._configure(nobody)
        done = subprocess.run(['postfix', '-c', self.dir + '/etc', 'start'],
                              env=self.ENV, capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit('postfix: ' + done.stderr)
        with open(self.dir + '/spool/pid/master.pid') as f:
            self.pid = int(f.read())
        self.account.take(self.pid)
        greets(self.port)

    def _configure(self, nobody):
        with open(self.dir + '/etc/boxes', 'w') as f:
            for user in self.users:
                f.write('%s@%s %s/Maildir/\n' % (user, self.domain, user))
        with open(self.dir + '/etc/main.cf', 'w') as f:
            f.write(MAIN_CF % {'dir': self.dir, 'uid': nobody.pw_uid,
                               'gid': nobody.pw_gid, 'mail': self.mail,
                               'domain': self.domain,
                               'relay': self.relay or 1} + self.extra)
        with open(self.dir + '/etc/master.cf', 'w') as f:
            f.write(MASTER_CF % {'port': self.port})

    def box(self, n):
        return '%s/%du/Maildir/new' % (self.mail, n)

    def _stop(self):
        try:
            subprocess.run(['postfix', '-c', self.dir + '/etc', 'stop'],
                           env=self.ENV, capture_output=True, timeout=60)
        except subprocess.TimeoutExpired:  # it hung once in 200 times
            note('postfix stop does not end')
        end = time.monotonic() + 10
        while os.path.exists('/proc/%d' % self.pid):
            if time.monotonic() > end:
                os.kill(self.pid, signal.SIGKILL)
            time.sleep(0.1)


MAIN_CF = '''compatibility_level = 3.6
queue_directory = %(dir)s/spool
data_directory = %(dir)s/data
daemon_directory = /usr/lib/postfix/sbin
command_directory = /usr/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = %(dir)s/log
maillog_file_prefixes = %(dir)s
myhostname = mx.bench.test
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
virtual_mailbox_domains = %(domain)s
virtual_transport = virtual
virtual_mailbox_base = %(mail)s
virtual_mailbox_maps = texthash:%(dir)s/etc/boxes
virtual_uid_maps = static:%(uid)d
virtual_gid_maps = static:%(gid)d
virtual_minimum_uid = 1
virtual_mailbox_limit = 0
virtual_destination_concurrency_limit = 50
relay_domains = relay.test
transport_maps = inline:{ { relay.test = smtp:[127.0.0.1]:%(relay)d } }
default_process_limit = 250
in_flow_delay = 0
initial_destination_concurrency = 20
smtp_destination_concurrency_limit = 20
smtpd_client_connection_count_limit = 0
smtpd_recipient_limit = 1000
message_size_limit = 52428800
'''

MASTER_CF = '''127.0.0.1:%(port)d inet n - n - - smtpd
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
lmtp unix - - n - - lmtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
'''


class Dovecot(Server):
    """Maildir, mail_fsync as it comes, login processes in high-performance
    mode, imap and pop3 processes reused: Dovecot's fast configuration."""
    name = 'dovecot'
    PORTS = ('imap', 'imaps', 'pop3', 'pop3s')

    def __init__(self, place, extra='', mail=None, run=None):
        self.place, self.extra = place, extra
        self.mail, self.run = mail, run
        super().__init__()

    @staticmethod
    def missing():
        if os.getuid() != 0:
            return 'Dovecot wants root'
        units = 'dovecot.service', 'dovecot.socket'
        return install('dovecot', 'dovecot-imapd', *units) or (
            None if os.path.exists('/usr/lib/dovecot/pop3') else
            install('no-such-command', 'dovecot-pop3d', *units))

    def _start(self):
        self.dir = self.place.fresh('dovecot')
        self.ports = {p: free_port() for p in self.PORTS}
        nobody = pwd.getpwnam('nobody')
        self.owner = nobody.pw_uid, nobody.pw_gid
        self.mail = self.mail or self.dir + '/mail'
        self.run = self.run or self.dir + '/run'
        for path in (self.mail, self.run):
            os.makedirs(path, 0o755, True)
        os.chown(self.mail, *self.owner)
        self._certificate()
        with open(self.dir + '/dovecot.conf', 'w') as f:
            f.write(DOVECOT_CONF % dict(
                self.ports, dir=self.dir, uid=self.owner[0],
                gid=self.owner[1], mail=self.mail, run=self.run) + self.extra)
        # to a file: the daemon keeps what it was started with
        with open(self.dir + '/start.log', 'w+') as log:
            done = subprocess.run(
                ['/usr/sbin/dovecot', '-c', self.dir + '/dovecot.conf'],
                stdout=log, stderr=log)
            if done.returncode != 0:
                log.seek(0)
                raise SystemExit('dovecot: ' + log.read())
        greets(self.ports['imap'])
        with open(self.run + '/master.pid') as f:
            self.pid = int(f.read())
        self.account.take(self.pid)

    def _certificate(self):
        subprocess.run(
            ['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt',
             'ec_paramgen_curve:prime256v1', '-nodes', '-days', '30', '-subj',
             '/CN=localhost', '-keyout', self.dir + '/key.pem', '-out',
             self.dir + '/cert.pem'], check=True, capture_output=True)

    def maildir(self, user):
        return '%s/%s/Maildir' % (self.mail, user)

    def forget(self, user):
        """Throws the index of that mailbox away; files stay."""
        for name in os.listdir(self.maildir(user)):
            if name.startswith('dovecot'):
                os.unlink(self.maildir(user) + '/' + name)

    def _stop(self):
        os.kill(self.pid, signal.SIGTERM)
        end = time.monotonic() + 10
        while os.path.exists('/proc/%d' % self.pid):
            if time.monotonic() > end:
                os.kill(self.pid, signal.SIGKILL)
            time.sleep(0.1)


DOVECOT_CONF = '''protocols = imap pop3
base_dir = %(run)s
log_path = %(dir)s/log
listen = 127.0.0.1
ssl = yes
ssl_cert = <%(dir)s/cert.pem
ssl_key = <%(dir)s/key.pem
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_cache_size = 1M
mail_location = maildir:~/Maildir
mail_max_userip_connections = 5000
first_valid_uid = 1
first_valid_gid = 1
last_valid_uid = 0
default_client_limit = 5000
default_process_limit = 3000
passdb {
  driver = static
  args = password=pw
}
userdb {
  driver = static
  args = uid=%(uid)d gid=%(gid)d home=%(mail)s/%%n
}
namespace inbox {
  inbox = yes
  separator = /
}
service imap-login {
  service_count = 0
  process_min_avail = 2
  client_limit = 5000
  inet_listener imap {
    port = %(imap)d
  }
  inet_listener imaps {
    port = %(imaps)d
    ssl = yes
  }
}
service pop3-login {
  service_count = 0
  process_min_avail = 2
  client_limit = 5000
  inet_listener pop3 {
    port = %(pop3)d
  }
  inet_listener pop3s {
    port = %(pop3s)d
    ssl = yes
  }
}
service imap {
  process_limit = 3000
  process_min_avail = 4
  service_count = 1000
}
service pop3 {
  process_limit = 3000
  process_min_avail = 4
  service_count = 1000
}
service anvil {
  client_limit = 12000
}
service auth {
  client_limit = 12000
}
service stats {
  client_limit = 12000
}
'''
