"""The issuing CA changes under running roles, with real processes and lifetimes of seconds."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

import asynctls as library
from asynctls.config import Address
from asynctls.enrolment import Identity, JoinString, join
from asynctls.errors import Alert, RefusedByPeerError
from asynctls.pki.certificates import certificate_from_der, certificates_from_pem
from asynctls.pki.keys import KeyType
from tests.openssl_root import sign_crl

# A dozen processes one after the other, and an issuing CA's whole life.
pytestmark = pytest.mark.timeout(180)

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography import x509

    from tests.roles.processes import Daemons, Process

# The successor comes at 40 s, issues from 50 s on, and the first one ends at 60 s.
ISSUING_S = 60
BRIEF = "24s"


async def joined(asynctls: Daemons, folder: Path, name: str, lifetime: str) -> Identity:
    words = ("--role", "peer", "--lifetime", lifetime, "--state", folder / "ttp")
    printed = await asynctls.run("ttp", "token", name, *words)
    return await join(
        folder / name,
        JoinString.parse(printed.out.decode().strip()),
        key_type=KeyType.ECDSA_P256,
        give_up_after=timedelta(seconds=20),
    )


def issuer_of(identity: Identity) -> x509.Name:
    return certificate_from_der(Identity.load(identity.folder).certificate).issuer


async def renewed_by(role: Process, identity: Identity, issuer: x509.Name) -> None:
    """Waits until the role has a certificate of that CA."""
    await role.until(
        lambda: bool(role.named("certificate renewed")) and issuer_of(identity) == issuer,
        f"a certificate of {issuer.rfc4514_string()}",
    )


async def test_nobody_is_cut_off_while_the_issuing_ca_changes(
    asynctls: Daemons, tmp_path: Path
) -> None:
    ttp, _ = await asynctls.ttp(tmp_path / "ttp", "--issuing-lifetime", f"{ISSUING_S}s")
    old = certificates_from_pem((tmp_path / "ttp" / "issuing.pem").read_bytes())[0]
    often = ("--crl-interval", "1s")
    held = {"server": await joined(asynctls, tmp_path, "server", BRIEF)}
    server, address = await asynctls.server(
        held["server"], "--app", "echo", "--allow", "bystander", *often
    )
    held["client"] = await joined(asynctls, tmp_path, "client", BRIEF)
    client = await asynctls.client(held["client"], address, "--follow", *often)
    held["bystander"] = await joined(asynctls, tmp_path, "bystander", "1h")
    await client.event("session started")

    await server.event("certificate renewed")
    published = await ttp.event("new issuing CA published")
    key_id = str(published["ca"])
    new = certificates_from_pem((tmp_path / "ttp" / f"issuing-{key_id}.pem").read_bytes())[0]
    # Roles take it into their trust by themselves, before anything of it is shown to them.
    for role in (server, client):
        await role.until(
            lambda role=role: any(  # type: ignore[misc]
                len(each["issuing"]) == 2 for each in role.named("CA certificates taken")
            ),
            "both issuing CAs in the trust bundle",
        )
    assert issuer_of(held["server"]) == issuer_of(held["client"]) == old.subject

    # What the old one issued is revoked while the new one issues.
    await ttp.until(
        lambda: any(
            each.get("name") == "ttp" and each.get("issuer") == key_id
            for each in ttp.named("audit")
        ),
        "the TTP's own certificate of the new CA",
    )
    assert (await asynctls.run("ttp", "revoke", "bystander", "--state", tmp_path / "ttp")).code == 0
    await server.until(
        lambda: any("1 revoked" in str(each["lists"]) for each in server.named("CRL taken")),
        "the old CA's CRL with one entry",
    )
    with pytest.raises(RefusedByPeerError) as refused:
        async with library.connect(
            address, server_name="server", identity=held["bystander"]
        ) as session:
            await session.receive()
    assert refused.value.alert is Alert.CERTIFICATE_REVOKED

    for role, name in ((server, "server"), (client, "client")):
        await renewed_by(role, held[name], new.subject)
    sessions = len(client.named("session started"))
    await client.event("session started", count=sessions + 1)
    assert [each["peer"] for each in server.named("refused")] == [
        f"bystander (serial {held['bystander'].serial})"
    ]
    for role in (server, client):
        assert not role.named("refused by peer")
        assert not role.named("certificate not renewed")
        assert not [each for each in role.events if each["level"] in ("error", "critical")]
    assert [each["name"] for each in ttp.named("audit") if each.get("name") == "issuing"]
    verified = await asynctls.run("ttp", "verify", "--state", tmp_path / "ttp")
    assert verified.code == 0


async def test_the_root_key_leaves_a_running_ttp_and_its_crl_comes_back(
    asynctls: Daemons, tmp_path: Path, program: Any
) -> None:
    openssl = program("openssl")
    folder, key = tmp_path / "ttp", tmp_path / "root.key"
    ttp, address = await asynctls.ttp(folder)
    exported = await asynctls.run("ttp", "root", "--state", folder, "--export-key", key)
    assert exported.code == 0, exported.said
    assert not (folder / "root.key").exists()
    assert key.stat().st_mode & 0o777 == 0o600
    again = await asynctls.run("ttp", "root", "--state", folder, "--export-key", tmp_path / "b")
    assert (again.code, again.out) == (1, b"")
    assert "was moved away before" in again.said[-1]
    identity = await joined(asynctls, tmp_path, "peer", "1h")
    assert identity.ttp == Address.parse(address)

    crl = sign_crl(openssl, tmp_path, folder / "root.pem", key, number="0400")
    brought = await asynctls.run("ttp", "root", "--state", folder, "--import-crl", crl)
    assert brought.code == 0, brought.said
    assert "CRL 1024 of asynctls root CA" in brought.said[-1]
    repeated = await asynctls.run("ttp", "root", "--state", folder, "--import-crl", crl)
    assert repeated.code == 1
    assert "sign one with a higher number" in repeated.said[-1]
    refused = await asynctls.run("ttp", "root", "--state", folder, "--crl")
    assert refused.code == 1
    assert "the last one has number 1024" in refused.said[-1]

    assert (await ttp.stop()).code == 0
    ttp, _ = await asynctls.ttp(folder)
    assert ttp.named("the root's key is not here")
