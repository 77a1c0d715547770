# SPDX-License-Identifier: ISC
"""System calls made by another process, with everything that process is: its
ids, capabilities, root directory, Landlock rules and list of calls.  Root
stops it as a debugger does, lets it execute `syscall` with registers of ours,
and puts everything back.  x86-64 Linux.

    with Inside(pid) as p:
        fd = p.call('openat', AT_FDCWD, b'/etc/passwd', os.O_RDONLY)
        p.call('close', fd)              below 0: an error, as -errno

Octets are put on its stack, and a pointer to them is what the call gets.
"""
import ctypes
import os
import platform
import struct

SEIZE, INTERRUPT, DETACH = 0x4206, 0x4207, 17
GETREGS, SETREGS, STEP, CONT = 12, 13, 9, 7
NAMES = ('r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax '
         'rip cs eflags rsp ss fs_base gs_base ds es fs gs').split()
ARGUMENTS = ('rdi', 'rsi', 'rdx', 'r10', 'r8', 'r9')
AT_FDCWD = -100

CALLS = dict(
    read=0, write=1, close=3, mmap=9, mprotect=10, socket=41, connect=42,
    sendto=44, bind=49, listen=50, clone=56, fork=57, vfork=58, execve=59,
    kill=62, chdir=80, rename=82, mkdir=83, unlink=87, symlink=88, chmod=90,
    fchmod=91, ptrace=101, setuid=105, setgid=106, setgroups=116,
    setresuid=117, capset=126, mknod=133, mknodat=259, personality=135,
    pivot_root=155,
    prctl=157, adjtimex=159, chroot=161, mount=165, swapon=167, reboot=169,
    init_module=175, setxattr=188, settimeofday=164, add_key=248, keyctl=250,
    inotify_init1=294, inotify_add_watch=254, openat=257, mkdirat=258,
    unlinkat=263, renameat=264, linkat=265, symlinkat=266, fchmodat=268,
    unshare=272, perf_event_open=298, open_by_handle_at=304, setns=308,
    process_vm_readv=310, process_vm_writev=311, kcmp=312, finit_module=313,
    memfd_create=319, bpf=321, execveat=322, userfaultfd=323, prlimit64=302,
    io_uring_setup=425, pidfd_open=434, clone3=435, openat2=437,
    pidfd_getfd=438, landlock_create_ruleset=444, memfd_secret=447,
    open_tree=428, fsopen=430, tgkill=234, syslog=103, iopl=172,
    ioperm=173, modify_ldt=154, kexec_load=246, quotactl=179, acct=163)

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p,
                        ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long


class Registers(ctypes.Structure):
    _fields_ = [(n, ctypes.c_ulonglong) for n in NAMES]


def works():
    return platform.machine() == 'x86_64' and os.getuid() == 0


def ptrace(request, pid, address=0, data=0):
    if libc.ptrace(request, pid, address, data) < 0:
        e = ctypes.get_errno()
        raise OSError(e, os.strerror(e), 'ptrace %x' % request)


class Inside:
    def __init__(self, pid):
        self.pid = pid

    def __enter__(self):
        ptrace(SEIZE, self.pid)
        ptrace(INTERRUPT, self.pid)
        os.waitpid(self.pid, 0x40000000)  # __WALL
        self.saved = self.get()
        self.memory = os.open('/proc/%d/mem' % self.pid, os.O_RDWR)
        self.at = self.find()
        return self

    def __exit__(self, *exc):
        try:
            self.set(self.saved)
            ptrace(DETACH, self.pid)
        finally:
            os.close(self.memory)

    def get(self):
        r = Registers()
        ptrace(GETREGS, self.pid, 0, ctypes.addressof(r))
        return r

    def set(self, r):
        ptrace(SETREGS, self.pid, 0, ctypes.addressof(r))

    def find(self):
        """A `syscall` instruction: the one it waits in, else the C
        library's."""
        at = self.saved.rip - 2
        if os.pread(self.memory, 2, at) == b'\x0f\x05':
            return at
        for line in open('/proc/%d/maps' % self.pid):
            if 'libc' in line and 'r-xp' in line:
                low, high = (int(x, 16) for x in line.split()[0].split('-'))
                found = os.pread(self.memory, high - low, low).find(
                    b'\x0f\x05')
                if found >= 0:
                    return low + found
        raise OSError('no way to call')

    def call(self, name, *arguments):
        r = Registers()
        ctypes.memmove(ctypes.addressof(r), ctypes.addressof(self.saved),
                       ctypes.sizeof(r))
        top = (self.saved.rsp - 8192) & ~0xfff
        for register, value in zip(ARGUMENTS, arguments):
            if isinstance(value, bytes):
                os.pwrite(self.memory, value + b'\0' * 8, top)
                pointer, top = top, top + (len(value) + 23 & ~15)
                value = pointer
            setattr(r, register, value & (1 << 64) - 1)
        r.rax, r.rip, r.orig_rax = CALLS[name], self.at, (1 << 64) - 1
        self.set(r)
        ptrace(STEP, self.pid)
        _, status = os.waitpid(self.pid, 0x40000000)
        if not os.WIFSTOPPED(status):
            raise ProcessLookupError('%s ended it: %x' % (name, status))
        got = self.get().rax
        return struct.unpack('q', struct.pack('Q', got))[0]
