#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Mail leaves the house: to a second surat, to Postfix's smtp-sink, to servers
that refuse, put off, or are dead, all found by MX records of a real name
server."""
import email
import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
import mx  # noqa: E402
import nsd  # noqa: E402
from house import (House, PROGRAMS, done,  # noqa: E402
                   message, need_programs, ok, same, skip, until)

CORPUS = os.path.join(os.path.dirname(__file__), '..', 'corpus')
WITHOUT = ('imapd', 'pop3d')
ZONE = '''
far MX 10 mx.far
mx.far A 127.0.0.1
sink MX 10 mx.sink
mx.sink A 127.0.0.10
srv MX 10 mx.srv
mx.srv A 127.0.0.2
grey MX 10 mx.grey
mx.grey A 127.0.0.3
dead MX 10 mx.dead
mx.dead A 127.0.0.66
null MX 0 .
up MX 10 mx.up
up MX 20 mx.far
mx.up A 127.0.0.4
'''
ME = 'alice@example.test'


def send(h, to, what, sender=ME):
    to = [to] if isinstance(to, str) else to
    h.send(to, what, sender=sender, service='submission', user='alice')


def relay(h, to, octets, sender=''):
    """From port 25, as a host that may relay."""
    with h.smtp() as s:
        s.ehlo('client.test')
        s.mail(sender, ['BODY=8BITMIME'])
        for one in [to] if isinstance(to, str) else to:
            s.rcpt(one)
        return s.data(octets)


def reports(h, seen=[0]):
    """Delivery reports that came to alice since the last call."""
    files = sorted(h.mails('alice'), key=os.path.getmtime)
    found = []
    for path in files[seen[0]:]:
        found.append(email.message_from_bytes(open(path, 'rb').read()))
    seen[0] = len(files)
    return found


def wait_report(h):
    found = []
    until(lambda: found.extend(reports(h)) or found, 30)
    return found


def fields(report):
    """The recipients' fields of a report."""
    part = [p for p in report.walk()
            if p.get_content_type() == 'message/delivery-status'][0]
    return sorted(part.get_payload()[1:],
                  key=lambda p: p['Final-Recipient'])


def is_empty(h):
    return until(lambda: not h.queue(), 30)


# ---------------------------------------------------------------- flows

def second_house(h, far):
    send(h, 'alice@far.test', message('to far'))
    files = far.wait_mail('alice', 1, 30)
    same(len(files), 1, 'a message reaches the other house')
    text = open(files[0], 'rb').read()
    ok(b'with ESMTPS' in text, 'under TLS', text[:600])
    same(text.count(b'Received:'), 2, 'with a trace line of each')
    ok(is_empty(h), 'nothing is left in the queue')
    row = [r for r in h.queue('--history') if r['rcpt'] == 'alice@far.test']
    ok(row and row[0]['remote'] == 'mx.far.test' and
       'Queued as' in row[0]['reply'], 'the history has the last word', row)
    out = h.surat('trace', 'alice@far.test').stdout
    ok(re.search(r'connected: .*accepted: .*tried for [0-9.]+ s: 2.*Queued '
                 r'as .*, says mx.far.test \(ip=.* lookup=[0-9.]+ '
                 r'connect=[0-9.]+ hello=[0-9.]+ envelope=[0-9.]+ '
                 r'content=[0-9.]+ answer=[0-9.]+\)\n.*relayed', out, re.S),
       'its trace, from connect to the last answer, each phase timed', out)
    big = message('big', b'0123456789abcdef' * 4 + b'\r\n' + b'.\r\n' * 3 +
                  b'x' * 60 + b'\r\n' + b'y' * 70 * 1 + b'\r\n')
    big += b'line of a large message\r\n' * 20000
    send(h, 'bob@far.test', big)
    files = far.wait_mail('bob', 1, 30)
    got = open(files[0], 'rb').read().replace(b'\n', b'\r\n')
    ok(got.endswith(big[-400000:]), 'a large one too')
    send(h, 'alice@far.test', b'Subject: null\r\n\r\nx\r\n')
    far.wait_mail('alice', 2, 30)


