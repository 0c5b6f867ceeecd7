"""The machine: addresses, envelopes, mailboxes, transports, processes.

Reads upwards: errors and addresses -> envelopes -> tables -> cells -> transports
-> processes. Nothing in this package imports ``actors`` or ``shell``.
"""

import sys

if sys.platform != "linux" or sys.version_info < (3, 11):
    raise ImportError(
        "regrow needs Linux (pidfd) and Python 3.11 or later, "
        f"not {sys.platform} with Python {sys.version.partition(' ')[0]}"
    )
