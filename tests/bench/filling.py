"""A true ledger of as many rows as are wanted, in seconds: what a fleet leaves behind over years.

Every row is linked by the ledger's own key and taken by the ledger's own check, as a backup's rows
are, and stands as the TTP would have written it: a token for each host, its first certificate,
then one renewal after another, and here and there a revocation. Only the certificates are not
signed one by one: they are copies of one that the issuing CA signed, with serial number and name
of their own, and all of one key. Nothing in the TTP checks the signature of what it has issued.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from asynctls.pki.certificates import certificate_from_der, to_der
from asynctls.pki.keys import KeyType, generate_now, spki_sha256
from asynctls.pki.profiles import Profile, issue, key_id_text
from asynctls.ttp import chain, clock
from asynctls.ttp.ledger import Ledger
from asynctls.ttp.schema import CertificateBody, Kind, RevocationBody, TokenBody, row_of

if TYPE_CHECKING:
    from asynctls.config import TTPConfig
    from asynctls.pki.profiles import Issuer
    from asynctls.ttp.chain import Value
    from asynctls.ttp.transactions import Transaction

__all__ = ["Fill"]

_AT_ONCE = 2_000
_RENEWALS = 20
_LIFETIME = timedelta(days=90)
_SERIAL_OCTETS = 20
_REASON = RevocationBody(reason="superseded")


@dataclass(slots=True)
class Fill:
    """Adds certificates to a ledger: as many as are asked for, and more on top of them later.

    Attributes:
        config: the TTP's.
        issuer: the CA that they are of.
        revoke_every: so many certificates to one that is revoked.
        serials: of the newest certificate of each host, by its number.
        revoked: serial numbers, in the order of their revocations.
        count: certificates added so far.
    """

    config: TTPConfig
    issuer: Issuer
    revoke_every: int = 10
    serials: dict[int, str] = field(default_factory=dict)
    revoked: list[str] = field(default_factory=list)
    count: int = 0

    async def up_to(self, certificates: int) -> None:
        """Has the ledger hold so many of these."""
        now = clock.now()
        template = _Template(self.issuer)
        hosts = range(len(self.serials), max(certificates // _RENEWALS, len(self.serials) + 1))
        async with await Ledger.open(self.config.state) as ledger:
            key = await ledger.write(lambda tx: tx._key.reveal())
            while self.count < certificates:
                wanted = min(_AT_ONCE, certificates - self.count)
                rows: list[dict[str, Value]] = []
                for _ in range(wanted):
                    host = hosts[self.count % len(hosts)]
                    rows += self._rows(host, template, at=int(now.timestamp()))
                    self.count += 1

                def take(tx: Transaction, rows: list[dict[str, Value]] = rows) -> None:
                    last = tx.head
                    for row in rows:
                        sequence = last.sequence + 1
                        tag = chain.link(key, sequence, last.mac, row)
                        row |= {"sequence": sequence, "previous": last.mac, "mac": tag}
                        last = chain.Head(sequence, tag)
                    tx.adopt(rows)

                await ledger.write(take)

    def _rows(self, host: int, template: _Template, *, at: int) -> list[dict[str, Value]]:
        rows, name = [], _name(host)
        renews = self.serials.get(host)
        token_id = None
        if renews is None:
            token_id = f"fill{host:012d}"
            body = TokenBody(
                sans=(name,), profile="peer", lifetime_s=86400, secret_sha256="00" * 32
            )
            rows.append(
                row_of(
                    Kind.TOKEN_CREATED,
                    body,
                    at=at,
                    token_id=token_id,
                    name=name,
                    ends_at=at + 600,
                )
            )
        serial, der = template.certificate(name)
        rows.append(
            row_of(
                Kind.CERTIFICATE_ISSUED,
                CertificateBody(
                    sans=(name,),
                    profile="peer",
                    lifetime_s=_LIFETIME // timedelta(seconds=1),
                    not_before=template.not_before,
                    address="127.0.0.1:40000",
                ),
                at=at,
                token_id=token_id,
                serial=serial,
                renews=renews,
                name=name,
                spki_sha256=template.spki_sha256,
                ends_at=template.ends_at,
                der=der,
                issuer=template.issuer,
            )
        )
        self.serials[host] = serial
        if self.count % self.revoke_every == self.revoke_every - 1:
            rows.append(row_of(Kind.CERTIFICATE_REVOKED, _REASON, at=at, serial=serial, name=name))
            self.revoked.append(serial)
        return rows


class _Template:
    """A certificate that the issuing CA signed, and copies of it."""

    def __init__(self, issuer: Issuer) -> None:
        self._name = _name(0).encode()
        self._serial = b"\x40" + os.urandom(_SERIAL_OCTETS - 1)
        self._der = to_der(
            issue(
                Profile.PEER,
                issuer=issuer,
                public_key=(key := generate_now(KeyType.ECDSA_P256).public_key()),
                sans=[_name(0)],
                lifetime=_LIFETIME,
                now=clock.now(),
                serial_number=int.from_bytes(self._serial),
            )
        )
        certificate = certificate_from_der(self._der)
        self.spki_sha256 = spki_sha256(key)
        self.not_before = certificate.not_valid_before_utc
        self.ends_at = int(certificate.not_valid_after_utc.timestamp())
        self.issuer = key_id_text(issuer.certificate)

    def certificate(self, name: str) -> tuple[str, bytes]:
        """Serial number and DER of another one, for that name."""
        serial = b"\x40" + os.urandom(_SERIAL_OCTETS - 1)
        der = self._der.replace(self._serial, serial).replace(self._name, name.encode())
        return serial.hex().upper(), der


def _name(host: int) -> str:
    return f"host-{host:07d}.fleet.example"
