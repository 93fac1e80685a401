"""The TTP's metrics: what this process decided, and what the ledger and the CAs look like now.

Counters are of this process and begin at 0 with it, as Prometheus expects; the rows of the ledger
are counted in the ledger, so they are of every replica and admin verb, and the same at each.
"""

from __future__ import annotations

import asyncio
from collections import Counter as Tally
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec
from prometheus_client import Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from asynctls.enrolment.metrics import certificate_families, crl_families
from asynctls.errors import LedgerError
from asynctls.logger import get_logger
from asynctls.pki.ocsp import Answer, NotRevoked, Unanswered
from asynctls.pki.profiles import key_id_text
from asynctls.runtime.metrics import HandshakeMetrics, new_registry, serve_metrics
from asynctls.ttp.observing import TTPObserver
from asynctls.ttp.policy import Rule
from asynctls.ttp.schema import CertificateBody, Kind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from cryptography import x509
    from prometheus_client.core import Metric

    from asynctls.config import Endpoint
    from asynctls.ttp.authority import Authority
    from asynctls.ttp.chain import Value

__all__ = ["TTPMetrics"]

log = get_logger()

_LOOK_S = 5.0
# From a commit that was shared to one that waited for a lock.
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class TTPMetrics(HandshakeMetrics, TTPObserver):
    """Counts what the TTP tells, and is served."""

    def __init__(self, authority: Authority) -> None:
        self._registry = new_registry("ttp")
        super().__init__(self._registry)
        self._issued = Counter(
            "asynctls_ttp_certificates_issued",
            "Certificates that this process issued, by profile; how: enrolment or renewal.",
            ["profile", "how"],
            registry=self._registry,
        )
        self._refused = Counter(
            "asynctls_ttp_refused",
            "Requests for a certificate that this process refused, by the rule that said no.",
            ["rule"],
            registry=self._registry,
        )
        for rule in Rule:
            # At 0 from the start: an alert sees a counter grow, but not one that appears.
            self._refused.labels(rule=rule.text)
        self._ocsp = Counter(
            "asynctls_ttp_ocsp_answers",
            "Answers by OCSP: what they said of a certificate, or why they said nothing.",
            ["answer"],
            registry=self._registry,
        )
        self._latency = Histogram(
            "asynctls_ttp_ledger_append_seconds",
            "From asking the ledger to write until it is on disk.",
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._failures = Counter(
            "asynctls_ttp_ledger_failures",
            "Requests to write that failed because of the ledger.",
            registry=self._registry,
        )
        self._authority = authority
        self._state = _State(authority)
        self._registry.register(self._state)

    @asynccontextmanager
    async def serving(self, endpoint: Endpoint) -> AsyncIterator[None]:
        """Serves the metrics while the context lasts.

        Raises:
            ConfigError: for the key ``ttp.metrics_listen`` when it cannot be listened on.
        """
        try:
            async with serve_metrics(
                endpoint,
                self._registry,
                role="ttp",
                troubles=self._authority.troubles,
                prepare=self._state.look,
            ):
                yield
        finally:
            await self._state.stop()

    def appended(self, row: dict[str, Value]) -> None:
        """A row was committed by this process."""
        if row["kind"] == Kind.CERTIFICATE_ISSUED:
            profile = msgspec.json.decode(str(row["body"]), type=CertificateBody).profile
            how = "enrolment" if row["renews"] is None else "renewal"
            self._issued.labels(profile=profile, how=how).inc()

    def committed(self, seconds: float) -> None:
        """A request to write was done, that long after it was made."""
        self._latency.observe(seconds)

    def not_committed(self) -> None:
        """A request to write failed because of the ledger."""
        self._failures.inc()

    def ocsp_answered(self, answer: Answer | Unanswered) -> None:
        """Somebody asked by OCSP, and this is the answer."""
        match answer:
            case Unanswered():
                word = answer.name.lower()
            case Answer(status=NotRevoked() as status):
                word = status.value
            case _:
                word = "revoked"
        self._ocsp.labels(answer=word).inc()

    def refused(self, rule: str) -> None:
        """A request for a certificate was refused; ``rule`` is one of the program's own few."""
        self._refused.labels(rule=rule).inc()


class _State(Collector):
    """What is asked for at each scrape; the ledger before it, for no more than some seconds."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority
        self._rows: Tally[str] = Tally()
        self._until = 0
        self._waiting = 0
        self._root_crl: tuple[datetime, datetime] | None = None
        self._readable = False
        self._looking: asyncio.Task[None] | None = None

    async def look(self) -> None:
        """Counts the ledger's new rows. Scrapers that come meanwhile wait for the same look."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        done, _ = await asyncio.wait({self._looking}, timeout=_LOOK_S)
        if not done:
            self._readable = False
        for look in done:
            look.result()

    async def stop(self) -> None:
        """Ends a look that is under way."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    async def _look(self) -> None:
        try:
            counted = await self._authority.count_rows(after=self._until)
            waiting = await self._authority.pending()
        except LedgerError as error:
            self._readable = False
            log.warning("ledger not counted", reason=str(error))
            return
        self._rows.update(counted.rows)
        self._until = counted.until
        self._waiting = len(waiting)
        crl = counted.root_crl
        self._root_crl = None if crl is None else (crl.this_update, crl.next_update)
        self._readable = True

    def collect(self) -> Iterator[Metric]:
        """The metrics as of now."""
        now = datetime.now(UTC)
        rows = CounterMetricFamily(
            "asynctls_ttp_ledger_rows",
            "Rows of the ledger by what they record, whoever wrote them.",
            labels=["kind"],
        )
        for kind in Kind:
            rows.add_metric([kind.value.replace(" ", "_")], self._rows[kind.value])
        yield rows
        yield GaugeMetricFamily(
            "asynctls_ttp_pending", "Requests that wait for a person's approval.", self._waiting
        )
        yield GaugeMetricFamily(
            "asynctls_ttp_ledger_readable",
            "1 when the ledger could be read for this answer, else 0.",
            float(self._readable),
        )
        yield GaugeMetricFamily(
            "asynctls_ttp_healthy",
            "1 while /healthz says ok, else 0.",
            float(not self._authority.troubles()),
        )
        yield from certificate_families(self._certificates(), now)
        yield from crl_families(self._crls(), now)

    def _certificates(self) -> Iterator[tuple[str, x509.Certificate]]:
        *issuing, root = self._authority.ca_certificates
        for each in issuing:
            yield "issuing", each
        yield "root", root
        for each in self._authority.ocsp.certificates:
            yield "ocsp", each
        if self._authority.tls_certificate is not None:
            yield "ttp", self._authority.tls_certificate

    def _crls(self) -> Iterator[tuple[str, datetime, datetime]]:
        *issuing, root = map(key_id_text, self._authority.ca_certificates)
        for key_id in issuing:
            crl = self._authority.crl_of(key_id)
            if crl is not None:
                yield key_id, crl.this_update, crl.next_update
        if self._root_crl is not None:
            yield root, *self._root_crl
