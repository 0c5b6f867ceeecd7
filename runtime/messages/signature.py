"""A handler's signature: what a call to it looks like on the wire.

A call is the handler's name and one msgpack array of its arguments, complete (the
caller fills the defaults in) and in the order of the parameters. The receiver decodes
that array against the annotations, so a wrong type is a `WireError` at the asker and
never reaches the handler.

Invariants
----------
* What cannot travel is a `TypeError` that names class, handler and parameter: at
  compile time for an annotation, at the call for a value. Nothing was sent then.
* ``None`` as a result is no bytes at all.
* What is large travels beside the array, see `runtime.messages.buffers`.

Source: msgspec's decoders; ``inspect.Signature.bind`` for keywords and defaults.
"""

import dis
import inspect
import types
from collections.abc import Callable, Sequence
from typing import Any, get_args, get_type_hints

import msgspec

from runtime.errors import WireError
from runtime.messages import annotations
from runtime.messages.arrays import ArrayHead, ArrayKind, array_kind, is_array
from runtime.messages.buffers import (
    BUFFERS,
    OWN_FRAME_BYTES,
    as_kind,
    kind_of,
    put_back,
    set_apart,
    size_of,
    solid,
)  # fmt: skip
from runtime.messages.codec import MAX_PAYLOAD_BYTES, Buffer

_encoder = msgspec.msgpack.Encoder()
_encode, _encode_into = _encoder.encode, _encoder.encode_into
MISFIT = (msgspec.DecodeError, RecursionError, ValueError)
"""What a decoder raises."""
_CANNOT = Exception  # what a value does while it is read is its own affair
_WAITS = frozenset(dis.opmap[name] for name in ("GET_AWAITABLE", "SEND", "YIELD_VALUE"))
_NO_BUFFERS: tuple[Buffer, ...] = ()
_NO_ARRAYS: dict[int, ArrayKind] = {}
_NO_POSITIONS: tuple[int, ...] = ()
_NO_RESULT: tuple[bytes, Sequence[int], Sequence[Buffer]] = b"", _NO_POSITIONS, _NO_BUFFERS
_NOTHING_BESIDE: tuple[Sequence[int], Sequence[Buffer]] = _NO_POSITIONS, _NO_BUFFERS


