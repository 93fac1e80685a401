"""Joining from a program: an identity in a state folder, or in memory alone."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from asynctls.config import SecretText
from asynctls.enrolment.join_string import JoinString
from asynctls.enrolment.joining import ensure_identity_alone, join_in_memory
from asynctls.pki.keys import KeyType

if TYPE_CHECKING:
    from asynctls.config import KeyTypeName
    from asynctls.enrolment.identity import Identity

__all__ = ["join"]


async def join(
    join_string: str,
    folder: str | Path | None = None,
    *,
    key_type: KeyTypeName = "rsa-2048",
    give_up_after_s: float | None = 30.0,
) -> Identity:
    """Gets an identity from the TTP that a join string names.

    Args:
        join_string: what ``asynctls ttp token`` prints, or `Authority.token` returns; a secret.
        folder: where the identity is kept, and found again: with a valid one there the join string
            is ignored. None: in memory alone, where nobody finds it again.
        key_type: the kind of key pair to make.
        give_up_after_s: how long a TTP out of reach is tried, in seconds; None: without end.

    Raises:
        JoinStringError: it is none.
        TTPUnreachableError: no answer for ``give_up_after_s``.
        TTPNotTrustedError: whoever answers is not the TTP that the join string names.
        EnrolmentRefusedError: the TTP said no: token unknown, used, expired or revoked.
        EnrolmentError: as its subclasses say.
        StateError: the folder cannot be used.
    """
    kind = KeyType(key_type)
    limit = None if give_up_after_s is None else timedelta(seconds=give_up_after_s)
    if folder is None:
        return await join_in_memory(
            JoinString.parse(join_string), key_type=kind, give_up_after=limit
        )
    return await ensure_identity_alone(
        Path(folder), join_string=SecretText(join_string), key_type=kind, give_up_after=limit
    )
