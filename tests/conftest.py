"""What several test files share."""

from collections.abc import Iterator

import pytest

from tests.real import assert_nothing_left, home_folder


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Where the run folders of this test are, and what marks its processes.

    Nothing of either may be left when the test is over.
    """
    with home_folder() as home:
        monkeypatch.setenv("TMPDIR", home)
        monkeypatch.setenv("XDG_RUNTIME_DIR", home)
        yield home
        assert_nothing_left(home)
