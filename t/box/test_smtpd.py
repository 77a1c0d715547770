#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Dialogues with smtpd, by itself on a socket pair: t/box/smtpd."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
from talk import play_all

play_all('smtpd')
