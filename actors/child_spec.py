"""A child spec: which actor, with which arguments, and what to do when it ends.

What `spawn` takes as keywords, and what a supervisor's list of children is made of.

Invariants
----------
* A spec that makes no sense is refused when it is given, before anything is started; so in the
  list of a supervisor, where it is written.
* What is not said is as Erlang/OTP has it, with design's defaults: 5 restarts in 10 s,
  one_for_one; a spawned child is temporary, a listed one permanent.
"""

from __future__ import annotations

import functools
import inspect
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from reprlib import repr as brief
from typing import (
    TYPE_CHECKING,
    Any,
    Generic,
    Literal,
    TypedDict,
    TypeVar,
    TypeVarTuple,
    Unpack,
    get_args,
)  # fmt: skip

from actors.supervision.intensity import Intensity
from runtime.address import ARCHIVE, CONTROLLER, check_name
from runtime.errors import SpawnError
from runtime.messages.behaviour import Behaviour, Restart, Strategy
from runtime.traffic.registrar import Spec

if TYPE_CHECKING:
    from actors.actor import Actor

Ts = TypeVarTuple("Ts")
A = TypeVar("A", bound="Actor")
SnapshotEvery = float | Literal["message"]


class ChildOptions(TypedDict, total=False):
    """The keywords of a child spec: of `child`, `System.spawn` and `Actor.spawn`.

    ``name``: by which it is found and keeps its place; without one it gets one like ``counter-1``
        and ends with its parent's incarnation.
    ``restart``: ``permanent`` (after every end but a `stop`; also after a `kill`), ``transient``
        (unless it finished, or exited with status 0), ``temporary`` (never). Of `child` permanent,
        else temporary.
    ``local``: a cell of the spawner's own process rather than a process; its name is then
        ``PARENT/NAME``.
    ``start_s``: how long its start may take, ``on_start`` included; 30 s.
    ``strategy``, ``intensity``: how it supervises its own children: ``one_for_one``,
        ``one_for_all`` or ``rest_for_one``; so many restarts in so many seconds, (5, 10.0).
    ``snapshot_every_s``: how often its `snapshot` is kept for the next incarnation, 1 s; or
        ``"message"``: before the reply to each message leaves. Of a temporary child none is.
    ``hang_after_s``: its process is killed when it has not yielded for so long, once it is found
        to be busy, four to five beats after its last one; never.
    ``lost_after_s``: it is given up, and ends as ``lost``, when it has been cut off for so long;
        60 s. One whose process is a child of this machine's zygote never is.
    ``mailbox_messages``, ``mailbox_bytes``: the bounds of its mailbox, 8,192 and 32 MiB.
    """

    name: str | None
    restart: Restart
    local: bool
    start_s: float
    strategy: Strategy
    intensity: tuple[int, float]
    snapshot_every_s: SnapshotEvery
    hang_after_s: float
    lost_after_s: float
    mailbox_messages: int
    mailbox_bytes: int


@dataclass(frozen=True)
class ChildSpec(Generic[A]):
    """One child of a `Supervisor`; made by `child`."""

    actor: Callable[..., A]
    args: tuple[Any, ...]
    options: ChildOptions


def child(
    actor: Callable[[*Ts], A], /, *args: *Ts, **options: Unpack[ChildOptions]
) -> ChildSpec[A]:
    """A child for the list of a `Supervisor`: permanent, unless ``restart`` says otherwise.

    Raises:
        ValueError: an option makes no sense.
        TypeError: there is no such option; or that is no class of actors, or its constructor does
            not take these arguments. Whether they can travel is seen when it is spawned.
    """
    options = {"restart": "permanent", **options}
    check(options)
    _check_call(actor, args)
    return ChildSpec(actor, args, options)


