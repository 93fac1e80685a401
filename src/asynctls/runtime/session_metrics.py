"""What a server or client counts of its sessions; tunnels and plain streams are counted as such."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from asynctls.errors import (
    BindingMismatchError,
    ForgedError,
    MissingError,
    ReplayedError,
    SessionClosedError,
    SessionRefusedError,
    SessionTruncatedError,
)
from asynctls.runtime.metrics import HandshakeMetrics, reason_word
from asynctls.runtime.traffic import Totals

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

    from asynctls.errors import SessionError
    from asynctls.runtime.traffic import Metered

__all__ = ["ConnectionMetrics"]

_MAC_FAILURES: dict[type, str] = {
    ForgedError: "forged",
    ReplayedError: "replayed",
    MissingError: "missing",
    BindingMismatchError: "binding_mismatch",
}
_TLS_RECORD = "tls_record"
_TRAFFIC = (
    ("messages", "Whole messages of sessions."),
    ("receipts", "Receipts: the other application has taken a message."),
    ("application", "Bytes in messages, or carried by tunnels and plain streams."),
    ("tls", "Bytes of TLS on the wire, handshakes included."),
)


class ConnectionMetrics(HandshakeMetrics):
    """Counts sessions, what they carry and how they end, besides handshakes."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)
        self._sessions = Gauge("asynctls_sessions", "Sessions that are open.", registry=registry)
        self._started = Counter(
            "asynctls_sessions_started", "Sessions that were opened.", registry=registry
        )
        self._not_opened = Counter(
            "asynctls_sessions_not_opened",
            "Handshakes that were done and led to no session, by what stood in the way.",
            ["reason"],
            registry=registry,
        )
        self._ended = Counter(
            "asynctls_sessions_ended",
            "Sessions that ended: closed, refused_by_peer, truncated, or by which ERROR of ours.",
            ["reason"],
            registry=registry,
        )
        self._mac_failures = Counter(
            "asynctls_mac_failures",
            "What was received and is not what the peer sent: frames, KEYs, and TLS records.",
            ["kind"],
            registry=registry,
        )
        for kind in (*_MAC_FAILURES.values(), _TLS_RECORD):
            # At 0 from the start: an alert sees a counter grow, but not one that appears.
            self._mac_failures.labels(kind=kind)
        self._totals = Totals()
        registry.register(_TrafficMetrics(self._totals))

    def session_started(self, metered: Metered) -> None:
        """A session was opened."""
        self._started.inc()
        self._sessions.inc()
        self._totals.began(metered)

    def session_ended(self, metered: Metered, failure: SessionError | None) -> None:
        """A session that was opened ended; None: both ends closed it."""
        self._sessions.dec()
        self._totals.ended(metered)
        self._ended.labels(reason="closed" if failure is None else _reason(failure)).inc()
        self._count_mac_failure(metered, failure)

    def session_not_opened(self, metered: Metered, failure: SessionError | None) -> None:
        """A TLS connection came about, and no session on it."""
        self._totals.ended(metered)
        self._not_opened.labels(reason="other" if failure is None else _reason(failure)).inc()
        self._count_mac_failure(metered, failure)

    def _count_mac_failure(self, metered: Metered, failure: SessionError | None) -> None:
        kind = _TLS_RECORD if metered.stream.damaged else _MAC_FAILURES.get(type(failure))
        if kind is not None:
            self._mac_failures.labels(kind=kind).inc()


def _reason(failure: SessionError) -> str:
    match failure:
        case SessionRefusedError():
            return "refused_by_peer"
        case SessionTruncatedError():
            return "truncated"
        case BindingMismatchError():
            return "binding_mismatch"
        case SessionClosedError(told=code):
            return reason_word(code)
    return reason_word(failure.code)


class _TrafficMetrics(Collector):
    """The traffic of all connections, looked up at each scrape."""

    def __init__(self, totals: Totals) -> None:
        self._totals = totals

    def collect(self) -> Iterator[Metric]:
        traffic = self._totals.traffic()._asdict()
        for what, words in _TRAFFIC:
            unit = "_bytes" if what in ("application", "tls") else ""
            family = CounterMetricFamily(f"asynctls_{what}{unit}", words, labels=["direction"])
            for direction in ("sent", "received"):
                family.add_metric([direction], traffic[f"{what}_{direction}"])
            yield family
