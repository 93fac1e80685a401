"""Each fuzzing target over its corpus, and over a few changes to it: plain Python, no atheris."""

from __future__ import annotations

import random
from itertools import islice

import pytest

from tests.fuzz.catalogue import NAMES, target
from tests.fuzz.mutations import mutated


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_is_taken_or_refused_as_its_name_says(name: str) -> None:
    tried = target(name)
    samples = {path.name: path.read_bytes() for path in tried.corpus.iterdir()}
    assert tried.module.seeds().keys() <= samples.keys()
    for sample, content in samples.items():
        taken = tried.run(content)
        assert taken != sample.startswith("no-") or sample.startswith("found-"), sample


@pytest.mark.parametrize("name", NAMES)
def test_what_must_hold_of_any_bytes_holds_of_samples_that_were_changed(name: str) -> None:
    tried = target(name)
    samples = [path.read_bytes() for path in sorted(tried.corpus.iterdir())]
    for content in islice(mutated(samples, random.Random(name)), 100):
        tried.run(content)
