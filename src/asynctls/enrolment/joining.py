"""Joining: from a join string to an identity on disk, whatever is interrupted on the way.

Connection 1 gets the pinned root, with nothing verified and nothing secret said. On connection 2
the TTP is verified, the token is shown, and the certificate comes back. The key pair is on disk
before that, so a try that ended anywhere is simply made again: same token, same key, same
certificate.
"""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from asynctls.config import read_join
from asynctls.enrolment import bootstrap, crls, est_client
from asynctls.enrolment.backoff import delays
from asynctls.enrolment.clock import check_dates, disagreement, utc_now
from asynctls.enrolment.identity import Identity, store
from asynctls.enrolment.join_string import JoinString
from asynctls.enrolment.joining_key import keep_joining_key, read_joining_key
from asynctls.enrolment.texts import Joined
from asynctls.errors import (
    ClockError,
    EnrolmentPendingError,
    IdentityError,
    TTPNotTrustedError,
    TTPUnreachableError,
)
from asynctls.logger import get_logger
from asynctls.pki.certificates import to_pem
from asynctls.pki.keys import KeyType, PrivateKey, generate
from asynctls.pki.names import canonical_name, common_name_of, identity_name
from asynctls.state import hold_state_folder, make_private_folder

if TYPE_CHECKING:
    from datetime import datetime, timedelta
    from pathlib import Path

    from cryptography import x509

    from asynctls.config import SecretText
    from asynctls.pki.status import RevocationList

__all__ = ["ensure_identity", "ensure_identity_alone", "join", "join_in_memory"]

log = get_logger()

_FIRST_DELAY_S = 0.5
_LONGEST_DELAY_S = 30.0


async def ensure_identity(
    folder: Path,
    *,
    join_string: SecretText | None = None,
    join_file: Path | None = None,
    key_type: KeyType,
    give_up_after: timedelta | None,
) -> Identity:
    """The identity in ``folder``; joins where there is none, or only one that has expired.

    A valid identity makes a join string superfluous: its file is not even read, and may be gone.
    Without one an expired identity is given back, for the caller to decide.

    Args:
        folder: The role's state folder.
        join_string: What to join with, if need be.
        join_file: The file that holds it (``-``: standard input).
        key_type: The kind of key pair to make.
        give_up_after: How long a TTP out of reach is tried; None: without end.

    Raises:
        IdentityError: There is no identity and no join string, or what is there cannot be used.
        ConfigError: The file of the join string cannot be read.
        EnrolmentError: As ``join``.
    """
    held = await asyncio.to_thread(Identity.find, folder)
    is_given = join_string is not None or join_file is not None
    if is_given and (held is None or held.expired(utc_now())):
        text = await _read_join(join_string, join_file)
        if text is not None:
            return await join(
                folder,
                JoinString.parse(text.reveal()),
                key_type=key_type,
                give_up_after=give_up_after,
            )
    if held is None:
        raise IdentityError(
            f"there is no identity in {folder}, and no join string: get one with "
            "'asynctls ttp token NAME' and give it with --join-file"
        )
    log.info(
        "identity found",
        name=held.name,
        serial=held.serial,
        not_after=held.not_after.isoformat(),
        path=str(held.certificate_file),
    )
    if is_given:
        log.info("join string ignored", reason="the identity is valid")
    return held


async def ensure_identity_alone(
    folder: Path,
    *,
    join_string: SecretText | None = None,
    join_file: Path | None = None,
    key_type: KeyType,
    give_up_after: timedelta | None,
) -> Identity:
    """As ``ensure_identity``, for whoever does not hold the state folder: it is held to join.

    Two at once would use one token with two keys. A valid identity is given back without the lock,
    since a daemon may be using it.

    Raises:
        StateLockedError: Another process holds the folder.
    """
    ensure = partial(
        ensure_identity,
        folder,
        join_string=join_string,
        join_file=join_file,
        key_type=key_type,
        give_up_after=give_up_after,
    )
    held = await asyncio.to_thread(Identity.find, folder)
    is_valid = held is not None and not held.expired(utc_now())
    if is_valid or (join_string is None and join_file is None):
        return await ensure()
    async with hold_state_folder(folder):
        return await ensure()


