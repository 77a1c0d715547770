#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""surat and sendmail by themselves: the other programs are stand-ins."""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
from house import BUILD, done, ok, skip
from ports import free_offset

HERE = os.path.dirname(os.path.abspath(__file__))
SURAT = BUILD + '/bin/surat'
SENDMAIL = BUILD + '/bin/sendmail'
PROGRAMS = ('keys tls resolve auth queue deliver-local deliver-pipe '
            'deliver-remote '
            'smtpd imapd pop3d').split()
ROOT = os.getuid() == 0
top = tempfile.mkdtemp(prefix='surat.')
os.chmod(top, 0o755)
lib = top + '/lib'


def call(*command, text='', **more):
    return subprocess.run(command, input=text, capture_output=True, text=True,
                          timeout=60, **more)


offset = free_offset()


class Run:
    def __init__(self, dir, *options):
        self.err = tempfile.TemporaryFile('w+')
        self.p = subprocess.Popen(
            [SURAT, 'run', '--dir', dir, '--port-offset', str(offset),
             '--set', 'general.libexec=' + lib, *options],
            stdout=subprocess.PIPE, stderr=self.err, text=True)
        self.line = self.p.stdout.readline()

    def why(self):
        self.err.seek(0)
        return self.line + self.err.read()

    def end(self):
        self.p.send_signal(signal.SIGTERM)
        code = self.p.wait(30)
        self.p.stdout.close()
        return code

    def uid(self):
        return os.stat('/proc/%d' % self.p.pid).st_uid


def test_run():
    d = top + '/one'
    r = Run(d, '--user', 'alice:geheim:zwei', '--user', 'bob@b.test:x',
            '--domain', 'a.test', '--domain', 'b.test', '--plaintext-auth',
            '--smarthost', '127.0.0.1:2525', '--set', 'smtp.max_errors=3')
    ok(r.line.startswith('surat: ready '), 'surat run', r.why())
    for port in (24, 25, 110, 143, 465, 587, 993, 995):
        with socket.create_connection(('127.0.0.1', offset + port), 10) as s:
            s.settimeout(10)
            if s.recv(10) == b'':
                ok(False, 'port %d answers' % port)
    ok(True, 'every port answers')
    if ROOT:
        ok(r.uid() == 65534, 'root is given up for nobody', r.uid())
    conf = open(d + '/surat.conf').read()
    for want in ('domains = {"a.test", "b.test"}', 'plaintext_auth = yes',
                 'smarthost = "127.0.0.1:2525"', 'max_errors = 3',
                 'hostname = "mail.a.test"', 'target = "stderr"'):
        ok(want in conf, want)
    users = open(d + '/users').read()
    ok(re.search(r'^alice:\{CRYPT\}\$y\$\S+::::%s/mail/alice::$' % d, users,
                 re.M) and
       re.search(r'^bob@b.test:\{CRYPT\}\$y\$\S+::::%s/mail/b.test/bob::$' %
                 d, users, re.M) and 'geheim' not in users,
       'users with hashes and homes', users)
    for check, want in ((('-checkhost', 'mail.a.test'), 'does match'),
                        (('-checkip', '::1'), 'does match'),
                        (('-checkend', '100000'), 'will not expire')):
        out = call('openssl', 'x509', '-in', d + '/tls/cert.pem', '-noout',
                   *check)
        ok(want in out.stdout, 'certificate ' + ' '.join(check), out)
    ok(os.stat(d + '/tls/key.pem').st_mode & 0o77 == 0, 'a private key')
    ok(r.end() == 0, 'SIGTERM: exit status 0', r.why())
    cert = open(d + '/tls/cert.pem').read()
    r = Run(d)
    ok(r.line.startswith('surat: ready '), 'a second start', r.why())
    ok(open(d + '/users').read() == users and
       open(d + '/tls/cert.pem').read() == cert, 'keeps what there is')
    second = Run(top + '/two')
    ok(second.line == '' and second.p.wait(30) != 0 and
       'Address already in use' in second.why(), 'ports in use: a reason',
       second.why())
    second.p.stdout.close()
    r.p.send_signal(signal.SIGINT)
    ok(r.p.wait(30) == 0, 'SIGINT: exit status 0')
    r.p.stdout.close()


