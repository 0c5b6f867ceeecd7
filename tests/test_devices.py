"""Which addresses are down, by what the kernel tells of devices and addresses."""

import socket
import struct

import pytest

from runtime.multipath import message
from runtime.multipath.devices import Devices
from runtime.multipath.message import Message

NEW_LINK, DELETE_LINK, NEW_ADDRESS, DELETE_ADDRESS = 16, 17, 20, 21
UP, RUNNING = 0x1, 0x40


def link(index: int, name: str, flags: int, type: int = NEW_LINK) -> Message:
    body = struct.pack("=BxHiII", 0, 1, index, flags, 0) + message.attribute(
        3, name.encode() + b"\0"
    )
    return Message(type, 0, 0, body)


def address(index: int, host: str, type: int = NEW_ADDRESS, attribute: int = 1) -> Message:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    body = struct.pack("=BBBBI", family, 24, 0, 0, index)
    return Message(type, 0, 0, body + message.attribute(attribute, socket.inet_pton(family, host)))


@pytest.fixture
def devices() -> Devices:
    devices = Devices()
    for told in (
        link(1, "lo", UP | RUNNING),
        link(2, "eth0", UP | RUNNING),
        address(1, "127.0.0.1"),
        address(2, "10.0.0.1", attribute=2),
        address(2, "dead:beef::1"),
    ):
        devices.note(told)
    return devices


def test_addresses_of_devices_that_are_up_are_not_down(devices: Devices) -> None:
    assert devices.down == frozenset()
    assert devices.index("eth0") == 2
    assert devices.device_of("10.0.0.1") == "eth0"
    assert devices.device_of("10.0.0.9") == ""


@pytest.mark.parametrize("flags", [0, UP, RUNNING], ids=["off", "no carrier", "not up"])
def test_a_device_that_goes_down_takes_its_addresses_with_it(devices: Devices, flags: int) -> None:
    devices.note(link(2, "eth0", flags))
    assert devices.down == {"10.0.0.1", "dead:beef::1"}
    devices.note(link(2, "eth0", UP | RUNNING))
    assert devices.down == frozenset()


def test_a_device_that_is_gone_is_down_and_has_no_name(devices: Devices) -> None:
    devices.note(link(2, "eth0", UP | RUNNING, DELETE_LINK))
    assert devices.down == {"10.0.0.1", "dead:beef::1"}
    assert devices.name(2) == "2"
    with pytest.raises(LookupError, match="no network device eth0"):
        devices.index("eth0")


def test_an_address_that_is_gone_is_down_until_it_is_back(devices: Devices) -> None:
    devices.note(address(2, "dead:beef::1", DELETE_ADDRESS))
    assert devices.down == {"dead:beef::1"}
    devices.note(address(2, "dead:beef::1"))
    assert devices.down == frozenset()


def test_an_address_that_has_moved_is_not_taken_away_by_its_former_device(devices: Devices) -> None:
    devices.note(link(3, "eth1", UP | RUNNING))
    devices.note(address(3, "10.0.0.1"))
    devices.note(address(2, "10.0.0.1", DELETE_ADDRESS))
    assert devices.device_of("10.0.0.1") == "eth1"
    assert devices.down == frozenset()


def test_what_is_not_told_again_when_all_is_read_anew_is_down(devices: Devices) -> None:
    devices.begin()
    devices.note(link(1, "lo", UP | RUNNING))
    devices.note(address(1, "127.0.0.1"))
    assert devices.down == {"10.0.0.1", "dead:beef::1"}


@pytest.mark.parametrize("body", [b"", b"\x02", bytes(8), bytes(15)])
def test_a_message_that_is_too_short_changes_nothing(devices: Devices, body: bytes) -> None:
    for type in (NEW_LINK, DELETE_LINK, NEW_ADDRESS, DELETE_ADDRESS):
        devices.note(Message(type, 0, 0, body))
    assert devices.down == frozenset()
