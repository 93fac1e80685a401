"""What processes say of themselves by their metrics, from moment to moment."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.scraping import Scrape, scrape

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["MEASURES", "Measure", "Sample", "Watch"]


@dataclass(frozen=True, slots=True)
class Measure:
    """A metric as it is drawn: ``unit`` of it is 1; ``rate``: what it grows by in a second."""

    title: str
    metric: str
    unit: float = 1.0
    rate: bool = False


MEMORY = Measure("memory, MiB", "process_resident_memory_bytes", unit=1 << 20)
FILES = Measure("open files", "process_open_fds")
TASKS = Measure("tasks", "asynctls_tasks")
MEASURES = (
    MEMORY,
    FILES,
    TASKS,
    Measure("processor, % of one", "process_cpu_seconds_total", unit=0.01, rate=True),
    Measure("handshakes a second", "asynctls_handshakes_total", rate=True),
    Measure("TLS on the wire, KiB/s", "asynctls_tls_bytes_total", unit=1 << 10, rate=True),
)


LOOKS = 6
LOOK_EVERY_S = 0.5
PATIENCE_S = 20.0


@dataclass(frozen=True, slots=True)
class Sample:
    """All measures of all processes at a moment, in seconds since the watch began."""

    at_s: float
    values: dict[str, dict[Measure, float]]

    def of(self, measure: Measure) -> dict[str, float]:
        """By process."""
        return {role: values[measure] for role, values in self.values.items() if measure in values}

    def has_more_than(self, other: Sample) -> bool:
        """Whether some process has more open files or tasks here."""
        return any(
            count > other.of(measure)[role]
            for measure in (FILES, TASKS)
            for role, count in self.of(measure).items()
        )

    def or_less(self, other: Sample) -> Sample:
        """Of each value the lesser one, at the later moment."""
        values = {
            role: {
                measure: min(value, other.values[role][measure]) for measure, value in of.items()
            }
            for role, of in self.values.items()
        }
        return Sample(other.at_s, values)


class Watch:
    """Asks the processes again and again."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self._began = time.monotonic()
        self._at: dict[str, str] = {}

    @property
    def now_s(self) -> float:
        """Since it began."""
        return time.monotonic() - self._began

    def add(self, role: str, address: str) -> None:
        """From now on that one as well."""
        self._at[role] = address

    async def look(self) -> Sample:
        """Asks all of them once."""
        found = await asyncio.gather(*map(scrape, self._at.values()))
        sample = Sample(self.now_s, dict(zip(self._at, map(_measured, found), strict=True)))
        self.samples.append(sample)
        return sample

    @asynccontextmanager
    async def looking(self, *, every_s: float) -> AsyncIterator[None]:
        """Asks them while the context lasts."""

        async def look() -> None:
            while True:
                await self.look()
                await asyncio.sleep(every_s)

        async with asyncio.TaskGroup() as tasks:
            looking = tasks.create_task(look())
            yield
            looking.cancel()

    async def least(self, wanted: Sample | None = None) -> Sample:
        """The least that each process has of each, while nothing is done but what never stops.

        Args:
            wanted: looks until nobody has more open than there, ``PATIENCE_S`` at most; None: looks
                a few times.
        """
        least = await self.look()
        began_s, looks = self.now_s, 1
        while (
            looks < LOOKS
            if wanted is None
            else least.has_more_than(wanted) and self.now_s < began_s + PATIENCE_S
        ):
            await asyncio.sleep(LOOK_EVERY_S)
            least = least.or_less(await self.look())
            looks += 1
        return least


def _measured(found: Scrape) -> dict[Measure, float]:
    measured = {}
    for each in MEASURES:
        values = found.values(each.metric)
        if values:
            measured[each] = sum(values.values()) / each.unit
    return measured
