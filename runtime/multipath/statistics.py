"""What the kernel knows of an MPTCP connection and of each of its subflows, as values.

Pure: bytes in, values out. `inspection` has the socket calls.

Invariants
----------
* Every field of ``mptcp_info``, ``tcp_info``, ``mptcp_subflow_addrs``, ``mptcp_subflow_info`` and
  ``mptcp_full_info`` is here, in the kernel's order; names are the kernel's without their prefix.
* Sizes are stated, never assumed: an answer of any length and any stride decodes, from kernels
  with shorter structures and with longer ones, and nothing is read past the end of either.
* A subflow that has closed stays in the kernel's list, the initial one above all: `alive` tells.

Source: ``include/uapi/linux/mptcp.h`` and ``tcp.h`` of Linux 6.18; ``net/mptcp/sockopt.c``.
"""

import socket
import struct
from enum import IntEnum
from typing import Final

import msgspec

from runtime.multipath.layout import U8, U16, U32, U64, Known, decode, size_bytes

HEADER: Final = struct.Struct("=IIII")  # mptcp_subflow_data: its size, count, kernel's, ours
FULL: Final = struct.Struct("=IIIIIIQQ")  # mptcp_full_info up to its mptcp_info
STORAGE_BYTES: Final = 128  # sockaddr_storage
_ID_BYTES: Final = 8  # mptcp_subflow_info: an id, and a hole


class TcpState(IntEnum):
    """The states of ``tcp_info``; those of a subflow."""

    ESTABLISHED = 1
    SYN_SENT = 2
    SYN_RECV = 3
    FIN_WAIT1 = 4
    FIN_WAIT2 = 5
    TIME_WAIT = 6
    CLOSE = 7
    CLOSE_WAIT = 8
    LAST_ACK = 9
    LISTEN = 10
    CLOSING = 11


class MptcpInfo(Known, frozen=True):
    """``mptcp_info``: one connection. Bytes are those of the stream, times milliseconds ago."""

    subflows: U8  # beyond the initial one
    add_addr_signal: U8
    add_addr_accepted: U8
    subflows_max: U8
    add_addr_signal_max: U8
    add_addr_accepted_max: U8
    flags: U32
    token: U32
    write_seq: U64
    snd_una: U64
    rcv_nxt: U64
    local_addr_used: U8
    local_addr_max: U8
    csum_enabled: U8
    retransmits: U32
    bytes_retrans: U64
    bytes_sent: U64
    bytes_received: U64
    bytes_acked: U64
    subflows_total: U8
    endp_laminar_max: U8
    endp_fullmesh_max: U8
    last_data_sent: U32
    last_data_recv: U32
    last_ack_recv: U32

    @property
    def fallback(self) -> bool:
        """Whether the connection has become plain TCP on its one subflow."""
        return bool(self.flags & 1)

    @property
    def remote_key_received(self) -> bool:
        return bool(self.flags & 2)


class TcpInfo(Known, frozen=True):
    """``tcp_info``: one subflow. Round trips and limits in microseconds, ``last_*`` in ms ago."""

    state: U8
    ca_state: U8
    retransmits: U8
    probes: U8
    backoff: U8
    options: U8
    wscale: U8  # two of four bits
    delivery: U8  # of one bit and two
    rto: U32
    ato: U32
    snd_mss: U32
    rcv_mss: U32
    unacked: U32
    sacked: U32
    lost: U32
    retrans: U32
    fackets: U32
    last_data_sent: U32
    last_ack_sent: U32
    last_data_recv: U32
    last_ack_recv: U32
    pmtu: U32
    rcv_ssthresh: U32
    rtt: U32
    rttvar: U32
    snd_ssthresh: U32
    snd_cwnd: U32
    advmss: U32
    reordering: U32
    rcv_rtt: U32
    rcv_space: U32
    total_retrans: U32
    pacing_rate: U64
    max_pacing_rate: U64
    bytes_acked: U64
    bytes_received: U64
    segs_out: U32
    segs_in: U32
    notsent_bytes: U32
    min_rtt: U32
    data_segs_in: U32
    data_segs_out: U32
    delivery_rate: U64
    busy_time: U64
    rwnd_limited: U64
    sndbuf_limited: U64
    delivered: U32
    delivered_ce: U32
    bytes_sent: U64
    bytes_retrans: U64
    dsack_dups: U32
    reord_seen: U32
    rcv_ooopack: U32
    snd_wnd: U32
    rcv_wnd: U32
    rehash: U32
    total_rto: U16
    total_rto_recoveries: U16
    total_rto_time: U32
    received_ce: U32
    delivered_e1_bytes: U32
    delivered_e0_bytes: U32
    delivered_ce_bytes: U32
    received_e1_bytes: U32
    received_e0_bytes: U32
    received_ce_bytes: U32
    accecn_fail_mode: U16  # kernels after 6.18 pack four fields into these two
    accecn_opt_seen: U16

    @property
    def snd_wscale(self) -> int:
        return self.wscale & 15

    @property
    def rcv_wscale(self) -> int:
        return self.wscale >> 4

    @property
    def delivery_rate_app_limited(self) -> bool:
        return bool(self.delivery & 1)

    @property
    def fastopen_client_fail(self) -> int:
        return self.delivery >> 1 & 3

    @property
    def alive(self) -> bool:
        """Whether the subflow has not closed."""
        return self.state not in (TcpState.CLOSE, TcpState.TIME_WAIT, 0)


