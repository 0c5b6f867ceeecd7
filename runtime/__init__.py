"""The machine: addresses, envelopes, mailboxes, transports, processes.

Reads upwards, each room importing from those before it alone: `network` (addresses and keys of a
network) and `multipath` (its paths), `messages` (values and their bytes), `weather` (what befalls
them), `processes` (the kernel's, and the zygote), `wires` (transports), `traffic` (the exchange:
pairs, credit, accounts), `cells` (actors' frames and callers), `detection` (who is silent), `hosts`
(where nodes live), `lockstep` (virtual time over real processes). What all speak of, errors and
addresses, lies beside them. Nothing in this package imports ``actors`` or ``shell``.
"""

import sys

if sys.platform != "linux" or sys.version_info < (3, 11):
    raise ImportError(
        "regrow needs Linux (pidfd) and Python 3.11 or later, "
        f"not {sys.platform} with Python {sys.version.partition(' ')[0]}"
    )
