from __future__ import annotations

import ipaddress

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from asynctls.errors import CertificateError
from asynctls.pki.names import (
    NameKind,
    Pattern,
    canonical_name,
    common_name_of,
    format_san,
    format_serial,
    holder_of,
    kind_of,
    parse_san,
    parse_serial,
    principal_name,
)

labels = st.from_regex(r"\A[a-z]([a-z0-9]{0,20}[a-z0-9])?\Z")
dns_names = st.lists(labels, min_size=1, max_size=5).map(".".join)
addresses = st.ip_addresses().filter(lambda address: "%" not in str(address)).map(str)
uris = st.builds("spiffe://{}{}".format, dns_names, st.lists(labels.map("/{}".format)).map("".join))
names = dns_names | addresses | uris


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("server", x509.DNSName("server")),
        ("Server.Example.ORG", x509.DNSName("server.example.org")),
        ("xn--bcher-kva.example", x509.DNSName("xn--bcher-kva.example")),
        ("xn--strae-oqa.example", x509.DNSName("xn--strae-oqa.example")),
        ("3com.example", x509.DNSName("3com.example")),
        ("10.0.0.1", x509.IPAddress(ipaddress.ip_address("10.0.0.1"))),
        ("0:0::0001", x509.IPAddress(ipaddress.ip_address("::1"))),
        ("SPIFFE://TD.example/Web", x509.UniformResourceIdentifier("spiffe://td.example/Web")),
        ("urn:uuid:1-2", x509.UniformResourceIdentifier("urn:uuid:1-2")),
        ("https://[::1]:8443/x?y", x509.UniformResourceIdentifier("https://[::1]:8443/x?y")),
    ],
)
def test_the_kind_of_a_name_is_found_out(text: str, name: x509.GeneralName) -> None:
    assert parse_san(text) == name
    assert parse_san(format_san(name)) == name


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("server.", "ends in a dot"),
        ("a..b", "empty label"),
        (".a", "empty label"),
        ("a_b", "letters, digits, and hyphens"),
        ("-a", "letters, digits"),
        ("a-", "letters, digits"),
        ("a b", "letters, digits"),
        ("a\n", "letters, digits"),
        ("a" * 64, "more than 63"),
        (".".join(["a" * 60] * 5), "253"),
        ("bücher.example", "A-labels"),
        ("xn--99999", "only looks internationalised"),
        ("xn--a.example", "only looks internationalised"),  # decodes to a control character
        ("xn--bcher-2pa.example", "only looks internationalised"),  # an upper-case letter
        ("xn--8i7c.example", "only looks internationalised"),  # a full-width one
        ("xn--abc-", "letters, digits"),
        ("ab--cd.example", "only looks internationalised"),
        ("*.example.org", "wildcard"),
        ("*", "wildcard"),
        ("10.0.0.256", "neither an IP address nor"),
        ("10.0.0.1/8", "letters, digits"),
        ("user@example.org", "letters, digits"),
        ("fe80::1%eth0", "RFC 3986"),
        ("localhost:8443", "host and port"),
        ("://x", "scheme"),
        ("spiffe:", "names nothing"),
        ("spiffe://", "names nothing"),
        ("spiffe:///path", "needs a host"),
        ("spiffe://a@b/path", "no user"),
        ("spiffe://td/a b", "RFC 3986"),
        ("spiffe://td/ü", "RFC 3986"),
        ("spiffe://td/%zz", "RFC 3986"),
        ("spiffe://td/a/../b", "'..'"),
        ("spiffe://td/.", "'.'"),
        ("spiffe://td/a%2E%2e", "encoded dot"),
        ("spiffe://td/a%2fb", "slash"),
        ("spiffe://td/a?b", "no SPIFFE ID"),
        ("spiffe://td/a#b", "no SPIFFE ID"),
        ("spiffe://td:8443/a", "no SPIFFE ID"),
        ("spiffe://td/a//b", "no SPIFFE ID"),
        ("spiffe://td/a/", "no SPIFFE ID"),
        ("spiffe://td/%41", "no SPIFFE ID"),
        ("spiffe:td/a", "no SPIFFE ID"),
    ],
)
def test_what_is_no_name_is_refused_with_the_reason(text: str, words: str) -> None:
    with pytest.raises(CertificateError, match=words.replace(".", r"\.")):
        parse_san(text)


@given(names)
def test_a_names_text_gives_the_name_back(text: str) -> None:
    name = parse_san(text)
    assert parse_san(format_san(name)) == name
    assert format_san(parse_san(format_san(name))) == format_san(name)


@given(st.text(max_size=80) | st.from_regex(r"[a-z*:/.%@-]{0,30}"))
def test_any_text_is_a_name_in_one_form_or_refused(text: str) -> None:
    try:
        name = parse_san(text)
    except CertificateError:
        return
    assert parse_san(format_san(name)) == name
    assert format_san(name).isascii()


@given(st.text(max_size=80) | st.from_regex(r"[a-z*:/.%@-]{0,30}"))
def test_any_text_is_a_pattern_that_reads_back_or_refused(text: str) -> None:
    try:
        pattern = Pattern.parse(text)
    except CertificateError as error:
        assert "a pattern is" in str(error)  # noqa: PT017
        return
    assert Pattern.parse(str(pattern)) == pattern


@given(names)
def test_a_name_as_a_pattern_matches_itself(text: str) -> None:
    assert Pattern.parse(text.upper() if kind_of(text) is NameKind.DNS else text).matches(
        format_san(parse_san(text))
    )


