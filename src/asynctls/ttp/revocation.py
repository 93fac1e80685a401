"""Taking a certificate back, as an operation of the ledger's writer.

One row for each certificate and token, and the CRL of the CA that had issued it signed in the same
transaction: there is no moment in which a certificate is revoked and no CRL says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from asynctls.errors import CertificateError
from asynctls.pki.names import canonical_name, format_serial, parse_serial
from asynctls.pki.profiles import key_id_text
from asynctls.ttp import records, status
from asynctls.ttp.schema import Kind, RevocationBody, row_of

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from asynctls.ttp.ca import CertificateAuthority
    from asynctls.ttp.crls import SignedCRL
    from asynctls.ttp.records import StoredCertificate, StoredToken
    from asynctls.ttp.transactions import Transaction

__all__ = ["Revocation", "revoke"]


@dataclass(frozen=True, slots=True)
class Revocation:
    """What was revoked, and the CRLs that say so, by the key identifier of the CA that signed."""

    certificates: tuple[StoredCertificate, ...]
    tokens: tuple[StoredToken, ...]
    crls: dict[str, SignedCRL]


def revoke(
    transaction: Transaction,
    which: str,
    *,
    reason: str,
    authority: CertificateAuthority,
    now: datetime,
    crl_lifetime: timedelta,
) -> Revocation:
    """Revokes the certificate with a serial number, or all that is valid of exactly one name.

    A name also takes back its unused tokens. What is both hex and a name is a serial number if
    there is a certificate of that number.

    Raises:
        CertificateError: there is nothing of that serial or name to revoke, or no CRL could say so
            from here, since the CA that issued it was taken up by another TTP alone so far.
    """
    certificates = _by_serial(transaction, which)
    tokens: list[StoredToken] = []
    if certificates is None:
        name = canonical_name(which)
        certificates = records.valid_certificates(transaction.connection, name, now)
        tokens = records.unused_tokens(transaction.connection, name, now)
    if not certificates and not tokens:
        raise CertificateError(
            f"there is no certificate with the serial number {which}, and no valid certificate or "
            f"unused token with exactly this name; 'asynctls ttp list' shows what there is"
        )
    _check_issuers(certificates, authority, now)
    body, at = RevocationBody(reason=reason), int(now.timestamp())
    for token in tokens:
        transaction.append(
            row_of(Kind.TOKEN_REVOKED, body, at=at, token_id=token.token_id, name=token.grant.name)
        )
    for certificate in certificates:
        transaction.append(
            row_of(
                Kind.CERTIFICATE_REVOKED,
                body,
                at=at,
                serial=certificate.serial,
                name=certificate.grant.name,
            )
        )
    issued_by = {each.issuer or authority.first_key_id for each in certificates}
    crls = {
        key_id: status.sign(transaction, authority, issuer, now=now, lifetime=crl_lifetime)
        for issuer in authority.issuers
        if (key_id := key_id_text(issuer.certificate)) in issued_by
    }
    return Revocation(tuple(certificates), tuple(tokens), crls)


def _check_issuers(
    certificates: list[StoredCertificate], authority: CertificateAuthority, now: datetime
) -> None:
    known = {key_id_text(each.certificate) for _, each in authority.taken_up}
    for each in certificates:
        if each.issuer is not None and each.issuer not in known and each.not_after >= now:
            raise CertificateError(
                f"certificate {each.serial} of {each.grant.name} is of the issuing CA "
                f"{each.issuer}, which is not in this state folder yet, so no CRL would say that "
                "it was revoked; nothing was changed. Start 'asynctls ttp' here, which takes the "
                "CA over, or revoke where it is"
            )


def _by_serial(transaction: Transaction, which: str) -> list[StoredCertificate] | None:
    try:
        serial = format_serial(parse_serial(which))
    except CertificateError:
        return None
    found = records.certificate_by_serial(transaction.connection, serial)
    if found is None:
        return None
    if found.revoked_at is not None:
        raise CertificateError(
            f"certificate {serial} of {found.grant.name} was revoked already, on "
            f"{found.revoked_at:%Y-%m-%d %H:%M:%S} UTC; nothing was changed"
        )
    return [found]
