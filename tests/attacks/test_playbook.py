"""The playbook of `asynctls probe`: our server withstands all of it, and nothing of it by luck.

For each attack there is a victim that lacks the one defence against it, and there the same attack
gets through: a check that cannot fail proves nothing.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import sys
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from asynctls.config import Address, TTPConfig
from asynctls.enrolment import Identity, JoinString, join
from asynctls.pki.certificates import fingerprint
from asynctls.pki.keys import KeyType
from asynctls.pki.profiles import Profile
from asynctls.probe import exhaustion
from asynctls.probe.attack import Attack, Needs, Target, Verdict
from asynctls.probe.playbook import PLAYBOOK, try_all
from asynctls.ttp.administration import Administration
from tests.attacks import (
    without_downgrade,
    without_exhaustion,
    without_identity,
    without_man_in_the_middle,
    without_replay,
)
from tests.attacks.victims import target_of
from tests.docs.pages import GUIDES, blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from tests.attacks.world import World
    from tests.roles.processes import Daemons

    Record = Callable[[str, object], None]

# Each gives, for a CA and while its context lasts, a target whose defence is switched off.
WITHOUT_DEFENCE: Mapping[str, Callable[[World], AbstractAsyncContextManager[Target]]] = {
    **without_downgrade.WITHOUT_DEFENCE,
    **without_man_in_the_middle.WITHOUT_DEFENCE,
    **without_replay.WITHOUT_DEFENCE,
    **without_identity.WITHOUT_DEFENCE,
    **without_exhaustion.WITHOUT_DEFENCE,
}

# Where it could be by something else as well: memory grows by more than what is kept of a frame.
GETS_THROUGH_BY = {"oversized lengths": "it had not refused a frame of 1 GiB after 2 s"}

_MINUTE = timedelta(minutes=1)
KEYS = ["attack", "tried", "answer", "verdict", "source"]


def test_the_attacks_have_different_names() -> None:
    assert len({attack.name for attack in PLAYBOOK}) == len(PLAYBOOK)


def test_there_is_a_victim_for_each_attack() -> None:
    assert WITHOUT_DEFENCE.keys() == {attack.name for attack in PLAYBOOK}


@pytest.mark.one_loop
@pytest.mark.parametrize("attack", PLAYBOOK, ids=lambda attack: attack.name)
async def test_without_its_defence_it_gets_through(
    world: World, attack: Attack, record_property: Record
) -> None:
    async with WITHOUT_DEFENCE[attack.name](world) as target:
        (finding,) = await try_all(target, given=set(Needs), attacks=[attack])
    found = {"attack": attack.name, "verdict": finding.verdict.value, "answer": finding.answer}
    record_property("without the defence", found)
    assert finding.verdict is Verdict.NOT_WITHSTOOD, finding.answer
    assert GETS_THROUGH_BY.get(attack.name, "") in finding.answer


@pytest.mark.one_loop
@pytest.mark.parametrize("attack", exhaustion.ATTACKS, ids=lambda attack: attack.name)
async def test_with_its_bounds_a_loaded_server_refuses_in_time_and_stays_small(
    asynctls: Daemons, world: World, attack: Attack, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The bounds are the product's own. Other tests run beside this one and make it late now and
    # then; a server that is worn out is late in every stretch, however many it gets.
    monkeypatch.setattr(exhaustion, "_BEGINS_WITHIN_S", 50.0)
    monkeypatch.setattr(exhaustion, "_HEAD_START_S", 0.2)
    monkeypatch.setattr(exhaustion, "_BEYOND_S", 2.0)
    monkeypatch.setattr(exhaustion, "_STRETCHES", 12)
    server = await asyncio.to_thread(world.identity, "server", Profile.SERVER)
    # Fewer places than there are attackers, so that they could have them all.
    _, address = await asynctls.server(server, "--app", "echo", "--handshakes", "4")
    verdict, answer = await attack.run(target_of(world, Address.parse(address)))
    assert verdict is Verdict.WITHSTOOD, answer


async def joined(
    ttp: Path, address: str, folder: Path, *, key_type: KeyType = KeyType.ECDSA_P256
) -> Identity:
    """A member of the TTP that has its state there and listens there, by the folder's name."""
    async with await Administration.beside(TTPConfig(state=ttp)) as admin:
        token_id, secret = await admin.create_token(
            folder.name, profile=Profile.PEER, ttl=_MINUTE, lifetime=60 * _MINUTE
        )
        root = fingerprint(admin.root)
    join_string = JoinString(token_id, secret, Address.parse(address), folder.name, root)
    return await join(folder, join_string, key_type=key_type, give_up_after=_MINUTE)


