"""Tokens: how one is made, recognised and judged, and how guessing is slowed down.

A token is an id, which may be seen, and a secret of 32 random bytes, of which the ledger keeps only
the SHA-256: with that much entropy a slow hash would add nothing. Both are the user and password of
HTTP Basic (RFC 7617; RFC 7030, section 3.2.3). An unknown id and a wrong secret get one answer at
one cost, so that ids cannot be found out.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import time
from collections import OrderedDict, deque
from typing import TYPE_CHECKING

from asynctls.mac import Secret, sha256
from asynctls.ttp.policy import Refusal, Rule

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from asynctls.ttp.records import StoredToken
    from asynctls.ttp.uses import Uses

__all__ = ["UNKNOWN", "FailureLimit", "RecordLimit", "is_secret_of", "judge", "new_token"]

_SECRET_BYTES = 32
_ID_BYTES = 6
_NOBODY = sha256(secrets.token_bytes(_SECRET_BYTES))

UNKNOWN = Refusal(
    Rule.TOKEN_UNKNOWN,
    "there is no such token, or its secret is another one; ask for a new join string",
)


def new_token() -> tuple[str, Secret, bytes]:
    """A fresh token: its id, its secret as the text to be sent (base64url), what to store of it."""
    secret = secrets.token_urlsafe(_SECRET_BYTES).encode()
    return secrets.token_hex(_ID_BYTES), Secret(secret), sha256(secret)


def is_secret_of(token: StoredToken | None, secret: str) -> bool:
    """Whether ``secret`` is the token's, in the same time whether or not there is a token."""
    stored = _NOBODY if token is None else token.secret_sha256
    presented = sha256(secret.encode(errors="surrogatepass"))
    return hmac.compare_digest(presented, stored) and token is not None


def judge(token: StoredToken, uses: Uses, now: datetime) -> Refusal | None:
    """Why somebody who knows a token's secret gets nothing for a key, if so.

    Each key gets one certificate, and that one again.

    Args:
        token: the token.
        uses: what there is of it by the time that the key asks.
        now: the time.
    """
    again = uses.again
    if again is None and uses.waits is None and uses.others >= token.uses:
        return Refusal(Rule.TOKEN_USED, _used(token, uses))
    if again is not None and again.revoked_at is not None:
        return Refusal(
            Rule.CERTIFICATE_REVOKED,
            f"certificate {again.serial} of {again.grant.name}, which this token led to, was "
            f"revoked on {_when(again.revoked_at)}; join again with a new token",
        )
    if token.revoked_at is not None:
        return Refusal(
            Rule.TOKEN_REVOKED,
            f"the token for {token.grant.name} was revoked on {_when(token.revoked_at)}; ask for a "
            "new join string",
        )
    if now >= token.expires_at:
        return Refusal(
            Rule.TOKEN_EXPIRED,
            f"the token for {token.grant.name} could be used until {_when(token.expires_at)}; ask "
            "for a new join string",
        )
    if again is not None and now > again.not_after:
        return Refusal(
            Rule.CERTIFICATE_EXPIRED,
            f"certificate {again.serial} of {again.grant.name}, which this token led to, expired "
            f"on {_when(again.not_after)}; join again with a new token",
        )
    return None


def _used(token: StoredToken, uses: Uses) -> str:
    how = "already, with another key"
    if token.uses > 1:
        how = f"{token.uses} times already, with other keys"
    led_to = ", for a request that waits for approval"
    if uses.led_to:
        led_to = f", for certificate {', '.join(uses.led_to)}"
    return (
        f"the token {token.token_id} for {token.grant.name} was used {how}{led_to}; if that was "
        "not you, have it revoked and ask for a new join string"
    )


class FailureLimit:
    """How many wrong tokens an address may try; a right one waits out the same minute.

    A right secret from an address that has used up its tries is refused as well, since else the
    limit would not limit guessing. It is counted for each IPv4 address and each IPv6 /64, which is
    the least that one subscriber has. Bounded: beyond ``addresses`` the one that failed longest ago
    is forgotten. The limit protects the ledger, which records each failure, more than the secret,
    which nobody guesses.
    """

    def __init__(
        self,
        *,
        failures: int = 10,
        window_s: float = 60.0,
        addresses: int = 4096,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._failures = failures
        self._window_s = window_s
        self._addresses = addresses
        self._clock = clock
        self._seen: OrderedDict[str, deque[float]] = OrderedDict()

    def retry_after_s(self, address: str) -> float:
        """How long ``address`` (a host, with or without a port) must wait; 0 when it need not."""
        if not self._seen:
            return 0.0
        times = self._seen.get(_block(address))
        if times is None or len(times) < self._failures:
            return 0.0
        return max(0.0, times[0] + self._window_s - self._clock())

    def failed(self, address: str) -> None:
        """Counts one failure."""
        block = _block(address)
        self._seen.setdefault(block, deque(maxlen=self._failures)).append(self._clock())
        self._seen.move_to_end(block)
        if len(self._seen) > self._addresses:
            self._seen.popitem(last=False)


class RecordLimit:
    """How many refusals of one credential come into the ledger; those beyond are counted.

    Who holds a token's secret or a certificate can be refused as often as a network allows, long
    after either has ended, and each row is kept for good. Bounded: beyond ``credentials`` the one
    that was refused longest ago is forgotten.
    """

    def __init__(
        self,
        *,
        rows: int = 10,
        window_s: float = 3600.0,
        credentials: int = 4096,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rows = rows
        self._window_s = window_s
        self._credentials = credentials
        self._clock = clock
        self._times: OrderedDict[str, deque[float]] = OrderedDict()
        self._left_out: dict[str, int] = {}

    def take(self, credential: str) -> int | None:
        """How many refusals had no row since the last that had one; None: nor has this one."""
        now = self._clock()
        times = self._times.setdefault(credential, deque(maxlen=self._rows))
        self._times.move_to_end(credential)
        if len(self._times) > self._credentials:
            forgotten, _ = self._times.popitem(last=False)
            self._left_out.pop(forgotten, None)
        if len(times) == self._rows and now < times[0] + self._window_s:
            self._left_out[credential] = self._left_out.get(credential, 0) + 1
            return None
        times.append(now)
        return self._left_out.pop(credential, 0)


def _block(address: str) -> str:
    host = address.removeprefix("[").partition("]")[0] if address.startswith("[") else address
    if host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        ip = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return str(ip.ipv4_mapped)
        return str(ipaddress.ip_network((ip, 64), strict=False))
    return str(ip)


def _when(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"
