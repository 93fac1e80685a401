"""Certificate revocation lists (RFC 5280, section 5): signed by a CA, read by every role.

A role checks a list's signature once, when it fetches it, and keeps a frozen set of serial numbers
and the few facts that `admission` needs. Only complete lists of one issuer for all its certificates
are made and taken: deltas and indirect lists say less than they seem to.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from asynctls.errors import CertificateError
from asynctls.pki.der import (
    BIT_STRING,
    GENERALIZED_TIME,
    OBJECT_IDENTIFIER,
    OCTET_STRING,
    SEQUENCE,
    UTC_TIME,
    integer,
    pieces,
    tlv,
)
from asynctls.pki.keys import judge_public_key
from asynctls.pki.malformed import MALFORMED
from asynctls.pki.names import holder_of
from asynctls.pki.profiles import Issuer, key_id_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from asynctls.pki.keys import PrivateKey, PublicKey

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


class Revoked(msgspec.Struct, frozen=True):
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
    # What is signed says it all: lists are the same if their bytes are.
    serials: frozenset[int] = field(repr=False, compare=False)
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

    100,000 entries take half a second: coroutines call this by `asyncio.to_thread`.

    Args:
        issuer: the CA whose certificates the list is about.
        number: the CRL number: higher than in every list that this CA signed before.
        revoked: what is revoked; the first entry counts where a serial number comes twice.
        now: the time of signing.
        lifetime: until nextUpdate, a second or more.

    Raises:
        CertificateError: a reason that is none, a number, serial number or date that cannot be one,
            or no lifetime.
    """
    now = now.astimezone(UTC).replace(microsecond=0)
    lifetime = timedelta(seconds=lifetime // timedelta(seconds=1))
    if lifetime <= timedelta():
        raise CertificateError("a CRL's lifetime is one second or more")
    if not 0 <= number < _MAX_NUMBER:
        raise CertificateError("a CRL number is not negative and of 20 octets at most (RFC 5280)")
    entries: dict[int, bytes] = {}
    for entry in revoked:
        if entry.serial_number not in entries:
            entries[entry.serial_number] = _entry(entry)
    builder = x509.CertificateRevocationListBuilder(issuer.certificate.subject, now, now + lifetime)
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
            key_id_of(issuer.certificate)
        ),
        critical=False,
    ).add_extension(x509.CRLNumber(number), critical=False)
    empty = builder.sign(issuer.key, hashes.SHA384()).public_bytes(serialization.Encoding.DER)
    return _with_entries(empty, entries.values(), issuer) if entries else empty


