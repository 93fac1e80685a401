"""The CRLs that the TTP signs (RFC 5280, section 5): hourly, and with each revocation.

Each issuing CA whose certificates can still be valid signs one about what it issued itself; so does
the root.
Each CRL signed is a row of the ledger, its number is that row's sequence, and its bytes are in the
row: so numbers never repeat or go back, whoever signs, and a CRL that left this host shows a ledger
that was cut off behind it. A revoked certificate stays listed until one CRL's lifetime past its own
end, so that at least one CRL that was signed after that end still lists it (section 3.3).
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from asynctls.errors import ConfigError, Fault
from asynctls.pki import status
from asynctls.pki.profiles import key_id_text
from asynctls.ttp import crls
from asynctls.ttp.ca import ISSUING, ROOT
from asynctls.ttp.crls import SignedCRL
from asynctls.ttp.schema import CRLBody, Kind, row_of

if TYPE_CHECKING:
    from datetime import datetime

    from asynctls.pki.profiles import Issuer
    from asynctls.pki.status import Revoked
    from asynctls.ttp.ca import CertificateAuthority
    from asynctls.ttp.transactions import Transaction

__all__ = [
    "ROOT_CRL_LIFETIME",
    "UNSPECIFIED",
    "is_due",
    "is_root_due",
    "parse_reason",
    "sign",
    "sign_if_due",
    "sign_root",
]

ROOT_CRL_LIFETIME = timedelta(days=180)
"""The root revokes nothing but issuing CAs, and its key may not always be at hand."""

UNSPECIFIED = "unspecified"

_TEMPORARY = {"certificateHold"}


def parse_reason(text: str) -> str:
    """A reason for a revocation, as RFC 5280 spells it; case does not matter.

    Raises:
        ConfigError: no such reason, or one that this TTP does not give: certificateHold and
            removeFromCRL take back, and what the ledger says is never taken back.
    """
    known: dict[str, str] = {
        reason.lower(): reason
        for reason in (UNSPECIFIED, *status.REASONS)
        if reason not in _TEMPORARY
    }
    reason = known.get(text.lower())
    if reason is None:
        raise ConfigError(
            Fault("reason", "ttp revoke", f"{text!r} is none of {', '.join(known.values())}")
        )
    return reason


def is_due(
    crl: SignedCRL | None, *, interval: timedelta, lifetime: timedelta, now: datetime
) -> bool:
    """Whether a CRL is to be signed anew; also when the clock was set back behind the last one.

    And when it was signed for another lifetime, before the config was changed or by an admin
    command without it: it could end before the interval does, and then nobody is let in.
    """
    if crl is None or crl.next_update - crl.this_update != lifetime:
        return True
    return not crl.this_update <= now < crl.this_update + interval


def sign(
    transaction: Transaction,
    authority: CertificateAuthority,
    issuer: Issuer,
    *,
    now: datetime,
    lifetime: timedelta,
) -> SignedCRL:
    """Signs an issuing CA's CRL with all of its that the ledger says is revoked, and records it.

    Args:
        transaction: the writer's; the CRL lists what was appended in it before.
        authority: all the CAs.
        issuer: the one of them whose CRL it is.
        now: thisUpdate.
        lifetime: until nextUpdate.
    """
    key_id = key_id_text(issuer.certificate)
    listed = crls.revocations(
        transaction.connection,
        key_id,
        is_first=key_id == authority.first_key_id,
        ended_after=now - lifetime,
    )
    return _sign(transaction, issuer, ISSUING, listed, now=now, lifetime=lifetime)


def sign_if_due(
    transaction: Transaction,
    authority: CertificateAuthority,
    issuer: Issuer,
    *,
    now: datetime,
    lifetime: timedelta,
    interval: timedelta,
) -> SignedCRL:
    """The current CRL: the last one, or a new one when that is due; decided under the write lock.

    So of several processes that find it due only one signs.
    """
    crl = crls.latest(transaction.connection, key_id_text(issuer.certificate))
    if crl is not None and not is_due(crl, interval=interval, lifetime=lifetime, now=now):
        return crl
    return sign(transaction, authority, issuer, now=now, lifetime=lifetime)


def is_root_due(crl: SignedCRL, now: datetime) -> bool:
    """Whether half the time of the root's CRL is over."""
    return is_due(crl, interval=ROOT_CRL_LIFETIME / 2, lifetime=ROOT_CRL_LIFETIME, now=now)


def sign_root(
    transaction: Transaction, root: Issuer, *, now: datetime, only_if_due: bool
) -> SignedCRL:
    """The root's CRL, which revokes nothing: signed anew, or only when half its time is over."""
    crl = crls.latest(transaction.connection, key_id_text(root.certificate))
    if only_if_due and crl is not None and not is_root_due(crl, now):
        return crl
    return _sign(transaction, root, ROOT, [], now=now, lifetime=ROOT_CRL_LIFETIME)


def _sign(
    transaction: Transaction,
    issuer: Issuer,
    of: str,
    listed: list[Revoked],
    *,
    now: datetime,
    lifetime: timedelta,
) -> SignedCRL:
    number = transaction.next_sequence
    der = status.sign_crl(issuer, number=number, revoked=listed, now=now, lifetime=lifetime)
    crl = SignedCRL(number, now, now + lifetime, der)
    transaction.append(
        row_of(
            Kind.CRL_SIGNED,
            CRLBody(this_update=now),
            at=int(now.timestamp()),
            name=of,
            ends_at=int(crl.next_update.timestamp()),
            der=der,
            issuer=key_id_text(issuer.certificate),
        )
    )
    return crl
