"""A system that tells whom it suspects: ``python -m tests.real_observer``, driven over pipes.

It prints ``ready``, and at each line of its input the list of what it has heard since it was ready.
"""

from __future__ import annotations

import json
import sys

import trio

from actors import ActorRef, open_system
from actors.supervision.record import Happened
from tests.mortals import Mortal

NODES = 7


async def main() -> None:
    async with open_system() as system:
        refs: list[ActorRef[Mortal]] = [await system.spawn(Mortal, name="n1")]
        for number in range(2, NODES + 1):
            refs.append(await refs[number // 2 - 1].ask(Mortal.bear, f"n{number}"))
        heard: list[Happened] = []
        with system.listen(heard.append):
            print("ready", flush=True)
            while True:
                await trio.lowlevel.wait_readable(0)
                if not sys.stdin.readline():
                    return
                pids = {await ref.ask(Mortal.ping) for ref in refs}
                told = [(each.what, each.name) for each in heard]
                print(json.dumps([told, len(pids)]), flush=True)


if __name__ == "__main__":
    trio.run(main)
