"""Signatures: made with a key that the environment names, verified before anything of a model is run."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import joblib
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from tdsp.cli import app
from tdsp.core.errors import BundleError
from tdsp.core.files import sha256_file
from tdsp.packaging.bundle import check, load_model
from tdsp.packaging.signing import sign_bundle, signature_text, signer_of, signing_fingerprint, verify_signature
from tdsp.packaging.wheel import build_wheel, open_wheel
from tdsp.registry import registry
from tdsp.serving.predictor import load_served
from tests.packaging.test_bundle import flip, record_run, reseal, write
from tests.support.tiny import write_project


def write_key(folder: Path, name: str, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, password: str = "") -> Path:
    """A private key and, beside it, the public one."""
    secret = BestAvailableEncryption(password.encode()) if password else NoEncryption()
    (folder / f"{name}.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, secret))
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (folder / f"{name}.pub").write_bytes(public)
    return folder / f"{name}.pem"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The keys of the maker and of a stranger."""
    folder = tmp_path_factory.mktemp("keys")
    for name, curve in (("maker", ec.SECP256R1()), ("stranger", ec.SECP384R1())):
        write_key(folder, name, ec.generate_private_key(curve))
    return folder


@pytest.fixture(scope="module")
def unsigned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle to copy."""
    return write(tmp_path_factory.mktemp("unsigned") / "model", "binary", "linear")[0]


@pytest.fixture
def signed(unsigned: Path, keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle that the maker has signed, to change."""
    monkeypatch.setenv("TDSP_SIGNING_KEY", str(keys / "maker.pem"))
    folder = Path(shutil.copytree(unsigned, tmp_path / "signed"))
    sign_bundle(folder)
    return folder


def test_a_signed_bundle_verifies_and_opens(signed: Path, keys: Path) -> None:
    """The hash that was signed is that of bundle.json, and the signature is no stray file of the bundle."""
    sha256 = verify_signature(signed, keys / "maker.pub")
    assert load_model(signed, sha256).replay_golden()["identical"]
    assert registry.load_model(signed, verify_key=keys / "maker.pub").inner.sha256 == sha256
    assert signer_of(signed) == signing_fingerprint() != ""


def test_the_command_line_of_model_signing_itself_accepts_the_signature(signed: Path, keys: Path) -> None:
    """Whoever has no tdsp verifies with OpenSSF's tool."""
    command = [sys.executable, "-m", "model_signing", "verify", "key", str(signed), "--signature",
               str(signed / "model.sig"), "--public_key", str(keys / "maker.pub"), "--ignore-paths",
               str(signed / "model.sig")]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_change_of_any_file_is_refused(signed: Path, keys: Path) -> None:
    """One bit of each, a file more, a file less."""
    for path in [path for path in signed.rglob("*") if path.is_file()]:
        before = path.read_bytes()
        flip(path)
        with pytest.raises(BundleError, match="signature does not hold"):
            verify_signature(signed, keys / "maker.pub")
        path.write_bytes(before)
    for change in ((signed / "more.txt").touch, (signed / "more.txt").unlink, (signed / "schema.json").unlink):
        change()
        if (signed / "more.txt").exists() or not (signed / "schema.json").exists():
            with pytest.raises(BundleError, match="signature does not hold"):
                verify_signature(signed, keys / "maker.pub")
    assert not (signed / "schema.json").exists()


@pytest.mark.parametrize("sign_again", [False, True])
def test_an_evil_model_with_fitting_hashes_is_not_run(
    signed: Path, keys: Path, monkeypatch: pytest.MonkeyPatch, sign_again: bool
) -> None:
    """The attacker rewrites pickle, loader, hashes, seal and record, and may sign with a key of his own."""
    ran = signed.parent / "ran"

    class Payload:
        def __reduce__(self) -> object:
            return (Path.touch, (ran,))

    joblib.dump(Payload(), signed / "pipeline.joblib")
    reseal(signed)
    record_run(signed, load_sha256(signed))
    if sign_again:
        monkeypatch.setenv("TDSP_SIGNING_KEY", str(keys / "stranger.pem"))
        sign_bundle(signed)
    with pytest.raises(BundleError, match="signature does not hold"):
        registry.load_model(signed, verify_key=keys / "maker.pub")
    assert not ran.exists()
    registry.load_model(signed)  # without the key it is opened, and runs: the test has teeth
    assert ran.exists()


