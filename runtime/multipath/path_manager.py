"""Keeps the connections of this namespace off dying paths, and says which paths come and go.

A connection is an MPTCP socket that somebody else opened and owns; here it is looked at, under the
kernel's token for it. What the guard decides is done to the kernel's endpoints.

Invariants
----------
* Without CAP_NET_ADMIN nothing is changed: `observes_only` says so, samples and notices go on. So
  too where we are to manage the paths and the kernel does (`path_owner`).
* Who manages them changes nothing in these verbs: a `steward` does what the kernel would.
* What the kernel refuses on the way ends nothing: it is a `Trouble`, and the guard tries again.
* Looking takes at most a twentieth of the time, however many connections there are; news of the
  kernel's make it look at once.
* An address that has been lost comes back as the endpoint it was. The initial address of a
  connection, which is no endpoint, comes back as one for those who opened the connection
  (`SUBFLOW`) or accepted it (`SIGNAL`).
* When `PathManager.run` ends, the endpoints that were out of use are back in use.
"""

import errno
import logging
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import msgspec
import trio

from runtime.multipath.connection import Connection, Notice, Trouble
from runtime.multipath.devices import DeviceNews, open_devices
from runtime.multipath.endpoint import Endpoint, Flags, Limits
from runtime.multipath.event import EventsLost
from runtime.multipath.inspection import Socket
from runtime.multipath.link_report import OpenStream
from runtime.multipath.netlink import SocketFactory
from runtime.multipath.path_guard import Lose, PathGuard, Settings, plain
from runtime.multipath.path_owner import Owner
from runtime.multipath.paths import Events, Paths, open_events, open_paths
from runtime.multipath.steward import Steward

SAMPLE_S: Final = 0.025
LEAVE_S: Final = 1.0
_SHARE: Final = 20
_log: Final = logging.getLogger(__name__)


