"""How long operations take, timed apart from where they are done: inside TLS nobody can."""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynctls.pki.keys import PrivateKey

__all__ = ["seconds_for_one", "signing"]

_LEAST_RUNS, _MOST_RUNS = 5, 200
_FOR_S = 0.1


def signing(key: PrivateKey, signed: bytes) -> tuple[Callable[[], object], Callable[[], object]]:
    """To sign these bytes as certificates are (PKCS #1 v1.5 or ECDSA, SHA-256), and to verify."""
    if isinstance(key, rsa.RSAPrivateKey):
        rules = padding.PKCS1v15(), hashes.SHA256()
        signature, public = key.sign(signed, *rules), key.public_key()
        return (
            lambda: key.sign(signed, *rules),
            lambda: public.verify(signature, signed, *rules),
        )
    algorithm = ec.ECDSA(hashes.SHA256())
    made, point = key.sign(signed, algorithm), key.public_key()
    return (
        lambda: key.sign(signed, algorithm),
        lambda: point.verify(made, signed, algorithm),
    )


def seconds_for_one(work: Callable[[], object]) -> float:
    """The median of as many tries as a tenth of a second allows, 5 to 200 of them; blocks."""
    taken: list[float] = []
    ends = time.perf_counter() + _FOR_S
    while len(taken) < _LEAST_RUNS or (len(taken) < _MOST_RUNS and time.perf_counter() < ends):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return median(taken)
