# SPDX-License-Identifier: ISC
"""Exim as Debian has it, as a partner like postfix.py's.  Its package excludes
Postfix's, so it is unpacked into a directory and run from there, in a mount
namespace whose /etc has its configuration and its user and little else.
Nothing of it is set-uid: deliveries are its own user's.
"""
import glob
import os
import shutil
import signal
import socket
import subprocess
import tempfile

import mx
from house import BUILD, until
from postfix import Partner

USER, UID = 'Debian-exim', 64990
PLACE = BUILD + '/partners/exim'
PACKAGES = ('exim4-daemon-light', 'exim4-base')

MAIN = '''
exim_path = %(exim)s
keep_environment =
notifier_socket =
exim_user = Debian-exim
exim_group = Debian-exim
deliver_drop_privilege = true
spool_directory = %(d)s/spool
log_file_path = %(d)s/log/%%slog
pid_file_path = %(d)s/run/pid.%(name)s
primary_hostname = mx.exim.test
local_interfaces = <; [127.0.0.21]:%(listen)d
message_size_limit = 10M
host_lookup =
rfc1413_query_timeout = 0s
smtp_accept_max = 50
queue_only = false
smtputf8_advertise_hosts = *
dsn_advertise_hosts = *
tls_advertise_hosts = *
tls_certificate = %(cert)s
tls_privatekey = %(key)s
acl_smtp_rcpt = rcpt
%(more)s
begin acl
rcpt:
  accept domains = exim.test : less.test
    local_parts = u : two : plain : j\u00f6rg
  accept hosts = 127.0.0.0/8
    domains = example.test
  deny message = nobody of that name is here
begin routers
home:
  driver = manualroute
  domains = example.test
  transport = back
  route_list = * 127.0.0.1 byname
  self = send
here:
  driver = accept
  local_parts = u : two : plain : j\u00f6rg
  transport = box
begin transports
back:
  driver = smtp
  port = %(back)d
  allow_localhost
  hosts_require_tls = *
  tls_verify_hosts =
  tls_try_verify_hosts =
box:
  driver = appendfile
  directory = %(d)s/mail/$local_part_data
  maildir_format
  user = Debian-exim
begin retry
* * F,1h,2s
'''
LESS = '''
accept_8bitmime = false
chunking_advertise_hosts =
pipelining_advertise_hosts =
'''


def unpack():
    """Fetches and unpacks it, once; True when it is there."""
    exim = PLACE + '/usr/sbin/exim4'
    if os.path.exists(exim):
        return True
    top = tempfile.mkdtemp(prefix='exim.')
    os.makedirs(os.path.dirname(PLACE), exist_ok=True)
    fresh = tempfile.mkdtemp(dir=os.path.dirname(PLACE))
    try:
        subprocess.run(['apt-get', 'download', *PACKAGES], cwd=top, check=True,
                       capture_output=True, timeout=120)
        for package in glob.glob(top + '/*.deb'):
            subprocess.run(['dpkg', '-x', package, fresh], check=True,
                           capture_output=True)
        os.chmod(fresh + '/usr/sbin/exim4', 0o755)
        os.chmod(fresh, 0o755)
        os.rename(fresh, PLACE)
    except (OSError, subprocess.SubprocessError):
        pass
    finally:
        shutil.rmtree(top, ignore_errors=True)
        shutil.rmtree(fresh, ignore_errors=True)
    return os.path.exists(exim)


def missing():
    """Why it cannot be had here, or ''."""
    if os.getuid() != 0 or not shutil.which('unshare') or subprocess.run(
            ['unshare', '-m', 'mount', '--bind', '/etc', '/etc'],
            capture_output=True).returncode != 0:
        return 'needs root and mount namespaces'
    return '' if unpack() else 'its package cannot be had'


class Exim(Partner):
    name, domain, address = 'Exim', 'exim.test', '127.0.0.21'
    host, secure, clear = 'mx.exim.test', b'with esmtps', b'with esmtp '
    unknown, most = b'nobody of that name is here', 10 << 20

    def __init__(self, port, less, back):
        self.d = d = tempfile.mkdtemp(prefix='exim.')
        os.chmod(d, 0o755)
        for sub in ('spool', 'log', 'run', 'mail'):
            os.mkdir(d + '/' + sub, 0o755)
            os.chown(d + '/' + sub, UID, UID)
        self.cert, self.key = mx.certificate(d, 'mx.exim.test')
        os.chown(self.key, UID, UID)
        self.daemons = [self.start('all', port, back, ''),
                        self.start('less', less, back, LESS)]
        for number in (port, less):
            if not until(lambda: self.answers(number), 20):
                raise SystemExit('exim does not start: ' + self.log())

    def start(self, name, port, back, more):
        etc = '%s/etc.%s' % (self.d, name)
        os.makedirs(etc + '/exim4')
        text = MAIN % dict(
            exim=PLACE + '/usr/sbin/exim4', d=self.d, name=name, listen=port,
            back=back, cert=self.cert, key=self.key, more=more)
        if name == 'less':
            for word in ('smtputf8', 'dsn', 'tls'):
                text = text.replace(word + '_advertise_hosts = *',
                                    word + '_advertise_hosts =')
        with open(etc + '/exim4/exim4.conf', 'w', encoding='utf-8') as f:
            f.write(text)
        for path, line in (('passwd', '%s:x:%d:%d::/:/bin/false\n'),
                           ('group', '%s:x:%d:\n')):
            with open(etc + '/' + path, 'w') as f:
                f.write(open('/etc/' + path).read() + line % (
                    (USER, UID, UID)[:line.count('%')]))
        for path in ('nsswitch.conf', 'hosts', 'ld.so.cache', 'services'):
            if os.path.exists('/etc/' + path):
                shutil.copy('/etc/' + path, etc)
        return subprocess.Popen(
            ['unshare', '-m', 'sh', '-c', 'mount --bind "$1" /etc && exec "$2" '
             '-bdf -q1s', 'sh', etc, PLACE + '/usr/sbin/exim4'],
            stdin=subprocess.DEVNULL, stdout=open(self.d + '/log/out', 'ab'),
            stderr=subprocess.STDOUT)

    @staticmethod
    def answers(port):
        try:
            socket.create_connection((Exim.address, port), 1).close()
            return True
        except OSError:
            return False

    def log(self):
        return ''.join(open(f, errors='replace').read() for f in sorted(
            glob.glob(self.d + '/log/*')))

    def complaints(self):
        try:
            return open(self.d + '/log/paniclog').read().splitlines()
        except FileNotFoundError:
            return []

    def stop(self):
        for p in self.daemons:
            p.send_signal(signal.SIGTERM)
        for p in self.daemons:
            try:
                p.wait(20)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
        shutil.rmtree(self.d, ignore_errors=True)
