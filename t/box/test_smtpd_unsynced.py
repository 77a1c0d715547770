#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Bodies whose sync fails: each is refused, and none takes one of the four
places that the queue has for a conversation."""
import errno
import os
import shutil
import smtplib
import socket
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
from faults import SYNCS, Faults
from house import BUILD, SLOW, done, ok, same
from peers import Peers

PLACES = 4
LARGE = b'Subject: x\r\n\r\n' + (b'y' * 70 + b'\r\n') * 2000


class Places(Peers):
    """A queue that counts, as the real one does."""

    def on_body_open(self, state, m, fd):
        if not m['probe']:
            state['bodies'] = state.get('bodies', 0) + 1
        if state.get('bodies', 0) > PLACES:
            return 'opened', {'status': '4.3.0 - Too many open bodies'}
        return super().on_body_open(state, m, fd)

    def on_submit(self, state, m, fd):
        if m['body']:
            state['bodies'] -= 1
        return super().on_submit(state, m, fd)


def session(home, faults):
    ours, theirs = socket.socketpair()
    process = subprocess.Popen(
        [BUILD + '/bin/smtpd', '-i', '--set', 'log.target=stderr', '--set',
         'general.runtime=%s/run' % home, '--config', home + '/surat.conf'],
        stdin=theirs, stdout=theirs, cwd=home,
        stderr=open(home + '/log', 'w'),
        env=dict(os.environ, **faults.environment('session')))
    theirs.close()
    ours.settimeout(30 * SLOW)
    smtp = smtplib.SMTP()
    smtp.sock, smtp.file = ours, None
    same(smtp.getreply()[0], 220, 'a session begins')
    smtp.ehlo('unsynced.test')
    return process, smtp


def send(smtp):
    try:
        smtp.sendmail('a@remote.test', ['alice@example.test'], LARGE)
    except smtplib.SMTPResponseException as e:
        return e.smtp_code
    return 250


def main():
    home = tempfile.mkdtemp(prefix='surat.')
    open(home + '/surat.conf', 'w').close()
    peers, faults = Places(home), Faults(home)
    process, smtp = session(home, faults)
    got = []
    for _ in range(PLACES + 2):
        faults.arm('session', 1, SYNCS, errno.EIO)
        got.append(send(smtp))
    same(got, [451] * (PLACES + 2), 'what cannot be synced is refused')
    ok(faults.happened('session'), 'a sync failed')
    faults.disarm('session')
    same(send(smtp), 250, 'and the next is taken')
    smtp.quit()
    same(process.wait(30 * SLOW), 0, 'the session ends')
    peers.close()
    shutil.rmtree(home)
    done()


main()
