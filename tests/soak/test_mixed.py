"""All three roles under a mixed load, with certificates of ten seconds, for as long as is wanted.

Sessions with receipts both ways, messages of several sizes, short connections, tunnels, enrolments,
renewals and revocations at once. Afterwards memory, files and tasks are what they were, every
message with a receipt was taken exactly once, and the ledger's chain holds. The curves are drawn.
"""

from __future__ import annotations

import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.soak.curves import drawn
from tests.soak.fleet import Fleet
from tests.soak.load import Load, echoing
from tests.soak.samples import FILES, MEMORY, TASKS

if TYPE_CHECKING:
    from tests.roles.processes import Daemons
    from tests.soak.samples import Sample

pytestmark = [pytest.mark.one_loop, pytest.mark.timeout(0)]

LIFETIME = timedelta(seconds=10)
RESULTS = Path(__file__).parents[2] / "soak-results"
WARM_UP = 0.25
MOST_SAMPLES = 400
PATIENCE_S = 20.0
# Of memory that the allocator keeps: what leaks goes past it within minutes.
GROWTH_MIB = 16.0


async def test_a_mixed_load_leaves_everything_as_it_was(
    asynctls: Daemons,
    seconds: float,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
) -> None:
    long = request.config.getoption("--long", default=False)
    # What is looked at is how much; asyncio's looking closely costs, and keeps what it sees.
    asynctls.variables["PYTHONASYNCIODEBUG"] = "0"
    fleet = Fleet(asynctls, tmp_path / "home", lifetime=LIFETIME)
    load = Load(fleet, pause_s=0.02 if long else 0.2)
    async with (
        echoing() as echo,
        fleet.running(echo, allow=("member", "outcast")),
        fleet.watch.looking(every_s=max(1.0, seconds / MOST_SAMPLES)),
    ):
        await load.prepare()
        await load.run(seconds * WARM_UP)
        before = await fleet.watch.calm(None, patience_s=PATIENCE_S)
        await load.run(seconds * (1 - WARM_UP))
        after = await fleet.watch.calm(before, patience_s=PATIENCE_S)
    load.received.update(line.partition(b" ")[0] for line in fleet.printed.splitlines())
    load.done["renewals of processes"] = fleet.named("certificate renewed")
    figures = {
        name: f"{n:,}" for name, n in sorted((load.done + prefixed("cut: ", load.cut)).items())
    }
    page = (RESULTS if long else tmp_path) / f"{datetime.now(UTC):%Y-%m-%d-%H%M%S}.html"
    page.parent.mkdir(exist_ok=True)
    page.write_text(
        drawn(
            fleet.watch.samples,
            title=f"A soak of {after.at_s:,.0f} s, certificates of {LIFETIME.seconds} s",
            figures=figures,
            pauses=(before.at_s, after.at_s),
        )
    )
    with capsys.disabled():
        told = ", ".join(f"{n} {name}" for name, n in figures.items())
        sys.stdout.write(f"\n{after.at_s:.0f} s: {told}; curves: {page}\n{growth(before, after)}\n")

    for measure, most in ((FILES, 0.0), (TASKS, 0.0), (MEMORY, GROWTH_MIB)):
        for role, value in after.of(measure).items():
            assert value <= before.of(measure)[role] + most, (role, measure.title)
    all_taken_once(load)
    assert load.done["renewals of processes"] >= 3
    assert not load.done["let in though revoked"]
    # Where the machine is busy with other things, ten seconds can be too few to renew in time.
    assert load.cut.total() < load.done["sessions"] + load.done["tunnelled"], load.cut


def all_taken_once(load: Load) -> None:
    """Every message with a receipt, in both directions."""
    fleet = load.fleet
    taken, acknowledged = Counter(fleet.taken()), Counter(fleet.acknowledged())
    assert load.with_receipt <= taken.keys()
    assert load.lines <= taken.keys()
    sent_again = fleet.named("sending again") > 0
    twice = {name for name, times in taken.items() if times > 1}
    # What a client that follows sends again may come twice; that is what it promises.
    assert twice <= (load.lines if sent_again else set())
    # An answer is sent once for each message that was taken, and counts with its receipt.
    assert acknowledged <= load.received
    assert load.received <= taken


def prefixed(prefix: str, counts: Counter[str]) -> Counter[str]:
    return Counter({f"{prefix}{name}": n for name, n in counts.items()})


def growth(before: Sample, after: Sample) -> str:
    """What each process had before and has after, in words."""
    return "; ".join(
        f"{role}: "
        + ", ".join(
            f"{each.title} {before.of(each)[role]:.0f} -> {after.of(each)[role]:.0f}"
            for each in (MEMORY, FILES, TASKS)
        )
        for role in after.values
    )
