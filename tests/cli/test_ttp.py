"""``asynctls ttp`` and its verbs: what is printed, alone, and with which exit code."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from asynctls.enrolment import JoinString
from asynctls.errors import JoinStringError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Run

KEY_TYPES = {
    "ASYNCTLS_ROOT_KEY_TYPE": "ecdsa-p256",
    "ASYNCTLS_ISSUING_KEY_TYPE": "ecdsa-p256",
}


@pytest.fixture
def state(asynctls: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The state folder of a TTP whose CA is there, with one token for 'server'."""
    for name, value in KEY_TYPES.items():
        monkeypatch.setenv(name, value)
    folder = str(tmp_path / "ttp")
    ended = asynctls("ttp", "token", "server", "--state", folder, "--name", "ttp.example")
    assert ended.code == 0, ended.err
    return folder


def test_a_token_is_the_join_string_alone(asynctls: Run, state: str) -> None:
    ended = asynctls("ttp", "token", "client", "--state", state, "--name", "ttp.example")
    assert ended.code == 0
    join_string = JoinString.parse(ended.out)
    assert ended.out == f"{join_string.format()}\n"
    assert join_string.name == "client"
    assert str(join_string.address) == "ttp.example:8440"


def test_a_secret_is_on_standard_output_only(asynctls: Run, state: str) -> None:
    ended = asynctls("ttp", "token", "client", "--state", state, "--name", "ttp.example")
    secret = JoinString.parse(ended.out).secret.reveal().decode()
    assert secret not in ended.err
    with pytest.raises(JoinStringError):
        JoinString.parse(ended.err)


def test_any_other_name_needs_a_role(asynctls: Run, state: str) -> None:
    words = ("ttp", "token", "db.example", "--state", state, "--name", "ttp.example")
    ended = asynctls(*words)
    assert (ended.code, ended.out) == (2, "")
    assert "--role" in ended.err
    assert asynctls(*words, "--role", "peer").code == 0


def test_a_token_before_the_first_start_wants_to_know_where_the_ttp_will_be(asynctls: Run) -> None:
    ended = asynctls("ttp", "token", "server", "--state", "nothing-yet")
    assert (ended.code, ended.out) == (2, "")
    assert "--name" in ended.err


@pytest.mark.parametrize(
    "words", [("--ttl", "0s"), ("--lifetime", "soon"), ("--san", "not a name"), ("--role", "ttp")]
)
def test_what_cannot_be_granted_is_exit_2(
    asynctls: Run, state: str, words: tuple[str, ...]
) -> None:
    ended = asynctls("ttp", "token", "server", "--state", state, "--name", "ttp.example", *words)
    assert (ended.code, ended.out) == (2, "")


def test_a_list_of_nothing_is_nothing(asynctls: Run, state: str) -> None:
    for words in ((), ("--json",), ("--status", "revoked")):
        ended = asynctls("ttp", "list", "--state", state, *words)
        assert (ended.code, ended.out, ended.err) == (0, "", "")


def test_revoking_a_name_takes_back_its_unused_token_and_prints_no_serial(
    asynctls: Run, state: str
) -> None:
    ended = asynctls("ttp", "revoke", "server", "--state", state)
    assert (ended.code, ended.out) == (0, "")
    again = asynctls("ttp", "revoke", "server", "--state", state)
    assert again.code == 1
    assert again.err.splitlines()[-1].startswith("asynctls: ")


def test_a_reason_that_is_none_is_exit_2(asynctls: Run, state: str) -> None:
    ended = asynctls("ttp", "revoke", "server", "--state", state, "--reason", "boredom")
    assert ended.code == 2
    assert "keyCompromise" in ended.err


def test_verify_prints_the_head_which_can_be_asked_for_later(asynctls: Run, state: str) -> None:
    first = asynctls("ttp", "verify", "--state", state)
    assert first.code == 0
    head = first.out.strip()
    asynctls("ttp", "token", "client", "--state", state, "--name", "ttp.example")
    assert asynctls("ttp", "verify", "--state", state, "--head", head).code == 0
    sequence, _, mac = head.partition(":")
    other = f"{sequence}:{'0' * len(mac)}"
    assert asynctls("ttp", "verify", "--state", state, "--head", other).code == 1
    assert asynctls("ttp", "verify", "--state", state, "--head", "nonsense").code == 2


def test_an_altered_ledger_is_exit_1_and_one_line_that_names_the_row(
    asynctls: Run, state: str
) -> None:
    with sqlite3.connect(f"{state}/ledger.db") as connection:
        connection.execute("UPDATE entries SET name = 'mallory' WHERE sequence = 2")
    connection.close()
    ended = asynctls("ttp", "verify", "--state", state)
    assert (ended.code, ended.out) == (1, "")
    (line,) = ended.err.splitlines()
    assert line.startswith("asynctls: ")
    assert "2" in line


def test_root_prints_the_certificate_its_fingerprint_or_its_crl(asynctls: Run, state: str) -> None:
    pem = asynctls("ttp", "root", "--state", state)
    root = x509.load_pem_x509_certificate(pem.out.encode())
    fingerprint = asynctls("ttp", "root", "--fingerprint", "--state", state)
    assert fingerprint.out == f"{root.fingerprint(hashes.SHA256()).hex()}\n"
    crl = x509.load_pem_x509_crl(asynctls("ttp", "root", "--crl", "--state", state).out.encode())
    assert crl.issuer == root.subject
    assert not list(crl)


def test_openssl_reads_the_root(
    asynctls: Run, state: str, tmp_path: Path, program: Callable[[str], Path]
) -> None:
    openssl = program("openssl")
    (tmp_path / "root.pem").write_text(asynctls("ttp", "root", "--state", state).out)
    result = subprocess.run(
        [openssl, "verify", "-x509_strict", "-CAfile", "root.pem", "root.pem"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr


def test_where_there_is_no_ca_a_verb_says_so_and_makes_nothing(
    asynctls: Run, tmp_path: Path
) -> None:
    for words in (("list",), ("verify",), ("root",), ("revoke", "server")):
        ended = asynctls("ttp", *words, "--state", "nothing-yet")
        assert (ended.code, ended.out) == (1, ""), words
        assert len(ended.err.splitlines()) == 1
    assert not (tmp_path / "nothing-yet").exists()


def test_the_log_is_json_on_standard_error(asynctls: Run, state: str) -> None:
    words = ("ttp", "token", "client", "--state", state, "--name", "ttp.example")
    events = [json.loads(line)["event"] for line in asynctls(*words).err.splitlines()]
    assert "token created" in events
