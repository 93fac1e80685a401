"""Where the events of three processes meet, and are told in the order in which they happened."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from rich.text import Text

from asynctls.demo.facts import Facts
from asynctls.demo.transcript import line_of
from asynctls.errors import DemoError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from rich.console import Console

    from asynctls.demo.processes import Event

__all__ = ["Stage"]

# Each process writes to a pipe of its own: an event is told once whatever happened before it in
# another process has had time to arrive.
_HOLD = timedelta(milliseconds=50)
_PATIENCE_S = 60.0
_TITLES = {"ttp": ("TTP", "yellow"), "server": ("Server", "blue"), "client": ("Client", "green")}


class Stage:
    """Takes events as they come and prints their sentences; what is left is told on leaving."""

    def __init__(self, console: Console) -> None:
        self.facts = Facts()
        self._console = console
        self._untold: list[Event] = []
        self._seen: dict[tuple[str, str], Event] = {}
        self._arrived = asyncio.Event()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._tell_until(datetime.max.replace(tzinfo=UTC))

    def tell(self, event: Event) -> None:
        """Takes an event from a role's process."""
        self.facts.take(event)
        self._untold.append(event)
        self._seen[event.role, event.name] = event
        self._arrived.set()
        asyncio.get_running_loop().call_later(_HOLD.total_seconds(), self._tell_some)

    async def reached(self, role: str, name: str, process: asyncio.subprocess.Process) -> Event:
        """Waits until the role has logged the event ``name``.

        Raises:
            DemoError: its process ended before that, or it took a minute.
        """
        ended = asyncio.create_task(process.wait())
        try:
            async with asyncio.timeout(_PATIENCE_S):
                while (role, name) not in self._seen:
                    self._arrived.clear()
                    arrived = asyncio.create_task(self._arrived.wait())
                    await asyncio.wait((ended, arrived), return_when=asyncio.FIRST_COMPLETED)
                    arrived.cancel()
                    if ended.done() and not self._arrived.is_set():
                        raise DemoError(f"the {role} ended (exit {process.returncode}) too early")
        except TimeoutError as error:
            raise DemoError(f"the {role} did not come to '{name}' in {_PATIENCE_S:g} s") from error
        finally:
            ended.cancel()
            await asyncio.gather(ended, return_exceptions=True)
        return self._seen[role, name]

    def _tell_some(self) -> None:
        self._tell_until(datetime.now(UTC) - _HOLD)

    def _tell_until(self, moment: datetime) -> None:
        self._untold.sort(key=self._moment)
        while self._untold and self._untold[0].at <= moment:
            self._print(self._untold.pop(0))

    def _moment(self, event: Event) -> tuple[datetime, bool]:
        # The receipt is with the server before the client has logged what it sent it for.
        is_effect = event.name == "message sent"
        cause = self._seen.get(("client", "said")) if is_effect else None
        return max(event.at, cause.at) if cause else event.at, is_effect

    def _print(self, event: Event) -> None:
        line = line_of(event)
        if line is None:
            return
        title, colour = _TITLES[line.role]
        text = Text(f"{title:<8}", style=f"bold {colour}")
        text.append(line.words, style="bold" if line.stands_out else "")
        self._console.print(text)
