"""Certificate profiles (RFC 5280, section 4): what root, issuing CA and each role's leaf look like.

One table says it all; `issue` builds what it says and nothing that a request asked for. The
choices that RFC 5280 leaves open:

- A leaf's key usage is digital signature alone, for RSA as well: with the ECDHE suites that are
  spoken here a key only signs. Key encipherment would let another program use the same certificate
  for RSA key transport, which has no forward secrecy.
- A leaf has no basic constraints: absent means 'no CA' (section 4.2.1.9), in fewer bytes.
- The subject's common name repeats the holder's name for people, where it fits into 64 characters
  (ub-common-name); else the subject is empty and the alternative name critical (4.2.1.6).
- Key identifiers are the library's (4.2.1.2, method 1). An authority key identifier is the key
  identifier alone (4.2.1.1): issuer and serial would tie a leaf to one certificate of its CA.
- A CA's name ends in a piece of its key's fingerprint. Two CAs must never share a name: programs
  look up issuers and CRLs by it, and a client that holds both would try the wrong key.
- The root is signed with SHA-256, what root and issuing CA sign with SHA-384.
- An OCSP responder is not to be looked up itself (RFC 6960, section 4.2.2.2.1): it lives for days,
  and is known by its key, so it has no alternative name.
- Where status and issuer can be fetched (`pki.pointers`) stands in a certificate only when its CA
  has a public URL.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from asynctls.errors import CertificateError
from asynctls.pki.keys import PrivateKey, PublicKey, judge_public_key, spki_sha256
from asynctls.pki.names import NameKind, format_san, kind_of, parse_san, principal_name
from asynctls.pki.pointers import Pointers, pointing
from asynctls.pki.requests import KEY_USAGES, Request

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = [
    "CMC_RA",
    "MAX_BACKDATING",
    "Issuer",
    "Profile",
    "issue",
    "key_id_of",
    "key_id_text",
    "make_issuing",
    "make_issuing_request",
    "make_responder",
    "make_root",
    "usages_beyond",
]

CMC_RA = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.28")
"""id-kp-cmcRA (RFC 6402, section 2.10): the mark of a TTP (RFC 7030, section 3.6)."""

MAX_BACKDATING = timedelta(seconds=60)
"""How far a peer's clock may be behind the TTP's before a new certificate is 'not yet valid'."""

_UB_COMMON_NAME = 64
# RFC 5280, section 4.1.2.5: the date that means 'no end'.
_LAST_DATE = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


class Profile(StrEnum):
    """What a certificate is for; the three of roles are what a token can grant."""

    ROOT = "root"
    ISSUING = "issuing"
    TTP = "ttp"
    SERVER = "server"
    CLIENT = "client"
    PEER = "peer"
    OCSP = "ocsp"


_LEAF_USES: dict[Profile, tuple[x509.ObjectIdentifier, ...]] = {
    Profile.TTP: (ExtendedKeyUsageOID.SERVER_AUTH, CMC_RA),
    # clientAuth as well: a server renews over mutual TLS (RFC 7030, section 3.3.2), as its client.
    Profile.SERVER: (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH),
    Profile.CLIENT: (ExtendedKeyUsageOID.CLIENT_AUTH,),
    Profile.PEER: (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH),
    Profile.OCSP: (ExtendedKeyUsageOID.OCSP_SIGNING,),
}
_ISSUED = _LEAF_USES.keys() - {Profile.OCSP}
_LEAF_KEY_USAGES = frozenset({"digital_signature"})


class Issuer(msgspec.Struct, frozen=True, dict=True):
    """A CA certificate with its private key.

    Attributes:
        certificate: the CA's.
        key: its private key.
        pointers: what each certificate that it issues says of where its status is to be had.

    Raises:
        CertificateError: the key is not the certificate's, or the certificate is not a CA's.
    """

    certificate: x509.Certificate
    key: PrivateKey
    pointers: Pointers | None = None

    def __post_init__(self) -> None:
        if self.certificate.public_key() != self.key.public_key():
            raise CertificateError("the issuer's private key does not belong to its certificate")
        try:
            constraints = self.certificate.extensions.get_extension_for_class(x509.BasicConstraints)
            key_id_of(self.certificate)
        except x509.ExtensionNotFound as error:
            raise CertificateError("the issuer's certificate is not a CA's") from error
        if not constraints.value.ca:
            raise CertificateError("the issuer's certificate is not a CA's")

    # What is the same in all that it issues is made once: each certificate asks for it.

    @cached_property
    def key_id(self) -> str:
        """Its key identifier, as `key_id_text` has it."""
        return key_id_text(self.certificate)

    @cached_property
    def constrained(self) -> bool:
        """Whether there are names that it cannot certify (RFC 5280, section 4.2.1.10)."""
        return _is_constrained(self.certificate)

    @cached_property
    def templates(self) -> dict[Profile, x509.CertificateBuilder]:
        """What all of its leaf certificates of a profile say, but for their dates."""
        return {profile: _template(profile, self) for profile in _LEAF_USES}

    def __repr__(self) -> str:
        return f"Issuer({self.certificate.subject.rfc4514_string()})"


def make_root(key: PrivateKey, *, lifetime: timedelta, now: datetime) -> x509.Certificate:
    """Make a self-signed root certificate (SHA-256) for `key`, valid for `lifetime` from `now`.

    Raises:
        CertificateError: a key of another kind, or a lifetime of less than a second.
    """
    public_key = judge_public_key(key.public_key())
    name = _ca_name("root", public_key)
    builder = _build(name, name, public_key, x509.random_serial_number())
    builder = _valid(builder, lifetime=lifetime, now=now, end=None)
    key_id = x509.SubjectKeyIdentifier.from_public_key(public_key)
    builder = _as_ca(builder, public_key, issuer_key_id=key_id, path_length=None)
    return builder.sign(key, hashes.SHA256())


def make_issuing(
    public_key: PublicKey,
    *,
    issuer: Issuer,
    lifetime: timedelta,
    now: datetime,
    constraints: x509.NameConstraints | None = None,
) -> x509.Certificate:
    """Make an issuing CA's certificate (path length 0, SHA-384), signed by the root.

    With `constraints` (`constraints.name_constraints`) it can certify no name outside them.

    Raises:
        CertificateError: a key of another kind, a lifetime of less than a second, or an issuer
            that has itself expired.
    """
    judge_public_key(public_key)
    name = _ca_name("issuing", public_key)
    builder = _build(name, issuer.certificate.subject, public_key, x509.random_serial_number())
    builder = _valid(builder, lifetime=lifetime, now=now, end=issuer.certificate)
    issuer_key_id = key_id_of(issuer.certificate)
    builder = _as_ca(builder, public_key, issuer_key_id=issuer_key_id, path_length=0)
    if constraints is not None:
        builder = builder.add_extension(constraints, critical=True)
    return pointing(builder, issuer.pointers).sign(issuer.key, hashes.SHA384())


def make_issuing_request(
    key: PrivateKey, *, constraints: x509.NameConstraints | None = None
) -> str:
    """A request (PKCS#10, PEM) for what `make_issuing` would make, for a root that is elsewhere.

    It asks for every extension that the certificate needs, so that the root need only copy them.

    Raises:
        CertificateError: a key of another kind.
    """
    public_key = judge_public_key(key.public_key())
    builder = x509.CertificateSigningRequestBuilder().subject_name(_ca_name("issuing", public_key))
    for extension, critical in _ca_extensions(public_key, path_length=0):
        builder = builder.add_extension(extension, critical=critical)
    if constraints is not None:
        builder = builder.add_extension(constraints, critical=True)
    request = builder.sign(key, hashes.SHA384())
    return request.public_bytes(serialization.Encoding.PEM).decode()


def make_responder(
    public_key: PublicKey, *, issuer: Issuer, lifetime: timedelta, now: datetime
) -> x509.Certificate:
    """Make the certificate of an OCSP responder that `issuer` delegates to (RFC 6960, 4.2.2.2).

    Raises:
        CertificateError: a key of another kind, a lifetime of less than a second, or an issuer
            that has itself expired.
    """
    judge_public_key(public_key)
    name = _name(f"asynctls OCSP responder {_mark(public_key)}")
    builder = _leaf(issuer.templates[Profile.OCSP], name, public_key, x509.random_serial_number())
    builder = _valid(builder, lifetime=lifetime, now=now, end=issuer.certificate)
    return builder.sign(issuer.key, hashes.SHA384())


def issue(
    profile: Profile,
    *,
    issuer: Issuer,
    public_key: PublicKey,
    sans: Sequence[str],
    lifetime: timedelta,
    now: datetime,
    serial_number: int | None = None,
) -> x509.Certificate:
    """Issue a leaf certificate; with an RSA-3072 issuer that takes a millisecond of processor.

    Args:
        profile: one of the leaf profiles (TTP, server, client, peer).
        issuer: the issuing CA.
        public_key: the holder's; its proof of possession is `requests.read_request`'s business.
        sans: every name of the holder, as text; one at least.
        lifetime: counted from `now`; cut short at the issuer's own end.
        now: the time of issuance.
        serial_number: from `x509.random_serial_number` (159 random bits) when it was drawn, and
            recorded, beforehand.

    Raises:
        CertificateError: no name or one that is none, a key of another kind, a lifetime of less
            than a second, an issuer that has itself expired, a CA's profile, or a serial number
            that is not of 1 to 20 octets.
    """
    if profile not in _ISSUED:
        raise CertificateError(f"{profile} is no role's profile; a function of its own makes it")
    judge_public_key(public_key)
    names = {format_san(name): name for name in map(parse_san, sans)}
    name = principal_name(names)
    if name is None:
        raise CertificateError("a certificate needs one subject alternative name at least")
    common_name = name if len(name) <= _UB_COMMON_NAME else None
    if common_name and issuer.constrained and kind_of(name) is not NameKind.DNS:
        # Without a DNS name beside it, OpenSSL holds a common name against the DNS constraints.
        common_name = None
    builder = _leaf(
        issuer.templates[profile],
        _name(common_name) if common_name else x509.Name([]),
        public_key,
        x509.random_serial_number() if serial_number is None else _checked(serial_number),
    ).add_extension(x509.SubjectAlternativeName(names.values()), critical=not common_name)
    builder = _valid(builder, lifetime=lifetime, now=now, end=issuer.certificate)
    return builder.sign(issuer.key, hashes.SHA384())


def usages_beyond(profile: Profile, request: Request) -> tuple[str, ...]:
    """The usages that a request asks for and the profile does not give, in words; () if none."""
    key_usages = sorted(request.key_usages - _LEAF_KEY_USAGES)
    uses = [use for use in request.extended_key_usages if use not in _LEAF_USES.get(profile, ())]
    return (
        *(f"key usage {usage.replace('_', ' ')}" for usage in key_usages),
        *(f"extended key usage {_use_name(use)}" for use in uses),
    )


def _use_name(use: x509.ObjectIdentifier) -> str:
    """An extended key usage by its RFC's name, else its number."""
    return _USE_NAMES.get(use, use.dotted_string)


_USE_NAMES = {
    ExtendedKeyUsageOID.SERVER_AUTH: "serverAuth",
    ExtendedKeyUsageOID.CLIENT_AUTH: "clientAuth",
    ExtendedKeyUsageOID.CODE_SIGNING: "codeSigning",
    ExtendedKeyUsageOID.EMAIL_PROTECTION: "emailProtection",
    ExtendedKeyUsageOID.TIME_STAMPING: "timeStamping",
    ExtendedKeyUsageOID.OCSP_SIGNING: "OCSPSigning",
    ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE: "anyExtendedKeyUsage",
    CMC_RA: "cmcRA",
}


def key_id_of(certificate: x509.Certificate) -> x509.SubjectKeyIdentifier:
    """A CA certificate's subject key identifier, copied into what it signs and never recomputed."""
    return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value


def key_id_text(certificate: x509.Certificate) -> str:
    """A CA's key identifier in lower-case hex: what the TTP calls each of its CAs by."""
    return key_id_of(certificate).digest.hex()


def _is_constrained(certificate: x509.Certificate) -> bool:
    try:
        certificate.extensions.get_extension_for_class(x509.NameConstraints)
    except x509.ExtensionNotFound:
        return False
    return True


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _ca_name(kind: str, public_key: PublicKey) -> x509.Name:
    return _name(f"asynctls {kind} CA {_mark(public_key)}")


def _mark(public_key: PublicKey) -> str:
    return spki_sha256(public_key)[:4].hex().upper()


def _build(
    subject: x509.Name, issuer: x509.Name, public_key: PublicKey, serial_number: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(serial_number)
    )


def _valid(
    builder: x509.CertificateBuilder,
    *,
    lifetime: timedelta,
    now: datetime,
    end: x509.Certificate | None,
) -> x509.CertificateBuilder:
    now = now.astimezone(UTC).replace(microsecond=0)
    lifetime = timedelta(seconds=lifetime // timedelta(seconds=1))
    if lifetime <= timedelta():
        raise CertificateError("a certificate's lifetime is one second or more")
    last = _LAST_DATE if end is None else end.not_valid_after_utc
    if last <= now:
        raise CertificateError(f"the issuer's certificate expired on {last:%Y-%m-%d %H:%M:%S} UTC")
    not_after = now + min(lifetime, last - now)
    return builder.not_valid_before(now - min(MAX_BACKDATING, lifetime)).not_valid_after(not_after)


def _as_ca(
    builder: x509.CertificateBuilder,
    public_key: PublicKey,
    *,
    issuer_key_id: x509.SubjectKeyIdentifier,
    path_length: int | None,
) -> x509.CertificateBuilder:
    for extension, critical in _ca_extensions(public_key, path_length=path_length):
        builder = builder.add_extension(extension, critical=critical)
    return builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_key_id),
        critical=False,
    )


