"""Which option is to blame."""

from __future__ import annotations

import errno

import pytest

from runtime.errors import SpawnError
from shell.blame import blame

NAMED = [
    ("--keys", "/a/keys"),
    ("--join-file", "/a/join"),
    ("--other", None),
    ("--listen", "192.0.2.1"),
    ("--listen", "[2001:db8::7]:55"),
]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.EACCES, "Denied", "/a/keys"), "--keys /a/keys: Denied"),
        (
            OSError(errno.ENOENT, "No such file", "/a/join.0f3a"),
            "--join-file /a/join: No such file",
        ),
        (OSError(errno.ENOENT, "No such file", "/a/joiner"), "/a/joiner: No such file"),
        (OSError(errno.EMFILE, "Too many open files"), "Too many open files"),
        (PermissionError("/a/join: line 1 is not so"), "--join-file /a/join: line 1 is not so"),
        (PermissionError("in /a/keys: no"), "--keys /a/keys: in /a/keys: no"),
        (SpawnError("/a/keyset is not there"), "/a/keyset is not there"),
        (SpawnError("two\nlines"), "two\\nlines"),
        (OSError(), "OSError"),
        (OSError("cannot listen on 192.0.2.1:0: No"),
         "--listen 192.0.2.1: cannot listen on 192.0.2.1:0: No"),
        (OSError("cannot listen on 192.0.2.10:0: No"), "cannot listen on 192.0.2.10:0: No"),
        (OSError("cannot listen on [2001:db8::7]:55: No"),
         "--listen [2001:db8::7]:55: cannot listen on [2001:db8::7]:55: No"),
    ],
    ids=str,
)  # fmt: skip
def test_an_option_is_blamed_for_what_it_names(error: Exception, said: str) -> None:
    assert blame(error, NAMED) == said
