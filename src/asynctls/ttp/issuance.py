"""What happens when somebody asks for a certificate, as operations of the ledger's writer.

Everything that counts is looked up, decided and recorded inside one transaction: token used,
certificate and chain link come into the ledger together or not at all, and two requests with one
token cannot both find it unused. The signature (a millisecond with RSA-3072) is made in the
transaction as well, so that nothing is signed that is then not recorded.

A refusal is given back as a value. It is a row too (`ttp.refusals`), but how many such rows there
may be is the caller's to say.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Self

from cryptography import x509

from asynctls.errors import (
    CertificateError,
    EnrolmentPendingError,
    EnrolmentRefusedError,
    RequestError,
)
from asynctls.logger import get_logger
from asynctls.pki.certificates import to_der
from asynctls.pki.constraints import outside
from asynctls.pki.names import format_serial
from asynctls.pki.profiles import Issuer, issue
from asynctls.pki.requests import read_request
from asynctls.ttp import records, tokens
from asynctls.ttp.policy import Grant, Policy, Refusal, Rule, decide, judge_link
from asynctls.ttp.schema import CertificateBody, Kind, PendingBody, row_of
from asynctls.ttp.uses import uses_by

if TYPE_CHECKING:
    from datetime import datetime

    from asynctls.pki.requests import Request
    from asynctls.ttp.records import StoredCertificate, StoredToken
    from asynctls.ttp.transactions import Transaction

__all__ = [
    "Asked",
    "Granted",
    "Refused",
    "Waiting",
    "answer",
    "enrol",
    "reenrol",
]

log = get_logger()

_RETRY_S = 10
"""When the client of a request that waits for a person may ask again."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it arrived: from where, when, and the CSR or what is wrong with it.

    ``tls_unique`` is the connection's (RFC 5929), None where it cannot be relied on.
    """

    request: Request | RequestError
    address: str
    at: datetime
    tls_unique: bytes | None = None

    @classmethod
    def read(
        cls, csr_der: bytes, *, address: str, at: datetime, tls_unique: bytes | None = None
    ) -> Self:
        """Reads a CSR and checks its signature; what is wrong is told only to who may ask."""
        try:
            return cls(read_request(csr_der), address, at, tls_unique)
        except RequestError as error:
            return cls(error, address, at, tls_unique)


@dataclass(frozen=True, slots=True)
class Granted:
    """The certificate; ``sign_ms`` is None where it had been issued before (a retry)."""

    certificate: x509.Certificate
    grant: Grant
    ignored: tuple[str, ...]
    sign_ms: float | None


@dataclass(frozen=True, slots=True)
class Refused:
    """No, and to whom as far as that is known: by token or by the certificate's serial number."""

    refusal: Refusal
    name: str | None = None
    token_id: str | None = None
    serial: str | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """Not before a person has approved it; ``is_new``: it was not let wait before."""

    number: int
    grant: Grant
    spki_sha256: bytes
    is_new: bool


def answer(outcome: Granted | Refused | Waiting, address: str) -> x509.Certificate:
    """Logs what the ledger has by now, and gives it to whoever asked.

    Raises:
        EnrolmentRefusedError: it is a refusal.
        EnrolmentPendingError: a person must approve it first.
    """
    if isinstance(outcome, Refused):
        raise _log_refused(outcome, address)
    if isinstance(outcome, Waiting):
        raise _log_waiting(outcome, address)
    certificate = outcome.certificate
    facts = {
        "serial": format_serial(certificate.serial_number),
        "name": outcome.grant.name,
        "sans": outcome.grant.sans,
        "profile": str(outcome.grant.profile),
        "not_after": certificate.not_valid_after_utc.isoformat(),
        "address": address,
    }
    if outcome.ignored:
        facts["ignored"] = outcome.ignored
    if outcome.sign_ms is None:
        log.info("issued before, handed out again", **facts)
    else:
        log.info("issued", **facts, sign_ms=round(outcome.sign_ms, 3))
    return certificate


def _log_refused(refused: Refused, address: str) -> EnrolmentRefusedError:
    rule, reason = refused.refusal.rule, refused.refusal.reason
    if rule is Rule.TOKEN_USED:
        # The first user may have been a thief, or this one is: a person must look.
        log.warning(
            "token used again with another key",
            token=refused.token_id,
            name=refused.name,
            address=address,
        )
    log.warning(
        "enrolment refused", rule=rule.text, reason=reason, name=refused.name, address=address
    )
    return EnrolmentRefusedError(reason, status=rule.status, rule=rule.text)


