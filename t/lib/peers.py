# SPDX-License-Identifier: ISC
"""The programs smtpd asks, small and predictable: for dialogues,
where a whole house would be slow or could not be made to fail.

auth: the domain example.test with alice, bob, carol and postmaster, relay.test
is relayed for; the password of each is "secret".  queue: keeps each message in
DIR/queue as N.env (name=value lines) and N.msg.  tls: hands the stream back as
it is.  Addresses that make trouble:

    later@example.test      auth says later
    full@...  (sender)      the queue has no space
    refused@...  (sender)   the queue says never
    silent@...  (sender)    the queue goes away once without an answer
"""
import os
import socket
import threading

import wire

USERS = ('alice', 'bob', 'carol', 'postmaster')


class Peers:
    asked_for = ('auth', 'queue', 'tls', 'resolve')

    def __init__(self, top, asker='smtpd'):
        self.top = top
        self.count, self.silent = 0, True
        self.asked = []
        self.busy, self.known = 1, 1
        os.makedirs(top + '/run/' + asker)
        os.makedirs(top + '/queue')
        self.sockets = []
        for name in self.asked_for:
            s = wire.listen('%s/run/%s/%s' % (top, asker, name))
            self.sockets.append(s)
            threading.Thread(target=self.accept, args=(s, name),
                             daemon=True).start()

    def close(self):
        for s in self.sockets:
            s.close()

    def accept(self, listener, name):
        while True:
            try:
                s, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(s, name),
                             daemon=True).start()

    def serve(self, s, name):
        state = {}
        with s:
            while True:
                try:
                    got = wire.receive(s)
                except OSError:
                    return
                if got is None:
                    return
                kind, fields, fd = got
                self.asked.append((kind, fields))
                answer = getattr(self, 'on_' + kind)(state, fields, fd)
                if fd is not None:
                    os.close(fd)
                if answer is None:
                    continue
                if answer == 'close':
                    return
                kind, fields = answer
                fd = fields.pop('fd', None)
                try:
                    wire.send(s, kind, fd, **fields)
                except OSError:
                    pass  # who asked is gone
                if fd is not None:
                    os.close(fd)

    # ---------------------------------------------------------------- auth
    def on_client(self, state, m, fd):
        if m['verb'] in ('leave', 'slow'):
            return None
        return 'client_result', {
            'status': '2.0.0 - OK', 'busy': self.busy, 'known': self.known,
            'mechanisms': ['SCRAM-SHA-256', 'PLAIN', 'LOGIN']}

    def on_rcpt_lookup(self, state, m, fd):
        local, _, domain = m['address'].rpartition('@')
        if not local:
            local, domain = domain, ''
        local = local.lower().split('+')[0]
        if local == 'hold':
            return 'rcpt_result', {'status': '2.0.0 - OK', 'ours': 1,
                                   'hold': 'because'}
        if local == 'elsewhere':
            return 'rcpt_result', {'status': '2.0.0 - OK', 'ours': 1,
                                   'address': 'bob@example.test'}
        if domain not in ('', 'example.test', 'relay.test'):
            return 'rcpt_result', {
                'status': '2.0.0 - OK' if m['user'] else
                '5.7.1 - Relaying is not allowed', 'ours': 0}
        if local == 'later':
            status = '4.3.0 - Not now'
        elif local in USERS or domain == 'relay.test':
            status = '2.0.0 - OK'
        else:
            status = '5.1.1 - There is no such user here'
        return 'rcpt_result', {'status': status, 'ours': 1}

    def on_sender(self, state, m, fd):
        own = m['addresses'][0].split('@')[0].split('+')[0] == m['user']
        return 'sender_result', {
            'status': '2.0.0 - OK' if own or not m['user'] else
            '5.7.1 - That is not an address of yours',
            'addresses': [a.replace('host.example', 'example')
                          for a in m['addresses']]}

    def on_auth_step(self, state, m, fd):
        if m['mechanism']:
            state['mechanism'], state['user'] = m['mechanism'].upper(), None
        data = m['response']
        if state['mechanism'] == 'PLAIN':
            if not data:
                return 'auth_result', {'status': '2.0.0 - OK', 'more': 1}
            parts = data.split(b'\0')
            if len(parts) != 3:
                return self.refused('5.5.2 501 Malformed')
            return self.check(*parts[1:])
        if state['mechanism'] == 'LOGIN':
            if m['mechanism'] and not data:
                return self.more(b'Username:')
            if state['user'] is None:
                state['user'] = data
                return self.more(b'Password:')
            return self.check(state['user'], data)
        return self.refused('5.5.4 504 That mechanism is not offered')

    @staticmethod
    def refused(status):
        return 'auth_result', {'status': status}

    @staticmethod
    def more(challenge):
        return 'auth_result', {'status': '2.0.0 - OK', 'more': 1,
                               'challenge': challenge}

    def check(self, user, password):
        user = user.decode()
        if user not in USERS or password != b'secret':
            return self.refused('5.7.8 - Wrong user name or password')
        return 'auth_result', {'status': '2.7.0 235 Welcome', 'user': user,
                               'senders': [user + '@example.test']}

    # --------------------------------------------------------------- queue
    def on_body_open(self, state, m, fd):
        if m['size'] == 7777777:
            return 'opened', {'status': '4.3.1 - Not enough space'}
        if m['probe']:
            return 'opened', {'status': '2.0.0 - OK'}
        self.count += 1
        name = 'body%d' % self.count
        return 'opened', {
            'status': '2.0.0 - OK', 'name': name,
            'fd': os.open(self.top + '/queue/' + name,
                          os.O_CREAT | os.O_RDWR, 0o600)}

    def on_submit(self, state, m, fd):
        who = m['sender'].split('@')[0]
        if who == 'full':
            return self.submitted('4.3.1 - Not enough space; try again later')
        if who == 'refused':
            return self.submitted('5.3.4 - Not that one')
        if who == 'silent' and self.silent:
            self.silent = False
            return 'close'
        self.count += 1
        self.write(m)
        return 'submitted', {'status': '2.0.0 - OK', 'id': 'Q%d' % self.count}

    def on_queue_change(self, state, m, fd):
        if m['verb'] != 'retry':
            return 'close'
        return 'done', {'status': '2.0.0 - OK',
                        'count': 3 if m['domain'] == 'relay.test' else 0}

    @staticmethod
    def submitted(status):
        return 'submitted', {'status': status}

    def write(self, m):
        content = m.pop('content')
        if m['body']:
            content = open(self.top + '/queue/' + m['body'], 'rb').read()
        path = '%s/queue/%d' % (self.top, self.count)
        with open(path + '.msg', 'wb') as f:
            f.write(content)
        with open(path + '.env', 'w', errors='surrogateescape') as f:
            for name, value in m.items():
                for v in value if isinstance(value, list) else [value]:
                    f.write('%s=%s\n' % (name, v))

    # ----------------------------------------------------------------- tls
    def on_tls_start(self, state, m, fd):
        return 'tls_ready', {'status': '2.0.0 - OK', 'version': 'TLSv1.3',
                             'cipher': 'NONE', 'binding': b'b' * 32,
                             'fd': os.dup(fd)}

    # ------------------------------------------------------------- resolve
    def on_dns_ask(self, state, m, fd):
        return 'dns_answer', {'rcode': 'nxdomain'}