async def _read_join(join_string: SecretText | None, join_file: Path | None) -> SecretText | None:
    """In a thread that nothing waits for: Ctrl-C counts though standard input never ends."""
    answer: Future[SecretText | None] = Future()
    answer.set_running_or_notify_cancel()

    def read() -> None:
        try:
            answer.set_result(read_join(join_string, join_file))
        except Exception as error:  # noqa: BLE001 - handed on to whoever waits
            answer.set_exception(error)

    threading.Thread(target=read, name="join string", daemon=True).start()
    return await asyncio.wrap_future(answer)


async def join(
    folder: Path,
    join_string: JoinString,
    *,
    key_type: KeyType,
    give_up_after: timedelta | None,
) -> Identity:
    """Gets an identity from the TTP and keeps it in ``folder``.

    Args:
        folder: The role's state folder; made where it is missing.
        join_string: Where, by which token, and which root.
        key_type: The kind of key pair to make.
        give_up_after: How long a TTP out of reach is tried; None: without end.

    Raises:
        TTPUnreachableError: No answer for ``give_up_after``.
        EnrolmentPendingError: Nobody approved the request for ``give_up_after``.
        TTPNotTrustedError: Whoever answers is not the TTP that the join string names.
        EnrolmentRefusedError: The TTP said no: token unknown, used, expired or revoked …
        ClockError: This clock and the TTP's disagree, by how much.
        IdentityError: The folder holds another name's identity, or one that cannot be used.
        StateError: The folder cannot be written.
    """
    await asyncio.to_thread(make_private_folder, folder)
    held = await asyncio.to_thread(Identity.find, folder)
    hint = None if join_string.name is None else canonical_name(join_string.name)
    if held is not None and hint is not None and hint not in held.sans:
        raise _another_name(folder, held=held.name, granted=hint)
    key = await _key_pair(folder, join_string.token_id, key_type)
    log.info("joining", ttp=str(join_string.address))
    started = time.perf_counter()
    granted = await _until_answered(join_string, key, give_up_after)
    name = identity_name(granted.certificate)
    if held is not None and held.name != name:
        raise _another_name(folder, held=held.name, granted=name)
    joined = granted.joined(join_string)
    identity = await asyncio.to_thread(store, folder, joined)
    log.info(
        "joined",
        name=identity.name,
        serial=identity.serial,
        not_after=identity.not_after.isoformat(),
        path=str(identity.certificate_file),
        seconds=round(time.perf_counter() - started, 3),
    )
    return identity


async def join_in_memory(
    join_string: JoinString, *, key_type: KeyType, give_up_after: timedelta | None
) -> Identity:
    """As ``join``, with nothing on disk: a try that is given up has used up the token."""
    key = await generate(key_type)
    log.info("joining", ttp=str(join_string.address))
    granted = await _until_answered(join_string, key, give_up_after)
    identity = await asyncio.to_thread(Identity.in_memory, key, granted.joined(join_string))
    log.info(
        "joined",
        name=identity.name,
        serial=identity.serial,
        not_after=identity.not_after.isoformat(),
        path=str(identity.store),
    )
    return identity


class _Granted(msgspec.Struct, frozen=True):
    certificate: x509.Certificate
    issuing: tuple[x509.Certificate, ...]
    root: x509.Certificate
    crls: tuple[RevocationList, ...]

    def joined(self, join_string: JoinString) -> Joined:
        """The identity that it makes, all but its key."""
        return Joined.of(
            self.certificate,
            issuing=self.issuing,
            root=self.root,
            crl=crls.to_pem(self.crls),
            ttp=join_string.address,
        )


async def _key_pair(folder: Path, token_id: str, key_type: KeyType) -> PrivateKey:
    waiting = await asyncio.to_thread(read_joining_key, folder, token_id)
    if waiting is not None:
        log.info("key pair found", reason="an earlier try with this token made it")
        return waiting
    started = time.perf_counter()
    key = await generate(key_type)
    seconds = time.perf_counter() - started
    await asyncio.to_thread(keep_joining_key, folder, key, token_id)
    log.info("key pair made", key_type=str(key_type), seconds=round(seconds, 3))
    return key


