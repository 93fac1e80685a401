"""The issuing CA changes under running roles, and the root's key goes: with real processes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from asynctls.config import Address, TTPConfig
from asynctls.pki.keys import KeyType, generate_now
from asynctls.pki.profiles import make_issuing
from asynctls.ttp import ca, succession
from asynctls.ttp.keyfiles import KeyFiles
from asynctls.ttp.ledger import Ledger
from tests.openssl_root import sign_crl
from tests.roles.changing_ca import joined, nobody_is_cut_off, started

if TYPE_CHECKING:
    from pathlib import Path

    from asynctls.ttp.transactions import Transaction
    from tests.roles.processes import Daemons

# No wait is this long; but a dozen processes start here, one after another.
pytestmark = [pytest.mark.timeout(180), pytest.mark.one_loop]

SOON = timedelta(seconds=10)
"""From the successor's publication until it issues: ten of the roles' looks at the CAs."""


async def bring_successor(folder: Path) -> None:
    """Takes up a successor beside the running TTP, as if that had been a week ago, but for SOON.

    So it comes when the roles are ready for it, however long that took them, and the old CA's end
    is years away. tests/soak has it come by itself, with a CA whose whole life is two minutes.
    """
    keys, now = KeyFiles(folder), datetime.now(UTC).replace(microsecond=0)

    def take_up(transaction: Transaction) -> None:
        root = ca.load(transaction.connection, keys, now=now, status_url=None).root_issuer
        assert root is not None
        key = generate_now(KeyType.ECDSA_P256)
        certificate = make_issuing(
            key.public_key(), issuer=root, lifetime=TTPConfig().issuing_lifetime, now=now
        )
        since = now + SOON - ca.PUBLISHED_FIRST
        succession.take_up(transaction, certificate, key, keys, is_shared=False, now=since)

    async with await Ledger.open(folder, must_exist=True) as ledger:
        await ledger.write(take_up)


async def test_nobody_is_cut_off_while_the_issuing_ca_changes(
    asynctls: Daemons, tmp_path: Path
) -> None:
    roles = await started(asynctls, tmp_path)
    await bring_successor(roles.state)
    await nobody_is_cut_off(asynctls, roles)


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
    identity = await joined(folder, address, tmp_path / "peer", timedelta(hours=1))
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
