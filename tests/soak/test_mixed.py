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
# SQLite keeps what a reader had open for the next one, while another connection holds a lock.
FILES_KEPT = 2.0
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
    pauses: list[Sample] = []
    try:
        async with (
            echoing() as echo,
            fleet.running(echo, allow=("member", "outcast")),
            fleet.watch.looking(every_s=max(1.0, seconds / MOST_SAMPLES)),
        ):
            await load.prepare()
            await load.run(seconds * WARM_UP)
            pauses.append(await fleet.watch.least())
            await load.run(seconds * (1 - WARM_UP))
            pauses.append(await fleet.watch.least(pauses[0]))
    finally:
        load.done["renewals of processes"] = fleet.named("certificate renewed")
        page = draw(load, pauses, RESULTS if long else tmp_path)
        with capsys.disabled():
            sys.stdout.write(f"\n{page}: {dict(load.done)}, cut: {dict(load.cut)}\n")
    before, after = pauses
    with capsys.disabled():
        sys.stdout.write(f"{growth(before, after)}\n")
    load.received.update(line.partition(b" ")[0] for line in fleet.printed.splitlines())

    for measure, most in ((FILES, FILES_KEPT), (TASKS, 0.0), (MEMORY, GROWTH_MIB)):
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
    assert not load.with_receipt - taken.keys()
    assert not load.lines - taken.keys()
    sent_again = fleet.named("sending again") > 0
    twice = {name for name, times in taken.items() if times > 1}
    # What a client that follows sends again may come twice; that is what it promises.
    assert not twice - (load.lines if sent_again else set())
    # An answer is sent once for each message that was taken, and counts with its receipt.
    assert not acknowledged - load.received
    assert not load.received - taken


def draw(load: Load, pauses: list[Sample], folder: Path) -> Path:
    """The curves so far, also of a soak that failed."""
    samples = load.fleet.watch.samples
    cut = {f"cut: {name}": n for name, n in load.cut.items()}
    page = folder / f"{datetime.now(UTC):%Y-%m-%d-%H%M%S}.html"
    folder.mkdir(exist_ok=True)
    page.write_text(
        drawn(
            samples,
            title=f"A soak of {samples[-1].at_s:,.0f} s, certificates of {LIFETIME.seconds} s",
            figures={name: f"{n:,}" for name, n in sorted((load.done | cut).items())},
            pauses=[each.at_s for each in pauses],
        )
    )
    return page


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
