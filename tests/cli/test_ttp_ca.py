"""``ttp root`` and ``ttp issuing``: CAs that come and go, with openssl for a root elsewhere."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from asynctls.pki.certificates import certificates_from_pem, to_pem
from asynctls.pki.keys import KeyType, generate_now, key_to_pem
from tests.openssl_root import make_root, sign_crl, sign_issuing

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Ended, Run

STATE = ("--state", "ttp")
ECDSA = ("--issuing-key-type", "ecdsa-p256")
TOKEN = ("ttp", "token", "server", *STATE, "--name", "127.0.0.1")


@pytest.fixture
def openssl(program: Callable[[str], Path]) -> Path:
    return program("openssl")


def requested(asynctls: Run, folder: Path) -> Path:
    printed = asynctls("ttp", "issuing", *STATE, "--csr", *ECDSA)
    assert printed.code == 0, printed.err
    (folder / "issuing.csr").write_text(printed.out)
    return folder / "issuing.csr"


def brought(asynctls: Run, *files: Path, key: Path | None = None) -> Ended:
    together = Path("together.pem")
    together.write_text("".join(each.read_text() for each in files))
    with_key = () if key is None else ("--key", str(key))
    return asynctls("ttp", "issuing", *STATE, "--import", str(together), *with_key)


def names(printed: str) -> list[str]:
    found = certificates_from_pem(printed.encode())
    return [each.subject.rfc4514_string() for each in found]


def test_a_ttp_under_somebody_elses_root_from_its_first_start(
    asynctls: Run, openssl: Path, tmp_path: Path
) -> None:
    root, key = make_root(openssl, tmp_path)
    request = requested(asynctls, tmp_path)
    assert request.read_text() != ""
    signed = sign_issuing(openssl, tmp_path, request, root, key)

    alone = brought(asynctls, signed)
    assert alone.code == 1
    assert "does not have the root's certificate, 'CN=Example Root'" in alone.err
    ended = brought(asynctls, signed, root)
    assert ended.code == 0, ended.err
    assert ended.out == to_pem(*certificates_from_pem(signed.read_bytes()))

    assert not Path("ttp/root.key").exists()
    assert asynctls("ttp", "root", *STATE).out == to_pem(*certificates_from_pem(root.read_bytes()))
    assert asynctls(*TOKEN).code == 0
    crl = sign_crl(openssl, tmp_path, root, key, number="01")
    assert asynctls("ttp", "root", *STATE, "--import-crl", str(crl)).code == 0
    assert asynctls("ttp", "verify", *STATE).code == 0


def test_a_successor_is_brought_in_beside_the_first(
    asynctls: Run, openssl: Path, tmp_path: Path
) -> None:
    root, key = make_root(openssl, tmp_path)
    assert (
        brought(
            asynctls,
            sign_issuing(openssl, tmp_path, requested(asynctls, tmp_path), root, key),
            root,
        ).code
        == 0
    )
    request = requested(asynctls, tmp_path)
    assert requested(asynctls, tmp_path).read_text().splitlines()[1] in request.read_text()
    signed = sign_issuing(openssl, tmp_path, request, root, key)
    assert brought(asynctls, signed).code == 0
    printed = asynctls("ttp", "issuing", *STATE).out
    assert len(set(names(printed))) == 2
    assert names(printed)[1] == names(signed.read_text())[0]
    # Again, as by somebody who was told nothing when it was done.
    assert brought(asynctls, signed).code == 0
    assert asynctls("ttp", "issuing", *STATE).out == printed
    unasked = brought(asynctls, root)
    assert unasked.code == 1
    assert "begin with 'asynctls ttp issuing --csr'" in unasked.err


def test_a_ca_that_was_made_elsewhere_goes_on_here(
    asynctls: Run, openssl: Path, tmp_path: Path
) -> None:
    root, root_key = make_root(openssl, tmp_path)
    elsewhere = asynctls("ttp", "issuing", "--state", "elsewhere", "--csr", *ECDSA).out
    (tmp_path / "elsewhere.csr").write_text(elsewhere)
    pair = sign_issuing(openssl, tmp_path, tmp_path / "elsewhere.csr", root, root_key)
    key = Path("elsewhere/issuing-next.key")
    ended = brought(asynctls, pair, root, key=key)
    assert ended.code == 0, ended.err
    assert Path("ttp/issuing.key").read_bytes() == key.read_bytes()
    assert asynctls(*TOKEN).code == 0


def test_what_roles_would_not_take_is_not_taken(
    asynctls: Run, openssl: Path, tmp_path: Path
) -> None:
    root, key = make_root(openssl, tmp_path)
    request = requested(asynctls, tmp_path)
    plain = tmp_path / "plain.pem"
    by = ["-CA", str(root), "-CAkey", str(key), "-out", str(plain)]
    command = [str(openssl), "x509", "-req", "-in", str(request), *by]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    no_ca = brought(asynctls, plain, root)
    assert no_ca.code == 1
    assert "is not a CA" in no_ca.err
    assert not Path("ttp/root.pem").exists()

    other = tmp_path / "other"
    other.mkdir()
    other_root, _ = make_root(openssl, other)
    signed = sign_issuing(openssl, tmp_path, request, root, key)
    foreign = brought(asynctls, signed, other_root)
    assert foreign.code == 1
    (tmp_path / "wrong.key").write_bytes(key_to_pem(generate_now(KeyType.ECDSA_P256)))
    (tmp_path / "wrong.key").chmod(0o600)
    wrong = brought(asynctls, signed, root, key=tmp_path / "wrong.key")
    assert wrong.code == 1
    assert "no certificate for the key in" in wrong.err
    none = asynctls("ttp", "issuing", *STATE, "--import", "nowhere.pem")
    assert (none.code, "cannot be read" in none.err) == (1, True)
    assert not Path("ttp/issuing.pem").exists()
    assert brought(asynctls, signed, root).code == 0


@pytest.mark.parametrize(
    "words",
    [
        ("root", "--crl", "--export-key", "f"),
        ("root", "--export-key", "f", "--import-crl", "g"),
        ("issuing", "--csr", "--import", "f"),
        ("issuing", "--key", "f"),
    ],
)
def test_one_thing_at_a_time(asynctls: Run, words: tuple[str, ...]) -> None:
    ended = asynctls("ttp", *words, *STATE)
    assert ended.code == 2


def test_a_file_that_is_there_is_not_written_over(asynctls: Run, tmp_path: Path) -> None:
    assert asynctls(*TOKEN).code == 0
    (tmp_path / "root.key").write_text("something else")
    ended = asynctls("ttp", "root", *STATE, "--export-key", "root.key")
    assert ended.code == 1
    assert "is there already" in ended.err
    assert Path("ttp/root.key").exists()
