"""Planted bugs are found, shrunk, and replayed by the code that is printed; their twins pass."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio

from actors import Down
from actors.testing.exploration import NOT_AGAIN, NOT_LISTED, Exploration, Found
from actors.testing.explore import Freeze, Kill, explore
from actors.testing.strikes import Chance, Drawn, struck
from actors.testing.virtual import VirtualSystem
from runtime.errors import RemoteError
from runtime.weather.weather import Delay, Drop, Rule, Weather
from runtime.wires.memory import MemoryNetwork
from tests import planted

TWINS = 500 if os.environ.get("REGROW_LONG") else 20
LATE = Weather(kinds="user", delay=0.1, delay_s=(0.0, 5.0))
ROUGH = Weather(kinds="user", drop=0.1, duplicate=0.1, reorder=0.1, delay=0.05, delay_s=(0.0, 5.0))

# -- planted bugs


async def fetch_a_parcel(system: VirtualSystem, desk_class: type[planted.LossyDesk]) -> None:
    desk = await system.spawn(desk_class, name="desk")
    postman = await system.spawn(planted.Postman, name="postman")
    await postman.tell(planted.Postman.bring, desk, "parcel")
    with trio.fail_after(20):
        assert await desk.ask(planted.LossyDesk.collect, "parcel") == "parcel"


async def keep_a_worker(system: VirtualSystem, keeper_class: type[planted.HastyKeeper]) -> None:
    keeper = await system.spawn(keeper_class, name="keeper")
    for _ in range(3):
        await keeper.ask(planted.HastyKeeper.check)
        await trio.sleep(0.5)
    await trio.sleep(3)
    assert await keeper.ask(planted.HastyKeeper.crew) == 1


async def buy(system: VirtualSystem, buyer_class: type[planted.TrustingBuyer]) -> None:
    till = await system.spawn(planted.Till, name="till", restart="permanent")
    buyer = await system.spawn(buyer_class, till, name="buyer")
    for number in range(3):
        await buyer.ask(planted.TrustingBuyer.buy, number)


async def watch_a_walker(system: VirtualSystem, watchman_class: type[planted.SoftWatchman]) -> None:
    watchman = await system.spawn(watchman_class, name="watchman")
    walker = await system.spawn(planted.Walker, watchman, name="walker")
    await trio.sleep(8)
    system.kill(walker)
    await trio.sleep(8)
    log = await watchman.ask(planted.SoftWatchman.report)
    assert planted.forgiven_too_early(log) == []


def exploration(**how: Any) -> Callable[..., Exploration]:
    return partial(Exploration, file=__file__, **how)


CASES: dict[str, tuple[Any, Any, Any, Callable[..., Exploration], set[type]]] = {
    "a lost reply": (
        fetch_a_parcel, planted.LossyDesk, planted.Desk, exploration(), {Delay},
    ),
    "a lost reply, by a loss": (
        fetch_a_parcel, planted.LossyDesk, planted.Desk,
        exploration(weather=Weather(kinds=("user", "control"), drop=0.1)), {Drop},
    ),
    "a double restart": (
        keep_a_worker, planted.HastyKeeper, planted.Keeper,
        exploration(
            weather=Weather(kinds="user", delay=0.2, delay_s=(0.0, 0.7)),
            chance=Chance(kills=1, victims=("worker1",), within_s=3.0),
        ), {Delay, Kill},
    ),
    "a stale ref that reaches the next life": (
        buy, planted.TrustingBuyer, planted.Buyer,
        exploration(chance=Chance(kills=1, victims=("till",), within_s=5.0)), {Kill},
    ),
    "a detector that forgives too early": (
        watch_a_walker, planted.SoftWatchman, planted.Watchman, exploration(weather=LATE), {Delay},
    ),
}  # fmt: skip
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def pasted(found: Found, scene: Callable[[VirtualSystem], Awaitable[None]]) -> Callable[[], None]:
    """The code that was printed, above a test."""
    test = "async def test_it(system):\n    await scene(system)\n"
    names: dict[str, Any] = {"scene": scene}
    exec(f"{found.code()}\n{test}", names)
    test_it: Callable[[], None] = names["test_it"]
    return test_it


@every_case
def test_a_planted_bug_is_found_shrunk_and_replayed(case: Any) -> None:
    scene, bad, good, explored, enough = case
    body = partial(scene, **{list(scene.__annotations__)[1]: bad})
    found = explored(body).search(500)
    assert found is not None
    assert found.runs <= 500
    assert {type(each) for each in found.few} == enough, found.text()
    assert len(found.few) <= 2, found.text()
    with pytest.raises(type(found.first.failure)) as raised:
        pasted(found, body)()
    place = explored(body).place
    assert found.first.failure is not None
    assert place(raised.value) == place(found.first.failure)
    twin = partial(scene, **{list(scene.__annotations__)[1]: good})
    pasted(found, twin)()


@every_case
def test_its_twin_passes(case: Any) -> None:
    scene, _, good, explored, _ = case
    twin = partial(scene, **{list(scene.__annotations__)[1]: good})
    found = explored(twin).search(TWINS)
    assert found is None, found.text()


# -- what is found


async def race(system: VirtualSystem) -> None:
    """Fails if the second task runs first."""
    order: list[int] = []

    async def run(number: int) -> None:
        await trio.sleep(1)
        order.append(number)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, 1)
        nursery.start_soon(run, 2)
    await system.spawn(planted.Till)
    if order != [1, 2]:
        raise LookupError("as told")


def test_where_the_order_of_tasks_is_enough_no_fault_is_named() -> None:
    found = Exploration(race, weather=ROUGH, file=__file__).search(500)
    assert found is not None
    assert found.few == []
    assert found.text("t.py::race", 500) == (
        f"run {found.runs} of 500, with seed {found.first.seed}, failed; the order of "
        "tasks is enough, without any fault. Pasted above the test, this replays it:\n\n"
        "from actors.testing.explore import explore\n\n"
        f"@explore.replay(\n    seed={found.seed},\n    faults=[],\n)\n\n"
        f'The run itself: pytest "t.py::race" --regrow-seed {found.first.seed}'
    )
    with pytest.raises(LookupError):
        pasted(found, race)()


def test_the_same_seed_finds_the_same() -> None:
    body = partial(fetch_a_parcel, desk_class=planted.LossyDesk)
    explored = Exploration(body, ROUGH, Chance(kills=1, freezes=1), file=__file__)
    one, other = explored.search(500, 7), explored.search(500, 7)
    assert one is not None
    assert other is not None
    assert one.text() == other.text()
    assert one.first.faults == other.first.faults
    assert len({str(explored.run(seed).faults) for seed in range(5)}) > 3


def test_latency_and_options_are_printed_for_they_are_no_faults() -> None:
    rules = (Rule(target="postman", latency_s=0.25), Rule(kinds="ask", delay=0.5, delay_s=(0, 2)))
    body = partial(fetch_a_parcel, desk_class=planted.LossyDesk)
    explored = Exploration(body, Weather(*rules), options={"intensity": (1, 2.0)}, file=__file__)
    found = explored.search(500)
    assert found is not None
    assert "    rules=[Rule(target=('postman',), latency_s=0.25), Rule(" in found.code()
    assert "    intensity=(1, 2.0),\n" in found.code()
    with pytest.raises(trio.TooSlowError):
        pasted(found, body)()


def test_what_does_not_fail_again_is_not_shrunk() -> None:
    runs = 0

    async def flaky(system: VirtualSystem) -> None:
        nonlocal runs
        runs += 1
        assert runs != 3

    found = Exploration(flaky, file=__file__).search(500, 10)
    assert found is not None
    assert (found.runs, found.first.seed, found.few, runs) == (3, 12, [], 4)
    assert NOT_AGAIN in found.text()
    assert found.text().endswith("--regrow-seed 12")


def test_what_fails_at_another_line_is_another_failure() -> None:
    async def two(system: VirtualSystem) -> None:
        for name in ("a", "b"):
            await system.spawn(planted.Till, name=name)
        late = {fault.source for fault in system.network.faults}
        if late >= {"a", "b"}:
            raise KeyError("both")
        if late:
            raise KeyError("one")

    found = Exploration(two, Weather(kinds="hello", delay=1.0), file=__file__).search(1)
    assert found is not None
    assert [getattr(fault, "source", "") for fault in found.few] == ["a", "b"]


def test_failures_are_told_apart() -> None:
    place = Exploration(race, file=__file__).place

    def raised(failure: Exception) -> Exception:
        try:
            raise failure
        except Exception as it:
            return it

    failures = [
        KeyError(),
        LookupError(),
        RemoteError("KeyError", "a"),
        RemoteError("ValueError", "a"),
        ExceptionGroup("", [raised(KeyError())]),
    ]
    assert len({place(raised(each)) for each in failures}) == 5
    assert place(raised(KeyError("a"))) == place(raised(KeyError("b")))
    assert place(raised(KeyError())) != place(KeyError())


def test_weather_that_a_test_makes_itself_is_no_fault() -> None:
    async def made(system: VirtualSystem) -> None:
        till = await system.spawn(planted.Till, name="till")
        system.network.weather = Weather(kinds="ask", delay=1.0)
        await till.ask(planted.Till.reserve, 1)
        assert not [fault for fault in system.network.faults if fault.kind == "ask"]

    found = Exploration(made, Weather(kinds="hello", delay=1.0), file=__file__).search(1)
    assert found is not None
    assert found.few == []


def test_where_the_list_of_faults_does_not_fail_it_is_not_printed() -> None:
    async def picky(system: VirtualSystem) -> None:
        await system.spawn(planted.Till, name="till")
        weather = system.network.weather
        assert weather is not None
        assert weather.faults

    found = Exploration(picky, Weather(kinds="hello", delay=1.0), file=__file__).search(1)
    assert found is not None
    assert NOT_LISTED in found.text()


# -- strikes


def test_what_is_listed_strikes_at_its_instant() -> None:
    seen: list[object] = []

    async def body(system: VirtualSystem) -> None:
        till = await system.spawn(planted.Till, name="till", restart="permanent")
        probe = await system.probe()
        probe.monitor(till)
        await trio.sleep(1.25)
        seen.append(system.host.bodies[till.incarnation].frozen)
        await trio.sleep(0.5)
        seen.append(system.host.bodies[till.incarnation].frozen)
        down = await probe.expect(Down)
        seen.extend([str(down.reason), trio.current_time()])

    strikes = [Kill("till", 3.5), Freeze("till", 1.0, 0.5), Kill("nobody", 2.0)]
    run = Exploration(body).run(0, strikes)
    assert run.failure is None
    assert seen == [True, False, "killed(SIGKILL)", 3.5]
    assert run.faults == [Freeze("till", 1.0, 0.5), Kill("till", 3.5)]


def test_nothing_strikes_after_the_block() -> None:
    async def body(system: VirtualSystem) -> None:
        await system.spawn(planted.Till, name="till")
        with struck(system, [Kill("till", 1.0), Kill("till", 2.0)]) as done:
            await trio.sleep(1.5)
        assert done == [Kill("till", 1.0)]
        await system.spawn(planted.Till, name="till")
        with struck(system, [Kill("till", 2.0)]) as done:
            pass
        await trio.sleep(10)
        assert done == []

    assert Exploration(body).run(0, []).failure is None


def test_with_fewer_faults_the_links_stay_as_they_are() -> None:
    logs: list[str] = []

    async def body(system: VirtualSystem) -> None:
        await system.spawn(planted.Till, name="till")
        logs.append(str(system.network.log))

    for weather, options in ((ROUGH, {}), (LATE, {"reliable": True}), (LATE, {})):
        Exploration(body, weather, options={"log": 1000, **options}).run(0, [])
    assert logs[0] == logs[1] != logs[2]


def test_strikes_are_drawn_from_the_seed_among_those_that_are_up() -> None:
    chance = Chance(kills=2, freezes=1, victims=("a", "b"), within_s=4.0)
    draws = [chance.draw(seed) for seed in range(200)]
    assert draws == [chance.draw(seed) for seed in range(200)]
    assert {len(each) for each in draws} == {0, 1, 2, 3}
    assert all(0 <= strike.at_s <= 4.0 for each in draws for strike in each)
    hit = [strike.at(["a", "b", "c"]) for each in draws for strike in each]
    assert {each.name for each in hit if each is not None} == {"a", "b"}
    assert Drawn(1.0, None, (), 0.99).at(["a", "c"]) == Kill("c", 1.0)
    assert Drawn(1.0, None, ("b",), 0.99).at(["a", "c"]) is None


# -- names that nobody has


async def one_till(system: VirtualSystem) -> None:
    """In some runs a second one comes late."""
    till = await system.spawn(planted.Till, name="till")
    weather = system.network.weather
    assert weather is not None
    if weather.seed == 2:
        await system.spawn(planted.Till, name="late")
    await till.ask(planted.Till.reserve, 1)


NOBODY = "no node of this name has lived in "


@pytest.mark.parametrize(
    ("how", "where"),
    [
        (
            explore(runs=3, freezes=1, victims=["till", "nobody"]),
            "any of 3 runs: 'nobody' (victims)",
        ),
        (explore(runs=3, kills=1, victims="nobody"), "any of 3 runs: 'nobody' (victims)"),
        (
            explore(runs=1, weather=Weather(Rule(source="nobody", target="controller", drop=1.0))),
            "any of 1 runs: 'nobody' (Rule)",
        ),
        (
            explore.replay(seed=4, faults=[Kill("nobody", 1.0), Kill("till", 1.0)]),
            "the replay from seed 4: 'nobody' (Kill)",
        ),
        (
            explore.replay(seed=0, faults=[Drop("controller", "nobody", "ask", 1)]),
            "the replay from seed 0: 'nobody' (Drop)",
        ),
        (
            explore.replay(seed=0, faults=[Freeze("controller", 0.0, 1.0)]),
            "the replay from seed 0: 'controller' (Freeze)",
        ),
    ],
    ids=["victims", "a victim", "rule", "kill", "drop", "the controller"],
)
def test_who_is_to_be_struck_and_never_lives_is_named(how: Any, where: str) -> None:
    with pytest.raises(ValueError, match=r".") as raised:
        how(one_till)()
    assert str(raised.value) == NOBODY + where


def test_a_name_may_come_to_life_in_one_run_of_many() -> None:
    explore(runs=3, kills=1, victims=["late"])(one_till)()  # in the last, from seed 2
    with pytest.raises(ValueError, match="'late'"):
        explore(runs=2, kills=1, victims=["late"])(one_till)()


def test_nobody_is_missed_in_fewer_runs_than_there_would_be() -> None:
    explored = Exploration(one_till, chance=Chance(kills=1, victims=("late",)))
    assert explored.search(2, of=3) is None


def test_a_test_that_fails_fails_with_its_own_error() -> None:
    with pytest.raises(LookupError, match="as told"):
        explore(runs=50, freezes=1, victims=["nobody"])(race)()


def test_a_local_cell_is_no_node_that_could_be_struck() -> None:
    async def local(system: VirtualSystem) -> None:
        await system.spawn(planted.Till, name="till", local=True)

    with pytest.raises(ValueError, match="'controller/till' \\(victims\\)"):
        explore(runs=1, kills=1, victims=["controller/till"])(local)()


# -- the decorator


def test_an_explored_test_is_a_plain_function_that_fails_with_its_error() -> None:
    @explore(runs=50)
    async def test_it(system: VirtualSystem, network: MemoryNetwork) -> None:
        assert network is system.network
        await race(system)

    with pytest.raises(LookupError, match="as told") as raised:
        test_it()
    (note,) = raised.value.__notes__
    assert "@explore.replay(\n" in note


def test_what_is_pasted_runs_before_anything_is_explored() -> None:
    seen: list[float] = []

    async def body(system: VirtualSystem) -> None:
        await system.spawn(planted.Till, name="till", restart="permanent")
        await trio.sleep(2)
        seen.append(float(len(system.network.faults)))

    fault = Delay("till", "controller", "hello", 1, 0.5)
    test = explore(runs=3, weather=Weather(latency_s=0.1))(body)
    test = explore.replay(seed=1, faults=[])(explore.replay(seed=0, faults=[fault])(test))
    test()
    assert seen == [0.0, 1.0, 0.0, 0.0, 0.0]
    seen.clear()
    explore(runs=1, weather=Weather(latency_s=0.1))(explore.replay(seed=0, faults=[fault])(body))()
    assert seen == [1.0, 0.0]


@pytest.mark.parametrize(
    ("misuse", "says"),
    [
        (lambda: explore(test_its_twin_passes), "write @explore\\(\\) with its brackets"),
        (lambda: explore()(test_its_twin_passes), "explore takes an async def, not <function"),
        (lambda: explore(runs=0), "runs is a number of runs, not 0"),
        (lambda: explore(weather=Weather.only([Drop("a", "b", "ask", 1)])), "explore takes rules"),
        (lambda: explore(kills=-1), "kills is a number of nodes, not -1"),
        (
            lambda: explore(victims="till"),
            r"victims=\('till',\) without kills and without freezes: nobody would be struck",
        ),
        (lambda: explore(freezes=0.5), "freezes is a number of nodes, not 0.5"),  # type: ignore[arg-type]
        (lambda: explore(within_s=0.0), "within_s is a number of seconds, not 0.0"),
        (lambda: explore(wether=None), "open_virtual_system has no option 'wether'"),
        (lambda: explore.replay(seed=0, faults=["a"]), "faults are faults and strikes, not 'a'"),  # type: ignore[list-item]
    ],
    ids=[
        "bare",
        "no async def",
        "runs",
        "a list",
        "kills",
        "victims",
        "freezes",
        "within",
        "option",
        "fault",
    ],
)
def test_misuse_is_refused(misuse: Callable[[], object], says: str) -> None:
    with pytest.raises((TypeError, ValueError), match=says):
        misuse()
