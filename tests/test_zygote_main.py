"""The user's script: its classes are found in every node, and it is run once more, not in each."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.zygote_colony import ROOT

pytestmark = pytest.mark.real

GUARDED = """
import os, sys
sys.path.insert(0, {root!r})
print("imported as", __name__, flush=True)

from dataclasses import dataclass

@dataclass
class Lamp:
    watts: int

def shine(order, folder):
    assert sys.modules["__main__"].Lamp is Lamp
    raise SystemExit(Lamp(40).watts)

async def main():
    from tests.zygote_colony import open_colony
    async with open_colony() as colony:
        for _ in range(3):
            node = await colony.fork("__main__:shine", "__main__:Lamp")
            print((await colony.exited(node.incarnation)).reason, flush=True)
        print(open(colony.folder + "/0.out").read().strip())

if __name__ == "__main__":
    import trio
    trio.run(main)
"""

UNGUARDED = GUARDED.replace('if __name__ == "__main__":\n    import trio\n    ', "import trio\n")


def run(tmp_path: Path, text: str, *how: str) -> str:
    (tmp_path / "lamp_script.py").write_text(text.format(root=ROOT))
    done = subprocess.run(
        [sys.executable, *(how or (str(tmp_path / "lamp_script.py"),))],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("how", [(), ("-m", "lamp_script")], ids=["script", "module"])
def test_a_class_of_the_script_is_found_in_its_nodes(tmp_path: Path, how: tuple[str, ...]) -> None:
    lines = run(tmp_path, GUARDED, *how).splitlines()
    assert lines == ["imported as __main__", *["exited(40)"] * 3, "imported as __mp_main__"]


def test_a_script_without_the_guard_is_the_caller_s_fault(tmp_path: Path) -> None:
    said = run(tmp_path, UNGUARDED)
    assert "ValueError: n2: the main script opens a system as soon as it is imported" in said


def test_a_class_of_a_command_line_is_the_caller_s_fault(tmp_path: Path) -> None:
    said = run(tmp_path, "", "-c", GUARDED.format(root=ROOT))
    assert "ValueError: __main__:Lamp cannot be imported in another process" in said
