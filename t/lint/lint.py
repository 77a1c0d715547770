#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Measures the house rules (doc/style.md) and says where they are broken.

    t/lint/lint.py [--aims]     --aims: also what is legal but above the aim

Errors: includes that cross the layers, functions above 80 lines, goto,
conditional compilation outside common/sys, a source without its licence line,
a program without a manual page, an option without a use, a table of edge cases
(t/rows.md) that says something else than the names of the tests.
"""
import glob
import re
import subprocess
import sys

LAYERS = {
    'base': {'base'},
    'mail': {'mail', 'base'},
    'sys': {'sys', 'base'},
    'ask': {'ask', 'sys', 'base'},
    'store': {'store', 'mail', 'sys', 'base'},
}
PROGRAMS = 'master smtpd pop3d imapd queue deliver auth tls resolve ctl'.split()
FUNCTION_MOST = 80
ROOT_MOST = 1500  # lines of the only code that runs as root
errors = []
aims = []


def sources():
    folders = ['common/*'] + PROGRAMS
    return sorted(f for d in folders for f in glob.glob(d + '/*.[ch]'))


def room_of(path):
    parts = path.split('/')
    return parts[1] if parts[0] == 'common' else parts[0]


def check_layers(path, text):
    room = room_of(path)
    for n, line in enumerate(text.splitlines(), 1):
        m = re.match(r'#include "([^"]+)"', line)
        if not m:
            continue
        where = m[1].split('/')[0] if '/' in m[1] else room
        if room in LAYERS:
            if where not in LAYERS[room]:
                errors.append('%s:%d: %s may not include %s' %
                              (path, n, room, m[1]))
        elif where not in LAYERS and where != room:
            errors.append('%s:%d: includes another program: %s' %
                          (path, n, m[1]))


def check_text(path, text):
    if 'SPDX-License-Identifier: ISC' not in text.splitlines()[0]:
        errors.append('%s:1: no licence line' % path)
    for n, line in enumerate(text.splitlines(), 1):
        if re.search(r'\bgoto\b', line) and '*' not in line[:3]:
            errors.append('%s:%d: goto' % (path, n))
        if re.match(r'#\s*if(def|ndef)?\b', line) and \
                not re.match(r'#ifndef [A-Z0-9]+_[A-Z0-9_]*H$', line) and \
                not path.startswith(('common/sys/', 'common/base/arena.c')):
            errors.append('%s:%d: conditional compilation outside sys' %
                          (path, n))


def check_functions(paths):
    try:
        out = subprocess.run(
            ['ctags', '--languages=C', '--kinds-C=f', '--fields=+ne', '-f',
             '-'] + [p for p in paths if p.endswith('.c')],
            capture_output=True, text=True, check=True).stdout
    except FileNotFoundError:
        return
    lengths = []
    for line in out.splitlines():
        fields = line.split('\t')
        at = [int(f[5:]) for f in fields if f.startswith('line:')]
        end = [int(f[4:]) for f in fields if f.startswith('end:')]
        if not at or not end:
            continue
        n = end[0] - at[0] + 1
        lengths.append(n)
        if n > FUNCTION_MOST:
            errors.append('%s:%d: %s is %d lines long, more than %d' %
                          (fields[1], at[0], fields[0], n, FUNCTION_MOST))
        elif n > 50:
            aims.append('%s:%d: %s is %d lines long' %
                        (fields[1], at[0], fields[0], n))
    lengths.sort()
    if lengths:
        print('%d functions, median %d lines, p95 %d, longest %d' % (
            len(lengths), lengths[len(lengths) // 2],
            lengths[len(lengths) * 95 // 100], lengths[-1]))


def check_root(texts):
    """Without comments and blank lines."""
    lines = 0
    for path, text in texts.items():
        if re.match(r'master/.*\.c$', path):
            bare = re.sub(r'/\*.*?\*/', '', text, flags=re.S)
            lines += sum(1 for l in bare.splitlines() if l.strip())
    print('%d lines run as root' % lines)
    if lines > ROOT_MOST:
        errors.append('master: %d lines, more than %d' % (lines, ROOT_MOST))


def check_options(texts):
    rows = open('common/sys/conf_options.h').read()
    everything = '\n'.join(t for p, t in texts.items()
                           if not p.endswith('conf_options.h'))
    for section, name in re.findall(r'^OPTION\((\w+), (\w+)', rows, re.M):
        if not re.search(r'\b%s\.%s\b|->%s\b' % (section, name, name),
                         everything):
            aims.append('common/sys/conf_options.h: %s.%s is used nowhere' %
                        (section, name))


def rows_named(path):
    """The rows of t/rows.md that tests of this file are named after."""
    name, text = path.split('/')[-1], open(path, errors='replace').read()
    if path.endswith('.talk'):
        m = re.match(r'row(\d+)(?:-(\d+))?-', name)
        return set(range(int(m[1]), int(m[2] or m[1]) + 1)) if m else set()
    if path.endswith('.c'):
        return set(map(int, re.findall(r'^START_TEST\(row(\d+)_', text,
                                       re.M)))
    lists = re.findall(r"'rows? (\d+(?:(?:, | and )\d+)*)", text)
    return {int(n) for l in lists for n in re.findall(r'\d+', l)}


def check_rows():
    """The table of edge cases and the names of tests say the same."""
    table = 't/rows.md'
    text = open(table).read()
    rows = re.findall(r'^\| (\d+) \| [^|]+ \| ([^|]+) \|$', text, re.M)
    if [int(n) for n, _ in rows] != list(range(1, 79)):
        errors.append(table + ': not the rows 1 to 78, each once')
    said = {(int(n), path) for n, where in rows for path in where.split()
            if not where.startswith('(later: ')}
    tests = [p for kind in ('box/*.py', 'box/*/*.talk', 'flow/*.py',
                            'crash/*/*.py', 'unit/*/*.c')
             for p in glob.glob('t/' + kind)]
    found = {(n, p[2:]) for p in tests for n in rows_named(p)}
    for n, path in sorted(said - found):
        errors.append('%s: row %d: %s has no test of that name' %
                      (table, n, path))
    for n, path in sorted(found - said):
        errors.append('t/%s: named after row %d, which does not name it' %
                      (path, n))
    check_lists(table, text, 'S', 24)
    check_lists(table, text, 'L', 42)
    check_lists(table, text, 'H', 50)
    check_lists(table, text, 'Q', 11)


def check_lists(table, text, letter, most):
    """Rows S1, S2 ... name words of a file; of a unit test, a test."""
    rows = re.findall(r'^\| %s(\d+) \| [^|]+ \| ([^|]+) \|$' % letter, text,
                      re.M)
    if [int(n) for n, _ in rows] != list(range(1, most + 1)):
        errors.append('%s: not the rows %s1 to %s%d, each once' %
                      (table, letter, letter, most))
    for n, where in rows:
        tests = re.findall(r'(\S+) "([^"]+)"', where)
        if not tests and not re.fullmatch(r'\(later: [^)]+\)', where):
            errors.append('%s: %s%s names no test' % (table, letter, n))
        for path, words in tests:
            there = read('t/' + path)
            if letter in 'LHQ' and re.match(r'unit/.*\.c$', path):
                words = 'START_TEST(%s)' % words
            if words not in there:
                errors.append('%s: %s%s: %s does not say "%s"' %
                              (table, letter, n, path, words))


def read(path):
    try:
        return open(path, errors='replace').read()
    except OSError:
        return ''


def main():
    texts = {p: open(p).read() for p in sources()}
    for path, text in texts.items():
        check_layers(path, text)
        check_text(path, text)
    check_functions(list(texts))
    check_options(texts)
    check_root(texts)
    check_rows()
    if '--aims' in sys.argv:
        print('\n'.join(aims))
    print('%d lines in %d files' % (
        sum(t.count('\n') for t in texts.values()), len(texts)))
    for e in errors:
        print(e)
    sys.exit(1 if errors else 0)


main()
