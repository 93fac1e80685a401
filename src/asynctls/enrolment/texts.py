"""An identity as text: what its files hold, and what the TTP gave for the next one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

import msgspec

from asynctls.pki.certificates import fingerprint, to_pem
from asynctls.pki.names import identity_name

if TYPE_CHECKING:
    from cryptography import x509

    from asynctls.config import Address

__all__ = ["CERTIFICATE", "CRL", "KEY", "ORIGIN", "TRUST", "VERSION", "Joined", "Origin", "Texts"]

KEY: Final = "key.pem"
CERTIFICATE: Final = "cert.pem"
TRUST: Final = "ca.pem"
CRL: Final = "crl.pem"
ORIGIN: Final = "identity.json"

VERSION: Final = 1
"""Of a state folder's files; a program that knows a lower one leaves them alone."""


class Origin(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where an identity comes from: the TTP's address, the root's fingerprint, the name.

    ``version`` is that of all that lies beside it; the first one is not written out.
    """

    ttp: str
    root_sha256: str
    name: str
    version: int = VERSION


class Joined(msgspec.Struct, frozen=True, kw_only=True):
    """A new identity, all but its key; the texts are PEM."""

    certificate: str
    trust: str
    crl: str
    origin: Origin

    @classmethod
    def of(
        cls,
        certificate: x509.Certificate,
        *,
        issuing: tuple[x509.Certificate, ...],
        root: x509.Certificate,
        crl: str,
        ttp: Address,
    ) -> Self:
        """What was joined: the leaf, its issuing CA first among ``issuing``, the root, the CRLs."""
        return cls(
            certificate=to_pem(certificate, issuing[0]),
            trust=to_pem(root, *issuing),
            crl=crl,
            origin=Origin(
                ttp=str(ttp),
                root_sha256=fingerprint(root).hex(),
                name=identity_name(certificate),
            ),
        )


@dataclass(frozen=True, slots=True)
class Texts:
    """An identity as it was found; all but ``origin`` are PEM. Its CRLs are read apart."""

    key: bytes = field(repr=False)
    certificate: bytes
    trust: bytes
    origin: Origin
