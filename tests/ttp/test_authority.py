"""What was issued is recorded, what should not be issued is refused, by real rows and real keys."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import ssl
import stat
import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from structlog.testing import capture_logs

from asynctls.config import Address, TTPConfig
from asynctls.errors import (
    CertificateError,
    ConfigError,
    EnrolmentRefusedError,
    LedgerError,
    StateError,
)
from asynctls.mac import Secret
from asynctls.pki.certificates import certificates_from_pem, check_issued_by, to_der
from asynctls.pki.keys import KeyType, PrivateKey, generate_now
from asynctls.pki.names import format_serial, sans_of
from asynctls.pki.profiles import CMC_RA, Profile
from asynctls.pki.requests import build_request
from asynctls.ttp import ca, clock, lists, public_address
from asynctls.ttp.authority import Authority

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.one_loop

HERE = "127.0.0.1:5555"
KEY = generate_now(KeyType.ECDSA_P256)
OTHER_KEY = generate_now(KeyType.ECDSA_P256)
CSR = build_request(KEY)
OTHER_CSR = build_request(OTHER_KEY)
HOUR = timedelta(hours=1)

OPENER = """
import asyncio, os, signal, sys
from pathlib import Path
import structlog
from asynctls import state
from asynctls.config import TTPConfig
from asynctls.ttp.authority import Authority

structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
write, left = state.write_atomically, int(sys.argv[2])

def write_or_die(path: Path, content: bytes) -> None:
    global left
    left -= 1
    write(path, content)
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

state.write_atomically = write_or_die

async def main() -> None:
    config = TTPConfig(
        state=Path(sys.argv[1]), root_key_type="ecdsa-p256", issuing_key_type="ecdsa-p256"
    )
    async with await Authority.open(config) as authority:
        sys.stdout.write(authority.root_sha256.hex())

