# SPDX-License-Identifier: ISC
"""Chromium without a window, told by chromedriver what to do (W3C WebDriver).

    with Browser(directory) as b:
        b.go('http://127.0.0.1:8000/')
        b.type('#user', 'alice')
        b.click('button')
        b.wait('return document.title == "in"')
"""
import json
import os
import shutil
import subprocess
import urllib.error
import urllib.request

from house import SLOW, until
from ports import free_port

ELEMENT = 'element-6066-11e4-a52e-4f735466cecf'
ARGUMENTS = ('--headless=new --no-sandbox --disable-gpu '
             '--disable-dev-shm-usage --window-size=1300,900 '
             '--no-first-run --disable-background-networking '
             '--disable-component-update').split()


class Browser:
    @staticmethod
    def missing():
        """What it takes that is not here, or None."""
        for program in ('chromedriver', 'chromium'):
            if not shutil.which(program):
                return program
        return None

    def __init__(self, directory):
        self.log = open(directory + '/chromedriver.log', 'wb')
        port = free_port()
        self.url = 'http://127.0.0.1:%d' % port
        self.driver = subprocess.Popen(
            ['chromedriver', '--port=%d' % port], stdout=self.log,
            stderr=self.log, stdin=subprocess.DEVNULL,
            env=dict(os.environ, HOME=directory))
        until(self._answers, 30)
        made = self.ask('POST', '/session', capabilities={'alwaysMatch': {
            'browserName': 'chrome', 'goog:chromeOptions': {
                'binary': shutil.which('chromium'),
                'args': ARGUMENTS + ['--user-data-dir=' + directory +
                                     '/profile']}}})
        self.url += '/session/' + made['sessionId']

    def _answers(self):
        try:
            return self.ask('GET', '/status')['ready']
        except OSError:
            return False

    def ask(self, method, path, **body):
        data = json.dumps(body).encode() if method == 'POST' else None
        request = urllib.request.Request(self.url + path, data, {
            'Content-Type': 'application/json'}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120 * SLOW) as r:
                return json.load(r)['value']
        except urllib.error.HTTPError as e:
            raise RuntimeError(json.load(e)['value']['message'][:600]) \
                from None

    def go(self, url):
        self.ask('POST', '/url', url=url)

    def run(self, script):
        """The value of a script's return."""
        return self.ask('POST', '/execute/sync', script=script, args=[])

    def wait(self, script, seconds=30):
        """Until a script returns something that is true: that, or None."""
        def value():
            try:
                return self.run(script)
            except RuntimeError:     # between two pages
                return None
        return until(value, seconds)

    def element(self, css):
        def found():
            try:
                return self.ask('POST', '/element', using='css selector',
                                value=css)[ELEMENT]
            except RuntimeError:
                return None
        e = until(found, 20)
        if e is None:
            raise RuntimeError('no %s on the page' % css)
        return '/element/' + e

    def click(self, css):
        """The first that can be clicked, as soon as one can."""
        def clicked():
            for e in self.ask('POST', '/elements', using='css selector',
                              value=css):
                try:
                    self.ask('POST', '/element/%s/click' % e[ELEMENT])
                    return True
                except RuntimeError:
                    continue
            return False
        if not until(clicked, 20):
            raise RuntimeError('no %s that can be clicked' % css)

    def type(self, css, text):
        self.ask('POST', self.element(css) + '/value', text=text)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        try:
            self.ask('DELETE', '')
        except (RuntimeError, OSError):
            pass
        self.driver.terminate()
        self.driver.wait(20)
        self.log.close()
