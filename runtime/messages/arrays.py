"""NumPy arrays as they travel, for programs that use NumPy; nothing here imports it.

A parameter, result or item annotated ``numpy.ndarray`` or ``numpy.typing.NDArray[...]``, alone or
with None, takes an array: its head (dtype, shape, order) stands in the payload, its data beside
it, or in the head when they are small. The receiver's array is a read-only view of the frame that
came, without a copy; who wants to write makes a copy.

Invariants
----------
* C- and Fortran-contiguous arrays keep their order; any other is made C-contiguous.
* A writable array is copied once, at the call; a read-only one is a promise that nobody writes to
  what is under it.
* Whatever a head says, the array never reaches beyond the data that came with it.
* Objects never travel: what an element can be is in `_ELEMENT`.

Source: ``numpy.lib.format``, for how a dtype is described.
"""

from __future__ import annotations

import re
import sys
import types
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec

from runtime.errors import WireError
from runtime.messages.codec import Buffer

_ELEMENT = re.compile(r"[<>|=][biufcmMSUV]\d+(\[\d*[a-zA-Z]+\])?", re.ASCII)
_MISFIT = (TypeError, ValueError, OverflowError, RecursionError, MemoryError)


class ArrayHead(msgspec.Struct, frozen=True, array_like=True):
    """An array but for its data, or with them when they are few."""

    element: Any  # as `dtype.descr` has it: "<f8", or a list of fields
    shape: tuple[int, ...]
    fortran: bool
    data: bytes = b""


class ArrayKind:
    """What an annotation says of an array. ``elements``: its scalar types, () for any."""

    def __init__(self, elements: tuple[type, ...], optional: bool) -> None:
        self.elements = elements
        self.wire: Any = ArrayHead | None if optional else ArrayHead

    def pack(self, array: Any, inline_bytes: float) -> tuple[ArrayHead, Buffer | None]:
        """Its head, and its data unless they are fewer than ``inline_bytes``.

        Raises:
            TypeError: it is no plain array, or has elements that cannot travel.
        """
        numpy = _numpy()
        if type(array) is not numpy.ndarray:
            raise TypeError(f"a {type(array).__name__} is no numpy.ndarray")
        element = _described(array.dtype)
        fortran = bool(array.flags.fnc)
        data: Buffer
        if not array.nbytes:
            data = b""
        elif array.flags.writeable or not array.flags.forc:
            data = array.tobytes("F" if fortran else "C")
        else:
            data = array.reshape(-1, order="A").view(numpy.uint8).data
        if len(data) < inline_bytes:
            return ArrayHead(element, array.shape, fortran, bytes(data)), None
        return ArrayHead(element, array.shape, fortran), data

    def unpack(self, head: ArrayHead, data: Buffer) -> Any:
        """The array over ``data``, read-only.

        Raises:
            WireError: there is no such array.
        """
        numpy = _numpy()
        try:
            dtype = numpy.lib.format.descr_to_dtype(_description(head.element))
            size = dtype.itemsize
            for length in head.shape:
                if length < 0:
                    raise ValueError(f"a length of {length}")
                size *= length
            if size != len(data):
                raise ValueError(f"{size} bytes of array in {len(data)}")
            view = memoryview(data).toreadonly()
            array = numpy.ndarray(head.shape, dtype, view, order="F" if head.fortran else "C")
        except _MISFIT as cause:
            raise WireError(f"no array: {cause}") from cause
        if self.elements and not issubclass(dtype.type, self.elements):
            wanted = " | ".join(each.__name__ for each in self.elements)
            raise WireError(f"an array of {dtype}, not of {wanted}")
        return array


def array_kind(hint: Any) -> ArrayKind | None:
    """What is said of arrays by an annotation that speaks of one, alone or with None."""
    numpy = _numpy()
    if numpy is None:
        return None
    if get_origin(hint) is Annotated:
        return array_kind(get_args(hint)[0])
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    plain = [each for each in options if each is not type(None)]
    if len(plain) != 1 or numpy.ndarray not in (plain[0], get_origin(plain[0])):
        return None
    return ArrayKind(_elements(plain[0], numpy.generic), len(plain) < len(options))


def is_array(value: object) -> bool:
    """Whether it is an array, of any class."""
    numpy = _numpy()
    return numpy is not None and isinstance(value, numpy.ndarray)


def _numpy() -> Any:
    return sys.modules.get("numpy")


def _elements(hint: Any, generic: type) -> tuple[type, ...]:
    """The scalar types in ``ndarray[shape, dtype[...]]``."""
    dtype = get_args(hint)[1:]
    inner = get_args(dtype[0]) if dtype else ()
    found = (get_args(inner[0]) or inner) if inner else ()
    return found if all(isinstance(e, type) and issubclass(e, generic) for e in found) else ()


def _described(dtype: Any) -> Any:
    if dtype.hasobject:
        raise TypeError(f"an array of {dtype} has objects in it")
    element = dtype.str if dtype.names is None else dtype.descr
    try:
        _description(element)
    except ValueError as cause:
        raise TypeError(f"an array of {dtype}: {cause}") from cause
    return element


def _description(element: Any) -> Any:
    """What numpy takes for a dtype, from what came over the wire."""
    if isinstance(element, str):
        if not _ELEMENT.fullmatch(element):
            raise ValueError(f"no element of an array: {element[:100]!r}")
        return element
    if not isinstance(element, list):
        raise ValueError(f"no element of an array: {type(element).__name__}")
    return [_field(*each) for each in element]


def _field(name: Any, element: Any, shape: Any = None) -> tuple[Any, ...]:
    """(name or (title, name), element[, shape])"""
    known = tuple(name) if isinstance(name, (list, tuple)) else name
    inner = _description(element)
    return (known, inner) if shape is None else (known, inner, tuple(shape))
