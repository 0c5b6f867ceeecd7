"""NumPy arrays as arguments and results, and that nobody imports NumPy unasked."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from trio.testing import MockClock

from actors.actor import Actor
from actors.system import System
from runtime.errors import WireError
from runtime.messages.arrays import ArrayHead, ArrayKind
from runtime.messages.buffers import OWN_FRAME_BYTES
from runtime.messages.codec import MAX_PAYLOAD_BYTES
from runtime.messages.signature import Parameters, signature_of
from tests.real import ROOT
from tests.small_world import ask, open_small_world, pair

Array = np.ndarray[Any, Any]
NUMBERS = np.arange(24, dtype=np.float64).reshape(2, 3, 4)
FIELDS = np.dtype([("a", "<i4"), ("b", ">f8", (2,)), ("c", [("x", "u1"), ("y", "S3")])])


class Sums(Actor):
    def __init__(self, first: NDArray[np.float64] | None = None) -> None:
        self.first = first

    async def back(self, array: np.ndarray) -> np.ndarray:
        return array

    async def floats(self, array: NDArray[np.float64], times: int = 1) -> NDArray[np.float64]:
        return array * times

    async def maybe(self, array: NDArray[np.int64] | None) -> NDArray[np.int64] | None:
        return array

    async def described(self, array: Annotated[Array, "of anything"]) -> tuple[str, bool, bool]:
        return array.dtype.str, array.flags.writeable, array.flags.owndata

    async def mixed(self, a: bytes, b: Array, c: int, d: Array, e: memoryview) -> Array:
        return np.concatenate([b, d, np.frombuffer(a, "u1"), np.frombuffer(e, "u1"), [c]])

    async def started_with(self) -> NDArray[np.float64] | None:
        return self.first

    async def anything(self, value: Any) -> Any:
        return value

    async def makes(self, kind: str) -> np.ndarray:
        return {"objects": np.array([object()]), "list": [1.0]}[kind]  # type: ignore[return-value]


ARRAYS: dict[str, Array] = {
    "C order": NUMBERS,
    "Fortran order": np.asfortranarray(NUMBERS),
    "transposed": NUMBERS.T,
    "strided": NUMBERS[:, ::2, ::-1],
    "one-dimensional": np.arange(7, dtype=np.int16),
    "without dimensions": np.array(5.5),
    "empty": np.empty((0, 3)),
    "empty, with a large side": np.empty((2**40, 0)),
    "of no size": np.zeros(3, dtype="S0"),
    "big-endian": np.arange(5, dtype=">i8"),
    "flags": np.array([True, False]),
    "complex": np.array([1 + 2j]),
    "halves": np.array([0.5], dtype=np.float16),
    "text": np.array(["ünï", "code"]),
    "bytes": np.array([b"a", b"bcd"]),
    "void": np.zeros(2, dtype="V5"),
    "moments": np.array(["2024-02-29", "NaT"], dtype="datetime64[ms]"),
    "odd moments": np.array([3], dtype="datetime64[25s]"),
    "spans": np.array([-3], dtype="timedelta64[us]"),
    "structured": np.zeros(3, dtype=FIELDS),
    "aligned": np.zeros(2, dtype=np.dtype([("a", "i1"), ("b", "f8")], align=True)),
    "broadcast": np.broadcast_to(np.arange(3), (4, 3)),
    "large": np.arange(200_000, dtype=np.uint32),
    "large, strided": np.arange(200_000)[::3],
    "large, Fortran order": np.asfortranarray(np.ones((300, 200))),
    "large, structured": np.zeros(3000, dtype=FIELDS),
    "large moments": np.arange(1000).astype("datetime64[s]"),
}


def frozen(array: Array) -> Array:
    array.flags.writeable = False
    return array


def call(handler: Callable[..., Any], *args: object, whole: bool = False) -> tuple[Any, ...]:
    """The arguments as the receiver has them."""
    signature = signature_of(handler)
    body = bytearray()
    positions, buffers = signature.encode(signature.bind(args, {}), body, whole)
    assert not (whole and buffers)
    if not buffers:
        return signature.decode_plain(body)
    return signature.decode(body, positions, [memoryview(each) for each in buffers])


def assert_same(given: Array, got: Any) -> None:
    assert type(got) is np.ndarray
    assert (got.dtype, got.shape) == (given.dtype, given.shape)
    assert got.tobytes() == given.tobytes()
    assert got.flags.fnc == given.flags.fnc
    assert not got.flags.writeable


@pytest.mark.parametrize("read_only", [False, True], ids=["", "read-only"])
@pytest.mark.parametrize("whole", [False, True], ids=["", "whole"])
@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS.keys())
def test_an_array_arrives_as_it_was(array: Array, whole: bool, read_only: bool) -> None:
    given = frozen(array.view()) if read_only else array
    assert_same(array, *call(Sums.back, given, whole=whole))
    signature = signature_of(Sums.back)
    payload, positions, buffers = signature.encode_result(given)
    assert len(positions) == len(buffers) == (array.nbytes >= OWN_FRAME_BYTES)
    assert_same(array, signature.decode_result(payload, buffers))


@pytest.mark.parametrize("where", ["here", "there"])
async def test_arrays_go_through_handlers(where: str, autojump_clock: MockClock) -> None:
    async with open_small_world() as world:
        near = await world.process("near")
        far = near if where == "here" else await world.process("far")
        source, sums = world.mute(near, "source"), await world.cell(far, "sums", Sums())
        for array in ARRAYS.values():
            assert_same(array, await ask(source, sums, Sums.back, array))
        doubled = await ask(source, sums, Sums.floats, NUMBERS, 2)
        assert_same(NUMBERS * 2, doubled)
        assert await ask(source, sums, Sums.maybe, None) is None
        large = np.arange(5000, dtype=np.uint8)
        mixed = await ask(source, sums, Sums.mixed, bytes(large), large, 3, large[:9], large.data)
        assert_same(np.concatenate([large, large[:9], large, large, [3]]), mixed)


@pytest.mark.regrow(on="real")
async def test_arrays_go_to_a_process_and_come_back(system: System) -> None:
    sums = await system.spawn(Sums, np.ones(300_000))
    for array in ARRAYS.values():
        assert_same(array, await sums.ask(Sums.back, array))
    assert_same(np.ones(300_000), await sums.ask(Sums.started_with))
    assert await sums.ask(Sums.described, np.ones(1000)) == ("<f8", False, False)


@pytest.mark.parametrize("size", [10, 100_000])
def test_what_is_written_to_an_array_after_the_call_does_not_show(size: int) -> None:
    array = np.zeros(size)
    signature = signature_of(Sums.back)
    body = bytearray()
    positions, buffers = signature.encode((array,), body)
    array[:] = 1
    (got,) = signature.decode(body, positions, [memoryview(each) for each in buffers])
    assert not got.any()


def test_a_read_only_array_and_the_one_that_arrives_are_not_copied() -> None:
    array = frozen(np.zeros((100, 200), order="F"))
    signature = signature_of(Sums.back)
    body = bytearray()
    positions, buffers = signature.encode((array,), body)
    (got,) = signature.decode(body, positions, [memoryview(each) for each in buffers])
    assert np.shares_memory(array, got)


# What cannot travel.


class Masked(np.ndarray):
    """Somebody's own array."""