def test_run_table():
    d = top + '/table'
    with open(top + '/users.txt', 'w') as f:
        for i in range(5000):
            f.write('u%d:{PLAIN}p::::::\n' % i)
    os.chmod(top + '/users.txt', 0o644)
    with open(top + '/base.conf', 'w') as f:
        f.write('general { domains = base.test }\nsmtp { max_hops = 11 }\n')
    r = Run(d, '--users', top + '/users.txt', '--user', 'last:x', '--config',
            top + '/base.conf')
    ok(r.line.startswith('surat: ready '), 'a table of users', r.why())
    lines = open(d + '/users').read().splitlines()
    ok(len(lines) == 5001 and lines[0] == 'u0:{PLAIN}p::::::', 'as it is')
    conf = open(d + '/surat.conf').read()
    ok('"base.test"' in conf and 'max_hops = 11' in conf,
       'on a given configuration')
    r.end()


def test_run_wrong():
    for args, want in (
            (['--user', 'nopassword'], 'NAME[@DOMAIN]:PASSWORD'),
            (['--user', 'a/b:x'], 'NAME[@DOMAIN]:PASSWORD'),
            (['--port-offset', 'x'], 'needs a number'),
            (['--port-offset', '65000'], 'too large'),
            (['--users', '/no/such'], '/no/such: No such file'),
            (['--set', 'smtp.nothing=1'], 'no option smtp.nothing'),
            (['--set', 'smtp.max_errors=0'], 'must be from 1 to'),
            (['--nonsense'], 'no option --nonsense'),
            (['operand'], 'has no operands')):
        out = call(SURAT, 'run', '--dir', top + '/wrong', *args)
        ok(out.returncode != 0 and want in out.stderr,
           'run %s: %s' % (' '.join(args), want), out)
    out = call(SURAT, 'run')
    ok(out.returncode == 64 and '--dir' in out.stderr, 'run needs --dir')


def test_run_root():
    if not ROOT:
        skip('surat run as root', 'needs root')
        return
    d = top + '/owned'
    os.mkdir(d)
    os.chown(d, 12345, 12346)
    r = Run(d)
    ok(r.line and r.uid() == 12345, 'the owner of DIR', r.why())
    groups = re.search(r'Groups:[ \t]*(.*)',
                       open('/proc/%d/status' % r.p.pid).read())[1]
    ok(groups.strip() == '', 'without root\'s groups', groups)
    r.end()
    r = Run(top + '/as', '--as', 'daemon')
    ok(r.line and r.uid() == 1, '--as', r.why())
    r.end()
    d = top + '/roots'
    os.mkdir(d)
    open(d + '/precious', 'w').close()
    for more, want in (([], 'not empty'), (['--as', 'root'], 'is root'),
                       (['--as', 'nosuchuser'], 'no user')):
        out = call(SURAT, 'run', '--dir', d, *more)
        ok(out.returncode != 0 and want in out.stderr, want, out)
    ok(os.stat(d).st_uid == 0, "root's directory stays root's")


def test_users():
    conf = top + '/u.conf'
    table = top + '/u.users'
    with open(conf, 'w') as f:
        f.write('general { users = "%s" }\n' % table)

    def user(*args, text='geheim\n'):
        return call(SURAT, 'user', *args, '--config', conf, text=text)
    ok(user('add', 'anna').returncode == 0, 'user add')
    with open(table, 'a') as f:
        f.write('# a comment\n\nold:{SHA512-CRYPT}$6$x:5:6:Old One:/h:/s:o=1\n')
    os.chmod(table, 0o600)
    ok(user('add', 'Anna').returncode != 0, 'no second of the name')
    ok(user('add', 'ben@b.test', '--home=/x/y').returncode == 0, 'with home')
    ok(user('passwd', 'old', text='neu\n').returncode == 0, 'user passwd')
    text = open(table).read()
    ok('\n# a comment\n\nold:{CRYPT}$y$' in text and
       ':5:6:Old One:/h:/s:o=1\nben@b.test:' in text,
       'all else stays as it was', text)
    ok(os.stat(table).st_mode & 0o777 == 0o600, 'the mode too')
    ok('geheim' not in text and ':/x/y::' in text, 'only hashes')
    out = user('list', '--json')
    rows = [json.loads(l) for l in out.stdout.splitlines()]
    ok([r['name'] for r in rows] == ['anna', 'old', 'ben@b.test'] and
       rows[1]['gecos'] == 'Old One' and '$y$' not in out.stdout,
       'user list --json', out)
    ok(user('delete', 'old').returncode == 0 and
       'old:' not in open(table).read(), 'user delete')
    ok(user('delete', 'old').returncode == 67, 'not there: EX_NOUSER')
    ok(user('passwd', 'old').returncode == 67, 'nor its password')
    for bad in ('a:b', '../x', 'a b', ''):
        ok(user('add', bad).returncode == 64, 'no user "%s"' % bad)
    ok(user('add', 'empty', text='\n').returncode != 0, 'no empty password')