def load_sha256(folder: Path) -> str:
    """The hash of bundle.json."""
    return sha256_file(folder / "bundle.json")


def test_an_older_signed_model_in_the_place_of_another_is_refused(signed: Path, keys: Path) -> None:
    """A good signature does not make it the model that the record names."""
    record_run(signed, "0" * 64)
    with pytest.raises(BundleError, match="is not the recorded one"):
        registry.load_model(signed, verify_key=keys / "maker.pub")


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"\xff", b'{"verificationMaterial": {"publicKey": {"hint": "x"}}}', b"[" * 100_000]
)
def test_a_damaged_signature_is_one_message(signed: Path, keys: Path, content: bytes) -> None:
    """Whatever a parser makes of it."""
    (signed / "model.sig").write_bytes(content)
    with pytest.raises(BundleError, match="signature does not hold"):
        verify_signature(signed, keys / "maker.pub")


def test_a_signature_that_is_a_link_is_none(signed: Path, keys: Path) -> None:
    """Neither the bundle's check nor the signature's follows it."""
    (signed / "model.sig").rename(signed.parent / "elsewhere.sig")
    (signed / "model.sig").symlink_to(signed.parent / "elsewhere.sig")
    with pytest.raises(BundleError, match="is not signed"):
        verify_signature(signed, keys / "maker.pub")
    with pytest.raises(BundleError, match=r"model\.sig is not part of the bundle"):
        check(signed)


def test_a_wheel_carries_the_signature(signed: Path, keys: Path, tmp_path: Path) -> None:
    """Opened without installing, it verifies."""
    folder = open_wheel(build_wheel(signed, tmp_path / "dist"), tmp_path / "place")
    assert verify_signature(folder, keys / "maker.pub") == load_sha256(signed)


