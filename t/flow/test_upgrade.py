#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""New binaries and new certificates, under load: nobody is turned away, no
session is dropped, and what cannot work is refused before it costs anything."""
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
from house import PROGRAMS, SLOW, Copied, done, ok, same, until
from load import Load, login

SINGLES = ('keys', 'tls', 'resolve', 'auth', 'queue')


class Replaced(Copied):
    def replace(self, program, more=b'\0', content=None):
        """As an installer does: a new file in the place of the old one."""
        path = self.dir + '/bin/' + program
        if content is None:
            content = open(path, 'rb').read() + more
        with open(path + '.new', 'wb') as f:
            f.write(content)
        os.chmod(path + '.new', 0o755)
        os.rename(path + '.new', path)

    def hup(self, what):
        before = len(self.grep(what))
        self.process.send_signal(signal.SIGHUP)
        return until(lambda: len(self.grep(what)) > before, 60)

    def running(self):
        """program -> for each of its processes, is it of the file there
        is?"""
        found = {}
        for pid, _ in list(self.children().items()):
            try:
                exe = os.readlink('/proc/%d/exe' % pid)
            except OSError:
                continue
            name = os.path.basename(exe.replace(' (deleted)', ''))
            found.setdefault(name, []).append(
                not exe.endswith(' (deleted)'))
        return found


def binaries(h):
    load = Load(h)
    pid = h.process.pid
    for n in range(3):
        for p in PROGRAMS:
            h.replace(p)
        ok(h.hup(' starting '), 'suratd has started itself anew')
        load.ask_all()
        ok(until(lambda: all(True in h.running().get(p, [])
                             for p in SINGLES), 60),
           'and all others', h.running())
        load.ask_all()
    ok(not os.readlink('/proc/%d/exe' % pid).endswith('(deleted)'),
       'in the same process')
    for p in ('smtpd', 'imapd'):
        h.replace(p)
    ok(h.hup(' reloaded '), 'or some of the programs')
    load.ask_all()
    for s in load.smtp:
        s.sendmail('s@remote.test', ['bob@example.test'],
                   b'Subject: stayed\r\n\r\nx\r\n')
    load.end()
    same(load.errors, [], 'no session is dropped, no client turned away')
    ok(load.sent > 3, 'under load', load.sent)
    for c in load.imap:
        c.logout()
    for s in load.smtp:
        s.quit()
    ok(until(lambda: all(map(all, h.running().values())), 60),
       'what is old ends with its last client', h.running())


def broken(h):
    good = open(h.dir + '/bin/suratd', 'rb').read()
    h.replace('suratd', content=b'#!/bin/sh\necho no >&2\nexit 1\n')
    ok(h.hup('reload-refused.*would not start'),
       'a program that would not start is refused')
    ok(login(h, 'alice').noop()[0] == 'OK', 'and costs nothing')
    h.replace('suratd', content=good)
    ok(h.hup(' starting '), 'until it is put right')


def make(h, name, days=2):
    subprocess.run(
        ['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt',
         'ec_paramgen_curve:P-256', '-nodes', '-days', str(days), '-subj',
         '/CN=' + name, '-keyout', h.dir + '/new.key', '-out',
         h.dir + '/new.pem'], check=True, stderr=subprocess.DEVNULL)
    for f in ('new.key', 'new.pem'):
        shutil.chown(h.dir + '/' + f, os.stat(h.key).st_uid)


def shown(h):
    """The name in the certificate that clients see."""
    with socket.create_connection(('127.0.0.1', h.port('imaps')), 30) as s:
        context = ssl._create_unverified_context()
        with context.wrap_socket(s) as t:
            der = t.getpeercert(True)
    pem = ssl.DER_cert_to_PEM_cert(der)
    out = subprocess.run(['openssl', 'x509', '-noout', '-subject'],
                         input=pem, capture_output=True, text=True).stdout
    return out.split('CN')[1].strip(' =\n')


def certificates(h):
    text = open(h.dir + '/surat.conf').read()
    h.certificate = text.split('certificate = "')[1].split('"')[0]
    h.key = text.split('key = "')[1].split('"')[0]
    stays = login(h, 'bob')
    old = shown(h)
    make(h, 'second.test')
    os.rename(h.dir + '/new.pem', h.certificate)
    ok(until(lambda: h.grep('reload-refused.*cannot be used'), 60),
       'half of a pair is refused')
    ok(h.grep('does not belong to the private key'), 'with the reason')
    same(shown(h), old, 'and the old certificate is shown')
    os.rename(h.dir + '/new.key', h.key)
    ok(until(lambda: shown(h) == 'second.test', 60),
       'a renewed certificate is noticed by itself')
    same(stays.noop()[0], 'OK', 'sessions go on')
    with open(h.key, 'w') as f:
        f.write('rubbish\n')
    ok(h.hup('reload-refused.*cannot be used'), 'rubbish is refused')
    same(shown(h), 'second.test', 'at no cost')
    stays.logout()


def key_alone(h):
    """What has no key has none that could be wrong."""
    with open(h.dir + '/bare.conf', 'w') as f:
        f.write('general { hostname = "x.test" }\n')
    out = subprocess.run([h.dir + '/bin/keys', '--check'], timeout=20 * SLOW,
                         env=dict(os.environ, SURAT_CONF=h.dir + '/bare.conf'))
    same(out.returncode, 0, 'keys --check ends where no key is named')


with Replaced(users={u: 'x' for u in ('alice', 'bob', 'dave')}) as h:
    binaries(h)
    broken(h)
    certificates(h)
    key_alone(h)
    same(h.stop(), 0, 'SIGTERM ends it')
done()
