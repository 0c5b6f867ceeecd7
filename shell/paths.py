"""The ``paths`` commands: what the kernel's path manager may use.

    paths | paths add ADDRESS [dev D] [subflow] [signal] [backup] [fullmesh] [port P] [id N]
    paths remove ID | paths flush | paths limits [N M] | paths backup ID on|off

Invariants
----------
* `PathsView`: a line for the limits, one for each endpoint in the words by which it would be added,
  and an empty one. An endpoint that the guard has taken out of use ends in ``lost``.
"""

from __future__ import annotations

import ipaddress
import json

import msgspec

from actors.path_manager import PathEndpoint, PathNotice, PathTable

MAX_LIMIT = 8
_FLAGS = ("subflow", "signal", "backup", "fullmesh")


class ShowPaths(msgspec.Struct, frozen=True):
    """All there is; or, with ``limits_only``, the limits."""

    limits_only: bool = False


class AddPath(msgspec.Struct, frozen=True):
    """An address that may be used."""

    endpoint: PathEndpoint


class RemovePath(msgspec.Struct, frozen=True):
    endpoint_id: int


class FlushPaths(msgspec.Struct, frozen=True):
    """No endpoint is left."""


class LimitPaths(msgspec.Struct, frozen=True):
    """Announced addresses to accept, and subflows beyond the first, of each connection."""

    add_addr_accepted: int
    subflows: int


class BackUpPath(msgspec.Struct, frozen=True):
    endpoint_id: int
    on: bool


PathCommand = ShowPaths | AddPath | RemovePath | FlushPaths | LimitPaths | BackUpPath


def read_paths(words: list[str]) -> PathCommand:
    """What stands behind ``paths``.

    Raises:
        ValueError: it makes no command; the text is the answer's ``<why>``.
    """
    match words:
        case []:
            return ShowPaths()
        case ["add", address, *options]:
            return AddPath(_endpoint(address, options))
        case ["remove", id]:
            return RemovePath(_number(id, 1, 255, "ID"))
        case ["flush"]:
            return FlushPaths()
        case ["limits"]:
            return ShowPaths(limits_only=True)
        case ["limits", accepted, subflows]:
            return LimitPaths(
                _number(accepted, 0, MAX_LIMIT, "N"), _number(subflows, 0, MAX_LIMIT, "M")
            )
        case ["backup", id, ("on" | "off") as on]:
            return BackUpPath(_number(id, 1, 255, "ID"), on == "on")
    raise ValueError(
        "paths takes add ADDRESS, remove ID, flush, limits [N M] or backup ID on|off,"
        f" not {' '.join(words)!r}"
    )


def _endpoint(address: str, options: list[str]) -> PathEndpoint:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        raise ValueError(f"ADDRESS must be a numeric address, not {address!r}") from None
    found: dict[str, bool | int | str] = {}
    words = iter(options)
    for word in words:
        if word in found or (word == "dev" and "device" in found):
            raise ValueError(f"paths add was given {word} twice")
        if word in _FLAGS:
            found[word] = True
        elif word in ("dev", "port", "id"):
            value = next(words, None)
            if value is None:
                raise ValueError(f"paths add needs a value behind {word}")
            if word == "dev":
                found["device"] = value
            else:
                found[word] = _number(value, 1, 65535 if word == "port" else 255, word)
        else:
            raise ValueError(f"paths add does not know {word!r}")
    return msgspec.convert({"id": 0, "address": address, **found}, PathEndpoint)


def _number(text: str, lowest: int, highest: int, what: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= 10 and lowest <= int(text) <= highest:
        return int(text)
    raise ValueError(f"{what} must be {lowest} to {highest}, not {text!r}")


def spelled(asked: PathCommand) -> str:
    """The command, as it would be typed: what an error is of."""
    match asked:
        case ShowPaths():
            words = "limits" if asked.limits_only else ""
        case AddPath(endpoint):
            words = f"add {_words(endpoint)}"
        case RemovePath(id):
            words = f"remove {id}"
        case FlushPaths():
            words = "flush"
        case LimitPaths(accepted, subflows):
            words = f"limits {accepted} {subflows}"
        case BackUpPath(id, on):
            words = f"backup {id} {'on' if on else 'off'}"
    return f"paths {words}".rstrip()


class PathsView(msgspec.Struct, frozen=True):
    """What the kernel may use now."""

    table: PathTable
    limits_only: bool = False

    def text(self) -> str:
        accepted, subflows = self.table.limits
        lines = [f"limits {accepted} {subflows}"]
        if not self.limits_only:
            lines += map(_words, self.table.endpoints)
            lines += [self.table.note] if self.table.note else []
        return "".join(f"{line}\n" for line in lines)

    def json(self) -> str:
        """An object: ``limits``, a list of two, and ``endpoints``, a list of objects."""
        return json.dumps(msgspec.to_builtins(self.table))


def _words(endpoint: PathEndpoint) -> str:
    words = [endpoint.address]
    words += ["dev", endpoint.device] if endpoint.device else []
    words += [flag for flag in _FLAGS if getattr(endpoint, flag)]
    words += ["port", str(endpoint.port)] if endpoint.port else []
    words += ["id", str(endpoint.id)] if endpoint.id else []
    words += ["lost"] if endpoint.lost else []
    return " ".join(words)


def noticed(notice: PathNotice) -> str:
    """A notice in words, without the end of its line."""
    if notice.kind == "trouble":
        return f"Link: {notice.local}"
    if notice.kind == "plain":
        return f"Link: node {notice.node} is down to plain TCP"
    return f"Link: node {notice.node} {notice.kind} path {notice.local} -> {notice.remote}"
