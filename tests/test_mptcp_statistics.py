"""The kernel's structures as values, whatever their size."""

import socket
import struct

import pytest

from runtime.multipath.layout import decode, size_bytes
from runtime.multipath.statistics import (
    FULL,
    HEADER,
    MPTCP_INFO_BYTES,
    SUBFLOW_INFO_BYTES,
    TCP_INFO_BYTES,
    MptcpInfo,
    SocketAddress,
    TcpInfo,
    TcpState,
    decode_address,
    decode_addresses,
    decode_full_info,
    split_elements,
)

MPTCP_INFO = struct.pack(
    "=6B2xII3Q3BxI4Q3Bx3I",
    *(1, 2, 3, 4, 5, 6),
    *(2, 0xABCD, 10, 11, 12),
    *(7, 8, 1, 9),
    *(13, 14, 15, 16),
    *(17, 18, 19, 20, 21, 22),
)
V4 = struct.pack("=H", socket.AF_INET) + struct.pack("!H4s", 443, bytes([10, 0, 1, 2]))
V6 = struct.pack("=H", socket.AF_INET6) + struct.pack(
    "!HI16s", 80, 0, socket.inet_pton(socket.AF_INET6, "fe80::1")
)


def storage(address: bytes) -> bytes:
    return address.ljust(128, b"\0")


def tcp_info(state: int, rto: int, size: int = TCP_INFO_BYTES) -> bytes:
    return struct.pack("=B7xI", state, rto).ljust(size, b"\0")


def test_the_structures_have_the_sizes_of_linux_6_18() -> None:
    assert MPTCP_INFO_BYTES == 96 == len(MPTCP_INFO)
    assert TCP_INFO_BYTES == 280
    assert SUBFLOW_INFO_BYTES == 264
    assert FULL.size + MPTCP_INFO_BYTES == 136


def test_every_field_of_mptcp_info_is_where_the_kernel_puts_it() -> None:
    info = decode(MptcpInfo, MPTCP_INFO)
    assert info == MptcpInfo(
        *(1, 2, 3, 4, 5, 6, 2, 0xABCD, 10, 11, 12, 7, 8, 1, 9, 13, 14, 15, 16),
        *(17, 18, 19, 20, 21, 22),
        known_bytes=96,
    )
    assert info.remote_key_received
    assert not info.fallback


def test_every_field_of_tcp_info_is_where_the_kernel_puts_it() -> None:
    data = struct.pack(
        "=8B24I4Q6I4Q2I2Q6I2H8I2H",
        *(1, 2, 3, 4, 5, 6, 0xA7, 0b101),
        *range(100, 124),
        *range(200, 204),
        *range(300, 306),
        *range(400, 404),
        *(500, 501, 502, 503),
        *range(600, 606),
        *(700, 701),
        *range(800, 808),
        *(900, 901),
    )
    info = decode(TcpInfo, data)
    assert len(data) == TCP_INFO_BYTES
    assert (info.state, info.backoff, info.options) == (1, 5, 6)
    assert (info.snd_wscale, info.rcv_wscale) == (7, 10)
    assert info.delivery_rate_app_limited
    assert info.fastopen_client_fail == 2
    assert (info.rto, info.rtt, info.total_retrans) == (100, 115, 123)
    assert (info.pacing_rate, info.bytes_received) == (200, 203)
    assert (info.segs_out, info.data_segs_out) == (300, 305)
    assert (info.delivery_rate, info.sndbuf_limited) == (400, 403)
    assert (info.delivered, info.bytes_sent, info.bytes_retrans) == (500, 502, 503)
    assert (info.dsack_dups, info.rehash) == (600, 605)
    assert (info.total_rto, info.total_rto_recoveries, info.total_rto_time) == (700, 701, 800)
    assert (info.received_ce, info.received_ce_bytes) == (801, 807)
    assert (info.accecn_fail_mode, info.accecn_opt_seen) == (900, 901)


@pytest.mark.parametrize("size", range(97))
def test_a_shorter_kernel_structure_gives_the_fields_it_holds_whole(size: int) -> None:
    whole, short = decode(MptcpInfo, MPTCP_INFO), decode(MptcpInfo, MPTCP_INFO[:size])
    assert short.known_bytes == size
    for field in MptcpInfo.__struct_fields__[:-1]:
        assert getattr(short, field) == (getattr(whole, field) if short.knows(field) else 0)
    assert short.knows("subflows") == (size >= 1)
    assert short.knows("token") == (size >= 16)
    assert short.knows("last_ack_recv") == (size == 96)


def test_a_longer_kernel_structure_gives_the_fields_known_here() -> None:
    assert decode(MptcpInfo, MPTCP_INFO + b"\xff" * 100) == decode(MptcpInfo, MPTCP_INFO)


