# SPDX-License-Identifier: ISC
"""The house of the power cuts: where it lies, who lives there, what their
messages say.  The same for the recording and for every image, for the rows of
the queue name homes."""
import hashlib
import os
import subprocess

from house import House

USERS = {'alice': 'a', 'bob': 'b', 'carol': 'c'}
SIZES = [200, 3000, 3000, 60000, 120000]


def mount(source, target):
    """By a loop device that goes with it.  Images of one recording all have
    the UUID of one file system, which XFS minds."""
    os.makedirs(target, exist_ok=True)
    fs = subprocess.run(['blkid', '-p', '-o', 'value', '-s', 'TYPE', source],
                        capture_output=True, text=True).stdout.strip()
    options = 'loop,nouuid' if fs == 'xfs' else 'loop'
    command = ['mount', '-t', fs, '-o', options, source, target]
    if fs == 'ext4' and subprocess.run(
            command, capture_output=True).returncode == 0:
        return
    if fs == 'ext4':  # a torn superblock, of which there are copies
        subprocess.run(['e2fsck', '-y', source], capture_output=True)
    subprocess.run(command, check=True)


def mount_all(top, disks):
    """disks: their paths; the second, if any, is for the mail."""
    mount(disks[0], top + '/disk')
    if len(disks) > 1:
        mount(disks[1], top + '/disk/house/mail')


def umount_all(top, disks):
    if len(disks) > 1:
        subprocess.run(['umount', top + '/disk/house/mail'], check=True)
    subprocess.run(['umount', top + '/disk'], check=True)


class PowerHouse(House):
    def __init__(self, top, boots=0):
        """On what mount_all has mounted.  boots: how often the machine was
        started since."""
        directory = top + '/disk/house'
        os.makedirs(directory + '/mail', exist_ok=True)
        super().__init__(users=USERS, directory=directory,
                         without=('pop3d',), sets=['smtp.min_free=16m'])
        self.boots = boots
        st = os.stat(directory)
        os.chown(directory + '/mail', st.st_uid, st.st_gid)

    def left(self):
        return ['%s %s %s' % (row['id'], row['state'], row['reply'])
                for row in self.queue()]

    def retry(self):
        self.surat('queue', 'retry', 'all')

    def complaints(self):
        return [('log', line.strip()) for line in self.grep(
            'damaged|row-set-aside|-lost|AddressSanitizer|runtime error')]

    def command(self):
        later = ['unshare', '-T', '--boottime', str(100000 * self.boots)]
        return (later if self.boots else []) + super().command()


def body_of(ident):
    """What the message of this name says: lines of CRLF."""
    key = hashlib.sha256(ident.encode()).hexdigest()
    size = SIZES[int(key[:4], 16) % len(SIZES)]
    lines = [hashlib.sha256((ident + str(n)).encode()).hexdigest()
             for n in range(size // 66 + 1)]
    return ('\r\n'.join(lines) + '\r\n').encode()


def message_of(ident):
    return (b'From: power@remote.test\r\nSubject: power\r\nMessage-ID: <' +
            ident.encode() + b'@remote.test>\r\n\r\n' + body_of(ident))
