"""The demo's roles as processes: started, listened to, and stopped, whatever happens.

Each role is the real command, which logs JSON; what the demo tells is what these processes logged
and printed. Both come through one pipe, so that they stay in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from asynctls.errors import DemoError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

__all__ = ["Event", "command", "output_of", "role"]

_LINE_BYTES = 1 << 20
_STOP_S = 12.0


@dataclass(frozen=True, slots=True)
class Event:
    """One line that a role logged; or printed, then its name is ``said``."""

    role: str
    at: datetime
    name: str
    fields: dict[str, object]


def command(*arguments: str) -> tuple[str, ...]:
    """The command line of ``asynctls`` with these arguments, by this very Python."""
    return (sys.executable, "-m", "asynctls", *arguments)


async def output_of(arguments: Sequence[str]) -> str:
    """What a short command printed, without the last newline.

    Raises:
        DemoError: it failed; its own words are in the message.
    """
    process = await _start(
        arguments, stdin=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    try:
        out, err = await process.communicate()
    finally:
        await _stop(process)
    if process.returncode:
        words = err.decode(errors="replace").strip().splitlines()[-1:]
        raise DemoError(f"'asynctls {arguments[0]} {arguments[1]}' failed: {' '.join(words)}")
    return out.decode().removesuffix("\n")


@contextlib.asynccontextmanager
async def role(
    name: str, arguments: Sequence[str], *, secret: str = "", tell: Callable[[Event], None]
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Runs a role while the context lasts; then it is told to stop, and waited for.

    Args:
        name: whose events they are.
        arguments: of ``asynctls``.
        secret: what it reads on standard input (a join string).
        tell: called with each event, in the order in which the role logged them.
    """
    process = await _start(
        arguments, stdin=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    told = asyncio.create_task(_read(name, process.stdout, tell))
    try:
        await _hand_over(process.stdin, secret)
        yield process
    finally:
        try:
            await _stop(process)
        finally:
            # Its end is the end of its output: there is no waiting for more than what is there.
            await told


async def _start(
    arguments: Sequence[str], *, stdin: int, stderr: int
) -> asyncio.subprocess.Process:
    starting = asyncio.create_task(
        asyncio.create_subprocess_exec(
            *command(*arguments),
            stdin=stdin,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
            limit=_LINE_BYTES,
            env=_environment(),
        )
    )
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        # Cancelled half-way, it could leave a process that nobody knows of.
        await _stop(await starting)
        raise


async def _hand_over(stdin: asyncio.StreamWriter | None, secret: str) -> None:
    if stdin is None:
        return
    with contextlib.suppress(OSError):
        stdin.write(secret.encode())
        await stdin.drain()
    stdin.close()


async def _read(
    name: str, stream: asyncio.StreamReader | None, tell: Callable[[Event], None]
) -> None:
    if stream is None:
        return
    at = datetime.now(UTC)
    async for line in stream:
        event = _event(name, line.rstrip(b"\n"), at)
        at = event.at
        tell(event)


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    # Not process.terminate(): on the standard loop that polls first, which takes the exit code of a
    # process that has just ended away from the loop's own watcher.
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGTERM)
    try:
        async with asyncio.timeout(_STOP_S):
            await process.wait()
    except BaseException as error:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        await process.wait()
        if not isinstance(error, TimeoutError):
            raise


def _environment() -> dict[str, str]:
    """Ours without the settings that would steer the roles elsewhere."""
    return {
        key: value
        for key, value in os.environ.items()
        if not key.startswith("ASYNCTLS_") or key == "ASYNCTLS_LOOP"
    }


def _event(name: str, line: bytes, at: datetime) -> Event:
    """A line of JSON is what a role logged; any other is words for a person.

    Words bear no time: they stay behind what the same process logged before them, ``at``.
    """
    try:
        fields = msgspec.json.decode(line, type=dict[str, object])
        logged_at = datetime.fromisoformat(str(fields.pop("timestamp")))
        return Event(name, logged_at, str(fields.pop("event")), fields)
    except (msgspec.MsgspecError, KeyError, ValueError):
        return Event(name, at, "said", {"text": line.decode(errors="replace")})
