"""Overlapping commands answer as if they had been run one after another."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.topology import Id, topology
from shell.commands import (
    Command,
    Create,
    Execute,
    Heartbeat,
    Help,
    Kill,
    ListAll,
    Ping,
    Remove,
    Restart,
    ShowTree,
    Sleep,
    Why,
)
from shell.order import Order
from shell.ticket import Ticket

IDS = st.integers(0, 6)
COMMANDS: st.SearchStrategy[Command] = st.one_of(
    st.builds(Create, IDS, st.none() | st.just(-1) | IDS),
    st.builds(Create, IDS, st.none() | st.just(-1) | IDS),
    st.builds(Execute, IDS, st.just("add")),
    st.builds(Ping, IDS),
    st.builds(Remove, IDS),
    st.builds(Kill, IDS),
    st.builds(Restart, IDS),
    st.builds(Help, st.none(), IDS),
    st.builds(Why, IDS),
    st.just(ListAll()),
    st.just(Sleep(1)),
)


class Model:
    """Nodes with a counter each. Every command is one step, at its start or at its end."""

    def __init__(self, places: str, doomed: set[int]) -> None:
        self.topology = topology(places)
        self.doomed = doomed  # creates that fail, by number of the line
        self.nodes: dict[Id, tuple[Id, int, bool]] = {}  # parent, created by line, alive
        self.counters: dict[Id, int] = {}

    def parent(self, command: Create) -> Id | None:
        if command.id in self.nodes:
            return None
        by_line = sorted(self.nodes, key=lambda id: self.nodes[id][1])
        places = [(id, self.nodes[id][0]) for id in by_line]
        return self.topology.parent(command.id, command.parent, places)

    def check(self, command: Command, parent: Id | None) -> str | None:
        """The answer known at the start, else None."""
        match command:
            case Create(id):
                if id in self.nodes:
                    return "exists"
                if parent != -1 and parent not in self.nodes:
                    return "no parent"
                if parent is not None and parent != -1 and not self.nodes[parent][2]:
                    return "dead parent"
            case Execute(id) | Ping(id) | Remove(id) | Kill(id) | Restart(id) | Why(id) if (
                id not in self.nodes
            ):
                return "not found"
            case Execute(id) | Ping(id) if not self.nodes[id][2]:
                return "dead"
            case Execute(id):
                # Sent in order: the effect on the node comes with the start.
                self.counters[id] += 1
            case Help():
                return "help" if command.id in self.nodes else "not found"
            case ListAll():
                return " ".join(map(str, sorted(self.nodes, key=lambda id: self.nodes[id][1])))
        return None

    def act(self, line: int, command: Command, parent: Id | None, seen: int) -> str:
        """The effect and the answer of a command that `check` let through."""
        match command:
            case Create(id):
                if line in self.doomed:
                    return "failed"
                assert parent is not None
                assert id not in self.nodes
                assert parent == -1 or self.nodes[parent][2]
                self.nodes[id] = (parent, line, True)
                self.counters[id] = 0
                return f"under {parent}"
            case Execute(id):
                assert self.nodes[id][2]
                return f"counted {seen}"
            case Ping(id) | Why(id):
                return f"alive {self.nodes[id][2]}"
            case Kill(id):
                self.nodes[id] = (*self.nodes[id][:2], False)
                return "killed"
            case Restart(id):
                self.nodes[id] = (*self.nodes[id][:2], True)
                return "restarted"
            case Remove(id):
                gone = [id]
                for each in gone:
                    gone += (child for child, node in self.nodes.items() if node[0] == each)
                for each in gone:
                    del self.nodes[each]
                return f"removed {sorted(gone)}"
        return "slept"


def one_after_another(places: str, doomed: set[int], commands: list[Command]) -> list[str]:
    model = Model(places, doomed)
    answers = []
    for line, command in enumerate(commands, 1):
        parent = model.parent(command) if isinstance(command, Create) else None
        answer = model.check(command, parent)
        if answer is None:
            seen = model.counters.get(getattr(command, "id", -1), 0)
            answer = model.act(line, command, parent, seen)
        answers.append(answer)
    return answers


def overlapping(
    places: str,
    doomed: set[int],
    commands: list[Command],
    choose: Callable[[int], int],
    started: list[int] | None = None,
) -> list[str]:
    """Run by the order's rules; ``choose(n)`` picks what happens next, 0 = read a line."""
    model = Model(places, doomed)
    order = Order(topology(places))
    answers: dict[int, str] = {}
    running: list[tuple[Ticket, int]] = []
    ahead = list(commands)

    def start_all() -> None:
        while (ticket := order.next()) is not None:
            if started is not None:
                started.append(ticket.seq)
            answer = model.check(ticket.command, ticket.parent)
            if answer is None:
                seen = model.counters.get(getattr(ticket.command, "id", -1), 0)
                running.append((ticket, seen))
            else:
                answers[ticket.seq] = answer
                order.finish(ticket, done=isinstance(ticket.command, ListAll))

    while ahead or running:
        may_read = bool(ahead) and order.open
        assert may_read or running, "nothing can go on"
        choice = choose(len(running) + may_read)
        if may_read and choice == 0:
            order.add(Ticket(ahead.pop(0)))
        else:
            ticket, seen = running.pop(choice - may_read)
            answer = model.act(ticket.seq, ticket.command, ticket.parent, seen)
            answers[ticket.seq] = answer
            order.finish(ticket, done=answer != "failed")
        start_all()
    assert order.unanswered == 0
    assert len(answers) == len(commands)
    return [answers[line] for line in sorted(answers)]


