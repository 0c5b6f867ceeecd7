"""Netlink messages, endpoints and events as bytes and back; counters as text."""

import random
import socket
import struct

import pytest

from runtime.multipath import message
from runtime.multipath.counters import parse_counters
from runtime.multipath.endpoint import Endpoint, Flags, decode_endpoint, encode_endpoint
from runtime.multipath.event import (
    Announced,
    Closed,
    Created,
    Established,
    Event,
    ListenerClosed,
    ListenerCreated,
    Removed,
    SubflowClosed,
    SubflowEstablished,
    SubflowPriority,
    Unknown,
    decode_event,
)
from runtime.multipath.message import Message, Verdict
from runtime.multipath.statistics import SocketAddress


def error(errno: int, flags: int, rest: bytes) -> Message:
    header = struct.pack("=IHHII", 16 + 8, 20, 5, 7, 0)
    return Message(message.ERROR, flags, 7, struct.pack("=i", -errno) + header + rest)


def test_attributes_are_padded_and_read_back() -> None:
    data = message.u8(1, 200) + message.u16(2, 65535) + message.u32(3, 7) + message.s32(4, -1)
    assert len(data) == 32
    held = message.split_attributes(data)
    assert held[1] == b"\xc8"
    assert message.number(held, 2, "=H") == 65535
    assert message.number(held, 4, "=i") == -1
    assert message.number(held, 9, "=I") == 0
    assert message.number(held, 1, "=I") == 0


def test_a_number_that_does_not_fit_is_refused_with_its_value() -> None:
    with pytest.raises(ValueError, match="256 does not fit an attribute of 1 bytes"):
        message.u8(1, 256)
    with pytest.raises(ValueError, match="-1 does not fit"):
        message.u32(1, -1)


def test_a_nested_attribute_holds_attributes() -> None:
    held = message.split_attributes(message.nested(5, message.u8(1, 3), message.u8(2, 4)))
    assert message.split_attributes(held[5]) == {1: b"\x03", 2: b"\x04"}


def test_several_messages_of_one_datagram_are_split() -> None:
    one = message.encode(20, 1, 7, message.generic(3, message.u8(1, 9)))
    first, second = message.split_messages(one + message.encode(20, 1, 8, message.generic(4)))
    assert (first.type, first.sequence, first.command, first.attributes) == (20, 7, 3, {1: b"\x09"})
    assert (second.sequence, second.command, second.attributes) == (8, 4, {})


@pytest.mark.parametrize("seed", range(20))
def test_any_bytes_split_without_an_error(seed: int) -> None:
    randomness = random.Random(seed)
    for _ in range(200):
        data = randomness.randbytes(randomness.randrange(80))
        for each in message.split_messages(data):
            message.verdict(each)
            decode_event(each)
        decode_endpoint(data)
        decode_event(Message(20, 0, 0, bytes([randomness.randrange(20), 1, 0, 0]) + data))


@pytest.mark.parametrize(
    "data",
    [b"", bytes(15), struct.pack("=IHHII", 15, 0, 0, 0, 0), struct.pack("=I", 99) + bytes(20)],
)
def test_a_message_that_runs_past_its_datagram_is_none(data: bytes) -> None:
    assert list(message.split_messages(data)) == []


TEXT = message.attribute(1, b"no such thing\0")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (error(0, 0x100, b""), Verdict(0)),
        (error(22, 0x300, TEXT), Verdict(22, "no such thing")),
        (error(22, 0x200, bytes(8) + TEXT), Verdict(22, "no such thing")),
        (error(22, 0, bytes(8) + TEXT), Verdict(22)),
        (Message(message.DONE, 0, 7, struct.pack("=i", 0)), Verdict(0)),
        (
            Message(message.DONE, 0x200, 7, struct.pack("=i", -1) + TEXT),
            Verdict(1, "no such thing"),
        ),
        (Message(message.DONE, 0, 7, b""), Verdict(0)),
    ],
    ids=["success", "capped", "with the request", "no text", "done", "done, refused", "short"],
)
def test_a_verdict_has_the_errno_and_the_words_of_the_kernel(
    said: Message, expected: Verdict
) -> None:
    assert message.verdict(said) == expected


@pytest.mark.parametrize(
    "endpoint",
    [
        Endpoint("10.0.3.2", Flags.SUBFLOW),
        Endpoint("dead:beef:3::2", Flags.SIGNAL | Flags.BACKUP, id=255, port=10100, interface=7),
        Endpoint("10.0.3.2", Flags.SUBFLOW | Flags.FULLMESH | Flags.LAMINAR, id=1),
        Endpoint(id=3),
    ],
    ids=str,
)
def test_an_endpoint_survives_its_attribute(endpoint: Endpoint) -> None:
    held = message.split_attributes(encode_endpoint(1, endpoint))
    assert decode_endpoint(held[1]) == endpoint


