"""Classes of actors by their names, had in this process.

A class that a line names is imported here, so that its signatures are known before anything
is started, and found again by the node under the name that it has.

Invariants
----------
* Whatever a module does when it is imported comes back as one `SpawnError`: the shell lives on.
* What it prints goes to stderr: stdout is the shell's data.
* The working directory can be imported from, as with ``python -m``; but the standard library and
  this project's own packages come first, whatever lies about there.
"""

import contextlib
import importlib
import importlib.machinery
import os
import site
import sys

from actors.actor import Actor
from runtime.errors import SpawnError
from runtime.messages.behaviour import Behaviour

OWN = ("actors", "runtime", "shell")


def find_class(entry: str) -> type[Behaviour]:
    """The class that "module:Class" names.

    Raises:
        SpawnError: there is no such module or class, the module fails, or it is no actor.
    """
    module_name, _, name = entry.partition(":")
    module = sys.modules.get(module_name)
    if module is None:
        importlib.invalidate_caches()
        try:
            with contextlib.redirect_stdout(sys.stderr):
                module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
                raise SpawnError(f"there is no module {error.name!r}") from error
            raise SpawnError(f"{module_name} cannot be imported: {error}") from error
        except (Exception, SystemExit) as error:  # the user's code: anything may come
            why = f"{type(error).__name__}: {error}"
            raise SpawnError(f"{module_name} cannot be imported: {why}") from error
    found: object = module
    for part in name.split("."):
        found = getattr(found, part, None)
        if found is None:
            raise SpawnError(f"there is no {name!r} in {module_name} ({_origin(module_name)})")
    if not (isinstance(found, type) and issubclass(found, Actor)):
        raise SpawnError(f"{entry} is no class of actors")
    return found


def _origin(module: str) -> str:
    return getattr(sys.modules[module], "__file__", None) or "no file"


def import_from_here() -> None:
    """Modules of the working directory can be imported, here and in all nodes."""
    try:
        here = os.getcwd()
    except FileNotFoundError:
        return
    if "" in sys.path or here in sys.path:
        return
    ours = [importlib.machinery.PathFinder.find_spec(name, [here]) for name in OWN]
    at = len(sys.path)
    if not any(ours):
        sites = {*site.getsitepackages(), site.getusersitepackages()}
        at = next((n for n, path in enumerate(sys.path) if path in sites), at)
    sys.path.insert(at, here)
