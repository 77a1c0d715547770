# SPDX-License-Identifier: ISC
"""A whole surat as root, with the _surat* users and a root-only certificate,
as on a real machine; only the tables of users are put in place by a mount
namespace of its own.

    need_root('what')           skips aloud and ends without root
    with RootHouse() as h: ...  as House (house.py)
"""
import os
import shutil
import subprocess
import tempfile

from house import BUILD, House, SERVICES, done, free_offset, need_programs, \
    skip

USERS = ('net', 'q', 'out', 'auth', 'dns', 'tls', 'key', 'mail', 'pipe')
IDS = {'_surat' + u: 64100 + i for i, u in enumerate(USERS)}
PEOPLE = {'carol': 64200, 'dave': 64201}
ENTER = '''mount --bind "$0/etc/passwd" /etc/passwd &&
mount --bind "$0/etc/group" /etc/group &&
mount --bind "$0/etc/nsswitch.conf" /etc/nsswitch.conf && exec "$@"'''


def need_root(what):
    if os.getuid() != 0 or subprocess.run(
            ['unshare', '-m', 'true'], stderr=subprocess.DEVNULL).returncode:
        skip(what, 'needs root and mount namespaces')
        done()
    need_programs()


def hashed(password):
    out = subprocess.run(['openssl', 'passwd', '-6', '-stdin'],
                         input=password, capture_output=True, text=True)
    return '{CRYPT}' + out.stdout.strip()


class RootHouse(House):
    """alice and bob share _suratmail's id; carol and dave are people of the
    system with ids and homes of their own."""

    def __init__(self, domains=('example.test',), sets=(), more=''):
        self.own = True
        self.dir = tempfile.mkdtemp(prefix='surat.')
        os.chmod(self.dir, 0o755)
        self.domains, self.sets, self.more = domains, list(sets), more
        self.users = {'alice': 'secret', 'bob': 'hunter2', 'carol': 'pass',
                      'dave': 'word'}
        self.offset = free_offset()
        self.process = None
        self.log = []
        self.env = dict(os.environ)
        for d in ('bin', 'etc', 'home', 'private'):
            os.mkdir(self.path(d))
        self.copy_programs()
        self.write_tables()
        self.write_certificate()
        self.write_conf()

    def path(self, name):
        return self.dir + '/' + name

    def copy_programs(self):
        """A build directory may be hidden from everybody but root."""
        for name in os.listdir(BUILD + '/bin'):
            if not name.startswith('fuzz_'):
                shutil.copy(BUILD + '/bin/' + name, self.path('bin'),
                            follow_symlinks=False)

    def write_tables(self):
        with open(self.path('etc/passwd'), 'w') as p, \
                open(self.path('etc/group'), 'w') as g:
            p.write('root:x:0:0:::\nnobody:x:65534:65534:::\n')
            g.write('root:x:0:\nnogroup:x:65534:\n')
            for name, uid in {**IDS, **PEOPLE}.items():
                home = self.path('home/' + name) if name in PEOPLE else '/'
                p.write('%s:x:%d:%d::%s:/bin/false\n' %
                        (name, uid, uid, home))
                g.write('%s:x:%d:\n' % (name, uid))
        with open(self.path('etc/nsswitch.conf'), 'w') as f:
            f.write('passwd: files\ngroup: files\n')
        with open(self.path('etc/users'), 'w') as f:
            for name, password in self.users.items():
                uid = PEOPLE.get(name)
                home = self.path('home/' + name) if uid else ''
                f.write('%s:%s:%s:%s::%s::\n' % (
                    name, hashed(password), uid or '', uid or '', home))
        for name, uid in PEOPLE.items():
            os.mkdir(self.path('home/' + name), 0o700)
            os.chown(self.path('home/' + name), uid, uid)
        os.chmod(self.path('etc'), 0o755)
        os.chmod(self.path('etc/users'), 0o640)
        os.chown(self.path('etc/users'), 0, IDS['_suratauth'])

    def write_certificate(self, days=2):
        os.chmod(self.path('private'), 0o700)
        subprocess.run(
            ['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt',
             'ec_paramgen_curve:P-256', '-nodes', '-days', str(days),
             '-subj', '/CN=mail.example.test',
             '-keyout', self.path('private/key.pem'),
             '-out', self.path('private/cert.pem')],
            check=True, stderr=subprocess.DEVNULL)
        os.chmod(self.path('private/key.pem'), 0o600)

    def write_conf(self, more=''):
        listen = ''.join('%s = {"127.0.0.1:%d"}\n' % (s, self.port(s))
                         for s in SERVICES)
        with open(self.path('surat.conf'), 'w') as f:
            f.write('''general { hostname = "mail.example.test"
domains = {%s} users = "%s/etc/users" aliases = "%s/etc/aliases"
state = "%s/state" runtime = "%s/run" mail = "%s/mail" libexec = "%s/bin" }
tls { certificate = "%s/private/cert.pem" key = "%s/private/key.pem" }
log { target = stderr level = debug }
listen {
%s}
%s%s
''' % ((','.join('"%s"' % d for d in self.domains),) + (self.dir,) * 8 +
                (listen, self.more, more)))

    def command(self):
        c = ['unshare', '-m', 'sh', '-c', ENTER, self.dir,
             self.path('bin/suratd'), '--config', self.path('surat.conf'),
             '--announce']
        for s in self.sets:
            c += ['--set', s]
        return c

    def maildir(self, user, folder=''):
        if user in PEOPLE:
            return os.path.join(self.path('home'), user, 'Maildir', folder)
        return super().maildir(user, folder)
