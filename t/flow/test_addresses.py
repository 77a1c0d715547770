#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Domains, aliases, tables of every kind, rules: what a whole house does with
them, and what surat explain says of it beforehand."""
import json
import os
import sqlite3
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
from house import House, done, message, ok, same, until  # noqa: E402
from socketmap import Socketmap  # noqa: E402

MTA = ('imapd', 'pop3d')
RULES = [
    'accept if helo is friend.test',
    'reject if sender in text:DIR/blocked: You are blocked',
    'reject if client in cidr:DIR/nets: Your network is blocked',
    'defer if helo is *.slow.test: Later, please',
    'hold if sender is *@held.test: Look at it first',
    'redirect to quarantine@example.test if sender is spam@*',
    'reject if recipient in pcre:DIR/patterns: No list-requests',
]


def write(h, name, text):
    path = os.path.join(h.dir, name)
    with open(path + '.new', 'w') as f:
        f.write(text)
    os.chmod(path + '.new', 0o644)
    os.rename(path + '.new', path)
    return path


def database(h):
    path = os.path.join(h.dir, 'mail.db')
    db = sqlite3.connect(path)
    db.executescript(
        "CREATE TABLE alias (name TEXT PRIMARY KEY, target TEXT);"
        "CREATE TABLE user (name TEXT PRIMARY KEY, line TEXT);"
        "INSERT INTO alias VALUES ('sql@alias.test', 'alice');"
        "INSERT INTO user VALUES ('dora', '{PLAIN}dora:::::');")
    db.commit()
    db.close()
    os.chmod(path, 0o666)
    return path


def code(h, to, sender='a@remote.test', helo='x.test', service='smtp',
         user=None):
    with h.smtp(service, user=user) as s:
        s.ehlo(helo)
        s.mail(sender)
        c, text = s.rcpt(to)
    return c, text.decode()


def explain(h, *args):
    out = h.surat('explain', *args)
    return out.returncode, out.stdout + out.stderr


def arrives(h, to, user, what, **how):
    before = len(h.mails(user))
    h.send([to], message(what), **how)
    h.wait_mail(user, before + 1)
    same(len(h.mails(user)), before + 1, what)


def domains(h):
    same(code(h, 'alice@virtual.test')[0], 550,
         'row 36: a bare name is nobody in a virtual domain')
    arrives(h, 'vera@virtual.test', 'vera@virtual.test',
            'a virtual mailbox')
    arrives(h, 'shop@alias.test', 'alice', 'an alias domain')
    same(code(h, 'nobody@alias.test')[0], 550,
         'row 36: refused at RCPT, not returned later')
    arrives(h, 'postmaster@alias.test', 'alice',
            'row 37: postmaster of every domain')
    same(code(h, 'known@relay.test')[0], 250, 'a relayed domain: known')
    same(code(h, 'other@relay.test')[0], 550, 'a relayed domain: unknown')
    arrives(h, 'sql@alias.test', 'alice', 'an alias from SQLite')
    arrives(h, 'dora@example.test', 'dora', 'a user from SQLite')
    arrives(h, 'mapped@example.test', 'bob', 'an alias from a socketmap')
    arrives(h, 'list@example.test', 'bob', 'an included list')
    arrives(h, 'list-request@sub.example.test', 'alice',
            'a domain from a table, its alias by an expression')
    h.users['dora'] = 'dora'
    with h.smtp('submission', user='dora') as s:
        same(s.mail('dora@example.test')[0], 250,
             'who stands in SQLite may log in')


def rules(h):
    same(code(h, 'alice@example.test', 'x@blocked.test'),
         (550, '5.7.1 You are blocked'), 'a rule with a text table')
    same(code(h, 'alice@example.test', 'x@blocked.test',
              'friend.test')[0], 250, 'an earlier rule accepts')
    same(code(h, 'alice@example.test', helo='a.slow.test'),
         (451, '4.7.1 Later, please'), 'a rule that defers')
    same(code(h, 'noisy-request@example.test'),
         (550, '5.7.1 No list-requests'), 'a rule with an expression')
    same(code(h, 'x@elsewhere.test', helo='friend.test')[0], 550,
         'no rule opens the relay')
    arrives(h, 'bob@example.test', 'quarantine', 'a rule that redirects',
            sender='spam@anywhere.test')
    before = len(h.mails('alice'))
    h.send(['alice@example.test'], message('held'), sender='x@held.test')
    rows = until(lambda: [r for r in h.queue() if r['state'] == 'held'])
    ok(rows and rows[0]['reply'] == 'Look at it first' and
       len(h.mails('alice')) == before, 'a rule that holds', rows)
    h.surat('queue', 'release', rows[0]['id'] if rows else '-')
    h.wait_mail('alice', before + 1)
    same(len(h.mails('alice')), before + 1, 'and what is released arrives')


def changes(h):
    """Text tables are noticed; a broken one keeps the last good state."""
    write(h, 'blocked', '@blocked.test\nnew@blocked2.test\n')
    ok(until(lambda: code(h, 'alice@example.test',
                          'new@blocked2.test')[0] == 550),
       'a changed table is noticed')
    write(h, 'blocked', 'once\nonce\n')
    ok(until(lambda: code(h, 'alice@example.test') and
             h.grep('table-broken .*blocked:2: the key stands')),
       'a broken one is complained of')
    same(code(h, 'alice@example.test', 'new@blocked2.test')[0], 550,
         'and the last good state stays')
    write(h, 'aliases', open(h.dir + '/aliases').read() + 'broken line\n')
    ok(until(lambda: code(h, 'alice@example.test') and
             h.grep('table-broken .*aliases:.*a line is name')),
       'aliases too')
    arrives(h, 'list@example.test', 'bob', 'the last good aliases stay')
    for n in range(20):
        write(h, 'aliases', 'quick%d: bob\n' % n +
              open(h.dir + '/aliases').read().replace('broken line\n', ''))
        if code(h, 'quick%d@example.test' % n)[0] != 250:
            break
    same(n, 19, 'who was named just now is known')
    write(h, 'members', 'carol@nowhere.example.test, alice\n')
    write(h, 'aliases', open(h.dir + '/aliases').read().replace(
        'broken line\n', ''))
    ok(until(lambda: 'alice' in explain(h, 'list@example.test')[1]),
       'an included file is noticed')


def explanations(h):
    status, text = explain(h, 'shop@alias.test')
    ok(status == 0 and 'aliases:1: shop@alias.test -> alice' in text and
       '=> local: alice, user alice' in text, 'explain: an alias', text)
    status, text = explain(h, 'nobody@example.test')
    ok(status == 1 and '=> 550 5.1.1' in text, 'explain: nobody', text)
    status, text = explain(h, 'x@elsewhere.test')
    ok(status == 0 and '=> remote: x@elsewhere.test' in text,
       'explain: elsewhere', text)
    status, text = explain(h, '--client', '192.0.2.1', '--from',
                           'x@blocked.test', '--to', 'alice@example.test')
    ok(status == 1 and 'rule 2: reject if sender' in text and
       h.dir + '/blocked:1: has @blocked.test' in text and
       '=> 550 5.7.1 You are blocked' in text,
       'explain: a rule, and the line of its table', text)
    status, text = explain(h, '--client', '203.0.113.7', '--to',
                           'alice@example.test')
    ok(status == 1 and 'rule 3' in text and
       h.dir + '/nets:1: has 203.0.113.7' in text,
       'explain: a client, and the line of its network', text)
    status, text = explain(h, '--client', '192.0.2.1', '--to',
                           'x-request@example.test')
    ok(status == 1 and 'rule 7' in text and
       h.dir + '/patterns:1: has x-request@example.test' in text,
       'explain: the line of an expression', text)
    status, text = explain(h, '--client', '192.0.2.1', '--to',
                           'list-request@sub.example.test')
    ok(status == 0 and h.dir + '/domains:1: sub.example.test is virtual' in
       text and h.dir + '/rewrite:1: ' in text,
       'explain: the lines of a domain and its alias', text)
    status, text = explain(h, '--client', '192.0.2.1', '--to',
                           'x@elsewhere.test')
    ok(status == 1 and 'the relay is closed' in text, 'explain: relaying',
       text)
    status, text = explain(h, '--client', '192.0.2.1', '--login', 'alice',
                           '--to', 'x@elsewhere.test')
    ok(status == 0 and 'who logged in may relay' in text,
       'explain: with a login', text)
    status, text = explain(h, '--json', '--client', '192.0.2.1', '--to',
                           'sql@alias.test')
    rows = [json.loads(line) for line in text.splitlines()]
    ok(status == 0 and rows[-1]['reply'] == 250 and
       any('sqlite:' in r.get('why', '') for r in rows), 'explain --json',
       text)


def away(h, maps):
    """A socketmap that fails makes mail wait, and nobody else."""
    answers = maps.answers
    maps.answers = lambda key: b'TEMP not now'
    ok(until(lambda: code(h, 'mapped@example.test')[0] == 451),
       'a table that cannot be asked: later')
    # it might have an alias for alice, too
    before = len(h.mails('alice'))
    h.send(['alice@example.test'], message('waits'))
    ok(until(lambda: [r for r in h.queue() if r['state'] != 'active' and
                      'table' in r['reply']]), 'mail for others waits')
    maps.answers = answers
    h.surat('queue', 'retry', 'all')
    h.wait_mail('alice', before + 1)
    same(len(h.mails('alice')), before + 1, 'until it can')


def forward(h, user, text, name='.forward'):
    path = write(h, 'mail/%s/%s' % (user, name), text)
    st = os.stat(h.dir)
    os.chown(path, st.st_uid, st.st_gid)


def counts(h):
    return [len(h.mails(u)) for u in ('alice', 'bob', 'quarantine')]


def grows(h, before, by, what, **how):
    want = [a + b for a, b in zip(before, by)]
    until(lambda: counts(h) == want and not h.queue(), 20)
    same(counts(h), want, what)


def forwards(h):
    """.forward files: read as the user, by the local agent."""
    forward(h, 'alice', '# away\nbob\n')
    before = counts(h)
    h.send(['alice@example.test'], message('forwarded'))
    grows(h, before, [0, 1, 0], '.forward: to somebody else')
    forward(h, 'alice', '\\alice, quarantine\n')
    before = counts(h)
    h.send(['alice@example.test'], message('copy'))
    grows(h, before, [1, 0, 1], '.forward: a copy stays')
    forward(h, 'alice', 'quarantine\n', '.forward+list')
    before = counts(h)
    h.send(['alice+list@example.test'], message('extension'))
    grows(h, before, [0, 0, 1], '.forward with an extension')
    # in a circle: once to each, then it ends
    forward(h, 'alice', '\\alice, bob\n')
    forward(h, 'bob', '\\bob, alice\n')
    before = counts(h)
    h.send(['alice@example.test'], message('circle'))
    grows(h, before, [1, 1, 0], 'row 16: two that forward to each other')
    forward(h, 'bob', 'alice\n')
    forward(h, 'alice', 'bob\n')
    h.send(['alice@example.test'], message('nowhere'))
    ok(until(lambda: not h.queue(), 20), 'row 16: and neither keeps it')
    # what asks for a program is not believed
    forward(h, 'bob', '|cat\n')
    before = counts(h)
    h.send(['bob@example.test'], message('program'))
    grows(h, before, [0, 1, 0], '.forward: no programs')
    ok(h.grep('forward-ignored .*user=bob'), 'and the log says so')
    os.unlink(h.dir + '/mail/bob/.forward')
    os.unlink(h.dir + '/mail/alice/.forward')
    # an address elsewhere goes to its server: here nowhere
    forward(h, 'alice', 'x@elsewhere.invalid\n')
    h.send(['alice@example.test'], message('far'))
    rows = until(lambda: [r for r in h.queue() + h.queue('--history')
                          if r['rcpt'] == 'x@elsewhere.invalid'], 30)
    ok(rows and rows[0]['orcpt'] == 'rfc822;alice@example.test',
       'row 78: whom it was for is remembered', rows)
    os.unlink(h.dir + '/mail/alice/.forward')
    h.surat('queue', 'delete', rows[0]['id'] if rows else '-')


def kills(h):
    """The queue is killed at any moment of a forwarding: never lost, never
    twice."""
    forward(h, 'alice', '\\alice, bob\n')
    before = counts(h)
    for i in range(12):
        h.send(['alice@example.test'], message('kill', n=i))
        if i % 3 == 2:
            for pid in h.pids('queue'):
                os.kill(pid, 9)
            time.sleep(2.5)  # or its next start would be put off
    grows(h, before, [12, 12, 0], '.forward: neither lost nor doubled')
    os.unlink(h.dir + '/mail/alice/.forward')


def row16_loops(h):
    """Edge case 16: aliases in a circle, and one that names itself."""
    same(code(h, 'round@example.test')[0], 250,
         'row 16: a circle is an alias')
    before = len(h.mails('alice'))
    h.send(['self@example.test'], message('self'))
    h.wait_mail('alice', before + 1)
    same(len(h.mails('alice')), before + 1, 'row 16: once, not for ever')
    ok(explain(h, 'round@example.test')[0] == 1, 'row 16: the circle ends')


def row72_73(h):
    before = len(h.mails('bob'))
    with h.smtp() as s:
        s.sendmail('a@remote.test', ['bob@example.test', 'BOB@example.test',
                                     'bob+x@example.test',
                                     'twice@example.test'], message('twice'))
    h.wait_mail('bob', before + 1)
    until(lambda: not h.queue())
    same(len(h.mails('bob')), before + 1,
         'rows 72, 73: once to each user, whatever the case and the way')


def row78(h):
    """Edge case 78: the address that was written is not forgotten."""
    before = len(h.mails('alice'))
    h.send(['shop@alias.test'], message('original'))
    h.wait_mail('alice', before + 1)
    text = open(max(h.mails('alice'), key=os.path.getmtime)).read()
    ok('for <shop@alias.test>' in text, 'row 78: the trace line has it')
    rows = h.queue('--history', '--rcpt', '*alice*')
    ok([r for r in rows if r['orcpt'] == 'rfc822;shop@alias.test'],
       'row 78: and so has the history', rows[-3:])
    h.send(['gone@alias.test'], message('refused'),
           sender='alice@example.test')
    files = h.wait_mail('alice', before + 2, 30)
    text = open(max(files, key=os.path.getmtime)).read()
    ok('Original-Recipient: rfc822;gone@alias.test\n'
       'Final-Recipient: rfc822;x@nowhere.invalid\n' in text,
       'row 78: and a report, beside the one that was tried', text[-2000:])
    ok(h.grep('failed rcpt=x@nowhere.invalid .* orig=gone@alias.test$') and
       h.grep('delivered rcpt=alice.* orig=shop@alias.test$'),
       'row 78: and the log', h.grep('nowhere|shop'))


def main():
    h = House(without=MTA, users={'alice': 'secret', 'bob': 'hunter2',
                                  'quarantine': 'q', 'vera@virtual.test': 'v'})
    maps = Socketmap(h.dir + '/maps', lambda key: {
        'mapped@example.test': b'OK bob'}.get(key, b'NOTFOUND '))
    db = database(h)
    write(h, 'blocked', '@blocked.test\n')
    write(h, 'nets', '203.0.113.0/24\n')
    write(h, 'patterns', '/-request@example\\.test$/\n')
    write(h, 'relayed', 'known@relay.test\n')
    write(h, 'domains', 'sub.example.test\n')
    write(h, 'rewrite', '/^(.*)-request@sub\\.(.*)$/ alice@$2\n')
    write(h, 'members', '# members\nbob\n')
    write(h, 'aliases', 'shop@alias.test: alice\n'
          'list: :include:%s/members\nround: about\nabout: round\n'
          'self: self, alice\ngone@alias.test: x@nowhere.invalid\ntwice: bob, bob\npostmaster: alice\n' % h.dir)
    h.sets += [
        'address.virtual_domains=virtual.test\ntext:%s/domains' % h.dir,
        'address.alias_domains=alias.test',
        'address.relay_domains=relay.test',
        'address.relay_recipients=text:%s/relayed' % h.dir,
        'address.aliases=pcre:%s/rewrite\n'
        'sqlite:%s SELECT target FROM alias WHERE name = ?1\n'
        'socketmap:unix:%s/maps:aliases' % (h.dir, db, h.dir),
        'address.users=sqlite:%s SELECT line FROM user WHERE name = ?1' % db,
        'policy.rules=' + '\n'.join(RULES).replace('DIR', h.dir),
    ]
    for name in os.listdir(h.dir):
        os.chown(os.path.join(h.dir, name), os.stat(h.dir).st_uid,
                 os.stat(h.dir).st_gid)
    with h:
        domains(h)
        rules(h)
        explanations(h)
        row16_loops(h)
        row72_73(h)
        row78(h)
        forwards(h)
        kills(h)
        changes(h)
        away(h, maps)
        same(h.stop(), 0, 'it ends cleanly')
    done()


main()