def test_config():
    conf = top + '/c.conf'
    with open(conf, 'w') as f:
        f.write('smtp {\n\tmax_size = huge\n}\nnonsense {\n}\n')
    for command in ('check', 'config'):
        out = call(SURAT, command, '--config', conf)
        ok(out.returncode == 78 and conf + ':2: smtp.max_size' in out.stderr,
           'surat %s: the line' % command, out)
    with open(conf, 'w') as f:
        f.write('smtp { max_size = 1m }\n')
    out = call(SURAT, 'config', '--config', conf, '--set',
               'pop3.timeout=20m')
    ok('max_size = 1048576' in out.stdout and 'timeout = 1200' in out.stdout,
       'surat config', out)
    with open(top + '/again.conf', 'w') as f:
        f.write(out.stdout)
    again = call(SURAT, 'config', '--config', top + '/again.conf')
    ok(again.stdout == out.stdout, 'reads back the same')
    out = call(SURAT, 'config', '--config', conf, '--json')
    rows = {(r['section'], r['name']): r['value']
            for r in map(json.loads, out.stdout.splitlines())}
    ok(rows['smtp', 'max_size'] == '1048576' and
       rows['queue', 'retry'] == '{"1m", "5m", "10m", "15m", "30m"}',
       'surat config --json', out)
    with open(top + '/bad.conf', 'w') as f:
        f.write('smtp {\n max_size = "hu\\"ge"\n}\nnonsense {\n}\n')
    out = call(SURAT, 'check', '--config', top + '/bad.conf', '--json')
    problems = [json.loads(l)['problem'] for l in out.stdout.splitlines()]
    ok(out.returncode == 78 and out.stderr == '' and problems and
       any(p.startswith(top + '/bad.conf:2: ') for p in problems),
       'surat check --json', out)
    out = call(SURAT, 'config', '--options', '--json')
    rows = [json.loads(l) for l in out.stdout.splitlines()]
    ok(len(rows) > 60 and all(r['help'].endswith('.') for r in rows),
       'every option with a sentence')
    ok(call(SURAT).returncode == 64 and call(SURAT, 'help').returncode == 0
       and call(SURAT, 'nonsense').returncode == 64, 'usage')


def test_mistakes():
    """What was not understood is said, and not done as if it were."""
    for args, want in (
            (('status', 'x'), 'status has no operands: "x"'),
            (('check', 'x'), 'has no operands'),
            (('queue', 'delete', 'A', 'B'), 'delete has one operand: "B"'),
            (('queue', 'redirect', 'A', 'b@c.test', 'D'),
             'redirect has two operands: "D"'),
            (('mailbox', 'list', 'a', 'b'), 'list has one operand'),
            (('queue', 'delete', 'all', '--state', 'defered'),
             'queued recipients are never "defered"'),
            (('queue', 'list', '--state', 'failed'), 'never "failed"'),
            (('queue', 'list', '--history', '--state', 'held'),
             'finished recipients are never "held"'),
            (('explain', '--client', '1.2.3', '--to', 'a@b.test'),
             '--client needs an IP address, not "1.2.3"'),
            (('nonsense',), '`surat --help` lists')):
        out = call(SURAT, *args)
        ok(out.returncode == 64 and want in out.stderr and
           len(out.stderr.splitlines()) == 1,
           'surat %s: %s' % (' '.join(args), want), out)
    for program, word in (('queue', '-i'), ('auth', '--service'),
                          ('imapd', '--sesion'), ('keys', 'x')):
        out = call(BUILD + '/bin/' + program, word)
        ok(out.returncode == 64 and 'no option ' + word in out.stderr,
           '%s %s is not passed over' % (program, word), out)
    with open('/dev/full', 'w') as full:
        out = subprocess.run([SURAT, 'help'], stdout=full, text=True,
                             stderr=subprocess.PIPE)
    ok(out.returncode == 74 and 'No space left' in out.stderr,
       'output that cannot be written', out)
    version = call(SURAT, '--version').stdout
    ok(re.fullmatch(r'surat \d+\.\d+\S*\n', version), 'surat --version',
       version)


