# SPDX-License-Identifier: ISC
"""Who waits for whom: small mail behind bulk, and a next hop that refuses the
sixth connection; surat and Postfix one after the other, against a next hop
that takes a while for each message."""
import re
import smtplib
import socket
import threading
import time

import bench
import rivals

BULK, SINGLES_EVERY = 10000, 0.25


class Peer:
    """A next hop: each message takes `delay` seconds, the connection after
    `most` is refused.  when: recipient to the time it was taken."""

    def __init__(self, delay, most=1000):
        self.delay, self.most = delay, most
        self.open, self.refused, self.taken, self.when = 0, 0, 0, {}
        self.lock = threading.Lock()
        self.listener = socket.create_server(('127.0.0.1', 0), backlog=500)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(s,),
                             daemon=True).start()

    def serve(self, s):
        with self.lock:
            self.open += 1
            full = self.open > self.most
            self.refused += full
        try:
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if full:
                s.sendall(b'421 4.3.2 Too many connections\r\n')
            else:
                self.talk(s, s.makefile('rb'))
        except OSError:
            pass
        finally:
            s.close()
            with self.lock:
                self.open -= 1

    def talk(self, s, f):
        rcpts = []
        s.sendall(b'220 peer ESMTP\r\n')
        while True:
            line = f.readline()
            verb = line[:4].upper()
            if verb == b'RCPT':
                rcpts.append(line.split(b'<')[1].split(b'>')[0].decode())
            if verb == b'EHLO':
                s.sendall(b'250-peer\r\n250 PIPELINING\r\n')
            elif verb == b'DATA':
                s.sendall(b'354 go\r\n')
                while f.readline() not in (b'.\r\n', b''):
                    pass
                time.sleep(self.delay)
                now = time.monotonic()
                self.when.update((r, now) for r in rcpts)
                self.taken += len(rcpts)
                rcpts = []
                s.sendall(b'250 taken\r\n')
            elif verb in (b'QUIT', b''):
                s.sendall(b'221 bye\r\n')
                return
            else:
                s.sendall(b'250 fine\r\n')

    def stop(self):
        self.listener.close()


def servers(place, port, peer):
    found = [rivals.Surat(
        place, sets=['smtp.relay_networks=127.0.0.0/8',
                     'remote.allow_loopback=yes',
                     'smtp.max_recipients=%d' % (BULK + 1)],
        options=['--smarthost', '127.0.0.1:%d' % port])]
    if peer:
        # What Debian's package has, but for the number of recipients.
        found.append(rivals.Postfix(place, relay=port, extra=(
            'initial_destination_concurrency = 5\n'
            'in_flow_delay = 1s\nsmtpd_recipient_limit = %d\n' % (BULK + 1))))
    return found


def send(port, rcpts):
    with smtplib.SMTP('127.0.0.1', port, timeout=300) as s:
        s.sendmail('from@bench.test', rcpts, b'Subject: x\r\n\r\nx\r\n')


def wait(peer, names, seconds=300):
    end = time.monotonic() + seconds
    while not all(n in peer.when for n in names):
        if time.monotonic() > end:
            raise SystemExit('not everything came')
        time.sleep(0.02)


def bulk(server, peer, tag, singles):
    """(seconds for the bulk, seconds each single took)"""
    names = ['%s%d@relay.test' % (tag, i) for i in range(BULK)]
    send(server.port, names)
    start, sent, n = time.monotonic(), {}, 0
    while len([1 for x in names[:1] + names[-1:] if x in peer.when]) < 2 or \
            not all(x in peer.when for x in names):
        if singles:
            one = '%s-one%d@relay.test' % (tag, n)
            sent[one], n = time.monotonic(), n + 1
            send(server.port, [one])
        time.sleep(SINGLES_EVERY)
    wait(peer, sent)
    return (max(peer.when[x] for x in names) - start,
            sorted(peer.when[x] - t for x, t in sent.items()))


def small_behind_bulk(place, peer_too):
    """One message of 10,000 recipients, alone and with small mail behind."""
    out = {}
    peer = Peer(1.0)
    for s in servers(place, peer.port, peer_too):
        s.start()
        alone, _ = bulk(s, peer, s.name + '-a', False)
        mixed, waits = bulk(s, peer, s.name + '-b', True)
        s.stop()
        out[s.name] = {'alone': alone, 'mixed': mixed, 'worst': waits[-1],
                       'median': waits[len(waits) // 2], 'count': len(waits)}
    peer.stop()
    return out


def deferred(server):
    """Recipients that were put off, by the server's own log."""
    path = server.dir + ('.log' if server.name == 'surat' else '/log')
    with open(path, errors='replace') as f:
        text = f.read()
    if server.name == 'surat':
        return len(set(re.findall(r': (\S+ deferred .*?rcpt=\S+)', text)))
    return len(set(re.findall(r': (\w+: to=<\S+?>).*status=deferred', text)))


def refused_sixth(place, peer_too, count=2000):
    """2,000 messages to a next hop that bears five connections."""
    out = {}
    for s in servers(place, 0, peer_too):
        peer = Peer(0.01, 5)
        if s.name == 'surat':
            s.options = ['--smarthost', '127.0.0.1:%d' % peer.port]
        else:
            s.relay = peer.port
        s.start()
        bench.load(s.port, count, 10, more=['-D', 'relay.test'])
        end, last = time.monotonic() + 60, -1
        while time.monotonic() < end:  # until the first pass is over
            time.sleep(2)
            if peer.taken == last:
                break
            last = peer.taken
        time.sleep(2)
        out[s.name] = {'deferred': deferred(s), 'refused': peer.refused,
                       'of': count}
        s.stop()
        peer.stop()
    return out


def tell(args):
    """Both cases, as lines."""
    place = bench.Place(getattr(args, 'dir', None))
    peer_too = not args.no_peer and rivals.Postfix.missing() is None
    cases = (('small mail behind a bulk of 10,000 recipients',
              small_behind_bulk,
              lambda r: 'bulk alone %.1f s, with %d small ones %.1f s (%.2f '
              'times); small: median %.2f s, worst %.2f s' % (
                  r['alone'], r['count'], r['mixed'],
                  r['mixed'] / r['alone'], r['median'], r['worst'])),
             ('2,000 messages, the sixth connection refused', refused_sixth,
              lambda r: 'deferred on the first pass %d of %d (%.1f %%), '
              'connections refused %d' % (
                  r['deferred'], r['of'], 100 * r['deferred'] / r['of'],
                  r['refused'])))
    for name, measure, show in cases:
        if args.only not in name:
            continue
        for server, r in measure(place, peer_too).items():
            bench.emit(args, '%-46s | %-7s | %s' % (name, server, show(r)),
                       bench='queue', case=name, server=server, **r)
