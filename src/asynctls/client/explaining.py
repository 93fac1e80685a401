"""``--explain``: the client's events, told to a person on standard error as sentences."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from asynctls.client.sentences import step_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO

    from asynctls.client.sentences import Step

__all__ = ["Explainer"]


class Explainer:
    """Tells steps: on a terminal in colours and within its width, elsewhere a line for each."""

    def __init__(self, stream: TextIO | None) -> None:
        """Tells nothing yet.

        Args:
            stream: where to; None: nowhere, as in a process without a standard error.
        """
        self._stream = stream
        self._terminal = stream is not None and stream.isatty()

    def __call__(self, event: Mapping[str, object]) -> bool:
        """Takes an event that is logged; true where it was a step, and is told.

        What cannot be written is lost, as it is of a log.
        """
        step = step_of(event)
        if step is None:
            return False
        with suppress(OSError, ValueError):
            self._tell(step)
        return True

    def _tell(self, step: Step) -> None:
        if self._stream is None:
            return
        if self._terminal:
            Console(file=self._stream, highlight=False).print(_shown(step))
        else:
            self._stream.write(f"{_clean(str(step))}\n")
            self._stream.flush()


def _shown(step: Step) -> Table:
    text = Text(_clean(step.words))
    text.append(f"\nStops {_clean(step.stops)}.", style="red" if step.refused else "green")
    text.append(f" ({step.source})", style="dim")
    grid = Table.grid(padding=(0, 1))
    grid.add_row(Text("✗" if step.refused else "•", style="bold"), text)
    return grid


def _clean(text: str) -> str:
    # Names come from certificates and reasons from peers: no escape of theirs reaches a terminal.
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
