"""Which option is to blame."""

from __future__ import annotations

import errno

import pytest

from runtime.errors import SpawnError
from shell.blame import blame

FILES = {"--keys": "/a/keys", "--join-file": "/a/join", "--other": None}


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
    ],
    ids=str,
)
def test_an_option_is_blamed_for_the_file_that_it_names(error: Exception, said: str) -> None:
    assert blame(error, FILES) == said
