"""What only a CA can make: as it was asked for, in the ledger, and of no use afterwards."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NoReturn

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from asynctls.config import TTPConfig
from asynctls.errors import CertificateError, LedgerError, StateError
from asynctls.pki.certificates import certificate_from_der
from asynctls.pki.keys import KeyType, generate_now
from asynctls.pki.names import sans_of
from asynctls.pki.profiles import Profile
from asynctls.probe.certifier import Certifier
from asynctls.probe.credential import Credential
from asynctls.ttp.authority import Authority
from asynctls.ttp.trials import BY, MOST

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import TTP, LogWatch

pytestmark = pytest.mark.one_loop

CLIENT = Profile.CLIENT
MINUTE = timedelta(minutes=1)


def config_in(folder: Path, **settings: object) -> TTPConfig:
    own = {"root_key_type": "ecdsa-p256", "issuing_key_type": "ecdsa-p256"}
    return TTPConfig(state=folder, **(own | settings))  # type: ignore[arg-type]


@pytest.fixture
def config(ttp: TTP) -> TTPConfig:
    return config_in(ttp.authority.folder)


def uses_of(certificate: x509.Certificate) -> list[x509.ObjectIdentifier]:
    return list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)


async def test_each_flaw_is_the_only_one(ttp: TTP, config: TTPConfig) -> None:
    now = datetime.now(UTC)
    weak_key = rsa.generate_private_key(65537, 1024)
    async with await Certifier.beside(config) as certifier:
        issued = [
            await certifier.issue(CLIENT, ["client"]),
            await certifier.issue(CLIENT, ["client"], starts_in=-2 * MINUTE, lifetime=MINUTE),
            await certifier.issue(CLIENT, ["client"], starts_in=3 * MINUTE, lifetime=MINUTE),
            await certifier.issue(CLIENT, [certifier.name_of_nobody()]),
            await certifier.issue(CLIENT, ["client"], uses=[ExtendedKeyUsageOID.SERVER_AUTH]),
        ]
        weak, issuing = (await certifier.certify(weak_key, CLIENT, ["client"])).chain
    certificates = [certificate_from_der(each.certificate) for each in issued]
    good, expired, too_early, another, misused = certificates
    assert sans_of(good) == ("client",)
    assert uses_of(good) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert expired.not_valid_after_utc < now
    assert too_early.not_valid_before_utc > now + MINUTE
    assert sans_of(another) == ("trial.invalid",)
    assert uses_of(misused) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert weak.public_key() == weak_key.public_key()
    for each in (*certificates, weak):
        each.verify_directly_issued_by(issuing)
        assert {extension.oid for extension in each.extensions} == {
            extension.oid for extension in good.extensions
        }


async def test_all_are_in_the_ledger_and_none_is_of_use_afterwards(
    ttp: TTP, config: TTPConfig
) -> None:
    async with await Certifier.beside(config) as certifier:
        left = await certifier.issue(CLIENT, ["left"])
        revoked = await certifier.certify(
            rsa.generate_private_key(65537, 1024), CLIENT, ["revoked"]
        )
        await certifier.issue(CLIENT, ["over"], starts_in=-2 * MINUTE, lifetime=MINUTE)
        await certifier.revoke(revoked)
        (shown,) = await ttp.authority.show("revoked")
        assert (shown.status, shown.asked_from, shown.profile) == ("revoked", BY, Profile.CLIENT)
        (shown,) = await ttp.authority.show(left.serial)
        assert shown.status == "valid"
    listed = {each.name: each.status for each in await ttp.authority.list_certificates()}
    assert listed == {"left": "revoked", "revoked": "revoked", "over": "expired"}
    await ttp.authority.verify()


async def test_it_is_revoked_also_where_whoever_asked_for_it_was_cancelled(
    ttp: TTP, config: TTPConfig
) -> None:
    key = generate_now(KeyType.ECDSA_P256)
    async with await Certifier.beside(config) as certifier:
        asking = asyncio.create_task(certifier.certify(key, CLIENT, ["client"]))
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    assert [each.status for each in await ttp.authority.list_certificates()] == ["revoked"]


async def test_one_that_cannot_be_revoked_is_named_and_hides_nothing(
    ttp: TTP, config: TTPConfig, logged: LogWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_which: str, **_given: object) -> NoReturn:
        raise LedgerError("the disk is full")

    async with await Certifier.beside(config) as certifier:
        issued = await certifier.issue(CLIENT, ["client"])
        monkeypatch.setattr(certifier._authority, "revoke", fail)
    (event,) = logged.named("trial certificate not revoked")
    assert (event["log_level"], event["serial"]) == ("warning", issued.serial)
    assert event["reason"] == "the disk is full"


async def test_none_can_be_asked_for_that_lasts(ttp: TTP, config: TTPConfig) -> None:
    async with await Certifier.beside(config) as certifier:
        with pytest.raises(CertificateError, match="ends within"):
            await certifier.issue(CLIENT, ["client"], lifetime=MOST + timedelta(seconds=1))
    assert await ttp.authority.list_certificates() == []


async def test_keys_at_rest_are_opened_by_their_passphrase(tmp_path: Path) -> None:
    file = tmp_path / "passphrase"
    file.write_text("correct horse\n")
    file.chmod(0o600)
    config = config_in(tmp_path / "encrypted", key_passphrase_file=file)
    async with await Authority.open(config):
        pass
    async with await Certifier.beside(config) as certifier:
        await certifier.issue(CLIENT, ["client"])
    with pytest.raises(StateError, match="passphrase"):
        await Certifier.beside(config_in(tmp_path / "encrypted"))


def test_what_no_ca_is_needed_for_can_be_loaded_from_memory() -> None:
    for credential in (
        Credential.self_signed(),
        Credential.of_another_ca(["client", "spiffe://example/client"], Profile.CLIENT),
    ):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        with credential.loadable() as (chain, key):
            context.load_cert_chain(chain, key)
        assert "PRIVATE" not in repr(credential)
