# SPDX-License-Identifier: ISC
"""What `make install` makes, in a directory of its own, with the users that
its sysusers.d file asks for; started as root from there.

    with InstalledHouse() as h: ...     as RootHouse (root.py)
"""
import os
import subprocess

from house import BUILD
from root import PEOPLE, RootHouse

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..')


def make_install(destdir, *more):
    """Installs under destdir with PREFIX=/usr; what was built is not touched,
    so that tests may run beside each other."""
    flavour = os.path.basename(BUILD)
    command = ['make', '-C', SOURCE, 'install', 'DESTDIR=' + destdir,
               'PREFIX=/usr', 'FLAVOUR=' + ('' if flavour == 'build' else
                                            flavour), *more]
    env = {k: v for k, v in os.environ.items()
           if k not in ('MAKEFLAGS', 'MAKELEVEL', 'FLAVOUR')}
    return subprocess.run(command, capture_output=True, text=True, env=env)


def sysusers(root, *more):
    return subprocess.run(['systemd-sysusers', '--root=' + root, *more],
                          capture_output=True, text=True)


def table(path):
    with open(path) as f:
        return [line.rstrip('\n').split(':') for line in f]


class InstalledHouse(RootHouse):
    """Its root is h.path('root'); users as RootHouse has them."""

    def copy_programs(self):
        done = make_install(self.path('root'))
        assert done.returncode == 0, done.stderr
        done = sysusers(self.path('root'))
        assert done.returncode == 0, done.stderr
        self.ids = {row[0]: int(row[2])
                    for row in table(self.path('root/etc/passwd'))
                    if row[0].startswith('_surat')}

    def write_tables(self):
        super().write_tables()
        for name in ('passwd', 'group'):
            with open(self.path('root/etc/' + name)) as f:
                ours = f.read()
            with open(self.path('etc/' + name)) as f:
                theirs = [line for line in f
                          if not line.startswith('_surat')]
            with open(self.path('etc/' + name), 'w') as f:
                f.write(''.join(theirs) + ours)
        os.chown(self.path('etc/users'), 0, self.ids['_suratauth'])

    def write_conf(self, more=''):
        """suratd is to find the programs by itself."""
        super().write_conf(more)
        with open(self.path('surat.conf')) as f:
            text = f.read()
        with open(self.path('surat.conf'), 'w') as f:
            f.write(text.replace('libexec = "%s/bin"' % self.dir, ''))

    def command(self):
        c = super().command()
        return [self.path('root/usr/sbin/suratd')
                if p == self.path('bin/suratd') else p for p in c]


__all__ = ['InstalledHouse', 'PEOPLE', 'SOURCE', 'make_install', 'sysusers',
           'table']
