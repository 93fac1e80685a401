"""The identity on disk: what is found, each fault by its name, and every point of a crash."""

from __future__ import annotations

import contextlib
import itertools
import ssl
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from asynctls.config import Address
from asynctls.enrolment import Identity, joining_key
from asynctls.enrolment import folder as folders
from asynctls.enrolment.identity import store, store_trust
from asynctls.enrolment.joining_key import keep_joining_key, read_joining_key
from asynctls.enrolment.texts import Joined
from asynctls.errors import IdentityError
from asynctls.pki.keys import KeyType, generate_now
from asynctls.pki.profiles import Issuer, Profile, issue, make_issuing, make_root

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)


class CA:
    def __init__(self) -> None:
        key = generate_now(KeyType.ECDSA_P256)
        self.root = Issuer(make_root(key, lifetime=DAY, now=NOW), key)
        key = generate_now(KeyType.ECDSA_P256)
        certificate = make_issuing(key.public_key(), issuer=self.root, lifetime=DAY, now=NOW)
        self.issuing = Issuer(certificate, key)

    def join(self, folder: Path, name: str, *, lifetime: timedelta = DAY) -> Joined:
        """All up to the moment when the certificate is to be stored."""
        key = generate_now(KeyType.ECDSA_P256)
        keep_joining_key(folder, key, name)
        certificate = issue(
            Profile.PEER,
            issuer=self.issuing,
            public_key=key.public_key(),
            sans=[name, "spiffe://example/x"],
            lifetime=lifetime,
            now=NOW,
        )
        return Joined.of(
            certificate,
            issuing=(self.issuing.certificate,),
            root=self.root.certificate,
            crl="",
            ttp=Address("ttp.example", 8440),
        )


@pytest.fixture(scope="module")
def ca() -> CA:
    return CA()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "role"
    made.mkdir(mode=0o700)
    return made


def test_what_is_stored_is_found(ca: CA, folder: Path) -> None:
    stored = store(folder, ca.join(folder, "role.example"))
    assert Identity.load(folder) == stored
    assert stored.name == "role.example"
    assert stored.sans == ("role.example", "spiffe://example/x")
    assert stored.ttp == Address("ttp.example", 8440)
    assert stored.serial in str(stored)
    assert stored.certificate_file.read_text().count("BEGIN CERTIFICATE") == 2
    assert stored.trust_file.read_text() == stored.trust
    assert not (folder / "joining-key.pem").exists()


def test_an_expired_identity_is_loaded_all_the_same(ca: CA, folder: Path) -> None:
    stored = store(folder, ca.join(folder, "role", lifetime=timedelta(seconds=5)))
    assert not stored.expired(NOW)
    assert stored.expired(NOW + timedelta(seconds=5))


@pytest.mark.parametrize("lifetime_s", [1, 2, 10, 60, 119, 120, 121, 3600, 80000])
def test_renewal_is_due_at_two_thirds_of_the_lifetime_and_never_before_issuance(
    ca: CA, folder: Path, lifetime_s: int
) -> None:
    lifetime = timedelta(seconds=lifetime_s)
    stored = store(folder, ca.join(folder, "role", lifetime=lifetime))
    assert stored.not_after == NOW + lifetime
    assert stored.lifetime == lifetime
    assert stored.renews_at == NOW + lifetime * 2 / 3


def test_other_cas_are_trusted_under_the_same_root_in_one_step(ca: CA, folder: Path) -> None:
    stored = store(folder, ca.join(folder, "role"))
    assert stored.trusting([ca.issuing.certificate]) is stored
    key = generate_now(KeyType.ECDSA_P256)
    successor = make_issuing(key.public_key(), issuer=ca.root, lifetime=DAY, now=NOW)
    trusting = stored.trusting([ca.issuing.certificate, successor])
    store_trust(trusting, crl="")
    assert Identity.load(folder) == trusting != stored
    assert trusting.issuing == (ca.issuing.certificate, successor)
    # Beside what another process joined or renewed meanwhile nothing is written.
    later = store(folder, ca.join(folder, "role"))
    store_trust(trusting, crl="")
    assert Identity.load(folder) == later


