"""What a user asks of the wire: which one, where, for whom.

Invariants
----------
* What cannot be is said before anything is opened: `ValueError` names the thing and the value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from runtime.multipath.path_owner import Owner
    from runtime.network.tcp_endpoint import Site

Kind = Literal["ipc", "tcp", "mptcp"]
LOOPBACK = "127.0.0.1"


class Net(msgspec.Struct, frozen=True):
    """What a user asked for.

    ``listen``: where the controller listens, with its ports; nodes do on the same addresses, on
    any ports. ``keys``: the file of a long-lived system. ``insecure``: no keys, loopback alone.
    ``join_file``: where to write what a joiner needs. ``path_manager``: who manages the paths of
    Multipath TCP. ``tos``: the type of service of what is sent.
    """

    kind: Kind = "ipc"
    listen: tuple[Site, ...] = ()
    keys: str | None = None
    insecure: bool = False
    join_file: str | None = None
    path_manager: Owner = "kernel"
    tos: int = 0


IPC = Net()


def as_keyword(name: str, value: object) -> str:
    """How a program spells what it has asked for."""
    return f"{name}={value!r}"


def check_net(
    kind: str,
    listen: Sequence[str] = (),
    keys: str | None = None,
    insecure: bool = False,
    join_file: str | None = None,
    path_manager: str = "kernel",
    tos: int = 0,
    spelled: Callable[[str, object], str] = as_keyword,
) -> Net:
    """What a user has said, if it makes sense. ``spelled``: how he has said it, for the error.

    Raises:
        ValueError: it does not.
    """
    if kind not in ("ipc", "tcp", "mptcp"):
        raise ValueError(f"transport must be ipc, tcp or mptcp, not {kind!r}")
    if path_manager not in ("kernel", "userspace"):
        raise ValueError(f"path_manager must be kernel or userspace, not {path_manager!r}")
    if kind == "ipc":
        given = {
            "listen": listen,
            "keys": keys,
            "insecure": insecure,
            "join_file": join_file,
            "path_manager": "" if path_manager == "kernel" else path_manager,
            "tos": tos,
        }
        for name, value in given.items():
            if value:
                told, ipc = spelled(name, value), spelled("transport", kind)
                raise ValueError(f"{told} is for a network: not with {ipc}")
        return IPC
    from runtime.network.tcp_endpoint import parse_site
    from runtime.network.type_of_service import check_tos
    from runtime.wires.zmq_tcp import check_safe

    if isinstance(listen, str):
        raise ValueError(f"listen is a list of addresses: [{listen!r}], not {listen!r}")
    for name, file in (("keys", keys), ("join_file", join_file)):
        if insecure and file is not None:
            none = f"{spelled('insecure', insecure)} means that there are no keys"
            raise ValueError(f"{none}: not with {spelled(name, file)}")
    found: list[Site] = []
    for each in listen or (LOOPBACK,):
        try:
            found.append(parse_site(each))
            if insecure:
                check_safe(found[-1:], None)
        except ValueError as error:
            raise ValueError(f"{spelled('listen', each)}: {error}") from error
    sites = tuple(found)
    if kind == "tcp":
        if path_manager != "kernel":
            told, tcp = spelled("path_manager", path_manager), spelled("transport", kind)
            raise ValueError(f"{told} is for mptcp: not with {tcp}")
        return Net("tcp", sites, keys, insecure, join_file, tos=check_tos(tos))
    owner: Owner = "kernel" if path_manager == "kernel" else "userspace"
    return Net("mptcp", sites, keys, insecure, join_file, owner, check_tos(tos))