def _log_waiting(waiting: Waiting, address: str) -> EnrolmentPendingError:
    fingerprint = waiting.spki_sha256.hex()
    if waiting.is_new:
        log.warning(
            "enrolment waits for approval",
            request=waiting.number,
            name=waiting.grant.name,
            sans=waiting.grant.sans,
            profile=str(waiting.grant.profile),
            spki_sha256=fingerprint,
            address=address,
        )
    return EnrolmentPendingError(
        f"request {waiting.number} for {waiting.grant.name}, whose key has the SHA-256 "
        f"{fingerprint}, waits for 'asynctls ttp approve {waiting.number}' at the TTP",
        retry_after_s=_RETRY_S,
    )


def enrol(
    transaction: Transaction,
    asked: Asked,
    *,
    token_id: str,
    secret: str,
    issuer: Issuer,
    policy: Policy,
) -> Granted | Refused | Waiting:
    """A certificate by token (RFC 7030, section 4.2.1)."""
    # What is not of an id's characters is none, and not every text can be put to a database.
    is_id = token_id.isascii() and token_id.isalnum()
    token = records.token_by_id(transaction.connection, token_id) if is_id else None
    if not tokens.is_secret_of(token, secret) or token is None:
        return Refused(tokens.UNKNOWN)
    outcome = _by_token(transaction, asked, token, issuer, policy)
    if isinstance(outcome, Refusal):
        return Refused(outcome, token.grant.name, token_id)
    return outcome


def _by_token(
    transaction: Transaction, asked: Asked, token: StoredToken, issuer: Issuer, policy: Policy
) -> Granted | Refusal | Waiting:
    request, connection = asked.request, transaction.connection
    if isinstance(request, RequestError):
        return _refusal_of(request)
    key = request.spki_sha256
    uses = uses_by(connection, token, key)
    refusal = tokens.judge(token, uses, asked.at)
    if refusal is not None:
        return refusal
    again, waits = uses.again, uses.waits
    grant = token.grant
    # What this key got, or was shown to a person with, is all that it can get.
    if again is not None:
        grant = again.grant
    elif waits is not None:
        grant = replace(grant, sans=waits.sans, allow_names=())
    allowed = _allowed(asked, request, grant, policy, issuer)
    if isinstance(allowed, Refusal):
        return allowed
    if again is not None:
        return _again(again, request)
    if token.approve and (waits is None or waits.approved_at is None):
        number = (
            _let_wait(transaction, asked, request, allowed, token.token_id)
            if waits is None
            else waits.number
        )
        return Waiting(number, allowed, key, is_new=waits is None)
    return _issue(
        transaction, asked, request, allowed, issuer, policy=policy, token_id=token.token_id
    )


def reenrol(
    transaction: Transaction,
    asked: Asked,
    *,
    current: x509.Certificate,
    issuer: Issuer,
    policy: Policy,
) -> Granted | Refused:
    """Renewal, by the certificate that the TLS connection was made with (RFC 7030, 4.2.2)."""
    serial = format_serial(current.serial_number)
    held = records.certificate_by_serial(transaction.connection, serial)
    if held is None or held.der != to_der(current):
        refusal = Refusal(
            Rule.NOT_RENEWABLE,
            f"certificate {serial} was not issued by this TTP's ledger to a role; join with a new "
            "token",
        )
        return Refused(refusal, serial=serial)
    outcome = _by_certificate(transaction, asked, held, issuer, policy)
    if isinstance(outcome, Refusal):
        return Refused(outcome, held.grant.name, serial=serial)
    return outcome


def _by_certificate(
    transaction: Transaction,
    asked: Asked,
    held: StoredCertificate,
    issuer: Issuer,
    policy: Policy,
) -> Granted | Refusal:
    request = asked.request
    ended = _ended(held, asked.at)
    if ended is not None:
        return ended
    if isinstance(request, RequestError):
        return _refusal_of(request)
    again = records.renewal_by_key(transaction.connection, held.serial, request.spki_sha256)
    # It may end before the one that it renews: the policy's longest lifetime may be shorter by now.
    over = None if again is None else _ended(again, asked.at)
    if over is not None:
        return over
    allowed = _allowed(asked, request, held.grant, policy, issuer)
    if isinstance(allowed, Refusal):
        return allowed
    if again is not None:
        return _again(again, request)
    return _issue(transaction, asked, request, allowed, issuer, policy=policy, renews=held.serial)


