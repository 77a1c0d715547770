#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""SMTP, IMAP and POP3 mixed, at twice what the machine serves: who is served
is served in bounded time, who is not is told so, what is taken is there once
and whole, nothing grows, and when it is over it is over.

    test_overload.py [--minutes N] [--times N]      0.5 and 2; 60 by hand

First so many clients as a server may have at once come one after another, as
fast as they are served; then new ones come at twice that rate, whether those
before them are served or not.  Mail that comes is read and removed, by POP3
from half of the mailboxes and by IMAP from the others, so that nothing of the
server's has a reason to grow.  How far it is goes to stderr.
"""
import asyncio
import os
import random
import re
import resource
import ssl
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
from house import SLOW, House, done, ok, same, until
from sweep import Sweep

USERS = 100  # the first half reads by POP3
IDLERS = 10
AT_ONCE = 60  # clients while the rate is measured
PATIENCE = 120 * SLOW  # seconds a client waits for the whole of its session
BOUND = 60 * SLOW  # and in which 99 of 100 that are served are
TAKEN_AT_ONCE = 500  # messages a reader removes
SIZES = (500, 2000, 4000, 4000, 20000, 100000)
SINGLES = ('suratd', 'queue', 'auth', 'tls', 'keys', 'resolve')
SAMPLE = 5
LARGE = 100000 * SLOW ** 2  # KiB
# so many as two processors have use for
SETS = ('imap.max_processes=100', 'pop3.max_processes=50')
# what is normal, and what a busy machine may say
MIX = ('smtp',) * 10 + ('imap',) * 5 + ('imaps',) + ('pop3',) * 4
LATER = re.compile(rb'4\d\d[ -]|\* BYE|\S+ NO \[(UNAVAILABLE|INUSE|LIMIT)\]|'
                   rb'-ERR \[(SYS/TEMP|IN-USE|LOGIN-DELAY)\]')


class Refused(Exception):
    """In words."""


class Wrong(Exception):
    """Neither yes nor no."""


def body(n, size):
    return (b'%076d\r\n' % n) * (size // 78 + 1)


def text(n, size):
    return (b'From: load@remote.test\r\nSubject: load %d %d\r\n\r\n' %
            (n, size) + body(n, size))


class Ledger:
    """Of copies: a message in a mailbox, as one number."""

    def __init__(self):
        self.last = 0
        self.taken, self.unknown, self.maybe = set(), set(), set()
        self.removed, self.bad = {}, []

    def send(self, users):
        """The number of a new message, and its copies."""
        self.last += 1
        copies = [self.last * USERS + u for u in users]
        self.unknown.update(copies)
        return self.last, copies

    def said(self, copies, yes):
        self.unknown.difference_update(copies)
        if yes:
            self.taken.update(copies)

    def gone(self, copies, sure):
        for c in copies if sure else ():
            self.removed[c] = self.removed.get(c, 0) + 1
        if sure:
            self.maybe.difference_update(copies)
        else:
            self.maybe.update(copies)

    def read(self, octets, user):
        """Which copy this is, when it is whole; else None."""
        m = re.search(rb'(?m)^Subject: load (\d+) (\d+)\r?$', octets)
        if m is None or octets.split(b'\r\n\r\n', 1)[-1] != \
                body(int(m[1]), int(m[2])):
            self.bad.append(octets[:300])
            return None
        return int(m[1]) * USERS + user

    def judge(self, there):
        """there: copy -> how often it is left."""
        lost, twice, phantom = [], [], []
        for c in self.taken | self.removed.keys() | there.keys():
            found = self.removed.get(c, 0) + there.get(c, 0)
            if found > 1:
                twice.append(c)
            elif c in self.taken and found == 0 and c not in self.maybe:
                lost.append(c)
            elif found and c not in self.taken and c not in self.unknown:
                phantom.append(c)
        return lost, twice, phantom


class Line:
    """One connection, by lines."""

    def __init__(self, load):
        self.load = load

    async def open(self, port, tls=False):
        self.reader, self.writer = await asyncio.open_connection(
            '127.0.0.1', port, limit=1 << 20,
            ssl=self.load.tls if tls else None,
            local_addr=('127.1.%d.1' % random.randrange(1, 250), 0))

    def write(self, octets):
        self.writer.write(octets)

    async def hear(self, want):
        """The next line, which begins so."""
        line = await self.reader.readline()
        if not line.startswith(want):
            raise (Refused if LATER.match(line) else Wrong)(repr(line[:100]))
        return line

    async def say(self, octets, want):
        self.write(octets)
        return await self.hear(want)

    def close(self):
        if hasattr(self, 'writer'):
            self.writer.transport.abort()


# ------------------------------------------------------------ the sessions

async def smtp_reply(c, want):
    line = await c.hear(want)
    while line[3:4] == b'-':
        line = await c.hear(want)
    return line


async def smtp(load, c):
    await c.open(load.port('smtp'))
    await smtp_reply(c, b'220')
    c.write(b'EHLO load.test\r\n')
    await smtp_reply(c, b'250')
    for _ in range(random.choice((1, 1, 2, 5))):
        users = random.sample(range(USERS), random.choice((1, 1, 2, 5)))
        size = random.choice(SIZES)
        n, copies = load.ledger.send(users)
        try:
            c.write(b'MAIL FROM:<load@remote.test>\r\n' + b''.join(
                b'RCPT TO:<u%d@example.test>\r\n' % u for u in users) +
                b'DATA\r\n')
            for want in [b'250'] * (1 + len(users)) + [b'354']:
                await smtp_reply(c, want)
            c.write(text(n, size) + b'.\r\n')
            await smtp_reply(c, b'250')
            load.ledger.said(copies, True)
        except Refused:
            load.ledger.said(copies, False)
            raise
    c.write(b'QUIT\r\n')
    await smtp_reply(c, b'221')


async def pop3_message(c):
    octets = await c.reader.readuntil(b'\r\n.\r\n')
    return octets[:-3].replace(b'\r\n..', b'\r\n.')


async def pop3(load, c):
    user, alone = load.reader(0)
    try:
        await c.open(load.port('pop3'))
        await c.hear(b'+OK')
        await c.say(b'USER u%d\r\n' % user, b'+OK')
        await c.say(b'PASS x\r\n', b'+OK')
        stat = await c.say(b'STAT\r\n', b'+OK')
        count = min(int(stat.split()[1]), TAKEN_AT_ONCE) if alone else 0
        copies = []
        c.write(b''.join(b'RETR %d\r\nDELE %d\r\n' % (n, n)
                         for n in range(1, count + 1)))
        for n in range(count):
            await c.hear(b'+OK')
            copies.append(load.ledger.read(await pop3_message(c), user))
            await c.hear(b'+OK')
        load.ledger.gone(copies, False)
        await c.say(b'QUIT\r\n', b'+OK')
        load.ledger.gone(copies, True)
    finally:
        load.free(user, alone)


async def imap_answer(c, octets, keep=None):
    tag = b'a%d' % random.randrange(1 << 30)
    c.write(tag + b' ' + octets + b'\r\n')
    while True:
        line = await c.hear(b'')
        if line.startswith(tag):
            if not line.startswith(tag + b' OK'):
                raise (Refused if LATER.match(line) else Wrong)(
                    repr(line[:100]))
            return
        if not line or line.startswith(b'* BYE') and octets != b'LOGOUT':
            raise (Refused if line else Wrong)(repr(line[:100]))
        m = re.search(rb'\{(\d+)\}\r\n$', line)
        literal = await c.reader.readexactly(int(m[1])) if m else b''
        if keep is not None:
            keep.append((line, literal))


async def imap_append(load, c, user):
    n, copies = load.ledger.send([user])
    octets = text(n, random.choice(SIZES))
    try:
        await imap_answer(c, b'APPEND INBOX {%d+}\r\n%s' % (len(octets),
                                                            octets))
        load.ledger.said(copies, True)
    except Refused:
        load.ledger.said(copies, False)
        raise


async def imap_remove(load, c, user, count):
    copies, uids, kept = [], [], []
    await imap_answer(c, b'FETCH 1:%d (UID BODY.PEEK[])' % count, kept)
    for line, literal in kept:
        m = re.search(rb'UID (\d+)', line)
        if literal and m:
            copies.append(load.ledger.read(literal, user))
            uids.append(m[1])
    await imap_answer(c, b'UID STORE %s +FLAGS.SILENT (\\Deleted)' %
                      b','.join(uids))
    load.ledger.gone(copies, False)
    await imap_answer(c, b'UID EXPUNGE ' + b','.join(uids))
    load.ledger.gone(copies, True)


async def imap(load, c, service='imap'):
    user, alone = load.reader(USERS // 2)
    try:
        await c.open(load.port(service), service == 'imaps')
        await c.hear(b'* OK')
        await imap_answer(c, b'LOGIN u%d x' % user)
        await imap_answer(c, b'SELECT INBOX', found := [])
        exists = [l for l, _ in found if l.endswith(b' EXISTS\r\n')]
        count = min(int(exists[0].split()[1]), TAKEN_AT_ONCE)
        if random.random() < 0.1:
            await imap_append(load, c, user)
        if count > 0:
            await imap_answer(c, b'UID SEARCH 1:%d BODY "no such words"' %
                              min(count, 20))
        await imap_answer(c, b'UID SORT (SUBJECT) UTF-8 ALL')
        if alone and count > 0:
            await imap_remove(load, c, user, count)
        await imap_answer(c, b'LOGOUT')
    finally:
        load.free(user, alone)


async def imaps(load, c):
    await imap(load, c, 'imaps')


KINDS = {'smtp': smtp, 'imap': imap, 'imaps': imaps, 'pop3': pop3}


# ---------------------------------------------------------------- the load

class Load:
    def __init__(self, h, watch):
        self.h, self.watch, self.ledger = h, watch, Ledger()
        self.reading, self.tasks = set(), set()
        self.times = {k: [] for k in KINDS}
        self.refused = {k: 0 for k in KINDS}
        self.wrong, self.refusals, self.came = {}, {}, 0
        self.tls = ssl._create_unverified_context()
        self.counting = False

    def port(self, service):
        return self.h.port(service)

    def reader(self, first):
        """A mailbox, and whether nobody else is removing its mail."""
        user = first + random.randrange(USERS // 2)
        alone = user not in self.reading
        self.reading.add(user)
        return user, alone

    def free(self, user, alone):
        if alone:
            self.reading.discard(user)

    def note(self, where, what):
        what = re.sub(r'\ba\d+', 'TAG', what)
        if self.counting:
            where[what] = where.get(what, 0) + 1

    async def one(self, kind):
        c, start = Line(self), time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE):
                await KINDS[kind](self, c)
            if self.counting:
                self.times[kind].append(time.monotonic() - start)
        except (Refused, ssl.SSLError) as e:
            self.note(self.refused, kind)
            self.note(self.refusals, kind + ' ' + str(e)[:60])
        except (Wrong, TimeoutError, OSError,
                asyncio.IncompleteReadError) as e:
            self.note(self.wrong, '%s %s %s' % (
                kind, type(e).__name__, str(e)[:60]))
        finally:
            c.close()

    def begin(self, kind):
        task = asyncio.get_running_loop().create_task(self.one(kind))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        self.came += self.counting

    async def measure(self, seconds):
        """Sessions a second, as fast as so many at once are served."""
        end, served = time.monotonic() + seconds, [0]

        async def again():
            while time.monotonic() < end:
                await self.one(random.choice(MIX))
                served[0] += 1
        await asyncio.gather(*(again() for _ in range(AT_ONCE)))
        return served[0] / seconds

    async def idle(self, user):
        """Sits there, and is told; True when it was not sent away."""
        c = Line(self)
        await c.open(self.port('imap'))
        await c.hear(b'* OK')
        await imap_answer(c, b'LOGIN u%d x' % user)
        await imap_answer(c, b'SELECT INBOX')
        c.write(b'i IDLE\r\n')
        since = time.monotonic()
        while True:
            line = await c.reader.readline()
            if not line or line.startswith(b'* BYE'):
                return line
            if time.monotonic() - since > 600:  # RFC 2177 says 29 minutes
                since = time.monotonic()
                c.write(b'DONE\r\ni IDLE\r\n')

    async def offer(self, rate, seconds, progress):
        """New ones at this rate for so long, served or not."""
        start = time.monotonic()
        idlers = [asyncio.ensure_future(self.idle(USERS - 1 - n))
                  for n in range(IDLERS)]
        await asyncio.sleep(1)
        self.counting, due, self.late = True, 0, 0
        while (passed := time.monotonic() - start) < seconds:
            self.late = max(self.late, passed - due / rate)
            while due < passed * rate:
                self.begin(random.choice(MIX))
                due += 1
            progress(passed, seconds)
            await asyncio.sleep(0.01)
        self.watch.over.set()
        left = len(self.tasks)
        self.sent_away = [i.result() for i in idlers if i.done()]
        ended = time.monotonic()
        await self.recover()
        self.recovered = time.monotonic() - ended
        if self.tasks:
            await asyncio.wait(self.tasks)
        for i in idlers:
            i.cancel()
        return left

    async def recover(self):
        """Who was in line is served or told; then one of each kind is at
        once."""
        while len(self.tasks) > AT_ONCE:
            await asyncio.sleep(0.05)
        self.after = {}
        for kind in KINDS:
            c, start = Line(self), time.monotonic()
            try:
                async with asyncio.timeout(PATIENCE):
                    await KINDS[kind](self, c)
                self.after[kind] = time.monotonic() - start
            except (Refused, Wrong, OSError) as e:
                self.after[kind] = repr(e)
            finally:
                c.close()


# -------------------------------------------------------------- the server

class Quiet(House):
    """On a processor that is not the clients'.  Keeps of the log what somebody
    should look at, and its size."""
    logged = 0

    def command(self):
        cpus = sorted(os.sched_getaffinity(0))
        if len(cpus) == 1:
            return super().command()
        os.sched_setaffinity(0, cpus[1:])
        return ['taskset', '-c', str(cpus[0])] + super().command()

    def _collect(self):
        for line in self.process.stderr:
            self.logged += len(line)
            if not re.search(rb' (info|debug) ', line):
                if len(self.log) < 20000:
                    self.log.append(line.decode('utf-8', 'replace'))


def resident(pid):
    """KiB, and descriptors."""
    try:
        with open('/proc/%d/statm' % pid) as f:
            pages = int(f.read().split()[1])
        return pages * 4, len(os.listdir('/proc/%d/fd' % pid))
    except (OSError, IndexError):
        return 0, 0


class Watch(threading.Thread):
    """Every few seconds: per program how many there are, memory and
    descriptors of the largest; octets of the queue's directory."""

    def __init__(self, h):
        super().__init__(daemon=True)
        self.h, self.samples, self.over = h, [], threading.Event()

    def sample(self):
        found = {}
        for pid, name in [(self.h.process.pid, 'suratd')] + list(
                self.h.children().items()):
            kib, fds = resident(pid)
            n, most, most_fds = found.get(name, (0, 0, 0))
            found[name] = n + 1, max(most, kib), max(most_fds, fds)
        disk = 0
        for top, _, files in os.walk(self.h.dir + '/state'):
            for f in files:
                try:
                    disk += os.stat(top + '/' + f).st_size
                except OSError:
                    pass
        return found, disk

    def run(self):
        while not self.over.wait(SAMPLE):
            self.samples.append(self.sample())

    def middle(self, part, value):
        """The median over one part of the time; what was not there: 0."""
        n = len(self.samples)
        values = sorted(value(s) for s in
                        self.samples[int(n * part[0]):int(n * part[1])])
        return values[len(values) // 2] if values else 0


EARLY, LATE = (0.2, 0.5), (0.7, 1.0)


def nothing_grows(w, seconds):
    """In minutes it can be seen; in one, that nothing is large."""
    programs = sorted({p for found, _ in w.samples for p in found})
    grown = []
    for p in programs:
        def of(i):
            return [w.middle(part, lambda s: s[0].get(p, (0, 0, 0))[i])
                    for part in (EARLY, LATE)]
        (n, n2), (kib, kib2), (fds, fds2) = of(0), of(1), of(2)
        print('# %-14s processes %d, %d; KiB of the largest %d, %d; its '
              'descriptors %d, %d' % (p, n, n2, kib, kib2, fds, fds2))
        grows = kib2 > 1.15 * kib + 3000 or fds2 > 1.5 * fds + 100
        if grows if seconds >= 300 else kib2 > LARGE:
            grown.append((p, kib, kib2, fds, fds2))
    same(grown, [], 'memory and descriptors of no program grow')
    disk = [w.middle(part, lambda s: s[1]) for part in (EARLY, LATE)]
    print('# the queue\'s directory: %d, %d KiB' % tuple(
        d >> 10 for d in disk))
    return disk


def quantile(times, q):
    return sorted(times)[int(q * (len(times) - 1))] if times else -1


def figures(load, rate, seconds):
    served = sum(map(len, load.times.values()))
    print('# offered %.0f sessions/s for %.0f s: %d; served %d (%.0f/s), '
          'refused %d, neither %d; %d copies taken' % (
              rate, seconds, load.came, served, served / seconds,
              sum(load.refused.values()), sum(load.wrong.values()),
              len(load.ledger.taken)))
    for kind, times in load.times.items():
        print('# %-6s %7d served: median %.2f s, 99 of 100 within %.2f s, '
              'longest %.2f s; %d refused' % (
                  kind, len(times), quantile(times, 0.5),
                  quantile(times, 0.99), quantile(times, 1),
                  load.refused[kind]))
    for where in (load.refusals, load.wrong):
        for what, n in sorted(where.items(), key=lambda x: -x[1])[:12]:
            print('#  %7d  %s' % (n, what))


def left_over(h, ledger):
    there = {}
    for n in range(USERS):
        for path in h.mails('u%d' % n):
            with open(path, 'rb') as f:
                octets = f.read().replace(b'\n', b'\r\n')
            ident = ledger.read(octets, n)
            there[ident] = there.get(ident, 0) + 1
    return there


def judge_all(h, load, watch, rate, seconds):
    figures(load, rate, seconds)
    served = sum(map(len, load.times.values()))
    ok(served > load.came / 10, 'work is done', served)
    same([k for k, v in load.times.items() if quantile(v, 0.99) > BOUND], [],
         'who is served is served in bounded time')
    ok(sum(load.wrong.values()) <= load.came / 100,
       'who is not is told so', load.wrong)
    same(load.sent_away, [], 'who sits there stays')
    slow = {k: v for k, v in load.after.items()
            if not isinstance(v, float) or v > 3 * SLOW}
    same(slow, {}, 'afterwards everybody is served at once')
    print('# afterwards: %.1f s, then %s' % (load.recovered, load.after))
    ok(until(lambda: h.queue() == [], 60), 'the queue is empty in the end',
       h.queue()[:5])
    lost, twice, phantom = load.ledger.judge(left_over(h, load.ledger))
    same(lost[:9], [], 'nothing taken is lost')
    same(twice[:9], [], 'nothing is there twice')
    same(phantom[:9], [], 'nothing refused is there')
    same(load.ledger.bad[:3], [], 'nothing is torn')
    if watch.samples:
        nothing_grows(watch, seconds)
    same(h.grep('AddressSanitizer|runtime error|dumped|died'), [],
         'no program has suffered')


def teller(load, told):
    last = [time.time()]

    def tell(passed, of):
        if told and time.time() - last[0] > 30:
            last[0] = time.time()
            print('# %.0f of %.0f s: %d came, %d served, %d refused, %d '
                  'neither, %d under way' % (
                      passed, of, load.came,
                      sum(map(len, load.times.values())),
                      sum(load.refused.values()),
                      sum(load.wrong.values()), len(load.tasks)),
                  file=sys.stderr, flush=True)
    return tell


def main():
    sweep = Sweep(__doc__, 0,
                  ('--minutes', {'type': float, 'default': 0.5}),
                  ('--times', {'type': float, 'default': 2.0}))
    seconds = sweep.args.minutes * 60
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    users = {'u%d' % n: 'x' for n in range(USERS)}
    with Quiet(users=users, sets=SETS, without=('deliver-remote',)) as h:
        watch = Watch(h)
        load = Load(h, watch)

        async def run():
            capacity = await load.measure(min(20, seconds / 6))
            print('# %.0f sessions/s as fast as %d at once are served' % (
                capacity, AT_ONCE), flush=True)
            watch.start()
            rate = capacity * sweep.args.times
            left = await load.offer(rate, seconds,
                                    teller(load, sweep.told))
            print('# %d were under way in the end; they began up to %.2f s '
                  'late' % (left, load.late))
            return rate
        rate = asyncio.run(run())
        judge_all(h, load, watch, rate, seconds)
    done()


main()