class PathManager:
    """The paths of one network namespace."""

    def __init__(
        self,
        paths: Paths,
        events: Events | None,
        news: DeviceNews,
        notify: Callable[[Notice], None],
        settings: Settings | None,
        steward: Steward | None = None,
    ) -> None:
        self.observes_only = events is None
        self.guard = PathGuard(settings)
        self.devices = news.devices
        self._paths = paths
        self._events = events
        self._news = news
        self._notify = notify
        self._guarded = settings is not None
        self._steward = steward
        self._missed = False
        self._connections: dict[str, Connection] = {}
        self._taken: dict[str, Endpoint] = {}
        self._known: dict[str, Endpoint] = {}  # that were ever in use
        self._unlisted = True
        self._wake = trio.Event()

    # -- connections

    def watch(self, key: str, sock: Socket, *, server_side: bool) -> Connection:
        """Look after an open MPTCP connection until `forget`. The socket stays its owner's.

        Raises:
            ValueError: there is one of that key.
        """
        if key in self._connections:
            raise ValueError(f"connection {key} is watched already")
        self._connections[key] = Connection(key, sock, server_side)
        self._unlisted = True
        self._wake.set()
        return self._connections[key]

    def connection(self, key: str) -> Connection:
        """What is known of it. `LookupError` if none of that key is watched."""
        if key not in self._connections:
            raise LookupError(f"no connection {key} is watched")
        return self._connections[key]

    def forget(self, key: str) -> None:
        """To be called before the socket is closed."""
        self._connections.pop(key, None)

    def follow(self, streams: Mapping[str, OpenStream]) -> None:
        """Watch these, by their keys, and no others."""
        for key in self._connections.keys() - streams.keys():
            self.forget(key)
        for key in streams.keys() - self._connections.keys():
            self.watch(key, streams[key].socket, server_side=not streams[key].endpoint)

    # -- endpoints

    async def endpoints(self) -> list[Endpoint]:
        """Those in use, then those that are out of use for now."""
        return [*await self._paths.all(), *self._taken.values()]

    async def add(self, endpoint: Endpoint) -> None:
        """As `Paths.add`; what the guard had taken of that address is forgotten."""
        await self._paths.add(endpoint)
        self._drop(endpoint.address)
        self._changed()

    async def remove(self, id: int) -> None:
        """The endpoint is gone, in use or not. `LookupError` if there is none."""
        for each in self._taken.values():
            if each.id == id:
                self._drop(each.address)
                return
        for each in await self._paths.all():
            if each.id == id:
                await self._paths.delete(id, each.address)
                self._known.pop(plain(each.address), None)
                self._changed()
                return
        raise LookupError(f"no endpoint {id}")

    async def flush(self) -> None:
        await self._paths.flush()
        self._known.clear()
        for address in list(self._taken):
            self._drop(address)
        self._changed()

    async def limits(self) -> Limits:
        return await self._paths.limits()

    async def set_limits(self, limits: Limits) -> None:
        await self._paths.set_limits(limits)
        self._changed()

    async def set_backup(self, id: int, on: bool) -> None:
        """The endpoint is a backup or not, in use or not; its other flags stay.

        `LookupError` if there is none.
        """
        backup = Flags.BACKUP if on else Flags(0)
        for address, each in self._taken.items():
            if each.id == id:
                flags = (each.flags & ~Flags.BACKUP) | backup
                self._taken[address] = msgspec.structs.replace(each, flags=flags)
                return
        for each in await self._paths.all():
            if each.id == id:
                await self._paths.set_flags(id, (each.flags & Flags.FULLMESH) | backup)
                self._changed()
                return
        raise LookupError(f"no endpoint {id}")

    def _changed(self) -> None:
        if self._steward is not None:
            self._steward.stale = True
            self._wake.set()

    def _drop(self, address: str) -> None:
        self._taken.pop(address, None)
        self._known.pop(address, None)
        self.guard.forget(address)

    # -- at work

    async def run(self) -> None:
        """Look, decide and act, for ever."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._news.follow, self._awake)
                if self._events is not None:
                    nursery.start_soon(self._hear, self._events)
                while True:
                    begin = trio.current_time()
                    await self._turn()
                    took_s = trio.current_time() - begin
                    with trio.move_on_after(max(SAMPLE_S, _SHARE * took_s)):
                        await self._wake.wait()
                    self._wake = trio.Event()
        finally:
            with trio.move_on_after(LEAVE_S, shield=True):
                await self._leave()

    async def _leave(self) -> None:
        """Whatever endpoint is out of use is put back; what was none is none."""
        for address, endpoint in list(self._taken.items()):
            if endpoint.id:
                try:
                    await self._give_back(address)
                except OSError as error:
                    _log.warning("%s stays out of use: %s", address, error.strerror or error)

    def _awake(self) -> None:
        self._wake.set()

    async def _hear(self, events: Events) -> None:
        async for event in events:
            token = getattr(event, "token", None)
            for connection in self._connections.values():
                if token is not None and connection.token == token:
                    connection.events.append(event)
            if self._steward is not None:
                self._steward.note(event)
                self._missed |= isinstance(event, EventsLost)
            self._wake.set()

    async def _turn(self) -> None:
        for connection in list(self._connections.values()):
            for notice in connection.look():
                self._notify(notice)
        if self._guarded and not self.observes_only:
            if self._unlisted:
                await self._list()
            await self._guard()
        if self._steward is not None:
            if self._missed:
                self._look_up(self._steward)
            await self._steward.turn()

    def _look_up(self, steward: Steward) -> None:
        """What events that were dropped would have told."""
        self._missed = False
        for each in self._connections.values():
            if each.readable and each.info:
                steward.see(each.info, server_side=each.server_side)

    async def _guard(self) -> None:
        infos = [each.info for each in self._connections.values() if each.readable and each.info]
        for decision in self.guard.judge(trio.current_time(), infos, self.devices.down):
            try:
                if isinstance(decision, Lose):
                    _log.info("%s is out of use: %s", decision.address, decision.reason)
                    await self._take(decision.address)
                else:
                    _log.info("%s is tried again", decision.address)
                    await self._give_back(decision.address)
            except OSError as error:
                self._notify(Trouble(error.strerror or str(error)))

    async def _list(self) -> dict[str, Endpoint]:
        """The endpoints in use, by their addresses."""
        self._unlisted = False
        listed = {plain(each.address): each for each in await self._paths.all()}
        self._known |= listed
        return listed

    async def _take(self, address: str) -> None:
        listed = await self._list()
        if address in listed:
            endpoint = self._taken[address] = listed[address]
            await self._paths.delete(endpoint.id, endpoint.address)
            self._changed()
            return
        flags = Flags(0)
        for each in self._connections.values():
            flags |= Flags.SIGNAL if each.server_side else Flags.SUBFLOW
        # One that was listed before another guard of this namespace has taken.
        self._taken.setdefault(address, self._known.get(address, Endpoint(address, flags)))
        await self._paths.delete(0, address)
        if self._steward is not None:
            self._steward.drop(address)

    async def _give_back(self, address: str) -> None:
        endpoint = self._taken.pop(address, None)
        if endpoint is None:
            return
        try:
            try:
                await self._paths.add(endpoint)
            except OSError as error:
                if error.errno != errno.EINVAL or not endpoint.id:
                    raise
                # Meanwhile the kernel has made one by itself, that only one without an id replaces.
                await self._paths.add(msgspec.structs.replace(endpoint, id=0))
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.EBUSY):
                self._taken[address] = endpoint
                raise
        self._changed()


@asynccontextmanager
async def open_path_manager(
    notify: Callable[[Notice], None],
    *,
    settings: Settings | None = None,
    guarded: bool = True,
    owner: Owner = "kernel",
    may_change: bool = True,
    make_socket: SocketFactory = socket.socket,
) -> AsyncIterator[PathManager]:
    """For the namespace in which its sockets are made; at work while `PathManager.run` is.

    ``owner``: who manages the paths there. ``"userspace"`` is for us to do; it is for connections
    that are made later, where `runtime.multipath.path_owner` has said so before. ``may_change``
    False: it observes only.

    Raises:
        OSError: EOPNOTSUPP, this kernel has no Multipath TCP.
    """
    async with AsyncExitStack() as stack:
        paths = await stack.enter_async_context(open_paths(make_socket))
        news = await stack.enter_async_context(open_devices(make_socket))
        events = None
        try:
            if may_change:
                events = await stack.enter_async_context(open_events(make_socket))
        except PermissionError as error:
            _log.info("paths are only observed: %s", error.strerror)
        chosen = (settings or Settings()) if guarded else None
        steward = None
        if owner == "userspace" and events is not None:
            steward = Steward(paths, make_socket, lambda text: notify(Trouble(text)))
        yield PathManager(paths, events, news, notify, chosen, steward)