def read_crl(der: bytes, issuer_certificate: x509.Certificate) -> RevocationList:
    """Read a CRL and check, once and for all, that `issuer_certificate` signed it.

    100,000 entries take a quarter of a second: coroutines call this by `asyncio.to_thread`. Its
    dates are not judged here but by `admission`, each time it is used.

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
_FIRST_YEAR = 1950
_FIRST_GENERALIZED = 2050
_PARTIAL = (x509.IssuingDistributionPoint, x509.DeltaCRLIndicator)
_CRL_REASON = tlv(OBJECT_IDENTIFIER, bytes.fromhex("551d15"))  # 2.5.29.21
_REASON_EXTENSIONS = {
    reason: tlv(
        SEQUENCE,
        tlv(
            SEQUENCE,
            _CRL_REASON,
            tlv(OCTET_STRING, x509.CRLReason(x509.ReasonFlags(reason)).public_bytes()),
        ),
    )
    for reason in REASONS
}
# DER's only encoding of the 'TRUE' that makes an extension critical (X.690, section 11.1), and the
# tag of the value that follows it (RFC 5280, section 4.1).
_CRITICAL = b"\x01\x01\xff" + bytes((OCTET_STRING,))


def _entry(revoked: Revoked) -> bytes:
    """One of revokedCertificates (RFC 5280, section 5.1.2.6).

    By hand, like the list around them: `cryptography` takes 15 µs for each, with the interpreter's
    lock held throughout, and a TTP signs a list at each revocation.
    """
    if not 0 < revoked.serial_number < _MAX_NUMBER:
        raise CertificateError("a serial number is positive and of 20 octets at most (RFC 5280)")
    reason = b""
    if revoked.reason is not None:
        if revoked.reason not in _REASON_EXTENSIONS:
            raise CertificateError(
                f"{revoked.reason!r} is no reason for a revocation; it is one of "
                + ", ".join(REASONS)
            )
        reason = _REASON_EXTENSIONS[revoked.reason]
    return tlv(SEQUENCE, integer(revoked.serial_number), _time(revoked.at), reason)


def _time(at: datetime) -> bytes:
    """Until 2049 as UTCTime, from 2050 on as GeneralizedTime (RFC 5280, section 5.1.2.4)."""
    at = at.astimezone(UTC)
    if at.year < _FIRST_YEAR:
        raise CertificateError("a certificate is revoked in 1950 or later (RFC 5280)")
    digits = at.strftime("%Y%m%d%H%M%SZ")
    if at.year < _FIRST_GENERALIZED:
        return tlv(UTC_TIME, digits[2:].encode())
    return tlv(GENERALIZED_TIME, digits.encode())


def _with_entries(empty: bytes, entries: Iterable[bytes], issuer: Issuer) -> bytes:
    """A list without entries (DER) as one with these, signed anew."""
    tbs, algorithm, _ = pieces(empty)
    *before, extensions = pieces(tbs)
    tbs = tlv(SEQUENCE, *before, tlv(SEQUENCE, *entries), extensions)
    return tlv(SEQUENCE, tbs, algorithm, tlv(BIT_STRING, b"\0", _signature(issuer.key, tbs)))


def _signature(key: PrivateKey, signed: bytes) -> bytes:
    digest, algorithm = hashlib.sha384(signed).digest(), Prehashed(hashes.SHA384())
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(digest, padding.PKCS1v15(), algorithm)
    return key.sign(digest, ec.ECDSA(algorithm))


def _is_signed_by(key: PublicKey, crl: x509.CertificateRevocationList, der: bytes) -> bool:
    """Whether the signature is the key's, over the bytes as they came.

    The library's own check encodes the list anew first, which with 100,000 entries holds up every
    thread for a tenth of a second; hashing lets them go on.
    """
    used, function = crl.signature_algorithm_parameters, crl.signature_hash_algorithm
    if function is None:
        return False
    digest = hashlib.new(function.name, pieces(der)[0]).digest()
    prehashed = Prehashed(function)
    try:
        if isinstance(key, rsa.RSAPublicKey):
            if not isinstance(used, padding.PKCS1v15 | padding.PSS):
                return False
            key.verify(crl.signature, digest, used, prehashed)
        else:
            if not isinstance(used, ec.ECDSA):
                return False
            key.verify(crl.signature, digest, ec.ECDSA(prehashed))
    except InvalidSignature:
        return False
    return True


def _read(der: bytes, issuer_certificate: x509.Certificate) -> RevocationList:
    crl = x509.load_der_x509_crl(der)
    if crl.issuer != issuer_certificate.subject:
        raise CertificateError(f"it is one of {crl.issuer.rfc4514_string()!r}")
    usage = issuer_certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    if not usage.crl_sign:
        raise CertificateError("its issuer may not sign CRLs")
    if not _is_signed_by(judge_public_key(issuer_certificate.public_key()), crl, der):
        raise CertificateError("its signature is not its issuer's")
    if crl.next_update_utc is None:
        raise CertificateError("it does not say until when it is good (nextUpdate)")
    key_id = key_id_of(issuer_certificate).digest
    number = _read_extensions(crl.extensions, key_id)
    # Looking at each entry's extensions doubles the time, and only these bytes can make one
    # critical (then the whole list must not be used: section 5.3).
    if _CRITICAL in der and any(
        extension.critical for entry in crl for extension in entry.extensions
    ):
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
