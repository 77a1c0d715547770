# SPDX-License-Identifier: ISC
"""Clients of a whole house: sessions that stay, and others that come and go,
while something is done to it.

    load = Load(house)
    ... load.ask_all() ...
    load.end(); same(load.errors, [], 'nobody noticed')
"""
import imaplib
import smtplib
import ssl
import threading

from house import SLOW, message


def login(h, user, tls=True):
    any_name = ssl._create_unverified_context()
    if tls:
        c = imaplib.IMAP4_SSL('127.0.0.1', h.port('imaps'),
                              timeout=60 * SLOW, ssl_context=any_name)
    else:
        c = imaplib.IMAP4('127.0.0.1', h.port('imap'), timeout=60 * SLOW)
        c.starttls(any_name)
    c.login(user, h.users[user])
    return c


class Load:
    """Sessions that stay, and clients that come and go."""

    def __init__(self, h):
        self.h, self.over, self.errors, self.sent = h, False, [], 0
        self.imap = [login(h, 'bob', tls) for tls in (True, False) * 3]
        self.smtp = [h.smtp() for _ in range(4)]
        for c in self.imap:
            c.select()
        for s in self.smtp:
            s.ehlo('stays.test')
        self.threads = [threading.Thread(target=self.come_and_go,
                                         daemon=True) for _ in range(3)]
        for t in self.threads:
            t.start()

    def come_and_go(self):
        while not self.over:
            try:
                self.h.send(['dave@example.test'], message('load'))
                self.sent += 1
                c = login(self.h, 'alice', tls=self.sent % 4 == 0)
                c.select()
                c.logout()
            except Exception as e:
                self.errors.append(repr(e))

    def ask_all(self):
        for c in self.imap + self.smtp:
            try:
                if c.noop()[0] not in ('OK', 250):
                    self.errors.append('noop')
            except (OSError, smtplib.SMTPException,
                    imaplib.IMAP4.error) as e:
                self.errors.append(repr(e))

    def end(self):
        self.over = True
        for t in self.threads:
            t.join(120 * SLOW)
