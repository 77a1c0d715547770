#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The systemd units: how exposed each leaves its program by systemd's own
reckoning, that systemd finds no mistake in them, and that every socket a
program asks on belongs to one of them."""
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
from house import done, need_programs, ok, same, skip
from installed import SOURCE, make_install

# Not more than this (Postfix 9.6, Dovecot 8.7).
MOST = {
    'surat-certificate.service': 0.5, 'surat-keys.service': 0.5, 'surat-queue.service': 0.5,
    'surat-auth.service': 0.5, 'surat-smtpd.service': 1.2,
    'surat-imapd.service': 1.2, 'surat-pop3d.service': 1.2,
    'surat-tls.service': 1.2, 'surat-resolve.service': 1.2,
    'surat-deliver-remote@.service': 1.2,
    'surat-deliver-pipe@.service': 1.6,
    'surat-deliver-local@.service': 1.6, 'surat-launcher.service': 2.6,
    'surat-metrics@.service': 1.6, 'surat.service': 2.6,
}


def exposure(path):
    out = subprocess.run(
        ['systemd-analyze', 'security', '--offline=true', '--no-pager', path],
        capture_output=True, text=True)
    found = re.search(r'exposure level for \S+: ([0-9.]+)', out.stdout)
    return float(found[1]) if found else None, out.stdout + out.stderr


def scores(units):
    same(sorted(os.path.basename(p)
                for p in glob.glob(units + '/*.service')), sorted(MOST),
         'every service has its limit here')
    for name, most in MOST.items():
        got, text = exposure(units + '/' + name)
        ok(got is not None and got <= most,
           '%s: exposure at most %.1f' % (name, most), (got, text[-2000:]))


def verify(root, units):
    """A setting that systemd does not know is a setting that does nothing."""
    for path in sorted(glob.glob(units + '/surat*.*')):
        if path.endswith('.d'):
            continue
        name = re.sub('@', '@x', path) if '@' in path else path
        # The programs, and the other units of a system, are not there.
        out = subprocess.run(['systemd-analyze', 'verify', '--man=no',
                              '--root=' + root, os.path.basename(name)],
                             capture_output=True, text=True)
        bad = [l for l in (out.stdout + out.stderr).splitlines()
               if re.search(r'surat', l) and
               re.search('Unknown|ignoring|Failed to parse|Invalid', l)]
        same(bad, [], os.path.basename(path) + ': nothing is ignored')


def links(units):
    """ASK_LINKS, the socket units and tmpfiles.d say the same."""
    text = open(SOURCE + '/common/ask/messages.h').read()
    wanted = {'%s/%s' % m for m in re.findall(
        r'\bL\((\w+), (\w+)\)', text[text.index('#define ASK_LINKS'):])}
    found = {}
    for path in glob.glob(units + '/*.socket'):
        program = re.search(r'surat-(.*)\.socket', path)[1]
        for where in re.findall(
                r'(?m)^ListenSequentialPacket=/run/surat/(.*)$',
                open(path).read()):
            found[where] = program
    same({w: p for w, p in found.items() if not w.startswith('master/')},
         {w: w.split('/')[1].replace('master', 'launcher') for w in wanted},
         'one socket for each that asks another')
    made = set(re.findall(r'(?m)^d /run/surat/(\w+)',
                          open(SOURCE + '/etc/tmpfiles.conf').read()))
    same(made - {'empty'}, {w.split('/')[0] for w in found},
         'in directories that tmpfiles.d makes')


need_programs()
if not shutil.which('systemd-analyze'):
    skip('the units', 'needs systemd-analyze')
    done()
root = tempfile.mkdtemp(prefix='surat.')
try:
    installed = make_install(root)
    if ok(installed.returncode == 0, 'make install', installed.stderr):
        units = root + '/usr/lib/systemd/system'
        scores(units)
        verify(root, units)
        links(units)
finally:
    shutil.rmtree(root)
done()
