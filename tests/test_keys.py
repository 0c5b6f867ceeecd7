"""The keys of a system: who may read them, and where they do not show."""

import os
import stat
from pathlib import Path

import msgspec
import pytest

from runtime.address import Address
from runtime.hosts.life import Boot
from runtime.network.key_file import keep_keys, read_keys
from runtime.network.keys import Keys, new_keys
from runtime.network.tcp_endpoint import to_text
from runtime.processes.orders import Fork, Order
from runtime.wires.zmq_tcp import public_of

KEYS = Keys(b"o" * 32, b"m" * 32)
GOOD = f"own = {to_text(KEYS.own)}\nmember = {to_text(KEYS.member)}\n"


def file_of(folder: Path, text: str, mode: int = 0o600) -> str:
    path = folder / "keys"
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def test_a_file_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = str(tmp_path / "keys")
    before = os.umask(0)
    try:
        made = keep_keys(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert keep_keys(path) == read_keys(path) == made
    assert os.listdir(tmp_path) == ["keys"]
    assert made.own != made.member
    assert public_of(made.own) != public_of(made.member)


def test_a_file_of_somebodys_own_hand_is_read(tmp_path: Path) -> None:
    assert read_keys(file_of(tmp_path, f"# mine\n\n{GOOD}")) == KEYS


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o700, 0o400, 0o4600])
def test_another_mode_is_refused_and_named(tmp_path: Path, mode: int) -> None:
    path = file_of(tmp_path, GOOD, mode)
    for use in (read_keys, keep_keys):
        with pytest.raises(PermissionError) as caught:
            use(path)
        wanted = f"the keys in {path} are not read: its mode is {mode:04o}, must be 0600"
        assert str(caught.value) == wanted
    assert Path(path).read_text() == GOOD


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_foreign_file_is_refused_and_its_owner_named(tmp_path: Path) -> None:
    path = file_of(tmp_path, GOOD)
    os.chown(path, 12345, -1)
    with pytest.raises(PermissionError, match=f"{path} are not read: it belongs to user 12345"):
        read_keys(path)


def test_links_and_what_is_no_file_are_refused(tmp_path: Path) -> None:
    link, fifo = tmp_path / "link", tmp_path / "fifo"
    link.symlink_to(file_of(tmp_path, GOOD))
    os.mkfifo(fifo, 0o600)
    with pytest.raises(PermissionError, match="it is a link"):
        keep_keys(str(link))
    for path in (fifo, tmp_path):
        with pytest.raises(PermissionError, match="it is no regular file"):
            keep_keys(str(path))


@pytest.mark.parametrize(
    "text",
    ["", "own", GOOD + GOOD, GOOD.replace("member", "other"), GOOD.splitlines()[0], "\0\xff",
     GOOD.replace("= ", "= x"), "x" * 10_000],
)  # fmt: skip
def test_a_file_with_anything_else_is_refused_without_repeating_it(
    tmp_path: Path, text: str
) -> None:
    path = file_of(tmp_path, text)
    with pytest.raises(OSError, match=path) as caught:
        read_keys(path)
    for secret in (to_text(KEYS.own), to_text(KEYS.member)):
        assert secret not in str(caught.value)


def test_no_repr_shows_a_secret() -> None:
    keys = new_keys().for_another()
    boot = Boot("s", Address("s", "controller", 1, "e"), "b", "e", keys)
    order = Order("m:f", "m:C", "n", 2, {"TOKEN": "hush"}, "/", msgspec.msgpack.encode(boot))
    shown = "".join(repr(value) + str(value) for value in (keys, boot, order, Fork(order)))
    for secret in (keys.own, keys.member):
        for text in (repr(secret)[2:-1], secret.hex(), to_text(secret)):
            assert text not in shown
    assert "hush" not in shown
    assert msgspec.msgpack.decode(order.boot, type=Boot) == boot


def test_a_file_that_cannot_be_made_is_named_as_it_was_given(tmp_path: Path) -> None:
    path = str(tmp_path / "nowhere" / "keys")
    with pytest.raises(FileNotFoundError) as caught:
        keep_keys(path)
    assert (
        str(caught.value) == f"[Errno 2] keys cannot be kept: No such file or directory: {path!r}"
    )
