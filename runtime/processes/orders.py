"""What a controller and its zygote say to each other: values, and their bytes.

A protocol of its own, independent of what carries it: a local zygote hears it over a
socket pair; one on another machine may hear it over our own link.

To the zygote: `Begin` first, then `Adopt`, `Fork`, `Ping`. From it: `Ready` once all of
Begin's modules are loaded, then news. News of one incarnation come in the order `Importing`,
(`Forked` | `Refused` | `Tainted`), `Exited`.

Invariants
----------
* `encode` gives at most `MAX_MESSAGE_BYTES`; a larger order is refused, naming node and size.
* `decode_order` and `decode_news` are total: any bytes give a message or `WireError`.
* A `Forked` is accompanied by a pidfd, opened by the node's kernel parent: proof from the start.
  An `Adopt` is accompanied by one pidfd for each survivor, in their order.
* Without a `Forked` that was handed over, the node's start function is never called. So an
  order whose zygote died may be given again.
"""

from collections.abc import Callable
from typing import Final, TypeVar

import msgspec

from runtime.errors import SpawnError, WireError
from runtime.exits import ExitReason, from_wait_status

MAX_MESSAGE_BYTES: Final = 128 * 1024
"""One SEQPACKET message takes about 212,000 bytes, the kernel's default send buffer."""
MAX_SURVIVORS: Final = 128
"""In one `Adopt`; the kernel passes at most 253 descriptors with one message."""


class Message(msgspec.Struct, frozen=True, array_like=True, tag=str.lower):
    """Any of the messages below."""


class Order(msgspec.Struct, frozen=True, array_like=True):
    """All that a node needs to come up.

    ``start`` ("module:function") is called in the node as ``start(order, folder)``. ``entry``
    ("module:Class") names the module to have loaded before the fork. ``environ`` is the whole
    environment of the node, but for its mark. ``boot`` is the start function's own affair.
    """

    start: str
    entry: str
    name: str
    incarnation: int
    environ: dict[str, str]
    cwd: str
    boot: bytes = b""

    def __repr__(self) -> str:
        """Without ``boot`` and ``environ``: there are secrets in them."""
        return f"Order({self.entry!r}, {self.name!r}, {self.incarnation})"


class Survivor(msgspec.Struct, frozen=True, array_like=True):
    """A node that outlived the zygote that forked it."""

    name: str
    incarnation: int
    pid: int


class Main(msgspec.Struct, frozen=True, array_like=True):
    """Where ``__main__`` of the controller came from: a module's name, or a script's path."""

    module: str = ""
    path: str = ""


class Begin(Message, frozen=True):
    """The zygote's own order: where it stands and finds modules, as its controller does now.

    Modules in ``leave`` are imported by the nodes themselves.
    """

    folder: str
    cwd: str
    sys_path: tuple[str, ...]
    main: Main | None
    preload: tuple[str, ...]
    leave: tuple[str, ...]
    prepare: str = ""


class Adopt(Message, frozen=True):
    survivors: tuple[Survivor, ...]


class Fork(Message, frozen=True):
    order: Order


class Ping(Message, frozen=True):
    n: int


class Ready(Message, frozen=True):
    pass


class Pong(Message, frozen=True):
    n: int


class Importing(Message, frozen=True):
    """The zygote will not answer until it has loaded this module, for that incarnation."""

    module: str
    incarnation: int


class Forked(Message, frozen=True):
    incarnation: int
    pid: int


class Refused(Message, frozen=True):
    """The node did not come up; ``misuse`` if its caller is to blame (no ``__main__`` guard).

    Incarnation 0: the zygote itself cannot begin.
    """

    incarnation: int
    why: str
    misuse: bool = False


class Tainted(Message, frozen=True):
    """Loading ``module`` has left what must not be forked. This zygote forks no more."""

    incarnation: int
    module: str
    why: str


class Exited(Message, frozen=True):
    """A node is gone, and its strays have been sent SIGKILL.

    ``status`` is the kernel's wait status, None when nobody was left who could have seen it.
    """

    incarnation: int
    pid: int
    status: int | None
    user_s: float = 0.0
    system_s: float = 0.0
    max_rss_bytes: int = 0

    @property
    def reason(self) -> ExitReason:
        """What the kernel knows of the end: exited, killed or unknown."""
        if self.status is None:
            return ExitReason(kind="unknown")
        return msgspec.structs.replace(
            from_wait_status(self.status),
            user_s=self.user_s,
            system_s=self.system_s,
            max_rss_bytes=self.max_rss_bytes,
        )


ToZygote = Begin | Adopt | Fork | Ping
FromZygote = Ready | Pong | Importing | Forked | Refused | Tainted | Exited

_T = TypeVar("_T")
_encoder = msgspec.msgpack.Encoder()
_orders: msgspec.msgpack.Decoder[ToZygote] = msgspec.msgpack.Decoder(ToZygote)
_news: msgspec.msgpack.Decoder[FromZygote] = msgspec.msgpack.Decoder(FromZygote)


def encode(message: ToZygote | FromZygote) -> bytes:
    """The bytes of one message.

    Raises:
        SpawnError: an order of more than `MAX_MESSAGE_BYTES`.
        TypeError: an order with text that has no UTF-8, or a number of more than 64 bits.
    """
    what = f"the order for {message.order.name}" if isinstance(message, Fork) else repr(message)
    try:
        data = _encoder.encode(message)
    except (UnicodeEncodeError, OverflowError) as error:
        raise TypeError(f"{what} cannot be encoded: {error}") from error
    if len(data) > MAX_MESSAGE_BYTES:
        raise SpawnError(f"{what} takes {len(data)} bytes, at most {MAX_MESSAGE_BYTES} fit")
    return data


def decode_order(data: bytes) -> ToZygote:
    """Read what a controller says, or raise `WireError`."""
    return _decode(_orders.decode, data)


def decode_news(data: bytes) -> FromZygote:
    """Read what a zygote says, or raise `WireError`."""
    return _decode(_news.decode, data)


def _decode(decode: Callable[[bytes], _T], data: bytes) -> _T:
    try:
        return decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise WireError(f"no message between controller and zygote: {error}") from error
