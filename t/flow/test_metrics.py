#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""surat metrics: the format is OpenMetrics, the figures are those of what was
done; as the answer to an HTTP request; the log as JSON, one event a line."""
import http.client
import imaplib
import json
import os
import re
import socket
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
from house import BUILD, House, done, message, ok, same, until

SAMPLE = re.compile(r'^(surat_[a-z_]+)(\{[a-z]+="[a-z0-9-]*"\})? '
                    r'(-?[0-9]+(\.[0-9]+)?)$')


def parse(text):
    """Every line is what the format allows, each family declared once."""
    types, values, bad = {}, {}, []
    lines = text.split('\n')
    same(lines[-2:], ['# EOF', ''], 'it ends as it should')
    for line in lines[:-2]:
        if line.startswith('# TYPE '):
            _, _, name, kind = line.split(' ')
            bad += [line] if name in types else []
            types[name] = kind
        elif not line.startswith('# HELP '):
            found = SAMPLE.match(line)
            name = found and found[1]
            family = re.sub('_total$', '', name) if name else None
            if not found or (name not in types and family not in types) or \
                    (types.get(family) == 'counter') != (name != family):
                bad.append(line)
            else:
                values[name + (found[2] or '')] = float(found[3])
    same(bad, [], 'every line is OpenMetrics')
    return values


def over_http(h):
    """As inetd or a socket unit starts it."""
    listener = socket.create_server(('127.0.0.1', 0))

    def serve():
        client, _ = listener.accept()
        with client:
            subprocess.run([BUILD + '/bin/surat', 'metrics', '--http',
                            '--config', h.dir + '/surat.conf'],
                           stdin=client, stdout=client)
    threading.Thread(target=serve, daemon=True).start()
    c = http.client.HTTPConnection(*listener.getsockname(), timeout=30)
    c.request('GET', '/metrics')
    answer = c.getresponse()
    same((answer.status, answer.getheader('content-type').split(';')[0]),
         (200, 'application/openmetrics-text'), 'an HTTP answer')
    return answer.read().decode()


def logged(h):
    """Text of its own programs apart, which JSON is not."""
    lines = [l for l in h.log if l.strip()]
    bad = []
    events = set()
    for line in lines:
        try:
            row = json.loads(line)
            events.add(row.get('event'))
        except ValueError:
            bad.append(line)
    same(bad, [], 'every line of the log is JSON')
    ok({'queued', 'delivered', 'login', 'ready'} <= events,
       'with its event', events)


with House(sets=['remote.smarthost=127.0.0.1:1', 'log.format=json',
                 'remote.allow_loopback=yes', 'queue.retry=1h']) as h:
    for n in range(3):
        h.send(['alice@example.test'], message('m%d' % n))
    h.wait_mail('alice', 3)
    with h.smtp('submission', 'alice') as s:
        s.sendmail('alice@example.test', ['x@example.net'], message('out'))
    until(lambda: [q for q in h.queue() if q['state'] == 'deferred'])
    held = imaplib.IMAP4('127.0.0.1', h.port('imap'), timeout=60)
    held.login('alice', 'secret')
    until(lambda: len(h.queue()) == 1)
    got = parse(h.surat('metrics').stdout)
    same({k: got.get(k) for k in (
        'surat_up', 'surat_queue_recipients', 'surat_clients_total'
        '{program="imap-session"}', 'surat_recipients_last_hour'
        '{outcome="delivered"}', 'surat_recipients_last_hour'
        '{outcome="failed"}', 'surat_failing{program="queue"}')},
         {'surat_up': 1, 'surat_queue_recipients': 1,
          'surat_clients_total{program="imap-session"}': 1,
          'surat_recipients_last_hour{outcome="delivered"}': 3,
          'surat_recipients_last_hour{outcome="failed"}': 0,
          'surat_failing{program="queue"}': 0}, 'the figures')
    ok(0 <= got['surat_queue_oldest_seconds'] < 600, 'age of the oldest', got)
    ok(got['surat_certificate_end_seconds'] > 1.7e9, 'the certificate')
    again = parse(over_http(h))
    same({k: again[k] for k in again if 'queue_recipients' in k},
         {'surat_queue_recipients': 1}, 'the same by HTTP')
    held.logout()
    logged(h)
    conf = h.dir + '/surat.conf'
out = subprocess.run([BUILD + '/bin/surat', 'metrics', '--set',
                      'general.runtime=/nonexistent', '--config',
                      '/dev/null'], capture_output=True, text=True)
same(parse(out.stdout), {'surat_up': 0}, 'when nothing runs')
done()
