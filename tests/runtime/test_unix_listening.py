"""A UNIX socket is its own user's from the first moment on, and no other file's mode is touched."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from asynctls.runtime import listen_unix

if TYPE_CHECKING:
    import asyncio

    import pytest


def shut(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def test_nobody_can_connect_before_the_socket_is_private(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The umask is the whole process's: another thread's file would be made with it."""

    def no_umask(mask: int) -> NoReturn:
        raise AssertionError(mask)

    refused = []

    def visited_first(path: Path, mode: int) -> None:
        with socket.socket(socket.AF_UNIX) as visitor:
            refused.append(visitor.connect_ex(str(path)))
        os.chmod(path, mode)  # noqa: PTH101 - the method is replaced

    monkeypatch.setattr(os, "umask", no_umask)
    monkeypatch.setattr(Path, "chmod", visited_first)
    async with listen_unix(tmp_path / "socket", shut, role="client") as listener:
        assert stat.S_IMODE(listener.path.stat().st_mode) == 0o600
    assert [code != 0 for code in refused] == [True]
