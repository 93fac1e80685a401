"""How cost grows with what there is: rows of the ledger, entries of lists, live sessions.

Each figure is drawn over what grows. Held against it is k, where its steepest part grows as the
size to the power k: what is about all of a thing may grow as it does, and a look-up not at all. The
ledger is a true one of which `filling` says what is not; work in this process is counted by
its processor time, all threads together, so that a disk or a neighbour that is slow does not count.
A full run goes up to a million certificates and takes a quarter of an hour, half of it to fill.
"""

from __future__ import annotations

import asyncio
import os
import sysconfig
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha1
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp

from asynctls.admission import Peer, Rules, admit_again, allow_list
from asynctls.config import TTPConfig
from asynctls.enrolment import crls
from asynctls.http import Request
from asynctls.pki.keys import KeyType, generate_now
from asynctls.pki.pins import Pin
from asynctls.pki.profiles import Profile
from asynctls.pki.requests import build_request
from asynctls.pki.status import RevocationList, Revoked, read_crl, sign_crl
from asynctls.ttp.authority import Authority
from asynctls.ttp.public import PublicPages
from tests.bench.contenders import python
from tests.bench.figures import Curve, Table, Target
from tests.bench.filling import Fill
from tests.bench.jobs import loading
from tests.bench.machine import SERVING, cpu_s, resident_kib
from tests.bench.processes import PATIENCE_S, running

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from asynctls.pki.profiles import Issuer
    from tests.bench.identities import Identities
    from tests.bench.scenarios import Size

__all__ = ["growth"]

T = TypeVar("T")

_ROUNDS = 5
# Sessions that are opened in one job.
_AT_ONCE = 100
_PINNED = Pin(bytes(32))
_HOUR = timedelta(hours=1)
# A doubling of the size may cost a seventh more: what has to be read is less often in memory.
_FLAT, _LINEAR = 0.2, 1.15
_ASYNCTLS = Path(sysconfig.get_path("scripts"), "asynctls")


async def growth(identities: Identities, scratch: Path, size: Size) -> list[Curve | Table]:
    """All of it."""
    lists = (1_000, 10_000, 100_000)
    certificates: tuple[int, ...] = (3_000, 30_000)
    sessions: tuple[int, ...] = (100, 400)
    if size.share == 1:
        certificates, sessions = (10_000, 100_000, 1_000_000), (500, 2_000, 8_000)
    return [
        *await _ledger(scratch, certificates),
        *await _crls(scratch, lists),
        *_admission(lists),
        *await _sessions(identities, sessions),
    ]


def _curve(title: str, unit: str, of: str, names: Sequence[str], limit: float) -> Curve:
    words = "does not grow with it" if limit == _FLAT else "grows no faster than it"
    targets = (Target(f"{name} {words}", name, None, limit) for name in names)
    return Curve(title, unit, of, targets=tuple(targets))


async def _ms(work: Callable[[], Awaitable[object]], times: int = 1) -> float:
    """Milliseconds of processor time each."""
    began = time.process_time()
    for _ in range(times):
        await work()
    return (time.process_time() - began) / times * 1e3


# The TTP, on ledgers of several sizes


async def _ledger(scratch: Path, sizes: Sequence[int]) -> list[Curve]:
    single = ("issue", "show", "OCSP", "GET /crl", "list, first page", "pending", "look after")
    looked_up = _curve("ledger, one of many", "ms CPU", "certificates", single, _FLAT)
    whole = _curve(
        "ledger, all of it", "ms CPU", "certificates", ("verify", "list", "count"), _LINEAR
    )
    revoking = _curve("ledger, revoke one", "ms CPU", "revoked", ("revoke",), _LINEAR)
    starting = _curve("TTP, from start to listening", "ms CPU", "certificates", ("start",), _FLAT)
    memory = _curve("TTP, memory once it listens", "MiB", "certificates", ("memory",), _FLAT)
    config = TTPConfig(
        state=scratch / "ttp", root_key_type="ecdsa-p256", issuing_key_type="ecdsa-p256"
    )
    async with await Authority.open(config) as authority:
        fill = Fill(config, authority._care.cas.issuing)
    for certificates in sizes:
        await fill.up_to(certificates)
        for _ in range(_ROUNDS):
            took, kib = await _started(config)
            starting.add("start", certificates, took)
            memory.add("memory", certificates, kib / 1024)
        async with await Authority.open(config) as authority:
            for number in range(_ROUNDS):
                await _look_up(looked_up, authority, fill, number)
            revoked = len(fill.revoked)
            for serial in _not_revoked(fill)[:_ROUNDS]:
                fill.revoked.append(serial)
                revoking.add("revoke", revoked, await _ms(partial(authority.revoke, serial)))
            for _ in range(_ROUNDS if certificates < sizes[-1] else 1):
                await _all_of_it(whole, authority, certificates)
    return [looked_up, whole, revoking, starting, memory]


def _not_revoked(fill: Fill) -> list[str]:
    revoked = set(fill.revoked)
    return [serial for serial in fill.serials.values() if serial not in revoked]