def test_help():
    """Every subcommand tells its options, and that is all it does."""
    for prefix in ('surat', 'surat queue', 'surat user', 'surat mailbox'):
        words = prefix.split()[1:]
        listed = call(SURAT, *words, '--help').stdout
        names = re.findall(r'(?m)^  ([a-z]+)', listed)
        ok(len(names) > 3, prefix + ' lists its subcommands', listed)
        bad = [n for n in names if not call(
            SURAT, *words, n, '--help').stdout.startswith(
                'usage: %s %s' % (prefix, n))]
        ok(not bad, 'each of them with --help', bad)
    for program in ('sendmail', 'mailq', 'newaliases'):
        out = call(BUILD + '/bin/' + program, '--help')
        ok(out.returncode == 0 and out.stdout.startswith('usage: '),
           program + ' --help', out)
    for program in PROGRAMS + ['suratd']:
        out = call(BUILD + '/bin/' + program, '--help')
        ok(out.returncode == 0 and out.stdout.startswith(
            'usage: %s ' % program) and len(out.stdout.split()) > 20,
           program + ' --help', out)


def same_commands(page):
    """surat(8) has the subcommands and options that there are, no others."""
    common = {'config', 'set', 'json', 'help', 'version'}
    told, known = set(), set()
    for prefix in ('', 'queue', 'user', 'mailbox'):
        listed = call(SURAT, *prefix.split(), '--help').stdout
        for name in re.findall(r'(?m)^  ([a-z]+)', listed):
            words = (prefix + ' ' + name).split()
            if words[-1] in ('queue', 'user', 'mailbox'):
                continue
            known.add(' '.join(words))
            out = call(SURAT, *words, '--help').stdout
            usage, _, options = out.partition('\n\n')
            has = set(re.findall(r'(?m)^  --([a-z-]+)', options))
            said = set(re.findall(r'--([a-z-]+)', usage))
            ok(said <= has, 'usage of surat %s: options there are' %
               ' '.join(words), said - has)
            told |= has - common
    items = re.findall(r'(?m)^\.It Nm (.*)$', page)
    found = set()
    for item in items:
        item = re.sub(r'\bOp Cm list\b', 'Cm list', item)
        # "Cm queue show Ar id ..." or "Cm queue Cm list"
        words = re.sub(r'\bCm (?!all\b)', '', item.split(' | ')[0]).split()
        at = next((i for i, w in enumerate(words)
                   if not re.fullmatch('[a-z]+', w)), len(words))
        found.add(' '.join(words[:at]))
    ok(found == known, 'surat(8) has every subcommand',
       (sorted(known - found), sorted(found - known)))
    flags = set(re.findall(r'Fl -([a-z-]+)', page)) - common
    ok(flags == told, 'surat(8) has every option, and no other',
       (sorted(told - flags), sorted(flags - told)))


def test_manuals():
    man = os.path.dirname(os.path.dirname(HERE)) + '/man/'
    out = call(SURAT, 'config', '--mdoc')
    ok(out.stdout in open(man + 'surat.conf.5').read(),
       'surat.conf(5) has every option as it is; put the output of `surat '
       'config --mdoc` there')
    same_commands(open(man + 'surat.8').read())
    if not shutil.which('mandoc'):
        skip('manuals', 'no mandoc')
        return
    for page in sorted(os.listdir(man)):
        out = call('mandoc', '-T', 'lint', '-W', 'warning', man + page)
        ok(out.returncode == 0, 'mandoc: ' + page, out.stdout)


class Queue(threading.Thread):
    """Answers what sendmail asks, once."""

    def __init__(self, path, answer):
        super().__init__()
        self.s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        if os.path.exists(path):
            os.unlink(path)
        self.s.bind(path)
        self.s.listen(5)
        self.s.settimeout(20)
        self.answer = answer
        self.got = b''
        self.body = None
        self.start()

    def run(self):
        try:
            self.talk()
        except OSError as e:
            self.got = str(e).encode()

    def talk(self):
        probe, _ = self.s.accept()
        probe.close()
        c, _ = self.s.accept()
        self.got = c.recv(1 << 20)
        if self.got.startswith(b'body_open'):
            self.body = tempfile.TemporaryFile()
            socket.send_fds(c, [b'opened\0status=2.0.0 - OK\0name=B1\0'],
                            [self.body.fileno()])
            self.got = c.recv(1 << 20)
        c.send(b'submitted\0status=' + self.answer + b'\0id=Q1\0')
        c.close()
        self.s.close()

    def text(self):
        self.join()
        return self.got.replace(b'\0', b'|').decode()


