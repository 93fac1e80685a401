"""Running roles while the issuing CA changes, whatever makes the successor come."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

import asynctls as library
from asynctls.alerts import Alert
from asynctls.config import Address, TTPConfig
from asynctls.enrolment import Identity, JoinString, join
from asynctls.errors import RefusedByPeerError
from asynctls.pki.certificates import certificate_from_der, certificates_from_pem
from asynctls.pki.keys import KeyType
from asynctls.pki.profiles import Profile
from asynctls.ttp.authority import Authority

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography import x509

    from tests.roles.processes import Daemons, Process

__all__ = ["Roles", "joined", "nobody_is_cut_off", "started"]

# Renewed every 16 s, with 8 s for that.
BRIEF = timedelta(seconds=24)
HOUR = timedelta(hours=1)
OFTEN = ("--crl-interval", "1s")


@dataclass(frozen=True, slots=True)
class Roles:
    """A TTP, and a server and a client of it that talk, all of them processes."""

    state: Path
    ttp: Process
    server: Process
    client: Process
    address: str
    held: dict[str, Identity]


async def joined(state: Path, address: str, folder: Path, lifetime: timedelta) -> Identity:
    """An identity called as its folder, of the TTP that runs in ``state``."""
    async with await Authority.beside(TTPConfig(state=state)) as authority:
        token_id, secret = await authority.create_token(
            folder.name, profile=Profile.PEER, ttl=HOUR, lifetime=lifetime
        )
        root_sha256 = authority.root_sha256
    return await join(
        folder,
        JoinString(token_id, secret, Address.parse(address), folder.name, root_sha256),
        key_type=KeyType.ECDSA_P256,
        give_up_after=timedelta(seconds=20),
    )


async def started(asynctls: Daemons, folder: Path, *words: str) -> Roles:
    """All of it, up to the first session; ``words`` are the TTP's."""
    state = folder / "ttp"
    ttp, ttp_address = await asynctls.ttp(state, *words)
    held = {"bystander": await joined(state, ttp_address, folder / "bystander", HOUR)}
    # Each as it is needed: on a busy machine a process may take seconds to start.
    held["server"] = await joined(state, ttp_address, folder / "server", BRIEF)
    server, address = await asynctls.server(
        held["server"], "--app", "echo", "--allow", "bystander", *OFTEN
    )
    held["client"] = await joined(state, ttp_address, folder / "client", BRIEF)
    client = await asynctls.client(held["client"], address, "--follow", *OFTEN)
    await client.event("session started")
    return Roles(state, ttp, server, client, address, held)


async def nobody_is_cut_off(asynctls: Daemons, roles: Roles) -> None:
    """From the successor's publication, which is to come, to the roles' certificates of it."""
    ttp, server, client, held = roles.ttp, roles.server, roles.client, roles.held
    old = _first(roles.state / "issuing.pem")
    key_id = str((await ttp.event("new issuing CA published"))["ca"])
    new = _first(roles.state / f"issuing-{key_id}.pem")
    # Roles take it into their trust by themselves, before anything of it is shown to them.
    for role in (server, client):
        await role.until(
            lambda role=role: any(  # type: ignore[misc]
                len(each["issuing"]) == 2 for each in role.named("CA certificates taken")
            ),
            "both issuing CAs in the trust bundle",
        )
    assert _issuer_of(held["server"]) == _issuer_of(held["client"]) == old.subject

    # What the old one issued is revoked while the new one issues.
    await ttp.until(
        lambda: any(
            each.get("name") == "ttp" and each.get("issuer") == key_id
            for each in ttp.named("audit")
        ),
        "the TTP's own certificate of the new CA",
    )
    assert (await asynctls.run("ttp", "revoke", "bystander", "--state", roles.state)).code == 0
    await server.until(
        lambda: any("1 revoked" in str(each["lists"]) for each in server.named("CRL taken")),
        "the old CA's CRL with one entry",
    )
    with pytest.raises(RefusedByPeerError) as refused:
        async with library.connect(
            roles.address, server_name="server", identity=held["bystander"]
        ) as session:
            await session.receive()
    assert refused.value.alert is Alert.CERTIFICATE_REVOKED

    for role, name in ((server, "server"), (client, "client")):
        await _renewed_by(role, held[name], new.subject)
    sessions = len(client.named("session started"))
    await client.event("session started", count=sessions + 1)
    assert [each["peer"] for each in server.named("refused")] == [
        f"bystander (serial {held['bystander'].serial})"
    ]
    for role in (server, client):
        assert not role.named("refused by peer")
        assert not role.named("certificate not renewed")
        assert not [each for each in role.events if each["level"] in ("error", "critical")]
    verified = await asynctls.run("ttp", "verify", "--state", roles.state)
    assert verified.code == 0


async def _renewed_by(role: Process, identity: Identity, issuer: x509.Name) -> None:
    """Waits until the role has a certificate of that CA."""
    await role.until(
        lambda: bool(role.named("certificate renewed")) and _issuer_of(identity) == issuer,
        f"a certificate of {issuer.rfc4514_string()}",
    )


def _issuer_of(identity: Identity) -> x509.Name:
    return certificate_from_der(Identity.load(identity.folder).certificate).issuer


def _first(path: Path) -> x509.Certificate:
    return certificates_from_pem(path.read_bytes())[0]
