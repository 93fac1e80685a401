"""Who is let in: one pure decision, the same for server and client (RFC 5246, section 7.2.2).

OpenSSL verifies chain, dates and purpose of a handshake, but not in one that resumes a session, and
it knows no allow list; its own CRL checks tell peers the wrong alert. So `admit` is asked after
every handshake and relies on nothing that OpenSSL did, the chain apart; it is asked again, with
`admit_again`, of live peers whenever a CRL comes or a certificate ends. Values in, verdict out.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING

import msgspec
from cryptography import x509

from asynctls.alerts import Alert
from asynctls.errors import CertificateError
from asynctls.pki.allow_lists import AllowList, Anyone, Listed, allow_list
from asynctls.pki.certificates import certificate_from_der
from asynctls.pki.malformed import MALFORMED
from asynctls.pki.names import (
    common_name_of,
    format_san,
    format_serial,
    holder_of,
    parse_san,
    principal_name,
    sans_of,
)
from asynctls.pki.pins import Pin
from asynctls.pki.profiles import MAX_BACKDATING

if TYPE_CHECKING:
    from asynctls.pki.status import RevocationList

__all__ = [
    "Admitted",
    "AllowList",
    "Anyone",
    "Listed",
    "LiveAfterExpiry",
    "Peer",
    "Refused",
    "Rules",
    "StaleCRL",
    "admit",
    "admit_again",
    "allow_list",
]


class StaleCRL(StrEnum):
    """What a CRL past its nextUpdate is worth: nothing, or what it says until a new one comes."""

    REFUSE = "refuse"
    GO_ON = "go-on"


class LiveAfterExpiry(StrEnum):
    """What the end of a certificate means for a connection that is live by then.

    It ends as well, or it is kept: then its dates are not judged again, while a revocation or the
    allow list still ends it. Who connects is always held against the dates.
    """

    END = "end"
    KEEP = "keep"


@dataclass(frozen=True, slots=True)
class Peer:
    """Whom a certificate names, read once; `certificate` is its DER, `fingerprint` its SHA-256.

    `pin` is its public key's.
    """

    name: str
    sans: tuple[str, ...]
    serial_number: int
    fingerprint: str
    pin: Pin = field(repr=False)
    not_before: datetime
    not_after: datetime
    issuer_name: str
    issuer: bytes = field(repr=False)
    authority_key_id: bytes | None = field(repr=False)
    certificate: bytes = field(repr=False)

    @classmethod
    def of(cls, certificate: bytes) -> Peer:
        """Read a certificate (DER) whose chain was verified; the latest are remembered.

        Raises:
            CertificateError: it is malformed.
        """
        return _remembered(certificate)

    @classmethod
    def claimed(cls, certificate: bytes) -> Peer:
        """As `of`, for a certificate that nobody has verified: a stranger's must not stay here.

        Raises:
            CertificateError: it is malformed.
        """
        return _read(certificate)

    @property
    def serial(self) -> str:
        """The serial number as openssl prints it."""
        return format_serial(self.serial_number)

    def __str__(self) -> str:
        return f"{self.name} (serial {self.serial})"


class Rules(msgspec.Struct, frozen=True):
    """What `admit` holds a peer against.

    Args:
        allow: what one of its names or its key must match, or `Anyone`.
        crls: every CRL held, each verified when it was fetched (`status.read_crl`).
        alpn: the protocol that must have been agreed; None where none is asked for (a tunnel).
        server_uri: for a client that knows its server by a URI, which OpenSSL does not match: the
            name that the server's certificate must have; None where OpenSSL checked the host.
        stale_crl: what counts once the CRL of a peer's issuer has ended.
        live_after_expiry: whether `admit_again` judges dates.

    Raises:
        CertificateError: `server_uri` is no name.
    """

    allow: AllowList
    crls: tuple[RevocationList, ...]
    alpn: str | None
    server_uri: str | None = None
    stale_crl: StaleCRL = StaleCRL.REFUSE
    live_after_expiry: LiveAfterExpiry = LiveAfterExpiry.END

    def __post_init__(self) -> None:
        if self.server_uri is not None:
            uri = format_san(parse_san(self.server_uri))
            msgspec.structs.force_setattr(self, "server_uri", uri)


class Admitted(msgspec.Struct, frozen=True):
    """The peer may come in."""

    peer: Peer
    alert: None = None
    reason: str = ""


class Refused(msgspec.Struct, frozen=True):
    """The peer may not; it is told by `alert`, and `reason` is for our log.

    `peer` is None when there was no certificate, or none that can be read.
    """

    alert: Alert
    reason: str
    peer: Peer | None


def admit(
    certificate: bytes | None, alpn: str | None, *, now: datetime, rules: Rules
) -> Admitted | Refused:
    """Decide about the peer of a finished handshake; the first rule that it breaks is the answer.

    Args:
        certificate: what the peer showed (DER), its chain verified; None for nothing.
        alpn: the protocol that was agreed, or None.
        now: by this clock.
        rules: what counts at this moment.
    """
    if certificate is None:
        return Refused(Alert.HANDSHAKE_FAILURE, "it showed no certificate", None)
    try:
        peer = Peer.of(certificate)
    except CertificateError as error:
        return Refused(Alert.BAD_CERTIFICATE, str(error), None)
    if rules.alpn is not None and alpn != rules.alpn:
        agreed = (
            "none was agreed, as by a tunnel without --session"
            if alpn is None
            else f"{alpn!r} was agreed"
        )
        reason = f"the application protocol is {rules.alpn!r}, and {agreed}"
        return Refused(Alert.NO_APPLICATION_PROTOCOL, reason, peer)
    return _verdict(peer, _judge_dates(peer, now) or _judge_standing(peer, now, rules))


def admit_again(peer: Peer, *, now: datetime, rules: Rules) -> Admitted | Refused:
    """Decide about a live peer whose certificate was read before: a few set look-ups.

    The dates are OpenSSL's reading of them, so that both give the same answer in the same second:
    a certificate or CRL ends at the second it names.
    """
    keeps = rules.live_after_expiry is LiveAfterExpiry.KEEP
    expired = None if keeps else _judge_dates(peer, now)
    return _verdict(peer, expired or _judge_standing(peer, now, rules))


_Refusal = tuple[Alert, str]


def _verdict(peer: Peer, refusal: _Refusal | None) -> Admitted | Refused:
    return Admitted(peer) if refusal is None else Refused(*refusal, peer)


def _judge_standing(peer: Peer, now: datetime, rules: Rules) -> _Refusal | None:
    return _judge_status(peer, now, rules) or _judge_holder(peer, rules)


def _judge_dates(peer: Peer, now: datetime) -> _Refusal | None:
    if now >= peer.not_after:
        return Alert.CERTIFICATE_EXPIRED, f"its certificate expired on {_date(peer.not_after)}"
    if now < peer.not_before:
        return Alert.BAD_CERTIFICATE, (
            f"its certificate is valid from {_date(peer.not_before)} only, and it is "
            f"{_date(now)} here: one of the clocks is wrong"
        )
    return None


def _judge_status(peer: Peer, now: datetime, rules: Rules) -> _Refusal | None:
    # By name and key: a CA with a new key goes on under a CRL of its own.
    own = [
        crl
        for crl in rules.crls
        if crl.issuer == peer.issuer and crl.authority_key_id == peer.authority_key_id
    ]
    if not own:
        return Alert.INTERNAL_ERROR, f"we hold no CRL of its issuer, {peer.issuer_name}"
    crl = max(own, key=attrgetter("this_update"))
    if now >= crl.next_update and rules.stale_crl is StaleCRL.REFUSE:
        return Alert.INTERNAL_ERROR, (
            f"we hold no current CRL of its issuer, {crl.issuer_name}: "
            f"number {crl.number} ended on {_date(crl.next_update)}"
        )
    # OpenSSL refuses a CRL from the future as well, but to the second: a role whose clock is one
    # second behind the TTP's would then refuse everybody after each new CRL. It gets the same grace
    # that backdating gives it for certificates.
    if now < crl.this_update - MAX_BACKDATING:
        return Alert.INTERNAL_ERROR, (
            f"the CRL of its issuer, {crl.issuer_name}, is of {_date(crl.this_update)}, and it is "
            f"{_date(now)} here: this clock is wrong"
        )
    if peer.serial_number in crl.serials:
        return Alert.CERTIFICATE_REVOKED, (
            f"its certificate is revoked (CRL {crl.number} of {_date(crl.this_update)})"
        )
    return None


def _judge_holder(peer: Peer, rules: Rules) -> _Refusal | None:
    if rules.server_uri is not None and rules.server_uri not in peer.sans:
        # The alert that OpenSSL sends for a host that does not match.
        return Alert.BAD_CERTIFICATE, f"it is not {rules.server_uri}; its names: {_names(peer)}"
    allow = rules.allow
    if isinstance(allow, Anyone) or allow.admits(peer.sans, peer.pin):
        return None
    key = f"; its key: {peer.pin}" if allow.pins else ""
    return Alert.ACCESS_DENIED, (
        f"it is not on the allow list; its names: {_names(peer)}{key}; allowed: {allow}"
    )


def _names(peer: Peer) -> str:
    return ", ".join(peer.sans) or "none"


def _read(der: bytes) -> Peer:
    try:
        certificate = certificate_from_der(der)
        sans = sans_of(certificate)
        issuer = certificate.issuer
        return Peer(
            name=principal_name(sans) or common_name_of(certificate.subject) or "nameless",
            sans=sans,
            serial_number=certificate.serial_number,
            fingerprint=hashlib.sha256(der).hexdigest(),
            pin=Pin.of(certificate),
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
            issuer_name=holder_of(issuer),
            issuer=issuer.public_bytes(),
            authority_key_id=_authority_key_id(certificate),
            certificate=der,
        )
    except MALFORMED as error:
        raise CertificateError(f"the certificate is malformed: {error}") from error


# The same peers come again and again, and reading a certificate costs over ten times the rest.
_remembered = lru_cache(maxsize=1024)(_read)


def _authority_key_id(certificate: x509.Certificate) -> bytes | None:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    except x509.ExtensionNotFound:
        return None
    return extension.value.key_identifier


def _date(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