asyncio.run(main())
"""


def ttp_config(folder: Path, **settings: object) -> TTPConfig:
    defaults: dict[str, object] = {
        "state": folder,
        "root_key_type": "ecdsa-p256",
        "issuing_key_type": "ecdsa-p256",
    }
    return TTPConfig(**(defaults | settings))  # type: ignore[arg-type]


async def token(
    authority: Authority, name: str = "server", *, lifetime: timedelta = HOUR
) -> tuple[str, str]:
    token_id, secret = await authority.create_token(
        name, sans=["10.0.0.1"], profile=Profile.SERVER, ttl=HOUR, lifetime=lifetime
    )
    assert isinstance(secret, Secret)
    return token_id, secret.reveal().decode()


async def enrolled(authority: Authority, name: str = "server", csr: bytes = CSR) -> bytes:
    token_id, secret = await token(authority, name)
    return to_der(await authority.enrol(token_id, secret, csr, address=HERE))


async def refused(coroutine: object, status: int, rule: str) -> str:
    with pytest.raises(EnrolmentRefusedError) as caught:
        await coroutine  # type: ignore[misc]
    assert (caught.value.status, caught.value.rule) == (status, rule)
    return str(caught.value)


def serial_of(der: bytes) -> str:
    return format_serial(x509.load_der_x509_certificate(der).serial_number)


def revoked_on(authority: Authority) -> dict[str, x509.ReasonFlags | None]:
    crl = x509.load_der_x509_crl(authority.crl_der)
    found: dict[str, x509.ReasonFlags | None] = {}
    for entry in crl:
        try:
            reason = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
        except x509.ExtensionNotFound:
            reason = None
        found[format_serial(entry.serial_number)] = reason
    return found


async def test_the_first_start_makes_a_ca_and_the_next_finds_it(config: TTPConfig) -> None:
    with capture_logs() as events:
        async with await Authority.open(config) as first:
            fingerprint = first.root_sha256
            chain = await asyncio.to_thread(first.tls_chain.read_bytes)
            crl = first.crl_der
    assert [e["valid_days"] for e in events if e["event"] == "CA made"] == [3652]
    with capture_logs() as events:
        async with await Authority.open(config) as second:
            assert second.root_sha256 == fingerprint
            assert await asyncio.to_thread(second.tls_chain.read_bytes) == chain
            assert second.crl_der == crl
            await second.verify()
    (found,) = [event for event in events if event["event"] == "CA certificate found"]
    assert (found["valid_days"], found["path"]) == (3652, str(config.state / "root.pem"))
    assert [event["event"] for event in events] == ["CA certificate found", "CRL current"]


async def test_the_chain_is_as_designed(config: TTPConfig, authority: Authority) -> None:
    issuing, root = authority.ca_certificates
    check_issued_by(root, root)
    check_issued_by(issuing, root)
    leaf, second = certificates_from_pem(await asyncio.to_thread(authority.tls_chain.read_bytes))
    assert (leaf, second) == (authority.tls_certificate, issuing)
    check_issued_by(leaf, issuing)
    assert {"127.0.0.1", "localhost"} <= set(sans_of(leaf))
    uses = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(uses) == [ExtendedKeyUsageOID.SERVER_AUTH, CMC_RA]
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(authority.tls_chain, authority.tls_key)
    root_crl = x509.load_der_x509_crl(await authority.root_crl_der())
    assert root_crl.is_signature_valid(root.public_key())  # type: ignore[arg-type]
    assert len(root_crl) == 0


def test_keys_and_folder_are_private(config: TTPConfig) -> None:
    async def start() -> None:
        await (await Authority.open(config)).close()

    asyncio.run(start())
    assert stat.S_IMODE(config.state.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in config.state.iterdir()}
    assert {"root.key", "issuing.key", "ttp.key", "ledger.key", "ledger.db"} <= modes.keys()
    assert set(modes.values()) == {0o600}


@pytest.mark.parametrize(
    "lost",
    [
        ("ttp.pem",),
        ("ttp.key", "ttp.pem"),
        ("issuing.pem", "ttp.key", "ttp.pem"),
        ("issuing.key", "issuing.pem", "ttp.key", "ttp.pem"),
        ("root.pem", "issuing.key", "issuing.pem", "ttp.key", "ttp.pem"),
    ],
)
def test_a_first_start_killed_at_any_file_is_completed(
    config: TTPConfig, lost: tuple[str, ...]
) -> None:
    async def start() -> bytes:
        async with await Authority.open(config) as authority:
            await enrolled(authority)
            await authority.verify()
            return authority.root_sha256

    fingerprint = asyncio.run(start())
    for name in lost:
        (config.state / name).unlink()
    assert (asyncio.run(start()) == fingerprint) == ("root.pem" not in lost)


def test_a_ca_key_that_is_gone_is_never_made_anew(config: TTPConfig) -> None:
    asyncio.run(Authority.open(config)).close().close()
    (config.state / "issuing.key").unlink()
    with pytest.raises(StateError, match=r"issuing\.key is missing"):
        asyncio.run(Authority.open(config))


def opener(folder: Path, *, files: int) -> subprocess.Popen[bytes]:
    """A first start in a process of its own, which dies when it has written so many files."""
    command = [sys.executable, "-c", OPENER, str(folder), str(files)]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


def test_two_first_starts_at_once_make_one_ca(tmp_path: Path) -> None:
    both = [opener(tmp_path / "ttp", files=100) for _ in range(2)]
    outputs = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert outputs[0] == outputs[1] != b""


@pytest.mark.parametrize("files", [1, 3, 5, 6])
def test_a_first_start_killed_after_any_file_is_completed(tmp_path: Path, files: int) -> None:
    async def start() -> None:
        async with await Authority.open(ttp_config(tmp_path / "ttp")) as authority:
            await enrolled(authority)
            await authority.verify()

    process = opener(tmp_path / "ttp", files=files)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    asyncio.run(start())


async def test_a_token_leads_to_the_certificate_that_it_grants(authority: Authority) -> None:
    token_id, secret = await token(authority)
    with capture_logs() as events:
        certificate = await authority.enrol(token_id, secret, CSR, address=HERE)
    check_issued_by(certificate, authority.ca_certificates[0])
    assert sans_of(certificate) == ("server", "10.0.0.1")
    assert certificate.public_key() == KEY.public_key()
    (issued,) = [event for event in events if event["event"] == "issued"]
    assert issued["serial"] == format_serial(certificate.serial_number)
    assert issued["sign_ms"] > 0
    assert (issued["address"], issued["profile"]) == (HERE, "server")
    assert secret not in str(events)
    (listed,) = await authority.list_certificates()
    assert listed.serial == format_serial(certificate.serial_number)
    assert listed.not_before == certificate.not_valid_before_utc
    assert listed.not_after == certificate.not_valid_after_utc
    assert (listed.name, listed.sans, listed.status) == ("server", ("server", "10.0.0.1"), "valid")


async def test_a_retry_gets_the_same_certificate_also_after_a_restart(config: TTPConfig) -> None:
    async with await Authority.open(config) as authority:
        token_id, secret = await token(authority)
        first = await authority.enrol(token_id, secret, CSR, address=HERE)
    async with await Authority.open(config) as authority:
        again = await authority.enrol(token_id, secret, build_request(KEY), address=HERE)
        assert again == first
        assert len(await authority.list_certificates()) == 1


async def test_concurrent_enrolments_with_one_token_and_key_yield_one_certificate(
    authority: Authority,
) -> None:
    token_id, secret = await token(authority)
    certificates = await asyncio.gather(
        *(authority.enrol(token_id, secret, CSR, address=HERE) for _ in range(20))
    )
    assert len(set(certificates)) == 1
    assert len(await authority.list_certificates()) == 1


async def test_concurrent_enrolments_with_two_keys_yield_one_certificate(
    authority: Authority,
) -> None:
    token_id, secret = await token(authority)
    results = await asyncio.gather(
        *(authority.enrol(token_id, secret, csr, address=HERE) for csr in (CSR, OTHER_CSR)),
        return_exceptions=True,
    )
    assert sorted(type(result).__name__ for result in results) == [
        "Certificate",
        "EnrolmentRefusedError",
    ]
    assert len(await authority.list_certificates()) == 1


async def test_a_token_used_again_with_another_key_is_an_event_to_see(
    authority: Authority,
) -> None:
    token_id, secret = await token(authority)
    await authority.enrol(token_id, secret, CSR, address=HERE)
    with capture_logs() as events:
        words = await refused(
            authority.enrol(token_id, secret, OTHER_CSR, address=HERE), 403, "token-used"
        )
    assert "another key" in words
    (seen,) = [e for e in events if e["event"] == "token used again with another key"]
    assert (seen["log_level"], seen["address"]) == ("warning", HERE)


async def test_unknown_token_and_wrong_secret_get_one_answer(authority: Authority) -> None:
    token_id, secret = await token(authority)
    answers = {
        await refused(authority.enrol(*who, CSR, address=HERE), 401, "token-unknown")
        for who in (
            ("nobody", secret),
            (token_id, "wrong"),
            (token_id, secret[:-1]),
            ("", ""),
            ("\ud800", "\ud800"),
            ("a\0b", "\0"),
        )
    }
    assert len(answers) == 1
    await authority.enrol(token_id, secret, CSR, address=HERE)


async def test_guessing_is_slowed_down_for_each_address(authority: Authority) -> None:
    token_id, secret = await token(authority)
    for _ in range(10):
        await refused(
            authority.enrol(token_id, "guess", CSR, address="192.0.2.7:1"), 401, "token-unknown"
        )
    before = await authority.verify()
    attempt = authority.enrol(token_id, secret, CSR, address="192.0.2.7:2")
    assert "wait" in await refused(attempt, 429, "rate-limited")
    assert await authority.verify() == before
    await authority.enrol(token_id, secret, CSR, address="192.0.2.8:1")


async def test_guesses_that_come_at_once_are_counted_one_by_one(authority: Authority) -> None:
    before = (await authority.verify()).sequence
    guesses = (authority.enrol("00", "wrong", CSR, address=HERE) for _ in range(40))
    answers = await asyncio.gather(*guesses, return_exceptions=True)
    statuses = [each.status for each in answers if isinstance(each, EnrolmentRefusedError)]
    assert sorted(statuses) == [401] * 10 + [429] * 30
    assert (await authority.verify()).sequence == before + 10


async def test_an_expired_token_is_refused(
    authority: Authority, later: Callable[[timedelta], None]
) -> None:
    token_id, secret = await token(authority)
    later(HOUR)
    await refused(authority.enrol(token_id, secret, CSR, address=HERE), 403, "token-expired")


async def test_a_request_beyond_its_grant_leaves_the_token_unused(authority: Authority) -> None:
    token_id, secret = await token(authority)
    asked = build_request(KEY, sans=["server", "admin.example", "root.example"])
    words = await refused(
        authority.enrol(token_id, secret, asked, address=HERE), 403, "beyond-grant"
    )
    assert "admin.example" in words
    assert "root.example" in words
    await authority.enrol(token_id, secret, OTHER_CSR, address=HERE)


async def test_only_who_knows_the_secret_is_told_what_is_wrong_with_a_request(
    authority: Authority,
) -> None:
    token_id, secret = await token(authority)
    await refused(authority.enrol("nobody", "x", b"junk", address=HERE), 401, "token-unknown")
    await refused(
        authority.enrol(token_id, secret, b"junk", address=HERE), 400, "malformed-request"
    )
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    der = csr.sign(weak, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    words = await refused(authority.enrol(token_id, secret, der, address=HERE), 400, "weak-key")
    assert "1024" in words


async def test_each_refusal_is_a_row(authority: Authority) -> None:
    before = await authority.verify()
    await refused(authority.enrol("nobody", "x", CSR, address=HERE), 401, "token-unknown")
    assert (await authority.verify()).sequence == before.sequence + 1


async def test_renewal_gives_the_same_names_to_a_new_key(authority: Authority) -> None:
    current = await enrolled(authority)
    renewed = await authority.reenrol(current, OTHER_CSR, address=HERE)
    assert sans_of(renewed) == ("server", "10.0.0.1")
    assert renewed.public_key() == OTHER_KEY.public_key()
    assert await authority.reenrol(current, OTHER_CSR, address=HERE) == renewed
    again = await authority.reenrol(to_der(renewed), CSR, address=HERE)
    assert again not in {renewed, x509.load_der_x509_certificate(current)}
    assert len(await authority.list_certificates()) == 3
    more = build_request(OTHER_KEY, sans=["other"])
    await refused(authority.reenrol(current, more, address=HERE), 403, "beyond-grant")
    await refused(authority.reenrol(current, b"junk", address=HERE), 400, "malformed-request")


async def test_an_expired_certificate_cannot_renew(
    authority: Authority, later: Callable[[timedelta], None]
) -> None:
    current = await enrolled(authority)
    later(HOUR + timedelta(seconds=2))
    words = await refused(
        authority.reenrol(current, OTHER_CSR, address=HERE), 403, "certificate-expired"
    )
    assert "join again with a new token" in words


async def test_a_revoked_certificate_cannot_renew_nor_its_token_be_used(
    authority: Authority,
) -> None:
    token_id, secret = await token(authority)
    current = to_der(await authority.enrol(token_id, secret, CSR, address=HERE))
    renewed = await authority.reenrol(current, OTHER_CSR, address=HERE)
    assert await authority.revoke(serial_of(current)) == [serial_of(current)]
    for attempt in (
        authority.reenrol(current, OTHER_CSR, address=HERE),
        authority.enrol(token_id, secret, CSR, address=HERE),
    ):
        assert "join again" in await refused(attempt, 403, "certificate-revoked")
    await authority.reenrol(to_der(renewed), CSR, address=HERE)


async def test_what_this_ledger_did_not_issue_cannot_renew(
    authority: Authority, tmp_path: Path
) -> None:
    assert authority.tls_certificate is not None
    async with await Authority.open(ttp_config(tmp_path / "other")) as other:
        foreign = await enrolled(other)
    for der in (to_der(authority.tls_certificate), foreign):
        await refused(authority.reenrol(der, OTHER_CSR, address=HERE), 403, "not-renewable")
    with pytest.raises(CertificateError):
        await authority.reenrol(b"junk", OTHER_CSR, address=HERE)


async def test_a_revocation_is_on_the_crl_at_once(authority: Authority) -> None:
    first, second = await enrolled(authority), await enrolled(authority, csr=OTHER_CSR)
    serial = serial_of(first)
    with_colons = ":".join(serial[i : i + 2] for i in range(0, len(serial), 2)).lower()
    assert await authority.revoke(with_colons, reason="keycompromise") == [serial]
    assert revoked_on(authority) == {serial: x509.ReasonFlags.key_compromise}
    assert await authority.revoke(serial_of(second)) == [serial_of(second)]
    assert revoked_on(authority)[serial_of(second)] is None
    number = x509.load_der_x509_crl(authority.crl_der).extensions.get_extension_for_class(
        x509.CRLNumber
    )
    assert number.value.crl_number == (await authority.verify()).sequence
    with pytest.raises(CertificateError, match="revoked already"):
        await authority.revoke(serial)


async def test_a_name_means_its_valid_certificates_and_unused_tokens(authority: Authority) -> None:
    mine = {serial_of(await enrolled(authority)), serial_of(await enrolled(authority))}
    await enrolled(authority, "server.example")
    token_id, secret = await token(authority)
    kept_id, kept_secret = await token(authority, "server.example")
    assert set(await authority.revoke("server")) == mine
    assert set(revoked_on(authority)) == mine
    await refused(authority.enrol(token_id, secret, CSR, address=HERE), 403, "token-revoked")
    await authority.enrol(kept_id, kept_secret, CSR, address=HERE)
    with pytest.raises(CertificateError, match="ttp list"):
        await authority.revoke("server")
    statuses = [each.status for each in await authority.list_certificates()]
    assert statuses == ["revoked", "revoked", "valid", "valid"]
    assert len(await authority.list_certificates("revoked")) == 2


async def test_only_a_token_can_be_taken_back(authority: Authority) -> None:
    token_id, secret = await token(authority)
    assert await authority.revoke("server") == []
    await refused(authority.enrol(token_id, secret, CSR, address=HERE), 403, "token-revoked")


@pytest.mark.parametrize("reason", ["certificateHold", "removeFromCRL", "because"])
async def test_a_reason_that_cannot_be_given_is_refused(authority: Authority, reason: str) -> None:
    with pytest.raises(ConfigError, match="keyCompromise"):
        await authority.revoke("server", reason=reason)


async def test_an_admin_command_beside_the_daemon_is_seen_by_it(
    config: TTPConfig, authority: Authority
) -> None:
    serial = serial_of(await enrolled(authority))
    task = asyncio.create_task(authority.maintain())
    try:
        async with await Authority.beside(config) as beside:
            token_id, secret = await token(beside)
            await beside.revoke(serial)
        async with asyncio.timeout(20):
            while serial not in revoked_on(authority):  # noqa: ASYNC110 - another process's row
                await asyncio.sleep(0.02)
    finally:
        task.cancel()
    await authority.enrol(token_id, secret, CSR, address=HERE)


async def test_upkeep_goes_on_after_a_failure(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = asyncio.Event()

    async def fail() -> None:
        failed.set()
        raise StateError("the disk is full")

    monkeypatch.setattr(authority._care, "look_after", fail)
    with capture_logs() as events:
        task = asyncio.create_task(authority.maintain())
        await failed.wait()
        await asyncio.sleep(0)
        assert not task.done()
        task.cancel()
    assert events[0]["reason"] == "the disk is full"


async def test_nothing_is_made_beside(config: TTPConfig) -> None:
    with pytest.raises(StateError, match="asynctls ttp"):
        await Authority.beside(config)
    assert not ca.exists(config.state)


async def test_a_ca_whose_ledger_is_gone_is_not_given_an_empty_one(config: TTPConfig) -> None:
    async with await Authority.open(config):
        pass
    ledger = config.state / "ledger.db"
    for make_away in (ledger.unlink, lambda: ledger.write_bytes(b"")):
        make_away()
        for enter in (Authority.open, Authority.beside):
            with pytest.raises(StateError, match=r"ledger\.db is missing or empty.*backup"):
                await enter(config)
    assert ledger.read_bytes() == b""


async def test_a_row_that_cannot_be_read_is_told_in_words(
    config: TTPConfig, authority: Authority
) -> None:
    serial = serial_of(await enrolled(authority))
    for value in ("body = '{'", "ends_at = 'never'", "der = 'text'"):
        with closing(sqlite3.connect(config.state / "ledger.db")) as connection:
            connection.execute(f"UPDATE entries SET {value} WHERE serial = '{serial}'")
            connection.commit()
        with pytest.raises(LedgerError, match="ttp verify"):
            await authority.list_certificates()
        with pytest.raises(LedgerError, match="ttp verify"):
            await authority.revoke(serial)


async def test_the_ttps_own_certificate_is_renewed_before_its_end(
    authority: Authority, later: Callable[[timedelta], None]
) -> None:
    before = authority.tls_certificate
    later(timedelta(days=19))
    await authority.look_after()
    assert authority.tls_certificate is before
    later(timedelta(days=21))
    await authority.look_after()
    assert authority.tls_certificate is not before
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(authority.tls_chain, authority.tls_key)
    await authority.verify()


async def test_what_was_made_while_the_clock_was_ahead_is_made_anew_once_it_is_right(
    authority: Authority, later: Callable[[timedelta], None]
) -> None:
    later(timedelta(days=21))
    await authority.look_after()
    ahead = (authority.tls_certificate, *authority.ocsp.certificates)
    later(HOUR)
    await authority.look_after()
    right = (authority.tls_certificate, *authority.ocsp.certificates)
    for each in right:
        assert each is not None
        assert each not in ahead
        assert each.not_valid_before_utc <= clock.now()
    await authority.look_after()
    assert (authority.tls_certificate, *authority.ocsp.certificates) == right


async def test_no_certificate_is_made_anew_that_could_not_last_longer(
    tmp_path: Path, later: Callable[[timedelta], None]
) -> None:
    config = ttp_config(tmp_path / "ttp", issuing_lifetime=HOUR)
    async with await Authority.open(config) as authority:
        first = authority.tls_certificate
        assert first is not None
        later(timedelta(minutes=59))
        await authority.look_after()
        assert authority.tls_certificate is first


async def test_other_names_lead_to_another_certificate(config: TTPConfig) -> None:
    async with await Authority.open(config) as authority:
        before = authority.tls_certificate
    async with await Authority.open(ttp_config(config.state, name=("ttp.example",))) as authority:
        assert authority.tls_certificate != before
        assert authority.tls_certificate is not None
        assert sans_of(authority.tls_certificate)[0] == "ttp.example"


async def test_rsa_is_as_good(tmp_path: Path) -> None:
    settings = {"root_key_type": "rsa-2048", "issuing_key_type": "rsa-2048"}
    async with await Authority.open(ttp_config(tmp_path / "ttp", **settings)) as authority:
        key: PrivateKey = await asyncio.to_thread(generate_now, KeyType.RSA_2048)
        certificate = x509.load_der_x509_certificate(
            await enrolled(authority, csr=build_request(key))
        )
        assert certificate.public_key() == key.public_key()
        assert isinstance(certificate.signature_hash_algorithm, hashes.SHA384)
        assert isinstance(authority.root.signature_hash_algorithm, hashes.SHA256)


def test_a_wildcard_without_a_name_is_a_fault_of_the_config(tmp_path: Path) -> None:
    for host in ("0.0.0.0", "::"):
        config = ttp_config(tmp_path / "ttp", listen=Address(host, 8440))
        with pytest.raises(ConfigError, match=r"ttp\.name"):
            asyncio.run(Authority.open(config))
        named = ttp_config(tmp_path / "ttp", listen=Address(host, 8440), name=("ttp.example",))
        assert public_address.public_address(named, port=9) == Address("ttp.example", 9)
        assert host not in public_address.own_names(named)
    with pytest.raises(ConfigError, match="no_name"):
        public_address.own_names(ttp_config(tmp_path, name=("no_name", "good")))


@pytest.mark.parametrize("name", ["spiffe://ttp.example/ca", "a b", ""])
def test_a_ttps_name_is_one_that_can_be_connected_to(tmp_path: Path, name: str) -> None:
    config = ttp_config(tmp_path, name=("ttp.example", name))
    for find in (public_address.own_names, public_address.token_address):
        with pytest.raises(ConfigError, match=r"ttp\.name"):
            find(config)


def test_a_token_carries_the_running_ttps_address_else_the_one_to_be(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ttp\.name"):
        public_address.token_address(ttp_config(tmp_path))
    named = ttp_config(tmp_path, name=("ttp.example",))
    assert public_address.token_address(named) == Address("ttp.example", 8440)
    with pytest.raises(ConfigError, match=r"ttp\.listen"):
        public_address.token_address(
            ttp_config(tmp_path, name=("ttp.example",), listen=Address("127.0.0.1", 0))
        )
    public_address.write_address(tmp_path, Address("::1", 5))
    assert public_address.token_address(named) == Address("::1", 5)
    (tmp_path / "address").write_text("nonsense")
    with pytest.raises(StateError, match="start 'asynctls ttp'"):
        public_address.token_address(named)


def test_a_balancers_address_stands_in_tokens_and_its_host_in_the_certificate(
    tmp_path: Path,
) -> None:
    balanced = ttp_config(
        tmp_path, public=Address("ttp.example", 443), listen=Address("0.0.0.0", 0)
    )
    public_address.write_address(tmp_path, Address("::1", 5))
    for find in (public_address.token_address, partial(public_address.public_address, port=9)):
        assert find(balanced) == Address("ttp.example", 443)
    assert public_address.own_names(balanced)[0] == "ttp.example"
    with pytest.raises(ConfigError, match="no_name"):
        public_address.own_names(ttp_config(tmp_path, public=Address("no_name", 443)))


async def test_a_list_of_several_pages_has_each_certificate_once_in_order(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"host{number}" for number in range(7)]
    for name in names:
        await enrolled(authority, name)
    for name in names[::2]:
        await authority.revoke(name)
    monkeypatch.setattr(lists, "_AT_ONCE", 2)
    assert [each.name for each in await authority.list_certificates()] == names
    revoked = [each.name async for each in authority.each_certificate("revoked")]
    assert revoked == names[::2]
    valid = [each.name async for each in authority.each_certificate("valid")]
    assert valid == names[1::2]
    assert await authority.list_certificates("expired") == []