@pytest.mark.parametrize(
    ("state", "alive"),
    [(TcpState.ESTABLISHED, True), (TcpState.CLOSE, False), (TcpState.TIME_WAIT, False)],
)
def test_a_closed_subflow_is_told_by_its_state(state: TcpState, alive: bool) -> None:
    assert decode(TcpInfo, tcp_info(state, 0)).alive is alive


@pytest.mark.parametrize(
    ("data", "address"),
    [
        (V4, SocketAddress("10.0.1.2", 443)),
        (storage(V4), SocketAddress("10.0.1.2", 443)),
        (V6 + struct.pack("=I", 3), SocketAddress("fe80::1", 80, 3)),
        (V6, SocketAddress("", 0)),
        (b"", SocketAddress("", 0)),
        (bytes(128), SocketAddress("", 0)),
    ],
)
def test_an_address_of_either_family_is_read(data: bytes, address: SocketAddress) -> None:
    assert decode_address(data) == address


def test_an_address_prints_as_one_writes_it() -> None:
    assert str(SocketAddress("10.0.1.2", 443)) == "10.0.1.2:443"
    assert str(SocketAddress("fe80::1", 443)) == "[fe80::1]:443"


def test_both_addresses_of_a_subflow_are_read() -> None:
    addresses = decode_addresses(storage(V4) + storage(V6))
    assert (addresses.local.port, addresses.remote.port) == (443, 80)


@pytest.mark.parametrize(("kernel", "user", "seen"), [(8, 8, 8), (8, 12, 8), (12, 8, 8), (0, 8, 0)])
def test_an_element_is_as_long_as_the_smaller_of_both_sizes(
    kernel: int, user: int, seen: int
) -> None:
    answer = HEADER.pack(16, 2, kernel, user) + bytes(range(2 * user))
    elements = split_elements(answer)
    assert [bytes(item) for item in elements.items] == [
        bytes(range(seen)),
        bytes(range(user, user + seen)),
    ]


def test_elements_without_room_are_counted_and_not_read() -> None:
    elements = split_elements(HEADER.pack(16, 9, 8, 8) + bytes(16))
    assert elements.count == 9
    assert len(elements.items) == 2


@pytest.mark.parametrize("data", [b"", bytes(15), bytes(16), HEADER.pack(16, 5, 8, 0)])
def test_an_array_without_elements_is_empty(data: bytes) -> None:
    assert split_elements(data).items == ()


def test_a_header_that_grew_is_skipped_by_its_own_size() -> None:
    elements = split_elements(HEADER.pack(24, 1, 4, 4) + b"newernew" + b"data")
    assert [bytes(item) for item in elements.items] == [b"data"]


def full(tcp_kernel: int, tcp_user: int, info_kernel: int, info_user: int, room: int) -> bytes:
    return FULL.pack(tcp_kernel, tcp_user, info_kernel, info_user, 2, room, 0, 0) + MPTCP_INFO


@pytest.mark.parametrize("tcp_kernel", [100, 280, 400])
@pytest.mark.parametrize("tcp_user", [64, 280])
def test_full_info_pairs_subflows_with_their_tcp_info(tcp_kernel: int, tcp_user: int) -> None:
    infos = b"".join(struct.pack("=I4x", number) + storage(V4) + storage(V6) for number in (1, 4))
    tcps = tcp_info(1, 50, tcp_user) + tcp_info(7, 60, tcp_user)
    info = decode_full_info(full(tcp_kernel, tcp_user, 264, 264, 8), infos, tcps)
    assert info.mptcp == decode(MptcpInfo, MPTCP_INFO)
    assert info.count == 2
    assert [(each.id, each.tcp.rto, each.alive) for each in info.subflows] == [
        (1, 50, True),
        (4, 60, False),
    ]
    assert [each.id for each in info.living] == [1]
    assert info.subflows[0].tcp.known_bytes == min(tcp_kernel, tcp_user)
    assert info.subflows[0].addresses.local == SocketAddress("10.0.1.2", 443)


def test_full_info_reads_no_more_subflows_than_it_had_room_for() -> None:
    info = decode_full_info(full(280, 280, 264, 264, 1), bytes(264), tcp_info(1, 50))
    assert info.count == 2
    assert len(info.subflows) == 1


def test_full_info_of_a_kernel_that_tells_no_subflows_has_none() -> None:
    assert decode_full_info(full(0, 280, 0, 264, 8), bytes(8 * 264), bytes(8 * 280)).subflows == ()


def test_a_structure_of_words_of_one_size_has_no_hole() -> None:
    assert size_bytes(MptcpInfo) % 8 == 0
