"""Certificate revocation lists (RFC 5280, section 5): signed by a CA, read by every role.

A role checks a list's signature once, when it fetches it, and keeps a frozen set of serial numbers
and the few facts that `admission` needs. Only complete lists of one issuer for all its certificates
are made and taken: deltas and indirect lists say less than they seem to.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from asynctls.errors import CertificateError
from asynctls.pki.keys import judge_public_key
from asynctls.pki.malformed import MALFORMED
from asynctls.pki.names import holder_of
from asynctls.pki.profiles import Issuer, key_id_of

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "REASONS",
    "Replacement",
    "RevocationList",
    "Revoked",
    "may_replace",
    "read_crl",
    "sign_crl",
]

REASONS = (
    "keyCompromise",
    "cACompromise",
    "affiliationChanged",
    "superseded",
    "cessationOfOperation",
    "privilegeWithdrawn",
    "aACompromise",
)
"""The reasons that a revocation can give, as RFC 5280 spells them (section 5.3.1).

Left out: `unspecified`, which is said by giving no reason; `certificateHold`, because a hold can be
lifted and a revocation here cannot; `removeFromCRL`, which is for delta lists.
"""


@dataclass(frozen=True, slots=True)
class Revoked:
    """One revoked certificate; `reason` is one of `REASONS`, or None for none given."""

    serial_number: int
    at: datetime
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class RevocationList:
    """A verified CRL, as far as deciding needs it; `issuer` is the issuer's name in DER."""

    issuer: bytes
    authority_key_id: bytes
    issuer_name: str
    number: int
    this_update: datetime
    next_update: datetime
    serials: frozenset[int] = field(repr=False)
    der: bytes = field(repr=False)

    def __str__(self) -> str:
        return f"CRL {self.number} of {self.issuer_name}, {len(self.serials)} revoked"


class Replacement(Enum):
    """How a fetched CRL stands to the one that is held."""

    NEWER = "newer"
    SAME = "same"
    ROLLED_BACK = "rolled back"
    OLDER = "older"


def sign_crl(
    issuer: Issuer,
    *,
    number: int,
    revoked: Iterable[Revoked],
    now: datetime,
    lifetime: timedelta,
) -> bytes:
    """Sign a complete CRL (DER, SHA-384), good from `now` for `lifetime`.

    Building 10,000 entries takes 0.3 s: coroutines call this by `asyncio.to_thread`.

    Args:
        issuer: the CA whose certificates the list is about.
        number: the CRL number: higher than in every list that this CA signed before.
        revoked: what is revoked; the first entry counts where a serial number comes twice.
        now: the time of signing.
        lifetime: until nextUpdate, a second or more.

    Raises:
        CertificateError: a reason that is none, a number that cannot be one, or no lifetime.
    """
    now = now.astimezone(UTC).replace(microsecond=0)
    lifetime = timedelta(seconds=lifetime // timedelta(seconds=1))
    if lifetime <= timedelta():
        raise CertificateError("a CRL's lifetime is one second or more")
    if not 0 <= number < _MAX_NUMBER:
        raise CertificateError("a CRL number is not negative and of 20 octets at most (RFC 5280)")
    entries: dict[int, x509.RevokedCertificate] = {}
    for entry in revoked:
        if entry.serial_number not in entries:
            entries[entry.serial_number] = _entry(entry)
    # The entries go in at once: each `add_revoked_certificate` would copy all those before it.
    builder = x509.CertificateRevocationListBuilder(
        issuer.certificate.subject, now, now + lifetime, [], list(entries.values())
    )
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
            key_id_of(issuer.certificate)
        ),
        critical=False,
    ).add_extension(x509.CRLNumber(number), critical=False)
    return builder.sign(issuer.key, hashes.SHA384()).public_bytes(serialization.Encoding.DER)


