"""What a node's process has loaded: what it takes, and nothing that only a network takes."""

import pytest

from actors.system import open_system
from runtime.hosts.rehearsal import LIVES
from runtime.wires.net import check_net
from runtime.wires.wiring import NETWORK, wiring
from tests.real import OVER
from tests.real_actors import Counter

pytestmark = pytest.mark.real

FOR_NETWORKS = {
    NETWORK,
    "runtime.multipath.accepted",
    "runtime.multipath.network_link",
    "runtime.multipath.pump",
    "runtime.network.listening",
    "runtime.network.wall",
    "runtime.wires.reliable",
    "runtime.wires.zmq_door",
    "runtime.wires.zmq_mptcp",
    "runtime.wires.zmq_tcp",
}
FOR_SOME = {"actors.path_manager", "actors.testing.probe", "runtime.multipath.path_manager"}


async def loaded(transport: str, insecure: bool = False) -> set[str]:
    async with open_system(transport=transport, insecure=insecure, signals=False) as system:
        node = await system.spawn(Counter)
        found = set(await node.ask(Counter.loaded))
    return found


@pytest.mark.skipif(bool(OVER), reason="every system is on a network")
async def test_a_node_on_ipc_has_loaded_nothing_of_networks() -> None:
    assert not await loaded("ipc") & (FOR_NETWORKS | FOR_SOME)


async def test_a_node_is_a_fork_of_what_has_rehearsed_its_life() -> None:
    async with open_system(signals=False) as system:
        node = await system.spawn(Counter)
        assert await node.ask(Counter.rehearsed) == LIVES


async def test_a_node_on_a_network_has_loaded_what_that_takes() -> None:
    assert await loaded("tcp", insecure=True) > FOR_NETWORKS


def test_what_a_network_takes_is_loaded_once_for_all_nodes() -> None:
    assert wiring(check_net("tcp", insecure=True), "").modules == (NETWORK,)
    assert wiring(check_net("ipc"), "").modules == ()
