# SPDX-License-Identifier: ISC
"""What somebody, somewhere, takes for the end of a message: a dot between two
ends of a line, or what might pass for them.  Some hold the real end."""
import itertools

END = b'\r\n.\r\n'
BEFORE = [b'\r\n', b'\n', b'\r', b'\r\r\n', b'\r\n\r', b'\n\r', b'\r\0\n',
          b'\n\n']
AFTER = [b'\r\n', b'\n', b'\r', b'\r\r\n', b'\r\n\r', b'\n\r', b'\r\0\n',
         b'\n\n', b'\r\r', b'\0\n']
SPELLINGS = list(itertools.product(BEFORE, AFTER))
