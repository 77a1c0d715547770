# SPDX-License-Identifier: ISC
"""A program on a terminal of its own, played like a person would.

    t = Terminal(['mutt', ...], cwd, env)
    t.expect(rb'PASSWORD')      # True, or False after a while
    t.send('secret\\r')
    t.end()                     # how it ended; 'hung' when it had to be killed
"""
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
import time

from house import SLOW


def at_a_terminal():
    """Whoever started us in the background may have had this ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Terminal:
    def __init__(self, command, cwd, env, lines=40, columns=120):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ,
                    struct.pack('HHHH', lines, columns, 0, 0))
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, cwd=cwd,
            close_fds=True, start_new_session=True, preexec_fn=at_a_terminal,
            env=dict(os.environ, TERM='xterm', LINES=str(lines),
                     COLUMNS=str(columns), HOME=cwd, **env))
        os.close(slave)
        self.shown, self.at = b'', 0
        self.news = threading.Condition()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        try:
            while True:
                piece = os.read(self.master, 65536)
                with self.news:
                    self.shown += piece
                    self.news.notify()
        except OSError:
            pass

    def expect(self, pattern, seconds=20):
        """Waits for a pattern behind what was expected before."""
        end = time.monotonic() + seconds * SLOW
        with self.news:
            while True:
                m = re.compile(pattern, re.S).search(self.shown, self.at)
                if m:
                    self.at = m.end()
                    return True
                left = end - time.monotonic()
                if left <= 0 or self.process.poll() is not None:
                    return False
                self.news.wait(min(left, 0.2))

    def send(self, keys):
        os.write(self.master, keys.encode())

    def play(self, *steps):
        """(pattern, keys) one after the other; what did not come, or None."""
        for pattern, keys in steps:
            if not self.expect(pattern):
                return pattern
            self.send(keys)
        return None

    def end(self, seconds=60):
        try:
            code = self.process.wait(seconds * SLOW)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            code = 'hung'
        self.reader.join(5)
        os.close(self.master)
        return code
