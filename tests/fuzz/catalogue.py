"""The targets: a module of `tests.fuzz.targets` each, with two functions.

``run(data)`` gives any bytes to a parser, asserts what must hold of it whatever they are, and says
whether they were taken; any exception is a find. ``seeds()`` makes samples by name; those whose
name begins with ``no-`` are refused. They lie in ``tests/fuzz/corpus``, where
``python -m tests.fuzz.catalogue`` puts them, beside what fuzzing found before.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["NAMES", "Target", "target"]

_HERE: Final = Path(__file__).parent
NAMES: Final = tuple(sorted(path.stem for path in (_HERE / "targets").glob("[a-z]*.py")))


@dataclass(frozen=True, slots=True)
class Target:
    """One target by its name."""

    name: str
    module: ModuleType

    @property
    def corpus(self) -> Path:
        """Where its samples lie."""
        return _HERE / "corpus" / self.name

    def run(self, data: bytes) -> bool:
        """Whether the parser took ``data``; raises where it did what it must not."""
        taken: bool = self.module.run(data)
        return taken


def target(name: str) -> Target:
    """The target of that name; imports what it tries."""
    return Target(name, importlib.import_module(f"tests.fuzz.targets.{name}"))


def _write_seeds() -> None:
    for each in map(target, NAMES):
        each.corpus.mkdir(parents=True, exist_ok=True)
        for name, content in each.module.seeds().items():
            if not (each.corpus / name).exists():
                (each.corpus / name).write_bytes(content)


if __name__ == "__main__":
    _write_seeds()
