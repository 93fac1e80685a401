"""What happens when somebody asks for a certificate, as operations of the ledger's writer.

Everything that counts is looked up, decided and recorded inside one transaction: token used,
certificate and chain link come into the ledger together or not at all, and two requests with one
token cannot both find it unused. A refusal is a row too, so an operation gives it back as a value
instead of raising it. The signature (a millisecond with RSA-3072) is made in the transaction as
well, so that nothing is signed that is then not recorded.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Self

from cryptography import x509

from asynctls.errors import CertificateError, EnrolmentRefusedError, RequestError
from asynctls.logger import get_logger
from asynctls.pki.certificates import to_der
from asynctls.pki.keys import spki_sha256
from asynctls.pki.names import format_serial
from asynctls.pki.profiles import Issuer, issue, key_id_text
from asynctls.pki.requests import read_request
from asynctls.ttp import records, tokens
from asynctls.ttp.policy import Grant, Refusal, Rule, decide
from asynctls.ttp.schema import CertificateBody, Kind, RefusalBody, row_of

if TYPE_CHECKING:
    from datetime import datetime

    from asynctls.pki.requests import Request
    from asynctls.ttp.ledger import Transaction
    from asynctls.ttp.records import StoredCertificate

__all__ = ["Asked", "Granted", "Refused", "answer", "enrol", "reenrol", "refuse"]

log = get_logger()


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it arrived: from where, when, and the CSR or what is wrong with it."""

    request: Request | RequestError
    address: str
    at: datetime

    @classmethod
    def read(cls, csr_der: bytes, *, address: str, at: datetime) -> Self:
        """Reads a CSR and checks its signature; what is wrong is told only to who may ask."""
        try:
            return cls(read_request(csr_der), address, at)
        except RequestError as error:
            return cls(error, address, at)


@dataclass(frozen=True, slots=True)
class Granted:
    """The certificate; ``sign_ms`` is None where it had been issued before (a retry)."""

    certificate: x509.Certificate
    grant: Grant
    ignored: tuple[str, ...]
    sign_ms: float | None


@dataclass(frozen=True, slots=True)
class Refused:
    """No, and to whom as far as that is known."""

    refusal: Refusal
    name: str | None = None
    token_id: str | None = None


def answer(outcome: Granted | Refused, address: str) -> x509.Certificate:
    """Logs what the ledger has by now, and gives it to whoever asked.

    Raises:
        EnrolmentRefusedError: what was recorded is a refusal.
    """
    if isinstance(outcome, Refused):
        raise _log_refused(outcome, address)
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


def enrol(
    transaction: Transaction, asked: Asked, *, token_id: str, secret: str, issuer: Issuer
) -> Granted | Refused:
    """First certificate, by one-time token (RFC 7030, section 4.2.1).

    That a token is unknown is not recorded here: how many such rows there may be is the caller's
    to say, by `refuse`.
    """
    # What is not of an id's characters is none, and not every text can be put to a database.
    is_id = token_id.isascii() and token_id.isalnum()
    token = records.token_by_id(transaction.connection, token_id) if is_id else None
    if not tokens.is_secret_of(token, secret) or token is None:
        return Refused(tokens.UNKNOWN)
    if isinstance(asked.request, RequestError):
        refusal = _refusal_of(asked.request)
        return refuse(transaction, asked, refusal, name=token.grant.name, token_id=token_id)
    answer = tokens.judge(
        token,
        records.certificates_by_token(transaction.connection, token_id),
        spki_sha256(asked.request.public_key),
        asked.at,
    )
    if isinstance(answer, Refusal):
        return refuse(transaction, asked, answer, name=token.grant.name, token_id=token_id)
    return _issue(
        transaction, asked, asked.request, token.grant, issuer, again=answer, token_id=token_id
    )


def reenrol(
    transaction: Transaction, asked: Asked, *, current: x509.Certificate, issuer: Issuer
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
        return refuse(transaction, asked, refusal)
    name = held.grant.name
    if held.revoked_at is not None:
        refusal = _ended(Rule.CERTIFICATE_REVOKED, held, "was revoked", held.revoked_at)
        return refuse(transaction, asked, refusal, name=name, serial=serial)
    if asked.at > held.not_after:
        refusal = _ended(Rule.CERTIFICATE_EXPIRED, held, "expired", held.not_after)
        return refuse(transaction, asked, refusal, name=name, serial=serial)
    if isinstance(asked.request, RequestError):
        refusal = _refusal_of(asked.request)
        return refuse(transaction, asked, refusal, name=name, serial=serial)
    again = records.renewal_by_key(
        transaction.connection, serial, spki_sha256(asked.request.public_key)
    )
    if again is not None and again.revoked_at is not None:
        refusal = _ended(Rule.CERTIFICATE_REVOKED, again, "was revoked", again.revoked_at)
        return refuse(transaction, asked, refusal, name=name, serial=serial)
    return _issue(transaction, asked, asked.request, held.grant, issuer, again=again, renews=serial)


def _issue(
    transaction: Transaction,
    asked: Asked,
    request: Request,
    grant: Grant,
    issuer: Issuer,
    *,
    again: StoredCertificate | None,
    token_id: str | None = None,
    renews: str | None = None,
) -> Granted | Refused:
    decision = decide(request, grant)
    if decision.reasons:
        refusal = Refusal(
            Rule.BEYOND_GRANT,
            f"the request asks for more than {grant.name} was granted: "
            f"{'; '.join(decision.reasons)}; leave it out, or ask for a token that grants it",
        )
        return refuse(
            transaction, asked, refusal, name=grant.name, token_id=token_id, serial=renews
        )
    if again is not None:
        certificate = x509.load_der_x509_certificate(again.der)
        return Granted(certificate, grant, decision.ignored, None)
    started = time.perf_counter()
    certificate = issue(
        grant.profile,
        issuer=issuer,
        public_key=request.public_key,
        sans=grant.sans,
        lifetime=grant.lifetime,
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
            ),
            at=int(asked.at.timestamp()),
            token_id=token_id,
            serial=format_serial(certificate.serial_number),
            renews=renews,
            name=grant.name,
            spki_sha256=spki_sha256(request.public_key),
            ends_at=int(certificate.not_valid_after_utc.timestamp()),
            der=to_der(certificate),
            issuer=key_id_text(issuer.certificate),
        )
    )
    return Granted(certificate, grant, decision.ignored, sign_ms)


def refuse(
    transaction: Transaction,
    asked: Asked,
    refusal: Refusal,
    *,
    name: str | None = None,
    token_id: str | None = None,
    serial: str | None = None,
) -> Refused:
    """Records that somebody was sent away."""
    body = RefusalBody(rule=refusal.rule.text, reason=refusal.reason, address=asked.address)
    transaction.append(
        row_of(
            Kind.ENROLMENT_REFUSED,
            body,
            at=int(asked.at.timestamp()),
            name=name,
            token_id=token_id,
            serial=serial,
        )
    )
    return Refused(refusal, name, token_id)


def _refusal_of(error: RequestError) -> Refusal:
    # read_request chains the judgement of a key as the cause of its refusal.
    is_key = isinstance(error.__cause__, CertificateError)
    rule = Rule.WEAK_KEY if is_key else Rule.MALFORMED_REQUEST
    return Refusal(rule, str(error))


def _ended(rule: Rule, certificate: StoredCertificate, how: str, when: datetime) -> Refusal:
    return Refusal(
        rule,
        f"certificate {certificate.serial} of {certificate.grant.name} {how} on "
        f"{when:%Y-%m-%d %H:%M:%S} UTC; join again with a new token",
    )
