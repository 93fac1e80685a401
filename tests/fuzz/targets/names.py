"""Names, patterns, rules, pins and serials as people type them (`pki`): one form, or refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from asynctls.admission import allow_list
from asynctls.errors import CertificateError
from asynctls.pki.constraints import name_constraints
from asynctls.pki.name_rules import NameRule
from asynctls.pki.names import (
    NameKind,
    Pattern,
    canonical_name,
    format_san,
    format_serial,
    kind_of,
    parse_san,
    parse_serial,
)
from asynctls.pki.pins import Pin
from tests.fuzz.texts import reads_back, text_of

if TYPE_CHECKING:
    from collections.abc import Callable

_READ: Final[tuple[tuple[Callable[[str], Any], Callable[[Any], str]], ...]] = (
    (parse_san, format_san),
    (Pattern.parse, str),
    (NameRule.parse, str),
    (Pin.parse, str),
    (parse_serial, format_serial),
)


def run(data: bytes) -> bool:
    """A text, read as each of them."""
    text = text_of(data)
    taken = [reads_back(text, read, write, CertificateError) for read, write in _READ]
    canonical = canonical_name(text)
    assert canonical_name(canonical) == canonical
    if taken[0]:
        assert kind_of(canonical) is not NameKind.OTHER
    if taken[0] and "*" not in text:
        # A URI may have a star, which a pattern would mean something by.
        assert Pattern.parse(text).matches(canonical), "a name is not its own pattern"
        if kind_of(text.partition("/")[0]) is not NameKind.IP:
            # Else it is a range, though there may be a URI scheme of one letter.
            assert NameRule.parse(text).covers(canonical), "a name is not under its own rule"
    for make in (allow_list, name_constraints):
        try:
            make([text])
        except CertificateError as error:
            assert str(error)
    return any(taken)


def seeds() -> dict[str, bytes]:
    """Of every kind, and what only looks like it."""
    made = {
        "dns": "Server.example.org",
        "a-label": "xn--bcher-kva.example",
        "ipv6": "2001:DB8::1",
        "spiffe": "spiffe://td.example/web/server-1",
        "uri": "https://Example.org:1/a?b#c",
        "urn": "urn:uuid:f81d4fae",
        "one-label": "*.example.org",
        "below": "spiffe://td/web/*",
        "suffix": ".example.org",
        "range": "10.1.0.0/16",
        "range6": "2001:db8::/32",
        "pin": f"sha256//{'A' * 43}=",
        "serial": "0A:1b:2C",
        "scheme-like-an-address": "D:2::/x",
        "no-wildcard": "a.*.example",
        "no-mapped-label": "xn--a.example",
        "no-dots": "spiffe://td/../x",
        "no-disguise": "https://a/%2e%2e/b",
        "no-zone": "fe80::1%eth0",
        "no-number": "1.2.3.4.5",
        "no-host-bits": "10.1.0.1/16",
    }
    return {name: text.encode() for name, text in made.items()}
