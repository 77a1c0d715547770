#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Roundcube, Debian's, in a Chromium without a window: log in, read, reply,
search, flag, move, delete, log out.

Not among t/deps, since it is half a gigabyte:
    apt-get install --no-install-recommends roundcube-core \\
        roundcube-sqlite3 php-cli php-sqlite3 chromium chromium-driver
"""
import os
import shutil
import socket
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
from browser import Browser
from house import House, done, message, ok, same, skip, until
from imap import Imap
from ports import free_port

ROUNDCUBE = '/var/lib/roundcube'
ENTER = '\ue007'

CONFIG = '''<?php
$config['db_dsnw'] = 'sqlite:///%(dir)s/roundcube.db?mode=0600';
$config['imap_host'] = '127.0.0.1:%(imap)d';
$config['smtp_host'] = '127.0.0.1:%(submission)d';
$config['smtp_user'] = '%%u';
$config['smtp_pass'] = '%%p';
$config['mail_domain'] = 'example.test';
$config['des_key'] = 'rcmail-!24ByteDESkey*Str';
$config['temp_dir'] = '%(dir)s/temp';
$config['log_dir'] = '%(dir)s/logs';
$config['log_driver'] = 'file';
$config['plugins'] = [];
$config['skin'] = 'elastic';
$config['language'] = 'en_US';
$config['layout'] = 'list';
'''


def missing():
    if not os.path.exists(ROUNDCUBE + '/public_html/index.php'):
        return 'roundcube-core'
    if not shutil.which('php'):
        return 'php-cli'
    return Browser.missing()


class Web:
    """Roundcube under PHP's own server."""

    def __init__(self, h, directory):
        for d in ('config', 'temp', 'logs'):
            os.mkdir(directory + '/' + d)
        os.symlink('/etc/roundcube/defaults.inc.php',
                   directory + '/config/defaults.inc.php')
        os.symlink('/etc/roundcube/mimetypes.php',
                   directory + '/config/mimetypes.php')
        with open(directory + '/config/config.inc.php', 'w') as f:
            f.write(CONFIG % {'dir': directory, 'imap': h.port('imap'),
                              'submission': h.port('submission')})
        port = free_port()
        self.url, self.dir = 'http://127.0.0.1:%d/' % port, directory
        self.log = open(directory + '/php.log', 'wb')
        self.process = subprocess.Popen(
            ['php', '-S', '127.0.0.1:%d' % port, '-t',
             ROUNDCUBE + '/public_html'], stdin=subprocess.DEVNULL,
            stdout=self.log, stderr=self.log, env=dict(
                os.environ, ROUNDCUBE_CONFIG_DIR=directory + '/config',
                PHP_CLI_SERVER_WORKERS='4'), start_new_session=True)
        until(lambda: not socket.socket().connect_ex(('127.0.0.1', port)), 20)

    def errors(self):
        path = self.dir + '/logs/errors.log'
        return open(path).read() if os.path.exists(path) else ''

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        # its workers are a process group of their own
        os.killpg(self.process.pid, 15)
        self.process.wait(20)
        self.log.close()


SHOWN = '''return [...document.querySelectorAll(
    '#messagelist tbody tr.message .subject a')].filter(
    e => e.offsetParent).map(e => e.textContent.trim())'''


def shows(b, subjects):
    """Waits for exactly these rows, in any order."""
    def found():
        return sorted(b.wait(SHOWN + '.filter(t => t)', 1) or []) == \
            sorted(subjects)
    return ok(until(found, 20), 'the list shows %d' % len(subjects),
              b.run(SHOWN))


def row(subject):
    """Marks the row of a message, for CSS to find it."""
    return '''for (const a of document.querySelectorAll(
        '#messagelist tbody tr.message .subject a'))
        if (a.textContent.trim() == '%s') {
            const row = a.closest('tr'); row.classList.add('wanted');
            return true; }''' % subject


def command(b, words):
    """What a click on that command runs."""
    return b.run('return rcmail.command(%s)' % words) is not None


def choose(b, subject):
    b.run("document.querySelectorAll('.wanted').forEach("
          "e => e.classList.remove('wanted'))")
    ok(b.wait(row(subject)), 'there is ' + subject)
    b.click('tr.wanted .date')
    ok(b.wait("return !rcmail.busy && document.querySelector("
              "'tr.wanted.selected')"), 'which is selected')


