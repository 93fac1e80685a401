"""Every setting of every role, declared once: TOML key, option, variable, default, limits, help.

A field is a TOML key of its table; ``settings()`` derives the option and the variable from it.
"""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal

from msgspec import Struct, field

from asynctls.config.about import About
from asynctls.config.address import Address
from asynctls.config.alike import (
    CrlInterval,
    Drain,
    Join,
    JoinFile,
    KeyType,
    KeyTypeName,
    LiveAfterExpiry,
    LogOutput,
    MetricsListen,
    ProfileName,
    Session,
    StaleCRL,
    State,
    state_folder,
)
from asynctls.config.durations import format_duration
from asynctls.config.endpoint import AppChoice, Endpoint
from asynctls.config.limits import (
    CloseTimeout,
    Handshakes,
    HandshakeTimeout,
    Keepalive,
    MaxConnections,
    MaxConnectionsPerAddress,
    MaxMessage,
    QueueBytes,
    QueueMessages,
    ReceiptTimeout,
    SessionTimeout,
)
from asynctls.config.secret_text import SecretText
from asynctls.config.template import check_template
from asynctls.config.urls import LEDGER_URL_WORDS, STATUS_URL_WORDS, is_ledger_url, is_status_url

__all__ = [
    "TABLES",
    "ClientConfig",
    "CostsConfig",
    "DemoConfig",
    "IdentityConfig",
    "ProbeConfig",
    "RoleConfig",
    "ServerConfig",
    "TTPConfig",
]

_SECOND = timedelta(seconds=1)
_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)
_CENTURY = timedelta(days=36525)


class RoleConfig(Struct, frozen=True, kw_only=True):
    """What all tables have in common."""

    log_format: LogOutput = "auto"

    def disagreements(self) -> Iterator[tuple[str, str]]:
        """Each key whose value is fine by itself but not beside another's, and why."""
        return iter(())


class TTPConfig(RoleConfig, frozen=True, kw_only=True):
    """The table ``[ttp]``: the CA daemon."""

    state: State = field(default_factory=lambda: state_folder("ttp"))
    listen: Annotated[Address, About("address that EST and the CRL are served on; port 0: any")] = (
        Address("127.0.0.1", 8440)
    )
    name: Annotated[
        tuple[str, ...],
        About("DNS name or IP address of this TTP (the first one stands in join strings)"),
    ] = ()
    public: Annotated[
        Address | None,
        About("address that others reach this TTP at, if not its name and port: a balancer's", 1),
    ] = None
    root_key_type: Annotated[
        KeyTypeName, About("kind of the root's key pair, made at the first start")
    ] = "rsa-3072"
    issuing_key_type: Annotated[
        KeyTypeName, About("kind of the issuing CA's key pair, made at the first start")
    ] = "rsa-3072"
    root_lifetime: Annotated[
        timedelta, About("lifetime of the root certificate", _SECOND, _CENTURY)
    ] = timedelta(days=3652)
    issuing_lifetime: Annotated[
        timedelta, About("lifetime of the issuing CA's certificate", _SECOND, _CENTURY)
    ] = timedelta(days=730)
    name_constraints: Annotated[
        tuple[str, ...],
        About("DNS domain, IP range or uri:HOST: the issuing CA can certify no name outside them"),
    ] = ()
    key_passphrase_file: Annotated[
        Path | None,
        About("file with the passphrase that the private keys are encrypted with, in one line"),
    ] = None
    crl_lifetime: Annotated[
        timedelta, About("for how long a CRL is current", _SECOND, timedelta(days=365))
    ] = timedelta(hours=24)
    crl_interval: Annotated[
        timedelta, About("how often the CRL is signed anew, revocations apart", _SECOND, 30 * _DAY)
    ] = timedelta(hours=1)
    ledger: Annotated[
        SecretText | None,
        About(
            "URL (postgresql://…) of a ledger that several TTPs share, if not the state folder's; "
            "others see a password in it on a command line"
        ),
    ] = None
    status_listen: Annotated[
        Address | None,
        About(
            "address that CRLs, CA certificates and OCSP are served on by plain HTTP; port 0: any"
        ),
    ] = None
    status_url: Annotated[
        str | None,
        About("public http: URL of what status_listen serves, to stand in every certificate"),
    ] = None
    allow_names: Annotated[
        tuple[str, ...],
        About(
            "names that may be certified: name, *.one.label, .suffix, IP range, URI/*; none: any"
        ),
    ] = ()
    allow_key_types: Annotated[
        tuple[KeyTypeName, ...],
        About("kinds of key that may be certified, each with its least size; none: any"),
    ] = ()
    allow_profiles: Annotated[
        tuple[ProfileName, ...],
        About("what may be certified: server, client, peer; none: any of them"),
    ] = ()
    max_lifetime: Annotated[
        timedelta | None, About("longest lifetime of a role's certificate", _SECOND, _CENTURY)
    ] = None
    require_linking: Annotated[
        bool, About("only requests bound to their TLS connection (RFC 7030, section 3.5)")
    ] = False
    max_connections: MaxConnections = None
    max_connections_per_address: MaxConnectionsPerAddress = None
    handshakes: Handshakes = 64
    handshake_timeout: HandshakeTimeout = timedelta(seconds=10)
    drain: Drain = timedelta(seconds=10)
    metrics_listen: MetricsListen = None

    def disagreements(self) -> Iterator[tuple[str, str]]:
        """A certificate that outlives its issuer's, a CRL that ends before the next is signed.

        A limit that can never be met, a URL that would stand in every certificate and lead nowhere.
        """
        if self.ledger is not None and not is_ledger_url(self.ledger.reveal()):
            yield "ledger", LEDGER_URL_WORDS
        if self.status_url is not None and not is_status_url(self.status_url):
            yield "status_url", STATUS_URL_WORDS
        if self.issuing_lifetime > self.root_lifetime:
            limit = format_duration(self.root_lifetime)
            yield "issuing_lifetime", f"must not be longer than root_lifetime ({limit})"
        if self.crl_interval >= self.crl_lifetime:
            limit = format_duration(self.crl_lifetime)
            yield "crl_interval", f"must be shorter than crl_lifetime ({limit})"
        yield from _too_many_per_address(self)


