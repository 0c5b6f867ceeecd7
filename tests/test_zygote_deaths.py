"""Whoever dies, and however: what it had started ends with it, and all else goes on."""

import json
import os
import signal
import subprocess
import sys
import time
from typing import Any

import pytest
import trio

from runtime.errors import SpawnError
from runtime.processes.launcher import LocalLauncher
from runtime.processes.orders import (
    Begin,
    Exited,
    Fork,
    Forked,
    FromZygote,
    Order,
    decode_news,
    encode,
)
from runtime.processes.pidfd import has_exited, wait_exited
from runtime.processes.run_folder import open_run_folder
from tests.real import nodes_of
from tests.zygote_colony import ROOT, Colony, Fifo, open_colony, short_folder, watched

pytestmark = pytest.mark.real

STRAYS = {"plain", "nameless", "setsid", "daemon", "forked daemon"}


async def stray_pids(colony: Colony) -> dict[str, int]:
    """What a node with `start_strays` reports, in any order."""
    said = [await colony.fifo.line() for _ in range(len(STRAYS) + 1)]
    pids = {line["kind"]: int(line["pid"]) for line in said}
    assert pids.keys() == {*STRAYS, "node"}
    return pids


async def test_strays_die_with_their_node_and_not_before() -> None:
    async with open_colony() as colony:
        with watched() as first, watched() as second, trio.fail_after(5):
            node = await colony.fork("start_strays")
            for pid in (await stray_pids(colony)).values():
                first.add(pid)
            other = await colony.fork("start_strays")
            for pid in (await stray_pids(colony)).values():
                second.add(pid)
            assert not any(map(has_exited, first.pidfds + second.pidfds))

            os.kill(node.pid, signal.SIGKILL)
            with trio.fail_after(1):
                assert (await colony.exited(node.incarnation)).status == signal.SIGKILL
                await first.all_gone()
            # Another death makes the zygote look again.
            third = await colony.fork("leave_at_once")
            await colony.exited(third.incarnation)
            assert not any(map(has_exited, second.pidfds))

            os.kill(other.pid, signal.SIGKILL)
            with trio.fail_after(1):
                await second.all_gone()


async def test_strays_do_not_outlive_a_block_whose_zygote_stands_still() -> None:
    with watched() as strays:
        async with open_colony() as colony:
            with trio.fail_after(5):
                node = await colony.fork("start_strays")
                for pid in (await stray_pids(colony)).values():
                    strays.add(pid)
                os.kill(colony.keeper.pid, signal.SIGSTOP)
                os.kill(node.pid, signal.SIGKILL)
                await wait_exited(strays.add(node.pid))
        with trio.fail_after(1):
            await strays.all_gone()


async def test_a_killed_zygote_is_replaced_and_the_nodes_live_on() -> None:
    async with open_colony() as colony:
        with watched() as nodes, watched() as strays, trio.fail_after(8):
            node = await colony.fork("start_strays")
            pids = await stray_pids(colony)
            for pid in pids.values():
                strays.add(pid)
            other = await colony.fork("rest")
            nodes.add(other.pid)
            await colony.fifo.line()  # it runs: from here on it needs no zygote
            zygote = colony.keeper.pid
            os.kill(zygote, signal.SIGKILL)
            await colony.replacement()
            assert colony.keeper.pid not in (0, zygote)
            assert colony.replaced == ["it died"]
            assert not any(map(has_exited, strays.pidfds + nodes.pidfds))
            assert colony.exits == []

            os.kill(node.pid, signal.SIGKILL)
            with trio.fail_after(1):
                await strays.all_gone()
            # The kernel knows once init has reaped it; some take longer than the second we wait.
            exited = await colony.exited(node.incarnation)
            assert (exited.pid, exited.reason.kind) in {
                (node.pid, "killed"),
                (node.pid, "unknown"),
            }
            assert not has_exited(nodes.pidfds[0])


async def test_a_node_that_dies_while_there_is_no_zygote_is_told_all_the_same() -> None:
    async with open_colony() as colony:
        with trio.fail_after(8):
            node = await colony.fork("rest")
            await colony.fifo.line()
            os.kill(colony.keeper.pid, signal.SIGKILL)
            os.kill(node.pid, signal.SIGKILL)
            exited = await colony.exited(node.incarnation)
        assert exited.pid == node.pid
        assert [one.incarnation for one in colony.exits] == [node.incarnation]


async def test_a_frozen_zygote_is_replaced_and_its_orders_given_again() -> None:
    async with open_colony() as colony:
        with trio.fail_after(5):
            os.kill(colony.keeper.pid, signal.SIGSTOP)
            node = await colony.fork("rest")
            assert (await colony.fifo.line()) == {
                "incarnation": node.incarnation,
                "pid": node.pid,
            }
        assert len(colony.replaced) == 1
        assert "it has not answered for 1." in colony.replaced[0]


async def test_an_order_is_given_to_two_zygotes_and_not_to_a_third() -> None:
    async with open_colony() as colony:
        caught: list[str] = []

        async def fork_one() -> None:
            try:
                await colony.fork("rest")
            except SpawnError as error:
                caught.append(str(error))

        with trio.fail_after(8):
            os.kill(colony.keeper.pid, signal.SIGSTOP)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fork_one)
                os.kill(colony.keeper.pid, signal.SIGKILL)
                while not colony.replaced:
                    await colony._changed.wait()
                while not colony.keeper.pid:
                    await trio.lowlevel.checkpoint()
                os.kill(colony.keeper.pid, signal.SIGKILL)  # it is only starting
        assert len(caught) == 1
        assert caught[0].startswith("n2: no zygote: it died")


