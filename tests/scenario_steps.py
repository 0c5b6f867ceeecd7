"""What can be done at either end of a scenario. Each verb gives a step to be taken."""

from __future__ import annotations

import fcntl
import socket
import struct
from typing import Final

import trio

from runtime.multipath.endpoint import Endpoint, Flags, Limits
from runtime.multipath.event import Created, Established, SubflowEstablished
from runtime.multipath.statistics import SocketAddress
from tests.scenario import Check, Checks, Side, Step
from tests.scenario_scene import SIDES, Scene

STEP_S = 10.0
_SIOCSIFFLAGS: Final = 0x8914


NO_ZERO: Final = "id 0, the initial address"
NO_MESH: Final = "the full-mesh flag"
NO_OWNER: Final = "one connection's own addresses and subflows"


def limits(side: Side, accepted: int, subflows: int) -> Step:
    async def step(scene: Scene) -> None:
        wanted = Limits(accepted, subflows)
        if (manager := scene.manager(side)) is None:
            await scene.paths[side].set_limits(wanted)
            return
        await manager.set_limits(wanted)
        assert await manager.limits() == wanted

    return step


def add(
    side: Side, address: str, flags: Flags, *, id: int = 0, port: int = 0, device: str = ""
) -> Step:
    async def step(scene: Scene) -> None:
        index = scene.hosts[side].interface(device) if device else 0
        await (scene.manager(side) or scene.paths[side]).add(
            Endpoint(address, flags, id, port, index)
        )
        there = [each for each in await scene.endpoints(side) if each.address == _text(address)]
        assert [(each.flags, each.port, each.interface) for each in there] == [(flags, port, index)]
        assert not id or there[0].id == id

    return step


