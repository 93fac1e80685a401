from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynctls.errors import CertificateError
from asynctls.pki.certificates import to_pem
from asynctls.pki.keys import KeyType, generate_now
from asynctls.pki.pins import Pin
from asynctls.pki.profiles import make_root

if TYPE_CHECKING:
    from pathlib import Path

# RFC 7469, section 2.4, names the command; curl's manual has it with this ending.
OPENSSL = (
    "openssl x509 -pubkey -noout -in {} | openssl pkey -pubin -outform der "
    "| openssl dgst -sha256 -binary | openssl base64 -A"
)


@pytest.mark.parametrize("key_type", [KeyType.RSA_2048, KeyType.ECDSA_P384])
def test_a_pin_is_the_one_that_openssl_makes(key_type: KeyType, tmp_path: Path) -> None:
    root = make_root(generate_now(key_type), lifetime=timedelta(days=1), now=datetime.now(UTC))
    path = tmp_path / "root.pem"
    path.write_text(to_pem(root))
    made = subprocess.run(
        OPENSSL.format(path), shell=True, check=True, capture_output=True, text=True
    )
    assert str(Pin.of(root)) == f"sha256//{made.stdout}"


@given(st.binary(min_size=32, max_size=32))
def test_a_pins_text_gives_the_pin_back(digest: bytes) -> None:
    assert Pin.parse(str(Pin(digest))) == Pin(digest)


@given(
    st.sampled_from(["sha256//", "sha256/", "SHA256//", ""]),
    st.text(max_size=60) | st.just("A" * 43),
)
def test_what_is_no_pin_is_refused_and_says_where_one_is_found(prefix: str, text: str) -> None:
    with pytest.raises(CertificateError, match="as 'asynctls identity' prints it"):
        Pin.parse(prefix + text)
