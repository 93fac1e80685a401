"""What the EST client makes of answers that a TTP should not give, and the CRLs likewise."""

from __future__ import annotations

import base64
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from asynctls.enrolment import bootstrap, crls, est_certificates, est_client, est_codec
from asynctls.enrolment.clock import disagreement
from asynctls.enrolment.connection import TTPConnection, certificates_in, said_date
from asynctls.errors import (
    EnrolmentRefusedError,
    TTPNotTrustedError,
    TTPUnreachableError,
)
from asynctls.http import Response
from asynctls.mac import Secret
from asynctls.pki.certificates import certificates_from_pem, fingerprint
from asynctls.pki.keys import KeyType, generate_now
from asynctls.pki.profiles import key_id_text
from tests.listening import listening

if TYPE_CHECKING:
    import asyncio

KEY = generate_now(KeyType.ECDSA_P256)
Answering = Callable[..., AbstractAsyncContextManager[TTPConnection]]


@pytest.fixture
def answering(ttp: Any) -> Answering:
    """``async with answering(status, body) as connection``: by the TTP's own certificate."""

    @asynccontextmanager
    async def start(status: int, *bodies: bytes) -> AsyncIterator[TTPConnection]:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            for body in bodies:
                asked = await reader.readuntil(b"\r\n\r\n")
                # Nothing is "not modified" for who names nothing that he has.
                said = 200 if status == 304 and b"If-None-Match: " not in asked else status
                head = f"HTTP/1.1 {said} X\r\nContent-Length: {len(body)}\r\n\r\n"
                writer.write(head.encode() + body)
                await writer.drain()
            await reader.read()

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(ttp.authority.tls_chain, ttp.authority.tls_key)
        async with (
            listening(answer, context=context) as address,
            est_client.connect(address, trust=trust(ttp)) as connection,
        ):
            yield connection

    return start


def trust(ttp: Any) -> str:
    return ttp.authority.tls_chain.with_name("root.pem").read_text()  # type: ignore[no-any-return]


def authorities(ttp: Any) -> Sequence[Any]:
    return ttp.authority.ca_certificates  # type: ignore[no-any-return]


async def enroll(connection: TTPConnection) -> object:
    return await est_client.simple_enroll(connection, KEY, token_id="id", secret=Secret(b"secret"))


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_not_now_can_be_tried_again(answering: Answering, status: int) -> None:
    async with answering(status, b"busy: later") as connection:
        with pytest.raises(TTPUnreachableError, match=f"again \\({status}\\): busy: later"):
            await enroll(connection)


@pytest.mark.parametrize(
    ("body", "rule", "words"),
    [
        (b"token-used: it was used", "token-used", "refused: it was used"),
        (b"", "status 403", "no reason given"),
        (b"go \x1b[31maway", "status 403", r"go  \[31maway"),
    ],
)
async def test_no_is_told_with_its_rule_and_without_control_codes(
    answering: Answering, body: bytes, rule: str, words: str
) -> None:
    async with answering(403, body) as connection:
        with pytest.raises(EnrolmentRefusedError, match=words) as caught:
            await enroll(connection)
    assert (caught.value.status, caught.value.rule) == (403, rule)


async def test_an_answer_that_is_no_certificate_is_not_taken(
    ttp: Any, answering: Answering
) -> None:
    two = est_certificates.encode_certificates(authorities(ttp))
    for body, words in ((b"nonsense", "cannot be read"), (two, "2 certificates instead of one")):
        async with answering(200, body) as connection:
            with pytest.raises(TTPUnreachableError, match=words):
                await enroll(connection)


async def test_ca_certificates_of_another_root_are_not_kept(
    ttp: Any, answering: Answering, running_ttp: Any, tmp_path: Any
) -> None:
    (root,) = certificates_from_pem(trust(ttp).encode())
    async with running_ttp(tmp_path / "other") as other:
        theirs = est_certificates.encode_certificates(authorities(other))
        both = est_certificates.encode_certificates([*authorities(other), *authorities(ttp)])
    now = datetime.now(UTC)
    async with answering(200, theirs, b"nonsense", both) as connection:
        with pytest.raises(TTPNotTrustedError, match="no issuing CA"):
            await est_client.fetch_ca_certificates(connection, root=root, now=now)
        with pytest.raises(TTPNotTrustedError, match="cannot be used"):
            await est_client.fetch_ca_certificates(connection, root=root, now=now)
        kept = await est_client.fetch_ca_certificates(connection, root=root, now=now)
    assert kept == (authorities(ttp)[0],)


