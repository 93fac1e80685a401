"""The client role: connect, receive, verify, print, exit; or stay, and send what it is given."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from asynctls.admission import LiveAfterExpiry, StaleCRL
from asynctls.client.connecting import open_session
from asynctls.client.conversation import Conversation
from asynctls.client.following import Follower
from asynctls.client.lines import Lines
from asynctls.client.outbox import Outbox
from asynctls.client.printing import Printer
from asynctls.client.tunnel import Tunnel, TunnelService, tunnels_of
from asynctls.enrolment.health import identity_troubles
from asynctls.enrolment.joining import ensure_identity_alone
from asynctls.enrolment.keeper import Keeper
from asynctls.errors import ConfigError, EnrolmentError, Fault
from asynctls.logger import get_logger
from asynctls.pki.keys import KeyType
from asynctls.runtime import Connections, Reload, Services, Signals, serve_until_stopped
from asynctls.runtime.observing import observed
from asynctls.runtime.session_limits import limits_of
from asynctls.session import ALPN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable
    from contextlib import AbstractAsyncContextManager

    from prometheus_client.registry import Collector

    from asynctls.config import ClientConfig
    from asynctls.enrolment.identity import Identity
    from asynctls.runtime import Take
    from asynctls.runtime.observing import Observer
    from asynctls.session import Session

__all__ = ["run"]

log = get_logger()

_GIVE_UP_AFTER = timedelta(seconds=30)
_STANDARD_INPUT = 0


async def run(config: ClientConfig, load: Callable[[], ClientConfig]) -> None:
    """The command ``asynctls client``: prints each message on standard output.

    With ``send`` it sends lines of standard input; with ``follow`` it stays and connects again;
    with ``listen`` it is the client's end of a tunnel instead.

    Args:
        config: its settings.
        load: reads them again, for the reload of a client that stays; blocks.

    Raises:
        ConfigError: where the tunnel is to listen, it cannot.
        EnrolmentError: there is no identity, and none could be had.
        ServerUnreachableError: nobody answers.
        HandshakeError: we refused the server, or it us; the message says what to do.
        SessionError: the session ended otherwise than by the server's CLOSE, or before all was
            sent.
        InputError: what was to be sent cannot be read or sent.
    """
    tunnels = tunnels_of(config)
    if tunnels:
        await _tunnel(Reload(config, load), tunnels)
        return
    if config.follow:
        await _follow(Reload(config, load))
        return
    identity = await _identity(config, give_up_after=_GIVE_UP_AFTER)
    keeper = _keeper(config, identity)
    async with keeper, _open_session(config, keeper) as session:
        await Conversation(session, Printer(as_json=config.json), _outbox(config)).run()


async def _follow(reload: Reload[ClientConfig]) -> None:
    async with _staying(reload, alpn=ALPN) as staying:
        if staying is None:
            return
        keeper, signals, observer = staying
        reload.started(partial(_identity_anew, keeper), then=keeper.refresh_crl)
        follower = Follower(
            lambda: _open_session(reload.config, keeper, observer),
            printer=Printer(as_json=reload.config.json),
            outbox=_outbox(reload.config),
            signals=signals,
            drain=lambda: reload.config.drain,
        )
        await follower.run()


async def _tunnel(reload: Reload[ClientConfig], tunnels: Iterable[TunnelService]) -> None:
    async with _staying(reload, alpn=None) as staying:
        if staying is None:
            return
        keeper, signals, observer = staying

        def start(service: TunnelService) -> AbstractAsyncContextManager[Tunnel]:
            return nullcontext(Tunnel(service, keeper=keeper, observer=observer))

        async with (
            Connections(observer=observer) as connections,
            Services(connections, start, role="client") as listening,
        ):
            async with listening.changing(tunnels) as take:
                take()

            def tunnels_anew(config: ClientConfig) -> AbstractAsyncContextManager[Take]:
                return listening.changing(_tunnels_still(config))

            reload.started(partial(_identity_anew, keeper), tunnels_anew, then=keeper.refresh_crl)
            await serve_until_stopped(
                signals, listening, connections, drain=lambda: reload.config.drain
            )


def _tunnels_still(config: ClientConfig) -> tuple[TunnelService, ...]:
    tunnels = tunnels_of(config)
    if not tunnels:
        problem = "is set no more: a client that is to be no tunnel needs a restart"
        raise ConfigError(Fault("client.listen", "reload", problem))
    return tunnels


def _identity_anew(keeper: Keeper, config: ClientConfig) -> AbstractAsyncContextManager[Take]:
    return keeper.reloading(crl_interval=config.crl_interval, stale_crl=StaleCRL(config.stale_crl))


@asynccontextmanager
async def _staying(
    reload: Reload[ClientConfig], *, alpn: str | None
) -> AsyncIterator[tuple[Keeper, Signals, Observer] | None]:
    """What a client that stays has; None: it was told to stop before it had it."""
    keeper: Keeper | None = None
    config = reload.config
    async with Signals(on_reload=reload.run) as signals, AsyncExitStack() as stack:
        identity = await signals.unless_stopping(_identity(config, give_up_after=None))
        if identity is not None:
            # It waits for the TTP's first answer: not when we are told to stop meanwhile.
            keeper = await signals.unless_stopping(
                stack.enter_async_context(_keeper(config, identity))
            )
        if keeper is None:
            yield None
            return
        # Now, so that what is wrong with key or certificate ends the start, not each connection.
        await keeper.client_credentials(alpn=alpn)
        observer = await stack.enter_async_context(
            observed(
                config.metrics_listen,
                role="client",
                collect=partial(_collector, keeper),
                troubles=partial(identity_troubles, keeper),
            )
        )
        yield keeper, signals, observer


async def _identity(config: ClientConfig, *, give_up_after: timedelta | None) -> Identity:
    try:
        identity = await ensure_identity_alone(
            config.state,
            join_string=config.join,
            join_file=config.join_file,
            key_type=KeyType(config.key_type),
            give_up_after=give_up_after,
        )
    except EnrolmentError as error:
        log.debug("not joined", error=error)
        raise
    if identity.expired(datetime.now(UTC)):
        log.warning(
            "our certificate has expired",
            name=identity.name,
            expired_on=identity.not_after.isoformat(),
            advice=f"connecting all the same; join again: asynctls ttp token {identity.name}",
        )
    return identity


def _keeper(config: ClientConfig, identity: Identity) -> Keeper:
    return Keeper(
        identity,
        crl_interval=config.crl_interval,
        stale_crl=StaleCRL(config.stale_crl),
    )


def _collector(keeper: Keeper) -> Collector:
    # Only a client with metrics pays for importing what makes them.
    from asynctls.enrolment.metrics import IdentityMetrics  # noqa: PLC0415

    return IdentityMetrics(keeper)


def _open_session(
    config: ClientConfig, keeper: Keeper, observer: Observer | None = None
) -> AbstractAsyncContextManager[Session]:
    return open_session(
        keeper,
        config.connect,
        server_name=config.server_name,
        timeout_s=config.connect_timeout.total_seconds(),
        keepalive_s=config.keepalive.total_seconds(),
        limits=limits_of(config),
        live_after_expiry=LiveAfterExpiry(config.live_after_expiry),
        observer=observer,
    )


def _outbox(config: ClientConfig) -> Outbox | None:
    return None if config.send is None else Outbox(Lines(_STANDARD_INPUT))
