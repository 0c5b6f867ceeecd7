"""What somebody on another host must have in order to join a system: a file.

It holds the public half of the controller's pair, by which the joiner knows whom he talks to, and
the members' secret, which lets him in. The controller's own secret is not in it. The controller
writes it; to carry it over is for the user, as with any key.

Invariants
----------
* It is a private file (`runtime.network.private_file`) at both ends; else it is refused.
* A file that is no such file is never overwritten; one that is, is replaced as a whole.
"""

import os
from contextlib import suppress
from typing import Final

import msgspec

from runtime.network.key_file import parse_file
from runtime.network.private_file import read_private, write_private
from runtime.network.tcp_endpoint import to_text

_HEAD: Final = "# regrow join: who can read this file can join the system\n"
_NAMES: Final = ("controller", "member")


class Pass(msgspec.Struct, frozen=True):
    """``controller``: its public key; ``member``: the secret half of the members'."""

    controller: bytes
    member: bytes

    def __repr__(self) -> str:
        return "Pass(...)"


def write_pass(path: str, given: Pass) -> None:
    """The file at ``path`` holds it.

    Raises:
        PermissionError: there is one that is not ours alone.
        OSError: there is something else, or it cannot be written.
    """
    try:
        if read_pass(path) == given:
            return
    except FileNotFoundError:
        pass
    text = f"{_HEAD}controller = {to_text(given.controller)}\nmember = {to_text(given.member)}\n"
    write_private(path, text, replace=True)


def remove_pass(path: str, given: Pass) -> None:
    """The file is gone, if it still holds that; what cannot be read, or removed, stays."""
    with suppress(OSError):
        if read_pass(path) == given:
            os.unlink(path)


def read_pass(path: str) -> Pass:
    """What the file holds.

    Raises:
        PermissionError: it is not ours alone.
        OSError: it cannot be read, or holds something else.
    """
    found = parse_file(path, read_private(path), _NAMES)
    return Pass(found["controller"], found["member"])
