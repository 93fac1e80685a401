"""Renewal without anyone, with real processes: short certificates, and a TTP that goes away."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

import asynctls as library
from asynctls.admission import Peer
from asynctls.enrolment import Identity, join
from asynctls.enrolment.renewal import renew_now
from asynctls.errors import SessionClosedError, SessionRefusedError, TTPUnreachableError
from asynctls.keeping import OnRenew
from asynctls.pki.keys import KeyType
from tests.scraping import scrape

if TYPE_CHECKING:
    from pathlib import Path

    from asynctls.testing import CA
    from tests.roles.processes import Daemons, Event, Process

MESSAGE = b"The OTP for transferring Rs 1,00,000 to your friend's account is 256345."
TEN_SECONDS = timedelta(seconds=10)
SHORT = ("--crl-interval", "1s")


@pytest.mark.one_loop
async def test_new_connections_use_the_new_identity_and_live_ones_go_on_to_their_end(
    asynctls: Daemons, issued: Any
) -> None:
    client = await issued("client")
    first = await issued("server", lifetime=TEN_SECONDS * 2)
    server, address = await asynctls.server(first, *SHORT)
    async with library.connect(address, server_name="server", identity=client) as session:
        renewed = await server.event("certificate renewed")
        assert first.renews_at <= datetime.now(UTC) < first.not_after
        assert renewed["serial"] != first.serial
        shown = await asynctls.client(client, address, "--json")
        assert json.loads((await shown.ended()).out)["serial"] == renewed["serial"]
        assert session.peer.serial == first.serial
        words = f"the certificate of server ended at {first.not_after:%Y-%m-%dT%H:%M:%SZ}"

        def ended() -> list[Event]:
            return [each for each in server.named("session ended") if words in each["reason"]]

        await server.until(lambda: bool(ended()), "the end of the first session")
        assert datetime.fromisoformat(ended()[0]["timestamp"]) >= first.not_after
        with pytest.raises((SessionClosedError, SessionRefusedError), match=words):
            async for _ in session:
                pass
    # And so on, without anyone.
    await server.event("certificate renewed", count=2)
    assert not server.named("certificate not renewed")


@pytest.mark.one_loop
async def test_a_ttp_that_is_away_and_comes_back_costs_nobody_anything(
    asynctls: Daemons, running_ttp: Any, tmp_path: Path
) -> None:
    async with running_ttp(tmp_path / "ttp") as ttp:
        identity, client = [
            await join(
                tmp_path / name,
                await ttp.token(name, lifetime=lifetime),
                key_type=KeyType.ECDSA_P256,
                give_up_after=TEN_SECONDS,
            )
            for name, lifetime in (("server", TEN_SECONDS * 3.6), ("client", TEN_SECONDS * 60))
        ]
    server, address = await asynctls.server(identity, *SHORT)
    failed = await server.event("certificate not renewed", count=2)
    assert "cannot be reached" in str(failed["reason"])
    assert failed["level"] == "warning"
    async with running_ttp(tmp_path / "ttp", port=identity.ttp.port):
        renewed = await server.event("certificate renewed")
        assert datetime.now(UTC) < identity.not_after
        assert Identity.load(identity.folder).serial == renewed["serial"]
        assert (await (await asynctls.client(client, address)).ended()).code == 0
        assert (await server.stop()).code == 0


@pytest.mark.one_loop
async def test_while_one_issuing_ca_follows_another_nobody_is_cut_off(
    asynctls: Daemons, running_ttp: Any, tmp_path: Path
) -> None:
    async with running_ttp(tmp_path / "ttp", issuing_lifetime=timedelta(seconds=30)) as ttp:
        tokens = {
            name: (await ttp.token(name, lifetime=TEN_SECONDS)).format()
            for name in ("server", "client")
        }
        # They join once they have started, however long that takes on a busy machine.
        server = await asynctls.start(
            *("server", "--state", tmp_path / "server", "--listen", "127.0.0.1:0", *SHORT),
            *("--allow", "client", "--key-type", "ecdsa-p256"),
            environ={"ASYNCTLS_JOIN": tokens["server"]},
        )
        address = str((await server.event("listening"))["address"])
        (first_ca,) = Identity.load(tmp_path / "server").issuing
        keeping = await kept(asynctls, tmp_path / "client", "true", *SHORT, join=tokens["client"])
        issuers = set()
        while datetime.now(UTC) < first_ca.not_valid_after_utc + timedelta(seconds=2):
            async with library.connect(
                address, server_name="server", identity=tmp_path / "client"
            ) as session:
                assert await session.receive() == MESSAGE
            ours = Identity.load(tmp_path / "client")
            issuers.add((session.peer.authority_key_id, Peer.of(ours.certificate).authority_key_id))
            await asyncio.sleep(0.3)
        assert len({theirs for theirs, _ in issuers}) == 2
        assert len({ours for _, ours in issuers}) == 2
        assert first_ca not in Identity.load(tmp_path / "client").issuing
        assert not server.named("refused")
        for process in (server, keeping):
            assert not process.named("certificate not renewed")
            assert process.named("CA certificates taken")
            assert not process.named("CRL ended")


@pytest.mark.timeout(180)
@pytest.mark.one_loop
async def test_kill_9_in_the_middle_of_a_renewal_leaves_a_usable_identity(
    asynctls: Daemons, issued: Any
) -> None:
    identity: Identity = await issued("server")
    serials = {identity.serial}
    for tenths in range(2, 14, 2):
        renewing = await asynctls.start("identity", "renew", "--state", identity.folder)
        # No event tells the moment before a write, so each run is killed a little later.
        await asyncio.sleep(tenths / 10)
        await renewing.kill()
        found = Identity.load(identity.folder)
        assert found.name == "server"
        serials.add(found.serial)
        ended = await asynctls.run("identity", "--json", "--state", identity.folder)
        assert json.loads(ended.out)["status"] == "valid"
    ended = await asynctls.run("identity", "renew", "--state", identity.folder)
    assert ended.code == 0, ended.said
    last = Identity.load(identity.folder)
    assert ended.out.decode() == f"{last} in {identity.folder}\n"
    assert last.serial not in serials
    assert not list(identity.folder.glob("joi*"))
    assert not list(identity.folder.glob(".*.tmp"))


# Python imports this before anything else. Between the two files no pair on disk matches.
KILLED_IN_ITS_SWAP = """
import os, signal
replace = os.replace
def replace_and_die(source, target, **options):
    replace(source, target, **options)
    if os.path.basename(target) == "cert.pem":
        os.kill(os.getpid(), signal.SIGKILL)
