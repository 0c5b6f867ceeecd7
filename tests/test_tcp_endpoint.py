"""The text of an endpoint on a network, and the addresses that users write."""

import pytest

from runtime.network.tcp_endpoint import (
    Site,
    TcpEndpoint,
    from_text,
    parse_endpoint,
    parse_site,
    to_text,
)

KEY = bytes(range(32))


@pytest.mark.parametrize(
    ("text", "site"),
    [
        ("127.0.0.1", Site("127.0.0.1", 0)),
        ("192.0.2.7:5555", Site("192.0.2.7", 5555)),
        ("[::1]", Site("::1", 0)),
        ("[2001:DB8:0::7]:65535", Site("2001:db8::7", 65535)),
    ],
)
def test_this_is_an_address_to_listen_on(text: str, site: Site) -> None:
    assert parse_site(text) == site
    assert parse_site(str(site)) == site


@pytest.mark.parametrize(
    "text",
    ["", "localhost", "localhost:1", "::1", "[::1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.256",
     "127.0.0.1:-1", "127.0.0.1:1:2", "[127.0.0.1]:1", "0.0.0.0", "[::]:1", "224.0.0.1",
     "[ff02::1]", "[::ffff:192.0.2.7]:1",
     "[fe80::1%eth0]:1", "127.1", "127.0.0.1\n", " 127.0.0.1", "127.0.0.1:\u0661", "*:1"],
)  # fmt: skip
def test_this_is_no_address_to_listen_on(text: str) -> None:
    with pytest.raises(ValueError, match="address") as caught:
        parse_site(text)
    assert repr(text) in str(caught.value)


ONE = TcpEndpoint((Site("127.0.0.1", 5555),), KEY, 12)
TWO = TcpEndpoint((Site("192.0.2.7", 1), Site("2001:db8::7", 65535)), b"", 2**64 - 1)


@pytest.mark.parametrize("endpoint", [ONE, TWO])
def test_an_endpoint_is_read_as_it_was_written(endpoint: TcpEndpoint) -> None:
    assert parse_endpoint(str(endpoint)) == endpoint


def test_these_are_the_texts() -> None:
    assert str(ONE) == f"tcp://127.0.0.1:5555?key={to_text(KEY)}&n=12"
    assert str(TWO) == "tcp://192.0.2.7:1,[2001:db8::7]:65535?n=18446744073709551615"


@pytest.mark.parametrize(
    "text",
    ["", "ipc:///x", "tcp://", "tcp://127.0.0.1:1", "tcp://127.0.0.1:1?n=", "tcp://127.0.0.1?n=1",
     "tcp://127.0.0.1:0?n=1", "tcp://h:1?n=1", "tcp://127.0.0.1:1?key=x&n=1", "tcp://127.0.0.1:1,?n=1",
     "tcp://127.0.0.1:1?n=1&key=" + "A" * 43, "tcp://127.0.0.1:1?n=1\n", "tcp://0.0.0.0:1?n=1",
     "tcp://127.0.0.1:1?key=" + "A" * 42 + "B&n=1", "tcp://127.0.0.1:1?key=" + "A" * 44 + "&n=1",
     "tcp://" + ",".join(["127.0.0.1:1"] * 17) + "?n=1", "tcp://" + "1" * 5000 + "?n=1"],
)  # fmt: skip
def test_this_is_no_endpoint(text: str) -> None:
    with pytest.raises(ValueError, match=r"endpoint|address|key"):
        parse_endpoint(text)


@pytest.mark.parametrize("key", [KEY, bytes(32), b"\xff" * 32])
def test_a_key_is_43_characters_that_need_no_quoting(key: bytes) -> None:
    text = to_text(key)
    assert len(text) == 43
    assert from_text(text) == key


@pytest.mark.parametrize(
    "text", ["", "x", "A" * 42, "A" * 44, "A" * 42 + "B", "A" * 42 + "=", "\u00e9"]
)
def test_a_text_that_is_no_key_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match=r"^not a key of 32 bytes as 43 characters$"):
        from_text(text)