# Who calls, how, with what; sender (None: the caller) and recipients.
CALLERS = (
    ('cron', ('-FCronDaemon', '-i', '-B8BITMIME', '-oem', 'root'),
     'From: root (Cron Daemon)\nTo: root\nSubject: Cron\n\nx\n', None,
     ['root@a.test']),
    ('at', ('-i', 'carol'), 'Subject: Output from your job\nTo: carol\n\n',
     None, ['carol@a.test']),
    ('mdadm', ('-t',), 'From: mdadm monitoring <root>\nTo: root\n'
     'Subject: DegradedArray\n\nx\n', None, ['root@a.test']),
    ('git send-email', ('-f', 'me@x.test', '-i', 'a@b.test', 'c@d.test'),
     'From: Me <me@x.test>\nTo: a@b.test\nCc: c@d.test\n\n.\npatch\n',
     'me@x.test', ['a@b.test', 'c@d.test']),
    ('PHP', ('-t', '-i'), 'To: a@b.test\nSubject: x\nBcc: h@b.test\n\nx',
     None, ['a@b.test', 'h@b.test']),
    ('PHP with -f', ('-t', '-i', '-fweb@x.test'), 'To: a@b.test\n\nx',
     'web@x.test', ['a@b.test']),
    ('mutt', ('-oem', '-oi', '-f', 'me@x.test', '--', 'a@b.test'),
     'From: me@x.test\n\n.\n', 'me@x.test', ['a@b.test']),
    ('mutt with reports', ('-oem', '-oi', '-N', 'failure,delay', '-R',
                           'hdrs', '-B8BITMIME', '--', 'a@b.test'),
     'From: me@x.test\n\nx\n', None, ['a@b.test']),
    ('Mailman', ('-oi', '-f', 'list-bounces@x.test', 'a@b.test', 'c@d.test'),
     'From: list@x.test\n\nx\n', 'list-bounces@x.test',
     ['a@b.test', 'c@d.test']),
    ('mail', ('-i', '-t'), 'To: a@b.test, Carol <carol>\nCc: c@d.test\n\nx',
     None, ['a@b.test', 'carol@a.test', 'c@d.test']),
    ('vacation', ('-f', '<>', '-oi', 'a@b.test'), 'To: a@b.test\n\nx', '',
     ['a@b.test']),
)


