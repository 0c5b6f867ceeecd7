"""What somebody on another host must have in order to join a system: a file.

It holds the public half of the controller's pair, by which the joiner knows whom he talks to, and
the members' secret, which lets him in. The controller's own secret is not in it. The controller
writes it; to carry it over is for the user, as with any key.

Invariants
----------
* It is ours alone, like a file of keys (`runtime.network.key_file`), at both ends; else it is
  refused.
* A file that is no such file is never overwritten; one that is, is replaced as a whole.
"""

import os
import secrets
from typing import Final

import msgspec

from runtime.network.key_file import MODE, parse_file, read_private
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
    draft = f"{path}.{secrets.token_hex(4)}"
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE)
    try:
        with os.fdopen(fd, "w") as file:
            os.fchmod(fd, MODE)
            file.write(
                f"{_HEAD}controller = {to_text(given.controller)}\n"
                f"member = {to_text(given.member)}\n"
            )
            file.flush()
            os.fsync(fd)
        os.rename(draft, path)
    except OSError:
        os.unlink(draft)
        raise


def read_pass(path: str) -> Pass:
    """What the file holds.

    Raises:
        PermissionError: it is not ours alone.
        OSError: it cannot be read, or holds something else.
    """
    found = parse_file(path, read_private(path), _NAMES)
    return Pass(found["controller"], found["member"])
