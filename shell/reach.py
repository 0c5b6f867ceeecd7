"""Whether an actor can be reached, whatever it is and whatever it is doing.

It is asked for a handler that no actor can have; a cell refuses that as soon as it hears
it, also while a handler is suspended. Any answer will do.
"""

from runtime import calls
from runtime.address import Address
from runtime.context import speaker
from runtime.errors import WireError
from runtime.signature import Signature


async def _nothing(self: object) -> None:
    """No handler begins with an underscore."""


_NOTHING = Signature(_nothing)


async def reach(address: Address) -> None:
    """The actor has answered.

    Raises:
        DeliveryError: it cannot have been reached.
    """
    try:
        await calls.ask(speaker(), address, _NOTHING, ())
    except WireError:
        return
