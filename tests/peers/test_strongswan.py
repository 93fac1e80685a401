"""strongSwan's `pki` as an EST client (RFC 7030): its TLS, HTTP and ASN.1 are all its own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from asynctls.pki.profiles import Profile
from tests.peers.conftest import password_of, run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.peers.conftest import House, OpenSSL, Program, Ran

NAME = "gateway.fleet.example"


class Pki:
    """The `pki` program in a folder of its own."""

    def __init__(self, program: Path, house: House, folder: Path) -> None:
        self._program = program
        self._ttp = ("--url", house.url(""), "--cacert", house.root)
        self.folder = folder

    def __call__(self, *words: str | Path, given: bytes = b"") -> Ran:
        return run(self._program, *words, given=given, folder=self.folder)

    def key(self, name: str, *kind: str) -> Path:
        made = self("--gen", *kind, "--outform", "pem")
        assert made.code == 0, made.printed
        path = self.folder / name
        path.touch(0o600)
        path.write_bytes(made.out)
        return path

    def request(self, key: Path, name: str = NAME) -> Path:
        made = self("--req", "--type", "priv", "--in", key, "--dn", f"CN={name}", "--san", name)
        assert made.code == 0, made.printed
        path = key.with_suffix(".csr")
        path.write_bytes(made.out)
        return path

    def est(self, request: Path, *credential: str | Path) -> Ran:
        return self("--est", *self._ttp, "--in", request, *credential, "--outform", "pem")

    def estca(self, out: Path) -> Ran:
        return self("--estca", *self._ttp, "--caout", out, "--outform", "pem")


@pytest.fixture
def pki(house: House, program: Program, tmp_path: Path) -> Pki:
    return Pki(program("pki"), house, tmp_path)


def test_it_fetches_and_trusts_the_ca_certificates(house: House, pki: Pki) -> None:
    pki.estca(pki.folder / "ca.pem").ok()
    assert (pki.folder / "ca.pem").read_text() == house.root.read_text()
    assert (pki.folder / "ca-1.pem").read_text() == house.issuing.read_text()


@pytest.mark.parametrize(
    "kind", [("--type", "rsa", "--size", "2048"), ("--type", "ecdsa", "--size", "256")]
)
def test_it_enrols_with_a_token_and_renews_with_its_certificate(
    house: House, openssl: OpenSSL, pki: Pki, kind: tuple[str, ...]
) -> None:
    token = house.token(NAME, profile=Profile.PEER)
    key, certificate = pki.key("first.key", *kind), pki.folder / "first.pem"
    enrolled = pki.est(pki.request(key), "--userpass", password_of(token))
    assert enrolled.code == 0, enrolled.printed
    certificate.write_bytes(enrolled.out)

    new_key, renewed = pki.key("second.key", *kind), pki.folder / "second.pem"
    again = pki.est(pki.request(new_key), "--cert", certificate, "--key", key)
    assert again.code == 0, again.printed
    renewed.write_bytes(again.out)

    verify = ("verify", "-x509_strict", "-CAfile", house.root, "-untrusted", house.issuing)
    for leaf, its_key in ((certificate, key), (renewed, new_key)):
        assert "OK" in openssl(*verify, "-verify_hostname", NAME, leaf).ok()
        shown = openssl("x509", "-in", leaf, "-noout", "-pubkey").out
        assert shown == openssl("pkey", "-in", its_key, "-pubout").out
        by_itself = pki("--verify", "--in", leaf, "--cacert", house.root, "--cacert", house.issuing)
        assert "certificate trusted" in by_itself.ok()
    assert openssl.text(certificate) != openssl.text(renewed)


@pytest.mark.parametrize(
    ("status", "rule"), [(401, "token-unknown"), (403, "token-used"), (403, "beyond-grant")]
)
def test_it_is_refused_with_a_status(house: House, pki: Pki, status: int, rule: str) -> None:
    kind = ("--type", "ecdsa", "--size", "256")
    token = house.token(NAME, profile=Profile.PEER)
    password = password_of(token)
    name = NAME
    if rule == "token-unknown":
        password = f"{token.token_id}:wrong"
    elif rule == "token-used":
        first = pki.request(pki.key("first.key", *kind))
        assert pki.est(first, "--userpass", password).code == 0
    else:
        name = "admin.fleet.example"
    since = house.ttp.now()
    refused = pki.est(pki.request(pki.key("key.key", *kind), name), "--userpass", password)
    assert refused.code != 0
    assert f"HTTP {status}" in refused.printed or str(status) in refused.printed
    assert refused.out == b""
    assert house.ttp.until("enrolment refused", since=since)["rule"] == rule


def test_it_waits_for_approval_and_asks_again_when_it_is_told_to(house: House, pki: Pki) -> None:
    token = house.token(NAME, profile=Profile.PEER, approve=True)
    request = pki.request(pki.key("key", "--type", "ecdsa", "--size", "256"))
    since = house.ttp.now()

    def approve() -> None:
        house.approve(house.ttp.until("enrolment waits for approval", since=since)["request"])

    with ThreadPoolExecutor(1) as person:
        approving = person.submit(approve)
        ran = pki.est(request, "--userpass", password_of(token), "--interval", "1")
        approving.result()
    assert ran.code == 0, ran.printed
    assert ran.out.startswith(b"-----BEGIN CERTIFICATE-----")


def test_one_token_serves_several_machines_each_by_its_own_name(
    house: House, openssl: OpenSSL, pki: Pki
) -> None:
    token = house.token("fleet", profile=Profile.PEER, uses=2, allow_names=["*.fleet.example"])
    for name in ("w1.fleet.example", "w2.fleet.example"):
        request = pki.request(pki.key(name, "--type", "ecdsa", "--size", "256"), name)
        ran = pki.est(request, "--userpass", password_of(token))
        assert ran.code == 0, ran.printed
        (pki.folder / "leaf.pem").write_bytes(ran.out)
        assert f"DNS:fleet, DNS:{name}" in openssl.text(pki.folder / "leaf.pem")
    third = pki.request(pki.key("third", "--type", "ecdsa", "--size", "256"), "w3.fleet.example")
    refused = pki.est(third, "--userpass", password_of(token))
    assert refused.code != 0
    assert "403" in refused.printed
