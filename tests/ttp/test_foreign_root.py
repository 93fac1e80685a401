"""An issuing CA of a root elsewhere is tried by names that it may certify."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from asynctls.config import TTPConfig
from asynctls.pki.certificates import to_pem
from asynctls.pki.keys import KeyType, generate_now, judge_public_key
from asynctls.pki.profiles import Issuer, make_issuing, make_root
from asynctls.ttp import ca, clock, foreign_root

if TYPE_CHECKING:
    from pathlib import Path

DAY = timedelta(days=1)
ROOT_KEY = generate_now(KeyType.ECDSA_P256)


@pytest.mark.parametrize(
    "constraints", [(), ("example.org",), ("10.0.0.0/8",), ("uri:example.org",)]
)
async def test_a_ca_with_name_constraints_can_be_brought_in(
    tmp_path: Path, constraints: tuple[str, ...]
) -> None:
    config = TTPConfig(
        state=tmp_path / "ttp", issuing_key_type="ecdsa-p256", name_constraints=constraints
    )
    request = x509.load_pem_x509_csr((await foreign_root.request(config)).encode())
    root = Issuer(make_root(ROOT_KEY, lifetime=9 * DAY, now=clock.now()), ROOT_KEY)
    issuing = make_issuing(
        judge_public_key(request.public_key()),
        issuer=root,
        lifetime=9 * DAY,
        now=clock.now(),
        constraints=ca.constraints_of(config),
    )
    file = tmp_path / "brought.pem"
    file.write_text(to_pem(issuing, root.certificate))
    assert await foreign_root.bring(config, file, None) == issuing
    assert not list(config.state.glob(".trying-*"))
