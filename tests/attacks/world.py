"""The certificates that the attacks need: one CA whom the victims trust, and one whom they do not.

Keys are ECDSA P-256, but for the suites that need RSA. Everything is valid for a day.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from asynctls.config import Address
from asynctls.enrolment.identity import Identity, store
from asynctls.enrolment.joining_key import keep_joining_key
from asynctls.enrolment.texts import Joined
from asynctls.pki.certificates import to_der, to_pem
from asynctls.pki.flaws import flawed
from asynctls.pki.keys import KeyType, PrivateKey, generate_now, key_to_pem
from asynctls.pki.profiles import Issuer, Profile, issue, make_issuing, make_root
from asynctls.pki.status import read_crl, sign_crl
from asynctls.probe.certifier import Certifier
from asynctls.state import make_private_folder

if TYPE_CHECKING:
    from pathlib import Path

    from asynctls.ttp.administration import Administration
    from asynctls.ttp.trials import Trial

__all__ = ["Holder", "World"]

_DAY = timedelta(days=1)
_PEM = serialization.Encoding.PEM


@dataclass(frozen=True, slots=True)
class Holder:
    """Somebody with a certificate: PEM files for OpenSSL, and the certificate in DER."""

    chain: Path
    key: Path
    certificate: bytes


class World:
    """A root, its issuing CA, an empty CRL, and whoever holds a certificate of it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._now = datetime.now(UTC)
        root_key, issuing_key = (generate_now(KeyType.ECDSA_P256) for _ in range(2))
        self._root = Issuer(make_root(root_key, lifetime=3 * _DAY, now=self._now), root_key)
        self._issuing = Issuer(
            make_issuing(
                issuing_key.public_key(), issuer=self._root, lifetime=2 * _DAY, now=self._now
            ),
            issuing_key,
        )
        self.trust = to_pem(self._root.certificate, self._issuing.certificate)
        crl = sign_crl(self._issuing, number=1, revoked=(), now=self._now, lifetime=_DAY)
        self.crl = read_crl(crl, self._issuing.certificate)

    def holder(
        self, name: str, profile: Profile, *, key_type: KeyType = KeyType.ECDSA_P256
    ) -> Holder:
        """A new key and a certificate for ``name``; called twice, two different ones."""
        key = generate_now(key_type)
        certificate = self._issue(name, profile, key)
        return self._kept(name, key, certificate, self._issuing.certificate)

    def self_signed(self, name: str) -> Holder:
        """What anybody can make at home: a certificate for ``name`` that is its own issuer."""
        key = generate_now(KeyType.ECDSA_P256)
        subject = x509.Name.from_rfc4514_string(f"CN={name}")
        key_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now - timedelta(minutes=1))
            .not_valid_after(self._now + _DAY)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(key_id, critical=False)
            .sign(key, hashes.SHA256())
        )
        return self._kept(name, key, certificate)

    def identity(self, name: str, profile: Profile) -> Identity:
        """An identity as a role finds it on disk. Its TTP is out of reach, the CRL is current."""
        folder = self._new_folder(name)
        make_private_folder(folder)
        key = generate_now(KeyType.ECDSA_P256)
        keep_joining_key(folder, key, "a token's id")
        joined = Joined.of(
            self._issue(name, profile, key),
            issuing=(self._issuing.certificate,),
            root=self._root.certificate,
            crl=x509.load_der_x509_crl(self.crl.der).public_bytes(_PEM).decode(),
            ttp=Address("127.0.0.1", 1),
        )
        return store(folder, joined)

    def certifier(self) -> Certifier:
        """What only the CA can do, as the probe has it by `--ttp-state`."""
        return Certifier(cast("Administration", _Administration(self._root, self._issuing)))

    def _issue(self, name: str, profile: Profile, key: PrivateKey) -> x509.Certificate:
        return issue(
            profile,
            issuer=self._issuing,
            public_key=key.public_key(),
            sans=(name,),
            lifetime=_DAY,
            now=self._now,
        )

    def _kept(self, name: str, key: PrivateKey, *certificates: x509.Certificate) -> Holder:
        folder = self._new_folder(name)
        folder.mkdir()
        holder = Holder(folder / "cert.pem", folder / "key.pem", to_der(certificates[0]))
        holder.chain.write_text(to_pem(*certificates))
        holder.key.write_bytes(key_to_pem(key))
        return holder

    def _new_folder(self, name: str) -> Path:
        return self._folder / f"{name}-{len(list(self._folder.iterdir()))}"


class _Administration:
    """What a certifier asks of a TTP's administration; without a ledger, and revoking nobody."""

    def __init__(self, root: Issuer, issuing: Issuer) -> None:
        self.root = root.certificate
        self._issuing = issuing

    def name_of_nobody(self) -> str:
        return "trial.invalid"

    async def certify_trial(self, trial: Trial) -> tuple[x509.Certificate, ...]:
        certificate = issue(
            trial.profile,
            issuer=self._issuing,
            public_key=generate_now(KeyType.ECDSA_P256).public_key(),
            sans=trial.sans,
            lifetime=trial.lifetime,
            now=datetime.now(UTC) + trial.starts_in,
            serial_number=trial.serial_number,
        )
        return (
            flawed(certificate, issuer=self._issuing, public_key=trial.public_key, uses=trial.uses),
            self._issuing.certificate,
        )

    async def revoke(self, _serial: str, *, reason: str) -> None:
        pass
