"""Why a client and a server did not come together, said so that a person knows what to do.

An alert of the server's is not authenticated (RFC 5246, section 7.2): it is shown beside our own
clock, and nothing is done because of it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from asynctls.admission import Peer
from asynctls.alerts import Alert
from asynctls.errors import (
    CertificateError,
    HandshakeError,
    HandshakeTimeoutError,
    PeerRefusedError,
    RefusedByPeerError,
)
from asynctls.pki.names import format_san, parse_san

if TYPE_CHECKING:
    from asynctls.config import Address
    from asynctls.enrolment.identity import Identity

__all__ = ["explained"]

_TOKEN = "get a new token ('asynctls ttp token {name}') and join again with it"  # noqa: S105
_WORDS = {
    Alert.CERTIFICATE_REVOKED: f"because it has been revoked: if that is an error, {_TOKEN}",
    Alert.ACCESS_DENIED: (
        "because {name} is not on its allow list: whoever runs it can let it in by --allow {name}"
    ),
    Alert.UNKNOWN_CA: (
        "because another CA issued it than those that it trusts: both must join the same TTP"
    ),
    Alert.BAD_CERTIFICATE: "because it is not valid yet, or malformed: compare both clocks",
    Alert.UNSUPPORTED_CERTIFICATE: (
        "because it is not for clients: the token must be for the role client or peer"
    ),
    Alert.INTERNAL_ERROR: (
        "because it holds no current CRL: it must reach its TTP; try again after that"
    ),
    Alert.HANDSHAKE_FAILURE: "because no certificate or no cipher suite of ours suits it",
    Alert.PROTOCOL_VERSION: "because it does not speak TLS 1.2: it is no asynctls server",
    Alert.NO_APPLICATION_PROTOCOL: (
        "because the two protocols differ: is one of them a tunnel, or --session on one end alone?"
    ),
}
_ANYBODY = "certified by the CA of our identity"
_TUNNEL = (
    "; if that is a tunnel (--app forward:…), be the other end of it: --listen, and --session "
    "on both ends or on neither"
)


def explained(
    error: HandshakeError, *, address: Address, identity: Identity, name: str | None
) -> HandshakeError:
    """The same error, with who, why and what to do in its message.

    Args:
        error: how the handshake ended.
        address: the server's.
        identity: ours.
        name: whom we expected there; None: anybody that the CA of our identity vouches for.
    """
    match error:
        case RefusedByPeerError(alert=Alert() as alert):
            return RefusedByPeerError(
                _refused_by(alert, address, identity),
                alert=alert,
                certificate=error.certificate,
            )
        case PeerRefusedError():
            return PeerRefusedError(
                error.alert,
                f"we refused the server at {address}, expected to be {name or _ANYBODY}: "
                f"{error.reason}{_advice(error, name)}",
                certificate=error.certificate,
                told=error.told,
            )
    text = f"no TLS connection with the server at {address}: {error}"
    # Its kind stays, so that whoever catches it can tell them apart.
    match error:
        case RefusedByPeerError():
            return RefusedByPeerError(text, alert=error.alert, certificate=error.certificate)
        case HandshakeTimeoutError():
            return HandshakeTimeoutError(text)
    return HandshakeError(text)


def _refused_by(alert: Alert, address: Address, identity: Identity) -> str:
    told = f"(alert {alert.value}, {alert.words})"
    if alert is Alert.CERTIFICATE_EXPIRED:
        why = _expired(identity)
    elif alert in _WORDS:
        why = _WORDS[alert].format(name=identity.name)
    else:
        return f"the server at {address} ended the handshake {told}"
    return f"the server at {address} refused our certificate {told} {why}"


def _advice(error: PeerRefusedError, expected: str | None) -> str:
    """What to do: about another name than we expected, another protocol; nothing for the rest."""
    if error.alert is Alert.NO_APPLICATION_PROTOCOL:
        return _TUNNEL
    if expected is None or error.alert is not Alert.BAD_CERTIFICATE or error.certificate is None:
        return ""
    try:
        peer = Peer.of(error.certificate)
        if not peer.sans or format_san(parse_san(expected)) in peer.sans:
            return ""
    except CertificateError:
        return ""
    return f"; if that is the server you mean, say so: --server-name {peer.name}"


def _expired(identity: Identity) -> str:
    date = f"{identity.not_after:%Y-%m-%d %H:%M:%S} UTC"
    now = datetime.now(UTC)
    if identity.expired(now):
        return f"because it expired on {date}: {_TOKEN.format(name=identity.name)}"
    return (
        f"as expired, while by this clock ({now:%Y-%m-%d %H:%M:%S} UTC) it is valid until {date}: "
        "compare both clocks"
    )