def _ca_extensions(
    public_key: PublicKey, *, path_length: int | None
) -> Iterator[tuple[x509.ExtensionType, bool]]:
    """What a CA's certificate says of itself, and whether it is critical."""
    yield x509.BasicConstraints(ca=True, path_length=path_length), True
    yield _key_usage({"key_cert_sign", "crl_sign"}), True
    yield x509.SubjectKeyIdentifier.from_public_key(public_key), False


def _template(profile: Profile, issuer: Issuer) -> x509.CertificateBuilder:
    builder = (
        x509.CertificateBuilder()
        .issuer_name(issuer.certificate.subject)
        .add_extension(_key_usage(_LEAF_KEY_USAGES), critical=True)
        .add_extension(x509.ExtendedKeyUsage(_LEAF_USES[profile]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
                key_id_of(issuer.certificate)
            ),
            critical=False,
        )
    )
    if profile is Profile.OCSP:
        return builder.add_extension(x509.OCSPNoCheck(), critical=False)
    return pointing(builder, issuer.pointers)


def _leaf(
    template: x509.CertificateBuilder,
    subject: x509.Name,
    public_key: PublicKey,
    serial_number: int,
) -> x509.CertificateBuilder:
    return (
        template.subject_name(subject)
        .public_key(public_key)
        .serial_number(serial_number)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _key_usage(usages: frozenset[str] | set[str]) -> x509.KeyUsage:
    return x509.KeyUsage(**{usage: usage in usages for usage in KEY_USAGES})


def _checked(serial_number: int) -> int:
    # `cryptography` wants less than 160 bits, so that the first octet's sign bit stays clear.
    if not 0 < serial_number.bit_length() < 160 or serial_number < 0:
        raise CertificateError("a serial number is positive and of 20 octets at most (RFC 5280)")
    return serial_number
