"""What certificates say of where their status is to be had, by the public URL of this TTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynctls.enrolment import est_codec
from asynctls.pki.pointers import Pointers
from asynctls.pki.profiles import key_id_text

if TYPE_CHECKING:
    from cryptography import x509

__all__ = ["pointers_by", "pointers_by_root"]


def pointers_by(issuing: x509.Certificate, status_url: str | None) -> Pointers | None:
    """For what an issuing CA issues; None without a public URL."""
    if status_url is None:
        return None
    key_id = key_id_text(issuing)
    return Pointers(
        crl=status_url + est_codec.crl_path(key_id),
        ocsp=status_url + est_codec.OCSP,
        issuer=status_url + est_codec.ca_path(key_id),
    )


def pointers_by_root(status_url: str | None) -> Pointers | None:
    """For an issuing CA: the root's CRL alone, since whoever verifies has the root already."""
    return None if status_url is None else Pointers(crl=status_url + est_codec.ROOT_CRL)
