#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Calls that fail: no space, an input or output error, a sync that fails, no
descriptor left; at any call of the queue or its local agent, once or from
then on.  What was acknowledged is there once and whole, what was refused is
not, the queue takes mail again by itself when the trouble is over.

    test_errors_queue.py [POINTS]      20 by default; all: every one
"""
import errno
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', '..',
                                'lib'))
from house import SLOW, done, ok, same, skip
from faults import (MEMORY, NAMES, OPENS, READS, REMOVES, SENDS, SYNCS,
                    WRITES, number_of)
from queuehouse import SCENARIOS, Ledger, QueueHouse
from sweep import Sweep

# What fails, how, and whether it goes on failing.
FAULTS = [
    ('ENOSPC', WRITES | NAMES), ('EDQUOT', WRITES | NAMES),
    ('EIO', WRITES), ('EIO', SYNCS), ('ENOSPC', SYNCS), ('EROFS', NAMES | REMOVES),
    ('EMFILE', OPENS), ('ENFILE', OPENS), ('ENOMEM', OPENS | NAMES),
    ('ENOMEM', MEMORY), ('EINTR', WRITES | SENDS | READS), ('EIO', READS),
    ('SHORT', WRITES | SENDS),
]


def mend(house, ledger, ident):
    """The trouble is over: everything that waits is tried at once."""
    for slot in ('queue', 'agent'):
        house.disarm(slot)
    end = time.time() + 60 * SLOW
    while time.time() < end:
        try:
            house.ask('queue_change', verb='retry', text='all')
            house.ask('queue_change', verb='release', state='held',
                      reply='three times')
        except OSError:
            pass
        if house.settle(0.5) == []:
            break
    rows = house.rows()
    if rows:
        ledger.bad.append((ident, 'stuck', rows))
    ledger.look()
    ledger.judge(ident)


def one_point(house, ledger, scenario, slot, fault, at, sticky):
    name, classes = fault
    ident = ledger.name(scenario)
    house.arm(slot, at, classes, number_of(name), sticky)
    ledger.send(ident, **scenario(at))
    house.until(lambda: house.happened(slot) or house.rows() == [], 2)
    if sticky:
        # While it lasts, nothing is taken that cannot be kept.
        other = ledger.name(scenario)
        ledger.send(other, **scenario(at))
    struck = house.happened(slot)
    mend(house, ledger, ident)
    if sticky:
        ledger.judge(other)
    answer = house.submit('x@remote.test', ['alice@example.test'],
                          b'Subject: after-1\r\n\r\n', ident + '/after')
    if answer[0] != 'yes':
        # The queue may have been the one that died of it: once more.
        answer = house.until(lambda: house.submit(
            'x@remote.test', ['alice@example.test'],
            b'Subject: after-1\r\n\r\n', ident + '/after')[0] == 'yes', 20)
    if not answer:
        ledger.bad.append((ident, fault, at, 'no mail is taken afterwards'))
    house.settle()
    ledger.look()
    ledger.there.pop('after-1', None)
    return struck


def fail_anywhere(house, sweep):
    ledger = Ledger(house)
    ledger.look()
    ledger.bad.clear()
    # Without descriptors nobody is let in: no use in waiting for it.
    house.patience = 2 * SLOW
    whole = [(s, slot, f, at, sticky) for s in SCENARIOS
             for slot in ('queue', 'agent') for f in FAULTS
             for at in range(1, 40 if slot == 'queue' else 25)
             for sticky in (0, 1)]
    # Of those drawn some lie behind the scenario's last call: more are drawn
    # until a good many have struck.
    enough = sweep.count
    work = whole if enough == 0 else \
        [sweep.random.choice(whole) for _ in range(5 * enough)]
    start = time.time()
    made = struck = 0
    for w in work:
        if enough and made >= enough and struck > enough // 4:
            break
        struck += one_point(house, ledger, *w)
        made += 1
        sweep.progress(made, enough or len(whole))
    house.patience = 30 * SLOW
    print('# %d points in %.0f s, %d struck; the queue died %d times, its '
          'agents %d times' % (made, time.time() - start, struck,
                               house.deaths['queue'], house.deaths['agent']))
    same(ledger.bad, [], 'row 6: everything once, whole, and nothing stuck')
    ok(struck > (enough or len(work)) // 4, 'the points were met')


def little_space(house):
    """452 before the space is gone, for a message and for a body file."""
    house.field('queue', 'free_blocks', 1000)
    for body in (False, True):
        answer = house.submit('x@remote.test', ['alice@example.test'],
                              b'x' * 100, 'space/%s' % body, body=body)
        same((answer[0], answer[1][:5]), ('no', '4.3.1'),
             'row 4: no space: %s' % ('a body' if body else 'a message'))
    house.field('queue', 'free_blocks', 0)
    same(house.submit('x@remote.test', ['alice@example.test'], b'x\r\n',
                      'space/after')[0], 'yes', 'space again: taken')
    house.settle()


def failed_sync(house):
    """The kernel says it once: refused, and nothing taken until a commit has
    succeeded."""
    house.arm('queue', 1, SYNCS, errno.EIO, 1)
    answer = house.submit('x@remote.test', ['alice@example.test'],
                          b'Subject: lost\r\n\r\n', 'sync/1')
    same(answer[0], 'no', 'a sync fails: refused')
    ok(answer[1].startswith('4.3.'), 'for now', answer)
    again = house.submit('x@remote.test', ['alice@example.test'],
                         b'Subject: lost\r\n\r\n', 'sync/2')
    same(again[0], 'no', 'and so is what comes while it fails')
    ok('commit-failed' in house.log(), 'the log says so')
    house.disarm('queue')
    house.until(lambda: 'intake-open' in house.log())
    ok('intake-open' in house.log(), 'it opens by itself')
    same(house.submit('x@remote.test', ['alice@example.test'],
                      b'Subject: kept\r\n\r\n', 'sync/3')[0], 'yes', 'taken')
    same(house.settle(), [], 'and delivered')
    texts = [open(f, 'rb').read() for f in house.mails('alice')]
    ok(any(b'kept' in t for t in texts), 'what was taken is there')
    ok(not any(b'lost' in t for t in texts), 'what was refused is not')


def refused_stays_refused(house):
    """What a failed sync left in the log is not believed after a crash,
    whether or not syncs go on failing."""
    for sticky in (0, 1):
        house.arm('queue', 1, SYNCS, errno.EIO, sticky)
        answer = house.submit('x@remote.test', ['alice@example.test'],
                              b'Subject: phantom\r\n\r\n', 'ghost/%d' % sticky)
        same(answer[0], 'no', 'a sync fails: refused')
        os.kill(house.queue, signal.SIGKILL)
        house.disarm('queue')
        before = house.deaths['queue']
        house.until(lambda: house.deaths['queue'] > before)
        answer = house.until(lambda: house.submit(
            'x@remote.test', ['alice@example.test'], b'Subject: real\r\n\r\n',
            'real/%d' % sticky)[0] == 'yes')
        ok(answer, 'killed, and started again: mail is taken')
        same(house.settle(), [], 'and delivered')
        texts = [open(f, 'rb').read() for f in house.mails('alice')]
        same(sum(b'phantom' in t for t in texts), 0,
             'what was refused does not come back')


def cpu(pid):
    fields = open('/proc/%d/stat' % pid).read().rsplit(')', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def patient(house):
    """Changes that cannot be written are tried now and then, not at once."""
    house.submit('x@remote.test', ['later@example.test'],
                 b'Subject: order\r\n\r\n', 'order/1')
    house.until(lambda: [r['state'] for r in house.rows() or []] ==
                ['deferred'])
    house.arm('queue', 1, SYNCS, errno.EIO, 1)
    house.ask('queue_change', verb='hold', text='all')
    before = cpu(house.queue), house.field('queue', 'counted')
    time.sleep(2)
    used = cpu(house.queue) - before[0]
    tried = house.field('queue', 'counted') - before[1]
    ok(0 < tried < 20 and used < 0.5, 'a disk that fails is not hammered',
       (tried, used))
    house.disarm('queue')
    house.until(lambda: [r['state'] for r in house.rows() or []] == ['held'])
    same([r['state'] for r in house.rows() or []], ['held'],
         'the order is carried out in the end')
    house.ask('queue_change', verb='delete', text='all')
    same(house.settle(), [], 'and so is the next')


def ends_anyway(house):
    """Told to end while a change cannot be written: it is not waited for."""
    house.submit('x@remote.test', ['later@example.test'],
                 b'Subject: end\r\n\r\n', 'end/1')
    house.until(lambda: [r['state'] for r in house.rows() or []] ==
                ['deferred'])
    house.arm('queue', 1, SYNCS, errno.EIO, 1)
    house.ask('queue_change', verb='hold', text='all')
    said = []

    def order():
        said[:] = [house.ask('queue_change', verb='hold', text='all')[1]]
        return said[0] and 'cannot be written' in said[0]['status']
    ok(house.until(order), 'an order is refused while nothing can be written',
       said)
    before = house.deaths['queue']
    house.shut()
    ok(house.until(lambda: house.deaths['queue'] > before, 20),
       'and the queue ends when it is told to')
    house.disarm('queue')
    house.until(lambda: house.rows())
    house.until(lambda: house.ask(
        'queue_change', verb='delete', text='all') and not house.rows())


def synced_again(house):
    """A checkpoint fails: the page cache shows what the disk has lost, so the
    file is written anew, and there is one."""
    house.submit('x@remote.test', ['bob@example.test'],
                 b'Subject: once\r\n\r\n', 'anew/0')
    house.settle()
    before = set(house.mails('bob'))
    house.arm('agent', 1, SYNCS, errno.EIO)
    house.submit('x@remote.test', ['bob@example.test'],
                 b'Subject: twice\r\n\r\n', 'anew/1')
    same(house.settle(), [], 'delivered in the end')
    found = [f for f in house.mails('bob') if f not in before and
             b'Subject: twice' in open(f, 'rb').read()]
    same(len(found), 1, 'a failed checkpoint leaves one copy')
    lines = [l for l in house.log().splitlines()
             if 'deliver-local' in l and ' delivered to=bob' in l]
    uids = [l.split('UID=')[1].split()[0] for l in lines[-2:]]
    ok(len(set(uids)) == 2, 'which was written anew', lines)


def full_disk():
    """A small file system, if one can be had."""
    house = QueueHouse(faults=False, general='')
    state = house.dir + '/state'
    os.makedirs(state)
    mounted = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=48m', 'tmpfs',
                              state], capture_output=True).returncode == 0
    if not mounted:
        skip('a full disk', 'no file system can be mounted here')
        house.close()
        return
    try:
        house.start()
        fill(house)
    finally:
        house.stop()
        subprocess.run(['umount', '-l', state])
        house.close()


def fill(house):
    # Nothing is delivered meanwhile: later@ waits for its route.
    taken, answer = 0, ('yes', '')
    body = b'Subject: full\r\n\r\n' + b'y' * 60000
    while answer[0] == 'yes' and taken < 900:
        answer = house.submit('x@remote.test', ['later@example.test'], body,
                              'full/%d' % taken)
        taken += answer[0] == 'yes'
    same((answer[0], answer[1][:5]), ('no', '4.3.1'),
         'row 4: the disk is nearly full: 452')
    ok(taken > 20, 'after a good many', taken)
    v = os.statvfs(house.dir + '/state')
    ok(v.f_bavail * v.f_frsize > 12 << 20, 'and before the space was gone')
    # Somebody else takes the rest: orders and results wait or are written to
    # what the log has reserved, and nothing is half written.
    with open(house.dir + '/state/hog', 'wb', 0) as f:
        try:
            while True:
                f.write(b'x' * 65536)
        except OSError:
            pass
    same(house.submit('x@remote.test', ['alice@example.test'], b'x\r\n',
                      'full/none')[0], 'no', 'a full disk: refused')
    house.ask('queue_change', verb='redirect', text='alice@example.test',
              rcpt='later@example.test')
    time.sleep(0.5)
    left, gone = house.rows(), len(house.mails('alice'))
    ok(left is not None and len(left) + gone >= taken,
       'every message is still there, or delivered', (left, gone, taken))
    os.unlink(house.dir + '/state/hog')
    house.until(lambda: house.ask(
        'queue_change', verb='retry', text='all') and house.rows() == [], 60)
    house.ask('queue_change', verb='redirect', text='alice@example.test',
              rcpt='later@example.test')
    same(house.settle(60), [], 'row 4: space again: it goes on by itself')
    whole = [f for f in house.mails('alice')
             if open(f, 'rb').read().endswith(b'y' * 60000)]
    same(len(whole), taken, 'everything acknowledged is there, whole')


def main():
    sweep = Sweep(__doc__, max(6, 20 // SLOW))
    with QueueHouse() as house:
        little_space(house)
        failed_sync(house)
        refused_stays_refused(house)
        patient(house)
        ends_anyway(house)
        synced_again(house)
        fail_anywhere(house, sweep)
    full_disk()
    done()


main()
