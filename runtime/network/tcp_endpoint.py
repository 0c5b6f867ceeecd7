"""Where a process listens on a network, as text.

    tcp://192.0.2.7:5555,[2001:db8::7]:5556?key=3Zxq...&n=12
    mptcp://192.0.2.7:5555,198.51.100.7:5555?key=3Zxq...&n=12

The addresses of one process, in the order in which it prefers them, its public key where the
system has keys, and its incarnation, so that no two lives share a text though one may get the
other's port. What a user writes is an address alone, or one with a port: ``192.0.2.7``,
``[::1]:5555``; port 0, the default, is any that is free.

Invariants
----------
* Addresses are numbers: a name would have to be looked up, and that takes a thread.
* A wildcard is no address: nobody can be told to connect to it.
* `str` and `parse_endpoint` are each other's inverse; any other text is a `ValueError`.
"""

import base64
import binascii
import ipaddress
import re
from typing import Final

import msgspec

from runtime.network.keys import KEY_BYTES

SCHEMES: Final = ("tcp://", "mptcp://")
MAX_SITES: Final = 16
_ENDPOINT: Final = re.compile(
    r"((?:mp)?tcp)://([^?]{1,2048})\?(?:key=([A-Za-z0-9_-]{43})&)?n=([0-9]{1,20})", re.ASCII
)
_SITE: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::([0-9]{1,5}))?", re.ASCII)


class Site(msgspec.Struct, frozen=True, array_like=True):
    """A numeric address and a port."""

    host: str
    port: int

    @property
    def is_v6(self) -> bool:
        return ":" in self.host

    @property
    def is_loopback(self) -> bool:
        return ipaddress.ip_address(self.host).is_loopback

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if self.is_v6 else f"{self.host}:{self.port}"


class TcpEndpoint(msgspec.Struct, frozen=True):
    """``key``: public, 32 bytes, or empty where there are none."""

    sites: tuple[Site, ...]
    key: bytes
    incarnation: int
    kind: str = "tcp"

    def __str__(self) -> str:
        key = f"key={to_text(self.key)}&" if self.key else ""
        return f"{self.kind}://{','.join(map(str, self.sites))}?{key}n={self.incarnation}"


def parse_endpoint(text: str) -> TcpEndpoint:
    """The endpoint that ``text`` says.

    Raises:
        ValueError: it is none.
    """
    found = _ENDPOINT.fullmatch(text)
    if found is None:
        raise ValueError(f"no endpoint of a network: {text[:200]!r}")
    sites = tuple(parse_site(each) for each in found[2].split(","))
    if len(sites) > MAX_SITES or not all(site.port for site in sites):
        raise ValueError(f"no endpoint of a network: {text[:200]!r}")
    return TcpEndpoint(
        sites, from_text(found[3]) if found[3] else b"", int(found[4]), kind=found[1]
    )


def parse_site(text: str) -> Site:
    """The address that a user says, with port 0 if he says none.

    Raises:
        ValueError: it is none, or a wildcard.
    """
    found = _SITE.fullmatch(text)
    if found is None:
        raise ValueError(
            f"not a numeric address, with or without a port: {text[:100]!r}; "
            "as in 192.0.2.7, 192.0.2.7:5555 or [2001:db8::7]:5555"
        )
    try:
        address = ipaddress.ip_address(found[1] or found[2])
    except ValueError as cause:
        raise ValueError(f"not a numeric address: {text[:100]!r}: {cause}") from cause
    if address.version == 6 and address.ipv4_mapped is not None:
        raise ValueError(f"{text[:100]!r} is an IPv4 address: write {address.ipv4_mapped}")
    if address.is_unspecified or address.is_multicast:
        raise ValueError(
            f"{text[:100]!r} is no address of one host: others could not connect to it"
        )
    port = int(found[3] or 0)
    if port > 65535 or (found[1] is None) is not (address.version == 4):
        raise ValueError(f"not a numeric address with a port up to 65535: {text[:100]!r}")
    return Site(str(address), port)


def to_text(key: bytes) -> str:
    """A key of 32 bytes as 43 characters that need no quoting anywhere."""
    return base64.urlsafe_b64encode(key).decode().rstrip("=")


def from_text(text: str) -> bytes:
    """The key that `to_text` wrote. `ValueError`: it is none; the text is not repeated."""
    try:
        key = base64.b64decode(text + "=", altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES or to_text(key) != text:
        raise ValueError(f"not a key of {KEY_BYTES} bytes as 43 characters")
    return key
