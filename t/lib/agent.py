# SPDX-License-Identifier: ISC
"""deliver-remote by itself, with the real resolve and tls: the test is the
queue and hands out jobs."""
import os
import shutil
import socket
import tempfile
import time

import wire
from house import BUILD, SLOW

TIMES = '''connect_timeout = 2s greeting_timeout = %ds command_timeout = %ds
data_timeout = %ds block_timeout = %ds final_timeout = %ds'''


class Agent:
    def __init__(self, dns, port, remote='', general='', more='',
                 loopback=True, roots='', anchor='', patience=30):
        """patience: seconds it waits for a server."""
        self.top = tempfile.mkdtemp(prefix='agent.')
        ask = self.top + '/run/deliver'
        os.makedirs(ask)
        conf = '''
general { hostname = "us.test" runtime = "%s/run" %s }
log { target = stderr level = debug }
tls { roots = "%s" }
resolve { forward = {"127.0.0.1@%d"} trust_anchor = "%s" timeout = 5s }
remote { port = %d allow_loopback = %s %s }
%s
''' % (self.top, general, roots, dns.port, anchor, port,
            'yes' if loopback else 'no', TIMES % ((patience,) * 5) + '\n' +
            remote, more)
        self.log = open(self.top + '/log', 'w+')
        self.programs = []
        for name in ('resolve', 'tls'):
            s = wire.listen(ask + '/' + name)
            self.programs.append(wire.Program(
                '%s/bin/%s' % (BUILD, name), conf,
                [('ask.deliver', s)], self.log))
            s.close()
        self.queue, theirs = socket.socketpair(
            socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.queue.settimeout(60 * SLOW)
        self.agent = wire.Program(BUILD + '/bin/deliver-remote', conf,
                                  [('queue', theirs)], self.log)
        self.programs.append(self.agent)
        theirs.close()
        self.count = 0

    def send(self, destination, rcpts=1, content=None, sender='me@us.test',
             fd=None, **fields):
        """rcpts: a number of them, or addresses.  The id of the job."""
        self.count += 1
        if isinstance(rcpts, int):
            rcpts = ['r%d@%s' % (i, destination) for i in range(rcpts)]
        if content is None and fd is None:
            content = b'Subject: %d\r\n\r\nhello\r\n' % self.count
        n = len(rcpts)
        job = dict(id='job%d' % self.count, sender=sender, arrival=1,
                   size=len(content or b''), destination=destination,
                   number=list(range(n)), rcpt=rcpts, orcpt=[''] * n,
                   notify=[''] * n, body_type='7BIT', content=content or b'')
        job.update(fields)
        wire.send(self.queue, 'job', fd, **job)
        return job['id'], n

    def result(self, job):
        """{number: (status, scope, remote, detail)} of one job."""
        name, n = job
        found = {}
        while len(found) < n:
            kind, m, _ = wire.receive(self.queue)
            assert kind == 'job_result' and m['id'] == name, (kind, m)
            for number, status in zip(m['number'], m['status']):
                assert number not in found, 'reported twice: %r' % m
                found[int(number)] = (status, m['scope'], m['remote'],
                                      m['detail'])
        return found

    def relay(self, destination, rcpts=1, content=None, **fields):
        """[(status, scope, remote, detail), ...] in order."""
        found = self.result(self.send(destination, rcpts, content, **fields))
        return [found[i] for i in range(len(found))]

    def one(self, destination, **fields):
        """(code '5.1.1', scope, text) for one recipient."""
        status, scope, remote, detail = self.relay(destination, 1,
                                                   **fields)[0]
        return status.split(' ', 1)[0], scope, status.split(' ', 1)[1]

    def text(self):
        self.log.flush()
        return open(self.top + '/log').read()

    def is_alive(self):
        return self.agent.p.poll() is None

    def stop(self):
        """True when the agent was alive and ends with its queue."""
        alive = self.is_alive()
        self.queue.close()
        end = time.time() + 20 * SLOW
        while self.is_alive() and time.time() < end:
            time.sleep(0.02)
        ended = self.agent.p.poll() == 0
        for p in self.programs:
            p.stop()
        self.log.close()
        shutil.rmtree(self.top, ignore_errors=True)
        return alive and ended
