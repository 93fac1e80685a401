"""Joining a real TTP over real sockets, and each way in which that can fail."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from msgspec.structs import replace

from asynctls.config import Address, SecretText
from asynctls.enrolment import (
    Identity,
    JoinString,
    ensure_identity,
    ensure_identity_alone,
    join,
)
from asynctls.errors import (
    ClockError,
    EnrolmentRefusedError,
    IdentityError,
    StateLockedError,
    TTPNotTrustedError,
    TTPUnreachableError,
)
from asynctls.mac import Secret
from asynctls.pki.certificates import to_pem
from asynctls.pki.keys import KeyType
from asynctls.pki.profiles import Profile
from asynctls.ttp import clock
from tests.listening import listening, passing_on

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.conftest import AMinuteAgo

SOON = timedelta(seconds=10)


async def attempt(folder: Path, join_string: JoinString) -> Identity:
    return await join(folder, join_string, key_type=KeyType.ECDSA_P256, give_up_after=SOON)


async def test_a_token_leads_to_an_identity_on_disk(ttp: Any, tmp_path: Path) -> None:
    token = await ttp.token("server.example", sans=("spiffe://example/server",))
    with structlog.testing.capture_logs() as events:
        identity = await attempt(tmp_path / "role", token)
    assert identity == Identity.load(tmp_path / "role")
    assert identity.name == "server.example"
    assert identity.sans == ("server.example", "spiffe://example/server")
    assert identity.ttp == ttp.address
    assert identity.root_sha256 == ttp.authority.root_sha256
    assert not identity.expired(datetime.now(UTC))
    assert all(path.exists() for path in identity.files)
    assert identity.key_file.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "role").stat().st_mode & 0o777 == 0o700
    assert sorted(path.name for path in (tmp_path / "role").iterdir()) == [
        "ca.pem",
        "cert.pem",
        "crl.pem",
        "identity.json",
        "key.pem",
    ]
    ours = [e for e in events if e["event"] in {"key pair made", "joining", "joined"}]
    assert [event["event"] for event in ours] == ["key pair made", "joining", "joined"]
    assert ours[0]["key_type"] == "ecdsa-p256"
    assert ours[2]["serial"] == identity.serial
    assert token.secret.reveal().decode() not in str(events)


async def test_other_programs_accept_the_files(
    ttp: Any, tmp_path: Path, program: Callable[[str], Path]
) -> None:
    openssl = program("openssl")
    identity = await attempt(tmp_path / "role", await ttp.token("server"))
    verified = await asyncio.create_subprocess_exec(
        *(openssl, "verify", "-x509_strict", "-crl_check_all"),
        *("-CAfile", identity.trust_file, "-CRLfile", identity.crl_file),
        *("-untrusted", identity.certificate_file, identity.certificate_file),
    )
    assert await verified.wait() == 0
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity.certificate_file, identity.key_file)


async def test_an_rsa_key_is_made_where_one_is_wanted(ttp: Any, tmp_path: Path) -> None:
    identity = await join(
        tmp_path / "role",
        await ttp.token("server"),
        key_type=KeyType.RSA_2048,
        give_up_after=SOON,
    )
    assert identity.key_type is KeyType.RSA_2048


async def test_a_wrong_fingerprint_stops_at_once_and_no_secret_is_sent(
    ttp: Any, tmp_path: Path
) -> None:
    token = replace(await ttp.token("server"), root_sha256=bytes(32))
    with (
        structlog.testing.capture_logs() as events,
        pytest.raises(TTPNotTrustedError, match="not the TTP that the join string names"),
    ):
        await attempt(tmp_path / "role", token)
    assert "ttp unreachable" not in {event["event"] for event in events}
    assert await ttp.authority.list_certificates() == []


async def test_a_used_token_is_told_so(ttp: Any, tmp_path: Path) -> None:
    token = await ttp.token("server")
    await attempt(tmp_path / "first", token)
    with pytest.raises(EnrolmentRefusedError, match="used already, with another key") as caught:
        await attempt(tmp_path / "second", token)
    assert (caught.value.status, caught.value.rule) == (403, "token-used")


async def test_an_expired_token_is_told_so(
    ttp: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = await ttp.token("server", ttl=timedelta(seconds=1))
    start = clock.now()
    monkeypatch.setattr(clock, "now", lambda: start + timedelta(seconds=2))
    with pytest.raises(EnrolmentRefusedError, match="could be used until") as caught:
        await attempt(tmp_path / "role", token)
    assert caught.value.rule == "token-expired"


async def test_an_unknown_token_is_told_so(ttp: Any, tmp_path: Path) -> None:
    token = replace(await ttp.token("server"), secret=Secret(b"wrong"))
    with pytest.raises(EnrolmentRefusedError, match="no such token") as caught:
        await attempt(tmp_path / "role", token)
    assert (caught.value.status, caught.value.rule) == (401, "token-unknown")


async def test_a_revoked_token_is_told_so(ttp: Any, tmp_path: Path) -> None:
    token = await ttp.token("server")
    await ttp.authority.revoke("server")
    with pytest.raises(EnrolmentRefusedError, match="was revoked") as caught:
        await attempt(tmp_path / "role", token)
    assert caught.value.rule == "token-revoked"


async def test_a_token_for_another_name_is_not_even_used(ttp: Any, tmp_path: Path) -> None:
    held = await attempt(tmp_path / "role", await ttp.token("server"))
    token = await ttp.token("client")
    with pytest.raises(IdentityError, match=r"identity 'server'.*token is for 'client'"):
        await attempt(tmp_path / "role", token)
    # The hint in the string is for people, so what counts is looked at as well.
    with pytest.raises(IdentityError, match=r"identity 'server'.*token is for 'client'"):
        await attempt(tmp_path / "role", replace(token, name=None))
    assert Identity.load(tmp_path / "role") == held


async def test_the_name_in_a_join_string_counts_as_certificates_write_it(
    ttp: Any, tmp_path: Path
) -> None:
    await attempt(tmp_path / "role", await ttp.token("server"))
    again = await attempt(tmp_path / "role", await ttp.token("Server"))
    assert again.name == "server"


async def test_a_new_token_replaces_the_identity(ttp: Any, tmp_path: Path) -> None:
    first = await attempt(tmp_path / "role", await ttp.token("server"))
    second = await attempt(tmp_path / "role", await ttp.token("server"))
    assert second.serial != first.serial
    assert Identity.load(tmp_path / "role") == second


async def test_a_ttp_out_of_reach_is_tried_again_until_the_time_is_up(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = Address("127.0.0.1", unused.getsockname()[1])
        token = JoinString("id", Secret(b"secret"), address, "server", bytes(32))
        with (
            structlog.testing.capture_logs() as events,
            pytest.raises(
                TTPUnreachableError,
                match=rf"{address}.*within 1 seconds.*is 'asynctls ttp' running",
            ),
        ):
            await join(
                tmp_path / "role",
                token,
                key_type=KeyType.ECDSA_P256,
                give_up_after=timedelta(seconds=1),
            )
    tries = [event for event in events if event["event"] == "ttp unreachable"]
    assert len(tries) == 2
    assert all(event["ttp"] == str(address) for event in tries)


async def test_a_ttp_that_comes_up_later_is_found(
    running_ttp: Any, tmp_path: Path, logged: Any
) -> None:
    async with running_ttp(tmp_path / "ttp") as before:
        token = await before.token("server")
    joining = asyncio.create_task(attempt(tmp_path / "role", token))
    await logged.until("ttp unreachable")
    async with running_ttp(tmp_path / "ttp", port=token.address.port):
        assert (await joining).name == "server"


async def test_a_reply_that_is_lost_ends_with_one_certificate(
    ttp: Any, tmp_path: Path, logged: Any
) -> None:
    token = await ttp.token("server")
    lost: list[str] = []

    def cut() -> bool:
        # Once the token is used the answer is lost, and all that comes later gets through.
        is_now = bool(logged.named("issued")) and not lost
        lost.extend(["the answer"] if is_now else [])
        return is_now

    async with passing_on(ttp.address, cut) as address:
        identity = await attempt(tmp_path / "role", replace(token, address=address))
    assert lost == ["the answer"]
    assert len(logged.named("ttp unreachable")) == 1
    (recorded,) = await ttp.authority.list_certificates()
    assert recorded.serial == identity.serial


async def test_a_join_that_is_killed_after_the_posting_is_finished_by_the_next(
    ttp: Any, tmp_path: Path, logged: Any
) -> None:
    token = await ttp.token("server")
    joining = asyncio.create_task(attempt(tmp_path / "role", token))
    await logged.until("issued")
    joining.cancel()
    await asyncio.gather(joining, return_exceptions=True)
    identity = await attempt(tmp_path / "role", token)
    assert len(logged.named("key pair made")) == 1
    (recorded,) = await ttp.authority.list_certificates()
    assert recorded.serial == identity.serial


@pytest.mark.parametrize("profile", [Profile.SERVER, Profile.PEER])
async def test_a_server_of_the_same_ca_cannot_pose_as_the_ttp(
    ttp: Any, tmp_path: Path, profile: Profile
) -> None:
    role = await attempt(
        tmp_path / "role", await ttp.token("server", sans=("127.0.0.1",), profile=profile)
    )
    token = await ttp.token("victim")
    got: list[bytes] = []
    async with impostor(role, got, trust=role.trust) as address:
        with pytest.raises(TTPNotTrustedError, match="no id-kp-cmcRA"):
            await attempt(tmp_path / "victim", replace(token, address=address))
    assert not any(b"Authorization" in request for request in got)


async def test_a_server_of_another_ca_cannot_pose_as_the_ttp(
    ttp: Any, running_ttp: Any, tmp_path: Path
) -> None:
    async with running_ttp(tmp_path / "other") as other:
        theirs = await attempt(tmp_path / "theirs", await other.token("x", sans=("127.0.0.1",)))
    token = await ttp.token("victim")
    got: list[bytes] = []
    # The true root is public, so whoever stands in between can show it on connection 1.
    trust = to_pem(*ttp.authority.ca_certificates)
    async with impostor(theirs, got, trust=trust) as address:
        with pytest.raises(TTPNotTrustedError, match="who is not trusted here"):
            await attempt(tmp_path / "victim", replace(token, address=address))
    assert len(got) == 1
    assert b"Authorization" not in got[0]


async def test_a_ttp_for_another_host_is_not_trusted(ttp: Any, tmp_path: Path) -> None:
    token = await ttp.token("server")
    async with passing_on(ttp.address, lambda: False, host="127.0.0.2") as address:
        with pytest.raises(TTPNotTrustedError, match=r"not for 127\.0\.0\.2"):
            await attempt(tmp_path / "role", replace(token, address=address))


@asynccontextmanager
async def impostor(identity: Identity, got: list[bytes], *, trust: str) -> AsyncIterator[Address]:
    """Answers /cacerts with the true CA certificates, by a key and certificate of its own."""
    from asynctls.enrolment import est_certificates
    from asynctls.pki.certificates import certificates_from_pem

    body = est_certificates.encode_certificates(certificates_from_pem(trust.encode()))

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        await reader.read()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity.certificate_file, identity.key_file)
    async with listening(answer, context=context) as address:
        yield address


async def test_something_that_is_no_ttp_is_told_so(tmp_path: Path) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"SSH-2.0-no\r\n")

    async with listening(greet) as address:
        token = JoinString("id", Secret(b"secret"), address, "server", bytes(32))
        with pytest.raises(TTPUnreachableError, match="not TLS"):
            await join(
                tmp_path / "role",
                token,
                key_type=KeyType.ECDSA_P256,
                give_up_after=timedelta(seconds=0.4),
            )


@pytest.mark.parametrize(
    ("offset", "words"),
    [(timedelta(days=-3), "days.* behind"), (timedelta(days=5000), "days.* ahead")],
)
async def test_a_wrong_clock_is_told_by_how_much(
    ttp: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    offset: timedelta,
    words: str,
) -> None:
    monkeypatch.setattr("asynctls.enrolment.joining.utc_now", lambda: datetime.now(UTC) + offset)
    with pytest.raises(ClockError, match=words):
        await attempt(tmp_path / "role", await ttp.token("server"))


async def test_a_valid_identity_makes_a_join_string_superfluous(ttp: Any, tmp_path: Path) -> None:
    identity = await attempt(tmp_path / "role", await ttp.token("server"))
    unused = await ttp.token("server")
    with structlog.testing.capture_logs() as events:
        found = await ensure_identity(
            tmp_path / "role",
            join_string=SecretText(unused.format()),
            key_type=KeyType.ECDSA_P256,
            give_up_after=SOON,
        )
    assert found == identity
    assert [event["event"] for event in events] == ["identity found", "join string ignored"]


async def test_an_expired_identity_is_given_back_or_replaced(
    ttp: Any, tmp_path: Path, a_minute_ago: AMinuteAgo
) -> None:
    with a_minute_ago():
        short = await attempt(
            tmp_path / "role", await ttp.token("server", lifetime=timedelta(seconds=3))
        )
    assert short.expired(datetime.now(UTC))
    kept = await ensure_identity(tmp_path / "role", key_type=KeyType.ECDSA_P256, give_up_after=SOON)
    assert kept == short
    fresh = await ensure_identity(
        tmp_path / "role",
        join_string=SecretText((await ttp.token("server")).format()),
        key_type=KeyType.ECDSA_P256,
        give_up_after=SOON,
    )
    assert fresh.serial != short.serial
    assert not fresh.expired(datetime.now(UTC))


async def test_without_an_identity_and_a_join_string_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(IdentityError, match=r"no identity in .* and no join string"):
        await ensure_identity(tmp_path / "none", key_type=KeyType.ECDSA_P256, give_up_after=SOON)


async def test_two_that_join_at_once_by_one_token_end_with_one_identity(
    ttp: Any, tmp_path: Path
) -> None:
    token = SecretText((await ttp.token("client")).format())

    async def attempt_alone() -> Identity:
        return await ensure_identity_alone(
            tmp_path / "role", join_string=token, key_type=KeyType.ECDSA_P256, give_up_after=SOON
        )

    ends = await asyncio.gather(*(attempt_alone() for _ in range(4)), return_exceptions=True)
    joined = [end for end in ends if isinstance(end, Identity)]
    assert joined
    assert all(isinstance(end, Identity | StateLockedError) for end in ends)
    assert await attempt_alone() == joined[0] == Identity.load(tmp_path / "role")
    assert len(await ttp.authority.list_certificates()) == 1