def test_where_there_is_none_it_is_said(tmp_path: Path) -> None:
    assert Identity.find(tmp_path / "nowhere") is None
    with pytest.raises(IdentityError, match="no identity in"):
        Identity.load(tmp_path / "nowhere")


def _remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def _write(name: str, content: str | bytes) -> Callable[[Path], object]:
    octets = content if isinstance(content, bytes) else content.encode()
    return lambda folder: (folder / name).write_bytes(octets)


def _key_of_an_unknown_kind(folder: Path) -> None:
    leaf, end, chain = (folder / "cert.pem").read_text().partition("-----END CERTIFICATE-----\n")
    der = ssl.PEM_cert_to_DER_cert(leaf + end)
    # In place of id-ecPublicKey (RFC 5480, section 2.1.1).
    der = der.replace(bytes.fromhex("2a8648ce3d0201"), bytes.fromhex("2a8648ce3d0209"))
    (folder / "cert.pem").write_text(ssl.DER_cert_to_PEM_cert(der) + chain)


def _other_key(folder: Path) -> None:
    from asynctls.pki.keys import key_to_pem

    (folder / "key.pem").write_bytes(key_to_pem(generate_now(KeyType.ECDSA_P256)))


def _other_root(folder: Path) -> None:
    from asynctls.pki.certificates import to_pem

    other = CA()
    (folder / "ca.pem").write_text(to_pem(other.root.certificate, other.issuing.certificate))


def _newer(name: str) -> Callable[[Path], None]:
    """What a later program may leave, whatever else it has changed."""

    def write(folder: Path) -> None:
        origin = msgspec.json.decode((folder / "identity.json").read_bytes())
        origin |= {"version": 2, "more": "than we know"}
        texts = {"certificate": "", "trust": "", "crl": "", "origin": origin}
        (folder / name).write_bytes(
            msgspec.json.encode(origin if name == "identity.json" else texts)
        )
        (folder / name).chmod(0o600)
        (folder / "cert.pem").unlink()

    return write


def _leaf_alone(folder: Path) -> None:
    end = "-----END CERTIFICATE-----\n"
    leaf = (folder / "cert.pem").read_text().partition(end)[0] + end
    (folder / "cert.pem").write_text(leaf)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (_remove("key.pem"), r"key\.pem is missing"),
        (_remove("ca.pem"), r"ca\.pem is missing"),
        (_remove("identity.json"), r"identity\.json is missing"),
        (_write("key.pem", "nonsense"), "no private key"),
        (_write("cert.pem", "nonsense"), "no PEM text of well-formed certificates"),
        (_write("ca.pem", ""), "no PEM text of well-formed certificates"),
        (_write("identity.json", "{}"), "is damaged"),
        (_write("identity.json", b'{"ttp":"\xff"}'), "is damaged"),
        (_key_of_an_unknown_kind, "do not lead to the root"),
        (_write("identity.json", '{"ttp":"x","root_sha256":"00","name":"n"}'), "is damaged"),
        (_write("joined.json", "{"), "joined.json"),
        (_newer("identity.json"), "written by a newer asynctls .identity 2; this one knows 1."),
        (_newer("joined.json"), "written by a newer asynctls"),
        (_other_key, "is not the key of the certificate"),
        (_other_root, "is not the root that"),
        (_leaf_alone, "do not lead to the root"),
        (lambda folder: (folder / "key.pem").chmod(0o640), "other users can read"),
        (lambda folder: folder.chmod(0o750), "other users can enter"),
    ],
)
def test_each_fault_is_named(
    ca: CA, folder: Path, harm: Callable[[Path], object], words: str
) -> None:
    store(folder, ca.join(folder, "role"))
    harm(folder)
    before = {each.name: each.read_bytes() for each in folder.iterdir()}
    with pytest.raises(IdentityError, match=words):
        Identity.find(folder)
    assert {each.name: each.read_bytes() for each in folder.iterdir()} == before


