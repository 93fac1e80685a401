"""State folders: private, written atomically, and held by one daemon at a time.

What lies in them are keys and what a crash must not lose, hence 0700 and 0600, and fsync of the
file and of its folder before a write counts. The functions block: coroutines call them by
``asyncio.to_thread``, and have ``hold_state_folder`` for the lock.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import re
import secrets
import stat
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, NoReturn, ParamSpec, TypeVar

from asynctls.errors import StateError, StateLockedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path
    from types import TracebackType
    from typing import Self

__all__ = [
    "FolderLock",
    "hold_state_folder",
    "make_private_folder",
    "read_private",
    "remove",
    "to_its_end",
    "write_atomically",
]

ParamsT = ParamSpec("ParamsT")
ResultT = TypeVar("ResultT")

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_LOCK_NAME = "lock"
_TRIES = 3
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{16}\.tmp")
_WHAT_TO_DO = {
    errno.ENOSPC: "the disk is full; make room and try again",
    errno.EDQUOT: "the disk quota is used up; make room and try again",
    errno.EFBIG: "the file would be larger than this process may write (ulimit -f)",
    errno.EROFS: "the disk is mounted read-only; choose another folder with --state",
    errno.EACCES: "this user may not do that there; choose another folder with --state",
    errno.EPERM: "this user may not do that there; choose another folder with --state",
    errno.ENOTDIR: "what should be a folder is none; choose another folder with --state",
    errno.EIO: "the disk gives an error; check it",
    errno.ELOOP: "a symbolic link stands where none may stand; remove it",
}


def make_private_folder(path: Path) -> None:
    """Makes a folder that only this user can enter, its missing parents likewise (0700).

    Raises:
        StateError: when it is there and others may read or write it, when it is another user's or
            no folder, or when it cannot be made; the message says what to do.
    """
    try:
        _make_folders(path)
        found = path.stat()
    except OSError as error:
        _refuse(error, f"cannot make the state folder {path}")
    if not stat.S_ISDIR(found.st_mode):
        raise StateError(f"{path} is no folder; choose another one with --state")
    if found.st_uid != os.geteuid():
        raise StateError(f"the state folder {path} belongs to another user (uid {found.st_uid})")
    if found.st_mode & _OTHERS:
        raise StateError(
            f"the state folder {path} is open to other users (mode {found.st_mode & 0o777:o}); "
            f"do: chmod 700 {path}"
        )


def write_atomically(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Replaces a file in one step: after a crash it holds the old content or the new, whole.

    Whoever takes the folder's lock removes what killed writers left, and may so remove what a live
    one, who writes without the lock, is at: then it is written once more.

    Raises:
        StateError: when the disk is full or read-only, or the folder cannot be written; the old
            file is untouched then, and nothing is left beside it.
    """
    for _ in range(_TRIES - 1):
        with suppress(FileNotFoundError):
            return _write(path, content, mode)
    try:
        _write(path, content, mode)
    except FileNotFoundError as error:
        _refuse(error, f"cannot write {path}")


def _write(path: Path, content: bytes, mode: int) -> None:
    """Writes beside ``path``, then over it.

    Raises:
        FileNotFoundError: when the folder is not there, or what was written beside was removed.
        StateError: when it cannot be written for another reason.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        # O_EXCL and O_NOFOLLOW: never through a link that somebody laid there.
        descriptor = os.open(
            temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode
        )
        with open(descriptor, "wb", buffering=0) as file:  # noqa: PTH123 - a descriptor
            os.fchmod(descriptor, mode)
            _write_all(descriptor, content)
            os.fsync(file)
        temporary.replace(path)
        _sync_folder(path.parent)
    except FileNotFoundError:
        raise
    except OSError as error:
        _refuse(error, f"cannot write {path}")
    finally:
        # Gone already when all went well; whatever happened else, nothing stays behind.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Removes a file, lastingly; one that is not there is gone already.

    Raises:
        StateError: when it cannot be removed.
    """
    try:
        path.unlink(missing_ok=True)
        _sync_folder(path.parent)
    except OSError as error:
        _refuse(error, f"cannot remove {path}")


