"""A laboratory: hosts that are network namespaces, and wires between them.

    server, client = lab.pair(wires=2)      # `lab` is a fixture of the harness
    lab.enter(server)                       # this process is on that host from now on
    client.popen("regrow", "join", "10.0.1.1:5555", "--key", ...)
    client.filter("output oifname eth1 drop")

A `Host` is a namespace. Its verbs go in, do one thing, and come back; what they made (a socket, a
process) stays inside. So one trio task can hold sockets of several hosts.

Invariants
----------
* A namespace has no name: it ends with the last descriptor or process that holds it. What crashes
  leaves nothing behind, and nobody has to clean up after it.
* A process that `Host.popen` started does not outlive its host.
* This process is back in its own namespace whenever a verb has returned, but for `Lab.enter`, and
  at the end of the laboratory in any case. Only its first thread goes anywhere, and it never waits
  within `Host.inside`.
* Where a laboratory cannot be had, `missing` says why, in a sentence that helps.

Needs root, or ``unshare -Urn`` around it; ``ip`` and ``tc`` (iproute2), ``nft`` for `Host.filter`,
and ``/dev/net/tun`` for `Lab.open_wire`.
"""

import ctypes
import os
import shutil
import socket
import struct
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager, ExitStack, contextmanager
from typing import Any, Final

from actors.testing.lab_wire import Wire, open_wire
from runtime.multipath import counters

_CLONE_NEWNET: Final = 0x40000000
_OWN: Final = "/proc/thread-self/ns/net"
_INSTALL: Final = {"ip": "iproute2", "nft": "nftables", "tc": "iproute2"}

_libc: Final = ctypes.CDLL(None, use_errno=True)


def missing(*tools: str) -> str:
    """Why there can be no laboratory here, "" if there can."""
    for tool in ("ip", *tools):
        if shutil.which(tool) is None:
            return f"no {tool}: apt-get install {_INSTALL.get(tool, tool)}"
    try:
        with open_host("probe") as host, host.inside():
            pass
    except OSError as error:
        return f"no network namespaces ({error.strerror}): run it as root, or in `unshare -Urn`"
    return ""


def _call(name: str, *arguments: object) -> None:
    if getattr(_libc, name)(*arguments) == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


@contextmanager
def without_net_admin() -> Iterator[None]:
    """This thread does without CAP_NET_ADMIN, as if it were nobody's."""
    header = struct.pack("=Ii", 0x20080522, 0)
    held = ctypes.create_string_buffer(24)
    _call("capget", header, held)
    less = bytearray(held.raw)
    less[1] &= ~(1 << 4)  # bit 12 of the effective ones, which come first
    _call("capset", header, bytes(less))
    try:
        yield
    finally:
        _call("capset", header, held)


class Host:
    """A network namespace. ``name`` is for messages."""

    def __init__(self, name: str, fd: int) -> None:
        self.name = name
        self._fd = fd
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def path(self) -> str:
        """What ``ip`` and ``nsenter`` take for its name."""
        return f"/proc/{os.getpid()}/fd/{self._fd}"

    @contextmanager
    def inside(self) -> Iterator[None]:
        """This thread is in the namespace; nothing may be waited for within the block."""
        own = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _call("setns", self._fd, _CLONE_NEWNET)
            try:
                yield
            finally:
                _call("setns", own, _CLONE_NEWNET)
        finally:
            os.close(own)

    def socket(self, family: int, type: int = socket.SOCK_STREAM, proto: int = 0) -> socket.socket:
        """A socket of this host: it stays one, wherever it is used."""
        with self.inside():
            return socket.socket(family, type, proto)

    def run(self, *argv: str, stdin: str = "") -> str:
        """What the command printed.

        Raises:
            RuntimeError: it failed; the message has what it said.
        """
        with self.inside():
            done = subprocess.run(
                argv, input=stdin, capture_output=True, text=True, timeout=30.0, check=False
            )
        if done.returncode:
            said = done.stderr.strip() or done.stdout.strip()
            raise RuntimeError(f"{self.name}: {' '.join(argv)}: {said}\n{stdin}")
        return done.stdout

    def popen(
        self, *argv: str, environ: Mapping[str, str] | None = None, **options: Any
    ) -> subprocess.Popen[bytes]:
        """A process of this host, and all that it starts; ``options`` are those of Popen."""
        with self.inside():
            process = subprocess.Popen(argv, env=environ, **options)
        self._processes.append(process)
        return process

    def ip(self, *lines: str) -> None:
        """Commands of ``ip``, without its name, in one go."""
        self.run("ip", "-batch", "-", stdin="\n".join(lines))

    def filter(self, *rules: str) -> None:
        """Rules of nftables, each ``input RULE`` or ``output RULE``."""
        lines = ["add table inet lab"]
        lines += [
            f"add chain inet lab {hook} {{ type filter hook {hook} priority 0; }}"
            for hook in ("input", "output")
        ]
        lines += [f"add rule inet lab {rule}" for rule in rules]
        self.run("nft", "-f", "-", stdin="\n".join(lines))

    def unfilter(self) -> None:
        """No rule is left."""
        self.run("nft", "flush", "ruleset")

    def shape(self, device: str, rate: str = "20mbit", burst: str = "16kb") -> None:
        """What leaves by that device is held to the rate; 50 ms of it may wait."""
        self.run(
            *("tc", "qdisc", "replace", "dev", device, "root", "tbf"),
            *("rate", rate, "burst", burst, "latency", "50ms"),
        )

    def sysctl(self, name: str, value: int | str) -> None:
        """``net.mptcp.enabled`` and the like."""
        with self.inside(), open(f"/proc/sys/{name.replace('.', '/')}", "w") as file:
            file.write(str(value))

    def counters(self) -> Mapping[str, int]:
        """The MPTCP counters."""
        with self.inside():
            return counters.read_counters()

    def tcp_counters(self) -> Mapping[str, int]:
        with self.inside():
            return counters.read_tcp_counters()

    def interface(self, device: str) -> int:
        """The index of a device."""
        with self.inside():
            return socket.if_nametoindex(device)

    def has_device(self, device: str) -> bool:
        with self.inside():
            return device in [name for _, name in socket.if_nameindex()]

    def sent_bytes(self, device: str) -> int:
        """What has left by a device, headers and all."""
        with self.inside(), open("/proc/thread-self/net/dev") as file:
            for line in file:
                name, _, numbers = line.partition(":")
                if name.strip() == device:
                    return int(numbers.split()[8])
        raise LookupError(f"{self.name} has no device {device}")

    def close(self) -> None:
        """Its processes are gone, and so is what they had of it."""
        for process in self._processes:
            process.kill()
            process.wait()
        os.close(self._fd)