async def test_a_controller_that_reads_nothing_finds_all_the_news_later() -> None:
    with short_folder() as short, open_run_folder(f"{short}/r") as folder:
        line = LocalLauncher().launch(folder)
        count = 400
        try:
            with trio.fail_after(20):
                line.send(encode(Begin(folder, ROOT, tuple(sys.path), None, (), ())), [])
                for incarnation in range(1, count + 1):
                    start = "tests.zygote_nodes:leave_at_once"
                    order = Order(start, start, "n", incarnation, {}, "/")
                    while True:
                        try:
                            line.send(encode(Fork(order)), [])
                            break
                        except trio.WouldBlock:
                            await line.wait_writable()
                news: list[FromZygote] = []
                while sum(isinstance(one, Exited) for one in news) < count:
                    try:
                        data, fds = line.receive()
                    except trio.WouldBlock:
                        await line.wait_readable()
                        continue
                    news.append(decode_news(data))
                    for fd in fds:
                        os.close(fd)
                line.hang_up()
                await line.wait_exited()
        finally:
            line.close()
    forked = [one.incarnation for one in news if isinstance(one, Forked)]
    exited = {one.incarnation: one.status for one in news if isinstance(one, Exited)}
    assert forked == list(range(1, count + 1))
    assert exited == dict.fromkeys(forked, 9 << 8)


def report(path: str, what: dict[str, Any]) -> None:
    with open(path, "wb", buffering=0) as fifo:
        fifo.write(json.dumps(what).encode() + b"\n")


def write_module(path: str, fifo: str) -> None:
    """One that says so when its import has begun, which then never ends."""
    with open(path, "w") as file:
        file.write(f"open({fifo!r}, 'w').write('{{}}\\n')\nwhile True: pass\n")


async def controller() -> None:
    """A controller with four nodes, two with strays, one frozen; it reports, and waits to die."""
    how = sys.argv[2]
    async with open_colony() as colony, trio.open_nursery() as nursery:
        for start in ("rest", "start_strays", "rest"):
            await colony.fork(start)
        pids = [(await colony.fifo.line())["pid"] for _ in range(3 + len(STRAYS))]
        os.kill(pids[0], signal.SIGSTOP)
        if how == "replaced":
            os.kill(colony.keeper.pid, signal.SIGKILL)
            await colony.replacement()
        pids += nodes_of(colony.keeper.pid)
        say = {"zygote": colony.keeper.pid, "folder": colony.folder, "pids": sorted(set(pids))}
        if how == "importing":
            write_module(f"{os.environ['TMPDIR']}/endless.py", colony.fifo.path)
            nursery.start_soon(colony.fork, "rest", "endless:Actor")
            await colony.fifo.line()
        report(sys.argv[1], say)
        await trio.sleep_forever()


def exists(path: str) -> bool:
    return os.path.exists(path)


def start_controller(short: str, *args: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "tests.test_zygote_deaths", *args],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": short, "PYTHONPATH": short},
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.parametrize("how", ["plain", "replaced", "importing"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["kill", "interrupt"])
async def test_nothing_is_left_of_a_controller_that_died(number: signal.Signals, how: str) -> None:
    with short_folder() as short, watched() as left:
        fifo = Fifo(f"{short}/fifo")
        with start_controller(short, fifo.path, how) as process:
            try:
                with trio.fail_after(8):
                    said: dict[str, Any] = await fifo.line()
                assert len(said["pids"]) >= 3 + len(STRAYS)
                assert exists(said["folder"])
                for pid in said["pids"]:
                    left.add(pid)
                zygote = left.add(said["zygote"])
                assert not any(map(has_exited, left.pidfds))
                process.send_signal(number)
                with trio.fail_after(1):
                    await left.all_gone()
                assert has_exited(zygote)
                assert not exists(said["folder"])
            finally:
                process.kill()
                fifo.close()


async def test_a_frozen_zygote_does_not_keep_the_block_from_ending() -> None:
    with watched() as left:
        with trio.fail_after(8):
            async with open_colony() as colony:
                await colony.fork("start_strays")
                for pid in (await stray_pids(colony)).values():
                    left.add(pid)
                left.add(colony.keeper.pid)
                os.kill(colony.keeper.pid, signal.SIGSTOP)
        with trio.fail_after(1):
            await left.all_gone()


async def test_a_controller_that_was_stopped_judges_nobody_by_that_time() -> None:
    # The loop stands still for longer than the zygote's patience, with its answers unread.
    async with open_colony() as colony:
        zygote = colony.keeper.pid
        with trio.fail_after(10):
            node = await colony.fork("rest")
            os.kill(node.pid, signal.SIGKILL)
            time.sleep(1.6)  # noqa: ASYNC251  # as Ctrl-Z does
            await colony.exited(node.incarnation)
            await colony.fork("rest")
        assert colony.keeper.pid == zygote
        assert colony.replaced == []


if __name__ == "__main__":
    trio.run(controller)
