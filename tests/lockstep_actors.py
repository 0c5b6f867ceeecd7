"""Actors for the tests of systems in lockstep."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from socket import socketpair

import trio
import trio.testing

from actors import Actor, ActorRef
from runtime.wires.socket_transport import SocketTransport


class Mayfly(Actor):
    """Lives for a while, and crashes."""

    def __init__(self, lives_s: float) -> None:
        self.lives_s = lives_s

    async def on_start(self) -> None:
        async def die() -> None:
            await trio.sleep(self.lives_s)
            raise LookupError("its time has come")

        self.nursery.start_soon(die)


class Diary(Actor):
    """Writes down who told it what, and when."""

    def __init__(self) -> None:
        self.entries: list[tuple[float, str]] = []

    async def note(self, what: str) -> None:
        self.entries.append((trio.current_time(), what))

    async def read(self) -> list[tuple[float, str]]:
        return self.entries


class Clockmaker(Actor):
    """Tells a diary at its instants."""

    async def strike(self, diary: ActorRef[Diary], name: str, every_s: float, times: int) -> None:
        for number in range(1, times + 1):
            await trio.sleep(every_s)
            await diary.tell(Diary.note, f"{name} {number}")

    async def relay(self, through: list[ActorRef[Clockmaker]], pause_s: float) -> float:
        """Through all of them, with a pause at each; the instant at the last."""
        await trio.sleep(pause_s)
        if not through:
            return trio.current_time()
        return await through[0].ask(Clockmaker.relay, through[1:], pause_s)

    async def now(self) -> float:
        return trio.current_time()


class Worldly(Actor):
    """Has to do with the outer world, in every way."""

    async def sleep(self, seconds: float) -> float:
        await trio.sleep(seconds)
        return trio.current_time()

    async def compute(self, real_s: float) -> float:
        before = trio.current_time()
        time.sleep(real_s)  # noqa: ASYNC251
        return trio.current_time() - before

    async def run_a_process(self, real_s: float, patience_s: float) -> tuple[float, bool]:
        """How long that seemed to take, and whether it took longer than our patience."""
        before = trio.current_time()
        process = subprocess.Popen(["sleep", str(real_s)])  # noqa: ASYNC220
        with trio.move_on_after(patience_s) as patience:
            while process.poll() is None:  # noqa: ASYNC110
                await trio.sleep(patience_s / 2)
        process.kill()
        process.wait()
        return trio.current_time() - before, patience.cancelled_caught

    async def run_a_thread(self, real_s: float, patience_s: float) -> tuple[float, bool]:
        before = trio.current_time()
        done = trio.Event()
        token = trio.lowlevel.current_trio_token()

        def work() -> None:
            time.sleep(real_s)
            token.run_sync_soon(done.set)

        threading.Thread(target=work).start()
        with trio.move_on_after(patience_s) as patience:
            await done.wait()
        return trio.current_time() - before, patience.cancelled_caught

    async def talk_to_the_world(self, real_s: float, patience_s: float) -> tuple[float, bool]:
        """Wait for a line from a process of nobody's here."""
        before = trio.current_time()
        ours, theirs = socketpair()
        with ours:
            command = f"(sleep {real_s}; echo hello) &"
            subprocess.run(["sh", "-c", command], stdout=theirs.fileno())  # noqa: ASYNC221
            theirs.close()
            with trio.move_on_after(patience_s) as patience:
                await trio.lowlevel.wait_readable(ours)
        return trio.current_time() - before, patience.cancelled_caught

    async def leave_a_process(self, real_s: float, patience_s: float) -> tuple[float, bool]:
        """Wait for a file that a grandchild is to write, looking again and again."""
        before = trio.current_time()
        path = f"/tmp/lockstep-{os.getpid()}"
        command = f"(sleep {real_s}; touch {path}) >/dev/null &"
        subprocess.run(["sh", "-c", command], start_new_session=True)  # noqa: ASYNC221
        with trio.move_on_after(patience_s) as patience:
            while not os.path.exists(path):  # noqa: ASYNC110, ASYNC240
                await trio.sleep(patience_s / 2)
        if not patience.cancelled_caught:
            os.unlink(path)
        return trio.current_time() - before, patience.cancelled_caught

    async def wait_until_blocked(self, real_s: float, patience_s: float) -> tuple[float, bool]:
        before = trio.current_time()
        with trio.move_on_after(patience_s) as patience:
            await trio.testing.wait_all_tasks_blocked(real_s / 10)
        return trio.current_time() - before, patience.cancelled_caught

    async def antedate(self, seconds: float) -> None:
        """Send the next message as one that was sent before, as if time had moved past it."""
        transport = self._cell.exchange.transport
        assert isinstance(transport, SocketTransport)
        transport.dating = lambda: trio.current_time() - seconds

    async def wait_for_nothing(self) -> None:
        ours, theirs = socketpair()
        with ours, theirs:
            await trio.lowlevel.wait_readable(ours)

    async def keep_a_process(self, _: float) -> None:
        subprocess.Popen(["sleep", "600"])  # noqa: ASYNC220
