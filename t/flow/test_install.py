#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""make install: what lies where and with which modes; users, manuals and
configuration; the suite started from there as root, delivering a message."""
import glob
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
from house import PROGRAMS, done, message, ok, same, until
from installed import InstalledHouse, make_install, sysusers, table
from root import need_root

LINKS = {
    'usr/sbin/suratd': 'suratd', 'usr/sbin/sendmail': 'sendmail',
    'usr/lib/sendmail': 'sendmail',
    'usr/bin/surat': 'surat', 'usr/bin/mailq': 'sendmail',
    'usr/bin/newaliases': 'sendmail',
}
OTHERS = set("""crypt cron fcntl gsasl mail mbsync mutt procmail sd_listen_fds
sd_notify ssh sysexits.h systemd.unit syslog""".split())


def everything(root):
    for top, dirs, files in os.walk(root):
        for name in dirs + files:
            yield os.path.join(top, name)


def layout(root):
    libexec = root + '/usr/libexec/surat'
    same(sorted(os.listdir(libexec)), sorted(PROGRAMS), 'the programs')
    for link, program in LINKS.items():
        same(os.path.realpath(root + '/' + link), libexec + '/' + program,
             '%s is %s' % (link, program))
        ok(not os.path.isabs(os.readlink(root + '/' + link)),
           'by a relative link')
    bad = [p for p in everything(root) if not os.path.islink(p) and
           os.lstat(p).st_mode & (stat.S_ISUID | stat.S_ISGID | 0o022)]
    same(bad, [], 'nothing is set-uid, set-gid or writable for others')
    for sample in ('surat.conf', 'inetd/inetd.conf', 'runit/run',
                   'runit/log/run', 's6/run', 's6/notification-fd',
                   'fail2ban/filter.conf'):
        ok(os.path.exists(root + '/usr/share/doc/surat/examples/' + sample),
           'the sample ' + sample)
    bad = [p for p in glob.glob(root + '/usr/lib/**', recursive=True)
           if os.path.isfile(p) and not os.path.islink(p) and '@' in re.sub(
               r'(?m)^#.*|deliver-\w+@|@[a-z-]+', '', open(p).read())]
    same(bad, [], 'every placeholder in a unit is replaced')


def configuration(root):
    """The sample is one; what is in its place is somebody's."""
    sample = root + '/usr/share/doc/surat/examples/surat.conf'
    path = root + '/etc/surat/surat.conf'
    same(os.listdir(root + '/etc/surat'), [], 'surat setup is not forestalled')
    shutil.copy(sample, path)
    lines = [l for l in open(path) if re.sub(r'#.*', '', l).strip()]
    ok(len(lines) <= 10, 'surat.conf has at most ten effective lines', lines)
    with open(path, 'a') as f:
        f.write('# mine\n')
    done = make_install(root)
    same(done.returncode, 0, 'installing again')
    ok(open(path).read().endswith('# mine\n'), 'keeps the configuration')


def manuals(root):
    pages = glob.glob(root + '/usr/share/man/man*/*')
    bare = {os.path.basename(p).rsplit('.', 1)[0] for p in pages}
    commands = set(PROGRAMS) | {os.path.basename(l) for l in LINKS}
    same(sorted(commands - bare), [], 'a manual page for every program')
    lint = subprocess.run(['mandoc', '-T', 'lint'] + pages,
                          capture_output=True, text=True)
    # Whether pages that are referred to exist, this machine does not know.
    complaints = [l.replace(root, '') for l in lint.stdout.splitlines()
                  if 'referenced manual not found' not in l]
    same(complaints, [], 'mandoc has no complaints')
    referred = set()
    for p in pages:
        referred |= set(re.findall(r'(?m)\bXr ([a-z.-]+) [0-9]', open(p).read()))
    same(sorted(referred - bare - OTHERS), [], 'pages referred to exist')


def users(root):
    dry = sysusers(root, '--dry-run')
    same((dry.returncode, dry.stderr.count('Creating user')), (0, 9),
         'sysusers.d asks for nine users')
    same(sysusers(root).returncode, 0, 'they are made')
    rows = table(root + '/etc/passwd')
    same(sorted(r[0] for r in rows), sorted(
        '_surat' + u for u in 'auth dns key mail net out pipe q tls'.split()),
         'the users')
    same({(len(r), r[5], r[6]) for r in rows}, {(7, '/', '/usr/sbin/nologin')},
         'none can log in')
    same([r[4] for r in rows if re.search('["\':]', r[4])], [],
         'no quotes in their names')


def mail():
    h = InstalledHouse()
    # Somebody who has an account here and no line in the table of users.
    with open(h.path('etc/passwd'), 'a') as f:
        f.write('erin:x:2001:2001::%s:/bin/sh\n' % h.path('home/erin'))
    os.mkdir(h.path('home/erin'))
    os.chown(h.path('home/erin'), 2001, 2001)
    h.more = 'address { users = {"passwd:/etc/passwd"} }\n'
    h.write_conf()
    with h:
        h.send(['erin@example.test'], message('to an account'))
        new = h.path('home/erin/Maildir/new')
        ok(until(lambda: os.path.isdir(new) and os.listdir(new), 20),
           'mail for an account of the system')
        same({os.stat(new + '/' + f).st_uid for f in os.listdir(new)}, {2001},
             'under its id')
        h.send(['alice@example.test', 'carol@example.test'],
               message('installed'))
        for user in ('alice', 'carol'):
            files = h.wait_mail(user, 1, 20)
            same(len(files), 1, 'started from there it delivers to ' + user)
        who = {h_name: os.stat('/proc/%d' % pid).st_uid
               for pid, h_name in h.children().items()}
        same({n: who.get(n) for n in ('queue', 'resolve')},
             {'queue': h.ids['_suratq'], 'resolve': h.ids['_suratdns']},
             'as the users of its own sysusers.d')
        out = subprocess.run(
            [h.path('root/usr/bin/surat'), 'check', '--config',
             h.path('surat.conf')], capture_output=True, text=True)
        ok('_surat' in out.stderr or out.returncode == 0,
           'surat finds suratd', out.stderr)


root = tempfile.mkdtemp(prefix='surat.')
try:
    installed = make_install(root)
    if ok(installed.returncode == 0, 'make install', installed.stderr):
        layout(root)
        configuration(root)
        manuals(root)
        users(root)
finally:
    shutil.rmtree(root)
need_root('the installed suite')
mail()
done()
