#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The first hour: surat setup with questions and with a file of answers, what
it writes, a suite started from that, surat doctor before, then, and with
things broken; surat check on wrong configurations, each by file and line."""
import imaplib
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
from house import BUILD, House, PROGRAMS, SERVICES, done, message, \
    need_programs, ok, same, skip

# A wrong configuration, the line that is to be named, a word of the reason.
WRONG = (
    ('general {\n domains = {"a.test"}\n hostnam = "x"\n}', 3, 'hostnam'),
    ('general {\n domains = {"a.test"}\n}\nsmpt {\n}', 4, 'smpt'),
    ('smtp {\n max_size = "many"\n}', 2, 'max_size'),
    ('smtp {\n max_size = "1k"\n}', 2, 'max_size'),
    ('smtp {\n\n max_recipients = 5\n}', 3, 'max_recipients'),
    ('smtp { max_processes = 0 }', 1, 'max_processes'),
    ('smtp {\n timeout = "5 parsecs"\n}', 2, 'timeout'),
    ('smtp {\n auth = perhaps\n}', 2, 'auth'),
    ('smtp {\n bare_newline = "eat"\n}', 2, 'bare_newline'),
    ('smtp {\n dns_threshold = -1\n}', 2, 'dns_threshold'),
    ('smtp {\n relay_networks = {"127.0.0.0/99"}\n}', 2, 'relay_networks'),
    ('smtp {\n relay_networks = {"nowhere"}\n}', 2, 'relay_networks'),
    ('listen {\n smtp = {"25:*"}\n}', 2, 'listen.smtp'),
    ('listen {\n imap = {"*:port"}\n}', 2, 'listen.imap'),
    ('listen {\n pop3 = {"*:70000"}\n}', 2, 'listen.pop3'),
    ('log {\n level = "loud"\n}', 2, 'level'),
    ('log {\n target = "printer"\n}', 2, 'target'),
    ('log {\n format = "xml"\n}', 2, 'format'),
    ('tls {\n minimum = "1.1"\n}', 2, 'minimum'),
    ('tls {\n certificate = "/x.pem"\n}', 2, 'key'),
    ('tls {\n key = "/x.pem"\n}', 2, 'certificate'),
    ('policy {\n rules = {"refuse if tls"}\n}', 2, 'rules'),
    ('policy {\n rules = {"reject if sky is blue"}\n}', 2, 'rules'),
    ('policy {\n rules = {"redirect to nobody at all"}\n}', 2, 'rules'),
    ('queue {\n retry = {"soon"}\n}', 2, 'retry'),
    ('queue {\n durability = "none"\n}', 2, 'durability'),
    ('queue {\n remote_agents = 100000\n}', 2, 'remote_agents'),
    ('remote {\n transports = {"a.test"}\n}', 2, 'transports'),
    ('remote {\n transports = {"a.test ftp:b.test"}\n}', 2, 'transports'),
    ('remote {\n tls = "always"\n}', 2, 'remote.tls'),
    ('remote {\n tls_policies = {"a.test maybe"}\n}', 2, 'tls_policies'),
    ('remote {\n smarthost_user = "me"\n}', 2, 'smarthost'),
    ('remote {\n prefer = "ipx"\n}', 2, 'prefer'),
    ('resolve {\n forward = {"dns.example.org"}\n}', 2, 'forward'),
    ('auth {\n scram = "maybe"\n}', 2, 'scram'),
    ('limit {\n ipv4_block = 33\n}', 2, 'ipv4_block'),
    ('general {\n hostname = "under_score.test"\n}', 2, 'hostname'),
    ('general {\n hostname = "mail..test"\n}', 2, 'hostname'),
    ('general {\n domains = {"a.test", "me@b.test"}\n}', 2, 'me@b.test'),
    ('general {\n domains = {"-a.test"}\n}', 2, 'domains'),
    ('general {\n users = "users"\n}', 2, 'absolute'),
    ('general {\n hostname "x"\n}', 2, 'hostname'),
    ('smtp {\n max_size = 1m\n\n max_size = 2m\n}', 4, 'line 2'),
    ('smtp {\n max_hops = 9\n}\nsmtp {\n max_hops = 8\n}', 5, 'line 2'),
    ('general {\n domains = {"a.test"}\n domains = {"b.test"}\n}', 3,
     'line 2'),
    ('listen {\n smtp = {"*:25"}\n imap = {"*:25"}\n}', 3, 'listen.smtp'),
    ('listen {\n smtp = {"127.0.0.1:25", "127.0.0.1:25 proxy"}\n}', 2,
     'listen.smtp'),
    ('listen {\n smtp = {"mail.example.org:25"}\n}', 2, 'listen.smtp'),
    ('smtp {\n dns_lists = {"zen..example"}\n}', 2, 'dns_lists'),
    ('smtp {\n dns_lists = {"zen.example*much"}\n}', 2, 'dns_lists'),
    ('address {\n aliases = {"file:/x"}\n}', 2, 'aliases'),
    ('address {\n bcc = "me"\n}', 2, 'bcc'),
    ('address {\n relay_domains = {"me@a.test"}\n}', 2, 'relay_domains'),
    ('queue {\n rates = {"a.test fast"}\n}', 2, 'rates'),
    ('remote {\n smarthost = "a.test:99999"\n}', 2, 'smarthost'),
    ('remote {\n source = "eth0"\n}', 2, 'source'),
    ('imap {\n hide = {"10.0.0.0/8"}\n}', 2, 'hide'),
    ('limit {\n exempt = {"10.0.0.0/33"}\n}', 2, 'exempt'),
    ('resolve {\n trust_anchor = "root.key"\n}', 2, 'trust_anchor'),
    ('}', 1, 'brace'),
    ('include = "more.conf"', 1, 'include'),
    ('general {\n domains = {"a.test"\n}', None, ''),
    ('general {\n domains = {"a.test"}\n', None, ''),
)


# A table with a mistake in its second line: where it is named, its text.
TABLES = (
    ('general { users = "%s" }', 'alice:{PLAIN}x::::::\nno colons\n'),
    ('general { users = "%s" }', 'a:{PLAIN}x::::::\nb:{PLAIN}x:u:g::::\n'),
    ('general { users = "%s" }', 'a:{PLAIN}x::::::\na:{PLAIN}y::::::\n'),
    ('general { aliases = "%s" }', 'root: alice\npostmaster root\n'),
    ('general { aliases = "%s" }', 'root: alice\nspam: /dev/null\n'),
    ('general { aliases = "%s" }', 'root: alice\nlist: /var/list\n'),
    ('general { aliases = "%s" }', 'root: alice\nroot: bob\n'),
    ('address { relay_recipients = {"pcre:%s"} }',
     '/^a@/ yes\n/(b@/ yes\n'),
    ('policy { rules = {"reject if client is cidr:%s"} }',
     '10.0.0.0/8 yes\n10.0.0.0/99 yes\n'),
)


def as_nobody(*command, **more):
    if os.getuid() == 0:
        command = ('setpriv', '--reuid=65534', '--regid=65534',
                   '--clear-groups') + command
    return subprocess.run(command, capture_output=True, text=True,
                          timeout=100, **more)


class Machine:
    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix='surat.')
        os.chmod(self.dir, 0o777)
        self.bin = self.dir + '/bin'
        os.mkdir(self.bin)
        for name in PROGRAMS:
            shutil.copy(BUILD + '/bin/' + name, self.bin)
        self.etc = self.dir + '/etc'
        self.conf = self.etc + '/surat.conf'

    def surat(self, *words, **more):
        return as_nobody(self.bin + '/surat', *words, '--config', self.conf,
                         **more)


def wrong(m):
    path = m.dir + '/wrong.conf'
    ok(len(WRONG) >= 40, '%d wrong configurations' % len(WRONG))
    for text, line, word in WRONG:
        with open(path, 'w') as f:
            f.write(text + '\n')
        out = as_nobody(m.bin + '/surat', 'check', '--config', path)
        at = '%s:%s' % (path, r'\d+' if line is None else line)
        same(out.returncode, 78, 'refused: ' + text.replace('\n', ' '))
        ok(re.search(r'(?m)^%s: .*%s' % (at, word), out.stderr) or
           re.search(r'(?m)^%s: ' % at, out.stderr) and word in out.stderr,
           'by its line', (at, word, out.stderr))


def wrong_tables(m):
    conf, table = m.dir + '/wrong.conf', m.dir + '/table'
    for where, text in TABLES:
        for name, content in ((conf, where % table + '\n'), (table, text)):
            with open(name, 'w') as f:
                f.write(content)
        out = as_nobody(m.bin + '/surat', 'check', '--config', conf)
        ok(out.returncode == 78 and re.search(
            r'(?m)^%s:2: \S' % table, out.stderr), 'by its line: ' +
           text.split('\n')[1], out)
    out = as_nobody(m.bin + '/surat', 'check', '--config', conf, '--set',
                    'address.aliases=text:/nowhere')
    ok('/nowhere: cannot be read' in out.stderr and table in out.stderr,
       'and all of them at once', out)


def questions(m):
    out = m.surat('setup', 'example.org', '--offline', '--dry-run',
                  input='mx.example.org\nme\ngeheim\n\n\n')
    same(out.returncode, 0, 'five answers are enough')
    same(m.surat('setup', 'example.org', '--offline', '--dry-run',
                 input='mx.example.org\nme\ngeheim\n\n').returncode, 66,
         'and four are not')
    ok('hostname = "mx.example.org"' in out.stdout, 'the answers are used')
    ok('geheim' not in out.stdout + out.stderr, 'a password is not shown')
    ok(not os.path.exists(m.etc), 'a dry run writes nothing')
    same(m.surat('setup', 'example.org', input='').returncode, 66,
         'no answers')
    same(m.surat('setup', 'Example').returncode, 64, 'no domain')


IN_ITS_WORLD = '''mount --bind "$0" /etc && ip link set lo up &&
ip addr add 192.0.2.10/32 dev lo && ip addr add 192.0.2.11/32 dev lo &&
exec "$@"'''
HOSTS = '''127.0.0.1 localhost smart.test gmail-smtp-in.l.google.com
192.0.2.10 mail.good.test
192.0.2.11 other.test mail.bad.test
192.0.2.99 mail.away.test
'''
# In a namespace: listens on the ports named first, then runs the rest.
LISTENER = '''
import socket, subprocess, sys, threading
def serve(s, text):
    while True:
        c, _ = s.accept()
        c.sendall(text)
        c.recv(100)
        c.close()
for word in sys.argv[1].split(","):
    port, text = word.split("=")
    s = socket.create_server(("", int(port)))
    threading.Thread(target=serve, args=(s, text.encode() + b"\\r\\n"),
                     daemon=True).start()
sys.exit(subprocess.run(sys.argv[2:]).returncode)
'''


def look(m, host, *words, listen='2525=220 hello', smarthost=''):
    """What the look at a machine of our own making says."""
    path = m.dir + '/answers'
    with open(path, 'w') as f:
        f.write('hostname = %s\nsmarthost = %s\n' % (host, smarthost))
    out = subprocess.run(
        ['unshare', '-m', '-n', 'sh', '-c', IN_ITS_WORLD, m.dir + '/world',
         sys.executable, '-c', LISTENER, listen, m.bin + '/surat', 'setup',
         'example.org', '--dry-run', '--json', '--answers', path, '--config',
         m.conf, *words], capture_output=True, text=True, timeout=100)
    same(out.returncode, 0, 'setup looks: ' + host + ' ' + ' '.join(words))
    rows = [json.loads(l) for l in out.stdout.splitlines()
            if l.startswith('{"')]
    return {r['what']: (r['state'], r['detail']) for r in rows}


def machine_looked_at(m):
    if os.getuid() != 0 or subprocess.run(
            ['unshare', '-m', '-n', 'true'], capture_output=True).returncode:
        skip('the look at the machine', 'needs root and namespaces')
        return
    os.mkdir(m.dir + '/world')
    for name, text in (('hosts', HOSTS), ('nsswitch.conf', 'hosts: files\n'),
                       ('passwd', 'root:x:0:0::/:/bin/sh\n'),
                       ('aliases', '# x\nroot: me\npostmaster: root\n')):
        with open(m.dir + '/world/' + name, 'w') as f:
            f.write(text)
    shutil.copy('/etc/ld.so.cache', m.dir + '/world')
    good = look(m, 'mail.good.test', '--probe', 'smart.test:2525')
    same({w: good.get(w) for w in (
        'port 25 is free', '/etc/aliases has nothing to take over',
        'mail.good.test has an address', '192.0.2.10 is this host\'s',
        '192.0.2.10 is called mail.good.test',
        'mail gets out, to port 2525 of smart.test')},
         dict.fromkeys(('port 25 is free',
                        '/etc/aliases has nothing to take over',
                        'mail.good.test has an address',
                        '192.0.2.10 is this host\'s',
                        '192.0.2.10 is called mail.good.test',
                        'mail gets out, to port 2525 of smart.test'),
                       ('ok', '')), 'all is well')
    ok(good['/usr/sbin/sendmail is this suite\'s'][0] == 'look',
       'whose sendmail it is', good)
    with open(m.dir + '/world/aliases', 'a') as f:
        f.write('webmaster: me\n  continued: x\nlist: a, b\n')
    bad = look(m, 'mail.bad.test', '--probe', '127.0.0.1:2526',
               listen='25=220 an MTA,2525=220 hello')
    same(bad['port 25 is free'], ('look', 'Address already in use'),
         'a port that is taken')
    same(bad['/etc/aliases has nothing to take over'],
         ('look', 'webmaster, list (2 entries): surat reads its own file'),
         'aliases of another system')
    ok(bad['192.0.2.11 is called mail.bad.test'][1].startswith(
        'it is called other.test'), 'an address with another name', bad)
    ok('Connection refused; is the port blocked?' in
       bad['mail gets out, to port 2526 of 127.0.0.1'][1], 'no way out', bad)
    refuses = look(m, 'nowhere.test', '--probe', 'smart.test:2525',
                   listen='2525=554 not you')
    same((refuses['nowhere.test has an address'][0],
          refuses['mail gets out, to port 2525 of smart.test'][1][:13]),
         ('look', '554 not you; '), 'a name without address, a refusal')
    by = look(m, 'mail.away.test', smarthost='smart.test:2525')
    same((by['192.0.2.99 is this host\'s'][0],
          by['mail gets out, to port 2525 of smart.test'][0]),
         ('ok', 'ok'), 'behind a router that translates; by the smarthost')
    alone = look(m, 'mail.good.test', listen='25=220 a stranger')
    same([(w, s) for w, (s, _) in alone.items() if 'gets out' in w],
         [('mail gets out', 'look')], 'nobody is called who was not named')
    off = look(m, 'nowhere.test', '--offline')
    same([w for w in off if 'nowhere' in w or 'gets out' in w], [],
         'nobody is asked')


def answers(m):
    path = m.dir + '/answers'
    for text, line in (('host = x', 1), ('# a\n\nuser: me', 3)):
        with open(path, 'w') as f:
            f.write(text + '\n')
        out = m.surat('setup', 'example.org', '--offline', '--answers', path)
        same(out.returncode, 65, 'a wrong file of answers')
        ok('%s:%d: ' % (path, line) in out.stderr, 'by its line', out.stderr)
    for bad in ('hostname = no_host', 'user = ../x', 'smarthost = a"b',
                'tls = here', 'smarthost = a..b:port'):
        with open(path, 'w') as f:
            f.write(bad + '\n')
        out = m.surat('setup', 'example.org', '--offline', '--answers', path)
        ok(out.returncode == 65 and not os.path.exists(m.etc),
           'refused: ' + bad, out.stdout + out.stderr)
    with open(path, 'w') as f:
        f.write('# all as it is offered\n')
    out = m.surat('setup', 'example.org', '--offline', '--answers', path)
    same((out.returncode, [l for l in open(m.etc + '/aliases').read().split(
        '\n') if l[:1] not in ('', '#')]),
         (0, ['abuse: postmaster', 'mailer-daemon: postmaster',
              'root: postmaster']), 'nobody is an alias of himself')
    shutil.rmtree(m.etc)
    with open(path, 'w') as f:
        f.write('hostname = mail.example.org\nuser = me\npassword = geheim\n')
    out = m.surat('setup', 'example.org', '--offline', '--answers', path)
    same(out.returncode, 0, 'setup from a file')
    for record in ('example.org. MX 10 mail.example.org.',
                   'example.org. TXT "v=spf1 mx -all"',
                   '_imaps._tcp.example.org. SRV 0 1 993 mail.example.org.'):
        ok(record in out.stdout, 'DNS: ' + record, out.stdout)
    lines = [l for l in open(m.conf) if re.sub(r'#.*', '', l).strip()]
    ok(len(lines) <= 10, 'at most ten effective lines', lines)
    same(m.surat('check').returncode, 0, 'surat check has no complaint')
    same(os.stat(m.etc + '/users').st_mode & 0o777, 0o640, 'users: mode')
    same(os.stat(m.etc + '/tls/key.pem').st_mode & 0o777, 0o600, 'key: mode')
    same(m.surat('setup', 'example.org', '--offline', '--answers', path).returncode, 73,
         'what is there is not replaced')
    os.rename(m.conf, m.conf + '.old')
    with open(m.etc + '/aliases', 'a') as f:
        f.write('mine: me\n')
    out = m.surat('setup', 'example.org', '--offline', '--answers', path)
    ok(out.returncode == 0 and 'mine: me' in open(m.etc + '/aliases').read(),
       'aliases that are there neither', out)
    out = m.surat('setup', 'example.org', '--offline', '--answers', path, '--force')
    same(out.returncode, 0, 'but by force')


class Started(House):
    """From the configuration that setup wrote, on ports of its own."""

    def __init__(self, machine):
        super().__init__(users={'me': 'geheim'}, directory=machine.dir + '/w')
        self.machine = machine
        self.sets = ['general.state=' + self.dir + '/state',
                     'general.runtime=' + self.dir + '/run',
                     'general.mail=' + self.dir + '/mail',
                     'resolve.forward=127.0.0.1@1', 'resolve.timeout=1s',
                     'log.target=stderr'] + [
            'listen.%s=127.0.0.1:%d' % (s, self.port(s)) for s in SERVICES]

    def more(self):
        return [w for s in self.sets for w in ('--set', s)]

    def command(self):
        become = ['setpriv', '--reuid=65534', '--regid=65534',
                  '--clear-groups'] if os.getuid() == 0 else []
        return become + [self.machine.bin + '/suratd', '--announce',
                         '--config', self.machine.conf] + self.more()

    def doctor(self):
        out = self.machine.surat('doctor', '--json', *self.more())
        rows = [json.loads(l) for l in out.stdout.splitlines()]
        return out.returncode, {r['what']: (r['state'], r['detail'])
                                for r in rows}


def live(m):
    os.mkdir(m.dir + '/w')
    os.chmod(m.dir + '/w', 0o777)
    with open(m.etc + '/aliases', 'a') as f:
        f.write('me: root\n')
    h = Started(m)
    code, rows = h.doctor()
    same(code, 1, 'doctor: nothing runs')
    same(rows['master'][0], 'look', 'and says so')
    with h:
        h.send(['me@example.org'], message('first'))
        h.send(['root@example.org'], message('second'))
        ok(len(h.wait_mail('me', 2, 20)) == 2,
           'the first user gets mail, and that of root, though each is the '
           'other\'s alias')
        c = imaplib.IMAP4_SSL('127.0.0.1', h.port('imaps'), timeout=30,
                              ssl_context=ssl._create_unverified_context())
        same(c.login('me', 'geheim')[0], 'OK', 'logs in')
        c.logout()
        code, rows = h.doctor()
        ports = [w for w in rows if ' at 127.0.0.1:' in w]
        same((len(ports), {rows[w][0] for w in ports}), (8, {'ok'}),
             'doctor: every port answers')
        ok(rows['smtp at 127.0.0.1:%d' % h.port('smtp')][1].startswith(
            '220 mail.example.org'), 'with its greeting', rows)
        same({rows[p][0] for p in PROGRAMS if p in rows}, {'ok'},
             'every program runs')
        ok(rows['the queue'][0] == 'ok' and
           'recipients wait' in rows['the queue'][1], 'the queue', rows)
        same(rows['certificate'][0], 'ok', 'the certificate lasts')
        same(rows['MX of example.org'][0], 'look', 'the DNS does not lead here')
        make_certificate(m.etc + '/tls', 3)
        code, rows = h.doctor()
        same((code, rows['certificate']),
             (1, ('look', 'ends in %s days' % rows['certificate'][1].split()[2])),
             'one that ends soon is told of')


def make_certificate(where, days):
    subprocess.run(
        ['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt',
         'ec_paramgen_curve:P-256', '-nodes', '-days', str(days), '-subj',
         '/CN=mail.example.org', '-keyout', where + '/key.pem', '-out',
         where + '/certificate.pem'], check=True, stderr=subprocess.DEVNULL)


need_programs()
machine = Machine()
try:
    wrong(machine)
    wrong_tables(machine)
    questions(machine)
    machine_looked_at(machine)
    answers(machine)
    live(machine)
finally:
    shutil.rmtree(machine.dir, ignore_errors=True)
done()