def read_crl(der: bytes, issuer_certificate: x509.Certificate) -> RevocationList:
    """Read a CRL and check, once and for all, that `issuer_certificate` signed it.

    10,000 entries take 50 ms, half of it the signature: coroutines call this by
    `asyncio.to_thread`. Its dates are not judged here but by `admission`, each time it is used.

    Raises:
        CertificateError: malformed, another's, badly signed, a delta or indirect list or one for
            some certificates only, with a critical extension, or without number or nextUpdate.
    """
    whose = issuer_certificate.subject.rfc4514_string()
    try:
        return _read(der, issuer_certificate)
    except CertificateError as error:
        raise CertificateError(f"the CRL for {whose!r} cannot be used: {error}") from error
    except (*MALFORMED, x509.ExtensionNotFound) as error:
        raise CertificateError(f"the CRL for {whose!r} is malformed: {error}") from error


def may_replace(held: RevocationList, fetched: RevocationList) -> Replacement:
    """How a fetched CRL of the same issuer stands to the held one (both verified).

    A higher number is taken. A lower one (or the same on another list) is an old list replayed,
    unless it was made later: then the TTP's ledger was rolled back, and its list is taken all the
    same (`ROLLED_BACK`), for it is what the TTP now vouches for; the caller logs it as an error.
    """
    if fetched.der == held.der:
        return Replacement.SAME
    if fetched.number > held.number:
        return Replacement.NEWER
    if fetched.this_update > held.this_update:
        return Replacement.ROLLED_BACK
    return Replacement.OLDER


_MAX_NUMBER = 1 << 159
_PARTIAL = (x509.IssuingDistributionPoint, x509.DeltaCRLIndicator)
# DER's only encoding of the 'TRUE' that makes an extension critical (X.690, section 11.1).
_TRUE = b"\x01\x01\xff"


def _entry(revoked: Revoked) -> x509.RevokedCertificate:
    builder = (
        x509.RevokedCertificateBuilder()
        .serial_number(revoked.serial_number)
        .revocation_date(revoked.at.astimezone(UTC).replace(microsecond=0))
    )
    if revoked.reason is not None:
        if revoked.reason not in REASONS:
            raise CertificateError(
                f"{revoked.reason!r} is no reason for a revocation; it is one of "
                + ", ".join(REASONS)
            )
        reason = x509.CRLReason(x509.ReasonFlags(revoked.reason))
        builder = builder.add_extension(reason, critical=False)
    return builder.build()


def _read(der: bytes, issuer_certificate: x509.Certificate) -> RevocationList:
    crl = x509.load_der_x509_crl(der)
    if crl.issuer != issuer_certificate.subject:
        raise CertificateError(f"it is one of {crl.issuer.rfc4514_string()!r}")
    usage = issuer_certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    if not usage.crl_sign:
        raise CertificateError("its issuer may not sign CRLs")
    if not crl.is_signature_valid(judge_public_key(issuer_certificate.public_key())):
        raise CertificateError("its signature is not its issuer's")
    if crl.next_update_utc is None:
        raise CertificateError("it does not say until when it is good (nextUpdate)")
    key_id = key_id_of(issuer_certificate).digest
    number = _read_extensions(crl.extensions, key_id)
    # Looking at each entry's extensions doubles the time, and only these bytes can make one
    # critical (then the whole list must not be used: section 5.3).
    if _TRUE in der and any(extension.critical for entry in crl for extension in entry.extensions):
        raise CertificateError("an entry has a critical extension")
    return RevocationList(
        issuer=crl.issuer.public_bytes(),
        authority_key_id=key_id,
        issuer_name=holder_of(crl.issuer),
        number=number,
        this_update=crl.last_update_utc,
        next_update=crl.next_update_utc,
        serials=frozenset(entry.serial_number for entry in crl),
        der=der,
    )


def _read_extensions(extensions: x509.Extensions, key_id: bytes) -> int:
    number: int | None = None
    for extension in extensions:
        value = extension.value
        if isinstance(value, _PARTIAL):
            raise CertificateError("it is a delta, an indirect list, or one for some certificates")
        if extension.critical:
            raise CertificateError(f"it has the critical extension {extension.oid.dotted_string}")
        if isinstance(value, x509.CRLNumber):
            number = value.crl_number
        elif isinstance(value, x509.AuthorityKeyIdentifier) and value.key_identifier != key_id:
            raise CertificateError("it was signed for another key of its issuer")
    if number is None:
        raise CertificateError("it has no CRL number")
    return number