def _check_call(actor: Callable[..., Any], args: tuple[Any, ...]) -> None:
    """Raise `TypeError` if no actor can be made so."""
    keywords: dict[str, Any] = {}
    while isinstance(actor, functools.partial):
        args, keywords = (*actor.args, *args), {**actor.keywords, **keywords}
        actor = actor.func
    if not (isinstance(actor, type) and issubclass(actor, Behaviour)):
        raise TypeError(f"give a class of actors to child, not {actor!r}")
    why = ""
    if actor.__init__ is object.__init__:
        why = "it takes no arguments" if args or keywords else ""
    else:
        try:
            inspect.signature(actor.__init__).bind(None, *args, **keywords)
        except TypeError as cause:
            why = str(cause)
    if why:
        given = [*map(brief, args), *(f"{name}={brief(each)}" for name, each in keywords.items())]
        raise TypeError(f"{actor.__qualname__}({', '.join(given)}): {why}")


def check(options: Mapping[str, Any]) -> None:
    """Raise if an option makes no sense.

    Raises:
        ValueError: and which, and its value.
        TypeError: there is no such option.
    """
    for key in options.keys() - ChildOptions.__annotations__.keys():
        raise TypeError(f"a child spec has no {key!r}")
    name = options.get("name")
    if name is not None:
        check_name(name)
        if "/" in name:
            raise ValueError(f"the name of a child has no slash: {name!r}")
        if name in (CONTROLLER, ARCHIVE):
            raise ValueError(f"the name {name} is the system's own")
    for key, choices in (("restart", Restart), ("strategy", Strategy)):
        if key in options and options[key] not in get_args(choices):
            raise ValueError(
                f"{key} is one of {', '.join(get_args(choices))}, not {options[key]!r}"
            )
    for key in ("start_s", "hang_after_s", "lost_after_s", "snapshot_every_s"):
        value = options.get(key, 1.0)
        whole = ""
        if key == "snapshot_every_s":
            if value == "message":
                continue
            whole = ", or 'message'"
        if not (isinstance(value, int | float) and 0 < value < math.inf):
            raise ValueError(f"{key} is a positive number of seconds{whole}, not {value!r}")
    for key in ("mailbox_messages", "mailbox_bytes"):
        value = options.get(key, 1)
        if not (isinstance(value, int) and value >= 1):
            raise ValueError(f"{key} is a positive number, not {value!r}")
    local = options.get("local", False)
    if not isinstance(local, bool):
        raise ValueError(f"local is True or False, not {local!r}")
    if "intensity" in options:
        try:
            limit, period_s = options["intensity"]
            Intensity(limit, period_s)
        except TypeError:
            raise ValueError(
                f"intensity is (restarts, seconds), not {options['intensity']!r}"
            ) from None


def spec_of(
    behaviour: type[Behaviour],
    options: ChildOptions,
    *,
    entry: str,
    parent: str,
    token: str,
    virtual: bool = False,
) -> Spec:
    """The spec as the controller keeps it.

    ``virtual``: it gets no process, and so no environment: what is said in a simulation is the
    same wherever it runs.

    Raises:
        SpawnError: the working directory of this process is no longer there.
    """
    local = options.get("local", False)
    process = not local and not virtual
    strategy, intensity = behaviour._supervises
    limit, period_s = options.get("intensity", intensity)
    restart = options.get("restart", "temporary")
    every = options.get("snapshot_every_s", 1.0)
    if restart == "temporary":
        every = math.inf  # nobody takes its state over
    return Spec(
        entry=entry,
        parent=parent,
        name=options.get("name") or "",
        stem=behaviour.__name__.lower(),
        restart=restart,
        strategy=options.get("strategy", strategy),
        max_restarts=limit,
        period_s=period_s,
        snapshot_every_s=0.0 if every == "message" else every,
        hang_after_s=options.get("hang_after_s", math.inf),
        lost_after_s=options.get("lost_after_s", 60.0),
        local=local,
        start_s=options.get("start_s", 30.0),
        token=token,
        environ=dict(os.environ) if process else None,
        cwd=_working_directory() if process else "",
        mailbox_messages=options.get("mailbox_messages", 8192),
        mailbox_bytes=options.get("mailbox_bytes", 32 * 1024 * 1024),
    )


def _working_directory() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError as cause:
        raise SpawnError("the working directory of this process is no longer there") from cause
