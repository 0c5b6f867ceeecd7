"""What an incarnation hands to the next one: its state, and when it was so.

Invariants
----------
* The age is told by CLOCK_MONOTONIC where both ends share a boot id, and by the wall
  clock after a restart of the machine. It is never negative.
* The state is what `Behaviour.snapshot` returned, as msgspec carries it; it is decoded against
  the annotation of ``restore``.
"""

from __future__ import annotations

import inspect
import time
from typing import Any, get_type_hints

import msgspec

from runtime.errors import WireError
from runtime.messages.behaviour import Behaviour


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """One snapshot. ``monotonic_at`` and ``wall_at`` in seconds, of the node that took it."""

    state: bytes
    monotonic_at: float
    wall_at: float
    boot_id: str

    def age_s(self, monotonic: float, wall: float, boot_id: str) -> float:
        """How old the state is, on a machine whose clocks and boot id are these."""
        if boot_id == self.boot_id:
            return max(0.0, monotonic - self.monotonic_at)
        return max(0.0, wall - self.wall_at)


def keeps(behaviour: type[Behaviour]) -> bool:
    """Whether a class hands anything to its next incarnation."""
    return behaviour.snapshot is not Behaviour.snapshot


def take(actor: Behaviour, monotonic_at: float, boot_id: str) -> bytes:
    """The actor's state as it is now, encoded.

    Raises:
        TypeError: it cannot travel.
        Exception: whatever `snapshot` raises.
    """
    state = actor.snapshot()
    try:
        raw = msgspec.msgpack.encode(state)
    except Exception as cause:  # what a value does while it is read is its own affair
        what = f"{type(actor).__qualname__}.snapshot"
        raise TypeError(f"{what}: the state cannot travel: {cause}") from cause
    return msgspec.msgpack.encode(Kept(raw, monotonic_at, time.time(), boot_id))


def restore(actor: Behaviour, raw: bytes, monotonic: float, boot_id: str) -> None:
    """Give the actor the state that its last incarnation had.

    Raises:
        WireError: the state does not fit the annotation.
        Exception: whatever `restore` raises.
    """
    kept = msgspec.msgpack.decode(raw, type=Kept)
    try:
        state = state_decoder(type(actor)).decode(kept.state)
    except (msgspec.DecodeError, RecursionError, ValueError) as cause:
        what = f"{type(actor).__qualname__}.restore"
        raise WireError(f"{what}: the state does not fit: {cause}") from cause
    actor.restore(state, kept.age_s(monotonic, time.time(), boot_id))


_decoders: dict[type[Behaviour], msgspec.msgpack.Decoder[Any]] = {}


def state_decoder(behaviour: type[Behaviour]) -> msgspec.msgpack.Decoder[Any]:
    """What reads a state for ``restore``, made once a class.

    Raises:
        TypeError: the class has no ``restore``, or the state's annotation cannot travel.
    """
    decoder = _decoders.get(behaviour)
    if decoder is None:
        if behaviour.restore is Behaviour.restore:
            raise TypeError(f"{behaviour.__qualname__} has a snapshot, but no restore to take it")
        first = list(inspect.signature(behaviour.restore).parameters)[1]
        hint = get_type_hints(behaviour.restore).get(first, Any)
        try:
            decoder = _decoders[behaviour] = msgspec.msgpack.Decoder(hint)
        except TypeError as cause:
            what = f"{behaviour.__qualname__}.restore"
            raise TypeError(f"{what}: {first} cannot travel: {cause}") from cause
    return decoder
