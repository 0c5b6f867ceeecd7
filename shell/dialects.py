"""Outcomes to the words that other people's scripts compare byte for byte.

A dialect reads lines and words answers, echoes, notices and the end. `Spec` is the
default; the others say only where they differ from it.

Invariants
----------
* An answer is a whole number of lines. It may be empty: a command that has no answer.
* What a dialect does not name answers as in `Spec`.
* Nothing here waits, asks or looks at a clock.
"""

import json
from typing import Final

import msgspec

from actors.control.heartbeat import Notice, Sign
from actors.path_manager import PathNotice
from runtime.messages.accounts import Audit
from shell.answers import Created, Done, Failed, Failure, Outcome, one_line
from shell.auditing import audited, audited_json
from shell.certificate import CertificateView
from shell.commands import (
    WORDS,
    Command,
    Create,
    Execute,
    Flaw,
    Heartbeat,
    Help,
    ListAll,
    Mistake,
    Ping,
    Remove,
    ShowTree,
    Trace,
)
from shell.grammar import parse
from shell.journey import TraceView
from shell.lines import BadLine
from shell.linkage import LinksView, LinkView
from shell.paths import PathsView, noticed
from shell.results import as_json
from shell.views import TreeView


def shown(result: object) -> str:
    """A result on one line: JSON, a str without control characters bare."""
    if isinstance(result, str):
        return result if result.isprintable() else json.dumps(result)
    return as_json(result)


class Spec:
    """The dialect ``spec``, and the base of the others. ``named``: ids are names."""

    name = "spec"
    topology: str | None = None  # what the dialect implies
    greeting = ""
    roll_call = False  # one notice a node and period, not only silences
    ok = "Ok"

    def __init__(self, *, named: bool = False) -> None:
        self._named = named

    def read(self, line: str) -> Command | None:
        """Parse a line, without its end."""
        return parse(line, named=self._named)

    def echo(self, line: str) -> str:
        """What to print before the answer to the line that was read last."""
        return ""

    def answer(self, command: Command, outcome: Outcome, line: int | None, elapsed_s: float) -> str:
        """Put an outcome into words. ``line`` is the number of the command's line."""
        if type(outcome) is Done:
            if type(command) is Execute:
                return self.executed(command, outcome.result)
            if isinstance(outcome.result, Audit):
                return audited(outcome.result)
            if isinstance(outcome.result, TraceView | LinkView | LinksView | PathsView):
                return outcome.result.text() + "\n"
            return self.done(command, outcome.result)
        assert isinstance(outcome, Failed)
        if isinstance(command, Execute | Trace):
            return f"Error:{command.id}: {outcome}\n"
        if isinstance(command, Mistake):
            return self.mistaken(command)
        return self.failed(command, outcome)

    def executed(self, command: Execute, result: object) -> str:
        if result is None:
            return f"Ok:{command.id}\n"
        return f"Ok:{command.id}: {result if type(result) is int else shown(result)}\n"

    def done(self, command: Command, result: object) -> str:
        if isinstance(result, Created):
            return f"{self.ok}: {result.pid}\n"
        if isinstance(command, Ping):
            return f"{self.ok}: {int(bool(result))}\n"
        if isinstance(command, ListAll) and isinstance(result, tuple):
            return " ".join(map(str, result)) + "\n"
        if isinstance(result, TreeView | CertificateView):
            return result.text() + "\n"
        if isinstance(command, Help) and isinstance(result, tuple):
            return "\n".join(result) + "\n\n"
        return f"{self.ok}\n"

    def failed(self, command: Command, outcome: Failed) -> str:
        return f"Error: {outcome}\n"

    def mistaken(self, mistake: Mistake) -> str:
        if mistake.flaw is Flaw.UNKNOWN:
            return f"Error: {Failure.UNKNOWN.value}\n"
        return f"Error: {one_line(mistake.why)}\n"

    def bad_line(self, bad: BadLine, line: int) -> str:
        """The answer to a line that is not text."""
        return self.answer(Mistake(bad.why), Failed(Failure.OTHER, bad.why), line, 0.0)

    def is_error(self, outcome: Outcome, answer: str) -> bool:
        """Whether an answer counts as an error for the exit status."""
        return answer.startswith("Error")

    def notice(self, notice: Notice) -> str:
        """One thing that happened by itself; empty if the dialect does not tell."""
        if notice.sign is Sign.BEAT:
            return ""
        word = "unavailable now" if notice.sign is Sign.LOST else "available again"
        return f"Heartbit: node {notice.id} is {word}\n"

    def path_notice(self, notice: PathNotice) -> str:
        """What has become of a path; empty if the dialect does not tell."""
        return f"{noticed(notice)}\n"

    def more_notices(self, count: int) -> str:
        """Stands for ``count`` notices that nobody read in time."""
        return f"Heartbit: {count} more notices\n"

    def end(self, command: Command, line: int | None, elapsed_s: float) -> str:
        """The last answer, after the tree is gone; ``line`` None: the input ended."""
        return self.answer(command, Done(), line, elapsed_s)


