"""Allow lists: whom a role lets in, by name or by key; read from text once, then only looked up.

Every connection asks, and on a change every live one again. So what could mean a name is found by
hashing, and an answer costs the same whatever the length of the list.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from asynctls.errors import CertificateError
from asynctls.pki.names import Pattern
from asynctls.pki.pins import Pin

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["AllowList", "Anyone", "Listed", "allow_list"]

_ANY: Final = "any"
_SHOWN = 10


class Anyone(msgspec.Struct, frozen=True):
    """An allow list that leaves nobody out: the explicit `any`."""

    def __str__(self) -> str:
        return _ANY


@dataclass(frozen=True, slots=True)
class Listed:
    """An allow list of patterns and pins; without an entry it lets in nobody.

    `str()` is for a log: the first entries, and how many more there are.
    """

    entries: tuple[Pattern | Pin, ...]
    pins: frozenset[Pin] = field(init=False, repr=False, compare=False)
    _patterns: Mapping[str, Pattern] = field(init=False, repr=False, compare=False)
    _stem_lengths: frozenset[int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        patterns = {each.text: each for each in self.entries if isinstance(each, Pattern)}
        lengths = frozenset(len(each.stem) for each in patterns.values() if each.stem)
        pins = frozenset(each for each in self.entries if isinstance(each, Pin))
        object.__setattr__(self, "pins", pins)
        object.__setattr__(self, "_patterns", patterns)
        object.__setattr__(self, "_stem_lengths", lengths)

    def admits(self, sans: Iterable[str], pin: Pin) -> bool:
        """Whether an entry means one of these names, in the text that `sans_of` gives, or the key.

        Args:
            sans: every name of a certificate.
            pin: its key's.
        """
        return pin in self.pins or any(map(self._mean, sans))

    def _mean(self, san: str) -> bool:
        # The few patterns that can mean a name at all: by their texts, which it says itself.
        texts = [f"{san[:length]}*" for length in self._stem_lengths]
        texts += (san, f"*.{san.partition('.')[2]}")
        for text in texts:
            pattern = self._patterns.get(text)
            if pattern is not None and pattern.matches(san):
                return True
        return False

    def __str__(self) -> str:
        shown = ", ".join(map(str, self.entries[:_SHOWN])) or "nobody"
        more = len(self.entries) - _SHOWN
        return f"{shown} and {more:,} more" if more > 0 else shown


AllowList: TypeAlias = Listed | Anyone
"""Who may come in: by a name, or by a public key; made by `allow_list`."""


def allow_list(texts: Sequence[str]) -> AllowList:
    """Read an allow list: patterns (`names.Pattern`) and pins (`pins.Pin`), or the one word `any`.

    10,000 names take a tenth of a second: coroutines call this by `asyncio.to_thread`.

    Raises:
        CertificateError: every text that is neither, one a line, and how to write one; or `any`
            beside others, which it would make meaningless.
    """
    if list(texts) == [_ANY]:
        return Anyone()
    entries: list[Pattern | Pin] = []
    faults = []
    for text in texts:
        if text == _ANY:
            faults.append("'any' stands alone: with it nothing else would mean anything")
            continue
        try:
            entries.append(Pin.parse(text) if Pin.is_meant(text) else Pattern.parse(text))
        except CertificateError as error:
            faults.append(str(error))
    if faults:
        raise CertificateError("\n".join(faults))
    return Listed(tuple(entries))
