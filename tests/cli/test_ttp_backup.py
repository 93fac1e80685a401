"""``asynctls ttp backup``, ``restore`` and ``verify --head``, as an operator types them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Run
    from tests.postgresql import Database

KEY_TYPES = {
    "ASYNCTLS_ROOT_KEY_TYPE": "ecdsa-p256",
    "ASYNCTLS_ISSUING_KEY_TYPE": "ecdsa-p256",
}


@pytest.fixture
def state(asynctls: Run, monkeypatch: pytest.MonkeyPatch) -> str:
    """The state folder of a TTP whose CA is there, with one token."""
    for name, value in KEY_TYPES.items():
        monkeypatch.setenv(name, value)
    ended = asynctls("ttp", "token", "server", "--state", "ttp", "--name", "ttp.example")
    assert ended.code == 0, ended.err
    return "ttp"


def secret_file(path: Path, content: str = "correct horse\n") -> str:
    path.write_text(content)
    path.chmod(0o600)
    return str(path)


def test_a_ttp_is_backed_up_and_restored_elsewhere(
    asynctls: Run, state: str, tmp_path: Path
) -> None:
    backup = asynctls("ttp", "backup", "saved", "--state", state)
    assert (backup.code, backup.out.count("\n")) == (0, 1)
    restore = asynctls("ttp", "restore", "saved", "--state", "elsewhere")
    assert (restore.code, restore.out) == (0, backup.out)
    roots = [asynctls("ttp", "root", "--state", folder).out for folder in (state, "elsewhere")]
    assert roots[0] == roots[1] != ""
    head = ("--head", backup.out.strip())
    assert asynctls("ttp", "verify", "--state", "elsewhere", *head).code == 0
    again = asynctls("ttp", "restore", "saved", "--state", "elsewhere")
    assert (again.code, again.out) == (1, "")
    assert "is not empty" in again.err


def test_a_passphrase_comes_from_a_private_file(asynctls: Run, state: str, tmp_path: Path) -> None:
    file = secret_file(tmp_path / "passphrase")
    words = ("--passphrase-file", file)
    assert asynctls("ttp", "backup", "saved", "--state", state, *words).code == 0
    without = asynctls("ttp", "restore", "saved", "--state", "elsewhere")
    assert without.code == 1
    assert "--passphrase-file" in without.err
    assert asynctls("ttp", "restore", "saved", "--state", "elsewhere", *words).code == 0
    (tmp_path / "passphrase").chmod(0o644)
    open_to_all = asynctls("ttp", "backup", "saved", "--state", state, *words)
    assert open_to_all.code == 1
    assert "chmod 600" in open_to_all.err
    gone = asynctls("ttp", "backup", "saved", "--state", state, "--passphrase-file", "nowhere")
    assert (gone.code, "is not there" in gone.err) == (1, True)


def test_a_ttp_moves_to_postgresql_by_a_backup(
    asynctls: Run, state: str, postgres: Database
) -> None:
    assert asynctls("ttp", "backup", "saved", "--state", state).code == 0
    database = {"ASYNCTLS_LEDGER": postgres.url}
    there = asynctls("ttp", "restore", "saved", "--state", "replica", environ=database)
    assert there.code == 0, there.err
    verified = asynctls("ttp", "verify", "--state", "replica", "--ledger", postgres.url)
    assert (verified.code, verified.out) == (0, there.out)


def test_a_ledger_that_is_no_url_is_a_fault_of_the_config(asynctls: Run) -> None:
    ended = asynctls("ttp", "verify", "--ledger", "mysql://u:hunter2@h/d")
    assert ended.code == 2
    assert "ttp.ledger" in ended.err
    assert "hunter2" not in ended.err


@pytest.mark.parametrize(
    ("content", "words"),
    [("", "is empty"), ("\n", "is empty"), ("correct\nhorse\n", "has more than one line")],
)
def test_a_passphrase_is_one_line(
    asynctls: Run, state: str, tmp_path: Path, content: str, words: str
) -> None:
    file = secret_file(tmp_path / "passphrase", content)
    ended = asynctls("ttp", "backup", "saved", "--state", state, "--passphrase-file", file)
    assert (ended.code, words in ended.err) == (1, True)
    assert "horse" not in ended.err
    assert not (tmp_path / "saved").exists()


@pytest.mark.parametrize("digit", ["0", "f"])
def test_a_head_before_the_first_row_vouches_for_nothing(
    asynctls: Run, state: str, digit: str
) -> None:
    ended = asynctls("ttp", "verify", "--state", state, "--head", "0:" + digit * 64)
    assert (ended.code, ended.out) == (2, "")
