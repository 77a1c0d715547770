# SPDX-License-Identifier: ISC
"""A real name server on loopback, with zones written by the test."""
import os
import shutil
import socket
import subprocess
import tempfile
import time

from ports import free_port


def is_there():
    return shutil.which('nsd') is not None


HEAD = '''$ORIGIN %s.
$TTL 300
@ SOA ns.%s. hostmaster 1 3600 600 86400 1
@ NS ns
ns A 127.0.0.1
'''


class Nsd:
    def __init__(self, zones, sign=(), edit=None):
        """zones: {origin: records}.  sign: the origins that are signed; then
        self.anchor is the file with their keys.  edit(text): what becomes of
        a zone after it was signed."""
        self.top = tempfile.mkdtemp(prefix='nsd.')
        self.port = free_port()
        self.anchor = ''
        files = []
        for origin, records in zones.items():
            path = self.top + '/' + origin
            with open(path, 'w') as f:
                f.write(HEAD % (origin, origin) + records)
            if origin in sign:
                path = self._sign(origin, path)
                if edit:
                    text = edit(open(path).read())
                    open(path, 'w').write(text)
            files.append((origin, path))
        self._start(files)

    def _sign(self, origin, path):
        key = subprocess.run(
            ['ldns-keygen', '-k', '-a', 'ECDSAP256SHA256', origin],
            cwd=self.top, capture_output=True, text=True,
            check=True).stdout.strip()
        subprocess.run(['ldns-signzone', '-o', origin, path, key],
                       cwd=self.top, check=True)
        self.anchor = self.top + '/anchor'
        with open(self.anchor, 'a') as f:
            f.write(open(self.top + '/' + key + '.key').read())
        return path + '.signed'

    def _start(self, files):
        conf = '''server:
  ip-address: 127.0.0.1@%d
  port: %d
  server-count: 1
  username: ""
  chroot: ""
  zonesdir: "%s"
  database: ""
  pidfile: "%s/nsd.pid"
  xfrdfile: "%s/xfrd"
  xfrdir: "%s"
  zonelistfile: "%s/zone.list"
  logfile: "%s/nsd.log"
remote-control:
  control-enable: no
''' % ((self.port, self.port) + (self.top,) * 6)
        for origin, path in files:
            conf += 'zone:\n  name: "%s"\n  zonefile: "%s"\n' % (origin, path)
        with open(self.top + '/nsd.conf', 'w') as f:
            f.write(conf)
        self.process = subprocess.Popen(
            ['nsd', '-d', '-c', self.top + '/nsd.conf'],
            stderr=subprocess.DEVNULL)
        self._wait(files[0][0])

    def _wait(self, origin):
        name = b''.join(bytes([len(p)]) + p.encode()
                        for p in origin.split('.')) + b'\0'
        end = time.time() + 20
        while time.time() < end:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                s.settimeout(0.2)
                try:
                    s.connect(('127.0.0.1', self.port))
                    s.send(b'\0\1\0\0\0\1\0\0\0\0\0\0' + name + b'\0\6\0\1')
                    s.recv(512)
                    return
                except OSError:
                    time.sleep(0.05)
        raise SystemExit('nsd does not start: ' +
                         open(self.top + '/nsd.log').read())

    def stop(self):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.top, ignore_errors=True)