def corpus():
    for path in sorted(glob.glob(CORPUS + '/mime/*')):
        octets = open(path, 'rb').read()
        octets = octets.replace(b'\r\n', b'\n').replace(b'\r', b'\n')
        octets = octets.rstrip(b'\n').replace(b'\n', b'\r\n') + b'\r\n'
        # What is longer is converted (edge case 12), a NUL is refused.
        if max(map(len, octets.split(b'\r\n'))) <= 998 and b'\0' not in octets:
            yield os.path.basename(path), octets


def strip(text, far):
    """Without the three lines the last house put before it."""
    for name in (b'Return-Path', b'Delivered-To', b'Received'):
        text = re.sub(rb'(?s)^' + name + rb': .*?\r\n(?![ \t])', b'', text, 1)
    return text


def real_mail(h, far):
    """Real messages arrive as they were sent."""
    before = set(far.mails('bob'))
    sent = 0
    taken = []
    for name, octets in corpus():
        code, reply = relay(h, 'bob@far.test', octets, ME)
        if code == 250:
            taken.append((name, octets))
            sent += 1
    ok(sent > 80, 'real messages are taken', sent)
    until(lambda: len(set(far.mails('bob')) - before) >= sent, 60)
    got = {}
    for path in set(far.mails('bob')) - before:
        text = open(path, 'rb').read()
        text = re.sub(rb'(?<!\r)\n', b'\r\n', text)
        # Ours, then that of the first house.
        text = re.sub(rb'(?s)^Received: .*?\r\n(?![ \t])', b'',
                      strip(text, far), 1)
        got.setdefault(text, []).append(path)
    missing = [n for n, o in taken if o not in got]
    same(missing, [], 'each arrives as it was sent')


def refusals(h):
    def rcpt(s, line):
        return {'a': '550-5.1.1 No such user here\n5.1.1 Ask\n5.1.1 elsewhere',
                'b': None, 'c': '450 4.2.1 not now',
                'd': '550 5.7.1 not for you'}[line.split('<')[1][0]]
    s = mx.Server('127.0.0.2', PORT, rcpt=rcpt)
    send(h, ['%s@srv.test' % c for c in 'abcd'], message('mixed'))
    found = wait_report(h)
    same(len(found), 1, 'row 26: one report')
    f = fields(found[0])
    same([(x['Final-Recipient'], x['Action'], x['Status']) for x in f],
         [('rfc822;a@srv.test', 'failed', '5.1.1'),
          ('rfc822;d@srv.test', 'failed', '5.7.1')],
         'row 26: lists all that failed')
    ok('550' in f[0]['Diagnostic-Code'] and 'Ask' in f[0]['Diagnostic-Code']
       and 'elsewhere' in f[0]['Diagnostic-Code'] and
       f[0]['Remote-MTA'] == 'dns;mx.srv.test',
       'with the whole reply, and who gave it', str(f[0]))
    same(len(s.messages), 1, 'one is delivered')
    rows = h.queue('--domain', 'srv.test')
    same([(r['rcpt'], r['state']) for r in rows],
         [('c@srv.test', 'deferred')], 'one waits')
    ok('450' in str(rows) or 'not now' in str(rows), 'with its reason', rows)
    s.set(rcpt=None)
    h.surat('queue', 'retry', 'all')
    ok(until(lambda: len(s.messages) == 2, 30), 'and goes later')
    same(sorted(m.rcpts for m in s.messages),
         [['RCPT TO:<b@srv.test>'], ['RCPT TO:<c@srv.test>']],
         'each once')
    s.stop()
    s = mx.Server('127.0.0.2', PORT, dot='554 5.7.1 we think it is spam')
    send(h, 'a@srv.test', message('spam'))
    f = fields(wait_report(h)[0])
    ok(f[0]['Status'] == '5.7.1' and 'spam' in f[0]['Diagnostic-Code'],
       'refused after its end: returned', str(f[0]))
    send(h, 'x@null.test', message('null'))
    f = fields(wait_report(h)[0])
    same(f[0]['Status'], '5.1.10', 'row 21: a null MX: returned')
    send(h, 'x@absent.test', message('absent'))
    f = fields(wait_report(h)[0])
    same(f[0]['Status'], '5.1.2', 'a domain that does not exist: returned')
    relay(h, 'a@srv.test', message('from nobody'), '')
    ok(is_empty(h), 'row 32: of the null sender nobody is told')
    same(reports(h), [], 'row 32: nobody')
    s.stop()