@settings(max_examples=1500, deadline=None)
@given(
    places=st.sampled_from(["tree", "list", "bst"]),
    doomed=st.sets(st.integers(1, 25)),
    commands=st.lists(COMMANDS, max_size=25),
    data=st.data(),
)
def test_whatever_overlaps_the_answers_are_those_of_running_lines_one_by_one(
    places: str, doomed: set[int], commands: list[Command], data: st.DataObject
) -> None:
    seed = data.draw(st.integers(0, 2**32))
    reads_first = data.draw(st.booleans())
    dice = random.Random(seed)

    def choose(choices: int) -> int:
        return 0 if reads_first and dice.random() < 0.8 else dice.randrange(choices)

    expected = one_after_another(places, doomed, commands)
    assert overlapping(places, doomed, commands, choose) == expected


FOUND = [
    (
        "tree",
        set(),
        [Create(1), Remove(1), Create(1, 0), Create(0)],
        "a create overtakes one that needs it as a parent and still waits for its id",
    ),
    (
        "tree",
        set(),
        [Create(0), Create(1), Create(1, 0), Remove(0), Execute(1, "add"), Execute(1, "add")],
        "a remove claims less than before, and a later exec overtakes a parked one",
    ),
    (
        "bst",
        set(),
        [Create(1), Create(2), Remove(2), Create(2), Kill(1)],
        "a create whose id is still taken does not yet claim the parent it will have",
    ),
    (
        "bst",
        set(),
        [Create(2), Create(0), Create(1), Remove(0), Create(1), Create(1), Kill(2)],
        "the parent of an id that is taken is itself going",
    ),
    (
        "list",
        {1},
        [Create(2), Create(0), Remove(2), Create(1), ListAll()],
        "a remove is expected to take nodes, and then does not find its own",
    ),
]


@pytest.mark.parametrize(
    ("places", "doomed", "commands"),
    [case[:3] for case in FOUND],
    ids=[case[3] for case in FOUND],
)
def test_scripts_that_once_went_wrong(
    places: str, doomed: set[int], commands: list[Command]
) -> None:
    expected = one_after_another(places, doomed, commands)
    for seed in range(300):
        dice = random.Random(seed)
        eagerness = dice.random()

        def choose(choices: int, dice: random.Random = dice, eager: float = eagerness) -> int:
            return 0 if dice.random() < eager else dice.randrange(choices)

        assert overlapping(places, doomed, commands, choose) == expected


def starts(commands: list[Command], places: str = "tree") -> list[int]:
    """The lines that may start while nothing is answered."""
    order = Order(topology(places))
    for command in commands:
        order.add(Ticket(command))
    found = []
    while (ticket := order.next()) is not None:
        found.append(ticket.seq)
    return found


