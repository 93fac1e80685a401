"""What the roles logged, as sentences: who did what, one line a step."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from asynctls.words import key_words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from asynctls.demo.processes import Event

__all__ = ["Line", "line_of"]


@dataclass(frozen=True, slots=True)
class Line:
    """One step: who, and what; ``stands_out`` for what a person would see in that terminal."""

    role: str
    words: str
    stands_out: bool = False


def line_of(event: Event) -> Line | None:
    """The sentence for an event; None for what a demo need not tell."""
    if event.name == "said":
        return Line(event.role, str(event.fields["text"]), stands_out=True)
    sentence = _SENTENCES.get(f"{event.role}: {event.name}") or _SENTENCES.get(event.name)
    if sentence is not None:
        return Line(event.role, sentence(event.fields))
    if event.fields.get("level") in ("warning", "error", "critical"):
        details = ", ".join(
            f"{key}: {value}" for key, value in event.fields.items() if key != "level"
        )
        return Line(event.role, f"{event.name} ({details})")
    return None


def _date(text: object) -> str:
    return f"{datetime.fromisoformat(str(text)):%Y-%m-%d %H:%M} UTC"


def _milliseconds(seconds: object) -> str:
    return f"{float(str(seconds)) * 1000:.0f} ms"


_SENTENCES: Mapping[str, Callable[[Mapping[str, object]], str]] = {
    "CA made": lambda f: f"CA certificate made at {f['path']}, valid for {f['valid_days']} days",
    "CA certificate found": lambda f: (
        f"CA certificate found at {f['path']}, valid for {f['valid_days']} days"
    ),
    "listening": lambda f: f"listens on {f['address']}",
    "key pair made": lambda f: (
        f"made its {key_words(str(f['key_type']))} key pair ({_milliseconds(f['seconds'])})"
    ),
    "joining": lambda f: (
        f"asks the TTP at {f['ttp']} for a certificate: root pinned, one-time token, CSR"
    ),
    "issued": lambda f: f"issued certificate {str(f['serial'])[:8]}… to {f['name']}",
    "joined": lambda f: (
        "has its certificate, verified against the pinned root; "
        f"valid until {_date(f['not_after'])}"
    ),
    "connected": lambda f: (
        f"verified {_short(f['peer'])}'s certificate: mutual {f['version']}, {f['cipher']}"
    ),
    "client: session started": lambda f: (
        f"shared a fresh secret key inside the channel; {_short(f['peer'])} proved that it has it"
    ),
    "server: session started": lambda f: (
        f"verified {_short(f['peer'])}'s certificate and the HMAC under the shared secret key"
    ),
    "message verified": lambda _: "received a message; its HMAC is right; a receipt goes back",
    "message sent": lambda f: f"message sent: {_short(f['peer'])}'s authenticated receipt is in",
    "session ended": lambda f: f"session with {_short(f['peer'])} ended: {f['reason']}",
}


def _short(peer: object) -> str:
    return str(peer).partition(" (")[0]
