"""The statistics of real MPTCP connections over loopback."""

import errno
import socket
import struct

import pytest

from runtime.multipath import inspection
from runtime.multipath.statistics import FULL, HEADER, TCP_INFO_BYTES
from tests import mptcp

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(bool(mptcp.missing()), reason=mptcp.missing()),
]
families = pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["v4", "v6"])


@families
def test_bytes_sent_at_one_end_are_received_at_the_other(family: int) -> None:
    with mptcp.loopback_pair(family) as (client, server):
        before = inspection.mptcp_info(client), inspection.mptcp_info(server)
        mptcp.transfer(client, server, 20_000)
        mptcp.transfer(server, client, 3_000)
        sent, received = inspection.mptcp_info(client), inspection.mptcp_info(server)
        assert sent.bytes_sent == received.bytes_received == 20_000
        assert received.bytes_sent == sent.bytes_received == 3_000
        assert sent.write_seq - before[0].write_seq == 20_000
        assert received.rcv_nxt - before[1].rcv_nxt == 20_000
        assert sent.write_seq == received.rcv_nxt
        assert received.write_seq == sent.rcv_nxt


@families
def test_the_end_of_the_stream_is_one_more_in_the_sequence(family: int) -> None:
    with mptcp.loopback_pair(family) as (client, server):
        before = inspection.mptcp_info(client), inspection.mptcp_info(server)
        mptcp.transfer(client, server, 5_000)
        client.shutdown(socket.SHUT_WR)
        assert server.recv(1) == b""
        mptcp.transfer(server, client, 700)  # the other direction goes on
        sent, received = inspection.mptcp_info(client), inspection.mptcp_info(server)
        assert sent.write_seq - before[0].write_seq == 5_001
        assert received.rcv_nxt - before[1].rcv_nxt == 5_001
        assert sent.bytes_sent == received.bytes_received == 5_000
        assert received.write_seq - before[1].write_seq == 700
        assert sent.rcv_nxt - before[0].rcv_nxt == 700
        assert received.bytes_sent == sent.bytes_received == 700


@families
def test_the_four_options_agree_with_each_other_and_with_the_socket(family: int) -> None:
    with mptcp.loopback_pair(family) as (client, server):
        mptcp.transfer(client, server, 1_000)
        full = inspection.full_info(client)
        (subflow,) = full.subflows
        (tcp,) = inspection.tcp_infos(client)
        (addresses,) = inspection.subflow_addresses(client)
        assert full.count == 1
        assert full.living == full.subflows
        assert full.mptcp.token == inspection.mptcp_info(client).token
        assert subflow.addresses == addresses
        assert (addresses.local.host, addresses.local.port) == client.getsockname()[:2]
        assert (addresses.remote.host, addresses.remote.port) == client.getpeername()[:2]
        assert subflow.tcp.bytes_sent == tcp.bytes_sent == 1_000
        assert tcp.known_bytes <= TCP_INFO_BYTES
        assert tcp.snd_cwnd > 0


def test_a_connection_of_plain_tcp_is_told_at_both_ends() -> None:
    with mptcp.loopback_pair() as (client, server):
        assert inspection.speaks_mptcp(client)
        assert inspection.speaks_mptcp(server)
    with mptcp.loopback_pair(proto=socket.IPPROTO_TCP) as (client, server):
        assert not inspection.speaks_mptcp(client)
        assert not inspection.speaks_mptcp(server)
        with pytest.raises(OSError, match="getsockopt MPTCP_INFO: ") as refused:
            inspection.mptcp_info(server)
        assert refused.value.errno == errno.EOPNOTSUPP


SUBFLOW_DATA = {
    "a header of 0 bytes": (0, 0, 0, TCP_INFO_BYTES),
    "a header too small": (8, 0, 0, TCP_INFO_BYTES),
    "a number of subflows": (HEADER.size, 1, 0, TCP_INFO_BYTES),
    "a size of the kernel": (HEADER.size, 0, 1, TCP_INFO_BYTES),
}


@pytest.mark.parametrize("option", ["MPTCP_TCPINFO", "MPTCP_SUBFLOW_ADDRS"])
@pytest.mark.parametrize("header", SUBFLOW_DATA.values(), ids=SUBFLOW_DATA)
def test_a_bad_header_is_refused_by_name_and_errno(
    option: str, header: tuple[int, int, int, int]
) -> None:
    with mptcp.loopback_pair() as (client, _):
        value = bytearray(HEADER.pack(*header).ljust(1_000, b"\0"))
        with pytest.raises(OSError, match=f"getsockopt {option}: Invalid argument") as refused:
            inspection.read_option(client, getattr(inspection, option), value)
        assert refused.value.errno == errno.EINVAL


