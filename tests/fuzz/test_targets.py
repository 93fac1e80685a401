"""Each fuzzing target over its corpus, and over changes to it: plain Python, no atheris."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.catalogue import NAMES, target

# A library warns of some oddities that it reads all the same.
pytestmark = pytest.mark.filterwarnings("ignore")

# To look for what is new is for 'make fuzz'; here a change is judged, each time by the same inputs.
SEARCHES = settings.get_current_profile_name() == "fuzz"

# A place, how much of what stands there goes, and what comes instead.
CHANGES = st.lists(
    st.tuples(st.integers(0, 1000), st.sampled_from([0, 1, 2, 16, 200]), st.binary(max_size=8)),
    max_size=4,
)


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_is_taken_or_refused_as_its_name_says(name: str) -> None:
    tried = target(name)
    samples = {path.name: path.read_bytes() for path in tried.corpus.iterdir()}
    assert tried.module.seeds().keys() <= samples.keys()
    for sample, content in samples.items():
        taken = tried.run(content)
        assert taken != sample.startswith("no-") or sample.startswith("found-"), sample


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
@settings(derandomize=not SEARCHES)
def test_what_must_hold_of_any_bytes_holds_of_samples_that_were_changed(
    name: str, data: st.DataObject
) -> None:
    tried = target(name)
    samples = sorted(path.name for path in tried.corpus.iterdir())
    made = bytearray((tried.corpus / data.draw(st.sampled_from(samples))).read_bytes())
    for place, length, instead in data.draw(CHANGES):
        at = place % (len(made) + 1)
        made[at : at + length] = instead
    tried.run(bytes(made))
