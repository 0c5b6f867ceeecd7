"""A controller that is killed while it restarts its nodes."""

import json
import signal
import sys

import pytest
import trio

from tests.real import GONE_S, open_console

pytestmark = pytest.mark.real


@pytest.mark.parametrize("wait_s", [0.05, 0.3, 0.31, 0.32])
async def test_a_controller_that_dies_among_restarts_leaves_nothing(wait_s: float) -> None:
    async with open_console(argv=(sys.executable, "-m", "tests.regrown")) as program:
        assert json.loads(await program.line()) == {"ready": True}
        await trio.sleep(wait_s)
        program.signal(signal.SIGKILL)
        await program.nothing_left(GONE_S)
