#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""An account that is full: its mail goes back to the sender, what is in it can
be read and deleted, and then there is room again."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
from house import House, done, message, ok, same, until
from imap import Imap


def main():
    with House(sets=['general.quota_messages=2', 'general.quota=64k']) as h:
        for n in range(2):
            h.send('alice@example.test', message('fits %d' % n))
        h.wait_mail('alice', 2)
        h.send('alice@example.test', message('too many'),
               sender='bob@example.test')
        report = h.wait_mail('bob', 1)
        text = open(report[0], 'rb').read() if report else b''
        ok(b'5.2.2' in text and b'full' in text,
           'a report says that the mailbox is full', text[-1500:])
        same(len(h.mails('alice')), 2, 'nothing more came in')
        c = Imap(h.port('imap'))
        c.login('alice', 'secret')
        r = c.command('SELECT INBOX')
        ok(r.ok, 'it can be read')
        same(c.command('APPEND INBOX {3+}\r\na:b').code, 'OVERQUOTA',
             'APPEND is refused')
        c.command('STORE 1 +FLAGS.SILENT (\\Deleted)')
        ok(c.command('EXPUNGE').ok, 'and emptied')
        h.send('alice@example.test', message('fits again'))
        until(lambda: len(h.mails('alice')) == 2)
        same(len(h.mails('alice')), 2, 'then there is room')
        c.close()
    done()


main()