async def test_cas_that_are_held_are_not_sent_again(
    ttp: Any, running_ttp: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, root = authorities(ttp)
    async with running_ttp(tmp_path / "other") as other:
        theirs, _ = authorities(other)
    read: list[Response] = []

    def reading(answer: Response) -> object:
        read.append(answer)
        return certificates_in(answer)

    monkeypatch.setattr(est_client, "certificates_in", reading)
    async with est_client.connect(ttp.address, trust=trust(ttp)) as connection:
        # None yet; the same; a new one has come; one has gone.
        for held, sent in (((), 1), ((ours,), 0), ((theirs,), 1), ((ours, theirs), 1)):
            now = datetime.now(UTC)
            kept = await est_client.fetch_ca_certificates(connection, root=root, held=held, now=now)
            assert kept == (ours,)
            assert len(read) == sent
            read.clear()


async def test_cas_that_are_held_are_judged_like_those_that_are_sent(
    ttp: Any, answering: Answering, running_ttp: Any, tmp_path: Any
) -> None:
    ours, root = authorities(ttp)
    async with running_ttp(tmp_path / "other") as other:
        theirs, _ = authorities(other)
    now = datetime.now(UTC)
    async with answering(304, b"", b"", b"", b"") as connection:
        fetch = partial(est_client.fetch_ca_certificates, connection, root=root)
        assert await fetch(held=(theirs, ours), now=now) == (ours,)
        with pytest.raises(TTPNotTrustedError, match="no issuing CA"):
            await fetch(held=(theirs,), now=now)
        with pytest.raises(TTPNotTrustedError, match="no issuing CA"):
            await fetch(held=(ours,), now=ours.not_valid_after_utc)
        with pytest.raises(TTPNotTrustedError, match="the root certificate is valid from"):
            await fetch(held=(ours,), now=root.not_valid_after_utc)


async def test_a_crl_of_another_ca_is_not_taken(
    ttp: Any, answering: Answering, running_ttp: Any, tmp_path: Any
) -> None:
    async with running_ttp(tmp_path / "other") as other:
        theirs = other.authority.crl_der
    ca, root = authorities(ttp)
    for bodies in ((theirs, theirs), (b"nonsense", b""), (ttp.authority.crl_der, theirs)):
        async with answering(200, *bodies) as connection:
            with pytest.raises(TTPNotTrustedError, match="CRL cannot be used"):
                await crls.fetch(connection, root=root, issuing=[ca])


async def test_a_ca_may_have_no_crl_and_a_ttp_that_errs_is_tried_again(
    ttp: Any, answering: Answering
) -> None:
    ca, root = authorities(ttp)
    async with answering(404, b"", b"") as connection:
        assert await crls.fetch(connection, root=root, issuing=[ca]) == ()
    async with answering(500, b"") as connection:
        with pytest.raises(TTPUnreachableError):
            await crls.fetch(connection, root=root, issuing=[ca])


async def test_a_crl_that_is_held_is_not_sent_again(ttp: Any, answering: Answering) -> None:
    ca, root = authorities(ttp)
    async with est_client.connect(ttp.address, trust=trust(ttp)) as connection:
        held = await crls.fetch(connection, root=root, issuing=[ca])
        for each in held:
            tag = est_codec.crl_tag(each.der)
            path = est_codec.crl_path(key_id_text(ca)) if each is held[0] else est_codec.ROOT_CRL
            answer = await connection.get(path, headers=(("If-None-Match", tag),))
            assert (answer.status, answer.body) == (304, b"")
    async with answering(304, b"", b"") as connection:
        again = await crls.fetch(connection, root=root, issuing=[ca], held=held)
    assert [id(each) for each in again] == [id(each) for each in held]
    async with answering(304, b"", b"") as connection:
        with pytest.raises(TTPNotTrustedError, match="CRL cannot be used"):
            await crls.fetch(connection, root=root, issuing=[ca])


async def test_crls_come_back_from_pem(ttp: Any) -> None:
    async with est_client.connect(ttp.address, trust=trust(ttp)) as connection:
        ca, root = authorities(ttp)
        fetched = await crls.fetch(connection, root=root, issuing=[ca])
    assert crls.from_pem(crls.to_pem(fetched), authorities(ttp)) == fetched
    assert crls.from_pem("", authorities(ttp)) == ()


async def test_the_root_is_found_by_its_fingerprint_alone(ttp: Any) -> None:
    issuing, root = authorities(ttp)
    found = await bootstrap.fetch_root(ttp.address, fingerprint(root))
    assert found.root == root
    assert found.said_date is not None
    assert abs(found.said_date - datetime.now(UTC)).total_seconds() < 5
    with pytest.raises(TTPNotTrustedError, match="pins is no root"):
        await bootstrap.fetch_root(ttp.address, fingerprint(issuing))


async def test_whoever_is_no_ttp_fills_no_screen_and_breaks_nothing(
    ttp: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def get(self: TTPConnection, path: str) -> Response:
        return answer

    monkeypatch.setattr(TTPConnection, "get", get)
    certificates = authorities(ttp)
    good = pkcs7.serialize_certificates([*certificates] * 50, Encoding.DER)
    answer = Response(200, (), base64.b64encode(good))
    with pytest.raises(TTPNotTrustedError, match="…") as caught:
        await bootstrap.fetch_root(ttp.address, bytes(32))
    assert len(str(caught.value)) < 1000
    # A certificate of version 8: version numbers count from 0.
    answer = Response(
        200, (), base64.b64encode(good.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x07"))
    )
    with pytest.raises(TTPNotTrustedError, match="no TTP"):
        await bootstrap.fetch_root(ttp.address, bytes(32))


@pytest.mark.parametrize(
    "date",
    ["", "soon", "Thu, 01 Jan 99999 00:00:00 GMT", f"Thu, 01 Jan 2026 00:00:00 +{9**30}"],
)
def test_a_date_that_is_none_is_no_date(date: str) -> None:
    assert said_date(Response(200, (("Date", date),))) is None


async def test_nothing_that_takes_the_unverified_connection_knows_a_secret() -> None:
    import inspect

    assert list(inspect.signature(bootstrap.fetch_root).parameters) == ["address", "root_sha256"]
    assert "Secret" not in inspect.getsource(bootstrap).replace("No secret", "")


def test_a_clock_that_is_off_is_told_in_words() -> None:
    now = datetime(2030, 1, 1, 12, tzinfo=UTC)
    assert disagreement(now, None) is None
    assert disagreement(now, now.replace(second=59)) is None
    ahead = disagreement(now, replace_hour(now, 10))
    assert ahead is not None
    assert "2:00:00 ahead of" in ahead
    behind = disagreement(now, replace_hour(now, 13))
    assert behind is not None
    assert "1:00:00 behind" in behind


def replace_hour(moment: datetime, hour: int) -> datetime:
    return moment.replace(hour=hour)
