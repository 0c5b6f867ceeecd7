"""A file that holds keys: for nobody's eyes but ours, and never half a file.

Invariants
----------
* It is ours alone: a regular one, of our user, mode 0600, no link. Else it is not read.
* What is written appears whole under its name, or nothing does; no draft of it stays.
* An error names the file that was asked for, never a draft, and quotes no secret.
"""

import errno
import os
import secrets
import stat
from contextlib import suppress
from typing import Final

_MAX_FILE_BYTES: Final = 4096
_MODE: Final = 0o600


def read_private(path: str) -> bytes:
    """What the file holds, its first 4096 bytes at most.

    Raises:
        PermissionError: it is not ours alone.
        OSError: it cannot be read.
    """
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
        if mode != _MODE:
            raise PermissionError(
                f"the keys in {path} are not read: its mode is {mode:04o}, must be {_MODE:04o}"
            )
        return os.read(fd, _MAX_FILE_BYTES)
    finally:
        os.close(fd)


def write_private(path: str, text: str, *, replace: bool) -> None:
    """The file holds that; without ``replace`` one that is there already stays as it is.

    Raises:
        OSError: it cannot be made.
    """
    draft = f"{path}.{secrets.token_hex(4)}"
    try:
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
        try:
            with os.fdopen(fd, "w") as file:
                os.fchmod(fd, _MODE)
                file.write(text)
                file.flush()
                os.fsync(fd)
            if replace:
                os.replace(draft, path)
            else:
                with suppress(FileExistsError):
                    os.link(draft, path)
        finally:
            with suppress(FileNotFoundError):  # it has become the file
                os.unlink(draft)
    except OSError as error:
        raise OSError(error.errno, f"keys cannot be kept: {error.strerror}", path) from None
