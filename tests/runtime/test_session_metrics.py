"""Sessions as Prometheus sees them, while they live and afterwards."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import pytest
from prometheus_client import CollectorRegistry

from asynctls.errors import (
    BindingMismatchError,
    ErrorCode,
    ForgedError,
    MissingError,
    ReplayedError,
    SessionClosedError,
    SessionError,
    SessionRefusedError,
    SessionTimeoutError,
    SessionTruncatedError,
)
from asynctls.runtime.session_metrics import ConnectionMetrics
from asynctls.runtime.traffic import Metered
from asynctls.session.tally import Tally

if TYPE_CHECKING:
    from asynctls.session import Session
    from asynctls.tls import Stream


@dataclass
class Bytes:
    total: int = 0


@dataclass
class Connection:
    """What is read of a `Stream`, and of the `Session` on it."""

    damaged: bool = False
    plaintext_sent: int = 0
    plaintext_received: int = 0
    sent: Bytes = field(default_factory=Bytes)
    received: Bytes = field(default_factory=Bytes)
    tally: Tally = field(default_factory=Tally)

    def metered(self, *, plain: bool = False) -> Metered:
        stream, session = cast("Stream", self), cast("Session", self)
        return Metered(stream) if plain else Metered(stream, session)


class Counted:
    """Metrics, and what they come to."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.metrics = ConnectionMetrics(self.registry)

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"asynctls_{name}", labels)

    def both(self, name: str) -> tuple[Any, Any]:
        return self.value(name, direction="sent"), self.value(name, direction="received")


@pytest.fixture
def counted() -> Counted:
    return Counted()


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (None, "closed"),
        (ForgedError("a tag that the key did not make"), "forged"),
        (SessionClosedError("revoked", told=ErrorCode.CERTIFICATE_REVOKED), "certificate_revoked"),
        (SessionRefusedError("as the peer says", error_code=99), "refused_by_peer"),
        (SessionTruncatedError("no CLOSE"), "truncated"),
    ],
)
def test_a_session_is_counted_by_what_ended_it(failure: SessionError | None, reason: str) -> None:
    counted, metered = Counted(), Connection().metered()
    counted.metrics.session_started(metered)
    assert counted.value("sessions") == 1
    counted.metrics.session_ended(metered, failure)
    assert counted.value("sessions") == 0
    assert counted.value("sessions_ended_total", reason=reason) == 1


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (BindingMismatchError("two connections"), "binding_mismatch"),
        (SessionTimeoutError("no KEY"), "time_out"),
        (None, "other"),
    ],
)
def test_a_session_that_did_not_come_about_is_counted_too(
    counted: Counted, failure: SessionError | None, reason: str
) -> None:
    counted.metrics.session_not_opened(Connection().metered(), failure)
    assert counted.value("sessions_not_opened_total", reason=reason) == 1
    assert counted.value("sessions_started_total") == 0


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (ForgedError("a tag that the key did not make"), "forged"),
        (ReplayedError("again"), "replayed"),
        (MissingError("further on"), "missing"),
        (BindingMismatchError("two connections"), "binding_mismatch"),
    ],
)
def test_a_mac_that_fails_is_counted_by_what_was_wrong(
    counted: Counted, failure: SessionError, kind: str
) -> None:
    assert counted.value("mac_failures_total", kind=kind) == 0
    counted.metrics.session_not_opened(Connection().metered(), failure)
    assert counted.value("mac_failures_total", kind=kind) == 1


def test_a_tls_record_that_was_changed_is_one_of_them_in_sessions_and_streams(
    counted: Counted,
) -> None:
    for plain in (True, False):
        metered = Connection(damaged=True).metered(plain=plain)
        counted.metrics.session_started(metered)
        counted.metrics.session_ended(metered, SessionTruncatedError("tampered with"))
    assert counted.value("mac_failures_total", kind="tls_record") == 2


def test_what_a_peer_says_of_our_frames_is_no_failure_of_its_mac(counted: Counted) -> None:
    metered = Connection().metered()
    counted.metrics.session_started(metered)
    refused = SessionRefusedError("forged, as it says", error_code=ErrorCode.FORGED)
    counted.metrics.session_ended(metered, refused)
    assert counted.value("mac_failures_total", kind="forged") == 0


def test_what_is_carried_counts_while_a_session_lives_and_stays_when_it_ends(
    counted: Counted,
) -> None:
    live, stream = Connection(), Connection()
    metered, plain = live.metered(), stream.metered(plain=True)
    counted.metrics.session_started(metered)
    counted.metrics.session_started(plain)
    assert counted.both("messages_total") == (0, 0)
    live.tally = Tally(2, 1, 200, 100, 1, 2)
    live.sent.total, live.received.total = 3000, 2000
    # Frames are the session's business and no messages.
    live.plaintext_sent = 260
    stream.plaintext_sent, stream.plaintext_received = 10, 20
    stream.sent.total, stream.received.total = 100, 200
    for end in (None, metered, plain):
        if end is not None:
            counted.metrics.session_ended(end, None)
        assert counted.both("messages_total") == (2, 1)
        assert counted.both("receipts_total") == (1, 2)
        assert counted.both("application_bytes_total") == (210, 120)
        assert counted.both("tls_bytes_total") == (3100, 2200)