def _text(address: str) -> str:
    """As the kernel writes it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.inet_ntop(family, socket.inet_pton(family, address))


def refused_add(side: Side, address: str, flags: Flags, *, id: int = 0) -> Step:
    async def step(scene: Scene) -> None:
        before = await scene.endpoints(side)
        try:
            await (scene.manager(side) or scene.paths[side]).add(Endpoint(address, flags, id))
        except OSError:
            assert await scene.endpoints(side) == before
            return
        raise AssertionError(f"endpoint {address} id {id} was not refused")

    return step


def delete(side: Side, id: int, address: str = "") -> Step:
    """The endpoint of that id; id 0 is the initial address."""

    async def step(scene: Scene) -> None:
        manager = scene.manager(side, "" if id else NO_ZERO)
        if manager is None:
            await scene.paths[side].delete(id, address)
        else:
            await manager.remove(id)

    return step


def delete_first(side: Side, count: int) -> Step:
    """The first endpoints, one after another; the peer has heard of each before the next."""

    async def step(scene: Scene) -> None:
        peer = scene.hosts[scene.other(side)]
        found = (await scene.endpoints(side))[:count]
        assert len(found) == count
        for endpoint in found:
            before = peer.counters()["RmAddr"]
            await delete(side, endpoint.id)(scene)
            with trio.move_on_after(1.0):
                while peer.counters()["RmAddr"] == before:  # noqa: ASYNC110
                    await trio.sleep(0.02)

    return step


def flush(side: Side) -> Step:
    async def step(scene: Scene) -> None:
        await (scene.manager(side) or scene.paths[side]).flush()
        assert not await scene.endpoints(side)

    return step


def set_all(flags: Flags) -> Step:
    """Every endpoint of both ends has those of the two flags that can be set."""

    async def step(scene: Scene) -> None:
        for side in SIDES:
            for endpoint in await scene.endpoints(side):
                meshed = (endpoint.flags ^ flags) & Flags.FULLMESH
                manager = scene.manager(side, NO_MESH if meshed else "")
                if manager is None:
                    await scene.paths[side].set_flags(endpoint.id, flags)
                else:
                    await manager.set_backup(endpoint.id, bool(flags & Flags.BACKUP))
            settable = Flags.BACKUP | Flags.FULLMESH
            found = await scene.endpoints(side)
            assert all(each.flags & settable == flags & settable for each in found)

    return step


def endpoint_is(side: Side, id: int, address: str, flags: Flags) -> Step:
    async def step(scene: Scene) -> None:
        (found,) = (each for each in await scene.endpoints(side) if each.id == id)
        assert (found.address, found.flags) == (address, flags)
        assert await scene.paths[side].get(id) == found

    return step


def sleep(seconds: float) -> Step:
    async def step(scene: Scene) -> None:
        await trio.sleep(seconds)

    return step


def until(*checks: Check | Checks) -> Step:
    """All of them hold, within `STEP_S`."""
    flat: list[Check] = []
    for each in checks:
        flat += [each] if isinstance(each, Check) else each

    async def step(scene: Scene) -> None:
        await scene.hold(tuple(flat), STEP_S)

    return step


def rules(side: Side, *lines: str) -> Step:
    async def step(scene: Scene) -> None:
        scene.hosts[side].filter(*lines)

    return step


def no_rules(side: Side) -> Step:
    async def step(scene: Scene) -> None:
        scene.hosts[side].unfilter()

    return step


def sysctl(name: str, server: int | None, client: int | None) -> Step:
    async def step(scene: Scene) -> None:
        for host, value in zip(scene.hosts.values(), (server, client), strict=True):
            if value is not None:
                host.sysctl(name, value)

    return step


def userspace(side: Side) -> Step:
    """Connections of that end are managed by their owner."""

    async def step(scene: Scene) -> None:
        scene.hosts[side].sysctl("net.mptcp.pm_type", 1)

    return step


def ip(side: Side, *lines: str) -> Step:
    async def step(scene: Scene) -> None:
        scene.hosts[side].ip(*lines)

    return step


def down(side: Side, *devices: str) -> Step:
    """They are down at once: no process has to be begun for it, while traffic goes on."""

    async def step(scene: Scene) -> None:
        with scene.hosts[side].socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            for device in devices:
                fcntl.ioctl(asking, _SIOCSIFFLAGS, struct.pack("16sh14x", device.encode(), 0))

    return step


def shape_all(rate: str = "10mbit") -> Step:
    async def step(scene: Scene) -> None:
        for host in scene.hosts.values():
            for wire in range(1, 5):
                host.shape(f"eth{wire}", rate)

    return step


def host_shape(side: Side, device: str, rate: str) -> Step:
    async def step(scene: Scene) -> None:
        scene.hosts[side].shape(device, rate)

    return step


def transfer(client_bytes: int, server_bytes: int = 0, *, midway: Step | None = None) -> Step:
    """So much more has come across from either end; a step was taken when half of it had."""

    async def step(scene: Scene) -> None:
        await scene.transfer(client_bytes, server_bytes, midway)

    return step


def transfer_until(client_bytes: int, server_bytes: int, checks: Checks) -> Step:
    """So much comes across again and again, until they hold, or `STEP_S` times three are over."""

    async def step(scene: Scene) -> None:
        deadline = trio.current_time() + 3 * STEP_S
        while scene.unmet(checks) and trio.current_time() < deadline:
            await scene.transfer(client_bytes, server_bytes)
        assert not (unmet := scene.unmet(checks)), "; ".join(unmet)

    return step


# -- of one connection


def announce(side: Side, address: str, id: int) -> Step:
    async def step(scene: Scene) -> None:
        scene.manager(side, NO_OWNER)
        token = (await scene.event(side, Established)).token
        await scene.paths[side].announce(token, Endpoint(address, id=id))

    return step


def take_back(side: Side, id: int) -> Step:
    async def step(scene: Scene) -> None:
        scene.manager(side, NO_OWNER)
        token = (await scene.event(side, Established)).token
        await scene.paths[side].remove(token, id)

    return step


def create_subflow(side: Side, address: str, id: int, *, fails: bool = False) -> Step:
    async def step(scene: Scene) -> None:
        scene.manager(side, NO_OWNER)
        connection = await scene.event(side, Established)
        try:
            await scene.paths[side].create_subflow(
                connection.token, Endpoint(address, id=id), connection.remote
            )
        except OSError:
            if not fails:
                raise
        else:
            assert not fails

    return step


def destroy_subflow(side: Side, address: str) -> Step:
    """The subflow that has that local address; the initial one too."""

    async def step(scene: Scene) -> None:
        scene.manager(side, NO_OWNER)
        token = (await scene.event(side, Established)).token
        for event in scene.logs[side]:
            if isinstance(event, SubflowEstablished | Created):
                local: SocketAddress = event.local
                if local.host.removeprefix("::ffff:") == address:
                    await scene.paths[side].destroy_subflow(token, local, event.remote)
                    return
        raise AssertionError(f"no subflow from {address} among {scene.logs[side]}")

    return step


def addresses_are(side: Side, *expected: tuple[int, str, Flags]) -> Step:
    """What the connection uses, as listed and one by one."""

    async def step(scene: Scene) -> None:
        scene.manager(side, NO_OWNER)
        token, paths = (await scene.event(side, Established)).token, scene.paths[side]
        found = [
            (each.id, each.address.removeprefix("::ffff:"), each.flags)
            for each in await paths.all(token)
        ]
        assert found == list(expected)
        for id, address, flags in expected:
            one = await paths.get(id, token)
            assert (one.id, one.address.removeprefix("::ffff:"), one.flags) == (id, address, flags)

    return step


def break_stream(side: Side) -> Step:
    """That end's stream fails, so it closes at once; the link goes on over another one."""

    async def step(scene: Scene) -> None:
        await scene.break_stream(side)

    return step


async def next_stream(scene: Scene) -> None:
    """The stream has failed by itself; the link goes on over another one."""
    await scene.next_stream()


def refused_connect(address: str, port: int) -> Step:
    async def step(scene: Scene) -> None:
        await scene.refused_connect(address, port)

    return step
