"""What a frame costs beside the HMAC in it: run me as a script.

Absolute times belong to one machine and hour; the ratio to a plain ``hmac.digest`` over a message
of the same length, taken side by side, carries over.
"""

from __future__ import annotations

import hmac
import statistics
import sys
from time import perf_counter
from typing import TYPE_CHECKING

from asynctls.mac import Secret
from asynctls.session.opener import Opener
from asynctls.session.sealer import Sealer
from asynctls.session.states import Role

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES = (32, 1024, 65536)
ROUNDS = 101


def measure(run: Callable[[int], None], times: int) -> float:
    """Microseconds for one of ``times``."""
    began = perf_counter()
    run(times)
    return (perf_counter() - began) / times * 1e6


def bench(size: int) -> tuple[float, float, float]:
    """Medians of interleaved rounds: plain digest, seal, open, in microseconds."""
    key, payload = Secret.random(), bytes(size)
    times = 20 if size > 4096 else 500
    content = bytes(size + 52)

    def digest(times: int) -> None:
        raw = key.reveal()
        for _ in range(times):
            hmac.digest(raw, content, "sha256")

    def seal(times: int) -> None:
        sealer = Sealer(Role.CLIENT, key)
        for _ in range(times):
            sealer.data(payload)

    sealer = Sealer(Role.CLIENT, key)
    frames = [sealer.data(payload) for _ in range(times)]

    def unseal(times: int) -> None:
        opener = Opener(Role.CLIENT, key)
        for frame in frames[:times]:
            opener.receive_data(frame)
            opener.next_frame()

    rounds = [
        (measure(digest, times), measure(seal, times), measure(unseal, times))
        for _ in range(ROUNDS)
    ]
    plain, sealing, opening = (statistics.median(column) for column in zip(*rounds, strict=True))
    return plain, sealing, opening


def main() -> None:
    """Prints one row for each size."""
    write = sys.stdout.write
    write("payload, bytes | hmac.digest, µs | seal, µs (ratio) | open, µs (ratio)\n")
    for size in SIZES:
        plain, sealing, opening = bench(size)
        write(
            f"{size:>14} | {plain:>15.2f} | {sealing:>8.2f} ({sealing / plain:.2f}) "
            f"| {opening:>8.2f} ({opening / plain:.2f})\n"
        )


if __name__ == "__main__":
    main()
