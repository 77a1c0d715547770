#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The Debian package as `make deb` builds it: lintian has no complaint, it
says what it provides, brings no configuration of its own, and its scripts are
those that make users, upgrade what runs and leave mail where it is.  What
they do on a machine is t/package's to show."""
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
from house import BUILD, done, ok, same, skip

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..')


def run(*command, **more):
    return subprocess.run(command, capture_output=True, text=True, **more)


def field(deb, name):
    return run('dpkg-deb', '-f', deb, name).stdout.strip()


def contents(deb):
    """path -> mode, owner"""
    rows = (l.split(None, 5) for l in
            run('dpkg-deb', '-c', deb).stdout.splitlines())
    return {r[5].split(' -> ')[0].lstrip('.'): (r[0], r[1]) for r in rows}


def package(deb):
    same({n: field(deb, n) for n in ('Package', 'Provides')},
         {'Package': 'surat',
          'Provides': 'imap-server, mail-transport-agent, pop3-server'},
         'it is the mail-transport-agent, and serves IMAP and POP3')
    ok('mail-transport-agent' in field(deb, 'Conflicts'),
       'of which there is one')
    found = contents(deb)
    same([p for p in found if p.startswith(('/etc/', '/var/', '/run/'))], [],
         'no configuration, no state')
    same([p for p, (mode, owner) in found.items()
          if 's' in mode or owner != 'root/root'], [],
         'nothing set-uid, all of it root\'s')
    for path in ('/usr/sbin/sendmail', '/usr/lib/sendmail', '/usr/bin/mailq',
                 '/usr/bin/newaliases', '/lib/systemd/system/surat.service',
                 '/lib/systemd/system/surat.target',
                 '/usr/lib/sysusers.d/surat.conf'):
        ok(path in found, path, sorted(found))


def scripts(deb, where):
    run('dpkg-deb', '-e', deb, where)
    for name in ('config', 'postinst', 'prerm', 'postrm'):
        path = where + '/' + name
        out = run('sh', '-n', path)
        ok(out.returncode == 0, name + ' is a script', out.stderr)
    same(os.path.exists(where + '/preinst'), False,
         'and nothing is stopped for an upgrade')
    after = open(where + '/postrm').read()
    same(re.findall(r'/var/(?:mail|lib)\S*', after), [],
         'purge does not touch mail or queue')


if os.path.basename(BUILD) != 'build' or not all(
        map(shutil.which, ('dh', 'lintian', 'dpkg-buildpackage'))):
    skip('the Debian package',
         'needs debhelper, lintian and a build without sanitizers')
    done()
env = {k: v for k, v in os.environ.items()
       if k not in ('MAKEFLAGS', 'MAKELEVEL', 'FLAVOUR')}
made = run('make', '-C', SOURCE, 'deb', env=env)
if ok(made.returncode == 0, 'make deb', made.stdout[-2000:] + made.stderr):
    deb, = glob.glob(BUILD + '/deb/*.deb')
    out = run('lintian', '--allow-root', '--fail-on', 'error,warning', deb)
    same((out.returncode, out.stdout), (0, ''), 'lintian')
    package(deb)
    with tempfile.TemporaryDirectory() as where:
        scripts(deb, where)
done()
