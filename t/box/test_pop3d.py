#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Dialogues with a POP3 session, by itself on a socket pair: t/box/pop3d."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))
from talk import play_all

play_all('pop3d')
