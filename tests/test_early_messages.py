"""Who tells others of himself in ``on_start`` is spoken to before he is up."""

from __future__ import annotations

import pytest
import trio

from actors import Actor, ActorDeadError, ActorRef, SpawnError
from actors.testing.virtual import VirtualSystem


class Registry(Actor):
    """Asks at once whoever registers."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.last: ActorRef[Early] | None = None

    async def register(self, who: ActorRef[Early]) -> None:
        self.last = who
        try:
            self.heard.append(await who.ask(Early.hello))
        except (ActorDeadError, RuntimeError) as error:
            self.heard.append(str(error))

    async def again(self) -> str:
        assert self.last is not None
        return await self.last.ask(Early.hello)

    async def all(self) -> list[str]:
        return self.heard


class Early(Actor):
    def __init__(self, registry: ActorRef[Registry], how: str) -> None:
        self.registry = registry
        self.how = how
        self.up = False

    async def on_start(self) -> None:
        if self.how == "ask":
            await self.registry.ask(Registry.register, self.ref)
        else:
            await self.registry.tell(Registry.register, self.ref)
        await trio.sleep(1)
        if self.how == "fail":
            raise ValueError("it will not do")
        self.up = True

    async def hello(self) -> str:
        return "hello" if self.up else "too early"


@pytest.fixture(params=[False, True], ids=["process", "local"])
def local(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


async def test_what_comes_during_the_start_is_handled_after_it(
    local: bool, system: VirtualSystem
) -> None:
    registry = await system.spawn(Registry, local=local)
    await system.spawn(Early, registry, "tell", local=local)
    assert await registry.ask(Registry.again) == "hello"
    assert await registry.ask(Registry.all) == ["hello"]


async def test_what_comes_during_a_start_that_fails_is_told_so(
    local: bool, system: VirtualSystem
) -> None:
    registry = await system.spawn(Registry, local=local)
    with pytest.raises(SpawnError, match="it will not do"):
        await system.spawn(Early, registry, "fail", name="early", local=local)
    (said,) = await registry.ask(Registry.all)
    assert said.endswith("early.3 has ended: crashed(ValueError: it will not do)")


async def test_an_ask_that_the_start_itself_waits_for_is_a_cycle(
    local: bool, system: VirtualSystem
) -> None:
    registry = await system.spawn(Registry, name="registry", local=local)
    await system.spawn(Early, registry, "ask", name="early", local=local)
    (said,) = await registry.ask(Registry.all)
    assert said.startswith("ask cycle: ")
    assert await registry.ask(Registry.again) == "hello"
