"""A CA in memory that issues to whoever a test needs, without a TTP, a token or a ledger."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from asynctls.config import Address
from asynctls.enrolment import crls
from asynctls.enrolment.identity import Identity
from asynctls.enrolment.texts import Joined
from asynctls.pki.certificates import to_pem
from asynctls.pki.keys import KeyType, PrivateKey, generate_now, key_to_pem
from asynctls.pki.profiles import Issuer, Profile, issue, make_issuing, make_root
from asynctls.pki.status import Revoked, read_crl, sign_crl

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography import x509

__all__ = ["CA"]

_DAY = timedelta(days=1)
# Whoever is expired was issued so long before.
_LATE = timedelta(hours=1)
# Port 0 is nobody's: a keeper asks no TTP there.
_NO_TTP = Address("127.0.0.1", 0)


class CA:
    """A root and an issuing CA, with ECDSA P-256 keys that live as long as this object.

    Args:
        folder: where the identities go, each into a folder of its own; it must exist.

    Attributes:
        trust: what a peer must trust: both certificates, PEM.
    """

    def __init__(self, folder: Path) -> None:
        now = datetime.now(UTC)
        root_key, issuing_key = generate_now(KeyType.ECDSA_P256), generate_now(KeyType.ECDSA_P256)
        self._folder = folder
        self._root = Issuer(make_root(root_key, lifetime=10 * _DAY, now=now - _LATE), root_key)
        self._issuing = Issuer(
            make_issuing(
                issuing_key.public_key(), issuer=self._root, lifetime=9 * _DAY, now=now - _LATE
            ),
            issuing_key,
        )
        self.trust = to_pem(self._root.certificate, self._issuing.certificate)
        self._made: list[Identity] = []
        self._revoked: list[Revoked] = []
        self._crl_number = 0
        self._crl = self._signed_crl()

    def identity(
        self,
        name: str,
        *sans: str,
        profile: Profile = Profile.PEER,
        ends_in: timedelta = _DAY,
    ) -> Identity:
        """A new identity, on disk as a TTP's are. Blocks for a few milliseconds.

        Args:
            name: a DNS name or a URI, its first name.
            sans: more names.
            profile: which role it is for; a peer can be server and client.
            ends_in: how long it is valid from now; not longer than nothing: it has expired.

        Raises:
            CertificateError: a name that is none.
        """
        now = datetime.now(UTC)
        issued, lifetime = now, ends_in
        if ends_in <= timedelta(0):
            issued, lifetime = now - _LATE, max(_LATE + ends_in, timedelta(seconds=1))
        key = generate_now(KeyType.ECDSA_P256)
        certificate = issue(
            profile,
            issuer=self._issuing,
            public_key=key.public_key(),
            sans=(name, *sans),
            lifetime=lifetime,
            now=issued,
        )
        folder = self._folder / f"identity-{len(self._made) + 1}"
        identity = _write(folder, self._joined(certificate), key)
        self._made.append(identity)
        return identity

    def revoke(self, *identities: Identity) -> None:
        """Revokes them: no connection that is served or opened from now on admits them.

        Connections of before go on, since nobody asks a TTP.
        """
        now = datetime.now(UTC)
        self._revoked.extend(Revoked(each.serial_number, now, None) for each in identities)
        self._crl = self._signed_crl()
        for each in self._made:
            each.crl_file.write_text(self._crl)

    def _joined(self, certificate: x509.Certificate) -> Joined:
        return Joined.of(
            certificate,
            issuing=(self._issuing.certificate,),
            root=self._root.certificate,
            crl=self._crl,
            ttp=_NO_TTP,
        )

    def _signed_crl(self) -> str:
        self._crl_number += 1
        now = datetime.now(UTC)
        return crls.to_pem(
            read_crl(
                sign_crl(
                    issuer,
                    number=self._crl_number,
                    revoked=revoked,
                    now=now,
                    lifetime=_DAY,
                ),
                issuer.certificate,
            )
            for issuer, revoked in ((self._issuing, self._revoked), (self._root, ()))
        )


def _write(folder: Path, joined: Joined, key: PrivateKey) -> Identity:
    """Lays the files out at once: none of them must outlast a power failure."""
    folder.mkdir(mode=0o700)
    key_file = folder / "key.pem"
    key_file.touch(mode=0o600)
    key_file.write_bytes(key_to_pem(key))
    (folder / "cert.pem").write_text(joined.certificate)
    (folder / "ca.pem").write_text(joined.trust)
    (folder / "crl.pem").write_text(joined.crl)
    (folder / "identity.json").write_bytes(msgspec.json.encode(joined.origin))
    return Identity.load(folder)
