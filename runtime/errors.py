"""What can go wrong between actors, and whose fault it is.

Misuse by the caller is `ValueError`, `TypeError` or `RuntimeError`, at once and
before any effect. What the world does to a message or a process is an
`ActorError`. A late ask is `trio.TooSlowError`; it gets no second name here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runtime.exits import ExitReason


class ActorError(Exception):
    """The root of everything the world may do to a message or an actor."""


class DeliveryError(ActorError):
    """The message was not handled, as far as the sender can know."""


class ActorDeadError(DeliveryError):
    """That incarnation has exited; ``reason`` says how, when it is known."""

    def __init__(self, message: str, reason: ExitReason | None = None) -> None:
        super().__init__(message)
        self.reason = reason


class UnreachableError(DeliveryError):
    """The actor may live, but does not answer; ``verdict`` is why."""

    def __init__(self, message: str, verdict: str) -> None:
        super().__init__(message)
        self.verdict = verdict


class MailboxFullError(DeliveryError):
    """No credit, and waiting was not asked for or ran out."""


class RemoteError(ActorError):
    """The handler raised. The actor keeps its state and goes on.

    ``type_name``, ``message`` and ``traceback_text`` are text: an exception object never travels.
    """

    def __init__(self, type_name: str, message: str, traceback_text: str = "") -> None:
        super().__init__(f"{type_name}: {message}" if message else type_name)
        self.type_name = type_name
        self.message = message
        self.traceback_text = traceback_text


class SpawnError(ActorError):
    """The child did not come up; the message carries what it said."""


class WireError(ActorError):
    """Bytes that are no envelope, or an argument that does not fit its handler."""


class StateError(ActorError):
    """A state file cannot be used; the message names it and says why. It was left as it was."""
