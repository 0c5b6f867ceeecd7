"""Which option is to blame when something of the world's is not as it should be.

    --keys /etc/passwd: the keys in /etc/passwd are not read: its mode is 0644, must be 0600
    --join-file /no/such: No such file or directory
    --listen 192.0.2.1: cannot listen on 192.0.2.1:0: Cannot assign requested address

Invariants
----------
* One line, without the number of an error or the name of a class or of a draft.
* An option is blamed only for what it names.
"""

import os
import re
from collections.abc import Iterable

from shell.answers import one_line


def blame(error: BaseException, named: Iterable[tuple[str, str | None]] = ()) -> str:
    """What ``error`` says. ``named``: options, and the file or address that each names, if any."""
    text, path = str(error), None
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror
        if isinstance(error.filename, str | bytes):
            path = os.fsdecode(error.filename)
    for option, value in named:
        if not value:
            continue
        if path is not None and (path == value or path.startswith(f"{value}.")):
            return one_line(f"{option} {value}: {text}")
        if path is None and re.search(rf"(?<!\S){re.escape(value)}(?=[\s:,]|$)", text):
            return one_line(f"{option} {value}: {text.removeprefix(f'{value}: ')}")
    if path is not None:
        text = f"{path}: {text}"
    return one_line(text or type(error).__name__)
