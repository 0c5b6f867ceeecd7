"""The user's ``__main__``, and how another process comes to have it.

A class of the user's script is ``__main__:Counter``. A zygote, or a node, has another
``__main__``; it runs the script once more under the name ``__mp_main__``, so that what stands
behind ``if __name__ == "__main__"`` does not run, and calls the result ``__main__``.

Invariants
----------
* A controller whose ``__main__`` cannot be had again (a REPL, ``-c``, a package's
  ``__main__.py``) has None here, and nothing is tried.
* A script without the guard would open a system inside its own zygote; `check_guarded` refuses.
* A script that fails leaves ``__main__`` as it was.

Source: ``multiprocessing.spawn``, which runs the script in every child; we do once.
"""

import importlib.util
import os
import sys
from importlib.machinery import SourceFileLoader
from types import CodeType, ModuleType
from typing import Final

from runtime.processes.orders import Main

RUN_NAME: Final = "__mp_main__"


class UnguardedError(RuntimeError):
    """The script opens a system when it is merely imported."""

    def __init__(self) -> None:
        super().__init__(
            "the main script opens a system as soon as it is imported; "
            'put that behind: if __name__ == "__main__":'
        )


class _Load:
    """Whether the script is being run here, and has tried to open a system."""

    running = False
    unguarded = False


def find_main() -> Main | None:
    """Where this process's ``__main__`` came from, None if it cannot be had elsewhere."""
    main = sys.modules["__main__"]
    name = getattr(getattr(main, "__spec__", None), "name", None)
    if name is not None:
        return None if name.rpartition(".")[2] == "__main__" else Main(module=name)
    path = getattr(main, "__file__", None)
    return Main(path=os.path.abspath(path)) if path and os.path.isfile(path) else None


def current_folder() -> str:
    """Where we are, "/" if that was removed."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return "/"


def check_guarded() -> None:
    """Return, unless this process is only here to import the script: `UnguardedError`."""
    if _Load.running:
        _Load.unguarded = True
        raise UnguardedError


def has_main() -> bool:
    """Whether `load_main` has succeeded in this process."""
    return RUN_NAME in sys.modules


def load_main(main: Main) -> None:
    """The controller's ``__main__`` is ours too.

    Raises:
        UnguardedError: it has tried to open a system, whatever it made of the answer.
        Whatever else the script raises, SystemExit included.
    """
    module = ModuleType(RUN_NAME)
    code = _prepare(module, main)
    before = sys.modules["__main__"]
    sys.modules["__main__"] = sys.modules[RUN_NAME] = module
    _Load.running, _Load.unguarded, done = True, False, False
    try:
        exec(code, module.__dict__)
        done = not _Load.unguarded
    finally:
        _Load.running = False
        if not done:
            sys.modules["__main__"] = before
            del sys.modules[RUN_NAME]
        if _Load.unguarded:
            raise UnguardedError


def _prepare(module: ModuleType, main: Main) -> CodeType:
    if not main.module:
        module.__file__, loader = main.path, SourceFileLoader(RUN_NAME, main.path)
        return loader.get_code(RUN_NAME)  # type: ignore[return-value]  # a file has code
    spec = importlib.util.find_spec(main.module)
    if spec is None or not isinstance(spec.loader, SourceFileLoader):
        raise ImportError(f"no source for the main module {main.module}")
    module.__file__, module.__spec__, module.__package__ = spec.origin, spec, spec.parent
    return spec.loader.get_code(spec.name)  # type: ignore[return-value]
