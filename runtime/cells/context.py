"""Which exchange this is, and who is speaking.

A ref holds no socket. It finds its process's exchange through a ``RunVar``, and the cell
that speaks through the ``ContextVar`` that is set around each handler; outside of any
handler it is the process's root cell that speaks.
"""

import trio

from runtime.cells.call import current
from runtime.cells.service import Service

root: trio.lowlevel.RunVar["Service | None"] = trio.lowlevel.RunVar("root", default=None)


def speaker() -> Service:
    """The cell on whose behalf the present code runs.

    Raises:
        RuntimeError: no system is open here.
    """
    call = current.get()
    if call is not None:
        speaking: Service = call.cell
        return speaking
    try:
        cell = root.get()
    except RuntimeError:
        cell = None
    if cell is None:
        raise RuntimeError("no system is open here: use a ref inside open_system() or an actor")
    return cell
