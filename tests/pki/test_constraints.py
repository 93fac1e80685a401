"""Name constraints: what a CA cannot certify, by our own judgement and by OpenSSL's."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from asynctls.errors import CertificateError
from asynctls.pki.certificates import to_pem
from asynctls.pki.constraints import name_constraints, name_inside, outside
from asynctls.pki.keys import KeyType, generate_now
from asynctls.pki.profiles import Issuer, Profile, issue, make_issuing, make_root

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
ROOT_KEY, KEY = (generate_now(KeyType.ECDSA_P256) for _ in range(2))
ROOT = Issuer(make_root(ROOT_KEY, lifetime=9 * DAY, now=NOW), ROOT_KEY)
ALL = ("example.org", "10.0.0.0/8", "uri:example.org")


def constrained(*texts: str) -> Issuer:
    certificate = make_issuing(
        KEY.public_key(),
        issuer=ROOT,
        lifetime=9 * DAY,
        now=NOW,
        constraints=name_constraints(texts),
    )
    return Issuer(certificate, KEY)


CASES = [
    (ALL, "example.org", True),
    (ALL, "a.b.example.org", True),
    (ALL, "badexample.org", False),
    (ALL, "localhost", False),
    (ALL, "10.1.2.3", True),
    (ALL, "11.1.2.3", False),
    (ALL, "::1", False),
    (ALL, "spiffe://example.org/web", True),
    (ALL, "spiffe://a.example.org/web", True),
    (ALL, "spiffe://example.com/web", False),
    (("example.org",), "example.org", True),
    (("example.org",), "10.1.2.3", False),
    (("example.org",), "::1", False),
    (("example.org",), "spiffe://example.org/web", False),
    (("10.0.0.0/8",), "example.org", False),
    (("10.0.0.0/8",), "10.0.0.1", True),
    (("fd00::/8",), "fd00::1", True),
    (("uri:example.org",), "spiffe://example.org/x", True),
    (("uri:example.org",), "example.org", False),
]


@pytest.mark.parametrize(("texts", "san", "inside"), CASES)
def test_we_and_openssl_draw_the_same_line(
    tmp_path: Path,
    program: Callable[[str], Path],
    texts: tuple[str, ...],
    san: str,
    *,
    inside: bool,
) -> None:
    issuer = constrained(*texts)
    assert (outside(issuer.certificate, [san]) == ()) == inside
    leaf = issue(
        Profile.PEER,
        issuer=issuer,
        public_key=KEY.public_key(),
        sans=[san],
        lifetime=DAY,
        now=NOW,
    )
    for name, certificate in (("root", ROOT.certificate), ("ca", issuer.certificate)):
        (tmp_path / name).write_text(to_pem(certificate))
    (tmp_path / "leaf").write_text(to_pem(leaf))
    command = [str(program("openssl")), "verify", "-x509_strict", "-CAfile", "root"]
    verified = subprocess.run(
        [*command, "-untrusted", "ca", "leaf"],
        check=False,
        cwd=tmp_path,
        capture_output=True,
        timeout=20,
    )
    assert (verified.returncode == 0) == inside, verified.stderr.decode()


def test_a_uri_without_a_host_is_outside() -> None:
    assert outside(constrained(*ALL).certificate, ["urn:example:x"]) == ("urn:example:x",)


def test_without_constraints_every_name_is_inside() -> None:
    assert name_constraints(()) is None
    assert outside(constrained().certificate, ["anything", "::1", "urn:x:y"]) == ()


def test_the_extension_is_critical() -> None:
    extensions = constrained("example.org").certificate.extensions
    assert extensions.get_extension_for_class(x509.NameConstraints).critical


def test_every_text_that_is_no_constraint_is_named() -> None:
    with pytest.raises(CertificateError) as caught:
        name_constraints(["example.org", "a b", "10.0.0.1/8", "uri:", "spiffe://x/y", "*.a.org"])
    assert len(str(caught.value).splitlines()) == 5


@pytest.mark.parametrize(
    "texts",
    [(), ALL, ("example.org",), ("10.0.0.0/8",), ("fd00::/8",), ("uri:example.org",)],
)
def test_there_is_a_name_to_try_each_ca_with(texts: tuple[str, ...]) -> None:
    certificate = constrained(*texts).certificate
    assert outside(certificate, [name_inside(certificate)]) == ()


def test_a_ca_that_may_certify_nothing_of_ours_has_no_name_to_try() -> None:
    certificate = make_issuing(
        KEY.public_key(),
        issuer=ROOT,
        lifetime=DAY,
        now=NOW,
        constraints=x509.NameConstraints(None, [x509.DNSName("")]),
    )
    with pytest.raises(CertificateError, match="permit no DNS name"):
        name_inside(certificate)


@pytest.mark.parametrize("end", "?#")
def test_a_query_or_a_fragment_is_no_part_of_a_host(end: str) -> None:
    """OpenSSL takes it for one, so nobody after us would notice."""
    certificate = constrained(*ALL).certificate
    strange = f"https://example.com{end}a.example.org/web"
    assert outside(certificate, [strange]) == (strange,)
    assert outside(certificate, [f"https://example.org{end}b/web"]) == ()