class V34(Spec):
    """The dialect ``v34``: echoes, and a line for each beat."""

    name = "v34"
    topology = "tree"
    greeting = "Controller Node started. Listening for commands from console...\n"
    roll_call = True

    def __init__(self, *, named: bool = False) -> None:
        super().__init__(named=named)
        self._beating = False
        self._mute = False

    def read(self, line: str) -> Command | None:
        command = super().read(line)
        self._mute = False
        if self._beating and isinstance(command, Mistake) and line.split() == ["stop"]:
            self._mute = True
            command = Heartbeat(0)
        if isinstance(command, Heartbeat):
            self._beating = command.ms > 0
        return command

    def echo(self, line: str) -> str:
        return "" if self._mute else f"Received command: {line}\n"

    def executed(self, command: Execute, result: object) -> str:
        answer = super().executed(command, result)
        return answer.replace(": ", ":", 1) if command.verb == "time" else answer

    def done(self, command: Command, result: object) -> str:
        if isinstance(command, Heartbeat):
            return ""
        if isinstance(command, Ping):
            return _PING_V34[bool(result)].format(command.id)
        answer = super().done(command, result)
        if isinstance(command, Create) and isinstance(result, Created):
            answer += f"Compute Node {command.id} started, listening on {result.endpoint}\n"
        return answer

    def mistaken(self, mistake: Mistake) -> str:
        if mistake.flaw is Flaw.UNKNOWN:
            return "Error: [Unknown command]\n"
        if mistake.flaw is Flaw.NO_ARGUMENT and mistake.word == "create":
            return "Error: Missing arguments for 'create' command\n"
        return super().mistaken(mistake)

    def notice(self, notice: Notice) -> str:
        if notice.sign is Sign.BEAT:
            return f"Ok: {notice.id} // got beat\n"
        return f"НОДА: {notice.id} // СДОХЛА\n" if notice.sign is Sign.LOST else ""

    def end(self, command: Command, line: int | None, elapsed_s: float) -> str:
        return "Exiting on EOF.\n" if line is None else super().end(command, line, elapsed_s)


_PING_V34: Final = {
    True: "Ok: 1 // узел {} доступен\n",
    False: "Ok: 0 // узел {} недоступен\n",
}