os.replace = replace_and_die
"""


@pytest.mark.one_loop
async def test_a_server_killed_between_certificate_and_key_starts_again_with_the_new_identity(
    asynctls: Daemons, issued: Any, tmp_path: Path
) -> None:
    """Every step of the swap: tests/enrolment/test_renewal.py."""
    client, first = await issued("client"), await issued("server", lifetime=TEN_SECONDS)
    key = first.key_file.read_bytes()
    (tmp_path / "sitecustomize.py").write_text(KILLED_IN_ITS_SWAP)
    path = os.pathsep.join((str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])))
    words = ("server", "--state", first.folder, "--listen", "127.0.0.1:0", "--allow", "client")
    killed = await asynctls.start(*words, environ={"PYTHONPATH": path})
    assert (await killed.ended()).code == -signal.SIGKILL
    assert killed.named("listening")
    assert first.key_file.read_bytes() == key
    server, address = await asynctls.server(first)
    second = (await server.event("identity found"))["serial"]
    assert second != first.serial
    shown = await (await asynctls.client(client, address, "--json")).ended()
    # On a busy machine the second has been renewed by now.
    renewed = [each["serial"] for each in server.named("certificate renewed")]
    assert json.loads(shown.out)["serial"] in [second, *renewed]
    assert (await server.stop()).code == 0


@pytest.mark.one_loop
async def test_who_is_in_the_way_of_a_renewal_by_hand_is_told_in_one_line(
    asynctls: Daemons, issued: Any, tmp_path: Path
) -> None:
    identity = await issued("server")
    server, _ = await asynctls.server(identity)
    ended = await asynctls.run("identity", "renew", "--state", identity.folder)
    assert ended.code == 1
    assert "holds the state folder" in ended.said[0]
    assert "renews by itself" in ended.said[0]
    await server.stop()
    nobody = await asynctls.run("identity", "renew", "--state", tmp_path / "nobody")
    assert nobody.code == 1
    assert "there is no identity" in nobody.said[0]
    assert not (tmp_path / "nobody").exists()


async def test_a_ttp_out_of_reach_is_given_up_and_the_certificate_stays(
    running_ttp: Any, tmp_path: Path
) -> None:
    async with running_ttp(tmp_path / "ttp") as ttp:
        identity = await join(
            tmp_path / "role",
            await ttp.token("server"),
            key_type=KeyType.ECDSA_P256,
            give_up_after=TEN_SECONDS,
        )
    with pytest.raises(TTPUnreachableError, match=r"within 1 seconds .* is good until"):
        await renew_now(identity.folder, give_up_after=timedelta(seconds=1))
    assert Identity.load(identity.folder) == identity


async def kept(
    asynctls: Daemons, folder: Path, command: str, *words: str, join: str | None = None
) -> Process:
    """An identity that is there, or one that is joined first."""
    keeping = await asynctls.start(
        *("identity", "keep", "--state", folder, "--on-renew", command),
        *("--key-type", "ecdsa-p256", *words),
        environ={} if join is None else {"ASYNCTLS_JOIN": join},
    )
    await keeping.event("keeping")
    return keeping


@pytest.mark.one_loop
async def test_keep_renews_for_another_program_and_runs_its_command_until_it_works(
    asynctls: Daemons, ttp: Any, tmp_path: Path
) -> None:
    token, folder = await ttp.token("web", lifetime=TEN_SECONDS), tmp_path / "web"
    told = tmp_path / "told"
    # It fails the first time, as a program does that is not up yet.
    command = (
        f'echo "$ASYNCTLS_CHANGED: $(openssl x509 -noout -serial -in $ASYNCTLS_STATE/cert.pem)" '
        f">> {told}; test $(wc -l < {told}) -gt 1"
    )
    metrics = ("--metrics-listen", "127.0.0.1:0")
    keeping = await kept(asynctls, folder, command, *SHORT, *metrics, join=token.format())
    joined = await keeping.event("joined")
    failed = await keeping.event("command failed")
    assert failed["reason"] == "it ended with 1"
    await keeping.event("command done")
    renewed = await keeping.event("certificate renewed")
    done = await keeping.event("command done", count=2)
    assert str(done["changed"]).startswith("certificate")
    everything = f"certificate ca crl: serial={joined['serial']}"
    lines = told.read_text().splitlines()
    assert lines[:2] == [everything, everything]
    assert lines[2] == f"{done['changed']}: serial={renewed['serial']}"
    keeping.signal(signal.SIGHUP)
    assert (await keeping.event("command done", count=3))["changed"] == "certificate ca crl"
    counted = await scrape(str((await keeping.event("metrics served"))["address"]))
    assert counted.value("asynctls_build_info", role="identity") == 1
    assert counted.value("asynctls_on_renew_runs_total", result="failed") == 1
    assert counted.value("asynctls_on_renew_runs_total", result="done") >= 3
    assert counted.value("asynctls_renewals_total", result="done") >= 1
    assert (await keeping.stop()).code == 0


@pytest.mark.one_loop
async def test_keep_takes_another_command_by_a_reload(
    asynctls: Daemons, ca: CA, tmp_path: Path
) -> None:
    config = tmp_path / "identity.toml"
    config.write_text(f'[identity]\nstate = "{ca.identity("web").folder}"\n')
    keeping = await asynctls.start("identity", "keep", "--config", config)
    await keeping.event("keeping")
    config.write_text(config.read_text() + 'on_renew = "true"\n')
    keeping.signal(signal.SIGHUP)
    done = await keeping.event("command done")
    assert (done["command"], done["changed"]) == ("true", "certificate ca crl")
    assert keeping.named("reloaded")[0]["changed"] == ["on_renew"]
    assert (await keeping.stop()).code == 0


@pytest.mark.one_loop
async def test_a_revocation_is_news_for_the_other_program_too(
    asynctls: Daemons, issued: Any, ttp: Any, logged: Any
) -> None:
    identity = await issued("web")
    await issued("client")
    keeping = await kept(asynctls, identity.folder, "true", *SHORT)
    await keeping.event("command done")
    await ttp.authority.revoke("client")
    assert (await keeping.event("command done", count=2))["changed"] == "crl"


async def test_keep_lets_a_command_end_before_it_ends_itself(
    asynctls: Daemons, issued: Any, tmp_path: Path
) -> None:
    identity = await issued("web")
    begun, go_on, ended = (tmp_path / name for name in ("begun", "go on", "ended"))
    command = f"mkfifo '{go_on}' && touch '{begun}' && cat '{go_on}' && touch '{ended}'"
    keeping = await kept(asynctls, identity.folder, command)
    async with asyncio.timeout(10):
        while not begun.exists():  # noqa: ASYNC110 - a shell has no event for us
            await asyncio.sleep(0.02)
    keeping.signal(signal.SIGTERM)
    await keeping.event("stopping")
    await asyncio.to_thread(go_on.write_text, "")
    assert (await keeping.ended()).code == 0
    assert ended.exists()


async def test_keep_ends_what_its_command_started_at_the_second_signal(
    asynctls: Daemons, issued: Any, tmp_path: Path
) -> None:
    identity = await issued("web")
    begun = tmp_path / "begun"
    keeping = await kept(asynctls, identity.folder, f"touch '{begun}'; sleep 50; sleep 50")
    async with asyncio.timeout(10):
        while not begun.exists():  # noqa: ASYNC110 - a shell has no event for us
            await asyncio.sleep(0.02)
    keeping.signal(signal.SIGTERM)
    await keeping.event("stopping")
    keeping.signal(signal.SIGTERM)
    # Its standard error is the command's too: it ends with the last of them.
    assert (await keeping.ended()).code == 0


async def test_a_command_is_given_none_of_our_variables_but_its_two(
    tmp_path: Path, logged: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("JOIN", "KEY_PASSPHRASE", "TTP_LEDGER", "CHANGED"):
        monkeypatch.setenv(f"ASYNCTLS_{name}", "secret")
    monkeypatch.setenv("THEIR_OWN", "stays")
    command = OnRenew("env > environ", tmp_path)
    monkeypatch.chdir(tmp_path)
    async with asyncio.timeout(30), command.running(until=asyncio.Event(), drain_s=10):
        command.note("certificate", "crl")
        await logged.until("command done")
    given = (tmp_path / "environ").read_text().splitlines()
    assert [each for each in sorted(given) if each.startswith("ASYNCTLS_")] == [
        "ASYNCTLS_CHANGED=certificate crl",
        f"ASYNCTLS_STATE={tmp_path}",
    ]
    assert "THEIR_OWN=stays" in given


@pytest.mark.parametrize("cut_by", ["the end of the drain", "the second signal"])
async def test_a_command_that_hangs_keeps_nobody(cut_by: str, tmp_path: Path, logged: Any) -> None:
    begun, now = tmp_path / "begun", asyncio.Event()
    os.mkfifo(begun)
    command = OnRenew(f"echo begun > '{begun}'; sleep 50; sleep 50", tmp_path)
    drain_s = 0.1 if cut_by == "the end of the drain" else 50
    async with asyncio.timeout(30), command.running(until=now, drain_s=drain_s):
        command.note("certificate")
        assert await asyncio.to_thread(begun.read_text) == "begun\n"
        if cut_by == "the second signal":
            now.set()
    await logged.until("command cut off")


async def test_what_nobody_foresaw_in_one_run_of_a_command_ends_no_later_one(
    tmp_path: Path, logged: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_words: object, **_options: object) -> None:
        raise ValueError("unforeseen")

    command = OnRenew("true", tmp_path)
    async with asyncio.timeout(30), command.running(until=asyncio.Event(), drain_s=10):
        with monkeypatch.context() as patched:
            patched.setattr(asyncio, "create_subprocess_exec", broken)
            command.note("certificate")
            assert (await logged.until("command failed"))["reason"] == "unforeseen: ValueError"
        command.note("crl")
        assert (await logged.until("command done"))["changed"] == "certificate crl"


@pytest.mark.one_loop
async def test_keep_joins_first(asynctls: Daemons, ttp: Any, tmp_path: Path) -> None:
    token = await ttp.token("web")
    keeping = await asynctls.start(
        *("identity", "keep", "--state", tmp_path / "web", "--join-file", "-"),
        *("--key-type", "ecdsa-p256"),
        given=token.format(),
    )
    assert (await keeping.event("keeping"))["name"] == "web"
    facts = await asynctls.run("identity", "--json", "--state", tmp_path / "web")
    found = Identity.load(tmp_path / "web")
    assert json.loads(facts.out)["renews_at"] == f"{found.renews_at:%Y-%m-%dT%H:%M:%SZ}"
    assert (await keeping.stop()).code == 0
