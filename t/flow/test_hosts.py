#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The remote agent among hosts with addresses of their own, in network
namespaces: with nothing configured, at port 25."""
import ctypes
import os
import shutil
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
import mx  # noqa: E402
import nsd  # noqa: E402
from agent import Agent  # noqa: E402
from house import done, need_programs, ok, same, skip, until  # noqa: E402

CLONE_NEWNET = 0x40000000
ZONE = '''
one MX 10 mx2
mx2 A 11.0.0.2
me MX 10 us4
us4 A 11.0.0.1
me6 MX 10 us6
us6 AAAA 2600:1::1
me9 MX 10 us9
us9 A 11.0.0.9
better MX 5 mx2
better MX 10 us4
better MX 20 mx3
mx3 A 11.0.0.3
near MX 10 rfc1918
rfc1918 A 192.168.7.7
near6 MX 10 local6
local6 AAAA fd00::2
own MX 10 loop
loop A 127.0.0.1
dual MX 10 both
both A 11.0.0.2
both AAAA 2600:1::2
hole MX 10 halfdead
halfdead AAAA 2600:1::99
halfdead A 11.0.0.2
silent MX 10 nobody
silent MX 20 mx3
nobody A 11.0.0.77
'''


def sh(*command):
    return subprocess.run(command, capture_output=True, text=True)


class Other:
    """A second host, and servers on its addresses."""

    def __init__(self):
        self.p = subprocess.Popen(['unshare', '-n', 'sleep', '1000'])
        mine = os.readlink('/proc/self/ns/net')
        ns = '/proc/%d/ns/net' % self.p.pid
        until(lambda: os.path.exists(ns) and os.readlink(ns) != mine, 10)
        pid = str(self.p.pid)
        there = ['nsenter', '-t', pid, '-n', 'ip']
        rows = [['ip', 'link', 'set', 'lo', 'up'],
                ['ip', 'link', 'add', 'v0', 'type', 'veth', 'peer', 'name',
                 'v1', 'netns', pid],
                ['ip', 'addr', 'add', '11.0.0.1/24', 'dev', 'v0'],
                ['ip', 'addr', 'add', '11.0.0.9/24', 'dev', 'v0'],
                ['ip', 'addr', 'add', '2600:1::1/64', 'dev', 'v0', 'nodad'],
                ['ip', 'link', 'set', 'v0', 'up'],
                there + ['addr', 'add', '11.0.0.2/24', 'dev', 'v1'],
                there + ['addr', 'add', '11.0.0.3/24', 'dev', 'v1'],
                there + ['addr', 'add', '2600:1::2/64', 'dev', 'v1', 'nodad'],
                there + ['link', 'set', 'v1', 'up']]
        self.trouble = ''
        for row in rows:
            got = sh(*row)
            if got.returncode != 0:
                self.trouble += '%s: %s' % (' '.join(row), got.stderr)

    def server(self, address, **how):
        """Its socket is made over there; what it does with it, here."""
        made = []

        def there():
            fd = os.open('/proc/%d/ns/net' % self.p.pid, os.O_RDONLY)
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.setns(fd, CLONE_NEWNET) == 0:
                made.append(mx.Server(address, 25, **how))
            os.close(fd)
        t = threading.Thread(target=there)
        t.start()
        t.join()
        return made[0]

    def stop(self):
        self.p.kill()
        self.p.wait()


def flows(other, dns):
    a = Agent(dns, 25, loopback=False, more='listen { smtp = {"*:25"} }')
    s2, s3 = other.server('11.0.0.2'), other.server('11.0.0.3')
    same(a.one('one.test')[0], '2.0.0', 'a stranger is reached')
    for name in ('me', 'me6', 'me9'):
        same(a.one(name + '.test')[:2], ('5.4.6', 'host'),
             '17 %s: each of our addresses is us' % name)
    same((a.one('better.test')[0], len(s3.sessions)), ('2.0.0', 0),
         'row 17: a better one than us')
    for name in ('near', 'near6', 'own'):
        same(a.one(name + '.test')[:2], ('5.4.4', 'host'),
             '18 %s: no stranger lives there' % name)
    same(a.one('[11.0.0.2]')[0], '2.0.0', 'row 38: a literal')
    same(a.one('[127.0.0.1]')[0], '5.4.4', 'row 38: not of our own')
    same(a.one('[11.0.0.1]')[0], '5.4.6', 'row 38: nor this')
    start = time.time()
    same(a.one('silent.test')[0], '2.0.0',
         'row 22: the next when one is silent')
    ok(len(s3.messages) == 1, 'row 22: (that one)', s3.lines)
    v6 = other.server('2600:1::2')
    a.one('silent.test')
    same(a.relay('dual.test')[0][3].split()[0], 'ip=2600:1::2',
         'row 22: IPv6 first')
    same(a.one('[IPv6:2600:1::2]')[0], '2.0.0', 'row 38: an IPv6 literal')
    a.one('silent.test')
    start = time.time()
    same(a.relay('hole.test')[0][3].split()[0], 'ip=11.0.0.2',
         'row 22: IPv4 where IPv6 leads nowhere')
    took = time.time() - start
    print('# which took %.2f s' % took)
    ok(a.stop(), 'the agent lives')
    seen = []

    def note(s, line):
        seen.append(s.sock.getpeername()[0])
    s2.set(ehlo=note)
    v6.set(ehlo=note)
    a = Agent(dns, 25, loopback=False, remote='source = {"11.0.0.9"} '
              'prefer = ipv4')
    a.one('one.test')
    ok(a.stop(), 'the agent lives')
    same(seen, ['11.0.0.9'], 'from the address it was told to use')
    for s in (s2, s3, v6):
        s.stop()


def inside():
    other = Other()
    if other.trouble:
        skip('hosts in namespaces', other.trouble.replace('\n', ' '))
        other.stop()
        done()
    dns = nsd.Nsd({'test': ZONE})
    try:
        flows(other, dns)
    finally:
        dns.stop()
        other.stop()
    done()


def main():
    need_programs(['deliver-remote', 'resolve', 'tls'])
    if '--inside' in sys.argv:
        inside()
    why = ''
    if os.getuid() != 0:
        why = 'needs root'
    elif not all(map(shutil.which, ('unshare', 'nsenter', 'ip', 'nsd'))):
        why = 'needs unshare, nsenter, ip and nsd'
    elif sh('unshare', '-n', 'true').returncode != 0:
        why = 'no network namespaces here'
    if why:
        skip('hosts in namespaces', why)
        done()
    os.execvp('unshare', ['unshare', '-n', sys.executable,
                          os.path.abspath(__file__), '--inside'])


main()
