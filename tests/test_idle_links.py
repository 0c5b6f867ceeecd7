"""A connection that nobody uses is closed, and opened again by the next use."""

import pytest
import trio

from runtime.traffic import outbox
from tests.test_calls import Counter, every_kind, open_pair


@every_kind
async def test_an_idle_connection_is_closed_and_the_pair_lives_on(
    kind: str, simple: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_pair(kind, simple) as pair:
        with trio.fail_after(5):
            assert await pair.ask(Counter.add, 1) == 1
            peer = pair.near.peer(pair.target.endpoint)
            pair.near.close_idle()
            assert peer.connected
            await trio.sleep(0.3)  # what was handled has been reported
            monkeypatch.setattr(outbox, "IDLE_S", 0.0)
            for exchange in (pair.near, pair.far):
                exchange.close_idle()
            assert not peer.connected
            monkeypatch.undo()
            for number in (2, 3):
                assert await pair.ask(Counter.add, 1) == number
            assert peer.connected
