"""The file that keeps the keys of a long-lived system (`runtime.network.keys`).

Invariants
----------
* A file is ours alone: a regular one, of our user, mode 0600, no link. Else it is not read.
* A file that is made is complete or not there, and never replaces another.
* No error quotes a secret.
"""

import errno
import os
import secrets
import stat
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from runtime.network.keys import Keys, new_keys
from runtime.network.tcp_endpoint import from_text, to_text

_HEAD: Final = "# regrow keys: who can read this file belongs to the system\n"
_MAX_FILE_BYTES: Final = 4096
MODE: Final = 0o600
_NAMES: Final = ("own", "member")


def keep_keys(path: str) -> Keys:
    """The controller's keys that the file holds; it is made if there is none.

    Raises:
        PermissionError: it is not ours alone.
        OSError: it cannot be read or made, or holds something else.
    """
    try:
        return read_keys(path)
    except FileNotFoundError:
        pass
    keys = new_keys()
    draft = f"{path}.{secrets.token_hex(4)}"
    try:
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE)
    except OSError as error:
        raise type(error)(error.errno, f"keys cannot be kept: {error.strerror}", path) from None
    try:
        with os.fdopen(fd, "w") as file:
            os.fchmod(fd, MODE)
            file.write(f"{_HEAD}own = {to_text(keys.own)}\nmember = {to_text(keys.member)}\n")
            file.flush()
            os.fsync(fd)
        with suppress(FileExistsError):  # somebody was faster: his keys it is
            os.link(draft, path)
    finally:
        os.unlink(draft)
    return read_keys(path)


def read_keys(path: str) -> Keys:
    """The keys that the file holds.

    Raises:
        PermissionError: it is not ours alone.
        OSError: it cannot be read, or holds something else.
    """
    found = parse_file(path, read_private(path), _NAMES)
    return Keys(found["own"], found["member"])


def read_private(path: str) -> bytes:
    """The content of a file of secrets. Raises like `read_keys`."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise PermissionError(f"the keys in {path} are not read: it is a link") from error
        raise
    try:
        found = os.fstat(fd)
        mode = stat.S_IMODE(found.st_mode)
        if not stat.S_ISREG(found.st_mode):
            raise PermissionError(f"the keys in {path} are not read: it is no regular file")
        if found.st_uid != os.geteuid():
            raise PermissionError(
                f"the keys in {path} are not read: it belongs to user {found.st_uid}, "
                f"and we are user {os.geteuid()}"
            )
        if mode != MODE:
            raise PermissionError(
                f"the keys in {path} are not read: its mode is {mode:04o}, must be {MODE:04o}"
            )
        return os.read(fd, _MAX_FILE_BYTES)
    finally:
        os.close(fd)


def parse_file(path: str, data: bytes, names: Sequence[str]) -> dict[str, bytes]:
    """The keys of these names that a file holds: NAME = KEY, a line each.

    Raises:
        OSError: it does not.
    """
    wanted = [f"{name} = KEY" for name in names]
    found: dict[str, bytes] = {}
    for number, line in enumerate(data.decode("ascii", "replace").splitlines(), 1):
        name, equals, text = line.partition("=")
        name = name.strip()
        if not line.strip() or line.startswith("#"):
            continue
        if not equals or name not in names or name in found:
            raise OSError(f"{path}: line {number} is not {' or '.join(wanted)}, once each")
        try:
            found[name] = from_text(text.strip())
        except ValueError as error:
            raise OSError(f"{path}: line {number}: {error}") from None
    if len(found) != len(names):
        raise OSError(f"{path} does not hold both keys: {' and '.join(wanted)}")
    return found