class Parameters:
    """What a function takes, as it travels: a handler's arguments, or a constructor's."""

    __slots__ = (
        "_arguments",
        "_arrays",
        "_buffer_kinds",
        "_row",
        "_signature",
        "arity",
        "decode_plain",
        "decode_run",
        "function",
        "hints",
        "parameters",
        "plain",
        "qualified",
        "run",
        "slim",
    )

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.qualified = function.__qualname__
        signature = inspect.signature(function)
        _self, *rest = signature.parameters.values()
        for parameter in rest:
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                raise TypeError(f"{self.qualified}: *{parameter.name} cannot travel; name it")
        self._signature = signature
        self.parameters = tuple(p.name for p in rest)
        self.arity = len(rest)
        keywords = [p.name for p in rest if p.kind is p.KEYWORD_ONLY]
        self.plain = -1 if keywords else self.arity
        self.run = _with_keywords(function, keywords) if keywords else function
        try:
            self.hints = get_type_hints(function)
        except (NameError, AttributeError) as cause:
            raise TypeError(f"{self.qualified}: an annotation leads nowhere: {cause}") from cause
        types_ = [self.hints.get(name, Any) for name in self.parameters]
        arrays: dict[int, ArrayKind] = {}
        for position, (name, hint) in enumerate(zip(self.parameters, types_, strict=True)):
            array = array_kind(hint)
            if array is not None:
                arrays[position] = array
                types_[position] = array.wire
            else:
                self._decoder(hint, name)
        self._arguments: msgspec.msgpack.Decoder[tuple[Any, ...]] = msgspec.msgpack.Decoder(
            tuple[tuple(types_)] if types_ else tuple[()]  # type: ignore[misc]
        )
        self._buffer_kinds = [kind_of(hint) for hint in types_]
        self.decode_plain = self._arguments.decode  # for the hot path: no buffers, raw errors
        self._row = tuple[tuple(types_)] if types_ else tuple[()]  # type: ignore[misc]
        self.decode_run: Callable[[Buffer], list[tuple[Any, ...]]] = self._first_run
        self._arrays = arrays or _NO_ARRAYS
        self.slim = not arrays and not any(self._buffer_kinds)  # nothing travels beside it
        if arrays:
            self.decode_plain = self._decode_inline  # type: ignore[assignment]
            self.decode_run = _no_run

    def _decoder(self, hint: Any, name: str) -> "msgspec.msgpack.Decoder[Any]":
        try:
            annotations.check(hint)
            return msgspec.msgpack.Decoder(hint)
        except TypeError as cause:
            raise TypeError(f"{self.qualified}: {name} cannot travel: {cause}") from cause

    def _first_run(self, raw: Buffer) -> list[tuple[Any, ...]]:
        """Decode the arguments of many calls; misfits raise as `MISFIT`."""
        decode = msgspec.msgpack.Decoder(list[self._row]).decode  # type: ignore[name-defined]
        self.decode_run = decode
        return decode(raw)

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """The complete arguments in order, or the `TypeError` that a plain call would raise."""
        if len(args) == self.plain and not kwargs:
            return args
        try:
            bound = self._signature.bind(None, *args, **kwargs)
        except TypeError as cause:
            raise TypeError(f"{self.qualified}: {cause}") from None
        bound.apply_defaults()
        return tuple(bound.arguments[name] for name in self.parameters)

    def encode(
        self, args: tuple[Any, ...], into: bytearray, whole: bool = False
    ) -> tuple[Sequence[int], Sequence[Buffer]]:
        """Append the array of complete arguments; return what is to travel beside it.

        ``whole``: nothing is to travel beside it.

        Raises:
            TypeError: an argument cannot travel; ``into`` is as before.
            ValueError: the whole is larger than a message may be; likewise.
        """
        start = len(into)
        if self.slim:
            try:
                _encode_into(args, into, -1)
            except _CANNOT as cause:
                del into[start:]
                raise self._culprit(args, cause) from cause
            if len(into) - start > MAX_PAYLOAD_BYTES:
                self._too_large(into, start, 0)
            return _NOTHING_BESIDE
        positions: Sequence[int] = _NO_POSITIONS
        buffers: Sequence[Buffer] = _NO_BUFFERS
        try:
            apart = bool(self._arrays)
            for arg in args:
                if type(arg) in BUFFERS and (
                    type(arg) is memoryview or len(arg) >= OWN_FRAME_BYTES
                ):
                    apart = True
            kept = args
            if apart:
                kept, positions, buffers = set_apart(args, self._arrays, whole)
            _encode_into(kept, into, -1)
        except _CANNOT as cause:
            del into[start:]
            raise self._culprit(args, cause) from cause
        beside = sum(map(len, buffers))
        if len(into) - start + beside > MAX_PAYLOAD_BYTES:
            self._too_large(into, start, beside)
        return positions, buffers

    def _too_large(self, into: bytearray, start: int, beside: int) -> None:
        size = len(into) - start + beside
        del into[start:]
        raise ValueError(f"{self.qualified}: {size} bytes are more than {MAX_PAYLOAD_BYTES}")

    def _culprit(self, args: tuple[Any, ...], cause: Exception) -> TypeError:
        for position, (name, value) in enumerate(zip(self.parameters, args, strict=True)):
            array = self._arrays.get(position)
            try:
                _encode(set_apart((value,), {0: array} if array else {}, whole=True)[0])
            except _CANNOT as why:
                return TypeError(
                    f"{self.qualified}: {name}={_brief(value)} cannot travel: {_why(why, value)}"
                )
        return TypeError(f"{self.qualified}: the arguments cannot travel: {_why(cause, args)}")

    def decode(
        self, payload: Buffer, positions: Sequence[int], buffers: Sequence[memoryview]
    ) -> tuple[Any, ...]:
        """The arguments of a call, each of its parameter's type.

        Raises:
            WireError: they do not fit.
        """
        try:
            args = self._arguments.decode(payload)
        except MISFIT as cause:
            raise WireError(f"{self.qualified}: {self._named(str(cause))}") from cause
        if not positions and not self._arrays:
            return args
        try:
            return put_back(args, positions, buffers, self._buffer_kinds, self._arrays)
        except WireError as cause:
            raise WireError(f"{self.qualified}: {cause}") from cause

    def _decode_inline(self, payload: Buffer) -> tuple[Any, ...]:
        return self.decode(payload, _NO_POSITIONS, ())

    def _named(self, message: str) -> str:
        """msgspec's ``$[1].x`` with the parameter's name in the place of its number."""
        for number, name in enumerate(self.parameters):
            message = message.replace(f"`$[{number}]", f"`{name}")
        return message


