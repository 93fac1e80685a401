"""An issuing CA of a root elsewhere is tried by names that it may certify."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from asynctls.config import TTPConfig
from asynctls.errors import StateLockedError
from asynctls.pki.certificates import to_pem
from asynctls.pki.keys import KeyType, generate_now, judge_public_key
from asynctls.pki.profiles import Issuer, make_issuing, make_root
from asynctls.ttp import ca, clock, foreign_root, records
from asynctls.ttp.ledger import Ledger

if TYPE_CHECKING:
    from pathlib import Path

DAY = timedelta(days=1)
ROOT_KEY = generate_now(KeyType.ECDSA_P256)


def config_of(tmp_path: Path, **settings: object) -> TTPConfig:
    return TTPConfig(
        state=tmp_path / "ttp",
        issuing_key_type="ecdsa-p256",
        **settings,  # type: ignore[arg-type]
    )


def signed(request: str, config: TTPConfig, tmp_path: Path) -> tuple[Path, x509.Certificate]:
    """A file with the issuing CA of that request, as the root elsewhere signs it, and the root."""
    public_key = judge_public_key(x509.load_pem_x509_csr(request.encode()).public_key())
    root = Issuer(make_root(ROOT_KEY, lifetime=9 * DAY, now=clock.now()), ROOT_KEY)
    issuing = make_issuing(
        public_key,
        issuer=root,
        lifetime=9 * DAY,
        now=clock.now(),
        constraints=ca.constraints_of(config),
    )
    file = tmp_path / "brought.pem"
    file.write_text(to_pem(issuing, root.certificate))
    return file, issuing


@pytest.mark.parametrize(
    "constraints", [(), ("example.org",), ("10.0.0.0/8",), ("uri:example.org",)]
)
async def test_a_ca_with_name_constraints_can_be_brought_in(
    tmp_path: Path, constraints: tuple[str, ...]
) -> None:
    config = config_of(tmp_path, name_constraints=constraints)
    file, issuing = signed(await foreign_root.request(config), config, tmp_path)
    assert await foreign_root.bring(config, file, None) == issuing
    assert not list(config.state.glob(".trying-*"))


async def test_what_is_brought_in_again_is_there_already(tmp_path: Path) -> None:
    """As after a connection that was lost when all was done: by its certificate, not by its key."""
    config = config_of(tmp_path)
    file, issuing = signed(await foreign_root.request(config), config, tmp_path)
    for _ in range(2):
        assert await foreign_root.bring(config, file, None) == issuing
    async with await Ledger.open(config.state) as ledger:
        taken = await ledger.read(partial(records.own_certificates, name=ca.ISSUING))
    assert len(taken) == 1


async def test_what_a_killed_import_left_goes_with_the_next(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    file, issuing = signed(await foreign_root.request(config), config, tmp_path)
    left = config.state / ".trying-abc"
    left.mkdir()
    (left / "cert.key").write_text("a key")
    assert await foreign_root.bring(config, file, None) == issuing
    assert not left.exists()


async def test_requests_that_are_made_at_once_are_for_one_key(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    for exists in (False, True):
        made = await asyncio.gather(
            *(foreign_root.request(config) for _ in range(4)), return_exceptions=True
        )
        requests = [each for each in made if isinstance(each, str)]
        first = x509.load_pem_x509_csr(requests[0].encode()).public_key()
        assert all(x509.load_pem_x509_csr(each.encode()).public_key() == first for each in requests)
        # Before there is a ledger, one at a time is let in.
        others = {type(each) for each in made if not isinstance(each, str)}
        assert others <= (set() if exists else {StateLockedError})
        if not exists:
            file, _ = signed(requests[0], config, tmp_path)
            await foreign_root.bring(config, file, None)