def read_private(path: Path) -> bytes:
    """The content of a file that holds a secret.

    Raises:
        StateError: when others can read or write it, when it is no file, or cannot be read.
        FileNotFoundError: when there is none.
    """
    try:
        # O_NONBLOCK: a named pipe must not hold us.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            # Of the open file, so that it cannot be another one than the one that is read.
            _check_private(path, os.fstat(descriptor))
            with open(descriptor, "rb", closefd=False) as file:
                return file.read()
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise
    except OSError as error:
        _refuse(error, f"cannot read {path}")


class FolderLock:
    """Held while a daemon works on a state folder, so that a second one cannot.

    Who takes it removes the half-written files of writers that were killed: there may be keys in
    them.

    The kernel lets go of it when the process ends, however it ends. The file stays: to remove it
    would let two daemons hold locks on two files of one name.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / _LOCK_NAME
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        """Takes the lock, without waiting.

        Raises:
            StateLockedError: when another process holds it; the message has its number.
            StateError: when the lock file cannot be opened.
        """
        try:
            descriptor = os.open(
                self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
            )
        except OSError as error:
            _refuse(error, f"cannot lock {self._path.parent}")
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            _remove_half_written(self._path.parent)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
            os.close(descriptor)
            raise StateLockedError(
                f"another process{f' ({holder})' if holder else ''} holds the state folder "
                f"{self._path.parent}; stop it, or choose another folder with --state"
            ) from None
        except OSError as error:
            os.close(descriptor)
            _refuse(error, f"cannot lock {self._path.parent}")
        self._descriptor = descriptor
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            with suppress(OSError):
                os.ftruncate(descriptor, 0)
            os.close(descriptor)


@asynccontextmanager
async def hold_state_folder(folder: Path) -> AsyncIterator[None]:
    """Makes the state folder where it is missing, and keeps every other daemon off it.

    Raises:
        StateError: when the folder cannot be used.
        StateLockedError: when another process holds it.
    """
    await asyncio.to_thread(make_private_folder, folder)
    lock = FolderLock(folder)
    taking = asyncio.create_task(asyncio.to_thread(lock.__enter__))
    try:
        # Cancelled half-way, the thread would go on and hold a lock that nobody knows of.
        await asyncio.shield(taking)
        yield
    finally:
        # Its failure has been raised above, or nobody is there any more to be told.
        await asyncio.gather(taking, return_exceptions=True)
        await asyncio.to_thread(lock.__exit__, None, None, None)


async def to_its_end(
    write: Callable[ParamsT, ResultT], /, *args: ParamsT.args, **kwargs: ParamsT.kwargs
) -> ResultT:
    """Calls ``write`` in a thread, and does not go before it has ended, cancelled or not.

    Else the lock would be let go of while the thread still writes in the folder.
    """
    writing = asyncio.create_task(asyncio.to_thread(write, *args, **kwargs))
    try:
        return await asyncio.shield(writing)
    finally:
        await asyncio.gather(writing, return_exceptions=True)


def _refuse(error: OSError, what: str) -> NoReturn:
    reason = error.strerror or str(error)
    advice = _WHAT_TO_DO.get(error.errno or 0)
    raise StateError(f"{what}: {reason}" + (f" ({advice})" if advice else "")) from error


def _check_private(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise StateError(f"{path} is no file")
    if found.st_mode & _OTHERS:
        raise StateError(
            f"{path} is a secret that other users can read (mode {found.st_mode & 0o777:o}); "
            f"do: chmod 600 {path}"
        )


def _make_folders(path: Path) -> None:
    missing = []
    for folder in (path, *path.parents):
        if folder.exists():
            break
        missing.append(folder)
    for folder in reversed(missing):
        # Another process may make it at the same time; what it made is judged all the same.
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)


def _remove_half_written(folder: Path) -> None:
    for path in folder.iterdir():
        if _TEMPORARY.fullmatch(path.name):
            path.unlink(missing_ok=True)


def _write_all(descriptor: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(descriptor, left) :]


def _sync_folder(folder: Path) -> None:
    """Makes a rename last: its name lies in the folder, not in the file."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