CANNOT: dict[str, Any] = {
    "objects": np.array([object(), None]),
    "objects in fields": np.zeros(2, dtype=[("a", "O")]),
    "large, of objects": np.full(9999, None),
    "a subclass": np.zeros(3).view(Masked),
    "masked": np.ma.masked_array([1, 2], [True, False]),
    "overlapping fields": np.zeros(
        2, np.dtype({"names": ["a", "b"], "formats": ["i4", "i4"], "offsets": [0, 2]})
    ),
    "a list": [1.0, 2.0],
    "a scalar": np.float32(1.5),
}


@pytest.mark.parametrize("value", CANNOT.values(), ids=CANNOT.keys())
async def test_what_is_no_plain_array_is_a_type_error_and_nothing_is_sent(
    value: Any, autojump_clock: MockClock
) -> None:
    async with open_small_world() as world:
        near, far = await world.process("near"), await world.process("far")
        source, sums = world.mute(near, "source"), await world.cell(far, "sums", Sums())
        await ask(source, sums, Sums.back, NUMBERS)
        account = pair(source, sums).window
        before = account.sent, account.bytes_sent
        with pytest.raises(TypeError, match=r"(?s)Sums\.back: array=.* cannot travel: ."):
            await ask(source, sums, Sums.back, value)
        assert (account.sent, account.bytes_sent) == before
    with pytest.raises(TypeError, match=r"(?s)Sums\.back: the result .* cannot travel: ."):
        signature_of(Sums.back).encode_result(value)
    body = bytearray()
    with pytest.raises(TypeError, match=r"(?s)Sums\.__init__: first=.* cannot travel: ."):
        Parameters(Sums.__init__).encode((value,), body, whole=True)
    assert not body


@pytest.mark.parametrize("value", [NUMBERS, [NUMBERS], {"a": NUMBERS}])
def test_an_array_for_anything_else_is_a_type_error(value: Any) -> None:
    with pytest.raises(TypeError, match=r"(?s)Sums\.anything: value=.* cannot travel: .*ndarray"):
        signature_of(Sums.anything).encode((value,), bytearray())
    with pytest.raises(TypeError, match=r"(?s)Sums\.anything: the result .*ndarray"):
        signature_of(Sums.anything).encode_result(value)


def test_a_type_error_says_how_to_annotate_an_array() -> None:
    with pytest.raises(TypeError, match=r"annotated numpy\.ndarray or NDArray"):
        signature_of(Sums.anything).encode((NUMBERS,), bytearray())


