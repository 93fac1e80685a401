"""How many rows, and how many enrolments, a second the ledger takes: run me as a script.

On SQLite, and on a PostgreSQL of its own with one TTP and with two; one request after another, and
16 at a time, which share commits. An enrolment is the authority's part: token, policy, signature,
row, commit; no TLS. Absolute figures belong to one machine and its disk.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[2]))

import structlog

from asynctls.config import SecretText, TTPConfig
from asynctls.pki.keys import KeyType, generate_now
from asynctls.pki.profiles import Profile
from asynctls.pki.requests import build_request
from asynctls.ttp.authority import Authority
from asynctls.ttp.backup import back_up, restore
from asynctls.ttp.ledger import Ledger
from asynctls.ttp.schema import Kind, RefusalBody, row_of
from tests.postgresql import PostgreSQL

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

HOUR = timedelta(hours=1)
ROW = row_of(
    Kind.ENROLMENT_REFUSED, RefusalBody(rule="bench", reason="bench", address="bench"), at=1
)
AT_A_TIME = 16
COUNT = 320


async def rate(one: Callable[[int], Awaitable[object]], *, at_a_time: int) -> float:
    """How many a second."""

    async def some(first: int) -> None:
        for number in range(first, COUNT, at_a_time):
            await one(number)

    began = perf_counter()
    await asyncio.gather(*(some(first) for first in range(at_a_time)))
    return COUNT / (perf_counter() - began)


async def appends(folder: Path, database: SecretText | None) -> list[float]:
    async with await Ledger.open(folder, database=database) as ledger:

        async def append(_number: int) -> object:
            return await ledger.write(lambda tx: tx.append(dict(ROW)))

        return [await rate(append, at_a_time=each) for each in (1, AT_A_TIME)]


async def enrolments(configs: list[TTPConfig], folder: Path) -> list[float]:
    """With the first TTP's state restored into those of the others."""
    async with AsyncExitStack() as opened:
        authorities = [await opened.enter_async_context(await Authority.open(configs[0]))]
        for number, config in enumerate(configs[1:]):
            backup = folder / f"backup{number}"
            await back_up(configs[0], backup, passphrase=None)
            await restore(config, backup, passphrase=None)
            authorities.append(await opened.enter_async_context(await Authority.open(config)))
        csr = build_request(generate_now(KeyType.ECDSA_P256))
        rates = []
        for at_a_time in (1, AT_A_TIME):
            tokens = [
                await authorities[0].create_token(
                    f"host{number}", profile=Profile.PEER, ttl=HOUR, lifetime=HOUR
                )
                for number in range(COUNT)
            ]

            async def enrol(number: int, tokens: list[tuple[str, object]] = tokens) -> object:  # type: ignore[assignment]
                token_id, secret = tokens[number]
                authority = authorities[number % len(authorities)]
                text = secret.reveal().decode()  # type: ignore[attr-defined]
                return await authority.enrol(token_id, text, csr, address="bench")

            rates.append(await rate(enrol, at_a_time=at_a_time))
        return rates


async def measure() -> None:
    def line(what: str, rates: list[float]) -> None:
        sys.stdout.write(f"{what:<40} | {rates[0]:>15.0f} | {rates[1]:>13.0f}\n")

    sys.stdout.write(f"{'a second':<40} | one after other | {AT_A_TIME} at a time\n")
    with tempfile.TemporaryDirectory() as name, PostgreSQL(fsync="on") as server:
        folder = Path(name)
        for kind in ("rsa-3072", "ecdsa-p256"):
            keys = {"root_key_type": kind, "issuing_key_type": kind}
            alone = TTPConfig(state=folder / f"alone-{kind}", **keys)  # type: ignore[arg-type]
            line(f"enrolments, SQLite, {kind}", await enrolments([alone], folder))
            for replicas in (1, 2):
                with server.database() as database:
                    configs = [
                        TTPConfig(
                            state=folder / f"{kind}-{replicas}-{number}",
                            ledger=SecretText(database.url),
                            **keys,  # type: ignore[arg-type]
                        )
                        for number in range(replicas)
                    ]
                    what = f"enrolments, PostgreSQL, {replicas} TTP, {kind}"
                    line(what, await enrolments(configs, folder))
        (folder / "rows").mkdir()
        line("rows, SQLite", await appends(folder / "rows", None))
        (folder / "more").mkdir()
        with server.database() as database:
            line("rows, PostgreSQL", await appends(folder / "more", SecretText(database.url)))


def main() -> None:
    """Prints one line for each kind of ledger."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    asyncio.run(measure())


if __name__ == "__main__":
    main()
