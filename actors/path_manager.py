"""The actor that keeps a system's network links off dying paths.

It lives in the controller's process, looks at that one's streams, and acts on the kernel's
endpoints, which are those of all connections of the network namespace: so what it sees on its own
links helps all nodes of this host. What it may not change it observes.

    manager = await system.path_manager()
    await manager.ask(PathManager.add, "192.0.2.7", subflow=True)

Invariants
----------
* A path that comes or goes is told once to everyone who reads `PathManager.notices`; to one who
  does not read, at most `KEPT` are kept, and the oldest go first.
* With ``owner="userspace"`` it does on each connection of the namespace what the kernel would.
  Where it may not, the kernel does, and every command that would change something raises.
* Without CAP_NET_ADMIN every command that would change something raises `PermissionError`.

Source: ``runtime.multipath.path_manager``, which does the work.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import AsyncIterator
from typing import Final, Literal, NoReturn

import msgspec
import trio

from actors.actor import Actor, reentrant
from runtime.multipath import path_manager as machine
from runtime.multipath.connection import FellBack, Notice, PathLost, Trouble
from runtime.multipath.endpoint import Endpoint, Flags, Limits
from runtime.multipath.link_report import Watchable
from runtime.multipath.path_manager import open_path_manager
from runtime.multipath.path_owner import Owner, path_owner

KEPT: Final = 1000
FOLLOW_S: Final = 0.1
NAME: Final = "path_manager"
OBSERVES_ONLY: Final = "no CAP_NET_ADMIN: paths are only observed"
NOT_OURS: Final = "net.mptcp.path_manager is kernel and cannot be set: paths are only observed"
ANOTHERS: Final = "net.mptcp.path_manager is userspace: whoever has set that manages the paths"
log: Final = logging.getLogger("regrow")


class PathNotice(msgspec.Struct, frozen=True):
    """What has become of a path of the link to ``node``: addresses are numeric, without ports.

    ``plain``: the link is down to plain TCP, and there are no addresses. ``trouble``: of no link,
    but something that the kernel refused, as ``local`` says.
    """

    kind: Literal["lost", "regained", "plain", "trouble"]
    node: str = ""
    local: str = ""
    remote: str = ""


class PathEndpoint(msgspec.Struct, frozen=True):
    """A local address that the kernel may use; ``lost``: the guard has taken it out of use."""

    id: int
    address: str
    subflow: bool = False
    signal: bool = False
    backup: bool = False
    fullmesh: bool = False
    port: int = 0
    device: str = ""
    lost: bool = False


class PathTable(msgspec.Struct, frozen=True):
    """``limits``: announced addresses to accept, and subflows beyond the first. ``note``: ""
    or why nothing can be changed, or who else manages the paths.
    """

    endpoints: tuple[PathEndpoint, ...]
    limits: tuple[int, int]
    note: str = ""


class PathManager(Actor):
    """Of the network namespace in which its process is."""

    def __init__(self, *, guarded: bool = True, owner: Owner = "kernel") -> None:
        self._guarded = guarded
        self._owner = owner
        self._note = ""
        self._failure = ""
        self._manager: machine.PathManager | None = None
        self._names: dict[str, str] = {}  # of nodes, by the keys of their streams
        self._readers: list[tuple[deque[PathNotice], trio.Event]] = []

    async def on_start(self) -> None:
        opened = trio.Event()
        self.nursery.start_soon(self._manage, opened)
        await opened.wait()

    # -- what there is

    async def show(self) -> PathTable:
        """The endpoints, those out of use last, and the limits."""
        manager = self._ready()
        lost = manager.guard.lost
        endpoints = tuple(
            PathEndpoint(
                each.id,
                each.address,
                subflow=Flags.SUBFLOW in each.flags,
                signal=Flags.SIGNAL in each.flags,
                backup=Flags.BACKUP in each.flags,
                fullmesh=Flags.FULLMESH in each.flags,
                port=each.port,
                device=manager.devices.name(each.interface) if each.interface else "",
                lost=each.address in lost,
            )
            for each in await manager.endpoints()
        )
        limits = await manager.limits()
        return PathTable(endpoints, (limits.add_addr_accepted, limits.subflows), self._note)

    @reentrant
    async def notices(self) -> AsyncIterator[PathNotice]:
        """Whatever becomes of the paths of the controller's links, from now on."""
        waiting: deque[PathNotice] = deque(maxlen=KEPT)
        reader = (waiting, trio.Event())
        self._readers.append(reader)
        try:
            while True:
                while waiting:
                    yield waiting.popleft()
                came = trio.Event()
                self._readers.remove(reader)
                reader = (waiting, came)
                self._readers.append(reader)
                await came.wait()
        finally:
            self._readers.remove(reader)

    # -- what may be changed

    async def add(
        self,
        address: str,
        *,
        subflow: bool = False,
        signal: bool = False,
        backup: bool = False,
        fullmesh: bool = False,
        port: int = 0,
        device: str = "",
        id: int = 0,
    ) -> None:
        """The kernel may use that local address; ``id`` 0: it picks one.

        Raises (as a `RemoteError` says):
            ValueError: no address, or a number that does not fit.
            LookupError: no such device.
            OSError: the kernel refuses, and says why.
        """
        manager = self._ready(to_change=True)
        flags = Flags(0)
        for on, flag in (
            (subflow, Flags.SUBFLOW),
            (signal, Flags.SIGNAL),
            (backup, Flags.BACKUP),
            (fullmesh, Flags.FULLMESH),
        ):
            flags |= flag if on else Flags(0)
        interface = manager.devices.index(device) if device else 0
        await manager.add(Endpoint(address, flags, id, port, interface))

    async def remove(self, id: int) -> None:
        """The endpoint is gone, in use or not. `LookupError`: there is none."""
        await self._ready(to_change=True).remove(id)

    async def flush(self) -> None:
        """No endpoint is left."""
        await self._ready(to_change=True).flush()

    async def limit(self, add_addr_accepted: int, subflows: int) -> None:
        """For every connection of the namespace; each is at most 8."""
        await self._ready(to_change=True).set_limits(Limits(add_addr_accepted, subflows))

    async def set_backup(self, id: int, on: bool) -> None:
        """The endpoint is used only while nothing else can be, or as the others are.

        `LookupError`: there is none.
        """
        await self._ready(to_change=True).set_backup(id, on)

    def _ready(self, *, to_change: bool = False) -> machine.PathManager:
        if self._manager is None:
            raise OSError(self._failure)
        if to_change and self._manager.observes_only:
            raise PermissionError(self._note)
        return self._manager

    # -- at work

    async def _manage(self, opened: trio.Event) -> None:
        try:
            now = path_owner()
            lacking = self._owner == "userspace" != now
            async with open_path_manager(
                self._notify, guarded=self._guarded, owner=self._owner, may_change=not lacking
            ) as manager:
                if manager.observes_only:
                    self._note = NOT_OURS if lacking else OBSERVES_ONLY
                elif now != self._owner:
                    self._note = ANOTHERS
                if self._note:
                    log.warning(self._note)
                self._manager = manager
                self._follow(manager)
                opened.set()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(manager.run)
                    await self._keep_following(manager)
        except OSError as error:
            self._manager, self._failure = None, error.strerror or str(error)
            log.warning("no paths are managed: %s", self._failure)
            opened.set()

    async def _keep_following(self, manager: machine.PathManager) -> NoReturn:
        while True:
            await trio.sleep(FOLLOW_S)
            self._follow(manager)

    def _follow(self, manager: machine.PathManager) -> None:
        """Watch the open streams, each as soon as it is known whose it is."""
        exchange = self._cell.exchange
        transport = getattr(exchange.transport, "inner", exchange.transport)
        streams = transport.streams_now() if isinstance(transport, Watchable) else {}
        for key, stream in streams.items():
            peer = exchange.peers.get(stream.endpoint)
            if peer is not None and peer.address is not None:
                self._names.setdefault(key, peer.address.name)
            elif not stream.endpoint:
                self._names.setdefault(key, "")  # somebody called
        self._names = {key: name for key, name in self._names.items() if key in streams}
        manager.follow({key: streams[key] for key in self._names})

    def _notify(self, notice: Notice) -> None:
        if isinstance(notice, Trouble):
            self._tell(PathNotice("trouble", local=notice.text))
            return
        name = self._names.get(notice.key, "")
        if not name:
            return  # by which somebody called: he tells of it, and of ours we do
        if isinstance(notice, FellBack):
            self._tell(PathNotice("plain", name))
        elif isinstance(notice, PathLost):
            self._tell(PathNotice("lost", name, notice.local, notice.remote))
        else:
            self._tell(PathNotice("regained", name, notice.local, notice.remote))

    def _tell(self, notice: PathNotice) -> None:
        log.info("%s", notice)
        for waiting, came in self._readers:
            waiting.append(notice)
            came.set()