async def _until_answered(
    join_string: JoinString, key: PrivateKey, give_up_after: timedelta | None
) -> _Granted:
    limit_s = None if give_up_after is None else give_up_after.total_seconds()
    timeout = asyncio.timeout(limit_s)
    last: TTPUnreachableError | EnrolmentPendingError | None = None
    try:
        async with timeout:
            for delay_s in delays(_FIRST_DELAY_S, _LONGEST_DELAY_S):
                try:
                    return await _try(join_string, key)
                except TTPUnreachableError as error:
                    last = error
                    log.warning(
                        "ttp unreachable",
                        ttp=str(join_string.address),
                        reason=str(error),
                        retry_in_s=round(delay_s, 1),
                    )
                except EnrolmentPendingError as error:
                    if not isinstance(last, EnrolmentPendingError):
                        log.warning(
                            "approval awaited", ttp=str(join_string.address), reason=str(error)
                        )
                    last = error
                    # RFC 7030, section 4.2.3: not sooner than it says.
                    delay_s = error.retry_after_s  # noqa: PLW2901
                await asyncio.sleep(delay_s)
    except TimeoutError as error:
        if not timeout.expired():
            raise
        if isinstance(last, EnrolmentPendingError):
            raise EnrolmentPendingError(
                f"the TTP at {join_string.address} waits for somebody's approval ({last}); run "
                "this again then, with the same join string: the key pair is kept",
                retry_after_s=last.retry_after_s,
            ) from error
        raise TTPUnreachableError(
            f"the TTP at {join_string.address} did not answer within {limit_s:g} seconds "
            f"({last or 'no answer yet'}); is 'asynctls ttp' running there? The join string can "
            "be used again until its token expires"
        ) from error
    raise AssertionError("the delays never end")


async def _try(join_string: JoinString, key: PrivateKey) -> _Granted:
    found = await bootstrap.fetch_root(join_string.address, join_string.root_sha256)
    try:
        check_dates("the TTP's root certificate", found.root, now=utc_now())
        log.debug("root pinned", ttp=str(join_string.address), sha256=join_string.root_sha256.hex())
        connection = est_client.connect(join_string.address, trust=to_pem(found.root))
        async with connection as ttp:
            now = utc_now()
            issuing = await est_client.fetch_ca_certificates(ttp, root=found.root, now=now)
            log.debug(
                "TTP verified",
                ttp=str(join_string.address),
                issuing=[common_name_of(each.subject) for each in issuing],
            )
            certificate = await est_client.simple_enroll(
                ttp, key, token_id=join_string.token_id, secret=join_string.secret
            )
            issuing = est_client.issuer_first(certificate, issuing)
            if certificate.public_key() != key.public_key():
                raise TTPNotTrustedError(
                    "the certificate that the TTP sent is for another key than ours"
                )
            check_dates("the new certificate", certificate, now=utc_now())
            lists = await crls.fetch(ttp, root=found.root, issuing=issuing)
    except ClockError as error:
        raise _which_clock(error, found.said_date) from error
    return _Granted(certificate, issuing, found.root, lists)


def _which_clock(error: ClockError, said: datetime | None) -> ClockError | TTPNotTrustedError:
    """Something of the TTP's is not valid now: is it this clock, or is it the TTP?

    What time the other side says it is nobody vouches for; it only chooses the words.
    """
    difference = disagreement(utc_now(), said)
    if difference is None:
        return TTPNotTrustedError(f"{error}; the two clocks agree, so the TTP has to see to it")
    return ClockError(f"{error}; {difference}: set this clock and join again")


def _another_name(folder: Path, *, held: str, granted: str) -> IdentityError:
    return IdentityError(
        f"{folder} holds the identity {held!r}, and this token is for {granted!r}: use a token for "
        f"{held!r}, or another state folder"
    )