class V45(Spec):
    """The dialect ``v45``: loud answers, no notices."""

    name = "v45"
    topology = "bst"

    def executed(self, command: Execute, result: object) -> str:
        if result is None and command.verb in ("start", "stop"):
            return f"OK: {command.verb}\n"
        if type(result) is int and command.verb == "time":
            return f"OK: {result} ms\n"
        return super().executed(command, result)

    def done(self, command: Command, result: object) -> str:
        match command:
            case Create() if isinstance(result, Created):
                return f"OK: {result.pid}\n"
            case ListAll() if isinstance(result, tuple):
                listed = "".join(f"{id} " for id in result)
                return f"{listed}\n" if listed else "Error: Not found\n"
            case Heartbeat():
                return "OK\n" if result else "Error: Not found\n"
            case Ping():
                return "OK: 1\n" if result else "OK: -1\n"
            case Remove():
                return "OK\n"
        return super().done(command, result)

    def answer(self, command: Command, outcome: Outcome, line: int | None, elapsed_s: float) -> str:
        if isinstance(outcome, Failed) and not isinstance(command, Mistake):
            return self.failed(command, outcome)
        return super().answer(command, outcome, line, elapsed_s)

    def failed(self, command: Command, outcome: Failed) -> str:
        if isinstance(command, Ping):
            return "OK: -1\n"
        if isinstance(command, Execute) and outcome.failure is Failure.UNKNOWN:
            return "Error: bad subcommand\n"
        if isinstance(command, Execute | Remove) and outcome.failure is Failure.UNAVAILABLE:
            return "Error: Node is not available\n"
        return f"Error: {outcome}\n"

    def mistaken(self, mistake: Mistake) -> str:
        if mistake.flaw is Flaw.UNKNOWN:
            return "Error: bad command\n"
        if mistake.flaw is Flaw.NO_VERB:
            return "Error: bad subcommand\n"
        return super().mistaken(mistake)

    def notice(self, notice: Notice) -> str:
        return ""

    def path_notice(self, notice: PathNotice) -> str:
        return ""

    def more_notices(self, count: int) -> str:
        return ""

    def end(self, command: Command, line: int | None, elapsed_s: float) -> str:
        return "OK\n"


class Json(Spec):
    """The dialect ``json``: one object per line."""

    name = "json"

    def answer(self, command: Command, outcome: Outcome, line: int | None, elapsed_s: float) -> str:
        fields: list[tuple[str, str]] = [("line", json.dumps(line))]
        word = command.word if isinstance(command, Mistake) else WORDS[type(command)]
        fields.append(("command", as_json(word)))
        if (id := getattr(command, "id", None)) is not None:
            fields.append(("id", as_json(id)))
        if isinstance(outcome, Done):
            fields += (("ok", "true"), ("result", self._result(command, outcome.result)))
        else:
            why = str(outcome)
            if isinstance(command, Mistake) and command.flaw is Flaw.UNKNOWN:
                why = Failure.UNKNOWN.value
            fields += (("ok", "false"), ("error", as_json(why)))
        fields.append(("elapsed_ms", json.dumps(round(elapsed_s * 1000, 1))))
        return "{" + ", ".join(f'"{name}": {value}' for name, value in fields) + "}\n"

    def is_error(self, outcome: Outcome, answer: str) -> bool:
        return isinstance(outcome, Failed)

    def notice(self, notice: Notice) -> str:
        if notice.sign is Sign.BEAT:
            return ""
        available = "true" if notice.sign is Sign.BACK else "false"
        return f'{{"notice": "heartbit", "id": {as_json(notice.id)}, "available": {available}}}\n'

    def path_notice(self, notice: PathNotice) -> str:
        return json.dumps({"notice": "link", **msgspec.to_builtins(notice)}) + "\n"

    def more_notices(self, count: int) -> str:
        return f'{{"notice": "heartbit", "more": {count}}}\n'

    def _result(self, command: Command, result: object) -> str:
        if isinstance(result, TreeView | CertificateView):
            return result.json()
        if isinstance(result, Audit):
            return audited_json(result)
        if isinstance(result, TraceView | LinkView | LinksView | PathsView):
            return result.json()
        if isinstance(result, Created):
            return str(result.pid)
        if isinstance(command, Ping):
            return str(int(bool(result)))
        if isinstance(command, Heartbeat | ShowTree):
            return "null"
        return as_json(result)


DIALECTS: Final[dict[str, type[Spec]]] = {each.name: each for each in (Spec, V34, V45, Json)}
