"""Private keys at rest: what is written can be read, and what is encrypted only with its word."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from asynctls.errors import StateError
from asynctls.mac import Secret
from asynctls.pki.keys import KeyType, generate_now
from asynctls.ttp.keyfiles import KeyFiles

if TYPE_CHECKING:
    from pathlib import Path

KEY = generate_now(KeyType.ECDSA_P256)
PASSPHRASE = Secret(b"correct horse")


@pytest.mark.parametrize("passphrase", [None, PASSPHRASE])
def test_what_is_written_is_read(tmp_path: Path, passphrase: Secret | None) -> None:
    keys = KeyFiles(tmp_path, passphrase)
    assert keys.read("root") is None
    keys.write("root", KEY)
    assert stat.S_IMODE(keys.path("root").stat().st_mode) == 0o600
    found = keys.read("root")
    assert found is not None
    assert found.private_numbers() == KEY.private_numbers()


def test_an_encrypted_key_opens_by_its_passphrase_alone(tmp_path: Path) -> None:
    KeyFiles(tmp_path, PASSPHRASE).write("root", KEY)
    assert b"BEGIN ENCRYPTED PRIVATE KEY" in KeyFiles(tmp_path).path("root").read_bytes()
    with pytest.raises(StateError, match="its passphrase is another one"):
        KeyFiles(tmp_path, Secret(b"battery staple")).read("root")
    with pytest.raises(StateError, match=r"by key_passphrase_file, .*ASYNCTLS_KEY_PASSPHRASE$"):
        KeyFiles(tmp_path).read("root")


def test_a_key_from_before_the_passphrase_is_read(tmp_path: Path) -> None:
    KeyFiles(tmp_path).write("root", KEY)
    assert KeyFiles(tmp_path, PASSPHRASE).read("root") is not None


def test_what_is_no_key_is_said_by_its_name(tmp_path: Path) -> None:
    keys = KeyFiles(tmp_path)
    keys.path("root").write_text("no key")
    keys.path("root").chmod(0o600)
    with pytest.raises(StateError, match=r"root\.key cannot be used"):
        keys.read("root")