def greylisting(h):
    met = {}

    def rcpt(s, line):
        if met.setdefault(line, time.time()) == time.time() or \
                time.time() - met[line] < 1:
            return '451 4.7.1 Greylisted, come back'
    s = mx.Server('127.0.0.3', PORT, rcpt=rcpt)
    send(h, ['a@grey.test', 'b@grey.test'], message('grey'))
    ok(until(lambda: sum(len(m.rcpts) for m in s.messages) == 2, 60),
       'put off first, then taken', s.lines)
    ok(is_empty(h), 'nothing is left')
    same(reports(h), [], 'and nobody hears of it')
    s.stop()


def next_server(h, far):
    """The first is down, the second is up; then the first is back."""
    before = len(far.mails('alice'))
    h2 = mx.Server('127.0.0.4', PORT, greet='421 4.3.2 going down')
    relay(h, 'alice@up.test', message('backup'), ME)
    ok(until(lambda: h2.sessions, 20), 'the first is asked')
    h2.stop()
    ok(is_empty(h), 'the next takes it')
    f = wait_report(h)
    ok(f and fields(f[0])[0]['Remote-MTA'] == 'dns;mx.far.test',
       '(that one does not relay)', f)
    h2 = mx.Server('127.0.0.4', PORT)
    ok(until(lambda: send(h, 'alice@up.test', message('first')) or
             until(lambda: h2.messages, 3), 30),
       'the first is back, once the kept connection is not used')
    h2.stop()


def dead(zone):
    """A domain nobody answers for, and its mail at the end of its time."""
    with House(without=WITHOUT, sets=settings(zone) + [
            'queue.max_age=6s', 'queue.delay_notice=2s']) as h:
        send(h, 'x@dead.test', message('dead'))
        got = []
        until(lambda: got.extend(reports(h, SEEN)) or len(got) >= 2, 60)
        actions = [fields(r)[0]['Action'] for r in got]
        same(actions, ['delayed', 'failed'], 'row 62: a notice, then a report')
        f = fields(got[-1])[0]
        ok(f['Status'] == '4.4.7' or f['Status'] == '5.4.7',
           'given up for its age', str(f))
        ok('mx.dead.test' in f['Diagnostic-Code'] and
           'refused' in f['Diagnostic-Code'], 'and why', str(f))
        ok(is_empty(h), 'nothing is left')


SEEN = [0]