class Killed(BaseException):
    """The process is gone."""


class Killer:
    """Lets so many steps that change the disk happen, and then no other."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
        self.left = steps
        for module in (folders, joining_key):
            write = module.write_atomically
            monkeypatch.setattr(module, "write_atomically", self._stepping(write))
        monkeypatch.setattr(Path, "unlink", self._stepping(Path.unlink))

    def _stepping(self, step: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **named: Any) -> Any:
            if isinstance(arguments[0], Path) and arguments[0].name.endswith(".tmp"):
                return step(*arguments, **named)
            if self.left == 0:
                raise Killed
            self.left -= 1
            return step(*arguments, **named)

        return counted


@pytest.mark.parametrize("old_ttp", ["the same TTP", "another TTP"])
def test_after_a_crash_between_any_two_steps_there_is_the_old_identity_or_the_new(
    ca: CA, tmp_path: Path, old_ttp: str
) -> None:
    first_ca = ca if old_ttp == "the same TTP" else CA()
    seen = []
    for steps in itertools.count():
        folder = tmp_path / str(steps)
        folder.mkdir(mode=0o700)
        old = store(folder, first_ca.join(folder, "old"))
        with pytest.MonkeyPatch.context() as monkeypatch:
            killer = Killer(monkeypatch, steps)
            try:
                joined = ca.join(folder, "new")
                store(folder, joined)
            except Killed:
                pass
        found = Identity.load(folder)
        assert Identity.load(folder) == found
        if found.name == "old":
            assert found == old
        seen.append(found.name)
        if killer.left:
            break
    # joining key, its token, the journal; from then on it is the new one.
    assert seen[:3] == ["old", "old", "old"]
    assert set(seen[3:]) == {"new"}
    assert len(seen) > 9
    assert not list(folder.glob("joi*"))


def test_a_crash_in_the_first_join_leaves_nothing_or_all(ca: CA, tmp_path: Path) -> None:
    seen = []
    for steps in itertools.count():
        folder = tmp_path / str(steps)
        folder.mkdir(mode=0o700)
        with pytest.MonkeyPatch.context() as monkeypatch:
            killer = Killer(monkeypatch, steps)
            with contextlib.suppress(Killed):
                store(folder, ca.join(folder, "new"))
        seen.append(Identity.find(folder) is not None)
        if killer.left:
            break
    assert seen == [False] * 3 + [True] * (len(seen) - 3)


def test_two_that_finish_one_swap_do_no_harm(ca: CA, folder: Path) -> None:
    stored = store(folder, ca.join(folder, "old"))
    joined = ca.join(folder, "new")
    journal = folder / "joined.json"
    import msgspec

    journal.write_bytes(msgspec.json.encode(joined))
    journal.chmod(0o600)
    content = journal.read_bytes()
    found = Identity.load(folder)
    assert found.name == "new" != stored.name
    # The second one had read the journal before the first one was done.
    journal.write_bytes(content)
    journal.chmod(0o600)
    assert Identity.load(folder) == found


def test_a_joining_key_is_for_its_token_alone(folder: Path) -> None:
    key = generate_now(KeyType.ECDSA_P256)
    keep_joining_key(folder, key, "token-1")
    again = read_joining_key(folder, "token-1")
    assert again is not None
    assert again.public_key() == key.public_key()
    assert read_joining_key(folder, "token-2") is None
    assert (folder / "joining-key.pem").stat().st_mode & 0o777 == 0o600
    # A crash between the two files: another key, and the old note beside it.
    keep_joining_key(folder, generate_now(KeyType.ECDSA_P256), "token-3")
    note = (folder / "joining.json").read_bytes()
    keep_joining_key(folder, generate_now(KeyType.ECDSA_P256), "token-4")
    (folder / "joining.json").write_bytes(note)
    assert read_joining_key(folder, "token-3") is None


def test_repr_shows_no_certificate(ca: CA, folder: Path) -> None:
    stored = store(folder, ca.join(folder, "role"))
    assert "certificate=" not in repr(replace(stored))