def _too_many_per_address(config: "TTPConfig | ServerConfig") -> Iterator[tuple[str, str]]:
    most, per_address = config.max_connections, config.max_connections_per_address
    if most is not None and per_address is not None and per_address > most:
        yield "max_connections_per_address", f"must not be more than max_connections ({most})"


class ServerConfig(RoleConfig, frozen=True, kw_only=True):
    """The table ``[server]``; ``tunnel`` has each of its tunnels, if any, as the config of one."""

    state: State = field(default_factory=lambda: state_folder("server"))
    listen: Annotated[Address, About("address that sessions are served on; port 0: any")] = Address(
        "127.0.0.1", 8443
    )
    join: Join = None
    join_file: JoinFile = None
    allow: Annotated[
        tuple[str, ...],
        About(
            "name pattern (DNS or URI SAN) or key (sha256//…) that may connect; 'any': whoever the "
            "TTP issued"
        ),
    ] = ()
    app: Annotated[
        AppChoice,
        About(
            "what the server does: message (sends one, awaits its receipt), echo (sends back), "
            "forward:HOST:PORT or forward:unix:PATH (a tunnel's end: plain mutual TLS), or "
            "module:callable (a coroutine function of yours, imported from the working folder too)"
        ),
    ] = AppChoice("message")
    session: Session = False
    message: Annotated[
        str,
        About(
            "what the app 'message' sends to each client; {name} is the client's, {time} is now "
            "(UTC), {otp} six digits by chance, {{ a brace"
        ),
    ] = "The OTP for transferring Rs 1,00,000 to your friend's account is 256345."
    workers: Annotated[
        int, About("processes that serve, each by itself; 1: this one alone does", 1, 256)
    ] = 1
    key_type: KeyType = "rsa-2048"
    crl_interval: CrlInterval = timedelta(seconds=60)
    stale_crl: StaleCRL = "refuse"
    live_after_expiry: LiveAfterExpiry = "end"
    max_connections: MaxConnections = None
    max_connections_per_address: MaxConnectionsPerAddress = None
    handshakes: Handshakes = 64
    handshake_timeout: HandshakeTimeout = timedelta(seconds=10)
    session_timeout: SessionTimeout = timedelta(seconds=10)
    receipt_timeout: ReceiptTimeout = timedelta(seconds=60)
    close_timeout: CloseTimeout = timedelta(seconds=5)
    reach_timeout: Annotated[
        timedelta, About("how long what is forwarded to may take to be reached", _SECOND, _HOUR)
    ] = timedelta(seconds=10)
    keepalive: Keepalive = timedelta(seconds=60)
    max_message: MaxMessage = 16_777_216
    queue_messages: QueueMessages = 256
    queue_bytes: QueueBytes = 4_194_304
    drain: Drain = timedelta(seconds=10)
    metrics_listen: MetricsListen = None
    tunnel: "tuple[ServerConfig, ...]" = ()

    def disagreements(self) -> Iterator[tuple[str, str]]:
        """A message with a place in it that nothing fills in, a limit that can never be met.

        And a tunnel's setting beside an app that is none.
        """
        yield from _too_many_per_address(self)
        if self.session and self.app.target is None and not self.tunnel:
            yield "session", f"is for a tunnel (app forward:…): the app {self.app} has sessions"
        try:
            check_template(self.message)
        except ValueError as error:
            yield "message", str(error)


