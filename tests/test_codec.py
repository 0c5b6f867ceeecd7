"""Envelopes and payloads as frames of bytes, and back."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.address import Address
from runtime.errors import WireError
from runtime.exits import ExitReason
from runtime.messages import codec, inquiry
from runtime.messages import envelope as wire
from runtime.messages.batch import FLUSH_BYTES, Batch
from runtime.messages.codec import Buffer, decode, encode, weigh
from runtime.multipath.link_report import LinkReport

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
    wire.Monitor(3, ADDRESS, True): 48,
    wire.Demonitor(3): 49,
    wire.Fallen(3, ADDRESS, REASON): 50,
    wire.Suspicion(3, ADDRESS, "busy", "in spin"): 51,
    wire.Link(7, ADDRESS, True): 52,
    inquiry.Audit(3): 54,
    inquiry.Account(3, (1, 2)): 55,
    inquiry.Mark(3, (1, 2)): 56,
    inquiry.Marked(3, (1, 2, 2, 0)): 57,
    inquiry.Letters((), 2): 58,
    inquiry.Ping(1, 9): 59,
    inquiry.Pong(1, 9, True): 60,
    inquiry.Station(9, "routed", 1.5): 62,
    inquiry.LinksAsked(1, 9): 63,
    inquiry.LinksTold(1, 9, LinkReport("7", "ipc", "ipc:///7", ())): 64,
    wire.Join(1, "tcp://a", "tcp://b", "module:Class", "far", "class", b"", 60.0): 65,
    wire.Joined("", ADDRESS, ADDRESS): 66,
    wire.Signal(9): 67,
}
SIZED: dict[wire.Envelope, int] = {
    wire.Tell(1, "add", 3): 2,
    wire.Tells(1, "add", 3, 3): 11,
    wire.Ask(1, "add", 3, 9, 1.5, ("a", "b")): 3,
    wire.Asks(1, "add", 3, (9, 10), (1, 2), ("a", "b")): 12,
    wire.Reply(1, 9, 3, *COUNTS): 4,
    wire.Replies(1, 3, (9, 10), (3, 0), *COUNTS): 13,
    wire.Item(1, 9, 3): 8,
    wire.Welcome("m:C", 3, ADDRESS, 1, 0.25, 8, 9, (), 1, ADDRESS, 0.5): 32,
    wire.Run(ADDRESS, 6, 3): 47,
    wire.Snapshot(7, 3): 53,
    inquiry.Traced(1, "add", 3, 9, 1.5, ("a", "b")): 61,
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
    batch.body += bytes(FLUSH_BYTES - 100)
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


def framed(head: bytes, body: bytes = b"", length: int = -1) -> list[Buffer]:
    """A batch of this head, right or wrong; ``length``: what it says of itself."""
    said = len(head) if length < 0 else length
    return [said.to_bytes(4, "big") + head + body]


def packed(value: object) -> list[Buffer]:
    return framed(msgspec.msgpack.encode(value))


HEAD = msgspec.msgpack.encode([wire.Cancel(n, n) for n in range(9)])
REFUSED: dict[str, list[Buffer]] = {
    "nothing": [],
    "an empty frame": [b""],
    "too many frames": framed(HEAD) + [b""] * codec.MAX_FRAMES,
    "an empty head": framed(b"", b"abc"),
    "a head longer than its frame": framed(HEAD, length=len(HEAD) + 1),
    "a head of 4 GiB": framed(HEAD, length=2**32 - 1),
    "no array": packed({"a": 1, "b": 2}),
    "no array of arrays": packed([1, 2, 3, 4, 5, 6]),
    "an unknown tag": packed([[99, 1, 2, 3, 4]]),
    "a tag that is text": packed([["x", 1, 2, 3, 4]]),
    "a field too few": packed([[6, 1], [6, 1], [6, 1]]),
    "a field of another type": packed([[6, 1, "x", "y", "z"]]),
    "a rest": framed(HEAD + b"\x01"),
    "half a head": framed(HEAD[:-1]),
    "deep nesting": framed(nested(100_000)),
    "a large head": framed(bytes(codec.MAX_HEAD_BYTES + 1)),
    "a large body": framed(HEAD, bytes(codec.MAX_MESSAGE_BYTES)),
    "a long array that is not there": framed(b"\xdd\xff\xff\xff\xff\x00\x00"),
    "bytes that did not come": encode(wire.Tell(1, "h", 4), body=b"abc"),
    "a negative size": encode(wire.Tell(1, "h", 2), wire.Tell(1, "h", -1), body=b"abc"),
    "a huge size": encode(wire.Tell(1, "h", 2**63), body=b"abc"),
    "frames that did not come": [*encode(wire.Tell(1, "h", 0, (0, 1))), b"one"],
}


def test_what_the_refused_differ_from_is_a_batch() -> None:
    assert [each for each, _, _ in decode(framed(HEAD))] == [wire.Cancel(n, n) for n in range(9)]


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
@given(st.integers(0, 1000), st.integers(0, 0x7F))
def test_a_batch_with_one_other_byte_gives_envelopes_or_a_wire_error(at: int, byte: int) -> None:
    (frame,) = encode(*SIZED, *UNSIZED, body=b"abc" * len(SIZED))
    changed = bytearray(frame)
    changed[at % len(changed)] = byte
    try:
        parts = decode([changed])
    except WireError:
        return
    assert sum(len(payload) for _, payload, _ in parts) <= len(frame)
