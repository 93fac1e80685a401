"""Every alert of a server's in words; it is nobody's word, so it stands beside our own clock."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from asynctls.alerts import Alert
from asynctls.client.refusals import explained
from asynctls.config import Address
from asynctls.errors import (
    HandshakeError,
    HandshakeTimeoutError,
    PeerRefusedError,
    RefusedByPeerError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynctls.enrolment import Identity

SERVER = Address("127.0.0.1", 8443)


@pytest.fixture
async def explain(joined: Any) -> Callable[..., str]:
    identity: Identity = await joined("client")

    def words(error: HandshakeError, *, of: Identity | None = None) -> str:
        result = explained(error, address=SERVER, identity=of or identity, name="server")
        assert type(result) is type(error)
        return str(result)

    return words


@pytest.mark.parametrize(
    ("alert", "what_to_do"),
    [
        (Alert.CERTIFICATE_REVOKED, "join again"),
        (Alert.ACCESS_DENIED, "--allow client"),
        (Alert.UNKNOWN_CA, "the same TTP"),
        (Alert.BAD_CERTIFICATE, "compare both clocks"),
        (Alert.UNSUPPORTED_CERTIFICATE, "the role client or peer"),
        (Alert.INTERNAL_ERROR, "it must reach its TTP"),
        (Alert.NO_APPLICATION_PROTOCOL, "is one of them a tunnel, or --session on one end alone?"),
        (Alert.PROTOCOL_VERSION, "TLS 1.2"),
        (Alert.HANDSHAKE_FAILURE, "no certificate"),
    ],
)
async def test_an_alert_says_who_why_and_what_to_do(
    explain: Any, alert: Alert, what_to_do: str
) -> None:
    said = explain(RefusedByPeerError("told", alert=alert))
    assert said.startswith(
        f"the server at 127.0.0.1:8443 refused our certificate (alert {alert.value}, {alert.words})"
    )
    assert what_to_do in said


async def test_expired_is_held_against_our_own_clock(explain: Any, joined: Any) -> None:
    told = RefusedByPeerError("told", alert=Alert.CERTIFICATE_EXPIRED)
    valid = explain(told)
    assert "while by this clock" in valid
    assert "compare both clocks" in valid
    assert "join again" not in valid
    past = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
    expired = replace(await joined("client"), not_after=past)
    said = explain(told, of=expired)
    assert f"because it expired on {past:%Y-%m-%d %H:%M:%S} UTC" in said
    assert "join again" in said


@pytest.mark.parametrize("alert", [None, Alert.DECODE_ERROR, Alert.CLOSE_NOTIFY])
async def test_an_alert_that_is_not_about_our_certificate_does_not_blame_it(
    explain: Any, alert: Alert | None
) -> None:
    said = explain(RefusedByPeerError("the peer refused the handshake: told", alert=alert))
    assert "our certificate" not in said


async def test_a_server_of_another_name_is_told_with_the_option_that_names_it(
    explain: Any, joined: Any
) -> None:
    other = await joined("other", sans=("db.example",))
    refused = PeerRefusedError(
        Alert.BAD_CERTIFICATE, "it is another", certificate=other.certificate
    )
    assert "--server-name other" in explain(refused)
    # Who expects nobody in particular has no option to give.
    said = str(explained(refused, address=SERVER, identity=other, name=None))
    assert "expected to be certified by the CA of our identity: it is another" in said
    assert "--server-name" not in said
    right = await joined("server")
    refused = PeerRefusedError(Alert.BAD_CERTIFICATE, "no", certificate=right.certificate)
    assert "--server-name" not in explain(refused)
    for certificate in (None, b"no certificate"):
        refused = PeerRefusedError(Alert.BAD_CERTIFICATE, "no", certificate=certificate)
        assert "--server-name" not in explain(refused)


async def test_whatever_else_happens_is_said_with_the_address(explain: Any) -> None:
    said = explain(HandshakeTimeoutError("the handshake was not done within 1 s"))
    assert said == (
        "no TLS connection with the server at 127.0.0.1:8443: the handshake was not done within 1 s"
    )
