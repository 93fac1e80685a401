"""Certificates that the probe tries a server with: expired, for another use, with a weak key.

No policy is asked, since what it refuses is what is wanted here; whoever has the state folder has
the CA's key anyway. But each is a row like any other, asked for by `BY`, so that it is listed,
shown, revoked and audited; and none lasts longer than `MOST`, so that nothing of use is left behind
where whoever asked for it was killed before it was revoked.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from asynctls.errors import CertificateError
from asynctls.pki.certificates import to_der
from asynctls.pki.flaws import flawed
from asynctls.pki.keys import KeyType, generate_now, spki_sha256
from asynctls.pki.names import format_serial, identity_name
from asynctls.pki.profiles import Issuer, Profile, issue, key_id_text
from asynctls.ttp.schema import CertificateBody, Kind, row_of

if TYPE_CHECKING:
    from datetime import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

    from asynctls.ttp.transactions import Transaction

__all__ = ["BY", "MOST", "Trial", "certify"]

BY = "asynctls probe"
"""From where such a certificate was asked for, as the ledger and ``asynctls ttp show`` say it."""

MOST = timedelta(minutes=5)
"""No such certificate ends later than this from now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A certificate to try a peer with.

    Attributes:
        sans: its names.
        public_key: of any kind and size.
        starts_in: from now until it is issued, as it says; less than nothing: that long ago.
        lifetime: from then until its end.
        profile: which role it is for.
        serial_number: from `x509.random_serial_number`, so that whoever asks knows it beforehand.
        uses: its extended key usages, where they are not the profile's.
    """

    sans: tuple[str, ...]
    public_key: CertificatePublicKeyTypes
    starts_in: timedelta
    lifetime: timedelta
    profile: Profile
    serial_number: int
    uses: tuple[x509.ObjectIdentifier, ...] | None = None


def certify(
    transaction: Transaction, trial: Trial, *, issuer: Issuer, now: datetime
) -> x509.Certificate:
    """Issues and records it; an operation of the ledger's writer.

    Raises:
        CertificateError: it would end too late, or be valid for less than a second; a name that is
            none.
    """
    if trial.starts_in + trial.lifetime > MOST:
        raise CertificateError(f"a certificate for a trial ends within {MOST}")
    certificate = flawed(
        issue(
            trial.profile,
            issuer=issuer,
            # Any that a profile takes: the trial's own may be one that none does.
            public_key=generate_now(KeyType.ECDSA_P256).public_key(),
            sans=trial.sans,
            lifetime=trial.lifetime,
            now=now + trial.starts_in,
            serial_number=trial.serial_number,
        ),
        issuer=issuer,
        public_key=trial.public_key,
        uses=trial.uses,
    )
    transaction.append(
        row_of(
            Kind.CERTIFICATE_ISSUED,
            CertificateBody(
                sans=trial.sans,
                profile=trial.profile,
                lifetime_s=trial.lifetime // timedelta(seconds=1),
                not_before=certificate.not_valid_before_utc,
                address=BY,
            ),
            at=int(now.timestamp()),
            serial=format_serial(certificate.serial_number),
            name=identity_name(certificate),
            spki_sha256=spki_sha256(trial.public_key),
            ends_at=int(certificate.not_valid_after_utc.timestamp()),
            der=to_der(certificate),
            issuer=key_id_text(issuer.certificate),
        )
    )
    return certificate