class ClientConfig(RoleConfig, frozen=True, kw_only=True):
    """The table ``[client]``; ``tunnel`` as for the server."""

    state: State = field(default_factory=lambda: state_folder("client"))
    connect: Annotated[Address, About("address of the server", least=1)] = Address(
        "127.0.0.1", 8443
    )
    server_name: Annotated[
        str | None, About("name that the server's certificate must have, if not connect's host")
    ] = None
    join: Join = None
    join_file: JoinFile = None
    json: Annotated[bool, About("print messages as JSON, one object a line")] = False
    follow: Annotated[bool, About("stay: connect again whenever a session has ended")] = False
    send: Annotated[
        Literal["-"] | None,
        About("-: send each line of standard input, with a receipt, and end when it ends"),
    ] = None
    explain: Annotated[
        bool,
        About("tell each step as it happens: a sentence, the attack that it stops, its RFC"),
    ] = False
    listen: Annotated[
        Endpoint | None,
        About("HOST:PORT or unix:PATH whose connections are tunnelled to the server, by plain TLS"),
    ] = None
    session: Session = False
    key_type: KeyType = "rsa-2048"
    crl_interval: CrlInterval = timedelta(seconds=60)
    stale_crl: StaleCRL = "refuse"
    live_after_expiry: LiveAfterExpiry = "end"
    connect_timeout: Annotated[
        timedelta, About("how long connecting may take, TLS handshake included", _SECOND, _HOUR)
    ] = timedelta(seconds=10)
    session_timeout: SessionTimeout = timedelta(seconds=10)
    receipt_timeout: ReceiptTimeout = timedelta(seconds=60)
    close_timeout: CloseTimeout = timedelta(seconds=5)
    keepalive: Keepalive = timedelta(seconds=60)
    max_connections: MaxConnections = None
    max_message: MaxMessage = 16_777_216
    queue_messages: QueueMessages = 256
    queue_bytes: QueueBytes = 4_194_304
    drain: Drain = timedelta(seconds=10)
    metrics_listen: MetricsListen = None
    tunnel: "tuple[ClientConfig, ...]" = ()

    def disagreements(self) -> Iterator[tuple[str, str]]:
        """Standard input is for one thing, and a tunnel has no messages.

        And a client that does not stay is gone before anybody reads its metrics.
        """
        stays = self.follow or self.listen is not None or self.tunnel
        if self.metrics_listen is not None and not stays:
            yield "metrics_listen", "is for a client that stays: set follow as well"
        if self.send is not None and str(self.join_file) == "-":
            yield "send", "join_file takes standard input already: name a file in one of the two"
        if self.session and self.listen is None and not self.tunnel:
            yield "session", "is for a tunnel (listen): a client without one has a session"
        if self.listen is not None:
            for name in ("json", "follow", "send", "explain"):
                if getattr(self, name):
                    yield name, "stands beside listen: a tunnel has no messages"


class IdentityConfig(RoleConfig, frozen=True, kw_only=True):
    """The table ``[identity]``; ``state`` None: the client's folder, else the server's."""

    state: Annotated[
        Path | None, About("state folder that holds the identity: the client's, else the server's")
    ] = None
    join: Join = None
    join_file: JoinFile = None
    key_type: KeyType = "rsa-2048"
    crl_interval: CrlInterval = timedelta(seconds=60)
    on_renew: Annotated[
        str | None,
        About("command (for the shell) that tells a program to load the files that have changed"),
    ] = None
    metrics_listen: MetricsListen = None


class DemoConfig(RoleConfig, frozen=True, kw_only=True):
    """The table ``[demo]``; its three roles have their state in folders below ``state``."""

    state: State = field(default_factory=lambda: state_folder("demo"))


class CostsConfig(RoleConfig, frozen=True, kw_only=True):
    """The table ``[costs]``: an account of a run of its own, or of a connection to a server."""

    connect: Annotated[
        Address | None, About("server to account for; without it, three roles of its own", least=1)
    ] = None
    server_name: Annotated[
        str | None, About("name that the server's certificate must have; without it, any name")
    ] = None
    state: Annotated[
        Path, About("state folder with the identity to connect with, if not the client's")
    ] = field(default_factory=lambda: state_folder("client"))
    html: Annotated[Path | None, About("file to write the page to: figures, ladder, charts")] = None
    json: Annotated[bool, About("print one JSON object with every figure")] = False

    def disagreements(self) -> Iterator[tuple[str, str]]:
        """Only who connects asks a server for its name."""
        if self.server_name is not None and self.connect is None:
            yield "server_name", "is for a server of others: set connect as well"


class ProbeConfig(RoleConfig, frozen=True, kw_only=True):
    """The table ``[probe]``: attacks on a live server, by the identity in ``state``."""

    state: Annotated[
        Path, About("state folder that holds the identity that the attacks are tried with")
    ] = field(default_factory=lambda: state_folder("client"))
    server_name: Annotated[
        str | None, About("name that the server's certificate must have; none: any name does")
    ] = None
    ttp_state: Annotated[
        Path | None,
        About("state folder of the server's TTP: tries also what takes certificates of the CA's"),
    ] = None
    exhaust: Annotated[bool, About("try also what loads the server")] = False
    json: Annotated[bool, About("print the findings as JSON, one object a line")] = False


TABLES: Mapping[str, type[RoleConfig]] = MappingProxyType(
    {
        "ttp": TTPConfig,
        "server": ServerConfig,
        "client": ClientConfig,
        "identity": IdentityConfig,
        "demo": DemoConfig,
        "costs": CostsConfig,
        "probe": ProbeConfig,
    }
)
