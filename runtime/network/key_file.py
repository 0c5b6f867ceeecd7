"""The file that keeps the keys of a long-lived system (`runtime.network.keys`).

Invariants
----------
* It is a private file (`runtime.network.private_file`), and never replaces another.
* No error quotes a secret.
"""

from collections.abc import Sequence
from typing import Final

from runtime.network.keys import Keys, new_keys
from runtime.network.private_file import read_private, write_private
from runtime.network.tcp_endpoint import from_text, to_text

_HEAD: Final = "# regrow keys: who can read this file belongs to the system\n"
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
    text = f"{_HEAD}own = {to_text(keys.own)}\nmember = {to_text(keys.member)}\n"
    write_private(path, text, replace=False)
    return read_keys(path)  # of whoever was faster


def read_keys(path: str) -> Keys:
    """The keys that the file holds.

    Raises:
        PermissionError: it is not ours alone.
        OSError: it cannot be read, or holds something else.
    """
    found = parse_file(path, read_private(path), _NAMES)
    return Keys(found["own"], found["member"])


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
