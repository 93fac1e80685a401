"""docs/guide/policy.md: every rule by which somebody is refused is there, with its status."""

from __future__ import annotations

import re

from asynctls.ttp.policy import Rule
from tests.docs.pages import GUIDES

GUIDE = (GUIDES / "policy.md").read_text()
# What does not come as far as the policy: the EST service itself refuses it.
NEVER_DECIDED = {"no-credential": 401, "wrong-type": 415, "no-certificate": 403}


def test_the_guide_names_every_rule_and_its_status() -> None:
    told: dict[str, int] = {}
    for rules, statuses in re.findall(r"^\| (`[^|]*`) \| ([0-9, ]+) \|", GUIDE, re.MULTILINE):
        names = re.findall(r"`([a-z-]+)`", rules)
        codes = list(map(int, statuses.split(",")))
        codes = codes if len(codes) > 1 else codes * len(names)
        told |= dict(zip(names, codes, strict=True))
    assert told == {rule.text: rule.status for rule in Rule} | NEVER_DECIDED
