"""Name constraints (RFC 5280, section 4.2.1.10): which names an issuing CA can certify at all.

What a verifier holds every certificate of the CA against, so that not even its key makes one for a
name outside. A constraint binds names of its own kind alone; so a kind that nothing is permitted of
is excluded whole, since 'example.org and nothing else' is what a person means.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final

from cryptography import x509

from asynctls.errors import CertificateError
from asynctls.pki.names import NameKind, kind_of, parse_san

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["name_constraints", "name_inside", "outside"]

_URI: Final = "uri:"
_NO_HOST: Final = ".no-uri.invalid"
"""No host is called so (RFC 2606, section 2). OpenSSL has no other way to exclude every URI; two
labels, since pkilint takes one for no domain."""

_NO_NAME: Final = "trial.invalid"

_EVERY_ADDRESS = ("0.0.0.0/0", "::/0")


def name_constraints(texts: Sequence[str]) -> x509.NameConstraints | None:
    """The extension for names as people type them; None for none.

    Args:
        texts: each a DNS domain (``example.org``: it and all below it), an IP address or range
            (``10.0.0.0/8``), or ``uri:`` and a host (``uri:example.org``: likewise).

    Raises:
        CertificateError: every text that is none of these, one a line.
    """
    if not texts:
        return None
    permitted: list[x509.GeneralName] = []
    faults = []
    for text in texts:
        try:
            permitted.extend(_subtrees(text))
        except CertificateError as error:
            faults.append(str(error))
    if faults:
        raise CertificateError("\n".join(faults))
    kinds = {type(each) for each in permitted}
    excluded: list[x509.GeneralName] = []
    if x509.DNSName not in kinds:
        excluded.append(x509.DNSName(""))
    if x509.IPAddress not in kinds:
        excluded.extend(x509.IPAddress(ipaddress.ip_network(each)) for each in _EVERY_ADDRESS)
    if x509.UniformResourceIdentifier not in kinds:
        permitted.append(x509.UniformResourceIdentifier(_NO_HOST))
    return x509.NameConstraints(list(dict.fromkeys(permitted)), excluded or None)


def outside(issuer: x509.Certificate, sans: Iterable[str]) -> tuple[str, ...]:
    """Those of ``sans`` that the CA's constraints do not let it certify; () where it has none."""
    try:
        constraints = issuer.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(san for san in sans if not _is_inside(parse_san(san), constraints))


def name_inside(issuer: x509.Certificate) -> str:
    """A name that the CA can certify and that nobody has: to try the CA with.

    Raises:
        CertificateError: its constraints leave none that could be tried.
    """
    try:
        constraints = issuer.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return _NO_NAME
    for text in (_NO_NAME, *map(_example, constraints.permitted_subtrees or ())):
        try:
            if _is_inside(parse_san(text), constraints):
                return text
        except CertificateError:
            continue
    raise CertificateError("its name constraints permit no DNS name, IP address or URI")


def _example(subtree: x509.GeneralName) -> str:
    """A name below a permitted subtree; empty where it is of a kind that is not tried."""
    match subtree:
        case x509.DNSName(value=domain):
            return f"trial.{domain.removeprefix('.')}"
        case x509.IPAddress(value=ipaddress.IPv4Network() | ipaddress.IPv6Network() as network):
            return str(network.network_address)
        case x509.UniformResourceIdentifier(value=host):
            return f"https://trial{host}/" if host.startswith(".") else f"https://{host}/"
    return ""


def _subtrees(text: str) -> Iterator[x509.GeneralName]:
    if text.lower().startswith(_URI):
        host = _domain(text[len(_URI) :], text)
        # A host alone is that host; with a dot before it, all below it.
        yield x509.UniformResourceIdentifier(host)
        yield x509.UniformResourceIdentifier(f".{host}")
        return
    try:
        yield x509.IPAddress(ipaddress.ip_network(text))
    except ValueError:
        yield x509.DNSName(_domain(text, text))


def _domain(domain: str, text: str) -> str:
    try:
        if kind_of(domain) is NameKind.DNS:
            name = parse_san(domain)
            if isinstance(name, x509.DNSName):
                return name.value
    except CertificateError:
        pass
    raise CertificateError(
        f"{text!r} is no name constraint: it is a DNS domain (example.org), an IP range "
        "(10.0.0.0/8), or uri: and a host (uri:example.org)"
    )


def _is_inside(name: x509.GeneralName, constraints: x509.NameConstraints) -> bool:
    permitted = [each for each in constraints.permitted_subtrees or () if type(each) is type(name)]
    excluded = [each for each in constraints.excluded_subtrees or () if type(each) is type(name)]
    if any(_is_below(name, each) for each in excluded):
        return False
    return not permitted or any(_is_below(name, each) for each in permitted)


def _is_below(name: x509.GeneralName, subtree: x509.GeneralName) -> bool:
    match name, subtree:
        case x509.DNSName(), x509.DNSName():
            domain = subtree.value.lower().removeprefix(".")
            return not domain or f".{name.value.lower()}".endswith(f".{domain}")
        case x509.IPAddress(), x509.IPAddress():
            network = subtree.value
            return (
                isinstance(network, ipaddress.IPv4Network | ipaddress.IPv6Network)
                and isinstance(name.value, ipaddress.IPv4Address | ipaddress.IPv6Address)
                and name.value.version == network.version
                and name.value in network
            )
        case x509.UniformResourceIdentifier(), x509.UniformResourceIdentifier():
            return _is_host_below(_host(name.value), subtree.value.lower())
    return False


def _host(uri: str) -> str:
    """The host of a URI; empty where it has none, which no subtree permits."""
    _, slashes, rest = uri.partition("://")
    # RFC 3986, section 3.2: also a query or a fragment ends it.
    authority = re.split("[/?#]", rest, maxsplit=1)[0].rpartition("@")[2]
    return authority.partition(":")[0].lower() if slashes else ""


def _is_host_below(host: str, subtree: str) -> bool:
    if not host:
        return False
    return host.endswith(subtree) if subtree.startswith(".") else host == subtree