class Signature(Parameters):
    """One handler's name, parameters and result.

    ``prompt``: nothing in it waits, so it cannot suspend, and nothing can cancel it.
    """

    __slots__ = ("_array", "_result", "label", "name", "prompt", "reentrant", "returns", "streams")

    def __init__(self, function: Callable[..., Any]) -> None:
        self.streams = inspect.isasyncgenfunction(function)
        if not self.streams and not inspect.iscoroutinefunction(function):
            raise TypeError(f"{function.__qualname__} is no handler: it is not an async def")
        super().__init__(function)
        self.name = function.__name__
        self.label = self.name.encode()
        code = getattr(function, "__code__", None)
        self.prompt = (
            code is not None
            and bool(code.co_flags & inspect.CO_COROUTINE)
            and _WAITS.isdisjoint(code.co_code[::2])
        )
        self.reentrant = bool(getattr(function, "__reentrant__", False))
        self.returns = self.hints.get("return", Any)
        if self.streams:
            self.returns = next(iter(get_args(self.returns)), Any)
        self._array = array_kind(self.returns)
        self._result = (
            msgspec.msgpack.Decoder(self._array.wire)
            if self._array
            else self._decoder(self.returns, "return")
        )

    def encode_result(self, result: Any) -> tuple[bytes, Sequence[int], Sequence[Buffer]]:
        """A result as (payload, positions, buffers).

        Raises:
            TypeError: it cannot travel.
            ValueError: it is larger than a message may be.
        """
        if result is None:
            return _NO_RESULT
        apart: Buffer | None = None
        try:
            if self._array is not None:
                head, apart = self._array.pack(result, OWN_FRAME_BYTES)
                payload = _encode(head)
            elif type(result) in BUFFERS and size_of(result) >= OWN_FRAME_BYTES:
                payload, apart = b"", solid(result)
            else:
                payload = _encode(result)
                if len(payload) <= MAX_PAYLOAD_BYTES:
                    return payload, _NO_POSITIONS, _NO_BUFFERS
        except _CANNOT as cause:
            why = _why(cause, result)
            raise TypeError(
                f"{self.qualified}: the result {_brief(result)} cannot travel: {why}"
            ) from cause
        size = len(payload) + (len(apart) if apart is not None else 0)
        if size > MAX_PAYLOAD_BYTES:
            raise ValueError(
                f"{self.qualified}: a result of {size} bytes is more than {MAX_PAYLOAD_BYTES}"
            )
        if apart is None:
            return payload, _NO_POSITIONS, _NO_BUFFERS
        return payload, (0,), (apart,)

    def decode_result(self, payload: Buffer, buffers: Sequence[Buffer]) -> Any:
        """A result, of the annotated type.

        Raises:
            WireError: it does not fit.
        """
        if buffers and self._array is None:
            kind = kind_of(self.returns)
            if kind is None:
                raise WireError(f"{self.qualified}: the result is bytes, not {self.returns}")
            return as_kind(kind, buffers[0])
        if not payload:
            return None
        try:
            result = self._result.decode(payload)
            if self._array is not None and type(result) is ArrayHead:
                return self._array.unpack(result, buffers[0] if buffers else result.data)
        except (WireError, *MISFIT) as cause:
            raise WireError(f"{self.qualified}: the result does not fit: {cause}") from cause
        return result


compiled: dict[Callable[..., Any], Signature] = {}


def signature_of(function: Callable[..., Any]) -> Signature:
    """The signature of a handler given as ``Class.handler``, compiled once.

    Raises:
        TypeError: it is no handler: a lambda, a bound, static or class method, a plain def.
    """
    try:
        return compiled[function]
    except (KeyError, TypeError):
        pass
    if not isinstance(function, types.FunctionType):
        raise TypeError(f"give the handler as Class.handler, not {function!r}")
    parameters = list(inspect.signature(function).parameters)
    if not parameters or parameters[0] != "self" or function.__name__.startswith("_"):
        raise TypeError(f"{function.__qualname__} is not a public method of an actor")
    signature = compiled[function] = Signature(function)
    return signature


def _with_keywords(function: Callable[..., Any], keywords: list[str]) -> Callable[..., Any]:
    """``function``, with its keyword-only arguments given in order, last."""

    def run(actor: Any, *args: Any) -> Any:
        split = len(args) - len(keywords)
        return function(actor, *args[:split], **dict(zip(keywords, args[split:], strict=True)))

    return run


def _brief(value: object) -> str:
    try:
        text = repr(value)
    except Exception:
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 100 else text[:97] + "..."


def _why(cause: Exception, value: object) -> str:
    if is_array(value) and not isinstance(cause, RecursionError):
        return f"{cause} (a parameter for arrays is annotated numpy.ndarray or NDArray[...])"
    return "it nests too deeply" if isinstance(cause, RecursionError) else str(cause)


def _no_run(raw: Buffer) -> list[tuple[Any, ...]]:
    raise msgspec.DecodeError("arrays are decoded call by call")
