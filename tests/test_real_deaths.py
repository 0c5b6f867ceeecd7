"""Whoever dies in a real shell, and whenever: the others go on, and nothing is left behind."""

import os
import random
import signal
from collections.abc import Awaitable, Callable

import pytest
import trio

from runtime.processes.run_folder import open_run_folder
from tests.real import (
    ANSWER_S,
    END_S,
    GONE_S,
    REGROW,
    Console,
    alive,
    family,
    freeze,
    frozen,
    gone,
    open_console,
    run_folders,
    thaw,
    until,
)

pytestmark = pytest.mark.real


async def grow(console: Console, places: dict[int, int]) -> dict[int, int]:
    """The pids of new nodes, by id; ``places``: the parent of each."""
    await console.say(*(f"create {id} {parent}" for id, parent in places.items()))
    pids = {}
    for id in places:
        answer = await console.line()
        assert answer.startswith("Ok: "), answer
        pids[id] = int(answer.removeprefix("Ok: "))
    return pids


async def all_answer(console: Console, *ids: int) -> None:
    await console.say(*(f"ping {id}" for id in ids))
    assert await console.lines(len(ids)) == ["Ok: 1"] * len(ids)


# A node.


@pytest.mark.parametrize("victim", [3, 2, 1], ids=["leaf", "middle", "top"])
async def test_a_killed_node_is_dead_and_all_others_answer(victim: int) -> None:
    async with open_console() as console:
        pids = await grow(console, {1: -1, 2: 1, 3: 2, 4: -1})
        others = [id for id in pids if id != victim]
        os.kill(pids[victim], signal.SIGKILL)
        await console.becomes(victim, "dead")
        answers = {
            f"exec {victim} time": f"Error:{victim}: Node is unavailable",
            f"ping {victim}": "Ok: 0",
            f"create 9 {victim}": "Error: Parent is unavailable",
            f"create {victim}": "Error: Already exists",
            "exec 9 time": "Error:9: Not found",
            "all": " ".join(map(str, others)),
        }
        assert {line: await console.ask(line) for line in answers} == answers
        for id in others:
            assert await console.ask(f"exec {id} time") == f"Ok:{id}: 0"
        assert console.node_pids() == {pids[id] for id in others}
        assert console.errors() == ""


async def test_an_orphan_has_another_guardian_and_its_place() -> None:
    async with open_console() as console:
        pids = await grow(console, {1: -1, 2: 1, 3: 2, 4: 3})
        for id in (2, 3):
            os.kill(pids[id], signal.SIGKILL)
        await console.becomes(3, "dead")
        await console.becomes(2, "dead")
        assert await console.tree() == [
            f"  1 pid {pids[1]} ok",
            f"    2 pid {pids[2]} dead",
            f"      3 pid {pids[3]} dead guardian 1",
            f"        4 pid {pids[4]} ok guardian 1",
        ]
        await console.create(5, 4)
        await all_answer(console, 1, 4, 5)
        # Its place decides what goes with what.
        assert await console.ask("remove 2") == "Ok"
        assert await console.ask("all") == "1"
        assert console.node_pids() == {pids[1]}


