"""State folders: private, atomic, locked. Nothing is pretended: real disks, real processes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from asynctls.errors import StateError, StateLockedError
from asynctls.state import FolderLock, make_private_folder, read_private, write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB; only root can have one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() != 0:
        pytest.skip("a small disk cannot be mounted here (needs root)")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k,mode=0700", "tmpfs", str(disk)],
        check=False,
        capture_output=True,
    )
    if mounted.returncode != 0:
        pytest.skip("a small disk cannot be mounted here (needs root)")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_folder_is_made_private_with_its_parents(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b" / "c"
    make_private_folder(folder)
    assert [mode_of(path) for path in (folder, folder.parent, folder.parent.parent)] == [0o700] * 3
    make_private_folder(folder)


def test_a_folder_that_others_may_enter_is_refused_with_what_to_do(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    for mode in (0o755, 0o710, 0o702):
        folder.chmod(mode)
        with pytest.raises(StateError, match=f"mode {mode:o}.*chmod 700 {folder}"):
            make_private_folder(folder)


def test_a_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    folder = tmp_path / "given"
    folder.mkdir(mode=0o700)
    os.chown(folder, 12345, -1)
    with pytest.raises(StateError, match="belongs to another user"):
        make_private_folder(folder)


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(StateError, match="is no folder"):
        make_private_folder(file)
    with pytest.raises(StateError, match="cannot make the state folder"):
        make_private_folder(file / "below")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(StateError, match="cannot make the state folder"):
        make_private_folder(tmp_path / "link")


def test_a_folder_on_a_read_only_disk_is_refused_with_what_to_do(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(StateError, match="read-only; choose another folder with --state"):
        make_private_folder(small_disk / "state")


def test_a_file_is_written_whole_and_private(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    write_atomically(path, b"one")
    write_atomically(path, b"two" * 100_000)
    assert path.read_bytes() == b"two" * 100_000
    assert mode_of(path) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_s_mode_does_not_depend_on_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o777)
    try:
        write_atomically(tmp_path / "cert.pem", b"x", mode=0o644)
    finally:
        os.umask(before)
    assert mode_of(tmp_path / "cert.pem") == 0o644


def test_a_full_disk_leaves_the_old_file_and_nothing_else(small_disk: Path) -> None:
    path = small_disk / "cert.pem"
    write_atomically(path, b"old")
    with pytest.raises(StateError, match="the disk is full"):
        write_atomically(path, bytes(200_000))
    assert path.read_bytes() == b"old"
    assert list(small_disk.iterdir()) == [path]


def test_a_file_larger_than_the_process_may_write_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "cert.pem"
    write_atomically(path, b"old")
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from asynctls.errors import StateError\n"
        "from asynctls.state import write_atomically\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: write_atomically(Path(sys.argv[1]), bytes(5000))\n"
        "except StateError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], check=True, capture_output=True, text=True
    )
    assert "ulimit -f" in done.stdout
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_writer_left_goes_when_the_folder_is_taken(tmp_path: Path) -> None:
    write_atomically(tmp_path / "key.pem", b"secret")
    for name in (".key.pem.44a8d59907e9186f.tmp", ".mine.tmp", "key.pem.44a8d59907e9186f.tmp"):
        (tmp_path / name).write_bytes(b"half a key")
    with FolderLock(tmp_path):
        names = {path.name for path in tmp_path.iterdir()}
    assert names == {"key.pem", "lock", ".mine.tmp", "key.pem.44a8d59907e9186f.tmp"}


def test_a_writer_whose_file_is_taken_for_a_killed_one_s_writes_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync
    seen: list[int] = []

    def take_the_folder_once(descriptor: int) -> None:
        if not seen:
            seen.append(descriptor)
            with FolderLock(tmp_path):
                pass
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", take_the_folder_once)
    write_atomically(tmp_path / "crl.pem", b"new")
    assert seen
    assert (tmp_path / "crl.pem").read_bytes() == b"new"
    assert {path.name for path in tmp_path.iterdir()} == {"crl.pem", "lock"}


def test_a_symbolic_link_is_replaced_never_written_through(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"mine")
    path = tmp_path / "key.pem"
    path.symlink_to(elsewhere)
    write_atomically(path, b"secret")
    assert elsewhere.read_bytes() == b"mine"
    assert not path.is_symlink()


def test_a_file_that_cannot_be_replaced_is_told(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(StateError, match="cannot write"):
        write_atomically(tmp_path / "folder", b"x")
    with pytest.raises(StateError, match=r"cannot write .*No such file"):
        write_atomically(tmp_path / "none" / "file", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_secret_is_read_only_where_it_is_private(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    with pytest.raises(FileNotFoundError):
        read_private(path)
    write_atomically(path, b"secret")
    assert read_private(path) == b"secret"
    for mode in (0o640, 0o604, 0o620):
        path.chmod(mode)
        with pytest.raises(StateError, match=f"chmod 600 {path}"):
            read_private(path)


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(StateError, match="is no file"):
        read_private(tmp_path / "pipe")
    with pytest.raises(StateError, match="is no file"):
        read_private(tmp_path)


HOLD = (
    "import sys; from pathlib import Path\n"
    "from asynctls.state import FolderLock\n"
    "with FolderLock(Path(sys.argv[1])):\n"
    "    print('held', flush=True); sys.stdin.read()\n"
)


def test_a_second_process_is_kept_off_and_told_who_holds_the_folder(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        expected = re.escape(f"another process ({holder.pid}) holds the state folder {tmp_path}")
        with pytest.raises(StateLockedError, match=expected), FolderLock(tmp_path):
            pass
        holder.communicate()
    with FolderLock(tmp_path):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_a_lock_ends_with_its_process_however_it_ends(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        holder.kill()
    with FolderLock(tmp_path):
        pass


def test_a_lock_is_let_go_at_the_end_and_keeps_no_number(tmp_path: Path) -> None:
    for _ in range(2):
        with FolderLock(tmp_path), pytest.raises(StateLockedError), FolderLock(tmp_path):
            pass
    assert (tmp_path / "lock").read_text() == ""
    assert mode_of(tmp_path / "lock") == 0o600


def test_a_lock_does_not_follow_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("mine")
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StateError, match="symbolic link"), FolderLock(tmp_path):
        pass
    assert (tmp_path / "elsewhere").read_text() == "mine"
    with pytest.raises(StateError, match="cannot lock"), FolderLock(tmp_path / "none"):
        pass