def test_keys_that_cannot_sign_are_named(tmp_path: Path, unsigned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No key, no file, no key in it, another kind of key, a password that is not given or wrong."""
    monkeypatch.delenv("TDSP_SIGNING_KEY", raising=False)
    with pytest.raises(BundleError, match="There is no key to sign with"):
        sign_bundle(unsigned)
    assert signing_fingerprint() == ""
    write_key(tmp_path, "rsa", rsa.generate_private_key(65537, 2048))
    write_key(tmp_path, "locked", ec.generate_private_key(ec.SECP256R1()), password="let me in")
    (tmp_path / "text.pem").write_text("no key")
    for name, reason in (("nothing", "No such file"), ("text", "cannot sign|no key"), ("rsa", "elliptic curve")):
        monkeypatch.setenv("TDSP_SIGNING_KEY", str(tmp_path / f"{name}.pem"))
        with pytest.raises(BundleError, match=f"TDSP_SIGNING_KEY names.*({reason})"):
            sign_bundle(unsigned)
    monkeypatch.setenv("TDSP_SIGNING_KEY", str(tmp_path / "locked.pem"))
    for password in ("", "let me out"):
        monkeypatch.setenv("TDSP_SIGNING_PASSWORD", password)
        with pytest.raises(BundleError, match="no key to sign with"):
            sign_bundle(unsigned)
    monkeypatch.setenv("TDSP_SIGNING_PASSWORD", "let me in")
    folder = Path(shutil.copytree(unsigned, tmp_path / "copy"))
    sign_bundle(folder)
    assert verify_signature(folder, tmp_path / "locked.pub")


def test_nothing_of_the_private_key_is_written(signed: Path, keys: Path) -> None:
    """Neither the key nor the place of its file is in any file of the bundle."""
    secret = (keys / "maker.pem").read_text().splitlines()[1].encode()
    for path in [path for path in signed.rglob("*") if path.is_file()]:
        assert secret not in path.read_bytes(), path
        assert str(keys).encode() not in path.read_bytes(), path


def test_without_the_package_it_says_what_to_install(signed: Path, keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra `sign` is an option."""
    monkeypatch.setitem(sys.modules, "model_signing", None)
    with pytest.raises(BundleError, match=r"pip install 'tdsp\[sign\]'"):
        verify_signature(signed, keys / "maker.pub")


def test_the_card_says_signed_or_unsigned(unsigned: Path) -> None:
    """And by which key."""
    assert "unsigned when it was packaged" in (unsigned / "model_card.md").read_text()
    assert "by the key ab12" in signature_text("ab12")


# the command line ----------------------------------------------------------------------------------------------------


def test_verify_says_what_is_proved(signed: Path, unsigned: Path, keys: Path, capsys: pytest.CaptureFixture) -> None:
    """Exit code 0 with the maker's signature, 3 without one, 2 with another's or after a change."""
    maker, stranger = (["--verify-key", str(keys / f"{name}.pub")] for name in ("maker", "stranger"))
    assert app.call(["verify", str(signed), *maker, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["signature_verified"] is True
    assert app.call(["verify", str(signed)]) == 3
    assert "the key that signed it was not given" in capsys.readouterr().out
    assert app.call(["verify", str(unsigned), *maker]) == 3
    assert "Nothing here shows who made this model" in capsys.readouterr().err
    assert app.call(["verify", str(signed), *stranger]) == 2
    flip(signed / "schema.json")
    assert app.call(["verify", str(signed), *maker]) == 2
    assert capsys.readouterr().err.count("error:") == 2


def test_predict_and_serve_refuse_what_is_not_signed(
    unsigned: Path, signed: Path, keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """By option or by environment; a requirement without a key is no requirement, so it is refused."""
    rows = tmp_path / "rows.csv"
    rows.write_text("a,b\n1,2\n")
    key = ["--verify-key", str(keys / "maker.pub")]
    for command in (
        ["predict", str(unsigned), str(rows), "-o", str(tmp_path / "out.csv")],
        ["serve", str(unsigned), "--port", "0"],
    ):
        assert app.call([*command, "--require-signature", *key]) == 2
        assert "is not signed" in capsys.readouterr().err
        assert app.call([*command, "--require-signature"]) == 2
        assert "needs the public key" in capsys.readouterr().err
    monkeypatch.setenv("TDSP_REQUIRE_SIGNATURE", "1")
    monkeypatch.setenv("TDSP_VERIFY_KEY", str(keys / "maker.pub"))
    assert app.call(["predict", str(unsigned), str(rows), "-o", str(tmp_path / "out.csv")]) == 2
    assert "is not signed" in capsys.readouterr().err
    assert app.call(["predict", str(signed), str(rows), "-o", str(tmp_path / "out.csv")]) == 2
    assert "does not fit the model" in capsys.readouterr().err  # the model was taken; it is the table that is wrong
    assert not os.path.lexists(tmp_path / "out.csv")


def test_sign_signs_a_folder(unsigned: Path, keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that was packaged without a key; a changed one is not signed."""
    folder = Path(shutil.copytree(unsigned, tmp_path / "later"))
    monkeypatch.setenv("TDSP_SIGNING_KEY", str(keys / "maker.pem"))
    assert app.call(["sign", str(folder)]) == 0
    assert verify_signature(folder, keys / "maker.pub")
    (folder / "model.sig").unlink()
    flip(folder / "schema.json")
    assert app.call(["sign", str(folder)]) == 2
    assert not (folder / "model.sig").exists()


def test_a_service_opens_signed_models_only_where_it_has_to(unsigned: Path, signed: Path, keys: Path) -> None:
    """At the start and at each look at the registry alike: both make the same check."""
    assert load_served(str(signed), verify_key=keys / "maker.pub").sha256 == sha256_file(signed / "bundle.json")
    with pytest.raises(BundleError, match="is not signed"):
        load_served(str(unsigned), verify_key=keys / "maker.pub")
    with pytest.raises(BundleError, match="does not hold"):
        load_served(str(signed), verify_key=keys / "stranger.pub")


def test_a_key_that_cannot_sign_is_found_before_the_first_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Not by the fourth one, after the search."""
    monkeypatch.setenv("TDSP_SIGNING_KEY", str(tmp_path / "nothing.pem"))
    assert app.call(["check", str(write_project(tmp_path))]) == 2
    assert "TDSP_SIGNING_KEY names" in capsys.readouterr().err
