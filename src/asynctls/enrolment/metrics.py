"""A role's identity and its CRLs as Prometheus reads them: how old, and how long they last.

Asked for at each scrape, so that nothing has to be kept up to date beside what counts. Lengths of
time and not moments: an alert then needs no clock but the role's own, by which it also admits.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cryptography import x509
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from asynctls.pki.profiles import key_id_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client.core import Metric

    from asynctls.enrolment.keeper import Keeper

__all__ = ["IdentityMetrics", "certificate_families", "crl_families"]


class IdentityMetrics(Collector):
    """What a role holds: its certificate, the CAs that it trusts, and their CRLs."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper

    def collect(self) -> Iterator[Metric]:
        """The metrics as of now."""
        now = datetime.now(UTC)
        identity = self._keeper.identity
        own = x509.load_der_x509_certificate(identity.certificate)
        yield from certificate_families(
            [
                ("own", own),
                *(("issuing", each) for each in identity.issuing),
                ("root", identity.root),
            ],
            now,
        )
        yield GaugeMetricFamily(
            "asynctls_renewal_due_in_seconds",
            "Until the certificate is to be renewed; negative while that is late.",
            (identity.renews_at - now).total_seconds(),
        )
        renewals = CounterMetricFamily(
            "asynctls_renewals",
            "Tries to renew the certificate.",
            labels=["result"],
        )
        done, failed = self._keeper.renewals
        renewals.add_metric(["done"], done)
        renewals.add_metric(["failed"], failed)
        yield renewals
        yield GaugeMetricFamily(
            "asynctls_ttp_in_touch",
            "1 when the TTP gave CAs and CRLs as it was last asked, else 0.",
            float(self._keeper.in_touch),
        )
        yield from crl_families(
            [
                (each.authority_key_id.hex(), each.this_update, each.next_update)
                for each in self._keeper.crls
            ],
            now,
        )


def certificate_families(
    certificates: Iterable[tuple[str, x509.Certificate]], now: datetime
) -> Iterator[Metric]:
    """How long each certificate is still valid.

    Args:
        certificates: each with what it is: own, root, issuing …
        now: the time.
    """
    left = GaugeMetricFamily(
        "asynctls_certificate_expires_in_seconds",
        "Until the end of a certificate; negative once it has expired.",
        labels=["certificate", "key_id"],
    )
    for what, certificate in certificates:
        key_id = key_id_of(certificate).digest.hex()
        left.add_metric([what, key_id], (certificate.not_valid_after_utc - now).total_seconds())
    yield left


def crl_families(crls: Iterable[tuple[str, datetime, datetime]], now: datetime) -> Iterator[Metric]:
    """How old each CRL is, and for how long it is current.

    Args:
        crls: each with its issuer's key id, thisUpdate and nextUpdate.
        now: the time.
    """
    age = GaugeMetricFamily(
        "asynctls_crl_age_seconds", "Since a CRL was signed (thisUpdate).", labels=["key_id"]
    )
    left = GaugeMetricFamily(
        "asynctls_crl_next_update_in_seconds",
        "Until a CRL must have been replaced (nextUpdate); negative once it has ended.",
        labels=["key_id"],
    )
    current = GaugeMetricFamily(
        "asynctls_crl_current",
        "1 while a CRL is current, else 0: by default nobody is let in by it then.",
        labels=["key_id"],
    )
    for key_id, this_update, next_update in crls:
        age.add_metric([key_id], (now - this_update).total_seconds())
        left.add_metric([key_id], (next_update - now).total_seconds())
        current.add_metric([key_id], float(now < next_update))
    yield from (age, left, current)
