#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Words of delivery reports: languages of one's own, files with mistakes."""
import email
import email.policy
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
from house import House, done, message, ok, same, until

SAMPLES = os.path.join(os.path.dirname(__file__), '..', '..', 'etc', 'reports')

FRENCH = '''# fran\u00e7ais
intro: Syst\u00e8me de messagerie de {host}.
recipient: <{recipient}> ({action}) :
failed: \u00e9chou\u00e9
failed-subject: Non remis : votre message ({id})
failed-text: Votre message n\u2019a pas pu \u00eatre remis.
 .
 Rien ne sera plus tent\u00e9 \u2014 {ce n'est pas un nom}.
'''

# What a report must not become: a file, and what is said of it.
HOSTILE = [
    ('failed-subject: x\n Bcc: victim@remote.test\n', ':2: is one line only'),
    ('failed-subject: x\rBcc: victim@remote.test\n', ':1: a control'),
    ('intro: ' + 'x' * 5000 + '\n', ':1: too long'),
    ('intro: ' + '{host}' * 60 + '\n', ':1: too long with'),
    ('intro: {sender}\n', ':1: no such name there: sender'),
    ('intro: caf\udce9\n', ':1: is not UTF-8'),
    ('intro: a\0b\n', ':1: a control'),
    ('x' * 70000, ': is too large'),
    ('Bonjour\n', ':1: no KEY: TEXT'),
]


class Reports(House):
    def words(self, tag, text):
        with open('%s/words/%s' % (self.dir, tag), 'w', newline='',
                  errors='surrogateescape') as f:
            f.write(text)

    def check(self, *more):
        """As who runs this house: root would miss the suite's users."""
        who = {'user': 'nobody'} if os.getuid() == 0 else {}
        return self.surat('check', *more, **who)

    def again(self):
        """A queue that knows nothing but what it reads."""
        old = self.pids('queue')
        for pid in old:
            os.kill(pid, 9)
        until(lambda: self.pids('queue') and self.pids('queue') != old and
              self.surat('queue', 'list').returncode == 0)

    def report(self):
        """A message is held, and expired by the operator."""
        before = set(self.mails('alice'))
        self.send(['bob@example.test'], message('lost'),
                  sender='alice@example.test')
        rows = until(lambda: [r for r in self.queue()
                              if r['state'] == 'held'])
        out = self.surat('queue', 'expire', rows[0]['id'])
        assert out.returncode == 0, out.stderr
        until(lambda: len(self.mails('alice')) > len(before))
        found = set(self.mails('alice')) - before
        if not ok(len(found) == 1, 'a report comes', found):
            raise SystemExit(1)
        octets = open(found.pop(), 'rb').read()
        return octets, email.message_from_bytes(
            octets, policy=email.policy.default)


def words(report):
    return [p for p in report.walk()
            if p.get_content_type() == 'text/plain'][0]


def good(h):
    octets, r = h.report()
    part = words(r)
    ok(r['Subject'].startswith('Non remis : votre message ('),
       'the subject is in the first language', r['Subject'])
    said = part.get_content()
    ok('Votre message n\u2019a pas pu \u00eatre remis.\n\nRien ne sera '
       'plus tent\u00e9 \u2014 {ce n\'est pas un nom}.\n' in said and
       '\n<bob@example.test> (\u00e9chou\u00e9) :\n' in said,
       'its words, as lines', said)
    ok('Pesan Anda tidak dapat dikirim' in said, 'the second language', said)
    same(part['Content-Language'], 'fr, id', 'both are named')
    same((r['Content-Transfer-Encoding'], part['Content-Transfer-Encoding'],
          part.get_content_charset()), ('8bit', '8bit', 'utf-8'),
         'and what octets they are')
    status = [p for p in r.walk()
              if p.get_content_type() == 'message/delivery-status'][0]
    same(status.get_payload()[1]['Action'], 'failed',
         'programs read what they always do')
    ok(octets.split(b'\n\n')[0].isascii(), 'the header is ASCII')


def broken(h):
    """Each mistake is said, with its line, by check and in the log; the report
    is in what is built in."""
    for tag, text, wrong in [('id', t, w) for t, w in HOSTILE]:
        h.words(tag, text)
        out = h.check()
        path = '%s/words/%s' % (h.dir, tag)
        ok(out.returncode == 78 and path + wrong in out.stderr,
           'check says: %s%s' % (tag, wrong), out.stderr[-300:])
    seen = len(h.log)
    h.words('id', ''.join(t for t, _ in HOSTILE[:6]))
    h.words('fr', FRENCH + 'failed-text: encore\n')
    time.sleep(1.1)
    octets, r = h.report()
    ok([l for l in h.log[seen:] if 'report-words' in l and
        'fr:9: stands here twice' in l], 'the log has a line', h.log[seen:])
    ok(r['Subject'].startswith('Non remis'), 'the last good words stay',
       r['Subject'])
    h.again()
    octets, r = h.report()
    said = words(r).get_content()
    ok(r['Subject'] == 'Undeliverable: your message was returned',
       'a language that is not built in: English instead', r['Subject'])
    ok('Pesan Anda tidak dapat dikirim kepada' in said and
       b'victim' not in octets, 'one that is: as built in', said)
    h.words('fr', FRENCH.replace('Non remis', 'Perdu'))
    time.sleep(1.1)
    same(h.report()[1]['Subject'][:5], 'Perdu',
         'a file that is mended is taken at once')


def strange(h):
    h.words('id', 'failed: hilang\n')
    os.remove(h.dir + '/words/fr')
    os.mkfifo(h.dir + '/words/fr')
    out = h.check()
    ok(out.returncode == 78 and 'words/fr: cannot be read' in out.stderr,
       'what is no file', out.stderr)
    os.remove(h.dir + '/words/fr')
    out = h.check()
    ok(out.returncode == 78 and 'fr is neither built in nor in' in out.stderr,
       'what is not there', out.stderr)


def main():
    h = Reports(without=('imapd', 'pop3d'), sets=[
        'queue.report_languages=fr, id',
        'policy.rules=hold if recipient is bob@*'])
    h.sets += ['queue.report_templates=%s/words' % h.dir]
    os.mkdir(h.dir + '/words')
    for tag in os.listdir(SAMPLES):
        h.words(tag, open(SAMPLES + '/' + tag).read())
    h.words('fr', FRENCH)
    os.chmod(h.dir + '/words', 0o755)
    with h:
        same(h.check().stderr, '', 'the samples have no mistake')
        good(h)
        broken(h)
        strange(h)
        for bad in ('../fr', 'fr/x', '-', 'x' * 36, ''):
            out = h.check('--set', 'queue.report_languages=en, ' +
                          (bad or '""'))
            ok(out.returncode == 78 and 'but must be a language' in
               out.stderr, 'no language: %.10s' % bad, out.stderr)
        same(h.stop(), 0, 'it ends cleanly')
    done()


main()