def test_sendmail():
    run = top + '/sm'
    os.makedirs(run + '/sendmail')
    conf = top + '/sm.conf'
    with open(conf, 'w') as f:
        f.write('general { runtime = "%s" hostname = "h.test"\n'
                'domains = {"a.test"} }\n' % run)
    env = dict(os.environ, SURAT_CONF=conf)
    path = run + '/sendmail/queue'
    me = call('id', '-un').stdout.strip()

    def send(*args, text='Subject: x\n\nhello\n.\nmore\n',
             answer=b'2.0.0 - OK', name=SENDMAIL):
        q = Queue(path, answer)
        out = call(name, *args, text=text, env=env)
        return out, q.text(), q
    out, got, _ = send('-oi', 'root', 'b@c.test')
    ok(out.returncode == 0 and 'rcpt=2|root@a.test|b@c.test|' in got and
       'sender=%s@a.test|' % me in got, 'recipients and sender',
       (out, got))
    ok('hello\r\n.\r\nmore\r\n' in got and 'From: ' in got and
       'Date: ' in got and '@h.test>\r\n' in got, 'a whole message', got)
    out, got, _ = send('b@c.test')
    ok('hello\r\n|' in got and 'more' not in got, 'a dot ends it', got)
    out, got, _ = send('-t', '-i', '-f', 'x@y.test', '-FFull Name',
                       text='To: t@t.test\nBcc: b@b.test\n\n')
    ok('rcpt=2|t@t.test|b@b.test|' in got and 'sender=x@y.test|' in got and
       'Bcc' not in got and 'From: Full Name <x@y.test>' in got,
       '-t -f -F', got)
    out, got, _ = send('-f', '<>', '-N', 'never', '-R', 'hdrs', '-V', 'e1',
                       'b@c.test')
    ok('sender=|' in got and 'notify=1|never|' in got and 'ret=HDRS|' in got
       and 'envid=e1|' in got, 'the null sender, -N -R -V', got)
    out, got, _ = send('-oem', '-oi', '-B8BITMIME', '-em', '-G', '-odb',
                       '-Am', '-bm', '--', 'b@c.test')
    ok(out.returncode == 0, 'what other programs say', out)
    for who, args, text, sender, to in CALLERS:
        out, got, _ = send(*args, text=text)
        ok(out.returncode == 0 and 'sender=%s|' % (
            me + '@a.test' if sender is None else sender) in got and
           'rcpt=%d|%s|' % (len(to), '|'.join(to)) in got,
           'as %s calls it' % who, (out, got))
    out, got, q = send('-i', 'b@c.test', text='\n' + 'x' * 69 + '\n' +
                       'y' * 200000)
    q.body.seek(0)
    ok(out.returncode == 0 and 'body=B1|' in got and
       q.body.read().endswith(b'yyy\r\n'), 'a large body in a file', got)
    out, got, _ = send('b@c.test', answer=b'4.3.1 - disk full')
    ok(out.returncode == 75 and 'disk full' in out.stderr, 'later: 75', out)
    out, got, _ = send('b@c.test', answer=b'5.7.1 - go away')
    ok(out.returncode not in (0, 75) and 'go away' in out.stderr, 'never')
    os.unlink(path)
    out = call(SENDMAIL, 'b@c.test', text='x\n', env=env)
    ok(out.returncode == 75 and 'does not run' in out.stderr,
       'nothing listens: EX_TEMPFAIL', out)
    for args in ((), ('-t',), ('-bd',), ('-Z',), ('-f', 'a@b..c', 'x'),
                 ('a@b..c',)):
        out = call(SENDMAIL, *args, text='\nx\n', env=env)
        ok(out.returncode not in (0, 75) and out.stderr.startswith(
            'sendmail: '), 'refused: ' + ' '.join(args), out)
    ok(call(BUILD + '/bin/newaliases', env=env).returncode == 0,
       'newaliases')


def test_stdio():
    run = top + '/sm'
    env = dict(os.environ, SURAT_CONF=top + '/sm.conf')
    q = Queue(run + '/sendmail/queue', b'2.0.0 - OK')
    out = call(SENDMAIL, '-bs', env=env, text='\r\n'.join((
        'EHLO x', 'RCPT TO:<a@b.test>', 'MAIL FROM:<a@b.test>',
        'RCPT TO:<d@e.test>', 'RCPT TO:<"x y"@c.test>', 'NONSENSE', 'DATA',
        'Subject: s', '', '..dot', '.', 'RSET', 'MAIL FROM:<a@b.test> FOO=bar',
        'MAIL FROM:<a@b.test> SIZE=99999999999', 'MAIL FROM:<a@b.test> SIZE=x',
        'MAIL FROM:<a@b.test> BODY=BINARYMIME',
        'MAIL FROM:<a@b.test> SIZE=9 BODY=8bitmime SMTPUTF8',
        'RCPT TO:<d@e.test> NOTIFY=NEVER', 'HELO x',
        'MAIL FROM:<a@b.test> SIZE=9', 'QUIT', 'NOOP', '')))
    got = q.text()
    codes = [l[:3] for l in out.stdout.splitlines() if l[3] == ' ']
    ok(codes == ['220', '250', '503', '250', '250', '250', '500', '354',
                 '250', '250', '555', '552', '501', '501', '250', '555',
                 '250', '555', '221'], '-bs: parameters too are known or '
       'refused', out.stdout)
    ok('rcpt=2|d@e.test|"x y"@c.test|' in got and '\r\n.dot\r\n' in got,
       'submits', got)
    out = call(SENDMAIL, '-bs', env=env, text='')
    ok(out.returncode == 75, '-bs too says when nothing listens')


try:
    os.mkdir(lib)
    for p in PROGRAMS:
        shutil.copy(HERE + '/stub/stub.py', lib + '/' + p)
        os.chmod(lib + '/' + p, 0o755)
    for test in (test_users, test_config, test_help, test_manuals,
                 test_sendmail, test_stdio, test_run_wrong, test_run,
                 test_run_table, test_run_root):
        test()
finally:
    shutil.rmtree(top, ignore_errors=True)
done()
