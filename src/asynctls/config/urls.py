"""What the URLs among the settings look like (RFC 3986), and the words for one that does not."""

import re

__all__ = ["LEDGER_URL_WORDS", "STATUS_URL_WORDS", "is_ledger_url", "is_status_url"]

LEDGER_URL_WORDS = "must be postgresql://USER:PASSWORD@HOST/DATABASE"
STATUS_URL_WORDS = (
    "must be like http://ca.example.org or http://ca.example.org:8441/pki: plain http (a program "
    "that looks a certificate up cannot verify another one for it), no query, no slash at its end"
)

_POSTGRES = ("postgresql://", "postgres://")
# Host or bracketed IPv6 address, port, path segments.
_STATUS_URL = re.compile(
    r"http://(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~-]+)*", re.ASCII
)


def is_ledger_url(text: str) -> bool:
    """Whether ``text`` names a PostgreSQL database; its driver reads the rest of it."""
    return text.startswith(_POSTGRES)


def is_status_url(text: str) -> bool:
    """Whether ``text`` can stand in every certificate, for anybody to look its status up there."""
    return _STATUS_URL.fullmatch(text) is not None
