"""Two TTPs on one PostgreSQL: one makes the issuing CA's successor, both go on with it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from asynctls.config import SecretText, TTPConfig
from asynctls.errors import StateError
from asynctls.mac import Secret
from asynctls.pki.certificates import check_issued_by
from asynctls.pki.keys import KeyType, generate_now, is_encrypted
from asynctls.pki.names import format_serial
from asynctls.pki.profiles import Profile, key_id_text
from asynctls.pki.requests import build_request
from asynctls.pki.status import read_crl
from asynctls.ttp import clock
from asynctls.ttp.authority import Authority
from asynctls.ttp.backup import back_up, restore
from asynctls.ttp.ca import PUBLISHED_FIRST
from asynctls.ttp.keyfiles import KeyFiles

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from cryptography import x509

    from tests.conftest import LogWatch
    from tests.postgresql import Database

pytestmark = pytest.mark.one_loop

DAY = timedelta(days=1)
LIFETIME = 90 * DAY
# The CA is made some seconds after the test began.
DUE = 60 * DAY + timedelta(minutes=1)
KEY = generate_now(KeyType.ECDSA_P256)


@pytest.fixture(params=["plain keys", "encrypted keys"])
def passphrase_file(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return written(tmp_path / "passphrase", "of both") if "encrypted" in request.param else None


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta], None]:
    start = datetime.now(UTC).replace(microsecond=0)

    def set_forward(by: timedelta) -> None:
        monkeypatch.setattr(clock, "now", lambda: start + by)

    return set_forward


def written(path: Path, passphrase: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(passphrase)
    return path


def config_of(folder: Path, database: Database, passphrase_file: Path | None) -> TTPConfig:
    return TTPConfig(
        state=folder,
        name=("ttp.example",),
        root_key_type="ecdsa-p256",
        issuing_key_type="ecdsa-p256",
        issuing_lifetime=LIFETIME,
        key_passphrase_file=passphrase_file,
        ledger=SecretText(database.url),
    )


@asynccontextmanager
async def two(
    tmp_path: Path, postgres: Database, passphrase_file: Path | None
) -> AsyncIterator[tuple[Authority, Authority]]:
    """Two replicas, as the guide says: the second has its keys from a backup of the first."""
    first = config_of(tmp_path / "first", postgres, passphrase_file)
    second = config_of(tmp_path / "second", postgres, passphrase_file)
    async with await Authority.open(first) as one:
        await back_up(first, tmp_path / "backup", passphrase=None)
        await restore(second, tmp_path / "backup", passphrase=None)
        async with await Authority.open(second) as other:
            yield one, other


def encrypted_anew(config: TTPConfig, passphrase: bytes) -> None:
    before, after = KeyFiles.of(config), KeyFiles(config.state, Secret(passphrase))
    for path in config.state.glob("*.key"):
        if path.stem != "ledger":
            key = before.read(path.stem)
            assert key is not None
            after.write(path.stem, key)


async def issued(authority: Authority) -> x509.Certificate:
    token_id, secret = await authority.create_token(
        "peer", profile=Profile.PEER, ttl=DAY, lifetime=DAY
    )
    return await authority.enrol(
        token_id, secret.reveal().decode(), build_request(KEY), address="127.0.0.1:5555"
    )


def listed(authority: Authority, ca: x509.Certificate) -> frozenset[int]:
    """What that CA's CRL lists, as this replica hands it out."""
    crl = authority.crl_of(key_id_text(ca))
    assert crl is not None
    return read_crl(crl.der, ca).serials


