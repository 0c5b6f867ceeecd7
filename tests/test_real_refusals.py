"""Who is not let in hears of it at once: what `regrow join` says of keys."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
import trio

from actors.system import System, open_system
from runtime.errors import SpawnError
from runtime.hosts import joined_node
from runtime.hosts.joined_node import Wish
from runtime.network.join_file import Pass, read_pass
from runtime.network.keys import new_secret
from runtime.network.tcp_endpoint import Site, parse_endpoint
from runtime.wires.net import Kind
from runtime.wires.zmq_tcp import public_of
from shell.joining import join_system
from tests.real import ANSWER_S

pytestmark = pytest.mark.real
transports = pytest.mark.parametrize("transport", ["tcp", "mptcp"])
WRONG_KEYS = {
    "of another controller": (True, False, "hangs up: is it a controller that listens"),
    "of no member": (False, True, "does not take the key: is it that of its present system?"),
    "of another system": (True, True, "hangs up: is it a controller that listens"),
}


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody hears of it because of a timeout."""
    monkeypatch.setattr(joined_node, "ANSWER_S", math.inf)


async def refusal(system: System, transport: Kind, key: Pass | None) -> str:
    """What somebody with that key is told."""
    site = Site("127.0.0.1", parse_endpoint(system.exchange.address.endpoint).sites[0].port)
    with trio.fail_after(ANSWER_S), pytest.raises(SpawnError) as refused:
        await joined_node.join(Wish(site, key, "a:B", b"", "", "far", kind=transport))
    assert await system.tree() == []
    return str(refused.value).removeprefix(f"{site} ")


@pytest.mark.parametrize(("controller", "member", "why"), WRONG_KEYS.values(), ids=WRONG_KEYS)
@transports
async def test_a_wrong_key_is_told_at_once(
    transport: Kind, controller: bool, member: bool, why: str, tmp_path: Path
) -> None:
    file = str(tmp_path / "join")
    async with open_system(transport=transport, join_file=file) as system:
        right = read_pass(file)
        key = Pass(
            public_of(new_secret()) if controller else right.controller,
            new_secret() if member else right.member,
        )
        assert (await refusal(system, transport, key)).startswith(why)


@transports
@pytest.mark.parametrize("insecure", [True, False], ids=["it has none", "we have none"])
async def test_keys_and_none_do_not_go_together(transport: Kind, insecure: bool) -> None:
    ours = Pass(public_of(new_secret()), new_secret()) if insecure else None
    async with open_system(transport=transport, insecure=insecure) as system:
        why = await refusal(system, transport, ours)
        # Who of the two finds out first hangs up on the other.
        assert re.match("is not of that kind: one of you has keys|hangs up: .*key, or none", why)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["192.0.2.1:5", "--insecure"], "192.0.2.1:5 is no loopback address"),
        (["127.0.0.1:5", "--insecure", "--listen", "192.0.2.1"], "192.0.2.1:0 is no loopback"),
        (["127.0.0.1:5"], "say --key FILE, or --insecure"),
        (["127.0.0.1:5", "--insecure", "--key", "x"], "say --key FILE, or --insecure"),
        (["127.0.0.1:5", "--insecure", "--tos", "9"], "--tos: a type of service is .*, not 9"),
    ],
    ids=["a far controller", "a far address", "neither", "both", "a bad tos"],
)
def test_what_makes_no_sense_is_refused_before_anything_is_opened(
    arguments: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        join_system(arguments)
    assert ended.value.code == 2
    assert re.search(why, capsys.readouterr().err)
