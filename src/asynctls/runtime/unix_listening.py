"""A UNIX socket that a daemon listens on, for programs of its own user on this machine."""

from __future__ import annotations

import asyncio
import errno
import socket
import stat
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from asynctls.errors import ConfigError, Fault
from asynctls.logger import get_logger
from asynctls.runtime.inherited import inherited_sockets
from asynctls.runtime.listening import listen

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from asynctls.config import Address
    from asynctls.runtime.listening import Accept, Listener

__all__ = ["UnixListener", "listen_at", "listen_unix"]

log = get_logger()

_BACKLOG = 256
_READ_BUFFER_BYTES = 65_536
# Whoever may open the socket speaks with our certificate.
_PRIVATE = 0o600
# From Python 3.13 on, closing a server would remove its file, whoever made it.
_FILE_STAYS: Any = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}


class UnixListener(msgspec.Struct, frozen=True):
    """What is being listened on."""

    path: Path
    server: asyncio.Server

    def close(self) -> None:
        """Stops accepting; connections that are there live on. Again: does nothing."""
        self.server.close()


@asynccontextmanager
async def listen_unix(
    path: Path,
    accept: Accept,
    *,
    role: str,
    setting: str = "listen",
    event: str = "listening",
) -> AsyncIterator[UnixListener]:
    """Listens while the context lasts, and logs that; the socket's file is removed then.

    Only its own user can connect (mode 0600). What a daemon that was killed left behind is
    replaced. A socket that the process was handed over for this setting takes the place of
    ``path``; who may connect there, and its file, are then the affair of whoever made it.

    Args:
        path: where.
        accept: called for each connection (``Connections.served_by``); it must not block.
        role: for the log, and the table of the config that a fault names.
        setting: the key in that table that ``path`` stands under.
        event: what is logged.

    Raises:
        ConfigError: for the key ``<role>.<setting>`` when the path cannot be listened on.
    """
    try:
        handed_over = inherited_sockets().take(setting, socket.AF_UNIX)
        if len(handed_over) > 1:
            for each in handed_over:
                each.close()
            problem = f"{len(handed_over)} sockets were handed over for it, and it is one"
            raise ConfigError(Fault(f"{role}.{setting}", f"unix:{path}", problem))
        one, made = (handed_over[0], None) if handed_over else _open_socket(path)
    except OSError as error:
        problem = error.strerror or str(error)
        if error.errno == errno.EADDRINUSE:
            problem = "something is there: another program listens on it, or it is no socket"
        raise ConfigError(Fault(f"{role}.{setting}", f"unix:{path}", problem)) from error
    try:
        server = await asyncio.start_unix_server(
            accept, sock=one, limit=_READ_BUFFER_BYTES, backlog=_BACKLOG, **_FILE_STAYS
        )
        try:
            if made is None:
                path = Path(one.getsockname())
            log.info(event, address=f"unix:{path}", role=role)
            yield UnixListener(path, server)
        finally:
            server.close()
    finally:
        one.close()
        if made is not None:
            _remove(path, made)


def listen_at(
    where: Address | Path,
    accept: Accept,
    *,
    role: str,
    setting: str = "listen",
    event: str = "listening",
) -> AbstractAsyncContextManager[Listener | UnixListener]:
    """`listen` or `listen_unix`, as ``where`` says."""
    if isinstance(where, Path):
        return listen_unix(where, accept, role=role, setting=setting, event=event)
    return listen(where, accept, role=role, setting=setting, event=event)


def _open_socket(path: Path) -> tuple[socket.socket, os.stat_result]:
    _remove_dead(path)
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        one.bind(str(path))
        # Nobody can connect before listen(); the umask is the whole process's.
        path.chmod(_PRIVATE)
        one.listen(_BACKLOG)
        made = path.stat()
    except OSError:
        one.close()
        raise
    one.setblocking(False)  # noqa: FBT003 - the standard library's own
    return one, made


def _remove_dead(path: Path) -> None:
    """Removes a socket that nobody listens on any more."""
    try:
        if not stat.S_ISSOCK(path.stat().st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # noqa: FBT003
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
        except OSError:
            # Somebody is there, or it is not ours: bind() says so.
            return


def _remove(path: Path, made: os.stat_result) -> None:
    """Removes the socket, unless another program's has taken its place."""
    try:
        now = path.stat()
    except OSError:
        return
    if (now.st_dev, now.st_ino) == (made.st_dev, made.st_ino):
        path.unlink(missing_ok=True)
