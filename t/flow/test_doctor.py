#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""surat doctor: everything it looks at, well and not well."""
import ctypes
import json
import os
import shutil
import signal
import socket
import sqlite3
import ssl
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
import nsd
from house import Copied, done, message, ok, same, skip, until

ZONE = ('@ MX 10 mail\nmail A 192.0.2.1\n'
        'other MX 5 mx.elsewhere.test.\n')
UTC_TIME = b'\x17\x0d'  # of 13 digits and letters
TIME_ERROR, STA_UNSYNC = 5, 0x40


class Checked(Copied):
    def doctor(self, *sets):
        """What it says with these options: what -> (state, detail)."""
        words = [w for s in sets for w in ('--set', s)]
        out = self.surat('doctor', '--json', *words)
        rows = [json.loads(l) for l in out.stdout.splitlines()]
        bad = [r for r in rows if r['state'] != 'ok']
        same(out.returncode, 1 if bad else 0, 'the exit status says it too')
        return {r['what']: (r['state'], r['detail']) for r in rows}


def clock_is_kept():
    """By the kernel's word, as ntpd and chronyd leave it."""
    timex = (ctypes.c_long * 64)()
    state = ctypes.CDLL(None).adjtimex(timex)
    status = ctypes.cast(timex, ctypes.POINTER(ctypes.c_int))[
        5 * ctypes.sizeof(ctypes.c_long) // 4]
    return state != TIME_ERROR and not status & STA_UNSYNC


def well(h):
    rows = h.doctor()
    programs = 'keys tls resolve auth queue smtpd imapd pop3d'.split()
    same({p: rows[p][0] for p in programs}, dict.fromkeys(programs, 'ok'),
         'every program runs')
    same(rows['smtp at 127.0.0.1:%d' % h.port('smtp')][1][:22],
         '220 mail.example.test ', 'a port greets')
    same(rows['imaps at 127.0.0.1:%d' % h.port('imaps')],
         ('ok', 'connects'), 'one under TLS is there')
    same(rows['the queue'], ('ok', '0 recipients wait, the oldest for 0s'),
         'an empty queue')
    same(rows['certificate'][0], 'ok', 'a certificate that lasts')
    same(rows['room in ' + h.dir + '/state'][0], 'ok', 'room on the disk')
    same(rows['the clock is kept right'][0],
         'ok' if clock_is_kept() else 'look', 'the clock')


def programs(h):
    pid = h.pids('resolve')[0]
    os.kill(pid, signal.SIGKILL)
    until(lambda: h.pids('resolve') and h.pids('resolve') != [pid])
    until(lambda: 'started again 1 times' in h.surat('doctor').stdout)
    same(h.doctor()['resolve'], ('ok', 'running, started again 1 times'),
         'one that was started again is told of')
    path = h.dir + '/bin/resolve'
    pid = h.pids('resolve')[0]
    os.rename(path, path + '.good')
    with open(path, 'w') as f:
        f.write('#!/bin/sh\nexit 1\n')
    os.chmod(path, 0o755)
    os.kill(pid, signal.SIGKILL)
    ok(until(lambda: '"failing"' in h.surat('status', '--json').stdout, 30),
       'a program that does not come up')
    rows = h.doctor()
    same((rows['resolve'][0], rows['room in ' + h.dir + '/state'][0]),
         ('look', 'ok'), 'is told of, and nobody waits for it')
    os.rename(path + '.good', path)
    ok(until(lambda: h.pids('resolve'), 60), 'until it does')


def ports(h):
    with socket.create_server(('127.0.0.1', 0)) as s:
        port = s.getsockname()[1]

        def hang_up():
            s.accept()[0].close()
        threading.Thread(target=hang_up, daemon=True).start()
        rows = h.doctor('listen.smtp=127.0.0.1:%d' % port)
        same(rows['smtp at 127.0.0.1:%d' % port], ('look', 'no greeting'),
             'one that hangs up')
    rows = h.doctor('listen.imaps=127.0.0.1:%d' % port)
    same(rows['imaps at 127.0.0.1:%d' % port],
         ('look', 'Connection refused'), 'one that nobody listens on')


def certificates(h):
    path = h.dir + '/looked-at.pem'
    pair = ['tls.certificate=' + path, 'tls.key=' + path]
    same(h.doctor(*pair)['certificate'],
         ('look', path + ': No such file or directory'), 'one that is missing')
    with open(path, 'w') as f:
        f.write('rubbish\n')
    same(h.doctor(*pair)['certificate'],
         ('look', path + ': no certificate'), 'one that is none')
    text = open(h.dir + '/surat.conf').read()
    pem = open(text.split('certificate = "')[1].split('"')[0]).read()
    der = bytearray(ssl.PEM_cert_to_DER_cert(pem))
    ends = der.index(UTC_TIME, der.index(UTC_TIME) + 1) + 2
    der[ends:ends + 2] = b'20'
    with open(path, 'w') as f:
        f.write(ssl.DER_cert_to_PEM_cert(bytes(der)))
    state, detail = h.doctor(*pair)['certificate']
    ok(state == 'look' and detail.startswith('ended ') and
       int(detail.split()[1]) > 365, 'one that has ended', detail)
    same(h.doctor('tls.certificate=', 'tls.key=')['certificate'][0], 'look',
         'none at all')
    state, detail = h.doctor('general.hostname=other.test')['certificate']
    ok(state == 'look' and detail.startswith('is not for other.test: '),
       'one of another name', detail)
    own = socket.gethostname()
    ok('is not for %s: ' % own in
       h.doctor('general.hostname=')['certificate'][1],
       'without a name in the configuration, the host\'s counts')


def queue(h):
    with h.smtp('submission', 'alice') as s:
        s.sendmail('alice@example.test', ['x@example.net'], message('old'))
    until(lambda: [q for q in h.queue() if q['state'] == 'deferred'])
    same(h.doctor()['the queue'][0], 'ok', 'a young queue')
    db = sqlite3.connect(h.dir + '/state/queue/queue.db', timeout=30)
    with db:
        db.execute('UPDATE message SET arrival = arrival - 18000')
    db.close()
    same(h.doctor()['the queue'],
         ('look', '1 recipients wait, the oldest for 5h'), 'an old one')


def disk(h):
    same(h.doctor('general.mail=/proc')['room in /proc'][0], 'look',
         'a file system without room')
    same(h.doctor('general.state=/nowhere')['room in /nowhere'],
         ('look', 'No such file or directory'), 'a directory without disk')


def names(h):
    rows = h.doctor('general.domains=example.test, away.test, '
                    'other.example.test, none.example.test')
    same([rows['MX of ' + d] for d in (
        'away.test', 'other.example.test', 'none.example.test')],
         [('look', 'no name server could tell (servfail)'),
          ('look', 'names 5 mx.elsewhere.test, not mail.example.test'),
          ('look', 'there is none')],
         'domains whose mail goes elsewhere, and why')
    rows = h.doctor('general.domains=mail.example.test, localhost')
    same({w: s for w, (s, _) in rows.items() if w.startswith('MX')},
         {'MX of mail.example.test': 'ok'},
         'this host\'s own name needs no MX, nor does localhost')
    same(h.doctor('general.hostname=nowhere.example.test')[
        'address of nowhere.example.test'],
         ('look', 'there is none'), 'a name without address')
    rows = h.doctor()
    same((rows['MX of example.test'], rows['address of mail.example.test']),
         (('ok', ''), ('ok', '')), 'a domain that leads here')


def stopped(h):
    rows = h.doctor()
    same({n: rows[n][0] for n in ('master', 'queue', 'resolve')},
         {n: 'look' for n in ('master', 'queue', 'resolve')},
         'a suite that does not run')


dns = nsd.Nsd({'example.test': ZONE}) if nsd.is_there() else None
sets = ['remote.smarthost=127.0.0.1:1', 'remote.allow_loopback=yes',
        'queue.retry=1h', 'smtp.greet_wait=0s', 'resolve.timeout=1s',
        'resolve.trust_anchor=',
        'resolve.forward=127.0.0.1@%d' % (dns.port if dns else 1)]
h = Checked(sets=sets)
try:
    with h:
        well(h)
        ports(h)
        certificates(h)
        disk(h)
        if dns:
            names(h)
        else:
            skip('what the DNS says', 'needs nsd')
        programs(h)
        queue(h)
        h.own = False
    stopped(h)
finally:
    if dns:
        dns.stop()
    shutil.rmtree(h.dir, ignore_errors=True)
done()