def sink(h, count=300):
    if shutil.which('smtp-sink') is None:
        skip('smtp-sink', 'postfix is not installed')
        return
    p = subprocess.Popen(
        ['smtp-sink', '-u', 'nobody', '-c', '127.0.0.10:%d' % PORT, '500'],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) \
        if os.getuid() == 0 else subprocess.Popen(
        ['smtp-sink', '-c', '127.0.0.10:%d' % PORT, '500'],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        with h.smtp('submission', user='alice') as s:
            for i in range(count):
                s.sendmail(ME, ['u%d@sink.test' % i], message('sink', n=i))
        ok(is_empty(h), 'a stream to smtp-sink')
        rows = [r for r in h.queue('--history', '--domain', 'sink.test')
                if r['state'] == 'relayed']
        same(len(rows), count, 'each is delivered')
    finally:
        p.terminate()
        p.wait()


def killed_agents(h, far, count=40):
    """An agent dies while it works: what it had is tried again."""
    before = len(far.mails('bob'))
    sent = {'kill %d' % i for i in range(count)}
    with h.smtp('submission', user='alice') as s:
        for i in range(count):
            s.sendmail(ME, ['bob@far.test'], message('kill %d' % i))
            # Two of them only: what ends three agents is held.
            if i in (10, 25):
                for pid in h.pids('deliver-remote')[:1]:
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except OSError:
                        pass
    ok(is_empty(h), 'agents killed: the queue runs empty', h.queue())
    until(lambda: len(far.mails('bob')) - before >= count, 30)
    got = set()
    for path in far.mails('bob'):
        m = re.search(rb'Subject: (kill \d+)', open(path, 'rb').read())
        if m:
            got.add(m[1].decode())
    same(sent - got, set(), 'nothing is lost')


def clean_stop(h, count=40):
    """The house ends while messages are on their way, and comes back: a server
    that took one is not sent it again."""
    def dot(s, line):
        time.sleep(0.2)
    s = mx.Server('127.0.0.2', PORT, dot=dot)
    with h.smtp('submission', user='alice') as c:
        for i in range(count):
            c.sendmail(ME, ['u%d@srv.test' % i], message('stop %d' % i))
    stops = 0
    while stops < 4 and len(s.messages) < count:
        before = len(s.messages)
        until(lambda: len(s.messages) >= before + 4, 20)
        same(h.stop(), 0, 'the house ends in the middle')
        stops += 1
        h.start()
    ok(is_empty(h), 'the queue runs empty', h.queue())
    got = [m.rcpts[0] for m in s.messages if m.data]
    same(sorted(got), sorted('RCPT TO:<u%d@srv.test>' % i
                             for i in range(count)), 'each came once')
    ok(not h.grep('agent-lost.*srv.test| held '), 'and nobody was blamed',
       h.grep('agent-lost| held '))
    s.stop()


def smarthost(zone, far):
    login = ('us', 'secret')
    s = mx.Server('127.0.0.2', PORT, login=login,
                  caps=('PIPELINING', '8BITMIME', 'AUTH SCRAM-SHA-256'))
    with House(without=WITHOUT, sets=settings(zone) + [
            'remote.smarthost_user=us', 'remote.smarthost_password=secret'],
            options=['--plaintext-auth', '--smarthost',
                     'mx.srv.test:%d' % PORT]) as h:
        send(h, ['x@far.test', 'y@absent.test'], message('all'))
        ok(until(lambda: sum(len(m.rcpts) for m in s.messages) == 2, 30),
           'a smarthost gets all mail', s.lines)
        send(h, 'bob@example.test', message('local'))
        ok(h.wait_mail('bob', 1), 'but local mail')
        conf = [open('/proc/%d/fd/%s' % (p, f), 'rb').read()
                for p in h.pids('smtpd') for f in os.listdir('/proc/%d/fd' % p)
                if 'config' in os.readlink('/proc/%d/fd/%s' % (p, f))]
        ok(not any(b'secret' in c for c in conf),
           'its password is not given to those who do not need it')
    s.stop()


def settings(zone):
    return ['resolve.forward=127.0.0.1@%d' % zone.port,
            'resolve.trust_anchor=', 'remote.port=%d' % PORT,
            'remote.allow_loopback=yes', 'queue.retry=1s, 1s, 2s',
            'queue.retry_max=2s', 'remote.idle=2s',
            'remote.connect_timeout=3s', 'smtp.relay_networks=127.0.0.0/8']


def main():
    global PORT
    need_programs([p for p in PROGRAMS if p not in WITHOUT])
    if not nsd.is_there():
        skip('mail to other servers', 'nsd is not installed')
        done()
    far = House(domains=['far.test'], without=WITHOUT).start()
    PORT = far.port('smtp')
    zone = nsd.Nsd({'test': ZONE})
    h = House(without=WITHOUT, sets=settings(zone)).start()
    try:
        second_house(h, far)
        real_mail(h, far)
        refusals(h)
        greylisting(h)
        next_server(h, far)
        sink(h)
        killed_agents(h, far)
        clean_stop(h)
        same(h.stop(), 0, 'the house ends')
        dead(zone)
        smarthost(zone, far)
        same(far.stop(), 0, 'the other one too')
    finally:
        for one in (h, far):
            one.__exit__()
        zone.stop()
    done()


main()