async def inside(self: object, value: list[NDArray[np.float64]]) -> None: ...
async def among_others(self: object, value: NDArray[np.float64] | int) -> None: ...
async def returned(self: object) -> dict[str, Array]:
    return {}


@pytest.mark.parametrize("handler", [inside, among_others, returned], ids=lambda h: h.__name__)
def test_an_annotation_takes_arrays_alone_or_not_at_all(handler: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match=r"cannot travel: .*ndarray"):
        signature_of(handler)


def test_an_array_that_is_too_large_is_a_value_error() -> None:
    large = np.zeros(MAX_PAYLOAD_BYTES + 1, np.uint8)
    for array in (large, frozen(large)):
        with pytest.raises(ValueError, match=f"more than {MAX_PAYLOAD_BYTES}"):
            signature_of(Sums.back).encode((array,), bytearray())


def test_elements_of_another_type_are_a_wire_error() -> None:
    for array in (np.zeros(3, np.float32), np.zeros(9999, np.int64)):
        with pytest.raises(WireError, match=r"Sums\.floats: an array of .*, not of float64"):
            call(Sums.floats, array)
    assert_same(np.zeros(3, ">f8"), call(Sums.floats, np.zeros(3, ">f8"))[0])
    with pytest.raises(WireError, match=r"Sums\.floats: .*`array`"):
        call(Sums.floats, None)


# Whatever comes.

HEADS: dict[str, tuple[Any, bytes]] = {
    "an object": (("|O8", [1], False), bytes(8)),
    "an import": (("os.system", [1], False), bytes(8)),
    "a comma": (("i4,i4", [1], False), bytes(8)),
    "a number": ((5, [1], False), bytes(8)),
    "no fields": (([5], [1], False), bytes(8)),
    "a field of objects": (([["a", "|O8"]], [1], False), bytes(8)),
    "a field that is a mapping": (([[{}, "<f8"]], [1], False), bytes(8)),
    "a field twice": (([["a", "<i4"], ["a", "<i4"]], [1], False), bytes(8)),
    "a wrong shape of a field": (([["a", "<f8", "x"]], [1], False), bytes(8)),
    "a negative length": (("<f8", [-1], False), bytes(8)),
    "two negative lengths": (("<f8", [-1, -1], False), bytes(8)),
    "more than came": (("<f8", [2], False), bytes(8)),
    "less than came": (("<f8", [1], False), bytes(16)),
    "a huge element": (("|V99999999999999", [1], False), bytes(8)),
    "more dimensions than there are": (("<f8", [1] * 99, False), bytes(8)),
    "a huge shape": (("<f8", [2**62, 2**62, 0], False), b""),
    "no shape": (("<f8", 1, False), bytes(8)),
}


@pytest.mark.parametrize("apart", [False, True], ids=["inline", "apart"])
@pytest.mark.parametrize(("head", "data"), HEADS.values(), ids=HEADS.keys())
def test_a_head_that_fits_nothing_is_a_wire_error(head: Any, data: bytes, apart: bool) -> None:
    signature = signature_of(Sums.back)
    array = [head if apart else [*head, data]]
    payload = msgspec.msgpack.encode(array)
    with pytest.raises(WireError, match=r"Sums\.back"):
        signature.decode(payload, (0,) if apart else (), (memoryview(data),) if apart else ())
    with pytest.raises(WireError, match=r"Sums\.back"):
        signature.decode_result(msgspec.msgpack.encode(array[0]), [data] if apart else [])


def test_data_that_came_twice_or_for_nothing_are_a_wire_error() -> None:
    body = bytearray()
    positions, buffers = signature_of(Sums.floats).encode((np.ones(9999), 1), body)
    views = [memoryview(each) for each in buffers]
    for wrong in ((0, 0), (0, 1), (0, 7), (0, -2)):
        with pytest.raises(WireError, match="takes no bytes"):
            signature_of(Sums.floats).decode(body, wrong, views * 2)
    assert positions == (0,)


JUNK = st.recursive(
    st.none() | st.integers(-3, 2**63) | st.sampled_from(["<f8", "|V0", "|S3", "|O", ""]),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=9,
)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(JUNK, st.lists(st.integers(-2, 2**62), max_size=4), st.binary(max_size=64))
def test_any_head_is_an_array_within_its_data_or_a_wire_error(
    element: Any, shape: list[int], data: bytes
) -> None:
    try:
        array = ArrayKind((), False).unpack(ArrayHead(element, tuple(shape), False), data)
    except WireError:
        return
    assert array.nbytes == len(data)
    assert not array.dtype.hasobject


def test_numpy_is_never_imported_unasked() -> None:
    code = (
        "import sys, actors, actors.system, runtime.hosts.rehearsal, shell.__main__\n"
        "from runtime.messages.signature import signature_of\n"
        "async def handler(self, a: bytes, b: memoryview) -> None: ...\n"
        "signature_of(handler).encode((b'x' * 9999, memoryview(b'y' * 9999)), bytearray())\n"
        "sys.exit('numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
