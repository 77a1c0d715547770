# SPDX-License-Identifier: ISC
"""Postfix and Dovecot from Debian where PowerHouse has surat: the queue on
the first disk, the Maildirs on the second if there is one.  What they sync is
left as it comes (Dovecot: mail_fsync = optimized); the rest of their
configuration is that of t/bench.

    postfix     Postfix delivers into the Maildirs itself, by virtual(8)
    lmtp        Postfix hands over to Dovecot by LMTP

Sockets and process ids lie on a tmpfs, as /run does.  A lock that a cut has
left, for whose owner Dovecot waits two minutes, is said and taken away.  What
it does not see in a directory whose time it knows it sees when the next
message comes, so they are touched.  All that runs is started from here and
ended by its process id.
"""
import glob
import json
import os
import smtplib
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', '..', 'bench', 'lib'))
from house import SLOW
from power_house import PowerHouse, USERS
import rivals

LMTP_POSTFIX = '''
virtual_transport = lmtp:unix:%s/lmtp
'''
LMTP_DOVECOT = '''
protocols = imap lmtp
service lmtp {
  unix_listener lmtp {
    mode = 0666
  }
}
'''

class Lasting:
    """What a server finds here is what it left, or what a cut left."""

    def __init__(self, path):
        self.path = path

    def fresh(self, name):
        path = self.path + '/' + name
        os.makedirs(path, 0o755, True)
        return path


class Rivals:
    lmtp = False
    users = dict.fromkeys(USERS, 'pw')

    def __init__(self, top, boots=0):
        place = Lasting(top + '/disk/house')
        mail, run = place.path + '/mail', top + '/run'
        os.makedirs(run, exist_ok=True)
        subprocess.run(['mount', '-t', 'tmpfs', 'none', run], check=True)
        self.dovecot = rivals.Dovecot(
            place, LMTP_DOVECOT if self.lmtp else '', mail, run)
        self.postfix = rivals.Postfix(
            place, None, LMTP_POSTFIX % run if self.lmtp else '', mail,
            list(USERS))
        self.postfix.domain = 'example.test'
        self.mail = mail
        self.locks = self.below('*.lock')
        for path in self.locks:
            os.unlink(path)

    def below(self, name):
        return glob.glob('%s/**/%s' % (self.mail, name), recursive=True,
                         include_hidden=True)

    def __enter__(self):
        self.dovecot.start()
        self.postfix.start()
        return self

    def __exit__(self, *exc):
        self.postfix.stop()
        self.dovecot.stop()

    def smtp(self):
        return smtplib.SMTP('127.0.0.1', self.postfix.port,
                            timeout=60 * SLOW)

    def port(self, service):
        return self.dovecot.ports[service]

    def postqueue(self, flag):
        return subprocess.run(
            ['/usr/sbin/postqueue', '-c', self.postfix.dir + '/etc', flag],
            capture_output=True, text=True, timeout=60 * SLOW).stdout

    def retry(self):
        self.postqueue('-f')
        time.sleep(0.2)

    def listed(self):
        rows = map(json.loads, self.postqueue('-j').splitlines())
        return {'%s %s' % (row['queue_id'], row['queue_name'])
                for row in rows}

    def left(self):
        """What moves from one part of the queue to another is in none for a
        moment."""
        left = self.listed()
        time.sleep(0.5)
        left |= self.listed()
        if not left:
            for path in self.below('new') + self.below('cur'):
                os.utime(path)
        return sorted(left)

    def complaints(self):
        """They are not judged by what they log."""
        return [('lock', path) for path in self.locks]

    @property
    def log(self):
        for server in (self.postfix, self.dovecot):
            with open(server.dir + '/log', errors='replace') as f:
                yield from f


class Lmtp(Rivals):
    lmtp = True


HOUSES = {'surat': PowerHouse, 'postfix': Rivals, 'lmtp': Lmtp}


def missing(name):
    """Why there is none of these, or None."""
    if name == 'surat':
        return None
    return rivals.Postfix.missing() or rivals.Dovecot.missing() or (
        rivals.install('/usr/lib/dovecot/lmtp', 'dovecot-lmtpd')
        if name == 'lmtp' else None)
