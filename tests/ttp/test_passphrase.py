"""Private keys at rest are encrypted, by a passphrase that is never an argument."""

from __future__ import annotations

import asyncio
import subprocess
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from asynctls.config import Address, TTPConfig
from asynctls.enrolment import JoinString, join
from asynctls.errors import ConfigError, StateError
from asynctls.mac import Secret
from asynctls.pki.keys import KeyType
from asynctls.pki.profiles import Profile
from asynctls.ttp.authority import Authority
from asynctls.ttp.passphrase import CREDENTIAL, VARIABLE, key_passphrase
from asynctls.ttp.service import Service

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEYS = ("root", "issuing", "ttp")


def config_in(folder: Path, passphrase_file: Path | None = None) -> TTPConfig:
    return TTPConfig(
        state=folder / "ttp",
        listen=Address("127.0.0.1", 0),
        root_key_type="ecdsa-p256",
        issuing_key_type="ecdsa-p256",
        key_passphrase_file=passphrase_file,
    )


@pytest.fixture
def passphrase_file(tmp_path: Path) -> Path:
    path = tmp_path / "passphrase"
    path.write_text("correct horse\n")
    path.chmod(0o600)
    return path


def kinds_of_keys(folder: Path) -> set[bytes]:
    return {(folder / "ttp" / f"{each}.key").read_bytes().splitlines()[0] for each in KEYS}


def test_the_file_wins_over_the_credential_and_that_over_the_variable(
    tmp_path: Path, passphrase_file: Path
) -> None:
    (tmp_path / CREDENTIAL).write_bytes(b"from systemd")
    environ = {VARIABLE: "from the environment"}
    assert key_passphrase(None, {}) is None
    assert key_passphrase(None, {VARIABLE: ""}) is None
    assert key_passphrase(None, environ) == Secret(b"from the environment")
    empty_folder = environ | {"CREDENTIALS_DIRECTORY": str(tmp_path / "none")}
    assert key_passphrase(None, empty_folder) == Secret(b"from the environment")
    environ["CREDENTIALS_DIRECTORY"] = str(tmp_path)
    assert key_passphrase(None, environ) == Secret(b"from systemd")
    assert key_passphrase(passphrase_file, environ) == Secret(b"correct horse")


@pytest.mark.parametrize(
    ("content", "mode", "problem"),
    [
        ("", 0o600, "is empty"),
        ("\n", 0o600, "is empty"),
        ("one\ntwo\n", 0o600, "more than one line"),
        ("x" * 1025, 0o600, "longer than"),
        ("open", 0o644, "chmod 600"),
        (None, 0, "no such file"),
    ],
)
def test_a_passphrase_that_is_none_is_a_fault_of_the_config(
    tmp_path: Path, content: str | None, mode: int, problem: str
) -> None:
    path = tmp_path / "passphrase"
    if content is not None:
        path.write_text(content)
        path.chmod(mode)
    with pytest.raises(ConfigError, match=problem) as caught:
        key_passphrase(path, {})
    assert caught.value.faults[0].key == "ttp.key_passphrase_file"


async def test_all_keys_are_encrypted_and_the_ttp_works_with_them(
    tmp_path: Path, passphrase_file: Path
) -> None:
    config = config_in(tmp_path, passphrase_file)
    async with await Authority.open(config) as authority:
        assert all(
            b"BEGIN ENCRYPTED" in (config.state / f"{each}.key").read_bytes() for each in KEYS
        )
        service = Service(authority, config)
        async with service.serving(asyncio.Event()) as (listener, _):
            token_id, secret = await authority.create_token(
                "peer",
                profile=Profile.PEER,
                ttl=timedelta(minutes=1),
                lifetime=timedelta(hours=1),
            )
            where = JoinString(token_id, secret, listener.address, "peer", authority.root_sha256)
            identity = await join(
                tmp_path / "peer",
                where,
                key_type=KeyType.ECDSA_P256,
                give_up_after=timedelta(seconds=20),
            )
    assert identity.name == "peer"


async def test_keys_from_before_the_passphrase_are_encrypted_at_the_next_start(
    tmp_path: Path, passphrase_file: Path
) -> None:
    await (await Authority.open(config_in(tmp_path))).close()
    assert kinds_of_keys(tmp_path) == {b"-----BEGIN PRIVATE KEY-----"}
    keys = {each.stem for each in (tmp_path / "ttp").glob("*.key")} - {"ledger"}
    assert keys > set(KEYS)
    for expected in ([tuple(sorted(keys))], []):
        with capture_logs() as events:
            await (await Authority.open(config_in(tmp_path, passphrase_file))).close()
        told = [each["names"] for each in events if each["event"] == "private keys encrypted"]
        assert told == expected
    with pytest.raises(StateError, match=r"issuing\.key|root\.key"):
        await Authority.open(config_in(tmp_path))
    with pytest.raises(StateError, match="is encrypted: give its passphrase by"):
        await Authority.beside(config_in(tmp_path))
    other = tmp_path / "other"
    other.write_text("battery staple")
    other.chmod(0o600)
    with pytest.raises(StateError, match="its passphrase is another one"):
        await Authority.open(config_in(tmp_path, other))


def test_openssl_opens_such_a_key(
    tmp_path: Path, passphrase_file: Path, program: Callable[[str], Path]
) -> None:
    async def start() -> None:
        await (await Authority.open(config_in(tmp_path, passphrase_file))).close()

    asyncio.run(start())
    key, opened_by = str(tmp_path / "ttp" / "root.key"), f"file:{passphrase_file}"
    openssl = str(program("openssl"))
    subprocess.run(
        [openssl, "pkey", "-in", key, "-passin", opened_by, "-noout"], check=True, timeout=20
    )
