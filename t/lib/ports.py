# SPDX-License-Identifier: ISC
"""Ports for tests that run beside each other: one that was given out belongs
to its process until that ends (a locked file says so), and lies below those
the kernel gives to whoever connects.

    free_port()     nobody has it, for TCP and UDP, on any address
    free_offset()   nobody has any of SERVICES above it
"""
import fcntl
import os
import random
import socket

SERVICES = {'smtp': 25, 'lmtp': 24, 'submission': 587, 'submissions': 465,
            'imap': 143, 'imaps': 993, 'pop3': 110, 'pop3s': 995}
OFFSETS = range(10100, 20000, 100)
PORTS = range(21500, 32000)
_claims = []


def _claim(name):
    fd = os.open('/tmp/.surat-test-%s-%d' % (name, os.getuid()),
                 os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        return False
    _claims.append(fd)
    return True


def _is_free(port):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(('0.0.0.0', port))
            except OSError:
                return False
    return True


def free_port():
    for port in random.sample(PORTS, len(PORTS)):
        if _claim(port) and _is_free(port):
            return port
    raise SystemExit('no free ports')


def free_offset():
    """Services lie at different places within a hundred, so offsets that are
    hundreds apart never meet."""
    for offset in random.sample(OFFSETS, len(OFFSETS)):
        if _claim('offset-%d' % offset) and \
                all(_is_free(p + offset) for p in SERVICES.values()):
            return offset
    raise SystemExit('no free ports')