async def test_a_successor_made_by_one_is_taken_over_by_the_other(
    tmp_path: Path,
    postgres: Database,
    passphrase_file: Path | None,
    later: Callable[[timedelta], None],
    logged: LogWatch,
) -> None:
    async with two(tmp_path, postgres, passphrase_file) as (one, other):
        first, root = one.ca_certificates
        later(DUE)
        await one.look_after()
        await other.look_after()
        second = one.ca_certificates[1]
        assert one.ca_certificates == other.ca_certificates == (first, second, root)
        (taken,) = logged.named("issuing CA taken over from another TTP")
        assert taken["ca"] == key_id_text(second)
        key_file = other.folder / f"issuing-{key_id_text(second)}.key"
        assert key_file.stat().st_mode & 0o777 == 0o600
        assert is_encrypted(key_file.read_bytes()) == (passphrase_file is not None)

        for each in (one, other):
            check_issued_by(await issued(each), first)
        later(DUE + PUBLISHED_FIRST)
        for each in (one, other):
            await each.look_after()
            assert each.tls_certificate is not None
            check_issued_by(each.tls_certificate, second)
        assert one.ca_certificates == other.ca_certificates == (second, first, root)

        serials = set()
        for revoking, watching in ((one, other), (other, one)):
            certificate = await issued(revoking)
            check_issued_by(certificate, second)
            serials.add(certificate.serial_number)
            await revoking.revoke(format_serial(certificate.serial_number))
            await watching.look_after()
            assert listed(revoking, second) == listed(watching, second) == serials
            assert listed(revoking, first) == listed(watching, first) == frozenset()
        await other.verify()


async def test_both_find_it_due_at_once_and_one_successor_is_made(
    tmp_path: Path, postgres: Database, later: Callable[[timedelta], None]
) -> None:
    async with two(tmp_path, postgres, None) as (one, other):
        later(DUE)
        await asyncio.gather(one.look_after(), other.look_after())
        assert len(one.ca_certificates) == 3
        assert one.ca_certificates == other.ca_certificates
        await asyncio.gather(one.look_after(), other.look_after())
        assert len(one.ca_certificates) == 3
        for each in (one, other):
            assert len(list(each.folder.glob("issuing*.key"))) == 2


async def test_one_that_was_down_meanwhile_takes_it_over_as_it_starts(
    tmp_path: Path,
    postgres: Database,
    passphrase_file: Path | None,
    later: Callable[[timedelta], None],
) -> None:
    async with two(tmp_path, postgres, passphrase_file) as (one, other):
        await other.close()
        later(DUE)
        await one.look_after()
        later(DUE + PUBLISHED_FIRST)
        await one.look_after()
        second = config_of(tmp_path / "second", postgres, passphrase_file)
        async with await Authority.open(second) as again:
            assert again.ca_certificates == one.ca_certificates
            check_issued_by(await issued(again), one.ca_certificates[0])


async def test_with_another_passphrase_it_is_not_taken_over_and_says_what_to_do(
    tmp_path: Path, postgres: Database, later: Callable[[timedelta], None]
) -> None:
    both = written(tmp_path / "passphrase", "of both")
    async with two(tmp_path, postgres, both) as (one, other):
        await other.close()
        second = config_of(tmp_path / "second", postgres, both)
        later(DUE)
        await one.look_after()
        encrypted_anew(second, b"its own")
        file = written(tmp_path / "another", "its own")
        with pytest.raises(StateError, match="and the same key passphrase"):
            await Authority.open(config_of(second.state, postgres, file))
        assert len(list(second.state.glob("issuing*.key"))) == 1


async def test_another_passphrase_is_said_at_the_start_and_not_only_when_a_successor_comes(
    tmp_path: Path, postgres: Database, logged: LogWatch
) -> None:
    event = "the key passphrase is not the other TTPs'"
    both = written(tmp_path / "passphrase", "of both")
    async with two(tmp_path, postgres, both):
        assert not logged.named(event)
    second = config_of(tmp_path / "second", postgres, both)
    encrypted_anew(second, b"its own")
    file = written(tmp_path / "another", "its own")
    async with await Authority.open(config_of(second.state, postgres, file)) as other:
        (said,) = logged.named(event)
        assert said["log_level"] == "error"
        assert "cannot take over" in said["reason"]
        # It can do its work until then: it may have been changed on all of them.
        await issued(other)


async def test_a_ca_that_somebody_wrote_into_the_database_is_not_taken_over(
    tmp_path: Path, postgres: Database, later: Callable[[timedelta], None]
) -> None:
    async with two(tmp_path, postgres, None) as (one, other):
        later(DUE)
        await one.look_after()
        # The successor's row with the sealed key of nobody.
        postgres.execute(
            'UPDATE entries SET body = regexp_replace(body, \'"sealed_key":"....\', '
            '\'"sealed_key":"AAAA\') WHERE body LIKE \'%"sealed_key":"_%\''
        )
        with pytest.raises(StateError, match="its sealed key does not open"):
            await other.look_after()
        assert len(other.ca_certificates) == 2
        assert not list(other.folder.glob("issuing-*"))
