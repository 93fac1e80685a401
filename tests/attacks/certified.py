"""A victim of a real CA: for the attacks that have certificates made (`--ttp-state`)."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from asynctls.admission import Peer
from asynctls.config import TTPConfig
from asynctls.pki.certificates import certificate_from_der
from asynctls.pki.profiles import Profile
from asynctls.pki.status import RevocationList, read_crl
from asynctls.probe.attack import Target
from asynctls.probe.certifier import Certifier
from asynctls.ttp.authority import Authority
from tests.attacks.world import Holder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asynctls.config import Address
    from asynctls.enrolment import Identity

__all__ = ["Certified", "certified"]


@dataclass(frozen=True, slots=True)
class Certified:
    """A server and a client of one CA, whose key is at hand."""

    certifier: Certifier
    server: Holder
    client: Identity
    trust: Path
    crl: RevocationList

    def target(self, address: Address) -> Target:
        """The server as the probe sees it."""
        return Target(
            address,
            self.client,
            server=Peer.of(self.server.certificate),
            sessions=True,
            ttp=self.certifier,
        )


@asynccontextmanager
async def certified() -> AsyncIterator[Certified]:
    """A new CA with its ledger, and what it has certified."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        config = TTPConfig(
            state=folder / "ttp", root_key_type="ecdsa-p256", issuing_key_type="ecdsa-p256"
        )
        async with (
            await Authority.open(config) as authority,
            await Certifier.beside(config) as certifier,
        ):
            server = await certifier.issue(Profile.SERVER, ["server"])
            client = await certifier.issue(Profile.CLIENT, ["client"])
            crl = read_crl(authority.crl_der, certificate_from_der(server.chain[0]))
            holder = await asyncio.to_thread(_written, folder, server)
            yield Certified(certifier, holder, client, folder / "trust.pem", crl)


def _written(folder: Path, identity: Identity) -> Holder:
    holder = Holder(folder / "cert.pem", folder / "key.pem", identity.certificate)
    with identity.store.loadable() as (chain, key):
        holder.chain.write_bytes(chain.read_bytes())
        holder.key.write_bytes(key.read_bytes())
    (folder / "trust.pem").write_text(identity.trust)
    return holder
