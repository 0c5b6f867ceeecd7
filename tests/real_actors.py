"""Actors for the tests with real processes, and programs that run them.

``python -m tests.real_actors PROGRAM`` runs one: it prints one line of JSON when it is ready.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable

import trio

from actors.actor import Actor, reentrant
from actors.ref import ActorRef
from actors.system import System, open_system
from runtime.exits import ExitReason
from runtime.hosts import rehearsal


class Counter(Actor):
    """Counts, and starts others of its kind."""

    def __init__(self, start: int = 0) -> None:
        self.value = start

    async def add(self, amount: int) -> int:
        self.value += amount
        return self.value

    async def pid(self) -> int:
        return os.getpid()

    @reentrant
    async def grow(self, name: str) -> ActorRef["Counter"]:
        return await self.spawn(Counter, name=name)

    async def leave(self) -> None:
        self.finish()

    async def quit(self, code: int) -> None:
        raise SystemExit(code)

    async def vanish(self, code: int) -> None:
        os._exit(code)

    async def fail(self, why: str) -> None:
        raise LookupError(why)

    async def print(self, text: str) -> None:
        print(text)

    async def loaded(self) -> list[str]:
        """The modules of this process."""
        return sorted(sys.modules)

    async def rehearsed(self) -> int:
        """How many lives the zygote has rehearsed."""
        return rehearsal.lives

    async def strays(self) -> dict[str, int]:
        """What this process has received and could not use."""
        return dict(self._cell.exchange.strays)


class Troubled(Actor):
    """Does not start."""

    def __init__(self, where: str) -> None:
        self.where = where
        if where == "constructor":
            raise ValueError("the constructor was asked to raise")

    async def on_start(self) -> None:
        if self.where == "on_start":
            raise ValueError("on_start was asked to raise")
        if self.where == "death":
            os._exit(7)
        await trio.sleep_forever()


class Starter(Actor):
    """Starts processes of its own."""

    async def start(self) -> list[int]:
        """A child, one in its own session, and a double fork."""
        return start_strays()


def start_strays() -> list[int]:
    sleep = ["sleep", "600"]
    pids = [subprocess.Popen(sleep).pid, subprocess.Popen(sleep, start_new_session=True).pid]
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        if (daemon := os.fork()) == 0:
            os.execvp("sleep", sleep)
        os.write(write, b"%d" % daemon)
        os._exit(0)
    os.waitpid(child, 0)
    pids.append(int(os.read(read, 20)))
    os.close(read)
    os.close(write)
    return pids


class Farewell(Actor):
    """Writes down how it ended, if it is told."""

    def __init__(self, path: str) -> None:
        self.path = path

    async def on_stop(self, reason: ExitReason) -> None:
        with open(self.path, "w") as file:  # noqa: ASYNC230
            file.write(reason.kind)


class Stubborn(Actor):
    """Ends by SIGKILL only."""

    async def on_stop(self, reason: ExitReason) -> None:
        time.sleep(600)  # noqa: ASYNC251

    async def grow(self, name: str) -> ActorRef["Stubborn"]:
        return await self.spawn(Stubborn, name=name)


def say(**what: object) -> None:
    print(json.dumps(what), flush=True)


async def _rest(system: System) -> None:
    try:
        say(ready=True)
        await trio.sleep_forever()
    except trio.Cancelled:
        say(left_by="Cancelled")
        raise
    except BaseException as error:
        say(left_by=type(error).__name__)
        raise


async def wait(system: System) -> None:
    """A tree of three, one of them frozen, and three strays."""
    first = await system.spawn(Counter, name="first")
    second = await first.ask(Counter.grow, "second")
    starter = await system.spawn(Starter)
    strays = await starter.ask(Starter.start)
    os.kill(await second.ask(Counter.pid), signal.SIGSTOP)
    say(strays=strays)
    await _rest(system)


async def wait_deaf(system: System) -> None:
    await wait(system)


async def wait_stubbornly(system: System) -> None:
    """A chain of three that takes 6 s to stop politely."""
    ref = await system.spawn(Stubborn)
    for name in ("b", "c"):
        ref = await ref.ask(Stubborn.grow, name)
    await _rest(system)


async def fail(system: System) -> None:
    await system.spawn(Counter)
    say(ready=True)
    raise LookupError("the program is at fault")


PROGRAMS: dict[str, Callable[[System], Awaitable[None]]] = {
    program.__name__: program for program in (wait, wait_deaf, wait_stubbornly, fail)
}


async def main(name: str) -> None:
    async with open_system(signals=name != "wait_deaf") as system:
        await PROGRAMS[name](system)


if __name__ == "__main__":
    trio.run(main, sys.argv[1])