@pytest.mark.one_loop
async def test_a_person_sees_a_table_and_the_exit_code_says_that_one_got_through(
    asynctls: Daemons, world: World
) -> None:
    ours, its = os.openpty()
    async with without_downgrade.lenient(world) as target:
        probing = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "asynctls", "probe", str(target.address)),
            *("--state", target.identity.folder),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=its,
            stderr=its,
            env={**asynctls.environ(), "COLUMNS": "100", "TERM": "xterm"},
        )
        os.close(its)
        shown = await asyncio.to_thread(read_to_the_end, ours)
        assert await probing.wait() == 1
    lines = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown).splitlines()
    # Whichever finding was the latest when the line was drawn.
    assert re.search(rf"[0-9]+ of {len(PLAYBOOK)}: .+, (NOT )?withstood", "\n".join(lines))
    (row,) = (line.split() for line in lines if line.strip().startswith("NULL suites"))
    assert row[-2:] == ["NOT", "withstood"]
    assert re.search(r"^NOT withstood: .*NULL suites; ", "\n".join(lines), re.MULTILINE)
    assert re.fullmatch(r"[0-9]+ withstood, [0-9]+ NOT withstood, [0-9]+ not tried", lines[-1])


@pytest.mark.one_loop
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a full queue refuses at once")
async def test_of_an_address_that_swallows_packets_one_line_says_so_and_the_exit_code_is_1(
    asynctls: Daemons, world: World
) -> None:
    client = await asyncio.to_thread(world.identity, "client", Profile.CLIENT)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as deaf:
        address = Address(*deaf.getsockname())
        # Whoever comes after this one is not answered: the queue is full.
        with socket.create_connection(deaf.getsockname()):
            probing = await asynctls.start("probe", str(address), "--state", client.folder)
            probed = await probing.ended()
    assert (probed.code, probed.out) == (1, b"")
    why = f"the server at {address} did not answer within 5 s"
    assert probed.said == [f"asynctls: an honest client is not served: {why}"]


def read_to_the_end(terminal: int) -> str:
    shown = b""
    try:
        # A terminal whose other end is closed is an error on Linux, an end elsewhere.
        while chunk := os.read(terminal, 65536):
            shown += chunk
    except OSError:
        pass
    finally:
        os.close(terminal)
    return shown.decode()


@pytest.mark.one_loop
@pytest.mark.timeout(180)
async def test_a_server_withstands_all_of_it(
    asynctls: Daemons, tmp_path: Path, record_property: Record, *, exhaust: bool
) -> None:
    ttp = tmp_path / "ttp"
    _, ttp_address = await asynctls.ttp(ttp)
    # With an ECDSA key it could not speak some of the weak suites anyway.
    server = await joined(ttp, ttp_address, tmp_path / "server", key_type=KeyType.RSA_2048)
    client = await joined(ttp, ttp_address, tmp_path / "client")
    _, address = await asynctls.server(server)
    probing = await asynctls.start(
        *("probe", address, "--state", client.folder, "--server-name", "server", "--json"),
        *("--ttp-state", ttp, *(("--exhaust",) if exhaust else ())),
    )
    probed = await probing.ended(within_s=150)
    findings = [json.loads(line) for line in probed.out.splitlines()]
    for finding in findings:
        record_property("as it is", finding)
    assert [finding["attack"] for finding in findings] == [attack.name for attack in PLAYBOOK]
    assert all(list(finding) == KEYS for finding in findings)
    untried = [] if exhaust else [attack.name for attack in exhaustion.ATTACKS]
    assert [each["attack"] for each in findings if each["verdict"] == "not tried"] == untried
    assert [each for each in findings if each["verdict"] == "NOT withstood"] == []
    assert probed.code == 0
    for example in examples():
        assert any(example.items() <= finding.items() for finding in map(timeless, findings)), (
            example
        )


def examples() -> Iterator[dict[str, str]]:
    """What the guide shows of a server of ours: a line of JSON, and rows of the table."""
    for block in blocks(GUIDES / "probe.md"):
        if block.language == "json":
            yield timeless(json.loads(block.text))
        elif block.language == "text":
            head, *rows = (re.split(" {2,}", line) for line in block.text.splitlines())
            columns = [name.lower() for name in head]
            yield from (timeless(dict(zip(columns, row, strict=True))) for row in rows)


def timeless(finding: Mapping[str, str]) -> dict[str, str]:
    """A finding without what differs in each run."""
    return {**finding, "answer": re.sub(r"[0-9.]+ s after", "… s after", finding["answer"])}
