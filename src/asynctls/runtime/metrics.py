"""What a daemon counts, for Prometheus: a registry of its own, and where it can be read.

prometheus-client keeps the numbers and writes the text (exposition format 0.0.4, which every
scraper takes). The registry is one daemon's and not the library's global one, so that two services
in one process do not share their numbers. It is imported only where metrics are switched on: it
takes as long to import as an admin command takes to run.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol, cast

from prometheus_client import (
    CONTENT_TYPE_PLAIN_0_0_4,
    CollectorRegistry,
    Counter,
    Gauge,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from asynctls._version import __version__
from asynctls.errors import (
    HandshakeTimeoutError,
    PeerRefusedError,
    RefusedByPeerError,
)
from asynctls.http import Request, Response
from asynctls.http.server import Limits
from asynctls.runtime.observing import Observer
from asynctls.runtime.places import Limit, Places
from asynctls.runtime.plain_http import serve_plain_http

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence

    from prometheus_client.core import Metric

    from asynctls.alerts import Alert
    from asynctls.config import Endpoint
    from asynctls.errors import ErrorCode, HandshakeError
    from asynctls.runtime.listening import Listener
    from asynctls.runtime.unix_listening import UnixListener

__all__ = ["HandshakeMetrics", "new_registry", "reason_word", "serve_metrics"]

_PATH = "/metrics"
_HEALTH = "/healthz"
# A scraper keeps one connection open and asks nothing of it but this, four times a minute.
_LIMITS = Limits(body_bytes=0, idle_timeout_s=120.0)
_MOST = 16


def new_registry(role: str) -> CollectorRegistry:
    """A registry with what each daemon tells of itself: version, memory, processor, files, tasks.

    To be made on the event loop whose tasks are counted.

    Args:
        role: ttp, server or client; a label of ``asynctls_build_info``.
    """
    # Each counter would come with the time at which it was first moved, as a metric of its own.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    # Every name is ours or the process's: that each is told once is checked when it is added.
    registry = CollectorRegistry(auto_describe=True)
    ProcessCollector(registry=registry)
    build = Gauge(
        "asynctls_build_info",
        "Always 1; which program this is.",
        ["role", "version"],
        registry=registry,
    )
    build.labels(role=role, version=__version__).set(1)
    tasks = Gauge("asynctls_tasks", "Tasks of the event loop that are not done.", registry=registry)
    loop = asyncio.get_running_loop()
    tasks.set_function(lambda: len(asyncio.all_tasks(loop)))
    return registry


class HandshakeMetrics(Observer):
    """Counts handshakes by how they ended.

    The labels are of the protocols' own few words: a peer can bring about no new one.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._handshakes = Counter(
            "asynctls_handshakes",
            "TLS handshakes: done; refused (by us), refused_by_peer, failed; and by which alert.",
            ["result", "reason"],
            registry=registry,
        )

        self._not_taken = Counter(
            "asynctls_connections_not_taken",
            "Connections closed at once, by the limit: in_all, per_address, open_files.",
            ["limit"],
            registry=registry,
        )
        for limit in Limit:
            # At 0 from the start: an alert sees a counter grow, but not one that appears.
            self._not_taken.labels(limit=limit.name.lower())

    def connection_not_taken(self, limit: Limit) -> None:
        """A connection was closed at once, since there were too many."""
        self._not_taken.labels(limit=limit.name.lower()).inc()

    def handshake_done(self) -> None:
        """A TLS handshake succeeded, and its peer was admitted."""
        self._handshakes.labels(result="done", reason="").inc()

    def handshake_failed(self, error: HandshakeError) -> None:
        """No TLS connection came about."""
        match error:
            case PeerRefusedError(alert=alert):
                result, reason = "refused", reason_word(alert)
            case RefusedByPeerError(alert=alert):
                result, reason = "refused_by_peer", reason_word(alert)
            case HandshakeTimeoutError():
                result, reason = "failed", "time_out"
            case _:
                result, reason = "failed", "other"
        self._handshakes.labels(result=result, reason=reason).inc()


def reason_word(said: Alert | ErrorCode | None) -> str:
    """The label ``reason`` for an alert or an ERROR; ``other`` for one that nothing names."""
    return "other" if said is None else said.name.lower()


class Registry(Protocol):
    """What is shown: a ``CollectorRegistry``, or what collects from more than one."""

    def collect(self) -> Iterable[Metric]:
        """The metrics as of now."""


@asynccontextmanager
async def serve_metrics(
    endpoint: Endpoint,
    registry: Registry,
    *,
    role: str,
    troubles: Callable[[], Sequence[str]],
    prepare: Callable[[], Awaitable[None]] | None = None,
) -> AsyncIterator[Listener | UnixListener]:
    """Answers ``GET /metrics`` and ``GET /healthz`` over plain HTTP while the context lasts.

    The log has one event ``metrics served`` with the address as it really is. Whoever can connect
    can read: there are numbers and the names of the daemon's own certificates, no peers', no
    secret.

    Args:
        endpoint: where; port 0 lets the system choose one.
        registry: what is shown.
        role: the daemon's, whose table a fault names.
        troubles: why the daemon cannot do its work; none: it can.
        prepare: awaited before the metrics are shown, for what must be looked up first.

    Raises:
        ConfigError: for the key ``<role>.metrics_listen`` when it cannot be listened on.
    """

    async def answer(request: Request) -> Response:
        if request.path not in (_PATH, _HEALTH):
            return Response.text(404, f"what there is: {_PATH} and {_HEALTH}")
        if request.method != "GET":
            return Response.text(405, "use GET here", headers=(("Allow", "GET, HEAD"),))
        if request.path == _HEALTH:
            found = troubles()
            return Response.text(503, "; ".join(found)) if found else Response.text(200, "ok")
        if prepare is not None:
            await prepare()
        # In a thread: it is text by the kilobyte, and reads files in /proc.
        text = await asyncio.to_thread(generate_latest, cast("CollectorRegistry", registry))
        return Response(200, (("Content-Type", CONTENT_TYPE_PLAIN_0_0_4),), text)

    async with serve_plain_http(
        endpoint.where,
        answer,
        role=role,
        setting="metrics_listen",
        event="metrics served",
        limits=_LIMITS,
        # Not of the sockets that connections have: when there are no more, that is to be read here.
        places=Places(_MOST, sockets=0),
    ) as listener:
        yield listener