async def _look_up(curve: Curve, authority: Authority, fill: Fill, number: int) -> None:
    size, some = fill.count, list(fill.serials.values())[number :: len(fill.serials) // 8][:8]
    csrs = [build_request(generate_now(KeyType.ECDSA_P256)) for _ in some]
    tokens = [
        await authority.create_token("new", profile=Profile.PEER, ttl=_HOUR, lifetime=_HOUR)
        for _ in some
    ]
    pages = PublicPages(authority)

    async def issue() -> None:
        for csr, (token_id, secret) in zip(csrs, tokens, strict=True):
            await authority.enrol(token_id, secret.reveal().decode(), csr, address="127.0.0.1:1")

    async def show() -> None:
        for serial in some:
            await authority.show(serial)

    async def ask() -> None:
        for serial in some:
            await authority.ocsp.answer(_question(fill.issuer, serial))

    async def first_page() -> None:
        async for _ in authority.each_certificate():
            break

    for name, work, times in (("issue", issue, 8), ("show", show, 8), ("OCSP", ask, 8)):
        curve.add(name, size, await _ms(work) / times)
    curve.add("GET /crl", size, await _ms(partial(pages.answer, Request("GET", "/crl")), 20))
    curve.add("list, first page", size, await _ms(first_page))
    curve.add("pending", size, await _ms(authority.pending, 5))
    curve.add("look after", size, await _ms(authority.look_after, 5))


async def _all_of_it(curve: Curve, authority: Authority, size: int) -> None:
    curve.add("verify", size, await _ms(authority.verify))
    curve.add("count", size, await _ms(partial(authority.count_rows, after=0)))
    curve.add("list", size, await _ms(partial(_go_through, authority)))


async def _go_through(authority: Authority) -> None:
    async for _ in authority.each_certificate():
        pass


def _question(issuer: Issuer, serial: str) -> bytes:
    certificate = issuer.certificate
    name = sha1(certificate.subject.public_bytes()).digest()
    key = x509.SubjectKeyIdentifier.from_public_key(certificate.public_key()).digest
    asked = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
        name, key, int(serial, 16), hashes.SHA1()
    )
    return asked.build().public_bytes(serialization.Encoding.DER)


async def _started(config: TTPConfig) -> tuple[float, int]:
    """Milliseconds of processor time until it listens, and its memory then, in KiB."""
    words = ("ttp", "--state", config.state, "--listen", "127.0.0.1:0")
    async with running(_ASYNCTLS, *words, cores=SERVING, stderr=asyncio.subprocess.PIPE) as process:
        assert process.stderr is not None
        async with asyncio.timeout(PATIENCE_S):
            while b"listening" not in (line := await process.stderr.readline()):
                if not line:
                    raise RuntimeError("the TTP ended before it listened")
        took = cpu_s(process.pid)
        kib = resident_kib(process.pid)
        process.terminate()
        await process.stderr.read()
    return took * 1e3, kib


# CRLs: signed, read, and taken while a loop serves


async def _crls(scratch: Path, sizes: Sequence[int]) -> list[Curve | Table]:
    cost = _curve("a CRL", "ms CPU", "entries", ("sign", "read", "taken again"), _LINEAR)
    waits = Table(
        f"a CRL of {sizes[-1]:,} entries, longest wait of a loop meanwhile",
        "ms",
        targets=tuple(
            Target(f"{name}: at most 50 ms", name, None, 50) for name in ("signed", "taken")
        ),
    )
    config = TTPConfig(
        state=scratch / "crls", root_key_type="ecdsa-p256", issuing_key_type="ecdsa-p256"
    )
    async with await Authority.open(config) as authority:
        issuer = authority._care.cas.issuing
    for size in sizes:
        revoked = _revoked(size)
        held = read_crl(_signed(issuer, revoked, 1), issuer.certificate)
        for number in range(2, 2 + _ROUNDS):
            began = time.process_time()
            der, signed_wait = await _watched(partial(_signed, issuer, revoked, number))
            cost.add("sign", size, (time.process_time() - began) * 1e3)
            began = time.process_time()
            taken, taken_wait = await _watched(partial(read_crl, der, issuer.certificate))
            cost.add("read", size, (time.process_time() - began) * 1e3)
            began = time.process_time()
            lists = crls.newest([held], [taken], authorities=[issuer.certificate])
            assert crls.revoke_the_same(lists, [held])
            compared = time.process_time() - began
            cost.add("taken again", size, compared * 1e3)
            if size == sizes[-1]:
                waits.add("signed", signed_wait)
                waits.add("taken", max(taken_wait, compared * 1e3))
    return [cost, waits]


def _revoked(count: int) -> list[Revoked]:
    now = datetime.now(UTC)
    numbers = (int.from_bytes(b"\x40" + os.urandom(19)) for _ in range(count))
    return [
        Revoked(number, now - timedelta(minutes=n), "superseded")
        for n, number in enumerate(numbers)
    ]


