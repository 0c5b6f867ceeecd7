"""Orders become nodes, nodes end as the kernel says, and what cannot come up says why."""

import os
import resource
import signal
import sys
import threading
from pathlib import Path

import pytest
import trio

from runtime.errors import SpawnError
from runtime.processes import procfs
from runtime.processes.orders import MAX_MESSAGE_BYTES
from runtime.processes.pidfd import has_exited
from tests.real import nodes_of, until
from tests.zygote_colony import ROOT, open_colony, watched

pytestmark = pytest.mark.real


async def test_a_node_is_forked_and_its_pidfd_is_the_callers() -> None:
    async with open_colony() as colony:
        with trio.fail_after(5):
            node = await colony.keeper.fork(colony.order("rest"))
            assert (await colony.fifo.line())["pid"] == node.pid
            assert not has_exited(node.pidfd)
            signal.pidfd_send_signal(node.pidfd, signal.SIGKILL)
            exited = await colony.exited(node.incarnation)
        os.close(node.pidfd)
    assert exited.pid == node.pid
    assert (exited.reason.kind, exited.reason.signal) == ("killed", 9)
    assert exited.reason.max_rss_bytes > 1_000_000


@pytest.mark.parametrize(
    ("start", "code", "status"),
    [
        pytest.param("leave", None, 0, id="returns"),
        pytest.param("leave", 0, 0, id="exit-0"),
        pytest.param("leave", 7, 7, id="exit-7"),
        pytest.param("leave", "sorry", 1, id="exit-with-words"),
        pytest.param("crash", None, 1, id="exception"),
        pytest.param("leave_at_once", None, 9, id="_exit"),
        pytest.param("no_such_function", None, 1, id="no-such-function"),
    ],
)
async def test_a_node_ends_with_its_own_status(start: str, code: object, status: int) -> None:
    async with open_colony() as colony:
        with trio.fail_after(5):
            node = await colony.fork(start, code=code)
            exited = await colony.exited(node.incarnation)
        assert (exited.reason.kind, exited.reason.code) == ("exited", status)
        output = colony.output(node.incarnation)
        assert ("Traceback" in output) == (start in ("crash", "no_such_function"))
        assert ("sorry" in output) == (code == "sorry")


async def test_a_node_has_what_it_was_ordered_and_nothing_of_the_zygote() -> None:
    async with open_colony() as colony:
        with trio.fail_after(5):
            node = await colony.fork("describe")
            seen = await colony.fifo.line()
        name = f"n{node.incarnation}.{node.incarnation}"
        assert seen["environ"] == {
            "PATH": os.environ["PATH"],
            "HELLO": "world",
            "REGROW_NODE": name,
            "REGROW_RUN": colony.folder,
        }
        output = f"{colony.folder}/{node.incarnation}.out"
        assert seen["targets"] == ["/dev/null", output, output]
        assert seen["fds"] == [0, 1, 2, 3]
        assert seen["controller"] == os.getpid()
        assert (seen["cwd"], seen["session"]) == (ROOT, seen["pid"])
        assert seen["sigterm"]


async def test_nodes_do_not_share_their_chances() -> None:
    async with open_colony() as colony:
        with trio.fail_after(5):
            for _ in range(3):
                await colony.fork("describe")
            chances = {(await colony.fifo.line())["chance"] for _ in range(3)}
        assert len(chances) == 3