ROOM = {"MPTCP_TCPINFO": HEADER.size, "MPTCP_SUBFLOW_ADDRS": HEADER.size}
ROOM["MPTCP_FULL_INFO"] = FULL.size


@pytest.mark.parametrize("option", ROOM)
@pytest.mark.parametrize("size", [0, 1, -1], ids=["0", "1", "one too few"])
@families
def test_an_answer_without_room_for_the_header_is_refused(
    family: int, option: str, size: int
) -> None:
    value = bytearray(size % ROOM[option])
    with mptcp.loopback_pair(family) as (client, _):
        with pytest.raises(OSError, match=f"getsockopt {option}: Invalid argument") as refused:
            inspection.read_option(client, getattr(inspection, option), value)
        assert refused.value.errno == errno.EINVAL


@pytest.mark.parametrize("option", ROOM)
def test_a_size_that_no_buffer_has_is_refused(option: str) -> None:
    size = 1 << 31
    head = FULL.pack(0, size, 0, size, 0, 1, 0, 0) if option == "MPTCP_FULL_INFO" else b""
    value = bytearray(head or HEADER.pack(HEADER.size, 0, 0, size))
    with mptcp.loopback_pair() as (client, _):
        with pytest.raises(OSError, match=f"getsockopt {option}: Invalid argument") as refused:
            inspection.read_option(client, getattr(inspection, option), value)
        assert refused.value.errno == errno.EINVAL


def test_of_the_connection_as_a_whole_any_size_is_answered() -> None:
    with mptcp.loopback_pair() as (client, _):
        assert inspection.read_option(client, inspection.MPTCP_INFO, bytearray()) == b""


FULL_INFO = {
    "a size of the kernel's tcp_info": (1, TCP_INFO_BYTES, 0, 264, 0, 1, 0, 0),
    "a size of the kernel's subflow": (0, TCP_INFO_BYTES, 1, 264, 0, 1, 0, 0),
    "a number of subflows": (0, TCP_INFO_BYTES, 0, 264, 1, 1, 0, 0),
}


@pytest.mark.parametrize("request_fields", FULL_INFO.values(), ids=FULL_INFO)
def test_a_full_info_with_reserved_fields_set_is_refused(
    request_fields: tuple[int, ...],
) -> None:
    with mptcp.loopback_pair() as (client, _):
        value = bytearray(FULL.pack(*request_fields) + bytes(96))
        with pytest.raises(OSError, match="MPTCP_FULL_INFO: Invalid argument") as refused:
            inspection.read_option(client, inspection.MPTCP_FULL_INFO, value)
        assert refused.value.errno == errno.EINVAL


@pytest.mark.parametrize("size", [1, 16, 96, 200])
def test_the_kernel_fills_no_more_than_either_size(size: int) -> None:
    with mptcp.loopback_pair() as (client, _):
        answer = inspection.read_option(client, inspection.MPTCP_INFO, bytearray(size))
        assert len(answer) == min(size, 96) or len(answer) < size


def test_the_type_of_service_is_set_and_read_back_as_one_byte() -> None:
    with mptcp.loopback_pair() as (client, _):
        assert inspection.tos(client) == 0
        assert inspection.set_tos(client, 0x48)
        assert inspection.tos(client) == 0x48
        assert struct.unpack("=i", client.getsockopt(socket.IPPROTO_IP, socket.IP_TOS, 4)) == (
            0x48,
        )


def test_over_ipv6_the_type_of_service_is_read_back_too() -> None:
    with mptcp.loopback_pair(socket.AF_INET6) as (client, _):
        inspection.set_tos(client, 0xB8)
        assert inspection.tos(client) == 0xB8


@pytest.mark.parametrize("value", [-1, 256, 1, 2, 0x4B])
def test_a_type_of_service_that_is_no_byte_or_takes_ecn_is_refused(value: int) -> None:
    with mptcp.loopback_pair() as (client, _):
        with pytest.raises(ValueError, match=f"not {value}"):
            inspection.set_tos(client, value)
        assert inspection.tos(client) == 0