@pytest.mark.parametrize(
    ("endpoint", "said"),
    [
        (Endpoint("example.org"), "example.org"),
        (Endpoint("10.0.1"), "10.0.1"),
        (Endpoint("10.0.1.1", id=256), "endpoint id 256"),
        (Endpoint("10.0.1.1", port=65536), "port 65536"),
        (Endpoint("10.0.1.1", port=-1), "port -1"),
    ],
)
def test_a_bad_endpoint_is_refused_before_it_is_sent(endpoint: Endpoint, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        encode_endpoint(1, endpoint)


TOKEN = message.u32(1, 0xABCD)
LOCAL, REMOTE = SocketAddress("10.0.1.2", 1000), SocketAddress("10.0.1.1", 443)
LOCAL6, REMOTE6 = SocketAddress("fe80::2", 1000), SocketAddress("fe80::1", 443)
PORTS = message.attribute(9, struct.pack("!H", 1000)) + message.attribute(
    10, struct.pack("!H", 443)
)
V4 = (
    message.u16(2, socket.AF_INET)
    + message.attribute(5, socket.inet_aton("10.0.1.2"))
    + message.attribute(7, socket.inet_aton("10.0.1.1"))
    + PORTS
)
V6 = (
    message.u16(2, socket.AF_INET6)
    + message.attribute(6, socket.inet_pton(socket.AF_INET6, "fe80::2"))
    + message.attribute(8, socket.inet_pton(socket.AF_INET6, "fe80::1"))
    + PORTS
)
IDS = message.u8(3, 1) + message.u8(4, 2)
PLAIN = (False, 0, 0, -1, 0, 0)


@pytest.mark.parametrize(
    ("command", "attributes", "event"),
    [
        (1, TOKEN + V4, Created(0xABCD, LOCAL, REMOTE, False, False)),
        (1, TOKEN + V4 + message.u8(18, 1), Created(0xABCD, LOCAL, REMOTE, True, False)),
        (2, TOKEN + V6 + message.u16(13, 3), Established(0xABCD, LOCAL6, REMOTE6, True, True)),
        (3, TOKEN, Closed(0xABCD)),
        (6, TOKEN + message.u8(4, 9) + V4, Announced(0xABCD, 9, REMOTE)),
        (7, TOKEN + message.u8(4, 9), Removed(0xABCD, 9)),
        (10, TOKEN + IDS + V4, SubflowEstablished(0xABCD, 1, 2, LOCAL, REMOTE, *PLAIN)),
        (
            11,
            TOKEN
            + IDS
            + V6
            + message.u8(11, 1)
            + message.u8(12, 111)
            + message.u32(14, 5)
            + message.s32(15, 4)
            + message.u32(16, 0)
            + message.u32(17, 1),
            SubflowClosed(0xABCD, 1, 2, LOCAL6, REMOTE6, True, 4, 111, 0, 1, 5),
        ),
        (13, TOKEN + IDS + V4, SubflowPriority(0xABCD, 1, 2, LOCAL, REMOTE, *PLAIN)),
        (15, V4, ListenerCreated(LOCAL)),
        (16, V6, ListenerClosed(LOCAL6)),
        (99, TOKEN, Unknown(99, {1: struct.pack("=I", 0xABCD)})),
    ],
)
def test_an_event_has_all_that_the_kernel_told(
    command: int, attributes: bytes, event: Event
) -> None:
    (told,) = message.split_messages(message.encode(20, 0, 0, message.generic(command, attributes)))
    assert decode_event(told) == event


NETSTAT = """TcpExt: SyncookiesSent ListenOverflows
TcpExt: 3 4
MPTcpExt: MPCapableSYNRX MPCurrEstab
MPTcpExt: 7 1
"""


def test_counters_are_read_by_their_prefix() -> None:
    assert parse_counters(NETSTAT) == {"MPCapableSYNRX": 7, "MPCurrEstab": 1}
    assert parse_counters(NETSTAT, "TcpExt") == {"SyncookiesSent": 3, "ListenOverflows": 4}
    assert parse_counters(NETSTAT, "IpExt") == {}


def test_counters_whose_lines_do_not_match_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        parse_counters("MPTcpExt: one two\nMPTcpExt: 1\n")
