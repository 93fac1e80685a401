"""``make bench``: us beside our peers, in one run on one machine, as ratios.

    python -m tests.bench [--full] [--only SCENARIO]... [--into FOLDER]

Prints each table as it is done, then every target with its ratio and whether it holds, and leaves
``results.json``, ``results.md`` and ``results.html`` in ``bench-results/``. A short run takes a few
minutes and says where to look; figures to quote come from ``--full`` on a machine that does nothing
else.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from asynctls.pki.keys import KeyType
from tests.bench.identities import joined
from tests.bench.machine import describe
from tests.bench.results import Results, printed, targets_printed, write
from tests.bench.scenarios import SCENARIOS, Size

SHORT = Size(rounds=5, share=8, held=(500,))
FULL = Size(rounds=9, share=1, held=(2000, 8000))
BOTH_KEYS = ("handshakes", "forwarding")


async def run(only: list[str], size: Size, into: Path, console: Console) -> None:
    """Each scenario; the tables as they come."""
    results = Results(
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", machine=describe(), full=size is FULL
    )
    with tempfile.TemporaryDirectory() as folder:
        for key_type in (KeyType.ECDSA_P256, KeyType.RSA_2048):
            async with joined(Path(folder) / key_type, key_type) as identities:
                for name, scenario in SCENARIOS.items():
                    if name not in only or (key_type is KeyType.RSA_2048 and name not in BOTH_KEYS):
                        continue
                    console.print(f"{name}, {key_type} …", style="dim")
                    scratch = Path(folder) / f"{name}-{key_type}"
                    for measured in await scenario(identities, scratch, size):
                        results.take(measured)
                        console.print(printed(measured))
    console.print(targets_printed(results))
    for path in write(results, into):
        console.print(f"written: {path}")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--only", action="append", choices=SCENARIOS)
    parser.add_argument("--into", type=Path, default=Path("bench-results"))
    given = parser.parse_args()
    if sys.platform != "linux":
        sys.exit("make bench measures by Linux's own clocks and /proc, which are not here")
    console = Console(soft_wrap=True, highlight=False)
    size = FULL if given.full else SHORT
    asyncio.run(run(given.only or list(SCENARIOS), size, given.into, console))


if __name__ == "__main__":
    main()
