#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Every program under its own systemd unit: started when it is asked for, as
its user and with the unit's capabilities, network and credentials; mail in by
SMTP, delivered to virtual users and people of the system, read by IMAP and
POP3 under TLS; a reload that drops nobody."""
import imaplib
import os
import poplib
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
from house import done, message, need_programs, ok, same, until
from installed import make_install, sysusers, table
from mx import Server
from root import hashed, need_root
from units import System, Unit, be_system, enter

CONF = '''general { hostname = "mail.example.test" domains = {"example.test"} }
tls { certificate = "/etc/surat/tls/certificate.pem"
      key = "/etc/surat/tls/key.pem" }
log { target = stderr level = debug }
smtp { relay_networks = {"127.0.0.0/8"} }
remote { smarthost = "mx.example.net:2525" allow_loopback = yes }
'''


def prepare(root):
    same(make_install(root).returncode, 0, 'make install')
    same(sysusers(root).returncode, 0, 'users')
    with open(root + '/etc/passwd', 'a') as f:
        f.write('root:x:0:0::/root:/bin/sh\n'
                'carol:x:64200:64200::/home/carol:/bin/sh\n')
    with open(root + '/etc/group', 'a') as f:
        f.write('root:x:0:\ncarol:x:64200:\n')
    with open(root + '/etc/surat/surat.conf', 'w') as f:
        f.write(CONF)
    home = root + '/var/home/carol'
    os.makedirs(home)
    os.chown(home, 64200, 64200)
    be_system(root)
    with open('/etc/hosts', 'a') as f:
        f.write('127.0.0.1 mx.example.net\n')
    os.mkdir('/etc/surat/tls', 0o700)
    subprocess.run(
        ['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt',
         'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj',
         '/CN=mail.example.test', '-keyout', '/etc/surat/tls/key.pem',
         '-out', '/etc/surat/tls/certificate.pem'], check=True,
        stderr=subprocess.DEVNULL)
    made = subprocess.run(['systemd-tmpfiles', '--create',
                           root + '/usr/lib/tmpfiles.d/surat.conf'],
                          capture_output=True, text=True)
    same(made.returncode, 0, 'directories')
    with open('/etc/surat/users', 'w') as f:
        f.write('alice:%s::::::\ncarol:%s:64200:64200::/var/home/carol::\n' %
                (hashed('secret'), hashed('pass')))
    with open('/etc/surat/aliases', 'w') as f:
        f.write('note: "|id -un > /var/lib/note/new; mv /var/lib/note/new '
                '/var/lib/note/who"\n')
    os.mkdir('/var/lib/note', 0o777)
    os.chmod('/var/lib/note', 0o777)


def send(to):
    with smtplib.SMTP('127.0.0.1', 25, timeout=30) as s:
        s.sendmail('s@remote.test', to, message('by units'))


def shown():
    """The name in the certificate that clients see."""
    context = ssl._create_unverified_context()
    with socket.create_connection(('127.0.0.1', 993), 30) as s, \
            context.wrap_socket(s) as t:
        out = subprocess.run(
            ['openssl', 'x509', '-noout', '-subject', '-inform', 'DER'],
            input=t.getpeercert(True), capture_output=True).stdout
    return out.decode().split('CN')[1].strip(' =\n')


def renewal():
    """What surat-certificate.path starts when a file has changed."""
    unit = Unit(system.units, 'surat-certificate.path')
    same(sorted(unit['PathChanged']), sorted(
        c.split(':')[1] for c in Unit(
            system.units, 'surat-keys.service')['LoadCredential']),
         'both files are watched')
    stays, _ = read('alice', 'secret')
    before = {n: system.running[n].pid for n in ('surat-tls', 'surat-keys')}
    subprocess.run(
        ['openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days',
         '2', '-subj', '/CN=renewed.test', '-keyout', '/etc/surat/tls/key.new',
         '-out', '/etc/surat/tls/certificate.new'], check=True,
        stderr=subprocess.DEVNULL)
    os.rename('/etc/surat/tls/certificate.new',
              '/etc/surat/tls/certificate.pem')
    same(system.run('surat-certificate'), False, 'half of a pair is refused')
    ok('does not belong to the private key' in ''.join(system.log[-2:]),
       'with the reason', system.log[-2:])
    same((shown(), system.running['surat-keys'].pid),
         ('mail.example.test', before['surat-keys']), 'and changes nothing')
    os.rename('/etc/surat/tls/key.new', '/etc/surat/tls/key.pem')
    same(system.run('surat-certificate'), True, 'a pair is taken')
    same([shown() for _ in range(3)], ['renewed.test'] * 3, 'and shown')
    same(stays.noop()[0], 'OK', 'sessions go on')
    stays.logout()
    same(system.running['surat-tls'].pid, before['surat-tls'],
         'tls is the same process')
    ok(system.running['surat-keys'].pid != before['surat-keys'],
       'keys another')
    same(read('alice', 'secret')[0].logout()[0], 'BYE', 'and logins work')


def busy_restart():
    """Nobody listens while it ends: what has been begun does not hold it."""
    c = imaplib.IMAP4_SSL('127.0.0.1', 993, timeout=30,
                          ssl_context=ssl._create_unverified_context())
    c.send(b'a AUTHENTICATE PLAIN\r\n')
    same(c.readline(), b'+ \r\n', 'a login has been begun')
    pid = system.running['surat-auth'].pid
    system.signal('surat-auth', signal.SIGTERM)
    ok(until(lambda: not os.path.exists('/proc/%d/exe' % pid), 15),
       'auth ends without it')
    same(read('alice', 'secret')[0].logout()[0], 'BYE', 'and is there again')
    c.shutdown()


def files(maildir):
    found = []
    for sub in ('new', 'cur'):
        try:
            found += os.listdir('%s/Maildir/%s' % (maildir, sub))
        except OSError:
            pass
    return found


def read(user, password):
    c = imaplib.IMAP4_SSL('127.0.0.1', 993, timeout=30,
                          ssl_context=ssl._create_unverified_context())
    c.login(user, password)
    return c, c.select()[1]


def who(program):
    uids = set()
    for pid in os.listdir('/proc'):
        if pid.isdigit():
            try:
                exe = os.readlink('/proc/%s/exe' % pid)
                if exe.endswith('/libexec/surat/' + program) and \
                        exe.startswith(root):
                    uids.add(os.stat('/proc/' + pid + '/task').st_uid)
            except OSError:
                pass
    return uids


need_root('units started one by one')
need_programs()
enter()
root = tempfile.mkdtemp(prefix='surat.')
os.chmod(root, 0o755)
system = None
try:
    prepare(root)
    ids = {r[0]: int(r[2]) for r in table('/etc/passwd')}
    system = System(root)
    system.start('surat-launcher')
    same(system.notified['surat-launcher'].split('\n')[0], 'READY=1',
         'the launcher is ready')
    ok(os.path.exists('/run/surat/sendmail/surat.conf'),
       'and has published the configuration')
    send(['alice@example.test', 'carol@example.test'])
    ok(until(lambda: files('/var/mail/surat/alice'), 20),
       'delivered to a virtual user')
    ok(until(lambda: files('/var/home/carol'), 20),
       'delivered to one of the system')
    for user, password in (('alice', 'secret'), ('carol', 'pass')):
        c, got = read(user, password)
        same(got, [b'1'], user + ' reads it by IMAP over TLS')
        if user == 'carol':
            c.logout()
            continue
        c.xatom('UNAUTHENTICATE')
        c.state = 'NONAUTH'
        c.login('carol', 'pass')
        same(c.select()[1], [b'1'], 'and carol on the same connection')
        c.logout()
    send(['note@example.test'])
    ok(until(lambda: os.path.exists('/var/lib/note/who'), 20) and
       open('/var/lib/note/who').read() == '_suratpipe\n',
       'given to a command')
    mx = Server('127.0.0.1', 2525)
    send(['somebody@example.net'])
    ok(until(lambda: [m for s in list(mx.sessions) for m in s.messages], 20),
       'mail for others goes out')
    p = poplib.POP3_SSL('127.0.0.1', 995, timeout=30,
                        context=ssl._create_unverified_context())
    p.user('alice')
    p.pass_('secret')
    same(p.stat()[0], 1, 'and by POP3')
    p.quit()
    same(sorted(set(system.started)), sorted(
        'surat-' + n for n in 'launcher keys tls auth queue resolve smtpd '
        'imapd pop3d deliver-local@ deliver-remote@ '
        'deliver-pipe@'.split()), 'what started')
    same({s: n.split('\n')[0] for s, n in system.notified.items()
          if not n.startswith('READY=1')}, {}, 'all said that they are ready')
    same({n: who(n) for n in ('smtpd', 'queue', 'auth', 'tls', 'keys')},
         {n: {ids['_surat' + u]} for n, u in
          (('smtpd', 'net'), ('queue', 'q'), ('auth', 'auth'),
           ('tls', 'tls'), ('keys', 'key'))}, 'each as its user')
    got = subprocess.run([root + '/usr/libexec/surat/surat', 'metrics'],
                         capture_output=True, text=True).stdout
    for line in ('surat_deliveries_total{agent="local",result="delivered"} 2',
                 'surat_deliveries_total{agent="remote",result="delivered"} 1',
                 'surat_logins_total{protocol="imap",result="ok"} 3',
                 'surat_sessions_begun_total{protocol="pop3"} 1'):
        ok('\n' + line + '\n' in got, line, got)
    held, _ = read('alice', 'secret')
    guest = smtplib.SMTP('127.0.0.1', 25, timeout=30)
    for service in ('surat-smtpd', 'surat-imapd'):
        system.signal(service, signal.SIGHUP)
    time.sleep(0.3)
    send(['alice@example.test'])
    guest.sendmail('s@remote.test', ['alice@example.test'], message('held'))
    ok(until(lambda: len(files('/var/mail/surat/alice')) == 3, 20),
       'a reload turns nobody away')
    same(held.noop()[0], 'OK', 'and drops nobody')
    same([l for l in system.log if 'ended with' in l or ' died ' in l], [],
         'nobody died')
    renewal()
    busy_restart()
finally:
    if system:
        if os.environ.get('SHOW'):
            open(os.environ['SHOW'], 'w').write(''.join(system.log))
        system.stop()
    for where in ('/etc', '/var', '/run'):
        subprocess.run(['umount', '-l', where], stderr=subprocess.DEVNULL)
    shutil.rmtree(root)
done()
