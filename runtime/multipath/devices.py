"""The network devices of a namespace and their addresses: which of them are down, told at once.

Invariants
----------
* An address that was seen once and is gone counts as down, until it is back: a link that goes down
  takes its IPv6 addresses with it.
* News that the kernel dropped are made good by reading everything again.
* Neither reading nor following needs any privilege.

Source: ``rtnetlink(7)``; ``include/uapi/linux/rtnetlink.h`` and ``if_link.h`` of Linux 6.18.
"""

import errno
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from runtime.multipath.endpoint import host
from runtime.multipath.message import Message, split_attributes
from runtime.multipath.netlink import ROUTE, Netlink, SocketFactory, open_netlink

_LINK: Final = struct.Struct("=BxHiII")  # family, type, index, flags, change
_ADDRESS: Final = struct.Struct("=BBBBI")  # family, prefix, flags, scope, index
_NEW_LINK: Final = 16
_DELETE_LINK: Final = 17
_GET_LINK: Final = 18
_NEW_ADDRESS: Final = 20
_DELETE_ADDRESS: Final = 21
_GET_ADDRESS: Final = 22
_NAME: Final = 3
_IFA_ADDRESS: Final = 1
_IFA_LOCAL: Final = 2
_UP: Final = 0x1 | 0x40  # by its owner, and with a carrier
_GROUPS: Final = {"links": 1, "IPv4 addresses": 5, "IPv6 addresses": 9}


class Devices:
    """What is known now. `open_devices` keeps it so."""

    def __init__(self) -> None:
        self._up: dict[int, bool] = {}
        self._names: dict[int, str] = {}
        self._addresses: dict[str, int] = {}  # 0: it is gone

    @property
    def down(self) -> frozenset[str]:
        """The addresses over which nothing can leave."""
        return frozenset(
            address for address, index in self._addresses.items() if not self._up.get(index, False)
        )

    def name(self, index: int) -> str:
        """The name of a device, its number if it has gone."""
        return self._names.get(index, str(index))

    def index(self, name: str) -> int:
        """The number of a device. `LookupError` if there is none of that name."""
        for index, each in self._names.items():
            if each == name:
                return index
        raise LookupError(f"no network device {name}")

    def device_of(self, address: str) -> str:
        """The device that has the address, "" if none has."""
        index = self._addresses.get(address, 0)
        return self.name(index) if index else ""

    def begin(self) -> None:
        """All addresses are gone until told otherwise: everything is about to be read again."""
        self._up.clear()
        self._names.clear()
        self._addresses = dict.fromkeys(self._addresses, 0)

    def note(self, message: Message) -> None:
        """Take in what one message says."""
        body = message.body
        if message.type in (_NEW_LINK, _DELETE_LINK) and len(body) >= _LINK.size:
            _, _, index, flags, _ = _LINK.unpack_from(body)
            held = split_attributes(body[_LINK.size :])
            self._up[index] = message.type == _NEW_LINK and flags & _UP == _UP
            if message.type == _DELETE_LINK:
                self._names.pop(index, None)
            elif _NAME in held:
                self._names[index] = held[_NAME].rstrip(b"\0").decode(errors="replace")
        elif message.type in (_NEW_ADDRESS, _DELETE_ADDRESS) and len(body) >= _ADDRESS.size:
            family, _, _, _, index = _ADDRESS.unpack_from(body)
            held = split_attributes(body[_ADDRESS.size :])
            types = _IFA_LOCAL if _IFA_LOCAL in held else _IFA_ADDRESS
            v4 = family == socket.AF_INET
            address = host(held, types if v4 else 0, 0 if v4 else types)
            if not address:
                return
            if message.type == _NEW_ADDRESS:
                self._addresses[address] = index
            elif self._addresses.get(address) == index:
                self._addresses[address] = 0


async def _read(asking: Netlink, devices: Devices) -> None:
    devices.begin()
    for type, body in ((_GET_LINK, bytes(_LINK.size)), (_GET_ADDRESS, bytes(_ADDRESS.size))):
        for each in await asking.request(type, body, what="network devices", dump=True):
            devices.note(each)


class DeviceNews:
    """The devices, and what makes them follow the kernel's news."""

    def __init__(self, devices: Devices, asking: Netlink, told: Netlink) -> None:
        self.devices = devices
        self._asking = asking
        self._told = told

    async def follow(self, changed: Callable[[], None]) -> None:
        """Keep `devices` true for ever; ``changed`` is called after each change."""
        while True:
            try:
                for each in await self._told.receive():
                    self.devices.note(each)
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                await _read(self._asking, self.devices)
            changed()


@asynccontextmanager
async def open_devices(make_socket: SocketFactory = socket.socket) -> AsyncIterator[DeviceNews]:
    """The devices of the namespace in which the sockets are made, read once."""
    with open_netlink(make_socket, ROUTE) as asking, open_netlink(make_socket, ROUTE) as told:
        for what, group in _GROUPS.items():
            told.subscribe(group, what=f"news of {what}")
        devices = Devices()
        await _read(asking, devices)
        yield DeviceNews(devices, asking, told)
