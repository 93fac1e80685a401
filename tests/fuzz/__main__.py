"""``python -m tests.fuzz``: every target under atheris for a while; what is found is kept.

Several at once, one for each processor. What was tried and was new stays in ``.fuzz/corpus``, where
the next run goes on; an input that a target fails on lies in ``.fuzz/found``, and
``python -m tests.fuzz TARGET FILE`` runs it again, without atheris.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.fuzz.catalogue import NAMES, target

if TYPE_CHECKING:
    from collections.abc import Sequence

_KEPT: Final = Path(".fuzz")
_MOST_BYTES: Final = 8192
_HANG_S: Final = 20
_MOST_MEMORY_MB: Final = 1024
_EXECUTED = re.compile(r"stat::number_of_executed_units:\s+(\d+)")
_PEAK = re.compile(r"stat::peak_rss_mb:\s+(\d+)")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one target; ``found`` is the last of its output where it failed."""

    name: str
    executed: int
    peak_mb: int
    found: str

    def __str__(self) -> str:
        verdict = "FAILED" if self.found else "ok"
        return f"{self.name:<18} {self.executed:>12,} executions {self.peak_mb:>6} MB  {verdict}"


def main(words: Sequence[str]) -> int:
    """The exit code: 1 where a target failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="targets at once")
    parser.add_argument("target", nargs="?", choices=NAMES, help="this one alone")
    parser.add_argument("file", nargs="?", type=Path, help="this input alone, without atheris")
    given = parser.parse_args(words)
    if given.file is not None:
        warnings.simplefilter("ignore")
        print("taken" if target(given.target).run(given.file.read_bytes()) else "refused")
        return 0
    if find_spec("atheris") is None:
        print("There is no atheris for this platform: the targets are not fuzzed.", file=sys.stderr)
        return 0
    names = NAMES if given.target is None else (given.target,)
    failed = []
    executed = 0
    with ThreadPoolExecutor(max_workers=given.jobs) as threads:
        for outcome in threads.map(lambda name: _fuzzed(name, given.seconds), names):
            print(outcome, flush=True)
            executed += outcome.executed
            if outcome.found:
                failed.append(outcome)
    print(f"{executed:,} executions, {len(failed)} of {len(names)} targets failed")
    for outcome in failed:
        print(f"\n== {outcome.name}\n{outcome.found}")
    return 1 if failed else 0


def _fuzzed(name: str, seconds: int) -> Outcome:
    corpus, found = _KEPT / "corpus" / name, _KEPT / "found"
    corpus.mkdir(parents=True, exist_ok=True)
    found.mkdir(exist_ok=True)
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "tests.fuzz.under_atheris", name),
            f"-max_total_time={seconds}",
            f"-max_len={_MOST_BYTES}",
            f"-timeout={_HANG_S}",
            f"-rss_limit_mb={_MOST_MEMORY_MB}",
            f"-artifact_prefix={found / name}-",
            "-print_final_stats=1",
            *map(str, (corpus, target(name).corpus)),
        ],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    said = ended.stderr + ended.stdout
    return Outcome(
        name,
        _number(_EXECUTED, said),
        _number(_PEAK, said),
        "" if ended.returncode == 0 else said[-4000:],
    )


def _number(pattern: re.Pattern[str], said: str) -> int:
    match = pattern.search(said)
    return int(match[1]) if match else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