def _allowed(
    asked: Asked, request: Request, grant: Grant, policy: Policy, issuer: Issuer
) -> Grant | Refusal:
    """The grant with the names that the certificate will have, or every reason against it."""
    link = judge_link(request, asked.tls_unique, policy)
    if link is not None:
        return link
    decision = decide(request, grant, policy)
    if decision.refusal is not None:
        return decision.refusal
    if issuer.constrained and (names := outside(issuer.certificate, decision.sans)):
        reason = f"the issuing CA can certify no {', '.join(names)}: its name constraints say so"
        return Refusal(Rule.OUTSIDE_CONSTRAINTS, reason)
    return grant if decision.sans == grant.sans else replace(grant, sans=decision.sans)


def _again(stored: StoredCertificate, request: Request) -> Granted:
    certificate = x509.load_der_x509_certificate(stored.der)
    return Granted(certificate, stored.grant, request.ignored, None)


def _let_wait(
    transaction: Transaction, asked: Asked, request: Request, grant: Grant, token_id: str
) -> int:
    body = PendingBody(
        sans=grant.sans,
        profile=grant.profile,
        key_type=request.key_type,
        address=asked.address,
    )
    head = transaction.append(
        row_of(
            Kind.ENROLMENT_PENDING,
            body,
            at=int(asked.at.timestamp()),
            token_id=token_id,
            name=grant.name,
            spki_sha256=request.spki_sha256,
        )
    )
    return head.sequence


def _issue(
    transaction: Transaction,
    asked: Asked,
    request: Request,
    grant: Grant,
    issuer: Issuer,
    *,
    policy: Policy,
    token_id: str | None = None,
    renews: str | None = None,
) -> Granted:
    started = time.perf_counter()
    certificate = issue(
        grant.profile,
        issuer=issuer,
        public_key=request.public_key,
        sans=grant.sans,
        lifetime=policy.lifetime(grant.lifetime),
        now=asked.at,
    )
    sign_ms = (time.perf_counter() - started) * 1000
    transaction.append(
        row_of(
            Kind.CERTIFICATE_ISSUED,
            CertificateBody(
                sans=grant.sans,
                profile=grant.profile,
                lifetime_s=grant.lifetime // timedelta(seconds=1),
                not_before=certificate.not_valid_before_utc,
                address=asked.address,
                key_types=grant.key_types,
            ),
            at=int(asked.at.timestamp()),
            token_id=token_id,
            serial=format_serial(certificate.serial_number),
            renews=renews,
            name=grant.name,
            spki_sha256=request.spki_sha256,
            ends_at=int(certificate.not_valid_after_utc.timestamp()),
            der=to_der(certificate),
            issuer=issuer.key_id,
        )
    )
    return Granted(certificate, grant, request.ignored, sign_ms)


def _refusal_of(error: RequestError) -> Refusal:
    # read_request chains the judgement of a key as the cause of its refusal.
    is_key = isinstance(error.__cause__, CertificateError)
    rule = Rule.WEAK_KEY if is_key else Rule.MALFORMED_REQUEST
    return Refusal(rule, str(error))


def _ended(certificate: StoredCertificate, now: datetime) -> Refusal | None:
    if certificate.revoked_at is not None:
        how = f"was revoked on {certificate.revoked_at:%Y-%m-%d %H:%M:%S}"
        return Refusal(Rule.CERTIFICATE_REVOKED, _join_again(certificate, how))
    if now > certificate.not_after:
        how = f"expired on {certificate.not_after:%Y-%m-%d %H:%M:%S}"
        return Refusal(Rule.CERTIFICATE_EXPIRED, _join_again(certificate, how))
    return None


def _join_again(certificate: StoredCertificate, how: str) -> str:
    return (
        f"certificate {certificate.serial} of {certificate.grant.name} {how} UTC; join again with "
        "a new token"
    )
