"""Why no TLS connection came about, as one event in the log: who, from where, why."""

from __future__ import annotations

from asynctls.admission import Peer
from asynctls.errors import CertificateError, HandshakeError, PeerRefusedError, RefusedByPeerError
from asynctls.logger import get_logger

__all__ = ["log_refusal"]

log = get_logger()


def log_refusal(address: str, error: HandshakeError) -> None:
    """Logs a failed handshake once.

    ``refused``: we refused the peer; ``refused by peer``: it refused us; ``handshake failed``: it
    went away, took too long, or does not speak TLS.

    Args:
        address: the peer's, HOST:PORT.
        error: how the handshake ended.
    """
    match error:
        case PeerRefusedError():
            log.warning(
                "refused",
                address=address,
                peer=_peer(error.certificate),
                alert=error.alert.value if error.told else None,
                reason=error.reason,
            )
        case RefusedByPeerError():
            log.warning(
                "refused by peer",
                address=address,
                peer=_peer(error.certificate),
                alert=None if error.alert is None else error.alert.value,
                reason=str(error),
            )
        case _:
            log.warning("handshake failed", address=address, reason=str(error))


def _peer(certificate: bytes | None) -> str:
    """The name that a certificate claims; of a refused peer it may be a lie."""
    if certificate is None:
        return "unknown"
    try:
        return str(Peer.claimed(certificate))
    except CertificateError:
        return "unreadable"
