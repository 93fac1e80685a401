"""Names: subject alternative names as people type them, and the patterns of allow lists.

A name is text, and its kind is found out: `server.example` is a DNS name, `10.0.0.1` an IP address,
`spiffe://domain/path` a URI (RFC 5280, section 4.2.1.6; RFC 9525). The text of a certificate's name
is unambiguous: a name of a kind or shape that could not be typed here is shown in quotes behind its
kind, so that it can be read in a log and never matches a pattern.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from enum import IntEnum
from typing import TYPE_CHECKING

import msgspec
from cryptography import x509
from cryptography.x509.oid import NameOID

from asynctls.errors import CertificateError
from asynctls.pki.malformed import MALFORMED

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "NameKind",
    "Pattern",
    "canonical_name",
    "common_name_of",
    "format_san",
    "format_serial",
    "holder_of",
    "identity_name",
    "kind_of",
    "parse_san",
    "parse_serial",
    "principal_name",
    "sans_of",
]

# RFC 5280 asks for the 'preferred name syntax' (RFC 1034, section 3.5; RFC 1123, section 2.1).
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?", re.ASCII)
_MAX_LABEL = 63
_MAX_DNS_NAME = 253
_ADDRESS = re.compile(r"[0-9A-Fa-f.:]+", re.ASCII)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):", re.ASCII)
# RFC 3986, appendix A: the characters that a URI is made of; '%' only before two hex digits.
_URI = re.compile(r"(?:[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})+", re.ASCII)
_DISGUISED = re.compile(r"%2[ef]", re.IGNORECASE)
# SPIFFE-ID, sections 2.1 and 2.2: a trust domain, then segments none of which is empty; that leaves
# out ports, queries, fragments and percent-encoding.
_SPIFFE_ID = re.compile(r"spiffe://[a-z0-9._-]+(?:/[A-Za-z0-9._-]+)*", re.ASCII)
_HEX = re.compile(r"[0-9A-Fa-f]+", re.ASCII)
_MAX_SERIAL_OCTETS = 20

_HOW_TO = (
    "a pattern is a DNS name (server.example.org), one label under a domain (*.example.org), "
    "an IP address, a URI, or all URIs below one (spiffe://example.org/web/*)"
)


class NameKind(IntEnum):
    """The kinds of name, the one that names its holder best first."""

    DNS = 0
    URI = 1
    IP = 2
    OTHER = 3


def parse_san(text: str) -> x509.GeneralName:
    """Read a subject alternative name, its kind found out by its shape.

    DNS names are made lower-case, IP addresses get their canonical form, and a URI's scheme and
    host are made lower-case (RFC 5280, section 7), so that one name has one form.

    Raises:
        CertificateError: it is none of these, and what is wrong with it.
    """
    address = _ip_address(text)
    if address is not None:
        return x509.IPAddress(address)
    if ":" in text:
        return x509.UniformResourceIdentifier(_canonical_uri(text))
    return x509.DNSName(_canonical_dns(text))


def format_san(name: x509.GeneralName) -> str:
    """The text of a name: `parse_san` gives the name back, unless the text is in quotes."""
    if isinstance(name, x509.DNSName | x509.UniformResourceIdentifier):
        text = name.value
    elif isinstance(name, x509.IPAddress):
        text = str(name.value)
    elif isinstance(name, x509.RFC822Name):
        return f"RFC822Name {name.value!a}"
    elif isinstance(name, x509.DirectoryName):
        return f"DirectoryName {name.value.rfc4514_string()!a}"
    else:
        return f"{type(name).__name__} ''"
    try:
        canonical = parse_san(text)
    except CertificateError:
        canonical = None
    if isinstance(canonical, type(name)):
        return str(canonical.value)
    # A DNS name that reads like a URI or an address must not be taken for one.
    return f"{type(name).__name__} {text!a}"


def canonical_name(text: str) -> str:
    """A name as certificates have it, to be compared with theirs; what is none stays as it is."""
    try:
        return format_san(parse_san(text))
    except CertificateError:
        return text


def kind_of(san: str) -> NameKind:
    """The kind of a name in the text that `format_san` gives."""
    if " " in san:
        return NameKind.OTHER
    if _ip_address(san) is not None:
        return NameKind.IP
    return NameKind.URI if ":" in san else NameKind.DNS


def sans_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """A certificate's subject alternative names as text, in their order; none without any.

    Raises:
        CertificateError: its extensions cannot be read.
    """
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    except MALFORMED as error:
        raise CertificateError(f"the certificate's extensions cannot be read: {error}") from error
    return tuple(map(format_san, extension.value))


def common_name_of(name: x509.Name) -> str | None:
    """The first common name in a distinguished name, fit for a log (control codes are escaped)."""
    for attribute in name.get_attributes_for_oid(NameOID.COMMON_NAME):
        text = attribute.value if isinstance(attribute.value, str) else attribute.value.hex()
        return text if text.isprintable() else ascii(text)
    return None


def holder_of(name: x509.Name) -> str:
    """What to call whom a distinguished name names: its common name, else all of it (RFC 4514).

    Fit for a log, as `common_name_of`.
    """
    text = common_name_of(name) or name.rfc4514_string()
    return text if text.isprintable() else ascii(text)


def principal_name(sans: Iterable[str]) -> str | None:
    """The name among `sans` that stands for their holder: the first DNS name, else URI, else IP."""
    return min(sans, key=kind_of, default=None)


def identity_name(certificate: x509.Certificate) -> str:
    """What to call a certificate's holder: its first DNS name, else URI, else IP, else its CN.

    Raises:
        CertificateError: its extensions or its subject cannot be read.
    """
    try:
        name = principal_name(sans_of(certificate)) or common_name_of(certificate.subject)
    except MALFORMED as error:
        raise CertificateError(f"the certificate's subject cannot be read: {error}") from error
    return name or "nameless"


def format_serial(serial_number: int) -> str:
    """A serial number as openssl prints it: upper-case hex, an even number of digits."""
    digits = f"{abs(serial_number):X}"
    sign = "-" if serial_number < 0 else ""
    return sign + digits.zfill(len(digits) + len(digits) % 2)


def parse_serial(text: str) -> int:
    """Read a serial number in hex; lower case, and colons between octets, are accepted.

    Raises:
        CertificateError: not hex, or not a positive number of at most 20 octets (RFC 5280,
            section 4.1.2.2).
    """
    digits = text.strip().replace(":", "")
    if not _HEX.fullmatch(digits):
        raise CertificateError(f"{text!r} is no serial number: that is hex, such as 0A1B2C")
    serial_number = int(digits, 16)
    if not 0 < serial_number.bit_length() <= 8 * _MAX_SERIAL_OCTETS:
        raise CertificateError(f"{text!r} is no serial number: that is 1 to 20 octets, and not 0")
    return serial_number


class Pattern(msgspec.Struct, frozen=True):
    """One line of an allow list, made by `parse`; `str()` gives its canonical text.

    A name matches when it is of `kind` and `ending` (one label before it) or `stem` (anything
    after it) fits; with neither, when it is the text itself.
    """

    text: str
    kind: NameKind
    stem: str = ""
    ending: str = ""

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """Read a pattern: a name that is matched exactly, `*.example.org`, or `spiffe://td/*`.

        `*.` stands for exactly one label, under a domain of two or more; `/*` for any path below
        a host, so that no pattern means 'every URI'. Query and fragment (RFC 3986, sections 3.4
        and 3.5) are no part of a path.

        Raises:
            CertificateError: it is none of these, and how to write one.
        """
        try:
            return cls._parse(text)
        except CertificateError as error:
            raise CertificateError(f"{text!r} is no pattern: {error}; {_HOW_TO}") from error

    @classmethod
    def _parse(cls, text: str) -> Pattern:
        if text.startswith("*."):
            domain = _canonical_dns(text[2:])
            if "." not in domain:
                raise CertificateError("'*.' stands before a domain of two labels or more")
            return cls(f"*.{domain}", NameKind.DNS, ending=f".{domain}")
        if ":" in text and text.endswith("/*"):
            stem = _canonical_uri(text.removesuffix("/*")) + "/"
            if not {"*", "?", "#"}.isdisjoint(stem):
                raise CertificateError("'*' stands last, after a slash, and for a path only")
            return cls(f"{stem}*", NameKind.URI, stem=stem)
        if "*" in text:
            raise CertificateError("'*' stands first before a dot, or last after a slash")
        canonical = format_san(parse_san(text))
        return cls(canonical, kind_of(canonical))

    def matches(self, san: str) -> bool:
        """Whether a name, in the text that `sans_of` gives, is one that this pattern means."""
        if self.ending:
            label = san.removesuffix(self.ending)
            return label not in {"", san} and "." not in label and kind_of(san) is NameKind.DNS
        if self.stem:
            path = san.removeprefix(self.stem)
            return path not in {"", san} and {"?", "#"}.isdisjoint(path)
        return san == self.text

    def __str__(self) -> str:
        return self.text


def _ip_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    # Not for speed alone: a zone (fe80::1%eth0) means something on one machine only, and no
    # certificate can hold it.
    if not _ADDRESS.fullmatch(text):
        return None
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _canonical_dns(text: str) -> str:
    if not text.isascii():
        raise CertificateError(
            f"{text!r} is not ASCII; write an internationalised name by its A-labels (xn--…)"
        )
    name = text.lower()
    if not name:
        raise CertificateError("a name cannot be empty")
    if name.endswith("."):
        raise CertificateError(f"{text!r} ends in a dot; leave it out")
    if len(name) > _MAX_DNS_NAME:
        raise CertificateError(f"a DNS name has {_MAX_DNS_NAME} characters at most")
    labels = name.split(".")
    for label in labels:
        _check_label(label, of=text)
    if labels[-1].isdigit():
        raise CertificateError(f"{text!r} is neither an IP address nor a DNS name")
    return name


def _check_label(label: str, *, of: str) -> None:
    if label == "*":
        raise CertificateError(f"{of!r} is a wildcard; certificates name their holder exactly")
    if not label:
        raise CertificateError(f"{of!r} has an empty label")
    if len(label) > _MAX_LABEL:
        raise CertificateError(f"{of!r} has a label of more than {_MAX_LABEL} characters")
    if not _LABEL.fullmatch(label):
        raise CertificateError(
            f"{of!r} is no DNS name: a label is letters, digits, and hyphens between them"
        )
    # RFC 5890, section 2.3.1: '--' in third and fourth place is reserved, and 'xn' its only use.
    if label[2:4] == "--" and not _is_a_label(label):
        raise CertificateError(f"{of!r} has a label that only looks internationalised: {label!r}")


def _is_a_label(label: str) -> bool:
    if not label.startswith("xn--"):
        return False
    try:
        decoded = label[4:].encode("ascii").decode("punycode")
        again = decoded.encode("punycode").decode("ascii")
    except UnicodeError:
        return False
    # RFC 5892, sections 2.2 and 2.8: no letter that another one stands for, nothing invisible but
    # the two joiners that some scripts need.
    visible = decoded.replace("\u200c", "").replace("\u200d", "")
    stable = unicodedata.normalize("NFKC", decoded.lower()) == decoded
    return not decoded.isascii() and again == label[4:] and stable and visible.isprintable()


def _canonical_uri(text: str) -> str:
    scheme = _SCHEME.match(text)
    if scheme is None:
        raise CertificateError(f"{text!r} is no name: a URI begins with a scheme (spiffe://…)")
    rest = text[scheme.end() :]
    if rest.isdigit():
        raise CertificateError(f"{text!r} looks like host and port; a name has no port")
    if not _URI.fullmatch(text):
        raise CertificateError(
            f"{text!r} is no URI: spaces and other characters outside RFC 3986 are written %XX"
        )
    if not rest.strip("/"):
        raise CertificateError(f"{text!r} names nothing after its scheme")
    authority = ""
    if rest.startswith("//"):
        end = re.search(r"[/?#]", rest[2:])
        length = 2 + end.start() if end else len(rest)
        authority, rest = rest[:length].lower(), rest[length:]
        if authority == "//" or "@" in authority:
            raise CertificateError(f"{text!r} needs a host, and no user, after '//'")
    # Whoever resolves such a path would find it elsewhere than a pattern's prefix says.
    if {".", ".."} & set(re.split(r"[/?#]", rest)) or _DISGUISED.search(text):
        raise CertificateError(f"{text!r} has '.', '..', or an encoded dot or slash in its path")
    uri = f"{scheme[1].lower()}:{authority}{rest}"
    if uri.startswith("spiffe:") and not _SPIFFE_ID.fullmatch(uri):
        raise CertificateError(
            f"{text!r} is no SPIFFE ID: that is a trust domain and a path of letters, digits, '.', "
            "'-' and '_', without port, query, fragment or slash at its end"
        )
    return uri
