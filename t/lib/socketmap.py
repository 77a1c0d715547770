# SPDX-License-Identifier: ISC
"""A server of tables in Postfix's socketmap form, on a Unix socket or a port of
loopback.  answers is a function of the key and returns b'OK value', b'NOTFOUND '
or the like."""
import os
import socket
import threading


class Socketmap(threading.Thread):
    def __init__(self, where, answers):
        super().__init__(daemon=True)
        if isinstance(where, int):
            self.s = socket.create_server(('127.0.0.1', where))
        else:
            self.s = socket.socket(socket.AF_UNIX)
            self.s.bind(where)
            os.chmod(where, 0o777)
        self.s.listen(5)
        self.answers = answers
        self.start()

    def run(self):
        while True:
            c = self.s.accept()[0]
            threading.Thread(target=self.serve, args=(c,),
                             daemon=True).start()

    def serve(self, c):
        data = b''
        while True:
            more = c.recv(4096)
            if not more:
                return
            data += more
            while b':' in data:
                size, rest = data.split(b':', 1)
                if len(rest) <= int(size):
                    break
                key = rest[:int(size)].decode().split(' ', 1)[1]
                data = rest[int(size) + 1:]
                value = self.answers(key)
                try:
                    c.sendall(b'%d:%s,' % (len(value), value))
                except OSError:  # waited for too long
                    return