def _signed(issuer: Issuer, revoked: Sequence[Revoked], number: int) -> bytes:
    now = datetime.now(UTC)
    return sign_crl(issuer, number=number, revoked=revoked, now=now, lifetime=24 * _HOUR)


async def _watched(work: Callable[[], T]) -> tuple[T, float]:
    """What it gives, in a thread; and for how many milliseconds the loop waited at the longest."""
    waits: list[float] = []

    async def tick() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            waits.append(time.perf_counter() - before - 0.001)

    ticking = asyncio.create_task(tick())
    try:
        result = await asyncio.to_thread(work)
        await asyncio.sleep(0.002)
    finally:
        ticking.cancel()
    return result, max(waits) * 1e3


# Who is let in


def _admission(crl_sizes: Sequence[int]) -> list[Curve]:
    names = ("by name", "by wildcard", "by URI", "by pin", "refused")
    by_list = _curve("admit, allow list", "µs CPU", "entries", names, _FLAT)
    by_crl = _curve("admit, CRL", "µs CPU", "entries", ("admitted", "revoked"), _FLAT)
    judged: list[tuple[Curve, str, int, Peer, Rules]] = []
    for size in (10, 100, 1_000, 10_000):
        for name, (texts, san) in _allow_lists(size).items():
            rules = Rules(allow_list(texts), (_held(frozenset()),), None)
            judged.append((by_list, name, size, _peer(san), rules))
    for size in crl_sizes:
        numbers = [int.from_bytes(os.urandom(19)) for _ in range(size)]
        rules = Rules(allow_list(["any"]), (_held(frozenset(numbers)),), None)
        for name, number in (("admitted", 1), ("revoked", numbers[-1])):
            judged.append((by_crl, name, size, _peer("client", number), rules))
    for _ in range(3 * _ROUNDS):
        for curve, name, size, peer, rules in judged:
            curve.add(name, size, _judged(peer, rules))
    return [by_list, by_crl]


def _allow_lists(size: int) -> dict[str, tuple[list[str], str]]:
    """Lists of so many entries, by what they are of, each with whom its last entry means."""
    pins = [*(str(Pin(os.urandom(32))) for _ in range(size - 1)), str(_PINNED)]
    return {
        "by name": (
            [f"host{n}.example.org" for n in range(size)],
            f"host{size - 1}.example.org",
        ),
        "by wildcard": (
            [f"*.group{n}.example.org" for n in range(size)],
            f"a.group{size - 1}.example.org",
        ),
        "by URI": (
            [f"spiffe://example.org/group{n}/*" for n in range(size)],
            f"spiffe://example.org/group{size - 1}/a",
        ),
        "by pin": (pins, "pinned"),
        "refused": ([f"*.other{n}.example.org" for n in range(size)], "a.group.example.org"),
    }


def _judged(peer: Peer, rules: Rules) -> float:
    now, times = datetime.now(UTC), 1_000
    began = time.process_time()
    for _ in range(times):
        admit_again(peer, now=now, rules=rules)
    return (time.process_time() - began) / times * 1e6


def _held(serials: frozenset[int]) -> RevocationList:
    now = datetime.now(UTC)
    return RevocationList(b"CA", b"key", "CA", 1, now, now + _HOUR, serials, b"")


def _peer(san: str, serial_number: int = 1) -> Peer:
    now = datetime.now(UTC)
    return Peer(
        name=san,
        sans=(san,),
        serial_number=serial_number,
        fingerprint="",
        pin=_PINNED if san == "pinned" else Pin(b"another"),
        not_before=now - _HOUR,
        not_after=now + _HOUR,
        issuer_name="CA",
        issuer=b"CA",
        authority_key_id=b"key",
        certificate=b"",
    )


# Live sessions


async def _sessions(identities: Identities, sizes: Sequence[int]) -> list[Curve]:
    memory = _curve("an idle session, memory", "KiB", "held", ("each",), _FLAT)
    turn = _curve("a round trip beside idle sessions", "µs CPU", "held", ("32 B",), _FLAT)
    opened = _curve("a session beside idle ones, opened", "ms CPU", "held", ("one",), _FLAT)
    async with (
        python("session-echo", identities) as server,
        loading("tests.bench.load", identities.client) as job,
    ):
        await job("hold_sessions", port=server.port, count=20)
        before, held = resident_kib(server.pid), 0
        for size in sizes:
            began = cpu_s(server.pid)
            for _ in range(0, size - held, _AT_ONCE):
                await job("hold_sessions", port=server.port, count=_AT_ONCE)
            opened.add("one", size, (cpu_s(server.pid) - began) / (size - held) * 1e3)
            held = size
            memory.add("each", size, (resident_kib(server.pid) - before) / size)
            await job("talk", port=server.port, kind="session")
            for _ in range(_ROUNDS):
                began = cpu_s(server.pid)
                await job("round_trips", count=500, size=32)
                turn.add("32 B", size, (cpu_s(server.pid) - began) / 500 * 1e6)
    return [memory, turn, opened]
