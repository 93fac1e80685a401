"""Which names a policy's rule covers, and which it does not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynctls.errors import CertificateError
from asynctls.pki.name_rules import NameRule


@pytest.mark.parametrize(
    ("rule", "covered", "outside"),
    [
        ("DB.example", ["db.example"], ["x.db.example", "db.example.org", "10.0.0.1"]),
        ("*.example.org", ["a.example.org"], ["example.org", "a.b.example.org", "aexample.org"]),
        (
            ".Example.org",
            ["a.example.org", "a.b.example.org"],
            ["example.org", "badexample.org", "spiffe://a/x.example.org"],
        ),
        (".local", ["printer.local"], ["local", "10.0.0.1"]),
        ("10.1.0.0/16", ["10.1.255.255"], ["10.2.0.0", "::ffff:10.1.0.1", "a.example", "2001::1"]),
        ("2001:db8::/32", ["2001:db8::1"], ["2001:db9::1", "10.0.0.1"]),
        ("10.0.0.1", ["10.0.0.1"], ["10.0.0.2"]),
        (
            "spiffe://td/web/*",
            ["spiffe://td/web/a", "spiffe://td/web/a/b"],
            ["spiffe://td/web/", "spiffe://td/webbing", "spiffe://other/web/a"],
        ),
        ("urn:x:y", ["urn:x:y"], ["urn:x:yy"]),
    ],
)
def test_a_rule_covers_these_names_and_no_others(
    rule: str, covered: list[str], outside: list[str]
) -> None:
    parsed = NameRule.parse(rule)
    assert NameRule.parse(str(parsed)) == parsed
    assert [name for name in covered + outside if parsed.covers(name)] == covered


@pytest.mark.parametrize(
    "text",
    ["", ".", "*", "*.org", ".10.0.0.1", ".a:b", "10.1.0.1/16", "10.0.0.0/33", "a b", "..a", "a/8"],
)
def test_what_is_no_rule_says_how_to_write_one(text: str) -> None:
    with pytest.raises(CertificateError, match=r"is no name rule: .*10\.1\.0\.0/16") as caught:
        NameRule.parse(text)
    assert "allow list" not in str(caught.value)
    assert "is no pattern" not in str(caught.value)


@given(st.text(max_size=40))
def test_any_text_is_a_rule_or_an_error_in_words(text: str) -> None:
    try:
        rule = NameRule.parse(text)
    except CertificateError:
        return
    assert NameRule.parse(str(rule)) == rule
    assert not rule.covers("DNSName 'x'")
