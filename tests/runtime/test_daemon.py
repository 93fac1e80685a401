"""A whole daemon, as a process: it starts, holds its folder, drains, ends."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.remarks import is_remark, without_remarks

if TYPE_CHECKING:
    from pathlib import Path

Spawn = Callable[..., Any]

DAEMON = """
import asyncio, structlog, sys
from datetime import timedelta
from pathlib import Path
from asynctls import logs
from asynctls.config import Address
from asynctls.errors import StateLockedError
from asynctls.runtime import (
    Connections, Signals, listen, run, serve_until_stopped
)
from asynctls.state import hold_state_folder
async def echo(reader, writer):
    writer.write(await reader.readline())
async def reload():
    pass
def tell():
    structlog.get_logger().info("told", connections=connections.live)
async def main():
    global connections
    logs.configure("json")
    async with hold_state_folder(Path(sys.argv[1])), Signals(on_reload=reload) as signals:
        async with Connections() as connections:
            accept = connections.served_by(echo)
            async with listen(Address("127.0.0.1", 0), accept, role="server") as one:
                await serve_until_stopped(
                    signals, one, connections, drain=lambda: timedelta(hours=1), on_drain=tell
                )
try:
    run(main())
except StateLockedError as error:
    sys.exit(str(error))
"""


def next_event(process: Any) -> dict[str, Any]:
    while is_remark(line := process.stderr.readline()):
        pass
    loaded: dict[str, Any] = json.loads(line)
    return loaded


def start(spawn: Spawn, folder: Path) -> tuple[Any, socket.socket]:
    process = spawn(DAEMON, str(folder))
    event = next_event(process)
    assert event["event"] == "listening"
    host, _, port = event["address"].rpartition(":")
    visitor = socket.create_connection((host, int(port)), timeout=10)
    visitor.sendall(b"hel")
    return process, visitor


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_exits_0(spawn: Spawn, tmp_path: Path, number: int) -> None:
    process, visitor = start(spawn, tmp_path / "state")
    with visitor:
        process.send_signal(signal.SIGHUP)
        assert next_event(process)["event"] == "reloading"
        process.send_signal(number)
        assert next_event(process)["event"] == "stopping"
        told = next_event(process)
        assert (told["event"], told["connections"]) == ("told", 1)
        assert next_event(process)["event"] == "draining"
        visitor.sendall(b"lo\n")
        assert visitor.recv(100) == b"hello\n"
    _, err = process.communicate(timeout=20)
    assert [json.loads(line)["event"] for line in without_remarks(err).splitlines()] == ["stopped"]
    assert process.returncode == 0


def test_a_second_signal_ends_at_once(spawn: Spawn, tmp_path: Path) -> None:
    process, visitor = start(spawn, tmp_path / "state")
    with visitor:
        process.send_signal(signal.SIGTERM)
        assert next_event(process)["event"] == "stopping"
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    assert process.returncode == 0


def test_a_second_daemon_is_kept_off_the_state_folder(spawn: Spawn, tmp_path: Path) -> None:
    process, visitor = start(spawn, tmp_path / "state")
    with visitor:
        second = spawn(DAEMON, str(tmp_path / "state"))
        _, err = second.communicate(timeout=20)
        assert second.returncode == 1
        assert f"another process ({process.pid}) holds the state folder" in err
