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
from house import BUILD, House, done, message, ok, same, skip, until

# Debian's, whichever Python this is.
sys.path.append('/usr/lib/python3/dist-packages')
try:
    from prometheus_client.openmetrics import parser
except ImportError:
    parser = None
    skip('what Prometheus itself makes of it',
         'needs python3-prometheus-client')


def parse(text):
    """Sample -> value, by the strict parser of Prometheus' own library."""
    same(text.split('\n')[-2:], ['# EOF', ''], 'it ends as it should')
    values = {}
    for line in text.split('\n')[:-2]:
        if not line.startswith('#'):
            name, value = line.rsplit(' ', 1)
            if name in values:
                ok(False, 'told twice', line)
            values[name] = float(value)
    if parser:
        found = {}
        for f in parser.text_string_to_metric_families(text):
            ok(f.documentation.endswith('.'), f.name + ' is explained')
            for s in f.samples:
                words = ','.join('%s="%s"' % w for w in s.labels.items())
                found[s.name + ('{%s}' % words if words else '')] = s.value
        same(found, values, 'it is OpenMetrics')
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


def queued(got):
    return {re.search('"(.*)"', k)[1]: v for k, v in got.items()
            if k.startswith('surat_queue_recipients') and v}


def by(got, name):
    """Values of the words behind the name, without those that are 0."""
    return {tuple(re.findall('="(.*?)"', k)): v for k, v in got.items()
            if k.startswith(name + '{') and v}


def histogram(got, name, words, count):
    """It counts what was done, and every bound those below it too."""
    inside = ','.join(filter(None, [words, 'le="']))
    bounds = [(float(k.split('le="')[1][:-2]), v) for k, v in got.items()
              if k.startswith('%s_bucket{%s' % (name, inside))]
    own = '{%s}' % words if words else ''
    same((bounds, [v for _, v in bounds]),
         (sorted(bounds), sorted(v for _, v in bounds)), name + ': rises')
    same((bounds[-1], got[name + '_count' + own]),
         ((float('inf'), count), count), name + ': everything is in it')
    ok(0 < got[name + '_sum' + own] < 60 * count, name + ': took a while',
       got[name + '_sum' + own])


def told(got):
    same(queued(got), {'deferred': 1}, 'the queue by state')
    same(by(got, 'surat_deliveries_total'),
         {('local', 'delivered'): 4, ('remote', 'deferred'): 1,
          ('remote', 'failed'): 1}, 'deliveries by result')
    same(by(got, 'surat_logins_total'),
         {('imap', 'ok'): 1, ('imap', 'failed'): 1, ('submission', 'ok'): 1},
         'logins by result')
    same(by(got, 'surat_sessions'), {('imap',): 1}, 'sessions there are')
    same(by(got, 'surat_sessions_begun_total'),
         {('imap',): 1, ('smtp',): 4}, 'and that began')
    same(by(got, 'surat_smtp_clients_total'),
         {('smtp', 'admitted'): 3, ('submission', 'admitted'): 1},
         'clients of smtpd')
    histogram(got, 'surat_delivery_seconds', 'agent="local"', 4)
    histogram(got, 'surat_accept_seconds', '', 5)
    histogram(got, 'surat_login_seconds', '', 2)
    same({k: got.get(k) for k in ('surat_up', 'surat_clients_total{program='
                                  '"imap-session"}', 'surat_failing'
                                  '{program="queue"}')},
         {'surat_up': 1, 'surat_clients_total{program="imap-session"}': 1,
          'surat_failing{program="queue"}': 0}, 'and the programs')


with House(sets=['remote.smarthost=127.0.0.1:1', 'log.format=json',
                 'remote.allow_loopback=yes', 'queue.retry=1h']) as h:
    for n in range(3):
        h.send(['alice@example.test'], message('m%d' % n))
    h.wait_mail('alice', 3)
    with h.smtp('submission', 'alice') as s:
        # The first finds out that its host is away, the second waits for it.
        for n, to in enumerate(('x@example.net', 'y@example.net')):
            s.sendmail('alice@example.test', [to], message('out'))
            until(lambda: len([q for q in h.queue()
                               if q['state'] == 'deferred']) == n + 1)
    h.surat('queue', 'expire', '--rcpt', 'y@example.net')
    h.wait_mail('alice', 4)
    held = imaplib.IMAP4('127.0.0.1', h.port('imap'), timeout=60)
    try:
        held.login('alice', 'wrong')
    except imaplib.IMAP4.error:
        pass
    held.login('alice', 'secret')
    until(lambda: len(h.queue()) == 1)
    got = parse(h.surat('metrics').stdout)
    told(got)
    ok(0 <= got['surat_queue_oldest_seconds'] < 600, 'age of the oldest', got)
    ok(got['surat_certificate_end_seconds'] > 1.7e9, 'the certificate')
    again = parse(over_http(h))
    same(queued(again), {'deferred': 1}, 'the same by HTTP')
    held.logout()
    until(lambda: parse(h.surat('metrics').stdout)[
        'surat_sessions{protocol="imap"}'] == 0)
    logged(h)
    conf = h.dir + '/surat.conf'
out = subprocess.run([BUILD + '/bin/surat', 'metrics', '--set',
                      'general.runtime=/nonexistent', '--config',
                      '/dev/null'], capture_output=True, text=True)
same(parse(out.stdout), {'surat_up': 0}, 'when nothing runs')
done()