async def test_a_node_ends_its_own_affairs_and_none_of_the_zygote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "loud.py").write_text(
        "import atexit, sys\n"
        "sys.stdout.write('half a line')\n"
        "atexit.register(print, 'the zygote ends')\n"
        "def leave(order, folder):\n"
        "    atexit.register(print, 'the node ends')\n"
        "    print('the node')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    async with open_colony() as colony:
        with trio.fail_after(5):
            for _ in range(2):
                node = await colony.fork("loud:leave")
                await colony.exited(node.incarnation)
                assert colony.output(node.incarnation) == "the node\nthe node ends\n"
        assert colony.output(0) == "half a line"


async def test_the_zygote_has_one_thread_and_shrugs_at_polite_signals() -> None:
    threads = threading.active_count()  # another test's, if there are any
    async with open_colony() as colony:
        zygote = colony.keeper.pid
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(zygote, number)
        with trio.fail_after(5):
            await colony.fork("rest")
        assert colony.keeper.pid == zygote
        assert procfs.thread_count(zygote) == 1
        assert threading.active_count() == threads
        stat = procfs.stat(zygote)
        assert stat is not None
        assert stat.session == zygote


async def test_many_orders_may_be_in_flight() -> None:
    async with open_colony() as colony:
        pids: list[int] = []

        async def fork_one() -> None:
            pids.append((await colony.fork("rest")).pid)

        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                for _ in range(40):
                    nursery.start_soon(fork_one)
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            for incarnation in range(2, 42):
                await colony.exited(incarnation)
        assert len(set(pids)) == 40
        assert sorted(exited.incarnation for exited in colony.exits) == list(range(2, 42))


async def test_an_order_that_is_too_large_names_node_and_size_and_changes_nothing() -> None:
    async with open_colony() as colony:
        with pytest.raises(SpawnError, match=rf"n2 takes \d+ bytes, at most {MAX_MESSAGE_BYTES}"):
            await colony.fork("rest", stuff="x" * MAX_MESSAGE_BYTES)
        with trio.fail_after(5):
            await colony.fork("describe", stuff="x" * (MAX_MESSAGE_BYTES - 2048))
            assert (await colony.fifo.line())["boot"] > MAX_MESSAGE_BYTES - 2048


async def test_a_module_that_fails_is_told_with_its_traceback_and_the_zygote_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_actor.py").write_text("import sys\nraise KeyError('lamp')\n")
    (tmp_path / "leaving_actor.py").write_text("import sys\nsys.exit(3)\n")
    monkeypatch.syspath_prepend(tmp_path)
    async with open_colony() as colony:
        zygote = colony.keeper.pid
        with trio.fail_after(5):
            with pytest.raises(SpawnError, match=r"(?s)n2: Traceback.*broken_actor.*'lamp'"):
                await colony.fork("rest", "broken_actor:Lamp")
            with pytest.raises(SpawnError, match=r"(?s)n3: Traceback.*SystemExit: 3"):
                await colony.fork("rest", "leaving_actor:Lamp")
            await colony.fork("rest")
        assert colony.keeper.pid == zygote
        assert colony.exits == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("import threading as t\nt.Thread(target=t.Event().wait).start()", "thread"),
        pytest.param("import zmq\ncontext = zmq.Context()", "ZMQ context"),
        pytest.param("import zmq\ns = zmq.Context().socket(zmq.PUB)", "thread"),
        pytest.param("import socket\ns = socket.create_server(('127.0.0.1', 0))", "listening"),
    ],
)
async def test_a_module_that_must_not_be_forked_is_left_to_the_node(
    text: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tainting.py").write_text(
        f"{text}\nimport os\ndef leave(order, folder): os._exit(5)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    async with open_colony() as colony:
        with trio.fail_after(5):
            resting = await colony.fork("rest")
            first = await colony.fork("tainting:leave")
            assert (await colony.exited(first.incarnation)).status == 5 << 8
            second = await colony.fork("tainting:leave")
            assert (await colony.exited(second.incarnation)).status == 5 << 8
        assert len(colony.replaced) == 1
        assert why in colony.replaced[0]
        assert procfs.thread_count(colony.keeper.pid) == 1
        state = procfs.stat(resting.pid)
        assert state is not None
        assert state.state == "S"


async def test_each_module_that_must_not_be_forked_costs_an_order_no_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "import zmq\ncontext = zmq.Context()\nfrom tests.zygote_nodes import rest\n"
    for name in ("tainting_one", "tainting_two", "tainting_three"):
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    pids: set[int] = set()
    async with open_colony() as colony:

        async def see(name: str) -> None:
            pids.add((await colony.fork(f"{name}:rest")).pid)

        with trio.fail_after(8):
            async with trio.open_nursery() as nursery:
                for name in ("tainting_one", "tainting_two", "tainting_three"):
                    nursery.start_soon(see, name)
            assert {(await colony.fifo.line())["pid"] for _ in range(3)} == pids
        assert colony.exits == []
        assert len(colony.replaced) == 3


async def test_a_module_that_takes_too_long_costs_only_who_wanted_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "endless.py").write_text("import time\nwhile True: time.sleep(60)\n")
    monkeypatch.syspath_prepend(tmp_path)
    async with open_colony(import_s=0.6) as colony:
        done: list[str] = []

        async def want_another() -> None:
            await trio.lowlevel.checkpoint()
            await colony.fork("rest")
            done.append("another")

        with trio.fail_after(8):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(want_another)
                with pytest.raises(SpawnError, match=r"n\d: .*importing endless"):
                    await colony.fork("rest", "endless:Actor")
        assert done == ["another"]


async def test_a_cancelled_order_leaves_no_node() -> None:
    async with open_colony() as colony:
        with trio.fail_after(5):
            os.kill(colony.keeper.pid, signal.SIGSTOP)
            with trio.move_on_after(0.05) as scope:
                await colony.fork("rest")
            assert scope.cancelled_caught
            os.kill(colony.keeper.pid, signal.SIGCONT)
            node = await colony.fork("rest")
            # The other order's node ends, and nobody hears of it.
            await until(lambda: nodes_of(colony.keeper.pid) == [node.pid])
        assert colony.exits == []


async def test_a_controller_without_descriptors_gets_an_error_and_no_node() -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with open_colony() as colony:
        with trio.fail_after(5):
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
            try:
                with pytest.raises(SpawnError, match="n2: no file descriptor left to hold it"):
                    await colony.fork("rest")
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            node = await colony.fork("leave", code=7)
            await colony.exited(node.incarnation)
        assert [exited.incarnation for exited in colony.exits] == [node.incarnation]


async def test_an_incarnation_is_ordered_once() -> None:
    async with open_colony() as colony:
        order = colony.order("rest")
        with trio.fail_after(5):
            os.close((await colony.keeper.fork(order)).pidfd)
        with pytest.raises(ValueError, match="incarnation 2 has been ordered already"):
            await colony.keeper.fork(order)


async def test_the_body_s_exception_leaves_the_block_as_itself_and_no_node_stays() -> None:
    with watched() as nodes, trio.fail_after(5):

        async def fail() -> None:
            async with open_colony() as colony:
                nodes.add((await colony.fork("rest")).pid)
                nodes.add(colony.keeper.pid)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()
        with trio.fail_after(1):
            await nodes.all_gone()


async def test_a_zygote_that_cannot_begin_is_a_spawn_error() -> None:
    with pytest.raises(SpawnError, match="No module named 'no_such_module'"):
        async with open_colony(preload=("no_such_module",)):
            pytest.fail("it has begun")


async def test_a_class_of_no_file_is_the_caller_s_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)
    monkeypatch.delattr(sys.modules["__main__"], "__file__", raising=False)
    async with open_colony() as colony:
        with pytest.raises(ValueError, match="__main__:Lamp cannot be imported in another process"):
            await colony.fork("rest", "__main__:Lamp")
