"""Envelopes and payloads as frames of bytes, and back."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime import codec
from runtime import envelope as wire
from runtime.address import Address
from runtime.codec import Batch, Buffer, decode, encode, weigh
from runtime.errors import WireError
from runtime.exits import ExitReason

ADDRESS = Address("s", "counter", 7, "memory:7")
REASON = ExitReason(kind="crashed", error="ValueError", message="no good")
COUNTS = (5, 4, 3, 2, 100)

UNSIZED: dict[wire.Envelope, int] = {
    wire.Hello(ADDRESS, "boot", 1): 0,
    wire.Open(1, "a", 2, "b", 3): 1,
    wire.Fail(1, 9, "raised", "ValueError", "no", "Traceback", *COUNTS): 5,
    wire.Cancel(1, 9): 6,
    wire.Credit(1, *COUNTS, 64, 4096): 7,
    wire.More(1, 9, 10, 1000): 9,
    wire.Close(1): 10,
    wire.Started("memory:7"): 33,
    wire.StartFailed("ValueError", "no", "Traceback"): 34,
    wire.Exiting(REASON, 7): 35,
    wire.Stop(7, True): 36,
    wire.Beat(1, (2, 3)): 37,
    wire.Heard(1): 38,
    wire.Guardian(1, ADDRESS): 39,
    wire.Guard(1, ADDRESS, 99): 40,
    wire.Unguard(1, 7): 41,
    wire.Watch("memory:7"): 42,
    wire.Unwatch("memory:7"): 43,
    wire.Down("memory:7", REASON): 44,
    wire.Verdict("memory:7", "frozen", "state T", 1.5): 45,
    wire.Pace(0.25): 46,
}
SIZED: dict[wire.Envelope, int] = {
    wire.Tell(1, "add", 3): 2,
    wire.Ask(1, "add", 3, 9, 1.5, ("a", "b")): 3,
    wire.Reply(1, 9, 3, *COUNTS): 4,
    wire.Item(1, 9, 3): 8,
    wire.Welcome("m:C", 3, ADDRESS, 1, 0.25, 8, 9): 32,
}
every_envelope = pytest.mark.parametrize(
    ("envelope", "tag"), [*UNSIZED.items(), *SIZED.items()], ids=lambda v: type(v).__name__
)


def flat(parts: list[codec.Part]) -> list[tuple[object, bytes, list[bytes]]]:
    return [(each, bytes(payload), list(map(bytes, buffers))) for each, payload, buffers in parts]


@every_envelope
def test_an_envelope_comes_back_as_it_was(envelope: wire.Envelope, tag: int) -> None:
    body = b"abc" if envelope in SIZED else b""
    assert flat(decode(encode(envelope, body=body))) == [(envelope, body, [])]


@every_envelope
def test_a_tag_keeps_its_meaning(envelope: wire.Envelope, tag: int) -> None:
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(envelope))[0] == tag


def test_every_kind_of_envelope_is_in_these_tables() -> None:
    kinds = {type(each) for each in (*UNSIZED, *SIZED)}
    assert kinds == set(wire.Envelope.__subclasses__())


@pytest.mark.parametrize(
    ("array", "envelope"),
    [
        ((2, 1, "add", 0), wire.Tell(1, "add", 0)),
        ((3, 1, "add", 0, 9, 1.5), wire.Ask(1, "add", 0, 9, 1.5)),
        ((3, 1, "add", 0, 9, 1.5, ("a",)), wire.Ask(1, "add", 0, 9, 1.5, ("a",))),
        ((4, 1, 9, 0, *COUNTS), wire.Reply(1, 9, 0, *COUNTS)),
        ((7, 1, *COUNTS, 64, 4096), wire.Credit(1, *COUNTS, 64, 4096)),
    ],
    ids=["tell", "ask", "chain", "reply", "credit"],
)
def test_the_arrays_of_the_hot_paths_are_envelopes(
    array: tuple[object, ...], envelope: wire.Envelope
) -> None:
    batch = Batch()
    batch.add(array)
    assert flat(decode(batch.take())) == [(envelope, b"", [])]


MESSAGES = st.lists(
    st.tuples(st.binary(max_size=50), st.lists(st.binary(max_size=50), max_size=3)), max_size=20
)


@settings(derandomize=True, deadline=None)
@given(MESSAGES)
def test_a_batch_comes_back_as_it_was_added(messages: list[tuple[bytes, list[bytes]]]) -> None:
    batch = Batch()
    sent = []
    for number, (payload, buffers) in enumerate(messages):
        envelope = wire.Tell(number, "h", len(payload), tuple(range(len(buffers))))
        batch.body += payload
        batch.add_buffers(buffers)
        batch.add(envelope)
        sent.append((envelope, payload, buffers))
    parts = decode(batch.take())
    assert flat(parts) == sent
    assert [weigh(part) for part in parts] == [len(p) + sum(map(len, b)) for _, p, b in sent]
    assert flat(decode(batch.take())) == []  # it began anew


def test_a_batch_says_when_it_is_time_to_leave() -> None:
    batch = Batch()
    batch.body += bytes(codec.FLUSH_BYTES - 100)
    assert not batch.add(wire.Cancel(1, 1))
    batch.add_buffers([bytes(100)])
    assert batch.add(wire.Cancel(1, 2))
    batch.take()
    assert (batch.count, batch.buffer_bytes, batch.buffers) == (0, 0, [])
    assert not batch.add(wire.Cancel(1, 3))


def nested(depth: int) -> bytes:
    return b"\x91" * depth + b"\x90"


def test_a_payload_that_cannot_be_decoded_spoils_no_other_message() -> None:
    body = nested(100_000) + b"ok"
    parts = decode(encode(wire.Tell(1, "h", len(body) - 2), wire.Tell(2, "h", 2), body=body))
    assert bytes(parts[1][1]) == b"ok"


HEAD = bytes(encode(wire.Cancel(1, 1))[0])
SHORT = encode(wire.Tell(1, "h", 4), body=b"abc")
REFUSED: dict[str, list[Buffer]] = {
    "nothing": [],
    "one frame": [HEAD],
    "too many frames": [HEAD, b"", *[b""] * codec.MAX_FRAMES],
    "an empty head": [b"", b""],
    "no array": [msgspec.msgpack.encode({"a": 1}), b""],
    "no array of arrays": [msgspec.msgpack.encode([1, 2]), b""],
    "an unknown tag": [msgspec.msgpack.encode([[99, 1]]), b""],
    "a tag that is text": [msgspec.msgpack.encode([["x", 1]]), b""],
    "a field too few": [msgspec.msgpack.encode([[6, 1]]), b""],
    "a field of another type": [msgspec.msgpack.encode([[6, 1, "x"]]), b""],
    "a rest": [HEAD + b"\x01", b""],
    "half a head": [HEAD[:-1], b""],
    "deep nesting": [nested(100_000), b""],
    "a large head": [bytes(codec.MAX_HEAD_BYTES + 1), b""],
    "a large body": [HEAD, bytes(codec.MAX_MESSAGE_BYTES + 1)],
    "a long array that is not there": [b"\xdd\xff\xff\xff\xff", b""],
    "bytes that did not come": SHORT,
    "a negative size": encode(wire.Tell(1, "h", 2), wire.Tell(1, "h", -1), body=b"abc"),
    "a huge size": encode(wire.Tell(1, "h", 2**63), body=b"abc"),
    "frames that did not come": [*encode(wire.Tell(1, "h", 0, (0, 1))), b"one"],
}


@pytest.mark.parametrize("frames", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_batch_is_a_wire_error(frames: list[Buffer]) -> None:
    with pytest.raises(WireError):
        decode(frames)


@settings(derandomize=True, deadline=None, max_examples=500)
@given(st.lists(st.binary(max_size=60), max_size=5))
def test_any_bytes_give_envelopes_or_a_wire_error(frames: list[bytes]) -> None:
    try:
        parts = decode(frames)
    except WireError:
        return
    assert all(isinstance(each, wire.Envelope) for each, _, _ in parts)


@settings(derandomize=True, deadline=None, max_examples=500)
@given(st.integers(0, 200), st.integers(0, 0x7F))
def test_a_batch_with_one_other_byte_gives_envelopes_or_a_wire_error(at: int, byte: int) -> None:
    frames = encode(*SIZED, *UNSIZED, body=b"abc" * len(SIZED))
    head = bytearray(frames[0])
    head[at % len(head)] = byte
    try:
        parts = decode([head, *frames[1:]])
    except WireError:
        return
    assert sum(len(payload) for _, payload, _ in parts) <= len(frames[1])
