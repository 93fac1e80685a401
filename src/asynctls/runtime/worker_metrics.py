"""The metrics of workers: what each counts goes to the supervisor, which shows it with its own.

A worker's samples have one label more, ``worker``. One that is started in the place of another
counts from 0 again, as a daemon does that is started again: Prometheus knows that of counters.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from asynctls.runtime.channel import Family, Sample

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client import CollectorRegistry

    from asynctls.runtime.supervisor import Supervisor

__all__ = ["WithWorkers", "counted"]


async def counted(registry: CollectorRegistry) -> list[Family]:
    """All of a worker's metrics, as they go over the channel."""

    def collect() -> list[Family]:
        return [
            Family(
                each.name,
                each.documentation,
                each.type,
                [Sample(sample.name, sample.labels, sample.value) for sample in each.samples],
            )
            for each in registry.collect()
        ]

    # In a thread: it reads files in /proc.
    return await asyncio.to_thread(collect)


class WithWorkers:
    """A registry's metrics, and those of the workers in their place among them."""

    def __init__(self, registry: CollectorRegistry, supervisor: Supervisor) -> None:
        """Takes the supervisor's own, to which it adds how the workers are."""
        registry.register(_Workers(supervisor))
        self._registry = registry
        self._supervisor = supervisor
        self._counted: dict[int, list[Family]] = {}

    async def look(self) -> None:
        """Asks the workers."""
        self._counted = await self._supervisor.counted()

    def collect(self) -> Iterable[Metric]:
        """The metrics as of now, the workers' as of when they were asked last."""
        found = {each.name: each for each in self._registry.collect()}
        for number, families in sorted(self._counted.items()):
            for family in families:
                metric = found.setdefault(
                    family.name, Metric(family.name, family.documentation, family.kind)
                )
                for sample in family.samples:
                    labels = sample.labels | {"worker": str(number)}
                    metric.add_sample(sample.name, labels, sample.value)
        return found.values()


class _Workers(Collector):
    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "asynctls_workers", "Worker processes that accept.", self._supervisor.accepting
        )
        yield CounterMetricFamily(
            "asynctls_worker_restarts",
            "Workers started in the place of one that died.",
            self._supervisor.restarts,
        )