def log_in(b, web):
    b.go(web.url)
    b.type('#rcmloginuser', 'alice')
    b.type('#rcmloginpwd', 'secret')
    b.click('#rcmloginsubmit')
    ok(b.wait("return window.rcmail && rcmail.env.task == 'mail'"),
       'Roundcube logs in', b.run('return document.body.innerText'))
    folders = b.wait("return [...document.querySelectorAll('#mailboxlist li')]"
                     ".map(e => e.querySelector('a').rel)")
    same(sorted(folders or []), ['Archive', 'Drafts', 'INBOX', 'Junk', 'Sent',
                                 'Trash'], 'and shows all folders')


def read(b, web, c):
    b.go(web.url + '?_task=mail&_mbox=INBOX&_uid=2&_action=show')
    ok(b.wait("return document.querySelector('#messagebody') && document"
              ".querySelector('#messagebody').innerText.includes("
              "'body of two')"), 'it shows a message')
    ok(until(lambda: '\\Seen' in flags(c, 2)), 'which is marked as read',
       flags(c, 2))


def reply(b, h, c):
    b.click('a.reply')
    ok(b.wait("return rcmail.env.action == 'compose' && "
              "document.querySelector('#composebody')"), 'it opens a reply')
    b.type('#composebody', 'Thank you.')
    b.click('a.send, button.send')
    ok(until(lambda: h.mails('bob'), 20), 'the reply arrives',
       b.run('return document.body.innerText')[-600:])
    text = open(h.mails('bob')[0], 'rb').read() if h.mails('bob') else b''
    ok(b'Thank you.' in text and b'In-Reply-To: <two@remote.test>' in text,
       'as a reply', text)
    ok(until(lambda: '\\Answered' in flags(c, 2)),
       'the first is marked as answered', flags(c, 2))
    ok(until(lambda: count(c, 'Sent') == 1), 'a copy lies in Sent')


def search(b, web):
    b.go(web.url + '?_task=mail&_mbox=INBOX')
    shows(b, ['one', 'two', 'three', 'four'])
    b.type('#mailsearchform', 'thr' + ENTER)
    shows(b, ['three'])
    command(b, "'reset-search'")
    shows(b, ['one', 'two', 'three', 'four'])


def change(b, c):
    choose(b, 'four')
    command(b, "'mark', 'flagged'")
    ok(until(lambda: '\\Flagged' in flags(c, 4)), 'it flags', flags(c, 4))
    choose(b, 'three')
    command(b, "'move', 'Archive'")
    shows(b, ['one', 'two', 'four'])
    ok(until(lambda: count(c, 'Archive') == 1), 'it moves')
    choose(b, 'one')
    command(b, "'delete'")
    shows(b, ['two', 'four'])
    ok(until(lambda: count(c, 'Trash') == 1), 'it deletes, into Trash')


def news(b, h):
    """What arrives is in the list when it looks again."""
    h.send(['alice@example.test'], message('five'))
    h.wait_mail('alice', 3)
    command(b, "'checkmail'")
    shows(b, ['two', 'four', 'five'])


def flags(c, uid):
    c.command('NOOP')
    found = c.fetch(str(uid), 'FLAGS', uid=True)
    return found[0]['FLAGS'] if found else []


def count(c, folder):
    return c.command('STATUS %s (MESSAGES)' % folder).named(
        'STATUS')[0][2]['MESSAGES']


def main():
    why = missing()
    if why:
        skip('Roundcube in Chromium', 'no ' + why)
        done()
    directory = tempfile.mkdtemp(prefix='roundcube.')
    with House() as h, Web(h, directory) as web:
        for n, subject in enumerate(('one', 'two', 'three', 'four'), 1):
            h.send(['alice@example.test'], message(
                subject, b'body of %s\r\n' % subject.encode()).replace(
                    b'sender@remote.test', b'bob@example.test'))
            h.wait_mail('alice', n)
        c = Imap(h.port('imap'))
        c.login('alice', 'secret')
        c.command('SELECT INBOX')
        with Browser(directory) as b:
            log_in(b, web)
            read(b, web, c)
            reply(b, h, c)
            search(b, web)
            change(b, c)
            news(b, h)
            command(b, "'switch-task', 'logout'")
            ok(b.wait("return document.querySelector('#rcmloginuser')"),
               'it logs out')
        same(web.errors(), '', 'Roundcube has no complaints')
        same(h.grep('ERROR'), [], 'nor has the house')
    shutil.rmtree(directory, ignore_errors=True)
    done()


main()