@given(dns_names, labels)
def test_a_star_stands_for_exactly_one_label(domain: str, label: str) -> None:
    domain = f"{domain}.org"
    pattern = Pattern.parse(f"*.{domain}")
    assert pattern.matches(f"{label}.{domain}")
    assert not pattern.matches(domain)
    assert not pattern.matches(f"{label}.x.{domain}")
    assert not pattern.matches(f".{domain}")
    assert not pattern.matches(f"spiffe://{label}.{domain}")
    assert not pattern.matches(f"{label}-{domain}")


@pytest.mark.parametrize(
    ("pattern", "san", "matching"),
    [
        ("Server.Example", "server.example", True),
        ("server", "server.example", False),
        ("spiffe://td/web/*", "spiffe://td/web/1", True),
        ("spiffe://td/web/*", "spiffe://td/web/1/2", True),
        ("spiffe://TD/web/*", "spiffe://td/web/1", True),
        ("spiffe://td/web/*", "spiffe://td/web/", False),
        ("spiffe://td/web/*", "spiffe://td/web", False),
        ("spiffe://td/web/*", "spiffe://td/website", False),
        ("spiffe://td/web/*", "spiffe://td/Web/1", False),
        ("spiffe://td/*", "spiffe://td.evil/x", False),
        ("spiffe://td/web", "spiffe://td/web", True),
        ("https://td/web/*", "https://td/web/1?a=/b", False),
        ("https://td/web/*", "https://td/web/1#b", False),
        ("https://td/web/*", "https://td/web/?b", False),
        ("https://td/web/1?a=b", "https://td/web/1?a=b", True),
        ("0:0::1", "::1", True),
        ("10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "DNSName '10.0.0.1'", False),
    ],
)
def test_which_names_a_pattern_means(pattern: str, san: str, *, matching: bool) -> None:
    assert Pattern.parse(pattern).matches(san) is matching


@pytest.mark.parametrize(
    "text",
    [
        "*",
        "*.",
        "*.org",
        "*.*.org",
        "a.*.org",
        "w*.example.org",
        "spiffe://*",
        "spiffe:///*",
        "spiffe:/*",
        ":/*",
        "spiffe://td/*/x",
        "spiffe://td/*/*",
        "spiffe://td/w*",
        "https://td/web?a=/*",
        "https://td/web#a/*",
        "spiffe://td/web/1?b",
        "*.10.0.0.1",
        "",
        "a b",
        "localhost:8443",
        "10.0.0.*",
    ],
)
def test_a_bad_pattern_is_an_error_that_says_how_to_write_one(text: str) -> None:
    with pytest.raises(CertificateError, match=r"\*\.example\.org"):
        Pattern.parse(text)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (x509.DNSName("10.0.0.1"), "DNSName '10.0.0.1'"),
        (x509.DNSName("spiffe://td/x"), "DNSName 'spiffe://td/x'"),
        (x509.DNSName("*.example.org"), "DNSName '*.example.org'"),
        (x509.DNSName("a\x1b[31m"), "DNSName 'a\\x1b[31m'"),
        (
            x509.UniformResourceIdentifier("spiffe://td/web/1?b"),
            "UniformResourceIdentifier 'spiffe://td/web/1?b'",
        ),
        (x509.UniformResourceIdentifier("server"), "UniformResourceIdentifier 'server'"),
        (x509.RFC822Name("a@b.example"), "RFC822Name 'a@b.example'"),
        (x509.RegisteredID(x509.ObjectIdentifier("1.2.3")), "RegisteredID ''"),
        (
            x509.DirectoryName(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "server")])),
            "DirectoryName 'CN=server'",
        ),
    ],
)
def test_a_name_that_could_not_be_typed_is_shown_in_quotes_and_matches_nothing(
    name: x509.GeneralName, text: str
) -> None:
    assert format_san(name) == text
    assert kind_of(text) is NameKind.OTHER
    with pytest.raises(CertificateError):
        parse_san(text)


def test_a_holder_is_called_by_dns_name_then_uri_then_address() -> None:
    assert principal_name(["10.0.0.1", "spiffe://td/x", "b", "a"]) == "b"
    assert principal_name(["10.0.0.1", "spiffe://td/x"]) == "spiffe://td/x"
    assert principal_name(["10.0.0.1"]) == "10.0.0.1"
    assert principal_name([]) is None


def test_a_common_name_cannot_forge_a_line_of_the_log() -> None:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a\nlistening")])
    assert common_name_of(name) == r"'a\nlistening'"
    assert common_name_of(x509.Name([])) is None
    place = x509.Name([x509.NameAttribute(x509.NameOID.LOCALITY_NAME, "a\nlistening")])
    assert holder_of(place) == r"'L=a\nlistening'"
    assert holder_of(name) == common_name_of(name)


@given(st.integers(min_value=1, max_value=(1 << 160) - 1))
def test_a_serial_number_reads_back_also_in_lower_case_and_with_colons(serial_number: int) -> None:
    text = format_serial(serial_number)
    assert len(text) % 2 == 0
    assert text == text.upper()
    octets = [text[i : i + 2] for i in range(0, len(text), 2)]
    for form in (text, text.lower(), ":".join(octets), f" {text}\n"):
        assert parse_serial(form) == serial_number


@pytest.mark.parametrize("text", ["", "0", "00", "server", "0x1F", "-1", "1_0", "1" * 41, "\uff11"])
def test_what_is_no_serial_number_is_refused(text: str) -> None:
    with pytest.raises(CertificateError, match="no serial number"):
        parse_serial(text)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("Server.Example", "server.example"),
        ("0:0::1", "::1"),
        ("SPIFFE://Host/Path", "spiffe://host/Path"),
        ("no name", "no name"),
    ],
)
def test_a_name_is_compared_in_the_form_that_certificates_have(text: str, canonical: str) -> None:
    assert canonical_name(text) == canonical
