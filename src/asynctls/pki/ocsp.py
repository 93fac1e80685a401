"""OCSP (RFC 6960): a request read, an answer signed, as pure values.

The profile is that of RFC 5019: one certificate in a request, the responder named by its key, its
certificate in the answer. What the RFCs leave open is decided here:

- A request for several certificates is answered by ``malformedRequest``. RFC 5019, section 2.1.1,
  forbids it to clients, nobody but a test program sends it, and the library that reads requests
  reads one. Whoever has several certificates asks several times.
- A nonce of 1 to 128 octets is echoed (RFC 9654, section 2.1); another length is malformed.
- A requestor's name and signature are not looked at: anybody may ask, and gets the same answer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from asynctls.errors import CertificateError, RequestError
from asynctls.pki.certificates import check_issued_by
from asynctls.pki.malformed import MALFORMED
from asynctls.pki.status import Revoked

if TYPE_CHECKING:
    from asynctls.pki.keys import PrivateKey

__all__ = [
    "MAX_NONCE_BYTES",
    "MAX_REQUEST_BYTES",
    "Answer",
    "IssuerID",
    "NotRevoked",
    "Responder",
    "Status",
    "StatusRequest",
    "Unanswered",
    "issuer_ids",
    "read_request",
]

MAX_REQUEST_BYTES = 4096
"""Forty times what a request needs; one with a signature and its certificates fits as well."""

MAX_NONCE_BYTES = 128
"""RFC 9654, section 2.1."""

_HASHES: tuple[hashes.HashAlgorithm, ...] = (
    # SHA-1 only names the issuer here, and is what every client uses (RFC 5019, section 2.1.1).
    hashes.SHA1(),  # noqa: S303
    hashes.SHA224(),
    hashes.SHA256(),
    hashes.SHA384(),
    hashes.SHA512(),
)


class Unanswered(Enum):
    """The answers that are not signed (RFC 6960, section 4.2.1), as DER."""

    MALFORMED_REQUEST = ocsp.OCSPResponseStatus.MALFORMED_REQUEST
    INTERNAL_ERROR = ocsp.OCSPResponseStatus.INTERNAL_ERROR
    TRY_LATER = ocsp.OCSPResponseStatus.TRY_LATER
    UNAUTHORIZED = ocsp.OCSPResponseStatus.UNAUTHORIZED
    """Of an issuer that is none of ours: nothing that we sign could count (RFC 5019, 2.2.3)."""

    @property
    def der(self) -> bytes:
        """The whole OCSPResponse."""
        return _UNSIGNED[self]


_UNSIGNED = {
    each: ocsp.OCSPResponseBuilder.build_unsuccessful(each.value).public_bytes(
        serialization.Encoding.DER
    )
    for each in Unanswered
}


class NotRevoked(Enum):
    """The two states of a certificate beside 'revoked' (RFC 6960, section 2.2)."""

    GOOD = "good"
    UNKNOWN = "unknown"


Status: TypeAlias = Revoked | NotRevoked


class IssuerID(msgspec.Struct, frozen=True):
    """What a CertID says of the issuer: hashes of its name and its key (RFC 6960, 4.1.1)."""

    algorithm: str
    name_hash: bytes
    key_hash: bytes


@dataclass(frozen=True, slots=True)
class StatusRequest:
    """One question: how does this serial number of that issuer stand?"""

    issuer: IssuerID
    serial_number: int
    nonce: bytes | None
    algorithm: hashes.HashAlgorithm = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """A signed answer, and what a cache has to know of it (RFC 5019, section 6).

    ``is_for_one`` is true of an answer with a nonce, which means nothing to anybody else.
    """

    status: Status
    this_update: datetime
    next_update: datetime
    is_for_one: bool
    der: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Responder:
    """A responder that an issuing CA has delegated to (RFC 6960, section 4.2.2.2).

    Raises:
        CertificateError: the certificate is not the issuer's, not for OCSP, or not the key's.
    """

    issuer: x509.Certificate
    certificate: x509.Certificate
    key: PrivateKey = field(repr=False)

    def __post_init__(self) -> None:
        check_issued_by(self.certificate, self.issuer)
        if self.certificate.public_key() != self.key.public_key():
            raise CertificateError("the responder's private key is not its certificate's")
        try:
            uses = self.certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
        except x509.ExtensionNotFound as error:
            raise CertificateError("the responder's certificate is not one for OCSP") from error
        if ExtendedKeyUsageOID.OCSP_SIGNING not in uses.value:
            raise CertificateError("the responder's certificate is not one for OCSP")

    def sign(
        self, request: StatusRequest, status: Status, *, now: datetime, lifetime: timedelta
    ) -> Answer:
        """Signs an answer (SHA-256); 50 microseconds with ECDSA P-256, a millisecond with RSA.

        Args:
            request: what was asked; its CertID and its nonce are repeated.
            status: how the certificate stands.
            now: thisUpdate: when the status was known to be so. producedAt is the machine's clock.
            lifetime: until nextUpdate, a second or more; never past the responder's own end.

        Raises:
            CertificateError: the responder's certificate has ended.
        """
        now = now.astimezone(UTC).replace(microsecond=0)
        end = self.certificate.not_valid_after_utc
        if now >= end:
            raise CertificateError(
                f"the responder's certificate expired on {end:%Y-%m-%d %H:%M:%S}"
            )
        lifetime = timedelta(seconds=lifetime // timedelta(seconds=1))
        next_update = now + min(lifetime, end - now)
        code, revoked_at, reason = _in_words_of_the_library(status)
        builder = (
            ocsp.OCSPResponseBuilder()
            .add_response_by_hash(
                request.issuer.name_hash,
                request.issuer.key_hash,
                request.serial_number,
                request.algorithm,
                code,
                now,
                next_update,
                revoked_at,
                reason,
            )
            .responder_id(ocsp.OCSPResponderEncoding.HASH, self.certificate)
            .certificates([self.certificate])
        )
        if request.nonce is not None:
            builder = builder.add_extension(x509.OCSPNonce(request.nonce), critical=False)
        response = builder.sign(self.key, hashes.SHA256())
        der = response.public_bytes(serialization.Encoding.DER)
        return Answer(status, now, next_update, request.nonce is not None, der)


def issuer_ids(issuer: x509.Certificate) -> tuple[IssuerID, ...]:
    """Every way in which a request can name this issuer, one for each hash that is read."""
    ids = []
    for algorithm in _HASHES:
        # The library hashes the key's bare bits as a client does; the name that it hashes is that
        # of the issuer's issuer here.
        asked = ocsp.OCSPRequestBuilder().add_certificate(issuer, issuer, algorithm).build()
        digest = hashes.Hash(algorithm)
        digest.update(issuer.subject.public_bytes())
        ids.append(IssuerID(algorithm.name, digest.finalize(), asked.issuer_key_hash))
    return tuple(ids)


def read_request(der: bytes) -> StatusRequest:
    """Read an OCSPRequest (DER).

    Raises:
        RequestError: malformed, longer than `MAX_REQUEST_BYTES`, for more than one certificate,
            with a nonce of a length that is not allowed, or with a critical extension.
    """
    if len(der) > MAX_REQUEST_BYTES:
        raise RequestError(f"the request is longer than {MAX_REQUEST_BYTES} bytes")
    try:
        request = ocsp.load_der_ocsp_request(der)
        if request.serial_number < 0:
            raise RequestError("the request is for a negative serial number, which none has")
        return StatusRequest(
            issuer=_issuer_id(request),
            serial_number=request.serial_number,
            nonce=_nonce_of(request.extensions),
            algorithm=request.hash_algorithm,
        )
    except NotImplementedError as error:
        raise RequestError(
            "the request is for more than one certificate; ask for each by itself (RFC 5019)"
        ) from error
    except MALFORMED as error:
        raise RequestError("the request is no well-formed OCSP request (RFC 6960)") from error


def _issuer_id(request: ocsp.OCSPRequest) -> IssuerID:
    return IssuerID(request.hash_algorithm.name, request.issuer_name_hash, request.issuer_key_hash)


def _nonce_of(extensions: x509.Extensions) -> bytes | None:
    nonce = None
    for extension in extensions:
        if isinstance(extension.value, x509.OCSPNonce):
            nonce = extension.value.nonce
            if not 0 < len(nonce) <= MAX_NONCE_BYTES:
                raise RequestError(f"a nonce has 1 to {MAX_NONCE_BYTES} bytes (RFC 9654)")
        elif extension.critical:
            raise RequestError(f"the critical extension {extension.oid.dotted_string} is not known")
    return nonce


def _in_words_of_the_library(
    status: Status,
) -> tuple[ocsp.OCSPCertStatus, datetime | None, x509.ReasonFlags | None]:
    if isinstance(status, Revoked):
        at = status.at.astimezone(UTC).replace(microsecond=0)
        reason = None if status.reason is None else x509.ReasonFlags(status.reason)
        return ocsp.OCSPCertStatus.REVOKED, at, reason
    if status is NotRevoked.GOOD:
        return ocsp.OCSPCertStatus.GOOD, None, None
    return ocsp.OCSPCertStatus.UNKNOWN, None, None
