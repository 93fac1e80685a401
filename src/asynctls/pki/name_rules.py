"""Which names may be certified at all: the rules of a policy, each a set of names.

They are an allow list's patterns (:class:`~asynctls.pki.names.Pattern`) and two kinds that only an
issuer has a use for: every name below a domain, and a range of IP addresses (RFC 5280, section
4.2.1.10, has the same two as subtrees).
"""

from __future__ import annotations

import ipaddress
from typing import TypeAlias

import msgspec

from asynctls.errors import CertificateError
from asynctls.pki.names import NameKind, Pattern, kind_of, parse_san

__all__ = ["NameRule"]

_HOW_TO = (
    "a name rule is a name (db.example.org), one label under a domain (*.example.org), every name "
    "below one (.example.org), an IP address or range (10.1.0.0/16), a URI, or all URIs below one "
    "(spiffe://example.org/web/*)"
)

_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


class NameRule(msgspec.Struct, frozen=True):
    """One rule, made by `parse`; `str()` gives its canonical text.

    Exactly one of the three is set: `suffix` (with its leading dot), `network`, or `pattern`.
    """

    text: str
    suffix: str = ""
    network: _Network | None = None
    pattern: Pattern | None = None

    @classmethod
    def parse(cls, text: str) -> NameRule:
        """Read a rule.

        Raises:
            CertificateError: it is none, and how to write one.
        """
        try:
            return cls._parse(text)
        except CertificateError as error:
            raise CertificateError(f"{text!r} is no name rule: {error}; {_HOW_TO}") from error

    @classmethod
    def _parse(cls, text: str) -> NameRule:
        if text.startswith("."):
            suffix = f".{_dns_name(text[1:])}"
            return cls(suffix, suffix=suffix)
        network = _network(text)
        if network is not None:
            return cls(str(network), network=network)
        try:
            pattern = Pattern.parse(text)
        except CertificateError as error:
            # What it says about patterns would only stand in the way of what is said about rules.
            raise error.__cause__ or error from None
        return cls(str(pattern), pattern=pattern)

    def covers(self, san: str) -> bool:
        """Whether a name, in the text that `format_san` gives, is in the set."""
        if self.suffix:
            return san.endswith(self.suffix) and kind_of(san) is NameKind.DNS
        if self.network is not None:
            return kind_of(san) is NameKind.IP and ipaddress.ip_address(san) in self.network
        return self.pattern is not None and self.pattern.matches(san)

    def __str__(self) -> str:
        return self.text


def _dns_name(text: str) -> str:
    name = parse_san(text).value
    if not isinstance(name, str) or kind_of(name) is not NameKind.DNS:
        raise CertificateError("after the dot stands a domain")
    return name


def _network(text: str) -> _Network | None:
    address, slash, _ = text.partition("/")
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return None
    if not slash:
        return None
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise CertificateError(f"the range is not usable: {error}") from error
