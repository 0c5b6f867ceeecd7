"""A class whose module does to the zygote that imports it what ``MATRIX_IMPORT`` says."""

import os

from actors.actor import Actor
from tests.matrix_actors import inflict


def _in_zygote() -> bool:
    with open("/proc/self/cmdline", "rb") as cmdline:
        return b"runtime.processes.zygote" in cmdline.read()


class Bomb(Actor):
    """Harmless where it is imported by anybody else."""


if _in_zygote() and os.environ.get("MATRIX_IMPORT"):
    inflict(os.environ["MATRIX_IMPORT"], None, "")  # its sockets have no names
