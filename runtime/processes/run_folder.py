"""The folder of one running system: sockets, status pages, outputs.

It lies in ``$XDG_RUNTIME_DIR/regrow``, or in ``regrow-UID`` of the temporary folder. Prefer
the first: it is memory, while a status page on a disk is written back by the kernel.

Invariants
----------
* The root and the folder are ours alone (owner, 0700, no symbolic link on the way), or
  nothing is made: `PermissionError`.
* A folder's flock is held as long as its system lives, however it ends; a folder whose lock is
  free is stale, and the next start removes it, and puts back what is noted there.
* Files are named by incarnation alone, so no file is ever made twice, and every ipc path fits in
  107 bytes, or the start is a `ValueError`.
"""

import fcntl
import os
import resource
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from runtime.multipath.path_owner import put_back

MAX_IPC_PATH_BYTES: Final = 107
_WIDEST: Final = 2**64 - 1


def output_path(folder: str, incarnation: int) -> str:
    """The file behind descriptors 1 and 2 of a node."""
    return f"{folder}/{incarnation}.out"


def owner_path(folder: str) -> str:
    """Where it is noted who managed the paths here before, see `runtime.multipath`."""
    return f"{folder}/path_owner"


def page_path(folder: str, incarnation: int) -> str:
    """The status page of a node."""
    return f"{folder}/{incarnation}.page"


def socket_path(folder: str, incarnation: int) -> str:
    """Where a node listens."""
    return f"{folder}/{incarnation}.sock"


@contextmanager
def open_run_folder(root: str | None = None) -> Iterator[str]:
    """Make a folder for one system, and remove it with all its files at the end.

    Raises:
        PermissionError: somebody else owns the root, may enter it, or has put a link there.
        ValueError: its path is too long for the sockets in it.
    """
    root = (
        os.path.realpath(os.path.dirname(root := root or default_root()))
        + "/"
        + (os.path.basename(root))
    )
    example = os.fsencode(socket_path(f"{root}/{_new_name()}", _WIDEST))
    if len(example) > MAX_IPC_PATH_BYTES:
        raise ValueError(
            f"{root} is too long for a run folder: the sockets in it would take {len(example)} "
            f"bytes, at most {MAX_IPC_PATH_BYTES} are possible; set XDG_RUNTIME_DIR or TMPDIR"
        )
    root_fd = _open_own(root)
    try:
        _remove_stale(root_fd)
        name, lock = _make(root_fd)
    finally:
        os.close(root_fd)
    folder = f"{root}/{name}"
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def default_root() -> str:
    """``$XDG_RUNTIME_DIR/regrow`` if that is ours (under sudo it is not), else a temporary one."""
    runtime_dir = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(runtime_dir):
        try:
            if os.stat(runtime_dir).st_uid == os.geteuid():
                return f"{runtime_dir.rstrip('/')}/regrow"
        except OSError:
            pass
    return f"{tempfile.gettempdir()}/regrow-{os.geteuid()}"


def raise_open_file_limit() -> int:
    """Raise the soft limit of open files to the hard one, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def _new_name() -> str:
    return secrets.token_hex(4)


def _open_own(path: str) -> int:
    with suppress(FileExistsError):
        os.mkdir(path, 0o700)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:  # ELOOP or ENOTDIR: a link, or a file
        raise PermissionError(f"{path} is no folder of ours: {error.strerror}") from error
    found = os.fstat(fd)
    if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
        os.close(fd)
        raise PermissionError(
            f"{path} must be ours alone: it belongs to user {found.st_uid}, "
            f"mode {stat.S_IMODE(found.st_mode):04o}"
        )
    return fd


def _make(root_fd: int) -> tuple[str, int]:
    # A start that looks for stale folders may take ours between mkdir and flock: then try again.
    while True:
        name = _new_name()
        try:
            os.mkdir(name, 0o700, dir_fd=root_fd)
        except FileExistsError:
            continue
        lock = _try_lock(root_fd, name)
        if lock is not None:
            return name, lock


def _try_lock(root_fd: int, name: str) -> int | None:
    """The locked descriptor of a folder that is still there under this name."""
    try:
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=root_fd)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(fd), os.stat(name, dir_fd=root_fd, follow_symlinks=False)):
            return fd
    except OSError:
        pass
    os.close(fd)
    return None


def _remove_stale(root_fd: int) -> None:
    for name in os.listdir(root_fd):
        lock = _try_lock(root_fd, name)
        if lock is not None:
            put_back(owner_path(f"/proc/self/fd/{lock}"))
            shutil.rmtree(name, ignore_errors=True, dir_fd=root_fd)
            os.close(lock)
