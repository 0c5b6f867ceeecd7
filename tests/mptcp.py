"""MPTCP sockets for the tests: pairs over loopback, and why there can be none."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

IPPROTO_MPTCP = socket.IPPROTO_MPTCP


def missing() -> str:
    """Why this machine has no Multipath TCP, "" if it has."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP).close()
    except OSError as error:
        return f"no MPTCP sockets ({error.strerror}): CONFIG_MPTCP, net.mptcp.enabled=1"
    return ""


@contextmanager
def loopback_pair(
    family: int = socket.AF_INET, proto: int = IPPROTO_MPTCP
) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A client that speaks ``proto``, and what an MPTCP listener accepted of it."""
    host = "127.0.0.1" if family == socket.AF_INET else "::1"
    with (
        socket.socket(family, socket.SOCK_STREAM, IPPROTO_MPTCP) as listener,
        socket.socket(family, socket.SOCK_STREAM, proto) as client,
    ):
        listener.bind((host, 0))
        listener.listen()
        for sock in (listener, client):
            sock.settimeout(10.0)
        client.connect(listener.getsockname())
        server, _ = listener.accept()
        with server:
            server.settimeout(10.0)
            yield client, server


def transfer(sender: socket.socket, receiver: socket.socket, count: int) -> None:
    """That many bytes have come across; at most what a socket buffers."""
    sender.sendall(bytes(count))
    while count:
        count -= len(receiver.recv(count))
