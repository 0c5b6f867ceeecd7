"""The kernel's MPTCP counters (MIB) of a network namespace.

``/proc/net/netstat`` has pairs of lines: a prefix with names, and the prefix with numbers.

Invariants
----------
* A counter that this kernel has not is missing, never 0.
* Counters only grow, but for ``MPCurrEstab``, which is how many connections there are.

Source: ``net/mptcp/mib.c`` of Linux 6.18, and RFC 8684 for what is counted.
"""

from collections.abc import Mapping
from typing import Final

NETSTAT: Final = "/proc/thread-self/net/netstat"
SNMP: Final = "/proc/thread-self/net/snmp"
"""Of the namespace this thread is in; ``/proc/self`` would be that of the first one."""


def parse_counters(text: str, prefix: str = "MPTcpExt") -> dict[str, int]:
    """The counters under that prefix; empty where the kernel has none.

    Raises:
        ValueError: two lines of a pair do not match.
    """
    lines = [line for line in text.splitlines() if line.startswith(f"{prefix}:")]
    found: dict[str, int] = {}
    for names, numbers in zip(lines[::2], lines[1::2], strict=True):
        pairs = zip(names.split()[1:], numbers.split()[1:], strict=True)
        found |= {name: int(number) for name, number in pairs}
    return found


def read_counters() -> Mapping[str, int]:
    """The MPTCP counters of the namespace this thread is in; empty without Multipath TCP."""
    with open(NETSTAT) as file:
        return parse_counters(file.read())


def read_tcp_counters() -> Mapping[str, int]:
    """Those of TCP (``AttemptFails``, ``RetransSegs``, ...), plain or in subflows."""
    with open(SNMP) as file:
        return parse_counters(file.read(), "Tcp")