class SocketAddress(msgspec.Struct, frozen=True):
    """``host`` is numeric, "" where the kernel gave an address of neither family."""

    host: str
    port: int
    scope_id: int = 0

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class SubflowAddresses(msgspec.Struct, frozen=True):
    """``mptcp_subflow_addrs``."""

    local: SocketAddress
    remote: SocketAddress


class Subflow(msgspec.Struct, frozen=True):
    """One of the subflows of `FullInfo`: ``id`` is the kernel's and not used again."""

    id: int
    addresses: SubflowAddresses
    tcp: TcpInfo

    @property
    def alive(self) -> bool:
        return self.tcp.alive


class FullInfo(msgspec.Struct, frozen=True):
    """``count`` is how many subflows there are; ``subflows`` those there was room for."""

    mptcp: MptcpInfo
    count: int
    subflows: tuple[Subflow, ...]

    @property
    def living(self) -> tuple[Subflow, ...]:
        """The subflows that have not closed."""
        return tuple(subflow for subflow in self.subflows if subflow.alive)


MPTCP_INFO_BYTES: Final = size_bytes(MptcpInfo)
TCP_INFO_BYTES: Final = size_bytes(TcpInfo)
SUBFLOW_ADDRS_BYTES: Final = 2 * STORAGE_BYTES
SUBFLOW_INFO_BYTES: Final = _ID_BYTES + SUBFLOW_ADDRS_BYTES


def decode_address(data: bytes | memoryview) -> SocketAddress:
    """A ``sockaddr`` of either family."""
    family = int.from_bytes(data[:2], "little" if _LITTLE else "big")
    if family == socket.AF_INET and len(data) >= 8:
        port = int.from_bytes(data[2:4], "big")
        return SocketAddress(socket.inet_ntop(socket.AF_INET, data[4:8]), port)
    if family == socket.AF_INET6 and len(data) >= 28:
        port, scope_id = int.from_bytes(data[2:4], "big"), struct.unpack_from("=I", data, 24)[0]
        return SocketAddress(socket.inet_ntop(socket.AF_INET6, data[8:24]), port, scope_id)
    return SocketAddress("", 0)


_LITTLE: Final = struct.pack("=H", 1) == b"\x01\x00"


def decode_addresses(data: bytes | memoryview) -> SubflowAddresses:
    """An element of MPTCP_SUBFLOW_ADDRS."""
    return SubflowAddresses(decode_address(data), decode_address(data[STORAGE_BYTES:]))


class Elements(msgspec.Struct, frozen=True):
    """The array behind a ``mptcp_subflow_data``: ``count`` there are, ``items`` there was room for.

    Each item is as long as the smaller of the kernel's element and ours.
    """

    count: int
    items: tuple[memoryview, ...]


def split_elements(data: bytes | bytearray) -> Elements:
    """What MPTCP_TCPINFO and MPTCP_SUBFLOW_ADDRS answer: a header, then the array."""
    if len(data) < HEADER.size:
        return Elements(0, ())
    size, count, size_kernel, size_user = HEADER.unpack_from(data)
    return Elements(count, _slices(memoryview(data)[size:], count, size_user, size_kernel))


def _slices(data: memoryview, count: int, stride: int, size_kernel: int) -> tuple[memoryview, ...]:
    room = len(data) // stride if stride else 0
    size = min(stride, size_kernel)
    return tuple(data[i * stride : i * stride + size] for i in range(min(count, room)))


def decode_full_info(
    data: bytes | bytearray, subflows: bytes | bytearray, tcp: bytes | bytearray
) -> FullInfo:
    """The answer to MPTCP_FULL_INFO and the two arrays it points to."""
    tcp_kernel, tcp_user, info_kernel, info_user, count, room, _, _ = FULL.unpack_from(data)
    held = min(count, room)
    infos = _slices(memoryview(subflows), held, info_user, info_kernel)
    tcps = _slices(memoryview(tcp), held, tcp_user, tcp_kernel)
    return FullInfo(
        mptcp=decode(MptcpInfo, memoryview(data)[FULL.size :]),
        count=count,
        subflows=tuple(
            Subflow(
                id=struct.unpack_from("=I", info)[0],
                addresses=decode_addresses(info[_ID_BYTES:]),
                tcp=decode(TcpInfo, one),
            )
            for info, one in zip(infos, tcps, strict=False)
            if len(info) >= 4
        ),
    )
