"""A reload takes all of it or nothing, and tells every fault at once."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec
import pytest

from asynctls.config import ServerConfig
from asynctls.errors import CertificateError, ConfigError, Fault, ReloadError
from asynctls.runtime import Reload

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from asynctls.runtime import Take
    from tests.runtime.conftest import Events

BEFORE = ServerConfig(message="before")


class Part:
    """Part of a role: what it was made of, and what is in use."""

    def __init__(self, fault: str = "") -> None:
        self.fault = fault
        self.in_use = BEFORE.message
        self.undone: list[str] = []

    @asynccontextmanager
    async def changing(self, config: ServerConfig) -> AsyncIterator[Take]:
        if self.fault:
            raise CertificateError(self.fault)
        taken = False

        def take() -> None:
            nonlocal taken
            taken, self.in_use = True, config.message

        try:
            yield take
        finally:
            if not taken:
                self.undone.append(config.message)


def changed(**settings: object) -> ServerConfig:
    return msgspec.structs.replace(BEFORE, **settings)


async def test_all_parts_take_what_is_new(events: Events) -> None:
    one, other = Part(), Part()
    after = changed(message="after", state=BEFORE.state)
    reload = Reload(BEFORE, lambda: after)
    done: list[str] = []

    async def then() -> None:
        done.append(one.in_use)

    reload.started(one.changing, other.changing, then=then)
    await reload.run()
    assert one.in_use == other.in_use == "after"
    assert done == ["after"]
    assert reload.config is after
    assert [event for event in events if event["event"] == "reloaded"] == [
        {"event": "reloaded", "log_level": "info", "changed": ["message"]}
    ]


async def test_whoever_finds_a_fault_all_of_them_are_told_and_nothing_is_taken() -> None:
    def load() -> ServerConfig:
        raise ConfigError(Fault("server.drain", "a.toml", "soon"), Fault("server.x", "a.toml", "?"))

    good, bad, worse = Part(), Part("the CRLs are damaged"), Part("no certificate\nno key")
    reload = Reload(BEFORE, load)
    reload.started(good.changing, bad.changing, worse.changing)
    with pytest.raises(ReloadError) as caught:
        await reload.run()
    assert caught.value.faults == (
        "server.drain (a.toml): soon",
        "server.x (a.toml): ?",
        "the CRLs are damaged",
        "no certificate",
        "no key",
    )
    assert (good.in_use, good.undone) == ("before", ["before"])
    assert reload.config is BEFORE


async def test_what_needs_a_restart_is_named_and_nothing_is_taken(tmp_path: Path) -> None:
    part = Part()
    reload = Reload(BEFORE, lambda: changed(message="after", state=tmp_path, log_format="json"))
    reload.started(part.changing)
    with pytest.raises(ReloadError) as caught:
        await reload.run()
    assert sorted(fault.split()[0] for fault in caught.value.faults) == [
        "server.log_format",
        "server.state",
    ]
    assert all("needs a restart" in fault for fault in caught.value.faults)
    assert part.in_use == "before"


async def test_a_reload_that_is_wanted_while_the_role_starts_waits_for_that() -> None:
    part = Part()
    reload = Reload(BEFORE, lambda: changed(message="after"))
    early = asyncio.create_task(reload.run())
    await asyncio.sleep(0)
    assert not early.done()
    reload.started(part.changing)
    await early
    assert part.in_use == "after"