@contextmanager
def open_host(name: str) -> Iterator[Host]:
    """A host with nothing but a loopback device that is up."""
    own = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _call("unshare", _CLONE_NEWNET)
        try:
            host = Host(name, os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC))
        finally:
            _call("setns", own, _CLONE_NEWNET)
    finally:
        os.close(own)
    try:
        host.ip("link set lo up")
        yield host
    finally:
        host.close()


def connect(left: Host, right: Host, wires: int = 4, first: int = 1) -> None:
    """Pairs of veth: device ``eth1`` to ``eth4`` of one is a wire to that of the other.

    On wire i, counted from ``first``: 10.0.i.1/24 and dead:beef:i::1/64 left, .2 and ::2 right. The
    right host reaches every address of the left one by any wire.
    """
    names = range(first, first + wires)
    left.ip(
        *(f"link add eth{i} type veth peer name eth{i} netns {right.path}" for i in names),
        *(f"addr add 10.0.{i}.1/24 dev eth{i}" for i in names),
        *(f"addr add dead:beef:{i}::1/64 dev eth{i} nodad" for i in names),
        *(f"link set eth{i} up" for i in names),
    )
    right.ip(
        *(f"addr add 10.0.{i}.2/24 dev eth{i}" for i in names),
        *(f"addr add dead:beef:{i}::2/64 dev eth{i} nodad" for i in names),
        *(f"link set eth{i} up" for i in names),
    )
    restore_routes(left, right, wires, first)


def restore_routes(left: Host, right: Host, wires: int = 4, first: int = 1) -> None:
    """What `connect` had routed is routed again: a device that goes down loses its routes.

    Its IPv6 addresses too, at the host that took it down.
    """
    for host, last in ((left, 1), (right, 2)):
        names = [i for i in range(first, first + wires) if host.has_device(f"eth{i}")]
        host.ip(
            *(f"addr replace dead:beef:{i}::{last}/64 dev eth{i} nodad" for i in names),
        )
    right.ip(
        *(f"route replace default via 10.0.{i}.1 dev eth{i} metric 10{i}" for i in names),
        *(f"route replace ::/0 via dead:beef:{i}::1 dev eth{i} metric 10{i}" for i in names),
    )


class Lab:
    """The hosts of one test, and what is between them; all of it ends with `open_lab`'s block."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def host(self, name: str) -> Host:
        """A host of its own, connected to nothing."""
        host = self._stack.enter_context(open_host(name))
        for which in ("all", "default"):  # answers may leave by another wire
            host.sysctl(f"net.ipv4.conf.{which}.rp_filter", 0)
        return host

    def pair(self, wires: int = 2) -> tuple[Host, Host]:
        """Two hosts, ``server`` and ``client``, and that many wires between them; see `connect`."""
        server, client = self.host("server"), self.host("client")
        connect(server, client, wires)
        return server, client

    def connect(self, left: Host, right: Host, wires: int = 1, first: int = 1) -> None:
        """More wires; their numbers must be new to both hosts. See `connect`."""
        connect(left, right, wires, first)

    def open_wire(
        self, left: Host, right: Host, number: int, *, seed: int = 0
    ) -> AbstractAsyncContextManager[Wire]:
        """A wire that delays, loses, corrupts, or is cut, by order; see `open_wire`."""
        return open_wire(left, right, number, seed=seed)

    def enter(self, host: Host) -> None:
        """This process is on that host until the end: what it opens and starts is there."""
        self._stack.enter_context(host.inside())


@contextmanager
def open_lab() -> Iterator[Lab]:
    """A laboratory without hosts.

    Raises:
        OSError, RuntimeError: there can be none, as `missing` would have said.
    """
    with ExitStack() as stack:
        yield Lab(stack)


@contextmanager
def open_pair(wires: int = 4) -> Iterator[tuple[Host, Host]]:
    """As `Lab.pair`."""
    with open_lab() as lab:
        yield lab.pair(wires)
