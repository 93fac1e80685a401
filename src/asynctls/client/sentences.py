"""What a client does, step by step, in sentences: each with the attack that it stops and its RFC.

Made from the events that the client logs, and so from what happened in this very run; the table at
the end has every event that is a step. What a sentence says of a peer is still the peer's words:
whoever shows it makes them harmless.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, TypeAlias

from asynctls.alerts import Alert
from asynctls.errors import (
    AsynctlsError,
    BindingMismatchError,
    ClockError,
    EnrolmentRefusedError,
    ForgedError,
    MalformedError,
    MissingError,
    PeerRefusedError,
    RefusedByPeerError,
    ReplayedError,
    SessionTruncatedError,
    TTPNotTrustedError,
)
from asynctls.tls.hellos import SIGNALS
from asynctls.words import key_words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["STEPS", "Step", "step_of"]

_SESSION = "docs/session-protocol.md"


@dataclass(frozen=True, slots=True)
class Step:
    """A step: ``words`` say what happened, ``stops`` which attack that stops, ``source`` where.

    ``refused`` is true where somebody was turned away, or something was not taken.
    """

    words: str
    stops: str
    source: str
    refused: bool = False

    def __str__(self) -> str:
        return f"{self.words} Stops {self.stops}. ({self.source})"


_Fields: TypeAlias = "Mapping[str, object]"


def step_of(event: _Fields) -> Step | None:
    """The step that an event tells of; None for one that is none."""
    step = STEPS.get(str(event["event"]))
    return None if step is None else step(event)


def _identity_found(f: _Fields) -> Step:
    return Step(
        f"Our identity is on disk: certificate {_short(f['serial'])} names {f['name']} until "
        f"{_date(f['not_after'])}, and its private key never leaves this machine.",
        "whoever has only a copy of our certificate, which is public",
        "RFC 5280, section 4.1",
    )


def _key_pair_made(f: _Fields) -> Step:
    return Step(
        f"We made our {key_words(str(f['key_type']))} key pair ourselves, in "
        f"{float(str(f['seconds'])) * 1000:.0f} ms; its private half stays here.",
        "a key that somebody else knows, the TTP included",
        "RFC 2986, section 3",
    )


def _joining(f: _Fields) -> Step:
    return Step(
        f"We ask the TTP at {f['ttp']} for its root certificate, over a connection on which "
        "nothing is verified yet and so no secret is said.",
        "a false TTP that waits for tokens",
        "RFC 7030, section 4.1.1",
    )


def _root_pinned(f: _Fields) -> Step:
    return Step(
        f"The root that it sent has the SHA-256 which our join string names, "
        f"{_short(f['sha256'])}: it is the TTP that made our token.",
        "a false TTP in the middle of the first connection",
        "RFC 7030, section 4.1.1",
    )


def _ttp_verified(f: _Fields) -> Step:
    return Step(
        f"A second connection shows that the TTP at {f['ttp']} has a certificate from that root; "
        "over it we send our request, signed with the new key, and the one-time token.",
        "a stolen token, and a certificate for a key that the asker does not hold",
        "RFC 7030, sections 3.2.3 and 4.2.1",
    )


def _joined(f: _Fields) -> Step:
    return Step(
        f"The TTP issued certificate {_short(f['serial'])} to {f['name']}, until "
        f"{_date(f['not_after'])}: it is for our very key and leads to the pinned root.",
        "a certificate slipped in for somebody else's key",
        "RFC 5280, section 6.1",
    )


def _not_joined(f: _Fields) -> Step | None:
    error = f["error"]
    for kind, stops in _NOT_JOINED.items():
        if isinstance(error, kind):
            return Step(
                f"We have no identity: {_in_words(error)}.", stops, "RFC 7030", refused=True
            )
    return None


_NOT_JOINED: Mapping[type[AsynctlsError], str] = {
    TTPNotTrustedError: "a false TTP: no secret went to it",
    EnrolmentRefusedError: "a token that was used, revoked or guessed from making an identity",
    ClockError: "certificates of the past or the future from counting now",
}


def _crl_taken(f: _Fields) -> Step:
    return Step(
        f"The TTP's list of revoked certificates came, signed by its CA: {_listed(f['lists'])}.",
        "a stolen key from being of use after its certificate was revoked",
        "RFC 5280, section 6.3",
    )


def _tcp_connected(f: _Fields) -> Step:
    return Step(
        f"TCP connects us with {f['found']}, which says nothing yet about who is there.",
        "nothing yet: an address can be forged, and the way there be listened to",
        "RFC 9293, section 3.5",
    )


def _client_hello_sent(f: _Fields) -> Step:
    suites = [each for each in _numbers(f["cipher_suites"]) if each not in SIGNALS]
    alpn = _listed(f["alpn"])
    return Step(
        f"Our ClientHello, {f['octets']} bytes, offers {_listed(f['versions'])} and no other "
        f"version, {len(suites)} cipher suites, each with keys made for this connection alone "
        f"(ECDHE) and AES-GCM{f', and the protocol {alpn}' if alpn else ''}.",
        "a downgrade to an old version or a weak cipher: there is none to fall back to",
        "RFC 5246, section 7.4.1.2; RFC 7301",
    )


def _server_verified(f: _Fields) -> Step:
    return Step(
        f"The server's certificate {_short(f['serial'])} is right: its chain leads to our TTP's "
        f"root, its names ({_listed(f['names'])}) match {f['name']}, it is valid until "
        f"{_date(f['not_after'])}, and it is not revoked ({_listed(f['crls'])}).",
        "a man in the middle, who has no certificate from our TTP for that name",
        "RFC 5280, section 6; RFC 9525, section 6",
    )


def _certificate_proven(f: _Fields) -> Step:
    return Step(
        f"We show our certificate, {f['name']} ({f['certificates']:,} bytes with its chain), and "
        f"prove by a signature over the handshake so far (CertificateVerify, {f['proof']} bytes) "
        "that we hold its key.",
        "whoever copied our certificate, or replays an old handshake of ours",
        "RFC 5246, sections 7.4.6 and 7.4.8",
    )


def _resumed(f: _Fields) -> Step:
    return Step(
        f"TLS resumes our last session with {f['name']}, whose keys only that server can have, so "
        f"no certificate is shown. The one of then, {_short(f['serial'])}, was judged again: valid "
        f"until {_date(f['not_after'])}, and not revoked ({_listed(f['crls'])}).",
        "a server that was revoked or has expired since from living on in an old session",
        "RFC 5246, section 7.3; RFC 5077",
    )


def _connected(f: _Fields) -> Step:
    return Step(
        f"Both Finished messages are right: the two ends saw the same handshake and agree on "
        f"{f['version']} with {f['cipher']}; from here on all is encrypted.",
        "a downgrade by hellos that were changed on the way",
        "RFC 5246, section 7.4.9; RFC 7627",
    )


def _session_opening(f: _Fields) -> Step:
    return Step(
        f"Inside that channel we share a fresh secret of 32 bytes (KEY, {f['sent']} bytes on the "
        "wire); both ends derive the MAC keys from it, the two certificates and this connection.",
        "a relay that ends TLS in between: it sees other certificates, and gets other keys",
        "RFC 5869; RFC 5929, section 3",
    )


def _session_started(f: _Fields) -> Step:
    return Step(
        f"READY came with a tag that only those keys can make: {_peer(f)} has the same secret "
        "and is at the other end of this very connection.",
        "a relay in between, before it can pass a single message on",
        f"RFC 2104; {_SESSION}",
    )


def _message_verified(f: _Fields) -> Step:
    receipt = "; our receipt, with a MAC of its own, says that it was taken" if f["receipt"] else ""
    return Step(
        f"A message of {f['bytes']:,} bytes has the right MAC and the sequence number that is "
        f"due{receipt}.",
        "messages that are forged, changed, replayed, swapped or dropped",
        f"RFC 2104; RFC 9052, section 6.2; {_SESSION}",
    )


def _line_delivered(f: _Fields) -> Step:
    return Step(
        f"Line {f['line']}, {f['bytes']:,} bytes, was taken by {_peer(f)}'s application: its "
        "receipt is here, with the right MAC.",
        "a message that was dropped from counting as delivered",
        f"RFC 2104; {_SESSION}",
    )


def _session_ended(f: _Fields) -> Step:
    reason = _in_words(f["reason"])
    if reason != "both ends closed it":
        return Step(
            f"The session with {_peer(f)} did not end by CLOSE of both ends: {reason}.",
            "a part from being taken for the whole",
            f"RFC 5246, section 7.2.1; {_SESSION}",
            refused=True,
        )
    sent = f["sent"]
    octets = sum(sent.values()) if isinstance(sent, dict) else 0
    return Step(
        f"Both ends said CLOSE, each with its MAC, before TLS ended (close_notify); we sent "
        f"{octets:,} bytes in all, and all MACs took {f['hmac_us']} µs.",
        "a truncation: a connection that is cut never looks like this",
        f"RFC 5246, section 7.2.1; {_SESSION}",
    )


def _handshake_failed(f: _Fields) -> Step:
    error = f["error"]
    match error:
        case PeerRefusedError(alert=Alert() as alert, reason=reason):
            told = f"; we told it by alert {alert.value} ({alert.words})" if error.told else ""
            return Step(
                f"We refused whoever answers at {f['address']} and should be {f['name']}: "
                f"{_in_words(reason)}{told}.",
                _REFUSED.get(alert, "whoever is not the server that we mean"),
                "RFC 5246, section 7.2.2",
                refused=True,
            )
        case RefusedByPeerError(alert=Alert() as alert):
            return Step(
                f"The server at {f['address']} refused us by alert {alert.value} ({alert.words}), "
                "and nothing was said inside.",
                _REFUSED.get(alert, "whoever may not come in"),
                "RFC 5246, section 7.2.2",
                refused=True,
            )
    return Step(
        f"No TLS connection with {f['address']} came about: {_in_words(error)}.",
        "a handshake that was not finished from being used",
        "RFC 5246, section 7.4.9",
        refused=True,
    )


_REFUSED: Mapping[Alert, str] = {
    Alert.UNKNOWN_CA: "a certificate that anybody can make: our TTP did not issue it",
    Alert.BAD_CERTIFICATE: "a right certificate in the wrong hands: it is for another name",
    Alert.UNSUPPORTED_CERTIFICATE: "a client's certificate from serving, or a server's from asking",
    Alert.CERTIFICATE_REVOKED: "a stolen key after its certificate was revoked",
    Alert.CERTIFICATE_EXPIRED: "an old key, which has had long to be stolen",
    Alert.ACCESS_DENIED: "a member of the same CA that has no business there",
    Alert.PROTOCOL_VERSION: "a downgrade to an older version",
    Alert.NO_APPLICATION_PROTOCOL: "another protocol's bytes from being replayed into this one",
}


def _session_failed(f: _Fields) -> Step | None:
    error = f["error"]
    for kind, stops in _BROKEN.items():
        if isinstance(error, kind):
            return Step(f"We took no more: {_in_words(error)}.", stops, _SESSION, refused=True)
    return None


_BROKEN: Mapping[type[AsynctlsError], str] = {
    BindingMismatchError: "a relay that ends TLS in between with certificates of its own",
    ForgedError: "a frame that was made or changed without the key",
    ReplayedError: "a recorded frame that is sent again",
    MissingError: "a stream with frames taken out or swapped",
    MalformedError: "a frame that two readers could read in two ways",
    SessionTruncatedError: "a truncation: a part that passes for the whole",
}


STEPS: Mapping[str, Callable[[_Fields], Step | None]] = {
    "identity found": _identity_found,
    "key pair made": _key_pair_made,
    "joining": _joining,
    "root pinned": _root_pinned,
    "TTP verified": _ttp_verified,
    "joined": _joined,
    "not joined": _not_joined,
    "CRL taken": _crl_taken,
    "TCP connected": _tcp_connected,
    "ClientHello sent": _client_hello_sent,
    "server verified": _server_verified,
    "certificate proven": _certificate_proven,
    "TLS session resumed": _resumed,
    "connected": _connected,
    "handshake failed": _handshake_failed,
    "session opening": _session_opening,
    "session started": _session_started,
    "message verified": _message_verified,
    "line delivered": _line_delivered,
    "session failed": _session_failed,
    "session ended": _session_ended,
}
"""Every event of the client that is a step, and its sentence."""


def _date(text: object) -> str:
    return f"{datetime.fromisoformat(str(text)):%Y-%m-%d %H:%M} UTC"


def _short(digits: object) -> str:
    return f"{str(digits)[:8]}…"


def _peer(f: _Fields) -> str:
    return str(f["peer"]).partition(" (")[0]


def _listed(values: object) -> str:
    return ", ".join(map(str, values)) if isinstance(values, (list, tuple)) else str(values)


def _numbers(values: object) -> tuple[int, ...]:
    return values if isinstance(values, tuple) else ()


def _in_words(reason: object) -> str:
    return " ".join(str(reason).split()).rstrip(".")
