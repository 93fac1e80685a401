"""Settings that several tables have alike, and the words that their values can be."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from platformdirs import user_state_path

from asynctls.config.about import About
from asynctls.config.endpoint import Endpoint
from asynctls.config.secret_text import SecretText

__all__ = [
    "CrlInterval",
    "Drain",
    "Join",
    "JoinFile",
    "KeyType",
    "KeyTypeName",
    "LiveAfterExpiry",
    "LiveAfterExpiryName",
    "LogFormat",
    "LogOutput",
    "MetricsListen",
    "ProfileName",
    "Session",
    "StaleCRL",
    "StaleCRLName",
    "State",
    "state_folder",
]

KeyTypeName: TypeAlias = Literal["rsa-2048", "rsa-3072", "rsa-4096", "ecdsa-p256", "ecdsa-p384"]
ProfileName: TypeAlias = Literal["server", "client", "peer"]
LiveAfterExpiryName: TypeAlias = Literal["end", "keep"]
StaleCRLName: TypeAlias = Literal["refuse", "go-on"]
LogFormat: TypeAlias = Literal["auto", "console", "json"]

_SECOND = timedelta(seconds=1)
_HOUR = timedelta(hours=1)

State: TypeAlias = Annotated[
    Path, About("the role's state folder: keys, certificates, its lock (made with mode 0700)")
]
LogOutput: TypeAlias = Annotated[
    LogFormat, About("console (for people), json (a line an event), auto (json when no terminal)")
]
Join: TypeAlias = Annotated[
    SecretText | None,
    About("the join string from 'asynctls ttp token': a secret, others see it on a command line"),
]
JoinFile: TypeAlias = Annotated[
    Path | None, About("file that holds the join string; - is standard input")
]
KeyType: TypeAlias = Annotated[
    KeyTypeName, About("kind of the key pair that is made when the role joins")
]
CrlInterval: TypeAlias = Annotated[
    timedelta, About("how often the TTP's CRL is fetched", _SECOND, timedelta(days=1))
]
StaleCRL: TypeAlias = Annotated[
    StaleCRLName,
    About("once the CRL has ended and the TTP is out of reach: refuse everybody, or go on with it"),
]
LiveAfterExpiry: TypeAlias = Annotated[
    LiveAfterExpiryName,
    About("a connection that is live when a certificate of its two ends: ends with it, or is kept"),
]
Session: TypeAlias = Annotated[
    bool, About("a tunnel carries each connection in a session of its own: set it on both ends")
]
MetricsListen: TypeAlias = Annotated[
    Endpoint | None,
    About("HOST:PORT or unix:PATH that Prometheus metrics are served on, by plain HTTP"),
]
Drain: TypeAlias = Annotated[
    timedelta,
    About(
        "how long what is under way may go on after SIGTERM; 0s: not at all",
        0 * _SECOND,
        timedelta(hours=1),
    ),
]


def state_folder(role: str) -> Path:
    """Where a role keeps its state by default: ``<platform's state folder>/asynctls/<role>``."""
    return user_state_path("asynctls", appauthor=False) / role