@pytest.mark.parametrize(
    ("places", "commands", "started"),
    [
        ("tree", [Create(1), Create(2)], [1, 2]),
        ("tree", [Create(1), Create(2, 1)], [1]),
        ("tree", [Create(1), Create(1)], [1]),
        ("list", [Create(1), Create(2)], [1]),
        ("bst", [Create(5), Create(3)], [1]),
        ("tree", [Create(1), Execute(1, "time"), Execute(2, "time")], [1, 3]),
        ("tree", [Execute(1, "time"), Execute(1, "time")], [1, 2]),
        ("tree", [Execute(1, "time"), Create(1)], [1, 2]),
        ("tree", [Execute(1, "time"), Kill(1), Ping(1)], [1]),
        ("tree", [Execute(1, "time"), Kill(2), Remove(3)], [1, 2, 3]),
        ("tree", [Execute(1, "time"), Restart(1), Ping(1)], [1]),
        ("tree", [Restart(1), Execute(1, "time"), Execute(2, "time")], [1, 3]),
        ("tree", [Restart(1), Restart(1), Create(2, 1), ListAll()], [1]),
        ("tree", [Create(1), Help(id=1), Help("create"), Help(id=2)], [1, 3, 4]),
        ("tree", [Create("a"), Create("b"), Create("c", "a"), Ping("b/x")], [1, 2, 4]),
        ("tree", [Create(1), Create(2, 1), Remove(1), Create(3)], [1, 4]),
        ("tree", [Execute(1, "time"), ListAll()], [1, 2]),
        ("tree", [Create(1), ListAll(), Execute(2, "time")], [1, 3]),
        ("tree", [Create(1), ListAll(), Create(2)], [1]),
        ("tree", [Kill(1), ShowTree()], [1]),
        ("tree", [Remove(1), Heartbeat(10)], [1]),
        ("tree", [Execute(1, "time"), Sleep(1)], [1]),
        ("tree", [Sleep(1)], [1]),
    ],
)
def test_what_starts_before_anything_is_answered(
    places: str, commands: list[Command], started: list[int]
) -> None:
    assert starts(commands, places) == started


def test_nothing_is_added_behind_a_sleep() -> None:
    order = Order(topology("tree"))
    order.add(Ticket(Sleep(1)))
    assert not order.open
    with pytest.raises(RuntimeError):
        order.add(Ticket(ListAll()))
    ticket = order.next()
    assert ticket is not None
    order.finish(ticket, done=True)
    assert order.open
    assert order.unanswered == 0


def test_every_create_of_a_list_may_fail() -> None:
    order = Order(topology("list"))
    for id in range(200):
        order.add(Ticket(Create(id)))
    for id in range(200):
        ticket = order.next()
        assert ticket is not None
        assert (ticket.command, ticket.parent) == (Create(id), -1)
        order.finish(ticket, done=False)
    assert order.next() is None


def test_what_comes_and_goes_without_a_line_is_heard_of() -> None:
    order = Order(topology("list"), [("root", -1)])
    order.learn("root", -1)
    order.learn("kid", "root")
    order.add(Ticket(Create("mine")))
    ticket = order.next()
    assert ticket is not None
    assert ticket.parent == "kid"
    order.learn("mine", "kid")
    order.finish(ticket, done=True)
    assert sorted(["mine", "kid", "root"], key=order.rank) == ["root", "kid", "mine"]
    order.forget("mine")
    order.forget("mine")
    order.add(Ticket(Create("mine")))
    ticket = order.next()
    assert ticket is not None
    assert ticket.parent == "kid"


def test_a_remove_owns_what_has_come_by_itself() -> None:
    order = Order(topology("tree"), [("root", -1)])
    order.learn("kid", "root")
    for command in (Remove("root"), Ping("kid"), Create("kid")):
        order.add(Ticket(command))
    ticket = order.next()
    assert ticket is not None
    assert order.next() is None
    order.forget("kid")
    order.forget("root")
    order.finish(ticket, done=True)
    ping, create = order.next(), order.next()
    assert ping is not None
    assert create is not None
    assert (ping.command, create.command, create.parent) == (Ping("kid"), Create("kid"), -1)


def test_a_local_cell_shares_the_fate_of_its_process() -> None:
    order = Order(topology("tree"), [("boss", -1), ("boss/cell", "boss"), ("bosses", -1)])
    for command in (Ping("boss/cell"), Kill("boss"), Ping("bosses"), Ping("boss/cell")):
        order.add(Ticket(command))
    ping = order.next()
    other = order.next()
    assert ping is not None
    assert other is not None
    assert (ping.seq, other.seq, order.next()) == (4, 6, None)
    order.finish(ping, done=True)
    kill = order.next()
    assert kill is not None
    assert (kill.seq, order.next()) == (5, None)
    order.finish(kill, done=True)
    last = order.next()
    assert last is not None
    assert last.seq == 7


def test_creates_that_wait_are_placed_anew_when_their_parent_goes() -> None:
    order = Order(topology("list"), [(1, -1), (2, 1)])
    order.add(Ticket(Restart(2)))
    order.add(Ticket(Create(3)))
    restart = order.next()
    assert restart is not None
    order.forget(2)
    order.finish(restart, done=False)
    create = order.next()
    assert create is not None
    assert create.parent == 1
