"""What the admin verbs show of certificates: for people as facts, for programs as JSON."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from asynctls.config import TTPConfig
from asynctls.pki.certificates import certificates_from_pem, to_der
from asynctls.pki.keys import KeyType, generate_now
from asynctls.pki.names import format_serial
from asynctls.pki.pins import Pin
from asynctls.pki.profiles import Profile
from asynctls.pki.requests import build_request
from asynctls.ttp.authority import Authority

if TYPE_CHECKING:
    from cryptography import x509

    from tests.cli.conftest import Run

HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Issued:
    """A TTP whose ledger has one certificate for 'server' and its renewal."""

    state: str
    first: x509.Certificate
    renewal: x509.Certificate

    @property
    def serials(self) -> list[str]:
        return [format_serial(each.serial_number) for each in (self.first, self.renewal)]


@pytest.fixture
def issued(tmp_path: Path) -> Issued:
    config = TTPConfig(
        state=tmp_path / "ttp", root_key_type="ecdsa-p256", issuing_key_type="ecdsa-p256"
    )

    async def issue() -> Issued:
        async with await Authority.open(config) as authority:
            token_id, secret = await authority.create_token(
                "server", sans=["10.0.0.1"], profile=Profile.SERVER, ttl=HOUR, lifetime=HOUR
            )
            first = await authority.enrol(
                token_id,
                secret.reveal().decode(),
                build_request(generate_now(KeyType.ECDSA_P256)),
                address="192.0.2.1:7",
            )
            renewal = await authority.reenrol(
                to_der(first),
                build_request(generate_now(KeyType.ECDSA_P384)),
                address="192.0.2.1:8",
            )
            return Issued(str(config.state), first, renewal)

    return asyncio.run(issue())


def test_a_certificate_is_shown_with_all_that_is_recorded_of_it(
    asynctls: Run, issued: Issued
) -> None:
    first, renewal = issued.serials
    ended = asynctls("ttp", "show", first, "--state", issued.state)
    assert (ended.code, ended.err) == (0, "")
    facts = dict(line.split(":", 1) for line in ended.out.splitlines() if ": " in line)
    facts = {name: fact.strip() for name, fact in facts.items()}
    assert facts["serial"] == first
    assert facts["sans"] == "server, 10.0.0.1"
    assert facts["status"] == "valid"
    assert facts["key type"] == "ecdsa-p256"
    assert facts["pin"] == str(Pin.of(issued.first))
    assert facts["asked from"] == "192.0.2.1:7"
    assert facts["renewed by"] == renewal
    assert "revoked at" not in facts
    assert certificates_from_pem(ended.out.encode()) == (issued.first,)


def test_a_name_is_each_of_its_certificates_oldest_first(asynctls: Run, issued: Issued) -> None:
    ended = asynctls("ttp", "show", "server", "--json", "--state", issued.state)
    first, renewal = map(json.loads, ended.out.splitlines())
    assert [first["serial"], renewal["serial"]] == issued.serials
    assert (first["renews"], renewal["renews"]) == (None, first["serial"])
    assert first["token"] is not None
    assert renewal["token"] is None
    assert renewal["key_type"] == "ecdsa-p384"
    assert certificates_from_pem(renewal["pem"].encode()) == (issued.renewal,)
    assert "secret" not in ended.out


def test_a_serial_is_found_as_other_programs_write_it(asynctls: Run, issued: Issued) -> None:
    serial = issued.serials[0].lower()
    pairs = ":".join(serial[at : at + 2] for at in range(0, len(serial), 2))
    ended = asynctls("ttp", "show", pairs, "--json", "--state", issued.state)
    assert json.loads(ended.out)["serial"] == issued.serials[0]


def test_the_ttps_own_certificates_are_found_by_their_serials(
    asynctls: Run, issued: Issued
) -> None:
    root = certificates_from_pem((Path(issued.state) / "root.pem").read_bytes())[0]
    serial = format_serial(root.serial_number)
    ended = asynctls("ttp", "show", serial, "--json", "--state", issued.state)
    shown = json.loads(ended.out)
    assert (shown["name"], shown["profile"], shown["token"]) == ("root", "root", None)


@pytest.mark.parametrize("which", ["0A1B", "nobody", "no name at all", "DROP TABLE entries"])
def test_what_is_not_there_is_exit_1_and_one_line(
    asynctls: Run, issued: Issued, which: str
) -> None:
    ended = asynctls("ttp", "show", which, "--state", issued.state)
    assert (ended.code, ended.out) == (1, "")
    (line,) = ended.err.splitlines()
    assert line.startswith(f"asynctls: there is no certificate with the serial number {which}")


def test_a_revocation_is_told_in_json_and_shown_from_then_on(asynctls: Run, issued: Issued) -> None:
    words = ("--state", issued.state, "--json")
    revoked = asynctls("ttp", "revoke", issued.serials[0], "--reason", "keyCompromise", *words)
    told = json.loads(revoked.out)
    assert (told["serial"], told["name"]) == (issued.serials[0], "server")
    assert told["reason"] == "keyCompromise"
    shown = json.loads(asynctls("ttp", "show", issued.serials[0], *words).out)
    assert (shown["status"], shown["reason"]) == ("revoked", "keyCompromise")
    assert shown["revoked_at"] == told["revoked_at"]


def test_verify_tells_the_head_in_json(asynctls: Run, issued: Issued) -> None:
    ended = asynctls("ttp", "verify", "--json", "--state", issued.state)
    told = json.loads(ended.out)
    assert told["head"] == f"{told['sequence']}:{told['mac']}"
    assert ended.err == ""
    again = asynctls("ttp", "verify", "--head", told["head"], "--state", issued.state)
    assert again.out == f"{told['head']}\n"