async def test_half_of_the_nodes_die_at_once() -> None:
    async with open_console() as console:
        pids = await grow(console, {id: (id - 1) // 2 or -1 for id in range(1, 16)})
        victims = {1, 2, 5, 6, 9, 12, 14}
        await freeze(*(pids[id] for id in victims))
        for id in victims:
            os.kill(pids[id], signal.SIGKILL)
        await gone(pids[id] for id in victims)
        for id in victims:
            await console.becomes(id, "dead")
        await all_answer(console, *pids.keys() - victims)
        assert console.node_pids() == {pids[id] for id in pids.keys() - victims}


@pytest.mark.parametrize("parent", [-1, 1], ids=["under the controller", "under a node"])
async def test_a_node_may_die_between_create_and_its_answer(parent: int) -> None:
    chance = random.Random(f"deaths {parent}")
    failed = 0
    async with open_console() as console:
        known = {1: await console.create(1)}
        dead = set()
        for id in range(2, 22):
            before = console.node_pids()
            await console.say(f"create {id} {parent}")
            with trio.fail_after(ANSWER_S):
                while not (born := console.node_pids() - before):
                    await trio.lowlevel.checkpoint()
            await trio.sleep(chance.uniform(0.0, 0.006))
            (pid,) = born
            os.kill(pid, signal.SIGKILL)
            answer = await console.line()
            if answer.startswith("Ok: "):
                assert answer == f"Ok: {pid}"
                dead.add(id)
                await console.becomes(id, "dead")
                assert await console.ask(f"create {id}") == "Error: Already exists"
            else:
                assert answer == "Error: it ended before it was up: killed(SIGKILL)"
                assert await console.ask(f"ping {id}") == "Error: Not found"
                known[id] = await console.create(id, parent)
                failed += 1
        assert failed > 0
        assert await console.ask("all") == " ".join(map(str, known))
        assert await console.states() == dict.fromkeys(known, "ok") | dict.fromkeys(dead, "dead")
        assert console.node_pids() == set(known.values())


async def test_a_parent_may_die_between_create_and_its_answer() -> None:
    chance = random.Random("parents")
    async with open_console() as console:
        living = set()
        for id in range(1, 31, 2):
            pid = await console.create(id)
            await console.say(f"create {id + 1} {id}")
            await trio.sleep(chance.uniform(0.0, 0.012))
            os.kill(pid, signal.SIGKILL)
            answer = await console.line()
            if answer.startswith("Ok: "):
                living.add(int(answer.removeprefix("Ok: ")))
                await all_answer(console, id + 1)
            else:
                assert answer == "Error: Parent is unavailable"
                assert await console.ask(f"ping {id + 1}") == "Error: Not found"
            assert await console.ask(f"create {id + 1} {id}") in {
                "Error: Parent is unavailable",
                "Error: Already exists",
            }
        await until(lambda: console.node_pids() == living)


async def test_kill_and_remove_answer_when_the_process_is_gone() -> None:
    async with open_console() as console:
        pids = await grow(console, {1: -1, 2: 1, 3: 2})
        assert await console.ask("kill 2") == "Ok"
        assert not alive(pids[2])
        await freeze(pids[3])
        assert await console.ask("remove 1") == "Ok"
        assert console.node_pids() == set()
        assert await console.ask("all") == ""
        assert await console.create(1)


# Frozen nodes.


async def test_a_frozen_node_is_unavailable_until_it_goes_on() -> None:
    async with open_console() as console:
        pids = await grow(console, {1: -1, 2: 1, 3: 2})
        await freeze(pids[2])
        with trio.fail_after(5 * 2.0):
            assert await console.ask("exec 2 start") == "Error:2: Node is unavailable"
            assert await console.ask("ping 2") == "Ok: 0"
        await console.becomes(2, "frozen")
        assert await console.ask("exec 2 start") == "Error:2: Node is unavailable"
        assert await console.ask("all") == "1 2 3"
        assert await console.ask("create 4 2") == "Error: Parent is unavailable"
        await all_answer(console, 1, 3)

        thaw(pids[2])
        await console.becomes(2, "ok")
        # What was given up is not executed.
        assert await console.ask("exec 2 time") == "Ok:2: 0"
        assert await console.ask("all") == "1 2 3"
        assert console.node_pids() == set(pids.values())
        assert await console.create(4, 2)


@pytest.mark.parametrize("ids", [(2,), (1, 2, 3)], ids=["one", "all"])
async def test_frozen_nodes_are_removed_and_nobody_waits_for_them(ids: tuple[int, ...]) -> None:
    async with open_console() as console:
        pids = await grow(console, {1: -1, 2: 1, 3: 2})
        await freeze(*(pids[id] for id in ids))
        with trio.fail_after(5 * 2.0):
            assert await console.ask("remove 1") == "Ok"
        assert console.node_pids() == set()


async def test_silence_is_reported_once_and_so_is_the_return() -> None:
    async with open_console() as console:
        pids = await grow(console, {1: -1, 2: 1, 3: -1, 4: 3})
        assert await console.ask("heartbeat 50") == "Ok"
        await console.silence(0.5)
        frozen_at = trio.current_time()
        await freeze(pids[2])
        assert await console.line() == "Heartbit: node 2 is unavailable now"
        assert 0.15 <= trio.current_time() - frozen_at < 5 * 0.25
        killed_at = trio.current_time()
        os.kill(pids[3], signal.SIGKILL)
        assert await console.line() == "Heartbit: node 3 is unavailable now"
        assert 0.15 <= trio.current_time() - killed_at < 5 * 0.25
        thaw(pids[2])
        assert await console.line() == "Heartbit: node 2 is available again"
        await console.silence(0.5)
        assert await console.ask("heartbeat stop") == "Ok"
        os.kill(pids[1], signal.SIGKILL)
        await console.silence(0.5)


async def test_a_faster_pace_is_no_silence() -> None:
    async with open_console() as console:
        await grow(console, {1: -1, 2: 1, 3: -1})
        for after_s in (0.0, 0.08, 0.16, 0.24):
            await console.silence(after_s)  # the moment in a beat of 250 ms
            assert await console.ask("heartbeat 50") == "Ok"
            await console.silence(0.4)
            assert await console.ask("heartbeat 250") == "Ok"


async def test_a_node_under_a_frozen_one_is_reported_when_it_freezes_too() -> None:
    async with open_console() as console:
        pids = await grow(console, {1: -1, 2: 1})
        assert await console.ask("heartbeat 50") == "Ok"
        await freeze(pids[1])
        assert await console.line() == "Heartbit: node 1 is unavailable now"
        await freeze(pids[2])
        assert await console.line() == "Heartbit: node 2 is unavailable now"
        await console.becomes(2, "frozen")


# The zygote.


async def test_a_killed_zygote_is_replaced_and_the_nodes_live_on() -> None:
    async with open_console() as console:
        pids = await grow(console, {1: -1, 2: 1})
        for round in range(2):
            zygote = console.zygote
            os.kill(zygote, signal.SIGKILL)
            await all_answer(console, 1, 2)
            pids[round + 3] = await console.create(round + 3, 2)
            assert console.zygote != zygote
            await all_answer(console, *pids)
        # A death among the adopted and one among its own.
        for id in (1, 4):
            os.kill(pids.pop(id), signal.SIGKILL)
            await console.becomes(id, "dead")
        await all_answer(console, *pids)
        assert console.node_pids() == set(pids.values())


async def test_a_node_and_the_zygote_die_at_once() -> None:
    async with open_console() as console:
        pids = await grow(console, {1: -1, 2: 1, 3: 2})
        os.kill(console.zygote, signal.SIGKILL)
        os.kill(pids[2], signal.SIGKILL)
        assert await console.ask("kill 1") == "Ok"
        await console.becomes(2, "dead")
        await console.becomes(1, "dead")
        await all_answer(console, 3)
        assert await console.create(4, 3)


async def test_a_zygote_that_dies_at_a_create_or_is_frozen_costs_no_answer() -> None:
    async with open_console() as console:
        await console.create(1)
        for id, number in enumerate((signal.SIGKILL, signal.SIGSTOP, signal.SIGKILL), 2):
            zygote = console.zygote
            if number == signal.SIGSTOP:
                os.kill(zygote, number)
            await console.say(f"create {id} 1")
            if number == signal.SIGKILL:
                os.kill(zygote, number)
            assert (await console.line()).startswith("Ok: ")
            await gone([zygote])
        await all_answer(console, 1, 2, 3, 4)


@pytest.mark.parametrize("how", ["exit", "remove"])
async def test_an_orderly_end_after_a_replaced_zygote_takes_no_longer(how: str) -> None:
    async with open_console() as console:
        await grow(console, {id: id - 1 or -1 for id in range(1, 9)})
        os.kill(console.zygote, signal.SIGKILL)
        await console.create(20)
        began_at = trio.current_time()
        assert await console.ask("exit" if how == "exit" else "remove 1") == "Ok"
        if how == "exit":
            await console.nothing_left(END_S)
        assert trio.current_time() - began_at < 2.5  # else 8 levels take 8 s


# The controller.


async def freeze_some(console: Console, pids: dict[int, int]) -> None:
    await freeze(pids[2], pids[3])


async def freeze_all(console: Console, pids: dict[int, int]) -> None:
    await freeze(*pids.values())


async def replace_zygote(console: Console, pids: dict[int, int]) -> None:
    os.kill(console.zygote, signal.SIGKILL)
    await console.create(9, 4)
    await freeze_some(console, pids)


async def kill_zygote(console: Console, pids: dict[int, int]) -> None:
    await freeze_some(console, pids)
    await console.say("create 9 4")
    os.kill(console.zygote, signal.SIGKILL)


async def create_many(console: Console, pids: dict[int, int]) -> None:
    await console.say(*(f"create {id} {id % 4 + 1}" for id in range(9, 40)))
    await console.lines(2)


async def begin_the_end(console: Console, pids: dict[int, int]) -> None:
    await freeze_some(console, pids)
    await console.say("exec 2 time", "exit")
    os.kill(pids[1], signal.SIGKILL)
    await gone([pids[1]])


Situation = Callable[[Console, dict[int, int]], Awaitable[None]]
SITUATIONS = [freeze_some, freeze_all, replace_zygote, create_many, begin_the_end]


@pytest.mark.parametrize("situation", SITUATIONS)
async def test_nothing_is_left_of_a_killed_controller(situation: Situation) -> None:
    async with open_console() as console:
        pids = await grow(console, {1: -1, 2: 1, 3: 2, 4: -1})
        await situation(console, pids)
        assert console.folder
        console.signal(signal.SIGKILL)
        await console.nothing_left(GONE_S)
        assert await console.status() == -signal.SIGKILL


async def test_nothing_that_lives_is_left_of_a_controller_killed_with_its_zygote() -> None:
    async with open_console() as console:
        pids = await grow(console, {1: -1, 2: 1, 3: 2})
        zygote = console.zygote
        console.signal(signal.SIGKILL)
        os.kill(zygote, signal.SIGKILL)
        with trio.fail_after(GONE_S):
            await gone([console.pid, zygote, *pids.values()])
        # Nobody was left to remove the run folder: that is for the next start to do.
        (stale,) = run_folders(console.home)
        with open_run_folder(f"{console.home}/regrow-{os.geteuid()}") as folder:
            assert run_folders(console.home) == [folder] != [stale]


async def test_nothing_is_left_of_a_controller_that_is_killed_while_its_zygote_is_frozen() -> None:
    async with open_console() as console:
        pids = await grow(console, {1: -1, 2: 1, 3: 2})
        os.kill(console.zygote, signal.SIGSTOP)
        os.kill(pids[3], signal.SIGSTOP)
        console.signal(signal.SIGKILL)
        await console.nothing_left(GONE_S)


SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("situation", SITUATIONS[:4])
async def test_a_signal_ends_all_of_it_in_order(
    number: signal.Signals, situation: Situation
) -> None:
    async with open_console() as console:
        pids = await grow(console, {1: -1, 2: 1, 3: 2, 4: -1})
        await situation(console, pids)
        await console.say("exec 2 time", "sleep 60000")
        console.signal(number)
        await console.nothing_left(END_S)
        assert await console.status() == 128 + number
        assert "Traceback" not in console.errors()


@pytest.mark.parametrize("how", ["end of input", "exit", "closed output"])
async def test_the_end_of_the_talk_ends_all_of_it_in_order(how: str) -> None:
    async with open_console() as console:
        pids = await grow(console, {1: -1, 2: 1, 3: 2, 4: -1})
        await freeze_some(console, pids)
        os.kill(pids[1], signal.SIGKILL)
        if how == "closed output":
            console.close_output()
            await console.say("all")
        elif how == "exit":
            await console.say("exit", "create 5")
        else:
            console.close_input()
        await console.nothing_left(END_S)
        assert await console.status() == 0
        if how != "closed output":
            assert await console.output() == "Ok\n"
        assert console.errors() == ""


async def test_a_terminal_that_goes_away_ends_all_of_it() -> None:
    async with open_console(terminal=True) as console:
        pids = await grow(console, {1: -1, 2: 1, 3: 2, 4: -1})
        await freeze_some(console, pids)
        console.close_input()
        await console.nothing_left(END_S)
        assert await console.status() == 128 + signal.SIGHUP


@pytest.mark.parametrize(("key", "status"), [(b"\x03", 130), (b"\x04", 0)], ids=["^C", "^D"])
async def test_a_key_ends_all_of_it(key: bytes, status: int) -> None:
    async with open_console(terminal=True) as console:
        pids = await grow(console, {1: -1, 2: 1, 3: 2, 4: -1})
        await freeze_some(console, pids)
        await console.feed(key)
        assert await console.output() == ("" if status else "Ok\n")
        await console.nothing_left(END_S)
        assert await console.status() == status


async def test_ten_seconds_of_ctrl_z_and_fg_change_nothing() -> None:
    job_control = ("bash", "--norc", "--noprofile", "--noediting", "-i")
    async with (
        open_console(argv=job_control, terminal=True, environ={"PS1": "", "PS2": ""}) as terminal,
        open_console() as piped,
    ):
        await terminal.say(REGROW)
        await terminal.say("heartbeat 50")
        assert await terminal.line() == "Ok"
        (terminal.pid,) = family(terminal.pid)["zygotes"]
        assert await piped.ask("heartbeat 50") == "Ok"
        consoles = (terminal, piped)
        before = {}
        for console in consoles:
            await grow(console, {1: -1, 2: 1, 3: 2})
            assert await console.ask("exec 3 start") == "Ok:3"
            before[console] = (await console.tree(), console.zygote)

        await terminal.feed(b"\x1a")
        piped.signal(signal.SIGSTOP)
        await until(lambda: frozen(terminal.pid, piped.pid))
        await trio.sleep(10.0)
        await terminal.say("fg")
        piped.signal(signal.SIGCONT)
        assert await terminal.line() == REGROW  # that is bash

        for console in consoles:
            await console.silence(1.0)
            await all_answer(console, 1, 2, 3)
            assert (await console.tree(), console.zygote) == before[console]
            answer = await console.ask("exec 3 time")
            assert int(answer.removeprefix("Ok:3: ")) >= 10_000
        assert await terminal.ask("exit") == "Ok"
